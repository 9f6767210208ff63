"""What every potential's process does: one JSON request a line from standard input, one JSON answer a line.

Runs in the Python of the potential, without mpiqmd.  Atomic units on both sides.  A request says what to ``do``:

version    nothing more; answers ``version``
train      ``symbols``, ``positions``, ``energies``, ``forces``, ``bohr_in_angstrom``, ``hartree_in_ev`` and whatever the
           potential takes; answers ``model`` (its number) and what is worth knowing about it
evaluate   ``model``, ``positions``; answers ``energies``, ``forces`` and ``seconds``, processor time of each geometry

A request that fails is answered with ``failed`` and the reason.
"""

import json
import os
import sys
import time

import numpy as np


def serve(version, train):
    """Answer requests until there are no more.

    ``train(request)`` is given arrays and returns a function from positions (N, 3), bohr, to energy (Ha) and forces (N, 3),
    Ha/bohr, and a dictionary of what is worth knowing.
    """
    answers = _answers_alone()
    potentials = []

    def answer(request):
        if request["do"] == "version":
            return {"version": version}
        if request["do"] == "train":
            started = _with_children()
            arrays = {name: np.array(request[name], float) for name in ("positions", "energies", "forces")}
            potential, notes = train(request | arrays)
            potentials.append(potential)
            return {"model": len(potentials) - 1, "training_seconds": _with_children() - started} | notes
        found = [_timed(potentials[request["model"]], positions) for positions in np.array(request["positions"], float)]
        names = ("energies", "forces", "seconds")
        return {name: [each[place] for each in found] for place, name in enumerate(names)}

    for line in sys.stdin:
        try:
            answered = answer(json.loads(line))
        except Exception as problem:
            answered = {"failed": f"{type(problem).__name__}: {problem}"}
        print(json.dumps(answered), file=answers, flush=True)


def _timed(potential, positions):
    started = time.process_time()
    energy, forces = potential(positions)
    seconds = time.process_time() - started
    return float(energy), np.asarray(forces, float).tolist(), seconds


def _with_children():
    """Return the processor time of this process and of those it has waited for, seconds."""
    return sum(os.times()[:4])


def _answers_alone():
    """Return a stream to standard output that nobody else has: what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers
