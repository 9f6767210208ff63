"""How changes of the density interact: Hartree and xc kernel at the mean density, with model cores, on the grid."""

from __future__ import annotations

import numpy as np

from mpiqmd.grid.arrays import Field
from mpiqmd.kohnsham.terms.hartree import Hartree
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.parallel.log import Log
from mpiqmd.rom.learned.core_tables import CoreFields
from mpiqmd.rom.learned.densities import DensityFunctions
from mpiqmd.rom.learned.species import blocks_of
from mpiqmd.rom.learned.xc_remainder import expanded_share

BLOCK = 8
"""Potentials at a time."""


def interaction(functions: DensityFunctions, cores: CoreFields, leading: int, log: Log) -> np.ndarray:
    """Return ``<f|K|f'>``, Ha, of leading functions with all, symmetric, shape (f, f); 0 between the others.

    Functions of different symmetry species do not interact: one of each makes a potential together.  Collective.
    """
    grid, mean, labels_f = functions.grid, cores.whole(functions.mean), functions.labels_f
    xc, hartree = cores.xc, cores.model.term(Hartree)
    kernel = xc.kernel(mean, expanded_share(mean.local))
    matrix_ff = np.zeros((len(functions), len(functions)))
    together = _one_of_each(labels_f[:leading])
    countdown = Countdown(log, len(together), "interaction of density functions")
    for start in range(0, len(together), BLOCK):
        chosen = together[start : start + BLOCK]
        block = functions.sums(chosen)
        potentials = hartree.direct_potentials(block)
        for number in range(len(block)):
            potentials.local[number] += kernel.apply(Field(grid, block.local[number])).local
        for members, row_f in zip(chosen, functions.overlaps(potentials), strict=True):
            matrix_ff[members] = np.where(labels_f[members][:, None] == labels_f, row_f, 0.0)
        countdown.advance(count=len(block))
    matrix_ff[leading:, :leading] = matrix_ff[:leading, leading:].T
    return 0.5 * (matrix_ff + matrix_ff.T)


def _one_of_each(labels_f: np.ndarray) -> list[np.ndarray]:
    """Return places of functions, one of each species as long as there are any."""
    blocks = blocks_of(labels_f)
    longest = max(map(len, blocks), default=0)
    return [np.array([block[number] for block in blocks if number < len(block)]) for number in range(longest)]


def mean_field(mean: Field, cores: CoreFields) -> tuple[float, Field]:
    """Return the Hartree and xc potential of the mean density, and ``E[ρ̄] - ∫ v ρ̄ dr``, Ha.  Collective."""
    hartree, hartree_potential = cores.model.term(Hartree).evaluate(mean)
    xc, xc_potential = cores.xc.evaluate(cores.whole(mean))
    potential = Field(mean.grid, hartree_potential.local + xc_potential.local)
    return hartree + xc - mean.inner(potential), potential
