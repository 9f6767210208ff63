"""What reads badly is counted: packed calls, long parameter lists, crowded functions, arrays without shape or unit.

A count is met by saying what belongs together (a small class, a keyword, a split by idea), never by a tuple that hides it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.architecture.test_docstrings import Function, definitions, is_public
from tests.helpers.source import FILES, PACKAGE, SourceFile

pytestmark = pytest.mark.serial

MOST_PACKED_CALLS = 0.01
"""Largest share of calls ``f(*things)``, where the reader has to count which argument is which."""
MOST_POSITIONAL = 6
"""Positional parameters of a function, ``self`` and ``cls`` not among them; those by keyword alone are free."""
MOST_NAMES = 20
"""Names that a function binds, attributes of ``self`` included; those of comprehensions are free."""
FEWEST_DESCRIBED = 0.9
"""Smallest share of public functions that return arrays and say their shape and unit."""

LENGTH = r"(?:\.\.\.|…|3 N|\*\w+\.shape|\w(?: ?[-+·] ?\w)?|n_\w+|\d+|[a-z_]{3,}s)"
SHAPE = re.compile(rf"\b(?i:shaped?)\b|\({LENGTH}(?:, ?{LENGTH})+\)|\({LENGTH},\)")
"""The word, or axes in parentheses: ``(N, 3)``, ``(n, z, y, x)``, ``(modes,)``."""
UNIT = re.compile(
    r"\b(?:units?|dimensionless|a\.u\.|bohr|Ha|hartree|kelvin|fs|femtoseconds|radians|degrees|angstrom|km/mol|1/cm)(?![a-z])"
    r"|\belectron masses\b|\b(?i:whether)\b|\bindex\b|\bindices\b|\bcounts?\b|\bintegers?\b|±1|\+-1"
)
"""A unit, or that there is none: "without unit", "in the unit of f", an index, a count, whether."""

SPIN_FACTORS = {2.0, 4.0, 16.0, 0.5}
ELECTRONS = re.compile(r"electrons?\b|occup|density_matri|\borbitals_s?mn\b|n_orbitals")
"""What a number of SPIN_FACTORS directly beside it turns from orbitals into electrons, or back; sums are not judged."""
HOME_OF_SPIN = "mpiqmd/kohnsham/electrons.py"


def functions(file: SourceFile) -> list[Function]:
    return [node for node in ast.walk(file.tree) if isinstance(node, Function)]


def calls(file: SourceFile) -> list[ast.Call]:
    return [node for node in ast.walk(file.tree) if isinstance(node, ast.Call)]


def packed_calls(file: SourceFile) -> list[str]:
    packed = [call for call in calls(file) if any(isinstance(argument, ast.Starred) for argument in call.args)]
    return [f"{file.name}:{call.lineno}: {ast.unparse(call)}" for call in packed]


def positional(function: Function) -> list[str]:
    """Return the names of the parameters that a caller may give by position, the object or class itself left out."""
    parameters = [parameter.arg for parameter in function.args.posonlyargs + function.args.args]
    return parameters[1:] if parameters[:1] in (["self"], ["cls"]) else parameters


def long_parameter_lists(file: SourceFile) -> list[str]:
    return [
        f"{file.name}:{node.lineno}: {node.name} has {len(positional(node))} positional parameters, at most {MOST_POSITIONAL}"
        for node in functions(file)
        if len(positional(node)) > MOST_POSITIONAL
    ]


SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def bound_names(function: Function) -> set[str]:
    """Return what assignments, loops, ``with`` and ``:=`` of a function bind, but not those of functions inside it."""
    return {name for statement in function.body for name in _stored(statement)}


def _stored(node: ast.AST) -> Iterator[str]:
    if isinstance(node, SCOPES + COMPREHENSIONS):
        return
    if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
        yield ast.unparse(node)
    for child in ast.iter_child_nodes(node):
        yield from _stored(child)


def crowded_functions(file: SourceFile) -> list[str]:
    return [
        f"{file.name}:{node.lineno}: {node.name} binds {len(bound_names(node))} names, at most {MOST_NAMES}"
        for node in functions(file)
        if len(bound_names(node)) > MOST_NAMES
    ]


def protocol_docstrings(files: list[SourceFile]) -> dict[str, str]:
    """Return the docstring of each method of a protocol or base class, which implementations without one inherit."""
    documented = [(owner, node) for file in files for owner, node in definitions(file.tree) if owner is not None]
    bases = {ast.unparse(base).partition("[")[0] for owner, _ in documented for base in owner.bases} | {"Protocol"}
    return {
        node.name: ast.get_docstring(node) or ""
        for owner, node in documented
        if owner.name in bases or any("Protocol" in ast.unparse(base) for base in owner.bases)
    }


def array_functions(file: SourceFile) -> list[tuple[str, Function]]:
    """Return the public functions and methods whose annotation says that they return arrays, with where they are."""
    found = []
    for owner, node in definitions(file.tree):
        names = [owner.name, node.name] if owner else [node.name]
        public = all(is_public(name) for name in names)
        if isinstance(node, Function) and public and node.returns and "np.ndarray" in ast.unparse(node.returns):
            found.append((f"{file.name}:{node.lineno}: {'.'.join(names)}", node))
    return found


def undescribed_arrays(file: SourceFile, inherited: dict[str, str]) -> list[str]:
    problems = []
    for place, node in array_functions(file):
        text = ast.get_docstring(node) or inherited.get(node.name, "")
        missing = [word for word, rule in (("shape", SHAPE), ("unit", UNIT)) if not rule.search(text)]
        if missing:
            problems.append(f"{place}: no {' and no '.join(missing)}")
    return problems


def spin_factors(file: SourceFile) -> list[str]:
    """Return products and quotients of electrons with a literal that stands for w or a power of it."""
    if file.name == HOME_OF_SPIN:
        return []
    found = [node for node in ast.walk(file.tree) if isinstance(node, ast.BinOp) and _turns_into_electrons(node)]
    return [f"{file.name}:{node.lineno}: {ast.unparse(node)}; name SPIN_WEIGHT" for node in found]


def _turns_into_electrons(node: ast.BinOp) -> bool:
    if not isinstance(node.op, ast.Mult | ast.Div | ast.FloorDiv):
        return False
    pairs = [(node.left, node.right), (node.right, node.left)] if isinstance(node.op, ast.Mult) else [(node.right, node.left)]
    return any(
        isinstance(number, ast.Constant)
        and number.value in SPIN_FACTORS
        and not isinstance(rest, ast.BinOp)
        and ELECTRONS.search(ast.unparse(rest))
        for number, rest in pairs
    )


def lines(problems: list[str]) -> str:
    return "\n" + "\n".join(problems)


@pytest.mark.parametrize("rule", [long_parameter_lists, crowded_functions, spin_factors], ids=lambda rule: rule.__name__)
def test_rule_holds_everywhere(rule):
    problems = [problem for file in FILES for problem in rule(file)]
    assert not problems, lines(problems)


def test_calls_are_seldom_packed():
    packed = [problem for file in FILES for problem in packed_calls(file)]
    share = len(packed) / sum(len(calls(file)) for file in FILES)
    assert share <= MOST_PACKED_CALLS, f"{100 * share:.2f} % of calls are packed:{lines(packed)}"


def test_arrays_have_shape_and_unit():
    inherited = protocol_docstrings(FILES)
    problems = [problem for file in FILES for problem in undescribed_arrays(file, inherited)]
    share = 1.0 - len(problems) / sum(len(array_functions(file)) for file in FILES)
    assert share >= FEWEST_DESCRIBED, f"only {100 * share:.0f} % of them say both:{lines(problems)}"


def made(text: str) -> SourceFile:
    return SourceFile(PACKAGE / "grid" / "a.py", text)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (packed_calls, "f(1, *things)"),
        (packed_calls, "f(*(g(x) for x in y))"),
        (long_parameter_lists, "def f(a, b, c, d, e, f, g): pass"),
        (long_parameter_lists, "class C:\n    def f(self, a, b, c, d, e, f, /, g): pass"),
        (crowded_functions, "def f():\n" + "".join(f"    a{k} = {k}\n" for k in range(21))),
        (crowded_functions, "def f(self):\n" + "".join(f"    self.a{k} = {k}\n" for k in range(21))),
        (crowded_functions, "def f():\n    " + ", ".join(f"a{k}" for k in range(19)) + " = x\n    for i, j in y: pass"),
        (spin_factors, "n = 2.0 * orbitals_smn.shape[2]"),
        (spin_factors, "n = n_electrons / 2"),
        (spin_factors, "n = 2 * occupations_n.sum()"),
        (spin_factors, "n = np.trace(density_matrix_mm) * 2.0"),
    ],
)
def test_rules_find_what_they_look_for(rule, text):
    assert len(rule(made(text))) == 1


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (packed_calls, "f(x, y=1, **options)\n[*a, *b]"),
        (long_parameter_lists, "class C:\n    def f(self, a, b, c, d, e, f, *, g, h): pass"),
        (crowded_functions, "def f():\n" + "    a = 1\n" * 30 + "    x[0], x[1] = [b for b in c], {d: e for d, e in g}"),
        (
            crowded_functions,
            "def f():\n    def g():\n"
            + "".join(f"        a{k} = {k}\n" for k in range(11))
            + "    "
            + ", ".join(f"b{k}" for k in range(11))
            + " = x",
        ),
        (spin_factors, "m = 0.5 * (density_matrix + density_matrix.T)"),
        (spin_factors, "e = 0.5 * density.inner(potential)\nv = SPIN_WEIGHT * n_orbitals\nx = 2.0 * np.pi"),
    ],
)
def test_rules_let_the_rest_pass(rule, text):
    assert rule(made(text)) == []


@pytest.mark.parametrize(
    ("docstring", "missing"),
    [
        ("Return the forces, shape (N, 3), Ha/bohr.", ""),
        ("Return the moment (3,) in atomic units.", ""),
        ("Return values of the shape of x, dimensionless.", ""),
        ("Return the mirror image's index of every point, shape (points,).", ""),
        ("Return weights, shape (samples,), without unit.", ""),
        ("Return the block ``(n, z, y, x)`` of the gradient in the unit of f per bohr.", ""),
        ("Return volumes (n_mesh,), bohr³.", ""),
        ("Whether each frame is done, shape (frames,).", ""),
        ("Return the forces.", "shape and no unit"),
        ("Return the forces (Ha/bohr).", "shape"),
        ("Return the levels (Ha, ascending).", "shape"),
        ("Return the forces, shape (N, 3).", "unit"),
        ("Return the unitary matrix K, shape (n, n).", "unit"),
        ("", "shape and no unit"),
    ],
)
def test_a_description_is_a_shape_and_a_unit(docstring, missing):
    file = made(f'def f() -> np.ndarray:\n    """{docstring}"""\n    return x')
    found = undescribed_arrays(file, {})
    assert [problem.partition(": no ")[2] for problem in (text.partition(": ")[2] for text in found)] == [missing] * bool(
        missing
    )


def test_only_public_functions_that_return_arrays_are_counted():
    text = "def f() -> float: pass\ndef _g() -> np.ndarray: pass\nclass C:\n    def h(self) -> dict[str, np.ndarray]: pass"
    assert [place for place, _ in array_functions(made(text))] == ["mpiqmd/grid/a.py:4: C.h"]


def test_an_implementation_inherits_the_description_of_its_protocol():
    text = 'class P(Protocol):\n    def f(self) -> np.ndarray:\n        """Return x, shape (3,), bohr."""\n'
    text += "class C(B):\n    def f(self) -> np.ndarray:\n        return x\n    def g(self) -> np.ndarray:\n        return x"
    inherited = protocol_docstrings([made(text)])
    assert len(undescribed_arrays(made(text), inherited)) == 1
