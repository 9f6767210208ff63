"""The tutorial works as written, and the files it leaves are those of the page of file formats."""

from __future__ import annotations

import json
import re

import h5py
import pytest

from docs.pages.generate import DOCS
from mpiqmd.rom.learned.store import to_arrays
from tests.docs.page_reader import blocks
from tests.helpers.learned_water import serial_water

pytestmark = pytest.mark.serial

FILES = {
    "model.h5": ["h2s-train/model.h5"],
    "snapshots.h5": ["h2s-train/snapshots.h5"],
    "trajectory.h5": ["h2s-hifi/trajectory.h5", "h2s-rom/trajectory.h5"],
    "checkpoint.h5": ["h2s-hifi/checkpoint.h5", "h2s-rom/checkpoint.h5"],
}
RESULTS = {"scf": "h2s-scf", "relax": "h2s-relax", "train": "h2s-train", "evaluate": "h2s-evaluate", "md": "h2s-rom"}
RESULTS |= {"compare": "h2s-compare"}
EXAMPLES = [block for page in ("other-programs.md", "file-formats.md") for block in blocks(DOCS / page)]
PYTHON = [block for block in EXAMPLES if block.language == "python"]


def test_every_command_succeeds_and_the_model_is_good(tutorial):
    assert len(tutorial.printed) >= 6
    unseen = json.loads((tutorial.folder / "h2s-train/result.json").read_text())["errors"]["unseen"]
    assert unseen["energy"]["largest"] < 2e-4 and unseen["force"]["largest"] < 3e-3
    evaluated = json.loads((tutorial.folder / "h2s-evaluate/result.json").read_text())
    assert 0.0 < max(evaluated["extras"]["training_distance"]) < 2.0
    assert 0.0 < max(evaluated["extras"]["error_estimate"]) < 1e-4
    assert 0.0 < max(evaluated["extras"]["force_error_estimate"]) < 3e-3
    text = "".join(tutorial.printed.values())
    assert re.search(r"1\.3\d\d\d angstrom, 9\d\.\d\d degrees", text)


def test_what_the_page_says_of_the_grid_holds(tutorial):
    found = json.loads((tutorial.folder / "h2s-check-egg-box/result.json").read_text())
    assert 9e-3 < found["diagonal"]["ripple"] < 11e-3
    assert 0.02 < found["x"]["net_force"] < 0.03


LEARNED = "arrays/learned/"


def documented(name: str) -> dict[str, bool]:
    """Return patterns of the datasets that the page lists for a kind of file, and whether each must be there."""
    page = (DOCS / "file-formats.md").read_text(encoding="utf-8")
    rows = {}
    for table in re.findall(rf"^\| `{re.escape(name)}` \|.*\n\| --- .*\n((?:\|.*\n)+)", page, re.MULTILINE):
        for row in table.splitlines():
            path, _, content = (cell.strip() for cell in row.strip("|").split("|"))
            pattern = re.sub(r"(?<=[/_])[A-Z](?=/|$)", "[^/]+", path.strip("`"))
            rows[pattern] = not content.startswith("if ")
    return rows


def datasets(path) -> set[str]:
    """Return every dataset of a file by its path; links to the steps and times of the positions are left out."""
    with h5py.File(path) as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        # a hard link is visited under one of its names only, which need not be the first one
        shared = {"step", "time"} if "particles" in file else set()
        kept = {name for name in names if name.rpartition("/")[2] not in shared}
        return kept | ({f"particles/molecule/position/{name}" for name in shared} if shared else set())


@pytest.mark.parametrize("name", FILES)
def test_files_hold_what_the_page_says(name, tutorial):
    patterns, seen = documented(name), set()
    assert patterns
    for file in FILES[name]:
        found = datasets(tutorial.folder / file)
        for dataset in found:
            fitting = [pattern for pattern in patterns if re.fullmatch(pattern, dataset)]
            assert fitting, f"{file}: {dataset} is not on the page"
            seen |= set(fitting)
        missing = [p for p, required in patterns.items() if required and not any(re.fullmatch(p, item) for item in found)]
        assert not missing, f"{file} lacks {missing}"


@pytest.mark.parametrize("command", RESULTS)
def test_results_hold_what_the_page_says(command, tutorial):
    page = (DOCS / "file-formats.md").read_text(encoding="utf-8")
    (cells,) = re.findall(rf"^\| `{command}` \| (.*) \|$", page.split("## result.json")[1], re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", cells)))
    result = json.loads((tutorial.folder / RESULTS[command] / "result.json").read_text())
    header = {"command", "arguments", "input", "versions", "ranks", "wall_seconds"}
    assert named == set(result) - header


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.file_name)
def test_python_examples_work_on_its_files(block, tutorial):
    if "MDAnalysis" in block.text:
        pytest.importorskip("MDAnalysis")
    (tutorial.folder / block.file_name).write_text(block.text, encoding="utf-8")
    files = ["h2s-rom/trajectory.h5"] if "sys.argv" in block.text else []
    printed = tutorial.run("python", block.file_name, *files)
    assert printed.strip()
    assert "verify" not in block.file_name or printed.strip() == "True"


def test_a_learned_grid_has_what_the_page_says():
    paths = {f"arrays/{path}" for path in to_arrays(serial_water().arrays)}
    patterns = {pattern: required for pattern, required in documented("model.h5").items() if pattern.startswith(LEARNED)}
    assert all(any(re.fullmatch(pattern, path) for pattern in patterns) for path in paths)
    assert all(any(re.fullmatch(pattern, path) for path in paths) for pattern, required in patterns.items() if required)
    with_cores = {f"arrays/{path}" for path in to_arrays(serial_water(kind="cores").arrays)}
    assert all(any(re.fullmatch(pattern, path) for path in with_cores) for pattern in patterns)
