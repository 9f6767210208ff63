"""The fixed cases of the Hi-Fi benchmark, and how their time is taken."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mpiqmd.config import Settings, parse_input
from mpiqmd.pipeline.circumstances import loaded_versions

WATER = {
    "symbols": ["O", "H", "H"],
    "positions": [[0.0, 0.0, 0.0], [1.1203576, 1.4469620, 0.0], [1.1203576, -1.4469620, 0.0]],
}
"""Bonds of 1.83 bohr, angle of 104.5 degrees: the centre of the training lattice."""

ENERGY_TOLERANCE = 1e-8
"""What other codes are asked for, too, Ha."""

CASES: dict[str, dict[str, Any]] = {
    "lda-8": {},  # the default of run/water: most users' first run
    "lda-12": {"grid": {"order": 12}},  # the price of accuracy: 1 mHa from the converged energy
    "pbe-8": {"xc": {"functional": "PBE"}},  # gradients of the density; dearest part of the potential
    "lda-8-periodic": {"grid": {"boundary": "periodic"}},  # no padding in Poisson, other cores
    "lda-8-md": {"md": {"steps": 30, "timestep": 40.0, "thermostat": "none"}},  # warm starts: what training and MD see
}
"""Name of each case and what it changes in the base input; with a section ``md`` it is a trajectory."""


def settings_of(case: str, points: int = 64, edge: float = 12.0) -> Settings:
    """Return the settings of a case: water in a cube, order 8, isolated, LDA, GTH, and the case's changes."""
    base: dict[str, dict[str, Any]] = {
        "system": WATER,
        "grid": {"cell": edge, "points": points, "order": 8, "boundary": "isolated"},
        "xc": {"functional": "LDA"},
        "pseudopotentials": {"default": "gth"},
        "scf": {"energy_tolerance": ENERGY_TOLERANCE},
        "md": {"temperature": "300 K", "seed": 1},
    }
    changed = {name: section | CASES[case].get(name, {}) for name, section in base.items()}
    return parse_input(changed, Path())


class Stopwatch:
    """CPU seconds of this process and wall-clock seconds of what ran inside ``with``."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Add what the body takes."""
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            yield
        finally:
            self.cpu += time.process_time() - cpu
            self.wall += time.perf_counter() - wall


def circumstances() -> dict[str, Any]:
    """Return where and with what is measured now: ``machine`` and ``versions``."""
    return {"machine": machine(), "versions": loaded_versions()}


def machine() -> dict[str, Any]:
    """Return what the times must be read with: date, processor, cores, load average before the run, threads of BLAS."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "threads": {name: os.environ.get(name) for name in names},
    }


def processor(path: Path = Path("/proc/cpuinfo")) -> str | None:
    """Return the name of the processor, if the system says it."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
