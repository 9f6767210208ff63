"""Which keys of the input decide which numbers, so that a run is continued only as what it was.

Every key has a role, which its declaration says (:mod:`mpiqmd.keys.roles`), and a test refuses keys without one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from mpiqmd.config.sections import key_roles
from mpiqmd.config.settings import Settings
from mpiqmd.keys.roles import Role
from mpiqmd.kohnsham.model import KohnShamModel


def deciding(settings: Settings, roles: Iterable[Role]) -> dict[str, Any]:
    """Return the keys of these roles with their values, as plain data.  Not collective."""
    role_of, chosen = key_roles(), set(roles)
    keys = {f"{name}.{key}": value for name, section in settings.as_dict().items() for key, value in section.items()}
    return {key: value for key, value in keys.items() if role_of[key] in chosen}


def surface_identity(settings: Settings, model: KohnShamModel, model_hash: str | None = None) -> dict[str, str]:
    """Return what evaluations on a surface, Hi-Fi or of a model with this hash, must share, as text by name.

    Not collective.
    """
    roles: list[Role] = ["solve", "surface", "laboratory"]
    known = {"solver": "hifi"}
    if model_hash is not None:
        # Scf keys too: where a model is not good enough it may be left for Hi-Fi.
        roles += ["model", "compile", "watch"]
        known = {"solver": "rom", "model_hash": model_hash}
    keys = {name: _text(value) for name, value in deciding(settings, roles).items()}
    masses = {"masses": repr(model.molecule.masses_a.tolist())}
    physics = {f"physics.{name}": json.dumps(value) for name, value in model.signature().items()}
    return known | keys | masses | physics


def without(identity: dict[str, str], *roles: Role) -> dict[str, str]:
    """Return an identity without the keys of some roles.  Not collective."""
    left_out = {key for key, role in key_roles().items() if role in roles}
    return {name: value for name, value in identity.items() if name not in left_out}


def snapshot_signature(settings: Settings, model: KohnShamModel) -> dict[str, Any]:
    """Return the physics of training snapshots and how they are solved, as plain data.  Not collective."""
    return model.signature() | {"solved with": deciding(settings, ["solve", "training solve"])}


def recipe(settings: Settings) -> dict[str, Any]:
    """Return what a reduced model depends on besides physics and snapshots, as plain data.  Not collective."""
    return deciding(settings, ["training", "training solve", "basis", "compile"])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
