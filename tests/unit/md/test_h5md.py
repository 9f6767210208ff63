"""Trajectories as other programs see them: the H5MD specification, MDAnalysis, ASE."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest

from mpiqmd.errors import DataFileError
from mpiqmd.md.extxyz import write_extxyz
from mpiqmd.md.quantities import OBSERVABLES, PER_ATOM, STANDARD
from mpiqmd.md.topology import write_topology
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.md.trajectory_writer import Frame
from mpiqmd.units import (
    ATOMIC_TIME_IN_FS,
    BOHR_IN_ANGSTROM,
    DALTON_IN_ELECTRON_MASS,
    HARTREE_IN_EV,
    HARTREE_IN_KJ_PER_MOL,
    KELVIN_IN_HARTREE,
)
from tests.unit.md.test_trajectory import MASSES, SYMBOLS, frames, write

pytestmark = pytest.mark.serial

PREFIXES = "EPTGMkhdcmunpfa"
SI = re.compile(rf"(da|[{PREFIXES}])?(mol|kg|rad|sr|Hz|Pa|cd|m|g|s|A|K|N|J|W|C|V)([+-][1-9]\d*)?")
"""A unit factor of the system "SI" of H5MD's module units: prefix, symbol, power."""


def every_observable(rng, steps):
    """Frames with everything that any surface reports."""
    for step in steps:
        observables = {name: float(rng.normal()) for name in OBSERVABLES}
        per_atom = {name: rng.normal(size=3) for name in PER_ATOM}
        yield Frame(step, 20.0 * step, *rng.normal(size=(3, 3, 3)), observables, per_atom)


def datasets(file):
    """All datasets of a file by their path."""
    found = {}
    file.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
    return found


def test_file_has_the_groups_and_attributes_of_the_specification(tmp_path, rng, monkeypatch):
    monkeypatch.setenv("EMAIL", "someone@example.org")
    write(tmp_path / "t.h5", frames(rng, range(5)), box_v=np.full(3, 12.0)).close()
    with h5py.File(tmp_path / "t.h5") as file:
        header, molecule = file["h5md"], file["particles/molecule"]
        assert list(header.attrs["version"]) == [1, 1]
        assert header["creator"].attrs["name"] == b"mpiqmd"
        assert header["author"].attrs["name"] and header["author"].attrs["email"] == b"someone@example.org"
        units = header["modules/units"].attrs
        assert list(units["version"]) == [1, 0] and units["system"] == b"SI"
        assert molecule["box"].attrs["dimension"] == 3
        assert list(molecule["box"].attrs["boundary"]) == [b"periodic"] * 3
        assert h5py.check_enum_dtype(molecule["species"].dtype) == {"H": 1, "O": 8}
        elements = [molecule[name] for name in ("position", "velocity", "force", "box/edges")]
        for element in [*elements, *file["observables"].values()]:
            assert len(element["value"]) == 5
            assert element["step"] == molecule["position/step"] and element["time"] == molecule["position/time"]
        assert molecule["box/edges/value"][:] == pytest.approx(np.full((5, 3), 1.2 * BOHR_IN_ANGSTROM))


def test_no_address_no_attribute(tmp_path, rng, monkeypatch):
    monkeypatch.setenv("EMAIL", "nobody")
    write(tmp_path / "t.h5", frames(rng, range(2))).close()
    with h5py.File(tmp_path / "t.h5") as file:
        assert "email" not in file["h5md/author"].attrs


def test_every_dataset_says_what_it_is_and_in_which_si_unit(tmp_path, rng):
    write(tmp_path / "t.h5", every_observable(rng, range(3)), box_v=np.full(3, 12.0)).close()
    with h5py.File(tmp_path / "t.h5") as file:
        found = datasets(file)
        assert len(found) == 8 + len(OBSERVABLES) + len(PER_ATOM)
        for name, dataset in found.items():
            assert len(dataset.attrs["description"]) > 10, name
            known = OBSERVABLES.get(name.split("/")[1]) if name.endswith("/value") else None
            plain = dataset.dtype.kind == "i" or (known is not None and known.quantity == "number")
            assert ("unit" in dataset.attrs) != plain, name
            assert all(SI.fullmatch(factor) for factor in dataset.attrs.get("unit", "m").split()), name


