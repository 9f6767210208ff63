"""Through the commands: cell, masses and isotopes of structure files, written files that keep them, refusals in words."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest

from mpiqmd.cli import parse_arguments
from mpiqmd.exchange.structure_files import read_structures
from mpiqmd.pipeline.job import run_job
from mpiqmd.units import BOHR_IN_ANGSTROM
from tests.helpers.workplace import with_keys

HYDROGEN = """
[grid]
cell = 8.0
points = 24
order = 8
density = "finer"
[xc]
functional = "LDA"
[frequencies]
max_force = 0.1
"""
FROM_FILE = '[system]\nstructure = "h2.xyz"\n' + HYDROGEN
BOND = 1.45 * BOHR_IN_ANGSTROM
EDGE = 8.0 * BOHR_IN_ANGSTROM


def h2(comment="", labels=("H", "H"), extra="", stretch=1.0):
    return f"2\n{comment}\n{labels[0]} {-BOND * stretch / 2} 0 0 {extra}\n{labels[1]} {BOND * stretch / 2} 0 0 {extra}\n"


def refusal(bench, capfd, *words):
    """What a command that ends with status 1 prints."""
    capfd.readouterr()
    assert run_job(parse_arguments(list(map(str, words))), bench.comm) == 1
    return bench.comm.bcast(capfd.readouterr().err, root=0)


def read_alone(path):
    """All frames of a file, without ASE's own broadcast: one rank is here."""
    return ase.io.read(path, ":", parallel=False)


def highest_frequency(bench, name, structure):
    bench.write("h2.xyz", structure)
    path = bench.write(f"{name}.toml", FROM_FILE)
    return max(bench.run("frequencies", path, "--output", bench.folder / name)["frequencies"])


def test_heavy_hydrogen_vibrates_as_its_mass_says(bench):
    """One spring, so the frequency goes with the inverse root of the reduced mass."""
    light = highest_frequency(bench, "light", h2())
    heavy = highest_frequency(bench, "heavy", h2("Properties=species:S:1:pos:R:3:masses:R:1", extra="2.014"))
    assert heavy / light == pytest.approx(np.sqrt(1.008 / 2.014), rel=1e-6)
    named = highest_frequency(bench, "named", h2(labels=("D", "D1")))
    assert named / light == pytest.approx(np.sqrt(1.008 / 2.01410178), rel=1e-6)
    # the walls and the net force of the grid, shared by mass, make unlike atoms not quite a spring
    mixed = highest_frequency(bench, "mixed", h2(labels=("1", "T")))
    assert mixed / light == pytest.approx(np.sqrt(0.5 * (1 + 1.008 / 3.01604928)), rel=1e-2)


def test_frames_of_another_cell_are_refused_and_ours_have_one(bench, capfd):
    cell = f'Lattice="{EDGE} 0 0 0 {EDGE} 0 0 0 {EDGE}"'
    bench.write("h2.xyz", h2(cell))
    path = bench.write("periodic.toml", with_keys(FROM_FILE, grid={"boundary": "periodic"}))
    bench.write("good.xyz", h2() + h2(cell, stretch=1.05))
    evaluated = bench.folder / "evaluated"
    bench.run("evaluate", path, "--structures", bench.folder / "good.xyz", "--output", evaluated)
    bench.run("relax", path, "--output", bench.folder / "relaxed")
    for written in (evaluated / "evaluated.extxyz", bench.folder / "relaxed" / "relaxed.xyz"):
        for atoms in bench.once(read_alone, written):
            assert atoms.pbc.all() and atoms.cell.array == pytest.approx(EDGE * np.eye(3))
    # what we wrote is taken again, and by an isolated input it is not
    bench.run("evaluate", path, "--structures", evaluated / "evaluated.extxyz", "--output", bench.folder / "again")
    isolated = bench.write("isolated.toml", with_keys(FROM_FILE.replace("h2.xyz", "good0.xyz")))
    bench.write("good0.xyz", h2())
    words = ("evaluate", isolated, "--structures", evaluated / "evaluated.extxyz", "--output", bench.folder / "no")
    assert 'grid.boundary = "isolated"' in refusal(bench, capfd, *words)
    bench.write("bad.xyz", h2() + h2('Lattice="20 0 0 0 20 0 0 0 20" pbc="T T T"'))
    words = ("evaluate", path, "--structures", bench.folder / "bad.xyz", "--output", bench.folder / "no")
    told = refusal(bench, capfd, *words)
    assert "bad.xyz, frame 1: " in told and "37.7945 x 37.7945 x 37.7945 bohr" in told and "8 x 8 x 8 bohr" in told


def test_isotopes_and_charge_stay_with_what_is_written(bench):
    bench.write("h2.xyz", h2(labels=("D", "D"), stretch=1.02))
    path = bench.write("heavy.toml", FROM_FILE)
    bench.run("relax", path, "--output", bench.folder / "relaxed")
    (structure,) = bench.once(read_structures, bench.folder / "relaxed" / "relaxed.xyz")
    assert structure.symbols == ("H", "H") and not structure.has_standard_masses and structure.charge is None


@pytest.mark.parametrize(
    "functional, words",
    [
        ("gga_x_lb+lda_c_pw", "'gga_x_lb' of libxc"),
        ("gga_xc_vv10", "non-local correlation"),
        ("lda_x_2d+lda_c_2d_amgb", "one or two dimensions"),
    ],
)
def test_functionals_without_an_energy_on_this_grid_are_refused(bench, capfd, functional, words):
    keys = {"xc": {"functional": functional}, "pseudopotentials": {"allow_mismatch": True}}
    bench.write("h2.xyz", h2())
    path = bench.write("h2.toml", with_keys(FROM_FILE, **keys))
    assert words in refusal(bench, capfd, "scf", path, "--output", bench.folder / "no")


def test_parts_of_a_functional_in_any_order_are_the_same(bench):
    bench.write("h2.xyz", h2())
    energies = []
    for name, functional in (("one", "PBE"), ("two", "gga_c_pbe+gga_x_pbe")):
        path = bench.write(f"{name}.toml", with_keys(FROM_FILE, xc={"functional": functional}))
        energies.append(bench.run("scf", path, "--output", bench.folder / name)["energy"])
    assert energies[0] == energies[1]


def test_half_a_functional_is_told_of(bench, capfd):
    bench.write("h2.xyz", h2())
    path = bench.write("half.toml", with_keys(FROM_FILE, xc={"functional": "lda_x"}))
    capfd.readouterr()
    assert run_job(parse_arguments(["scf", str(path), "--output", str(bench.folder / "half")]), bench.comm) == 0
    assert "warning: lda_x is exchange alone, without correlation" in bench.comm.bcast(capfd.readouterr().out, root=0)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/"])
def test_what_is_no_file_is_no_input(bench, capfd, path):
    assert f"{path} is no input file: it is a" in refusal(bench, capfd, "scf", path, "--output", bench.folder / "no")


@pytest.mark.parametrize("name, words", [("none.xyz", "No such file or directory"), (".", "it is a folder, not a file")])
def test_a_structure_that_is_not_there_is_said_not_to_be(bench, capfd, name, words):
    path = bench.write("h2.toml", FROM_FILE.replace("h2.xyz", name))
    told = refusal(bench, capfd, "scf", path, "--output", bench.folder / "no")
    assert "cannot read the structure file" in told and words in told and "Errno" not in told
