"""The checks between keys of an input file, after each was read by itself."""

from __future__ import annotations

from typing import Any

from mpiqmd.config.sections import section_keys
from mpiqmd.keys.kinds import SPACING
from mpiqmd.keys.registries import CHOICES, TERMS
from mpiqmd.keys.spec import Options, defaults
from mpiqmd.keys.values import as_written


def problems_between_keys(values: dict[str, dict[str, Any]], failed: set[str]) -> list[str]:
    """Return the problems that involve several keys; keys that failed by themselves are not judged again.  Not collective.

    ``values`` holds what was written, by section and key, ``failed`` the names ``section.key`` of what is missing or could
    not be read.
    """
    checks = (_system_problems, _grid_problems, _dynamics_problems, _choice_problems, _term_problems)
    return [line for check in checks for line in check(values, failed)]


def _system_problems(values: dict[str, dict[str, Any]], failed: set[str]) -> list[str]:
    system = values["system"]
    given = {name for name in ("symbols", "positions", "structure") if name in system or f"system.{name}" in failed}
    if "structure" in given and len(given) > 1:
        return ["[system] structure and symbols/positions are both given: the molecule comes from one. Remove either."]
    if not given:
        return ["[system] says no molecule. Write symbols and positions, or structure (the path of a file)."]
    problems = []
    if "structure" not in given and len(given) == 1:
        missing = ({"symbols", "positions"} - given).pop()
        problems.append(f"[system] {missing} is missing. Write one entry per atom, or give structure instead of both.")
    for name in ("positions", "masses"):
        if name in system and "symbols" in system and len(system[name]) != len(system["symbols"]):
            problems.append(
                f"[system] {name} has {len(system[name])} entries, symbols has {len(system['symbols'])}: "
                "one of each per atom is needed. Make the two lists equally long."
            )
    return problems


def _grid_problems(values: dict[str, dict[str, Any]], failed: set[str]) -> list[str]:
    grid = values["grid"]
    given = [name for name in ("points", "spacing") if name in grid or f"grid.{name}" in failed]
    if len(given) == 2:
        return ["[grid] points and spacing are both given: each follows from the other and the cell. Remove one."]
    if not given:
        return ["[grid] says no resolution. Write points (for example 64) or spacing (for example 0.1875)."]
    if "cell" not in grid:
        return []
    if "spacing" in grid and max(grid["cell"]) / grid["spacing"] > 100_000:
        return [
            f"[grid] spacing = {grid['spacing']:g} bohr: more than 100000 points along an edge. "
            "Allowed: 4 to 100000 points per edge. Use a larger spacing."
        ]
    spacings = [edge / count for edge, count in zip(grid["cell"], grid.get("points", ()), strict=False)]
    if any(not SPACING.minimum <= spacing <= SPACING.maximum for spacing in spacings):
        return [
            f"[grid] points = {as_written(grid['points'])} in a cell of {as_written(grid['cell'])} bohr: the spacing is "
            f"{max(spacings):g} bohr. Allowed: {SPACING} bohr. Correct the points, or the cell and its unit."
        ]
    return []


def _dynamics_problems(values: dict[str, dict[str, Any]], failed: set[str]) -> list[str]:
    dynamics, symbols = values["md"], values["system"].get("symbols")
    problems = []
    pinned = dynamics.get("pinned", ())
    if len(set(pinned)) != len(pinned):
        problems.append(f"[md] pinned = {as_written(pinned)}: an atom is listed twice. Name every atom once.")
    if symbols is not None and any(index >= len(symbols) for index in pinned):
        problems.append(
            f"[md] pinned = {as_written(pinned)}: no such atom. Allowed: indices from 0 to {len(symbols) - 1}. "
            "Correct the index."
        )
    velocities = dynamics.get("initial_velocities", "random")
    if symbols is not None and not isinstance(velocities, str) and len(velocities) != len(symbols):
        problems.append(
            f"[md] initial_velocities has {len(velocities)} entries, the molecule {len(symbols)} atoms. "
            "Write three numbers per atom."
        )
    return problems + _constraint_problems(dynamics.get("constraints", ()), symbols)


def _constraint_problems(constraints: tuple, symbols: tuple | None) -> list[str]:
    count = None if symbols is None else len(symbols)
    bad = [pair for pair in constraints if pair[0] == pair[1] or (count is not None and max(pair) >= count)]
    if len({frozenset(pair) for pair in constraints}) != len(constraints):
        bad = bad or [constraints[-1]]
    if not bad:
        return []
    atoms = "different atoms" if count is None else f"different atoms, from 0 to {count - 1}"
    return [f"[md] constraints holds {as_written(bad[0])}. Allowed: pairs of {atoms}, each pair once. Correct the list."]


def _choice_problems(values: dict[str, dict[str, Any]], failed: set[str]) -> list[str]:
    """Ask what was chosen from a registry whether it takes the values of its section."""
    problems = []
    for section, registry in CHOICES.items():
        if not any(key.startswith(f"{section}.") for key in failed):
            chosen = values[section].get(registry.key, registry.default)
            written = defaults(section_keys(section, chosen)) | values[section]
            problems += registry.entry(chosen).check(Options(**written))
    return problems


def _term_problems(values: dict[str, dict[str, Any]], failed: set[str]) -> list[str]:
    """Ask the energy terms whose sections were written whether they take their values."""
    problems = []
    for name, entry in TERMS.sections().items():
        if name in values and not any(key.startswith(f"{name}.") for key in failed):
            problems += entry.check(Options(**defaults(entry.keys) | values[name]))
    return problems
