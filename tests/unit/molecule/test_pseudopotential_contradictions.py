"""What a pseudopotential file holds is used, or refused in words; a file that says two things at once is refused."""

from __future__ import annotations

import re
import zlib

import numpy as np
import pytest

from mpiqmd.errors import DataFileError
from mpiqmd.grid import Grid
from mpiqmd.grid.radial import band_limited
from mpiqmd.hifi.abpg import AbpgSolver
from mpiqmd.kohnsham.functional import Functional
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.gth import load_gth
from mpiqmd.molecule.library import load_pseudopotentials
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.pseudopotential import Channel
from mpiqmd.molecule.psp8 import read_psp8
from mpiqmd.molecule.upf import functional_name, read_upf
from tests.unit.molecule.gth_oxygen import BETA_R, CORE_R, COUPLING, LOCAL_R, MESH_R, numbers, psp8, rows, semilocal, upf

pytestmark = pytest.mark.serial

ZERO = 0 * MESH_R
WATER = np.array([[0.0, 0.0, 0.0], [1.12, 1.447, 0.0], [1.12, -1.447, 0.0]])
WATER_ENERGY = -17.13005735
"""LDA, cell 10, 28 points, order 12, density on the finer grid: with the built-in tables."""


@pytest.fixture
def read(tmp_path):
    def read_text(text, name="O.upf"):
        path = tmp_path / name
        path.write_text(text)
        return (read_upf if name.endswith("upf") else read_psp8)(path)

    return read_text


def same(one, other):
    """Whether two files act on electrons alike."""
    densities = [(one.core_density_r, other.core_density_r), (one.valence_density_r, other.valence_density_r)]
    return (
        (one.symbol, one.valence, len(one.channels)) == (other.symbol, other.valence, len(other.channels))
        and np.array_equal(one.local_r, other.local_r)
        and all((a is None) == (b is None) and (a is None or np.array_equal(a, b)) for a, b in densities)
        and all(
            a.l == b.l and np.array_equal(a.coupling_pp, b.coupling_pp) and np.array_equal(a.projectors_pr, b.projectors_pr)
            for a, b in zip(one.channels, other.channels, strict=True)
        )
    )


@pytest.mark.parametrize(
    "text",
    [
        upf(((0, BETA_R), (1, ZERO)), (COUPLING, 0.0)),
        upf(((0, BETA_R), (1, ZERO)), (COUPLING, 3.0)),
        upf(((0, BETA_R), (1, BETA_R)), (COUPLING, 0.0)),
        upf(((0, ZERO), (0, BETA_R)), (2.0, COUPLING)),
        upf(((0, BETA_R), (0, 1e-12 * BETA_R)), (COUPLING, 1e-12)),
    ],
)
def test_a_projector_that_adds_nothing_is_left_out_with_a_remark(read, text):
    found = read(text)
    assert same(found, read(upf())) and found.n_projectors == 1
    assert "projector(s) of l = " in found.remarks[0] and read(upf()).remarks == ()


def test_a_projector_of_zeros_in_psp8(read):
    plain = read(psp8(), "O.psp8")
    for coupling in (0.0, 3.0):
        found = read(psp8(((0, BETA_R, COUPLING), (1, ZERO, coupling))), "O.psp8")
        assert same(found, plain) and found.remarks == ("1 of 1 projector(s) of l = 1 are zero and add nothing",)


def test_a_projector_that_couples_only_to_another_is_kept():
    weak = Channel(0, np.array([BETA_R, 1e-6 * BETA_R]), np.array([[1.0, 0.1], [0.1, 0.0]]))
    assert weak.active() is weak


def test_a_core_density_of_zeros_adds_nothing(read):
    found = read(upf(core_r=ZERO))
    assert found.core_density_r is None and found.remarks == ("the model core density is zero and adds nothing",)
    there = read(upf(core_r=CORE_R))
    assert there.core_density_r == pytest.approx(CORE_R[: len(there.mesh_r)]) and there.remarks == ()


