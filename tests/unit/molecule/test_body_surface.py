"""One class carries energies, forces and dipole moments between the laboratory and the frame of the electrons."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpiqmd.errors import ConfigError, ConvergenceError, MpiqmdError
from mpiqmd.molecule.body_surface import BodySurface, MovingFrame, Solved
from mpiqmd.molecule.evaluation import DIPOLE
from mpiqmd.molecule.frame import EckartFrame
from mpiqmd.molecule.laboratory import LaboratoryFrame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.surface import Memory, Owner, evaluation_at, one_by_one

pytestmark = pytest.mark.serial

IONS = Molecule(("O", "H", "H"), np.array([[0.0, 0.1, 0.0], [1.4, 1.1, 0.1], [-1.5, 1.2, 0.0]]), charge=1)
PULLS = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.5, 0.0, 0.3]])
CHARGES = np.array([-0.2, 0.7, 0.5])


class Counting(Memory):
    """Counts the geometries of one owner."""

    def __init__(self):
        self.count = 0

    def forget(self):
        self.count = 0


class Box:
    def distance(self, body_positions_av):
        return 0.5


class Field:
    """``E = sum g_a x_a + |x_1 - x_2|²`` in the frame: neither translations nor rotations are free; far away, no answer."""

    def fresh(self, company=1):
        return Counting()

    def solve(self, alignments, memories):
        return one_by_one(self.solved, alignments, memories)

    def solved(self, alignment, memory):
        x = alignment.body_positions_av
        if np.abs(x).max() > 50.0:
            raise ConvergenceError("far away")
        memory.count += 1
        gradient = PULLS.copy()
        gradient[1] += 2.0 * (x[1] - x[2])
        gradient[2] -= 2.0 * (x[1] - x[2])
        energy = float((PULLS * x).sum() + ((x[1] - x[2]) ** 2).sum())
        return Solved(energy, gradient, CHARGES @ x, {"count": float(memory.count)})


def moving(**options):
    return BodySurface(MovingFrame(EckartFrame(IONS)), Field(), **options)


def laboratory(comm, **options):
    return BodySurface(LaboratoryFrame(comm, IONS, **options), Field())


def numerical_forces(surface, positions, step=1e-4):
    forces = np.empty_like(positions)
    for index in np.ndindex(positions.shape):
        energies = []
        for sign in (1.0, -1.0):
            moved = positions.copy()
            moved[index] += sign * step
            energies.append(Owner(surface).at(moved).energy)
        forces[index] = -(energies[0] - energies[1]) / (2.0 * step)
    return forces


def test_forces_are_the_derivative_through_every_frame(serial_comm, rng):
    positions = IONS.positions_av @ Rotation.random(random_state=1).as_matrix().T + rng.normal(0.0, 0.1, (3, 3))
    for surface in (moving(), laboratory(serial_comm, net_force="keep")):
        forces = Owner(surface).at(positions).forces_av
        np.testing.assert_allclose(forces, numerical_forces(surface, positions), atol=1e-7)


def test_a_moving_frame_turns_forces_and_dipole_with_the_molecule():
    turn = Rotation.random(random_state=2).as_matrix()
    one, two = (Owner(moving()).at(x) for x in (IONS.positions_av, IONS.positions_av @ turn.T + 0.7))
    assert two.energy == pytest.approx(one.energy, abs=1e-12)
    np.testing.assert_allclose(two.forces_av, one.forces_av @ turn.T, atol=1e-12)
    dipoles = [np.array([each.extras[name] for name in DIPOLE]) for each in (one, two)]
    np.testing.assert_allclose(dipoles[1], turn @ dipoles[0], atol=1e-12)


def test_the_laboratory_takes_the_net_force_out_by_mass(serial_comm):
    kept, removed = (
        Owner(laboratory(serial_comm, net_force=choice)).at(IONS.positions_av).forces_av for choice in ("keep", "remove")
    )
    masses = IONS.masses_a
    assert np.abs(kept.sum(axis=0)).max() > 1.0 and np.abs(removed.sum(axis=0)).max() < 1e-14
    accelerations = (kept - removed) / masses[:, None]
    np.testing.assert_allclose(accelerations, np.broadcast_to(kept.sum(axis=0) / masses.sum(), (3, 3)), atol=1e-16)


def test_the_laboratory_moves_an_ion_into_its_cell_and_tells_its_dipole_about_the_origin(serial_comm):
    """An ion's dipole moment depends on the origin: that of the input's coordinates counts."""
    said = []
    far = IONS.with_positions(IONS.positions_av + [8.0, 0.0, 0.0])
    frame = LaboratoryFrame(serial_comm, far, cell_v=np.full(3, 18.0), log=said.append)
    surface = BodySurface(frame, Field())
    memory = surface.fresh()
    (shift_v,) = memory.state().values()
    assert np.abs(far.positions_av + shift_v).max() < 2.0 and len(said) == 1
    found = evaluation_at(surface, far.positions_av, memory)
    inside = CHARGES @ (far.positions_av + shift_v)
    np.testing.assert_allclose([found.extras[name] for name in DIPOLE], inside - IONS.charge * shift_v, atol=1e-12)
    # back in the middle by itself it would be outside: it is moved again, and its electrons are of another place
    evaluation_at(surface, far.positions_av, memory)
    assert memory.electrons.count == 2
    assert evaluation_at(surface, IONS.positions_av, memory).extras["count"] == 1.0 and len(said) == 2


def test_an_error_is_that_of_its_geometry_alone_and_memories_are_of_their_owners():
    surface, straight = moving(), np.array([[0.0, 0, 0], [1.0, 0, 0], [2.0, 0, 0]])
    memories = [surface.fresh() for _ in range(4)]
    far = IONS.positions_av * 100.0
    for count in (1.0, 2.0):
        results = surface.evaluate([IONS.positions_av, straight, far, IONS.positions_av], memories)
        assert [isinstance(result, MpiqmdError) for result in results] == [False, True, True, False]
        assert results[0].extras["count"] == results[3].extras["count"] == count
    assert [memory.electrons.count for memory in memories] == [2, 0, 0, 2]


def test_extras_follow_the_choices_and_unknown_forces_are_refused():
    plain = Owner(moving(forces="hellmann-feynman", region=Box(), tells_net_force=True)).at(IONS.positions_av)
    assert plain.extras["training_distance"] == 0.5
    assert plain.extras["net_force"] == pytest.approx(np.linalg.norm(PULLS.sum(axis=0)), abs=1e-12)
    assert "training_distance" not in Owner(moving()).at(IONS.positions_av).extras
    with pytest.raises(ConfigError, match="forces = 'pulay'"):
        moving(forces="pulay")
