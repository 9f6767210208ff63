"""Files of vibrations as viewers read them, and thermochemistry against the formulas of textbooks."""

from __future__ import annotations

import numpy as np
import pytest
from ase.io import read

from mpiqmd.exchange.mode_files import FRAMES, SWING, animation, molden, write_modes
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.vibrations import Vibrations, vibrations
from mpiqmd.parallel.log import silent
from mpiqmd.statics.derivatives import differentiate
from mpiqmd.statics.thermochemistry import thermochemistry, thermochemistry_lines
from mpiqmd.units import (
    BOHR_IN_ANGSTROM,
    DALTON_IN_ELECTRON_MASS,
    HARTREE_IN_INVERSE_CM,
    HARTREE_IN_KJ_PER_MOL,
    KELVIN_IN_HARTREE,
)
from tests.pipeline.springs import Springs, relaxed

pytestmark = pytest.mark.serial
ROOM = 298.15 * KELVIN_IN_HARTREE
GAS_CONSTANT = 8.31446261815324e-3


@pytest.fixture(scope="module")
def found():
    """Vibrations of water made of springs."""
    from mpi4py import MPI

    molecule = relaxed()
    return vibrations(molecule, differentiate(molecule, Springs(), 0.01, silent(MPI.COMM_SELF)).hessian_cc)


def sections(text):
    """Return the lines of each section of a Molden file by its name."""
    parts = {}
    for line in text.splitlines():
        if line.startswith("["):
            name = line.strip("[]")
            parts[name] = []
        else:
            parts[name].append(line.split())
    return parts


def test_molden_has_what_its_format_says(found):
    parts = sections(molden(found, np.array([1.0, 2.0, 3.0])))
    assert list(parts) == ["Molden Format", "FREQ", "INT", "FR-COORD", "FR-NORM-COORD"]
    assert [float(row[0]) for row in parts["FREQ"]] == pytest.approx(HARTREE_IN_INVERSE_CM * found.frequencies_k, abs=1e-3)
    assert [row[0] for row in parts["FR-COORD"]] == ["O", "H", "H"]
    positions_av = np.array([row[1:] for row in parts["FR-COORD"]], float)
    assert positions_av == pytest.approx(found.molecule.positions_av, abs=1e-7)
    rows = parts["FR-NORM-COORD"]
    assert [row for row in rows if row[0] == "vibration"] == [["vibration", str(k)] for k in (1, 2, 3)]
    vectors_kav = np.array([row for row in rows if row[0] != "vibration"], float).reshape(3, 3, 3)
    assert vectors_kav == pytest.approx(found.directions_kav, abs=1e-7)
    assert "INT" not in sections(molden(found, None))


def test_imaginary_modes_are_negative_numbers(found):
    saddle = Vibrations(found.molecule, -found.frequencies_k, found.displacements_kav)
    assert all(float(row[0]) < 0 for row in sections(molden(saddle, None))["FREQ"])


def test_the_animation_swings_along_each_mode(found, tmp_path):
    write_modes(tmp_path, found, None)
    assert (tmp_path / "modes.molden").is_file()
    frames = read(tmp_path / "modes.extxyz", index=":", parallel=False)
    assert len(frames) == 3 * FRAMES and animation(found).isascii()
    for k in range(3):
        swing = frames[k * FRAMES : (k + 1) * FRAMES]
        assert {frame.info["mode"] for frame in swing} == {k + 1}
        moved_tav = np.array([frame.positions for frame in swing]) / BOHR_IN_ANGSTROM - found.molecule.positions_av
        sizes_ta = np.linalg.norm(moved_tav, axis=2)
        assert sizes_ta.max() == pytest.approx(SWING, abs=1e-6) and sizes_ta[0] == pytest.approx(np.zeros(3), abs=1e-7)
        largest_av = moved_tav[sizes_ta.max(axis=1).argmax()]
        cosine = np.sum(largest_av * found.directions_kav[k]) / np.linalg.norm(largest_av)
        assert abs(cosine) == pytest.approx(1.0, abs=1e-6)
        assert swing[0].arrays["mode_vector"] == pytest.approx(found.directions_kav[k], abs=1e-7)


