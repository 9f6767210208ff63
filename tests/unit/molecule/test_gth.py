"""GTH tables: published parameters, normalised projectors, Coulomb tail, refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.special import erf

from mpiqmd.errors import ConfigError
from mpiqmd.molecule.elements import SYMBOLS
from mpiqmd.molecule.gth import load_gth
from tests.helpers import ROOT

pytestmark = pytest.mark.serial

TABLES = json.loads((ROOT / "mpiqmd/molecule/data/gth.json").read_text(encoding="utf-8"))["tables"]


def test_oxygen_local_potential_is_the_published_formula():
    oxygen = load_gth("O", "LDA")
    r = oxygen.mesh_r[1:]
    x = r / 0.24762086
    expected = -6 * erf(x / np.sqrt(2)) / r + np.exp(-0.5 * x * x) * (-16.58031797 + 2.39570092 * x * x)
    assert oxygen.valence == 6.0
    assert oxygen.source == "GTH-PADE-q6"
    assert oxygen.local_r[1:] == pytest.approx(expected, abs=1e-12)


def test_local_potential_is_continuous_at_the_nucleus():
    hydrogen = load_gth("H", "LDA")
    # V(0) = -Z sqrt(2/pi)/r_loc + C1, and the function is even in r
    assert hydrogen.local_r[0] == pytest.approx(-np.sqrt(2 / np.pi) / 0.2 - 4.18023680, abs=1e-12)
    extrapolated = (15 * hydrogen.local_r[1] - 6 * hydrogen.local_r[2] + hydrogen.local_r[3]) / 10
    assert hydrogen.local_r[0] == pytest.approx(extrapolated, abs=1e-7)


def test_oxygen_has_one_s_projector_with_the_published_strength():
    (channel,) = load_gth("O", "LDA").channels
    assert channel.l == 0
    assert channel.coupling_pp == pytest.approx(np.array([[18.26691718]]))
    r = load_gth("O", "LDA").mesh_r
    expected = np.sqrt(2) * np.exp(-0.5 * (r / 0.22178614) ** 2) / (0.22178614**1.5 * np.sqrt(np.sqrt(np.pi) / 2))
    assert channel.projectors_pr[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("functional, least", [("LDA", 86), ("PBE", 86), ("BLYP", 36)])
def test_every_entry_is_sound(functional, least):
    elements = TABLES[functional]
    assert len(elements) >= least
    assert set(SYMBOLS[:36]) <= set(elements)
    for symbol in elements:
        pseudopotential = load_gth(symbol, functional)
        r = pseudopotential.mesh_r
        assert pseudopotential.local_r[-1] * r[-1] == pytest.approx(-pseudopotential.valence, abs=1e-12)
        for channel in pseudopotential.channels:
            norms = trapezoid(channel.projectors_pr**2 * r**2, r)
            assert norms == pytest.approx(1.0, abs=1e-9), (symbol, channel.l)
            assert np.abs(channel.projectors_pr[:, -1]).max() < 1e-12
            assert np.array_equal(channel.coupling_pp, channel.coupling_pp.T)


def test_short_range_part_vanishes_outside_the_smeared_core():
    oxygen = load_gth("O", "PBE")
    mesh_r, short_r = oxygen.short_range_local(0.9)
    assert np.array_equal(mesh_r, oxygen.mesh_r)
    outside = mesh_r > 6.0
    assert np.abs(short_r[outside]).max() < 1e-12
    assert np.isfinite(short_r).all()
    assert short_r[0] == pytest.approx(oxygen.local_r[0] + 2 * 6 / (np.sqrt(np.pi) * 0.9))
    assert short_r[0] == pytest.approx(short_r[1], abs=1e-2)


def test_short_range_part_is_continued_where_the_mesh_ends_too_soon():
    long = load_gth("H", "LDA")
    n_mesh = 401
    cut = replace(long, mesh_r=long.mesh_r[:n_mesh], local_r=long.local_r[:n_mesh], channels=())
    mesh_r, short_r = cut.short_range_local(1.2)
    assert mesh_r[-1] >= 7.2
    expected_r = long.short_range_local(1.2)[1]
    assert np.abs(expected_r[n_mesh]) > 1e-3
    assert short_r == pytest.approx(expected_r[: len(mesh_r)], abs=1e-13)


def test_several_valence_charges():
    assert load_gth("Zn", "LDA").valence == 12
    assert load_gth("Zn", "LDA", 2).valence == 2
    assert load_gth("Zn", "LDA", 2).sha256 != load_gth("Zn", "LDA").sha256


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("O", "SCAN"), "LDA, PBE, BLYP"),
        (("Lu", "BLYP"), "'Lu'"),
        (("O", "LDA", 8), "published are 6"),
    ],
)
def test_what_the_tables_lack_is_refused(arguments, words):
    with pytest.raises(ConfigError, match=words):
        load_gth(*arguments)
