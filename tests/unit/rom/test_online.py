"""The published online stage on a real, tiny system: variational, consistent, invariant, restartable."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpiqmd.errors import ConfigError
from mpiqmd.molecule.surface import Owner
from tests.helpers.tiny_water import TRAINING, UNSEEN, geometry, train

LAB = Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix()


def in_laboratory(point, rotation=LAB, shift=(0.3, -0.2, 0.1)):
    return geometry(*point) @ rotation.T + np.array(shift)


def test_training_geometries_are_reproduced_without_truncation(trained):
    solver = trained.rom()
    for point, exact in zip(TRAINING, trained.states, strict=True):
        state = solver.solve(geometry(*point))
        assert state.converged
        assert state.free_energy == pytest.approx(exact.free_energy, abs=1e-9)
        assert state.gradient_av == pytest.approx(exact.gradient_av, abs=1e-5)
        assert state.eigenvalues_n[:4] == pytest.approx(exact.eigenvalues_n, abs=1e-5)


def test_reduced_energy_is_an_upper_bound_and_falls_as_modes_are_added(trained):
    for point in UNSEEN:
        exact = trained.hifi(geometry(*point)).free_energy
        energies = [trained.rom(rank).solve(geometry(*point), forces=False).free_energy for rank in (4, 8, 14, None)]
        assert energies[-1] >= exact - 1e-10
        assert (np.diff(energies) <= 1e-11).all()
        assert energies[0] - exact > 1e3 * (energies[-1] - exact)


def test_hamiltonian_is_the_derivative_of_the_energy(trained, rng):
    placed = trained.rom().reduced.place(geometry(*UNSEEN[0]))
    n = trained.basis.rank
    orbitals = np.linalg.qr(rng.normal(size=(n, 4)))[0]
    p = orbitals @ orbitals.T
    change = rng.normal(size=(n, n))
    change = 0.5 * (change + change.T) / np.linalg.norm(change)
    slope = (placed.evaluate(p + 1e-3 * change)[0] - placed.evaluate(p - 1e-3 * change)[0]) / 2e-3
    hamiltonian = placed.evaluate(p)[1]
    assert np.abs(hamiltonian - hamiltonian.T).max() < 1e-12
    assert slope == pytest.approx(2.0 * np.sum(hamiltonian * change), rel=1e-6)


def test_components_add_up(trained):
    state = trained.rom(12).solve(geometry(*UNSEEN[0]))
    assert sum(state.components.values()) == pytest.approx(state.free_energy, abs=1e-11)
    assert state.density.integrate() == pytest.approx(8.0, abs=1e-10)
    assert state.occupations_n.sum() == pytest.approx(4.0)


@pytest.mark.parametrize("rank", [8, 14])
def test_gradient_forces_are_the_derivative_of_the_energy(trained, rank):
    """Through the body frame, from a position and orientation of no symmetry; truncated basis."""
    surface = Owner(trained.surface(rank, tolerance=1e-9))
    positions = in_laboratory(UNSEEN[0])
    forces = surface.at(positions).forces_av
    direction = np.array([[0.3, -0.5, 0.2], [0.7, 0.1, -0.4], [-0.2, 0.6, 0.5]])
    for step_of in (direction, np.eye(9)[4].reshape(3, 3), np.eye(9)[6].reshape(3, 3)):
        slopes = []
        for h in (0.005, 0.01):
            high, low = (surface.at(positions + s * h * step_of).energy for s in (1, -1))
            slopes.append((high - low) / (2 * h))
        numerical = (4 * slopes[0] - slopes[1]) / 3
        assert -np.sum(forces * step_of) == pytest.approx(numerical, abs=1e-7)


def test_rigid_motions_change_nothing(trained, rng):
    surface = Owner(trained.surface(14, extrapolation=None))
    here = surface.at(geometry(*UNSEEN[1]))
    for seed in range(3):
        rotation = Rotation.random(random_state=seed).as_matrix()
        there = surface.at(in_laboratory(UNSEEN[1], rotation, rng.uniform(-1, 1, 3)))
        assert there.energy == pytest.approx(here.energy, abs=1e-11)
        assert there.forces_av @ rotation == pytest.approx(here.forces_av, abs=1e-9)


def test_gradient_forces_have_no_net_force_or_torque(trained):
    surface = Owner(trained.surface(8))
    positions = in_laboratory(UNSEEN[0])
    result = surface.at(positions)
    assert np.abs(result.forces_av.sum(axis=0)).max() < 1e-13
    assert np.abs(np.cross(positions, result.forces_av).sum(axis=0)).max() < 1e-13
    assert result.extras["net_force"] < 1e-12


def test_hellmann_feynman_forces_are_the_gradient_turned_back(trained):
    """With a truncated basis they are not the derivative of the energy: a net force is left."""
    surface, positions = trained.surface(8, "hellmann-feynman"), in_laboratory(UNSEEN[0])
    result = Owner(surface).at(positions)
    _, (solved,) = surface.solve([positions], [surface.fresh()])
    assert result.forces_av == pytest.approx(-solved.gradient_av @ LAB.T, abs=1e-12)
    assert result.extras["net_force"] > 1e-3


def test_exchanging_the_hydrogens_exchanges_their_forces(trained):
    """The mirror-closed basis makes the reduced energy symmetric, without a jump at equal bonds."""
    surface = Owner(trained.surface(14, extrapolation=None))
    positions = in_laboratory(UNSEEN[0])
    one, two = surface.at(positions), surface.at(positions[[0, 2, 1]])
    assert one.energy == pytest.approx(two.energy, abs=1e-11)
    assert two.forces_av[[0, 2, 1]] == pytest.approx(one.forces_av, abs=1e-9)
    equal = surface.at(in_laboratory((1.8, 1.8, 0.0)))
    lengths = np.linalg.norm(equal.forces_av, axis=1)
    assert lengths[1] == pytest.approx(lengths[2], abs=1e-9)


def test_both_minimisers_find_the_same_state(trained):
    one, two = (trained.rom(12, minimiser=name).solve(geometry(*UNSEEN[2])) for name in ("diis", "mvp"))
    assert one.free_energy == pytest.approx(two.free_energy, abs=1e-11)
    assert one.gradient_av == pytest.approx(two.gradient_av, abs=1e-7)
    assert one.iterations < two.iterations


def test_restart_is_bitwise_and_extrapolation_pays(trained):
    path = [in_laboratory((1.83 + 0.01 * t, 1.80 - 0.004 * t, 0.002 * t)) for t in range(8)]
    whole, first, second = (Owner(trained.surface(14)) for _ in range(3))
    results = [whole.at(positions) for positions in path]
    for positions in path[:4]:
        first.at(positions)
    second.memory.restore(first.memory.state())
    for positions, expected in zip(path[4:], results[4:], strict=True):
        result = second.at(positions)
        assert result.energy == expected.energy
        assert (result.forces_av == expected.forces_av).all()
        assert result.extras == expected.extras
    fresh = Owner(trained.surface(14, extrapolation=None)).at(path[-1])
    assert results[-1].extras["evaluations"] < fresh.extras["evaluations"]
    assert results[-1].energy == pytest.approx(fresh.energy, abs=1e-11)


def test_the_distance_to_the_samples_is_told(trained):
    surface = Owner(trained.surface(14))
    near = surface.at(in_laboratory(UNSEEN[0])).extras["training_distance"]
    beyond = surface.at(in_laboratory((1.92 + 0.09, 1.83, 0.0))).extras["training_distance"]
    trained_on = surface.at(in_laboratory(TRAINING[1])).extras["training_distance"]
    assert trained_on < 1e-6 < near < beyond


def test_nearest_training_geometry_is_a_good_start(trained):
    reduced = trained.reduced_model(14)
    warm = type(trained.rom()).from_model(trained.model, reduced)
    cold = trained.rom(14)
    one, two = warm.solve(geometry(*UNSEEN[0])), cold.solve(geometry(*UNSEEN[0]))
    assert one.free_energy == pytest.approx(two.free_energy, abs=1e-11)
    assert one.iterations < two.iterations


@pytest.mark.parametrize("physics", [{"functional": "PBE"}, {"boundary": "periodic"}, {"temperature": 0.02}])
def test_other_physics_is_as_consistent(comm, physics):
    trained = train(comm, symmetrize=False, **physics)
    surface = Owner(trained.surface(10, tolerance=1e-9))
    positions, step = (
        in_laboratory(UNSEEN[2]),
        np.array([[0.1, -0.5, 0.2], [0.7, 0.1, -0.4], [-0.2, 0.6, 0.5]]),
    )
    forces = surface.at(positions).forces_av
    slopes = []
    for h in (0.005, 0.01):
        slopes.append((surface.at(positions + h * step).energy - surface.at(positions - h * step).energy) / (2 * h))
    assert -np.sum(forces * step) == pytest.approx((4 * slopes[0] - slopes[1]) / 3, abs=1e-7)
    if "temperature" not in physics:
        exact = trained.hifi(geometry(*UNSEEN[2])).free_energy
        assert trained.rom().solve(geometry(*UNSEEN[2])).free_energy >= exact - 1e-10
    trained.model.grid.destroy()


def test_impossible_choices_are_refused(trained):
    with pytest.raises(ConfigError, match="3 modes cannot hold 8 electrons"):
        trained.rom(3)
    with pytest.raises(ConfigError, match="minimiser = 'newton'"):
        trained.rom(minimiser="newton")
    with pytest.raises(ConfigError, match="forces = 'pulay'"):
        trained.surface(forces="pulay")
