"""The arrays of a learned-grid model: what the offline stage makes, a model file holds and every rank has."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from mpiqmd.kohnsham.electrons import SPIN_WEIGHT
from mpiqmd.rom.learned.chebyshev import ChebyshevBox
from mpiqmd.rom.learned.first_order import FirstOrderArrays
from mpiqmd.rom.learned.images import as_species, orbitals_at_images
from mpiqmd.rom.learned.latent import LatentSubspaces
from mpiqmd.rom.learned.one_electron import OneElectronArrays
from mpiqmd.rom.learned.species import n_species


@dataclass(frozen=True)
class StartArrays:
    """The polynomial that predicts the latent coordinates of the minimum.

    Attributes
    ----------
    axes_yx, offset_y
        Coordinates ``axes · x - offset`` of flattened positions.
    parents_p, factors_p, members_tg, signs_tg
        Its products and terms (``polynomials``).
    coefficients_td
        Shape (terms, latent directions), square roots of Ha.
    inverse_hessian_dd
        Inverse second derivative of the energy in the latent coordinates at the reference.
    """

    axes_yx: np.ndarray
    offset_y: np.ndarray
    parents_p: np.ndarray
    factors_p: np.ndarray
    members_tg: np.ndarray
    signs_tg: np.ndarray
    coefficients_td: np.ndarray
    inverse_hessian_dd: np.ndarray


@dataclass(frozen=True)
class MovingIon:
    """Tables of one atom that moves in the body frame.

    Attributes
    ----------
    index
        Its place among the atoms.
    box
        Where its position is tabulated.
    degrees_kv
        Degrees of the products of Chebyshev polynomials, the constant one first, shape (k, 3).
    left_kj, right_jf
        Coefficients ``left @ right`` of what is left of its local potential on the density functions and, last, on the mean
        density, Ha.
    overlaps_kx
        Coefficients of ``<ψ_k|β_p>`` on all products, flattened; no columns without projectors.
    coupling_pp
        D of its projectors, Ha.
    """

    index: int
    box: ChebyshevBox
    degrees_kv: np.ndarray
    left_kj: np.ndarray
    right_jf: np.ndarray
    overlaps_kx: np.ndarray
    coupling_pp: np.ndarray


@dataclass(frozen=True)
class MovingCore:
    """The model core density of an atom that moves in the body frame, a spline of the distance; zero beyond its intervals.

    Attributes
    ----------
    index
        The atom's place among the atoms.
    box
        Where its position is tabulated.
    inverse_step
        Intervals per bohr.
    coefficients_ic
        Powers 0 to 3 of the distance from the beginning of each interval (bohr), bohr⁻³ at power 0.
    """

    index: int
    box: ChebyshevBox
    inverse_step: float
    coefficients_ic: np.ndarray

    @property
    def radius(self) -> float:
        """Distance beyond which the core is zero, bohr."""
        return len(self.coefficients_ic) / self.inverse_step

    @property
    def moves_v(self) -> np.ndarray:
        """Whether it moves along x, y and z, shape (3,)."""
        return self.box.upper_v > self.box.lower_v


@dataclass(frozen=True)
class LearnedPoints:
    """Grid points at which the density is seen, by symmetry species, and what is read off it there.

    A point stands for its images: with φ^τ what an orbital has of modes of species τ, the density at ``g q`` is

        ρ(g q) = Σ_σ χ_σ(g) ρ_σ(q),     ρ_σ = w Σ_n Σ_τ φ_n^τ φ_n^{τσ}

    Attributes
    ----------
    modes_qk
        Active modes at the points, shape (Q, active), bohr^-3/2.
    mean_q
        Mean density there, which is symmetric, bohr⁻³.
    reading_fq
        ζ: coefficients of the density functions from what a change of density has of their species at the points.
    interaction_f
        K between density functions, which is diagonal, Ha.
    labels_k, labels_f
        Species of the active modes and of the density functions.
    """

    modes_qk: np.ndarray
    mean_q: np.ndarray
    reading_fq: np.ndarray
    interaction_f: np.ndarray
    labels_k: np.ndarray
    labels_f: np.ndarray

    @property
    def n_species(self) -> int:
        """How many species there may be."""
        return n_species(np.concatenate([self.labels_k, self.labels_f]))

    def changes(self, orbitals_snk: np.ndarray) -> np.ndarray:
        """Return what ρ - ρ̄ has of each species at the points, shape (s, species, Q), bohr⁻³.  Not collective.

        ``orbitals`` (s, occupied, active) are orthonormal.
        """
        values_sngq = orbitals_at_images(orbitals_snk, self.modes_qk.T, self.labels_k, self.n_species)
        changes_sgq = SPIN_WEIGHT * as_species((values_sngq**2).sum(axis=1))
        changes_sgq[:, 0] -= self.mean_q
        return changes_sgq

    def charges(self, changes_sgq: np.ndarray) -> np.ndarray:
        """Return coefficients (s, f), bohr^-3/2, of changes by species (s, species, Q), bohr⁻³.  Not collective."""
        charges_sf = np.empty((len(changes_sgq), len(self.labels_f)))
        for label in np.unique(self.labels_f):
            charges_sf[:, self.labels_f == label] = changes_sgq[:, label] @ self.reading_fq[self.labels_f == label].T
        return charges_sf


@dataclass(frozen=True)
class XcPoints:
    """Points and non-negative weights for what the second-order expansion of the xc energy leaves over.

    A point stands for its images, which have its weight, unless model cores move.

    Attributes
    ----------
    weights_q
        Weights, bohr³.
    functions_fq, slopes_vfq
        Density functions there, bohr^-3/2, and their gradients (3, f, Q; no points for an LDA), bohr^-5/2.
    mean_q, mean_slope_vq
        Mean density, with model cores in the middle of their boxes, and its gradient (no points for an LDA).
    positions_vq
        Where the points are, bohr; none are kept where no model core moves.
    labels_f
        Species of the density functions; zeros where points stand for themselves alone.
    """

    weights_q: np.ndarray
    functions_fq: np.ndarray
    slopes_vfq: np.ndarray
    mean_q: np.ndarray
    mean_slope_vq: np.ndarray
    positions_vq: np.ndarray
    labels_f: np.ndarray

    @property
    def n_images(self) -> int:
        """How many images a point stands for, itself included."""
        return n_species(self.labels_f)

    def combined(self, combinations_fa: np.ndarray, labels_a: np.ndarray) -> XcPoints:
        """Return the points with combinations of the functions, shape (f, a) and without unit, each of a species (a,).

        Not collective.
        """
        return replace(
            self,
            functions_fq=combinations_fa.T @ self.functions_fq,
            slopes_vfq=combinations_fa.T @ self.slopes_vfq,
            labels_f=labels_a if self.n_images > 1 else np.zeros_like(labels_a),
        )

    @property
    def mean_uq(self) -> np.ndarray:
        """The mean density and, for a GGA, its gradient, shape (1 or 4, Q), bohr⁻³ and bohr⁻⁴."""
        return np.concatenate([self.mean_q[None], self.mean_slope_vq]) if self.mean_slope_vq.size else self.mean_q[None]

    @property
    def functions_ufq(self) -> np.ndarray:
        """The functions and, for a GGA, their gradients, shape (1 or 4, f, Q), bohr^-3/2 and bohr^-5/2."""
        return np.concatenate([self.functions_fq[None], self.slopes_vfq]) if self.slopes_vfq.size else self.functions_fq[None]


@dataclass(frozen=True)
class DipoleArrays:
    """``∫ r ρ dr`` from the coefficients c of the density functions and from a step in the latent coordinates.

    Attributes
    ----------
    mean_v, functions_vf
        Of the mean density (bohr) and of the density functions.
    slopes_vd
        Its derivative in the latent coordinates at the reference.
    """

    mean_v: np.ndarray
    functions_vf: np.ndarray
    slopes_vd: np.ndarray


@dataclass(frozen=True)
class LearnedArrays:
    """Everything the online stage needs.

    Attributes
    ----------
    subspaces, start
        Unknowns, and where they are expected.
    constant
        Energy that depends neither on P nor on the geometry, Ha.
    one_electron
        What acts on the orbitals with whole matrices.
    first_order
        What is read off the points in place of some of these.
    ions
        Tables of the moving atoms.
    boxes
        Where every atom may be; a box without moving directions pins it.
    points, xc
        The learned grid.
    dipole
        What dipole moments are made from.
    cores
        Model cores of the moving atoms.
    """

    subspaces: LatentSubspaces
    start: StartArrays
    constant: float
    one_electron: OneElectronArrays
    first_order: FirstOrderArrays
    ions: list[MovingIon]
    boxes: list[ChebyshevBox]
    points: LearnedPoints
    xc: XcPoints
    dipole: DipoleArrays
    cores: list[MovingCore] = field(default_factory=list)
