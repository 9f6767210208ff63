"""One file per energy term.

:mod:`~mpiqmd.kohnsham.terms.term` says what a term is and has the decorator that registers one.  A new one is a file, and a
line in ``SHIPPED`` if it comes with mpiqmd.
"""

from __future__ import annotations

import json
from typing import Any

from mpiqmd.keys.registries import TERMS
from mpiqmd.kohnsham.system import System
from mpiqmd.kohnsham.terms.hartree import Hartree
from mpiqmd.kohnsham.terms.ion_ion import IonIon
from mpiqmd.kohnsham.terms.kinetic import Kinetic
from mpiqmd.kohnsham.terms.local_potential import LocalPotential
from mpiqmd.kohnsham.terms.nonlocal_potential import NonlocalPotential
from mpiqmd.kohnsham.terms.term import Term, TermMaker, energy_term
from mpiqmd.kohnsham.terms.xc import ExchangeCorrelation

SHIPPED: dict[str, TermMaker] = {
    Kinetic.name: Kinetic,
    LocalPotential.name: LocalPotential.of,
    NonlocalPotential.name: NonlocalPotential,
    Hartree.name: Hartree,
    ExchangeCorrelation.name: ExchangeCorrelation.of,
    IonIon.name: IonIon,
}
"""Terms in the order of results.  The first is linear: its energy is what the others leave of the total."""

for _name, _make in SHIPPED.items():
    energy_term(_name)(_make)


def make_terms(system: System) -> tuple[Term, ...]:
    """Return the terms that a system has.  Collective."""
    made = [entry.make(system, **_values(system, entry.name)) for entry in TERMS.there(system.term_options)]
    return tuple(term for term in made if term is not None)


def terms_signature(system: System) -> dict[str, dict[str, Any]]:
    """Return what a user added to the energy, by term the keys that it depends on, as plain data.  Not collective."""
    added = [entry for entry in TERMS.there(system.term_options) if entry.name not in SHIPPED or entry.keys]
    chosen = {
        entry.name: {
            name: value for name, value in _values(system, entry.name).items() if TERMS.role_of(entry.keys[name]) == "physics"
        }
        for entry in added
    }
    return json.loads(json.dumps({"terms": chosen} if chosen else {}, default=str))


def _values(system: System, name: str) -> dict[str, Any]:
    """Return the values of a term's keys by name."""
    options = system.term_options.get(name)
    return {} if options is None else dict(vars(options))
