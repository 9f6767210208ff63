"""``mpiqmd plot FILE``: the figures that belong to a trajectory, a model or the result of a training."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from mpiqmd.datafiles import Shapes, opened, scalar
from mpiqmd.errors import DataFileError
from mpiqmd.md.replicas import open_runs
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.results import read_result
from mpiqmd.plots.ensembles import figure_distributions, figure_replicas
from mpiqmd.plots.singular_values import figure_singular_values
from mpiqmd.plots.spectrum import figure_spectrum, spectrum_of, write_spectrum
from mpiqmd.plots.style import save_figure
from mpiqmd.plots.titles import formula, shown
from mpiqmd.plots.trajectory import figure_extras, figure_internal_coordinates, figure_observables
from mpiqmd.rom.kinds import WINDOWS
from mpiqmd.rom.model_summary import find_singular_values
from mpiqmd.rom.windowed_model import window_folder
from mpiqmd.selfcontained import is_replicas

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log
    from mpiqmd.plots.style import Figure


PHYSICS = (("system", "symbols"), ("xc", "functional"))
"""Where an input names molecule and functional."""


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, object]:
    """Draw what ``arguments.file`` holds into ``arguments.folder``.  Collective.

    Returns
    -------
    ``file``, ``kind`` (``trajectory``, ``replicas``, ``model`` or ``training``) and ``figures``; with ``--spectrum`` also
    ``spectrum``: its window, resolution, Nyquist limit (cm⁻¹), duration and interval (fs), and the ``csv`` of its numbers.

    Raises
    ------
    DataFileError
        The file holds nothing that can be drawn.
    """
    draw = _plot_spectrum if getattr(arguments, "spectrum", False) else _plot
    result, lines = on_rank_zero(comm, draw, Path(arguments.file), Path(arguments.folder))
    for line in lines:
        log.afterwards(line)
    return {"file": str(arguments.file)} | result


def _plot(path: Path, folder: Path) -> tuple[dict[str, object], list[str]]:
    """Recognise the file, draw and save; return the result and what to print.  One rank."""
    kind, figures = _draw_result(path) if path.suffix == ".json" else _draw_hdf5(path)
    saved = [_saved(figure, folder, name) for name, figure in figures.items() if figure is not None]
    paths = [file for files in saved for file in files]
    return {"kind": kind, "figures": paths}, paths


def _plot_spectrum(path: Path, folder: Path) -> tuple[dict[str, object], list[str]]:
    """Draw the infrared spectrum of a trajectory, or the mean of replicas, and write its numbers.  One rank."""
    runs = open_runs(path)
    spectrum = spectrum_of(runs)
    paths = _saved(figure_spectrum(spectrum, runs[0]), folder, "spectrum")
    csv = folder / "spectrum.csv"
    write_spectrum(spectrum, csv)
    made = f"Gaussian window, resolution {spectrum.resolution:.3g} cm-1 (full width at half maximum)"
    kind = "replicas" if len(runs) > 1 else "trajectory"
    result: dict[str, object] = {"kind": kind, "figures": paths, "spectrum": spectrum.numbers() | {"csv": str(csv)}}
    return result, [*spectrum.warnings(), made, *paths, str(csv)]


def _saved(figure: Figure, folder: Path, name: str) -> list[str]:
    """Write a figure and return its paths."""
    return [str(path) for path in save_figure(figure, folder / f"figure-{name}")]


def _draw_result(path: Path) -> tuple[str, dict[str, Figure | None]]:
    """Draw the singular values in the result of a training."""
    result = read_result(path)
    if "windows" in result:
        raise _of_windows(path)
    if "singular_values" not in result:
        raise _nothing_to_draw(path, f"a result of `mpiqmd {result.get('command', '?')}`")
    fraction = result.get("input", {}).get("rom", {}).get("energy_fraction")
    symbols, kind = (result.get("input", {}).get(part, {}).get(name) for part, name in PHYSICS)
    title = _physics(symbols, kind)
    figure = figure_singular_values(np.array(result["singular_values"]), result.get("rank"), fraction, title)
    return "training", {"singular-values": figure}


def _of_windows(path: Path) -> DataFileError:
    """Return the error that each window has a figure of its own."""
    return DataFileError(
        f"{path} is of the models of several windows, each with singular values of its own. Draw a model of one of them: "
        f"{window_folder(path.parent, 0) / path.name}, say."
    )


def _draw_hdf5(path: Path) -> tuple[str, dict[str, Figure | None]]:
    """Draw a trajectory or the singular values of a model."""
    remedy = "A trajectory.h5, a replicas.h5, a model.h5, or the result.json of `mpiqmd train` can be drawn."
    with opened(path, "HDF5 file", remedy) as contents:
        is_trajectory, held = "h5md" in contents.file, ", ".join(contents.file) or "nothing"
        has_replicas = is_replicas(contents.file)
        if contents.file.attrs.get("kind") == WINDOWS:
            raise _of_windows(path)
        values = None if is_trajectory or has_replicas else find_singular_values(contents)
        if values is not None:
            physics = contents.mapping(contents.file.attrs, "signature") if "signature" in contents.file.attrs else {}
            title = _physics(physics.get("symbols"), physics.get("functional"))
            numbers = Shapes().numbers(values.name, values[:], "k")
            figure = figure_singular_values(numbers, _rank(contents.file, values), title=title)
    if is_trajectory:
        return "trajectory", _draw_trajectory(path)
    if has_replicas:
        return "replicas", _draw_replicas(path)
    if values is None:
        raise _nothing_to_draw(path, f"an HDF5 file with {held} in it")
    return "model", {"singular-values": figure}


def _physics(symbols: object, kind: object) -> str:
    """Return formula and functional as a title; what is missing is left out."""
    parts = []
    if isinstance(symbols, list) and all(isinstance(symbol, str) for symbol in symbols):
        parts.append(formula(tuple(symbols)))
    if isinstance(kind, str):
        parts.append(kind)
    return shown(", ".join(parts))


def _rank(file: h5py.File, values: h5py.Dataset) -> int | None:
    """Return the number of modes a model keeps, if it says so."""
    for place in (values, values.parent, file):
        if "rank" in place.attrs:
            return scalar(place.attrs["rank"], int)
    return None


def _draw_trajectory(path: Path) -> dict[str, Figure | None]:
    """Draw everything a trajectory holds."""
    trajectory = Trajectory.open(path)
    if not len(trajectory):
        raise _nothing_to_draw(path, "a trajectory without frames")
    return {
        "observables": figure_observables(trajectory),
        "geometry": figure_internal_coordinates(trajectory),
        "extras": figure_extras(trajectory),
    }


def _draw_replicas(path: Path) -> dict[str, Figure | None]:
    """Draw the replicas that a file links, together."""
    runs = open_runs(path)
    if not all(len(run) for run in runs):
        raise _nothing_to_draw(path, "a file of replicas of which some have no frames")
    return {"observables": figure_replicas(runs), "distributions": figure_distributions({"replicas": runs})}


def _nothing_to_draw(path: Path, found: str) -> DataFileError:
    """Return the error for a file without anything to draw."""
    return DataFileError(
        f"{path} is {found}; figures can be drawn of a trajectory.h5, a replicas.h5, a model.h5 with singular "
        "values, or the result.json of `mpiqmd train`. Give one of these."
    )
