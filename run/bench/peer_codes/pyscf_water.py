"""PySCF, PBE in def2-TZVP with gradient, on the case read from standard input; runs in PySCF's Python.

What a chemist would take for one molecule: another basis and all electrons, so energies are not comparable.
Reads the JSON of ``peers.case``; prints one line of JSON with energies (Ha), iterations and CPU seconds.
"""

import json
import sys
import time

import numpy as np
from pyscf import __version__, dft, gto, lib

case = json.load(sys.stdin)
lib.num_threads(1)
positions, velocities = np.array(case["positions"]), np.array(case["velocities"])
masses = np.array(case["masses"])[:, None]
molecule = gto.M(atom=list(zip(case["symbols"], positions, strict=True)), basis="def2-tzvp", unit="bohr", verbose=0)
method = dft.RKS(molecule, xc="pbe")
method.conv_tol = case["energy_tolerance"]
scanner = method.nuc_grad_method().as_scanner()


def evaluate():
    """Return energy, forces, iterations and CPU seconds at the current positions."""
    started = time.process_time()
    energy, gradient = scanner(molecule.set_geom_(positions, unit="bohr", inplace=False))
    return energy, -gradient, int(getattr(scanner.base, "cycles", 0)), time.process_time() - started


energy, forces, iterations, ground_state = evaluate()
first, dt, step_seconds, step_iterations = energy, case["timestep"], [], []
for _ in range(case["steps"]):
    velocities += 0.5 * dt * forces / masses
    positions += dt * velocities
    _, forces, cycles, seconds = evaluate()
    velocities += 0.5 * dt * forces / masses
    step_seconds.append(seconds)
    step_iterations.append(cycles)
print(
    json.dumps(
        {
            "version": __version__,
            "energy": first,
            "iterations": iterations,
            "ground_state_seconds": ground_state,
            "step_seconds": step_seconds,
            "step_iterations": step_iterations,
        }
    )
)
