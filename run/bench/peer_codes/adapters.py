"""How each peer is found, run on a case, and read: a peer returns a record or why it is missing.

A record holds ``energy`` (Ha), ``iterations``, ``ground_state_seconds`` (CPU, forces included) and, where the peer can,
``step_seconds`` and ``step_iterations`` of NVE steps.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SINGLE_CORE = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
TIME_LIMIT = 3600.0

Case = dict[str, Any]
Record = dict[str, Any]


class MissingPeer(Exception):
    """The peer is not installed; the message says how to install it."""


class FailedPeer(Exception):
    """The peer ran and failed; the message holds the end of what it said."""


@dataclass(frozen=True)
class PythonPeer:
    """A peer with a Python interface, run by a script in the Python that has it.

    ``MPIQMD_PEERS_PYTHON`` names that Python; otherwise ``python3`` of PATH.
    """

    module: str
    script: str
    install: str
    changes: tuple[tuple[str, Any], ...] = ()

    def run(self, case: Case) -> Record:
        """Run the script on the case."""
        python = os.environ.get("MPIQMD_PEERS_PYTHON", "python3")
        if _call([python, "-c", f"import {self.module}"]).returncode != 0:
            raise MissingPeer(f"{python} has no {self.module}: {self.install}")
        finished = _call([python, str(HERE / self.script)], json.dumps(case | dict(self.changes)))
        _require_success(finished)
        return json.loads(finished.stdout.strip().splitlines()[-1])


@dataclass(frozen=True)
class SparcPeer:
    """SPARC with psp8 files: order 12, Dirichlet walls, the ground state only."""

    install: str

    def run(self, case: Case) -> Record:
        """Write its two input files, run it, read energy and iterations."""
        program = _program(("sparc",), self.install)
        psp8 = _psp8_files(case, self.install)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "water.inpt").write_text(sparc_input(case))
            (Path(folder) / "water.ion").write_text(sparc_ions(case, psp8))
            seconds, _ = _timed([program, "-name", "water"], folder)
            return read_sparc((Path(folder) / "water.out").read_text()) | {"ground_state_seconds": seconds}


@dataclass(frozen=True)
class MgmolPeer:
    """MGmol with its own pseudopotential files: the difference of two runs gives the MD step."""

    install: str

    def run(self, case: Case) -> Record:
        """Run the ground state, then a trajectory, and subtract."""
        program = _program(("mgmol-opt", "mgmol"), self.install)
        pseudos = os.environ.get("MPIQMD_MGMOL_PSEUDOS")
        if not pseudos:
            raise MissingPeer("set MPIQMD_MGMOL_PSEUDOS to the folder of its pseudo.X_ONCV_PBE_SG15 files")
        with tempfile.TemporaryDirectory() as folder:
            for path in Path(pseudos).glob("pseudo.*_ONCV_PBE_SG15"):
                shutil.copy(path, folder)
            (Path(folder) / "coords.in").write_text(mgmol_coordinates(case))
            outputs, seconds = [], []
            for steps in (0, case["steps"]):
                (Path(folder) / "mgmol.cfg").write_text(mgmol_input(case, steps))
                taken, output = _timed([program, "-c", "mgmol.cfg", "-i", "coords.in"], folder)
                seconds.append(taken)
                outputs.append(output)
        record = read_mgmol(outputs[0]) | {"ground_state_seconds": seconds[0]}
        if case["steps"]:
            record["step_seconds"] = [(seconds[1] - seconds[0]) / case["steps"]]
        return record


# ---- SPARC's and MGmol's files -----------------------------------------------------------------------------------------


def sparc_input(case: Case) -> str:
    """Return the ``.inpt`` file."""
    edge, points, wall = case["cell"], case["points"], "P" if case["boundary"] == "periodic" else "D"
    return "\n".join(
        [
            f"LATVEC_SCALE: {edge} {edge} {edge}",
            "LATVEC:\n1 0 0\n0 1 0\n0 0 1",
            f"FD_GRID: {points} {points} {points}",
            "FD_ORDER: 12",
            f"BC: {wall} {wall} {wall}",
            "EXCHANGE_CORRELATION: GGA_PBE",
            f"TOL_SCF: {case['scf_tolerance']:.1e}",
            "PRINT_FORCES: 1",
        ]
    )


def sparc_ions(case: Case, psp8: dict[str, str]) -> str:
    """Return the ``.ion`` file; SPARC's cell starts at the origin."""
    blocks = []
    for symbol in dict.fromkeys(case["symbols"]):
        atoms = [p for s, p in zip(case["symbols"], case["positions"], strict=True) if s == symbol]
        blocks += [f"ATOM_TYPE: {symbol}", f"N_TYPE_ATOM: {len(atoms)}", f"PSEUDO_POT: {psp8[symbol]}", "COORD:"]
        blocks += [" ".join(f"{x + 0.5 * case['cell']:.10f}" for x in position) for position in atoms]
    return "\n".join(blocks) + "\n"


