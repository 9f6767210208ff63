"""The Kohn-Sham model (physics, no algorithm) and the problem it poses at one geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.errors import ConfigError, GeometryError
from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.differences import Laplacian
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.poisson import Poisson
from mpiqmd.grid.refinement import Refinement
from mpiqmd.kohnsham.core import CoreDensity
from mpiqmd.kohnsham.density import density_of
from mpiqmd.kohnsham.hartree import Hartree
from mpiqmd.kohnsham.ion_ion import ion_ion_energy
from mpiqmd.kohnsham.local import LocalPotential
from mpiqmd.kohnsham.projectors import Projectors, SpeciesProjectors
from mpiqmd.kohnsham.xc import ExchangeCorrelation, Functional
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.pseudopotential import Pseudopotential
from mpiqmd.parallel.comm import sum_over_ranks


@dataclass(frozen=True)
class DensityTerms:
    """The terms that depend on the density alone: energies (Ha) and their common potential."""

    hartree: float
    xc: float
    potential: Field


class KohnShamModel:
    """What does not depend on the geometry: grids, species, functional, electrostatics.

    Orbitals, the kinetic energy and Poisson's equation live on ``grid``.  Density, potentials and projectors live on
    ``density_grid``: the same, or a finer one, on which products of orbitals have fewer aliases, or none.  Methods that take
    orbitals take them on either.

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
        self.valences_a = np.array([pseudopotentials[symbol].valence for symbol in molecule.symbols])
        self.n_electrons = float(self.valences_a.sum() - molecule.charge)
        self._check()
        self.laplacian = Laplacian(grid)
        self.hartree = Hartree(grid, self.refinement)
        dense = self.density_grid
        poisson = Poisson(dense) if self.refinement else self.hartree.poisson
        self.xc = ExchangeCorrelation(dense, functional)
        self.local = LocalPotential(dense, pseudopotentials, molecule.symbols, poisson)
        self.core = CoreDensity(dense, pseudopotentials, molecule.symbols)
        spacing = float(dense.spacing_v.max())
        self.species = {symbol: SpeciesProjectors(p, spacing) for symbol, p in pseudopotentials.items()}

    def _check(self) -> None:
        pairs = self.n_electrons / 2
        is_open = abs(pairs - round(pairs)) > 1e-9 and self.electronic_temperature <= 0
        if self.n_electrons <= 0 or is_open:
            raise ConfigError(
                f"system.charge = {self.molecule.charge} leaves {self.n_electrons:g} valence electrons: mpiqmd "
                "treats closed shells, an even number above zero. Change the charge, or set "
                "scf.electronic_temperature for fractional occupations."
            )

    @property
    def n_occupied(self) -> int:
        """Number of doubly occupied orbitals needed to hold the electrons."""
        return int(np.ceil(self.n_electrons / 2 - 1e-9))

    def signature(self) -> dict[str, object]:
        """Return what must agree for results to describe the same physics, as plain data.  Not collective."""
        finer = {"density_points": self.density_grid.points_v.tolist()} if self.refinement else {}
        return self.grid.signature() | finer | {
            "functional": self.functional.name,
            "symbols": list(self.molecule.symbols),
            "charge": int(self.molecule.charge),
            "electronic_temperature": float(self.electronic_temperature),
            "pseudopotentials": {symbol: p.sha256 for symbol, p in sorted(self.pseudopotentials.items())},
        }

    def on_density_grid(self, orbitals: Orbitals) -> Orbitals:
        """Return orbitals on the grid of the density; themselves if they are there already.  Collective."""
        if self.refinement is None or orbitals.grid is self.density_grid:
            return orbitals
        return self.refinement.refine(orbitals)

    def describe(self) -> str:
        """Return one line for the log on the grids."""
        points = " x ".join(map(str, self.density_grid.points_v))
        return self.grid.describe() + (f", density on {points} points" if self.refinement else "")

    def place(self, positions_av: np.ndarray) -> Problem:
        """Return the Kohn-Sham problem with the nuclei at these positions.  Collective."""
        return Problem(self, positions_av)


