"""The tutorial of the molecule, executed once from its own page."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from docs.pages.generate import DOCS
from tests.docs.page_reader import blocks
from tests.helpers.workplace import outside_environment


@dataclass(frozen=True)
class Walk:
    """Where the tutorial was executed, what each block of commands printed, and the environment."""

    folder: Path
    printed: dict[str, str]
    environment: dict[str, str]

    def run(self, *words: str) -> str:
        """Run a program there, which must succeed, and return what it prints."""
        process = subprocess.run(words, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)
        assert process.returncode == 0, f"{' '.join(words)}\n{process.stdout[-2000:]}\n{process.stderr[-2000:]}"
        return process.stdout


@pytest.fixture(scope="session")
def tutorial(tmp_path_factory):
    """The folder after all commands of the page: files are written as named, `sh` blocks run line by line in a shell."""
    programs = str(Path(sys.executable).parent)
    environment = outside_environment() | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "MPLBACKEND": "Agg"}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    walk = Walk(tmp_path_factory.mktemp("tutorial"), {}, environment)
    for block in blocks(DOCS / "tutorial-molecule.md"):
        if block.language in ("toml", "python") and not block.is_fragment:
            (walk.folder / block.file_name).write_text(block.text, encoding="utf-8")
        if block.language == "sh":
            walk.printed[block.text] = walk.run("bash", "-euo", "pipefail", "-c", block.text)
    return walk
