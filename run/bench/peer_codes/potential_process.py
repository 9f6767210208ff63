"""Potentials that are trained on energies and forces, each in a process of its own in the Python that has its package."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mpiqmd.units import BOHR_IN_ANGSTROM, HARTREE_IN_EV
from run.bench.peer_codes.adapters import SINGLE_CORE, FailedPeer, MissingPeer

Record = dict[str, Any]
MOST_SAID = 500
"""Characters of a failed process's last words."""


class Potential(Protocol):
    """Energies and forces of geometries, and what each costs."""

    def evaluate(self, positions_sav: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return energies (S,), Ha, forces (S, N, 3), Ha/bohr, and processor seconds (S,) of geometries (S, N, 3), bohr."""
        ...


class Process:
    """A script of ``potential_server`` in a Python that has its package, on one core.

    Parameters
    ----------
    python
        The interpreter.
    module
        What must be importable there.
    script
        The script.
    words
        File of what the process says.
    install
        How to install the package, for the message when it is missing.

    Raises
    ------
    MissingPeer
        There is no such interpreter, or it has no such module.
    """

    def __init__(self, python: str, module: str, script: Path, words: Path, install: str) -> None:
        try:
            found = subprocess.run([python, "-c", f"import {module}"], capture_output=True, text=True)
        except OSError as problem:
            raise MissingPeer(f"cannot run {python}: {problem.strerror}") from None
        if found.returncode != 0:
            reason = (found.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise MissingPeer(f"{python} cannot import {module} ({reason}): {install}")
        self.words = words
        with open(words, "w", encoding="utf-8") as stream:
            self._process = subprocess.Popen(
                [python, str(script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
                env=os.environ | SINGLE_CORE,
            )
        self.version = str(self.ask(do="version")["version"])

    def ask(self, **request: Any) -> Record:
        """Return the answer to a request.  Raises FailedPeer if it says that it failed, or dies."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            said = self.words.read_text(encoding="utf-8", errors="replace")[-MOST_SAID:]
            raise FailedPeer(f"its process ended; {self.words} ends with: {said}")
        answer = json.loads(line)
        if "failed" in answer:
            raise FailedPeer(f"{answer['failed']} (see {self.words})")
        return answer

    def train(self, symbols: tuple[str, ...], solved: Solved, **options: Any) -> tuple[TrainedPeer, Record]:
        """Return a potential trained on geometries, and what is worth knowing about it."""
        units = {"bohr_in_angstrom": BOHR_IN_ANGSTROM, "hartree_in_ev": HARTREE_IN_EV}
        notes = self.ask(do="train", symbols=symbols, **solved.plain(), **units, **options)
        return TrainedPeer(self, notes.pop("model")), notes

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


class Solved:
    """Geometries with what the full solver says about them.

    Parameters
    ----------
    positions_sav, energies_s, forces_sav
        Geometries (S, N, 3), bohr, their energies (S,), Ha, and forces (S, N, 3), Ha/bohr.
    """

    def __init__(self, positions_sav: np.ndarray, energies_s: np.ndarray, forces_sav: np.ndarray) -> None:
        self.positions_sav, self.energies_s, self.forces_sav = positions_sav, energies_s, forces_sav

    def __len__(self) -> int:
        return len(self.energies_s)

    def only(self, chosen: np.ndarray) -> Solved:
        """Return those with these indices, in this order."""
        return Solved(self.positions_sav[chosen], self.energies_s[chosen], self.forces_sav[chosen])

    def plain(self) -> Record:
        """Return all as lists, by the names of a request."""
        arrays = {"positions": self.positions_sav, "energies": self.energies_s, "forces": self.forces_sav}
        return {name: array.tolist() for name, array in arrays.items()}


class TrainedPeer:
    """A potential that a process has trained.

    Parameters
    ----------
    process, model
        The process, and the number it gave the potential.
    """

    def __init__(self, process: Process, model: int) -> None:
        self.process, self.model = process, model

    def evaluate(self, positions_sav: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return energies (S,), Ha, forces (S, N, 3), Ha/bohr, and processor seconds (S,) of geometries (S, N, 3), bohr."""
        answer = self.process.ask(do="evaluate", model=self.model, positions=np.asarray(positions_sav).tolist())
        return np.array(answer["energies"]), np.array(answer["forces"]), np.array(answer["seconds"])
