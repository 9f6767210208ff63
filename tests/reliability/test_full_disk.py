"""Files that cannot grow any more, which is what a full disk or a quota is: the file is named, and what was there is whole."""

from __future__ import annotations

import resource
from contextlib import contextmanager

import numpy as np
import pytest
import test_dynamics
import test_snapshots
from md_surfaces import PairProvider, water
from tiny_water import train

from mpiqmd.errors import DataFileError
from mpiqmd.grid.grid import Grid
from mpiqmd.md.checkpoint import save_checkpoint
from mpiqmd.pipeline.results import read_result, write_result
from mpiqmd.rom.model import ReducedModel

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
    provider, many = PairProvider(water()), {"steps": 3000, "output_every": 1, "checkpoint_every": 100}
    with files_of_at_most(500_000), pytest.raises(DataFileError, match=r"MD step \d+: .*cannot be written to.*checkpoint is"):
        test_dynamics.run(serial_comm, tmp_path, provider, **many)
    assert not list(tmp_path.glob("*.part"))
    with files_of_at_most((tmp_path / "checkpoint.h5").stat().st_size - 1), pytest.raises(OSError):
        save_checkpoint(tmp_path / "checkpoint.h5", {"step": 0}, {"a": {"b": np.zeros(10_000)}})
    assert not list(tmp_path.glob("*.part"))
    result = test_dynamics.run(serial_comm, tmp_path, provider, **many)
    assert result["resumed_from"] > 0 and result["frames"] == 3001


def test_a_result(tmp_path):
    write_result(tmp_path / "result.json", {"energy": 1.0})
    with files_of_at_most(5), pytest.raises(DataFileError, match=r"cannot write .*result\.json"):
        write_result(tmp_path / "result.json", {"energy": 2.0})
    assert read_result(tmp_path / "result.json") == {"energy": 1.0}
