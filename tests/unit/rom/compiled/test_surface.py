"""The compiled surface in the laboratory: forces, invariance, tables that are never left, and files."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpiqmd.errors import ConfigError, DataFileError, GeometryError
from mpiqmd.molecule.body_surface import MovingFrame
from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.surface import Owner
from mpiqmd.rom.compiled.body_solver import compiled_surface
from mpiqmd.rom.compiled.compile import stored_solver
from mpiqmd.rom.compiled.energy import CompiledEnergy
from mpiqmd.rom.compiled.store import _Assembly, from_arrays, to_arrays
from mpiqmd.rom.training_distance import TrainingDistance
from tests.helpers.compiled_water import RANK, loose_water, serial_water
from tests.helpers.oracles import position_gradient
from tests.helpers.tiny_water import UNSEEN, geometry

pytestmark = pytest.mark.serial

ROTATION = Rotation.from_euler("xyz", [0.4, -1.1, 2.3]).as_matrix()


def frame_of(owner):
    """The moving frame of an owner's surface."""
    return owner.surface.frame


def solver_of(owner):
    """The compiled solver of an owner's surface."""
    return owner.surface.solver.solver


@pytest.fixture(scope="module")
def surface():
    water = serial_water()
    region = TrainingDistance(water.training.positions_sav, vertex=0)
    return Owner(
        compiled_surface(MovingFrame(make_frame(water.model.molecule)), water.solver(1e-11, learn=True), region=region)
    )


def test_forces_are_minus_the_gradient_in_the_laboratory(surface):
    positions = geometry(*UNSEEN[0]) @ ROTATION.T + 0.7
    forces = surface.at(positions).forces_av
    numeric = position_gradient(lambda r: surface.at(r).energy, positions, 1e-3)
    np.testing.assert_allclose(forces, -numeric, atol=1e-8)
    assert np.abs(forces).max() > 1e-3
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(np.cross(positions, forces).sum(axis=0), 0, atol=1e-13)


def test_rigid_motions_carry_everything_along(surface):
    body = geometry(*UNSEEN[1])
    still, moved = surface.at(body), surface.at(body @ ROTATION.T - [3.0, 1.0, 0.2])
    assert moved.energy == pytest.approx(still.energy, abs=1e-12)
    np.testing.assert_allclose(moved.forces_av, still.forces_av @ ROTATION.T, atol=1e-11)
    dipoles = [np.array([e.extras[f"dipole_{axis}"] for axis in "xyz"]) for e in (still, moved)]
    np.testing.assert_allclose(dipoles[1], dipoles[0] @ ROTATION.T, atol=1e-11)
    assert 0.3 < np.linalg.norm(dipoles[0]) < 1.5


def test_an_evaluation_has_no_memory(surface):
    one = [surface.at(geometry(*point)) for point in UNSEEN]
    other = [surface.at(geometry(*point)) for point in UNSEEN[::-1]][::-1]
    for first, second in zip(one, other, strict=True):
        assert first.energy == second.energy and np.array_equal(first.forces_av, second.forces_av)
    assert surface.memory.state() == {}


def test_hellmann_feynman_forces_are_those_of_the_grid_on_the_atoms_that_move(surface):
    """The published forces: body-frame forces turned back; the pinned atom takes minus the rest, not only its ions' part."""
    water = serial_water()
    plain = Owner(compiled_surface(frame_of(surface), solver_of(surface), "hellmann-feynman"))
    body = geometry(*UNSEEN[0])
    forces = plain.at(body @ ROTATION.T).forces_av @ ROTATION
    on_grid = Owner(water.trained.surface(RANK, forces="hellmann-feynman")).at(body).forces_av
    np.testing.assert_allclose(forces[1:], on_grid[1:], atol=2e-5)
    np.testing.assert_allclose(forces[0], -forces[1:].sum(axis=0), atol=1e-12)


