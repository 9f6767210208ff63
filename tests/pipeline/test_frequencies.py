"""``mpiqmd frequencies``: springs against the exact Hessian, interruption, warnings, and the commands on both surfaces."""

from __future__ import annotations

import io

import numpy as np
import pytest

from mpiqmd.errors import GeometryError
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.surface import Owner
from mpiqmd.molecule.vibrations import vibrations
from mpiqmd.parallel.log import Log, silent
from mpiqmd.pipeline.frequencies import print_table
from mpiqmd.statics.derivatives import differentiate, require_relaxed
from mpiqmd.statics.journaled import JournaledSurface
from mpiqmd.units import HARTREE_IN_INVERSE_CM
from tests.helpers.workplace import H2, WATER, with_keys
from tests.pipeline.springs import CHARGES, CONSTANTS, REST, Springs, distorted, relaxed

HYDROGEN = with_keys(
    H2,
    system={"positions": [[-0.71, 0.05, 0.0], [0.71, -0.05, 0.01]]},
    grid={"cell": 8.0, "points": 34},
    scf={"energy_tolerance": 1e-11},
)


def exact_hessian(molecule):
    """Springs at their minimum: ``sum k u u^T`` over the bonds."""
    hessian = np.zeros((9, 9))
    for i, j in REST:
        row = np.zeros((3, 3))
        separation_v = molecule.positions_av[i] - molecule.positions_av[j]
        row[i] = separation_v / np.linalg.norm(separation_v)
        row[j] = -row[i]
        hessian += CONSTANTS[i, j] * np.outer(row, row)
    return hessian


def test_springs_have_their_exact_frequencies(comm):
    molecule = relaxed()
    found = differentiate(molecule, Springs(), 0.01, silent(comm))
    exact = exact_hessian(molecule)
    # central differences leave an error of second order in the step
    assert np.abs(found.hessian_cc - exact).max() < 3e-5
    finer = differentiate(molecule, Springs(), 0.005, silent(comm))
    ratio = np.abs(found.hessian_cc - exact).max() / np.abs(finer.hessian_cc - exact).max()
    assert 3.9 < ratio < 4.1
    assert found.largest_force < 1e-12 and found.asymmetry < 3e-5
    expected = vibrations(molecule, exact).frequencies_k
    assert vibrations(molecule, found.hessian_cc).frequencies_k == pytest.approx(expected, rel=5e-5)


def test_point_charges_have_their_exact_intensities(comm):
    molecule = relaxed()
    found = differentiate(molecule, Springs(), 0.01, silent(comm))
    assert found.dipole_gradient_cv == pytest.approx(np.kron(CHARGES[:, None], np.eye(3)), abs=1e-10)
    modes = vibrations(molecule, found.hessian_cc)
    intensities = modes.infrared_intensities(found.dipole_gradient_cv)
    slopes = np.einsum("a,kav->kv", CHARGES, modes.displacements_kav)
    # 974.88 km/mol is the intensity of one e per root of one dalton
    assert intensities == pytest.approx(974.88 * 1822.888486 * (slopes**2).sum(axis=1), rel=1e-4)
    assert modes.infrared_intensities(None) is None


def test_an_interrupted_run_gives_the_same(comm, shared_tmp_path):
    record = shared_tmp_path / "record.jsonl"
    with pytest.raises(KeyboardInterrupt):
        differentiate(relaxed(), Owner(JournaledSurface(Springs(fails_after=7), record, {}, comm)), 0.01, silent(comm))
    springs = Springs()
    found = differentiate(relaxed(), Owner(JournaledSurface(springs, record, {}, comm)), 0.01, silent(comm))
    assert springs.asked == 19 - 7
    assert np.array_equal(found.hessian_cc, differentiate(relaxed(), Springs(), 0.01, silent(comm)).hessian_cc)


def test_what_is_no_minimum_is_said(comm):
    stream = io.StringIO()
    log = Log(comm, stream)
    found = differentiate(distorted(), Springs(), 0.01, silent(comm))
    print_table(vibrations(distorted(), -found.hessian_cc), None, found.largest_force, log)
    text = stream.getvalue()
    if comm.rank == 0:
        assert "imaginary mode(s)" in text and "i " in text and "mpiqmd relax" in text
        assert "reduced mass" in text and "H3" in text and text.isascii()
    else:
        assert not text


