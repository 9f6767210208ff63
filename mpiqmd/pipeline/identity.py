"""Which keys of the input decide which numbers, so that a run is continued only as what it was.

Every key has a role here, and a test refuses keys without one.  A key that is not named is compared, as one of the surface.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from mpiqmd.config.sections import section_keys, section_names
from mpiqmd.config.settings import Settings
from mpiqmd.keys.registries import registered_role
from mpiqmd.kohnsham.model import KohnShamModel

ROLES = {
    # how one geometry is solved in full; snapshots count their orbitals themselves
    "solve": "grid.poisson scf.solver scf.preconditioner_shift scf.anderson_history",
    # what else decides Hi-Fi energies and forces
    "surface": "scf.energy_tolerance scf.empty_orbitals scf.extrapolation scf.extrapolation_steps",
    # what forces Hi-Fi makes of a gradient
    "laboratory": "scf.net_force scf.frame md.pinned",
    # how a reduced model is evaluated
    "model": "rom.minimiser rom.forces",
    # and what is compiled into it, too
    "compile": "rom.online rom.tolerance",
    # which errors of a model are watched for, and when it is left for Hi-Fi: trajectories mark such steps, and may go on so
    "watch": "rom.check_every rom.error_tolerance rom.on_large_error",
    "dynamics": "md.timestep md.temperature md.thermostat md.seed md.remove_translation "
    "md.remove_rotation md.initial_velocities md.constraints md.constraint_tolerance md.output_every",
    # what a reduced model is made of
    "training": "train.sampling train.symmetrize",
    "training solve": "train.energy_tolerance",
    "basis": "rom.energy_fraction rom.criterion rom.rank rom.max_rank",
    # which geometries are evaluated: records compare the geometries themselves
    "geometries": "relax.optimiser relax.force_tolerance frequencies.displacement",
    # compared as what they make: the model's signature, masses and positions of the molecule
    "physics": "system.symbols system.positions system.structure system.charge system.masses grid.cell grid.points "
    "grid.spacing grid.order grid.boundary grid.density xc.functional pseudopotentials.table scf.electronic_temperature",
    # how long to go on, how often to save, what to check: no number depends on it
    "free": "pseudopotentials.allow_mismatch scf.max_iterations md.steps md.checkpoint_every md.checkpoint_minutes "
    "relax.max_steps frequencies.max_force frequencies.temperature train.validation train.seed",
}
"""Keys by what they decide; keys of what registers itself say it where they are declared."""

_ROLE = {name: role for role, names in ROLES.items() for name in names.split()}
NO_KEYS = {"pseudopotentials": ("table",)}
"""What sections hold besides keys."""


def all_keys() -> list[str]:
    """Return the names of all keys of an input, ``"section.key"``."""
    return [f"{name}.{key}" for name in section_names() for key in (*section_keys(name), *NO_KEYS.get(name, ()))]


def role_of(key: str) -> str:
    """Return what a key decides, one of ``ROLES``."""
    section, _, name = key.partition(".")
    return registered_role(section, name) or _ROLE.get(key, "surface")


def deciding(settings: Settings, roles: Iterable[str]) -> dict[str, Any]:
    """Return the keys of these roles with their values, as plain data.  Not collective."""
    sections, chosen = settings.as_dict(), set(roles)
    keys = {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}
    return {key: value for key, value in keys.items() if role_of(key) in chosen}


def surface_identity(settings: Settings, model: KohnShamModel, model_hash: str | None = None) -> dict[str, str]:
    """Return what evaluations on a surface, Hi-Fi or of a model with this hash, must share, as text by name.

    Not collective.
    """
    roles = ["solve", "surface", "laboratory"]
    known = {"solver": "hifi"}
    if model_hash is not None:
        # Scf keys too: where a model is not good enough it may be left for Hi-Fi.
        roles += ["model", "compile", "watch"]
        known = {"solver": "rom", "model_hash": model_hash}
    keys = {name: _text(value) for name, value in deciding(settings, roles).items()}
    masses = {"masses": repr(model.molecule.masses_a.tolist())}
    physics = {f"physics.{name}": json.dumps(value) for name, value in model.signature().items()}
    return known | keys | masses | physics


def without(identity: dict[str, str], *roles: str) -> dict[str, str]:
    """Return an identity without the keys of some roles.  Not collective."""
    left_out = {key for key in all_keys() if role_of(key) in roles}
    return {name: value for name, value in identity.items() if name not in left_out}


def snapshot_signature(settings: Settings, model: KohnShamModel) -> dict[str, Any]:
    """Return the physics of training snapshots and how they are solved, as plain data.  Not collective."""
    return model.signature() | {"solved with": deciding(settings, ["solve", "training solve"])}


def recipe(settings: Settings) -> dict[str, Any]:
    """Return what a reduced model depends on besides physics and snapshots, as plain data.  Not collective."""
    return deciding(settings, ["training", "training solve", "basis", "compile"])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
