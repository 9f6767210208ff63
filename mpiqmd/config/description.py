"""The table of all input keys, for ``mpiqmd help-input``; made from the declarations in ``settings``."""

from __future__ import annotations

from mpiqmd.config.keys import REQUIRED, UNSET, KeySpec, key_specs
from mpiqmd.config.kinds import PSEUDOPOTENTIAL
from mpiqmd.config.settings import SECTIONS
from mpiqmd.config.values import DIMENSIONS, as_written

_PSEUDOPOTENTIAL_KEYS = {
    "default": KeySpec(PSEUDOPOTENTIAL, "gth", "for every element without a line of its own"),
    "O, H, ...": KeySpec(PSEUDOPOTENTIAL, UNSET, "for one element"),
}


def describe_keys() -> str:
    """Return the table of all sections and keys: kind and atomic unit, default, description.  Not collective."""
    units = "\n".join(f"  {dimension:12s} {', '.join(names)}" for dimension, names in DIMENSIONS.items())
    tables = "\n\n".join(_describe_section(name) for name in SECTIONS)
    return (
        "Keys of an mpiqmd input file (TOML).\n\n"
        'Quantities are numbers in Hartree atomic units or strings with a unit, such as "0.5 fs". Units:\n'
        f"{units}\n\n{tables}\n"
    )


def _describe_section(section: str) -> str:
    specs = key_specs(SECTIONS[section])
    if section == "pseudopotentials":
        specs = _PSEUDOPOTENTIAL_KEYS | specs
    rows = [(name, spec.kind.short, _default(spec), spec.description) for name, spec in specs.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)) + "  " + row[3]
        for row in rows
    ]
    return "\n".join([f"[{section}]", *lines])


def _default(spec: KeySpec) -> str:
    if spec.default is REQUIRED:
        return "required"
    return "-" if spec.default is UNSET else as_written(spec.default)
