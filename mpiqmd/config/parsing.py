"""From a TOML file to :class:`Settings`: every key read by its kind, then the checks between keys.

All problems of a file are collected and raised together as one ConfigError, one per line.
"""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

from mpiqmd.config.settings import SECTIONS, MolecularDynamics, Settings, Training
from mpiqmd.errors import ConfigError
from mpiqmd.keys.kinds import PSEUDOPOTENTIAL, SPACING, element_symbol
from mpiqmd.keys.spec import REQUIRED, KeySpec, key_specs
from mpiqmd.keys.values import Unacceptable, as_written, nearest
from mpiqmd.regular import in_words, read_text

LARGEST_INPUT = 16_000_000
"""Bytes: more than a hundred thousand atoms take."""
HELP = "run `mpiqmd help-input` for the list of keys"


def load_input(path: str | Path) -> Settings:
    """Return the settings of an input file.  Not collective.

    Raises
    ------
    ConfigError
        The file cannot be read, is not TOML, or asks for something unknown or impossible; the message lists
        every problem, one per line.
    """
    path = Path(path)
    try:
        tables = tomllib.loads(read_text(path, LARGEST_INPUT))
    except OSError as problem:
        raise ConfigError(f"{path} is no input file: {in_words(problem)}. Give the path of a TOML file.") from None
    except (ValueError, RecursionError) as problem:
        raise ConfigError(f"{path} is not a TOML file: {problem}. Correct that line; {HELP}.") from None
    try:
        return parse_input(tables, path.resolve().parent)
    except ConfigError as problem:
        raise ConfigError(f"{path}: {problem}") from None


def parse_input(tables: dict[str, Any], folder: Path) -> Settings:
    """Return the settings of a parsed input; relative paths start at ``folder``.  Not collective.

    Raises ConfigError with all problems, one per line.
    """
    reader = _Reader(Path(folder))
    values = reader.read(tables)
    problems = reader.problems + _problems_between_keys(values, reader.failed)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"{count} in the input:\n" + "\n".join(f"  {line}" for line in problems))
    _fill_points(values["grid"])
    sections = {name: section(**values[name]) for name, section in SECTIONS.items()}
    return Settings(**sections, folder=Path(folder))


class _Reader:
    """Reads all sections and keys; keeps the problems and the names of the keys that failed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[str] = []
        self.failed: set[str] = set()

    def read(self, tables: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the values of the keys that were written and are acceptable, by section."""
        for name in tables:
            if name not in SECTIONS:
                self._unknown_section(name)
        values = {}
        for name in SECTIONS:
            table = tables.get(name, {})
            if not isinstance(table, dict):
                self.problems.append(
                    f"{name} = {as_written(table)}: not a section. Write [{name}] and its keys below it."
                )
                self.failed |= {f"{name}.{key}" for key in key_specs(SECTIONS[name])}
                table = {}
            values[name] = (
                self._pseudopotentials(table) if name == "pseudopotentials" else self._section(name, table)
            )
        return values

    def _section(self, section: str, table: dict[str, Any]) -> dict[str, Any]:
        specs = key_specs(SECTIONS[section])
        values: dict[str, Any] = {}
        for name, written in table.items():
            if name not in specs:
                self._unknown_key(section, name)
                continue
            self._value(section, name, written, specs[name], values)
        for name, spec in specs.items():
            if spec.default is REQUIRED and name not in table and f"{section}.{name}" not in self.failed:
                self.problems.append(
                    f"[{section}] {name} is missing: {spec.description}. Write {spec.kind.allowed}."
                )
        return values

    def _pseudopotentials(self, table: dict[str, Any]) -> dict[str, Any]:
        """Return ``table`` (paths made absolute) and the section's ordinary keys: element symbols are keys too."""
        section, specs = "pseudopotentials", key_specs(SECTIONS["pseudopotentials"])
        values: dict[str, Any] = {}
        names: dict[str, Any] = {"default": "gth"}
        for name, written in table.items():
            if name in specs:
                self._value(section, name, written, specs[name], values)
            elif name == "default" or _is_symbol(name):
                spec = KeySpec(PSEUDOPOTENTIAL, "gth", "")
                self._value(section, name, written, spec, names)
            else:
                known = ["default", *specs]
                self.problems.append(
                    f"[{section}] {name}: neither a chemical symbol nor a key{nearest(name, known)}. "
                    f"Allowed: {', '.join(known)} and symbols such as O. Correct or remove it; {HELP}."
                )
        values["table"] = {name: _located(text, self.folder) for name, text in names.items()}
        return values

    def _value(self, section: str, name: str, written: Any, spec: KeySpec, values: dict[str, Any]) -> None:
        try:
            values[name] = spec.kind.read(written, self.folder)
        except Unacceptable as problem:
            self.failed.add(f"{section}.{name}")
            self.problems.append(
                f"[{section}] {name} = {as_written(written)}: {problem}. Allowed: {spec.kind.allowed}. "
                f"{_advice(name, spec)}"
            )

    def _unknown_section(self, name: str) -> None:
        owners = [section for section, kind in SECTIONS.items() if name in key_specs(kind)]
        if owners:
            self.problems.append(
                f"{name}: a key outside any section. Move it below [{'] or ['.join(owners)}]."
            )
            return
        self.problems.append(
            f"[{name}]: unknown section{nearest(name, list(SECTIONS))}. Allowed: {', '.join(SECTIONS)}. "
            f"Correct or remove it; {HELP}."
        )

    def _unknown_key(self, section: str, name: str) -> None:
        specs = key_specs(SECTIONS[section])
        owners = [other for other, kind in SECTIONS.items() if name in key_specs(kind)]
        where = f", it belongs below [{'] or ['.join(owners)}]" if owners else nearest(name, list(specs))
        self.problems.append(
            f"[{section}] {name}: unknown key{where}. Allowed: {', '.join(specs)}. Correct or remove it; {HELP}."
        )


