"""Points and non-negative weights for the remainder of the xc energy, by empirical quadrature.

Given training density matrices, weights w >= 0 are sought with

    Σ_q w_q R(u_q) = ∫ R dr,    Σ_q w_q ∂R_q/∂(2P_ij) = (∂/∂(2P_ij)) ∫ R dr    for every training density,

on a few thousand candidate grid points.  The equations are compressed by their singular vectors and solved by
non-negative least squares (Lawson and Hanson 1974, by QR), which leaves as many points as the equations have rank.
Points are chosen on the part of the grid that the mirrors leave.  Mirrors that every geometry keeps double the weights;
the others bring the mirror images of a point with the same weight, so that the quadrature is exactly symmetric.
Because the weights multiply an energy, the quadrature's Hamiltonian is the exact derivative of its energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.chosen_points import drawn_points, values_at
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.kohnsham.terms.xc import ExchangeCorrelation
from mpiqmd.parallel.comm import on_rank_zero, sum_over_ranks
from mpiqmd.rom.compiled.data import XcQuadrature
from mpiqmd.rom.compiled.elements import ON_PLANE, PairIntegrals, density_of_pairs
from mpiqmd.rom.compiled.pairs import PairProducts
from mpiqmd.rom.learned.nonnegative_weights import nonnegative_weights
from mpiqmd.rom.learned.remainder import Remainder

ENERGY_SCALE = 1e-8
"""Error of an energy equation (Ha) that counts as much as GRADIENT_SCALE in a matrix element."""
GRADIENT_SCALE = 3e-7
"""Error of a Hamiltonian element (Ha)."""


class QuadratureBuilder:
    """Chooses quadrature points for the xc remainder.

    Parameters
    ----------
    model
        The physics.
    modes, pairs
        The reduced basis, on the density's grid.
    reference_p
        Coefficients of the reference density.
    candidates
        Number of grid points among which to choose.
    seed
        Seed of the random part of that choice.
    mirrors
        (signs, permutation) of the mirrors that ``pairs.characters_mg`` belongs to.
    """

    def __init__(
        self,
        model: KohnShamModel,
        modes: Orbitals,
        pairs: PairProducts,
        reference_p: np.ndarray,
        candidates: int = 4000,
        seed: int = 1,
        mirrors: Sequence[tuple[np.ndarray, np.ndarray]] = (),
    ) -> None:
        self.model, self.modes, self.pairs = model, modes, pairs
        self.candidates, self.seed = candidates, seed
        self.comm = model.grid.comm
        self.gradient = model.term(ExchangeCorrelation).gradient
        reference = density_of_pairs(modes, pairs, reference_p)
        self.rho0 = reference.local.ravel()
        self.slope0 = None if self.gradient is None else self.gradient.apply(reference).reshape(3, -1)
        self.remainder = Remainder(model.functional, self.rho0, self.slope0)
        symmetry = PairIntegrals(modes, pairs, np.array([signs for signs, _ in mirrors]))
        self.folded = symmetry.all_axes
        self.broken = tuple(v for v in symmetry.all_axes if v not in symmetry.kept_axes)
        self.parities_vm = {v: pairs.characters_mg[:, g] for v, g in symmetry.mirror_of_axis.items()}

    def build(self, training: list[np.ndarray], points: int) -> XcQuadrature:
        """Return at most ``points`` points fitted to training density matrices.  Collective."""
        exact, importance = self._integrate(training)
        chosen = self._choose(importance)
        values, slopes, rho0, slope0 = self._at(chosen)
        equations = self._equations(training, values, slopes, rho0, slope0)
        most = max(1, points // len(self._images()))
        weights = on_rank_zero(self.comm, nonnegative_weights, equations, exact, most)
        return self._with_images(chosen, weights, values, slopes, rho0, slope0)

    def _images(self) -> list[tuple[tuple[int, ...], np.ndarray, np.ndarray]]:
        """Return the flips that bring images of a point: flipped axes, parities of the modes, signs of the axes."""
        images = []
        for count in range(len(self.broken) + 1):
            for axes in combinations(self.broken, count):
                parity_m = np.prod([np.ones(len(self.modes)), *(self.parities_vm[v] for v in axes)], axis=0)
                images.append((axes, parity_m, np.where(np.isin(np.arange(3), axes), -1.0, 1.0)))
        return images

    def _with_images(self, chosen, weights, values, slopes, rho0, slope0) -> XcQuadrature:
        """Return the points in use with their images; those on a mirror plane are their own."""
        index = np.unravel_index(chosen, self.modes.grid.shape)
        on_plane = {v: np.abs(self.modes.grid.coordinates(2 - v)[index[2 - v]]) < ON_PLANE for v in self.broken}
        weights = weights * np.prod([np.ones(len(chosen)), *(1.0 + on for on in on_plane.values())], axis=0)
        parts = []
        for axes, parity_m, signs_v in self._images():
            use = (weights > 0) & ~np.any([np.zeros(len(chosen), bool), *(on_plane[v] for v in axes)], axis=0)
            signed = slopes[use] * signs_v[:, None] * parity_m[: slopes.shape[2]]
            parts.append((weights[use], values[use] * parity_m, signed, rho0[use], slope0[:, use] * signs_v[:, None]))
        w, v, s, r, t = zip(*parts, strict=True)
        return XcQuadrature(*(np.concatenate(part) for part in (w, v, s, r)), np.concatenate(t, axis=1))

    def _integrate(self, training: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return the exact right-hand sides and how much each local point contributes to them.  Collective."""
        dv = self.modes.grid.volume_element
        importance, rights = np.zeros(self.modes.grid.local_size), []
        for density_matrix in training:
            density = density_of_pairs(self.modes, self.pairs, self.pairs.coefficients(density_matrix))
            slope = None if self.gradient is None else self.gradient.apply(density).reshape(3, -1)
            value, d_rho, d_slope = self.remainder.evaluate(density.local.ravel(), slope)
            importance += np.abs(value) / ENERGY_SCALE * 1e-2 + np.abs(d_rho) * density.local.ravel() / GRADIENT_SCALE * 1e-2
            potential = Field(self.modes.grid, d_rho.reshape(self.modes.grid.local_shape))
            if d_slope is not None:
                potential.local -= self.gradient.divergence(d_slope.reshape(3, *self.modes.grid.local_shape))
            occupied, coupled_nm = self._occupied(density_matrix)
            left = self.modes.combine(occupied)
            left.local *= potential.local
            rows = left.gram(self.modes)[coupled_nm]
            energy = dv * sum_over_ranks(self.comm, float(value.sum()))
            rights.append(np.concatenate([[energy / ENERGY_SCALE], rows / GRADIENT_SCALE]))
        return np.concatenate(rights), importance

    def _occupied(self, density_matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the occupied natural orbitals as columns, sector by sector, and which modes share their sector."""
        columns, coupled = [], []
        for sector in np.unique(self.pairs.sectors_m):
            members = self.pairs.sectors_m == sector
            values, vectors = np.linalg.eigh(density_matrix[np.ix_(members, members)])
            for column in vectors[:, values > 0.5].T:
                orbital = np.zeros(len(members))
                orbital[members] = column
                columns.append(orbital)
                coupled.append(members)
        return np.array(columns).T, np.array(coupled)

    def _choose(self, importance: np.ndarray) -> np.ndarray:
        """Return global indices of candidate points, half the most important, half drawn at random.  Collective."""
        grid = self.modes.grid
        return drawn_points(grid, importance, self.candidates, self.seed, self._irreducible(grid.shape))

    def _irreducible(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return a mask of one side of every mirror plane, planes included."""
        mask = np.ones(shape)
        for v in self.folded:
            outside = self.modes.grid.coordinates(2 - v) < -ON_PLANE
            mask[(slice(None),) * (2 - v) + (outside,)] = 0.0
        return mask

    def _at(self, chosen: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return modes, their gradients, ρ0 and ∇ρ0 at global grid points, on every rank.  Collective."""
        grid = self.modes.grid
        values = np.ascontiguousarray(values_at(grid, self.modes.matrix_local, chosen).T)
        rho0 = values_at(grid, self.rho0[None], chosen)[0]
        if self.gradient is None or self.slope0 is None:
            return values, np.zeros((len(chosen), 3, 0)), rho0, np.zeros((3, len(chosen)))
        slopes_mvq = [
            values_at(grid, self.gradient.apply(Field(grid, mode)).reshape(3, -1), chosen) for mode in self.modes.local
        ]
        return values, np.ascontiguousarray(np.array(slopes_mvq).transpose(2, 1, 0)), rho0, values_at(grid, self.slope0, chosen)

    def _equations(self, training, values, slopes, rho0, slope0) -> np.ndarray:
        """Return the contribution of every candidate with its images (columns) to every equation (rows).  Replicated."""
        blocks = []
        for density_matrix in training:
            energy, rows = 0.0, 0.0
            for _, parity_m, signs_v in self._images():
                image = values * parity_m, slopes * signs_v[:, None] * parity_m[: slopes.shape[2]], rho0
                value, derivative = self._contributions(density_matrix, *image, slope0 * signs_v[:, None])
                energy, rows = energy + value, rows + derivative
            blocks += [energy[None] / ENERGY_SCALE, rows / GRADIENT_SCALE]
        return np.concatenate(blocks)

    def _contributions(self, density_matrix, values, slopes, rho0, slope0) -> tuple[np.ndarray, np.ndarray]:
        """Return R (Q,) and its derivatives (equations, Q) at points."""
        uses_gradient = self.slope0 is not None
        remainder = Remainder(self.model.functional, rho0, slope0 if uses_gradient else None)
        occupied, coupled_nm = self._occupied(density_matrix)
        orbitals = values @ occupied
        rho = 2.0 * (orbitals**2).sum(axis=1)
        slope = None
        if uses_gradient:
            orbital_slopes = np.einsum("qvm,mn->vqn", slopes, occupied)
            slope = 4.0 * (orbitals * orbital_slopes).sum(axis=2)
        value, d_rho, d_slope = remainder.evaluate(rho, slope)
        rows = np.einsum("q,qn,qm->nmq", d_rho, orbitals, values, optimize=True)
        if uses_gradient:
            rows += np.einsum("vq,vqn,qm->nmq", d_slope, orbital_slopes, values, optimize=True)
            rows += np.einsum("vq,qn,qvm->nmq", d_slope, orbitals, slopes, optimize=True)
        return value, rows[coupled_nm]
