"""The reduced basis: the dominant singular functions of the snapshots.

Two meanings of an *energy fraction* are in use and always reported side by side,

    sigma:  smallest r with Σ_{k<=r} σ_k >= fraction Σ σ_k,        sigma2:  the same with σ_k².

Snapshots are orthonormal orbitals without subtraction of a mean, so the basis does not depend on how the
orbitals of a geometry are mixed.  Closing the set under the symmetry operations of the reference makes every geometry that is
solved as many as the molecule has operations, and the reduced energy as symmetric as the molecule.  The operations that flip
signs of axes are a normal subgroup F, whose images are never made: in the sector of parity χ the closed set is |F| copies, up
to sign, of the projections

    P_χ φ = 1/|F| Σ_f χ(f) f φ,

whose singular values, times |F|^1/2, and modes are those of the closed set.  Of the others one operation for every exchange of
axes is made, geometry after geometry, so that memory is bounded whatever the number of images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from mpiqmd.errors import ConfigError, DataFileError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.images import image
from mpiqmd.grid.running_svd import RunningDecomposition
from mpiqmd.grid.svd import Decomposition, orthonormalised
from mpiqmd.molecule.symmetry import Symmetry
from mpiqmd.parallel.comm import decide

Flip = tuple[int, int, int]

CRITERIA = ("sigma", "sigma2")
NUMERICAL_RANK = 1e-12
"""Singular values below this, relative to the largest, are round-off and never make modes."""
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
    snapshots: Iterable[Orbitals],
    energy_fraction: float = 0.9999,
    criterion: str = "sigma",
    rank: int | None = None,
    symmetries: Sequence[Symmetry] = (),
) -> ReducedBasis:
    """Compress snapshots to a reduced basis.  Collective.

    Parameters
    ----------
    snapshots
        Orthonormal orbitals, a block for each training geometry; they are gone through once for every parity.
    energy_fraction, criterion
        How many modes to keep, see :func:`rank_for`; a few more where that would part degenerate ones.
    rank
        Keep exactly this many instead; all above round-off if it is larger than their number is an error.
    symmetries
        Operations that map the reference onto itself, a group without its identity; the set is closed under them.

    Raises
    ------
    ConfigError
        If the rank or the fraction is impossible.
    DataFileError
        If the snapshots are all zero.
    """
    flips = [_signs(symmetry) for symmetry in symmetries if symmetry.is_flip]
    generators = _generators(flips)
    values, modes = [], []
    for characters in _sectors(flips):
        sector = dict(zip(flips, characters, strict=True))
        found = _decomposed(_projected(block, generators, sector) for block in _with_images(snapshots, symmetries))
        values.append(found.singular_values_k * np.sqrt(float(2 ** len(generators))))
        modes.append(found.modes.local)
        grid = found.modes.grid
    return _assembled(grid, values, modes, (energy_fraction, criterion, rank), sum(map(len, snapshots)))


def _assembled(
    grid: Grid, values: list[np.ndarray], modes: list[np.ndarray], wanted: tuple[float, str, int | None], n_snapshots: int
) -> ReducedBasis:
    """Return the basis of the modes and singular values of all sectors, as many as are wanted.  Collective."""
    (energy_fraction, criterion, rank), sigma = wanted, np.concatenate(values)
    if len(sigma) == 0:
        raise DataFileError(
            f"the {n_snapshots} snapshots are all zero; orbitals of norm 1 are needed. Solve the training geometries again."
        )
    order = [k for k in np.argsort(-sigma, kind="stable") if sigma[k] > NUMERICAL_RANK * sigma.max()]
    sigma = sigma[order]
    ranks = {name: rank_for(sigma, energy_fraction, name) for name in CRITERIA}
    kept = _whole_species(sigma, rank_for(sigma, energy_fraction, criterion)) if rank is None else rank
    _check_rank(kept, len(sigma))
    return ReducedBasis(
        modes=orthonormalised(Orbitals(grid, np.concatenate(modes)[order[:kept]])),
        singular_values_k=sigma,
        rank_sigma=ranks["sigma"],
        rank_sigma2=ranks["sigma2"],
        criterion=criterion,
        energy_fraction=energy_fraction,
        n_snapshots=n_snapshots,
    )


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


def _signs(symmetry: Symmetry) -> Flip:
    first, second, third = (int(sign) for sign in symmetry.signs_v)
    return first, second, third


def _generators(flips: list[Flip]) -> list[Flip]:
    """Return flips whose products are all the others."""
    generators: list[Flip] = []
    reached: set[tuple[int, ...]] = {(1, 1, 1)}
    for flip in flips:
        if flip not in reached:
            generators.append(flip)
            reached |= {tuple(a * b for a, b in zip(flip, other, strict=True)) for other in reached}
    return generators


def _sectors(flips: list[Flip]) -> list[tuple[int, ...]]:
    """Return the possible parities under all the flips together, one tuple per sector."""
    found = {
        tuple(int(np.prod([sign for sign, odd in zip(flip, parity, strict=True) if odd])) for flip in flips)
        for parity in product((False, True), repeat=3)
    }
    return sorted(found, reverse=True)


def _with_images(snapshots: Iterable[Orbitals], symmetries: Sequence[Symmetry]) -> Iterator[Orbitals]:
    """Yield every block, and its image under one operation of every exchange of axes."""
    exchanges = {symmetry.axes: symmetry for symmetry in reversed(symmetries) if not symmetry.is_flip}
    for block in snapshots:
        yield block
        for symmetry in exchanges.values():
            yield image(block, symmetry.axes, symmetry.signs_v)


def _projected(block: Orbitals, generators: list[Flip], characters: dict[Flip, int]) -> Orbitals:
    """Return functions projected on one parity, without those of which nothing is left."""
    part = block
    for flip in generators:
        flipped = image(part, (0, 1, 2), flip)
        flipped.local *= characters[flip]
        flipped.local += part.local
        flipped.local *= 0.5
        part = flipped
    # orbitals of a symmetric geometry live in one sector each; what round-off leaves in the others is dropped
    present = decide(block.grid.comm, part.norms() > NUMERICAL_RANK * block.norms().max(initial=0.0))
    return part.select(np.flatnonzero(present).tolist())


def _decomposed(blocks: Iterator[Orbitals]) -> Decomposition:
    """Return the decomposition of all blocks together."""
    first = next(blocks)
    running = RunningDecomposition(first.grid)
    running.add(first)
    for block in blocks:
        running.add(block)
    return running.finished()
