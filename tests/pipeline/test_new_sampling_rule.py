"""A sampling rule defined in this file alone: the input, its checks, the help and the training take it up."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mpiqmd.config import describe_keys, parse_input
from mpiqmd.errors import ConfigError
from mpiqmd.keys.composites import ListOf
from mpiqmd.keys.registries import SAMPLING_RULES
from mpiqmd.keys.spec import key
from mpiqmd.keys.values import Bounds, Number
from mpiqmd.pipeline.identity import recipe
from mpiqmd.sampling.rules.rule import SamplingRule, sampling_rule
from mpiqmd.sampling.samples import Samples
from tests.helpers.workplace import WATER, with_keys


@dataclass(frozen=True, kw_only=True)
class Breathing(SamplingRule):
    """The molecule blown up and shrunk about its first atom."""

    stretches: tuple[float, ...] = key(ListOf(Number(Bounds(above=0.0))), [0.97, 1.0, 1.03], "factors of all distances")

    def problems(self):
        return [] if len(set(self.stretches)) > 1 else ["[train] stretches are all the same. Write two at least."]

    def samples(self, sources, body):
        positions_av = body.reference.positions_av
        made_sav = [positions_av[0] + stretch * (positions_av - positions_av[0]) for stretch in self.stretches]
        return Samples(body.aligned(made_sav), [{"stretch": stretch} for stretch in self.stretches], self.name)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(SAMPLING_RULES, "_entries", dict(SAMPLING_RULES.entries))
    sampling_rule("breathing", "all distances stretched alike")(Breathing)


def breathing(**keys):
    text = WATER.replace('bond_length = 1.78\nbond_scales = [0.93, 1.07]\nangle_offsets = ["-7 deg", "7 deg"]\n', "")
    return with_keys(text, train={"sampling": "breathing"} | keys)


def parse(text):
    return parse_input(tomllib.loads(text), Path())


@pytest.mark.serial
def test_its_keys_are_read_explained_and_checked():
    assert parse(breathing(stretches=[0.9, 1.1])).train.options.stretches == (0.9, 1.1)
    assert recipe(parse(breathing()))["train.stretches"] == [0.97, 1.0, 1.03]
    assert "train.stretches" not in recipe(parse(WATER))
    shown = describe_keys()
    assert "greedy | breathing" in shown and "breathing: factors of all distances" in shown
    for keys, part in [({"stretches": [1.0]}, "all the same"), ({"structures": "a.xyz"}, 'sampling is "breathing"')]:
        with pytest.raises(ConfigError, match=part):
            parse(breathing(**keys))
    with pytest.raises(ConfigError, match='stretches is given but sampling is "lattice"'):
        parse(with_keys(WATER, train={"stretches": [0.9, 1.1]}))


def test_the_command_trains_on_its_geometries(bench):
    path = bench.write(
        "breathing.toml", with_keys(breathing(stretches=[0.96, 1.0, 1.04], validation=1), rom={"online": "grid"})
    )
    chosen = bench.run("train", path, "--samples-only", "--output", bench.folder / "out")
    assert chosen["labels"] == [{"stretch": 0.96}, {"stretch": 1.0}, {"stretch": 1.04}]
    positions_sav = np.array(chosen["positions"])
    bonds_s = np.linalg.norm(positions_sav[:, 1] - positions_sav[:, 0], axis=1)
    assert bonds_s / bonds_s[1] == pytest.approx([0.96, 1.0, 1.04], abs=1e-9)
    result = bench.run("train", path, "--output", bench.folder / "out")
    assert len(result["energies"]) == 3 and result["errors"]["training"]["energy"]["lowest"] > -1e-9
    assert [row["kind"] for row in result["unseen"]] == ["random"]
