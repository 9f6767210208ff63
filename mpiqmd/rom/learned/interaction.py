"""How changes of the density interact: Hartree and xc kernel at the mean density, on the grid."""

from __future__ import annotations

import numpy as np

from mpiqmd.grid.arrays import Field
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.kohnsham.terms.hartree import Hartree
from mpiqmd.kohnsham.terms.xc import ExchangeCorrelation
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.parallel.log import Log
from mpiqmd.rom.learned.densities import DensityFunctions
from mpiqmd.rom.learned.xc_remainder import expanded_share

BLOCK = 8
"""Potentials at a time."""


def interaction(model: KohnShamModel, functions: DensityFunctions, leading: int, log: Log) -> np.ndarray:
    """Return ``<f|K|f'>``, Ha, of leading functions with all, symmetric, shape (f, f); 0 between the others.

    Collective.
    """
    grid, mean = functions.grid, functions.mean
    xc, hartree = model.term(ExchangeCorrelation), model.term(Hartree)
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


def mean_field(model: KohnShamModel, mean: Field) -> tuple[float, Field]:
    """Return the Hartree and xc potential of the mean density, and ``E[ρ̄] - ∫ v ρ̄ dr``, Ha.  Collective."""
    hartree, hartree_potential = model.term(Hartree).evaluate(mean)
    xc, xc_potential = model.term(ExchangeCorrelation).evaluate(mean)
    potential = Field(mean.grid, hartree_potential.local + xc_potential.local)
    return hartree + xc - mean.inner(potential), potential
