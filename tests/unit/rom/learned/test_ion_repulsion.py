"""The ions' repulsion from pair sums and tables equals the direct one, gradient included."""

import numpy as np
import pytest

from mpiqmd.kohnsham.terms.ion_ion import ion_ion_energy
from mpiqmd.rom.learned.chebyshev import ChebyshevBox
from mpiqmd.rom.learned.ion_repulsion import IonTables

pytestmark = pytest.mark.serial

MIDDLE = np.array([[0.0, 0, 0], [1.1, 1.4, 0], [1.1, -1.4, 0]])
CHARGES = np.array([6.0, 1.0, 1.0])
CELL = np.array([9.0, 10.0, 11.0])


def boxes(reach):
    return [ChebyshevBox(position - reach, position + reach, (9, 9, 9)) for position in MIDDLE]


@pytest.mark.parametrize("cell_v", [None, CELL], ids=["free space", "periodic"])
@pytest.mark.parametrize("reach", [[0.0, 0.0, 0.0], [0.2, 0.2, 0.0]], ids=["still", "planar"])
def test_equals_the_direct_sum(cell_v, reach, rng):
    tables = IonTables(CHARGES, cell_v, boxes(np.array(reach)))
    batch = MIDDLE + rng.uniform(-1, 1, size=(5, 3, 3)) * reach
    for positions, energy, gradient in zip(batch, *tables.evaluate(batch), strict=True):
        exact, slope = ion_ion_energy(positions, CHARGES, cell_v)
        assert energy == pytest.approx(exact, abs=1e-9)
        moving = np.array(reach) > 0
        np.testing.assert_allclose(gradient[:, moving], slope[:, moving], atol=1e-8)


def test_coincident_nuclei_are_infinitely_high_and_no_exception():
    """Not of water, where three nuclei with two in one place are a line: the surface then says that they are outside."""
    positions = np.array([[[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]] * 2)
    positions[1, 1, 2] = 2.0
    energies, gradient = IonTables(np.array([4.0, 1.0, 1.0, 1.0]), None, []).evaluate(positions)
    assert np.isinf(energies[0])
    assert energies[1] == pytest.approx(3 * 4.0 / 2.0 + 3 / np.sqrt(8.0)) and np.isfinite(gradient[1]).all()
