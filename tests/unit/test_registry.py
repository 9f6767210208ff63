"""Things that register themselves: names and keys are given once, options do not change, what must be written is asked for."""

from __future__ import annotations

import copy
import pickle
import tomllib
from pathlib import Path

import pytest

from mpiqmd.config import describe_keys, parse_input
from mpiqmd.config.sections import key_roles, section_keys
from mpiqmd.errors import ConfigError
from mpiqmd.keys.kinds import POSITIVE_ENERGY
from mpiqmd.keys.registries import CHOICES, SAMPLING_RULES, TERMS, THERMOSTATS
from mpiqmd.keys.registry import Choices, Entry
from mpiqmd.keys.spec import REQUIRED, KeySpec, Options
from mpiqmd.keys.values import Number

pytestmark = pytest.mark.serial

LEAST = """
[system]
symbols = ["He"]
positions = [[0.0, 0.0, 0.0]]
[grid]
cell = 12.0
points = 64
"""


@pytest.fixture(autouse=True)
def left_as_they_are(monkeypatch):
    for registry in (*CHOICES.values(), TERMS):
        monkeypatch.setattr(registry, "_entries", dict(registry.entries))


def parse(text):
    return parse_input(tomllib.loads(LEAST + text), Path())


def thing(name, **keys):
    return Entry(name=name, summary="does something", make=thing, keys=keys)


def test_what_comes_with_mpiqmd_is_first_and_in_its_order():
    THERMOSTATS.register(thing("mine"))
    assert list(THERMOSTATS.entries) == ["none", "berendsen", "langevin", "csvr", "nose-hoover", "mine"]
    assert list(SAMPLING_RULES.entries) == [
        "lattice",
        "structures",
        "trajectory",
        "normal-modes",
        "torsion",
        "inversion",
        "greedy",
    ]
    assert THERMOSTATS.with_flag("stochastic") == ["langevin", "csvr"]
    assert not THERMOSTATS.entry("mine").comes_with_mpiqmd and THERMOSTATS.entry("csvr").comes_with_mpiqmd


def test_a_key_is_shared_only_as_it_is():
    shared = THERMOSTATS.entry("csvr").keys["relaxation_time"]
    THERMOSTATS.register(thing("mine", relaxation_time=shared))
    assert THERMOSTATS.owners("relaxation_time")[-1] == "mine"
    for name, keys in (("csvr", {}), ("other", {"relaxation_time": KeySpec(Number(), 1.0, "something else")})):
        with pytest.raises(ConfigError, match="known already"):
            THERMOSTATS.register(thing(name, **keys))
    SAMPLING_RULES.register(thing("mine", seed=KeySpec(Number(), 1.0, "another seed")))
    with pytest.raises(ConfigError, match="'seed' of the sampling rule 'mine' has the name of a key"):
        section_keys("train")


def test_a_term_takes_no_section_that_there_is():
    TERMS.register(thing("grid", strength=KeySpec(Number(), 1.0, "of something")))
    with pytest.raises(ConfigError, match="energy term 'grid' has the name of the section"):
        parse("")


@pytest.mark.parametrize(("section", "chosen"), [("md", "thermostat = 'mine'"), ("mine", "")])
def test_a_key_without_a_default_must_be_written_where_it_is_chosen(section, chosen):
    def check(values):
        return ["too deep"] if values.depth > 1.0 else []

    keys = {"depth": KeySpec(POSITIVE_ENERGY, REQUIRED, "of the well")}
    registry = TERMS if section == "mine" else THERMOSTATS
    registry.register(Entry(name="mine", summary="is new", make=thing, keys=keys, check=check))
    parse("")
    with pytest.raises(ConfigError, match=rf"\[{section}\] depth is missing: of the well. Write an energy above 0"):
        parse(f"[{section}]\n{chosen}")
    with pytest.raises(ConfigError) as caught:
        parse("[md]\nthermostat = 'another'")
    assert "depth" not in str(caught.value)
    settings = parse(f"[{section}]\n{chosen}\ndepth = 0.5")
    options = settings.terms["mine"] if section == "mine" else settings.md.options
    assert options.depth == 0.5 and settings.as_dict()[section]["depth"] == 0.5
    with pytest.raises(ConfigError, match="too deep"):
        parse(f"[{section}]\n{chosen}\ndepth = 2.0")
    assert "of the well" in describe_keys()


def test_keys_may_say_what_they_decide():
    SAMPLING_RULES.register(thing("mine", patience=KeySpec(Number(), 1.0, "how long to wait", role="free")))
    roles = key_roles()
    assert roles["train.patience"] == "free" and roles["train.bond_length"] == "training"
    assert roles["train.sampling"] == "training" and roles["scf.solver"] == "solve"


def test_options_do_not_change_and_travel():
    options = THERMOSTATS.options("csvr", {"relaxation_time": 5.0, "unknown": 1})
    assert vars(options) == {"relaxation_time": 5.0, "chain_length": 3}
    for again in (pickle.loads(pickle.dumps(options)), copy.deepcopy(options), Options(**vars(options))):
        assert again == options
    with pytest.raises(AttributeError, match="do not change"):
        options.relaxation_time = 6.0
    with pytest.raises(AttributeError, match="do not change"):
        del options.relaxation_time


def test_an_unknown_name_is_refused_with_those_that_there_are():
    with pytest.raises(ConfigError, match="the thermostat 'nose' is unknown; allowed: none, berendsen"):
        THERMOSTATS.entry("nose")


def test_loading_that_fails_fails_again():
    broken = Choices("thing", "free", ("mpiqmd.no_such_module",), section="md", key="thing", default="one")
    for _ in range(2):
        with pytest.raises(ImportError):
            broken.entry("one")
