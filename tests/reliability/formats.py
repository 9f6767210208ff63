"""Every kind of file that mpiqmd reads: a small good one, its reader, and what a result must be like."""

from __future__ import annotations

import json
from functools import lru_cache

import numpy as np

from mpiqmd.config import load_input
from mpiqmd.config.sections import section_keys
from mpiqmd.config.settings import SECTIONS, Settings
from mpiqmd.exchange.structure import Structure
from mpiqmd.exchange.structure_files import read_structures
from mpiqmd.molecule.elements import SYMBOLS
from mpiqmd.molecule.pseudopotential import Pseudopotential
from mpiqmd.molecule.psp8 import read_psp8
from mpiqmd.molecule.upf import read_upf
from tests.helpers.judging import Format, rewriting
from tests.reliability.damage import damaged_text
from tests.unit.molecule import test_psp8, test_upf

XYZ = b"""3
water
O 0.0 0.0 0.0
H 0.59 0.75 0.0
H 0.57 -0.73 0.01
3
again
O 0.0 0.0 0.1
H 0.58 0.75 0.0
H 0.57 -0.74 0.01
"""
EXTXYZ = b"""3
Lattice="6.0 0 0 0 6.0 0 0 0 6.0" Properties=species:S:1:pos:R:3:forces:R:3 energy=-464.1 pbc="F F F"
O 0.0 0.0 0.0 0.1 0.2 0.3
H 0.59 0.75 0.0 0.0 0.0 -0.2
H 0.57 -0.73 0.01 1e-3 -0.2 -0.1
"""


def toml_text() -> bytes:
    """An input with every key of every section."""
    lines = []
    for section in SECTIONS:
        lines.append(f"[{section}]")
        for name, spec in section_keys(section).items():
            value = TOML_VALUES.get(f"{section}.{name}", spec.default)
            if value is not None:
                lines.append(f"{name} = {json.dumps(value)}")
    return "\n".join(lines).encode()


TOML_VALUES = {
    "system.symbols": ["O", "H", "H"],
    "system.positions": [[0.0, 0.0, 0.0], [1.12, "0.75 angstrom", 0.0], [1.08, -1.39, 0.0]],
    "system.masses": ["15.999 Da", "1.008 Da", 1837.0],
    "grid.cell": [12.0, 12.0, "6.35 angstrom"],
    "grid.points": 64,
    "rom.rank": 34,
}


def check_settings(settings: Settings) -> None:
    """Plain data without NaN, and a grid of whole numbers."""
    json.dumps(settings.as_dict(), allow_nan=False)
    assert all(4 <= count <= 100_000 for count in settings.grid.points)


def check_structures(structures: tuple[Structure, ...]) -> None:
    """Finite positions of atoms that exist, and masses that can move."""
    assert structures
    for structure in structures:
        assert structure.positions_av.shape == (len(structure.symbols), 3) and structure.symbols
        assert np.isfinite(structure.positions_av).all() and set(structure.symbols) <= set(SYMBOLS)
        assert structure.masses_a is None or (np.isfinite(structure.masses_a).all() and structure.masses_a.min() > 50)


def check_pseudopotential(pseudo: Pseudopotential) -> None:
    """Finite functions on one mesh (its own constructor sees to it), with the right tail."""
    assert np.isfinite(pseudo.mesh_r).all() and np.isfinite(pseudo.local_r).all()
    assert abs(pseudo.local_r[-1] * pseudo.mesh_r[-1] + pseudo.valence) <= 1e-3 * pseudo.valence
    mesh_r, short_r = pseudo.short_range_local(0.7)
    assert len(mesh_r) < 10**7 and np.isfinite(short_r).all()


def thinned_psp8(every: int = 20) -> bytes:
    """The psp8 file of the unit tests on a coarser mesh, which is quicker to read."""
    lines = []
    for line in test_psp8.psp8_lines():
        fields = line.split()
        if len(fields) > 2 and "D" in fields[1]:
            row = int(fields[0]) - 1
            if row % every:
                continue
            line = " ".join([str(row // every + 1), *fields[1:]])
        lines.append(line.replace("  600  ", f"  {600 // every}  "))
    return "\n".join(lines).encode()


@lru_cache
def text_formats() -> dict[str, Format]:
    """The formats that people and other programs write."""
    damage = rewriting(damaged_text)
    return {
        "toml": Format("input.toml", toml_text(), load_input, check_settings, damage),
        "xyz": Format("frames.xyz", XYZ, read_structures, check_structures, damage),
        "extxyz": Format("frames.extxyz", EXTXYZ, read_structures, check_structures, damage),
        "psp8": Format("O.psp8", thinned_psp8(), read_psp8, check_pseudopotential, damage),
        "upf": Format("O.upf", test_upf.SMALL.encode(), read_upf, check_pseudopotential, damage),
    }
