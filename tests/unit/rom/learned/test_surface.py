"""The surface of a learned-grid model: company, tables that are never left, files, ranks."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpiqmd.errors import ConfigError, ConvergenceError, DataFileError, GeometryError
from mpiqmd.molecule.frame import EckartFrame
from mpiqmd.molecule.rigid import Alignment
from mpiqmd.molecule.surface import Owner
from mpiqmd.rom.learned.assembly import Assembly
from mpiqmd.rom.learned.body_solver import OutsideTablesError
from mpiqmd.rom.learned.energy import LearnedEnergy
from mpiqmd.rom.learned.solver import LearnedSolver
from mpiqmd.rom.learned.store import from_arrays, to_arrays
from mpiqmd.rom.learned.training_set import TrainingSet
from tests.helpers.learned_water import KINDS, RANK, learn, learn_water, loose_water, serial_water
from tests.helpers.tiny_water import UNSEEN, geometry

OUTSIDE = geometry(2.3, 1.83, 0.0)


LINEAR = np.array([[0.0, 0.0, 0.0], [1.8, 0.0, 0.0], [-1.8, 0.0, 0.0]])
ROTATION = Rotation.from_euler("xyz", [0.4, -1.1, 2.3]).as_matrix()


CASES = [("LDA", "isolated"), ("PBE", "isolated"), ("LDA", "periodic"), ("PBE", "isolated", "cores")]
MAKERS = {
    "LDA": serial_water,
    "PBE": lambda: serial_water("PBE"),
    "loose": loose_water,
    "LDA-cores": lambda: serial_water(kind="cores"),
    "PBE-cores": lambda: serial_water("PBE", kind="cores"),
}


def same(one, other):
    """Whether two evaluations have the same numbers, bit for bit."""
    return one.energy == other.energy and np.array_equal(one.forces_av, other.forces_av) and one.extras == other.extras


def moved(rng, count):
    """Geometries inside the tables, anywhere and turned anyhow."""
    shapes = rng.uniform([1.76, 1.76, -0.06], [1.90, 1.90, 0.06], size=(count, 3))
    turns = Rotation.random(count, random_state=4).as_matrix()
    return np.array([geometry(*shape) @ turn.T + rng.normal(size=3) for shape, turn in zip(shapes, turns, strict=True)])


def together(surface, positions):
    """What a surface says to members of a large company."""
    return surface.evaluate(positions, [surface.fresh(64) for _ in positions])


@pytest.mark.serial
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_batch_is_what_its_geometries_are_alone(case, rng):
    surface, positions = serial_water(*case).surface(), moved(rng, 11)
    for one, position in zip(together(surface, positions), positions, strict=True):
        (alone,) = surface.evaluate([position], [surface.fresh()])
        assert one.energy == pytest.approx(alone.energy, abs=1e-11)
        np.testing.assert_allclose(one.forces_av, alone.forces_av, atol=1e-9)


@pytest.mark.serial
def test_a_batch_with_moving_projectors_is_what_its_geometries_are_alone(rng):
    water = loose_water()
    mean_av = water.training.positions_sav.mean(axis=0)
    surface = water.surface(frame=EckartFrame(water.model.molecule.with_positions(mean_av)))
    positions = mean_av + rng.uniform(-0.02, 0.02, size=(4, 3, 3))
    for one, position in zip(together(surface, positions), positions, strict=True):
        (alone,) = surface.evaluate([position], [surface.fresh()])
        assert one.energy == pytest.approx(alone.energy, abs=1e-11)
        np.testing.assert_allclose(one.forces_av, alone.forces_av, atol=1e-9)


@pytest.mark.serial
@pytest.mark.parametrize("kind", ["plain", "cores"])
def test_the_same_bits_in_any_company(rng, kind):
    surface, positions = serial_water(kind=kind).surface(), moved(rng, 19)
    whole = together(surface, positions)
    for size in (1, 3, 8, 9, 16):
        assert all(map(same, together(surface, positions[:size]), whole))
    order = rng.permutation(19)
    for one, other in zip(together(surface, positions[order]), [whole[b] for b in order], strict=True):
        assert one.energy == pytest.approx(other.energy, abs=1e-12)


@pytest.mark.serial
def test_fewer_than_four_are_each_evaluated_as_if_alone(rng):
    surface, positions = serial_water().surface(), moved(rng, 3)
    company = surface.evaluate(positions, [surface.fresh(3) for _ in positions])
    assert all(map(same, company, (Owner(surface).at(positions_av) for positions_av in positions)))
    assert [surface.fresh(count).at_once for count in (1, 3, 4, 100)] == [1, 1, 32, 32]


@pytest.mark.serial
def test_an_error_is_that_of_its_geometry_alone(rng):
    surface, positions = serial_water().surface(), moved(rng, 6)
    good = together(surface, positions)
    mixed = together(surface, np.array([OUTSIDE, *positions[:3], LINEAR, *positions[3:], OUTSIDE + np.nan]))
    assert isinstance(mixed[0], OutsideTablesError) and "bohr outside the box" in str(mixed[0])
    assert all(isinstance(mixed[b], GeometryError) for b in (4, 8))
    assert all(map(same, good, mixed[1:4] + mixed[5:8]))
    assert all(isinstance(error, GeometryError) for error in together(surface, np.array([OUTSIDE, LINEAR])))
    _, (solved,) = surface.solve(positions[:1], [surface.fresh(64)])
    assert np.trace(solved.density_matrix_mm) == pytest.approx(4.0)


@pytest.mark.serial
def test_an_evaluation_has_no_memory():
    owner = serial_water().owner()
    one = [owner.at(geometry(*point)) for point in UNSEEN]
    other = [owner.at(geometry(*point)) for point in UNSEEN[::-1]][::-1]
    assert all(map(same, one, other)) and owner.memory.state() == {}


@pytest.mark.serial
def test_giving_up_is_the_error_of_every_geometry(rng):
    """No step gains less than nothing."""
    results = together(serial_water().surface(tolerance=0.0), moved(rng, 2))
    assert all(isinstance(error, ConvergenceError) for error in results)
    assert "the last of 30 evaluations would gain" in str(results[0])


@pytest.mark.serial
def test_tables_are_never_extrapolated():
    water = serial_water()
    assert 0.0 < water.owner().at(geometry(1.93, 1.90, 0.05)).extras["training_distance"] < 1.0
    box = water.arrays.boxes[1]
    beyond = OUTSIDE[1, 1] - box.upper_v[1]
    assert beyond > OUTSIDE[1, 0] - box.upper_v[0]
    with pytest.raises(GeometryError, match=r"^atom H2 is .* rom\.on_large_error"):
        water.owner(("O1", "H2", "H3")).at(OUTSIDE)
    with pytest.raises(GeometryError) as caught:
        water.owner().at(OUTSIDE)
    assert f"atom 2 is {beyond:.3f} bohr outside the box" in str(caught.value)
    assert f"y = {OUTSIDE[1, 1]:.3f} bohr in the body frame, tabulated are {box.lower_v[1]:.3f} to" in str(caught.value)


@pytest.mark.serial
def test_hellmann_feynman_forces_are_those_of_the_grid_on_the_atoms_that_move():
    """The published forces: body-frame forces turned back; the pinned atom takes minus the rest, not only its ions' part."""
    water, body = serial_water(), geometry(*UNSEEN[0])
    plain = Owner(water.surface(forces="hellmann-feynman"))
    forces = plain.at(body @ ROTATION.T).forces_av @ ROTATION
    on_grid = Owner(water.trained.surface(RANK, forces="hellmann-feynman")).at(body).forces_av
    np.testing.assert_allclose(forces[1:], on_grid[1:], atol=2e-5)
    np.testing.assert_allclose(forces[0], -forces[1:].sum(axis=0), atol=1e-12)
    forces = plain.at(body).forces_av
    assert np.abs(np.cross(body, forces).sum(axis=0)).max() > 1e-5  # they leave a torque
    assert np.abs(forces - water.owner().at(body).forces_av).max() > 1e-5
    with pytest.raises(ConfigError, match=r"rom\.forces"):
        water.surface(forces="analytic")


