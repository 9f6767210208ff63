"""What the pages hold: headings, links, fenced blocks, command lines."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.helpers import ROOT

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "docs/records/README.md"]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:^|[\s/`(])mpiqmd (?P<words>[a-z].*)$")
_BATCH = re.compile(r"run/batch/(?P<command>md|train)\.(?P<system>slurm|flux) (?P<words>.*)$", re.MULTILINE)
_PBS = re.compile(r'ARGUMENTS="(?P<words>[^"]*)" run/batch/(?P<command>md|train)\.pbs')
_FRAGMENT = "<!-- fragment -->"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it starts at, whether it is marked as a part of an input."""

    page: Path
    language: str
    text: str
    line: int
    is_fragment: bool

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def file_name(self) -> str | None:
        """The name in a first line such as ``# water.toml``."""
        found = re.match(r"# (\S+\.\w+)\n", self.text)
        return found[1] if found else None


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        before = text[: match.start()]
        found.append(Block(page, match[1], match[2], before.count("\n") + 1, before.rstrip().endswith(_FRAGMENT)))
    return found


def without_blocks(text: str) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", text)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as a forge makes them."""
    headings = re.findall(r"^#{1,6} (.+)$", without_blocks(page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    """Return the targets of the links and images of a page."""
    return re.findall(r"\]\(([^)\s]+)\)", without_blocks(page.read_text(encoding="utf-8")))


def command_lines(block: Block) -> list[list[str]]:
    """Return the words after ``mpiqmd`` of every command line of a block, without comments and redirections."""
    found = []
    for line in block.text.replace("\\\n", " ").splitlines():
        match = _COMMAND.search(line)
        # What follows a pipe or redirects is the shell's business; a message of the program is no command.
        if match and not line.startswith("mpiqmd: "):
            words = shlex.split(re.split(r"\s[|>&]|\)$", match["words"])[0], comments=True)
            found.append(words)
    return found


def batch_lines(block: Block) -> list[list[str]]:
    """Return the words that the jobs of every line for a batch script give to ``mpiqmd``."""
    found = []
    for match in (*_BATCH.finditer(block.text), *_PBS.finditer(block.text)):
        words = shlex.split(match["words"])
        # The first word of the scripts that train is the number of parts; under PBS it is a variable.
        has_parts = match["command"] == "train" and match.re is _BATCH
        found.append([match["command"], *words[has_parts:]])
        if has_parts:
            int(words[0])
    return found


def inline_commands(page: Path) -> list[list[str]]:
    """Return the words after ``mpiqmd`` of commands in the text, which may lack their files."""
    text = without_blocks(page.read_text(encoding="utf-8"))
    spans = re.findall(r"`([^`]+)`", " ".join(text.split()))
    return [shlex.split(match["words"]) for span in spans if (match := _COMMAND.search(span)) and "..." not in span]
