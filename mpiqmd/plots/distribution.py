"""How a distance is distributed: classical nuclei beside quantum ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from mpiqmd.plots.style import DARK, FIRST_LINE, SECOND_LINE, legend_above, panels, style

MOST_BINS = 120


def distance_histogram(values: np.ndarray, edges_b: np.ndarray) -> np.ndarray:
    """Return the probability density of distances in bins with these edges, shape (bins,), 1/bohr.  Not collective."""
    counts_b, _ = np.histogram(values, bins=edges_b)
    return counts_b / (max(len(values), 1) * np.diff(edges_b))


def common_bins(samples: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the edges of bins that cover all samples, as fine as the smallest sample allows.  Not collective.

    Shape (bins + 1,), in the unit of the samples.
    """
    lower = min(float(values.min()) for values in samples.values())
    upper = max(float(values.max()) for values in samples.values())
    margin = 0.02 * (upper - lower) + 1e-3
    n_bins = int(np.clip(np.sqrt(min(len(values) for values in samples.values())), 10, MOST_BINS))
    return np.linspace(lower - margin, upper + margin, n_bins + 1)


def figure_distances(samples: Mapping[str, np.ndarray], distance: str = "O–H") -> Figure:
    """Draw the distributions of one or two samples of a distance (bohr), with mean and standard deviation.

    Parameters
    ----------
    samples
        Distances by what the curve is called; the first is drawn solid, the second filled and dashed.
    distance
        What the distance is called.
    """
    edges_b = common_bins(samples)
    centres_b = 0.5 * (edges_b[1:] + edges_b[:-1])
    with style():
        figure, (axis,) = panels(1, 2.8)
        for (name, values), line in zip(samples.items(), (FIRST_LINE, SECOND_LINE), strict=False):
            density_b = distance_histogram(values, edges_b)
            label = f"{name}: {values.mean():.3f} ± {values.std():.3f} bohr"
            axis.plot(centres_b, density_b, label=label, **line)
            if line is SECOND_LINE:
                axis.fill_between(centres_b, density_b, color=line["color"], alpha=0.15, linewidth=0)
        axis.set_xlim(edges_b[0], edges_b[-1])
        axis.set_ylim(bottom=0)
        axis.axhline(0.0, color=DARK, linewidth=0.6)
        axis.set_xlabel(f"{distance} distance (bohr)")
        axis.set_ylabel("probability density (1/bohr)")
        legend_above(axis)
    return figure
