"""Operations that a molecule's energy does not notice: equal atoms change places, and the molecule becomes its mirror image.

Any permutation of equal nuclei leaves the energy as it is.  Those that keep the bonds, the automorphisms of the molecule's
graph, are the ones that motion without bonds breaking can come to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mpiqmd.errors import ConfigError
from mpiqmd.molecule.bonds import guess_bonds
from mpiqmd.molecule.molecule import Molecule

MOST = 50_000
"""Automorphisms that are looked through."""


@dataclass(frozen=True)
class Relabelling:
    """Atom a takes the place of atom ``permutation[a]``; ``mirrored`` inverts the molecule through the origin.

    Not collective; replicated.
    """

    permutation: tuple[int, ...]
    mirrored: bool = False

    @property
    def is_identity(self) -> bool:
        """Whether nothing changes."""
        return not self.mirrored and self.permutation == tuple(range(len(self.permutation)))

    def image(self, vectors_av: np.ndarray) -> np.ndarray:
        """Return the image of vectors at the atoms, shape (N, 3), in their unit.  Not collective."""
        image_av = np.empty_like(vectors_av)
        image_av[list(self.permutation)] = -vectors_av if self.mirrored else vectors_av
        return image_av

    def back(self, vectors_av: np.ndarray) -> np.ndarray:
        """Return the vectors of which these are the image, shape (N, 3), in their unit.  Not collective."""
        original_av = vectors_av[list(self.permutation)]
        return -original_av if self.mirrored else original_av

    def vector_back(self, vector_v: np.ndarray) -> np.ndarray:
        """Return the vector of the molecule, such as its dipole moment, of which this is the image, shape (3,)."""
        return -vector_v if self.mirrored else vector_v


def relabellings(molecule: Molecule) -> list[Relabelling]:
    """Return the automorphisms of a molecule's graph, each with and without a mirror image, the identity first.

    Not collective.  Raises ConfigError if there are too many.
    """
    found = []
    for permutation in _automorphisms(molecule):
        found += [Relabelling(permutation), Relabelling(permutation, mirrored=True)]
        if len(found) > 2 * MOST:
            raise ConfigError(
                f"{molecule.formula} has more than {MOST} exchanges of equal atoms; windows of a large amplitude are laid for "
                "fewer. Use train.sampling = 'normal-modes' or 'trajectory'."
            )
    return sorted(found, key=lambda each: (not each.is_identity, each.mirrored, each.permutation))


def _automorphisms(molecule: Molecule) -> Iterator[tuple[int, ...]]:
    """Yield the permutations of equal nuclei that keep all bonds."""
    n_atoms = len(molecule)
    bonded_aa = np.zeros((n_atoms, n_atoms), bool)
    for first, second in guess_bonds(molecule.symbols, molecule.positions_av):
        bonded_aa[first, second] = bonded_aa[second, first] = True
    kinds = [(molecule.symbols[a], float(molecule.masses_a[a]), int(bonded_aa[a].sum())) for a in range(n_atoms)]
    yield from _extended((), kinds, bonded_aa)


def _extended(images: tuple[int, ...], kinds: Sequence[tuple], bonded_aa: np.ndarray) -> Iterator[tuple[int, ...]]:
    """Yield all permutations that begin with these images of the first atoms."""
    atom = len(images)
    if atom == len(kinds):
        yield images
        return
    for image in range(len(kinds)):
        fits = image not in images and kinds[image] == kinds[atom]
        if fits and (bonded_aa[atom, :atom] == bonded_aa[image, list(images)]).all():
            yield from _extended((*images, image), kinds, bonded_aa)