def read_sparc(text: str) -> Record:
    """Return energy and iterations of SPARC's output file."""
    energy = re.search(r"Total free energy\s*:\s*(\S+)", text)
    iterations = re.search(r"Total number of SCF:\s*(\d+)", text)
    if energy is None or iterations is None:
        raise FailedPeer("its output holds no converged energy: " + text[-300:])
    return {"energy": float(energy[1]), "iterations": int(iterations[1])}


def mgmol_input(case: Case, steps: int) -> str:
    """Return the configuration file of a ground state (no steps) or a trajectory."""
    half, edge, points = 0.5 * case["cell"], case["cell"], case["points"]
    species = "".join(f"pseudopotential=pseudo.{s}_ONCV_PBE_SG15\n" for s in dict.fromkeys(case["symbols"]))
    run = f"type=MD\n[MD]\nnum_steps={steps}\ndt={case['timestep']}\nthermostat=OFF\n" if steps else "type=QUENCH\n"
    return (
        "verbosity=1\nxcFunctional=PBE\nFDtype=4th\n"
        f"[Mesh]\nnx={points}\nny={points}\nnz={points}\n"
        f"[Domain]\nox={-half}\noy={-half}\noz={-half}\nlx={edge}\nly={edge}\nlz={edge}\n"
        f"[Potentials]\n{species}[Run]\n{run}"
        f"[Quench]\nmax_steps=200\natol={case['energy_tolerance']:.1e}\n"
        "[Orbitals]\ninitial_type=Random\ninitial_width=2.\n"
    )


def mgmol_coordinates(case: Case) -> str:
    """Return the coordinates file: label, species, position, may it move."""
    kinds = list(dict.fromkeys(case["symbols"]))
    rows = []
    for i, (symbol, position) in enumerate(zip(case["symbols"], case["positions"], strict=True), start=1):
        rows.append(f"{symbol}{i} {kinds.index(symbol) + 1} " + " ".join(f"{x:.10f}" for x in position) + " 1")
    return "\n".join(rows) + "\n"


def read_mgmol(text: str) -> Record:
    """Return energy and iterations of the lines that MGmol prints once per iteration."""
    steps = re.findall(r"%%\s+(\d+) SC ENERGY = ([-\d.eE+]+)", text)
    if not steps:
        raise FailedPeer("it printed no energy: " + text[-300:])
    return {"energy": float(steps[-1][1]), "iterations": len(steps)}


# ---- running ------------------------------------------------------------------------------------------------------------


def _psp8_files(case: Case, install: str) -> dict[str, str]:
    folder = os.environ.get("MPIQMD_PSP8_FOLDER", "")
    found = {}
    for symbol in set(case["symbols"]):
        files = sorted(Path(folder).glob(f"{symbol}_*.psp8")) if folder else []
        if not files:
            raise MissingPeer(f"set MPIQMD_PSP8_FOLDER to a folder with a file {symbol}_*.psp8; {install}")
        found[symbol] = str(files[0].resolve())
    return found


def _program(names: tuple[str, ...], install: str) -> str:
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    raise MissingPeer(f"no {' or '.join(names)} on PATH: {install}")


def _timed(command: list[str], folder: str) -> tuple[float, str]:
    """Run a program and return its CPU seconds and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    finished = _call(command, folder=folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    _require_success(finished)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, finished.stdout


def _call(command: list[str], text: str = "", folder: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | SINGLE_CORE
    try:
        return subprocess.run(
            command, input=text, capture_output=True, text=True, env=environment, cwd=folder, timeout=TIME_LIMIT
        )
    except FileNotFoundError as problem:
        raise MissingPeer(f"cannot run {command[0]}: {problem.strerror}") from None
    except subprocess.TimeoutExpired:
        raise FailedPeer(f"{command[0]} took longer than {TIME_LIMIT:.0f} s") from None


def _require_success(finished: subprocess.CompletedProcess[str]) -> None:
    if finished.returncode != 0:
        raise FailedPeer((finished.stderr or finished.stdout)[-500:])
