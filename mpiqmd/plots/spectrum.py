"""The infrared spectrum of a trajectory that carries dipole moments."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from mpiqmd.errors import DataFileError
from mpiqmd.md.observables import infrared_spectrum
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.plots.style import DARK, panels, style
from mpiqmd.units import HARTREE_IN_INVERSE_CM

RESOLUTION = 10.0
"""Full width at half maximum, cm⁻¹."""
LARGEST = 4500.0
"""End of the axis, cm⁻¹."""


def spectrum_of(trajectory: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Return wave numbers (cm⁻¹) and normalised infrared intensities of a trajectory.

    Raises DataFileError if it has no dipole moments or too few frames.
    """
    names = [f"dipole_{axis}" for axis in "xyz"]
    if any(name not in trajectory.observables for name in names) or len(trajectory) < 64:
        raise DataFileError(
            f"the trajectory has {len(trajectory)} frames and {'no ' if names[0] not in trajectory.observables else ''}dipole "
            "moments; a spectrum needs at least 64 frames of a compiled reduced model (rom.online = 'compiled'). Run "
            "`mpiqmd md --model` with such a model."
        )
    dipoles_tv = np.array([trajectory.observables[name] for name in names]).T
    frequencies, intensity = infrared_spectrum(
        trajectory.times_t, dipoles_tv, RESOLUTION / HARTREE_IN_INVERSE_CM
    )
    return frequencies * HARTREE_IN_INVERSE_CM, intensity


def figure_spectrum(trajectory: Trajectory) -> Figure:
    """Draw the infrared spectrum up to 4500 cm⁻¹."""
    waves, intensity = spectrum_of(trajectory)
    with style():
        figure, (axis,) = panels(1, 2.6)
        shown = waves <= LARGEST
        axis.plot(waves[shown], intensity[shown], color=DARK, linewidth=1.1)
        axis.fill_between(waves[shown], intensity[shown], color=DARK, alpha=0.15, linewidth=0)
        axis.set_xlim(0, LARGEST)
        axis.set_ylim(0, 1.08)
        axis.set_xlabel("wave number (cm⁻¹)")
        axis.set_ylabel("infrared intensity (arb. u.)")
    return figure
