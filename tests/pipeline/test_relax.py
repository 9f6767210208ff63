"""``mpiqmd relax``: a molecule of springs to its known minimum, interruption, and the commands on both surfaces."""

from __future__ import annotations

import io

import numpy as np
import pytest
from ase.build import molecule as ase_molecule

from mpiqmd.config.settings import Relaxation
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.log import Log, silent
from mpiqmd.pipeline.relax import print_summary
from mpiqmd.statics.journaled import JournaledSurface
from mpiqmd.statics.relaxation import RelaxationPath, both_ends, relax
from mpiqmd.units import BOHR_IN_ANGSTROM
from tests.helpers.workplace import H2, with_keys
from tests.pipeline.springs import LENGTH, Springs, distorted

HYDROGEN = with_keys(
    H2,
    system={"positions": [[-0.63, 0.2, 0.1], [0.79, -0.1, 0.05]]},
    scf={"frame": "body", "energy_tolerance": 1e-11},
    relax={"force_tolerance": 1e-05},
)


def distances(positions_av):
    return [np.linalg.norm(positions_av[i] - positions_av[j]) for i, j in ((0, 1), (0, 2), (1, 2))]


@pytest.mark.parametrize("optimiser", ["bfgs", "fire"])
def test_springs_come_to_rest(comm, optimiser):
    settings = Relaxation(optimiser=optimiser, force_tolerance=1e-6, max_steps=400)
    path = relax(distorted(), Springs(), settings, comm, silent(comm))
    assert path.converged and path.largest_force < 1e-6
    assert path.energies_s[-1] < 1e-11
    assert distances(path.positions_sav[-1])[:2] == pytest.approx([LENGTH] * 2, abs=1e-5)
    assert len(path.energies_s) == len(path.positions_sav) == len(path.forces_sav)
    assert len(path.energies_s) > 3
    everywhere = comm.allgather(path.positions_sav.tolist())
    assert all(positions == everywhere[0] for positions in everywhere)


def test_the_summary_has_every_coordinate_before_and_after(comm):
    """Hydrogen peroxide turned about its O-O bond, which ASE's geometry has at 120 degrees."""
    atoms, stream = ase_molecule("H2O2"), io.StringIO()
    start_av = atoms.positions / BOHR_IN_ANGSTROM
    atoms.set_dihedral(3, 1, 0, 2, 90.0, mask=[0, 0, 1, 0])
    ends_sav = np.array([start_av, atoms.positions / BOHR_IN_ANGSTROM])
    molecule = Molecule(tuple(atoms.symbols), start_av)
    path = RelaxationPath(ends_sav, np.array([-33.0, -33.1]), np.zeros_like(ends_sav), converged=True)
    internal = both_ends(molecule, path, None)
    print_summary(path, internal, Log(comm, stream))
    assert [len(c.atoms) for c in internal] == [2, 2, 2, 3, 3, 4]
    dihedral = internal[-1]
    assert dihedral.key == "dihedral_H3-O1-O2-H4" and np.abs(dihedral.values_t[1]) == pytest.approx(90.0)
    lines = [line for line in stream.getvalue().splitlines() if "H3-O1-O2-H4" in line]
    assert [line.split()[1:] for line in lines] == ([[f"{v:.3f}" for v in dihedral.values_t] + ["degrees"]] * (comm.rank == 0))
    assert stream.getvalue().isascii()


@pytest.mark.parametrize("optimiser", ["bfgs", "fire"])
def test_an_interrupted_run_takes_the_same_way(comm, shared_tmp_path, optimiser):
    settings = Relaxation(optimiser=optimiser, force_tolerance=1e-6, max_steps=400)
    whole = relax(distorted(), Springs(), settings, comm, silent(comm))
    record = shared_tmp_path / "record.jsonl"
    with pytest.raises(KeyboardInterrupt):
        relax(distorted(), Owner(JournaledSurface(Springs(fails_after=4), record, {}, comm)), settings, comm, silent(comm))
    springs = Springs()
    again = JournaledSurface(springs, record, {}, comm)
    assert again.known == 4
    resumed = relax(distorted(), Owner(again), settings, comm, silent(comm))
    assert np.array_equal(resumed.positions_sav, whole.positions_sav)
    assert springs.asked == len(whole.energies_s) - 4


