"""Folders with more than one program at work: see :mod:`crowding`."""

from __future__ import annotations

import os

import pytest

from tests.reliability.crowding import play

pytestmark = pytest.mark.serial


@pytest.mark.parametrize("scene, count", [("pairs", 2), ("kills", 1), ("stops", 1), ("readers", 1)])
def test_a_few(tmp_path, monkeypatch, scene, count):
    alone(monkeypatch)
    play(scene, count, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("scene, count", [("pairs", 100), ("kills", 20), ("stops", 20), ("readers", 20)])
def test_many(tmp_path, monkeypatch, scene, count):
    alone(monkeypatch)
    counts = play(scene, count, tmp_path, seed=7)
    if scene == "kills":
        assert counts["killed"] >= 60


def alone(monkeypatch):
    """Take away what a launcher has put into the environment for this job."""
    for name in list(os.environ):
        if name.startswith(("OMPI_", "PMI", "PRTE")):
            monkeypatch.delenv(name)
