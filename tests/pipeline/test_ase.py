"""The ASE calculator on a reduced model: the numbers of `mpiqmd evaluate`, the dipole, the error estimate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.optimize import BFGS
from ase.units import Bohr, Hartree

from mpiqmd.ase import MPIQMD
from mpiqmd.errors import GeometryError
from mpiqmd.rom.reactions import STOP


@pytest.fixture
def water(trained, comm):
    """The molecule of the input with a calculator that estimates every error."""
    calculator = MPIQMD(trained.input, model=trained.model, comm=comm, check_every=1, quiet=True)
    atoms = calculator.input_atoms()
    atoms.calc = calculator
    return atoms


def test_it_gives_what_evaluate_gives(water, trained, geometries, bench):
    path, positions_sav = geometries
    words = ["--structures", path, "--model", trained.model, "--output", bench.folder / "out"]
    result = bench.run("evaluate", trained.input, *words)
    for index, positions_av in enumerate(positions_sav):
        water.positions = positions_av * Bohr
        # ASE's constants are of CODATA 2014, ours of 2018: 8e-9 apart
        assert water.get_potential_energy() == pytest.approx(result["energies"][index] * Hartree, rel=2e-8)
        expected_av = np.array(result["forces"][index]) * Hartree / Bohr
        assert np.allclose(water.get_forces(), expected_av, atol=1e-4)
        assert np.allclose(water.get_dipole_moment()[0], result["extras"]["dipole_x"][index] * Bohr, atol=1e-5)
        estimate = result["extras"]["error_estimate"][index] * Hartree
        assert water.calc.results["error_estimate"] == pytest.approx(estimate, rel=1e-3)
        pulls = np.array(result["per_atom"]["force_error"][index]) * Hartree / Bohr
        assert water.calc.results["force_error"] == pytest.approx(pulls, rel=0.02)
        assert water.calc.results["force_error_estimate"] == water.calc.results["force_error"].max()
        assert water.calc.results["error_age"] == 0
        distance = result["extras"]["training_distance"][index]
        assert water.calc.results["training_distance"] == pytest.approx(distance, rel=1e-6)


def test_it_relaxes(water):
    assert BFGS(water, logfile=None).run(fmax=0.005, steps=40)
    assert water.get_distance(0, 1) == pytest.approx(water.get_distance(0, 2), abs=2e-3)


def test_geometries_outside_the_tables_are_errors(water):
    control = water.calc._calculation.surface
    control.limits = replace(control.limits, reaction=STOP)
    water.positions[1] *= 1.5
    with pytest.raises(GeometryError, match="outside the box"):
        water.get_potential_energy()
