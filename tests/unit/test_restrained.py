"""A spring along a coordinate: its force is the derivative of its energy, and a relaxation ends where it holds."""

from __future__ import annotations

import pytest
from mpi4py import MPI

from mpiqmd.config.settings import Relaxation
from mpiqmd.molecule.surface import Owner
from mpiqmd.molecule.torsion import find_torsions
from mpiqmd.parallel.log import silent
from mpiqmd.statics.relaxation import relax
from mpiqmd.statics.restrained import RestrainedSurface
from tests.helpers.oracles import position_gradient
from tests.unit.molecule.test_torsion import named, shaken
from tests.unit.rom.test_windowed_surface import Distances

pytestmark = pytest.mark.serial
PEROXIDE = named("H2O2")
(TORSION,) = find_torsions(PEROXIDE)


def test_forces_are_the_derivative_of_the_energy():
    owner, positions_av = Owner(RestrainedSurface(Distances(0), TORSION, 3.0)), shaken(PEROXIDE)
    slopes_av = position_gradient(lambda there_av: owner.at(there_av).energy, positions_av, 1e-4)
    assert -slopes_av == pytest.approx(owner.at(positions_av).forces_av, abs=1e-8)


@pytest.mark.parametrize("angle", [0.5, 2.5, -3.1])
def test_a_molecule_relaxes_where_the_spring_holds_it(angle):
    start = PEROXIDE.with_positions(TORSION.moved(PEROXIDE.positions_av, angle))
    surface = RestrainedSurface(Distances(0), TORSION, angle)
    path = relax(start, Owner(surface), Relaxation(max_steps=300), MPI.COMM_SELF, silent(MPI.COMM_SELF))
    assert path.converged
    assert TORSION.value(path.positions_sav[-1]) == pytest.approx(angle, abs=0.3)
    # what is left is the spring against the slope along the angle, nothing across it
    bare_av = Owner(Distances(0)).at(path.positions_sav[-1]).forces_av
    gradient_av = TORSION.gradient(path.positions_sav[-1])
    along = (bare_av * gradient_av).sum() / (gradient_av**2).sum()
    assert bare_av == pytest.approx(along * gradient_av, abs=2e-3)
