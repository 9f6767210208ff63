"""Hartree energy and second-order xc between densities, fitted on the densities the molecule reaches.

The interaction K couples all pair products, thousands for some tens of modes.  Yet the coefficients d of ground-state
densities, whatever the geometry, lie within 1e-10 Ha in a space of some tens of dimensions, spanned by samples D.  With

    K ≈ (K D) (D^T K D)^-1 (K D)^T = Σ_q s_q g_q g_q^T,    s_q = ±1,

energy and potential of every density in that space are exact, and for d + δ the energy misses only ½ δ·K δ, of second
order in the part δ outside: density fitting in the metric of the interaction (B. I. Dunlap, J. W. D. Connolly,
J. R. Sabin, J. Chem. Phys. 71, 3396 (1979)), with sampled densities as the fitting functions.  It takes one potential per
sample instead of one per pair, and an online product of 2 q numbers per pair instead of one with every other pair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.rom.learned.products import shared_product

SMALLEST = 1e-12
"""Interaction energies of combinations of samples (Ha) below which they are left out."""


@dataclass(frozen=True)
class FittedBlock:
    """The interaction inside one class of pairs, ``K ≈ Σ_q s_q g_q g_q^T``.

    Attributes
    ----------
    vectors_qp
        g, shape (q, pairs of the class), square roots of Ha.
    signs_q
        s, +1 or -1 (the xc kernel is not positive).
    """

    vectors_qp: np.ndarray
    signs_q: np.ndarray

    def between(self, left_kp: np.ndarray) -> np.ndarray:
        """Return the interaction of every row of coefficients with every other, Ha."""
        projected = left_kp @ self.vectors_qp.T
        return (projected * self.signs_q) @ projected.T


@dataclass(frozen=True)
class PairInteraction:
    """K as one fitted block per class of pairs.  Replicated."""

    classes: list[slice]
    blocks: list[FittedBlock]

    def apply(self, coefficients_p: np.ndarray) -> np.ndarray:
        """Return the potential ``K d`` on the pairs, Ha."""
        potential = np.empty_like(coefficients_p)
        self.apply_to(coefficients_p[None], potential[None])
        return potential

    def apply_to(self, coefficients_bp: np.ndarray, potential_bp: np.ndarray) -> None:
        """Set the potentials of several densities, shape (B, pairs), Ha."""
        size = len(coefficients_bp)
        for part, block in zip(self.classes, self.blocks, strict=True):
            charges_bq = shared_product(coefficients_bp[:, part], block.vectors_qp.T, size)
            charges_bq *= block.signs_q
            shared_product(charges_bq, block.vectors_qp, size, out=potential_bp[:, part])

    def between(self, left_kp: np.ndarray) -> np.ndarray:
        """Return ``d_k · K d_l`` for rows of coefficients, shape (k, k), Ha."""
        parts = zip(self.classes, self.blocks, strict=True)
        return np.sum([block.between(left_kp[:, part]) for part, block in parts], axis=0)

    @property
    def multiplications(self) -> int:
        """Multiplications of one product with K."""
        return sum(2 * block.vectors_qp.size for block in self.blocks)


def fit_interaction(classes: list[slice], coefficients_sp: np.ndarray, potentials_sp: np.ndarray) -> PairInteraction:
    """Return the fit that is exact for sampled densities.

    Parameters
    ----------
    classes
        Classes of pairs that do not interact with each other.
    coefficients_sp
        d of the samples, shape (samples, pairs).
    potentials_sp
        ``K d`` of the samples, Ha.
    """
    blocks = []
    for part in classes:
        products = coefficients_sp[:, part] @ potentials_sp[:, part].T
        values, vectors = np.linalg.eigh(0.5 * (products + products.T))
        kept = np.abs(values) > SMALLEST
        g = (vectors[:, kept] / np.sqrt(np.abs(values[kept]))).T @ potentials_sp[:, part]
        blocks.append(FittedBlock(np.ascontiguousarray(g), np.sign(values[kept])))
    return PairInteraction(classes, blocks)


class InteractionSamples:
    """Densities and their potentials, collected in rounds.  Replicated, not collective."""

    def __init__(self, classes: list[slice]) -> None:
        self.classes = classes
        self._coefficients: list[np.ndarray] = []
        self._potentials: list[np.ndarray] = []

    def add(self, coefficients_sp: np.ndarray, potentials_sp: np.ndarray) -> float:
        """Add samples; return how much the fit made without them misses of their energy, at most, Ha."""
        missing = 0.0
        if self._coefficients and len(coefficients_sp):
            fit = self.fit()
            for d, potential in zip(coefficients_sp, potentials_sp, strict=True):
                missing = max(missing, 0.5 * abs(float(d @ (potential - fit.apply(d)))))
        self._coefficients += list(coefficients_sp)
        self._potentials += list(potentials_sp)
        return missing

    def fit(self) -> PairInteraction:
        """Return the fit on all samples."""
        return fit_interaction(self.classes, np.array(self._coefficients), np.array(self._potentials))
