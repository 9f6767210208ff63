"""What the end of a run says of its drift and its temperature, at known numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mpiqmd.md.observables import linear_drift
from mpiqmd.md.quality import Conditions, judge
from mpiqmd.md.settings import DynamicsSettings
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.units import ATOMIC_TIME_IN_FS, KELVIN_IN_HARTREE

pytestmark = pytest.mark.serial
FEMTOSECOND = 1 / ATOMIC_TIME_IN_FS
NVE = Conditions(3, 3, 0.5 * FEMTOSECOND, 300 * KELVIN_IN_HARTREE, "none", 800.0)
CSVR = replace(NVE, thermostat="csvr")


def outcome(steps=20_000, slope=0.0, noise=0.0, kelvin=300.0, rng=None):
    """Return the result of a run whose energy has a slope (Ha/atom/ps) and noise (Ha)."""
    times_t = np.linspace(0.0, steps * NVE.timestep, 500)
    energies_t = 3 * slope * times_t * ATOMIC_TIME_IN_FS * 1e-3
    if noise:
        energies_t = energies_t + noise * np.sqrt(2.0) * np.sin(2 * np.pi * np.arange(500) * 0.1234)
    drift = linear_drift(times_t, energies_t, 3)
    return {"steps": steps, "energy_drift": drift, "energy_fluctuation": energies_t.std(), "temperature_mean": kelvin}


def sentences(result, conditions):
    return [quality.sentence for quality in judge([result], conditions)]


def test_a_drift_is_told_as_heat():
    """1e-5 Ha/atom/ps is 1.05 K/ps of a harmonic molecule, 10.5 K in 10 ps."""
    (said,) = sentences(outcome(slope=1e-5), NVE)
    assert said.startswith("warning:") and "+11 K in this run of 10 ps" in said and "md.timestep" in said
    (said,) = sentences(outcome(slope=-1e-6), NVE)
    assert "-1.1 K" in said and "good enough for averages and spectra" in said


def test_noise_is_no_drift():
    (said,) = sentences(outcome(slope=1e-9, noise=2e-6), NVE)
    assert said.startswith("no drift is seen in 10 ps") and "microHa" in said


def test_a_short_run_has_no_drift_to_tell():
    assert sentences(outcome(steps=20, slope=1e-6), NVE)[0].startswith("10 fs are too short")


def test_a_fluctuation_as_large_as_the_kinetic_energy_is_the_timestep():
    (said,) = sentences(outcome(noise=3e-4), NVE)
    assert said.startswith("warning:") and "shorter md.timestep" in said


def test_too_few_frames_say_nothing():
    result = {"steps": 1, "energy_drift": None, "energy_fluctuation": 0.0, "temperature_mean": 300.0}
    assert "too few frames" in sentences(result, NVE)[0]


def test_a_runaway_is_told_of_at_any_thermostat():
    """What a model far outside its training region does: 300 K to 2,000 K."""
    for conditions in (NVE, CSVR):
        *_, said = sentences(outcome(kelvin=2000.0), conditions)
        assert said.startswith("warning: the mean temperature is 2000 K, 6.7 times")


def test_a_thermostat_needs_twenty_relaxation_times():
    *_, said = sentences(outcome(steps=100), CSVR)
    needed = int(np.ceil(20 * 800.0 / NVE.timestep))
    assert "too short for averages" in said and f"run {needed} steps" in said
    *_, said = sentences(outcome(steps=needed), CSVR)
    assert "too short" not in said


@pytest.mark.parametrize(("kelvin", "agrees"), [(300.0, True), (326.0, True), (410.0, False), (190.0, False)])
def test_a_mean_temperature_is_judged_by_its_standard_error(kelvin, agrees):
    """258 independent values of three degrees of freedom: 300 K sqrt(2 / 3 / 258) = 15.2 K."""
    *_, said = sentences(outcome(kelvin=kelvin), CSVR)
    assert "standard error 15." in said and ("agrees" in said) == agrees and said.startswith("warning") != agrees


def test_berendsen_is_not_for_averages():
    *_, said = sentences(outcome(), replace(NVE, thermostat="berendsen"))
    assert "csvr" in said


def test_conditions_count_degrees_of_freedom():
    water = Molecule(("O", "H", "H"), np.array([[0.0, 0.0, 0.0], [1.1, 1.4, 0.0], [1.1, -1.4, 0.0]]))
    settings = DynamicsSettings(steps=1, timestep=20.0, temperature=1e-3, remove_rotation=True)
    assert Conditions.of(water, settings).degrees_of_freedom == 3
    pinned = DynamicsSettings(steps=1, timestep=20.0, temperature=1e-3, pinned=(0,))
    assert Conditions.of(water, pinned).degrees_of_freedom == 6
    assert sentences(outcome(kelvin=0.0), replace(NVE, degrees_of_freedom=0, temperature=0.0))


def test_of_several_runs_the_worst_drift_and_the_mean_temperature_count():
    """Ten runs of a tenth of what one needs; one drifts."""
    needed = int(20 * CSVR.relaxation_time / CSVR.timestep) + 1
    good, bad = outcome(slope=1e-9, noise=2e-6), outcome(slope=1e-5)
    one, *_ = judge([good, bad, good], NVE)
    assert one.finding.good is False and one.sentence == sentences(bad, NVE)[0]
    assert judge([good, outcome(steps=20)], NVE)[0].finding.good is None
    short = [outcome(steps=needed // 10 + 1, kelvin=290.0 + 2.0 * k) for k in range(10)]
    assert judge(short[:1], CSVR)[1].finding.good is None
    *_, together = judge(short, CSVR)
    assert together.finding.good is True and "agrees" in together.sentence


def test_what_a_run_is_for():
    assert NVE.purpose == "dynamics at constant energy" and CSVR.purpose == "averages at 300 K"
    assert replace(NVE, thermostat="berendsen").purpose == "heating and relaxing at 300 K"
