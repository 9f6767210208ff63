"""Bad input: exit status 1 and one message that names the key, the value, what is allowed and what to do."""

from __future__ import annotations

import pytest

from tests.helpers.workplace import WATER, with_keys

PSP8 = """H made by hand for a test
1.0 1.0 240101 zatom,zion,pspd
8 11 0 4 4 0 pspcod,pspxc,lmax,lloc,mmax,r2well
1.0 0.0 0.0 rchrg fchrg qchrg
1 nproj
0 extension_switch
0 1.0
1 0.0 0.0
2 0.5 0.4
3 1.0 0.2
4 1.5 0.0
4
1 0.0 -2.0
2 0.5 -1.5
3 1.0 -1.0
4 1.5 -0.6666666666666666
"""
"""A potential whose header says PBE."""

OUTSIDE = [[0.0, 0.0, 0.0], [6.8, 1.4, 0.0], [1.1, -1.4, 0.0]]
TOGETHER = [[0.0, 0.0, 0.0], [1.1, 1.4, 0.0], [1.1, 1.41, 0.0]]

BAD = {
    "unknown key": ({"scf": {"max_iteration": 3}}, ["max_iteration", "did you mean 'max_iterations'"]),
    "unknown section": ({"grdi": {"points": 20}}, ["grdi", "did you mean"]),
    "value not allowed": ({"grid": {"order": 7}}, ["[grid] order = 7", "odd", "even integer from 2 to 12", "Correct it"]),
    "two mistakes at once": (
        {"grid": {"order": 7}, "md": {"timestep": -1.0}},
        ["2 problems", "[grid] order = 7", "[md] timestep = -1.0"],
    ),
    "atom outside": ({"system": {"positions": OUTSIDE}}, ["atom O1", "-3.4", "3.5", "enlarge grid.cell"]),
    "atoms together": ({"system": {"positions": TOGETHER}}, ["atoms H2 and H3 are", "0.01 bohr", "0.3 bohr", "Check"]),
    "unknown element": ({"system": {"symbols": ["Qq", "H", "H"]}}, ["Qq", "element"]),
    "no such table": (
        {"xc": {"functional": "gga_x_rpbe+gga_c_pbe"}},
        ["gth", "uses RPBE", "must agree", "[pseudopotentials]"],
    ),
    "odd electrons": ({"system": {"charge": 1}}, ["system.charge = 1", "7", "even", "Change the charge"]),
    "not converged": ({"scf": {"max_iterations": 2}}, ["2 iterations", "energy_tolerance", "scf.max_iterations", "slepc"]),
}


def refusal(bench, capfd, *words):
    """The message with which a command ends, on every rank; exactly one line of it on rank 0."""
    capfd.readouterr()
    assert bench.status(*words) == 1
    text = bench.comm.bcast(capfd.readouterr().err, root=0)
    assert "Traceback" not in text
    assert text.count("mpiqmd: error: ") == 1
    return text


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_explained(bench, capfd, case):
    sections, parts = BAD[case]
    path = bench.write("bad.toml", with_keys(WATER, **sections))
    message = refusal(bench, capfd, "scf", path, "--output", bench.folder / "out")
    for part in parts:
        assert part in message
    assert not (bench.folder / "out" / "result.json").exists()


def test_a_pseudopotential_for_another_functional_is_refused(bench, capfd):
    bench.write("H.psp8", PSP8)
    path = bench.write("bad.toml", with_keys(WATER, pseudopotentials={"H": "H.psp8"}))
    message = refusal(bench, capfd, "scf", path, "--output", bench.folder / "out")
    for part in ("H.psp8", "made for PBE", "LDA", "must agree", "[pseudopotentials]"):
        assert part in message


@pytest.mark.parametrize(
    ("sections", "field"),
    [
        ({"grid": {"order": 4}}, "order: 6 in the file, 4 now"),
        ({"grid": {"points": 22}}, "points"),
        ({"grid": {"boundary": "periodic"}}, "boundary: isolated in the file, periodic now"),
        ({"xc": {"functional": "PBE"}}, "functional"),
        ({"scf": {"electronic_temperature": 0.01, "empty_orbitals": 2}}, "electronic_temperature"),
    ],
)
def test_a_model_is_refused_under_other_physics(bench, trained, capfd, sections, field):
    path = bench.write("other.toml", with_keys(WATER, **sections))
    message = refusal(bench, capfd, "md", path, "--model", trained.model, "--output", bench.folder / "md")
    assert field in message
    assert "mpiqmd info" in message and "train a model with this input" in message


def test_a_file_that_is_no_model_is_refused(bench, trained, capfd):
    snapshots = trained.folder / "snapshots.h5"
    message = refusal(bench, capfd, "md", trained.input, "--model", snapshots, "--output", bench.folder / "md")
    assert "snapshots.h5" in message and "model.h5" in message


def test_structures_of_another_molecule_are_refused(bench, trained, capfd):
    path = bench.write("frames.xyz", "2\nhydrogen\nH 0 0 0\nH 0 0 0.7\n")
    message = refusal(bench, capfd, "evaluate", trained.input, "--structures", path, "--output", bench.folder / "out")
    assert "['H', 'H']" in message and "['O', 'H', 'H']" in message
