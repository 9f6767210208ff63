"""The records of measurements from which the page of accuracy and cost is made.

Each is a JSON file of its own in ``docs/records``, written by the script named here.  A file that is not there is left out;
one that does not hold what its script writes is an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCRIPTS = {
    "hifi": "run/bench/hifi.py",
    "accuracy": "run/bench/accuracy.py",
    "ripple": "run/bench/ripple.py",
    "hifi-drift": "run/bench/hifi_drift.py",
    "reduced": "run/bench/reduced_model.py",
    "published": "run/bench/published_case.py",
    "cards": "run/bench/card.py",
    "windows": "run/bench/windows.py",
    "potentials": "run/bench/potentials.py",
    "peers": "run/bench/peers.py",
    "scaling": "run/scaling/scaling.py",
}
"""Name of each record, and what makes it."""

NAMES = {"mpiqmd": "mpiqmd", "python": "Python", "numpy": "NumPy", "scipy": "SciPy", "petsc": "PETSc", "slepc": "SLEPc"}
"""Versions worth a reader's time, and how they are written."""

Record = dict[str, Any]


class RecordError(ValueError):
    """A record is there and is not what its script writes."""


def read_records(folder: Path) -> dict[str, Record]:
    """Return the records that are there by name.

    Raises
    ------
    RecordError
        A file is no JSON object.
    """
    found = {}
    for name in SCRIPTS:
        path = folder / f"{name}.json"
        if not path.exists():
            continue
        with taking_apart(name):
            found[name] = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(found[name], dict):
                raise ValueError(f"a JSON {type(found[name]).__name__}")
    return found


@contextmanager
def taking_apart(name: str) -> Iterator[None]:
    """Turn whatever goes wrong while a record is read into an error that names it."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError) as problem:
        reason = f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"
        raise RecordError(
            f"docs/records/{name}.json is not what {SCRIPTS[name]} writes ({reason}). Measure again, or remove the file."
        ) from problem


def provenance(name: str, record: Record) -> str:
    """Return a line about where the numbers come from: script, machine, date and versions, as far as the record says."""
    machine = record.get("machine", {})
    where = []
    if machine.get("processor"):
        where.append(str(machine["processor"]))
    if machine.get("cores"):
        where.append(f"{machine['cores']} cores")
    if machine.get("load_average") is not None:
        where.append(f"load before {machine['load_average']:.2f}")
    if record.get("launcher"):
        program, _, options = record["launcher"].partition(" ")
        where.append(f"`{Path(program).name} {options}`")
    if machine.get("date") or record.get("date"):
        where.append(str(machine.get("date") or record["date"]))
    versions = record.get("versions", {})
    where += [f"{label} {versions[key]}" for key, label in NAMES.items() if key in versions]
    return f"*`{SCRIPTS[name]}`" + "".join(f", {part}" for part in where) + ".*"