def test_numbers_are_in_the_units_that_they_claim(tmp_path, rng):
    (frame,) = written = list(every_observable(rng, [0]))
    write(tmp_path / "t.h5", written).close()
    nm, kj = 0.1 * BOHR_IN_ANGSTROM, HARTREE_IN_KJ_PER_MOL
    with h5py.File(tmp_path / "t.h5") as file:
        molecule, observables = file["particles/molecule"], file["observables"]
        assert molecule["position/value"][0] == pytest.approx(frame.positions_av * nm)
        speed = nm / (1e-3 * ATOMIC_TIME_IN_FS)
        assert molecule["velocity/value"][0] == pytest.approx(frame.velocities_av * speed)
        assert molecule["force/value"][0] == pytest.approx(frame.forces_av * kj / nm)
        assert molecule["force_error/value"][0] == pytest.approx(frame.per_atom["force_error"] * kj / nm)
        largest = frame.observables["force_error_estimate"] * kj / nm
        assert observables["force_error_estimate/value"][0] == pytest.approx(largest)
        assert molecule["mass"][:] == pytest.approx(MASSES / DALTON_IN_ELECTRON_MASS)
        kelvin = frame.observables["temperature"] / KELVIN_IN_HARTREE
        assert observables["temperature/value"][0] == pytest.approx(kelvin)
        assert observables["error_estimate/value"][0] == pytest.approx(frame.observables["error_estimate"] * kj)
        # e a0 = 1.602176634e-19 C * 5.29177210903e-11 m
        dipole = frame.observables["dipole_y"] * 1.602176634e-19 * 5.29177210903e-11
        assert observables["dipole_y/value"][0] == pytest.approx(dipole, rel=1e-9)
        assert observables["training_distance/value"][0] == frame.observables["training_distance"]


def test_another_unit_is_refused(tmp_path, rng):
    write(tmp_path / "t.h5", frames(rng, range(4))).close()
    with h5py.File(tmp_path / "t.h5", "r+") as file:
        file["particles/molecule/force/value"].attrs["unit"] = "pound"
    with pytest.raises(DataFileError, match=r"is in 'pound'; allowed: 'kJ mol-1 nm-1'"):
        Trajectory.open(tmp_path / "t.h5")


def test_an_isolated_molecule_has_no_edges(tmp_path, rng):
    write(tmp_path / "t.h5", frames(rng, range(4))).close()
    with h5py.File(tmp_path / "t.h5") as file:
        box = file["particles/molecule/box"]
        assert list(box.attrs["boundary"]) == [b"none"] * 3 and "edges" not in box
    assert Trajectory.open(tmp_path / "t.h5").box_v is None


MDANALYSIS_UNITS = {
    "position/value": {"Angstrom", "angstrom", "A", "nm", "pm", "fm"},
    "velocity/value": {"Angstrom ps-1", "Angstrom fs-1", "nm ps-1", "nm ns-1", "pm ps-1", "m s-1"},
    "force/value": {"kJ mol-1 Angstrom-1", "kJ mol-1 nm-1", "Newton", "N", "J m-1", "kcal mol-1 Angstrom-1"},
    "position/time": {"ps", "fs", "ns", "second", "sec", "s", "AKMA"},
}
"""Unit strings that the H5MD reader of MDAnalysis 2.11 translates; it refuses a file with any other."""


def test_units_are_those_that_mdanalysis_reads(tmp_path, rng):
    write(tmp_path / "t.h5", frames(rng, range(5))).close()
    with h5py.File(tmp_path / "t.h5") as file:
        for name, allowed in MDANALYSIS_UNITS.items():
            unit = file["particles/molecule"][name].attrs["unit"]
            assert isinstance(unit, str) and unit in allowed


WATER = np.array([[0.0, 0.0, 0.0], [1.12, 1.447, 0.0], [1.12, -1.447, 0.0]])


def test_topology_has_labels_masses_and_bonds(tmp_path):
    write_topology(tmp_path / "topology.psf", SYMBOLS, MASSES, WATER)
    lines = (tmp_path / "topology.psf").read_text().splitlines()
    assert lines[0] == "PSF NAMD"
    atoms = [line.split() for line in lines[lines.index("3 !NATOM") + 1 :][:3]]
    assert [atom[3:6] for atom in atoms] == [["H2O", "O1", "O"], ["H2O", "H2", "H"], ["H2O", "H3", "H"]]
    assert [float(atom[7]) for atom in atoms] == pytest.approx(MASSES / DALTON_IN_ELECTRON_MASS, rel=1e-8)
    assert lines[lines.index("2 !NBOND: bonds") + 1] == "1 2 1 3"


