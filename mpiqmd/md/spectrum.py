"""The infrared spectrum of dipole moments along a trajectory, and what a run of that length can resolve.

Replicated pure functions, atomic units; frequencies are angular.
"""

from __future__ import annotations

import numpy as np

LEAST_AT_END = 0.01
"""The window has fallen to this where the correlation ends: what is cut off there would ring beside every line."""
FWHM_IN_DEVIATIONS = 2.0 * np.sqrt(2.0 * np.log(2.0))
PADDING = 4
"""Points of the spectrum for each one that the correlation determines, so that lines are drawn smooth."""


def finest_resolution(duration: float) -> float:
    """Return the least full width at half maximum of the Gaussian window that a run of this duration allows.

    The window ``w(t) = exp(-(σ t)² / 2)`` falls to ``LEAST_AT_END`` at the end: σ = sqrt(-2 ln LEAST_AT_END) / duration.
    """
    return FWHM_IN_DEVIATIONS * np.sqrt(-2.0 * np.log(LEAST_AT_END)) / duration


def nyquist_frequency(interval: float) -> float:
    """Return the largest frequency that frames at this interval can show, π / interval."""
    return np.pi / interval


def infrared_spectrum(times_t: np.ndarray, dipoles_tv: np.ndarray, resolution: float) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies and the infrared line shape of a dipole trajectory.

        I(ω) ∝ ∫ <dμ/dt(0)·dμ/dt(t)> exp(-iωt) w(t) dt,

    the classical line shape with the harmonic quantum correction, in arbitrary units.  Derivatives, rather than ω² times
    the correlation of μ, keep the large slow turning of the molecule from ringing under its vibrations; they are
    differences of neighbouring frames, whose loss of high frequencies is undone exactly.

    Parameters
    ----------
    times_t
        Equidistant times.
    dipoles_tv
        Dipole moments in the laboratory frame, shape (T, 3).
    resolution
        Full width at half maximum of the Gaussian window in frequency, not below :func:`finest_resolution`.
    """
    step = float(times_t[1] - times_t[0])
    slopes_tv = np.diff(dipoles_tv, axis=0) / step
    n_lags = len(slopes_tv)
    power = (np.abs(np.fft.rfft(slopes_tv, n=2 * n_lags, axis=0)) ** 2).sum(axis=1)
    correlation_t = np.fft.irfft(power, n=2 * n_lags)[:n_lags] / np.arange(n_lags, 0, -1)
    window_t = np.exp(-0.5 * (step * np.arange(n_lags) * resolution / FWHM_IN_DEVIATIONS) ** 2)
    # Where the window has fallen to 1e-6 nothing is left to transform.
    damped_t = (correlation_t * window_t)[: max(int(np.searchsorted(-window_t, -1e-6)), 16)]
    damped_t = np.append(damped_t, np.zeros((PADDING - 1) * len(damped_t)))
    even_t = np.concatenate([damped_t, damped_t[-2:0:-1]])
    frequencies = 2.0 * np.pi * np.fft.rfftfreq(len(even_t), d=step)
    lost = np.sinc(frequencies * step / (2.0 * np.pi)) ** 2
    return frequencies, np.maximum(np.fft.rfft(even_t).real / lost, 0.0)
