"""The seam between nuclei and electrons: positions in, energy and forces out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

DIPOLE = ("dipole_x", "dipole_y", "dipole_z")
"""Names of the dipole moment among the extras of a surface that has one, atomic units."""


@dataclass(frozen=True)
class Evaluation:
    """What a potential energy surface says about one geometry; identical on every rank.

    Attributes
    ----------
    energy
        Potential energy of the nuclei, Ha (the electronic free energy where electrons are warm).
    forces_av
        Minus the gradient of the energy, shape (N, 3), Ha/bohr.
    extras
        Numbers worth keeping beside each frame (``iterations``, ``error_estimate``, ...), atomic units.
    per_atom
        The same with a number for each atom, shape (N,) each (``force_error``).
    """

    energy: float
    forces_av: np.ndarray
    extras: dict[str, float] = field(default_factory=dict)
    per_atom: dict[str, np.ndarray] = field(default_factory=dict)


def remove_net_force(forces_av: np.ndarray, masses_a: np.ndarray) -> np.ndarray:
    """Return forces whose sum is zero, ``F_a - (m_a / M) Σ F``: the centre of mass is not accelerated.

    Shape (N, 3), Ha/bohr.  Not collective.  The grid breaks translation invariance and leaves a net force that nature does
    not have.
    """
    return forces_av - np.outer(masses_a / masses_a.sum(), forces_av.sum(axis=0))


def largest_force(forces_av: np.ndarray) -> float:
    """Return the norm of the largest force on an atom, Ha/bohr. Not collective."""
    return float(np.linalg.norm(forces_av, axis=-1).max())