def test_a_function_of_zeros_has_no_band(read):
    function = band_limited(MESH_R, ZERO, 1, 0.3)
    assert not function.reduced(np.array([0.0, 0.3, 2.0])).any()


@pytest.mark.parametrize(
    "name, text",
    [
        ("O.upf", upf()),
        ("O.psp8", psp8()),
        ("O.upf", upf(((0, BETA_R), (1, ZERO)), (COUPLING, 3.0))),
        ("O.upf", upf(pseudo_type="SL", more=semilocal())),
    ],
    ids=["upf", "psp8", "idle projector", "both forms"],
)
def test_water_has_the_energy_of_the_built_in_table(tmp_path, serial_comm, name, text):
    (tmp_path / name).write_text(text)
    symbols = ("O", "H", "H")
    species = load_pseudopotentials(symbols, {"default": "gth", "O": name}, "LDA", folder=tmp_path)
    assert [p.functional for p in species.values()] == ["LDA", "LDA"]
    grid = Grid(serial_comm, (10.0,) * 3, (28,) * 3, 12, "isolated")
    model = KohnShamModel(grid, Molecule(symbols, WATER), species, Functional("LDA"), 0.0, 1.5)
    energy = AbpgSolver(model, 1e-10).solve(model.place(WATER)).energy
    grid.destroy()
    assert energy == pytest.approx(WATER_ENERGY, abs=2e-8)


@pytest.mark.parametrize(
    "text, words",
    [
        (upf((), (), pseudo_type="SL", more=semilocal()), "it is semilocal"),
        (upf((), (), pseudo_type="NC", more=semilocal()), "it is semilocal"),
        (upf((), (), pseudo_type="SL"), "it is semilocal"),
        (upf(number_of_proj="0"), "number_of_proj is 0, but it holds 1 PP_BETA; both must agree"),
        (upf(((0, BETA_R), (1, BETA_R)), (1.0, 2.0), number_of_proj="1"), "number_of_proj is 1, but it holds 2 PP_BETA"),
        (upf(number_of_proj="2"), "number_of_proj is 2, but it holds 1 PP_BETA"),
        (upf((), (), more="<PP_BETA.1>1 2 3</PP_BETA.1>"), "number_of_proj is 0, but it holds 1 PP_BETA"),
        (upf((), ()).replace("</PP_NONLOCAL>", "<PP_DIJ>3.0</PP_DIJ></PP_NONLOCAL>"), "holds couplings, PP_DIJ"),
        (upf(((0, BETA_R), (1, BETA_R)), (1.0, 2.0), l_max="0"), "l_max is 0, but there is a projector of l = 1"),
        (upf(mesh_size="1001"), "PP_HEADER mesh_size is '1001', PP_R holds 2001 radii"),
        (upf().replace("<PP_MESH>", '<PP_MESH mesh="2000">'), "PP_MESH mesh is '2000', PP_R holds 2001 radii"),
        (upf().replace("<PP_R>", '<PP_R size="5">'), "PP_R size is '5', PP_R holds 2001 radii"),
        (upf().replace('momentum="0"', 'momentum="0" cutoff_radius_index="20"'), "projectors go on beyond the largest cutoff"),
        (upf().replace('momentum="0"', 'momentum="0" cutoff_radius_index="9000"'), "a whole number from 0 to 2001"),
        (upf(more=f"<PP_NLCC>{numbers(CORE_R)}</PP_NLCC>"), "core_correction is false, but PP_NLCC holds a core density"),
        (upf(core_r=CORE_R, more=f"<PP_NLCC>{numbers(ZERO)}</PP_NLCC>"), "there is 2 times PP_NLCC"),
        (upf(core_correction="T"), "there is no PP_NLCC"),
        (upf(more='<PP_SPIN_ORB><PP_RELBETA.1 lll="0"/></PP_SPIN_ORB>'), "it holds PP_SPIN_ORB although has_so is false"),
        (upf(more="<PP_PAW><PP_OCCUPATIONS>2 4</PP_OCCUPATIONS></PP_PAW>"), "it holds PP_PAW although is_paw is false"),
        (
            upf().replace("</PP_NONLOCAL>", "<PP_AUGMENTATION><PP_Q>0 1</PP_Q></PP_AUGMENTATION></PP_NONLOCAL>"),
            "PP_AUGMENTATION although is_ultrasoft is false",
        ),
        (upf(has_so="yes"), "has_so is 'YES'; T or F is expected"),
        (upf(has_so=".TRUE."), "only scalar-relativistic"),
        (upf(is_coulomb="T"), "with is_coulomb; only norm-conserving"),
        (upf(pseudo_type="US"), "'US'"),
        (upf(more=f"<PP_LOCAL>{numbers(LOCAL_R)}</PP_LOCAL>"), "there is 2 times PP_LOCAL"),
        (upf(element="X"), "a chemical symbol is expected"),
    ],
)
def test_a_upf_file_that_contradicts_itself_is_refused(read, text, words):
    with pytest.raises(DataFileError) as caught:
        read(text)
    assert words in str(caught.value) and "O.upf" in str(caught.value)


