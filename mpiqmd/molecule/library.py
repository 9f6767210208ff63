"""From the ``[pseudopotentials]`` table of an input to one pseudopotential per element."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from mpiqmd.errors import ConfigError, DataFileError
from mpiqmd.molecule.gth import available_functionals, load_gth
from mpiqmd.molecule.pseudopotential import Pseudopotential
from mpiqmd.molecule.psp8 import read_psp8
from mpiqmd.molecule.upf import read_upf

SUBSTITUTE_TABLES = {"REVPBE": "PBE"}
"""GTH tables for functionals that have none of their own but a close relative."""

_READERS = {".psp8": read_psp8, ".upf": read_upf}


def load_pseudopotentials(
    symbols: Iterable[str],
    table: Mapping[str, str],
    functional: str,
    allow_mismatch: bool = False,
    folder: str | Path = ".",
) -> dict[str, Pseudopotential]:
    """Load the pseudopotential of every element of a molecule. Not collective; every rank reads the files.

    Parameters
    ----------
    symbols
        Element symbols; repeats are loaded once.
    table
        What to use for an element, or for ``"default"``: ``"gth"``, ``"gth:6"`` (the GTH entry with 6 valence
        electrons), or the path of a psp8 or UPF file.
    functional
        Family of the exchange-correlation functional of the calculation: ``"LDA"``, ``"PBE"``, ... (any case).
        revPBE has no GTH table of its own and takes that of PBE.
    allow_mismatch
        Accept potentials made for another functional.  ``"gth"`` then falls back to the PBE table.
    folder
        Folder that relative paths start from, normally that of the input file.

    Returns
    -------
    Pseudopotential by element symbol, in the order of first appearance.

    Raises
    ------
    ConfigError
        An element has no entry, or its potential was made for another functional.
    DataFileError
        A file cannot be used.
    """
    loaded: dict[str, Pseudopotential] = {}
    for symbol in symbols:
        if symbol not in loaded:
            loaded[symbol] = _load(symbol, _choice(symbol, table), functional, allow_mismatch, Path(folder))
    return loaded


def _choice(symbol: str, table: Mapping[str, str]) -> str:
    choice = table.get(symbol, table.get("default"))
    if choice is None:
        raise ConfigError(
            f"no pseudopotential is named for {symbol}; the table has entries for "
            f'{", ".join(sorted(table)) or "nothing"}. Add {symbol} = "gth" or {symbol} = '
            '"path/of/a/file.psp8" (or .upf) to [pseudopotentials], or a default.'
        )
    return choice


def _load(symbol: str, choice: str, functional: str, allow_mismatch: bool, folder: Path) -> Pseudopotential:
    name, _, charge = choice.partition(":")
    if name.lower() == "gth":
        table = SUBSTITUTE_TABLES.get(functional.upper(), functional)
        known = table in available_functionals()
        if not known and not allow_mismatch:
            raise _mismatch(symbol, choice, " or ".join(available_functionals()), functional)
        return load_gth(symbol, table if known else "PBE", _valence(symbol, choice, charge))
    read = _READERS.get(Path(choice).suffix.lower())
    if read is None:
        raise ConfigError(
            f'pseudopotential of {symbol} is {choice!r}; allowed are "gth", "gth:VALENCE" and the path '
            "of a file ending in .psp8 or .upf. Correct the entry in [pseudopotentials]."
        )
    pseudopotential = read(folder / choice)
    if pseudopotential.symbol != symbol:
        raise DataFileError(
            f"pseudopotential file {folder / choice} is for {pseudopotential.symbol}; the input names it "
            f"for {symbol}. Correct the entry in [pseudopotentials]."
        )
    if pseudopotential.functional.upper() != functional.upper() and not allow_mismatch:
        raise _mismatch(symbol, choice, pseudopotential.functional, functional)
    return pseudopotential


def _valence(symbol: str, choice: str, charge: str) -> int | None:
    if ":" not in choice:
        return None
    digits = charge.strip().lower().removeprefix("q")
    if not digits.isdigit():
        raise ConfigError(
            f'pseudopotential of {symbol} is {choice!r}; after "gth:" the number of valence electrons is '
            'expected, as in "gth:6". Correct the entry in [pseudopotentials].'
        )
    return int(digits)


def _mismatch(symbol: str, choice: str, made_for: str, functional: str) -> ConfigError:
    return ConfigError(
        f"pseudopotential {choice!r} of {symbol} is made for {made_for}; the calculation uses {functional}, "
        "and both must agree. Choose a matching functional or potential, or allow the mismatch explicitly in "
        "[pseudopotentials]."
    )
