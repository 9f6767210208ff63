"""Two records of ``hifi.py`` beside each other: what became faster, and whether anything else changed.

    .venv/bin/python -m run.bench.compare old.json new.json

Prints, for every case of both, the ratio of CPU seconds (above 1: the second is faster), of iterations and of operator
applications, and flags a changed energy or number of iterations.  Ends with status 1 if an energy changed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from mpiqmd.pipeline.results import read_result

SAME_ENERGY = 1e-7
"""Energies that differ by less are the same, Ha: ten times what the cases are converged to."""

HEADER = f"{'case':16s} {'CPU s':>17s} {'ratio':>6s} {'iterations':>12s} {'applications':>15s} {'energy change':>14s}"


def compare(old: dict[str, Any], new: dict[str, Any]) -> tuple[list[str], bool]:
    """Return the lines of the table and whether every energy is the same."""
    lines, same = [HEADER], True
    for name in sorted(set(old["cases"]) | set(new["cases"])):
        if name not in old["cases"] or name not in new["cases"]:
            lines.append(f"{name:16s} only in the {'second' if name not in old['cases'] else 'first'}")
            continue
        first, second = old["cases"][name], new["cases"][name]
        text, energy_is_same = _row(first, second)
        lines.append(f"{name:16s} {text}")
        same = same and energy_is_same
    if old.get("points") != new.get("points"):
        lines.append(f"NOT COMPARABLE: {old.get('points')} and {new.get('points')} points a side")
    return lines, same


def _row(first: dict[str, Any], second: dict[str, Any]) -> tuple[str, bool]:
    change = second["energy"] - first["energy"]
    flags = []
    if abs(change) > SAME_ENERGY:
        flags.append("ENERGY CHANGED")
    if first["iterations"] != second["iterations"]:
        flags.append("iterations changed")
    ratio = first["cpu_seconds"] / second["cpu_seconds"]
    text = (
        f"{first['cpu_seconds']:8.2f} {second['cpu_seconds']:8.2f} {ratio:6.2f} "
        f"{first['iterations']:5d} {second['iterations']:6d} "
        f"{first['applications']:7d} {second['applications']:7d} {change:14.1e}"
    )
    return "  ".join([text, *flags]), abs(change) <= SAME_ENERGY


def main() -> int:
    """Print the table; 1 if an energy changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    arguments = parser.parse_args()
    old, new = read_result(arguments.first), read_result(arguments.second)
    lines, same = compare(old, new)
    print("\n".join(lines))
    for label, record in (("first", old), ("second", new)):
        machine = record["machine"]
        print(f"{label}: load average {machine['load_average']:.2f} on {machine['cores']} cores before the run")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
