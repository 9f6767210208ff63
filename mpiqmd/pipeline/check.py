"""``mpiqmd check``: does the surface keep its promises on this input?

``forces`` compares forces with central differences of the energy, ``frame`` moves the molecule rigidly and looks at what
changes in the energy and, rotated back, in the forces.  ``egg-box`` measures what the grid does to the energy and the net
force as the molecule moves through one grid spacing and turns, in the laboratory whatever ``scf.frame`` says, and in a cube
where it would else be turned towards near walls.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mpiqmd.config import Settings
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.surface import build_calculation
from mpiqmd.plots.egg_box import figure_egg_box
from mpiqmd.plots.style import save_figure
from mpiqmd.plots.titles import formula
from mpiqmd.statics.egg_box import check_egg_box, common_period, egg_box_verdict
from mpiqmd.statics.promises import check_forces, check_frame

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Run one check and return its numbers.  Collective."""
    settings: Settings = arguments.settings
    if arguments.check == "egg-box":
        arguments.settings = in_laboratory(settings)
    elif arguments.check == "forces":
        # the net force that is taken out is none of the energy's
        arguments.settings = replace(settings, scf=replace(settings.scf, net_force="keep"))
    calculation = build_calculation(arguments, comm, log)
    owner, positions_av = Owner(calculation.surface), calculation.molecule.positions_av
    log(calculation.model.describe())
    if arguments.check == "egg-box":
        period = common_period(calculation.grid.points_v, calculation.model.density_grid.points_v)
        found = check_egg_box(owner, positions_av, calculation.grid.spacing_v, log, period)
        found |= egg_box_verdict(found, arguments.settings.grid.density)
        log(found["advice"])
        title = f"{formula(calculation.molecule.symbols)}, {arguments.settings.xc.functional}\n{calculation.model.describe()}"
        on_rank_zero(comm, lambda: save_figure(figure_egg_box(found, title), arguments.folder / "egg-box"))
    else:
        names = calculation.molecule.labels
        if arguments.check == "forces":
            found = check_forces(owner, positions_av, names, log)
        else:
            found = check_frame(owner, positions_av, log)
    return {"check": arguments.check} | found


def in_laboratory(settings: Settings) -> Settings:
    """Return settings of which a molecule is solved as it lies.  Not collective.

    A cell that fits it in its own frame becomes a cube of its longest edge, with the spacing of that.
    """
    grid = settings.grid
    if settings.scf.frame == "body" and grid.boundary == "isolated":
        edge, points = max(zip(grid.cell, grid.points, strict=True))
        grid = replace(grid, cell=(edge,) * 3, points=(points,) * 3)
    return replace(settings, grid=grid, scf=replace(settings.scf, frame="lab"))
