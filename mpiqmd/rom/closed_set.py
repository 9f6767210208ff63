"""Singular values and functions of snapshots together with all their images under a group, without making the images.

A group G of operations that permute the axes and flip their signs has the flips F as a normal subgroup, and for every exchange
of axes one operation e stands for a coset.  In the sector of parity χ the closed set is |F| copies, up to sign, of

    P_χ e φ_s,     P_χ = 1/|F| Σ_f χ(f) f,     <P_χ e φ_s|P_χ e' φ_t> = 1/|F| Σ_f χ(f) <φ_s|e^-1 f e' φ_t>,

so the overlaps ``<φ_s|g φ_t>`` of the snapshots with their images are enough.  The eigenvectors of these matrices ("method of
snapshots": L. Sirovich, Quart. Appl. Math. 45, 561 (1987)) combine the closed set into few functions that are orthogonal but
for round-off, whose singular value decomposition on the grid is that of the closed set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.images import even_or_odd, image
from mpiqmd.grid.svd import Decomposition, decompose
from mpiqmd.molecule.symmetry import Symmetry, identity, inverse_of, product_of
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.parallel.dense import eigh
from mpiqmd.parallel.log import Log, silent

BLOCK = 32
"""Functions whose images are in memory at a time."""
MANY = 100
"""Overlaps of so many of these take long enough to tell how long."""
SMALLEST = 1e-15
"""Eigenvalue, relative to the largest, below which there is round-off only: singular values of 3e-8 of the largest."""

Flip = tuple[int, ...]


@dataclass(frozen=True)
class Sector:
    """What there is of one parity.

    Attributes
    ----------
    characters
        The parity under every flip.
    singular_values_k
        Of the closed set, descending, with an error of some 1e-8 of the largest.
    vectors_sk
        Combinations of the exchanged functions, one exchange after the other, that are orthogonal.
    """

    characters: tuple[int, ...]
    singular_values_k: np.ndarray
    vectors_sk: np.ndarray


class ClosedSet:
    """Functions and their images under a group.  Construction is collective.

    Parameters
    ----------
    functions
        The functions, one block.
    symmetries
        The group, without its identity.
    log
        Where to report of many overlaps.

    Attributes
    ----------
    sectors
        Singular values of the closed set by parity.
    """

    def __init__(self, functions: Orbitals, symmetries: Sequence[Symmetry], log: Log | None = None) -> None:
        self.functions = functions
        group = [identity(len(symmetries[0].permutation_a) if symmetries else 0), *symmetries]
        self.flips = [symmetry for symmetry in group if symmetry.is_flip]
        self.exchanges = list({symmetry.axes: symmetry for symmetry in reversed(group)}.values())[::-1]
        self._overlaps: dict[object, np.ndarray] = {}
        # those of an operation and of its inverse are each other's transposes
        distinct = {min(symmetry.key, inverse_of(symmetry).key): symmetry for symmetry in group}
        pieces = len(distinct) * -(-len(functions) // BLOCK)
        told = log if log and pieces > MANY else silent(functions.grid.comm)
        countdown = Countdown(told, pieces, f"overlaps of {BLOCK} snapshots")
        for symmetry in distinct.values():
            self._overlaps[symmetry.key] = self._overlap(symmetry, countdown)
            self._overlaps.setdefault(inverse_of(symmetry).key, self._overlaps[symmetry.key].T)
        self.sectors = [self._sector(characters) for characters in _characters([_signs(flip) for flip in self.flips])]

    def decomposed(self, sector: Sector, count: int) -> Decomposition:
        """Return the first modes of a sector and their singular values, coefficients left out.  Collective."""
        total = Orbitals.zeros(self.functions.grid, count)
        flips = dict(zip(map(_signs, self.flips), sector.characters, strict=True))
        for start in range(0, count, BLOCK):
            block = slice(start, min(start + BLOCK, count))
            total.local[block] = self._projected(self._combined(sector.vectors_sk[:, block]), flips).local
        found = decompose(total, overwrite=True)
        return replace(found, singular_values_k=found.singular_values_k * np.sqrt(float(len(self.flips))))

    def _combined(self, vectors_sk: np.ndarray) -> Orbitals:
        """Return combinations of the exchanged functions."""
        total = Orbitals.zeros(self.functions.grid, vectors_sk.shape[1])
        for symmetry, part in zip(self.exchanges, np.split(vectors_sk, len(self.exchanges)), strict=True):
            total.local += image(self.functions.combine(part), symmetry.axes, symmetry.signs_v).local
        return total

    def _sector(self, characters: tuple[int, ...]) -> Sector:
        """Return the singular values of one parity.  Collective.  Raises AccuracyError if there is NaN or infinity."""
        overlap = np.block(
            [[self._between(first, second, characters) for second in self.exchanges] for first in self.exchanges]
        )
        values, vectors = eigh(self.functions.grid.comm, overlap)
        kept = np.flatnonzero(values > SMALLEST * max(values[-1], self._largest))[::-1]
        return Sector(characters, np.sqrt(len(self.flips) * values[kept]), vectors[:, kept])

    def _between(self, first: Symmetry, second: Symmetry, characters: tuple[int, ...]) -> np.ndarray:
        """Return ``1/|F| Σ_f χ(f) <φ_s|e^-1 f e' φ_t>``."""
        backwards = inverse_of(first)
        terms = (
            character * self._overlaps[product_of(backwards, product_of(flip, second)).key]
            for flip, character in zip(self.flips, characters, strict=True)
        )
        return np.sum(list(terms), axis=0) / len(self.flips)

    @property
    def _largest(self) -> float:
        """Largest squared norm of a function, a bound for what round-off there is."""
        return float(np.diag(self._overlaps[self.flips[0].key]).max(initial=0.0))

    def _overlap(self, symmetry: Symmetry, countdown: Countdown) -> np.ndarray:
        """Return ``<φ_s|g φ_t>``, some functions at a time; half of it, which is all, if g is its own inverse.  Collective."""
        count, is_symmetric = len(self.functions), inverse_of(symmetry).key == symmetry.key
        overlap = np.empty((count, count))
        for start in range(0, count, BLOCK):
            columns, first = slice(start, start + BLOCK), start if is_symmetric else 0
            turned = image(self.functions.select(columns), symmetry.axes, symmetry.signs_v)
            overlap[first:, columns] = self.functions.select(slice(first, count)).gram(turned)
            if is_symmetric:
                overlap[columns, start:] = overlap[start:, columns].T
            countdown.advance()
        return overlap

    def _projected(self, functions: Orbitals, characters: dict[Flip, int]) -> Orbitals:
        """Return functions projected on one parity."""
        for flip in _generators(list(characters)):
            functions = even_or_odd(functions, (0, 1, 2), flip, characters[flip])
        return functions


def _signs(symmetry: Symmetry) -> Flip:
    return tuple(int(sign) for sign in symmetry.signs_v)


def _generators(flips: list[Flip]) -> list[Flip]:
    """Return flips whose products are all the others."""
    generators: list[Flip] = []
    reached: set[Flip] = {(1, 1, 1)}
    for flip in flips:
        if flip not in reached:
            generators.append(flip)
            reached |= {tuple(a * b for a, b in zip(flip, other, strict=True)) for other in reached}
    return generators


def _characters(flips: list[Flip]) -> list[tuple[int, ...]]:
    """Return the possible parities under all the flips together, one tuple per sector."""
    found = {
        tuple(int(np.prod([sign for sign, odd in zip(flip, parity, strict=True) if odd])) for flip in flips)
        for parity in product((False, True), repeat=3)
    }
    return sorted(found, reverse=True)
