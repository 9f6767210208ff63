"""Where compiled loops are kept, and that nothing that happens there ends a calculation or changes its numbers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import mpiqmd
from mpiqmd import compiling
from mpiqmd.pipeline import doctor
from tests.helpers.workplace import WATER, loaded_by, outside_environment

pytestmark = pytest.mark.serial

LOOPS = """
from mpiqmd.compiling import cache_folder, compiled

@compiled()
def twice(x):
    return 2 * x
"""
CALL = "import loops; print(loops.twice(21), sum(loops.twice.stats.cache_hits.values()), loops.cache_folder(loops.twice))"


@pytest.fixture
def call(tmp_path):
    """A function that calls a compiled function in a process of its own and returns what it printed, as words."""
    (tmp_path / "loops.py").write_text(LOOPS)
    (tmp_path / "temporary").mkdir()

    def run(code: str = CALL) -> list[str]:
        places = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "temporary"), "PYTHONPATH": str(tmp_path)}
        environment = outside_environment() | places
        for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
            environment.pop(name, None)
        command = [sys.executable, "-c", code]
        process = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (process.returncode, process.stderr) == (0, "")
        return process.stdout.split()

    return run


@pytest.fixture
def nowhere(tmp_path):
    """Files where numba would make folders, so that it cannot write there whoever runs the tests."""
    for name in ("__pycache__", "home"):
        (tmp_path / name).write_text("")


def private(tmp_path: Path) -> Path:
    return tmp_path / "temporary" / f"mpiqmd-{mpiqmd.__version__}-{os.getuid()}"


def test_the_package_comes_first_then_the_users_cache(call, tmp_path):
    assert call() == ["42", "0", str(tmp_path / "__pycache__")]
    assert call()[:2] == ["42", "1"]
    for path in (tmp_path / "__pycache__").iterdir():
        path.unlink()
    (tmp_path / "__pycache__").rmdir()
    (tmp_path / "__pycache__").write_text("")
    value, _, folder = call()
    assert value == "42" and Path(folder).is_relative_to(tmp_path / "home" / ".cache" / "numba")


def test_a_private_folder_does_where_nothing_else_can_be_written_to(call, nowhere, tmp_path):
    value, hits, folder = call()
    assert (value, hits) == ("42", "0") and Path(folder).parent == private(tmp_path)
    assert private(tmp_path).stat().st_mode & 0o777 == 0o700
    assert call()[:2] == ["42", "1"]


def test_without_any_place_it_is_compiled_in_memory(call, nowhere, tmp_path):
    private(tmp_path).write_text("")
    assert call() == ["42", "0", "None"]


def test_the_choice_is_for_our_loops_only(call, nowhere):
    assert call(f"{CALL}; import numba; print(repr(numba.config.CACHE_DIR))")[-1] == "''"


@pytest.mark.parametrize("harm", ["readable by others", "a link", "a file", "a parent without names of its own"])
def test_a_folder_that_others_may_reach_is_not_used(harm, tmp_path, monkeypatch):
    parent = tmp_path / "temporary"
    parent.mkdir(mode=0o700)
    monkeypatch.setattr(compiling.tempfile, "gettempdir", lambda: str(parent))
    folder = private(tmp_path)
    assert compiling.private_folder() == folder
    if harm == "readable by others":
        folder.chmod(0o750)
    elif harm == "a parent without names of its own":
        parent.chmod(0o777)
    else:
        folder.rmdir()
        folder.symlink_to(tmp_path) if harm == "a link" else folder.write_text("")
    assert compiling.private_folder() is None
    parent.chmod(0o1777)
    assert compiling.private_folder() == (folder if harm == "a parent without names of its own" else None)


@pytest.mark.parametrize("content", [b"", b"not a pickle"])
@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_damaged_code_is_compiled_again(call, tmp_path, content, suffix):
    call()
    (path,) = (tmp_path / "__pycache__").glob(f"*.{suffix}")
    path.write_bytes(content)
    assert call()[:2] == ["42", "0"]
    assert call()[:2] == ["42", "1"]


@pytest.mark.parametrize("place", range(0, 100, 20))
def test_code_with_a_wrong_bit_is_compiled_again(call, tmp_path, place):
    """Machine code is not looked at when it is loaded: a wrong bit in it may end the process."""
    call()
    (path,) = (tmp_path / "__pycache__").glob("*.nbc")
    content = bytearray(path.read_bytes())
    content[place * len(content) // 100] ^= 1
    path.write_bytes(content)
    assert call()[:2] == ["42", "0"]
    assert call()[:2] == ["42", "1"]


def test_a_disk_that_is_full_is_no_error(call, tmp_path):
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY)); "
    call("import loops")
    assert call(limit + CALL)[:2] == ["42", "0"]
    assert not list((tmp_path / "__pycache__").glob("*.nb?*"))
    assert call()[:2] == ["42", "0"]


def test_a_folder_that_goes_is_no_error(call, tmp_path):
    gone = "import loops, os, shutil; shutil.rmtree('__pycache__'); open('__pycache__', 'w').close(); "
    assert call(gone + CALL)[:2] == ["42", "0"]


# ---- processes that compile at the same time ----------------------------------------------------------------------


def files(folder: Path) -> compiling._Files:
    return compiling._Files(str(folder), "loops.twice-4.py3", "stamp")


@pytest.mark.parametrize("step", ["_save_data", "_save_index"])
def test_the_code_of_one_signature_is_never_taken_for_another(step, tmp_path, monkeypatch):
    one, other = files(tmp_path), files(tmp_path)
    write = getattr(one, step)
    # both have read the index before either writes it
    monkeypatch.setattr(other, "_load_index", dict)

    def interrupted(*arguments):
        monkeypatch.setattr(one, step, write)
        other.save("width 4", "code for width 4")
        write(*arguments)

    monkeypatch.setattr(one, step, interrupted)
    one.save("width 6", "code for width 6")
    assert files(tmp_path).load("width 6") == "code for width 6"
    assert files(tmp_path).load("width 4") in ("code for width 4", None)


STENCIL = """
import sys, numpy as np
from mpiqmd.grid.kernels import star_stencil
width = int(sys.argv[1])
f = np.random.default_rng(1).random((8 + 2 * width,) * 3)
weights_vk, out = np.outer((1.0, 2.0, 3.0), np.arange(1.0, width + 1)), np.empty((8, 8, 8))
star_stencil(width)(f.reshape(-1), 0.5, weights_vk, np.zeros(out.shape), out)
inner = slice(width, -width)
expected = 0.5 * f[inner, inner, inner]
for k in range(1, width + 1):
    for axis, weight in zip((2, 1, 0), (k, 2 * k, 3 * k)):
        near = np.roll(f, k, axis) + np.roll(f, -k, axis)
        expected = expected + weight * near[inner, inner, inner]
