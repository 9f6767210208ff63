"""Figures hold the numbers they should, in the right units, and end up in files."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex

from mpiqmd.md.trajectory import Trajectory
from mpiqmd.plots.compare import figure_differences, figure_energy, figure_geometry
from mpiqmd.plots.singular_values import figure_singular_values, lost_fractions
from mpiqmd.plots.style import BRIGHT, DARK, save_figure, solver_labels
from mpiqmd.units import ATOMIC_TIME_IN_FS
from tests.unit.plots.made_runs import FRAMES, water_like

pytestmark = pytest.mark.serial


def test_geometry_figure_shows_both_surfaces():
    hifi, rom = water_like("hifi"), water_like("rom", 1e-3)
    figure = figure_geometry(hifi, rom)
    assert [axis.get_ylabel() for axis in figure.axes] == ["O1-H2\n(bohr)", "O1-H3\n(bohr)", "H2-O1-H3\nangle (degrees)"]
    first, second = figure.axes[2].lines
    assert (first.get_label(), second.get_label()) == ("Hi-Fi", "ROM")
    assert (to_hex(first.get_color()), to_hex(second.get_color())) == (DARK, BRIGHT)
    assert first.get_linestyle() == "-" and second.get_linestyle() == "--"
    assert np.allclose(first.get_xdata(), hifi.times_t * ATOMIC_TIME_IN_FS)
    assert first.get_ydata()[0] == pytest.approx(104.0) and second.get_ydata()[0] == pytest.approx(104.001)
    assert figure.axes[-1].get_xlabel() == "time (fs)"


def test_energy_figure_keeps_the_offset_between_surfaces():
    figure = figure_energy(water_like("hifi"), water_like("rom", 2e-3))
    kinetic, total, temperature = figure.axes
    assert total.get_ylabel() == "total energy (mHa)\nfrom −17.000000 Ha"
    assert total.lines[0].get_ydata()[0] == 0.0 and total.lines[1].get_ydata()[0] == pytest.approx(2.0)
    assert kinetic.lines[0].get_ydata()[0] == pytest.approx(3.0)
    assert temperature.lines[1].get_ydata()[5] == pytest.approx(300.0)


def test_difference_figure_is_logarithmic_and_survives_no_difference():
    figure = figure_differences(water_like("hifi"), water_like("rom", 1e-3))
    assert [axis.get_yscale() for axis in figure.axes] == ["log"] * 3
    assert figure.axes[0].lines[0].get_ydata() == pytest.approx(np.full(FRAMES, 1e-3))
    same = figure_differences(water_like("hifi"), water_like("hifi"))
    assert [axis.get_yscale() for axis in same.axes] == ["linear"] * 3


def test_curves_of_one_solver_are_told_apart():
    assert solver_labels(["rom", "hifi"], ["a", "b"]) == ["ROM", "Hi-Fi"]
    assert solver_labels(["rom", "rom"], ["a", "b"]) == ["ROM (a)", "ROM (b)"]


def test_many_coordinates_get_two_columns():
    """Six atoms in a row: a panel for each of five bonds and four angles, none empty."""
    trajectory = water_like("hifi")
    positions_tav = np.zeros((FRAMES, 6, 3)) + 2.6 * np.arange(6)[:, None] * [1, 0, 0]
    chain = Trajectory(**{**trajectory.__dict__, "symbols": ("C",) * 6, "positions_tav": positions_tav})
    figure = figure_geometry(chain, chain)
    assert [axis.get_visible() for axis in figure.axes] == [True] * 9 + [False]
    assert figure.axes[0].get_ylabel() == "C1-C2\n(bohr)"


def test_lost_fractions_are_exact_to_the_last_mode():
    values_k = np.array([4.0, 2.0, 1.0, 1e-20])
    assert lost_fractions(values_k, "sigma") == pytest.approx([3 / 7, 1 / 7, 1e-20 / 7, 0.0], rel=1e-14)
    assert lost_fractions(values_k, "sigma2") == pytest.approx([5 / 21, 1 / 21, 1e-40 / 21, 0.0], rel=1e-14)
    figure = figure_singular_values(values_k, rank=2, energy_fraction=0.9)
    assert figure.axes[0].texts[0].get_text() == "r = 2" and len(figure.axes[1].lines) == 4


def test_files_are_written(tmp_path):
    figure = figure_energy(water_like("hifi"), water_like("rom"))
    png, pdf = save_figure(figure, tmp_path / "figure-energy")
    assert png.read_bytes().startswith(b"\x89PNG") and pdf.read_bytes().startswith(b"%PDF")
    assert min(png.stat().st_size, pdf.stat().st_size) > 10_000
    again = save_figure(figure_energy(water_like("hifi"), water_like("rom")), tmp_path / "again")
    assert again[1].read_bytes() == pdf.read_bytes()


def test_a_figure_is_the_same_whatever_style_the_user_has(tmp_path):
    def figure():
        return figure_energy(water_like("hifi"), water_like("rom"))

    expected = save_figure(figure(), tmp_path / "plain")[1].read_bytes()
    with matplotlib.rc_context({"text.usetex": True, "font.size": 40.0, "savefig.bbox": "tight", "lines.linestyle": ":"}):
        assert save_figure(figure(), tmp_path / "other")[1].read_bytes() == expected
        assert matplotlib.rcParams["text.usetex"]
