"""The table of all input keys, for ``mpiqmd help-input`` and the documentation, from the declarations in ``settings``."""

from __future__ import annotations

from dataclasses import replace

from mpiqmd.config.sections import registry_of, section_keys, section_names
from mpiqmd.keys.kinds import PSEUDOPOTENTIAL
from mpiqmd.keys.registries import TERMS
from mpiqmd.keys.spec import REQUIRED, UNSET, KeySpec
from mpiqmd.keys.values import DIMENSIONS, as_written

_PSEUDOPOTENTIAL_KEYS = {
    "default": KeySpec(PSEUDOPOTENTIAL, "gth", "for every element without a line of its own"),
    "O, H, ...": KeySpec(PSEUDOPOTENTIAL, UNSET, "for one element"),
}


def describe_keys() -> str:
    """Return the table of all sections and keys: kind and atomic unit, default, description.  Not collective."""
    units = "\n".join(f"  {dimension:12s} {', '.join(names)}" for dimension, names in DIMENSIONS.items())
    tables = "\n\n".join(_describe_section(name) for name in section_names())
    return (
        "Keys of an mpiqmd input file (TOML).\n\n"
        'Quantities are numbers in Hartree atomic units or strings with a unit, such as "0.5 fs". Units:\n'
        f"{units}\n\n{tables}\n"
    )


def described_keys(section: str) -> dict[str, KeySpec]:
    """Return the keys of a section as a user may write them.  Not collective."""
    own, registry = section_keys(section), registry_of(section)
    if registry is not None:
        own |= {name: replace(spec, description=registry.describe(name, spec)) for name, spec in registry.all_keys().items()}
    return _PSEUDOPOTENTIAL_KEYS | own if section == "pseudopotentials" else own


def default_text(spec: KeySpec) -> str:
    """Return the default of a key as it would be written; ``required``, or ``-`` where there is none.  Not collective."""
    if spec.default is REQUIRED:
        return "required"
    return "-" if spec.default is UNSET else as_written(spec.default)


def _describe_section(section: str) -> str:
    specs = described_keys(section)
    rows = [(name, spec.kind.short, default_text(spec), spec.description) for name, spec in specs.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)) + "  " + row[3] for row in rows
    ]
    term = TERMS.sections().get(section)
    title = f"[{section}]" if term is None else f"[{section}]  {term.summary}; there if the section is written"
    return "\n".join([title, *lines])
