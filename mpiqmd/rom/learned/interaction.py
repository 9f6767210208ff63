"""How changes of the density interact: Hartree and xc kernel at the mean density, with model cores, on the grid."""

from __future__ import annotations

import numpy as np

from mpiqmd.grid.arrays import Field
from mpiqmd.kohnsham.terms.hartree import Hartree
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.parallel.log import Log
from mpiqmd.rom.learned.core_tables import CoreFields
from mpiqmd.rom.learned.densities import DensityFunctions
from mpiqmd.rom.learned.xc_remainder import expanded_share

BLOCK = 8
"""Potentials at a time."""


def interaction(functions: DensityFunctions, cores: CoreFields, leading: int, log: Log) -> np.ndarray:
    """Return ``<f|K|f'>``, Ha, of leading functions with all, symmetric, shape (f, f); 0 between the others.

    Collective.
    """
    grid, mean = functions.grid, cores.whole(functions.mean)
    xc, hartree = cores.xc, cores.model.term(Hartree)
    kernel = xc.kernel(mean, expanded_share(mean.local))
    matrix_ff = np.zeros((len(functions), len(functions)))
    countdown = Countdown(log, leading, "interaction of a density function")
    for start in range(0, leading, BLOCK):
        block = functions.block(slice(start, min(start + BLOCK, leading)))
        potentials = hartree.direct_potentials(block)
        for number in range(len(block)):
            potentials.local[number] += kernel.apply(Field(grid, block.local[number])).local
        matrix_ff[start : start + len(block)] = functions.overlaps(potentials)
        countdown.advance(count=len(block))
    matrix_ff[leading:, :leading] = matrix_ff[:leading, leading:].T
    return 0.5 * (matrix_ff + matrix_ff.T)


def mean_field(mean: Field, cores: CoreFields) -> tuple[float, Field]:
    """Return the Hartree and xc potential of the mean density, and ``E[ρ̄] - ∫ v ρ̄ dr``, Ha.  Collective."""
    hartree, hartree_potential = cores.model.term(Hartree).evaluate(mean)
    xc, xc_potential = cores.xc.evaluate(cores.whole(mean))
    potential = Field(mean.grid, hartree_potential.local + xc_potential.local)
    return hartree + xc - mean.inner(potential), potential
