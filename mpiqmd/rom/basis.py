"""The reduced basis: the dominant singular functions of the snapshots.

Two meanings of an *energy fraction* are in use and always reported side by side,

    sigma:  smallest r with Σ_{k<=r} σ_k >= fraction Σ σ_k,        sigma2:  the same with σ_k².

Snapshots are orthonormal orbitals without subtraction of a mean, so the basis does not depend on how the
orbitals of a geometry are mixed.  The set is closed under the symmetry operations of the reference (``rom.closed_set``): every
geometry that is solved counts as many times as the molecule has operations, and the reduced energy is as symmetric as it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mpiqmd.errors import ConfigError, DataFileError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.svd import orthonormalise
from mpiqmd.molecule.symmetry import Symmetry
from mpiqmd.parallel.log import Log
from mpiqmd.rom.closed_set import ClosedSet

CRITERIA = ("sigma", "sigma2")
EQUAL = 1e-6
"""Relative difference up to which neighbouring singular values are those of one degenerate species, kept or left together."""


@dataclass(frozen=True)
class ReducedBasis:
    """Modes and where they came from.

    Attributes
    ----------
    modes
        The r kept modes, orthonormal on the grid, by descending singular value.
    singular_values_k
        All singular values above round-off, kept or not, descending.
    rank_sigma, rank_sigma2
        What either criterion asks for at ``energy_fraction``.
    criterion, energy_fraction
        What was asked for.
    n_snapshots
        Snapshots without their images.
    """

    modes: Orbitals
    singular_values_k: np.ndarray
    rank_sigma: int
    rank_sigma2: int
    criterion: str
    energy_fraction: float
    n_snapshots: int

    @property
    def rank(self) -> int:
        """Number of modes r."""
        return len(self.modes)

    def truncated(self, rank: int) -> ReducedBasis:
        """Return the basis of the first ``rank`` modes.  Not collective."""
        _check_rank(rank, self.rank)
        return replace(self, modes=self.modes.select(slice(0, rank)))

    def coefficients(self, orbitals: Orbitals) -> np.ndarray:
        """Return ``C_mn = <ψ_m|φ_n>``, the projection of orbitals on the modes, shape (r, n), without unit.  Collective."""
        return self.modes.gram(orbitals)


def rank_for(singular_values_k: np.ndarray, fraction: float, criterion: str) -> int:
    """Return the smallest number of modes that holds this fraction of the sum of σ or (``sigma2``) σ².

    Not collective.  Raises ConfigError for an unknown criterion or a fraction outside (0, 1].
    """
    if criterion not in CRITERIA:
        raise ConfigError(f"rom.criterion = {criterion!r}: allowed are {', '.join(map(repr, CRITERIA))}. Use 'sigma'.")
    if not 0.0 < fraction <= 1.0:
        raise ConfigError(f"rom.energy_fraction = {fraction}: a number above 0 and at most 1 is needed. Use 0.9999.")
    weights = singular_values_k if criterion == "sigma" else singular_values_k**2
    shares = np.cumsum(weights) / max(weights.sum(), np.finfo(float).tiny)
    # The last share may be a rounding below one, which no number of modes would then reach.
    return int(min(np.searchsorted(shares, fraction) + 1, len(weights)))


def build_basis(
    snapshots: Orbitals,
    energy_fraction: float = 0.9999,
    criterion: str = "sigma",
    rank: int | None = None,
    symmetries: Sequence[Symmetry] = (),
    log: Log | None = None,
) -> ReducedBasis:
    """Compress snapshots to a reduced basis.  Collective.

    Parameters
    ----------
    snapshots
        Orthonormal orbitals of all training geometries, one block.
    energy_fraction, criterion
        How many modes to keep, see :func:`rank_for`; a few more where that would part degenerate ones.
    rank
        Keep exactly this many instead; all above round-off if it is larger than their number is an error.
    symmetries
        Operations that map the reference onto itself, a group without its identity; the set is closed under them.
    log
        Where to report of a long compression.

    Raises
    ------
    ConfigError
        If the rank or the fraction is impossible.
    DataFileError
        If the snapshots are all zero.
    """
    closed = ClosedSet(snapshots, symmetries, log)
    sigma = np.concatenate([sector.singular_values_k for sector in closed.sectors])
    if len(sigma) == 0:
        raise DataFileError(
            f"the {len(snapshots)} snapshots are all zero; orbitals of norm 1 are needed. Solve the training geometries again."
        )
    order = np.argsort(-sigma, kind="stable")
    sigma = sigma[order]
    ranks = {name: rank_for(sigma, energy_fraction, name) for name in CRITERIA}
    kept = _whole_species(sigma, rank_for(sigma, energy_fraction, criterion)) if rank is None else rank
    _check_rank(kept, len(sigma))
    owners = np.repeat(np.arange(len(closed.sectors)), [len(sector.singular_values_k) for sector in closed.sectors])
    sigma[:kept], modes = _sorted_modes(closed, owners[order[:kept]])
    orthonormalise(modes)
    return ReducedBasis(
        modes=modes,
        singular_values_k=sigma,
        rank_sigma=ranks["sigma"],
        rank_sigma2=ranks["sigma2"],
        criterion=criterion,
        energy_fraction=energy_fraction,
        n_snapshots=len(snapshots),
    )


def _sorted_modes(closed: ClosedSet, owners_k: np.ndarray) -> tuple[np.ndarray, Orbitals]:
    """Return singular values and modes, descending, given the sectors that they are of as far as these are known.  Collective.

    One sector after the other is put to where its modes belong: no copy of all of them is made.
    """
    values, modes = np.empty(len(owners_k)), Orbitals.zeros(closed.functions.grid, len(owners_k))
    for number, sector in enumerate(closed.sectors):
        own = np.flatnonzero(owners_k == number)
        if len(own):
            part = closed.decomposed(sector, len(own))
            values[own], modes.local[own] = part.singular_values_k, part.modes.local
    order = np.argsort(-values, kind="stable")
    moved = np.flatnonzero(order != np.arange(len(order)))
    modes.local[moved] = modes.local[order[moved]]
    return values[order], modes


def _whole_species(sigma: np.ndarray, rank: int) -> int:
    """Return the rank at which no two equal singular values are parted."""
    while rank < len(sigma) and sigma[rank] > (1.0 - EQUAL) * sigma[rank - 1]:
        rank += 1
    return rank


def _check_rank(rank: int, available: int) -> None:
    if not 1 <= rank <= available:
        raise ConfigError(
            f"rom.rank = {rank}: the snapshots have {available} independent modes, 1 to {available} can be "
            "kept. Ask for fewer, or train on more geometries."
        )
