"""Model cores that move, at the points of the xc remainder: what they do to its energy and to forces.

    ρ = ρ̄ + δ + Σ_a γ_a(x_a),     γ_a = n_a(|r - x_a|) - n_a(|r - x̄_a|),     u = (ρ, ∇ρ)

ρ̄ has all cores in the middle of their boxes, and δ is the change of the valence density.  What one core does when it moves
alone, ``E_xc[ρ̄ + γ_a] - E_xc[ρ̄]`` and ``v_xc[ρ̄ + γ_a] - v_xc[ρ̄]`` on δ, is in the ions' tables, made on the grid
(``core_tables``).  Left for the quadrature is what depends on more than that,

    R_γ = e(ū + δ + γ) - e(ū) - e'(ū)·δ - ½ δ·e''(ū)·δ - Σ_a {e(ū + γ_a) - e(ū) + [e'(ū + γ_a) - e'(ū)]·δ},

the second order in δ where a core has moved, and two cores that meet.  Without moving cores it is R.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import product

import numpy as np

from mpiqmd.kohnsham.functional import Functional
from mpiqmd.kohnsham.libxc import FixedPoints
from mpiqmd.rom.learned import core_kernels
from mpiqmd.rom.learned.data import MovingCore
from mpiqmd.rom.learned.remainder import Remainder

SMALLEST_DENSITY = 1e-12
"""libxc wants positive densities, bohr⁻³; where functions add up to less, it is this much and does not change."""
LEAST_SHARE = 1e-5
"""Share of the mean density that a core must have at a point, when it is as near as its box allows, to be seen there."""


@dataclass(frozen=True)
class PlacedCores:
    """Moving cores at the points, for a batch of geometries; u counts the density and, for a GGA, its gradient.

    Attributes
    ----------
    changes_buq
        Σ_a γ_a, bohr⁻³, and its gradient.
    energies_bq, potentials_buq
        Σ_a of what e and its derivatives in u change where each core has moved alone: Ha bohr⁻³, Ha.
    slopes_bvup
        For each pair p of a core and a point, the derivatives of γ_a and its gradient in the position of the core.
    curvatures_bvup
        These times ``e''(ū + γ_a)``: the derivatives of the potentials.
    """

    changes_buq: np.ndarray
    energies_bq: np.ndarray
    potentials_buq: np.ndarray
    slopes_bvup: np.ndarray
    curvatures_bvup: np.ndarray

    def chosen(self, members: np.ndarray) -> PlacedCores:
        """Return some of the geometries."""
        return PlacedCores(**{each.name: getattr(self, each.name)[members] for each in fields(self)})


def derivatives(functional: Functional, values_uq: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return e, shape (Q,), Ha bohr⁻³, and its derivatives in u, shape (u, Q), Ha and Ha bohr.  Not collective."""
    rho_q, slope_vq = values_uq[0], values_uq[1:]
    e_q, v_rho_q, v_sigma_q = functional.evaluate(rho_q, (slope_vq**2).sum(axis=0) if functional.uses_gradient else None)
    if v_sigma_q is None:
        return e_q, v_rho_q[None]
    return e_q, np.concatenate([v_rho_q[None], 2.0 * v_sigma_q * slope_vq])


