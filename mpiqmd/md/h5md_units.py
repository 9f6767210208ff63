"""Units of H5MD trajectories: what is written, and how everything that may be found is read.

H5MD leaves the unit strings free, readers do not: MDAnalysis knows neither bohr nor hartree and refuses a file that names
them for positions, velocities, forces or times.  Files are therefore written in angstrom, femtosecond and kJ/mol and read
into atomic units by the strings they carry, so that older files, in atomic units, are read as well.  Observables stay in
hartree: readers take them as they are.
"""

from __future__ import annotations

import h5py

from mpiqmd.errors import DataFileError
from mpiqmd.units import ATOMIC_TIME_IN_FS, BOHR_IN_ANGSTROM, HARTREE_IN_KJ_PER_MOL

WRITTEN = {
    "position": "Angstrom",
    "velocity": "Angstrom fs-1",
    "force": "kJ mol-1 Angstrom-1",
    "time": "fs",
}
"""Unit strings in new files, by quantity; all of them among those that MDAnalysis' H5MD reader knows."""

ONE_ATOMIC_UNIT = {
    "Angstrom": BOHR_IN_ANGSTROM,
    "Angstrom fs-1": BOHR_IN_ANGSTROM / ATOMIC_TIME_IN_FS,
    "kJ mol-1 Angstrom-1": HARTREE_IN_KJ_PER_MOL / BOHR_IN_ANGSTROM,
    "fs": ATOMIC_TIME_IN_FS,
    "bohr": 1.0,
    "bohr hartree hbar-1": 1.0,
    "hartree bohr-1": 1.0,
    "hbar hartree-1": 1.0,
}
"""What one atomic unit is in the unit of a file."""


def written_unit(quantity: str) -> float:
    """Return what one atomic unit of ``position``, ``velocity``, ``force`` or ``time`` is in new files."""
    return ONE_ATOMIC_UNIT[WRITTEN[quantity]]


def unit_of(dataset: h5py.Dataset) -> float:
    """Return what one atomic unit is in the unit of a dataset.

    Raises
    ------
    DataFileError
        The dataset has a unit that mpiqmd never writes.
    """
    unit = dataset.attrs.get("unit")
    unit = unit.decode() if isinstance(unit, bytes) else unit.tolist() if hasattr(unit, "tolist") else unit
    if not isinstance(unit, str) or unit not in ONE_ATOMIC_UNIT:
        raise DataFileError(
            f"{dataset.file.filename}: {dataset.name} is in {unit!r}; allowed: {', '.join(ONE_ATOMIC_UNIT)}. Use a "
            "trajectory written by `mpiqmd md`."
        )
    return ONE_ATOMIC_UNIT[unit]
