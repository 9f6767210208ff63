"""Mixtures of training geometries: in the body frame, and reaching as far as the training does."""

import numpy as np
import pytest

from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.sampling.mixtures import sample_geometries
from tests.helpers.tiny_water import TRAINING, geometry

pytestmark = pytest.mark.serial


def test_samples_are_in_the_frame_and_reach_beyond_the_training():
    frame = make_frame(Molecule(("O", "H", "H"), geometry(*TRAINING[0])))
    trained_sav = np.array([geometry(*point) for point in TRAINING])
    samples = sample_geometries(trained_sav, frame, 200, seed=2)
    for positions_av in samples:
        np.testing.assert_allclose(frame.align(positions_av).body_positions_av, positions_av, atol=1e-12)
    trained = np.ptp(trained_sav[:, 1], axis=0)
    assert (np.ptp(samples[:, 1], axis=0)[:2] > 0.7 * trained[:2]).all()
