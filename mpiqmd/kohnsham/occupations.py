"""Fermi-Dirac occupations and their entropy.

    f_n = 1 / (1 + exp((ε_n - μ) / T_e)),   w Σ f_n = N_e,   S = -w Σ [f ln f + (1 - f) ln(1 - f)]

with T_e in hartree; at T_e = 0 the lowest levels are filled, a degenerate highest level fractionally.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from mpiqmd.errors import ConfigError
from mpiqmd.kohnsham.electrons import SPIN_WEIGHT

DEGENERATE = 1e-7
"""Levels closer than this (Ha) to the highest occupied one share its electrons at zero temperature."""


def fermi_occupations(
    eigenvalues_n: np.ndarray, n_electrons: float, electronic_temperature: float
) -> tuple[np.ndarray, float, float]:
    """Return occupations in [0, 1], shape (n,), the chemical potential (Ha) and the entropy S (both spins).

    Not collective: pure function of replicated data.

    Raises
    ------
    ConfigError
        If the levels cannot hold the electrons.
    """
    eigenvalues = np.asarray(eigenvalues_n, float)
    pairs = n_electrons / SPIN_WEIGHT
    if pairs > len(eigenvalues) + 1e-12:
        raise ConfigError(f"{n_electrons} electrons do not fit into {len(eigenvalues)} orbitals: add scf.empty_orbitals.")
    if electronic_temperature <= 0.0:
        return _fill_lowest(eigenvalues, pairs)
    return _fermi_dirac(eigenvalues, pairs, electronic_temperature)


def lowest_filled(count: int, n_electrons: float) -> np.ndarray:
    """Return the density matrix that fills the first of ``count`` orbitals, shape (count, count).  Not collective."""
    return np.diag(np.clip(n_electrons / SPIN_WEIGHT - np.arange(count), 0.0, 1.0))


def entropy(occupations_n: np.ndarray) -> float:
    """Return ``S = -w Σ [f ln f + (1 - f) ln(1 - f)]`` (both spins).  Not collective."""
    f = np.clip(occupations_n, 0.0, 1.0)
    inside = f[(f > 1e-300) & (f < 1.0)]
    return float(-SPIN_WEIGHT * np.sum(inside * np.log(inside) + (1.0 - inside) * np.log1p(-inside)))


def _fermi_dirac(eigenvalues: np.ndarray, pairs: float, temperature: float) -> tuple[np.ndarray, float, float]:
    """Return Fermi-Dirac occupations of ``pairs`` in all, (n,), their chemical potential, Ha, and S.  Not collective."""

    def occupy(chemical_potential: float) -> np.ndarray:
        exponent = np.clip((eigenvalues - chemical_potential) / temperature, -700.0, 700.0)
        return 1.0 / (1.0 + np.exp(exponent))

    if abs(pairs - len(eigenvalues)) < 1e-12:
        return np.ones_like(eigenvalues), float(eigenvalues.max() + 40.0 * temperature), 0.0
    margin = 60.0 * temperature
    low, high = eigenvalues.min() - margin, eigenvalues.max() + margin
    potential = brentq(lambda mu: occupy(mu).sum() - pairs, low, high, xtol=1e-15, rtol=1e-15, maxiter=500)
    occupations = occupy(potential)
    return occupations, float(potential), entropy(occupations)


def _fill_lowest(eigenvalues: np.ndarray, pairs: float) -> tuple[np.ndarray, float, float]:
    """Return integer occupations, (n,), a degenerate frontier shared, the middle of the gap, Ha, and S.  Not collective."""
    order = np.argsort(eigenvalues, kind="stable")
    occupations = np.zeros_like(eigenvalues)
    whole = int(np.floor(pairs + 1e-9))
    occupations[order[:whole]] = 1.0
    if pairs - whole > 1e-9:
        occupations[order[whole]] = pairs - whole
        frontier = eigenvalues[order[whole]]
        level = np.abs(eigenvalues - frontier) < DEGENERATE
        occupations[level] = occupations[level].sum() / level.sum()
    highest = float(eigenvalues[order[max(whole - 1, 0)]])
    lowest_empty = float(eigenvalues[order[whole]]) if whole < len(order) else highest
    return occupations, 0.5 * (highest + lowest_empty), entropy(occupations)
