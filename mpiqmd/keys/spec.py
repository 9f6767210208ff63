"""How a key of the input file is declared: a dataclass field that carries its kind, default and description."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpiqmd.keys.values import Kind

REQUIRED = object()
UNSET = None

@dataclass(frozen=True)
class KeySpec:
    """What the input may say for one key: its kind, its default as a user would write it, what it does."""

    kind: Kind
    default: Any
    description: str


def key(kind: Kind, default: Any, description: str) -> Any:
    """Return a dataclass field that carries its :class:`KeySpec`; without a default if it is REQUIRED."""
    metadata = {"spec": KeySpec(kind, default, description)}
    if default is REQUIRED:
        return field(metadata=metadata)
    value = UNSET if default is UNSET else kind.read(default, Path())
    return field(default=value, metadata=metadata)


def key_specs(section: type) -> dict[str, KeySpec]:
    """Return the keys of a section class in the order of their declaration."""
    return {
        item.name: item.metadata["spec"] for item in dataclasses.fields(section) if "spec" in item.metadata
    }
