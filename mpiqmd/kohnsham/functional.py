"""Density functionals: one or several of libxc, by short name or libxc's own, at points of density and its gradient."""

from __future__ import annotations

import numpy as np

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
