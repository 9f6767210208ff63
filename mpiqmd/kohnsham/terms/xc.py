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
from mpiqmd.kohnsham.core import CoreDensity
from mpiqmd.kohnsham.electrons import Electrons
from mpiqmd.kohnsham.functional import Functional
from mpiqmd.kohnsham.system import System
from mpiqmd.kohnsham.terms.term import DensityTerm


class ExchangeCorrelation:
    """A functional on a grid.  Not collective.

    Parameters
    ----------
    grid
        The grid of the density.
    functional
        The functional.
    core
        Model cores of the nonlinear core correction, if there are any.
    """

    name = "xc"

    def __init__(self, grid: Grid, functional: Functional, core: CoreDensity | None = None) -> None:
        self.grid, self.functional, self.core = grid, functional, core
        self.gradient = Gradient(grid) if functional.uses_gradient else None

    @classmethod
    def of(cls, system: System) -> ExchangeCorrelation:
        """Return the term of a system.  Not collective."""
        core = CoreDensity(system.density_grid, system.pseudopotentials, system.molecule.symbols)
        return cls(system.density_grid, system.functional, None if core.is_empty else core)

    def at(self, positions_av: np.ndarray) -> PlacedExchangeCorrelation:
        """Return the term with the nuclei, and their model cores, at these positions, shape (N, 3), bohr.  Not collective."""
        return PlacedExchangeCorrelation(self, positions_av)

    def evaluate(self, density: Field) -> tuple[float, Field]:
        """Return E_xc (Ha) and v_xc (Ha) of a density.  Collective."""
        if self.gradient is None:
            energy, potential, _ = self.functional.evaluate(density.local, None)
        else:
            slope = self.gradient.apply(density)
            energy, potential, v_sigma = self.functional.evaluate(density.local, (slope**2).sum(axis=0))
            assert v_sigma is not None
            slope *= 2.0 * v_sigma
            potential -= self.gradient.divergence(slope)
        return Field(self.grid, energy).integrate(), Field(self.grid, potential)

    def kernel(self, density: Field, share: np.ndarray | None = None) -> Kernel:
        """Return the second derivative of E_xc at a density, as an operator on changes of density.  Collective.

        ``share`` (this rank's points) says how much of every point's part is taken, all of it if not given.
        """
        return Kernel(self, density, share)


class PlacedExchangeCorrelation(DensityTerm):
    """``E_xc[ρ + ρ_c]`` at one geometry; without model cores ``ρ_c = 0``.  Construction is not collective."""

    def __init__(self, xc: ExchangeCorrelation, positions_av: np.ndarray) -> None:
        self.xc, self.core, self.positions_av = xc, xc.core, positions_av
        self.core_density = None if xc.core is None else xc.core.evaluate(positions_av)

    def evaluate(self, density: Field) -> tuple[float, Field]:
        """Return E_xc (Ha) and v_xc (Ha) of a valence density, with the model cores added to it.  Collective."""
        if self.core_density is not None:
            density = Field(density.grid, density.local + self.core_density.local)
        return self.xc.evaluate(density)

    def gradient(self, electrons: Electrons) -> np.ndarray | float:
        """Return ``∂E_xc/∂R_a`` at a fixed valence density, shape (N, 3), Ha/bohr; 0 without model cores.  Collective."""
        if self.core is None:
            return 0.0
        _, potential = self.evaluate(electrons.density)
        return self.core.gradient(self.positions_av, potential)


class Kernel:
    """``f_xc[ρ0]``: the change of the xc potential linear in a change of density.

        δv = e_ρρ δρ + e_ρσ δσ - ∇·(2 (e_ρσ δρ + e_σσ δσ) ∇ρ0 + 2 e_σ ∇δρ),   δσ = 2 ∇ρ0·∇δρ

    exactly the derivative of the discrete potential.
    """

    def __init__(self, xc: ExchangeCorrelation, density: Field, share: np.ndarray | None = None) -> None:
        self.xc = xc
        taken = np.ones(1) if share is None else share
        squares = None
        if xc.gradient is not None:
            self.slope = xc.gradient.apply(density)
            squares = (self.slope**2).sum(axis=0)
            _, _, v_sigma = xc.functional.evaluate(density.local, squares)
            self.v_sigma = v_sigma * taken
        second = xc.functional.second_derivatives(density.local, squares)
        self.second = {name: values * taken for name, values in second.items()}

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
