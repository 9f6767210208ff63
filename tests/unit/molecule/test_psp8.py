"""psp8 files: a file written from known functions is read back; damaged ones are refused with their line."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.errors import DataFileError
from mpiqmd.molecule.gth import local_potential, projector
from mpiqmd.molecule.psp8 import read_psp8
from mpiqmd.molecule.psp8_header import functional_name

pytestmark = pytest.mark.serial

MESH_R = 0.01 * np.arange(600)
LOCAL_R = local_potential(MESH_R, 6.0, 0.3, [-10.0, 2.0])
ENERGIES = {0: [5.2, 0.7], 1: [-4.7, -1.1], 2: [-1.3]}
# normalised exponential densities, all but 1e-8 of which lies inside the mesh
VALENCE_R = 6.0 * 4.0**3 * np.exp(-4.0 * MESH_R) / (8 * np.pi)
CORE_R = 0.5 * 6.0**3 * np.exp(-6.0 * MESH_R) / (8 * np.pi)


def chi(l, index):  # noqa: E741
    return projector(MESH_R, l, index + 1, 0.4)


def rows(*columns):
    """Rows ``i r f g ...`` with Fortran exponents."""
    table = np.column_stack([MESH_R, *columns])
    return [
        f"{number:6d} " + " ".join(f"{value:21.13e}".replace("e", "D") for value in row)
        for number, row in enumerate(table, start=1)
    ]


def channel_lines(l):  # noqa: E741
    columns = [MESH_R * chi(l, index) for index in range(len(ENERGIES[l]))]
    return [f"    {l}      " + " ".join(map(str, ENERGIES[l])), *rows(*columns)]


def psp8_lines(local=4, extension="1 1", spin_orbit=False, core=True):
    numbers = "2 2 1" if local == 4 else "2 2 0"
    lines = [
        "O     made for the test  r_core= 1.3",
        "  8.0000  6.0000  240101    zatom,zion,pspd",
        f"  8  11  2  {local}  600  0    pspcod,pspxc,lmax,lloc,mmax,r2well",
        f"  5.99  {0.5 if core else 0.0}  0.0    rchrg fchrg qchrg",
        f"  {numbers}  0  0    nproj",
        f"  {extension}    extension_switch",
    ]
    if spin_orbit:
        lines.append("  2  1    nprojso")
    lines += channel_lines(0) + channel_lines(1)
    lines += [*channel_lines(2), "    4"] if local == 4 else ["    2"]
    lines += rows(LOCAL_R)
    if spin_orbit:
        lines += ["  1  0.01 0.02", *rows(MESH_R * 0, MESH_R), "  2  0.03", *rows(MESH_R)]
    if core:
        lines += rows(4 * np.pi * CORE_R, *[0 * MESH_R] * 4)
    if extension[0] in "13":
        lines += rows(4 * np.pi * VALENCE_R, VALENCE_R, VALENCE_R)
    return [*lines, "<INPUT>", "# echo of what made the file"]


@pytest.fixture
def write(tmp_path):
    def write_lines(lines):
        path = tmp_path / "O.psp8"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write_lines


def test_everything_in_the_file_comes_back(write):
    oxygen = read_psp8(write(psp8_lines()))
    assert (oxygen.symbol, oxygen.valence, oxygen.functional, oxygen.source) == ("O", 6.0, "PBE", "O.psp8")
    assert len(oxygen.sha256) == 64
    assert oxygen.mesh_r == pytest.approx(MESH_R, abs=1e-12)
    assert oxygen.local_r == pytest.approx(LOCAL_R, abs=1e-10)
    assert [channel.l for channel in oxygen.channels] == [0, 1, 2]
    for channel in oxygen.channels:
        assert np.array_equal(channel.coupling_pp, np.diag(ENERGIES[channel.l]))
        for index, projector_r in enumerate(channel.projectors_pr):
            # the value at the nucleus is not in the file: extrapolated, hence the wider bound
            assert projector_r == pytest.approx(chi(channel.l, index), abs=1e-7)
    assert oxygen.core_density_r == pytest.approx(CORE_R, abs=1e-10)
    assert oxygen.valence_density_r == pytest.approx(VALENCE_R, abs=1e-10)


def test_local_potential_in_the_place_of_a_channel(write):
    oxygen = read_psp8(write(psp8_lines(local=2)))
    assert [channel.l for channel in oxygen.channels] == [0, 1]
    assert oxygen.local_r == pytest.approx(LOCAL_R, abs=1e-10)
    assert oxygen.valence_density_r is not None


def test_spin_orbit_blocks_are_left_out(write):
    plain = read_psp8(write(psp8_lines()))
    relativistic = read_psp8(write(psp8_lines(extension="3 1", spin_orbit=True)))
    assert [channel.l for channel in relativistic.channels] == [0, 1, 2]
    assert np.array_equal(relativistic.core_density_r, plain.core_density_r)
    assert np.array_equal(relativistic.valence_density_r, plain.valence_density_r)


def test_optional_densities_are_none_when_absent(write):
    bare = read_psp8(write(psp8_lines(extension="0 0", core=False)))
    assert bare.core_density_r is None
    assert bare.valence_density_r is None


def test_rows_that_no_switch_announces_are_ignored(write):
    # converted files carry such rows, and they do not always hold the atom's density
    lines = psp8_lines(extension="1 1", core=False)
    lines[5] = "0 0 extension_switch"
    assert read_psp8(write(lines)).valence_density_r is None


def test_functional_numbers():
    names = {1: "LDA", 2: "LDA", 7: "LDA", -1012: "LDA", -1007: "LDA", -20: "LDA", 11: "PBE", -101130: "PBE"}
    names |= {14: "revPBE", -102130: "revPBE", -106131: "BLYP", 40: "ixc 40", -202231: "ixc -202231"}
    assert {number: functional_name(number) for number in names} == names


@pytest.mark.parametrize(
    "line, text, words",
    [
        (2, "  8.5  6.0  240101", "line 2: zatom is 8.5"),
        (2, "  8.0  9.0  240101", "line 2: zion is 9"),
        (3, "  7  11  2  4  600  0", "line 3: pspcod is 7"),
        (3, "  8  11  5  4  600  0", "line 3: lmax is 5"),
        (3, "  8  11  2  4  -600  0", "line 3: lloc is 4 and mmax -600"),
        (5, "  2 -2  1", "line 5: nproj"),
        (6, "  9", "line 6: extension_switch is 9"),
        (7, "  1  5.2  0.7", "line 7: a block for l = 1"),
        (20, "  13  0.12  oops  0.1", "line 20: row 13 of 600"),
        (20, "  14  0.12  0.1  0.1", "line 20: the block l = 0 has row number 14"),
        (20, "  13  0.12  nan  0.1", "line 20"),
        (20, "  13  0.125  0.1  0.1", "uneven"),
    ],
)
def test_damage_is_reported_with_its_line(write, line, text, words):
    lines = psp8_lines()
    lines[line - 1] = text
    with pytest.raises(DataFileError, match=words):
        read_psp8(write(lines))


@pytest.mark.parametrize("length", [0, 1, 4, 6, 300, 700, 1900, 2500, 3100])
def test_truncated_files_are_refused(write, length):
    with pytest.raises(DataFileError, match=f"O.psp8, line {max(length, 1) + 1}: the file ends"):
        read_psp8(write(psp8_lines()[:length] or [""]))


def test_wrong_charges_are_refused(write):
    lines = psp8_lines()
    lines[1] = "  8.0000  5.0000  240101"
    with pytest.raises(DataFileError, match="zion = 5"):
        read_psp8(write(lines))


def test_missing_file_and_binary_file_are_refused(tmp_path):
    with pytest.raises(DataFileError, match="cannot read"):
        read_psp8(tmp_path / "none.psp8")
    (tmp_path / "binary.psp8").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(DataFileError, match="line 2"):
        read_psp8(tmp_path / "binary.psp8")
