"""The arrays of a compiled model."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mpiqmd.rom.compiled.interaction import PairInteraction
from mpiqmd.rom.compiled.pairs import PairProducts
from mpiqmd.rom.learned.chebyshev import ChebyshevBox


@dataclass(frozen=True)
class MirrorImage:
    """How an atom's local table follows from that of its mirror image, ``f_b(x) = ± f_a(g x)``.

    Attributes
    ----------
    source
        Index of the other atom.
    flips_v
        Signs of the axes under the mirror g, shape (3,).
    signs_c
        Parity under g of each class of pairs.
    """

    source: int
    flips_v: np.ndarray
    signs_c: np.ndarray


@dataclass(frozen=True)
class MovingAtom:
    """Tables of one atom that moves in the body frame.

    Attributes
    ----------
    index
        Its place among the atoms.
    box
        Where its position is tabulated.
    local
        Chebyshev coefficients of the local pseudopotential on the pairs, shape (n,) * d + (pairs,), Ha; no pairs for a
        mirror image.
    overlaps
        The same of ``<ψ_m|β_p>``, shape (n,) * d + (modes, projectors).
    coupling_pp
        D of its projectors, Ha.
    image
        The atom whose table serves this one too; None for its own.
    """

    index: int
    box: ChebyshevBox
    local: np.ndarray
    overlaps: np.ndarray
    coupling_pp: np.ndarray
    image: MirrorImage | None = None


@dataclass(frozen=True)
class XcQuadrature:
    """Points and non-negative weights for the remainder of the xc energy.

    Attributes
    ----------
    weights_q
        Weights, bohr³.
    modes_qm
        Values of the modes at the points, shape (Q, modes).
    slopes_qvm
        Their gradients, shape (Q, 3, modes); empty in the last axis for an LDA.
    rho0_q, slope0_vq
        Reference density and its gradient (empty for an LDA) at the points.
    """

    weights_q: np.ndarray
    modes_qm: np.ndarray
    slopes_qvm: np.ndarray
    rho0_q: np.ndarray
    slope0_vq: np.ndarray


@dataclass(frozen=True)
class SolverArrays:
    """Where the online solver starts from: the reference of κ, and the polynomials that predict its minimum.

    Attributes
    ----------
    occupied_mn, empty_mn
        Reference orbitals.
    sectors_n
        Sector of each, the occupied ones first.
    inverse_hessian
        B^-1 at the reference: lower triangle, row by row, single precision.
    axes_dx, offset_d, degree
        Coordinates ``axes · x - offset`` of flattened positions, and the degree of the polynomials in them.
    minimum_mk, curvature_mk
        Coefficients of κ* (terms, κ) and of B^-1 (terms, κ (κ + 1) / 2; single precision); none if no fit was possible.
    remaining
        Share of the error of κ* that a step leaves.
    """

    occupied_mn: np.ndarray
    empty_mn: np.ndarray
    sectors_n: np.ndarray
    inverse_hessian: np.ndarray
    axes_dx: np.ndarray
    offset_d: np.ndarray
    degree: int
    minimum_mk: np.ndarray
    curvature_mk: np.ndarray
    remaining: float


@dataclass(frozen=True)
class CompiledArrays:
    """Everything the online stage needs, replicated on every rank.

    Attributes
    ----------
    pairs
        The pair products.
    constant
        Energy that depends neither on P nor on the geometry, Ha.
    linear_p
        Kinetic energy, pinned atoms, and the linear part of the xc expansion, on the pairs, Ha.
    interaction
        Hartree plus the second derivative of E_xc between pairs, fitted, Ha.
    fixed_overlaps_mp, fixed_coupling_pp
        Projectors of the pinned atoms.
    atoms
        Tables of the moving ones.
    quadrature
        For the remainder of the xc energy; None to leave it out.
    boxes
        Where every atom may be; a box without moving directions pins it.
    dipole_vp
        Matrix elements of x, y, z on the pairs, bohr.
    solver
        Where the online solver starts from; None to find out, which takes some seconds.
    """

    pairs: PairProducts
    constant: float
    linear_p: np.ndarray
    interaction: PairInteraction
    fixed_overlaps_mp: np.ndarray
    fixed_coupling_pp: np.ndarray
    atoms: list[MovingAtom]
    boxes: list[ChebyshevBox]
    dipole_vp: np.ndarray
    quadrature: XcQuadrature | None = None
    solver: SolverArrays | None = None
    notes: dict[str, float] = field(default_factory=dict)
