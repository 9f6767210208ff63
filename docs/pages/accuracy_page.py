"""The page of accuracy and cost: a text with one place for every record, tables and figures made from it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from docs.pages.figures import drawn
from docs.pages.records import Record, provenance, taking_apart
from docs.pages.reduced_section import reduced_tables
from docs.pages.tables import table
from docs.pages.windows_section import WINDOWS, windows_tables

TEMPLATE = Path(__file__).with_name("accuracy-and-cost.md")


def accuracy_page(records: dict[str, Record]) -> str:
    """Return the page as Markdown.  Not collective.

    A paragraph ``<!-- record NAME -->`` of the text becomes the section of that record, or nothing.  Raises RecordError for
    a malformed record.
    """
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, tables in SECTIONS.items():
        text = text.replace(f"<!-- record {name} -->\n\n", section(name, records[name], tables) if name in records else "")
    return text


def section(name: str, record: Record, tables: Callable[[Record], list[str]]) -> str:
    """Return the section of a record: heading, text, tables, figure, where the numbers come from."""
    title, text = ABOUT[name]
    with taking_apart(name):
        blocks = tables(record)
        figures = [f"![{caption}](figures/{stem}.png)" for stem, caption in drawn(name, record)]
        return "\n\n".join([f"## {title}", text, *blocks, *figures, provenance(name, record)]) + "\n\n"


ABOUT = {
    "accuracy": (
        "Error against spacing, order and density grid",
        "Periodic water in a cube of 12 bohr, LDA, GTH, against plane waves extrapolated to infinite cutoff. The molecule lies "
        "at several places between the points of the grid and the worst is kept; net forces are removed as by default.",
    ),
    "ripple": (
        "What the grid does as a molecule moves",
        "Ripple: the range of the energy over shifts through one spacing along x and along the diagonal, and over random "
        "rotations of the isolated molecule (`mpiqmd check egg-box`). Net force: the largest before it is removed. Cost: "
        "processor time per iteration against the first case. Walls and periodic images are in the numbers too.",
    ),
    "hifi": (
        "Cost of the full solver",
        "Water in a cube of 12 bohr on one core, from atoms to 1e-8 Ha with forces, and NVE steps of 40 atomic units. An "
        "application is one orbital under the Laplacian.",
    ),
    "hifi-drift": (
        "Energy conservation of the full solver",
        "NVE dynamics of water from 300 K in steps of 20 atomic units, by `scf.energy_tolerance` and `scf.extrapolation`. The "
        "drift is the slope of the total energy, the fluctuation what is left about it. In a run this short the integrator's "
        "own slow oscillation looks like a drift, too: the first line is as good as exact, and what a solver adds is counted "
        "from it. Orbitals fitted to the geometry (the default) take the fewest iterations; `aspc`, reversible in time, drifts "
        "least.",
    ),
    "reduced": (
        "The grid-free reduced model",
        "The water model of `run/inputs/water.toml`, on one core. L1, L2 and theta are its bond lengths and its angle.",
    ),
    "published": (
        "The published case",
        "Water in a periodic cell, PBE, SG15 pseudopotentials, fourth-order differences, 34 modes of 18 geometries, Berendsen "
        "thermostat: `run/inputs/water-paper.toml`; minimised on the grid with rotated Hellmann-Feynman forces, as published, "
        "and on the learned grid of the same modes with exact forces (`water-paper-learned.toml`). Differences to the full "
        "dynamics, which starts from the same state: they grow with time, for "
        "what 34 modes leave out changes frequencies a little. `python -m run.bench.published_case --output FOLDER`.",
    ),
    "cards": (
        "Molecules",
        'What a model with a learned grid (`rom.online = "learned"`) is worth: errors against full solutions on frames of '
        "its own NVE dynamics, which no training has seen, forces by the exact gradient; one step, all included. LDA, GTH, "
        "order 8, 64 points in 12 to 14 bohr, CO2 and HCN 0.2 bohr; water by `run/inputs/water.toml`, the others by normal "
        "modes at 400 K: `python -m run.bench.card INPUT.toml --model FOLDER/model.h5 --output FOLDER/card`. A full solution "
        "is one from atoms to 1e-10 Ha. Frequencies are harmonic ones at the minimum. Times are of a machine busy with other "
        "work.",
    ),
    "windows": WINDOWS,
    "potentials": (
        "Beside machine-learned potentials",
        "Frames of the reduced model's own NVE dynamics, which neither it nor a potential has seen, solved in full; potentials "
        "learn from the training geometries of the model, or random parts of them (in the figure), with exact energies and "
        "forces and without images: `python -m run.bench.potentials INPUT.toml --model FOLDER/model.h5 --output "
        "FOLDER/potentials`. The geometries were chosen for the model, not for potentials. sGDML knows the permutations of "
        "like atoms that it finds in them and those of the symmetry that the model uses, GDML none; kernel length and "
        "regularisation are chosen by cross-validation. Ratios are to mpiqmd; times are processor times of one evaluation, "
        "taken alternately along the dynamics, on a machine busy with other work.",
    ),
    "peers": (
        "Beside other codes",
        "The same molecule, cell and grid on one core: the ground state with forces from scratch, and NVE steps from it. "
        "Ratios are to the first line. Energies compare only where the same pseudopotential is used.",
    ),
    "scaling": (
        "Scaling over ranks",
        "Strong: one grid over all ranks. Weak: as many points for every rank, the cell growing with them. Multigrid: strong, "
        'with `grid.poisson = "multigrid"`. The lower right panel extrapolates a performance model fitted to these times.',
    ),
}
"""Heading and text of every section."""


def accuracy_tables(record: Record) -> list[str]:
    """Return the errors of energy and forces, and the time, by kind and spacing."""
    kinds = record["kinds"]
    points = sorted({row["points"] for rows in kinds.values() for row in rows})
    spacing = {row["points"]: row["spacing"] for rows in kinds.values() for row in rows}
    heads = [f"{spacing[n]:.3f}" for n in points]
    quantities = (
        ("largest energy error, mHa, by spacing in bohr", "energy_error", 1e3, ".3f"),
        ("largest force error, mHa/bohr", "force_error", 1e3, ".3f"),
        ("processor time of a ground state, s", "cpu_seconds", 1.0, ".2f"),
    )

    def cells(rows: list[Record], name: str, unit: float, form: str) -> Iterable[str]:
        by_points = {row["points"]: row[name] for row in rows}
        return (format(unit * by_points[n], form) if n in by_points else "" for n in points)

    return [
        table([title, *heads], [[kind, *cells(rows, name, unit, form)] for kind, rows in kinds.items()])
        for title, name, unit, form in quantities
    ]


def ripple_tables(record: Record) -> list[str]:
    """Return ripple, net force and cost of every case."""
    cases, rows = record["cases"], []
    first = next(iter(cases.values()))["seconds_per_iteration"]
    for name, case in cases.items():
        kinds = [kind for kind in ("x", "diagonal", "rotation") if kind in case]
        ripples = [f"{1e3 * case[kind]['ripple']:.3g}" if kind in case else "" for kind in ("x", "diagonal", "rotation")]
        net = max(case[kind]["net_force"] for kind in kinds)
        cost = f"{case['seconds_per_iteration'] / first:.1f}" if "seconds_per_iteration" in case else ""
        rows.append([name, *ripples, f"{1e3 * net:.3f}", cost])
    heads = [f"ripple, mHa, {record['points']}^3 points", "x", "diagonal", "rotation", "net force, mHa/bohr", "cost"]
    return [table(heads, rows)]


def hifi_tables(record: Record) -> list[str]:
    """Return one line per case."""
    rows = []
    for name, case in record["cases"].items():
        step = case.get("cpu_seconds_per_step")
        rows.append(
            [
                name,
                f"{case['energy']:.8f}",
                str(case["iterations"]),
                str(case["applications"]),
                f"{case['setup_cpu_seconds']:.2f}",
                f"{case['cpu_seconds']:.2f}",
                "" if step is None else f"{step:.3f}",
            ]
        )
    heads = [f"case, {record['points']}^3 points", "energy, Ha", "iterations", "applications", "set-up, s", "work, s"]
    return [table([*heads, "an MD step, s"], rows)]


def drift_tables(record: Record) -> list[str]:
    """Return one line per tolerance and rule; what a solver adds is counted from the first line, which is as good as exact."""
    rows = [
        [
            f"{row['tolerance']:.0e}",
            row["rule"],
            str(row["steps"]),
            f"{row['iterations_per_step']:.2f}",
            f"{1e6 * row['drift_per_atom_ps']:.2f}",
            f"{1e6 * row['added_drift_per_atom_ps']:.2f}",
            f"{1e6 * row['fluctuation']:.2f}",
        ]
        for row in record["rows"]
    ]
    heads = [f"tolerance, Ha ({record['points']}^3 points)", "rule", "steps", "iterations a step"]
    return [table([*heads, "drift, microHa/atom/ps", "beyond the first line", "fluctuation, microHa"], rows)]


def peers_tables(record: Record) -> list[str]:
    """Return time and iterations of our cases and of every peer; one that is missing or failed is said to be."""
    own = record["ours"]
    start = own["lda-8"]["setup_cpu_seconds"] + own["lda-8"]["cpu_seconds"]
    step = own["lda-8-md"]["cpu_seconds_per_step"]
    rows = []
    for name in ("lda-8", "lda-12"):
        seconds = own[name]["setup_cpu_seconds"] + own[name]["cpu_seconds"]
        rows.append(_peer(f"mpiqmd {name}", own[name], seconds / start, seconds, step if name == "lda-8" else None, step))
    for name, peer in record["peers"].items():
        if "missing" in peer or "failed" in peer:
            rows.append([name, "not installed" if "missing" in peer else "failed", *[""] * 5])
            continue
        seconds = peer["ground_state_seconds"]
        taken = statistics.median(peer["step_seconds"]) if peer.get("step_seconds") else None
        rows.append(_peer(f"{name} {peer.get('version', '')}".strip(), peer, seconds / start, seconds, taken, step))
    heads = ["processor seconds", "from scratch", "ratio", "iterations", "an MD step", "ratio", "energy, Ha"]
    return [table(heads, rows)]


def _peer(label: str, found: dict[str, Any], ratio: float, seconds: float, taken: float | None, step: float) -> list[str]:
    steps = ["", ""] if taken is None else [f"{taken:.2f}", f"{taken / step:.1f}"]
    return [label, f"{seconds:.2f}", f"{ratio:.1f}", str(found["iterations"]), *steps, f"{found['energy']:.6f}"]


def published_tables(record: Record) -> list[str]:
    """Return what reduced dynamics differ by from the full one, and what a step takes."""
    seconds, rows = record["seconds_per_step"], []
    for form, found in record["differences"].items():
        for name, entry in found.items():
            rows.append([form, name.replace("_", " "), f"{entry['max']:.1e}", f"{entry['rms']:.1e}", entry["unit"]])
    steps = [[name, f"{1e3 * taken:.3g}", f"{seconds['hifi'] / taken:.3g}"] for name, taken in seconds.items()]
    return [
        table(["reduced model", "quantity", "largest difference", "rms", "unit"], rows),
        table(["dynamics", "a step, ms", "steps in the time of a full one"], steps),
    ]


def cards_tables(record: Record) -> list[str]:
    """Return what each molecule's model consists of and costs, and its errors."""
    made, errors, beyond = [], [], []
    for card in record["cards"]:
        steps = 1e3 * card["hifi_seconds_a_solve"] / card["milliseconds_a_step"]
        counts = ("training_geometries", "modes", "latent_directions", "density_functions", "points")
        made.append(
            [
                card["formula"],
                *(str(card[name]) for name in counts),
                f"{card['megabytes']:.1f}",
                f"{card['milliseconds_a_step']:.2f}",
                f"{card['evaluations']:.1f}",
                f"{steps:.0f}",
            ]
        )
        names = ("force_rms", "force_largest", "energy_mean", "energy_rms", "energy_largest")
        drift = f"{1e6 * card['drift_per_atom_and_ps']:.1e}"
        wave_numbers = f"{card['frequency_error']:.2f}" if "frequency_error" in card else "-"
        errors.append([card["formula"], str(card["frames"]), *(f"{card[name]:.1e}" for name in names), drift, wave_numbers])
        beyond += _beyond(card)
    heads = ["", "full solutions", "modes", "latent directions", "density functions", "points", "MB", "ms a step"]
    heads += ["evaluations a step", "steps in the time of a full solution"]
    forces = ["", "frames", "forces, rms, Ha/bohr", "largest", "energy, mean, Ha", "rms", "largest"]
    hot = [
        "",
        "temperature, K",
        "frames",
        "forces, rms, Ha/bohr",
        "largest",
        "estimated over true force errors at 300 K",
        "of frames",
    ]
    return [
        table(heads, made),
        table([*forces, "drift, microHa/atom/ps", "frequencies, largest, 1/cm"], errors),
        table(hot, beyond),
    ]


