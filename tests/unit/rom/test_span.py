"""The span of snapshots, grown geometry by geometry, is that of the basis made of all of them."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.rom.basis import build_basis
from mpiqmd.rom.span import SnapshotSpan
from tests.helpers import tiny_water


@pytest.mark.parametrize("is_closed", [True, False])
def test_the_span_is_that_of_the_basis(comm, is_closed):
    trained = tiny_water.train(comm)
    signs = [signs for signs, _ in trained.mirrors] if is_closed else []
    span = SnapshotSpan(trained.model.grid, signs)
    snapshots = [state.orbitals for state in trained.states]
    for orbitals in snapshots:
        span.add(orbitals)
    assert np.abs(span.modes.gram() - np.eye(len(span.modes))).max() < 1e-12
    block = type(snapshots[0])(trained.model.grid, np.concatenate([orbitals.local for orbitals in snapshots]))
    basis = build_basis(block, 1.0, mirrors=signs)
    assert len(span.modes) <= basis.rank
    # every mode of the basis that weighs more than what the span leaves out lies in it
    inside = (span.modes.gram(basis.modes) ** 2).sum(axis=0)
    weighty = basis.singular_values_k[: basis.rank] > 1e-2
    assert weighty.sum() >= 10 and inside[weighty] == pytest.approx(np.ones(weighty.sum()), abs=1e-3)
    for orbitals, coefficients_mn in zip(snapshots, span.coefficients_smn, strict=True):
        rest = orbitals.local - span.modes.combine(coefficients_mn).local
        assert type(orbitals)(orbitals.grid, rest).norms().max() < 3e-4
