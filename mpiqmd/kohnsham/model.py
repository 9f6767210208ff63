"""The Kohn-Sham model (physics, no algorithm) and the problem it poses at one geometry."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from mpiqmd.errors import GeometryError
from mpiqmd.grid.arrays import Field
from mpiqmd.kohnsham.electrons import Electrons
from mpiqmd.kohnsham.hamiltonian import Hamiltonian
from mpiqmd.kohnsham.system import System
from mpiqmd.kohnsham.terms import make_terms, terms_signature
from mpiqmd.kohnsham.terms.term import DensityTerm, LinearTerm, PlacedTerm, Term
from mpiqmd.molecule.images import nearest_image
from mpiqmd.parallel.comm import sum_over_ranks

SomeTerm = TypeVar("SomeTerm")


class KohnShamModel(System):
    """A system with its energy terms.  Parameters and errors are those of :class:`~mpiqmd.kohnsham.system.System`.

    Construction is collective.

    Attributes
    ----------
    terms
        What the energy is the sum of, for any geometry.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.terms: tuple[Term, ...] = make_terms(self)

    def term(self, kind: type[SomeTerm]) -> SomeTerm:
        """Return the term of one kind, for code that is about that term alone.  Not collective."""
        return next(term for term in self.terms if isinstance(term, kind))

    def signature(self) -> dict[str, object]:
        """Return what must agree for results to describe the same physics, as plain data.  Not collective."""
        finer = {"density_points": self.density_grid.points_v.tolist()} if self.refinement else {}
        return (
            self.grid.signature()
            | finer
            | terms_signature(self)
            | {
                "functional": self.functional.name,
                "symbols": list(self.molecule.symbols),
                "charge": int(self.molecule.charge),
                "electronic_temperature": float(self.electronic_temperature),
                "pseudopotentials": {symbol: p.sha256 for symbol, p in sorted(self.pseudopotentials.items())},
            }
        )

    def describe(self) -> str:
        """Return lines for the log: the grids, then what a user should know about functional and pseudopotentials."""
        points = " x ".join(map(str, self.density_grid.points_v))
        grids = self.grid.describe() + (f", density on {points} points" if self.refinement else "")
        return "\n".join([grids, *self.remarks()])

    def remarks(self) -> list[str]:
        """Return a line on each thing that the functional lacks or a pseudopotential file has for nothing.  Not collective."""
        functional = self.functional
        lines = [f"warning: {functional.name} is {functional.remark}"] if functional.remark else []
        return lines + [f"remark: {p.source}: {text}" for p in self.pseudopotentials.values() for text in p.remarks]

    def place(self, positions_av: np.ndarray) -> Problem:
        """Return the Kohn-Sham problem with the nuclei at these positions, shape (N, 3), bohr.  Collective."""
        return Problem(self, positions_av)


class Problem:
    """The Kohn-Sham problem of one geometry: its terms, and the sums over them.  Construction is collective.

    ``positions_av`` are those inside a periodic cell, whichever image of a nucleus is given.

    Raises GeometryError for nuclei outside an isolated cell, on top of each other, or not finite.

    Attributes
    ----------
    terms
        Each term at this geometry, by name.
    linear
        The Hamiltonian of the linear terms, which no electrons change.
    """

    def __init__(self, model: KohnShamModel, positions_av: np.ndarray) -> None:
        self.model = model
        self.grid = model.grid
        cell_v = self.grid.periodic_cell_v
        model.molecule.with_positions(positions_av).check(cell_v)
        # images do not matter, but the functions around a nucleus are looked for near the cell
        self.positions_av = nearest_image(np.array(positions_av, float), cell_v)
        self.molecule = model.molecule.with_positions(self.positions_av)
        self._check_inside()
        self.n_electrons, self.n_occupied = model.n_electrons, model.n_occupied
        self.terms: dict[str, PlacedTerm] = {term.name: term.at(self.positions_av) for term in model.terms}
        self.linear = Hamiltonian(model.laplacian)
        for term in self.terms.values():
            if isinstance(term, LinearTerm):
                term.add_to(self.linear)

    def _check_inside(self) -> None:
        if self.grid.is_periodic:
            return
        margin = 0.5 * self.grid.cell_v - np.abs(self.positions_av)
        if margin.min() < 1.0:
            a = int(np.argmin(margin.min(axis=1)))
            raise GeometryError(
                f"atom {self.molecule.labels[a]} at {np.round(self.positions_av[a], 3).tolist()} bohr is outside "
                f"the isolated cell or within 1 bohr of its walls at +-{(0.5 * self.grid.cell_v).tolist()}. "
                "Centre the molecule on the origin or enlarge grid.cell."
            )

    def density_terms(self, density: Field) -> tuple[dict[str, float], Field]:
        """Return the energies (Ha) of the terms of the density, by name, and the sum of their potentials (Ha).  Collective."""
        energies: dict[str, float] = {}
        total: Field | None = None
        for name, term in self.terms.items():
            if isinstance(term, DensityTerm):
                energies[name], potential = term.evaluate(density)
                if total is None:
                    total = potential
                else:
                    total.local += potential.local
        return energies, Field(density.grid) if total is None else total

    def linear_energies(self, electrons: Electrons) -> dict[str, float]:
        """Return the energies (Ha) of all linear terms but the first, the kinetic energy, by name.  Collective.

        The kinetic energy is what they leave of the total, which saves an application.
        """
        linear = [(name, term) for name, term in self.terms.items() if isinstance(term, LinearTerm)]
        return {name: term.energy(electrons) for name, term in linear[1:]}

    def components(self, electrons: Electrons, density_energies: dict[str, float], energy: float) -> dict[str, float]:
        """Return the energy term by term, Ha, in the order of the terms; they sum to ``energy``.  Collective.

        Parameters
        ----------
        electrons
            Those whose energy it is.
        density_energies
            What :meth:`density_terms` found for their density.
        energy
            Their energy without entropy, Ha.
        """
        known = self.linear_energies(electrons) | density_energies
        first, *others = self.terms
        return {first: energy - sum(known.values())} | {name: known[name] for name in others}

    def gradient(self, electrons: Electrons) -> np.ndarray:
        """Return ``∂A/∂R_a`` at fixed electrons (Hellmann-Feynman), shape (N, 3), Ha/bohr.  Collective.

        At a minimum over orbitals and density matrices this is the derivative of the discrete energy: the grid does
        not move, and the sampled functions are differentiated exactly.
        """
        gradient_av = np.zeros_like(self.positions_av)
        for term in self.terms.values():
            gradient_av += term.gradient(electrons)
        return gradient_av

    def dipole(self, density: Field) -> np.ndarray:
        """Return the dipole moment ``Σ Z_a R_a - ∫ r ρ dr`` about the centre of the cell, shape (3,), e bohr.  Collective."""
        z, y, x = density.grid.local_coordinates
        local_v = np.array([float(np.sum(density.local * axis)) for axis in (x, y, z)])
        electrons_v = density.grid.volume_element * sum_over_ranks(self.grid.comm, local_v)
        return self.model.valences_a @ self.positions_av - electrons_v
