"""From a TOML file to :class:`Settings`: every key read by its kind, then the checks between keys.

All problems of a file are collected and raised together as one ConfigError, one per line.
"""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

from mpiqmd.config.checks import problems_between_keys
from mpiqmd.config.sections import registry_of, section_keys, section_names
from mpiqmd.config.settings import SECTIONS, Settings
from mpiqmd.errors import ConfigError
from mpiqmd.keys.kinds import PSEUDOPOTENTIAL, element_symbol
from mpiqmd.keys.registry import Choices
from mpiqmd.keys.spec import REQUIRED, KeySpec, Options, defaults
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
    problems = reader.problems + problems_between_keys(values, reader.failed)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"{count} in the input:\n" + "\n".join(f"  {line}" for line in problems))
    _fill_points(values["grid"])
    sections = {name: section(**_arguments(name, values[name])) for name, section in SECTIONS.items()}
    terms = {name: Options(**defaults(section_keys(name)) | values[name]) for name in values if name not in SECTIONS}
    return Settings(**sections, terms=terms, folder=Path(folder))


class _Reader:
    """Reads all sections and keys; keeps the problems and the names of the keys that failed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[str] = []
        self.failed: set[str] = set()

    def read(self, tables: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the values of the keys that were written and are acceptable, by section."""
        known = section_names()
        for name in tables:
            if name not in known:
                self._unknown_section(name)
        values = {}
        for name in [name for name in known if name in SECTIONS or name in tables]:
            table = tables.get(name, {})
            if not isinstance(table, dict):
                self.problems.append(f"{name} = {as_written(table)}: not a section. Write [{name}] and its keys below it.")
                self.failed |= {f"{name}.{key}" for key in section_keys(name)}
                table = {}
            values[name] = self._pseudopotentials(table) if name == "pseudopotentials" else self._section(name, table)
        return values

    def _section(self, section: str, table: dict[str, Any]) -> dict[str, Any]:
        registry = registry_of(section)
        chosen = None if registry is None else _chosen(registry, table)
        specs = section_keys(section, chosen)
        values: dict[str, Any] = {}
        for name, written in table.items():
            if registry is not None and self._is_misplaced(name, registry, chosen):
                continue
            if name not in specs:
                self._unknown_key(section, name)
                continue
            self._value(section, name, written, specs[name], values)
        others = set() if registry is None or chosen is not None else set(registry.all_keys())
        self._require(section, {name: spec for name, spec in specs.items() if name not in {*others, *table}})
        return values

    def _require(self, section: str, unwritten: dict[str, KeySpec]) -> None:
        """Say which of the keys that were not written must be."""
        for name, spec in unwritten.items():
            if spec.default is REQUIRED and f"{section}.{name}" not in self.failed:
                self.failed.add(f"{section}.{name}")
                self.problems.append(f"[{section}] {name} is missing: {spec.description}. Write {spec.kind.allowed}.")

    def _is_misplaced(self, name: str, registry: Choices, chosen: str | None) -> bool:
        """Whether a key belongs to what was not chosen and may not stay; then that is a problem."""
        spec = registry.all_keys().get(name)
        owners = registry.owners(name)
        if spec is None or chosen is None or chosen in owners:
            return False
        if name in registry.keys_with(chosen) and not spec.only_there:
            return False
        self.problems.append(
            f'[{registry.section}] {name} is given but {registry.key} is "{chosen}". '
            f'Set {registry.key} = "{owners[0]}" or remove it.'
        )
        return True

    def _pseudopotentials(self, table: dict[str, Any]) -> dict[str, Any]:
        """Return ``table`` (paths made absolute) and the section's ordinary keys: element symbols are keys too."""
        section, specs = "pseudopotentials", section_keys("pseudopotentials")
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
                f"[{section}] {name} = {as_written(written)}: {problem}. Allowed: {spec.kind.allowed}. {_advice(name, spec)}"
            )

    def _unknown_section(self, name: str) -> None:
        owners = [section for section in section_names() if name in section_keys(section)]
        if owners:
            self.problems.append(f"{name}: a key outside any section. Move it below [{'] or ['.join(owners)}].")
            return
        self.problems.append(
            f"[{name}]: unknown section{nearest(name, section_names())}. Allowed: {', '.join(section_names())}. "
            f"Correct or remove it; {HELP}."
        )

    def _unknown_key(self, section: str, name: str) -> None:
        specs = section_keys(section)
        owners = [other for other in section_names() if name in section_keys(other)]
        where = f", it belongs below [{'] or ['.join(owners)}]" if owners else nearest(name, list(specs))
        self.problems.append(
            f"[{section}] {name}: unknown key{where}. Allowed: {', '.join(specs)}. Correct or remove it; {HELP}."
        )


def _chosen(registry: Choices, table: dict[str, Any]) -> str | None:
    """Return which entry of a registry a section chooses, None if that is unreadable."""
    written = table.get(registry.key, registry.default)
    return written if isinstance(written, str) and written in registry.entries else None


def _arguments(section: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a section: its own values, and those of registered keys as its options."""
    registry = registry_of(section)
    if registry is None:
        return values
    chosen, registered = values.get(registry.key, registry.default), registry.all_keys()
    own = {name: value for name, value in values.items() if name not in registered}
    return own | {"options": registry.options(chosen, values)}


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
