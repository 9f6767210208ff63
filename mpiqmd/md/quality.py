"""What a trajectory is good enough for, as far as its conserved energy and its temperature tell.

A drift D of the conserved energy per atom heats a harmonic molecule, with k_B T of energy in each of three coordinates, by
``D / 3 k_B`` per time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mpiqmd.findings import Finding
from mpiqmd.keys.registries import THERMOSTATS
from mpiqmd.md.nuclei import count_degrees_of_freedom
from mpiqmd.md.observables import SHORTEST, drift_is_seen
from mpiqmd.md.settings import DynamicsSettings
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.units import ATOMIC_TIME_IN_FS, KELVIN_IN_HARTREE

TOLERATED_HEATING = 0.01
"""Share of the temperature by which a drift may heat during the run."""
LARGE_FLUCTUATION = 0.1
"""Standard deviation of the conserved energy, in mean kinetic energies, from which on the timestep is too long."""
RUNAWAY = 2.5
"""Mean temperature, in units of the one asked for, that no molecule at equilibrium has."""
INDEPENDENT = 10
"""Times twice the thermostat's relaxation time that a mean temperature needs."""
STANDARD_ERRORS = 3.0
"""Deviation of a mean temperature that is more than chance."""


@dataclass(frozen=True)
class Conditions:
    """What a run was asked to be.

    Attributes
    ----------
    n_atoms, degrees_of_freedom
        Of the nuclei.
    timestep, relaxation_time
        Atomic units of time.
    temperature
        k_B T that was asked for, Ha.
    thermostat
        Its name, ``"none"`` for a run at constant energy; ``relaxation_time`` None if it has none.
    """

    n_atoms: int
    degrees_of_freedom: int
    timestep: float
    temperature: float
    thermostat: str
    relaxation_time: float | None

    @classmethod
    def of(cls, molecule: Molecule, settings: DynamicsSettings) -> Conditions:
        """Return the conditions of a molecule under these settings.  Not collective."""
        count = count_degrees_of_freedom(
            molecule.positions_av,
            molecule.masses_a,
            len(settings.pinned),
            settings.remove_translation,
            settings.remove_rotation,
            len(settings.constraints),
        )
        own = THERMOSTATS.arguments(settings.thermostat, settings.all_options)
        relaxation = own.get("relaxation_time")
        return cls(len(molecule), count, settings.timestep, settings.temperature, settings.thermostat, relaxation)

    @property
    def is_canonical(self) -> bool:
        """Whether the thermostat samples the canonical ensemble."""
        return self.thermostat in THERMOSTATS.with_flag("canonical")

    @property
    def purpose(self) -> str:
        """What such a run is for, in words."""
        kelvin = self.temperature / KELVIN_IN_HARTREE
        if self.thermostat == "none":
            return "dynamics at constant energy"
        return f"averages at {kelvin:.0f} K" if self.is_canonical else f"heating and relaxing at {kelvin:.0f} K"


class Quality(NamedTuple):
    """What drift or temperature tells: a finding, and the sentence that says what to change."""

    finding: Finding
    sentence: str


def judge(results: Sequence[Mapping[str, Any]], conditions: Conditions) -> list[Quality]:
    """Return what the drift and the temperature of runs, at least one, tell.  Not collective.

    Sentences that begin with ``warning:`` say what to change.  Of several runs the worst drift counts, and the mean temperature
    of all.  ``results`` are those of :func:`mpiqmd.md.run.run_dynamics`.
    """
    drifts = [_on_drift(result, conditions) for result in results]
    worst = min(drifts, key=lambda quality: _ORDER[quality.finding.good])
    kelvin = sum(result["temperature_mean"] for result in results) / len(results)
    elapsed = conditions.timestep * sum(result["steps"] for result in results)
    return [worst, *_on_temperature(kelvin, elapsed, conditions)]


_ORDER = {False: 0, None: 1, True: 2}


