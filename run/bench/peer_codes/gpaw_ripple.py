"""GPAW, finite-difference mode with HGH pseudopotentials, over geometries read from standard input; runs in GPAW's Python.

Reads the JSON of ``peers.case`` with ``motions``; prints one line of JSON: for every kind of motion energies (Ha) and the
largest net force (Ha/bohr).
"""

import json
import sys

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree
from gpaw import GPAW, __version__

case = json.load(sys.stdin)


def evaluate(positions):
    """Return energy (Ha) and net force (Ha/bohr) at positions in bohr about the centre of the cell."""
    atoms = Atoms(case["symbols"], np.array(positions) * Bohr + 0.5 * case["cell"] * Bohr)
    atoms.set_cell([case["cell"] * Bohr] * 3)
    atoms.pbc = case["boundary"] == "periodic"
    # An energy range of 1e-3 eV would do for energies; net forces need tighter densities.
    criteria = {"energy": 1e-7, "density": 1e-6, "eigenstates": 1e-8}
    atoms.calc = GPAW(
        mode="fd",
        gpts=(case["points"],) * 3,
        xc=case["functional"],
        setups="hgh",
        symmetry="off",
        convergence=criteria,
        txt=None,
    )
    return atoms.get_potential_energy() / Hartree, np.linalg.norm(atoms.get_forces().sum(axis=0)) / Hartree * Bohr


found = {}
for name, places in case["motions"].items():
    energies, net_forces = zip(*(evaluate(place) for place in places), strict=True)
    found[name] = {"energies": energies, "net_force": max(net_forces)}
print(json.dumps({"version": __version__, "motions": found}))