def test_reduced_mass_of_a_diatomic_is_that_of_two_bodies():
    molecule = Molecule(("C", "O"), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.13]]))
    row = np.array([0.0, 0.0, -1.0, 0.0, 0.0, 1.0])
    stretch = vibrations(molecule, 1.2 * np.outer(row, row))
    # as Gaussian has it: the mass that moves with the normalised vector;
    # 1 / (1/m1 + 1/m2) times (1 + (m1/m2)^2) / (1 + m1/m2)^2
    carbon, oxygen = molecule.masses_a / DALTON_IN_ELECTRON_MASS
    two_bodies = carbon * oxygen / (carbon + oxygen)
    ends = np.array([oxygen, carbon]) / (carbon + oxygen)
    assert stretch.reduced_masses_k / DALTON_IN_ELECTRON_MASS == pytest.approx([two_bodies / (ends @ ends)])
    assert np.linalg.norm(stretch.directions_kav[0]) == pytest.approx(1.0)
    assert stretch.strongest_atoms(0) == "C1 O2"


def test_thermochemistry_is_that_of_textbooks(found):
    """Translation 3/2 RT, rotation 3/2 RT, vibrations by Planck's formula, and pV = RT; the entropy by Sackur and Tetrode."""
    energy, kelvin = -17.2, 298.15
    gas = thermochemistry(found, energy, ROOM)
    assert gas["symmetry_number"] == 2 and gas["temperature"] == pytest.approx(kelvin) and gas["pressure"] == 1e5
    x_k = found.frequencies_k / ROOM
    vibrating = ROOM * float((x_k * (0.5 + 1.0 / np.expm1(x_k))).sum())
    assert gas["internal_energy"] - energy == pytest.approx(3.0 * ROOM + vibrating, rel=1e-6)
    assert gas["enthalpy"] - gas["internal_energy"] == pytest.approx(ROOM, rel=1e-6)
    assert gas["gibbs_energy"] == pytest.approx(gas["enthalpy"] - kelvin * gas["entropy"], abs=1e-10)
    assert gas["entropy"] * HARTREE_IN_KJ_PER_MOL == pytest.approx(entropy(found, kelvin, 1e5, 2), rel=1e-5)


def entropy(found, kelvin, pascal, sigma):
    """Return the entropy of an ideal gas of asymmetric tops, kJ/(mol K), from SI constants."""
    boltzmann, planck, dalton, bohr = 1.380649e-23, 6.62607015e-34, 1.66053906660e-27, 0.529177210903e-10
    molecule = found.molecule
    mass = molecule.masses_a.sum() / DALTON_IN_ELECTRON_MASS * dalton
    arms_av = (molecule.positions_av - molecule.centre_of_mass_v) * bohr
    masses_a = molecule.masses_a / DALTON_IN_ELECTRON_MASS * dalton
    inertia_vv = sum(m * (r @ r * np.eye(3) - np.outer(r, r)) for m, r in zip(masses_a, arms_av, strict=True))
    moments = np.linalg.eigvalsh(inertia_vv)
    heat = boltzmann * kelvin
    moving = np.log((2 * np.pi * mass * heat / planck**2) ** 1.5 * heat / pascal) + 2.5
    turning = 0.5 * np.log(np.pi * np.prod(8 * np.pi**2 * moments * heat / planck**2) / sigma**2) + 1.5
    x_k = found.frequencies_k / (kelvin * KELVIN_IN_HARTREE)
    vibrating = float((x_k / np.expm1(x_k) - np.log1p(-np.exp(-x_k))).sum())
    return GAS_CONSTANT * (moving + turning + vibrating)


def test_saddle_points_and_absolute_zero_have_none(found):
    saddle = Vibrations(found.molecule, found.frequencies_k * [-1, 1, 1], found.displacements_kav)
    assert thermochemistry(saddle, -17.2, ROOM) is None and thermochemistry(found, -17.2, 0.0) is None


def test_atoms_and_linear_molecules_have_their_own_gases():
    helium = Molecule(("He",), np.zeros((1, 3)))
    gas = thermochemistry(vibrations(helium, np.zeros((3, 3))), -2.9, ROOM)
    assert gas["enthalpy"] + 2.9 == pytest.approx(2.5 * ROOM, rel=1e-6)
    assert gas["entropy"] * HARTREE_IN_KJ_PER_MOL == pytest.approx(0.12615, abs=1e-4)
    row = np.array([0.0, 0.0, -1.0, 0.0, 0.0, 1.0])
    monoxide = vibrations(Molecule(("C", "O"), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.13]])), 1.2 * np.outer(row, row))
    gas = thermochemistry(monoxide, -21.0, ROOM)
    assert gas["entropy"] * HARTREE_IN_KJ_PER_MOL == pytest.approx(0.1977, abs=5e-4)


def test_the_table_has_its_units(found):
    text = "\n".join(thermochemistry_lines(thermochemistry(found, -17.2, ROOM), -17.2))
    assert "298.15 K and 1 bar" in text and "J/(mol K)" in text and "kJ/mol" in text and text.isascii()
