"""The atoms of a run as a PSF file: names, masses and bonds, which readers of H5MD take from a second file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mpiqmd.datafiles import replacing
from mpiqmd.molecule.bonds import guess_bonds
from mpiqmd.molecule.labels import hill_formula, labels
from mpiqmd.units import DALTON_IN_ELECTRON_MASS

TOPOLOGY_FILE = "topology.psf"
BONDS_PER_LINE = 4


def write_topology(
    path: Path,
    symbols: tuple[str, ...],
    masses_a: np.ndarray,
    positions_av: np.ndarray,
    box_v: np.ndarray | None = None,
) -> None:
    """Write labels, symbols, masses (dalton) and the bonds of one geometry.  Not collective.

    Charges are zero: a density functional gives none.  The columns are NAMD's, which have no fixed width.

    Parameters
    ----------
    path
        The file, replaced if it is there.
    symbols, masses_a
        Chemical symbols and masses (electron masses) of the N atoms.
    positions_av
        Positions (N, 3), bohr, from which bonds are guessed.
    box_v
        Edges of a periodic cell, bohr.

    Raises
    ------
    DataFileError
        It cannot be written.
    """
    formula, bonds = hill_formula(symbols), guess_bonds(symbols, positions_av, box_v)
    atoms = [
        f"{number} MOL 1 {formula} {label} {symbol} 0.0 {mass / DALTON_IN_ELECTRON_MASS:.8f} 0"
        for number, (label, symbol, mass) in enumerate(zip(labels(symbols), symbols, masses_a, strict=True), start=1)
    ]
    ends = [f"{i + 1} {j + 1}" for i, j in bonds]
    rows = [" ".join(ends[at : at + BONDS_PER_LINE]) for at in range(0, len(ends), BONDS_PER_LINE)]
    text = ["PSF NAMD", "", "1 !NTITLE", f"REMARKS {formula}, written by mpiqmd", ""]
    text += [f"{len(atoms)} !NATOM", *atoms, "", f"{len(bonds)} !NBOND: bonds", *rows, ""]
    with replacing(path) as beside:
        beside.write_text("\n".join(text), encoding="ascii")
