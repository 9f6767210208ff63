"""Other codes beside mpiqmd: the same molecule, cell and grid, one core, CPU seconds.

    MPIQMD_PEERS_PYTHON=/path/to/python .venv/bin/python -m run.bench.peers --output results/bench/peers.json

Water in a cube of 12 bohr with 64 points a side, isolated: the ground state with forces from scratch to about 1e-8 Ha,
then NVE steps of 40 atomic units.  Peers (``--peers``, all by default):

gpaw            finite differences, HGH, LDA; its criteria set so that the energy is good to 1e-8 Ha
gpaw-defaults   the same with its own criteria for density and orbitals, the energy's as tight as ours
pyscf           PBE in def2-TZVP: what a chemist takes for one molecule (all electrons; energies not comparable)
sparc           order 12, psp8 files of MPIQMD_PSP8_FOLDER, PBE; ground state only
mgmol           order 4, its own files of MPIQMD_MGMOL_PSEUDOS, PBE

Peers run in their own process, so they may live in another Python (``MPIQMD_PEERS_PYTHON``; install them with
``python3 -m venv peers; peers/bin/pip install gpaw pyscf``, GPAW needs a C++ compiler, BLAS and libxc) or anywhere on
PATH.  A missing one is reported with how to install it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mpi4py import MPI

from mpiqmd.pipeline.build import build_model, build_molecule
from mpiqmd.pipeline.results import plain, read_result, write_result
from run.bench.cases import CASES, ENERGY_TOLERANCE, circumstances, settings_of
from run.bench.hifi import start_velocities
from run.bench.peer_codes.adapters import SINGLE_CORE, FailedPeer, MgmolPeer, MissingPeer, PythonPeer, SparcPeer

GPAW_INSTALL = "pip install gpaw, with a C++ compiler, BLAS and libxc; set MPIQMD_PEERS_PYTHON to that Python"
PEERS = {
    "gpaw": PythonPeer("gpaw", "gpaw_water.py", GPAW_INSTALL, (("gpaw_criteria", {"density": 1e-4, "eigenstates": 1e-5}),)),
    "gpaw-defaults": PythonPeer("gpaw", "gpaw_water.py", GPAW_INSTALL, (("gpaw_criteria", {}),)),
    "pyscf": PythonPeer("pyscf", "pyscf_water.py", "pip install pyscf; set MPIQMD_PEERS_PYTHON to that Python"),
    "sparc": SparcPeer("compile SPARC (MPI, BLAS, LAPACK) and put `sparc` on PATH"),
    "mgmol": MgmolPeer("compile MGmol (MPI, HDF5, BLAS, LAPACK, Boost) and put `mgmol-opt` on PATH"),
}
ROOT = Path(__file__).parents[2]
OURS = ("lda-8", "lda-12", "lda-8-md")


def case(points: int, steps: int) -> dict[str, Any]:
    """Return what every peer is told, in atomic units."""
    settings = settings_of("lda-8-md", points)
    molecule = build_molecule(settings, MPI.COMM_SELF)
    model = build_model(settings, MPI.COMM_SELF, molecule)
    told = {
        "symbols": list(molecule.symbols),
        "positions": molecule.positions_av,
        "masses": molecule.masses_a,
        "velocities": start_velocities(molecule, settings.md.seed, settings.md.temperature),
        "n_electrons": model.n_electrons,
        "cell": float(model.grid.cell_v[0]),
        "points": points,
        "boundary": model.grid.boundary,
        "functional": settings.xc.functional,
        "energy_tolerance": ENERGY_TOLERANCE,
        "scf_tolerance": 1e-5,
        "timestep": settings.md.timestep,
        "steps": steps,
    }
    model.grid.destroy()
    return plain(told)


def ours(points: int) -> dict[str, Any]:
    """Return the records of our cases, run as the peers are: in a fresh process on one core."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hifi.json"
        command = [sys.executable, "-m", "run.bench.hifi", "--cases", *OURS, "--points", str(points), "--output", str(path)]
        subprocess.run(command, check=True, stdout=sys.stderr, env=os.environ | SINGLE_CORE, cwd=ROOT)
        return read_result(path)["cases"]


def summary(own: dict[str, Any], peers: dict[str, Any]) -> list[str]:
    """Return the table: CPU seconds of each code, and how many times ours."""
    start = own["lda-8"]["setup_cpu_seconds"] + own["lda-8"]["cpu_seconds"]
    step = own["lda-8-md"]["cpu_seconds_per_step"]
    lines = [f"{'':28s} {'from scratch':>14s} {'its':>5s} {'ratio':>7s} {'NVE step':>10s} {'ratio':>7s} {'energy (Ha)':>16s}"]
    for name in ("lda-8", "lda-12"):
        record = own[name]
        seconds = record["setup_cpu_seconds"] + record["cpu_seconds"]
        tail = f"{step:10.2f} {1.0:7.1f}" if name == "lda-8" else f"{'':18s}"
        lines.append(_line(f"mpiqmd {name}", seconds, record["iterations"], seconds / start, tail, record["energy"]))
    for name, record in peers.items():
        if "missing" in record or "failed" in record:
            lines.append(f"{name:28s} " + (f"missing: {record.get('missing')}" if "missing" in record else "FAILED"))
            continue
        steps = record.get("step_seconds", [])
        taken = statistics.median(steps) if steps else None
        tail = f"{taken:10.2f} {taken / step:7.1f}" if taken is not None else f"{'':18s}"
        seconds = record["ground_state_seconds"]
        label = f"{name} {record.get('version', '')}"
        lines.append(_line(label, seconds, record["iterations"], seconds / start, tail, record["energy"]))
    return lines


def _line(label: str, seconds: float, iterations: int, ratio: float, tail: str, energy: float) -> str:
    return f"{label:28s} {seconds:14.2f} {iterations:5d} {ratio:7.1f} {tail} {energy:16.8f}"


def main() -> None:
    """Run ours and the peers asked for, print the table and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--points", type=int, default=64, help="points a side of the 12 bohr cube")
    parser.add_argument("--steps", type=int, default=3, help="NVE steps of each peer")
    parser.add_argument("--output", type=Path, default=Path("peers.json"))
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    told, record = case(arguments.points, arguments.steps), circumstances()
    record |= {"case": told, "our_cases": {name: CASES[name] for name in OURS}, "ours": ours(arguments.points), "peers": {}}
    for name in arguments.peers:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            record["peers"][name] = PEERS[name].run(told)
        except MissingPeer as problem:
            record["peers"][name] = {"missing": str(problem)}
        except FailedPeer as problem:
            record["peers"][name] = {"failed": str(problem)}
            print(json.dumps(record["peers"][name]), file=sys.stderr)
        write_result(arguments.output, record)
    print("\n".join(summary(record["ours"], record["peers"])))
    print(f"CPU seconds on one core; load average before: {record['machine']['load_average']:.2f}")


if __name__ == "__main__":
    main()
