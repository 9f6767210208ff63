"""All sections of an input file and their keys, those that registered things add included."""

from __future__ import annotations

import dataclasses

from mpiqmd.config.settings import SECTIONS
from mpiqmd.errors import ConfigError
from mpiqmd.keys.registries import TERMS
from mpiqmd.keys.registry import Choices
from mpiqmd.keys.roles import Role
from mpiqmd.keys.spec import KeySpec
from mpiqmd.keys.values import Choice


def section_names() -> list[str]:
    """Return the names of all sections, those of energy terms last.  Not collective.

    Raises ConfigError for an energy term whose section would have the name of another.
    """
    own = TERMS.sections()
    for name in sorted(set(own) & set(SECTIONS)):
        raise ConfigError(f"the energy term {name!r} has the name of the section [{name}]. Names are given once. Rename it.")
    return [*SECTIONS, *own]


def registry_of(section: str) -> Choices | None:
    """Return the registry that adds keys to a section, if there is one.  Not collective."""
    if section not in SECTIONS:
        return None
    registries = (item.metadata.get("registry") for item in dataclasses.fields(SECTIONS[section]))
    return next((registry for registry in registries if registry is not None), None)


def section_keys(section: str, chosen: str | None = None) -> dict[str, KeySpec]:
    """Return the keys of a section in the order of the table of keys.  Not collective.

    With ``chosen``, the entry of the section's registry, only those that there are with it.
    """
    if section not in SECTIONS:
        return dict(TERMS.section_keys(section))
    specs: dict[str, KeySpec] = {}
    for item in dataclasses.fields(SECTIONS[section]):
        registry = item.metadata.get("registry")
        if registry is not None:
            _require_free(section, registry)
            specs[item.name] = KeySpec(Choice(tuple(registry.entries)), registry.default, registry.summary(), registry.role)
            specs |= registry.all_keys() if chosen is None else registry.keys_with(chosen)
        elif "spec" in item.metadata:
            specs[item.name] = item.metadata["spec"]
    return specs


def _require_free(section: str, registry: Choices) -> None:
    """Raise ConfigError for a registered key that has the name of one of the section's own."""
    own = {item.name for item in dataclasses.fields(SECTIONS[section])}
    for name in sorted(own & set(registry.all_keys())):
        raise ConfigError(
            f"the key {name!r} of the {registry.what} {registry.owners(name)[0]!r} has the name of a key that [{section}] has "
            "anyway. Names are given once. Rename it."
        )


def key_roles() -> dict[str, Role | None]:
    """Return what every key of an input decides, by ``"section.key"``; None for a key that does not say it.  Not collective."""
    return {f"{section}.{name}": role for section in section_names() for name, role in _roles(section).items()}


def _roles(section: str) -> dict[str, Role | None]:
    """Return the roles of a section's keys: their own, or that of the registry they belong to."""
    if section not in SECTIONS:
        return {name: TERMS.role_of(spec) for name, spec in TERMS.section_keys(section).items()}
    registry = registry_of(section)
    registered = {} if registry is None else {name: registry.role_of(spec) for name, spec in registry.all_keys().items()}
    tables = {item.name: item.metadata["role"] for item in dataclasses.fields(SECTIONS[section]) if "role" in item.metadata}
    return {name: spec.role for name, spec in section_keys(section).items()} | registered | tables
