"""The page of accuracy and cost: made of the records that are there, and refused if one of them is not what it should be."""

from __future__ import annotations

import copy
import json

import pytest

from docs.pages.accuracy_page import SECTIONS, accuracy_page
from docs.pages.figures import draw_all
from docs.pages.records import SCRIPTS, RecordError, read_records

pytestmark = pytest.mark.serial

MACHINE = {"machine": {"cores": 2, "load_average": 0.1, "threads": {}}, "versions": {"mpiqmd": "0.1.0", "petsc": "3.18"}}
GROUND_STATE = {
    "energy": -17.1,
    "iterations": 12,
    "applications": 48,
    "cpu_seconds": 1.1,
    "wall_seconds": 1.2,
    "setup_cpu_seconds": 0.4,
}
DYNAMICS = GROUND_STATE | {"cpu_seconds_per_step": 0.4, "drift_per_atom_ps": 1e-8, "fluctuation": 1e-6}
GRID_ROWS = [
    {"points": n, "spacing": 12.0 / n, "energy_error": 1.0 / n**2, "force_error": 2.0 / n**2, "cpu_seconds": n * 0.01}
    for n in (40, 64)
]
RIPPLE = {kind: {"ripple": 1e-4, "net_force": 1e-3} for kind in ("x", "diagonal", "rotation")}
EXTRAPOLATED = [{"ranks": ranks, "direct": 0.1, "multigrid": 0.2} for ranks in (1, 2)]
ERRORS = {"geometries": 4, "energy": 1e-6, "energy_spread": 1e-7, "force": 1e-5, "force_median": 1e-6}
LONG_RUN = {
    "temperature": 500.0,
    "picoseconds": 50.0,
    "crossings": 17,
    "drift_per_atom_and_ps": 1e-9,
    "fluctuation": 2e-6,
}
WINDOW_ERRORS = {
    "frames": 100,
    "force_rms": 3e-6,
    "force_largest": 2e-5,
    "energy_rms": 4e-7,
    "energy_largest": 9e-7,
    "milliseconds_a_step": 1.1,
}
RECORDS = {
    "hifi": MACHINE | {"points": 64, "cases": {"lda-8": GROUND_STATE, "lda-8-md": DYNAMICS}},
    "accuracy": MACHINE | {"kinds": {"order 8": GRID_ROWS, "order 12": GRID_ROWS[:1]}},
    "ripple": MACHINE
    | {
        "points": 64,
        "cases": {"order 8": RIPPLE | {"seconds_per_iteration": 0.1, "iterations": 9}, "GPAW 26.7, isolated": RIPPLE},
    },
    "hifi-drift": MACHINE
    | {
        "points": 48,
        "timestep": 20.0,
        "rows": [
            {
                "tolerance": 1e-9,
                "rule": rule,
                "steps": 3,
                "iterations_per_step": 6.5,
                "drift_per_atom_ps": 1e-8,
                "added_drift_per_atom_ps": 2e-9,
                "fluctuation": 1e-6,
                "energies": [-17.0, -17.1, -17.0],
            }
            for rule in ("geometry", "aspc")
        ],
    },
    "reduced": {
        "accuracy": {"grid": {"geometries": 9, "energy": 1e-9, "force": 1e-7}, "hifi": ERRORS},
        "frames": ERRORS | {"component": 1e-5, "component_median": 1e-6},
        "decay": {"16": {"grid": ERRORS, "hifi": ERRORS}, "34": {"grid": ERRORS, "hifi": ERRORS}},
        "gradient": {"components": 9, "largest": 5e-9},
        "drift": {"0.5 fs, gradient": {"drift": 1e-12, "fluctuation": 1e-6, "steps": 100}},
        "batch": {"1": {"step": 400.0, "evaluation": 300.0, "step_gain": 1.0, "evaluation_gain": 1.0}},
        "cost": {
            "seconds_per_step": 4e-4,
            "hifi_seconds_per_step": 0.4,
            "ratio": 1000.0,
            "modes": 85,
            "multiplications_per_step": 1_600_000,
        },
        "estimate": {
            "geometries": 200,
            "within_factor_2": 1.0,
            "ratio_lowest": 1.01,
            "ratio_median": 1.03,
            "ratio_highest": 1.07,
            "smallest_error": 5e-9,
            "largest_error": 3e-4,
        },
    },
    "published": MACHINE
    | {
        "time_fs": [0.0, 1.0],
        "names": ["length_1", "angle"],
        "series": {run: {"length_1": [1.8, 1.83], "angle": [104.0, 104.5]} for run in ("hifi", "grid", "learned")},
        "differences": {
            form: {
                "length_1": {"max": 7.7e-3, "rms": 1e-3, "unit": "bohr"},
                "angle": {"max": 1.7, "rms": 0.4, "unit": "degrees"},
            }
            for form in ("grid", "learned")
        },
        "seconds_per_step": {"hifi": 0.8, "grid": 1.6, "learned": 4e-4},
    },
    "cards": MACHINE
    | {
        "cards": [
            {
                "formula": "H3N",
                "atoms": 4,
                "training_geometries": 56,
                "modes": 247,
                "latent_directions": 161,
                "density_functions": 270,
                "points": 1320,
                "megabytes": 12.6,
                "milliseconds_a_step": 2.0,
                "evaluations": 1.0,
                "hifi_seconds_a_solve": 2.0,
                "frames": 100,
                "drift_per_atom_and_ps": -3e-10,
                "force_rms": 2.4e-6,
                "force_largest": 1.1e-5,
                "energy_mean": 6e-7,
                "energy_rms": 7e-7,
                "energy_largest": 1.2e-6,
                "frequency_error": 0.1,
            }
        ]
    },
    "windows": MACHINE
    | {
        "windows": [
            {
                "formula": formula,
                "atoms": 4,
                "coordinate": coordinate,
                "windows": 12,
                "distinct": 7,
                "warm": WINDOW_ERRORS | {"values": [0.1, 1.0], "force_largest_f": [1e-5, 2e-5]},
                "long": {
                    "temperature": 500.0,
                    "picoseconds": 50.0,
                    "crossings": 17,
                    "drift_per_atom_and_ps": 1e-9,
                    "fluctuation": 2e-6,
                },
                "profile": {"values": [0.0, 1.6, 3.1], "models": [0.010001, 0.0, 0.002], "full": [0.01, 0.0, 0.002]},
                "potential": potential,
            }
            for formula, coordinate, potential in (
                ("H2O2", "torsion", None),
                ("H3N", "inversion", WINDOW_ERRORS | {"solves": 112}),
            )
        ]
    },
    "potentials": MACHINE
    | {
        "molecules": [
            {
                "formula": formula,
                "frames": 100,
                "wanted": {"temperature": 300.0},
                "forces_rms": 7e-3,
                "hifi_seconds_a_solve": 2.0,
                "orientation_ripple": ripple,
                "rows": [
                    {
                        "method": method,
                        "solves": solves,
                        "force_rms": error,
                        "force_largest": 5.0 * error,
                        "energy_rms": 0.1 * error,
                        "seconds_a_step": 1e-3,
                    }
                    for method, solves, error in (("mpiqmd, learned", 56, 4e-6), ("sGDML", 28, 3e-4), ("sGDML", 56, 1e-4))
                ],
            }
            for formula, ripple in (("H2O", None), ("H3N", 1.5e-4), ("CH4", 1e-4))
        ]
    },
    "peers": MACHINE
    | {
        "ours": {"lda-8": GROUND_STATE, "lda-12": GROUND_STATE, "lda-8-md": DYNAMICS},
        "peers": {
            "gpaw": {"version": "26.7", "energy": -17.2, "iterations": 30, "ground_state_seconds": 9.0, "step_seconds": [4.5]},
            "sparc": {"missing": "compile it"},
            "mgmol": {"failed": "killed"},
        },
    },
    "scaling": {
        "versions": MACHINE["versions"],
        "launcher": "mpirun -n {ranks}",
        "clock": "cpu",
        "scaling": [
            {"study": study, "ranks": ranks, "seconds": 0.1 / ranks, "efficiency": 0.9, "message_share": 0.1, "memory": 2e8}
            for study in ("strong", "weak")
            for ranks in (1, 2)
        ],
        "model": {"extrapolated": {"64^3, 4 orbitals": {"rows": EXTRAPOLATED}}},
    },
}
"""What each script writes, as small as it may be."""


