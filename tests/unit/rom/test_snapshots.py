"""The snapshot store: round trip, resuming after a kill, refusing what belongs elsewhere."""

import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest

from mpiqmd.errors import DataFileError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.svd import orthonormalised
from mpiqmd.rom.snapshot_orbitals import SnapshotOrbitals
from mpiqmd.rom.snapshots import SnapshotStore
from tests.helpers import ROOT

SIGNATURE = {"cell": [5.0, 5.0, 5.0], "functional": "lda_xc_teter93", "pseudopotentials": {"H": "abc"}}


@pytest.fixture
def grid(comm):
    grid = Grid(comm, 5.0, (10, 11, 12), order=4)
    yield grid
    grid.destroy()


def orbitals(grid, seed):
    z, y, x = grid.local_coordinates
    base = np.exp(-0.3 * ((x - 0.1 * seed) ** 2 + y**2 + z**2))
    return orthonormalised(Orbitals(grid, np.stack([base, (x + 0.2 * seed) * base, (y - z) * base])))


def filled(grid, path, count=3, done=(0, 1, 2)):
    store = SnapshotStore(path, SIGNATURE, grid.comm)
    positions = np.arange(count * 6.0).reshape(count, 2, 3)
    store.prepare(grid, positions, [{"L1": 1.0 + index} for index in range(count)], 3)
    for index in done:
        store.add(index, orbitals(grid, index), -1.0 - index, 0.1 * positions[index], np.array([-2.0, -1.0, index]))
    return store


def test_what_goes_in_comes_out(grid, shared_tmp_path):
    filled(grid, shared_tmp_path / "s.h5")
    store = SnapshotStore(shared_tmp_path / "s.h5", SIGNATURE, grid.comm)
    assert len(store) == 3 and store.pending == []
    assert store.energies_s.tolist() == [-1.0, -2.0, -3.0]
    assert store.forces_sav[2] == pytest.approx(0.1 * np.arange(12.0, 18.0).reshape(2, 3))
    assert store.eigenvalues_sn[1].tolist() == [-2.0, -1.0, 1.0]
    assert store.labels[1] == {"L1": 2.0}
    block = SnapshotOrbitals(store, grid).all()
    assert len(block) == 9
    for index in range(3):
        difference = block.local[3 * index : 3 * index + 3] - orbitals(grid, index).local
        assert Orbitals(grid, difference).norms().max() < 1e-14


def test_unfinished_geometries_are_pending_and_left_out(grid, shared_tmp_path):
    store = filled(grid, shared_tmp_path / "s.h5", count=4, done=(0, 2))
    assert store.pending == [1, 3]
    assert len(SnapshotOrbitals(store, grid).all()) == 6
    again = SnapshotStore(shared_tmp_path / "s.h5", SIGNATURE, grid.comm)
    assert again.pending == [1, 3]
    again.add(1, orbitals(grid, 1), -9.0, np.zeros((2, 3)), np.zeros(3))
    assert again.pending == [3]


def test_orbitals_are_read_once_until_they_are_released(grid, shared_tmp_path, monkeypatch):
    store, reads = filled(grid, shared_tmp_path / "s.h5"), []
    read = SnapshotStore.read
    monkeypatch.setattr(SnapshotStore, "read", lambda self, grid, index: reads.append(index) or read(self, grid, index))
    snapshots = SnapshotOrbitals(store, grid)
    first = snapshots.of(1).local.copy()
    block = snapshots.all()
    assert np.array_equal(snapshots.of(1).local, first) and np.shares_memory(snapshots.of(1).local, block.local)
    assert sorted(reads) == [0, 1, 2]
    snapshots.release()
    assert np.array_equal(snapshots.of(1).local, first) and len(reads) == 4


def test_a_half_written_geometry_is_redone(grid, shared_tmp_path, monkeypatch):
    """Killed after the orbitals, before the mark: the geometry is pending, the others are untouched."""
    store = filled(grid, shared_tmp_path / "s.h5", done=(0,))
    monkeypatch.setattr(SnapshotStore, "_mark", lambda self, index: None)
    store.add(1, orbitals(grid, 7), -5.0, np.zeros((2, 3)), np.zeros(3))
    monkeypatch.undo()
    again = SnapshotStore(shared_tmp_path / "s.h5", SIGNATURE, grid.comm)
    assert again.pending == [1, 2]
    assert Orbitals(grid, again.read(grid, 0).local - orbitals(grid, 0).local).norms().max() < 1e-14