class Problem:
    """The Kohn-Sham problem of one geometry.  Construction is collective.

    Raises GeometryError for nuclei outside an isolated cell, on top of each other, or not finite.
    """

    def __init__(self, model: KohnShamModel, positions_av: np.ndarray) -> None:
        self.model = model
        self.grid = model.grid
        self.positions_av = np.array(positions_av, float)
        self.molecule = model.molecule.with_positions(self.positions_av)
        self.molecule.check()
        self._check_inside()
        self.n_electrons, self.n_occupied = model.n_electrons, model.n_occupied
        self.local_potential = model.local.evaluate(self.positions_av)
        self.core_density = None if model.core.is_empty else model.core.evaluate(self.positions_av)
        self.projectors = Projectors(model.density_grid, model.species, model.molecule.symbols, self.positions_av)
        cell = self.grid.cell_v if self.grid.is_periodic else None
        self.ion_ion, self._ion_gradient_av = ion_ion_energy(self.positions_av, model.valences_a, cell)

    def _check_inside(self) -> None:
        if self.grid.is_periodic:
            return
        margin = 0.5 * self.grid.cell_v - np.abs(self.positions_av)
        if margin.min() < 1.0:
            a = int(np.argmin(margin.min(axis=1)))
            raise GeometryError(
                f"atom {a} ({self.molecule.symbols[a]}) at {np.round(self.positions_av[a], 3).tolist()} bohr is outside "
                f"the isolated cell or within 1 bohr of its walls at +-{(0.5 * self.grid.cell_v).tolist()}. "
                "Centre the molecule on the origin or enlarge grid.cell."
            )

    @property
    def projector_coupling(self) -> np.ndarray:
        """D of ``V_nl = Σ |β_p> D_pq <β_q|``, Ha."""
        return self.projectors.coupling_pp

    def kinetic_matrix(self, orbitals: Orbitals) -> np.ndarray:
        """Return ``<φ_i|-∇²/2|φ_j>`` of orbitals on their own grid, Ha.  Collective."""
        applied = Orbitals(self.grid, self.model.laplacian.apply(orbitals, scale=-0.5))
        matrix = orbitals.gram(applied)
        return 0.5 * (matrix + matrix.T)

    def local_matrix(self, orbitals: Orbitals) -> np.ndarray:
        """Return ``<φ_i|V_loc|φ_j>``, Ha.  Collective."""
        return self.potential_matrix(orbitals, self.local_potential)

    def potential_matrix(self, orbitals: Orbitals, potential: Field) -> np.ndarray:
        """Return ``<φ_i|v|φ_j>`` of a potential on the density's grid, Ha.  Collective."""
        return self.model.on_density_grid(orbitals).matrix_elements(potential)

    def projector_overlaps(self, orbitals: Orbitals) -> np.ndarray:
        """Return ``<φ_i|β_p>``, shape (n, projectors).  Collective."""
        return self.projectors.overlaps(self.model.on_density_grid(orbitals))

    def linear_matrix(self, orbitals: Orbitals, dense: Orbitals) -> np.ndarray:
        """Return ``<φ_i|T + V_loc + V_nl|φ_j>`` (Ha) of orbitals given on both grids.  Collective."""
        overlaps = self.projector_overlaps(dense)
        nonlocal_nn = overlaps @ self.projector_coupling @ overlaps.T
        return self.kinetic_matrix(orbitals) + self.local_matrix(dense) + 0.5 * (nonlocal_nn + nonlocal_nn.T)

    def density(self, orbitals: Orbitals, density_matrix_nn: np.ndarray) -> Field:
        """Return ``ρ = 2 Σ_ij P_ij φ_i φ_j`` on the density's grid.  Collective."""
        return density_of(self.model.on_density_grid(orbitals), density_matrix_nn)

    def density_terms(self, density: Field) -> DensityTerms:
        """Return the Hartree and xc energies and ``v_H + v_xc``.  Collective."""
        hartree_potential = self.model.hartree.potential(density)
        hartree = 0.5 * density.inner(hartree_potential)
        xc, potential = self.exchange_correlation(density)
        potential.local += hartree_potential.local
        return DensityTerms(hartree, xc, potential)

    def exchange_correlation(self, density: Field) -> tuple[float, Field]:
        """Return E_xc (Ha) and v_xc (Ha) of a valence density, with the model cores added to it.  Collective."""
        if self.core_density is not None:
            density = Field(density.grid, density.local + self.core_density.local)
        return self.model.xc.evaluate(density)

    def dipole(self, density: Field) -> np.ndarray:
        """Return the dipole moment ``Σ Z_a R_a - ∫ r ρ dr`` about the centre of the cell, shape (3,), e bohr.  Collective."""
        z, y, x = density.grid.local_coordinates
        local_v = np.array([float(np.sum(density.local * axis)) for axis in (x, y, z)])
        electrons_v = density.grid.volume_element * sum_over_ranks(self.grid.comm, local_v)
        return self.model.valences_a @ self.positions_av - electrons_v

    def apply_hamiltonian(self, orbitals: Orbitals, potential: Field, dense: Orbitals | None = None) -> Orbitals:
        """Return ``(T + V_loc + v + V_nl) φ_i``, ``v = v_H + v_xc``.  Collective.

        ``dense`` are the same orbitals on the density's grid, where the caller has them already.
        """
        total = self.local_potential.local + potential.local
        refinement, laplacian = self.model.refinement, self.model.laplacian
        if refinement is None:
            result = Orbitals(self.grid, laplacian.apply(orbitals, scale=-0.5, potential=total))
            self.projectors.add_applied(self.projectors.overlaps(orbitals), result.local)
            return result
        dense = refinement.refine(orbitals) if dense is None else dense
        potentials = Orbitals(dense.grid, dense.local * total)
        self.projectors.add_applied(self.projectors.overlaps(dense), potentials.local)
        result = refinement.restrict(potentials)
        result.local += laplacian.apply(orbitals, scale=-0.5)
        return result

    def ion_gradient(self, density: Field, orbitals: Orbitals, density_matrix_nn: np.ndarray) -> np.ndarray:
        """Return ``∂A/∂R_a`` at fixed electrons (Hellmann-Feynman), shape (N, 3), Ha/bohr.  Collective.

        At a minimum over orbitals and density matrices this is the derivative of the discrete energy: the grid does
        not move, and the sampled functions are differentiated exactly.
        """
        dense = self.model.on_density_grid(orbitals)
        overlaps = self.projectors.overlaps(dense)
        gradient_av = (
            self._ion_gradient_av
            + self.model.local.gradient(self.positions_av, density)
            + self.projectors.gradient(dense, density_matrix_nn, overlaps)
        )
        if self.core_density is not None:
            _, potential = self.exchange_correlation(density)
            gradient_av += self.model.core.gradient(self.positions_av, potential)
        return gradient_av
