"""``mpiqmd plot FILE``: the figures that belong to a trajectory, a model or the result of a training."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from mpiqmd.datafiles import Shapes, opened, scalar
from mpiqmd.errors import DataFileError
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.model_summary import find_singular_values
from mpiqmd.pipeline.results import read_result
from mpiqmd.plots.singular_values import figure_singular_values
from mpiqmd.plots.spectrum import figure_spectrum
from mpiqmd.plots.style import save_figure
from mpiqmd.plots.trajectory import figure_extras, figure_internal_coordinates, figure_observables

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log
    from mpiqmd.plots.style import Figure


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, object]:
    """Draw what ``arguments.file`` holds into ``arguments.folder``.  Collective.

    Returns
    -------
    ``file``, ``kind`` (``trajectory``, ``model`` or ``training``) and ``figures``.

    Raises
    ------
    DataFileError
        The file holds nothing that can be drawn.
    """
    only_spectrum = bool(getattr(arguments, "spectrum", False))
    kind, paths = on_rank_zero(comm, _plot, Path(arguments.file), Path(arguments.folder), only_spectrum)
    for path in paths:
        log.afterwards(path)
    return {"file": str(arguments.file), "kind": kind, "figures": paths}


def _plot(path: Path, folder: Path, only_spectrum: bool = False) -> tuple[str, list[str]]:
    """Recognise the file, draw and save; one rank."""
    if only_spectrum:
        kind, figures = "trajectory", {"spectrum": figure_spectrum(Trajectory.open(path))}
    else:
        kind, figures = _draw_result(path) if path.suffix == ".json" else _draw_hdf5(path)
    saved = [
        save_figure(figure, folder / f"figure-{name}")
        for name, figure in figures.items()
        if figure is not None
    ]
    return kind, [str(file) for files in saved for file in files]


def _draw_result(path: Path) -> tuple[str, dict[str, Figure | None]]:
    """Draw the singular values in the result of a training."""
    result = read_result(path)
    if "singular_values" not in result:
        raise _nothing_to_draw(path, f"a result of `mpiqmd {result.get('command', '?')}`")
    fraction = result.get("input", {}).get("rom", {}).get("energy_fraction")
    figure = figure_singular_values(np.array(result["singular_values"]), result.get("rank"), fraction)
    return "training", {"singular-values": figure}


def _draw_hdf5(path: Path) -> tuple[str, dict[str, Figure | None]]:
    """Draw a trajectory or the singular values of a model."""
    remedy = "A trajectory.h5, a model.h5, or the result.json of `mpiqmd train` can be drawn."
    with opened(path, "HDF5 file", remedy) as contents:
        is_trajectory, held = "h5md" in contents.file, ", ".join(contents.file) or "nothing"
        values = None if is_trajectory else find_singular_values(contents)
        if values is not None:
            figure = figure_singular_values(Shapes().numbers(values.name, values[:], "k"), _rank(contents.file, values))
    if is_trajectory:
        return "trajectory", _draw_trajectory(path)
    if values is None:
        raise _nothing_to_draw(path, f"an HDF5 file with {held} in it")
    return "model", {"singular-values": figure}


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


def _nothing_to_draw(path: Path, found: str) -> DataFileError:
    """Return the error for a file without anything to draw."""
    return DataFileError(
        f"{path} is {found}; figures can be drawn of a trajectory.h5, a model.h5 with singular values, or "
        "the result.json of `mpiqmd train`. Give one of these."
    )
