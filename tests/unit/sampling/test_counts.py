"""How many geometries a molecule is trained on where the input does not say."""

from types import SimpleNamespace

import numpy as np
import pytest

from mpiqmd.molecule.molecule import Molecule
from mpiqmd.sampling.rules.rule import count_for, usual_count


@pytest.mark.parametrize(
    "atoms, coordinates, operations, expected",
    [(3, 3, 3, 52), (4, 6, 5, 56), (5, 9, 23, 60), (5, 9, 1, 180), (6, 12, 0, 480), (1, 0, 7, 44)],
    ids=["H2O", "NH3", "CH4", "HCOOH", "CH3OH turned", "an atom"],
)
def test_few_operations_need_more_geometries(atoms, coordinates, operations, expected):
    assert usual_count(atoms, coordinates, operations) == expected


def test_what_the_input_says_counts():
    body = SimpleNamespace(
        reference=Molecule(("H", "H"), np.eye(2, 3)), frame=SimpleNamespace(n_coordinates=1), symmetries=[None] * 7
    )
    assert count_for(None, body) == 48 and count_for(5, body) == 5