@pytest.mark.parametrize(
    "text, words",
    [
        (psp8(nproj="2 0 0 0 0"), "line 7: the line opening the block l = 0"),
        (psp8(nproj="1 1 0 0 0"), "more projectors than lmax lets in"),
        (psp8(nproj="0 0 0 0 0"), "the block l = 0"),
        (psp8(((0, BETA_R, COUPLING), (1, BETA_R, 2.0)), nproj="1 0 0 0 0"), "the block l = 1"),
        (psp8(local="0"), "nproj of l = 0 is 1, but that l is local"),
        (psp8(fchrg="-1.0"), "fchrg is -1; 0 or more is expected"),
        (psp8(fchrg="1.0"), "the file ends where row 1 of 2001 of the model core density should be"),
        (psp8(fchrg="1.0", more=rows(CORE_R, ZERO)), "row 1 of 2001 of the model core density reads"),
        (psp8(fchrg="1.0", more=rows(-CORE_R, *[ZERO] * 4)), "none is ever negative"),
        (psp8(more=rows(CORE_R, *[ZERO] * 4)), "a model core density starts here although fchrg is 0"),
        (psp8(extension="1"), "the file ends where row 1 of 2001 of the valence density"),
        (psp8().replace(f"0 {COUPLING:.13e}", f"0 {COUPLING:.13e} 3.0"), "has 2 energies; nproj = 1 is expected"),
    ],
)
def test_a_psp8_file_that_contradicts_itself_is_refused(read, text, words):
    with pytest.raises(DataFileError) as caught:
        read(text, "O.psp8")
    assert words in str(caught.value) and "O.psp8" in str(caught.value)


def test_a_row_with_more_projectors_than_announced_is_refused(read):
    with pytest.raises(DataFileError, match="the block l = 0 has 2 functions; 1 are expected"):
        read(psp8().replace(rows(BETA_R), rows(BETA_R, BETA_R)), "O.psp8")


def test_a_core_density_in_psp8_comes_back(read):
    found = read(psp8(fchrg="1.0", more=rows(4 * np.pi * CORE_R, *[ZERO] * 4) + "\n<INPUT>\n1 2 3 4 5 6 7"), "O.psp8")
    assert found.core_density_r == pytest.approx(CORE_R)


def test_spin_orbit_blocks_are_told_of(read):
    text = psp8(((0, BETA_R, COUPLING), (1, BETA_R, 1.0)), extension="2").replace(
        " 2 extension_switch", " 2 extension_switch\n 1 nprojso"
    )
    found = read(text + f"1 0.01\n{rows(BETA_R)}\n", "O.psp8")
    assert found.remarks == ("its spin-orbit coupling is not used",)


