"""What reduced surfaces say of how good an evaluation is: the names of it, and the units in which ASE has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mpiqmd.units import BOHR_IN_ANGSTROM, HARTREE_IN_EV

UNIT_OF_ASE = {"energy": HARTREE_IN_EV, "force": HARTREE_IN_EV / BOHR_IN_ANGSTROM, "number": 1.0}
"""What one atomic unit is in ASE's, by quantity."""
JUDGEMENT = {
    "error_estimate": "energy",
    "force_error_estimate": "force",
    "error_age": "number",
    "training_distance": "number",
    "hifi": "number",
    "on_grid": "number",
}
"""Names among the extras of an evaluation, with their quantities."""
FORCE_ERROR = "force_error"
"""Name of the estimated size of the error of each atom's force, among the numbers of each atom."""


def judgement_for_ase(extras: Mapping[str, float]) -> dict[str, float]:
    """Return what extras (atomic units) say of how good an evaluation is, in eV and eV/angstrom.  Not collective.

    What is not there or not finite is left out.
    """
    known = {name: extras[name] for name in JUDGEMENT if name in extras}
    return {name: float(value) * UNIT_OF_ASE[JUDGEMENT[name]] for name, value in known.items() if np.isfinite(value)}


def per_atom_for_ase(per_atom: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the errors of the atoms' forces (N,), Ha/bohr, in eV/angstrom; nothing where there are none.  Not collective."""
    errors_a = np.asarray(per_atom.get(FORCE_ERROR, np.nan))
    return {FORCE_ERROR: errors_a * UNIT_OF_ASE["force"]} if np.isfinite(errors_a).all() else {}
