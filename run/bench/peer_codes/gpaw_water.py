"""GPAW, finite-difference mode with HGH pseudopotentials, on the case read from standard input; runs in GPAW's Python.

Reads the JSON of ``peers.case``; prints one line of JSON with energies (Ha), iterations and CPU seconds.
"""

import json
import sys
import time

import numpy as np
from ase import Atoms
from ase.md.verlet import VelocityVerlet
from ase.units import Bohr, Hartree, _aut, s
from gpaw import GPAW, __version__

case = json.load(sys.stdin)
criteria = {"energy": case["energy_tolerance"] * Hartree / case["n_electrons"]} | case["gpaw_criteria"]
atoms = Atoms(case["symbols"], np.array(case["positions"]) * Bohr + 0.5 * case["cell"] * Bohr)
atoms.set_cell([case["cell"] * Bohr] * 3)
atoms.pbc = case["boundary"] == "periodic"
atoms.calc = GPAW(
    mode="fd",
    gpts=(case["points"],) * 3,
    xc=case["functional"],
    setups="hgh",
    symmetry="off",
    convergence=criteria,
    txt=None,
)
started = time.process_time()
energy = atoms.get_potential_energy() / Hartree
ground_state = time.process_time() - started
iterations = atoms.calc.get_number_of_iterations()
started = time.process_time()
forces = atoms.get_forces() / Hartree * Bohr
force_seconds = time.process_time() - started

dynamics = VelocityVerlet(atoms, timestep=case["timestep"] * _aut * s)
atoms.set_velocities(np.array(case["velocities"]) * Bohr / (_aut * s))
step_seconds, step_iterations = [], []
for _ in range(case["steps"]):
    started = time.process_time()
    dynamics.run(1)
    step_seconds.append(time.process_time() - started)
    step_iterations.append(atoms.calc.get_number_of_iterations())
print(
    json.dumps(
        {
            "version": __version__,
            "energy": energy,
            "forces": forces.tolist(),
            "iterations": iterations,
            "ground_state_seconds": ground_state + force_seconds,
            "step_seconds": step_seconds,
            "step_iterations": step_iterations,
        }
    )
)
