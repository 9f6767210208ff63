"""The surface of a learned-grid model: company, tables that are never left, files, ranks."""

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpiqmd.errors import ConfigError, DataFileError, GeometryError
from mpiqmd.molecule.rigid import Alignment
from mpiqmd.rom.compiled.body_solver import OutsideTablesError
from mpiqmd.rom.compiled.compile import TrainingSet
from mpiqmd.rom.learned.energy import LearnedEnergy
from mpiqmd.rom.learned.solver import LearnedSolver
from mpiqmd.rom.learned.store import from_arrays, to_arrays
from tests.helpers.learned_water import learn, learn_water, serial_water
from tests.helpers.tiny_water import UNSEEN, geometry

OUTSIDE = geometry(2.3, 1.83, 0.0)


def moved(rng, count):
    """Geometries inside the tables, anywhere and turned anyhow."""
    shapes = rng.uniform([1.76, 1.76, -0.06], [1.90, 1.90, 0.06], size=(count, 3))
    turns = Rotation.random(count, random_state=4).as_matrix()
    return np.array([geometry(*shape) @ turn.T + rng.normal(size=3) for shape, turn in zip(shapes, turns, strict=True)])


def together(surface, positions):
    """What a surface says to members of a large company."""
    return surface.evaluate(positions, [surface.fresh(64) for _ in positions])


@pytest.mark.serial
@pytest.mark.parametrize("case", [("LDA", "isolated"), ("PBE", "isolated"), ("LDA", "periodic")], ids="-".join)
def test_a_batch_is_what_its_geometries_are_alone(case, rng):
    surface, positions = serial_water(*case).surface(), moved(rng, 11)
    for one, position in zip(together(surface, positions), positions, strict=True):
        (alone,) = surface.evaluate([position], [surface.fresh()])
        assert one.energy == pytest.approx(alone.energy, abs=1e-11)
        np.testing.assert_allclose(one.forces_av, alone.forces_av, atol=1e-9)


@pytest.mark.serial
def test_the_same_bits_in_any_company(rng):
    surface, positions = serial_water().surface(), moved(rng, 19)
    whole = together(surface, positions)
    for size in (8, 9, 16):
        for one, other in zip(together(surface, positions[:size]), whole, strict=False):
            assert one.energy == other.energy and np.array_equal(one.forces_av, other.forces_av)


@pytest.mark.serial
def test_an_error_is_that_of_its_geometry_alone(rng):
    surface, positions = serial_water().surface(), moved(rng, 9)
    positions[4] = OUTSIDE
    results = together(surface, positions)
    assert isinstance(results[4], OutsideTablesError)
    assert all(hasattr(result, "energy") for b, result in enumerate(results) if b != 4)


@pytest.mark.serial
def test_tables_are_never_extrapolated():
    owner = serial_water().owner(("O1", "H2", "H3"))
    with pytest.raises(GeometryError, match=r"^atom H2 is .* rom\.on_large_error"):
        owner.at(OUTSIDE)


@pytest.mark.serial
def test_off_the_only_place_that_tables_know_is_outside(rng):
    """Tables of bonds and angle, in a frame in which nothing but x, y of both hydrogens moves: the rest may not either."""
    surface = serial_water().surface(("O1", "H2", "H3"))
    body_av = geometry(*UNSEEN[1])
    for place, size in (((0, 0), 1e-3), ((2, 2), -0.0019), ((1, 2), 2e-6)):
        off_av, fine_av = body_av.copy(), body_av.copy()
        off_av[place] += size
        fine_av[place] += 1e-12
        aligned = [Alignment(each_av, np.eye(3), np.zeros(3), np.arange(3)) for each_av in (off_av, fine_av, body_av)]
        off, fine, expected = surface.solver.solve(aligned, [surface.solver.fresh()] * 3)
        assert isinstance(off, OutsideTablesError)
        assert str(off).startswith(f"atom {('O1', 'H2', 'H3')[place[0]]} is {abs(size):.2g} bohr along {'xyz'[place[1]]} (body")
        assert fine.energy == pytest.approx(expected.energy, abs=1e-9)


