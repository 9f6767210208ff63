"""Singular values of the snapshots, and how many modes each energy criterion keeps."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mpiqmd.plots.style import BRIGHT, DARK, GREY, legend_above, panels, style, titled

CRITERIA = {"sigma": (DARK, "o", "Σσ"), "sigma2": (BRIGHT, "s", "Σσ²")}


def lost_fractions(singular_values_k: np.ndarray, criterion: str) -> np.ndarray:
    """Return ``sum_{k>r} w_k / sum_k w_k`` for r = 1, 2, ...: what the modes after the first r carry.

    Shape (singular values,), without unit.  ``w_k`` is ``sigma_k`` for the criterion "sigma" and ``sigma_k^2`` for "sigma2".
    The tail is summed from its small end; one minus the fraction kept would lose it in round-off.
    """
    weights_k = np.asarray(singular_values_k, dtype=float) ** (2 if criterion == "sigma2" else 1)
    tails_k = np.cumsum(weights_k[::-1])[::-1]
    return np.append(tails_k[1:], 0.0) / tails_k[0]


def figure_singular_values(
    singular_values_k: np.ndarray, rank: int | None = None, energy_fraction: float | None = None, title: str = ""
) -> Figure:
    """Draw the singular values and what is lost when only the first r are kept, by either criterion.

    Parameters
    ----------
    singular_values_k
        All singular values, decreasing.
    rank
        Number of modes of the model, marked if given.
    energy_fraction
        Fraction asked for, marked if given.
    title
        What the snapshots are of.
    """
    singular_values_k = np.asarray(singular_values_k, dtype=float)
    number_k = np.arange(1, len(singular_values_k) + 1)
    with style():
        figure, (upper, lower) = panels(2, 2.5)
        positive = singular_values_k > 0
        upper.semilogy(number_k[positive], singular_values_k[positive], color=DARK, marker="o", markersize=3)
        upper.set_ylabel("singular value σ")
        for criterion, (colour, marker, label) in CRITERIA.items():
            lost_k = lost_fractions(singular_values_k, criterion)
            seen = lost_k > 0.0
            lower.semilogy(number_k[seen], lost_k[seen], color=colour, marker=marker, markersize=3, label=label)
        lower.set_ylabel("1 − fraction kept")
        lower.set_xlabel("number of modes r")
        lower.set_xlim(0, len(number_k) + 1)
        if energy_fraction is not None and energy_fraction < 1.0:
            name = f"1 − {energy_fraction:g}"
            lower.axhline(1.0 - energy_fraction, color=GREY, linewidth=1.0, linestyle=":", label=name)
        _mark_rank(upper, lower, rank)
        legend_above(lower)
        return titled(figure, title)


def _mark_rank(upper: Axes, lower: Axes, rank: int | None) -> None:
    """Draw a vertical line at the number of modes that the model keeps."""
    if rank is None:
        return
    for axis in (upper, lower):
        axis.axvline(rank, color=GREY, linewidth=1.0, linestyle="--")
    upper.annotate(
        f"r = {rank}",
        (rank, 0.95),
        xycoords=("data", "axes fraction"),
        xytext=(5, 0),
        textcoords="offset points",
        va="top",
    )
