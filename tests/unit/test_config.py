"""Input files: units, defaults, and that everything wrong is refused with a message that helps."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpiqmd import units
from mpiqmd.config import describe_keys, load_input, parse_input
from mpiqmd.config.description import described_keys
from mpiqmd.config.sections import section_keys
from mpiqmd.config.settings import SECTIONS
from mpiqmd.errors import ConfigError
from mpiqmd.keys.spec import REQUIRED, UNSET
from tests.helpers.workplace import READ_WATER as WATER

pytestmark = pytest.mark.serial

INPUTS = Path(__file__).parents[2] / "run" / "inputs"


def parse(text: str = "", base: str = WATER):
    return parse_input(tomllib.loads(base + text), Path("/inputs"))


def message(text: str = "", base: str = WATER) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, base)
    return str(caught.value)


def test_defaults_are_those_of_the_design():
    water = parse()
    assert water.grid.cell == (12.0, 12.0, 12.0) and water.grid.points == (64, 64, 64)
    assert (water.grid.order, water.grid.boundary, water.xc.functional) == (8, "isolated", "LDA")
    assert water.pseudopotentials.table == {"default": "gth"} and not water.pseudopotentials.allow_mismatch
    assert (water.scf.solver, water.scf.energy_tolerance, water.scf.net_force) == ("abpg", 1e-9, "remove")
    assert (water.md.steps, water.md.timestep, water.md.thermostat, water.md.pinned) == (
        500,
        40.0,
        "none",
        (),
    )
    assert water.md.temperature == pytest.approx(300 * 3.1668e-6, rel=1e-4)
    assert water.train.options.angle == pytest.approx(math.radians(104.5))
    assert water.rom.rank is None and water.rom.energy_fraction == 0.9999


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('"0.5 fs"', 0.5 / 0.024188843265857),
        ('"0.0005 ps"', 0.5 / 0.024188843265857),
        ('"20 au"', 20.0),
        ('"20a.u."', 20.0),
        ("20", 20.0),
        ('"2.0e1 au"', 20.0),
    ],
)
def test_times_are_converted_to_atomic_units(written, expected):
    assert parse(f"[md]\ntimestep = {written}").md.timestep == pytest.approx(expected, rel=1e-12)


def test_every_dimension_is_converted():
    water = parse(
        '[scf]\nelectronic_temperature = "1000 K"\nenergy_tolerance = "1 meV"\n[md]\ntemperature = "350 K"\n'
        '[train]\nbond_length = "0.968394 angstrom"\nangle_offsets = ["-5 deg", 0.1]'
    )
    assert water.scf.electronic_temperature == pytest.approx(1000 * units.KELVIN_IN_HARTREE)
    assert water.scf.energy_tolerance == pytest.approx(1e-3 / units.HARTREE_IN_EV)
    assert water.md.temperature == pytest.approx(350.0 * units.KELVIN_IN_HARTREE)
    assert water.train.options.bond_length == pytest.approx(1.83, abs=1e-5)
    assert water.train.options.angle_offsets == pytest.approx((-math.pi / 36, 0.1))


def test_masses_in_dalton():
    masses = parse(base=WATER.replace("[grid]", 'masses = ["16 Da", "1.008 u", 1836.0]\n[grid]')).system.masses
    assert masses == pytest.approx((16 * 1822.888486, 1.008 * 1822.888486, 1836.0), rel=1e-9)


@pytest.mark.parametrize(
    ("cell", "spacing", "points"),
    [
        ("12.0", 0.1875, (64, 64, 64)),
        ("[12.0, 10.0, 11.0]", 0.25, (48, 40, 44)),
        ("10.0", 0.19, (54, 54, 54)),
    ],
)
def test_spacing_gives_even_numbers_of_points_and_is_never_exceeded(cell, spacing, points):
    grid = parse(base=WATER.replace("12.0\npoints = 64", f"{cell}\nspacing = {spacing}")).grid
    assert grid.points == points
    assert all(edge / n <= spacing + 1e-12 for edge, n in zip(grid.cell, grid.points, strict=True))


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("lda", "LDA"),
        ("RevPBE", "REVPBE"),
        ("LDA_XC_TETER93", "lda_xc_teter93"),
        ("gga_x_pbe + GGA_C_PBE", "gga_x_pbe+gga_c_pbe"),
        ("lda_x+lda_c_pw", "lda_x+lda_c_pw"),
    ],
)
def test_functionals_by_short_or_libxc_name(written, stored):
    assert parse(f'[xc]\nfunctional = "{written}"').xc.functional == stored


def test_paths_are_relative_to_the_input_file(tmp_path):
    (tmp_path / "case").mkdir()
    path = tmp_path / "case" / "water.toml"
    path.write_text(WATER + '[pseudopotentials]\nO = "../O.psp8"\nH = "gth:1"\n')
    water = load_input(path)
    assert water.pseudopotentials.table == {"default": "gth", "O": str(tmp_path / "O.psp8"), "H": "gth:1"}
    assert water.folder == tmp_path / "case"


def test_structure_instead_of_symbols():
    system = parse(base='[system]\nstructure = "water.xyz"\n[grid]\ncell = 12.0\npoints = 64').system
    assert system.structure == Path("/inputs/water.xyz") and system.symbols is None


WRONG = [
    ("[md]\ntimestep = '40 fsec'", "'fsec' is not a unit of time (did you mean 'fs'?)", "au, a.u., fs, ps"),
    ("[md]\ntimestep = '40'", "without a unit"),
    ("[md]\ntimestep = -1.0", "not above 0"),
    ("[md]\ntimestep = nan", "not finite"),
    ("[md]\ntimestep = '1e999 fs'", "not finite"),
    ("[md]\ntimestep = true", "not a number"),
    ("[md]\ntemperature = 300", "did you mean kelvin"),
    ("[md]\ntemperature = '300 Kelvin'", "'Kelvin' is not a unit of temperature"),
    ("[md]\nsteps = 500.0", "not an integer"),
    ("[md]\nsteps = true", "not an integer"),
    ("[md]\nsteps = -1", "below 0"),
    ("[md]\nsteps = 9223372036854775808", "64 bits"),
    ("[md]\nthermostat = 'andersen'", '"none", "berendsen", "langevin", "csvr", "nose-hoover"'),
    ("[md]\nthermostat = 'nose-hoover'\nrelaxation_time = 10.0", "shorter than the time step"),
    ("[md]\nchain_length = 0", "below 1"),
    ("[md]\ncheckpoint_minutes = 0", "not above 0"),
    ("[md]\nconstraints = [[0, 3]]", "pairs of different atoms, from 0 to 2"),
    ("[md]\nconstraints = [[0, 1], [1, 0]]", "each pair once"),
    ("[md]\nconstraints = [[1, 1]]", "pairs of different atoms"),
    ("[md]\nconstraints = [[0, 1, 2]]", "3 entries instead of 2"),
    ("[md]\nthermostat = 'berendsten'", "did you mean 'berendsen'"),
    ("[md]\ntimestp = 1.0", "unknown key (did you mean 'timestep'?)"),
    ("[md]\nenergy_tolerance = 1.0", "belongs below [scf] or [train]"),
    ("[md]\npinned = [3]", "indices from 0 to 2"),
    ("[md]\npinned = [1, 1]", "listed twice"),
    ("[md]\ninitial_velocities = [[0, 0, 0]]", "1 entries, the molecule 3 atoms"),
    ("[md]\ninitial_velocities = 'cold'", '"random", "zero"'),
    ("[md]\nthermostat = 'berendsen'\nrelaxation_time = 10.0", "shorter than the time step"),
    ("[scf]\nsolver = 3", "not a string"),
    ("[scf]\nextrapolation = 'time'", "geometry"),
    ("[scf]\nextrapolation_steps = 41", "above 40"),
    ("[scf]\nenergy_tolerance = 0.0", "not above 0"),
    ("[rom]\nenergy_fraction = 1.5", "above 1"),
    ("[rom]\nonline = 'dense'", '"learned", "grid"'),
    ("[rom]\nrank = 0", "below 1"),
    ("[train]\nangle = 104.5", "did you mean degrees"),
    ("[train]\nangle_offsets = ['-110 deg']", "-5.5 degrees"),
    ("[train]\nbond_scales = []", "empty list"),
    ("[train]\nbond_scales = [1.0, 'a']", 'entry 1, "a": not a number'),
    ("[train]\nsampling = 'structures'", "structures is missing"),
    ("[train]\nstructures = 'a.xyz'", 'sampling is "lattice"'),
    ("[train]\nsymmetrize = 1", "not a boolean"),
    ("[xc]\nfunctional = 'PBX'", "did you mean 'PBE'"),
    ("[xc]\nfunctional = 'hyb_gga_xc_b3lyp'", "not a known functional"),
    ("[pseudopotentials]\ndefalt = 'gth'", "did you mean 'default'"),
    ("[pseudopotentials]\nO = 6", "not a string"),
    ("[sfc]\nseed = 1", "unknown section (did you mean 'scf'?)"),
]


@pytest.mark.parametrize(("text", "parts"), [(text, parts) for text, *parts in WRONG], ids=lambda value: str(value)[:40])
def test_what_is_wrong_is_named_with_what_is_allowed(text, parts):
    problem = message(text)
    section = text.split("]")[0] + "]"
    assert problem.startswith("1 problem in the input:\n") and section in problem
    for part in parts:
        assert part in problem


WRONG_BASE = [
    (("points = 64", "points = 63.0"), "not an integer"),
    (("points = 64", "points = [64, 64]"), "2 entries instead of 3"),
    (("points = 64", "points = 64\nspacing = 0.2"), "both given"),
    (("points = 64", ""), "no resolution"),
    (("points = 64", "spacing = 1e-9"), "below 0.005 bohr"),
    (("cell = 12.0\npoints = 64", "cell = 1e6\nspacing = 1.0"), "more than 100000 points"),
    (("cell = 12.0", "cell = 1e9"), "the spacing is 1.5625e+07 bohr. Allowed: from 0.005 to 4 bohr"),
    (("cell = 12.0", "cell = [12.0, 12.0, 0.1]"), "Correct the points, or the cell and its unit"),
    (("points = 64", "points = 64\norder = 7"), "odd"),
    (("points = 64", "points = 64\norder = 14"), "above 12"),
    (("cell = 12.0", ""), "[grid] cell is missing"),
    (("cell = 12.0", "cell = -12.0"), "not above 0"),
    (('"H", "H"]', '"H"]'), "positions has 3 entries, symbols has 2"),
    (('"O", "H"', '"o", "H"'), "not a chemical symbol"),
    (("[0.0, 0.0, 0.0]", "[0.0, 0.0]"), "2 entries instead of 3"),
    (("[0.0, 0.0, 0.0]", "[0.0, inf, 0.0]"), "not finite"),
    (("[grid]", "structure = 'w.xyz'\n[grid]"), "both given"),
    (("[grid]", "masses = [16.0, 1.0, 1.0]\n[grid]"), "did you mean dalton"),
    (('symbols = ["O", "H", "H"]', ""), "symbols is missing"),
    (("[grid]", "[grd]"), "unknown section (did you mean 'grid'?)"),
    (("[system]", "steps = 3\n[system]"), "Move it below [md]"),
    (("[system]", "md = 3\n[system]"), "not a section"),
]


@pytest.mark.parametrize(("change", "part"), WRONG_BASE, ids=lambda value: str(value)[:40])
def test_wrong_system_or_grid(change, part):
    assert change[0] in WATER
    assert part in message(base=WATER.replace(*change))


def test_an_empty_input_says_what_is_missing():
    problem = message(base="")
    assert "3 problems" in problem
    assert "no molecule" in problem and "no resolution" in problem and "cell is missing" in problem


def test_all_problems_are_reported_at_once_one_per_line():
    problem = message("[md]\nsteps = -1\ntimestp = 3\n[scf]\nsolver = 'lobpcg'\n[rom]\ncriterion = 'sigma3'\n")
    assert problem.startswith("4 problems in the input:\n")
    lines = problem.splitlines()[1:]
    assert len(lines) == 4
    assert all(line.startswith("  [") and "Allowed: " in line for line in lines)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"[grid\ncell = 1", "not a TOML file"),
        (b"\xff\xfe[grid]", "not a TOML file"),
        (b"a = " + b"[" * 5000, "not a TOML file"),
        (b"[md]\nsteps = " + b"9" * 5000, "not a TOML file"),
    ],
)
def test_files_that_are_not_toml(tmp_path, content, part):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=part) as caught:
        load_input(path)
    assert str(path) in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_input(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="is no input file: it is a folder"):
        load_input(tmp_path)


def test_settings_survive_json_and_are_immutable():
    water = parse("[md]\ninitial_velocities = [[0, 0, 0], [1, 0, 0], [0, 1, 0]]\n[train]\nbond_scales = [1.0]")
    again = json.loads(json.dumps(water.as_dict()))
    assert list(again) == list(SECTIONS)
    assert again == water.as_dict()
    assert again["md"]["initial_velocities"] == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    with pytest.raises(AttributeError):
        water.md.steps = 3


def test_every_key_is_described_and_its_default_acceptable():
    table = describe_keys()
    given = parse().as_dict()
    for name in SECTIONS:
        assert f"[{name}]" in table
        for key, spec in described_keys(name).items():
            assert key in table and spec.description in table
            if spec.default not in (REQUIRED, UNSET) and key in section_keys(name):
                assert given[name][key] == json.loads(json.dumps(spec.kind.read(spec.default, Path())))


@pytest.mark.parametrize("path", sorted(INPUTS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_inputs_are_valid_and_hold_the_reference_water(path):
    system = load_input(path).system
    assert system.symbols == ("O", "H", "H")
    first, second = (math.dist(system.positions[0], system.positions[hydrogen]) for hydrogen in (1, 2))
    cosine = sum(a * b for a, b in zip(system.positions[1], system.positions[2], strict=True)) / (first * second)
    assert (first, second) == pytest.approx((1.83, 1.83), abs=1e-6)
    assert math.degrees(math.acos(cosine)) == pytest.approx(104.5, abs=1e-4)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(["1 fs", "gth", "PBE"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from([(name, key) for name in SECTIONS for key in section_keys(name)])


@settings(max_examples=300, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(KEYS, JUNK), max_size=5), st.dictionaries(st.text(max_size=8), JUNK, max_size=2))
def test_any_junk_is_either_accepted_or_a_config_error(entries, extra):
    tables = tomllib.loads(WATER) | extra
    for (section, key), value in entries:
        table = tables.setdefault(section, {})
        if isinstance(table, dict):
            table[key] = value
    try:
        json.dumps(parse_input(tables, Path("/inputs")).as_dict(), allow_nan=False)
    except ConfigError as problem:
        assert "problem" in str(problem)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_either_accepted_or_a_config_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "junk.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        load_input(path)
