"""What people want to know of a reduced model first, in a few lines.

What solves or evaluates is not imported here: ``mpiqmd info`` shall work where it does not.
"""

from __future__ import annotations

import json
from typing import Any

import h5py
import numpy as np

from mpiqmd.datafiles import Contents
from mpiqmd.molecule.labels import labels
from mpiqmd.rom.verdict import GROWN, full_warnings, stored_verdict, unchecked, warning_on_full

SHORT_HASH = 12
"""Characters shown of a hash."""


def describe_model(file: h5py.File) -> list[str]:
    """Return size, training range, errors and physics of an open model file; absent parts are left out.  Not collective."""
    lines = []
    for part in (_basis, _box, _grown, _errors, _verdict, _grid_free, _physics):
        try:
            lines += part(file)
        except KeyError:
            continue
    return lines


def find_singular_values(contents: Contents) -> h5py.Dataset | None:
    """Return the dataset ``singular_values`` at the root of a model or below ``basis``, or None."""
    for name in ("singular_values", "basis/singular_values"):
        if name in contents.file:
            return contents.dataset(name)
    return None


def error_table(errors: dict[str, Any]) -> list[str]:
    """Return the lines of a table of the errors of :class:`mpiqmd.rom.validation.Validation`.  Not collective."""
    lines = [
        f"{'':34s}  {'energy (Ha)':^29s} {'force (Ha/bohr)':^39s}".rstrip(),
        f"{'errors against Hi-Fi':28s}{'count':>6s} {''.join(f' {name:>9s}' for name in _COLUMNS)}",
    ]
    rows = [(label, errors[name]) for name, label in _SETS.items()]
    worst = errors["worst"]
    if worst is not None:
        rows += [(f"worst {name}, {form}", worst[name][key]) for name in worst for key, form in _FORMS.items()]
    lines += [_table_row(f"  {label}", each) for label, each in rows if each is not None]
    estimate = (errors["unseen"] or {}).get("estimate")
    if estimate is not None:
        lines.append(f"largest estimated error of an unseen energy {estimate:.1e} Ha")
    lines.append(f"rms and largest energy errors without the mean at the training geometries, {_offsets(errors)}")
    return lines


def _offsets(errors: dict[str, Any]) -> str:
    """Return the constants that energies are compared without; files of earlier versions have one for both forms."""
    if errors.get("grid_offset") is None:
        return f"{errors['offset']:.1e} Ha"
    return f"{errors['offset']:.1e} Ha (grid-free) and, at the worst of them, {errors['grid_offset']:.1e} Ha (grid)"


_COLUMNS = ("mean", "rms", "largest", "rms", "median", "90 %", "largest")
"""Of the energies, then of the forces; the quantiles are of the largest component of each geometry."""
_SETS = {
    "training": "training geometries",
    "random": "unseen, random",
    "dynamics": "unseen, own dynamics",
    "unseen": "unseen, all",
}
_FORMS = {"in_use": "grid-free", "on_grid": "grid"}


def _table_row(label: str, statistics: dict[str, Any]) -> str:
    answered = statistics["count"] - statistics["unanswered"]
    start = f"{label:28s}{answered:6d} "
    if answered == 0:
        return start + " no answer at any"
    energy, force = statistics["energy"], statistics["force"]
    values = [energy[name] for name in ("mean", "rms", "largest")]
    values += [force["rms"], force["quantiles"]["0.5"], force["quantiles"]["0.9"], force["largest"]]
    return start + "".join(f" {value:9.1e}" for value in values)


def _basis(file: h5py.File) -> list[str]:
    values = file["singular_values"].attrs
    return [
        f"{file.attrs['rank']} modes of {values['n_snapshots']} orbitals, "
        f"{values['n_snapshots'] * (1 + len(file['symmetries/axes']))} with their images; {values['criterion']} >= "
        f"{values['energy_fraction']:g} asks for {values['rank_sigma']} by sigma, {values['rank_sigma2']} by sigma2",
        f"body frame {file.attrs['frame']}, symmetry operations {1 + len(file['symmetries/axes'])}",
    ]


def _box(file: h5py.File) -> list[str]:
    """Return the sampled region; of body coordinates only those that vary."""
    box, atoms = file["box"], labels(_symbols(file))
    lines = [f"trained on {len(file['training/energies'])} geometries:"]
    for name, lower, upper in zip(json.loads(box.attrs["names"]), box["lower"][:], box["upper"][:], strict=True):
        if name == "theta":
            lines.append(f"  theta {np.degrees(lower):.3f} to {np.degrees(upper):.3f} degrees")
        elif upper - lower > 1e-6:
            lines.append(f"  {coordinate_name(name, atoms)} {lower:.4f} to {upper:.4f} bohr")
    return lines


def _symbols(file: h5py.File) -> list[str]:
    return list(json.loads(file.attrs["signature"]).get("symbols", []))


def coordinate_name(name: str, atoms: tuple[str, ...]) -> str:
    """Return ``H2 x`` for ``x1``, the body coordinate x of the second atom; other names as they are.  Not collective."""
    place = name[1:]
    known = name[:1] in ("x", "y", "z") and place.isdigit() and int(place) < len(atoms)
    return f"{atoms[int(place)]} {name[0]}" if known else name


def _grown(file: h5py.File) -> list[str]:
    """Return how often the model has grown, and when it did last."""
    grown = json.loads(file.attrs["notes"])[GROWN]
    before, after = grown["geometries"]
    return [
        f"grown in dynamics from {before} to {after} geometries and from {grown['modes'][0]} to {grown['modes'][1]} modes, "
        f"model {grown['epoch']} of its run, in step {grown['step']}"
    ]


def _errors(file: h5py.File) -> list[str]:
    return error_table(json.loads(file.attrs["notes"])["errors"])


def _verdict(file: h5py.File) -> list[str]:
    """Return what the errors mean at the tolerance of the training, a line a sentence; said anew, not as the file says it."""
    notes = json.loads(file.attrs["notes"])
    judgement, on_full = stored_verdict(notes), warning_on_full(full_warnings(notes))
    words = [judgement["words"] if judgement else unchecked(notes), *([on_full] if on_full else [])]
    return "\n".join(words).replace(". ", ".\n").splitlines()


def _grid_free(file: h5py.File) -> list[str]:
    if "arrays/learned" in file:
        learned = file["arrays/learned"]
        active, functions = learned["one_electron/constant_kk"].shape[0], len(learned["points/interaction_f"])
        points = len(learned["points/mean_q"]) + len(learned["xc/weights_q"])
        directions = len(learned["subspaces/directions_dnk"])
        return [
            f"learned grid: {directions} latent directions over {active} active modes, {points} points, "
            f"{functions} density functions"
        ]
    if list(file.get("arrays", ())):
        return ["trained with a form that this version no longer has: for rom.online = 'grid' only; train again"]
    return ["no learned grid: for rom.online = 'grid' only"]


def _physics(file: h5py.File) -> list[str]:
    lines = ["physics:"]
    for name, value in json.loads(file.attrs["signature"]).items():
        lines.append(f"  {name}: {_flat(value)}")
    return lines


def _flat(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_flat(item)}" for name, item in value.items())
    text = str(value)
    is_hash = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return text[:SHORT_HASH] + "..." if is_hash else text
