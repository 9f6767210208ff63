"""What the points of a learned grid tell of the first order of the ions' potentials, by regression (equation: ``first_order``).

Samples are predicted minima at random geometries and ground states, and slopes of the density from there along random latent
directions: without these a minimum would be sought where the regression has a slope and the energy none.  The equations are
brought to triangular form batch by batch and rank by rank, so that no rank holds all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import lstsq

from mpiqmd.kohnsham.electrons import SPIN_WEIGHT
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.rom.learned.data import LearnedArrays
from mpiqmd.rom.learned.first_order import FirstOrderArrays
from mpiqmd.rom.learned.one_electron import OneElectron

if TYPE_CHECKING:
    from mpi4py import MPI

SAMPLES_PER_UNKNOWN = 3.0
"""Samples for each number that is sought for one displacement; each sample has a slope as well."""
DISPLACEMENT = 1e-3
"""Along every latent direction for a slope, square roots of Ha: what predictions are off by, about."""
HELD_OUT = 10
"""One of so many samples is not fitted: these say how good the fit is."""
INDEPENDENT = 1e-12
"""Singular values of the equations, relative to the largest, that count."""
BATCH, TOGETHER = 256, 3
"""Samples at a time, and equations for each unknown that are brought to triangular form together."""


def samples_needed(arrays: LearnedArrays) -> int:
    """Return how many samples determine the regression.  Not collective."""
    return int(SAMPLES_PER_UNKNOWN * (1 + len(arrays.subspaces) + len(arrays.points.mean_q)))


@dataclass(frozen=True)
class FirstOrderFit:
    """A model that reads the first order off its points, and the energy by which this is off at samples not fitted, rms, Ha."""

    arrays: LearnedArrays
    error: float

    def describe(self, tolerance: float) -> str:
        """Return how good it is, and what follows from a tolerance (Ha).  Not collective."""
        what = "read off them" if self.error < tolerance else "matrices remain"
        return f"points tell the first order of the ions' potentials to {self.error:.1e} Ha: {what}"


def with_first_order_read(
    arrays: LearnedArrays, labels_d: np.ndarray, sampled: tuple[np.ndarray, np.ndarray], comm: MPI.Comm, seed: int
) -> FirstOrderFit:
    """Return the model with regressions in place of the matrices h_l.  Collective.

    Parameters
    ----------
    arrays
        The model, with whole matrices, the same on every rank.
    labels_d
        Symmetry species of the latent coordinates.
    sampled
        Geometries (s, N, 3), bohr, and latent coordinates there (s, d), square roots of Ha.
    comm, seed
        The ranks that share the work, and of random slopes.
    """
    equations, (positions_sav, latent_sd) = _Equations(arrays, labels_d), sampled
    nearby_sd = latent_sd + DISPLACEMENT * np.random.default_rng(seed).normal(size=latent_sd.shape)
    unseen_s = np.arange(len(latent_sd)) % HELD_OUT == HELD_OUT - 1
    own = np.flatnonzero(~unseen_s)[comm.rank :: comm.size]
    triangles = equations.triangles(latent_sd[own], nearby_sd[own])
    everyone = comm.gather(triangles) or []
    found = on_rank_zero(comm, _solved, everyone, equations, len(latent_sd[0]))
    one_electron, k = arrays.one_electron, len(arrays.one_electron.constant_kk)
    without = replace(
        one_electron, first_order_lkk=np.zeros((0, k, k)), axes_lx=one_electron.axes_lx[:0], offset_l=one_electron.offset_l[:0]
    )
    displacements_sl = OneElectron(one_electron).displacements(positions_sav[unseen_s])
    off_s = np.sum(displacements_sl * equations.left_by(found, latent_sd[unseen_s]), axis=1)
    return FirstOrderFit(replace(arrays, one_electron=without, first_order=found), float(np.sqrt(np.mean(off_s**2))))


class _Equations:
    """What samples say of the regressions, by symmetry species.  Not collective."""

    def __init__(self, arrays: LearnedArrays, labels_d: np.ndarray) -> None:
        self.arrays, self.labels_d = arrays, labels_d
        self.labels_l = _labels(arrays.one_electron.first_order_lkk, arrays.points.labels_k)

    def rows(self, latent_sd: np.ndarray, label: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what is read of each sample (s, 1 + d + Q), and what it shall tell (s, l of a species), Ha/bohr."""
        orbitals_snk, _ = self.arrays.subspaces.orthonormal(latent_sd)
        values_sl = _exact(orbitals_snk, self.arrays.one_electron.first_order_lkk[self.labels_l == label])
        changes_sq = self.arrays.points.changes(orbitals_snk)[:, label]
        return np.hstack([np.ones((len(latent_sd), 1)), latent_sd[:, self.labels_d == label], changes_sq]), values_sl

    def triangles(self, latent_sd: np.ndarray, nearby_sd: np.ndarray) -> dict[int, np.ndarray]:
        """Return the triangular form of the equations of samples and of slopes from there, one for each species."""
        found = {}
        for label in np.unique(self.labels_l).tolist():
            parts = []
            for start in range(0, len(latent_sd), BATCH):
                batch = slice(start, start + BATCH)
                here, there = (np.hstack(self.rows(each_sd[batch], label)) for each_sd in (latent_sd, nearby_sd))
                parts += [here, there - here]
                if sum(map(len, parts)) > TOGETHER * here.shape[1]:
                    parts = [_stacked(parts)]
            found[label] = _stacked(parts)
        return found

    def left_by(self, found: FirstOrderArrays, latent_sd: np.ndarray) -> np.ndarray:
        """Return what regressions are off at samples, shape (s, l), Ha/bohr."""
        off_sl = np.zeros((len(latent_sd), len(self.labels_l)))
        for label in np.unique(self.labels_l):
            seen_su, values_sl = self.rows(latent_sd, int(label))
            of_species = self.labels_l == label
            own_ld = found.latent_ld[np.ix_(of_species, self.labels_d == label)]
            told_lu = np.hstack([found.mean_l[of_species, None], own_ld, found.at_points_lq[of_species]])
            off_sl[:, of_species] = values_sl - seen_su @ told_lu.T
        return off_sl


