"""``check forces`` where a surface finds its energies in more than one way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mpiqmd.errors import GeometryError
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.log import silent
from mpiqmd.statics.promises import STEP, check_forces
from tests.pipeline.springs import Springs, distorted

pytestmark = pytest.mark.serial
OFF = 1e-3
"""What the other way adds to the energy, Ha."""


class Edged(Springs):
    """Springs of which the first atom has an edge: beyond it the energy is another's."""

    def __init__(self, edge, way="on_grid"):
        super().__init__()
        self.edge, self.way = edge, way

    def at(self, positions_av, memory=None):
        found, beyond = super().at(positions_av), positions_av[0, 0] > self.edge
        return replace(found, energy=found.energy + OFF * beyond, extras=found.extras | {self.way: float(beyond)})


@pytest.mark.parametrize("way", ["on_grid", "hifi"])
@pytest.mark.parametrize("share", [0.5, 1.5, -0.5])
def test_too_near_an_edge_is_said(serial_comm, way, share):
    """Within one step, within two, and just beyond."""
    molecule = distorted()
    owner = Owner(Edged(molecule.positions_av[0, 0] + share * STEP, way))
    with pytest.raises(GeometryError, match="too near the edge.*atom O1 moved by .* bohr along x"):
        check_forces(owner, molecule.positions_av, molecule.labels, silent(serial_comm))


@pytest.mark.parametrize("share", [3.0, -3.0])
def test_on_one_side_of_it_forces_are_slopes(serial_comm, share):
    molecule = distorted()
    owner = Owner(Edged(molecule.positions_av[0, 0] + share * STEP))
    found = check_forces(owner, molecule.positions_av, molecule.labels, silent(serial_comm))
    assert found["largest_error"] < 1e-6 < 1e-2 < np.abs(found["forces"]).max()
    assert found["verdict"]["good"] is True
