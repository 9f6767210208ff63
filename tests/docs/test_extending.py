"""What the page on extending shows works when it is installed: it is imported, explained, and run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mpiqmd.pipeline.results import read_result
from tests.docs.page_reader import PAGES, blocks
from tests.helpers.workplace import WATER, outside_environment, with_keys

pytestmark = pytest.mark.serial

PAGE = next(page for page in PAGES if page.name == "extending.md")
EXAMPLES = dict(
    zip(("my_thermostat", "my_rule"), (block.text for block in blocks(PAGE) if block.language == "python"), strict=True)
)


def install(folder: Path, module: str, text: str) -> None:
    """Put a module and the metadata that names its entry point where Python looks for packages."""
    (folder / f"{module}.py").write_text(text, encoding="utf-8")
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[mpiqmd]\n{module} = {module}\n", encoding="utf-8")


def mpiqmd(folder: Path, *words: object) -> subprocess.CompletedProcess:
    """Run the command line as a process of its own that finds what is installed in a folder."""
    environment = outside_environment() | {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "mpiqmd", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)


@pytest.fixture
def installed(tmp_path):
    for module, text in EXAMPLES.items():
        install(tmp_path, module, text)
    return tmp_path


def test_the_help_shows_what_is_installed(installed, tmp_path_factory):
    shown = mpiqmd(installed, "help-input").stdout
    for part in ("nose-hoover | andersen", "andersen: mean time between", "greedy | breathing", "breathing: factors"):
        assert part in shown
    assert "andersen" not in mpiqmd(tmp_path_factory.mktemp("empty"), "help-input").stdout


def test_commands_run_what_is_installed(installed):
    keys = {"thermostat": "andersen", "collision_time": "10 fs"}
    train = {"sampling": "breathing", "stretches": [0.98, 1.02]}
    (installed / "mine.toml").write_text(with_keys(WATER, md=keys, train=train), encoding="utf-8")
    process = mpiqmd(installed, "md", "mine.toml", "--steps", 3)
    assert process.returncode == 0, process.stderr
    result = read_result(installed / "mine-md" / "result.json")
    assert result["steps"] == 3 and result["input"]["md"]["collision_time"] == pytest.approx(413.4, abs=0.1)
    process = mpiqmd(installed, "train", "mine.toml", "--samples-only")
    assert process.returncode == 0 and "2 geometries (breathing)" in process.stdout, process.stderr


@pytest.mark.parametrize("words", [("help-input",), ("scf", "water.toml")])
def test_a_package_that_is_broken_is_named(tmp_path, words):
    install(tmp_path, "broken", "import no_such_module_at_all\n")
    (tmp_path / "water.toml").write_text(WATER, encoding="utf-8")
    process = mpiqmd(tmp_path, *words)
    assert process.returncode == 1 and "Traceback" not in process.stderr
    assert "entry point broken = broken" in process.stderr and "no_such_module_at_all" in process.stderr
