"""Units of H5MD trajectories, each of them in one place.

The module ``units`` of H5MD defines one system, "SI", whose strings are SI units with prefixes.  MDAnalysis refuses strings
that it does not know.  Nanometre, picosecond and kJ/mol are in both.  Strings have variable length: the specification asks
for fixed length, which h5py hands over as bytes, in which MDAnalysis recognises no unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import h5py

from mpiqmd.errors import DataFileError
from mpiqmd.units import (
    ATOMIC_DIPOLE_IN_COULOMB_METRE,
    ATOMIC_TIME_IN_FS,
    BOHR_IN_ANGSTROM,
    DALTON_IN_ELECTRON_MASS,
    HARTREE_IN_KJ_PER_MOL,
    KELVIN_IN_HARTREE,
)

SYSTEM = "SI"
"""Value of the attribute ``system`` of ``h5md/modules/units``."""
ASCII = h5py.string_dtype("ascii")


@dataclass(frozen=True)
class FileUnit:
    """How a quantity is written.

    Attributes
    ----------
    name
        The unit string; empty for plain numbers, which get no attribute.
    one_atomic_unit
        What one atomic unit is in it.
    """

    name: str
    one_atomic_unit: float


_NM, _PS = 0.1 * BOHR_IN_ANGSTROM, 1e-3 * ATOMIC_TIME_IN_FS

FILE_UNITS = {
    "length": FileUnit("nm", _NM),
    "time": FileUnit("ps", _PS),
    "velocity": FileUnit("nm ps-1", _NM / _PS),
    "force": FileUnit("kJ mol-1 nm-1", HARTREE_IN_KJ_PER_MOL / _NM),
    "energy": FileUnit("kJ mol-1", HARTREE_IN_KJ_PER_MOL),
    "temperature": FileUnit("K", 1.0 / KELVIN_IN_HARTREE),
    "mass": FileUnit("g mol-1", 1.0 / DALTON_IN_ELECTRON_MASS),
    "dipole": FileUnit("C m", ATOMIC_DIPOLE_IN_COULOMB_METRE),
    "number": FileUnit("", 1.0),
}
"""Units of the file by quantity; a temperature is ``k_B T`` inside."""


def describe(dataset: h5py.Dataset, quantity: str, description: str) -> None:
    """Put the unit of a quantity and what it is beside a dataset."""
    unit = FILE_UNITS[quantity].name
    if unit:
        dataset.attrs.create("unit", unit, dtype=ASCII)
    dataset.attrs["description"] = description


def one_atomic_unit(dataset: h5py.Dataset, quantity: str) -> float:
    """Return what one atomic unit of a quantity is in the unit of a dataset.

    Raises
    ------
    DataFileError
        The dataset has another unit than mpiqmd writes.
    """
    unit, found = FILE_UNITS[quantity], dataset.attrs.get("unit", "")
    found = found.decode() if isinstance(found, bytes) else found.tolist() if hasattr(found, "tolist") else found
    if found != unit.name:
        raise DataFileError(
            f"{dataset.file.filename}: {dataset.name} is in {found!r}; allowed: {unit.name!r}. Use a trajectory written by "
            "`mpiqmd md` of this version."
        )
    return unit.one_atomic_unit