def _on_drift(result: Mapping[str, Any], conditions: Conditions) -> Quality:
    drift, fluctuation, kelvin = result["energy_drift"], result["energy_fluctuation"], result["temperature_mean"]
    if drift is None:
        sentence = "too few frames to tell whether the energy drifts: at least three are needed"
        return Quality(Finding(None, "too few frames to tell whether the energy drifts"), sentence)
    picoseconds = result["steps"] * conditions.timestep * ATOMIC_TIME_IN_FS * 1e-3
    kinetic = 0.5 * conditions.degrees_of_freedom * kelvin * KELVIN_IN_HARTREE
    if kinetic > 0.0 and fluctuation > LARGE_FLUCTUATION * kinetic:
        said = (
            f"the conserved energy fluctuates by {1e3 * fluctuation:.2g} mHa, {fluctuation / kinetic:.0%} of the kinetic energy"
        )
        advice = f"{LARGE_FLUCTUATION:.0%} is the most. Use a shorter md.timestep"
        return Quality(Finding(False, said), f"warning: {said}; {advice}")
    if picoseconds < SHORTEST:
        said = f"{1e3 * picoseconds:.3g} fs are too short to tell a drift"
        advice = f"from the oscillation of the integrator: {1e3 * SHORTEST:.0f} fs are the least"
        return Quality(Finding(None, said), f"{said} {advice}")
    if not drift_is_seen(drift * conditions.n_atoms, picoseconds, fluctuation):
        said = f"no drift is seen in {picoseconds:.3g} ps"
        sentence = (
            f"{said}: the conserved energy fluctuates by {1e6 * fluctuation:.2g} microHa, and its slope changes it by less; "
            "good enough at constant energy"
        )
        return Quality(Finding(True, said), sentence)
    heating = drift / 3.0 / KELVIN_IN_HARTREE
    allowed = TOLERATED_HEATING * kelvin
    said = f"the drift is worth {heating * picoseconds:+.2g} K in this run of {picoseconds:.3g} ps"
    if abs(heating) * picoseconds <= allowed:
        return Quality(Finding(True, said), f"{said}; up to {allowed:.2g} K (1 %) is good enough for averages and spectra")
    sentence = (
        f"warning: {said}; up to {allowed:.2g} K (1 %) is good enough. Use a shorter md.timestep, a smaller "
        "scf.energy_tolerance, or a thermostat"
    )
    return Quality(Finding(False, said), sentence)


def _on_temperature(kelvin: float, elapsed: float, conditions: Conditions) -> list[Quality]:
    """Look at the mean temperature of so long a time, atomic units."""
    asked = conditions.temperature / KELVIN_IN_HARTREE
    if not conditions.degrees_of_freedom or asked <= 0.0:
        return []
    if kelvin > RUNAWAY * asked:
        said = f"the mean temperature is {kelvin:.0f} K, {kelvin / asked:.1f} times md.temperature = {asked:.0f} K"
        advice = (
            "the molecule fell from a strained geometry (`mpiqmd relax` first), or the surface or the timestep is not to be "
            "trusted"
        )
        return [Quality(Finding(False, said), f"warning: {said}: {advice}")]
    if conditions.thermostat == "none" or conditions.relaxation_time is None:
        return []
    return [_on_thermostat(kelvin, asked, elapsed, conditions, conditions.relaxation_time)]


def _on_thermostat(kelvin: float, asked: float, elapsed: float, conditions: Conditions, relaxation_time: float) -> Quality:
    """Compare a mean temperature with the one asked for, by the fluctuations of the canonical ensemble."""
    samples = elapsed / (2.0 * relaxation_time)
    if samples < INDEPENDENT:
        steps = math.ceil(2.0 * INDEPENDENT * relaxation_time / conditions.timestep)
        said = f"{2.0 * samples:.2g} relaxation times of the thermostat, {2 * INDEPENDENT} are needed"
        sentence = f"too short for averages at {asked:.0f} K: {said}; run {steps} steps or more"
        return Quality(Finding(None, f"too short for averages: {said}"), sentence)
    error = asked * math.sqrt(2.0 / conditions.degrees_of_freedom / samples)
    if abs(kelvin - asked) > STANDARD_ERRORS * error:
        said = f"the mean temperature {kelvin:.1f} K is not the {asked:.1f} K of the thermostat (standard error {error:.1f} K)"
        advice = "it is not yet in equilibrium, or the timestep is too long. Run on, and leave the beginning out"
        return Quality(Finding(False, said), f"warning: {said}: {advice}")
    agrees = f"the mean temperature agrees with the {asked:.1f} K of the thermostat (standard error {error:.1f} K)"
    if conditions.is_canonical:
        return Quality(Finding(True, agrees), f"{agrees}: good enough for averages")
    canonical = sorted(THERMOSTATS.with_flag("canonical"))
    others = f"{', '.join(canonical[:-1])} or {canonical[-1]}"
    advice = f"{conditions.thermostat} is good enough to heat and relax, for averages use {others}"
    return Quality(Finding(True, agrees), f"{agrees}; {advice}")
