"""``rom.online = "learned"`` from the command line: train, what the file says, dynamics, evaluate."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

from mpiqmd.md.trajectory import Trajectory
from mpiqmd.pipeline.info import describe
from tests.helpers.workplace import WATER, Bench, Trained, with_keys

pytestmark = pytest.mark.serial


@pytest.fixture(scope="module")
def learned(session_folder):
    """A model of water with a learned grid."""
    bench = Bench(MPI.COMM_WORLD.Dup(), session_folder)
    path = bench.write("learned.toml", with_keys(WATER, rom={"online": "learned", "max_rank": 3}))
    folder = session_folder / "learned"
    return Trained(path, folder, bench.run("train", path, "--output", folder))


def test_modes_are_not_capped_and_unseen_errors_are_those_of_the_modes(learned):
    result = learned.result
    assert result["rank"] == result["rank_sigma"] > 3
    in_use, on_grid = (result["errors"]["worst"]["unseen"][form] for form in ("in_use", "on_grid"))
    assert abs(in_use["energy"]["mean"] - on_grid["energy"]["mean"]) < 2e-6
    assert abs(in_use["force"]["largest"] - on_grid["force"]["largest"]) < 1e-4


def test_info_says_how_large_it_is(learned):
    _, lines = describe(learned.model)
    assert any("learned grid" in line and "latent directions" in line and "points" in line for line in lines)


def test_dynamics_conserves_energy(learned, bench):
    path = bench.write("water.toml", with_keys(WATER, rom={"online": "learned"}, md={"steps": 40, "thermostat": "none"}))
    bench.run("md", path, "--model", learned.model, "--output", bench.folder / "run")
    seen = Trajectory.open(bench.folder / "run" / "trajectory.h5").observables
    total_t = seen["potential_energy"] + seen["kinetic_energy"]
    assert np.ptp(total_t) < 0.02 * np.ptp(seen["potential_energy"]) and len(total_t) > 30


def test_a_model_of_another_online_stage_is_refused_in_words(learned, bench, capsys):
    path = bench.write("water.toml", with_keys(WATER, rom={"online": "compiled"}))
    assert bench.status("md", path, "--model", learned.model, "--output", bench.folder / "run") == 1
    assert "rom.online = 'compiled'" in capsys.readouterr().err
