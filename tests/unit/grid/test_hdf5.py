"""Blocks in HDF5: what any number of ranks writes, any number reads."""

import h5py
import numpy as np
import pytest

from mpiqmd.errors import DataFileError
from mpiqmd.grid import hdf5
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid


@pytest.fixture(params=["parallel", "through rank 0"])
def grid(request, comm, monkeypatch):
    if request.param == "through rank 0":
        monkeypatch.setattr(hdf5, "is_parallel", lambda comm: False)
    grid = Grid(comm, 5.0, (11, 12, 13), order=4)
    yield grid
    grid.destroy()


def numbered(grid, n=3):
    """Functions whose value names their point: index, z, y, x."""
    z, y, x = np.meshgrid(*[np.arange(s.start, s.stop) for s in grid.local_slices], indexing="ij")
    return Orbitals(grid, np.stack([i * 1e6 + z * 1e4 + y * 1e2 + x for i in range(n)]).astype(float))


def difference(grid, one, two):
    return Orbitals(grid, one.local - two.local).norms().max()


def test_round_trip(grid, shared_tmp_path):
    with hdf5.open_shared(shared_tmp_path / "a.h5", "w", grid.comm) as file:
        hdf5.write_orbitals(file, "block", numbered(grid))
    assert difference(grid, hdf5.read_orbitals(grid, shared_tmp_path / "a.h5", "block"), numbered(grid)) == 0.0


def test_the_file_holds_the_whole_functions_in_global_order(grid, shared_tmp_path):
    with hdf5.open_shared(shared_tmp_path / "a.h5", "w", grid.comm) as file:
        hdf5.write_orbitals(file, "block", numbered(grid))
    grid.comm.Barrier()
    with h5py.File(shared_tmp_path / "a.h5", "r") as file:
        whole = file["block"][...]
    z, y, x = np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij")
    assert whole.shape == (3, *grid.shape)
    assert (whole[2] == 2e6 + z * 1e4 + y * 1e2 + x).all()


def test_what_one_rank_wrote_all_ranks_read(grid, serial_comm, shared_tmp_path):
    if grid.comm.rank == 0:
        alone = Grid(serial_comm, 5.0, (11, 12, 13), order=4)
        with hdf5.open_shared(shared_tmp_path / "a.h5", "w", serial_comm) as file:
            hdf5.write_orbitals(file, "block", numbered(alone))
        alone.destroy()
    grid.comm.Barrier()
    assert difference(grid, hdf5.read_orbitals(grid, shared_tmp_path / "a.h5", "block"), numbered(grid)) == 0.0


def test_a_block_can_be_overwritten_but_not_resized(grid, shared_tmp_path):
    path = shared_tmp_path / "a.h5"
    with hdf5.open_shared(path, "w", grid.comm) as file:
        hdf5.write_orbitals(file, "block", numbered(grid))
    with hdf5.open_shared(path, "r+", grid.comm) as file:
        hdf5.write_orbitals(file, "block", Orbitals(grid, -numbered(grid).local))
    assert difference(grid, hdf5.read_orbitals(grid, path, "block"), Orbitals(grid, -numbered(grid).local)) == 0.0
    assert path.stat().st_size < 1.5 * 3 * grid.size * 8


def test_missing_and_foreign_files_are_refused_on_every_rank(grid, shared_tmp_path):
    with pytest.raises(DataFileError, match="cannot be opened"):
        hdf5.read_orbitals(grid, shared_tmp_path / "none.h5", "block")
    if grid.comm.rank == 0:
        (shared_tmp_path / "text.h5").write_text("not HDF5 at all")
    grid.comm.Barrier()
    with pytest.raises(DataFileError, match="cannot be opened"):
        hdf5.read_orbitals(grid, shared_tmp_path / "text.h5", "block")


def test_other_grids_and_names_are_refused(grid, shared_tmp_path):
    path = shared_tmp_path / "a.h5"
    with hdf5.open_shared(path, "w", grid.comm) as file:
        hdf5.write_orbitals(file, "block", numbered(grid))
    with pytest.raises(DataFileError, match="'other' has shape None"):
        hdf5.read_orbitals(grid, path, "other")
    coarse = Grid(grid.comm, 5.0, (11, 12, 14), order=4)
    with pytest.raises(DataFileError, match="functions on this grid need"):
        hdf5.read_orbitals(coarse, path, "block")
    coarse.destroy()