def _stacked(parts: list[np.ndarray]) -> np.ndarray:
    """Return the triangular form of equations (rows, unknowns and right-hand sides) one below the other."""
    rows = [part for part in parts if part.size]
    return np.linalg.qr(np.concatenate(rows), mode="r") if rows else np.zeros((0, 0))


def _solved(everyone: list[dict[int, np.ndarray]], equations: _Equations, directions: int) -> FirstOrderArrays:
    """Return the regressions that fit best, the smallest where samples do not determine them."""
    one_electron, labels_l, labels_d = equations.arrays.one_electron, equations.labels_l, equations.labels_d
    points = len(equations.arrays.points.mean_q)
    mean_l, latent_ld, at_points_lq = (np.zeros((len(labels_l), *shape)) for shape in ((), (directions,), (points,)))
    for label in np.unique(labels_l):
        of_species, own = labels_l == label, labels_d == label
        triangle = _stacked([each[int(label)] for each in everyone])
        told = triangle.shape[1] - int(of_species.sum())
        found_ul = lstsq(triangle[:, :told], triangle[:, told:], cond=INDEPENDENT, lapack_driver="gelsd")[0]
        mean_l[of_species], at_points_lq[of_species] = found_ul[0], found_ul[1 + int(own.sum()) :].T
        latent_ld[np.ix_(of_species, own)] = found_ul[1 : 1 + int(own.sum())].T
    return FirstOrderArrays(one_electron.axes_lx, one_electron.offset_l, mean_l, latent_ld, at_points_lq, labels_l)


def _exact(orbitals_snk: np.ndarray, matrices_lkk: np.ndarray) -> np.ndarray:
    """Return ``w tr(Ũ h_l Ũ^T)``, shape (s, l), Ha/bohr."""
    rows_rk = orbitals_snk.reshape(-1, orbitals_snk.shape[2])
    products = (((rows_rk @ h_kk) * rows_rk).reshape(len(orbitals_snk), -1) for h_kk in matrices_lkk)
    return SPIN_WEIGHT * np.array([each_sx.sum(axis=1) for each_sx in products]).T


def _labels(matrices_lkk: np.ndarray, labels_k: np.ndarray) -> np.ndarray:
    """Return the symmetry species of matrices (l,): they lead from modes of one species to those of one other."""
    places = [np.unravel_index(np.argmax(np.abs(h_kk)), h_kk.shape) for h_kk in matrices_lkk]
    return np.array([labels_k[i] ^ labels_k[j] for i, j in places], int)
