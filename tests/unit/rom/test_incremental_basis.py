"""The span of snapshots, grown geometry by geometry, is that of the basis made of all of them."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.rom.basis import build_basis
from mpiqmd.rom.incremental_basis import IncrementalBasis
from tests.helpers import tiny_water


@pytest.mark.parametrize("is_closed", [True, False])
def test_the_span_is_that_of_the_basis(comm, is_closed):
    trained = tiny_water.train(comm)
    symmetries = trained.symmetries if is_closed else []
    grown = IncrementalBasis(trained.model.grid, symmetries)
    snapshots = [state.orbitals for state in trained.states]
    for orbitals in snapshots:
        grown.add(orbitals)
    assert np.abs(grown.modes.gram() - np.eye(len(grown.modes))).max() < 1e-12
    block = type(snapshots[0])(trained.model.grid, np.concatenate([orbitals.local for orbitals in snapshots]))
    basis = build_basis(block, 1.0, symmetries=symmetries)
    assert len(grown.modes) <= basis.rank
    # every mode of the basis that weighs more than what the span leaves out lies in it
    inside = (grown.modes.gram(basis.modes) ** 2).sum(axis=0)
    weighty = basis.singular_values_k[: basis.rank] > 1e-2
    assert weighty.sum() >= 10 and inside[weighty] == pytest.approx(np.ones(weighty.sum()), abs=1e-3)
    for orbitals, coefficients_mn in zip(snapshots, grown.coefficients_smn, strict=True):
        rest = orbitals.local - grown.modes.combine(coefficients_mn).local
        assert type(orbitals)(orbitals.grid, rest).norms().max() < 3e-4
