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
        squares = np.ascontiguousarray(sigma) if self.uses_gradient else None
        parts = [term.evaluate(density, squares) for term in self.terms]
        energy, v_rho, v_sigma = (_total(arrays) for arrays in zip(*parts, strict=True))
        energy *= density
        empty = rho <= SMALLEST_DENSITY
        if empty.any():
            for array in (energy, v_rho, v_sigma):
                if array is not None:
                    array[empty] = 0.0
        return energy, v_rho, v_sigma

    def second_derivatives(self, rho: np.ndarray, sigma: np.ndarray | None) -> dict[str, np.ndarray]:
        """Return ∂²e/∂ρ² (``rr``), ∂²e/∂ρ∂σ (``rs``) and ∂²e/∂σ² (``ss``, both zero for an LDA) at points."""
        density = np.maximum(np.ascontiguousarray(rho), SMALLEST_DENSITY)
        squares = np.ascontiguousarray(sigma) if self.uses_gradient else None
        second = {name: np.zeros_like(density) for name in ("rr", "rs", "ss")}
        for term in self.terms:
            term.add_second(density, squares, second)
        for array in second.values():
            array[rho <= SMALLEST_DENSITY] = 0.0
        return second


def _total(arrays: tuple[np.ndarray | None, ...]) -> np.ndarray | None:
    """Return the sum of those arrays that there are, in the first of them; None without any."""
    present = [array for array in arrays if array is not None]
    for more in present[1:]:
        present[0] += more
    return present[0] if present else None


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

    def kernel(self, density: Field) -> Kernel:
        """Return the second derivative of E_xc at a density, as an operator on changes of density.  Collective."""
        return Kernel(self, density)


class Kernel:
    """``f_xc[ρ0]``: the change of the xc potential linear in a change of density.

        δv = e_ρρ δρ + e_ρσ δσ - ∇·(2 (e_ρσ δρ + e_σσ δσ) ∇ρ0 + 2 e_σ ∇δρ),   δσ = 2 ∇ρ0·∇δρ

    exactly the derivative of the discrete potential.
    """

    def __init__(self, xc: ExchangeCorrelation, density: Field) -> None:
        self.xc = xc
        if xc.gradient is None:
            self.second = xc.functional.second_derivatives(density.local, None)
            return
        self.slope = xc.gradient.apply(density)
        squares = (self.slope**2).sum(axis=0)
        _, _, self.v_sigma = xc.functional.evaluate(density.local, squares)
        self.second = xc.functional.second_derivatives(density.local, squares)

    def apply(self, change: Field) -> Field:
        """Return δv for a change of density.  Collective."""
        result = self.second["rr"] * change.local
        gradient = self.xc.gradient
        if gradient is not None:
            slope = gradient.apply(change)
            d_sigma = 2.0 * (self.slope * slope).sum(axis=0)
            result += self.second["rs"] * d_sigma
            along = self.second["rs"] * change.local + self.second["ss"] * d_sigma
            result -= gradient.divergence(2.0 * (along * self.slope + self.v_sigma * slope))
        return Field(self.xc.grid, result)
