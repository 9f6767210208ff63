"""NaN that arises inside either solver in the middle of a run ends it with the step and the last checkpoint."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mpiqmd.kohnsham.terms.xc import ExchangeCorrelation
from mpiqmd.md.session import Session
from mpiqmd.rom.learned.energy import LearnedEnergy
from tests.helpers.workplace import WATER, with_keys


@pytest.fixture
def poisoned(monkeypatch):
    """From MD step 3 on, exchange and correlation and the grid-free energy give NaN."""
    steps, ask = [], Session.ask
    potential, evaluate = ExchangeCorrelation.evaluate, LearnedEnergy.evaluate

    def ask_and_count(self, step):
        steps.append(step)
        return ask(self, step)

    def potential_or_nan(self, density):
        energy, field = potential(self, density)
        if steps[-1:] == [3]:
            field.local[:] = np.nan
        return energy, field

    def energy_or_nan(self, *arguments):
        evaluated = evaluate(self, *arguments)
        if steps[-1:] == [3]:
            evaluated.energies_b[:] = np.nan
        return evaluated

    monkeypatch.setattr(Session, "ask", ask_and_count)
    monkeypatch.setattr(ExchangeCorrelation, "evaluate", potential_or_nan)
    monkeypatch.setattr(LearnedEnergy, "evaluate", energy_or_nan)


@pytest.mark.parametrize("surface", ["hifi", "learned"])
def test_step_and_checkpoint_are_named(bench, trained, capfd, poisoned, surface):
    path = bench.write("nan.toml", with_keys(WATER, rom={"check_every": 0}))
    model = ("--model", trained.model) if surface == "learned" else ()
    capfd.readouterr()
    assert bench.status("md", path, *model, "--output", bench.folder / "out") == 1
    message = bench.comm.bcast(capfd.readouterr().err, root=0)
    assert re.search(r"MD step 3\b.*(NaN|nan|not a number)\b.* [Tt]he last checkpoint is of step [02] ", message)
