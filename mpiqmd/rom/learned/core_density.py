"""Model cores that move, at the points of the xc remainder: what they do to its energy and to forces.

    ρ = ρ̄ + δ + Σ_a γ_a(x_a),     γ_a = n_a(|r - x_a|) - n_a(|r - x̄_a|),     u = (ρ, ∇ρ)

ρ̄ has all cores in the middle of their boxes, and δ is the change of the valence density.  What one core does when it moves alone,
``E_xc[ρ̄ + γ_a] - E_xc[ρ̄]`` and ``v_xc[ρ̄ + γ_a] - v_xc[ρ̄]`` on δ, is in the ions' tables, made on the grid (``core_tables``).
Left for the quadrature is what depends on more than that,

    R_γ = e(ū + δ + γ) - e(ū) - e'(ū)·δ - ½ δ·e''(ū)·δ - Σ_a {e(ū + γ_a) - e(ū) + [e'(ū + γ_a) - e'(ū)]·δ},

the second order in δ where a core has moved, and two cores that meet.  Without moving cores it is R.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from mpiqmd.kohnsham.functional import Functional
from mpiqmd.rom.learned import core_kernels
from mpiqmd.rom.learned.data import MovingCore
from mpiqmd.rom.learned.remainder import Remainder


@dataclass(frozen=True)
class PlacedCores:
    """Moving cores at the points, for a batch of geometries; u counts the density and, for a GGA, its gradient.

    Attributes
    ----------
    changes_buq
        Σ_a γ_a, bohr⁻³, and its gradient.
    energies_bq, potentials_buq
        Σ_a of what e and its derivatives in u change where each core has moved alone: Ha bohr⁻³, Ha.
    slopes
        For each core the derivatives of γ_a and its gradient in its position, at its own points, shape (B, 3, u, Qa).
    curvatures
        These times ``e''(ū + γ_a)``: the derivatives of the potentials.
    """

    changes_buq: np.ndarray
    energies_bq: np.ndarray
    potentials_buq: np.ndarray
    slopes: list[np.ndarray]
    curvatures: list[np.ndarray]

    def chosen(self, members: np.ndarray) -> PlacedCores:
        """Return some of the geometries."""
        return replace(
            self,
            changes_buq=self.changes_buq[members],
            energies_bq=self.energies_bq[members],
            potentials_buq=self.potentials_buq[members],
            slopes=[each[members] for each in self.slopes],
            curvatures=[each[members] for each in self.curvatures],
        )


def derivatives(functional: Functional, values_buq: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return e, shape (B, Q), Ha bohr⁻³, and its derivatives in u, shape (B, u, Q), Ha and Ha bohr, at u.  Not collective."""
    rho_bq, slope_bvq = values_buq[:, 0], values_buq[:, 1:]
    sigma_bq = (slope_bvq**2).sum(axis=1) if functional.uses_gradient else None
    e_bq, v_rho_bq, v_sigma_bq = functional.evaluate(rho_bq, sigma_bq)
    if v_sigma_bq is None:
        return e_bq, v_rho_bq[:, None]
    return e_bq, np.concatenate([v_rho_bq[:, None], 2.0 * v_sigma_bq[:, None] * slope_bvq], axis=1)


def curved(functional: Functional, values_buq: np.ndarray, changes_bvuq: np.ndarray) -> np.ndarray:
    """Return ``e''(u)`` times changes (B, v, u, Q), of their shape, in Ha per unit of v.  Not collective."""
    rho_bq, slope_buq = values_buq[:, 0], values_buq[:, 1:]
    if not functional.uses_gradient:
        return functional.second_derivatives(rho_bq, None)["rr"][:, None, None] * changes_bvuq
    sigma_bq = (slope_buq**2).sum(axis=1)
    second = {name: values_bq[:, None] for name, values_bq in functional.second_derivatives(rho_bq, sigma_bq).items()}
    _, _, v_sigma_bq = functional.evaluate(rho_bq, sigma_bq)
    assert v_sigma_bq is not None
    density_bvq, gradient_bvuq = changes_bvuq[:, :, 0], changes_bvuq[:, :, 1:]
    d_sigma_bvq = 2.0 * np.einsum("buq,bvuq->bvq", slope_buq, gradient_bvuq)
    result = np.empty_like(changes_bvuq)
    result[:, :, 0] = second["rr"] * density_bvq + second["rs"] * d_sigma_bvq
    along_bvq = 2.0 * (second["rs"] * density_bvq + second["ss"] * d_sigma_bvq)
    result[:, :, 1:] = along_bvq[:, :, None] * slope_buq[:, None] + 2.0 * v_sigma_bq[:, None, None] * gradient_bvuq
    return result


