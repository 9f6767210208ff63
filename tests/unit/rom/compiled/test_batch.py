"""Many geometries at once: the same numbers as one by one, and the same bits in any company."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpiqmd.errors import ConvergenceError, GeometryError
from mpiqmd.molecule.body_surface import MovingFrame
from mpiqmd.molecule.frame import EckartFrame, make_frame
from mpiqmd.molecule.surface import Owner
from mpiqmd.rom.compiled.body_solver import compiled_surface
from mpiqmd.rom.learned.tabulated import OutsideTablesError
from mpiqmd.rom.training_distance import TrainingDistance
from tests.helpers.compiled_water import loose_water, serial_water
from tests.helpers.tiny_water import geometry

pytestmark = pytest.mark.serial

LINEAR = np.array([[0.0, 0.0, 0.0], [1.8, 0.0, 0.0], [-1.8, 0.0, 0.0]])
OUTSIDE = geometry(2.3, 1.83, 0.0)


def surface(water, learn=True, frame=None):
    """A compiled surface."""
    region = TrainingDistance(water.training.positions_sav, vertex=0)
    moving = MovingFrame(frame or make_frame(water.model.molecule))
    return compiled_surface(moving, water.solver(1e-10, learn), region=region)


def together(surface, positions):
    """What a compiled surface says to members of a large company, any number of them."""
    memories = [surface.fresh(64) for _ in positions]
    return surface.evaluate(positions, memories)


@pytest.fixture(scope="module")
def compiled():
    return surface(serial_water())


def moved(rng, count):
    """Geometries inside the tables, anywhere and turned anyhow."""
    shapes = rng.uniform([1.76, 1.76, -0.06], [1.90, 1.90, 0.06], size=(count, 3))
    turns = Rotation.random(count, random_state=4).as_matrix()
    return np.array([geometry(*shape) @ turn.T + rng.normal(size=3) for shape, turn in zip(shapes, turns, strict=True)])


def differences(one, other):
    """Largest difference of energies, of forces, and of extras."""
    assert one.extras.keys() == other.extras.keys()
    extras = max(abs(one.extras[name] - other.extras[name]) for name in one.extras)
    return abs(one.energy - other.energy), np.abs(one.forces_av - other.forces_av).max(), extras


def identical(one, other):
    return differences(one, other) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("case", [("LDA", "isolated"), ("PBE", "isolated"), ("LDA", "periodic")], ids="-".join)
def test_a_batch_is_what_its_geometries_are_alone(case, rng):
    compiled, positions = surface(serial_water(*case), learn=False), moved(rng, 6)
    compiled.solver.solver.tolerance = 1.0  # the step from the reference is taken, as a predicted one would be
    batch = together(compiled, positions)
    for positions_av, evaluation in zip(positions, batch, strict=True):
        assert max(differences(Owner(compiled).at(positions_av), evaluation)) < 1e-12
    assert [evaluation.extras["evaluations"] for evaluation in batch] == [1.0] * 6
    assert len({evaluation.energy for evaluation in batch}) == 6


def test_a_batch_with_moving_projectors_is_what_its_geometries_are_alone(rng):
    water = loose_water()
    reference = water.model.molecule.with_positions(water.training.positions_sav.mean(axis=0))
    compiled = surface(water, learn=False, frame=EckartFrame(reference))
    energy = compiled.solver.solver.energy
    positions = water.training.positions_sav.mean(axis=0) + rng.uniform(-0.02, 0.02, size=(4, 3, 3))
    placed, minima = energy.place_batch(positions), compiled.solver.solver.solve_batch(energy.place_batch(positions))
    assert placed.overlaps_mp.shape[2] > 0
    gradients = energy.gradients_of(placed, minima.orbitals_bmn, minima.dual_bmn, minima.coefficients_bp)
    for b, positions_av in enumerate(positions):
        alone = energy.place(positions_av)
        np.testing.assert_allclose(placed.linear_p[b], alone.linear_p, atol=1e-13)
        solution = compiled.solver.solver.solve(alone)
        assert minima.energies_b[b] == pytest.approx(solution.energy, abs=1e-12)
        np.testing.assert_allclose(gradients[b], energy.gradient(alone, solution.density_matrix_mm), atol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 17, 33])
def test_numbers_do_not_depend_on_the_company(compiled, rng, count):
    positions = moved(rng, 40)
    whole = together(compiled, positions)
    for start in (0, 40 - count):
        part = together(compiled, positions[start : start + count])
        assert all(map(identical, part, whole[start : start + count]))


def test_fewer_than_four_are_each_evaluated_as_if_alone(compiled, rng):
    positions = moved(rng, 3)
    company = compiled.evaluate(positions, [compiled.fresh(3) for _ in positions])
    assert all(map(identical, company, (Owner(compiled).at(positions_av) for positions_av in positions)))
    assert [compiled.fresh(count).at_once for count in (1, 3, 4, 100)] == [1, 1, 32, 32]


def test_the_place_shows_in_the_last_bits_at_most(compiled, rng):
    positions, order = moved(rng, 11), rng.permutation(11)
    one, other = together(compiled, positions), together(compiled, positions[order])
    for place, b in enumerate(order):
        assert max(differences(one[b], other[place])) < 1e-12


def test_an_error_is_that_of_its_geometry_alone(compiled, rng):
    positions = moved(rng, 6)
    good = together(compiled, positions)
    mixed = together(compiled, np.array([OUTSIDE, *positions[:3], LINEAR, *positions[3:], OUTSIDE + np.nan]))
    assert isinstance(mixed[0], OutsideTablesError) and "bohr outside the box" in str(mixed[0])
    assert all(isinstance(mixed[b], GeometryError) for b in (4, 8))
    assert all(map(identical, good, mixed[1:4] + mixed[5:8]))
    _, solved = compiled.solve(positions[:1], [compiled.fresh(64)])
    assert np.trace(solved[0].density_matrix_mm) == pytest.approx(4.0)
    assert all(isinstance(error, GeometryError) for error in together(compiled, np.array([OUTSIDE, LINEAR])))


def test_what_one_step_does_not_solve_is_solved_alone(compiled, rng):
    positions = moved(rng, 5)
    exact = together(compiled, positions)
    first = min(evaluation.extras["residual"] for evaluation in exact)
    tolerance, compiled.solver.solver.tolerance = compiled.solver.solver.tolerance, 1.001 * first
    try:
        mixed = together(compiled, positions)
    finally:
        compiled.solver.solver.tolerance = tolerance
    counts = [evaluation.extras["evaluations"] for evaluation in mixed]
    assert counts.count(1.0) == 1 and max(counts) >= 2.0
    for one, other in zip(exact, mixed, strict=True):
        assert one.energy == pytest.approx(other.energy, abs=1e-12)
        np.testing.assert_allclose(one.forces_av, other.forces_av, atol=1e-9)


def test_giving_up_is_the_error_of_every_geometry(rng):
    compiled = surface(serial_water(), learn=False)
    compiled.solver.solver.max_iterations = 1
    assert all(isinstance(error, ConvergenceError) for error in together(compiled, moved(rng, 2)))
