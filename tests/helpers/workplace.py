"""The command line run on a test's communicator, and the small water molecule it is run on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpi4py import MPI

from mpiqmd.cli import parse_arguments
from mpiqmd.pipeline.job import run_job
from mpiqmd.pipeline.results import read_result

WATER = """
[system]
symbols = ["O", "H", "H"]
positions = [[0.0, 0.0, 0.0], [1.12, 1.41, 0.0], [1.08, -1.39, 0.0]]
[grid]
cell = 7.0
points = 20
order = 6
[md]
steps = 6
timestep = 15.0
temperature = "100 K"
thermostat = "berendsen"
checkpoint_every = 2
[train]
bond_length = 1.78
bond_scales = [0.93, 1.07]
angle_offsets = ["-7 deg", "7 deg"]
validation = 2
rounds = 1
"""
"""Water near its minimum on a grid that is far too coarse for physics and solved in a tenth of a second."""

H2 = """
[system]
symbols = ["H", "H"]
positions = [[-0.72, 0.0, 0.0], [0.72, 0.0, 0.0]]
[grid]
cell = 7.0
points = 20
order = 6
"""
"""Hydrogen in a small cell, which tests solve in their own ways."""

READ_WATER = """
[system]
symbols = ["O", "H", "H"]
positions = [[0.0, 0.0, 0.0], [1.12, 1.447, 0.0], [1.12, -1.447, 0.0]]
[grid]
cell = 12.0
points = 64
"""
"""Water with nothing but what an input must say, for tests that read it and solve nothing."""


def with_keys(text: str, **sections: dict[str, object]) -> str:
    """The input with keys replaced or added: ``with_keys(WATER, grid={"points": 18})``; values are written as repr."""
    lines = text.strip().splitlines()
    for section, keys in sections.items():
        if f"[{section}]" not in lines:
            lines.append(f"[{section}]")
        for name, value in keys.items():
            start = lines.index(f"[{section}]") + 1
            end = next((i for i in range(start, len(lines)) if lines[i].startswith("[")), len(lines))
            lines[start:end] = [line for line in lines[start:end] if line.split("=")[0].strip() != name]
            written = str(value).lower() if isinstance(value, bool) else repr(value)
            lines.insert(start, f"{name} = {written}")
    return "\n".join(lines) + "\n"


def outside_environment() -> dict[str, str]:
    """The environment without what a launcher has put there for this job."""
    launched = ("OMPI_", "PMI", "PRTE", "PALS_", "FLUX_", "SLURM_")
    return {name: value for name, value in os.environ.items() if not name.startswith(launched)}


def loaded_by(statement: str, names: set[str]) -> set[str]:
    """Which of these modules a statement loads in a Python of its own."""
    code = f"import sys; {statement}; print(*(set({sorted(names)!r}) & set(sys.modules)))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@dataclass
class Bench:
    """A communicator, a folder that all its ranks see, and the command line run on it."""

    comm: MPI.Comm
    folder: Path

    def write(self, name: str, text: str) -> Path:
        """Put a text file into the folder."""
        path = self.folder / name
        if self.comm.rank == 0:
            path.write_text(text, encoding="utf-8")
        self.comm.Barrier()
        return path

    def status(self, *words: object) -> int:
        """Run one command line on all ranks and return its exit status."""
        status = run_job(parse_arguments([*map(str, words), "--quiet"]), self.comm)
        assert self.comm.allgather(status) == [status] * self.comm.size
        return status

    def run(self, *words: object) -> dict:
        """Run one command line that writes a result, and return it."""
        arguments = parse_arguments(list(map(str, words)))
        assert self.status(*words) == 0
        return read_result(arguments.output / "result.json")

    def once(self, function: Callable, *args: Any) -> Any:
        """Do something on rank 0 while the others wait."""
        result = function(*args) if self.comm.rank == 0 else None
        return self.comm.bcast(result, root=0)


@dataclass
class Trained:
    """The trained model: its input, output folder and result."""

    input: Path
    folder: Path
    result: dict

    @property
    def model(self) -> Path:
        """The model file."""
        return self.folder / "model.h5"
