"""Repulsion of the bare ions: a pair sum in free space, Ewald's sum in a periodic cell.

Periodic, with a neutralising background and width η,

    E = ½ Σ'_{ab,T} Z_a Z_b erfc(|R_ab + T| / η) / |R_ab + T| - Σ Z_a² / (√π η)
        + (2π/Ω) Σ_{G≠0} exp(-G² η²/4) |Σ_a Z_a exp(iG·R_a)|² / G² - π η² (Σ Z_a)² / (2Ω),

the convention of plane-wave codes (Ewald 1921).  R_ab is taken to its nearest image first, so that it does not matter how
many cells an atom has drifted through.  Replicated data, not collective.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy.special import erfc

from mpiqmd.kohnsham.electrons import Electrons
from mpiqmd.kohnsham.hamiltonian import Hamiltonian
from mpiqmd.kohnsham.system import System
from mpiqmd.kohnsham.terms.term import LinearTerm
from mpiqmd.molecule.images import nearest_image

REACH = 6.5
"""Distance in widths η beyond which erfc(R / η) / R is zero in double precision."""


class IonIon:
    """The repulsion of the bare ions for any positions.  Not collective."""

    name = "ion_ion"

    def __init__(self, system: System) -> None:
        self.valences_a = system.valences_a
        self.cell_v = system.grid.periodic_cell_v

    def at(self, positions_av: np.ndarray) -> PlacedIonIon:
        """Return the term with the ions at these positions, shape (N, 3), bohr."""
        return PlacedIonIon(*ion_ion_energy(positions_av, self.valences_a, self.cell_v))


class PlacedIonIon(LinearTerm):
    """The repulsion at one geometry: an energy (Ha) and its gradient (N, 3), Ha/bohr, that know no electrons."""

    def __init__(self, energy: float, gradient_av: np.ndarray) -> None:
        self.repulsion, self.gradient_av = energy, gradient_av

    def add_to(self, hamiltonian: Hamiltonian) -> None:
        """Add the constant E_ii."""
        hamiltonian.add_constant(self.repulsion)

    def energy(self, electrons: Electrons) -> float:
        """Return E_ii, Ha."""
        return self.repulsion

    def gradient(self, electrons: Electrons) -> np.ndarray:
        """Return ``dE_ii/dR_a``, shape (N, 3), Ha/bohr."""
        return self.gradient_av


def ion_ion_energy(positions_av: np.ndarray, valences_a: np.ndarray, cell_v: np.ndarray | None) -> tuple[float, np.ndarray]:
    """Return the energy (Ha) and its gradient dE/dR (Ha/bohr, shape (N, 3)); ``cell_v`` None means free space."""
    if cell_v is None:
        return _pairs(positions_av, valences_a)
    return _ewald(positions_av, valences_a, cell_v)


def _pairs(positions_av: np.ndarray, valences_a: np.ndarray) -> tuple[float, np.ndarray]:
    """Return energy and gradient in free space, ``½ Σ_ab Z_a Z_b / |R_a - R_b|``.  Not collective."""
    separations = positions_av[:, None] - positions_av[None]
    distances = np.sqrt((separations**2).sum(-1))
    np.fill_diagonal(distances, np.inf)
    values = valences_a[:, None] * valences_a / distances
    gradient_av = -np.einsum("ab,abv->av", values / distances**2, separations)
    return 0.5 * float(values.sum()), gradient_av


def _ewald(positions_av: np.ndarray, valences_a: np.ndarray, cell_v: np.ndarray) -> tuple[float, np.ndarray]:
    """Return energy and gradient in a periodic cell, the ions smeared over a third of its mean edge.  Not collective.

    Both sums, the smeared ions' own energy ``-Σ Z² / (√π w)`` and that of their uniform background ``-π w² (Σ Z)² / (2 V)``.
    """
    volume = float(np.prod(cell_v))
    # The sum does not depend on it; at a third of the edge both parts converge within a few cells and waves.
    width = float(volume ** (1 / 3) / 3.0)
    energy = -np.sum(valences_a**2) / (np.sqrt(np.pi) * width)
    energy -= np.pi * width**2 * valences_a.sum() ** 2 / (2.0 * volume)
    short, short_gradient_av = _short_range(positions_av, valences_a, cell_v, width)
    long, long_gradient_av = _long_range(positions_av, valences_a, cell_v, width)
    return float(energy + short + long), short_gradient_av + long_gradient_av


def _lattice(reach: np.ndarray) -> np.ndarray:
    """Return all triples of integers up to ``reach`` (3,) in size, shape (triples, 3).  Not collective."""
    return np.array(list(product(*(range(-n, n + 1) for n in reach))), float)


def _short_range(
    positions_av: np.ndarray, valences_a: np.ndarray, cell_v: np.ndarray, width: float
) -> tuple[float, np.ndarray]:
    """Return ``½ Σ Z_a Z_b erfc(d / w) / d`` over pairs and their images, Ha, and its gradient (N, 3).  Not collective."""
    nearest = nearest_image(positions_av[:, None] - positions_av[None], cell_v)
    charges = valences_a[:, None] * valences_a
    energy, gradient_av = 0.0, np.zeros_like(positions_av)
    for translation_v in _lattice(np.ceil(REACH * width / cell_v + 0.5).astype(int)) * cell_v:
        separations = nearest + translation_v
        distances = np.sqrt((separations**2).sum(-1))
        if not translation_v.any():
            np.fill_diagonal(distances, np.inf)
        values = charges * erfc(distances / width) / distances
        slopes = -(values + charges * 2 / (np.sqrt(np.pi) * width) * np.exp(-((distances / width) ** 2))) / distances
        energy += 0.5 * float(values.sum())
        gradient_av += np.einsum("ab,abv->av", slopes / distances, separations)
    return energy, gradient_av


def _long_range(positions_av: np.ndarray, valences_a: np.ndarray, cell_v: np.ndarray, width: float) -> tuple[float, np.ndarray]:
    """Return ``(2π / V) Σ_G |Σ_a Z_a exp(iGR_a)|² exp(-G² w²/4) / G²``, Ha, and its gradient (N, 3).  Not collective."""
    # exp(-G² η²/4) is below exp(-42) = 6e-19 for the waves left out, which are those with G η beyond 13.
    reach = np.ceil(13.0 / width * cell_v / (2 * np.pi)).astype(int)
    waves = _lattice(reach) * (2 * np.pi / cell_v)
    squares = (waves**2).sum(-1)
    keep = (squares > 1e-12) & (squares * width**2 / 4 < 42.0)
    waves, squares = waves[keep], squares[keep]
    phases = nearest_image(positions_av, cell_v) @ waves.T
    factor = 2 * np.pi / np.prod(cell_v) * np.exp(-squares * width**2 / 4) / squares
    cosine, sine = valences_a @ np.cos(phases), valences_a @ np.sin(phases)
    energy = float(np.sum(factor * (cosine**2 + sine**2)))
    weights = 2.0 * factor * (-np.sin(phases) * cosine + np.cos(phases) * sine) * valences_a[:, None]
    return energy, weights @ waves
