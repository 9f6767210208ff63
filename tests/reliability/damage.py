"""Damage to files, drawn from a generator: bytes, lines and words of text, and the inside of HDF5 files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

Rng = np.random.Generator

WORDS = (
    *("nan", "inf", "-inf", "1e400", "1e308", "-1e308", "1e-320", "-1", "0", "-0.0", "1", "3", "1e9", "1e30", "0.5"),
    *("9" * 25, "2147483648", "0x10", "1_0", "1D3", "", "O", "X", "Qq", "true", "null", "[]", "{}", '"', "'", "[", "=", "#"),
    *("300 K", "\0", "\u00e9", "\u0663", "&lt;", "<a>", "../../x", "a" * 3000, "[" * 200, "1 2 3"),
)
NUMBER_OR_WORD = re.compile(rb"[-+]?\d[\d.eEdD+-]*|[A-Za-z_][\w.]*|[^\s\w]")


def damaged_bytes(content: bytes, rng: Rng) -> bytes:
    """The bytes with one to three kinds of damage: cut, flipped, zeroed, lost, doubled or foreign ones."""
    for _ in range(rng.integers(1, 4)):
        content = _BYTE_DAMAGE[rng.integers(len(_BYTE_DAMAGE))](content, rng)
    return content


def damaged_text(content: bytes, rng: Rng) -> bytes:
    """The text with one to four words replaced, lines moved or bytes damaged."""
    kinds = (_replace_word, _replace_word, _move_lines, damaged_bytes)
    for _ in range(rng.integers(1, 5)):
        content = kinds[rng.integers(len(kinds))](content, rng)
    return content


def _span(content: bytes, rng: Rng) -> tuple[int, int]:
    """A short piece, mostly of a few bytes, at times of hundreds."""
    start = int(rng.integers(0, max(1, len(content))))
    return start, start + int(rng.choice([1, 2, 8, 60, 700]))


def _cut(content: bytes, rng: Rng) -> bytes:
    return content[: rng.integers(0, max(1, len(content)))]


def _flip(content: bytes, rng: Rng) -> bytes:
    changed = bytearray(content)
    for place in rng.integers(0, max(1, len(content)), size=rng.choice([1, 1, 2, 20])):
        if changed:
            changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _zero(content: bytes, rng: Rng) -> bytes:
    start, end = _span(content, rng)
    return content[:start] + bytes(len(content[start:end])) + content[end:]


def _lose(content: bytes, rng: Rng) -> bytes:
    start, end = _span(content, rng)
    return content[:start] + content[end:]


def _double(content: bytes, rng: Rng) -> bytes:
    start, end = _span(content, rng)
    return content[:end] + content[start:]


def _foreign(content: bytes, rng: Rng) -> bytes:
    start, end = _span(content, rng)
    return content[:start] + rng.bytes(int(end - start)) + content[end:]


_BYTE_DAMAGE = (_cut, _flip, _flip, _zero, _lose, _double, _foreign)


def _replace_word(content: bytes, rng: Rng) -> bytes:
    places = list(NUMBER_OR_WORD.finditer(content))
    if not places:
        return content
    start, end = places[rng.integers(len(places))].span()
    return content[:start] + WORDS[rng.integers(len(WORDS))].encode() + content[end:]


def _move_lines(content: bytes, rng: Rng) -> bytes:
    lines = content.split(b"\n")
    first, second = (int(index) for index in rng.integers(len(lines), size=2))
    match rng.integers(3):
        case 0:
            lines[first], lines[second] = lines[second], lines[first]
        case 1:
            lines.insert(second, lines[first])
        case _:
            del lines[first]
    return b"\n".join(lines)


def damage_structure(path: Path, rng: Rng) -> str:
    """Change one dataset, group or attribute of an HDF5 file to something else, and return what was done."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        if rng.random() < 0.25:
            return _damage_attribute(file, [file, *(file[name] for name in names)], rng)
        name = names[rng.integers(len(names))]
        if not isinstance(file[name], h5py.Dataset):
            del file[name]
            return f"{name} removed"
        kind = list(_DATASET_DAMAGE)[rng.integers(len(_DATASET_DAMAGE))]
        values, attributes = file[name][()], dict(file[name].attrs)
        changed = _DATASET_DAMAGE[kind](np.asarray(values), rng)
        del file[name]
        if changed is None:
            return f"{name} removed"
        if kind == "huge":
            file.create_dataset(name, shape=changed, dtype="f8", chunks=True)
        else:
            file[name] = changed
            file[name].attrs.update(attributes)
        return f"{name} {kind}"


def _damage_attribute(file: h5py.File, items: list, rng: Rng) -> str:
    owners = [item for item in items if len(item.attrs)]
    owner = owners[rng.integers(len(owners))]
    name = list(owner.attrs)[rng.integers(len(owner.attrs))]
    wrong = [None, -1, 0, 10**9, np.nan, "", "x", "[]", "{}", "null", '"a"', "[" * 3000, np.zeros(3), h5py.Empty("f8"), b"\xff"]
    value = wrong[rng.integers(len(wrong))]
    del owner.attrs[name]
    if value is not None:
        owner.attrs[name] = value
    return f"{owner.name} @{name} {str(value)[:12]}"


def _with_nan(values: np.ndarray, rng: Rng) -> np.ndarray:
    if not values.size or values.dtype.kind not in "iuf":
        return np.array(np.nan)
    changed = values.astype(float)
    changed.flat[rng.integers(changed.size)] = rng.choice([np.nan, np.inf, -np.inf])
    return changed


def _shorter(values: np.ndarray, rng: Rng) -> np.ndarray:
    return values[:-1] if values.ndim and len(values) else np.zeros((2, 2))


def _turned(values: np.ndarray, rng: Rng) -> np.ndarray:
    return values.T.copy() if values.ndim > 1 and values.shape != values.T.shape else np.array([values, values])


_DATASET_DAMAGE: dict[str, Callable] = {
    "removed": lambda values, rng: None,
    "shorter": _shorter,
    "longer": lambda values, rng: np.concatenate([np.atleast_1d(values)] * 2),
    "turned": _turned,
    "of text": lambda values, rng: np.array([b"text"] * max(1, len(np.atleast_1d(values)))),
    "complex": lambda values, rng: values.astype(complex) if values.dtype.kind in "iuf" else np.zeros(2, complex),
    "integer": lambda values, rng: np.full(values.shape, -7),
    "negative": lambda values, rng: -1.0 - np.abs(values) if values.dtype.kind in "iuf" else np.array(-1.0),
    "NaN": _with_nan,
    "empty": lambda values, rng: h5py.Empty("f8"),
    "huge": lambda values, rng: (int(rng.integers(10**9, 10**12)),) * max(1, values.ndim),
}
