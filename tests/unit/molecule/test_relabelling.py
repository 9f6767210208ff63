"""Exchanges of equal atoms that keep all bonds, with and without a mirror image."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.molecule.relabelling import Relabelling, relabellings
from tests.unit.molecule.test_torsion import named

pytestmark = pytest.mark.serial


@pytest.mark.parametrize(
    ("name", "count"), [("H2O2", 2), ("CH3OH", 6), ("C2H6", 72), ("CH4", 24), ("CH3CH2OH", 12), ("HCOOH", 1)]
)
def test_as_many_as_the_graph_has(name, count):
    molecule = named(name)
    found = relabellings(molecule)
    assert found[0].is_identity and len(found) == len(set(found)) == 2 * count
    for each in found:
        assert sorted(each.permutation) == list(range(len(molecule)))
        assert [molecule.symbols[each.permutation[a]] for a in range(len(molecule))] == list(molecule.symbols)


def test_deuterium_is_no_hydrogen():
    molecule = named("CH4")
    masses_a = molecule.masses_a.copy()
    masses_a[1] *= 2.0
    heavy = type(molecule)(molecule.symbols, molecule.positions_av, 0, masses_a)
    assert len(relabellings(heavy)) == 2 * 6


def test_there_and_back_is_nothing():
    vectors_av = np.random.default_rng(0).normal(size=(4, 3))
    for mirrored in (False, True):
        operation = Relabelling((2, 0, 3, 1), mirrored)
        assert np.array_equal(operation.back(operation.image(vectors_av)), vectors_av)
        assert np.array_equal(operation.vector_back(operation.image(vectors_av)[2]), vectors_av[0])