def test_preparing_again_keeps_results_and_may_add_geometries(grid, shared_tmp_path):
    store = filled(grid, shared_tmp_path / "s.h5", done=(0,))
    more = np.arange(30.0).reshape(5, 2, 3)
    store.prepare(grid, more, [{}] * 5, 3)
    assert len(store) == 5 and store.pending == [1, 2, 3, 4]
    assert store.energies_s[0] == -1.0
    store.prepare(grid, more[:2], [{}] * 2, 3)
    assert len(store) == 5


def test_other_geometries_or_sizes_are_refused(grid, shared_tmp_path):
    store = filled(grid, shared_tmp_path / "s.h5")
    with pytest.raises(DataFileError, match="are not the 3 of this training"):
        store.prepare(grid, np.ones((3, 2, 3)), [{}] * 3, 3)
    with pytest.raises(DataFileError, match="other numbers of orbitals"):
        store.prepare(grid, store.positions_sav, [{}] * 3, 4)


def test_other_physics_is_refused_naming_the_fields(grid, shared_tmp_path):
    filled(grid, shared_tmp_path / "s.h5")
    other = {"cell": [5.0, 5.0, 5.5], "functional": "lda_xc_teter93", "pseudopotentials": {"H": "xyz"}}
    with pytest.raises(DataFileError, match=r"cell: .* pseudopotentials\.H: abc in the file, xyz now"):
        SnapshotStore(shared_tmp_path / "s.h5", other, grid.comm)


def test_damaged_and_foreign_files_are_refused(grid, shared_tmp_path):
    path = shared_tmp_path / "s.h5"
    filled(grid, path)
    if grid.comm.rank == 0:
        path.write_bytes(path.read_bytes()[:3000])
        with h5py.File(shared_tmp_path / "other.h5", "w") as file:
            file["x"] = 1
    grid.comm.Barrier()
    with pytest.raises(DataFileError, match="not a complete snapshot file"):
        SnapshotStore(path, SIGNATURE, grid.comm)
    with pytest.raises(DataFileError, match="kind None"):
        SnapshotStore(shared_tmp_path / "other.h5", SIGNATURE, grid.comm)


def test_nothing_finished_is_an_error(grid, shared_tmp_path):
    store = filled(grid, shared_tmp_path / "s.h5", done=())
    with pytest.raises(DataFileError, match="none of its 3 geometries is finished"):
        SnapshotOrbitals(store, grid).all()


def test_orbitals_are_made_orthonormal(grid, shared_tmp_path):
    store = filled(grid, shared_tmp_path / "s.h5", done=())
    skewed = orbitals(grid, 0).combine(np.eye(3) + 1e-4 * np.arange(9).reshape(3, 3))
    store.add(0, skewed, 0.0, np.zeros((2, 3)), np.zeros(3))
    assert np.abs(store.read(grid, 0).gram() - np.eye(3)).max() < 1e-13


WRITER = """
import numpy as np
from mpi4py import MPI
from tests.unit.rom.test_snapshots import SIGNATURE, orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.rom.snapshots import SnapshotStore
grid = Grid(MPI.COMM_SELF, 5.0, (10, 11, 12), order=4)
store = SnapshotStore({path!r}, SIGNATURE, MPI.COMM_SELF)
positions = np.arange(300.0).reshape(50, 2, 3)
store.prepare(grid, positions, [{{}}] * 50, 3)
print("ready", flush=True)
for index in store.pending:
    store.add(index, orbitals(grid, index), -1.0 - index, positions[index], np.zeros(3))
"""


@pytest.mark.serial
def test_kills_at_any_moment_lose_nothing_finished(grid, tmp_path, rng):
    path, finished = tmp_path / "s.h5", 0
    code = WRITER.format(path=str(path))
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
        writer.stdout.readline()
        try:
            writer.wait(timeout=float(rng.uniform(0.02, 0.15)))
        except subprocess.TimeoutExpired:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        store = SnapshotStore(path, SIGNATURE, grid.comm)
        done = np.flatnonzero(store.finished_s)
        assert len(done) >= finished
        finished = len(done)
        assert store.energies_s[done] == pytest.approx(-1.0 - done)
        for index in done[-2:]:
            assert Orbitals(grid, store.read(grid, int(index)).local - orbitals(grid, index).local).norms().max() < 1e-14
    assert finished > 0
