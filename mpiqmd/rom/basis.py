"""The reduced basis: the dominant singular functions of the snapshots.

Two meanings of an *energy fraction* are in use and always reported side by side,

    sigma:  smallest r with Σ_{k<=r} σ_k >= fraction Σ σ_k,        sigma2:  the same with σ_k².

Snapshots are orthonormal orbitals without subtraction of a mean, so the basis does not depend on how the
orbitals of a geometry are mixed.  Closing the set under mirrors of the reference makes the reduced energy
symmetric.  The mirrored snapshots are never stored: in the sector of parity χ the closed set is |G| copies,
up to sign, of the projections

    P_χ φ = 1/|G| Σ_g χ(g) g φ,

whose singular values, times |G|^1/2, and modes are those of the closed set; every mode has a definite parity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from mpiqmd.errors import ConfigError, DataFileError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.reflect import reflect
from mpiqmd.grid.svd import decompose, orthonormalised
from mpiqmd.parallel.comm import decide

CRITERIA = ("sigma", "sigma2")
NUMERICAL_RANK = 1e-12
"""Singular values below this, relative to the largest, are round-off and never make modes."""


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
        Snapshots before mirroring.
    mirrors_gv
        Signs of the axes under the mirrors the set was closed under, shape (G, 3); none if G = 0.
    parities_mg
        Parity (+1 or -1) of every mode under every mirror, shape (r, G).
    """

    modes: Orbitals
    singular_values_k: np.ndarray
    rank_sigma: int
    rank_sigma2: int
    criterion: str
    energy_fraction: float
    n_snapshots: int
    mirrors_gv: np.ndarray
    parities_mg: np.ndarray

    @property
    def rank(self) -> int:
        """Number of modes r."""
        return len(self.modes)

    def truncated(self, rank: int) -> ReducedBasis:
        """Return the basis of the first ``rank`` modes.  Not collective."""
        _check_rank(rank, self.rank)
        return replace(self, modes=self.modes.select(slice(0, rank)), parities_mg=self.parities_mg[:rank])

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
    mirrors: Sequence[Sequence[float]] = (),
) -> ReducedBasis:
    """Compress snapshots to a reduced basis.  Collective.

    Parameters
    ----------
    snapshots
        Orthonormal orbitals of all training geometries, one block.
    energy_fraction, criterion
        How many modes to keep, see :func:`rank_for`.
    rank
        Keep this many instead; all above round-off if it is larger than their number is an error.
    mirrors
        Sign flips of the axes (x, y, z) that map the reference onto itself; the set is closed under them.

    Raises
    ------
    ConfigError
        If the rank or the fraction is impossible.
    DataFileError
        If the snapshots are all zero.
    """
    group = [tuple(int(sign) for sign in signs) for signs in mirrors]
    values, modes, parities = [], [], []
    for characters in _sectors(group):
        part, part_values = _sector_modes(snapshots, _generators(group), dict(zip(group, characters, strict=True)))
        values.append(part_values * np.sqrt(float(2 ** len(_generators(group)))))
        modes.append(part)
        parities.append(np.tile(np.array(characters, int).reshape(1, -1), (len(part), 1)))
    sigma = np.concatenate(values)
    if len(sigma) == 0:
        raise DataFileError(
            f"the {len(snapshots)} snapshots are all zero; orbitals of norm 1 are needed. Solve the training geometries again."
        )
    order = [k for k in np.argsort(-sigma, kind="stable") if sigma[k] > NUMERICAL_RANK * sigma.max()]
    sigma = sigma[order]
    ranks = {name: rank_for(sigma, energy_fraction, name) for name in CRITERIA}
    kept = rank_for(sigma, energy_fraction, criterion) if rank is None else rank
    _check_rank(kept, len(sigma))
    local = np.concatenate([part.local for part in modes])[order[:kept]]
    return ReducedBasis(
        modes=orthonormalised(Orbitals(snapshots.grid, local)),
        singular_values_k=sigma,
        rank_sigma=ranks["sigma"],
        rank_sigma2=ranks["sigma2"],
        criterion=criterion,
        energy_fraction=energy_fraction,
        n_snapshots=len(snapshots),
        mirrors_gv=np.array(group, int).reshape(-1, 3),
        parities_mg=np.concatenate(parities)[order[:kept]],
    )


def _check_rank(rank: int, available: int) -> None:
    if not 1 <= rank <= available:
        raise ConfigError(
            f"rom.rank = {rank}: the snapshots have {available} independent modes, 1 to {available} can be "
            "kept. Ask for fewer, or train on more geometries."
        )


def _generators(mirrors: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return mirrors whose products are all the others."""
    generators: list[tuple[int, ...]] = []
    reached: set[tuple[int, ...]] = {(1, 1, 1)}
    for mirror in mirrors:
        if mirror not in reached:
            generators.append(mirror)
            reached |= {tuple(a * b for a, b in zip(mirror, other, strict=True)) for other in reached}
    return generators


def _sectors(mirrors: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return the possible parities under all the mirrors together, one tuple per sector."""
    found = {
        tuple(int(np.prod([sign for sign, odd in zip(mirror, parity, strict=True) if odd])) for mirror in mirrors)
        for parity in product((False, True), repeat=3)
    }
    return sorted(found, reverse=True)


def _sector_modes(
    snapshots: Orbitals, generators: list[tuple[int, ...]], characters: dict[tuple[int, ...], int]
) -> tuple[Orbitals, np.ndarray]:
    """Return modes and singular values of the snapshots projected on one parity."""
    part = snapshots
    for mirror in generators:
        image = reflect(part, mirror)
        image.local *= characters[mirror]
        image.local += part.local
        image.local *= 0.5
        part = image
    # Orbitals of a symmetric geometry live in one sector each; what round-off leaves in the others is dropped.
    present = decide(snapshots.grid.comm, part.norms() > NUMERICAL_RANK * snapshots.norms().max(initial=0.0))
    result = decompose(part.select(np.flatnonzero(present)))
    return result.modes, result.singular_values_k
