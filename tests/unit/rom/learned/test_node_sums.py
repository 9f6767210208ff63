"""Integrals of an ion's local potential with functions: the sum over the grid, by whichever route, wherever walls are."""

from dataclasses import dataclass

import numpy as np
import pytest

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.kohnsham.functional import Functional
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.kohnsham.terms.local_potential import LocalPotential
from mpiqmd.molecule.gth import load_gth
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.parallel.log import silent
from mpiqmd.rom.learned.chebyshev import ChebyshevBox
from mpiqmd.rom.learned.node_sums import Seen, potential_sums, smeared_sums
from tests.helpers.oracles import largest
from tests.helpers.tiny_water import TRAINING, geometry

MIDDLE = ChebyshevBox(np.array([-0.5, -0.3, 0.1]), np.array([0.4, 0.5, 0.1]), (4, 3, 2))
NEAR_A_WALL = ChebyshevBox(np.array([1.5, -0.3, 0.1]), np.array([2.4, 0.5, 0.6]), (4, 3, 2))


@dataclass(frozen=True)
class Functions:
    """A few functions on the grid, and a mean density."""

    grid: object
    values: np.ndarray
    mean: Field

    def __len__(self):
        return len(self.values)

    def block(self, part):
        return Orbitals(self.grid, self.values[part].copy())

    def overlaps(self, fields):
        return fields.gram(Orbitals(self.grid, self.values))


@pytest.fixture(params=["isolated", "periodic"])
def model(comm, request):
    grid = Grid(comm, 16.0, 40, order=4, boundary=request.param)
    molecule = Molecule(("O", "H", "H"), geometry(*TRAINING[0]))
    pseudopotentials = {symbol: load_gth(symbol, "LDA") for symbol in ("O", "H")}
    yield KohnShamModel(grid, molecule, pseudopotentials, Functional("LDA"))
    grid.destroy()


def seen_by(model, rng):
    z, y, x = model.grid.local_coordinates
    values = [
        (x - a) * np.exp(-e * ((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2)) for a, b, c, e in rng.uniform(0.3, 1.0, size=(5, 4))
    ]
    mean = Field(model.grid, np.exp(-0.5 * (x**2 + y**2 + z**2)))
    return Seen(Functions(model.grid, np.array(values), mean), np.eye(5), 1e-8, None)


def summed(model, symbol, box, seen):
    """The potential at every node, times every function, summed over the grid."""
    local = model.term(LocalPotential).restricted((symbol,))
    columns = [*seen.functions.values, seen.functions.mean.local]
    fields = Orbitals(model.grid, np.array(columns))
    return np.array([[*Orbitals(model.grid, local.evaluate(node[None]).local[None]).gram(fields)[0]] for node in box.nodes()])


@pytest.mark.parametrize("box", [MIDDLE, NEAR_A_WALL], ids=["in the middle", "near a wall"])
def test_sums_are_those_over_the_grid(model, rng, box):
    seen, degrees_kv = seen_by(model, rng), np.array([[0, 0, 0], [1, 0, 0]])
    smeared = smeared_sums(model, {0: box}, seen, silent(model.grid.comm))
    assert bool(smeared) == (box is MIDDLE and not model.grid.is_periodic)
    local = model.term(LocalPotential).restricted(("O",))
    values_nf, fields = potential_sums(local, box, seen, degrees_kv, smeared.get(0))
    expected_nf = summed(model, "O", box, seen)
    assert values_nf == pytest.approx(expected_nf, abs=1e-9)
    for field, weights in zip(fields, node_weights(box), strict=True):
        potentials = (weight * local.evaluate(node[None]).local for weight, node in zip(weights, box.nodes(), strict=True))
        assert largest(model.grid.comm, field.local - sum(potentials)) < 1e-9


def node_weights(box):
    """What makes the coefficients of degrees (0, 0, 0) and (1, 0, 0) from values at the nodes."""
    values = np.eye(len(box.nodes()))
    coefficients = box.coefficients(values).reshape(len(values), -1)
    first = np.ravel_multi_index((1, 0, 0), box.shape)
    return coefficients[[0, first]]
