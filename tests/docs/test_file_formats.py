"""The page of file formats has the datasets, units and descriptions of the tables that the files are written from."""

from __future__ import annotations

import re

import pytest

from docs.pages.generate import DOCS
from mpiqmd.datasets import CHECKPOINT_DATASETS, MODEL_DATASETS, SNAPSHOT_DATASETS, WINDOWS_DATASETS, pattern
from mpiqmd.md.h5md_units import FILE_UNITS
from mpiqmd.md.quantities import OBSERVABLES

pytestmark = pytest.mark.serial
PAGE = (DOCS / "file-formats.md").read_text(encoding="utf-8")


def rows(name: str) -> dict[str, str]:
    """What the page says of each dataset of a kind of file, by its path."""
    found = {}
    for table in re.findall(rf"^\| `{re.escape(name)}` \|.*\n\| --- .*\n((?:\|.*\n)+)", PAGE, re.MULTILINE):
        for row in table.splitlines():
            path, _, content = (cell.strip() for cell in row.strip("|").split("|"))
            found[path.strip("`")] = content
    return found


TABLES = {
    "model.h5": MODEL_DATASETS,
    "snapshots.h5": SNAPSHOT_DATASETS,
    "checkpoint.h5": CHECKPOINT_DATASETS,
    "model.h5 (windows)": WINDOWS_DATASETS,
}


@pytest.mark.parametrize(("name", "table"), TABLES.items(), ids=list(TABLES))
def test_datasets_and_units_are_those_of_the_files(name, table):
    page = rows(name)
    assert set(page) == set(table)
    for path, (unit, description) in table.items():
        assert unit in page[path] and description, path


def test_observables_are_those_of_the_table():
    page = {path: content for path, content in rows("trajectory.h5").items() if path.startswith("observables/")}
    seen = set()
    for name, known in OBSERVABLES.items():
        (path,) = [path for path in page if re.fullmatch(pattern(path), f"observables/{name}/value")]
        unit = FILE_UNITS[known.quantity].name
        assert page[path].endswith(f", {unit}" if unit else known.description), path
        assert known.description.replace(f"along {name[-1]}", "along x, y, z") in page[path], path
        seen.add(path)
    assert seen == set(page)
