"""The source files of the package as syntax trees, for the tests of the architecture."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.helpers import ROOT

PACKAGE = ROOT / "mpiqmd"


@dataclass(frozen=True)
class Import:
    """One imported module, where it is imported, and whether only type checkers see it."""

    module: str
    line: int
    for_types_only: bool


class SourceFile:
    """One file of the package."""

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        self.name = str(path.relative_to(ROOT))
        self.folder = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        self.text = path.read_text(encoding="utf-8") if text is None else text

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text)

    def imports(self) -> list[Import]:
        """Return every import at any depth."""
        return list(_imports(self.tree, False))


def _imports(node: ast.AST, for_types_only: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, for_types_only) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            # `from mpiqmd import x` may name a module, so the longer form is the one to judge.
            module = child.module or "" if child.level == 0 else f"relative import {'.' * child.level}"
            names = [f"{module}.{alias.name}" for alias in child.names] if module == "mpiqmd" else [module]
            yield from (Import(name, child.lineno, for_types_only) for name in names)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for statement in child.body:
                yield from _imports(ast.Module([statement], []), True)
            for statement in child.orelse:
                yield from _imports(ast.Module([statement], []), for_types_only)
        else:
            yield from _imports(child, for_types_only)


FILES = [SourceFile(path) for path in sorted(PACKAGE.rglob("*.py"))]