@pytest.mark.serial
def test_rigid_motions_carry_everything_along():
    owner, body = serial_water().owner(), geometry(*UNSEEN[1])
    turn = Rotation.from_euler("xyz", [0.4, -1.1, 2.3]).as_matrix()
    still, turned = owner.at(body), owner.at(body @ turn.T - [3.0, 1.0, 0.2])
    assert turned.energy == pytest.approx(still.energy, abs=1e-12)
    np.testing.assert_allclose(turned.forces_av, still.forces_av @ turn.T, atol=1e-11)


@pytest.mark.serial
def test_evaluations_are_few_and_what_is_left_is_known():
    water = serial_water()
    placed = water.energy.place_batch(np.array([geometry(*point) for point in UNSEEN]))
    tight, loose = (water.solver(tolerance).solve_batch(placed) for tolerance in (1e-14, 1e-7))
    assert (loose.evaluations_b == 1).all()
    np.testing.assert_allclose(loose.energies_b, tight.energies_b, atol=1e-10)
    assert (loose.gaps_b < 1e-7).all()


@pytest.mark.serial
@pytest.mark.parametrize("functional", ["LDA", "PBE"])
def test_a_file_holds_all_of_it(functional, tmp_path):
    water = serial_water(functional)
    with h5py.File(tmp_path / "model.h5", "w") as file:
        for name, array in to_arrays(water.arrays).items():
            file[name] = array
    read = {}
    with h5py.File(tmp_path / "model.h5") as file:
        file.visititems(lambda name, item: read.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    restored = LearnedSolver(LearnedEnergy(from_arrays(read), water.model.functional, water.model.valences_a, None), 1e-12)
    placed = water.energy.place_batch(geometry(*UNSEEN[0])[None])
    one, other = water.solver().solve_batch(placed), restored.solve_batch(placed)
    assert one.energies_b == other.energies_b and np.array_equal(one.gradient_bav, other.gradient_bav)


@pytest.mark.serial
@pytest.mark.parametrize("name", ["constant", "points/reading_fq", "ions/1/right_jf", "start/degree", "boxes/1"])
def test_a_file_whose_parts_do_not_fit_is_refused(name):
    arrays = to_arrays(serial_water().arrays)
    arrays[f"learned/{name}"] = np.concatenate([np.atleast_1d(arrays[f"learned/{name}"])] * 2)
    with pytest.raises(DataFileError, match=r"rom\.online = 'learned'"):
        from_arrays(arrays)
    del arrays[f"learned/{name}"]
    with pytest.raises(DataFileError, match="train again"):
        from_arrays(arrays)


def test_any_number_of_ranks_learns_the_same(comm):
    """Signs of singular vectors may differ, the energies and forces that come of it not."""
    spread, alone = learn_water(comm), serial_water()
    placed = alone.energy.place_batch(np.array([geometry(*point) for point in UNSEEN]))
    expected = alone.solver().solve_batch(placed)
    found = spread.solver().solve_batch(spread.energy.place_batch(placed.positions_bav))
    np.testing.assert_allclose(found.energies_b, expected.energies_b, atol=1e-8)
    np.testing.assert_allclose(found.gradient_bav, expected.gradient_bav, atol=1e-6)
    everywhere = comm.allgather(found.energies_b.tolist())
    assert all(energies == everywhere[0] for energies in everywhere)


@pytest.mark.serial
def test_orbitals_that_do_not_differ_teach_nothing():
    water = serial_water()
    one = TrainingSet(water.training.positions_sav[:1], water.training.density_matrices_smm[:1])
    with pytest.raises(ConfigError, match=r"rom\.online = 'learned' with 14 modes of 1 geometries"):
        learn(water.trained, one)
