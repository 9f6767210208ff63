"""The house stands as designed: who may import whom, which libraries live where, no hidden global state.

Every failure prints the offending lines as ``file:line``.
"""

from __future__ import annotations

import ast
import re

import pytest

from tests.helpers.source import FILES, PACKAGE, SourceFile

pytestmark = pytest.mark.serial

FLOORS = [
    {"__init__", "errors", "units", "launcher", "argument_types", "completion", "regular", "datafiles", "datasets", "findings"}
    | {"keys", "processes", "claimfiles", "claims", "compiling", "printable", "same_run", "selfcontained", "streams"},
    {"config"},
    {"parallel"},
    {"grid", "molecule"},
    {"kohnsham", "sampling"},
    {"hifi", "rom", "md", "statics"},
    {"plots", "ipi", "exchange"},
    {"pipeline"},
    {"commands"},
    {"cli", "ase"},
    {"__main__"},
]
FLOOR = {name: height for height, floor in enumerate(FLOORS) for name in floor}
MAY_IMPORT_CONFIG = {"config", "pipeline", "cli", "ase"}

HOMES = {
    "petsc4py": {"grid"},
    "slepc4py": {"grid"},
    "mpi4py": {"parallel", "grid", "cli", "ase"},
    "matplotlib": {"plots"},
    "ase": {"statics", "exchange", "ase"},
}
FORBIDDEN = {"pickle", "shelve", "marshal", "dill", "joblib", "cloudpickle", "yaml", "code", "runpy"}
"""Nothing that runs code from a file it reads."""

CONSTANTS = re.compile(r"\b(0\.529\d*|27\.21\d*|1822\.8\d*|3\.1668\d*e-0?6|219474\.6\d*)")


def lines(problems: list[str]) -> str:
    return "\n" + "\n".join(problems)


def upward_imports(file: SourceFile) -> list[str]:
    problems = []
    for item in file.imports():
        if item.module.startswith("relative import"):
            problems.append(f"{file.name}:{item.line}: {item.module}, write the full name")
        if not item.module.startswith("mpiqmd."):
            continue
        target = item.module.split(".")[1]
        if target not in FLOOR:
            if (PACKAGE / target).exists() or (PACKAGE / f"{target}.py").exists():
                problems.append(f"{file.name}:{item.line}: {target} has no floor in this test")
            continue
        same = target == file.folder
        if not same and FLOOR[target] >= FLOOR[file.folder] and FLOOR[target] != 0:
            problems.append(f"{file.name}:{item.line}: {file.folder} must not import {target}")
        if target == "config" and file.folder not in MAY_IMPORT_CONFIG:
            problems.append(f"{file.name}:{item.line}: only {sorted(MAY_IMPORT_CONFIG)} may import config")
    return problems


def misplaced_libraries(file: SourceFile) -> list[str]:
    problems = []
    for item in file.imports():
        library = item.module.split(".")[0]
        if library in FORBIDDEN:
            problems.append(f"{file.name}:{item.line}: {library} is not used here")
        at_home = file.folder in HOMES.get(library, {file.folder})
        if not at_home and not (library == "mpi4py" and item.for_types_only):
            problems.append(f"{file.name}:{item.line}: {library} belongs to {sorted(HOMES[library])}")
    return problems


def world_communicators(file: SourceFile) -> list[str]:
    if file.folder in ("cli", "ase", "__main__"):
        return []
    return [
        f"{file.name}:{node.lineno}: {ast.unparse(node)}; take the communicator as an argument"
        for node in ast.walk(file.tree)
        if (isinstance(node, ast.Attribute) and node.attr == "COMM_WORLD")
        or (isinstance(node, ast.Name) and node.id == "COMM_WORLD")
    ]


def stray_constants(file: SourceFile) -> list[str]:
    if file.folder == "units":
        return []
    return [
        f"{file.name}:{number}: {line.strip()}; use mpiqmd.units"
        for number, line in enumerate(file.text.splitlines(), 1)
        if CONSTANTS.search(line)
    ]


def unfinished(file: SourceFile) -> list[str]:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b")
    return [
        f"{file.name}:{number}: {line.strip()}" for number, line in enumerate(file.text.splitlines(), 1) if marks.search(line)
    ]


RUNS_INPUT = {"eval", "exec", "compile", "__import__", "execfile"}
"""Built-in functions that turn text into code."""


def evaluated_input(file: SourceFile) -> list[str]:
    calls = [node for node in ast.walk(file.tree) if isinstance(node, ast.Call)]
    return [f"{file.name}:{node.lineno}: {ast.unparse(node)}" for node in calls if _runs_input(node)]


def _runs_input(call: ast.Call) -> bool:
    """Whether a call runs text as code, or lets NumPy unpickle what it loads."""
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    return name in RUNS_INPUT or any(
        keyword.arg == "allow_pickle" and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
        for keyword in call.keywords
    )


RULES = [
    upward_imports,
    misplaced_libraries,
    world_communicators,
    stray_constants,
    unfinished,
    evaluated_input,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_holds_everywhere(rule):
    problems = [problem for file in FILES for problem in rule(file)]
    assert not problems, lines(problems)


def test_every_part_of_the_package_has_a_floor():
    missing = {file.folder for file in FILES} - set(FLOOR)
    assert not missing, f"no floor for {missing}: add them to FLOORS"


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (upward_imports, "grid/a.py", "from mpiqmd.kohnsham.xc import f"),
        (upward_imports, "grid/a.py", "def f():\n    import mpiqmd.molecule.gth"),
        (upward_imports, "rom/a.py", "from mpiqmd import hifi"),
        (upward_imports, "rom/a.py", "from mpiqmd.config import Settings"),
        (upward_imports, "rom/a.py", "from . import basis"),
        (misplaced_libraries, "rom/a.py", "from petsc4py import PETSc"),
        (misplaced_libraries, "rom/a.py", "from mpi4py import MPI"),
        (misplaced_libraries, "md/a.py", "import matplotlib.pyplot"),
        (misplaced_libraries, "md/a.py", "import pickle"),
        (world_communicators, "grid/a.py", "from mpi4py import MPI\nMPI.COMM_WORLD.Barrier()"),
        (stray_constants, "md/a.py", "BOHR = 0.529177"),
        (unfinished, "md/a.py", "raise NotImplementedError"),
        (misplaced_libraries, "md/a.py", "import yaml"),
        (evaluated_input, "md/a.py", "eval('1')"),
        (evaluated_input, "md/a.py", "exec(compile)"),
        (evaluated_input, "md/a.py", "np.load(path, allow_pickle=True)"),
    ],
)
def test_rules_find_what_they_look_for(rule, path, text):
    assert len(rule(SourceFile(PACKAGE / path, text))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("rom/a.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from mpi4py import MPI"),
        (
            "rom/a.py",
            "from mpiqmd.rom.basis import x\nfrom mpiqmd.kohnsham.xc import y\nfrom mpiqmd import __version__",
        ),
        ("grid/a.py", "from petsc4py import PETSc\nfrom mpi4py import MPI"),
        ("md/a.py", '"""Never COMM_WORLD, TO DO nothing."""'),
    ],
)
def test_rules_let_the_rest_pass(path, text):
    assert [problem for rule in RULES for problem in rule(SourceFile(PACKAGE / path, text))] == []