@pytest.mark.serial
@pytest.mark.parametrize("functional", ["LDA", "PBE"])
def test_exchanging_the_hydrogens_changes_no_energy(functional):
    """Nothing imposes it: the training set is closed under the mirror, and so is what is learned, as far as it is exact."""
    owner = serial_water(functional).owner()
    one, other = (owner.at(geometry(*bonds, 0.04)).energy for bonds in ((1.87, 1.78), (1.78, 1.87)))
    assert abs(one - owner.at(geometry(1.87, 1.80, 0.04)).energy) > 1e-5
    assert one == pytest.approx(other, abs=1e-6)


@pytest.mark.serial
def test_off_the_only_place_that_tables_know_is_outside(rng):
    """Tables of bonds and angle, in a frame in which nothing but x, y of both hydrogens moves: the rest may not either."""
    surface = serial_water().surface(("O1", "H2", "H3"))
    body_av = geometry(*UNSEEN[1])
    for place, size in (((0, 0), 1e-3), ((2, 2), -0.0019), ((1, 2), 2e-6)):
        off_av, fine_av = body_av.copy(), body_av.copy()
        off_av[place] += size
        fine_av[place] += 1e-12
        aligned = [Alignment(each_av, np.eye(3), np.zeros(3), np.arange(3)) for each_av in (off_av, fine_av, body_av)]
        off, fine, expected = surface.solver.solve(aligned, [surface.solver.fresh()] * 3)
        assert isinstance(off, OutsideTablesError)
        assert str(off).startswith(f"atom {('O1', 'H2', 'H3')[place[0]]} is {abs(size):.2g} bohr along {'xyz'[place[1]]} (body")
        assert fine.energy == pytest.approx(expected.energy, abs=1e-9)


