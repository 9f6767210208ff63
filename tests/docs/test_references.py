"""Every source that a docstring names by key is in the list of references, and every key there is used."""

from __future__ import annotations

import re

import pytest

from docs.pages.generate import DOCS
from tests.helpers.source import FILES

pytestmark = pytest.mark.serial

KEY = re.compile(r"\[([A-Z][A-Za-z]+[12]\d{3}[a-z]?)\]")


def listed() -> set[str]:
    text = (DOCS / "references.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| ([A-Z][A-Za-z]+[12]\d{3}[a-z]?) \|", text, re.MULTILINE))


def test_keys_in_the_code_resolve_and_no_other_is_listed():
    used = {key: file.name for file in FILES for key in KEY.findall(file.text)}
    assert set(used) == listed(), {key: used.get(key, "not used") for key in set(used) ^ listed()}


def test_a_key_is_found_in_text():
    assert KEY.findall("velocity Verlet [Swope1982], not [2] or [md]") == ["Swope1982"]


def test_files_in_the_list_exist():
    text = (DOCS / "references.md").read_text(encoding="utf-8") + (DOCS / "notation.md").read_text(encoding="utf-8")
    named = re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", text)
    assert len(named) > 5
    assert [name for name in named if not any(file.name == f"mpiqmd/{name}" for file in FILES)] == []
