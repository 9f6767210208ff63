"""``mpiqmd scf`` on everyday molecules, neutral and charged, isolated and periodic, gapped and not, on small grids."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

GEOMETRIES = json.loads((Path(__file__).parents[1] / "reference" / "molecules" / "geometries.json").read_text())
ELECTRONS = {"H": 1, "C": 4, "N": 5, "O": 6, "F": 7, "Si": 4}
INPUT = """
[system]
symbols = {symbols}
positions = {positions}
charge = {charge}
[grid]
cell = {cell}
spacing = 0.36
boundary = "{boundary}"
[xc]
functional = "{functional}"
[scf]
energy_tolerance = 1e-7
"""
MADELUNG = 2.837297
"""Of a simple cubic lattice of point charges in a neutralising background: E = -2.837297 q^2 / 2L."""


@pytest.fixture
def scf(bench):
    """Return a function that solves one of the molecules, or another entry like theirs, and returns the result."""

    def run(molecule, boundary="isolated", functional="LDA", cell=9.0, extra="", **change):
        entry = (GEOMETRIES[molecule] if isinstance(molecule, str) else molecule) | change
        text = INPUT.format(cell=cell, boundary=boundary, functional=functional, **entry).replace("'", '"') + extra
        path = bench.write("input.toml", text)
        return bench.run("scf", path, "--output", bench.folder / "out", "--overwrite")

    return run


@pytest.mark.parametrize("boundary", ["isolated", "periodic"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_runs_out_of_the_box(scf, name, boundary):
    result, entry = scf(name, boundary), GEOMETRIES[name]
    assert result["converged"] and result["iterations"] < 60
    n_electrons = sum(ELECTRONS[symbol] for symbol in entry["symbols"]) - entry["charge"]
    assert 2 * sum(result["occupations"]) == pytest.approx(n_electrons, abs=1e-10)
    assert result["energy"] == pytest.approx(sum(result["components"].values()), abs=1e-9)
    assert np.abs(np.sum(result["forces"], axis=0)).max() < 1e-10
    assert set(result["pseudopotentials"]) == set(entry["symbols"])
    # the highest level is bound, also that of the anion in the potential of its background or its own
    assert result["eigenvalues"] == sorted(result["eigenvalues"])
    if entry["charge"] >= 0:
        assert result["eigenvalues"][-1] < -0.1


def test_functionals_and_their_tables(scf):
    energies = {}
    for functional, table in (("PBE", "PBE"), ("REVPBE", "PBE"), ("BLYP", "BLYP")):
        result = scf("N2", functional=functional)
        assert result["pseudopotentials"]["N"]["source"] == f"GTH-{table}-q5"
        assert result["converged"] and -20.3 < result["energy"] < -19.7
        energies[functional] = result["energy"]
    assert abs(energies["PBE"] - energies["REVPBE"]) > 1e-3


def test_an_isolated_charge_does_not_see_the_cell(scf):
    """Images would change the energy by 2.84 / 2L, 31 mHa between these two cells; what the walls do is left."""
    small, large = (scf("H3O+", cell=cell)["energy"] for cell in (10.08, 12.96))
    assert small == pytest.approx(large, abs=4e-3)


def test_a_periodic_charge_has_the_energy_of_its_lattice(scf):
    """What is left after the point charges' lattice energy is the quadrupole term, of order 1 / L^3."""
    isolated, periodic = (scf("H3O+", boundary)["energy"] for boundary in ("isolated", "periodic"))
    lattice = -MADELUNG / (2 * 9.0)
    assert abs(periodic - isolated) > 0.1
    assert periodic - isolated == pytest.approx(lattice, abs=0.03)


OXYGEN = {"symbols": ["O", "O"], "charge": 0, "positions": [[0.0, 0.03, -1.14], [0.0, 0.03, 1.14]]}
SMEARED = 'electronic_temperature = "{kelvin} K"\nempty_orbitals = 3\nsolver = "{solver}"\n'


@pytest.mark.parametrize("solver", ["abpg", "slepc"])
def test_a_half_filled_shell_needs_and_gets_a_temperature(scf, solver):
    """The highest level of oxygen is doubly degenerate and half filled; its free energy falls as 2 T ln 2 per orbital."""
    results = [scf(OXYGEN, cell=7.7, extra=SMEARED.format(kelvin=kelvin, solver=solver)) for kelvin in (2000, 4000)]
    for result in results:
        occupations = np.array(result["occupations"])
        assert 2 * occupations.sum() == pytest.approx(12.0, abs=1e-9)
        assert np.sum((occupations > 0.2) & (occupations < 0.8)) == 2
        assert result["free_energy"] < result["energy"]
        assert result["components"]["entropy"] == pytest.approx(result["free_energy"] - result["energy"], abs=1e-10)
    temperatures = 3.166811563e-6 * np.array([2000, 4000])
    entropy = -results[1]["components"]["entropy"] / temperatures[1]
    assert entropy == pytest.approx(4 * np.log(2), rel=0.1)
    slope = (results[1]["free_energy"] - results[0]["free_energy"]) / np.diff(temperatures)[0]
    assert slope == pytest.approx(-entropy, rel=0.1)
