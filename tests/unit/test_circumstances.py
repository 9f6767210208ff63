"""Host, date and versions that go into files, and the commit of a checkout."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from mpiqmd.pipeline.circumstances import circumstances, git_revision, loaded_versions

pytestmark = pytest.mark.serial
COMMIT, PACKED = "0123456789abcdef0123456789abcdef01234567", "f" * 40


def test_a_file_says_where_when_and_with_what_it_was_made():
    known = circumstances()
    age = datetime.now(UTC) - datetime.fromisoformat(known["started"])
    assert abs(age.total_seconds()) < 60 and known["host"]
    versions = json.loads(known["versions"])
    assert versions == loaded_versions() and versions["numpy"] == np.__version__ and "mpiqmd" in versions


@pytest.fixture
def checkout(tmp_path):
    """A git repository with a branch of its own file and a packed one, without git."""
    heads = tmp_path / ".git" / "refs" / "heads"
    heads.mkdir(parents=True)
    (heads / "main").write_text(f"{COMMIT}\n")
    (tmp_path / ".git" / "packed-refs").write_text(f"# pack-refs with: peeled\n{PACKED} refs/heads/old\n")
    return tmp_path


@pytest.mark.parametrize(
    ("head", "commit"),
    [
        ("ref: refs/heads/main", COMMIT),
        ("ref: refs/heads/old", PACKED),
        (COMMIT, COMMIT),
        ("ref: refs/heads/new", ""),
        ("?", ""),
    ],
)
def test_commit_of_a_checkout(checkout, head, commit):
    (checkout / ".git" / "HEAD").write_text(f"{head}\n")
    assert git_revision(checkout) == commit


def test_commit_of_a_worktree(checkout, tmp_path_factory):
    worktree, folder = tmp_path_factory.mktemp("worktree"), checkout / ".git" / "worktrees" / "w"
    folder.mkdir(parents=True)
    (worktree / ".git").write_text(f"gitdir: {folder}\n")
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    (folder / "commondir").write_text("../..\n")
    assert git_revision(worktree) == COMMIT


def test_no_checkout_no_commit(tmp_path):
    assert git_revision(tmp_path) == ""
