"""One file per energy term.

:mod:`~mpiqmd.kohnsham.terms.term` says what a term is.  A new one is a file, and a line in ``MAKERS`` or a call of
:func:`register_term`.
"""

from __future__ import annotations

from mpiqmd.kohnsham.system import System
from mpiqmd.kohnsham.terms.hartree import Hartree
from mpiqmd.kohnsham.terms.ion_ion import IonIon
from mpiqmd.kohnsham.terms.kinetic import Kinetic
from mpiqmd.kohnsham.terms.local_potential import LocalPotential
from mpiqmd.kohnsham.terms.nonlocal_potential import NonlocalPotential
from mpiqmd.kohnsham.terms.term import Term, TermMaker
from mpiqmd.kohnsham.terms.xc import ExchangeCorrelation

MAKERS: list[TermMaker] = [
    Kinetic,
    LocalPotential.of,
    NonlocalPotential,
    Hartree,
    ExchangeCorrelation.of,
    IonIon,
]
"""All terms in the order of results.  The first is linear: its energy is what the others leave of the total."""


def register_term(make: TermMaker) -> TermMaker:
    """Give every system made from now on another term; may be used as a decorator.  Not collective."""
    MAKERS.append(make)
    return make


def make_terms(system: System) -> tuple[Term, ...]:
    """Return the terms that a system has.  Collective."""
    made = [make(system) for make in MAKERS]
    return tuple(term for term in made if term is not None)
