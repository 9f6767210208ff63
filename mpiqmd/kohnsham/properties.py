"""What chemists ask of a ground state beside its energy: dipole moment and frontier levels."""

from __future__ import annotations

import numpy as np

from mpiqmd.kohnsham.ground_state import GroundState
from mpiqmd.kohnsham.model import Problem
from mpiqmd.molecule.rigid import Alignment
from mpiqmd.units import DEBYE_IN_ATOMIC_UNITS, HARTREE_IN_EV

PARTLY = (0.01, 0.99)
"""Occupations between these belong to a level that is partly filled."""
DEGENERATE = 1e-6
"""Partly filled levels closer than this (Ha) are one level, not the warm electrons of two."""


def dipole_moment(problem: Problem, state: GroundState, alignment: Alignment | None) -> np.ndarray | None:
    """Return the dipole moment about the centre of mass, shape (3,), a.u.; None in a periodic cell. Collective.

    Of a neutral molecule the origin does not matter.  ``alignment`` turns it into the laboratory if the problem was solved
    in the body frame.
    """
    if state.density is None or problem.model.grid.is_periodic:
        return None
    molecule = problem.molecule
    moment_v = problem.dipole(state.density) - molecule.charge * molecule.centre_of_mass_v
    return moment_v if alignment is None else alignment.laboratory_vector(moment_v)


def frontier_levels(eigenvalues_n: np.ndarray, occupations_n: np.ndarray) -> dict[str, float | None]:
    """Return ``homo``, ``lumo`` and ``gap`` in Ha; None where no level is occupied or no empty one was computed.

    The gap is 0 where the highest level is partly filled (an open shell). Not collective.
    """
    partly = eigenvalues_n[(occupations_n > PARTLY[0]) & (occupations_n < PARTLY[1])]
    if len(partly) and np.ptp(partly) < DEGENERATE:
        level = float(partly.mean())
        return {"homo": level, "lumo": level, "gap": 0.0}
    homo = max(eigenvalues_n[occupations_n > 0.5], default=None)
    lumo = min(eigenvalues_n[occupations_n <= 0.5], default=None)
    gap = None if homo is None or lumo is None else float(lumo - homo)
    return {"homo": _plain(homo), "lumo": _plain(lumo), "gap": gap}


def dipole_line(dipole_v: np.ndarray, charge: int) -> str:
    """Return the line about a dipole moment (a.u.). Not collective."""
    size = float(np.linalg.norm(dipole_v))
    parts = " ".join(f"{value:.5f}" for value in np.round(dipole_v, 5) + 0.0)
    origin = " about the centre of mass (an ion's depends on the origin)" if charge else ""
    return f"dipole moment {size / DEBYE_IN_ATOMIC_UNITS:.4f} D, ({parts}) a.u.{origin}"


def frontier_line(levels: dict[str, float | None]) -> str:
    """Return the line about the gap, or how to get it. Not collective."""
    homo, lumo, gap = levels["homo"], levels["lumo"], levels["gap"]
    if gap is None:
        highest = "" if homo is None else f"highest occupied level {homo:.5f} Ha ({homo * HARTREE_IN_EV:.3f} eV); "
        return f"{highest}no empty level was computed, scf.empty_orbitals = 2 gives the gap"
    line = f"HOMO {homo:.5f} Ha, LUMO {lumo:.5f} Ha, Kohn-Sham gap {gap:.5f} Ha ({gap * HARTREE_IN_EV:.3f} eV)"
    if gap == 0.0:
        return f"{line}: the highest level is partly filled"
    return f"{line}; a LUMO above 0 is unbound and depends on the cell" if lumo is not None and lumo > 0.0 else line


def _plain(value: float | None) -> float | None:
    return None if value is None else float(value)