class CoreAtPoints:
    """One moving core at the points that it can reach.  Replicated, not collective.

    Parameters
    ----------
    core
        The core.
    positions_vq
        All points, bohr.
    cell_v
        Cell edges for a periodic model, whose images reach points as well; None for an isolated one.
    with_gradient
        Whether gradients are wanted.

    Attributes
    ----------
    places_q
        The points that it can reach.
    """

    def __init__(self, core: MovingCore, positions_vq: np.ndarray, cell_v: np.ndarray | None, with_gradient: bool) -> None:
        self.index, self._count = core.index, 4 if with_gradient else 1
        self._spline = np.ascontiguousarray(core.coefficients_ic), core.inverse_step
        images, places = [], []
        for shift_v in _shifts(cell_v):
            seen_from_qv = positions_vq.T - shift_v
            nearest_qv = np.clip(seen_from_qv, core.box.lower_v, core.box.upper_v)
            reached = np.flatnonzero(((seen_from_qv - nearest_qv) ** 2).sum(axis=1) < core.radius**2)
            images.append(seen_from_qv[reached])
            places.append(reached)
        self.places_q, self._places = np.unique(np.concatenate(places), return_inverse=True)
        self._images = np.ascontiguousarray(np.concatenate(images))
        self._mean_uq = self._at(core.box.middle_v[None])[0][0]

    def place(self, positions_bv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return γ with its gradient (B, u, Qa), bohr⁻³ and bohr⁻⁴, and the derivatives in x (B, 3, u, Qa), per bohr."""
        values_buq, slopes_bvuq = self._at(positions_bv)
        return values_buq - self._mean_uq, slopes_bvuq

    def _at(self, positions_bv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the core itself in the same way."""
        size, count = len(positions_bv), len(self.places_q)
        values_buq, slopes_bvuq = np.zeros((size, self._count, count)), np.zeros((size, 3, self._count, count))
        positions_bv = np.ascontiguousarray(positions_bv)
        core_kernels.add_core(positions_bv, self._images, self._places, self._spline, values_buq, slopes_bvuq)
        return values_buq, slopes_bvuq


def _shifts(cell_v: np.ndarray | None) -> np.ndarray:
    """Return lattice vectors to the neighbouring images, bohr, shape (images, 3)."""
    if cell_v is None:
        return np.zeros((1, 3))
    return np.array(list(product((-1.0, 0.0, 1.0), repeat=3))) * cell_v


class MovingCores:
    """All moving cores at the points.  Replicated, not collective.

    Parameters
    ----------
    cores
        The cores.
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
        self.weights_q, self._functional = weights_q, remainder.functional
        self._mean_uq = remainder.reference_uq
        self._energy_q, self._potential_uq = (each[0] for each in derivatives(self._functional, self._mean_uq[None]))
        self._cores = [CoreAtPoints(core, positions_vq, cell_v, len(self._mean_uq) > 1) for core in cores]

    def place(self, positions_bav: np.ndarray, energies_b: np.ndarray, gradient_bav: np.ndarray) -> PlacedCores:
        """Return the cores at geometries (B, N, 3), bohr; take what each does alone from energies, Ha, and gradients."""
        size = len(positions_bav)
        changes_buq, potentials_buq = np.zeros((2, size, *self._mean_uq.shape))
        energies_bq, slopes, curvatures = np.zeros((size, self._mean_uq.shape[1])), [], []
        for core in self._cores:
            change_buq, slopes_bvuq = core.place(positions_bav[:, core.index])
            values_buq = self._mean_uq[:, core.places_q] + change_buq
            e_bq, potential_buq = derivatives(self._functional, values_buq)
            changes_buq[:, :, core.places_q] += change_buq
            energies_bq[:, core.places_q] += e_bq - self._energy_q[core.places_q]
            potentials_buq[:, :, core.places_q] += potential_buq - self._potential_uq[:, core.places_q]
            weighted_buq = self.weights_q[core.places_q] * potential_buq
            gradient_bav[:, core.index] -= np.einsum("bvuq,buq->bv", slopes_bvuq, weighted_buq)
            slopes.append(slopes_bvuq)
            curvatures.append(curved(self._functional, values_buq, slopes_bvuq))
        energies_b -= energies_bq @ self.weights_q
        return PlacedCores(changes_buq, energies_bq, potentials_buq, slopes, curvatures)

    def add(
        self, placed: PlacedCores, b: int, change_uq: np.ndarray, acting_uq: np.ndarray, pull_uq: np.ndarray, slope_av: np.ndarray
    ) -> float:
        """Return what the potentials of the cores take from the energy of a change of the valence density, Ha.

        ``pull`` loses its derivative in the change, and the gradient in the positions of geometry b (N, 3), Ha/bohr, is added
        to, given ``acting``, weights times the derivatives of e at the whole density.
        """
        weighted_uq = self.weights_q * change_uq
        pull_uq[:, : len(self.weights_q)] -= self.weights_q * placed.potentials_buq[b]
        for core, slopes_bvuq, curvatures_bvuq in zip(self._cores, placed.slopes, placed.curvatures, strict=True):
            slope_av[core.index] += slopes_bvuq[b].reshape(3, -1) @ acting_uq[:, core.places_q].ravel()
            slope_av[core.index] -= curvatures_bvuq[b].reshape(3, -1) @ weighted_uq[:, core.places_q].ravel()
        return -float((weighted_uq * placed.potentials_buq[b]).sum())
