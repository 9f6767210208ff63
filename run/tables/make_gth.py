"""Convert a file of published GTH parameters into ``mpiqmd/molecule/data/gth.json``.

    python run/tables/make_gth.py GTH_POTENTIALS mpiqmd/molecule/data/gth.json

The input is in the GTH format of CP2K's database (Debian's ``cp2k-data`` package has it).  Each entry keeps
its numbers as published; the default valence charge of an element is the one whose entry also carries the
name without ``-q``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mpiqmd.molecule.elements import SYMBOLS

TABLES = {"GTH-PADE": "LDA", "GTH-PBE": "PBE", "GTH-BLYP": "BLYP"}
SOURCES = (
    "S. Goedecker, M. Teter, J. Hutter, Phys. Rev. B 54, 1703 (1996); "
    "C. Hartwigsen, S. Goedecker, J. Hutter, Phys. Rev. B 58, 3641 (1998); "
    "M. Krack, Theor. Chem. Acc. 114, 145 (2005)"
)
CONTENTS = (
    "parameters of Goedecker-Teter-Hutter pseudopotentials, Hartree atomic units. "
    "tables: functional: element: {default: valence charge, valence charge: {local: [r_loc, C1, C2, ...], "
    "channels: for l = 0, 1, ...: [r_l, rows of the upper triangle of h]}}"
)


def entries(text: str):
    """Yield (names, numbers) of every entry; ``numbers`` are the lines of its parameters, split."""
    names, lines = [], []
    for line in text.splitlines():
        fields = line.split("#")[0].split()
        if not fields:
            continue
        if fields[0][0].isalpha():
            if names:
                yield names, lines
            names, lines = fields, []
        else:
            lines.append(fields)
    if names:
        yield names, lines


def parameters(lines: list[list[str]]) -> tuple[int, dict]:
    """Valence charge and parameters of one entry."""
    numbers = iter([field for line in lines[1:] for field in line])
    valence = sum(map(int, lines[0]))
    radius, n_local = float(next(numbers)), int(next(numbers))
    local = [radius] + [float(next(numbers)) for _ in range(n_local)]
    channels = []
    for _ in range(int(next(numbers))):
        radius, n_projectors = float(next(numbers)), int(next(numbers))
        rows = [[float(next(numbers)) for _ in range(n_projectors - row)] for row in range(n_projectors)]
        channels.append([radius, rows])
    return valence, {"local": local, "channels": channels}


def collect(text: str) -> dict:
    """All entries of the wanted tables: functional -> element -> parameters by valence charge."""
    tables: dict = {functional: {} for functional in TABLES.values()}
    for (symbol, *names), lines in entries(text):
        for prefix, functional in TABLES.items():
            charges = [name.removeprefix(prefix + "-q") for name in names if name.startswith(prefix + "-q")]
            if symbol not in SYMBOLS or len(charges) != 1 or not charges[0].isdigit():
                continue
            valence, values = parameters(lines)
            if valence != int(charges[0]):
                raise SystemExit(f"{symbol} {names[0]}: {valence} electrons do not match the name")
            element = tables[functional].setdefault(symbol, {})
            element[str(valence)] = values
            if prefix in names:
                element["default"] = valence
    for table in tables.values():
        for element in table.values():
            if "default" not in element:
                element["default"] = min(int(key) for key in element)
    return tables


def main() -> None:
    source, target = map(Path, sys.argv[1:3])
    tables = collect(source.read_text())
    lines = ["{", f'"contents": {json.dumps(CONTENTS)},', f'"sources": {json.dumps(SOURCES)},', '"tables": {']
    for index, (functional, table) in enumerate(tables.items()):
        rows = [f"  {json.dumps(symbol)}: {json.dumps(element)}" for symbol, element in table.items()]
        closing = "," if index < len(tables) - 1 else ""
        lines += [f'"{functional}": {{', ",\n".join(rows), "}" + closing]
    target.write_text("\n".join([*lines, "}", "}"]) + "\n")


if __name__ == "__main__":
    main()
