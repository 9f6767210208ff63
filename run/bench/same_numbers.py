"""Two checkouts, the same inputs: do energies, forces and trajectories stay what they were?

    .venv/bin/python -m run.bench.same_numbers OLD NEW [--ranks 1 3] [--steps 100] [--cell 9] [--points 40]

OLD and NEW are checkouts in which ``run/setup`` has been run.  Each solves water on a small grid (with and without a finer
density), trains a reduced model, and runs dynamics on the full surface, on the reduced one on the grid, and on the
grid-free one; files are read by the checkout that wrote them.  Prints the largest differences and ends with status 1 if one
is above its bound: what a change of the code's structure may do to its numbers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

BOUNDS = {"energy": 1e-12, "forces": 1e-10, "positions": 1e-10}
"""Largest differences allowed: Ha, relative to the size of the energy above 1 Ha; Ha/bohr; bohr."""

WATER = """
[system]
symbols = ["O", "H", "H"]
positions = [[0.0, 0.0, 0.0], [1.12, 1.447, 0.0], [1.12, -1.447, 0.0]]
[grid]
cell = {cell}
points = {points}
density = "{density}"
[xc]
functional = "{functional}"
[scf]
energy_tolerance = 1e-11
[md]
timestep = "0.5 fs"
temperature = "300 K"
[train]
validation = 0
[rom]
online = "{online}"
max_rank = 24
check_every = 0
"""

INPUTS = {
    "lda": {"density": "same", "functional": "LDA", "online": "learned"},
    "grid": {"density": "same", "functional": "LDA", "online": "grid"},
    "pbe": {"density": "finer", "functional": "PBE", "online": "grid"},
}
"""What differs between the inputs."""

READER = """
import json, sys
from mpiqmd.md.trajectory import Trajectory
found = Trajectory.open(__import__("pathlib").Path(sys.argv[1]))
print(json.dumps({"positions": found.positions_tav.tolist(), "energy": found.observables["potential_energy"].tolist()}))
"""


class Checkout:
    """One checkout at work in a folder of its own."""

    def __init__(self, root: Path, folder: Path, ranks: int, steps: int, grid: dict[str, float]) -> None:
        self.python, self.program = root / ".venv/bin/python", root / ".venv/bin/mpiqmd"
        self.launcher = (root / ".venv/launcher").read_text().strip()
        self.folder, self.ranks, self.steps = folder, ranks, steps
        folder.mkdir(parents=True)
        for name, differing in INPUTS.items():
            (folder / f"{name}.toml").write_text(WATER.format(**differing, **grid))

    def numbers(self) -> dict[str, dict[str, list]]:
        """Return what every command finds."""
        found = {name: self._scf(name) for name in ("lda", "pbe")}
        found["md, Hi-Fi"] = self._md("lda", "hifi")
        found["md, Hi-Fi, finer density"] = self._md("pbe", "hifi-finer")
        self._run("train", "lda", "--output", "train")
        self._run("train", "pbe", "--output", "train-finer")
        found["md, grid"] = self._md("grid", "rom-grid", "--model", "train/model.h5")
        found["md, grid, finer density"] = self._md("pbe", "rom-finer", "--model", "train-finer/model.h5")
        found["md, grid-free"] = self._md("lda", "grid-free", "--model", "train/model.h5")
        return found

    def _scf(self, name: str) -> dict[str, list]:
        self._run("scf", name, "--output", f"scf-{name}")
        result = json.loads((self.folder / f"scf-{name}/result.json").read_text())
        return {"energy": [result["free_energy"]], "forces": result["forces"]}

    def _md(self, name: str, output: str, *options: str) -> dict[str, list]:
        self._run("md", name, *options, "--steps", str(self.steps), "--output", output)
        command = [self.python, "-c", READER, self.folder / output / "trajectory.h5"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=self.folder).stdout)

    def _run(self, command: str, name: str, *options: str) -> None:
        words = [self.launcher, "--oversubscribe", "-n", str(self.ranks), self.program, command, f"{name}.toml", *options]
        words += ["--quiet"]
        done = subprocess.run(list(map(str, words)), cwd=self.folder, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, words))} ended with status {done.returncode}:\n{done.stderr}")


def compare(old: dict[str, dict[str, list]], new: dict[str, dict[str, list]]) -> bool:
    """Print the largest difference of every kind of number; return whether all are within their bounds."""
    fine = True
    for case, kinds in old.items():
        for kind, values in kinds.items():
            before, after = np.asarray(values, float), np.asarray(new[case][kind], float)
            scale = max(1.0, float(np.abs(before).max())) if kind == "energy" else 1.0
            difference = float(np.abs(after - before).max()) / scale
            within = difference <= BOUNDS[kind]
            fine = fine and within
            print(f"  {case:26s} {kind:10s} {difference:9.1e}" + ("" if within else f"  above {BOUNDS[kind]:.0e}"))
    return fine


def main() -> int:
    """Run both checkouts on each number of ranks and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--cell", type=float, default=9.0, help="edge, bohr")
    parser.add_argument("--points", type=int, default=40, help="points a side; far fewer push the molecule through the cell")
    arguments = parser.parse_args()
    grid = {"cell": arguments.cell, "points": arguments.points}
    fine = True
    for ranks in arguments.ranks:
        print(f"{ranks} rank{'s' * (ranks > 1)}, {arguments.steps} steps: largest differences")
        with tempfile.TemporaryDirectory() as folder:
            roots = {"old": arguments.old.resolve(), "new": arguments.new.resolve()}
            found = {
                name: Checkout(root, Path(folder) / name, ranks, arguments.steps, grid).numbers()
                for name, root in roots.items()
            }
        fine = compare(found["old"], found["new"]) and fine
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