class _Pairs:
    """Pairs of a moving core and a point that it can reach.  Replicated, not collective.

    Attributes
    ----------
    places_p, atoms_p
        The point and the atom of each.
    """

    def __init__(
        self, cores: list[MovingCore], positions_vq: np.ndarray, mean_uq: np.ndarray, cell_v: np.ndarray | None
    ) -> None:
        self._components, self._cores, places, atoms, count = len(mean_uq), [], [], [], 0
        for core in cores:
            images_ev, points_e = _seen(core, positions_vq, mean_uq[0], cell_v)
            places_p, pairs_e = np.unique(points_e, return_inverse=True)
            self._cores.append((core, images_ev, pairs_e + count))
            places.append(places_p)
            atoms.append(np.full(len(places_p), core.index))
            count += len(places_p)
        self.places_p, self.atoms_p = np.concatenate(places), np.concatenate(atoms)
        middle_av = np.zeros((1 + max(core.index for core in cores), 3))
        for core in cores:
            middle_av[core.index] = core.box.middle_v
        self._middle_up = self._at(middle_av[None])[0][0]

    def place(self, positions_bav: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return γ with its gradient (B, u, P), bohr⁻³ and bohr⁻⁴, and the derivatives in x (B, 3, u, P), per bohr."""
        values_bup, slopes_bvup = self._at(positions_bav)
        values_bup -= self._middle_up
        return values_bup, slopes_bvup

    def _at(self, positions_bav: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the cores themselves in the same way."""
        shape = self._components, len(self.places_p)
        values_bup, slopes_bvup = np.zeros((len(positions_bav), *shape)), np.zeros((len(positions_bav), 3, *shape))
        for core, images_ev, pairs_e in self._cores:
            # as in tables, where it does not move it stays
            positions_bv = np.where(core.moves_v, positions_bav[:, core.index], core.box.lower_v)
            spline = core.coefficients_ic, core.inverse_step, core.moves_v
            core_kernels.add_core(positions_bv, images_ev, pairs_e, spline, values_bup, slopes_bvup)
        return values_bup, slopes_bvup


def _seen(
    core: MovingCore, positions_vq: np.ndarray, mean_q: np.ndarray, cell_v: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return points that a core can reach, or their images, (e, 3), bohr, and which points these are (e,)."""
    # what a core is at most at this distance and beyond
    largest_i = np.append(np.maximum.accumulate(np.abs(core.coefficients_ic[::-1, 0]))[::-1], 0.0)
    shifts = np.zeros((1, 3)) if cell_v is None else np.array(list(product((-1.0, 0.0, 1.0), repeat=3))) * cell_v
    images_ev, points_e = np.concatenate(positions_vq.T - shifts[:, None]), np.tile(np.arange(len(mean_q)), len(shifts))
    distances_e = np.linalg.norm(images_ev - np.clip(images_ev, core.box.lower_v, core.box.upper_v), axis=1)
    intervals_e = np.minimum(distances_e * core.inverse_step, len(core.coefficients_ic)).astype(int)
    seen = largest_i[intervals_e] > LEAST_SHARE * mean_q[points_e]
    return np.ascontiguousarray(images_ev[seen]), points_e[seen]


class MovingCores:
    """All moving cores at the points.  Replicated, not collective.

    Parameters
    ----------
    cores
        The cores, one at least.
    positions_vq, weights_q
        Points, bohr, and their weights, bohr³.
    remainder
        What is expanded there.
    cell_v
        Cell edges for a periodic model, None for an isolated one.
    """

    def __init__(
        self,
        cores: list[MovingCore],
        positions_vq: np.ndarray,
        weights_q: np.ndarray,
        remainder: Remainder,
        cell_v: np.ndarray | None,
    ) -> None:
        mean_uq = remainder.reference_uq
        self.weights_q, self._pairs = weights_q, _Pairs(cores, positions_vq, mean_uq, cell_v)
        self._places_p, self._atoms_p = self._pairs.places_p, self._pairs.atoms_p
        self._weights_p, self._mean_up = weights_q[self._places_p], mean_uq[:, self._places_p]
        self._energy_p, self._potential_up = derivatives(remainder.functional, self._mean_up)
        self._at_pairs = FixedPoints(remainder.functional.terms, len(self._places_p), second=True)

    def place(self, positions_bav: np.ndarray, energies_b: np.ndarray, gradient_bav: np.ndarray) -> PlacedCores:
        """Return the cores at geometries (B, N, 3), bohr; take what each does alone from energies, Ha, and gradients."""
        changes_bup, slopes_bvup = self._pairs.place(positions_bav)
        places_p, atoms_p, count = self._places_p, self._atoms_p, len(self.weights_q)
        at_points_buq = np.zeros((2, *changes_bup.shape[:2], count))
        energies_bq, curvatures_bvup = np.zeros((len(changes_bup), count)), np.empty_like(slopes_bvup)
        placed = PlacedCores(at_points_buq[0], energies_bq, at_points_buq[1], slopes_bvup, curvatures_bvup)
        for b, change_up in enumerate(changes_bup):
            energy_p, potential_up = self._expand(change_up, slopes_bvup[b], curvatures_bvup[b])
            core_kernels.add_at(change_up, places_p, placed.changes_buq[b])
            core_kernels.add_at((energy_p - self._energy_p)[None], places_p, energies_bq[b : b + 1])
            core_kernels.add_at(potential_up - self._potential_up, places_p, placed.potentials_buq[b])
            core_kernels.add_slopes(slopes_bvup[b], -self._weights_p * potential_up, atoms_p, gradient_bav[b])
            energies_b[b] -= self.weights_q @ energies_bq[b]
        return placed

    def _expand(
        self, change_up: np.ndarray, slopes_vup: np.ndarray, curvatures_vup: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return e (P,) and its derivatives (u, P) where each core has moved alone, and set e'' times slopes."""
        at, values_up = self._at_pairs, self._mean_up + change_up
        np.maximum(values_up[0], SMALLEST_DENSITY, out=at.rho)
        np.einsum("vp,vp->p", values_up[1:], values_up[1:], out=at.sigma)
        at.evaluate()
        second = at.rr, at.rs, at.ss, at.v_sigma
        core_kernels.multiply_curvature(values_up[1:], second, slopes_vup, curvatures_vup)
        potential_up = np.empty_like(values_up)
        potential_up[0] = at.v_rho
        np.multiply(2.0 * at.v_sigma, values_up[1:], out=potential_up[1:])
        return at.rho * at.e, potential_up

    def add(
        self,
        placed: PlacedCores,
        b: int,
        change_uq: np.ndarray,
        acting_uq: np.ndarray,
        pull_uq: np.ndarray,
        slope_av: np.ndarray,
    ) -> float:
        """Return what the potentials of the cores take from the energy of a change of the valence density, Ha.

        ``pull`` loses its derivative in the change, and the gradient in the positions of geometry b (N, 3), Ha/bohr, is added
        to, given ``acting``, weights times the derivatives of e at the whole density.
        """
        weighted_uq, places_p = self.weights_q * change_uq, self._places_p
        pull_uq[:, : len(self.weights_q)] -= self.weights_q * placed.potentials_buq[b]
        core_kernels.add_slopes(placed.slopes_bvup[b], acting_uq[:, places_p], self._atoms_p, slope_av)
        core_kernels.add_slopes(placed.curvatures_bvup[b], -weighted_uq[:, places_p], self._atoms_p, slope_av)
        return -float(np.vdot(weighted_uq, placed.potentials_buq[b]))
