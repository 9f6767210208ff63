"""What is public is documented and readable: docstrings, short functions, lines that fit."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.helpers.source import FILES, PACKAGE, SourceFile

pytestmark = pytest.mark.serial

LONGEST_FUNCTION = 70
LONGEST_LINE = 128
Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_public(name: str) -> bool:
    return not name.startswith("_")


def definitions(tree: ast.Module) -> Iterator[tuple[ast.ClassDef | None, ast.ClassDef | Function]]:
    """Yield module-level classes and functions, and the methods of the former with their class."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield None, node
            yield from ((node, method) for method in node.body if isinstance(method, Function))
        elif isinstance(node, Function):
            yield None, node


def documented_methods(files: list[SourceFile]) -> set[str]:
    """Return the names of all methods with a docstring: an implementation inherits that of its protocol."""
    return {
        node.name for file in files for owner, node in definitions(file.tree) if owner is not None and ast.get_docstring(node)
    }


def undocumented(file: SourceFile, inherited: set[str]) -> list[str]:
    problems = []
    if file.text.strip() and not ast.get_docstring(file.tree):
        problems.append(f"{file.name}:1: module without a docstring")
    for owner, node in definitions(file.tree):
        names = [owner.name, node.name] if owner else [node.name]
        if not all(is_public(name) for name in names) or ast.get_docstring(node):
            continue
        if owner is None or node.name not in inherited:
            problems.append(f"{file.name}:{node.lineno}: {'.'.join(names)} without a docstring")
    return problems


def long_functions(file: SourceFile) -> list[str]:
    problems = []
    for node in ast.walk(file.tree):
        if isinstance(node, Function):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            length = body[-1].end_lineno - body[0].lineno + 1
            if length > LONGEST_FUNCTION:
                problems.append(f"{file.name}:{node.lineno}: {node.name} has {length} lines, split it")
    return problems


def long_lines(file: SourceFile) -> list[str]:
    return [
        f"{file.name}:{number}: {len(line)} characters"
        for number, line in enumerate(file.text.splitlines(), 1)
        if len(line) > LONGEST_LINE
    ]


def test_public_names_have_docstrings():
    inherited = documented_methods(FILES)
    problems = [problem for file in FILES for problem in undocumented(file, inherited)]
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.parametrize("rule", [long_functions, long_lines], ids=lambda rule: rule.__name__)
def test_code_stays_readable(rule):
    problems = [problem for file in FILES for problem in rule(file)]
    assert not problems, "\n" + "\n".join(problems)


def test_rules_find_what_they_look_for():
    def made(text: str) -> SourceFile:
        return SourceFile(PACKAGE / "grid" / "a.py", text)

    assert len(undocumented(made("x = 1"), set())) == 1
    assert len(undocumented(made('"""M."""\ndef f():\n    pass\nclass C:\n    def g(self):\n        pass'), set())) == 3
    assert len(undocumented(made('"""M."""\nclass C:\n    """C."""\n    def g(self):\n        pass'), {"g"})) == 0
    assert len(undocumented(made('"""M."""\ndef _f():\n    pass'), set())) == 0
    assert len(long_functions(made("def f():\n" + "    x = 1\n" * 71))) == 1
    assert len(long_lines(made("x" * 129))) == 1
