"""Files that cannot grow any more, which is what a full disk or a quota is: the file is named, and what was there is whole."""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from mpi4py import MPI

from mpiqmd.errors import ConfigError, DataFileError
from mpiqmd.exchange.cube import write_cube
from mpiqmd.exchange.structure import Structure
from mpiqmd.exchange.structure_files import write_geometries, write_structures
from mpiqmd.grid.arrays import Field
from mpiqmd.grid.grid import Grid
from mpiqmd.md.checkpoint import save_checkpoint
from mpiqmd.md.replicas import write_index
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.pipeline.results import prepare_folder, read_result, write_result
from mpiqmd.plots.singular_values import figure_singular_values
from mpiqmd.plots.style import save_figure
from mpiqmd.rom.model import ReducedModel
from tests.helpers.md_surfaces import PairSurface, water
from tests.helpers.tiny_water import train
from tests.unit.md import test_run
from tests.unit.rom import test_snapshots

pytestmark = pytest.mark.serial


@contextmanager
def files_of_at_most(size):
    """No file of this process grows beyond so many bytes: the kernel refuses as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_model(serial_comm, tmp_path):
    model = train(serial_comm).reduced_model(12)
    path, grid = tmp_path / "model.h5", model.basis.modes.grid
    for size in (500, 20_000, 300_000):
        with files_of_at_most(size), pytest.raises(DataFileError, match=r"cannot write .*model\.h5.*free some space"):
            model.save(path)
        assert not list(tmp_path.iterdir()), "what is unfinished would keep the disk full"
    model.save(path)
    with files_of_at_most(300_000), pytest.raises(DataFileError):
        model.save(path)
    assert ReducedModel.load(path, serial_comm, grid).rank == 12


def test_a_store_of_snapshots(serial_comm, tmp_path):
    grid, path = Grid(serial_comm, 5.0, (10, 11, 12), order=4), tmp_path / "s.h5"
    with files_of_at_most(20_000), pytest.raises(DataFileError, match=r"cannot write .*s\.h5"):
        test_snapshots.filled(grid, path, done=())
    assert not list(tmp_path.iterdir())
    store = test_snapshots.filled(grid, path, done=(0,))
    more = np.arange(300.0).reshape(50, 2, 3)
    with files_of_at_most(path.stat().st_size + 5000), pytest.raises(DataFileError, match=r"cannot write .*s\.h5"):
        store.prepare(grid, more, [{}] * 50, 3)
    grid.destroy()


def test_a_run(serial_comm, tmp_path):
    """The trajectory outgrows the disk; with room again the run goes on from its checkpoint."""
    surface, many = PairSurface(water()), {"steps": 3000, "output_every": 1, "checkpoint_every": 100}
    with files_of_at_most(500_000), pytest.raises(DataFileError, match=r"MD step \d+: .*cannot be written to.*checkpoint is"):
        test_run.run(serial_comm, tmp_path, surface, **many)
    assert not list(tmp_path.glob("*.part"))
    with files_of_at_most((tmp_path / "checkpoint.h5").stat().st_size - 1), pytest.raises(OSError):
        save_checkpoint(tmp_path / "checkpoint.h5", {"step": 0}, {"a": {"b": np.zeros(10_000)}})
    assert not list(tmp_path.glob("*.part"))
    result = test_run.run(serial_comm, tmp_path, surface, **many)
    assert result["resumed_from"] > 0 and result["frames"] == 3001


def draw(path):
    figure = figure_singular_values(np.geomspace(1.0, 1e-9, 30), 12)
    save_figure(figure, path.with_suffix(""))


def structures(path):
    positions_sav = np.arange(3000.0).reshape(-1, 2, 3)
    write_structures(path, Structure(("H", "H"), positions_sav[0]), positions_sav, positions_sav[:, 0, 0], positions_sav)


def density(path):
    grid = Grid(MPI.COMM_SELF, 5.0, (10, 11, 12), order=4)
    write_cube(path, Molecule(("H",), np.zeros((1, 3))), np.ones(1), Field(grid, np.zeros(grid.local_shape)))


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (draw, "figure.png"),
        (structures, "evaluated.extxyz"),
        (
            lambda path: write_geometries(path, Structure(("H",), np.zeros((1, 3))), np.arange(3000.0).reshape(-1, 1, 3)),
            "geometries.extxyz",
        ),
        (density, "density.cube"),
        (lambda path: write_index(path.parent, range(50)), "replicas.h5"),
        (lambda path: write_result(path, {"energies": list(range(3000))}), "result.json"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_written_last(tmp_path, write, name):
    """The old file stays, and nothing stays beside it that would keep the disk full."""
    path = tmp_path / name
    path.write_text("old")
    with files_of_at_most(2000), pytest.raises(DataFileError, match=rf"cannot write .*{name}.*free some space"):
        write(path)
    assert path.read_text() == "old" and os.listdir(tmp_path) == [name]
    write(path)
    assert path.stat().st_size > 2000 and not list(tmp_path.glob("*.part"))


def test_a_folder_is_tried_before_anything_is_computed_or_removed(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "result.json").write_text("old")
    with files_of_at_most(0), pytest.raises(ConfigError, match=r"--output .*out: .*can be created and written to"):
        prepare_folder(folder, True, ())
    assert os.listdir(folder) == ["result.json"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_without_permission():
    with TemporaryDirectory() as name:
        os.chmod(name, 0o555)
        os.seteuid(65534)
        try:
            with pytest.raises(ConfigError, match="Permission denied"):
                prepare_folder(Path(name), False, ())
        finally:
            os.seteuid(0)


def test_a_result(tmp_path):
    write_result(tmp_path / "result.json", {"energy": 1.0})
    with files_of_at_most(5), pytest.raises(DataFileError, match=r"cannot write .*result\.json"):
        write_result(tmp_path / "result.json", {"energy": 2.0})
    assert read_result(tmp_path / "result.json") == {"energy": 1.0}
