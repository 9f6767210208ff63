"""What a trajectory is good enough for, as far as its conserved energy and its temperature tell.

A drift D of the conserved energy per atom heats a harmonic molecule, with k_B T of energy in each of three coordinates, by
``D / 3 k_B`` per time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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


def judge(result: Mapping[str, Any], conditions: Conditions) -> list[str]:
    """Return sentences on drift and temperature; those that begin with ``warning:`` say what to change.  Not collective.

    ``result`` is that of :func:`mpiqmd.md.run.run_dynamics`.
    """
    return [_on_drift(result, conditions), *_on_temperature(result, conditions)]


def _on_drift(result: Mapping[str, Any], conditions: Conditions) -> str:
    drift, fluctuation, kelvin = result["energy_drift"], result["energy_fluctuation"], result["temperature_mean"]
    if drift is None:
        return "too few frames to tell whether the energy drifts: at least three are needed"
    picoseconds = result["steps"] * conditions.timestep * ATOMIC_TIME_IN_FS * 1e-3
    kinetic = 0.5 * conditions.degrees_of_freedom * kelvin * KELVIN_IN_HARTREE
    if kinetic > 0.0 and fluctuation > LARGE_FLUCTUATION * kinetic:
        return (
            f"warning: the conserved energy fluctuates by {1e3 * fluctuation:.2g} mHa, {fluctuation / kinetic:.0%} of the mean "
            f"kinetic energy; {LARGE_FLUCTUATION:.0%} is the most. Use a shorter md.timestep"
        )
    if picoseconds < SHORTEST:
        return (
            f"{1e3 * picoseconds:.3g} fs are too short to tell a drift from the oscillation of the integrator: "
            f"{1e3 * SHORTEST:.0f} fs are the least"
        )
    if not drift_is_seen(drift * conditions.n_atoms, picoseconds, fluctuation):
        return (
            f"no drift is seen in {picoseconds:.3g} ps: the conserved energy fluctuates by {1e6 * fluctuation:.2g} microHa, "
            "and its slope changes it by less; good enough at constant energy"
        )
    heating = drift / 3.0 / KELVIN_IN_HARTREE
    allowed = TOLERATED_HEATING * kelvin
    said = f"the drift is worth {heating * picoseconds:+.2g} K in this run of {picoseconds:.3g} ps"
    if abs(heating) * picoseconds <= allowed:
        return f"{said}; up to {allowed:.2g} K (1 %) is good enough for averages and spectra"
    return (
        f"warning: {said}; up to {allowed:.2g} K (1 %) is good enough. Use a shorter md.timestep, a smaller "
        "scf.energy_tolerance, or a thermostat"
    )


def _on_temperature(result: Mapping[str, Any], conditions: Conditions) -> list[str]:
    kelvin, asked = result["temperature_mean"], conditions.temperature / KELVIN_IN_HARTREE
    if not conditions.degrees_of_freedom or asked <= 0.0:
        return []
    if kelvin > RUNAWAY * asked:
        return [
            f"warning: the mean temperature is {kelvin:.0f} K, {kelvin / asked:.1f} times md.temperature = {asked:.0f} K: the "
            "molecule fell from a strained geometry (`mpiqmd relax` first), or the surface or the timestep is not to be trusted"
        ]
    if conditions.thermostat == "none" or conditions.relaxation_time is None:
        return []
    return [_on_thermostat(kelvin, asked, result["steps"] * conditions.timestep, conditions, conditions.relaxation_time)]


def _on_thermostat(kelvin: float, asked: float, elapsed: float, conditions: Conditions, relaxation_time: float) -> str:
    """Compare a mean temperature with the one asked for, by the fluctuations of the canonical ensemble."""
    samples = elapsed / (2.0 * relaxation_time)
    if samples < INDEPENDENT:
        steps = math.ceil(2.0 * INDEPENDENT * relaxation_time / conditions.timestep)
        return (
            f"too short for averages at {asked:.0f} K: {2.0 * samples:.2g} relaxation times of the thermostat, "
            f"{2 * INDEPENDENT} are needed; run {steps} steps or more"
        )
    error = asked * math.sqrt(2.0 / conditions.degrees_of_freedom / samples)
    if abs(kelvin - asked) > STANDARD_ERRORS * error:
        return (
            f"warning: the mean temperature {kelvin:.1f} K is not the {asked:.1f} K of the thermostat (standard error "
            f"{error:.1f} K): it is not yet in equilibrium, or the timestep is too long. Run on, and leave the beginning out"
        )
    agrees = f"the mean temperature agrees with the {asked:.1f} K of the thermostat (standard error {error:.1f} K)"
    canonical = sorted(THERMOSTATS.with_flag("canonical"))
    if conditions.thermostat not in canonical:
        others = f"{', '.join(canonical[:-1])} or {canonical[-1]}"
        return f"{agrees}; {conditions.thermostat} is good enough to heat and relax, for averages use {others}"
    return f"{agrees}: good enough for averages"