@pytest.mark.serial
def test_rigid_motions_carry_everything_along():
    owner, body = serial_water().owner(), geometry(*UNSEEN[1])
    still, turned = owner.at(body), owner.at(body @ ROTATION.T - [3.0, 1.0, 0.2])
    assert turned.energy == pytest.approx(still.energy, abs=1e-12)
    np.testing.assert_allclose(turned.forces_av, still.forces_av @ ROTATION.T, atol=1e-11)
    dipoles = [np.array([e.extras[f"dipole_{axis}"] for axis in "xyz"]) for e in (still, turned)]
    np.testing.assert_allclose(dipoles[1], dipoles[0] @ ROTATION.T, atol=1e-11)
    assert 0.3 < np.linalg.norm(dipoles[0]) < 1.5


@pytest.mark.serial
def test_evaluations_are_few_and_what_is_left_is_known():
    water = serial_water()
    placed = water.energy.place_batch(np.array([geometry(*point) for point in UNSEEN]))
    tight, loose = (water.solver(tolerance).solve_batch(placed) for tolerance in (1e-14, 1e-7))
    assert (loose.evaluations_b == 1).all()
    np.testing.assert_allclose(loose.energies_b, tight.energies_b, atol=1e-10)
    assert (loose.gaps_b < 1e-7).all()


@pytest.mark.serial
def test_a_poor_start_changes_nothing_but_the_number_of_evaluations():
    """Newton's steps alone, then accelerated, find what is predicted otherwise."""
    water = serial_water()
    placed = water.energy.place_batch(np.array([geometry(*point) for point in UNSEEN]))
    arrays = replace(water.arrays, start=replace(water.arrays.start, coefficients_td=0.0 * water.arrays.start.coefficients_td))
    model = water.model
    poor = LearnedSolver(LearnedEnergy(arrays, model.functional, model.valences_a, None), 1e-11).solve_batch(placed)
    good = LearnedSolver(water.energy, 1e-11).solve_batch(placed)
    assert not poor.failures and (poor.evaluations_b > good.evaluations_b + 1).all()
    np.testing.assert_allclose(poor.energies_b, good.energies_b, atol=1e-10)
    np.testing.assert_allclose(poor.latent_bd, good.latent_bd, atol=1e-5)


