"""How a key of the input file is declared: what may be written for it, and a dataclass field that carries this."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mpiqmd.keys.roles import Role
from mpiqmd.keys.values import Kind

REQUIRED = object()
UNSET = None


@dataclass(frozen=True)
class KeySpec:
    """What the input may say for one key.

    Attributes
    ----------
    kind, default, description
        What may be written, what is taken if nothing is, as a user would write it, and what the key does.
    role
        What the key decides, one of :data:`mpiqmd.keys.roles.ROLES`; None for the role of those that declare it.
    only_there
        Refused where what declares it is not chosen; other keys of what comes with mpiqmd may stay in an input.
    """

    kind: Kind
    default: Any
    description: str
    role: Role | None = None
    only_there: bool = False

    @property
    def value(self) -> Any:
        """The default as it is stored."""
        return UNSET if self.default is UNSET else self.kind.read(self.default, Path())


class Options(SimpleNamespace):
    """Values of declared keys as attributes, ``vars`` gives them by name; they do not change."""

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name} cannot be set: options do not change")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name} cannot be removed: options do not change")


def key(kind: Kind, default: Any, description: str, role: Role | None = None) -> Any:
    """Return a dataclass field that carries its :class:`KeySpec`; without a default if it is REQUIRED."""
    return declared(KeySpec(kind, default, description, role))


def declared(spec: KeySpec) -> Any:
    """Return a dataclass field of this declaration, for a key that several classes have."""
    metadata = {"spec": spec}
    return field(metadata=metadata) if spec.default is REQUIRED else field(default=spec.value, metadata=metadata)


def key_specs(section: type) -> dict[str, KeySpec]:
    """Return the keys that a class declares, in the order of their declaration."""
    return {item.name: item.metadata["spec"] for item in dataclasses.fields(section) if "spec" in item.metadata}


def defaults(specs: Mapping[str, KeySpec]) -> dict[str, Any]:
    """Return the stored defaults of keys by name; those that are REQUIRED have none."""
    return {name: spec.value for name, spec in specs.items() if spec.default is not REQUIRED}
