"""Copies of the ASE calculator: by copy, deepcopy and pickle, in this process and in another."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from mpi4py import MPI

from mpiqmd.ase import MPIQMD
from mpiqmd.errors import ConfigError
from tests.helpers.workplace import H2, with_keys

INPUT = with_keys(
    H2,
    system={"positions": [[-0.7, 0.1, 0.0], [0.75, -0.1, 0.0]]},
    grid={"points": 12, "order": 4},
    scf={"energy_tolerance": 1e-09},
)


@pytest.fixture
def path(comm, shared_tmp_path):
    path = shared_tmp_path / "hydrogen.toml"
    if comm.rank == 0:
        path.write_text(INPUT)
    comm.Barrier()
    return path


def with_atoms(calculator):
    atoms = calculator.input_atoms()
    atoms.calc = calculator
    return atoms


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_copy_is_on_its_own(comm, path, duplicate):
    calculator = MPIQMD(path, comm=comm, check_every=7, quiet=True)
    atoms = with_atoms(calculator)
    energy = atoms.get_potential_energy()
    other = duplicate(calculator)
    assert other.comm is comm and other.quiet and other.parameters["check_every"] == 7
    assert (
        other.results["energy"] == energy and other.check_state(atoms) == [] and other.get_property("energy", atoms) == energy
    )
    moved = atoms.copy()
    moved.calc = other
    moved.positions[0, 0] -= 0.05
    assert moved.get_potential_energy() != energy == atoms.get_potential_energy()
    assert other._calculation is not calculator._calculation
    moved.positions[0, 0] += 0.05
    assert moved.get_potential_energy() == pytest.approx(energy, abs=1e-6)


def test_atoms_with_a_calculator_are_copied_deeply(comm, path):
    atoms = with_atoms(MPIQMD(path, comm=comm, quiet=True))
    energy = atoms.get_potential_energy()
    image = copy.deepcopy(atoms)
    image.rattle(0.01, seed=1)
    assert image.calc is not atoms.calc and image.get_potential_energy() != energy == atoms.get_potential_energy()


@pytest.mark.serial
def test_a_pickle_is_made_again_from_the_settings_it_was_made_of(path, monkeypatch, tmp_path):
    """The folder may be another and the input may have changed since."""
    monkeypatch.chdir(path.parent)
    atoms = with_atoms(MPIQMD(path.name, quiet=True))
    energy = atoms.get_potential_energy()
    text = pickle.dumps(atoms)
    path.write_text(INPUT.replace("7.0", "9.0"))
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(text)
    assert again.calc.comm == MPI.COMM_WORLD and again.calc.todict()["input"] == str(path)
    assert again.get_potential_energy() == energy
    again.calc.reset()
    assert again.get_potential_energy() == pytest.approx(energy, abs=1e-9)
    alone = pickle.loads(pickle.dumps(MPIQMD(path, comm=MPI.COMM_SELF, quiet=True)))
    assert alone.comm == MPI.COMM_SELF


def test_a_communicator_of_its_own_cannot_travel(comm, path):
    with pytest.raises(ConfigError, match="has no such communicator.*MPI.COMM_SELF"):
        pickle.dumps(MPIQMD(path, comm=comm, quiet=True))


SPAWNING = """
import json, multiprocessing, sys
from mpiqmd.ase import MPIQMD

def energy(atoms):
    return atoms.get_potential_energy()

if __name__ == "__main__":
    calculator = MPIQMD(sys.argv[1], quiet=True)
    images = []
    for shift in (0.0, 0.05, 0.1):
        atoms = calculator.input_atoms()
        atoms.positions[0, 0] -= shift
        atoms.calc = calculator
        images.append(atoms)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        there = pool.map(energy, images)
    print(json.dumps([there, [energy(atoms) for atoms in images]]))
"""


@pytest.mark.serial
def test_processes_that_are_spawned_compute_the_same(path, tmp_path):
    script = tmp_path / "spawning.py"
    script.write_text(SPAWNING)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_", "PMI", "PRTE"))}
    words = [sys.executable, str(script), str(path)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    there, here = json.loads(done.stdout)
    np.testing.assert_allclose(there, here, atol=1e-6)
    assert len(set(there)) == 3