@pytest.mark.serial
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_a_file_holds_all_of_it(make, tmp_path):
    water = make()
    with h5py.File(tmp_path / "model.h5", "w") as file:
        for name, array in to_arrays(water.arrays).items():
            file[name] = array
    read = {}
    with h5py.File(tmp_path / "model.h5") as file:
        file.visititems(lambda name, item: read.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    restored = LearnedSolver(LearnedEnergy(from_arrays(read), water.model.functional, water.model.valences_a, None), 1e-12)
    placed = water.energy.place_batch(water.training.positions_sav.mean(axis=0)[None])
    one, other = water.solver().solve_batch(placed), restored.solve_batch(placed)
    assert one.energies_b == other.energies_b and np.array_equal(one.gradient_bav, other.gradient_bav)


@pytest.mark.serial
@pytest.mark.parametrize("name", ["constant", "points/reading_fq", "ions/1/right_jf", "start/members_tg", "boxes/1"])
def test_a_file_whose_parts_do_not_fit_is_refused(name):
    arrays = to_arrays(serial_water().arrays)
    arrays[f"learned/{name}"] = np.concatenate([np.atleast_1d(arrays[f"learned/{name}"])] * 2)
    with pytest.raises(DataFileError, match=r"rom\.online = 'learned'"):
        from_arrays(arrays)
    del arrays[f"learned/{name}"]
    with pytest.raises(DataFileError, match="train again"):
        from_arrays(arrays)


@pytest.mark.serial
@pytest.mark.parametrize(("name", "value"), [("parents_p", 7), ("factors_p", 99), ("members_tg", -1), ("factors_p", 1)])
def test_polynomials_that_would_read_elsewhere_are_refused(name, value):
    """Of a product that comes later, or that there is not; and the first coordinate is the first."""
    arrays = to_arrays(serial_water().arrays)
    arrays[f"learned/start/{name}"] = arrays[f"learned/start/{name}"].copy()
    arrays[f"learned/start/{name}"][0] = value
    with pytest.raises(DataFileError, match="terms that cannot be made"):
        from_arrays(arrays)


@pytest.mark.serial
@pytest.mark.parametrize("change", ["no points", "negative weights", "other images"])
def test_points_that_would_give_wrong_numbers_are_refused(change):
    arrays = to_arrays(serial_water().arrays)
    xc = {name.split("/")[-1]: name for name in arrays if name.startswith("learned/xc/")}
    if change == "no points":
        for name in ("weights_q", "mean_q", "functions_fq"):
            arrays[xc[name]] = arrays[xc[name]][..., :0]
    elif change == "negative weights":
        arrays[xc["weights_q"]] = -arrays[xc["weights_q"]]
    else:
        arrays[xc["labels_f"]] = 1 - arrays[xc["labels_f"]]
    with pytest.raises(DataFileError, match="train again"):
        from_arrays(arrays)


@pytest.mark.serial
@pytest.mark.parametrize("name", ["cores/1/coefficients_ic", "cores/1/inverse_step", "cores/positions_vq"])
def test_a_file_whose_cores_do_not_fit_is_refused(name):
    arrays = to_arrays(serial_water(kind="cores").arrays)
    arrays[f"learned/{name}"] = np.zeros((2, 5))
    with pytest.raises(DataFileError, match=r"rom\.online = 'learned'"):
        from_arrays(arrays)
    if name != "cores/1/inverse_step":
        del arrays[f"learned/{name}"]
        with pytest.raises(DataFileError, match="train again"):
            from_arrays(arrays)


@pytest.mark.serial
def test_a_file_without_a_learned_grid_is_refused():
    with pytest.raises(DataFileError, match=r"rom\.online = 'learned'"):
        from_arrays({"something": np.zeros(3)})


@pytest.mark.serial
def test_a_stored_number_has_no_axis_and_an_array_is_contiguous():
    arrays = to_arrays(serial_water().arrays, prefix="")
    arrays["dipole/functions_vf"] = np.asfortranarray(arrays["dipole/functions_vf"])
    assembly = Assembly(arrays)
    assert assembly.take("constant", "").shape == ()
    assert assembly.take("dipole/functions_vf", "3 f").flags.c_contiguous


@pytest.mark.parametrize("kind", [("LDA", "isolated", "plain"), ("PBE", "isolated", "cores")], ids=["LDA", "PBE-cores"])
def test_any_number_of_ranks_learns_the_same(comm, kind):
    """Round-off chooses other points of the quadrature, and signs of singular vectors; energies and forces are the same."""
    functional, boundary, physics = kind
    spread, alone = learn_water(comm, functional, boundary, **KINDS[physics]), serial_water(functional, boundary, physics)
    placed = alone.energy.place_batch(np.array([geometry(*point) for point in UNSEEN]))
    expected = alone.solver().solve_batch(placed)
    found = spread.solver().solve_batch(spread.energy.place_batch(placed.positions_bav))
    np.testing.assert_allclose(found.energies_b, expected.energies_b, atol=1e-8)
    np.testing.assert_allclose(found.gradient_bav, expected.gradient_bav, atol=1e-6)
    everywhere = comm.allgather(found.energies_b.tolist())
    assert all(energies == everywhere[0] for energies in everywhere)


@pytest.mark.serial
def test_orbitals_that_do_not_differ_teach_nothing():
    water = serial_water()
    one = TrainingSet(water.training.positions_sav[:1], water.training.orbitals_smn[:1])
    with pytest.raises(ConfigError, match=r"rom\.online = 'learned' with 14 modes of 1 geometries"):
        learn(water.trained, one)
