"""A thermostat defined in this file alone: the input, its checks, the help, the commands and the restart take it up."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

from mpiqmd.config import describe_keys, parse_input
from mpiqmd.config.sections import key_roles
from mpiqmd.datafiles import Shapes
from mpiqmd.errors import ConfigError
from mpiqmd.keys.kinds import POSITIVE_TIME
from mpiqmd.keys.registries import THERMOSTATS
from mpiqmd.keys.spec import KeySpec
from mpiqmd.md.noise import generator_state, restore_generator, thermostat_generator
from mpiqmd.md.observables import kinetic_energy
from mpiqmd.md.thermostats.thermostat import NoThermostat, thermostat
from mpiqmd.md.trajectory import Trajectory
from tests.helpers.workplace import WATER, with_keys


class Andersen(NoThermostat):
    """Collisions with a bath: an atom's velocity is drawn anew with the probability ``1 - exp(-dt / tau)`` [Andersen1980]."""

    def __init__(self, temperature, collision_time, seed):
        self.temperature, self.collision_time, self.heat = temperature, collision_time, 0.0
        self.generator = thermostat_generator(seed)

    def after(self, velocities_av, positions_av, nuclei, timestep):
        hit_a = self.generator.random(len(velocities_av)) < 1.0 - np.exp(-timestep / self.collision_time)
        drawn_av = self.generator.normal(size=velocities_av.shape) * np.sqrt(self.temperature / nuclei.masses_a)[:, None]
        changed_av = nuclei.at_rest(np.where(hit_a[:, None], drawn_av, velocities_av), positions_av)
        self.heat += float(kinetic_energy(changed_av, nuclei.masses_a) - kinetic_energy(velocities_av, nuclei.masses_a))
        return changed_av

    @property
    def conserved_offset(self):
        return -self.heat

    def state(self):
        return {"heat": np.array(self.heat), "generator": generator_state(self.generator)}

    def restore(self, state):
        self.heat = float(Shapes().numbers("heat", state["heat"], ""))
        restore_generator(self.generator, state["generator"])


def _problems(md):
    return ["[md] collision_time is below the time step. Use more."] if md.collision_time < md.timestep else []


KEYS = {"collision_time": KeySpec(POSITIVE_TIME, "10 fs", "mean time between two collisions of an atom")}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(THERMOSTATS, "_entries", dict(THERMOSTATS.entries))
    decorator = thermostat("andersen", "draws velocities anew", keys=KEYS, check=_problems, stochastic=True, title="Andersen")
    decorator(Andersen)


def with_andersen(**keys):
    return with_keys(WATER, md={"thermostat": "andersen"} | keys)


def parse(text):
    return parse_input(tomllib.loads(text), Path())


@pytest.mark.serial
def test_its_keys_are_read_explained_and_checked():
    assert parse(with_andersen(collision_time="20 fs")).md.options.collision_time == pytest.approx(826.8, abs=0.1)
    assert parse(with_andersen()).as_dict()["md"]["collision_time"] == pytest.approx(413.4, abs=0.1)
    shown = describe_keys()
    assert "nose-hoover | andersen" in shown and "andersen: draws velocities anew" in shown
    assert "andersen: mean time between two collisions" in shown
    for written, part in [(1.0, "below the time step"), (-1.0, "not above 0")]:
        with pytest.raises(ConfigError, match=part):
            parse(with_andersen(collision_time=written))
    with pytest.raises(ConfigError, match="collision_time is given but thermostat is .csvr.. Set thermostat = .andersen."):
        parse(with_keys(WATER, md={"thermostat": "csvr", "collision_time": 500.0}))


@pytest.mark.serial
def test_inputs_that_do_not_choose_it_say_nothing_of_it():
    assert "collision_time" not in parse(WATER).as_dict()["md"]
    assert key_roles()["md.collision_time"] == "dynamics"


@pytest.mark.serial
@pytest.mark.parametrize("name", ["csvr", "thermal"])
def test_names_are_given_once(name):
    keys = {"timestep" if name == "thermal" else "collision_time": KeySpec(POSITIVE_TIME, 1.0, "another")}
    with pytest.raises(ConfigError, match="Rename it"):
        thermostat(name, "is another", keys=keys)(Andersen)
        parse(WATER)


def test_the_command_runs_it_and_goes_on_from_where_it_stopped(bench, capfd):
    path = bench.write("andersen.toml", with_andersen(collision_time=60.0, seed=4))
    whole = bench.run("md", path, "--steps", 8, "--output", bench.folder / "whole")
    assert whole["steps"] == 8
    for steps in (4, 8):
        bench.run("md", path, "--steps", steps, "--output", bench.folder / "parts")
    runs = [bench.once(_frames, bench.folder / name / "trajectory.h5") for name in ("whole", "parts")]
    assert np.array_equal(runs[0][0], runs[1][0])
    kinetic, conserved = runs[0][1:]
    assert np.ptp(conserved) < 0.05 * np.ptp(kinetic)
    other = bench.write("andersen.toml", with_andersen(collision_time=70.0, seed=4))
    assert bench.status("md", other, "--steps", 8, "--output", bench.folder / "parts") == 1
    assert "md.collision_time was 60.0, is 70.0" in bench.comm.bcast(capfd.readouterr().err, root=0)


def _frames(path):
    trajectory = Trajectory.open(path)
    observables = trajectory.observables
    return trajectory.positions_tav, observables["kinetic_energy"], observables["conserved_energy"]


def test_replicas_from_one_start_differ_by_its_noise(bench):
    path = bench.write("andersen.toml", with_andersen(collision_time=30.0, initial_velocities="zero"))
    result = bench.run("md", path, "--steps", 3, "--replicas", 2, "--output", bench.folder / "many")
    assert result["failed"] == [] and len({each["temperature_mean"] for each in result["replicas"]}) == 2
