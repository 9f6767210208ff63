"""Density functionals: one or several of libxc, by short name or libxc's own, at points of density and its gradient."""

from __future__ import annotations

import numpy as np

from mpiqmd.errors import ConfigError
from mpiqmd.kohnsham.libxc import BOTH, CORRELATION, EXCHANGE, GGA, LibxcTerm

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
    "gga_x_rpbe+gga_c_pbe": "RPBE",
    "gga_x_pbe_sol+gga_c_pbe_sol": "PBESOL",
    "gga_x_b88+gga_c_lyp": "BLYP",
}

_KINDS = {EXCHANGE: "exchange", CORRELATION: "correlation", BOTH: "exchange and correlation"}
_SENSIBLE_KINDS = ([EXCHANGE], [CORRELATION], [EXCHANGE, CORRELATION], [BOTH])

SMALLEST_DENSITY = 1e-13
"""Densities below this (bohr⁻³) carry no exchange-correlation energy."""


class Functional:
    """A density functional by short name (``"PBE"``) or libxc names joined by ``+``, in any order.  Not collective.

    Attributes
    ----------
    name, terms
        Its libxc names, exchange first, and what evaluates them.

    Raises
    ------
    ConfigError
        A name cannot be evaluated, or the parts are not one exchange, one correlation, one of each, or one of both.
    """

    def __init__(self, name: str) -> None:
        parts = SHORT_NAMES.get(name.strip().upper(), name).split("+")
        self.terms = sorted(map(LibxcTerm, parts), key=lambda term: term.kind)
        self.name = "+".join(term.name for term in self.terms)
        if [term.kind for term in self.terms] not in _SENSIBLE_KINDS:
            kinds = ", ".join(f"{term.name} is {_KINDS[term.kind]}" for term in self.terms)
            raise ConfigError(
                f"xc.functional = {name!r}: {kinds}; one exchange, one correlation, one of each or one of both together is "
                "allowed. Remove what is counted twice."
            )
        self.uses_gradient = any(term.family == GGA for term in self.terms)

    @property
    def family(self) -> str:
        """Return the name pseudopotentials are matched against: LDA, PBE, REVPBE, BLYP or the libxc name."""
        if self.name in FAMILIES:
            return FAMILIES[self.name]
        return self.name if self.uses_gradient else "LDA"

    @property
    def remark(self) -> str:
        """Return what is missing for a whole functional, in words, or nothing."""
        kinds = {term.kind for term in self.terms}
        if kinds == {EXCHANGE}:
            return "exchange alone, without correlation"
        return "correlation alone, without exchange" if kinds == {CORRELATION} else ""

    def evaluate(self, rho: np.ndarray, sigma: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return e per volume, ∂e/∂ρ and ∂e/∂σ (None for an LDA) at points of density ρ and ``σ = |∇ρ|²``.  Not collective.

        All have the shape of ρ; Ha bohr⁻³, Ha and Ha bohr⁵ for ρ in bohr⁻³ and σ in bohr⁻⁸.
        """
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
        """Return ∂²e/∂ρ² (``rr``), ∂²e/∂ρ∂σ (``rs``) and ∂²e/∂σ² (``ss``, both zero for an LDA) at points.  Not collective.

        All have the shape of ρ; Ha bohr³, Ha bohr⁸ and Ha bohr¹³.  Raises ConfigError if libxc has none.
        """
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