def _beyond(card: Record) -> list[list[str]]:
    """Return the row of a molecule's hot frames and of what the model says of its own errors, if they are known."""
    if "hot" not in card:
        return []
    hot, ratio = card["hot"], card["estimate_over_truth"]
    found = [f"{hot['temperature']:.0f}", str(hot["frames"]), f"{hot['force_rms']:.1e}", f"{hot['force_largest']:.1e}"]
    return [[card["formula"], *found, f"{ratio['rms']:.2f}", f"{ratio['lowest']:.2f} to {ratio['highest']:.1f}"]]


def potentials_tables(record: Record) -> list[str]:
    """Return errors and times of all methods at all the training geometries of each molecule, and what they are judged by."""
    molecules = record["molecules"]
    heads = ["", "", "full solutions", "forces, rms, Ha/bohr", "ratio", "largest", "energy, rms, Ha", "a step, ms", "ratio"]
    judged_by = [
        "",
        "frames",
        "temperature, K",
        "rms of the forces, Ha/bohr",
        "changed by turning in the grid, rms, Ha/bohr",
        "steps of mpiqmd in the time of a full solution",
    ]
    return [
        table(heads, [_method(molecule, row) for molecule in molecules for row in _with_all_solutions(molecule)]),
        table(judged_by, [_judges(molecule) for molecule in molecules]),
        RIPPLE,
    ]


