"""The blended surface of windows: conservative forces through borders, images, memories, and what is said of errors."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from mpi4py import MPI
from scipy.spatial.transform import Rotation

from mpiqmd.errors import AccuracyError, GeometryError
from mpiqmd.molecule.evaluation import DIPOLE, Evaluation
from mpiqmd.molecule.judgement import FORCE_ERROR
from mpiqmd.molecule.surface import Memory, Owner
from mpiqmd.molecule.torsion import find_torsions
from mpiqmd.rom.reactions import Limits, Tolerance
from mpiqmd.rom.watch import Watch
from mpiqmd.rom.windowed_surface import WindowedSurface
from mpiqmd.sampling.windows import all_around, lay_windows
from tests.helpers.oracles import position_gradient
from tests.helpers.toy_surfaces import ToySurface
from tests.unit.molecule.test_torsion import named, shaken

pytestmark = pytest.mark.serial
PEROXIDE = named("H2O2")
(TORSION,) = find_torsions(PEROXIDE)
WINDOWS = lay_windows(TORSION, PEROXIDE, all_around(TORSION, np.radians(30.0)))
BONDS = ((0, 1), (0, 2), (1, 3), (2, 3), (0, 3), (1, 2))
CHARGES = np.array([-0.5, -0.4, 0.4, 0.5])


class Counting(Memory):
    """Counts what its owner asked: that is its state."""

    def __init__(self):
        self.asked = 0

    def state(self):
        return {"asked": np.array(self.asked)}

    def restore(self, state):
        self.asked = int(state["asked"])


class Distances(ToySurface):
    """A smooth function of all distances, blind to mirrors and to no exchange, with a constant of its own."""

    def __init__(self, model: int) -> None:
        self.model, self.asked = model, []

    def fresh(self, company=1):
        return Counting()

    def at(self, positions_av, memory):
        self.asked.append(positions_av)
        memory.asked += 1
        if memory.asked == 99:
            raise AccuracyError("the hundredth is too many. Ask less.")
        energy, forces_av = -10.0 + 1e-3 * self.model, np.zeros_like(positions_av)
        for number, (i, j) in enumerate(BONDS, start=1):
            apart_v = positions_av[i] - positions_av[j]
            distance = np.linalg.norm(apart_v)
            energy += 0.1 * number * (distance - 2.0) ** 2
            pull_v = -0.2 * number * (distance - 2.0) * apart_v / distance
            forces_av[i] += pull_v
            forces_av[j] -= pull_v
        extras = {
            "error_estimate": 1e-6 * (1 + self.model),
            "force_error_estimate": 1e-5 * (1 + self.model),
            "evaluations": 1.0,
            "error_age": 0.0,
        }
        extras |= zip(DIPOLE, (CHARGES @ positions_av).tolist(), strict=True)
        return Evaluation(energy, forces_av, extras, {FORCE_ERROR: np.arange(4.0) + self.model})


def blended() -> tuple[WindowedSurface, dict[int, Distances]]:
    """The surface of all windows, and the models that were asked for, by window."""
    models: dict[int, Distances] = {}

    def surface_of(window):
        return models.setdefault(window, Distances(window))

    limits = Limits.named(1, Tolerance(1.0, inf), "warn")
    return WindowedSurface(WINDOWS, surface_of, limits, MPI.COMM_SELF), models


def at_angle(degrees: float, seed: int = 3) -> np.ndarray:
    """A geometry at an angle."""
    return TORSION.moved(shaken(PEROXIDE, seed), np.radians(degrees))


@pytest.mark.parametrize("degrees", [0.0, 14.0, 16.5, 75.0, 134.0, 179.0, -14.0, -47.0, -164.0])
def test_forces_are_the_derivative_of_the_energy_in_windows_and_between_them(degrees):
    owner, positions_av = Owner(blended()[0]), at_angle(degrees)
    forces_av = owner.at(positions_av).forces_av
    slopes_av = position_gradient(lambda there_av: owner.at(there_av).energy, positions_av, 1e-4)
    assert -slopes_av == pytest.approx(forces_av, abs=2e-8)
    # nothing that blends pushes or turns the molecule as a whole
    assert forces_av.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-12)
    assert np.cross(positions_av, forces_av).sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-11)


def test_a_mirror_image_has_the_same_energy_and_mirrored_forces():
    owner, positions_av = Owner(blended()[0]), at_angle(47.0)
    mirror_v = np.array([1.0, 1.0, -1.0])
    one, other = owner.at(positions_av), owner.at(positions_av * mirror_v)
    assert other.energy == pytest.approx(one.energy, abs=1e-13)
    assert other.forces_av == pytest.approx(one.forces_av * mirror_v, abs=1e-12)
    for name, sign in zip(DIPOLE, mirror_v, strict=True):
        assert other.extras[name] == pytest.approx(sign * one.extras[name], abs=1e-12)


def test_only_models_of_windows_that_the_molecule_comes_to_are_loaded():
    surface, models = blended()
    owner = Owner(surface)
    owner.at(at_angle(61.0))
    assert list(models) == [2] and len(models[2].asked) == 1
    owner.at(at_angle(75.0))
    assert sorted(models) == [2, 3]
    found = owner.at(at_angle(-61.0))
    assert sorted(models) == [2, 3] and found.extras["window"] == 10.0
    assert np.degrees(found.extras["window_coordinate"]) == pytest.approx(-61.0)


def test_estimates_are_blended_like_energies_and_watched_once_a_step():
    surface, _ = blended()
    owner = Owner(surface)
    found = owner.at(at_angle(75.0))
    weights = {share.window: share.weight for share in WINDOWS.place(at_angle(75.0)).shares}
    assert set(weights) == {2, 3} and found.extras["evaluations"] == 2.0
    assert found.extras["error_estimate"] == pytest.approx(1e-6 * (3 * weights[2] + 4 * weights[3]))
    # what the windows' energies are wrong by differs, and slopes of the weights make a force of the difference
    slope = next(share.slope for share in WINDOWS.place(at_angle(75.0)).shares if share.window == 3)
    pull_a = 1e-6 * abs(slope) * np.linalg.norm(TORSION.gradient(at_angle(75.0)), axis=1)
    assert found.per_atom[FORCE_ERROR] == pytest.approx(np.arange(4.0) + 2 * weights[2] + 3 * weights[3] + pull_a, abs=1e-12)
    assert found.extras["force_error_estimate"] == found.per_atom[FORCE_ERROR].max()
    owner.at(at_angle(-90.0))
    assert (owner.memory.watch.evaluations, owner.memory.watch.checks, owner.memory.watch.largest_at) == (2, 2, 0)
    assert surface.summary(owner.memory.watch)["largest"] == pytest.approx(4e-6)


def test_energies_are_blended_without_losing_digits():
    """A constant common to all models is not felt, however large: slopes sum to zero only to round-off."""
    surface, _ = blended()
    turned = Rotation.from_euler("xyz", [1.0, 0.3, -2.0]).as_matrix()
    one, other = Owner(surface).at(at_angle(75.0)), Owner(surface).at(at_angle(75.0) @ turned.T)
    assert other.energy == pytest.approx(one.energy, abs=1e-13)
    assert other.forces_av @ turned == pytest.approx(one.forces_av, abs=1e-12)


def test_memories_of_all_windows_survive_a_restart():
    surface, _ = blended()
    first, second = Owner(surface), Owner(blended()[0])
    for degrees in (61.0, 75.0, 89.0):
        first.at(at_angle(degrees))
    second.memory.restore(first.memory.state())
    assert {name: array.tolist() for name, array in second.memory.state().items()} == {
        name: array.tolist() for name, array in first.memory.state().items()
    }
    assert second.memory.of(2).asked == 2 and second.memory.of(3).asked == 2
    second.memory.forget()
    assert list(second.memory.state()) == ["guard", "checked"] and second.memory.watch == Watch()


def test_several_owners_are_answered_in_their_places_and_errors_stay_in_theirs():
    surface, models = blended()
    memories = [surface.fresh(4) for _ in range(4)]
    memories[2].of(3).asked = 98
    in_line_av = PEROXIDE.positions_av.copy()
    first, second = TORSION.bond
    in_line_av[TORSION.far[0]] = 1.6 * in_line_av[second] - 0.6 * in_line_av[first]
    asked = [at_angle(61.0), in_line_av, at_angle(75.0), at_angle(-61.0)]
    one, none, failed, image = surface.evaluate(asked, memories)
    assert isinstance(none, GeometryError) and isinstance(failed, AccuracyError)
    assert one.energy == Owner(blended()[0]).at(at_angle(61.0)).energy
    assert image.energy == pytest.approx(one.energy, abs=1e-12)
    assert len(models[2].asked) == 3
    assert [memory.watch.evaluations for memory in memories] == [1, 0, 0, 1]


class InFull(Distances):
    """Solves everything in full, for want of another energy: no estimate."""

    def at(self, positions_av, memory):
        found = super().at(positions_av, memory)
        estimates = ("error_estimate", "force_error_estimate", "error_age")
        return Evaluation(
            found.energy, found.forces_av, {n: v for n, v in found.extras.items() if n not in estimates} | {"hifi": 1.0}
        )


@pytest.mark.parametrize("lost", [2, 3])
def test_the_estimate_of_one_window_is_not_lost_where_another_was_solved_in_full(lost):
    limits = Limits.named(1, Tolerance(2e-6, inf), "hifi")
    surface = WindowedSurface(WINDOWS, lambda window: (InFull if window == lost else Distances)(window), limits, MPI.COMM_SELF)
    owner, other = Owner(surface), 5 - lost
    found = owner.at(at_angle(75.0))
    assert found.extras["error_estimate"] == pytest.approx(1e-6 * (1 + other)) and found.extras["error_age"] == 0.0
    watch = owner.memory.watch
    assert (watch.checks, watch.exceeded, watch.unknown, watch.full) == (1, 1, 1, 1)
    assert found.per_atom[FORCE_ERROR].max() >= 3.0 + other


def test_an_estimate_is_as_old_as_its_owner_and_not_as_its_window():
    class Once(Distances):
        """Estimates the first time only."""

        def at(self, positions_av, memory):
            found = super().at(positions_av, memory)
            found.extras["error_age"] = float(memory.asked - 1)
            return found

    owner = Owner(WindowedSurface(WINDOWS, Once, Limits.named(9, Tolerance(1.0, inf), "warn"), MPI.COMM_SELF))
    ages = [owner.at(at_angle(degrees)).extras["error_age"] for degrees in (61.0, 62.0, 91.0, 61.0, 75.0)]
    assert ages == [0.0, 1.0, 0.0, 3.0, 4.0]
    again = Owner(owner.surface)
    again.memory.restore(owner.memory.state())
    assert again.at(at_angle(61.0)).extras["error_age"] == 5.0
