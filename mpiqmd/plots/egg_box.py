"""Energy and net force of a molecule as it moves through the grid and turns."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.interpolate import CubicSpline

from mpiqmd.plots.style import BRIGHT, DARK, legend_above, panels, style, titled

CURVE_POINTS = 200
"""Points of the curve through the measured ones."""


def figure_egg_box(result: dict[str, Any], title: str) -> Figure:
    """Return energy (mHa, from the mean) and net force (mHa/bohr) over shifts and over random rotations.

    ``result`` holds ``fractions`` of a spacing and, under ``x``, ``diagonal`` and ``rotation``, ``energies`` in Ha and
    ``net_forces`` in Ha/bohr; the rotations also ``angles`` in degrees.  Energies of shifts are smooth, and a spline leads
    through them; the size of a net force is not.
    """
    fractions, turned = np.asarray(result["fractions"]), result["rotation"]
    mesh = np.linspace(fractions[0], fractions[-1], CURVE_POINTS)
    with style():
        figure, (energy, turned_energy, force, turned_force) = panels(2, 2.3, 2, sharex=False)
        for name, colour, marker in (("x", DARK, "o"), ("diagonal", BRIGHT, "s")):
            energies = np.asarray(result[name]["energies"])
            values = 1e3 * (energies - energies.mean())
            energy.plot(fractions, values, marker, color=colour, markersize=4, label=f"along {name}")
            energy.plot(mesh, CubicSpline(fractions, values)(mesh), color=colour, linewidth=0.9)
            nets = 1e3 * np.asarray(result[name]["net_forces"])
            force.plot(fractions, nets, marker, color=colour, markersize=4, label=f"along {name}")
        legend_above(energy)
        energies, nets = np.asarray(turned["energies"]), np.asarray(turned["net_forces"])
        turned_energy.plot(turned["angles"], 1e3 * (energies - energies.mean()), "o", color=DARK, markersize=4)
        turned_force.plot(turned["angles"], 1e3 * nets, "o", color=DARK, markersize=4)
        _label((energy, turned_energy), (force, turned_force))
        return titled(figure, title)


def _label(energies: tuple[Axes, Axes], forces: tuple[Axes, Axes]) -> None:
    """Name the axes; both panels of a row have one range."""
    for row, name in ((energies, "energy − mean (mHa)"), (forces, "net force (mHa/bohr)")):
        for axis in row:
            axis.set_ylabel(name)
    forces[0].set_xlabel("shift (grid spacings)")
    forces[1].set_xlabel("angle of a random rotation (degrees)")
    for row in (energies, forces):
        limits = np.array([axis.get_ylim() for axis in row])
        for axis in row:
            axis.set_ylim(0.0 if row is forces else limits.min(), limits.max())
