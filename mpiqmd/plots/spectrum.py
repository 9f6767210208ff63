"""The infrared spectrum of trajectories that carry dipole moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mpiqmd.datafiles import replacing
from mpiqmd.errors import DataFileError
from mpiqmd.md.spectrum import finest_resolution, infrared_spectrum, nyquist_frequency
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.molecule.evaluation import DIPOLE
from mpiqmd.plots.style import DARK, panels, style, titled
from mpiqmd.plots.titles import title_of
from mpiqmd.units import ATOMIC_TIME_IN_FS, HARTREE_IN_INVERSE_CM

RESOLUTION = 10.0
"""Full width at half maximum, cm⁻¹, where the run is long enough."""
LARGEST = 4500.0
"""End of the axis, cm⁻¹: above every vibration of a molecule."""
SHORT = 10_000.0
"""A run below this (fs) has seen too few periods of slow modes for their intensities."""
FEWEST = 64


@dataclass(frozen=True, eq=False)
class Spectrum:
    """An infrared spectrum and how it was made.

    Attributes
    ----------
    waves, intensities
        Wave numbers up to ``LARGEST`` (cm⁻¹) and intensities, the largest 1; of several runs the mean.
    resolution
        Full width at half maximum of the Gaussian window, cm⁻¹.
    duration
        Length of the (shortest) run, fs.
    interval
        Time between frames, fs.
    runs
        Number of trajectories.
    """

    waves: np.ndarray
    intensities: np.ndarray
    resolution: float
    duration: float
    interval: float
    runs: int

    @property
    def nyquist(self) -> float:
        """Largest wave number that frames at this interval can show, cm⁻¹."""
        return nyquist_frequency(self.interval / ATOMIC_TIME_IN_FS) * HARTREE_IN_INVERSE_CM

    def numbers(self) -> dict[str, float | str]:
        """Return what a result says of the spectrum."""
        return {
            "window": "gaussian",
            "resolution": self.resolution,
            "nyquist": self.nyquist,
            "duration": self.duration,
            "interval": self.interval,
            "runs": self.runs,
            "largest_at": float(self.waves[self.intensities.argmax()]),
        }

    def warnings(self) -> list[str]:
        """Return what a reader of the spectrum must know; nothing of a long run with close frames."""
        found = []
        if self.nyquist < LARGEST:
            needed = np.pi * HARTREE_IN_INVERSE_CM / LARGEST * ATOMIC_TIME_IN_FS
            found.append(
                f"warning: frames every {self.interval:.3g} fs show nothing above {self.nyquist:.0f} cm-1, and what vibrates "
                f"faster appears at a wrong place below; stretches of hydrogen lie at 3000 to 4000. Run with md.output_every "
                f"so small that frames are at most {needed:.2g} fs apart."
            )
        if self.resolution > RESOLUTION or self.duration < SHORT:
            found.append(
                f"warning: {self.duration / 1e3:.3g} ps resolve {self.resolution:.3g} cm-1 and see few periods of slow modes: "
                f"positions are rough and intensities not converged. 10 ps are the least for {RESOLUTION:.0f} cm-1, 50 ps or "
                "several replicas better; raise --steps."
            )
        return found


def spectrum_of(trajectories: Sequence[Trajectory]) -> Spectrum:
    """Return the mean spectrum of trajectories of one molecule, at one resolution.

    Raises
    ------
    DataFileError
        One of them has no dipole moments, too few frames, or frames at other intervals.
    """
    for trajectory in trajectories:
        _require_dipoles(trajectory)
    intervals = [np.diff(trajectory.times_fs_t) for trajectory in trajectories]
    interval = float(intervals[0][0])
    if any(np.abs(between - interval).max() > 1e-6 * interval for between in intervals):
        raise DataFileError(
            f"{trajectories[0].path}: the times between frames differ; a spectrum needs equal ones. Run `mpiqmd md` with one "
            "md.timestep and md.output_every."
        )
    frames = min(len(trajectory) for trajectory in trajectories)
    duration = (frames - 1) * interval
    finest = finest_resolution(duration / ATOMIC_TIME_IN_FS) * HARTREE_IN_INVERSE_CM
    resolution = max(RESOLUTION, float(finest))
    spectra = [
        infrared_spectrum(run.times_t[:frames], _dipoles(run)[:frames], resolution / HARTREE_IN_INVERSE_CM)
        for run in trajectories
    ]
    mean = np.mean([intensity for _, intensity in spectra], axis=0)
    waves = spectra[0][0] * HARTREE_IN_INVERSE_CM
    mean = mean[waves <= LARGEST] / max(float(mean[waves <= LARGEST].max()), 1e-300)
    return Spectrum(waves[waves <= LARGEST], mean, resolution, duration, interval, len(spectra))


def figure_spectrum(spectrum: Spectrum, trajectory: Trajectory) -> Figure:
    """Draw a spectrum up to 4500 cm⁻¹ with its window and resolution; what frames cannot show is hatched."""
    with style():
        figure, (axis,) = panels(1, 2.8)
        axis.plot(spectrum.waves, spectrum.intensities, color=DARK, linewidth=1.1)
        axis.fill_between(spectrum.waves, spectrum.intensities, color=DARK, alpha=0.15, linewidth=0)
        if spectrum.nyquist < LARGEST:
            axis.axvspan(spectrum.nyquist, LARGEST, facecolor="none", edgecolor="#c4c8ce", hatch="///", linewidth=0)
        axis.set_xlim(0, LARGEST)
        axis.set_ylim(0, 1.08)
        axis.set_xlabel("wave number (cm⁻¹)")
        axis.set_ylabel("infrared intensity (arb. u.)")
        of_runs = f"{spectrum.runs} runs of " if spectrum.runs > 1 else ""
        made = f"Gaussian window, resolution {spectrum.resolution:.3g} cm⁻¹ (FWHM), {of_runs}{spectrum.duration / 1e3:.3g} ps"
        beyond = f", hatched: above the Nyquist limit of {spectrum.nyquist:.0f} cm⁻¹" if spectrum.nyquist < LARGEST else ""
        return titled(figure, title_of(trajectory), made + beyond)


def _dipoles(trajectory: Trajectory) -> np.ndarray:
    return np.array([trajectory.observables[name] for name in DIPOLE]).T


def _require_dipoles(trajectory: Trajectory) -> None:
    """Raise DataFileError unless every one of enough frames has a dipole moment."""
    has = all(name in trajectory.observables for name in DIPOLE) and bool(np.isfinite(_dipoles(trajectory)).all())
    if has and len(trajectory) >= FEWEST:
        return
    raise DataFileError(
        f"{trajectory.path} has {len(trajectory)} frames and {'' if has else 'no '}dipole moments; a spectrum needs at least "
        f"{FEWEST} frames with one each. Hi-Fi of isolated molecules and grid-free reduced models have them: run `mpiqmd md` "
        "longer, or on such a surface."
    )


def write_spectrum(spectrum: Spectrum, path: Path) -> None:
    """Write wave numbers (cm⁻¹) and intensities as comma-separated values.  Raises DataFileError."""
    rows = [f"{wave:.4f},{intensity:.8e}" for wave, intensity in zip(spectrum.waves, spectrum.intensities, strict=True)]
    with replacing(path) as beside:
        beside.write_text("\n".join(["wave_number_per_cm,intensity", *rows, ""]), encoding="ascii")
