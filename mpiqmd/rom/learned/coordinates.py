"""Of which products of coordinates polynomials of a molecule's geometry are made.

complete    all products up to a degree of the principal coordinates: for up to four atoms, where all meet all others
many-body   products of the atoms' own coordinates, of degree k over a atoms with ``k + PRICE (a - 1)`` up to an order: orbitals
            follow the atom that they belong to far, and hardly know how two others move at once.  Minima of methanol are
            predicted to 5e-7 Ha by 1,310 terms of this kind, to 4.5e-5 Ha by 6,188 of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from math import comb

import numpy as np

from mpiqmd.rom.learned.polynomials import GeometryPolynomials
from mpiqmd.rom.learned.species import Species, parity

HIGHEST = 12
"""Degree, or order, that is tried last."""
MOST_TERMS = 20_000
"""Of a polynomial, whatever their species: its coefficients are some 100 MB."""
PRICE = 5.0
"""What another atom in a product costs, in degrees."""
MOST_ATOMS = 4
"""That move and for which polynomials are complete."""
STILL = 1e-6
"""Range of a coordinate that does not move, bohr, or relative to that of the first; and factors that are round-off."""

Products = Sequence[tuple[int, ...]]
"""Products of coordinates: the number of each factor, ascending; by degree, so that the first is 1."""


@dataclass(frozen=True)
class PrincipalCoordinates:
    """Along which samples are spread, each of one symmetry species.

    Attributes
    ----------
    axes_yx, offset_y
        Coordinates ``y = axes · x - offset`` of flattened positions, [-1, 1] where samples are, without unit.
    labels_y
        Their species.
    """

    axes_yx: np.ndarray
    offset_y: np.ndarray
    labels_y: np.ndarray

    @classmethod
    def spanning(cls, positions_sav: np.ndarray, n_coordinates: int, species: Species) -> PrincipalCoordinates:
        """Return those of body-frame positions (samples, N, 3), bohr, at most as many as the frame leaves.  Not collective."""
        mean_x, spread_y, axes_yx, labels_y = species.motion(positions_sav)
        count = min(n_coordinates, int(np.sum(spread_y > STILL * spread_y[0])))
        axes_yx, labels_y = axes_yx[:count], labels_y[:count]
        half_y = np.abs((positions_sav.reshape(len(positions_sav), -1) - mean_x) @ axes_yx.T).max(axis=0)
        scaled_yx = np.ascontiguousarray(axes_yx / half_y[:, None])
        # round-off of the mean would mix species
        return cls(scaled_yx, np.where(labels_y == 0, scaled_yx @ mean_x, 0.0), labels_y)

    def size(self, degree: int) -> int:
        """Return how many products there are up to a degree.  Not collective."""
        return comb(len(self.axes_yx) + degree, degree)

    def polynomials(self, degree: int) -> GeometryPolynomials:
        """Return all products up to a degree.  Not collective."""
        count = len(self.axes_yx)
        products = [each for k in range(degree + 1) for each in combinations_with_replacement(range(count), k)]
        labels_t = np.array([np.bitwise_xor.reduce(self.labels_y[list(each)], initial=0) for each in products], int)
        members_tg, signs_tg = np.arange(len(products))[:, None], np.ones((len(products), 1))
        return GeometryPolynomials(self.axes_yx, self.offset_y, *_lineage(products), members_tg, signs_tg, labels_t)


@dataclass(frozen=True)
class AtomCoordinates:
    """Those of the atoms that move, with what the operations of the molecule make of them.

    Attributes
    ----------
    axes_yx, offset_y
        As above.
    atoms_y
        To which atom each belongs.
    images_gy, signs_gy
        The coordinate, and its sign, that each becomes by every operation, the identity first.
    bits_g
        Of which generators each operation is made.
    """

    axes_yx: np.ndarray
    offset_y: np.ndarray
    atoms_y: np.ndarray
    images_gy: np.ndarray
    signs_gy: np.ndarray
    bits_g: np.ndarray

    @classmethod
    def spanning(cls, positions_sav: np.ndarray, species: Species) -> AtomCoordinates:
        """Return those of body-frame positions (samples, N, 3), bohr, closed under the operations.  Not collective."""
        flat_sx = positions_sav.reshape(len(positions_sav), -1)
        units_xav = np.eye(flat_sx.shape[1]).reshape(flat_sx.shape[1], -1, 3)
        group = species.group()
        matrices_gxx = np.array([each.reshape(len(each), -1) for each in (units_xav, *(g.image(units_xav) for _, g in group))])
        images_gx = np.abs(matrices_gxx).argmax(axis=2)
        # alike for images, to the last digit
        mean_x = np.mean(flat_sx.mean(axis=0) @ matrices_gxx, axis=0)
        half_x = np.abs(flat_sx - mean_x).max(axis=0)[images_gx].max(axis=0)
        moving_y = np.flatnonzero(half_x > STILL)
        signs_gy = np.take_along_axis(matrices_gxx, images_gx[:, :, None], axis=2)[:, moving_y, 0]
        axes_yx = np.ascontiguousarray(np.eye(len(mean_x))[moving_y] / half_x[moving_y, None])
        images_gy = np.searchsorted(moving_y, images_gx[:, moving_y])
        bits_g = np.array([0, *(bits for bits, _ in group)])
        return cls(axes_yx, axes_yx @ mean_x, moving_y // 3, images_gy, signs_gy, bits_g)

    def size(self, order: int) -> int:
        """Return how many products there are up to an order.  Not collective."""
        return sum(1 for _ in self._products(order))

    def polynomials(self, order: int) -> GeometryPolynomials:
        """Return the products up to an order.  Not collective."""
        products = list(self._products(order))
        return GeometryPolynomials(self.axes_yx, self.offset_y, *_lineage(products), *self._adapted(products))

    def _products(self, order: int) -> Iterator[tuple[int, ...]]:
        of_atom = [np.flatnonzero(self.atoms_y == atom) for atom in np.unique(self.atoms_y)]
        for degree in range(order + 1):
            together = min(len(of_atom), 1 + int((order - degree) / PRICE))
            groups = (np.sort(np.concatenate(atoms)).tolist() for atoms in combinations(of_atom, together))
            yield from sorted({each for group in groups for each in combinations_with_replacement(group, degree)})

    def _adapted(self, products: Products) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return members and signs (t, g) of the sums of images of products, and their species (t,)."""
        place = {each: p for p, each in enumerate(products)}
        operations = list(zip(self.images_gy.tolist(), self.signs_gy.tolist(), strict=True))
        members, signs, labels = [], [], []
        for p, each in enumerate(products):
            images_g = [place[tuple(sorted(image_y[y] for y in each))] for image_y, _ in operations]
            signs_g = np.array([np.prod([sign_y[y] for y in each]) for _, sign_y in operations])
            # once for all images of one
            for label in range(len(operations)) if min(images_g) == p else ():
                factors_g = signs_g * parity(label, self.bits_g) / len(operations)
                if abs(np.sum(factors_g[np.array(images_g) == p])) > STILL:
                    members.append(images_g)
                    signs.append(factors_g)
                    labels.append(label)
        return np.array(members), np.array(signs), np.array(labels)