def test_too_few_steps_leave_it_unconverged(comm):
    path = relax(distorted(), Springs(), Relaxation(max_steps=2), comm, silent(comm))
    assert not path.converged and len(path.energies_s) == 3
    assert relax(distorted(), Springs(), Relaxation(max_steps=0), comm, silent(comm)).energies_s.shape == (1,)


def test_the_command_finds_the_minimum_of_hydrogen(bench):
    path, folder = bench.write("hydrogen.toml", HYDROGEN), bench.folder / "relax"
    result = bench.run("relax", path, "--output", folder)
    assert result["converged"] and result["solver"] == "hifi" and result["largest_force"] < 1e-5
    assert result["steps"] == len(result["energies"]) - 1
    length = np.linalg.norm(np.subtract(*result["positions"]))
    assert list(result["internal"].values()) == [pytest.approx(length, abs=1e-12)]
    assert 1.3 < length < 1.6
    before = np.linalg.norm(np.subtract([-0.63, 0.2, 0.1], [0.79, -0.1, 0.05]))
    assert result["internal_before"] == {"bond_H1-H2": pytest.approx(before, abs=1e-12)}
    assert result["formula"] == "H2" and result["labels"] == ["H1", "H2"]

    def energy(stretch):
        ends_av = 0.5 * (length + stretch) * np.array([[-1.0, 0, 0], [1.0, 0, 0]])
        name = f"at{stretch:+.2f}"
        text = with_keys(HYDROGEN, system={"positions": ends_av.tolist()}, relax={"force_tolerance": 1.0})
        return bench.run("relax", bench.write(f"{name}.toml", text), "--output", bench.folder / name)["energy"]

    # hydrogen's force constant is 0.37 Ha/bohr^2, more in so small a box
    for stretch in (-0.05, 0.05):
        assert 2e-4 < energy(stretch) - result["energy"] < 1e-3


def test_files_are_what_ase_reads(bench):
    path, folder = bench.write("hydrogen.toml", HYDROGEN), bench.folder / "relax"
    result = bench.run("relax", path, "--output", folder)

    def check():
        from ase.io import read

        steps = read(folder / "relax.extxyz", index=":", parallel=False)
        final = read(folder / "relaxed.xyz", parallel=False)
        assert len(steps) == result["steps"] + 1
        expected = np.array(result["positions"]) * BOHR_IN_ANGSTROM
        assert np.abs(final.get_positions() - expected).max() < 1e-7
        assert np.abs(final.get_forces()).max() < 1e-3

    bench.once(check)


def test_what_is_not_relaxed_fails_and_continues(bench, capfd):
    path, folder = bench.write("short.toml", HYDROGEN + "max_steps = 1\n"), bench.folder / "relax"
    assert bench.status("relax", path, "--output", folder) == 1
    message = capfd.readouterr().err
    if bench.comm.rank == 0:
        assert "not relaxed" in message and "relax.max_steps" in message
    assert not (folder / "relaxed.xyz").exists() and (folder / "relax.extxyz").exists()
    path = bench.write("short.toml", HYDROGEN)
    result = bench.run("relax", path, "--output", folder)
    whole = bench.run("relax", path, "--output", bench.folder / "whole")
    assert result["energies"][:2] == pytest.approx(whole["energies"][:2], abs=1e-10)
    assert result["energy"] == pytest.approx(whole["energy"], abs=1e-8)


def test_another_surface_does_not_continue(bench, capfd):
    path, folder = bench.write("hydrogen.toml", HYDROGEN), bench.folder / "relax"
    bench.run("relax", path, "--output", folder)
    other = bench.write("other.toml", HYDROGEN.replace("order = 6", "order = 4"))
    assert bench.status("relax", other, "--output", folder) == 1
    message = capfd.readouterr().err
    assert bench.comm.rank != 0 or "physics.order" in message
    assert bench.status("relax", other, "--output", folder, "--overwrite") == 0


def test_the_reduced_surface_has_its_minimum_where_the_full_one_has(bench, trained):
    reduced = bench.run("relax", trained.input, "--model", trained.model, "--output", bench.folder / "reduced")
    path = bench.write("body.toml", trained.input.read_text() + '[scf]\nframe = "body"\n')
    full = bench.run("relax", path, "--output", bench.folder / "full")
    assert reduced["solver"] == "rom" and full["solver"] == "hifi"
    # the model of these tests has few modes: its surface lies some mHa above the other
    assert -1e-4 < reduced["energy"] - full["energy"] < 1e-2
    assert distances(np.array(reduced["positions"])) == pytest.approx(distances(np.array(full["positions"])), abs=0.1)
