"""How finely a learned-grid model is compiled."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpiqmd.rom.learned.fitted_start import MOST_TERMS

USUAL_ERROR = 5e-8
"""Energy that the default settings leave out, Ha, about."""


@dataclass(frozen=True)
class LearnSettings:
    """How finely to compile; errors are of energies, Ha.

    Attributes
    ----------
    geometries, solves, least_solves
        Ground states to learn from, at least, and how many reduced ones may be solved on the grid where training orbitals and
        their images are fewer, or few for so many latent directions; and how many are in any case.
    latent
        Mean energy that the latent directions may leave out.
    active
        The same for the combinations of modes in which these lie.
    first_order
        By how much the first order of the ions may be off where it is read off the points; matrices remain where that is more.
    functions
        Singular value of the density functions down to which they are kept.
    responses
        The same for those whose interaction is kept.
    per_function
        Points for each density function.
    xc_points, xc_samples
        Points for the remainder of the xc energy, at most, and densities that they are chosen by; more of both where there are
        many latent directions.
    densities, slopes
        Densities at ground states, predicted ones where there are fewer, and slopes of the density in multiples of the latent
        directions, fewer by the root of the number of species.
    nodes, margin
        Fewest Chebyshev nodes per direction of an ion's box, and its room around the training positions, share of their range.
    tables
        What table entries may be left out.
    fit
        Most terms of the polynomial that predicts the minimum.
    gap
        How far above the minimum it may be, the median of geometries; fewer terms are enough where it is not.
    seed
        Of every random choice.
    """

    geometries: int = 220
    solves: int = 120
    least_solves: int = 40
    latent: float = USUAL_ERROR
    active: float = 1e-7
    first_order: float = USUAL_ERROR
    functions: float = 5e-6
    responses: float = 1e-4
    per_function: float = 2.0
    xc_points: int = 600
    xc_samples: int = 600
    densities: int = 460
    slopes: float = 4.0
    nodes: int = 7
    margin: float = 0.15
    tables: float = 1e-8
    fit: int = MOST_TERMS
    gap: float = 3e-8
    seed: int = 1

    def scaled(self, share: float) -> LearnSettings:
        """Return what leaves out so many times the energy, about.  Not collective."""
        more = max(1.0, share**-0.25)
        return replace(
            self,
            latent=share * self.latent,
            active=share * self.active,
            first_order=share * self.first_order,
            functions=float(np.sqrt(share)) * self.functions,
            gap=share * self.gap,
            densities=int(more * self.densities),
            xc_points=int(more * self.xc_points),
            xc_samples=int(more * self.xc_samples),
        )