@pytest.mark.parametrize("box_v", [None, np.full(3, 12.0)], ids=["isolated", "periodic"])
def test_mdanalysis_opens_a_run_in_one_line(tmp_path, rng, box_v):
    mdanalysis = pytest.importorskip("MDAnalysis")
    written = list(every_observable(rng, range(0, 40, 2)))
    write(tmp_path / "trajectory.h5", written, box_v=box_v).close()
    write_topology(tmp_path / "topology.psf", SYMBOLS, MASSES, WATER, box_v)
    universe = mdanalysis.Universe(tmp_path / "topology.psf", tmp_path / "trajectory.h5", format="H5MD", dt=0.025)
    assert list(universe.atoms.names) == ["O1", "H2", "H3"]
    assert list(universe.select_atoms("name H*").indices) == [1, 2] and len(universe.bonds) == 2
    assert universe.atoms.masses == pytest.approx(MASSES / DALTON_IN_ELECTRON_MASS, rel=1e-8)
    assert len(universe.trajectory) == 20 and universe.trajectory.dt == 0.025
    for frame, step in zip(written, universe.trajectory, strict=True):
        assert step.positions == pytest.approx(frame.positions_av * BOHR_IN_ANGSTROM, rel=1e-6)
        speeds = frame.velocities_av * BOHR_IN_ANGSTROM / (1e-3 * ATOMIC_TIME_IN_FS)
        assert step.velocities == pytest.approx(speeds, rel=1e-6)
        forces = frame.forces_av * HARTREE_IN_KJ_PER_MOL / BOHR_IN_ANGSTROM
        assert step.forces == pytest.approx(forces, rel=1e-6)
        assert step.time == pytest.approx(frame.time * ATOMIC_TIME_IN_FS * 1e-3)
        if box_v is None:
            assert step.dimensions is None
        else:
            assert step.dimensions[:3] == pytest.approx(box_v * BOHR_IN_ANGSTROM)
        assert step.data["total_energy"] == frame.observables["total_energy"] * HARTREE_IN_KJ_PER_MOL


@pytest.mark.parametrize("box_v", [None, np.full(3, 12.0)], ids=["isolated", "periodic"])
def test_extended_xyz_is_read_by_ase(tmp_path, rng, box_v):
    io = pytest.importorskip("ase.io")
    units = pytest.importorskip("ase.units")
    write(tmp_path / "t.h5", frames(rng, range(0, 20, 5)), box_v=box_v).close()
    trajectory = Trajectory.open(tmp_path / "t.h5")
    write_extxyz(trajectory, tmp_path / "t.extxyz")
    images = io.read(tmp_path / "t.extxyz", ":", parallel=False)
    assert len(images) == 4 and images[0].get_chemical_symbols() == list(SYMBOLS)
    assert images[0].pbc.tolist() == [box_v is not None] * 3
    assert images[2].cell.lengths() == pytest.approx(np.zeros(3) if box_v is None else box_v * BOHR_IN_ANGSTROM)
    assert images[2].positions == pytest.approx(trajectory.positions_tav[2] * BOHR_IN_ANGSTROM, abs=1e-11)
    energy = trajectory.observables["potential_energy"][2] * HARTREE_IN_EV
    assert images[2].get_potential_energy() == pytest.approx(energy, abs=1e-11)
    forces = trajectory.forces_tav[2] * HARTREE_IN_EV / BOHR_IN_ANGSTROM
    assert images[2].get_forces() == pytest.approx(forces, abs=1e-10)
    # angstrom/fs, with ASE's own femtosecond
    speeds = trajectory.velocities_tav[2] * BOHR_IN_ANGSTROM / ATOMIC_TIME_IN_FS
    assert images[2].get_velocities() * units.fs == pytest.approx(speeds, rel=1e-7)
    # the third of four frames has an estimate, of its energy and of every force
    assert images[2].info["error_estimate"] == pytest.approx(5.0 * HARTREE_IN_EV, rel=1e-5)
    errors_a = trajectory.per_atom["force_error"][2] * HARTREE_IN_EV / BOHR_IN_ANGSTROM
    assert images[2].arrays["force_error"] == pytest.approx(errors_a, abs=1e-11)
    assert "error_estimate" not in images[1].info and "force_error" not in images[1].arrays
    kinetic = 0.5 * (MASSES @ (trajectory.velocities_tav[2] ** 2)).sum() * HARTREE_IN_EV
    assert images[2].get_kinetic_energy() == pytest.approx(kinetic, rel=1e-7)


def test_the_standard_observables_come_first_in_the_table():
    assert tuple(OBSERVABLES)[: len(STANDARD)] == STANDARD
