"""The model file: portable over rank counts, refused under other physics, complete or absent."""

from dataclasses import replace

import h5py
import pytest

from mpiqmd.datafiles import seal, unseal
from mpiqmd.errors import ConfigError, DataFileError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.molecule.frame import make_frame
from mpiqmd.rom.grid_solver import RomSolver
from mpiqmd.rom.model import ReducedModel
from tests.helpers.tiny_water import UNSEEN, geometry, water_model


def test_what_is_saved_is_loaded(trained, shared_tmp_path):
    saved = trained.reduced_model(12)
    saved.save(shared_tmp_path / "model.h5")
    grid = trained.model.grid
    loaded = ReducedModel.load(shared_tmp_path / "model.h5", grid.comm, grid, trained.model.signature())
    assert Orbitals(grid, loaded.basis.modes.local - saved.basis.modes.local).norms().max() == 0.0
    for name in (
        "training_positions_sav",
        "training_energies_s",
        "training_forces_sav",
        "training_orbitals_smn",
    ):
        assert (getattr(loaded, name) == getattr(saved, name)).all()
    assert (loaded.basis.singular_values_k == saved.basis.singular_values_k).all()
    assert [each.key for each in loaded.symmetries] == [each.key for each in saved.symmetries]
    assert [list(each.permutation_a) for each in loaded.symmetries] == [[0, 2, 1], [0, 1, 2], [0, 2, 1]]
    for name in ("rank", "rank_sigma", "rank_sigma2", "criterion", "energy_fraction", "n_snapshots"):
        assert getattr(loaded.basis, name) == getattr(saved.basis, name)
    assert loaded.arrays.keys() == saved.arrays.keys() and loaded.arrays["learned/constant"] == -17.0
    assert loaded.notes == saved.notes and loaded.code_version == saved.code_version
    assert loaded.box.names == ("L1", "L2", "theta") and loaded.box.vertex == 0
    assert (loaded.box.upper_k == saved.box.upper_k).all()
    assert not (shared_tmp_path / "model.h5.part").exists()


def test_a_loaded_model_computes_on_its_own_grid_and_on_one_rank(trained, serial_comm, shared_tmp_path):
    """Without a grid one is made from the file; a single rank gets the energy that all ranks together get."""
    trained.reduced_model(12).save(shared_tmp_path / "model.h5")
    expected = trained.rom(12).solve(geometry(*UNSEEN[0]))
    loaded = ReducedModel.load(shared_tmp_path / "model.h5", serial_comm)
    assert loaded.basis.modes.grid.signature() == trained.model.grid.signature()
    alone = water_model(serial_comm)
    loaded = ReducedModel.load(shared_tmp_path / "model.h5", serial_comm, alone.grid, alone.signature())
    state = RomSolver.from_model(alone, loaded).solve(geometry(*UNSEEN[0]))
    assert state.free_energy == pytest.approx(expected.free_energy, abs=1e-10)
    assert state.gradient_av == pytest.approx(expected.gradient_av, abs=1e-8)
    assert make_frame(alone.molecule.with_positions(loaded.reference_av), loaded.frame).name == "bisector"


def test_other_physics_is_refused_naming_every_field(trained, shared_tmp_path):
    trained.reduced_model(12).save(shared_tmp_path / "model.h5")
    grid = trained.model.grid
    other = trained.model.signature() | {"functional": "gga_x_pbe+gga_c_pbe", "charge": 1, "order": 8}
    with pytest.raises(ConfigError) as caught:
        ReducedModel.load(shared_tmp_path / "model.h5", grid.comm, grid, other)
    message = str(caught.value)
    assert "functional: lda_xc_teter93 in the file, gga_x_pbe+gga_c_pbe now" in message
    assert "charge: 0 in the file, 1 now" in message and "order: 4 in the file, 8 now" in message
    assert "cell" not in message
    with pytest.raises(ConfigError, match="electronic_temperature: 0.0 in the file, 0.01 now"):
        RomSolver.from_model(water_model(grid.comm, temperature=0.01), trained.reduced_model(12))


def test_another_grid_is_refused_even_without_a_signature(trained, shared_tmp_path):
    trained.reduced_model(12).save(shared_tmp_path / "model.h5")
    finer = water_model(trained.model.grid.comm, points=22)
    with pytest.raises(ConfigError, match=r"points: \[20, 20, 20\] in the file, \[22, 22, 22\] now"):
        ReducedModel.load(shared_tmp_path / "model.h5", finer.grid.comm, finer.grid)
    finer.grid.destroy()


def test_what_is_no_model_is_refused(trained, shared_tmp_path):
    grid, path = trained.model.grid, shared_tmp_path / "model.h5"
    with pytest.raises(DataFileError, match="cannot read the reduced model"):
        ReducedModel.load(path, grid.comm, grid)
    trained.reduced_model(12).save(path)
    if grid.comm.rank == 0:
        with h5py.File(path, "r+") as file:
            file.attrs["format"] = 99
        seal(path)
    grid.comm.Barrier()
    with pytest.raises(DataFileError, match="format 99"):
        ReducedModel.load(path, grid.comm, grid)
    if grid.comm.rank == 0:
        path.write_bytes(path.read_bytes()[:5000])
    grid.comm.Barrier()
    with pytest.raises(DataFileError, match="not a complete reduced model"):
        ReducedModel.load(path, grid.comm, grid)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("reference/masses", lambda values: -values, "reference/masses holds -.*, numbers above 0 are expected"),
        ("reference/masses", lambda values: 0.0 * values, "numbers above 0 are expected"),
        ("box/lower", lambda values: values + 10.0, "a lower bound of the sampled box is above its upper bound"),
        ("symmetries/signs", lambda values: 0 * values, "no signed permutations of axes"),
        ("symmetries/axes", lambda values: 0 * values, "no signed permutations of axes"),
        ("symmetries/permutations", lambda values: 0 * values, "and permutations of atoms"),
        ("singular_values", lambda values: -values, "a singular value is negative"),
    ],
)
def test_numbers_that_mean_nothing_are_refused_though_the_checksum_is_right(trained, shared_tmp_path, name, change, words):
    grid, path = trained.model.grid, shared_tmp_path / "model.h5"
    trained.reduced_model(12).save(path)
    if grid.comm.rank == 0:
        unseal(path)
        with h5py.File(path, "r+") as file:
            file[name][...] = change(file[name][...])
        seal(path)
    grid.comm.Barrier()
    with pytest.raises(DataFileError, match=words):
        ReducedModel.load(path, grid.comm, grid)


def test_a_message_on_other_physics_has_a_bearable_length(trained):
    signature = {f"\x1b[31mfield {index}": "y" * 1000 for index in range(50)}
    with pytest.raises(ConfigError, match=r"and \d+ more") as caught:
        trained.reduced_model(12).check(signature)
    assert len(str(caught.value)) < 700 and str(caught.value).isprintable()


def test_saving_again_replaces_the_file(trained, shared_tmp_path):
    path, grid = shared_tmp_path / "model.h5", trained.model.grid
    trained.reduced_model(12).save(path)
    replace(trained.reduced_model(9), notes={"second": True}).save(path)
    loaded = ReducedModel.load(path, grid.comm, grid)
    assert loaded.rank == 9 and loaded.notes == {"second": True}


def test_a_model_may_have_no_symmetry(trained, shared_tmp_path):
    """Of a molecule without symmetry, or by train.symmetrize = false."""
    replace(trained.reduced_model(), symmetries=[]).save(shared_tmp_path / "model.h5")
    assert ReducedModel.load(shared_tmp_path / "model.h5", trained.model.grid.comm).symmetries == []