def test_what_is_not_relaxed_is_said_before_anything_is_displaced(comm):
    """One evaluation: silent when relaxed, a warning when nearly, refused with the remedy when far."""
    springs, stream = Springs(), io.StringIO()
    here = springs.at(distorted().positions_av)
    force = float(np.linalg.norm(here.forces_av, axis=1).max())
    assert force > 2e-3
    with pytest.raises(GeometryError, match=r"not relaxed.*max_force = 1\.00e-03.*mpiqmd relax"):
        require_relaxed(here, 1e-3, comm, Log(comm, stream))
    assert not stream.getvalue()
    require_relaxed(here, 1.0, comm, Log(comm, stream))
    assert ("warning: the largest force" in stream.getvalue()) == (comm.rank == 0)
    require_relaxed(springs.at(relaxed().positions_av), 1e-3, comm, silent(comm))
    assert springs.asked == 2


def test_an_atom_has_no_table(comm):
    stream, atom = io.StringIO(), Molecule(("He",), np.zeros((1, 3)))
    print_table(vibrations(atom, np.zeros((3, 3))), None, 0.0, Log(comm, stream))
    assert stream.getvalue() == "an atom has no vibrations\n" * (comm.rank == 0)


def test_the_command_refuses_after_one_evaluation(bench, capfd):
    path = bench.write("stretched.toml", HYDROGEN.replace("0.71", "0.85"))
    assert bench.status("frequencies", path, "--output", bench.folder / "out") == 1
    message = capfd.readouterr().err
    lines = bench.once(lambda: (bench.folder / "out" / "frequencies.jsonl").read_text().splitlines())
    if bench.comm.rank == 0:
        assert "frequencies.max_force" in message and len(lines) == 2
    assert not (bench.folder / "out" / "result.json").exists()


def test_the_command_on_hydrogen(bench):
    """One stretch; the same from the curvature of the energy along the bond by another route."""
    path = bench.write("hydrogen.toml", HYDROGEN)
    result = bench.run("frequencies", path, "--output", bench.folder / "frequencies")
    (frequency,) = result["frequencies"]
    assert 3800 < frequency < 5000
    # without polarity; the walls of the cell see that the molecule is a little off its centre
    assert result["intensities"][0] < 1.0
    hessian, masses = np.array(result["hessian"]), np.array(result["masses"])
    bond_v = np.subtract(*result["positions"])
    bond_v /= np.linalg.norm(bond_v)
    constant = -bond_v @ hessian[:3, 3:] @ bond_v
    assert frequency == pytest.approx(np.sqrt(constant * (1 / masses).sum()) * HARTREE_IN_INVERSE_CM, rel=1e-4)
    assert result["n_imaginary"] == 0 and result["hessian_asymmetry"] < 2e-3
    # nor is the cell large enough, nor the molecule relaxed
    assert result["verdict"]["good"] is False and "no imaginary mode" in result["verdict"]["words"]
    # half the mass of a proton for each end: with the vector normalised to 1 it is the mass of one atom
    assert result["reduced_masses"] == pytest.approx([masses[0]], rel=1e-3)
    assert result["formula"] == "H2" and result["labels"] == ["H1", "H2"]
    assert result["thermochemistry"]["symmetry_number"] == 2
    enthalpy = result["thermochemistry"]["enthalpy"] - result["energy"] - result["zero_point_energy"]
    assert enthalpy == pytest.approx(3.5 * 298.15 * 3.1668115634556e-6, rel=1e-4)
    files = bench.once(lambda: sorted(path.name for path in (bench.folder / "frequencies").glob("modes.*")))
    assert bench.comm.rank != 0 or files == ["modes.extxyz", "modes.molden"]
    again = bench.run("frequencies", path, "--output", bench.folder / "frequencies")
    assert again["frequencies"] == result["frequencies"]


@pytest.mark.parametrize("online", ["learned", "grid"])
def test_a_reduced_surface_vibrates(bench, trained, online):
    """The stretches of a truncated model are near those of Hi-Fi in the same frame; only the grid-free one has dipoles."""
    keys = {"scf": {"frame": "body"}, "rom": {"online": online}, "frequencies": {"max_force": 1.0}}
    path = bench.write("input.toml", with_keys(WATER, **keys))
    reduced = bench.run("frequencies", path, "--model", trained.model, "--output", bench.folder / "reduced")
    full = bench.run("frequencies", path, "--output", bench.folder / "full")
    assert (reduced["solver"], full["solver"]) == ("rom", "hifi")
    assert len(reduced["frequencies"]) == len(full["frequencies"]) == 3
    assert reduced["frequencies"][1:] == pytest.approx(full["frequencies"][1:], rel=0.2)
    assert reduced["hessian_asymmetry"] < 1e-3
    if online == "learned":
        assert len(reduced["intensities"]) == 3 and min(reduced["intensities"]) > 0.0
    else:
        assert reduced["intensities"] is None