print(np.abs(out - expected).max())
"""


def test_runs_with_different_grids_share_a_cold_cache(tmp_path):
    environment = outside_environment() | {"NUMBA_CACHE_DIR": str(tmp_path)}
    for _ in range(2):
        commands = [[sys.executable, "-c", STENCIL, str(width)] for width in (2, 3, 2, 4)]
        processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for command in commands]
        assert all(float(process.communicate()[0]) < 1e-12 for process in processes)
    assert {path.suffix for path in tmp_path.rglob("*.*")} == {".nbi", ".nbc"}


# ---- the commands -------------------------------------------------------------------------------------------------


def test_doctor_says_where_the_code_is_kept(comm, monkeypatch):
    found = doctor.check_kernels(comm)
    assert found.verdict == "ok" and "kept in /" in found.found
    monkeypatch.setattr(compiling, "cache_folder", lambda kernel: None)
    found = doctor.check_kernels(comm)
    assert found.verdict == "note" and "kept in memory only" in found.found and "NUMBA_CACHE_DIR" in found.advice


def test_what_only_looks_at_files_compiles_nothing():
    statement = "import mpiqmd.cli, mpiqmd.pipeline.job, mpiqmd.pipeline.info"
    assert loaded_by(statement, {"numba", "petsc4py", "matplotlib", "scipy"}) == set()


def as_nobody(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python as a user who has no home and may write into ``folder`` only."""
    environment = {"PATH": os.defpath, "HOME": "/nonexistent", "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    identity = {"user": 65534, "group": 65534, "extra_groups": []}
    command = [sys.executable, *words]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False, **identity)


@pytest.fixture
def nobodys_folder():
    """A folder that belongs to nobody; pytest's own are the present user's alone."""
    if os.getuid() != 0:
        pytest.skip("only root can be another user")
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, 65534, 65534)
        yield Path(name)


def test_a_user_without_a_home_runs_a_read_only_installation(nobodys_folder):
    folder = nobodys_folder
    (folder / "water.toml").write_text(WATER)
    if as_nobody(["-c", "import mpiqmd"], folder).returncode:
        pytest.skip("this checkout is where other users cannot read it")
    for _ in range(2):
        process = as_nobody(["-m", "mpiqmd", "scf", "water.toml", "--output", "out"], folder)
        assert process.returncode == 0, process.stderr
    assert (folder / "out" / "result.json").exists()
    assert list(folder.glob("mpiqmd-*/grid_*/*.nbc"))
