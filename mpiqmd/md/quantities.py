"""What a trajectory records beside the atoms: name, quantity and meaning of every observable, in one table.

The file, the figures and the page of file formats take units and descriptions from here.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpiqmd.units import DEBYE_IN_ATOMIC_UNITS, KELVIN_IN_HARTREE

FIGURE_UNITS = {
    "energy": ("μHa", 1e6),
    "force": ("mHa/bohr", 1e3),
    "temperature": ("K", 1.0 / KELVIN_IN_HARTREE),
    "dipole": ("debye", 1.0 / DEBYE_IN_ATOMIC_UNITS),
    "number": ("", 1.0),
}
"""Unit in figures, and what one atomic unit is in it, by quantity."""


@dataclass(frozen=True)
class Observable:
    """One number of every frame.

    Attributes
    ----------
    name
        In files and in :attr:`Trajectory.observables`.
    quantity
        ``energy``, ``force``, ``temperature``, ``dipole`` or ``number``, which decides its units.
    description
        What it is, in a few words.
    where
        Which runs have it; empty for all.
    counts
        What a number counts, for the axis of a figure; empty if it has a unit or none.
    """

    name: str
    quantity: str
    description: str
    where: str = ""
    counts: str = ""

    @property
    def label(self) -> str:
        """Name and unit on the axis of a figure."""
        unit = FIGURE_UNITS[self.quantity][0] or self.counts
        return self.name.replace("_", " ") + (f" ({unit})" if unit else "")

    @property
    def figure_factor(self) -> float:
        """What one atomic unit is in the unit of figures."""
        return FIGURE_UNITS[self.quantity][1]


_GOING_ON = 'reduced, unless rom.on_large_error = "stop"'
_LEARNING = 'reduced, if rom.on_large_error = "learn"'
_TABLE = (
    Observable("potential_energy", "energy", "potential energy of the nuclei: free energy of the electrons"),
    Observable("kinetic_energy", "energy", "kinetic energy of the nuclei"),
    Observable("total_energy", "energy", "potential and kinetic energy"),
    Observable("conserved_energy", "energy", "what the dynamics conserves, heat given by the thermostat taken off"),
    Observable("temperature", "temperature", "twice the kinetic energy for each degree of freedom and Boltzmann's constant"),
    Observable("iterations", "number", "iterations of the solver", "Hi-Fi", "count"),
    Observable("scf_error", "energy", "estimated energy above the ground state at which the solver ended", "Hi-Fi"),
    Observable("net_force", "force", "size of the net force before it is removed", "Hi-Fi or reduced on the grid"),
    Observable("evaluations", "number", "evaluations of the reduced energy", "reduced", "count"),
    Observable("residual", "number", "what is left of the condition for the minimum of the reduced energy", "reduced"),
    *(Observable(f"dipole_{axis}", "dipole", f"dipole moment along {axis}, laboratory frame", "isolated") for axis in "xyz"),
    Observable("training_distance", "number", "distance to the training geometries, in how far they are apart", "reduced"),
    Observable(
        "error_estimate",
        "energy",
        "latest estimate of the error of the energy, NaN where there is no reduced energy",
        "reduced",
    ),
    Observable("force_error_estimate", "force", "latest estimate of the largest error of the force on an atom", "reduced"),
    Observable("error_age", "number", "steps since the estimates were made", "reduced", "steps"),
    Observable("hifi", "number", "1 where the step was solved in full", _GOING_ON),
    Observable("window", "number", "window of the model that has most weight", "models of windows", "number"),
    Observable(
        "window_coordinate", "number", "value of what windows are laid along: an angle in rad", "models of windows", "rad"
    ),
    Observable("epoch", "number", "number of the model, 1 the one given, more those that grew", _LEARNING, "number"),
    Observable("on_grid", "number", "1 where the reduced energy was minimised on the grid for want of another", _GOING_ON),
)
OBSERVABLES = {observable.name: observable for observable in _TABLE}
"""All observables that mpiqmd writes, by name."""
STANDARD = ("potential_energy", "kinetic_energy", "total_energy", "conserved_energy", "temperature")
"""Those of every frame of every run; what a surface reports comes on top."""
PER_ATOM = {
    "force_error": Observable("force_error", "force", "latest estimate of the size of the error of each force", "reduced"),
}
"""Numbers of each atom that surfaces report, by name."""


def observable(name: str) -> Observable:
    """Return an observable by name; one of a surface of another program is a number with nothing known of it."""
    return OBSERVABLES.get(name, Observable(name, "number", "reported by the surface"))


def per_atom(name: str) -> Observable:
    """Return what a number of each atom is; one of a surface of another program is a number with nothing known of it."""
    return PER_ATOM.get(name, Observable(name, "number", "reported by the surface"))
