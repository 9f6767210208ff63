"""The pages: links lead somewhere, inputs are valid, command lines are those of the program, generated pages are new."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from docs.pages.generate import DOCS, pages
from mpiqmd.cli import build_parser, parse_arguments
from mpiqmd.commands import COMMANDS
from mpiqmd.config import parse_input
from mpiqmd.config.description import described_keys
from mpiqmd.config.settings import SECTIONS
from tests.docs.page_reader import PAGES, Block, anchors, batch_lines, blocks, command_lines, inline_commands, links

pytestmark = pytest.mark.serial

LEAST = {"system": {"symbols": ["O"], "positions": [[0.0, 0.0, 0.0]]}, "grid": {"cell": 12.0, "spacing": 0.3}}
"""What an input must have, for the parts of others."""

BLOCKS = [block for page in PAGES for block in blocks(page)]
INPUTS = [block for block in BLOCKS if block.language == "toml"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_anchors_lead_somewhere(page):
    for link in links(page):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_the_index_names_every_page():
    named = set(links(DOCS / "index.md"))
    assert {page.name for page in DOCS.glob("*.md")} - {"index.md"} <= named
    navigation = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    assert all(page.name in navigation for page in DOCS.glob("*.md"))


@pytest.mark.parametrize("block", INPUTS, ids=str)
def test_inputs_are_valid(block):
    tables = tomllib.loads(block.text)
    if block.is_fragment:
        tables = {name: LEAST.get(name, {}) | tables.get(name, {}) for name in {*LEAST, *tables}}
    parse_input(tables, Path())


def test_there_are_inputs_of_both_kinds():
    assert {block.is_fragment for block in INPUTS} == {True, False}


@pytest.mark.parametrize("block", [block for block in BLOCKS if command_lines(block)], ids=str)
def test_command_lines_are_understood(block):
    for words in command_lines(block):
        assert parse_arguments(words).command == words[0]


def test_command_lines_of_batch_scripts_are_understood():
    lines = [words for block in BLOCKS for words in batch_lines(block)]
    assert len(lines) == 6
    assert all(parse_arguments(words).model for words in lines if words[0] == "md")
    assert all(str(parse_arguments(words).output) == "results/train" for words in lines if words[0] == "train")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_text_exist_with_their_options(page):
    known = build_parser()._subparsers._group_actions[0].choices
    for words in inline_commands(page):
        if words[0] in ("COMMAND", "is"):
            continue
        assert words[0] in known, f"{page.name}: {words}"
        options = {option for option in known[words[0]]._option_string_actions}
        assert {word for word in words[1:] if word.startswith("--")} <= options | {"--help"}, f"{page.name}: {words}"


def test_every_command_is_in_the_index():
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    assert all(f"`mpiqmd {name}`" in text for name in (*COMMANDS, "help-input", "completion"))


def test_generated_pages_are_up_to_date():
    for path, text in pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run run/docs"


def test_the_page_of_keys_has_all_of_them():
    page = pages()[DOCS / "input.md"]
    assert all(f"## [{section}]" in page for section in SECTIONS)
    names = [name for section in SECTIONS for name in described_keys(section)]
    assert len(names) > 50 and all(f"| `{name}` |" in page for name in names)


def test_cited_files_of_the_checkout_exist():
    """Paths in the text such as run/bench/hifi.py are those of files."""
    for page in PAGES:
        for path in re.findall(r"`((?:run|tests|docker|docs|mpiqmd)/[\w./*-]+)", page.read_text(encoding="utf-8")):
            assert path == "run/identity" or list(DOCS.parent.glob(path.rstrip("./"))), f"{page.name}: {path}"


def test_command_lines_are_found_where_they_are():
    text = """mpirun -n 2 .venv/bin/mpiqmd md a.toml \\
    --steps 3    # comment
mpiqmd info b.h5 | head
mpiqmd: error: no command
source <(mpiqmd completion bash)
"""
    found = command_lines(Block(Path(), "", text, 1, False))
    assert found == [["md", "a.toml", "--steps", "3"], ["info", "b.h5"], ["completion", "bash"]]