AnyCoordinates = PrincipalCoordinates | AtomCoordinates


def suitable(positions_sav: np.ndarray, n_coordinates: int, species: Species) -> AnyCoordinates:
    """Return the coordinates that suit a molecule, given samples (samples, N, 3), bohr, closed under its operations.

    Not collective.
    """
    of_atoms = AtomCoordinates.spanning(positions_sav, species)
    if len(np.unique(of_atoms.atoms_y)) > MOST_ATOMS:
        return of_atoms
    return PrincipalCoordinates.spanning(positions_sav, n_coordinates, species)


def highest(coordinates: AnyCoordinates, allowed: Callable[[GeometryPolynomials], bool], most: int = HIGHEST) -> int:
    """Return the highest degree, or order, of which polynomials are allowed, 1 at least.  Not collective."""
    for order in range(2, most + 1):
        if coordinates.size(order) > MOST_TERMS or not allowed(coordinates.polynomials(order)):
            return order - 1
    return most


def _lineage(products: Products) -> tuple[np.ndarray, np.ndarray]:
    """Return the parent of every product but the first, and the coordinate that it is times more."""
    place = {each: p for p, each in enumerate(products)}
    return np.array([place[each[:-1]] for each in products[1:]], int), np.array([each[-1] for each in products[1:]], int)
