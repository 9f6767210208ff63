"""The energy of a molecule as it moves through one grid spacing and turns."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mpiqmd.plots.style import BRIGHT, DARK, panels, style


def figure_egg_box(result: dict[str, Any]) -> Figure:
    """Return the energy change (mHa) over shifts along x and the diagonal, and over random rotations.

    ``result`` holds ``fractions`` of a spacing and, under ``x``, ``diagonal`` and ``rotation``, ``energies`` in Ha.
    """
    with style():
        figure, axes = panels(2, 2.2, sharex=False)
        for name, colour in (("x", DARK), ("diagonal", BRIGHT)):
            energies = np.asarray(result[name]["energies"])
            closed = 1e3 * (np.append(energies, energies[0]) - energies.mean())
            axes[0].plot([*result["fractions"], 1.0], closed, "o-", color=colour, label=f"along {name}")
        axes[0].set_xlabel("shift (grid spacings)")
        axes[0].legend(fontsize=8)
        turned = np.asarray(result["rotation"]["energies"])
        axes[1].bar(range(len(turned)), 1e3 * (turned - turned.mean()), color=DARK)
        axes[1].set_xlabel("rotation (0: as given)")
        for axis in axes:
            axis.set_ylabel("energy (mHa)")
    return figure