def _with_all_solutions(molecule: Record) -> list[Record]:
    """Return the rows of a molecule with as many full solutions as the first, the reduced model."""
    rows: list[Record] = molecule["rows"]
    return [row for row in rows if row["solves"] == rows[0]["solves"]]


def _method(molecule: Record, row: Record) -> list[str]:
    """Return a line of errors and time; ratios are to the molecule's first row."""
    first = molecule["rows"][0]
    return [
        molecule["formula"],
        f"{row['method']} {row.get('version', '')}".strip(),
        str(row["solves"]),
        f"{row['force_rms']:.1e}",
        f"{row['force_rms'] / first['force_rms']:.0f}",
        f"{row['force_largest']:.1e}",
        f"{row['energy_rms']:.1e}",
        f"{1e3 * row['seconds_a_step']:.2f}",
        f"{row['seconds_a_step'] / first['seconds_a_step']:.2f}",
    ]


def _judges(molecule: Record) -> list[str]:
    """Return what the errors of a molecule are to be compared with."""
    ripple = molecule["orientation_ripple"]
    return [
        molecule["formula"],
        str(molecule["frames"]),
        f"{molecule['wanted']['temperature']:.0f}",
        f"{molecule['forces_rms']:.1e}",
        "-" if ripple is None else f"{ripple:.1e}",
        f"{molecule['hifi_seconds_a_solve'] / molecule['rows'][0]['seconds_a_step']:.0f}",
    ]


