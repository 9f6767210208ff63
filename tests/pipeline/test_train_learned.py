"""``rom.online = "learned"``, the default, from the command line: train, what the file says, dynamics."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.md.trajectory import Trajectory
from mpiqmd.pipeline.info import describe
from tests.helpers.workplace import WATER, with_keys

pytestmark = pytest.mark.serial


def test_unseen_errors_are_those_of_the_modes(trained):
    result = trained.result
    assert result["rank"] == result["rank_sigma"]
    in_use, on_grid = (result["errors"]["worst"]["unseen"][form] for form in ("in_use", "on_grid"))
    assert abs(in_use["energy"]["mean"] - on_grid["energy"]["mean"]) < 2e-6
    assert abs(in_use["force"]["largest"] - on_grid["force"]["largest"]) < 1e-4


def test_info_says_how_large_it_is(trained):
    _, lines = describe(trained.model)
    assert any("learned grid" in line and "latent directions" in line and "points" in line for line in lines)


def test_dynamics_conserves_energy(trained, bench):
    path = bench.write("water.toml", with_keys(WATER, md={"steps": 40, "thermostat": "none"}))
    bench.run("md", path, "--model", trained.model, "--output", bench.folder / "run")
    seen = Trajectory.open(bench.folder / "run" / "trajectory.h5").observables
    total_t = seen["potential_energy"] + seen["kinetic_energy"]
    assert np.ptp(total_t) < 0.02 * np.ptp(seen["potential_energy"]) and len(total_t) > 30
