"""Geometries like those of a training: in the body frame, reaching as far, or spread alike."""

import numpy as np
import pytest

from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.sampling.mixtures import normal_geometries, sample_geometries
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


def test_normal_geometries_are_spread_as_the_samples():
    frame = make_frame(Molecule(("O", "H", "H"), geometry(*TRAINING[0])))
    trained_sav = np.array([geometry(*point) for point in TRAINING])
    samples = normal_geometries(trained_sav, frame, 4000, seed=2)
    assert len(samples) == 4000
    for positions_av in samples[:50]:
        np.testing.assert_allclose(frame.align(positions_av).body_positions_av, positions_av, atol=1e-12)
    np.testing.assert_allclose(samples.mean(axis=0), trained_sav.mean(axis=0), atol=0.01)
    found, expected = (np.cov(each.reshape(len(each), -1).T, bias=True) for each in (samples, trained_sav))
    np.testing.assert_allclose(found, expected, atol=0.1 * expected.max())
    np.testing.assert_array_equal(samples[:7], normal_geometries(trained_sav, frame, 4000, seed=2)[:7])
