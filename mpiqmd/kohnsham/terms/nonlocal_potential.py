"""The ions' nonlocal pseudopotential, ``E = w Σ_ij P_ij Σ_pq <φ_i|β_p> D_pq <β_q|φ_j>`` (:mod:`mpiqmd.kohnsham.projectors`)."""

from __future__ import annotations

import numpy as np

from mpiqmd.kohnsham.electrons import BRA_AND_KET, SPIN_WEIGHT, Electrons
from mpiqmd.kohnsham.hamiltonian import Hamiltonian
from mpiqmd.kohnsham.projectors import Projectors, SpeciesProjectors
from mpiqmd.kohnsham.system import System
from mpiqmd.kohnsham.terms.term import LinearTerm


class NonlocalPotential:
    """``V_nl`` for any positions of the ions.  Construction is not collective."""

    name = "nonlocal"

    def __init__(self, system: System) -> None:
        self.grid, self.symbols = system.density_grid, system.molecule.symbols
        spacing = float(self.grid.spacing_v.max())
        self.species = {symbol: SpeciesProjectors(p, spacing) for symbol, p in system.pseudopotentials.items()}

    def at(self, positions_av: np.ndarray) -> PlacedNonlocalPotential:
        """Return the term with the ions at these positions, shape (N, 3), bohr.  Not collective."""
        return PlacedNonlocalPotential(self.projectors(self.symbols, positions_av))

    def projectors(self, symbols: tuple[str, ...], positions_av: np.ndarray) -> Projectors:
        """Return the projectors of some ions, one symbol and position (bohr) each.  Not collective."""
        return Projectors(self.grid, self.species, symbols, positions_av)


class PlacedNonlocalPotential(LinearTerm):
    """``V_nl`` at one geometry.

    Parameters
    ----------
    projectors
        Those of all ions.
    """

    def __init__(self, projectors: Projectors) -> None:
        self.projectors = projectors

    def add_to(self, hamiltonian: Hamiltonian) -> None:
        """Add the projectors with their coupling."""
        hamiltonian.add_projectors(self.projectors)

    def energy(self, electrons: Electrons) -> float:
        """Return ``w tr(P V_nl)``, Ha.  Collective."""
        return electrons.expectation(self.projectors.matrix(electrons.space.overlaps(self.projectors)))

    def gradient(self, electrons: Electrons) -> np.ndarray:
        """Return ``∂/∂R_a w tr(P V_nl)`` at fixed electrons, shape (N, 3), Ha/bohr.  Collective."""
        overlaps_np = electrons.space.overlaps(self.projectors)
        weights_np = electrons.density_matrix_nn @ overlaps_np @ self.projectors.coupling_pp
        return BRA_AND_KET * SPIN_WEIGHT * self.projectors.gradient(electrons.space.dense, weights_np)
