"""One small water model, trained once per session through the command line, for all tests of the commands."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from mpiqmd.molecule.bent import water_positions
from mpiqmd.rom import offline
from mpiqmd.units import BOHR_IN_ANGSTROM
from tests.helpers.learned_water import SETTINGS
from tests.helpers.peroxide import PEROXIDE
from tests.helpers.workplace import WATER, Bench, Trained


@pytest.fixture
def bench(comm, shared_tmp_path):
    """A workplace of its own for one test."""
    return Bench(comm, shared_tmp_path)


@pytest.fixture(scope="session")
def session_folder():
    """A folder that all ranks see and that lives as long as the session."""
    world = MPI.COMM_WORLD
    path = world.bcast(tempfile.mkdtemp(prefix="mpiqmd-pipeline-") if world.rank == 0 else None, root=0)
    yield Path(path)
    if world.rank == 0:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def trained(session_folder):
    """A learned-grid model of water, truncated as by default, learned as coarsely as such a small one bears."""
    comm = MPI.COMM_WORLD.Dup()
    whole = Bench(comm, session_folder)
    path = whole.write("water.toml", WATER)
    folder = session_folder / "train"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(offline, "LearnSettings", lambda: SETTINGS)
        return Trained(path, folder, whole.run("train", path, "--output", folder))


@pytest.fixture(scope="session")
def peroxide(session_folder):
    """The input and the folder of a model in two windows, trained by two parts and put together, and the result."""
    bench = Bench(MPI.COMM_WORLD.Dup(), session_folder)
    path, folder = bench.write("peroxide.toml", PEROXIDE), session_folder / "peroxide"
    chosen = bench.run("train", path, "--samples-only", "--output", folder)
    for part in ("1/2", "2/2"):
        assert bench.status("train", path, "--part", part, "--output", folder) == 0
    return path, folder, chosen, bench.run("train", path, "--output", folder)


@pytest.fixture(scope="session")
def geometries(session_folder):
    """Three geometries near the minimum, turned at random, as a structure file, and their positions in bohr."""
    rng = np.random.default_rng(7)
    shapes = [(1.80, 1.76, 104.0), (1.74, 1.84, 107.0), (1.77, 1.77, 101.0)]
    positions, lines = [], []
    for first, second, angle in shapes:
        body = water_positions(first, second, np.radians(angle))
        rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        rotation *= np.sign(np.linalg.det(rotation))
        positions.append(body @ rotation.T)
        lines += ["3", "water", *_xyz(positions[-1] * BOHR_IN_ANGSTROM)]
    path = session_folder / "frames.xyz"
    if MPI.COMM_WORLD.rank == 0:
        path.write_text("\n".join(lines) + "\n")
    MPI.COMM_WORLD.Barrier()
    return path, np.array(positions)


def _xyz(positions_av: np.ndarray) -> list[str]:
    return [f"{symbol} {x:.12f} {y:.12f} {z:.12f}" for symbol, (x, y, z) in zip("OHH", positions_av, strict=True)]
