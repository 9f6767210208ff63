"""The same commands on any number of ranks give the same numbers.

``run/tests`` starts ``run FOLDER`` under mpirun once for each number of ranks, which leaves ``results-nN.json`` there, and
``compare FOLDER`` at the end: energies must agree to 1e-10 Ha, forces to 1e-8 Ha/bohr, positions after a few steps of
dynamics to 1e-8 bohr, and the numbers of modes exactly.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from tests.helpers.workplace import WATER, Bench, with_keys

TOLERANCES = {"energies": 1e-10, "forces": 1e-8, "positions": 1e-8, "modes": 0.0}
"""Largest difference allowed, by kind of number: Ha, Ha/bohr, bohr, modes."""

TIGHT = {"energy_tolerance": 1e-12}
"""Well below what is asked for, so that an iteration more or less cannot be seen."""

CASES = {
    "isolated LDA": {"scf": TIGHT},
    "periodic PBE": {"scf": TIGHT, "grid": {"boundary": "periodic"}, "xc": {"functional": "PBE"}},
}


def run(folder: Path) -> None:
    """Run the commands on all ranks of this job and write their numbers.  Collective over the world."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD.Dup()
    here = folder / f"n{comm.size}"
    if comm.rank == 0:
        here.mkdir(parents=True)
    comm.Barrier()
    bench = Bench(comm, here)
    numbers: dict[str, dict[str, object]] = {}
    for name, sections in CASES.items():
        path = bench.write("scf.toml", with_keys(WATER, **sections))
        result = bench.run("scf", path, "--output", here / name.replace(" ", "-"))
        numbers[f"scf, {name}"] = {"energies": result["free_energy"], "forces": result["forces"]}
    tight_rom = {"online": "grid", "tolerance": 1e-11}
    train = {"energy_tolerance": 1e-12, "validation": 2}
    path = bench.write("rom.toml", with_keys(WATER, rom=tight_rom, train=train, scf=TIGHT))
    result = bench.run("train", path, "--output", here / "train")
    numbers["train"] = {
        "energies": [*result["energies"], *(row["energy_error"] for row in result["unseen"])],
        "positions": [row["positions"] for row in result["unseen"]],
        "modes": [result["rank"], result["rank_sigma"], result["rank_sigma2"], result["snapshots"]],
    }
    model = ("--model", here / "train" / "model.h5")
    for name, options in {"rom": model, "hifi": ()}.items():
        bench.run("md", path, *options, "--steps", 3, "--extxyz", "--output", here / name)
        numbers[f"md, {name}"] = bench.once(_trajectory, here / name / "trajectory.h5")
    if comm.rank == 0:
        (folder / f"results-n{comm.size}.json").write_text(json.dumps(numbers, indent=1))


def _trajectory(path: Path) -> dict[str, list]:
    from mpiqmd.md.trajectory import Trajectory

    trajectory = Trajectory.open(path)
    energies = trajectory.observables["potential_energy"]
    return {"energies": energies.tolist(), "positions": trajectory.positions_tav.tolist()}


def compare(folder: Path) -> int:
    """Print the largest difference from one rank of every kind of number; return 1 if any is too large."""
    files = sorted(folder.glob("results-n*.json"))
    if len(files) < 2:
        print(f"{folder} holds {len(files)} results; at least two are needed")
        return 1
    contents = {file.stem.removeprefix("results-"): json.loads(file.read_text()) for file in files}
    (first, reference), *others = contents.items()
    print(f"largest differences from {first}" + "".join(f"{name:>10s}" for name, _ in others))
    failed = False
    for case, kinds in reference.items():
        for kind, values in kinds.items():
            differences = [_difference(values, other[case][kind]) for _, other in others]
            too_large = max(differences) > TOLERANCES[kind]
            failed = failed or too_large
            numbers = "".join(f"{difference:10.1e}" for difference in differences)
            print(f"  {case + ', ' + kind:31s}{numbers}" + ("  TOO LARGE" if too_large else ""))
    return int(failed)


def _difference(one: object, other: object) -> float:
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).max())


if __name__ == "__main__":
    command, where = sys.argv[1], Path(sys.argv[2])
    sys.exit(compare(where) if command == "compare" else run(where))
