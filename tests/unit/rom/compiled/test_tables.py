"""The tables of all atoms together are those of each."""

import numpy as np
import pytest

from mpiqmd.rom.compiled.data import MovingAtom
from mpiqmd.rom.compiled.tables import PositionTables
from tests.unit.rom.learned.test_chebyshev import BOX, INSIDE, PLANE

pytestmark = pytest.mark.serial


def test_all_tables_together_equal_one_by_one(rng):
    boxes = [BOX, PLANE]
    local = [rng.normal(size=(6, 6, 6, 4)), rng.normal(size=(6, 6, 4))]
    atoms = [
        MovingAtom(i, b, t, np.zeros((*t.shape[:-1], 2, 0)), np.zeros((0, 0)))
        for i, b, t in zip((0, 2), boxes, local, strict=True)
    ]
    tables = PositionTables(atoms, [slice(0, 4)])
    positions = np.array([INSIDE, [9.0, 9.0, 9.0], [1.3, -0.35, 0.0]])
    weights, slopes, excess = tables.weights(positions[None])
    parts = [box.evaluate(t, positions[i]) for i, box, t in zip((0, 2), boxes, local, strict=True)]
    np.testing.assert_allclose(tables.local(weights)[0], parts[0][0] + parts[1][0], rtol=1e-12, atol=1e-12)
    d, gradient = rng.normal(size=4), np.zeros((1, 3, 3))
    tables.add_gradient(slopes, d[None], gradient)
    np.testing.assert_allclose(gradient[0], [parts[0][1] @ d, np.zeros(3), parts[1][1] @ d], rtol=1e-11, atol=1e-11)
    assert excess <= 0
