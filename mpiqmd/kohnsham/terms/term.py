"""What an energy term is, before and after it is placed at a geometry.

    A = Σ_t E_t - T_e S,     H = Σ_t dE_t/d(wP),     dA/dR = Σ_t ∂E_t/∂R  at fixed electrons

A *linear* term has an operator that does not depend on the electrons, ``E = w tr(P h) + c``.  A *density* term is any other
functional of the density alone, with its potential ``v = δE/δρ``.  Models, solvers and checks sum over terms; they name none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

import numpy as np

from mpiqmd.grid.arrays import Field
from mpiqmd.keys.registries import TERMS
from mpiqmd.keys.registry import Entry, no_problems
from mpiqmd.keys.spec import KeySpec, Options
from mpiqmd.kohnsham.electrons import Electrons
from mpiqmd.kohnsham.hamiltonian import Hamiltonian


class LinearTerm(ABC):
    """A term ``w tr(P h) + c`` at one geometry."""

    @abstractmethod
    def add_to(self, hamiltonian: Hamiltonian) -> None:
        """Add h and c.  Not collective."""

    @abstractmethod
    def energy(self, electrons: Electrons) -> float:
        """Return the energy, Ha.  Collective."""

    @abstractmethod
    def gradient(self, electrons: Electrons) -> np.ndarray | float:
        """Return ``∂E/∂R_a`` at fixed electrons, shape (N, 3), Ha/bohr; 0.0 where it vanishes.  Collective."""


class DensityTerm(ABC):
    """A functional of the density alone at one geometry."""

    @abstractmethod
    def evaluate(self, density: Field) -> tuple[float, Field]:
        """Return E (Ha) and ``v = δE/δρ`` (Ha), a new field, on the density's grid.  Collective."""

    def gradient(self, electrons: Electrons) -> np.ndarray | float:
        """Return ``∂E/∂R_a`` at a fixed density, shape (N, 3), Ha/bohr; 0.0 where it vanishes.  Collective."""
        return 0.0


PlacedTerm = LinearTerm | DensityTerm


class Term(Protocol):
    """A term for any geometry.

    Attributes
    ----------
    name
        The key of its energy in results.
    """

    name: str

    def at(self, positions_av: np.ndarray) -> PlacedTerm:
        """Return the term with the nuclei at these positions, shape (N, 3), bohr.  Collective."""
        ...


TermMaker = Callable[..., Term | None]
"""Called with a :class:`~mpiqmd.kohnsham.system.System` and by name the values of its keys, returns a term; None where the
system has no such term.  Collective."""
Maker = TypeVar("Maker", bound=TermMaker)


def energy_term(
    name: str,
    summary: str = "",
    *,
    keys: Mapping[str, KeySpec] | None = None,
    check: Callable[[Options], list[str]] = no_problems,
) -> Callable[[Maker], Maker]:
    """Return a decorator that registers a :data:`TermMaker`: systems made from then on have the term.  Not collective.

    Parameters
    ----------
    name
        The term's name in results.
    summary
        What it is in a few words, for the help.
    keys
        The keys of a section of the input called ``name``.  With any, only inputs with that section have the term.
    check
        Returns the problems between their values, each a line for the user.
    """

    def register(make: Maker) -> Maker:
        TERMS.register(Entry(name=name, summary=summary, make=make, keys=keys or {}, check=check))
        return make

    return register
