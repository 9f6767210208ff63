"""Net force and drift."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.md.observables import linear_drift, net_force
from mpiqmd.units import ATOMIC_TIME_IN_FS

pytestmark = pytest.mark.serial


def test_net_force_is_that_of_every_frame(rng):
    forces_tav = rng.normal(size=(5, 4, 3))
    assert np.allclose(net_force(forces_tav)[2], forces_tav[2].sum(axis=0))


def test_drift_is_the_slope_per_atom_and_picosecond(rng):
    times_t = np.linspace(0.0, 5000.0, 200)
    picoseconds = times_t * ATOMIC_TIME_IN_FS * 1e-3
    energies_t = -17.0 + 6e-5 * picoseconds
    assert linear_drift(times_t, energies_t, 3) == pytest.approx(2e-5, rel=1e-6)
    assert linear_drift(times_t[:2], energies_t[:2], 3) is None