RIPPLE = (
    "Turning the molecule in the grid changes the full solver's forces, too. Errors smaller than that change are against the "
    "surface that the grid gives in the molecule's frame, with its ripple. A reduced model has the ripple by construction. A "
    "potential must learn it, and one that treats like atoms alike cannot where the grid does not: near or below this number "
    "the table says how well the discretised surface is reproduced, not which is nearer to nature."
)
"""How errors of potentials are to be read."""


def scaling_tables(record: Record) -> list[str]:
    """Return the times of every point of the study."""
    rows = [
        [
            row["study"],
            str(row["ranks"]),
            f"{1e3 * row['seconds']:.1f}",
            f"{row['efficiency']:.0%}",
            "" if row["study"] == "multigrid" else f"{row['message_share']:.0%}",
            f"{1e-6 * row['memory']:.0f}",
        ]
        for row in record["scaling"]
    ]
    clock = {"cpu": "processor", "wall": "wall-clock"}[record["clock"]]
    return [table(["study", "ranks", f"{clock} ms an iteration", "efficiency", "messages", "MB a rank"], rows)]


SECTIONS = {
    "accuracy": accuracy_tables,
    "ripple": ripple_tables,
    "hifi": hifi_tables,
    "hifi-drift": drift_tables,
    "reduced": reduced_tables,
    "published": published_tables,
    "cards": cards_tables,
    "windows": windows_tables,
    "potentials": potentials_tables,
    "peers": peers_tables,
    "scaling": scaling_tables,
}
"""What makes the tables of each record."""
