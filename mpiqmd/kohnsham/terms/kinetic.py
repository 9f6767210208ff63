"""The kinetic energy ``w Σ_ij P_ij <φ_i|-∇²/2|φ_j>`` by the finite differences of the grid."""

from __future__ import annotations

import numpy as np

from mpiqmd.kohnsham.electrons import Electrons
from mpiqmd.kohnsham.hamiltonian import Hamiltonian
from mpiqmd.kohnsham.system import System
from mpiqmd.kohnsham.terms.term import LinearTerm


class Kinetic(LinearTerm):
    """The kinetic energy, the same at every geometry.  Not collective."""

    name = "kinetic"

    def __init__(self, system: System) -> None:
        self.laplacian = system.laplacian

    def at(self, positions_av: np.ndarray) -> Kinetic:
        """Return the term itself."""
        return self

    def add_to(self, hamiltonian: Hamiltonian) -> None:
        """Add T."""
        hamiltonian.add_kinetic()

    def energy(self, electrons: Electrons) -> float:
        """Return ``w tr(P T)``, Ha.  Collective."""
        return electrons.expectation(electrons.space.kinetic_matrix(self.laplacian))

    def gradient(self, electrons: Electrons) -> float:
        """Return 0: the nuclei do not enter."""
        return 0.0
