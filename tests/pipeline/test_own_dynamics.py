"""Frames of a model's own dynamics: thermal, the same on any number of ranks, and never from where the model has no answer."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.surface import Memory
from mpiqmd.parallel.log import silent
from mpiqmd.pipeline.own_dynamics import GRID_FREE, MOST_LEFT, own_frames
from mpiqmd.rom.learned.body_solver import OutsideTablesError
from mpiqmd.units import KELVIN_IN_HARTREE

REFERENCE = Molecule(("O", "H", "H"), np.array([[0.0, 0.0, 0.0], [1.1, 1.4, 0.0], [1.1, -1.4, 0.0]]))
PAIRS, STIFFNESS = ((0, 1), (0, 2), (1, 2)), 0.3
TEMPERATURE = 300.0 * KELVIN_IN_HARTREE


def lengths(positions_av):
    return np.array([np.linalg.norm(positions_av[b] - positions_av[a]) for a, b in PAIRS])


REST = lengths(REFERENCE.positions_av)


class Springs:
    """Three springs that are torn beyond a stretch."""

    def __init__(self, longest=np.inf):
        self.longest = longest

    def fresh(self, company=1):
        return Memory()

    def evaluate(self, positions_bav, memories):
        return [self.at(positions_av) for positions_av in positions_bav]

    def at(self, positions_av):
        stretches = lengths(positions_av) - REST
        if np.abs(stretches).max() > self.longest:
            return OutsideTablesError("torn")
        forces_av = np.zeros((3, 3))
        for (a, b), stretch in zip(PAIRS, stretches, strict=True):
            arm_v = positions_av[b] - positions_av[a]
            pull_v = STIFFNESS * stretch * arm_v / np.linalg.norm(arm_v)
            forces_av[a] += pull_v
            forces_av[b] -= pull_v
        return Evaluation(0.5 * STIFFNESS * float(stretches @ stretches), forces_av)


def frames(comm, count, longest=np.inf, seed=1):
    stage = SimpleNamespace(
        surface=SimpleNamespace(surface=Springs(longest)),
        frame=make_frame(REFERENCE),
        model=SimpleNamespace(grid=SimpleNamespace(comm=comm)),
        grid_free=object(),
    )
    return own_frames(stage, REFERENCE, TEMPERATURE, count, seed, silent(comm))


def test_they_have_the_potential_energy_of_the_temperature(comm):
    """Three springs of k_B T / 2 each on the average."""
    found = frames(comm, 40)
    energies = [Springs().at(positions_av).energy for positions_av in found.positions_sav]
    assert np.mean(energies) == pytest.approx(1.5 * TEMPERATURE, rel=0.35)
    assert found.turns == 0 and found.positions_sav.shape == (40, 3, 3)


def test_they_follow_from_the_seed(comm):
    one, again, other = frames(comm, 3), frames(comm, 3), frames(comm, 3, seed=2)
    assert np.array_equal(one.positions_sav, again.positions_sav)
    assert all(np.array_equal(one.positions_sav, each) for each in comm.allgather(one.positions_sav))
    assert not np.isclose(one.positions_sav, other.positions_sav).all()


def test_runs_turn_back_where_the_model_ends(comm):
    bound = float(np.quantile([np.abs(lengths(x) - REST).max() for x in frames(comm, 16).positions_sav], 0.9))
    found = frames(comm, 8, longest=bound)
    assert found.turns > 0 and len(found.positions_sav) == 8
    assert all(np.abs(lengths(positions_av) - REST).max() <= bound for positions_av in found.positions_sav)
    assert len(found.left_sav) == min(found.turns, MOST_LEFT)
    beyond = [np.abs(lengths(positions_av) - REST).max() / bound for positions_av in found.left_sav]
    assert min(beyond) > 1.0 and max(beyond) < 1.4


def test_a_model_that_has_no_answer_anywhere_near_gives_none(comm):
    found = frames(comm, 4, longest=1e-6)
    assert found.positions_sav.shape == (0, 3, 3) and found.turns > 4


def test_none_are_asked_for(comm):
    assert frames(comm, 0).positions_sav.shape == (0, 3, 3)


def test_frames_of_a_run_are_far_apart():
    assert GRID_FREE.steps * GRID_FREE.timestep > 4000.0
