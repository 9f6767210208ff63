"""The tables of what a grid-free reduced model is worth; a part that was not measured is left out."""

from __future__ import annotations

from typing import Any

from docs.pages.tables import table

Part = dict[str, Any]


def reduced_tables(record: dict[str, Any]) -> list[str]:
    """Return the tables of all parts that the record holds.  Not collective."""
    return [block for name, make in PARTS.items() if name in record for block in make(record[name])]


def accuracy(part: Part) -> list[str]:
    """Errors on random geometries of the sampled box."""
    names = {"hifi": "the full solver", "grid": "the same modes on the grid"}
    rows = [
        [f"{names[against]}, {found['geometries']} geometries", f"{found['energy']:.1e}", f"{found['force']:.1e}"]
        for against, found in part.items()
    ]
    return [table(["largest difference, random geometries of the box, to", "energy, Ha", "forces, Ha/bohr"], rows)]


def frames(part: Part) -> list[str]:
    """Errors on frames of a trajectory."""
    row = [f"{part['geometries']} frames at 300 K", *(f"{part[name]:.1e}" for name in ("energy", "force", "component"))]
    heads = ["largest error against the full solver", "energy, Ha", "along L1, L2, theta, Ha/bohr", "any component, Ha/bohr"]
    return [table(heads, [row])]


def decay(part: Part) -> list[str]:
    """Errors by number of modes."""
    rows = [[modes, f"{found['hifi']['energy']:.1e}", f"{found['hifi']['force']:.1e}"] for modes, found in part.items()]
    return [table(["modes", "largest energy error, Ha", "largest force error, Ha/bohr"], rows)]


def drift(part: Part) -> list[str]:
    """Energy conservation by timestep and kind of forces."""
    rows = [
        [name, str(run["steps"]), f"{1e6 * run['drift']:.2g}", f"{1e6 * run['fluctuation']:.2g}"] for name, run in part.items()
    ]
    return [table(["NVE from 300 K", "steps", "drift, microHa/atom/ps", "fluctuation, microHa"], rows)]


def cost(part: Part) -> list[str]:
    """Time of a step beside that of the full solver, and its multiplications."""
    row = [
        f"{part['modes']} modes",
        f"{1e3 * part['seconds_per_step']:.2f}",
        f"{1e3 * part['hifi_seconds_per_step']:.0f}",
        f"{part['ratio']:,.0f}",
        f"{1e-6 * part['multiplications_per_step']:.1f} million",
    ]
    return [table(["MD step, all included", "grid-free, ms", "full, ms", "ratio", "multiplications"], [row])]


def batch(part: Part) -> list[str]:
    """Time of a step by the number of replicas that are evaluated together."""
    rows = [
        [count, f"{row['evaluation']:.0f}", f"{row['evaluation_gain']:.1f}", f"{row['step']:.0f}", f"{row['step_gain']:.1f}"]
        for count, row in part.items()
    ]
    heads = ["replicas on one core", "evaluation, µs a replica", "gain", "step with all, µs a replica", "gain"]
    return [table(heads, rows)]


def estimate(part: Part) -> list[str]:
    """The error estimate against the truth."""
    row = [
        f"{part['geometries']}, half of them from a box 1.5 times as wide",
        f"{part['smallest_error']:.0e} to {part['largest_error']:.0e}",
        f"{part['ratio_lowest']:.2f} to {part['ratio_highest']:.2f}",
        f"{part['ratio_median']:.2f}",
        f"{part['within_factor_2']:.0%}",
    ]
    return [table(["geometries", "true errors, Ha", "estimate / truth", "median", "within a factor 2"], [row])]


def gradient(part: Part) -> list[str]:
    """The forces against differences of the energy."""
    compared = f"Forces against finite differences of the reduced energy, {part['components']} components"
    return [f"{compared}: {part['largest']:.0e} Ha/bohr."]


PARTS = {
    "accuracy": accuracy,
    "frames": frames,
    "decay": decay,
    "gradient": gradient,
    "drift": drift,
    "cost": cost,
    "batch": batch,
    "estimate": estimate,
}
"""Parts in the order of the page, and what makes their tables."""
