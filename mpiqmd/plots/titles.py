"""What a figure shows, in one line: molecule, functional, surface and thermostat, from what the file says of its run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mpiqmd.keys.registries import THERMOSTATS
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.molecule.labels import hill_formula
from mpiqmd.units import ATOMIC_TIME_IN_FS, KELVIN_IN_HARTREE

SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
SHORT_HASH = 8
LONGEST = 110
"""Characters that fit over a figure."""


def title_of(trajectory: Trajectory) -> str:
    """Return molecule, functional, surface, thermostat and timestep of a run; what the file lacks is left out."""
    parts = [formula(trajectory.symbols), functional(trajectory), surface(trajectory), ensemble(trajectory)]
    return shown(", ".join(part for part in parts if part))


def formula(symbols: tuple[str, ...]) -> str:
    """Return Hill's formula with subscripts."""
    return hill_formula(symbols).translate(SUBSCRIPTS)


def functional(trajectory: Trajectory) -> str:
    """Return the functional as the input names it."""
    return str(_section(trajectory, "xc").get("functional", ""))


def surface(trajectory: Trajectory) -> str:
    """Return ``Hi-Fi`` with its spacing, or ``ROM`` with the model's hash."""
    attributes = trajectory.attributes
    if attributes.get("solver") == "rom":
        kind = str(attributes.get("rom.online", "")) + " model " + str(attributes.get("model_hash", ""))[:SHORT_HASH]
        return f"ROM ({kind.strip()})"
    cell, points = (_numbers(attributes.get(f"physics.{name}")) for name in ("cell", "points"))
    spacing = f" ({max(a / n for a, n in zip(cell, points, strict=True)):.3g} bohr)" if cell and points else ""
    return f"Hi-Fi{spacing}" if attributes.get("solver") == "hifi" else ""


def ensemble(trajectory: Trajectory) -> str:
    """Return the thermostat with its temperature, or NVE, and the timestep."""
    kind = str(trajectory.attributes.get("thermostat", ""))
    known = THERMOSTATS.entries.get(kind)
    name, temperature = (known and known.title) or kind, _section(trajectory, "md").get("temperature")
    if kind != "none" and name and isinstance(temperature, float):
        name += f" {temperature / KELVIN_IN_HARTREE:.0f} K"
    steps = f"steps of {trajectory.timestep * ATOMIC_TIME_IN_FS:.3g} fs"
    return f"{name}, {steps}" if name else steps


def shown(text: str) -> str:
    """Return text of a file as a figure may show it: printable, not too long, and no formula to Matplotlib."""
    plain = "".join(character if character.isprintable() else "?" for character in text)
    return (plain if len(plain) <= LONGEST else plain[: LONGEST - 1] + "…").replace("$", r"\$")


def _section(trajectory: Trajectory, name: str) -> Mapping[str, Any]:
    """Return a section of the run's input, empty if the file has none."""
    try:
        section = json.loads(str(trajectory.attributes.get("input", "")))[name]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return section if isinstance(section, dict) else {}


def _numbers(text: object) -> list[float]:
    """Return three positive numbers written as JSON, or none."""
    try:
        values = [float(value) for value in json.loads(str(text))]
    except (ValueError, TypeError, RecursionError):
        return []
    return values if len(values) == 3 and min(values) > 0 else []
