"""Orbitals that are smooth functions of positions, for what extrapolates and interpolates them."""

import numpy as np

from mpiqmd.grid import Orbitals
from mpiqmd.hifi.iterate import orthonormalised
from tests.helpers.oracles import random_orbitals


def smooth_family(grid, rng):
    """Orthonormal orbitals that depend smoothly on positions, each time rotated at random among themselves."""
    bases = [random_orbitals(grid, rng, 3) for _ in range(5)]

    def orbitals(x, rotate=True):
        a, b = x[0, 0], x[1, 2]
        local = sum(f * basis.local for f, basis in zip((1.0, a, b, a * b, a * a), bases, strict=True))
        block = orthonormalised(Orbitals(grid, local))
        return block.combine(np.linalg.qr(rng.normal(size=(3, 3)))[0]) if rotate else block

    return orbitals


def distance(one, other):
    """Largest sine between two spans."""
    cosines = np.linalg.svd(orthonormalised(one).gram(orthonormalised(other)))[1]
    return float(np.sqrt(max(0.0, 1.0 - cosines.min() ** 2)))
