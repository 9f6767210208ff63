"""Random geometries like others, for fits and for trials where nothing else is known of a region: mixtures, normal variates."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from mpiqmd.errors import GeometryError
from mpiqmd.molecule.frame import BodyFrame

REACH = 1.1
"""Samples reach this much farther from the mean than mixtures do: fits shall hold a little beyond."""
CONCENTRATIONS = (0.7, 0.2)
"""Of the weights of a mixture, by turns: those of the second kind lie near one of the three, which fills the edges."""


def sample_geometries(positions_sav: np.ndarray, frame: BodyFrame, count: int, seed: int, reach: float = REACH) -> np.ndarray:
    """Return random mixtures of three geometries each in the body frame, shape (at most count, N, 3), bohr.

    Not collective; the same for the same arguments.  Mixtures that have no body frame are left out; a larger ``count``
    continues the same sequence.

    Parameters
    ----------
    positions_sav
        Geometries in the body frame, shape (samples, N, 3), bohr.
    frame
        The body frame.
    count, seed
        How many, and of which sequence.
    reach
        Scales their distance from the mean of all geometries; 1 for mixtures proper.
    """
    rng, mean = np.random.default_rng(seed), positions_sav.mean(axis=0)
    samples = []
    for number in range(count):
        weights = rng.dirichlet(np.full(3, CONCENTRATIONS[number % 2]))
        chosen = rng.integers(len(positions_sav), size=3)
        mixed = mean + reach * (np.tensordot(weights, positions_sav[chosen], axes=1) - mean)
        with suppress(GeometryError):
            samples.append(frame.align(mixed).body_positions_av)
    return np.array(samples).reshape(-1, *mean.shape)


def normal_geometries(positions_sav: np.ndarray, frame: BodyFrame, count: int, seed: int) -> np.ndarray:
    """Return random geometries in the body frame, shape (at most count, N, 3), bohr, with the mean and covariance of samples.

    They are as thermal motion has them, if the samples (samples, N, 3), bohr, are, and farther out in all directions at once
    than mixtures of a few.  Those without a body frame are left out.  Not collective; the same for the same arguments.
    """
    rng, mean = np.random.default_rng(seed), positions_sav.mean(axis=0)
    weights_cs = rng.normal(size=(count, len(positions_sav))) / np.sqrt(len(positions_sav))
    geometries = []
    for displaced in mean + np.tensordot(weights_cs, positions_sav - mean, axes=1):
        with suppress(GeometryError):
            geometries.append(frame.align(displaced).body_positions_av)
    return np.array(geometries).reshape(-1, *mean.shape)
