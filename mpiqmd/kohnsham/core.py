"""The model core density of the nonlinear core correction.

    E_xc = E_xc[ρ + ρ_c],     ρ_c(r) = Σ_a n_a(|r - R_a|),     ∂E_xc/∂R_a = ∫ v_xc[ρ + ρ_c] ∂ρ_c/∂R_a dr

The core enters exchange and correlation only, so that their nonlinearity is not lost where core and valence overlap.
S. G. Louie, S. Froyen, M. L. Cohen, Phys. Rev. B 26, 1738 (1982).
"""

from __future__ import annotations

import numpy as np

from mpiqmd.grid.arrays import Field
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.radial import RadialFunction, band_limited
from mpiqmd.kohnsham.atom_functions import add_placed, placed_gradient_local
from mpiqmd.molecule.pseudopotential import Pseudopotential
from mpiqmd.parallel.comm import sum_over_ranks


class CoreDensity:
    """``ρ_c`` for any positions of the nuclei, from the band-limited model cores of the species that have one.

    Construction is not collective.

    Parameters
    ----------
    grid
        The grid of the density.
    species
        Pseudopotentials by element.
    symbols
        Elements of the nuclei, in the order of their positions.
    """

    def __init__(self, grid: Grid, species: dict[str, Pseudopotential], symbols: tuple[str, ...]) -> None:
        self.grid = grid
        spacing = float(grid.spacing_v.max())
        radial = {
            symbol: band_limited(pseudo.mesh_r, pseudo.core_density_r, 0, spacing)
            for symbol, pseudo in species.items()
            if pseudo.core_density_r is not None and np.any(pseudo.core_density_r)
        }
        self.functions: list[RadialFunction | None] = [radial.get(symbol) for symbol in symbols]
        self.is_empty = not radial

    def evaluate(self, positions_av: np.ndarray) -> Field:
        """Return ``ρ_c``, electrons per bohr³.  Not collective."""
        density = Field(self.grid)
        add_placed(self.functions, self.grid, positions_av, density.local)
        return density

    def gradient(self, positions_av: np.ndarray, xc_potential: Field) -> np.ndarray:
        """Return ``∂E_xc/∂R_a`` at a fixed valence density, shape (N, 3), Ha/bohr.  Collective.

        ``xc_potential`` is v_xc of valence and core together, Ha.
        """
        gradient_av = placed_gradient_local(self.functions, positions_av, xc_potential)
        return sum_over_ranks(self.grid.comm, gradient_av)
