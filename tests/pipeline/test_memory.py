"""Resident memory over long runs of ``mpiqmd md`` on either surface: flat once all buffers are full."""

from __future__ import annotations

import functools
import os

import numpy as np
import pytest

from mpiqmd.md.settings import DynamicsSettings
from mpiqmd.molecule.body_surface import BodySurface
from mpiqmd.pipeline import surface as surfaces
from mpiqmd.rom.error_control import ErrorControl
from tests.helpers.workplace import WATER, with_keys


def weighed(monkeypatch, surface, calls):
    """Let a surface note the resident memory (MB) of this process at these evaluations, by evaluation."""
    sizes, evaluate, count = {}, surface.evaluate, [0]

    def weighing(self, *asked):
        evaluation = evaluate(self, *asked)
        count[0] += 1
        if count[0] in calls:
            with open("/proc/self/statm", encoding="ascii") as file:
                sizes[count[0]] = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        return evaluation

    monkeypatch.setattr(surface, "evaluate", weighing)
    return sizes


def assert_flat(capfd, sizes, calls, largest):
    with capfd.disabled():
        print("resident memory (MB) by evaluation:", {call: round(size, 2) for call, size in sizes.items()})
    assert list(sizes) == list(calls) and np.ptp(list(sizes.values())) < largest


@pytest.mark.slow
def test_two_hundred_hifi_steps(bench, monkeypatch, capfd):
    """One function of the grid is 55 kB: one lost per step would be 8 MB.

    The buffers of a checkpoint come with the first one: it is written at step 10, however little time has passed.
    """
    calls = (60, 100, 150, 200)
    monkeypatch.setattr(surfaces, "DynamicsSettings", functools.partial(DynamicsSettings, checkpoint_seconds=0.0))
    sizes = weighed(monkeypatch, BodySurface, calls)
    keys = {"thermostat": "none", "initial_velocities": "zero", "pinned": [0], "timestep": 5.0, "checkpoint_every": 10}
    path = bench.write("long.toml", with_keys(WATER, md=keys))
    bench.run("md", path, "--steps", 200, "--output", bench.folder / "out")
    assert_flat(capfd, sizes, calls, 3.0)


@pytest.mark.slow
@pytest.mark.serial
def test_a_hundred_thousand_reduced_steps(bench, trained, monkeypatch, capfd):
    """Forty bytes lost per step would be 3 MB."""
    calls = (30_000, 65_000, 100_000)
    sizes = weighed(monkeypatch, ErrorControl, calls)
    keys = {"temperature": "50 K", "thermostat": "langevin", "relaxation_time": 2000.0, "output_every": 10}
    path = bench.write("long.toml", with_keys(WATER, md=keys, rom={"check_every": 20_000}))
    bench.run("md", path, "--model", trained.model, "--steps", 100_000, "--output", bench.folder / "out")
    assert_flat(capfd, sizes, calls, 3.0)
