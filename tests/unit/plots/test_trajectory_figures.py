"""Figures of one trajectory and of replicas: every axis has a unit, every figure a title, no legend lies over data."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from mpiqmd.errors import DataFileError
from mpiqmd.md.coordinates import coordinates_of
from mpiqmd.md.quantities import observable
from mpiqmd.plots.compare import figure_differences, figure_energy, figure_geometry
from mpiqmd.plots.coordinates import continuous, panels_of
from mpiqmd.plots.egg_box import figure_egg_box
from mpiqmd.plots.ensembles import figure_distributions, figure_replicas, pooled
from mpiqmd.plots.singular_values import figure_singular_values
from mpiqmd.plots.spectrum import figure_spectrum, spectrum_of, write_spectrum
from mpiqmd.plots.titles import shown, title_of
from mpiqmd.plots.trajectory import figure_extras, figure_internal_coordinates, figure_observables
from mpiqmd.units import ATOMIC_TIME_IN_FS, DEBYE_IN_ATOMIC_UNITS, HARTREE_IN_INVERSE_CM
from tests.unit.plots.made_runs import FRAMES, peroxide, title, water_like

pytestmark = pytest.mark.serial

HAS_UNIT = re.compile(r"\([^)]+\)")
PLAIN = {"residual", "hifi", "on grid", "training distance", "singular value σ", "1 − fraction kept", "number of modes r"}


EGG_BOX = {
    "fractions": np.linspace(-1, 1, 13),
    **{name: {"energies": np.linspace(0, 1e-3, 13), "net_forces": np.full(13, 1e-3)} for name in ("x", "diagonal")},
    "rotation": {"energies": np.zeros(7), "net_forces": np.zeros(7), "angles": np.arange(7.0)},
}
FIGURES = {
    "observables": lambda: figure_observables(peroxide()),
    "coordinates": lambda: figure_internal_coordinates(peroxide()),
    "extras": lambda: figure_extras(peroxide()),
    "geometry": lambda: figure_geometry(peroxide(), peroxide(shift=0.1)),
    "energy": lambda: figure_energy(peroxide(), peroxide(shift=0.1)),
    "differences": lambda: figure_differences(peroxide(), peroxide(shift=0.1)),
    "spectrum": lambda: figure_spectrum(spectrum_of([peroxide()]), peroxide()),
    "replicas": lambda: figure_replicas([peroxide(), peroxide(shift=0.1)]),
    "distributions": lambda: figure_distributions({"a": [peroxide()], "b": [peroxide(shift=0.1)]}),
    "egg-box": lambda: figure_egg_box(EGG_BOX, "H₂O₂, PBE"),
    "singular values": lambda: figure_singular_values(np.array([3.0, 1.0, 0.1]), 2, 0.9, "H₂O₂, PBE"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_names_its_molecule_and_functional(name):
    assert title(FIGURES[name]()).startswith(("H₂O₂, PBE", "2 replicas of H₂O₂, PBE"))


@pytest.mark.parametrize("name", FIGURES)
def test_every_axis_has_a_name_and_its_unit(name):
    figure = FIGURES[name]()
    figure.canvas.draw()
    for axis in (axis for axis in figure.axes if axis.get_visible()):
        label = axis.get_ylabel()
        assert label in PLAIN or HAS_UNIT.search(label) or label.startswith("total energy (mHa)"), label
    assert any(axis.get_xlabel() in PLAIN or HAS_UNIT.search(axis.get_xlabel()) for axis in figure.axes)


@pytest.mark.parametrize("name", FIGURES)
def test_no_legend_lies_over_data(name):
    figure = FIGURES[name]()
    figure.canvas.draw()
    for axis in figure.axes:
        if axis.get_legend() is not None:
            legend = axis.get_legend().get_window_extent()
            assert not any(legend.overlaps(other.get_window_extent()) for other in figure.axes if other.get_visible())


def test_a_title_says_surface_thermostat_and_timestep():
    assert title_of(peroxide()) == "H₂O₂, PBE, ROM (learned model 01234567), CSVR 300 K, steps of 0.484 fs"
    run = peroxide()
    hifi = {"solver": "hifi", "thermostat": "none", "physics.cell": "[12.0, 12.0, 9.0]", "physics.points": "[30, 40, 30]"}
    run = replace(run, attributes={"timestep": 20.0, **hifi})
    assert title_of(run) == "H₂O₂, Hi-Fi (0.4 bohr), NVE, steps of 0.484 fs"


@pytest.mark.parametrize(
    "text", ["no JSON", "[]", '{"xc": 3}', '{"xc": {"functional": "$\\\\frac{"}}', '{"md": {"temperature": "hot"}}']
)
def test_titles_of_strange_files_are_harmless(text):
    run = replace(
        peroxide(), attributes={"timestep": 20.0, "input": text, "thermostat": "\x1b]0;x\x07", "physics.cell": "[0, 0]"}
    )
    assert title_of(run).isprintable()
    figure_observables(run).canvas.draw()


def test_long_titles_are_cut():
    assert len(shown("x" * 1000)) < 120


def test_each_kind_of_coordinate_has_a_panel():
    titles = [part.title for part in panels_of(peroxide())]
    assert titles == ["O1-O2\n(bohr)", "O-H\n(bohr)", "H-O-O\nangle (degrees)", "H3-O1-O2-H4\ntorsion (degrees)"]
    figure = figure_internal_coordinates(peroxide())
    assert [len(axis.lines) for axis in figure.axes] == [1, 2, 2, 1]
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["O1-H3", "O2-H4"]


def test_bonds_of_one_kind_and_other_length_are_not_squeezed_together():
    """Two C-O bonds of 2.3 and 2.6 bohr that move by 0.01, as in an acid, have an axis each."""
    run = water_like("hifi", symbols=("C", "O", "O"))
    wave_t = 0.01 * np.sin(np.arange(FRAMES))
    positions_tav = np.zeros((FRAMES, 3, 3))
    positions_tav[:, 1, 0], positions_tav[:, 2, 1] = 2.3 + wave_t, 2.6 + wave_t
    titles = [part.title for part in panels_of(replace(run, positions_tav=positions_tav))]
    assert titles[:2] == ["C1-O2\n(bohr)", "C1-O3\n(bohr)"]


def test_a_torsion_is_followed_across_its_jump():
    run = peroxide()
    (torsion,) = [coordinate for coordinate in coordinates_of(run) if coordinate.kind == "dihedral"]
    assert np.abs(np.diff(torsion.values_t)).max() > 300
    followed_t = continuous(torsion)
    assert np.ptp(followed_t) == pytest.approx(80.0, abs=0.1) and np.abs(np.diff(followed_t)).max() < 3
    part = panels_of(run)[-1]
    assert np.ptp(pooled([run, peroxide(shift=0.1)], part, run)) < 90


def test_extras_have_units_and_no_useless_panels():
    figure = figure_extras(peroxide())
    labels = [axis.get_ylabel() for axis in figure.axes]
    assert labels[:2] == ["iterations\n(count)", "scf error\n(μHa)"] and "error estimate\n(μHa)" in labels
    assert not any(label.startswith(("error age", "training distance", "hifi")) for label in labels)
    assert title(figure).endswith("0 in all frames: training distance, hifi")
    dipole = figure.axes[labels.index("dipole\n(debye)")]
    magnitude_t = dict((line.get_label(), line.get_ydata()) for line in dipole.lines)["magnitude"]
    assert magnitude_t[0] == pytest.approx(np.hypot(0.02, 0.5) / DEBYE_IN_ATOMIC_UNITS)
    only = {name: peroxide().observables[name] for name in ("temperature", "training_distance", "error_age")}
    assert figure_extras(replace(peroxide(), observables=only)) is None


def test_marks_show_where_an_estimate_was_made():
    figure = figure_extras(peroxide())
    (axis,) = [axis for axis in figure.axes if axis.get_ylabel().startswith("error estimate")]
    assert len(axis.lines[1].get_xdata()) == 400 / 25


def test_an_unknown_observable_is_drawn_without_a_unit():
    assert observable("colour").label == "colour" and observable("net_force").label == "net force (mHa/bohr)"


@pytest.mark.parametrize(
    ("slope", "times", "words"),
    [(1e-6, 400.0, "drift +1e+03 μHa/atom/ps"), (0.0, 400.0, "no drift seen"), (1e-6, 10.0, "no drift seen")],
)
def test_a_slope_within_the_oscillation_is_not_called_a_drift(slope, times, words):
    """The same judgement as at the end of `md`: 1 mHa/atom/ps for long enough, an oscillation of 1 microHa, and too short."""
    trajectory = peroxide()
    times_t = np.linspace(0.0, times, len(trajectory)) / ATOMIC_TIME_IN_FS
    fs_t, n_atoms = times_t * ATOMIC_TIME_IN_FS, len(trajectory.symbols)
    observables = trajectory.observables | {"conserved_energy": 1e-6 * np.cos(fs_t) + slope * n_atoms * fs_t}
    figure = figure_observables(replace(trajectory, times_t=times_t, observables=observables))
    assert figure.axes[1].get_legend().get_texts()[0].get_text().startswith(words)


def test_single_trajectory_figures():
    trajectory = water_like("hifi")
    figure = figure_observables(trajectory)
    assert "drift" in figure.axes[1].get_legend().get_texts()[0].get_text()
    assert len(figure_internal_coordinates(trajectory).axes[0].lines) == 2
    plain = {name: values_t for name, values_t in trajectory.observables.items() if name != "iterations"}
    assert figure_extras(replace(trajectory, observables=plain)) is None
    atom = replace(trajectory, symbols=("O",), positions_tav=trajectory.positions_tav[:, :1])
    assert figure_internal_coordinates(atom) is None and figure_distributions({"a": [atom]}) is None


def test_a_short_spectrum_says_so():
    """193 fs resolve 197 cm-1: the Gaussian whose width is 2.355 sqrt(2 ln 100) over the duration."""
    spectrum = spectrum_of([peroxide()])
    duration = 20.0 * 399
    expected = 2.354820 * np.sqrt(2 * np.log(100.0)) / duration * HARTREE_IN_INVERSE_CM
    assert spectrum.resolution == pytest.approx(expected, rel=1e-5) and spectrum.duration == pytest.approx(
        duration * ATOMIC_TIME_IN_FS
    )
    (warning,) = spectrum.warnings()
    assert "resolve 197 cm-1" in warning
    assert spectrum.numbers()["window"] == "gaussian" and spectrum.numbers()["resolution"] == spectrum.resolution
    assert "resolution 197 cm⁻¹ (FWHM), 0.193 ps" in title(figure_spectrum(spectrum, peroxide()))
    assert spectrum.waves[spectrum.intensities.argmax()] == pytest.approx(0.0166 * HARTREE_IN_INVERSE_CM, abs=0.1 * expected)


def test_a_long_spectrum_with_close_frames_needs_no_warning():
    spectrum = spectrum_of([peroxide(frames=25_000)])
    assert spectrum.resolution == 10.0 and spectrum.warnings() == []


def test_frames_too_far_apart_for_stretches_are_told_of():
    """Frames every 6 fs: 1 / (2 c 6.047 fs) = 2758 cm-1."""
    run = peroxide(step=250.0, frames=3000)
    spectrum = spectrum_of([run])
    assert spectrum.nyquist == pytest.approx(1e15 / (2 * 2.99792458e10 * 250.0 * ATOMIC_TIME_IN_FS), rel=1e-6)
    (warning,) = spectrum.warnings()
    assert "nothing above 2758 cm-1" in warning and "at most 3.7 fs" in warning
    assert "hatched: above the Nyquist limit of 2758" in title(figure_spectrum(spectrum, run))


def test_spectra_of_replicas_are_averaged(tmp_path):
    run = peroxide()
    still = replace(run, observables=run.observables | {"dipole_x": 0.02 * np.cos(0.008 * run.times_t)})
    both, alone = spectrum_of([run, still]), spectrum_of([run])
    assert both.runs == 2 and both.resolution == alone.resolution
    lines = [float(both.intensities[np.abs(both.waves - w * HARTREE_IN_INVERSE_CM).argmin()]) for w in (0.008, 0.0166)]
    assert lines[0] / lines[1] == pytest.approx((0.008 / 0.0166) ** 2, rel=0.1)
    write_spectrum(both, tmp_path / "spectrum.csv")
    table = np.loadtxt(tmp_path / "spectrum.csv", delimiter=",", skiprows=1)
    assert table == pytest.approx(np.array([both.waves, both.intensities]).T, abs=1e-4)


@pytest.mark.parametrize("damage", ["few", "none", "holes", "uneven"])
def test_a_spectrum_without_its_data_is_refused(damage):
    run = peroxide(frames=40 if damage == "few" else 400)
    if damage == "none":
        run = replace(run, observables={"temperature": run.observables["temperature"]})
    if damage == "holes":
        run.observables["dipole_x"][7] = np.nan
    if damage == "uneven":
        run.times_t[9:] += 1.0
    with pytest.raises(DataFileError, match="differ" if damage == "uneven" else "a spectrum needs at least 64 frames"):
        spectrum_of([run])
