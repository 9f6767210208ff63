"""What the progress line tells of the energy."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
from mpi4py import MPI

from mpiqmd.md.progress import Progress, RunningSlope
from mpiqmd.parallel.log import Log
from mpiqmd.units import ATOMIC_TIME_IN_FS


@pytest.mark.serial
def test_the_slope_is_that_of_a_fit_to_all_points(rng):
    times, values = np.sort(rng.uniform(0.0, 3.0, 500)), -17.2 + 1e-6 * rng.normal(size=500)
    running = RunningSlope()
    for count, (t, y) in enumerate(zip(times, values, strict=True), start=1):
        running.add(t, y)
        if count in (2, 17, 500):
            # an energy of 17 Ha leaves ten digits for its changes
            assert running.slope == pytest.approx(np.polyfit(times[:count], values[:count], 1)[0], rel=1e-5)
    assert RunningSlope().slope == 0.0


@pytest.mark.serial
def test_an_oscillation_is_not_told_as_a_drift():
    """Its last value would be: 3e-5 Ha after a picosecond of three atoms."""
    out = io.StringIO()
    progress = Progress(Log(MPI.COMM_SELF, out), steps=1000)
    progress.interval = 1e9
    for step in range(1001):
        energy = -17.2 + 3e-5 * np.sin(2.0 * np.pi * 40.25 * step / 1000)
        time = step / ATOMIC_TIME_IN_FS
        observables = {"conserved_energy": energy, "total_energy": energy, "temperature": 1e-3}
        nuclei = SimpleNamespace(symbols=("O", "H", "H"))
        progress.update(
            SimpleNamespace(step=step, time=time, conserved_energy=energy, nuclei=nuclei, observables=lambda o=observables: o)
        )
    drift = float(out.getvalue().split("drift")[-1].split()[0])
    assert abs(drift) < 1e-6
