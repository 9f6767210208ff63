"""Which keys decide which numbers: every key has a role, and a run is continued only with those that it was begun with."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from mpiqmd.config import parse_input
from mpiqmd.config.sections import key_roles
from mpiqmd.config.settings import SECTIONS
from mpiqmd.keys.registries import THERMOSTATS
from mpiqmd.keys.roles import ROLES
from mpiqmd.md.settings import MAY_CHANGE, DynamicsSettings
from mpiqmd.pipeline.build import build_model, build_molecule
from mpiqmd.pipeline.identity import (
    deciding,
    recipe,
    snapshot_signature,
    surface_identity,
    without,
)
from mpiqmd.same_run import changes
from tests.helpers.workplace import WATER, with_keys

OTHER = {
    "scf": {
        "solver": "slepc",
        "empty_orbitals": 1,
        "preconditioner_shift": 0.7,
        "anderson_history": 2,
        "energy_tolerance": 1e-7,
        "extrapolation": "aspc",
        "extrapolation_steps": 3,
        "net_force": "keep",
        "frame": "body",
        "electronic_temperature": 0.01,
    },
    "grid": {"poisson": "multigrid", "points": 18, "order": 4, "cell": 7.5, "boundary": "periodic", "density": "finer"},
    "xc": {"functional": "PBE"},
    "system": {"charge": 2, "masses": ["16 Da", "2 Da", "1 Da"]},
    "md": {"pinned": [0]},
}
"""Another value for every key that decides Hi-Fi energies and forces."""
OF_MODELS = {
    "minimiser": "mvp",
    "forces": "hellmann-feynman",
    "online": "grid",
    "tolerance": 1e-8,
    "check_every": 7,
    "error_tolerance": 1e-3,
    "force_tolerance": 1e-3,
    "on_large_error": "stop",
    "learn_batch": 3,
}


def settings(**sections):
    return parse_input(tomllib.loads(with_keys(WATER, **sections)), Path())


def keys_of(*roles):
    """Return the names of the keys with one of these roles."""
    return {key for key, role in key_roles().items() if role in roles}


def identity(comm, given, model_hash=None):
    model = build_model(given, comm, build_molecule(given, comm))
    return surface_identity(given, model, model_hash)


@pytest.mark.serial
def test_every_key_has_a_role():
    missing = [key for key, role in key_roles().items() if role not in ROLES]
    assert not missing, "give a new key its role where it is declared"
    given = settings().as_dict()
    assert set(key_roles()) == {f"{section}.{key}" for section in SECTIONS for key in given[section]}


@pytest.mark.serial
def test_dynamics_compare_all_settings_but_those_that_may_change():
    fields = {f"md.{item.name}" for item in dataclasses.fields(DynamicsSettings)} - {"md.options"}
    fields |= {f"md.{name}" for name in THERMOSTATS.all_keys()}
    compared = set(DynamicsSettings().identity())
    assert fields - compared == {f"md.{name}" for name in MAY_CHANGE}
    assert compared - {"md.pinned"} == keys_of("dynamics")
    assert {key for key in keys_of("free") if key.startswith("md.")} <= fields - compared
    same = DynamicsSettings(timestep=40, initial_velocities="zero", constraints=((0, 1),), pinned=(1,)).identity()
    assert same == DynamicsSettings(timestep=40.0, initial_velocities="zero", constraints=((0, 1),), pinned=(1,)).identity()


@pytest.mark.serial
@pytest.mark.parametrize("key", [f"{section}.{name}" for section, keys in OTHER.items() for name in keys])
def test_each_key_that_decides_forces_shows_in_the_identity(serial_comm, key):
    section, name = key.split(".")
    before, now = identity(serial_comm, settings()), identity(serial_comm, settings(**{section: {name: OTHER[section][name]}}))
    differing = changes(before, now)
    assert differing and any(name.split("_")[0] in phrase for phrase in differing), differing


@pytest.mark.serial
def test_all_such_keys_are_tried():
    roles = ("solve", "surface", "laboratory", "physics")
    tried = {f"{section}.{name}" for section, keys in OTHER.items() for name in keys}
    by_other_tests = {"system.symbols", "system.positions", "system.structure", "grid.spacing", "pseudopotentials.table"}
    assert keys_of(*roles) == tried | by_other_tests
    assert set(OF_MODELS) == {key.split(".")[1] for key in keys_of("model", "compile", "watch")}


@pytest.mark.serial
@pytest.mark.parametrize("name", OF_MODELS)
def test_each_key_of_a_reduced_surface_shows_too(serial_comm, name):
    before, now = (identity(serial_comm, settings(rom=keys), "hash") for keys in ({}, {name: OF_MODELS[name]}))
    assert [phrase.split()[0] for phrase in changes(before, now)] == [f"rom.{name}"]
    left = changes(without(before, "watch"), without(now, "watch"))
    assert bool(left) == (key_roles()[f"rom.{name}"] != "watch")
    assert not changes(identity(serial_comm, settings()), identity(serial_comm, settings(rom={name: OF_MODELS[name]})))


@pytest.mark.serial
def test_keys_that_decide_nothing_change_nothing(serial_comm):
    free = {"scf": {"max_iterations": 99}, "md": {"steps": 9, "checkpoint_every": 3, "checkpoint_minutes": 3.0}}
    checks = {"relax": {"max_steps": 3}, "train": {"validation": 1, "seed": 9}, "pseudopotentials": {"allow_mismatch": True}}
    assert identity(serial_comm, settings()) == identity(serial_comm, settings(**free, **checks))
    assert recipe(settings()) == recipe(settings(**free, **checks, rom={"forces": "hellmann-feynman"}))


@pytest.mark.serial
@pytest.mark.parametrize(
    "section, keys",
    [("train", {"energy_tolerance": 1e-8}), ("scf", {"solver": "slepc"}), ("scf", {"preconditioner_shift": 0.5})],
)
def test_snapshots_know_how_they_were_solved(serial_comm, section, keys):
    one, other = settings(), settings(**{section: keys})
    model = build_model(one, serial_comm, build_molecule(one, serial_comm))
    assert snapshot_signature(one, model) != snapshot_signature(other, model)
    assert snapshot_signature(one, model) == snapshot_signature(settings(scf={"net_force": "keep"}), model)
    assert deciding(one, ["free"])["md.steps"] == 6


@pytest.mark.serial
def test_long_values_are_shown_where_they_differ():
    before, now = {"a": "x" * 200 + "1" + "y" * 200, "b": "1", "c": "same"}, {"a": "x" * 200 + "2" + "y" * 200, "c": "same"}
    first, second = changes(before, now)
    assert first == f"a was ...{'x' * 15}1{'y' * 44}..., is ...{'x' * 15}2{'y' * 44}..."
    assert second == "b was 1, is absent" and changes(before, before) == []


NET_FORCE = {"scf": {"net_force": "keep"}}
HEAVY = {"system": {"masses": ["15.999 Da", "2.014 Da", "2.014 Da"]}}


@pytest.mark.parametrize(
    "command, change, message",
    [
        ("relax", NET_FORCE, "scf.net_force was remove, is keep"),
        ("frequencies", HEAVY, "masses was .*, is "),
        ("md", NET_FORCE, "scf.net_force was remove, is keep"),
        ("md", {"grid": {"poisson": "multigrid"}}, "grid.poisson was auto, is multigrid"),
        ("md", {"scf": {"extrapolation_steps": 4}}, "scf.extrapolation_steps was None, is 4"),
        ("md", {"md": {"pinned": [0]}}, "md.pinned was .*, is "),
    ],
)
def test_commands_do_not_go_on_under_other_settings(bench, capfd, command, change, message):
    """The words, and status 1; with the old input they go on."""
    quick = {"relax": {"force_tolerance": 0.05}, "frequencies": {"max_force": 0.1}}
    before = bench.write("before.toml", with_keys(WATER, **quick))
    now = bench.write("now.toml", with_keys(WATER, **quick | change))
    folder = bench.folder / "run"
    first = bench.run(command, before, "--output", folder)
    assert bench.status(command, now, "--output", folder) == 1
    printed = capfd.readouterr().err
    if bench.comm.rank == 0:
        assert re.search(message, printed), printed
    again = bench.run(command, before, "--output", folder)
    assert again.get("energy") == first.get("energy") and again.get("frequencies") == first.get("frequencies")
