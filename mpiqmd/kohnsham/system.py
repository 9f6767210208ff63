"""What energy terms are made from: grids, species, functional, and the operators that several terms share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from mpiqmd.errors import ConfigError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.differences import Laplacian
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.poisson import Poisson
from mpiqmd.grid.refinement import Refinement
from mpiqmd.keys.spec import Options
from mpiqmd.kohnsham.electrons import SPIN_WEIGHT, OrbitalSpace
from mpiqmd.kohnsham.functional import Functional
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.pseudopotential import Pseudopotential

POINTS_EACH = 8
"""Fewest grid points for each occupied orbital: two along each side."""


class System:
    """What does not depend on the geometry.

    Orbitals, the kinetic energy and Poisson's equation live on ``grid``.  Density, potentials and projectors live on
    ``density_grid``: the same, or a finer one, on which products of orbitals have fewer aliases, or none.

    Construction is collective.

    Parameters
    ----------
    grid
        The distributed grid of the orbitals.
    molecule
        Species, charge and masses; its positions are not used.
    pseudopotentials
        One per species.
    functional
        Exchange-correlation functional.
    electronic_temperature
        T_e in hartree; 0 for integer occupations.
    density_refinement
        How many times as many intervals the grid of the density has, at least: 1 for the same grid, 1.5, 2.
    term_options
        The keys of energy terms that have some, by the name of the term; terms not named here are not there.

    Raises
    ------
    ConfigError
        If the electron count is impossible.
    """

    def __init__(
        self,
        grid: Grid,
        molecule: Molecule,
        pseudopotentials: dict[str, Pseudopotential],
        functional: Functional,
        electronic_temperature: float = 0.0,
        density_refinement: float = 1.0,
        *,
        term_options: Mapping[str, Options] | None = None,
    ) -> None:
        self.grid = grid
        self.refinement = None
        if density_refinement > 1.0:
            self.refinement = grid.attached(("refinement", density_refinement), lambda: Refinement(grid, density_refinement))
        self.density_grid = self.refinement.fine if self.refinement else grid
        self.molecule = molecule
        self.pseudopotentials = pseudopotentials
        self.functional = functional
        self.electronic_temperature = electronic_temperature
        self.term_options = dict(term_options or {})
        self.valences_a = np.array([pseudopotentials[symbol].valence for symbol in molecule.symbols])
        self.n_electrons = float(self.valences_a.sum() - molecule.charge)
        self._check()

    def _check(self) -> None:
        """Raise ConfigError if the electrons cannot be treated or the grid has too few points for them."""
        pairs = self.n_electrons / SPIN_WEIGHT
        is_open = abs(pairs - round(pairs)) > 1e-9 and self.electronic_temperature <= 0
        if self.n_electrons <= 0 or is_open:
            raise ConfigError(
                f"system.charge = {self.molecule.charge} leaves {self.n_electrons:g} valence electrons: mpiqmd "
                "treats closed shells, an even number above zero. Change the charge, or set "
                "scf.electronic_temperature for fractional occupations."
            )
        if self.n_occupied * POINTS_EACH > self.grid.size:
            raise ConfigError(
                f"{len(self.molecule)} atoms bring {self.n_occupied} occupied orbitals, and the grid has {self.grid.size} "
                f"points; at least {POINTS_EACH} for each orbital are needed to tell them apart, and good grids have hundreds. "
                "Use a smaller grid.spacing, a larger grid.cell, or fewer atoms."
            )

    @property
    def n_occupied(self) -> int:
        """Number of full orbitals needed to hold the electrons."""
        return int(np.ceil(self.n_electrons / SPIN_WEIGHT - 1e-9))

    @cached_property
    def laplacian(self) -> Laplacian:
        """``∇²`` on the grid of the orbitals."""
        return Laplacian(self.grid)

    @cached_property
    def poisson(self) -> Poisson:
        """Poisson's equation on the grid of the orbitals.  Collective the first time."""
        return Poisson(self.grid)

    @cached_property
    def density_poisson(self) -> Poisson:
        """Poisson's equation on the grid of the density.  Collective the first time."""
        return Poisson(self.density_grid) if self.refinement else self.poisson

    def space(self, orbitals: Orbitals) -> OrbitalSpace:
        """Return a block of orbitals with its way to the density's grid.  Not collective."""
        return OrbitalSpace(orbitals, self.refinement)
