"""UPF files written from GTH potentials give those potentials back; other kinds and damage are refused, never a traceback."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import make_interp_spline
from scipy.special import erf

from mpiqmd.errors import DataFileError
from mpiqmd.grid import Grid
from mpiqmd.hifi.abpg import AbpgSolver
from mpiqmd.kohnsham.functional import Functional
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.gth import load_gth
from mpiqmd.molecule.library import load_pseudopotentials
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.pseudopotential import LARGEST_FILE
from mpiqmd.molecule.upf import functional_name, read_upf

pytestmark = pytest.mark.serial

UNIFORM = 0.01 * np.arange(1100)
LOGARITHMIC = np.exp(-8.0 + 0.0125 * np.arange(900)) / 8.0
FROM_ZERO = np.concatenate([[0.0], LOGARITHMIC])
MESHES = {"uniform": UNIFORM, "logarithmic": LOGARITHMIC, "from zero": FROM_ZERO}


def valence_density(valence, radii_r):
    return valence * 4.0**3 * np.exp(-4.0 * radii_r) / (8 * np.pi)


def core_density(radii_r):
    return 0.7 * np.exp(-((radii_r / 0.6) ** 2))


def sampled(source_r, values_r, radii_r, parity=1.0):
    """A function on a fine mesh from 0 at other radii, by a spline of degree 7."""
    both_r = np.concatenate([-source_r[:0:-1], source_r])
    spline = make_interp_spline(both_r, np.concatenate([parity * values_r[:0:-1], values_r]), k=7)
    return np.where(radii_r <= source_r[-1], spline(np.minimum(radii_r, source_r[-1])), 0.0)


def numbers(values):
    rows = [values[start : start + 4] for start in range(0, len(values), 4)]
    return "\n".join(" ".join(f"{value:.14E}" for value in row) for row in rows)


def upf_text(pseudo, radii_r, core=False, shells=True, header="", functional="SLA PZ NOGX NOGC"):
    """A GTH potential as a UPF 2.0.1 file on any mesh."""
    safe_r = np.maximum(radii_r, 1e-12)
    smeared_r = np.where(radii_r > 0, erf(safe_r) / safe_r, 2 / np.sqrt(np.pi))
    local_r = sampled(*pseudo.short_range_local(1.0), radii_r) - pseudo.valence * smeared_r
    betas, couplings = [], []
    for channel in pseudo.channels:
        for projector_r in channel.projectors_pr:
            chi_r = sampled(pseudo.mesh_r, projector_r, radii_r, (-1.0) ** channel.l)
            betas.append((channel.l, radii_r * chi_r))
        couplings.append(2.0 * channel.coupling_pp)
    n = len(betas)
    dij = np.zeros((n, n))
    first = 0
    for block in couplings:
        dij[first : first + len(block), first : first + len(block)] = block
        first += len(block)
    lines = [
        '<UPF version="2.0.1">',
        "<PP_INFO>made for the test & not well-formed < here\n<PP_INPUTFILE>&input\n</PP_INPUTFILE></PP_INFO>",
        "<!-- END OF HUMAN READABLE SECTION -->",
        f'<PP_HEADER generated="test" element="{pseudo.symbol} " pseudo_type="NC" relativistic="scalar"',
        f' is_ultrasoft="F" is_paw=".false." is_coulomb="F" has_so="F" core_correction="{"T" if core else "F"}"',
        f' functional="{functional}" z_valence="  {pseudo.valence:.2f}" l_max="1" mesh_size="{len(radii_r)}"',
        f' number_of_wfc="0" number_of_proj="{n}" {header}/>',
        f'<PP_MESH>\n<PP_R size="{len(radii_r)}">\n{numbers(radii_r)}\n</PP_R>\n</PP_MESH>',
        f"<PP_NLCC>{numbers(core_density(radii_r))}</PP_NLCC>" if core else "",
        f"<PP_LOCAL>{numbers(2.0 * local_r)}</PP_LOCAL>\n<PP_NONLOCAL>",
        *[
            f'<PP_BETA.{index + 1} angular_momentum="{momentum}">{numbers(beta_r)}</PP_BETA.{index + 1}>'
            for index, (momentum, beta_r) in enumerate(betas)
        ],
        f"<PP_DIJ>{numbers(dij.ravel())}</PP_DIJ>\n</PP_NONLOCAL>",
    ]
    if shells:
        density_r = 4 * np.pi * radii_r**2 * valence_density(pseudo.valence, radii_r)
        lines.append(f"<PP_RHOATOM>{numbers(density_r)}</PP_RHOATOM>")
    return "\n".join([*lines, "</UPF>"]) + "\n"


@pytest.fixture
def write(tmp_path):
    def write_text(text, name="X.upf"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_text


def on_mesh(values_r, source_r, mesh_r):
    """Values of a fine uniform mesh (spacing 0.005) at the points of a coarser one; zero beyond it."""
    found = np.zeros_like(mesh_r)
    index = np.rint(mesh_r / (source_r[1] - source_r[0])).astype(int)
    inside = index < len(source_r)
    found[inside] = values_r[index[inside]]
    return found


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("symbol", ["H", "O", "Si"])
def test_a_gth_potential_comes_back(write, mesh, symbol):
    exact = load_gth(symbol, "LDA")
    found = read_upf(write(upf_text(exact, MESHES[mesh])))
    assert (found.symbol, found.valence, found.functional, found.source) == (symbol, exact.valence, "LDA", "X.upf")
    assert len(found.sha256) == 64 and found.core_density_r is None
    inside = found.mesh_r < exact.mesh_r[-1]
    local_r = on_mesh(exact.local_r, exact.mesh_r, found.mesh_r)
    assert found.local_r[inside] == pytest.approx(local_r[inside], abs=3e-7)
    assert found.mesh_r[-1] * found.local_r[-1] == pytest.approx(-exact.valence, rel=1e-12)
    assert [channel.l for channel in found.channels] == [channel.l for channel in exact.channels]
    for mine, theirs in zip(found.channels, exact.channels, strict=True):
        assert mine.coupling_pp == pytest.approx(theirs.coupling_pp, rel=1e-12)
        for one_r, other_r in zip(mine.projectors_pr, theirs.projectors_pr, strict=True):
            assert one_r == pytest.approx(on_mesh(other_r, exact.mesh_r, found.mesh_r), abs=2e-6)


@pytest.mark.parametrize("mesh", MESHES)
def test_densities_come_back(write, mesh):
    found = read_upf(write(upf_text(load_gth("O", "LDA"), MESHES[mesh], core=True)))
    assert found.core_density_r == pytest.approx(core_density(found.mesh_r), abs=1e-7)
    # the exponential has a cusp at the nucleus, which no even function has
    away = found.mesh_r > 0.02
    exact_r = valence_density(6.0, found.mesh_r)
    assert found.valence_density_r[away] == pytest.approx(exact_r[away], abs=1e-4)
    bare = read_upf(write(upf_text(load_gth("O", "LDA"), MESHES[mesh], shells=False)))
    assert bare.valence_density_r is None


@pytest.mark.parametrize("mesh", ["uniform", "logarithmic"])
def test_the_ground_state_is_that_of_the_table(write, tmp_path, serial_comm, mesh):
    symbols, positions_av = ("N", "H"), np.array([[-0.2, 0.1, 0.0], [1.6, 0.3, 0.2]])
    for symbol in symbols:
        write(upf_text(load_gth(symbol, "LDA"), MESHES[mesh]), f"{symbol}.UPF")
    tables = ({"default": "gth"}, {symbol: f"{symbol}.UPF" for symbol in symbols})
    energies, forces = [], []
    grid = Grid(serial_comm, 7.0, 18, order=6, boundary="isolated")
    for table in tables:
        species = load_pseudopotentials(symbols, table, "LDA", folder=tmp_path)
        model = KohnShamModel(grid, Molecule(symbols, positions_av, charge=-2), species, Functional("LDA"))
        state = AbpgSolver(model, 1e-11).solve(model.place(positions_av))
        energies.append(state.energy)
        forces.append(state.forces_av)
    grid.destroy()
    assert energies[0] == pytest.approx(energies[1], abs=1e-7)
    assert forces[0] == pytest.approx(forces[1], abs=1e-5)


def test_real_looking_variants_are_read(write):
    """Fortran exponents, padded symbols, other spellings of flags, no projectors at all."""
    text = upf_text(load_gth("H", "LDA"), UNIFORM).replace("E+", "D+").replace('pseudo_type="NC"', 'pseudo_type=" nc"')
    text = text.replace('version="2.0.1"', 'version = "2.0.0"').replace('has_so="F"', 'has_so=".FALSE."')
    found = read_upf(write(text))
    assert found.channels == () and found.n_projectors == 0


def test_functional_names():
    names = {
        "PBE": "PBE",
        " SLA  PW   PBX  PBC": "PBE",
        "SLA PW PBE PBE": "PBE",
        "sla+pw+pbx+pbc": "PBE",
        "SLA-PW-REVX-PBC": "revPBE",
        "SLA PZ NOGX NOGC": "LDA",
        "PZ": "LDA",
        "SLA LYP B88 BLYP": "BLYP",
        "SLA PW PSX PSC": "PBEsol",
        "SCAN": "SCAN",
        "": "",
    }
    assert {text: functional_name(text) for text in names} == names


GOOD = upf_text(load_gth("O", "LDA"), UNIFORM[:400])
SMALL = upf_text(load_gth("O", "LDA"), 0.15 * np.arange(40))


@pytest.mark.parametrize(
    "old, new, words",
    [
        ('<UPF version="2.0.1">', "", "no element <UPF version"),
        ('version="2.0.1"', 'version="3.1"', "version '3.1'; UPF version 2 is expected"),
        ('pseudo_type="NC"', 'pseudo_type="US"', "pseudo_type is 'US'; only norm-conserving"),
        ('pseudo_type="NC"', 'pseudo_type="PAW"', "'PAW'"),
        ('pseudo_type="NC"', 'pseudo_type="1/r"', "'1/R'"),
        ('is_ultrasoft="F"', 'is_ultrasoft=".true."', "is_ultrasoft"),
        ('has_so="F"', 'has_so="T"', "spin-orbit coupling; only scalar-relativistic"),
        ('element="O "', 'element="Oo"', "element is 'Oo'"),
        ('z_valence="  6.00"', 'z_valence="9.0"', "z_valence is 9; more than 0 and at most 8"),
        ('z_valence="  6.00"', 'z_valence="5.0"', "charge 6; z_valence = 5"),
        ('z_valence="  6.00"', 'z_valence="nan"', "z_valence is 'nan'"),
        ('z_valence="  6.00"', "", "no attribute z_valence"),
        ('number_of_proj="1"', 'number_of_proj="2"', "number_of_proj is 2, but it holds 1 PP_BETA; both must agree"),
        ('number_of_proj="1"', 'number_of_proj="1e9"', "a whole number from 0 to 40"),
        ('angular_momentum="0"', 'angular_momentum="7"', "a whole number from 0 to 3"),
        ('core_correction="F"', 'core_correction="T"', "no PP_NLCC"),
        ("<PP_LOCAL>", "<PP_LOCAL>1.0 ", "PP_LOCAL holds 401 numbers; 400 are expected"),
        ("<PP_LOCAL>-", "<PP_LOCAL>x", "numbers are expected"),
        ("</UPF>", "", "not well-formed XML"),
        ("<PP_MESH>", '<!DOCTYPE x [<!ENTITY a "b">]><PP_MESH>', "declares a document type"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(write, old, new, words):
    assert old in GOOD
    with pytest.raises(DataFileError, match="X.upf: ") as caught:
        read_upf(write(GOOD.replace(old, new, 1)))
    assert words in str(caught.value)
    assert str(caught.value).rstrip().endswith(".") or "upfconv" in str(caught.value)


def test_version_1_is_named(write):
    with pytest.raises(DataFileError, match=r"UPF version 1; UPF version 2 is expected. Convert it"):
        read_upf(write("<PP_INFO>\n</PP_INFO>\n<PP_HEADER>\n  0  Version Number\n</PP_HEADER>\n"))


def test_entities_are_not_expanded(write):
    bomb = '<?xml version="1.0"?>\n<!DOCTYPE lolz [\n<!ENTITY a "ha">\n'
    bomb += "".join(f'<!ENTITY a{k} "{f"&a{k - 1 or str()};" * 10}">\n' for k in range(1, 9)) + "]>\n"
    with pytest.raises(DataFileError, match="document type"):
        read_upf(write(bomb + GOOD.replace("<PP_LOCAL>", "<PP_LOCAL>&a8;")))


def test_coupling_of_different_momenta_is_refused(write):
    exact = load_gth("Si", "LDA")
    text = upf_text(exact, UNIFORM)
    start = text.index("<PP_DIJ>")
    fields = text[start + 8 : text.index("</PP_DIJ>")].split()
    fields[2] = "0.5"
    broken = text[:start] + "<PP_DIJ>" + " ".join(fields) + text[text.index("</PP_DIJ>") :]
    assert [channel.l for channel in exact.channels] == [0, 1]
    with pytest.raises(DataFileError, match="couples different angular momenta"):
        read_upf(write(broken))


@pytest.mark.parametrize(
    "radii_r", [UNIFORM[::-1], UNIFORM[:10], UNIFORM - 0.05, np.repeat(UNIFORM, 2), UNIFORM[:150], UNIFORM + 0.5]
)
def test_impossible_meshes_are_refused(write, radii_r):
    text = upf_text(load_gth("H", "LDA"), UNIFORM)
    start, end = text.index('">\n', text.index("<PP_R")) + 2, text.index("</PP_R>")
    with pytest.raises(DataFileError, match="PP_R"):
        read_upf(write(text[:start] + numbers(radii_r) + text[end:]))


def test_missing_large_and_binary_files_are_refused(tmp_path):
    with pytest.raises(DataFileError, match="cannot read"):
        read_upf(tmp_path / "none.upf")
    with pytest.raises(DataFileError, match="cannot read"):
        read_upf(tmp_path)
    (tmp_path / "binary.upf").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(DataFileError, match="no element"):
        read_upf(tmp_path / "binary.upf")
    with open(tmp_path / "large.upf", "wb") as stream:
        stream.seek(LARGEST_FILE + 10)
        stream.write(b"x")
    with pytest.raises(DataFileError, match="it has [0-9]+ bytes, at most"):
        read_upf(tmp_path / "large.upf")
