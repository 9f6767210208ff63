"""Exchange and correlation on the grid.

    E_xc = h³ Σ_r e(ρ(r), |∇ρ(r)|²),    v_xc = ∂e/∂ρ - ∇·(2 ∂e/∂σ ∇ρ)

with the grid's own gradient and its exact adjoint, so that v_xc is the derivative of the discrete energy (White and
Bird, Phys. Rev. B 50, 4954 (1994)).
"""

from __future__ import annotations

import numpy as np

from mpiqmd.grid.arrays import Field
from mpiqmd.grid.differences import Gradient
from mpiqmd.grid.grid import Grid
from mpiqmd.kohnsham.libxc import GGA, LibxcTerm

SHORT_NAMES = {
    "LDA": "lda_xc_teter93",
    "TETER93": "lda_xc_teter93",
    "PW92": "lda_x+lda_c_pw",
    "PBE": "gga_x_pbe+gga_c_pbe",
    "REVPBE": "gga_x_pbe_r+gga_c_pbe",
    "BLYP": "gga_x_b88+gga_c_lyp",
}
"""What the short names of the input file mean in libxc."""

FAMILIES = {
    "lda_xc_teter93": "LDA",
    "lda_x+lda_c_pw": "LDA",
    "gga_x_pbe+gga_c_pbe": "PBE",
    "gga_x_pbe_r+gga_c_pbe": "REVPBE",
    "gga_x_b88+gga_c_lyp": "BLYP",
}

SMALLEST_DENSITY = 1e-13
"""Densities below this (bohr⁻³) carry no exchange-correlation energy."""


class Functional:
    """A density functional by short name (``"PBE"``) or libxc names joined by ``+``.  Not collective."""

    def __init__(self, name: str) -> None:
        self.name = SHORT_NAMES.get(name.upper(), name.lower())
        self.terms = [LibxcTerm(part.strip()) for part in self.name.split("+")]
        self.uses_gradient = any(term.family == GGA for term in self.terms)

    @property
    def family(self) -> str:
        """Return the name pseudopotentials are matched against: LDA, PBE, REVPBE, BLYP or the libxc name."""
        if self.name in FAMILIES:
            return FAMILIES[self.name]
        return self.name if self.uses_gradient else "LDA"

    def evaluate(self, rho: np.ndarray, sigma: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return e(r) per volume, ∂e/∂ρ and ∂e/∂σ (None for an LDA) at points of density ρ and σ = |∇ρ|²."""
        density = np.maximum(np.ascontiguousarray(rho), SMALLEST_DENSITY)
        energy, v_rho = np.zeros_like(density), np.zeros_like(density)
        v_sigma = np.zeros_like(density) if self.uses_gradient else None
        squares = np.ascontiguousarray(sigma) if self.uses_gradient else None
        for term in self.terms:
            term.add(density, squares, energy, v_rho, v_sigma)
        energy *= density
        empty = rho <= SMALLEST_DENSITY
        if empty.any():
            for array in (energy, v_rho, v_sigma):
                if array is not None:
                    array[empty] = 0.0
        return energy, v_rho, v_sigma


class ExchangeCorrelation:
    """The functional on one grid."""

    def __init__(self, grid: Grid, functional: Functional) -> None:
        self.grid = grid
        self.functional = functional
        self.gradient = Gradient(grid) if functional.uses_gradient else None

    def evaluate(self, density: Field) -> tuple[float, Field]:
        """Return E_xc (Ha) and v_xc (Ha) of a density.  Collective."""
        if self.gradient is None:
            energy, potential, _ = self.functional.evaluate(density.local, None)
        else:
            slope = self.gradient.apply(density)
            energy, potential, v_sigma = self.functional.evaluate(density.local, (slope**2).sum(axis=0))
            slope *= 2.0 * v_sigma
            potential -= self.gradient.divergence(slope)
        return Field(self.grid, energy).integrate(), Field(self.grid, potential)