def _advice(name: str, spec: KeySpec) -> str:
    if spec.default is REQUIRED or spec.default is None:
        return "Correct it."
    return f"Correct it, or remove it for the default, {as_written(spec.default)}."


def _is_symbol(name: str) -> bool:
    try:
        return bool(element_symbol(name))
    except Unacceptable:
        return False


def _located(name: str, folder: Path) -> str:
    """Return the name of a table as it is, of a file as an absolute path."""
    is_table = name.lower() == "gth" or name.lower().startswith("gth:")
    return name.lower() if is_table else str((folder / Path(name).expanduser()).resolve())


def _fill_points(grid: dict[str, Any]) -> None:
    """Choose, for each edge, the smallest even number of points whose spacing is not above the one asked for."""
    if "points" in grid:
        return
    halves = (math.ceil(edge / (2 * grid["spacing"]) - 1e-9) for edge in grid["cell"])
    grid["points"] = tuple(2 * max(half, 2) for half in halves)


def _problems_between_keys(values: dict[str, dict[str, Any]], failed: set[str]) -> list[str]:
    """Return the problems that involve several keys; keys that failed by themselves are not judged again."""
    checks = (_system_problems, _grid_problems, _dynamics_problems, _training_problems)
    return [line for check in checks for line in check(values, failed)]


def _system_problems(values: dict[str, dict[str, Any]], failed: set[str]) -> list[str]:
    system = values["system"]
    given = {
        name for name in ("symbols", "positions", "structure") if name in system or f"system.{name}" in failed
    }
    if "structure" in given and len(given) > 1:
        return [
            "[system] structure and symbols/positions are both given: the molecule comes from one. Remove either."
        ]
    if not given:
        return ["[system] says no molecule. Write symbols and positions, or structure (the path of a file)."]
    problems = []
    if "structure" not in given and len(given) == 1:
        missing = ({"symbols", "positions"} - given).pop()
        problems.append(
            f"[system] {missing} is missing. Write one entry per atom, or give structure instead of both."
        )
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
        return [
            "[grid] points and spacing are both given: each follows from the other and the cell. Remove one."
        ]
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
    problems += _constraint_problems(dynamics.get("constraints", ()), symbols)
    needs_resolution = dynamics.get("thermostat") in ("berendsen", "nose-hoover")
    if not {"md.timestep", "md.relaxation_time"} & failed and needs_resolution:
        timestep, relaxation = (
            dynamics.get(name, getattr(MolecularDynamics, name)) for name in ("timestep", "relaxation_time")
        )
        if relaxation < timestep:
            problems.append(
                f"[md] relaxation_time = {relaxation:g}: shorter than the time step of {timestep:g} a.u. "
                "Allowed: at least one time step. Use 10 to 100 time steps."
            )
    return problems


def _constraint_problems(constraints: tuple, symbols: tuple | None) -> list[str]:
    count = None if symbols is None else len(symbols)
    bad = [pair for pair in constraints if pair[0] == pair[1] or (count is not None and max(pair) >= count)]
    if len({frozenset(pair) for pair in constraints}) != len(constraints):
        bad = bad or [constraints[-1]]
    if not bad:
        return []
    atoms = "different atoms" if count is None else f"different atoms, from 0 to {count - 1}"
    return [f"[md] constraints holds {as_written(bad[0])}. Allowed: pairs of {atoms}, each pair once. Correct the list."]


def _training_problems(values: dict[str, dict[str, Any]], failed: set[str]) -> list[str]:
    training = values["train"]
    if "train.sampling" in failed:
        return []
    sampling = training.get("sampling", Training.sampling)
    given = "structures" in training or "train.structures" in failed
    if sampling in ("structures", "trajectory") and not given:
        return [
            f'[train] structures is missing although sampling = "{sampling}". Write the path of a file of geometries.'
        ]
    if given and sampling in ("lattice", "normal-modes"):
        return [
            f'[train] structures is given but sampling is "{sampling}". Set sampling = "structures" or remove it.'
        ]
    angle, offsets = (
        training.get("angle", Training.angle),
        training.get("angle_offsets", Training.angle_offsets),
    )
    bad = [f"{math.degrees(angle + offset):.6g}" for offset in offsets if not 0 < angle + offset < math.pi]
    if bad:
        return [
            f"[train] angle and angle_offsets: their sums are {', '.join(bad)} degrees. "
            "Allowed: above 0 and below 180 degrees. Use smaller offsets."
        ]
    return []
