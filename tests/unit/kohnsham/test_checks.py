"""What is said of ground states, and what lasts, in whichever order they come."""

import numpy as np
import pytest

from mpiqmd.grid import Grid
from mpiqmd.kohnsham import checks
from mpiqmd.kohnsham.checks import LATER, Checks, GroundStateWatch
from mpiqmd.kohnsham.walls import TOLERATED, Walls
from mpiqmd.parallel.log import silent
from tests.helpers.oracles import gth_model

pytestmark = pytest.mark.serial


def in_a_cell(energy_error, tolerated):
    """Checks of a molecule whose walls raise the energy by so much, Ha."""
    decays_vs = np.ones((3, 2))
    walls = Walls(1e-6, 2.0 * decays_vs * energy_error / 6, decays_vs, np.full(3, 12.0))
    assert walls.energy_error == pytest.approx(energy_error)
    return Checks(walls, 4.0, "H2", -0.2, True, np.zeros(3), 0.19, {"H": 0.4}, tolerated)


@pytest.mark.parametrize(
    ("errors", "said", "lasting"),
    [
        ([0.9, 1.5, 0.5], False, False),  # stretched after the start
        ([1.5, 0.9, 0.5], True, False),  # the same, stretched at the start
        ([0.5, 2.5, 0.5], True, True),
        ([2.5, 0.5, 0.5], True, True),
    ],
)
def test_what_lasts_does_not_depend_on_which_geometry_comes_first(comm, monkeypatch, errors, said, lasting):
    """As where groups of ranks each begin with another geometry."""
    assert LATER == 2.0
    model = gth_model(Grid(comm, (8.0, 8.0, 8.0), (16, 16, 16), 4), ("He",))
    found = iter(errors)
    monkeypatch.setattr(checks, "examine", lambda *args: in_a_cell(next(found) * TOLERATED, args[3]))
    watch = GroundStateWatch(model, silent(comm))
    for _ in errors:
        watch.look(None, None)
    assert (set(watch.said) == {"walls"}) is said and (watch.lasting == {"walls"}) is lasting
