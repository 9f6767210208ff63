"""NaN that arises inside either solver in the middle of a run ends it with the step and the last checkpoint."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mpiqmd.kohnsham.terms.xc import ExchangeCorrelation
from mpiqmd.md.session import Session
from mpiqmd.rom.compiled.inner import InnerLoop
from tests.helpers.workplace import WATER, with_keys


@pytest.fixture
def poisoned(monkeypatch):
    """From MD step 3 on, exchange and correlation and the compiled energy give NaN."""
    steps, ask = [], Session.ask
    potential, compiled = ExchangeCorrelation.evaluate, InnerLoop.evaluate

    def ask_and_count(self, step):
        steps.append(step)
        return ask(self, step)

    def potential_or_nan(self, density):
        energy, field = potential(self, density)
        if steps[-1:] == [3]:
            field.local[:] = np.nan
        return energy, field

    def compiled_or_nan(self, *arguments):
        energies_b, *others = compiled(self, *arguments)
        if steps[-1:] == [3]:
            energies_b[:] = np.nan
        return energies_b, *others

    monkeypatch.setattr(Session, "ask", ask_and_count)
    monkeypatch.setattr(ExchangeCorrelation, "evaluate", potential_or_nan)
    monkeypatch.setattr(InnerLoop, "evaluate", compiled_or_nan)


@pytest.mark.parametrize("surface", ["hifi", "compiled"])
def test_step_and_checkpoint_are_named(bench, trained, capfd, poisoned, surface):
    path = bench.write("nan.toml", with_keys(WATER, rom={"check_every": 0}))
    model = ("--model", trained.model) if surface == "compiled" else ()
    capfd.readouterr()
    assert bench.status("md", path, *model, "--output", bench.folder / "out") == 1
    message = bench.comm.bcast(capfd.readouterr().err, root=0)
    assert re.search(r"MD step 3\b.*(NaN|nan|not a number)\b.* [Tt]he last checkpoint is of step [02] ", message)
