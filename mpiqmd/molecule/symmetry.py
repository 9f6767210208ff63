"""Symmetry operations of a molecule that are exact on an orthogonal grid: axes exchanged, and their signs flipped.

Of the 48 signed permutations of the axes a grid has those that exchange axes of equal length and equal spacing.  A molecule
whose threefold axis lies along the diagonal (1, 1, 1) of a cube shows all of its C3v, one whose atoms are on the diagonals all
of its Td.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np

from mpiqmd.molecule.molecule import Molecule

CUBE = (0, 0, 0)
"""Sides of a cell whose axes are all alike."""


@dataclass(frozen=True, eq=False)
class Symmetry:
    """An operation ``r'_v = s_v r_axes[v]`` that maps a molecule onto itself.

    Attributes
    ----------
    axes
        Which axis (x, y, z are 0, 1, 2) every coordinate is taken from.
    signs_v
        +-1.0 for each.
    permutation_a
        Atom a comes onto atom ``permutation_a[a]``, an atom of the same element and mass.
    """

    axes: tuple[int, int, int]
    signs_v: np.ndarray
    permutation_a: np.ndarray

    @property
    def key(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Axes and signs, which tell it from others."""
        return self.axes, tuple(int(sign) for sign in self.signs_v)

    @property
    def is_flip(self) -> bool:
        """Whether it exchanges no axes."""
        return self.axes == (0, 1, 2)

    def turn(self, vectors_av: np.ndarray) -> np.ndarray:
        """Return the vectors (..., 3) as the operation turns them, in their order."""
        return vectors_av[..., list(self.axes)] * self.signs_v

    def image(self, vectors_av: np.ndarray) -> np.ndarray:
        """Return the image of vectors at the atoms, shape (..., N, 3), positions say, with the atoms in their usual order."""
        image_av = np.empty_like(vectors_av)
        image_av[..., self.permutation_a, :] = self.turn(vectors_av)
        return image_av


def grid_symmetries(molecule: Molecule, sides: Sequence[Hashable] = CUBE, tolerance: float = 1e-3) -> list[Symmetry]:
    """Return the signed permutations of the axes that map a molecule onto itself. Not collective.

    Parameters
    ----------
    molecule
        The molecule in its body frame: operations are about the origin.
    sides
        What tells the three sides of the cell apart; axes whose sides are equal may be exchanged.
    tolerance
        Largest distance in bohr between the image of an atom and the atom it is taken for.

    Returns
    -------
    A group without its identity: flips of signs first, single mirrors before their products.  Water in the bisector frame has
    three: the mirrors of y and of z, and the half turn about x that is their product.
    """
    while True:
        tried = [_matching(molecule, axes, signs, tolerance) for axes, signs in operations_of_cell(sides)]
        found = [symmetry for symmetry in tried if symmetry is not None]
        if _is_group(found):
            return found[1:]
        tolerance *= 0.5


def with_images(positions_sav: np.ndarray, symmetries: Sequence[Symmetry]) -> np.ndarray:
    """Return geometries (S, N, 3), bohr, then the images of all of them under one operation after the other. Not collective."""
    positions_sav = np.asarray(positions_sav, float)
    return np.concatenate([positions_sav, *(symmetry.image(positions_sav) for symmetry in symmetries)])


def symmetrised(molecule: Molecule, symmetries: Sequence[Symmetry]) -> Molecule:
    """Return the molecule with the mean of its positions and their images under a group. Not collective."""
    return molecule.with_positions(with_images(molecule.positions_av[None], symmetries).mean(axis=0))


def symmetrised_hessian(hessian_cc: np.ndarray, symmetries: Sequence[Symmetry]) -> np.ndarray:
    """Return the mean of second derivatives (3 N, 3 N) and their images under a group. Not collective.

    In Ha/bohr^2, as given.  Its eigenvectors then belong to definite species, but for those whose frequencies coincide.
    """
    images = [hessian_cc]
    for symmetry in symmetries:
        operation_cc = np.array([symmetry.image(unit.reshape(-1, 3)).ravel() for unit in np.eye(len(hessian_cc))]).T
        images.append(operation_cc @ hessian_cc @ operation_cc.T)
    return np.mean(images, axis=0)


def operations_of_cell(sides: Sequence[Hashable]) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
    """Return axes and signs of the operations that a cell has, the identity first. Not collective."""
    turns = [axes for axes in permutations(range(3)) if all(sides[v] == sides[axes[v]] for v in range(3))]
    signs = sorted(product((1.0, -1.0), repeat=3), key=lambda flips: (flips.count(-1.0), flips))
    return [(axes, flips) for axes in turns for flips in signs]


def _matching(molecule: Molecule, axes: tuple[int, ...], signs: tuple[float, ...], tolerance: float) -> Symmetry | None:
    """The operation with the permutation that it induces, or None if it is no symmetry."""
    turned_av = molecule.positions_av[:, list(axes)] * np.array(signs)
    distances_aa = np.linalg.norm(turned_av[:, None, :] - molecule.positions_av[None, :, :], axis=2)
    permutation_a = distances_aa.argmin(axis=1)
    found = distances_aa.min(axis=1) <= tolerance
    same = [
        molecule.symbols[atom] == molecule.symbols[image] and molecule.masses_a[atom] == molecule.masses_a[image]
        for atom, image in enumerate(permutation_a)
    ]
    if not (found.all() and all(same) and len(set(permutation_a.tolist())) == len(molecule)):
        return None
    return Symmetry((axes[0], axes[1], axes[2]), np.array(signs), permutation_a)


def _is_group(operations: Sequence[Symmetry]) -> bool:
    """Return whether products of operations are among them."""
    known = {each.key for each in operations}
    return all(product_of(first, second).key in known for first in operations for second in operations)


def product_of(first: Symmetry, second: Symmetry) -> Symmetry:
    """Return the operation that does what ``second`` does and then what ``first`` does. Not collective."""
    axes = tuple(second.axes[v] for v in first.axes)
    signs_v = first.signs_v * second.signs_v[list(first.axes)]
    return Symmetry((axes[0], axes[1], axes[2]), signs_v, first.permutation_a[second.permutation_a])


def inverse_of(symmetry: Symmetry) -> Symmetry:
    """Return the operation that undoes another. Not collective."""
    first, second, third = (symmetry.axes.index(v) for v in range(3))
    axes = first, second, third
    return Symmetry(axes, symmetry.signs_v[list(axes)], np.argsort(symmetry.permutation_a))


def identity(n_atoms: int) -> Symmetry:
    """Return the operation that leaves so many atoms where they are. Not collective."""
    return Symmetry((0, 1, 2), np.ones(3), np.arange(n_atoms))