def test_hellmann_feynman_forces_are_another_choice(surface):
    plain = Owner(compiled_surface(frame_of(surface), solver_of(surface), "hellmann-feynman"))
    positions = geometry(*UNSEEN[0])
    forces = plain.at(positions).forces_av
    assert np.abs(np.cross(positions, forces).sum(axis=0)).max() > 1e-5  # they leave a torque
    assert np.abs(forces - surface.at(positions).forces_av).max() > 1e-5
    with pytest.raises(ConfigError, match=r"rom\.forces"):
        compiled_surface(frame_of(surface), solver_of(surface), "analytic")


def test_tables_are_never_extrapolated(surface):
    assert 0.0 < surface.at(geometry(1.93, 1.90, 0.05)).extras["training_distance"] < 1.0
    far, box = geometry(2.3, 1.83, 0.0), solver_of(surface).energy.arrays.boxes[1]
    beyond = far[1, 1] - box.upper_v[1]
    assert beyond > far[1, 0] - box.upper_v[0]
    labelled = Owner(compiled_surface(frame_of(surface), solver_of(surface), labels=("O1", "H2", "H3")))
    with pytest.raises(GeometryError, match=r"^atom H2 is"):
        labelled.at(far)
    with pytest.raises(GeometryError, match=r"rom\.on_large_error") as caught:
        surface.at(far)
    assert f"atom 2 is {beyond:.3f} bohr outside the box" in str(caught.value)
    assert f"y = {far[1, 1]:.3f} bohr in the body frame, tabulated are {box.lower_v[1]:.3f} to" in str(caught.value)


@pytest.mark.parametrize("make", [serial_water, lambda: serial_water("PBE"), loose_water], ids=["LDA", "PBE", "loose"])
def test_a_file_holds_all_of_it(make, tmp_path):
    water = make()
    with h5py.File(tmp_path / "model.h5", "w") as file:
        for name, array in to_arrays(water.arrays).items():
            file[name] = array
    read = {}
    with h5py.File(tmp_path / "model.h5") as file:
        file.visititems(lambda name, item: read.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    restored = from_arrays(read)
    energies = [CompiledEnergy(a, water.model.functional, water.model.valences_a, None) for a in (water.arrays, restored)]
    positions, matrix = water.training.positions_sav.mean(axis=0), water.training.density_matrices_smm[1]
    values = []
    for energy in energies:
        placed = energy.place(positions)
        values.append((*energy.evaluate(placed, matrix), energy.gradient(placed, matrix), energy.dipole(positions, matrix)))
    for one, other in zip(*values, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_stored_number_has_no_axis_and_an_array_is_contiguous():
    arrays = to_arrays(serial_water().arrays, prefix="")
    arrays["dipole"] = np.asfortranarray(arrays["dipole"])
    assembly = _Assembly(arrays)
    assert assembly.take("constant", "").shape == ()
    assert assembly.take("dipole", "3 p").flags.c_contiguous


@pytest.mark.parametrize("learn", [True, False], ids=["predicting", "not predicting"])
def test_a_stored_solver_is_the_one_that_was_fitted(surface, learn):
    water = serial_water()
    fitted = solver_of(surface) if learn else water.solver(1e-11)
    arrays = from_arrays(to_arrays(replace(water.arrays, solver=fitted.stored())))
    stored = stored_solver(water.model, arrays, 1e-11)
    assert (stored.predictor is not None) == learn
    one, other = (Owner(compiled_surface(frame_of(surface), solver)) for solver in (fitted, stored))
    for point in UNSEEN:
        first, second = one.at(geometry(*point)), other.at(geometry(*point))
        assert first.energy == second.energy and np.array_equal(first.forces_av, second.forces_av)
        assert first.extras == second.extras


def test_a_file_without_a_compiled_model_is_refused():
    with pytest.raises(DataFileError, match=r"rom\.online = 'compiled'"):
        from_arrays({"something": np.zeros(3)})