def written(folder, records):
    for name, record in records.items():
        (folder / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")
    return read_records(folder)


def test_every_record_gives_a_section_with_figures(tmp_path):
    records = written(tmp_path, RECORDS)
    assert set(records) == set(SCRIPTS) == set(SECTIONS)
    page = accuracy_page(records)
    assert "<!-- record" not in page
    assert all(f"`{script}`" in page for script in SCRIPTS.values())
    assert "| grid | length 1 | 7.7e-03 | 1.0e-03 | bohr |" in page and "| learned | 0.4 | 2e+03 |" in page
    assert "| order 8 | 0.625 | 0.244 |" in page and "gpaw 26.7 | 9.00 | 6.0 | 30 | 4.50 | 11.2" in page
    assert "| H3N | sGDML | 56 | 1.0e-04 | 25 | 5.0e-04 | 1.0e-05 | 1.00 | 1.00 |" in page and "| sGDML | 28 |" not in page
    assert "| H2O | 100 | 300 | 7.0e-03 | - | 2000 |" in page and "| H3N | 100 | 300 | 7.0e-03 | 1.5e-04 | 2000 |" in page
    assert "| H3N | 56 | 247 | 161 | 270 | 1320 | 12.6 | 2.00 | 1.0 | 1000 |" in page
    assert all(text in page for text in ("not installed", "failed", "PETSc 3.18"))
    drawn = draw_all(records, tmp_path)
    assert "| H2O2 | torsion | 12 (7 distinct) | 100 | 3.0e-06 | 2.0e-05 | 4.0e-07 | 9.0e-07 | 1.10 |" in page
    assert "| H3N, sGDML |  | 112 full solutions | 100 |" in page and "| H2O2 | 500 | 50 | 17 | 1.0e-03 | 2.0e+00 |" in page
    assert "| H2O2 | 0 | 6.2751 | 6.2757 | +6.3e-04 |" in page and "| H2O2 | 178 |" in page
    stems = {"accuracy", "ripple", "hifi-drift", "reduced-decay", "published", "windows", "potentials", "scaling"}
    assert {path.name for path in drawn} == {f"{stem}.png" for stem in stems}
    assert all(path.stat().st_size > 1000 for path in drawn) and not list(tmp_path.glob("*.pdf"))
    assert all(f"(figures/{stem}.png)" in page for stem in stems)


@pytest.mark.parametrize("name", RECORDS)
def test_a_missing_record_is_left_out(name, tmp_path):
    there = accuracy_page(written(tmp_path, {name: RECORDS[name]}))
    assert there.count("<!-- record") == 0
    assert there.count("\n*`run/") == 1
    assert "Against other codes" in there


def broken(record, path):
    """A copy of a record without what is at a path of keys."""
    changed = copy.deepcopy(record)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return changed


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("hifi", ["cases", "lda-8", "iterations"]),
        ("accuracy", ["kinds", "order 8", 0, "force_error"]),
        ("ripple", ["cases", "order 8", "seconds_per_iteration"]),
        ("hifi-drift", ["rows", 0, "rule"]),
        ("reduced", ["batch", "1", "step"]),
        ("cards", ["cards", 0, "force_rms"]),
        ("windows", ["windows", 0, "long", "crossings"]),
        ("potentials", ["molecules", 0, "rows", 0, "force_rms"]),
        ("peers", ["peers", "gpaw", "energy"]),
        ("scaling", ["scaling", 0, "memory"]),
    ],
)
def test_a_malformed_record_is_an_error_that_names_it(name, path, tmp_path):
    records = written(tmp_path, {name: broken(RECORDS[name], path)})
    with pytest.raises(RecordError, match=rf"docs/records/{name}\.json"):
        accuracy_page(records)


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"cases": 3}'])
def test_a_file_that_is_no_record_is_an_error(text, tmp_path):
    (tmp_path / "hifi.json").write_text(text)
    with pytest.raises(RecordError, match=r"hifi\.json"):
        accuracy_page(read_records(tmp_path))