@pytest.mark.parametrize("name", ["PWLDA", "PW-LDA", "LDA", "PZ", "SLA PW NOGX NOGC", "sla+pz+nogx+nogc", "PZ-LDA", "CA"])
def test_local_functionals_by_every_name_they_go_by(name):
    assert functional_name(name) == "LDA"


@pytest.mark.parametrize(
    "header",
    [
        'author="Kleinman & Bylander"',
        'comment="rc < 1.5 &amp; > 0.2"',
        'author="A &#38; B" comment="q&a; x&b"',
        'generated="M. M&#252;ller"',
    ],
)
def test_a_header_with_unescaped_characters_is_read(read, header):
    assert same(read(upf(header=header)), read(upf()))


@pytest.mark.parametrize("name, text", [("O.upf", upf()), ("O.psp8", psp8())])
def test_marks_and_line_ends_of_other_systems_do_no_harm(read, tmp_path, name, text):
    plain = read(text, name)
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert same((read_upf if name == "O.upf" else read_psp8)(tmp_path / name), plain)


ATTRIBUTES = ("pseudo_type", "is_ultrasoft", "is_paw", "is_coulomb", "has_so", "core_correction", "z_valence", "l_max")
ATTRIBUTES += ("l_local", "mesh_size", "number_of_proj", "relativistic")
VALUES = ("", "0", "1", "2", "-1", "T", "F", "NC", "US", "SL", "6.0", "1e999", "nan", "2001", "0x10", "&", "<", None)
CORE = upf(core_r=CORE_R)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_no_header_changes_what_a_file_is_read_as(read, attribute):
    expected = {None: read(upf()), "core": read(CORE)}
    for value in VALUES:
        for kind, core_r in ((None, None), ("core", CORE_R)):
            try:
                found = read(upf(core_r=core_r, **{attribute: value}))
            except DataFileError:
                continue
            assert same(found, expected[kind]), (attribute, value, kind)


def damaged(text, rng):
    """A file with one element, line, word or flag taken out, doubled or moved."""
    lines = text.splitlines(keepends=True)
    kind = rng.integers(6)
    # the tables are long: aim at the few lines that are no numbers as often as at those
    marks = [index for index, line in enumerate(lines) if not re.fullmatch(r"[-+0-9.eE \d]+\s*", line)]
    at = int(rng.choice(marks)) if rng.random() < 0.7 else int(rng.integers(len(lines)))
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, lines[at])
    elif kind == 2:
        other = int(rng.choice(marks))
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == 3:
        words = lines[at].split(" ")
        del words[rng.integers(len(words))]
        lines[at] = " ".join(words)
    elif kind == 4:
        lines = lines[:at]
    else:
        lines[at] = lines[at].replace("0", "7", 1) if at in marks else "7 " + lines[at]
    return "".join(lines)


@pytest.mark.parametrize("name, text", [("O.upf", CORE), ("O.psp8", psp8(fchrg="1.0", more=rows(CORE_R, *[ZERO] * 4)))])
def test_damage_is_refused_or_does_no_harm(read, name, text):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    expected, outcomes = read(text, name), {"refused": 0, "read": 0}
    for _ in range(150):
        broken = damaged(text, rng)
        try:
            found = read(broken, name)
        except DataFileError:
            outcomes["refused"] += 1
            continue
        outcomes["read"] += 1
        assert same(found, expected) or changed_only_numbers(broken, text) or found.symbol != "O", broken[:600]
    assert outcomes["refused"] > 40 and outcomes["read"] > 5


def changed_only_numbers(broken, text):
    """Whether damage hit nothing but the value of one number, which no reader can know."""
    one, two = broken.split(), text.split()
    return len(one) == len(two) and sum(a != b for a, b in zip(one, two, strict=True)) == 1


def test_the_built_in_table_is_what_the_files_hold(read):
    exact, found = load_gth("O", "LDA"), read(upf())
    assert found.channels[0].coupling_pp == pytest.approx(exact.channels[0].coupling_pp, rel=1e-12)
