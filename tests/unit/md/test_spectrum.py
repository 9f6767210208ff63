"""The infrared spectrum: lines where the dipole moment oscillates, as wide and as high as the window says."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.md.spectrum import LEAST_AT_END, finest_resolution, infrared_spectrum, nyquist_frequency

pytestmark = pytest.mark.serial
FREQUENCIES, AMPLITUDES = (0.0073, 0.0166), (0.05, 0.02)
RESOLUTION = 2e-4


def vibrating(times_t, turning=0.0):
    """Two vibrations along x and y, and a dipole moment of 0.7 that turns slowly."""
    dipoles_tv = np.zeros((len(times_t), 3))
    for axis, (frequency, amplitude) in enumerate(zip(FREQUENCIES, AMPLITUDES, strict=True)):
        dipoles_tv[:, axis] = amplitude * np.cos(frequency * times_t + axis)
    dipoles_tv[:, 2] = turning * np.cos(2e-4 * times_t)
    return dipoles_tv


def spectrum(n_frames, step, resolution=RESOLUTION, turning=0.0):
    times_t = step * np.arange(n_frames)
    return infrared_spectrum(times_t, vibrating(times_t, turning), resolution)


def near(frequencies, values, centre, width=5 * RESOLUTION):
    chosen = np.abs(frequencies - centre) < width
    return frequencies[chosen], values[chosen]


@pytest.mark.parametrize("step", [20.0, 120.0], ids=["fine", "near the Nyquist limit"])
def test_lines_have_place_width_and_height_of_the_theory(step):
    """Height ω² A² in ratio, whatever the time between frames; full width at half maximum as asked for."""
    frequencies, intensity = spectrum(int(8e5 / step), step)
    heights = []
    for centre in FREQUENCIES:
        at, line = near(frequencies, intensity, centre)
        assert at[line.argmax()] == pytest.approx(centre, abs=0.1 * RESOLUTION)
        above = at[line > 0.5 * line.max()]
        assert np.ptp(above) == pytest.approx(RESOLUTION, rel=0.15)
        heights.append(line.max())
    expected = (FREQUENCIES[0] * AMPLITUDES[0] / (FREQUENCIES[1] * AMPLITUDES[1])) ** 2
    assert heights[0] / heights[1] == pytest.approx(expected, rel=0.05)


def test_a_short_run_does_not_ring():
    """At the finest resolution of 250 fs what is not a line stays below 2 % of the highest, a large slow dipole beside it."""
    step, n_frames = 20.0, 517
    resolution = finest_resolution(step * (n_frames - 1))
    frequencies, intensity = spectrum(n_frames, step, resolution, turning=0.7)
    away = frequencies > 2.0 * resolution
    for centre in FREQUENCIES:
        away &= np.abs(frequencies - centre) > 2.0 * resolution
    assert intensity[away].max() < 0.02 * intensity.max()


def test_window_has_fallen_at_the_end_of_the_run():
    resolution, duration = finest_resolution(5000.0), 5000.0
    deviation = resolution / (2.0 * np.sqrt(2.0 * np.log(2.0)))
    assert np.exp(-0.5 * (deviation * duration) ** 2) == pytest.approx(LEAST_AT_END)


def test_nyquist_frequency_is_a_sign_change_per_frame():
    interval = 77.0
    frames = np.cos(nyquist_frequency(interval) * interval * np.arange(6))
    assert frames == pytest.approx([1, -1, 1, -1, 1, -1])
