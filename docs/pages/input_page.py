"""The page of all input keys, from the declarations that the parser and ``mpiqmd help-input`` use."""

from __future__ import annotations

from mpiqmd.config.description import default_text, described_keys
from mpiqmd.config.sections import section_names
from mpiqmd.keys.registries import TERMS
from mpiqmd.keys.values import DIMENSIONS

HEAD = """# Input file

<!-- Made by run/docs from the declarations in mpiqmd/config/settings.py, and of what registers itself: change those. -->

An input is a TOML file. `mpiqmd help-input` prints the same keys in the terminal. Only `[system]` and `grid.cell` with
`grid.points` or `grid.spacing` must be there; everything else has a default. An unknown key is refused with the nearest
known one, and all problems of a file are reported at once.

```toml
[system]
symbols = ["O", "H", "H"]
positions = [[0.0, 0.0, 0.0], [1.12, 1.447, 0.0], [1.12, -1.447, 0.0]]

[grid]
cell = "6.4 angstrom"
spacing = 0.2
```

## Quantities

A number is in Hartree atomic units; a string carries its unit, such as `"0.5 fs"`. Temperatures are energies k_B T, so kelvin
must be written: `"300 K"`.

| quantity | units |
| --- | --- |
"""

ABOUT = {
    "system": (
        "The nuclei: `symbols` and `positions`, or `structure`. The centre of the cell is the origin. An isolated molecule "
        "may have its\ncoordinates anywhere: with an atom nearer than 4 bohr to a wall, or outside, it is computed in the "
        "middle of the cell if that\ngains more than 1 bohr; the log says so, and results and files keep the coordinates of "
        "the input. In a periodic cell it does\nnot matter which image of an atom is given."
    ),
    "grid": (
        "The orthogonal cell and its points. An isolated molecule needs at least 5 bohr of room on every side, and elements "
        "whose\nelectrons are bound loosely need more: `mpiqmd init` knows how much. Commands warn, with a number and a "
        "cell or spacing that\nwould do, where walls raise the energy by about 1 mHa, where nothing but the walls holds the "
        "electrons, and where the spacing\nis too wide for an element (see [theory](theory.md))."
    ),
    "xc": "The exchange-correlation functional.",
    "pseudopotentials": "A table or a file per element. The number of electrons must come out even.",
    "scf": "The full (Hi-Fi) solver.",
    "md": "Dynamics, with `mpiqmd md`, on either surface.",
    "relax": "Geometry optimisation, with `mpiqmd relax` and before training by normal modes.",
    "frequencies": "Harmonic vibrations, with `mpiqmd frequencies` and before training by normal modes.",
    "train": "Which geometries are solved for a reduced model. For a molecule other than water set `sampling`; see the "
    "[tutorial](tutorial-molecule.md).",
    "rom": "Size of the reduced model, and what its dynamics does.",
}


def input_page() -> str:
    """Return the page as Markdown.  Not collective."""
    units = "".join(f"| {name} | {', '.join(f'`{unit}`' for unit in known)} |\n" for name, known in DIMENSIONS.items())
    return HEAD + units + "".join(_section(name) for name in section_names())


def _section(section: str) -> str:
    rows = "".join(
        f"| `{name}` | {_cell(spec.kind.short)} | {_default(default_text(spec))} | {_cell(spec.description)} |\n"
        for name, spec in described_keys(section).items()
    )
    table = f"| key | value | default | |\n| --- | --- | --- | --- |\n{rows}"
    return f"\n## [{section}]\n\n{_about(section)}\n\n{table}"


def _about(section: str) -> str:
    """Return what a section is for; a term's own is there where it is written."""
    return ABOUT.get(section) or f"The energy term {section}, there if the section is written: {TERMS.entry(section).summary}."


def _default(text: str) -> str:
    return text if text == "required" else ("" if text == "-" else f"`{text}`")


def _cell(text: str) -> str:
    """Return text that does not end a table's cell or its markup."""
    return text.replace("|", "\\|").replace("*", "\\*")
