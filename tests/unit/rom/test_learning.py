"""A surface whose model grows: what is gathered, when models are exchanged, and what owners see of it."""

import io
import tomllib
from dataclasses import replace
from math import isnan, nan
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mpiqmd.config import parse_input
from mpiqmd.config.settings import ReducedModel as RomSection
from mpiqmd.errors import ConfigError, ConvergenceError
from mpiqmd.hifi.abpg import AbpgSolver
from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.log import Log
from mpiqmd.rom import grown_models, offline
from mpiqmd.rom.epochs import Epoch, as_array, findings, from_array, lines
from mpiqmd.rom.full_solutions import FullSolution
from mpiqmd.rom.gathering import Gathering
from mpiqmd.rom.grown_models import Filed, GrownModels
from mpiqmd.rom.learning import LearningSurface, Means
from mpiqmd.rom.offline import make_reduced_model
from mpiqmd.rom.online import OnlineStage
from mpiqmd.rom.reactions import WARN
from mpiqmd.rom.training_distance import TrainingDistance
from mpiqmd.rom.watch import numbered
from mpiqmd.sampling.rules.rule import Body
from tests.helpers.learned_water import COARSE
from tests.helpers.tiny_water import TRAINING, UNSEEN, geometry, train
from tests.helpers.workplace import WATER

INSIDE = geometry(*UNSEEN[0])
OUTSIDE = [geometry(first, 1.83, change) for first, change in ((2.2, 0.0), (2.25, 0.1), (2.15, -0.1))]


def options(**changes):
    """The section [rom] of an input."""
    given = {"online": "grid", "check_every": 0, "error_tolerance": 1e-3, "force_tolerance": 1e-1, "on_large_error": "learn"}
    return RomSection(**{**vars(parse_input(tomllib.loads(WATER), Path()).rom), **given, **changes})


def learning_surface(trained, folder, rom, enough=3):
    """The surface of the truncated tiny model, and what it says."""
    stream, model = io.StringIO(), trained.model
    log = Log(model.grid.comm, stream)
    reduced = trained.reduced_model(16)
    if rom.online == "learned":
        reduced = with_learned(trained, reduced, rom, log)
    means = Means(
        GrownModels(model, rom, folder, log),
        make_stage=lambda grown, make_solver: OnlineStage(model, grown, rom, make_solver, log),
        make_solver=lambda: AbpgSolver(model, energy_tolerance=1e-10),
        signature=model.signature(),
        enough=enough,
    )
    return LearningSurface(means, Filed(reduced, "0" * 64), log), stream


def with_learned(trained, reduced, rom, log):
    """A model with its grid-free form."""
    reference = Molecule(trained.model.molecule.symbols, reduced.reference_av, 0, reduced.masses_a)
    body = Body(reference, make_frame(reference, reduced.frame), reduced.symmetries)
    solved = SimpleNamespace(
        positions_sav=reduced.training_positions_sav,
        energies_s=reduced.training_energies_s,
        forces_sav=reduced.training_forces_sav,
    )
    orbitals_smn = reduced.training_orbitals_smn
    return make_reduced_model(trained.model, body, reduced.basis, solved, orbitals_smn, options=rom, log=log)


@pytest.fixture(autouse=True)
def coarsely(monkeypatch):
    monkeypatch.setattr(offline, "LearnSettings", lambda: COARSE)


@pytest.mark.serial
def test_outside_its_tables_it_is_solved_in_full_until_it_has_grown(serial_comm, tmp_path):
    trained = train(serial_comm)
    surface, stream = learning_surface(trained, tmp_path, options(online="learned"))
    owner = Owner(surface)
    first = [owner.at(body) for body in OUTSIDE]
    assert [each.extras["hifi"] for each in first] == [1, 1, 1] and [each.extras["epoch"] for each in first] == [1, 1, 1]
    again = [owner.at(body) for body in OUTSIDE]
    assert [each.extras["hifi"] for each in again] == [0, 0, 0] and [each.extras["epoch"] for each in again] == [2, 2, 2]
    for body, full, reduced in zip(OUTSIDE, first, again, strict=True):
        assert full.energy == pytest.approx(trained.hifi(body).free_energy, abs=1e-9)
        assert abs(reduced.energy - full.energy) < 1e-3
        np.testing.assert_allclose(reduced.forces_av, full.forces_av, atol=5e-3)
    (epoch,) = surface.epochs
    assert (epoch.number, epoch.step, epoch.geometries_before, epoch.geometries) == (2, 2, 5, 11)
    assert epoch.energy_full == first[-1].energy and epoch.modes > epoch.modes_before == 16
    assert (tmp_path / "model-epoch-2.h5").is_file() and (tmp_path / "gathered-epoch-2.h5").is_file()
    assert "the model grows by 3 geometries" in stream.getvalue() and epoch.line in stream.getvalue()


def test_what_one_owner_meets_all_learn(comm, shared_tmp_path):
    """Of several, which have their estimates anew after the exchange."""
    trained = train(comm)
    surface, _ = learning_surface(trained, shared_tmp_path, options(check_every=3, error_tolerance=1e-8), enough=2)
    beads = [surface.fresh(2) for _ in range(2)]
    before = surface.evaluate([INSIDE, geometry(*UNSEEN[2])], beads)
    assert [each.extras["hifi"] for each in before] == [1, 1] and surface.number == 2
    surface.control.limits = replace(surface.control.limits, reaction=WARN)
    (late,) = surface.evaluate([INSIDE], beads[1:])
    assert late.extras["epoch"] == 2 and late.extras["error_age"] == 0
    assert late.energy == pytest.approx(before[0].energy, abs=5e-5)
    trained.model.grid.destroy()


@pytest.mark.serial
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_states_of_several_owners_the_latest_is_that_of_all(serial_comm, tmp_path, order):
    """Written before and after an exchange, and restored in any order; what belongs to the older model is let go."""
    trained, rom = train(serial_comm), options(check_every=1, error_tolerance=1e-12)
    surface, _ = learning_surface(trained, tmp_path, rom, enough=2)
    owners = [Owner(surface) for _ in range(2)]
    owners[0].at(OUTSIDE[0])
    states = [owners[0].memory.state()]
    owners[1].at(OUTSIDE[1])
    owners[1].at(INSIDE)
    states.append(owners[1].memory.state())
    assert [len(state["growth_epochs"]) for state in states] == [0, 1]
    again, _ = learning_surface(trained, tmp_path, rom, enough=2)
    memories = [again.fresh() for _ in states]
    for index in order:
        memories[index].restore(dict(states[index]))
    assert again.number == 2 and again.filed.digest == surface.filed.digest
    assert np.array_equal(again.gathering.positions_sav, surface.gathering.positions_sav)
    (one,), (other,) = (each.evaluate([INSIDE], [memories[0]]) for each in (surface, again))
    assert one.energy == pytest.approx(other.energy, abs=1e-12) and memories[0].digest == again.filed.digest
    assert memories[0].density_matrix_mm is None or len(memories[0].density_matrix_mm) == again.reduced.rank


@pytest.mark.serial
def test_it_looks_where_it_is_farther_out_than_it_was_found_good(serial_comm, tmp_path):
    """Beside the periodic estimates; the nearest geometries need none, and each look makes the next one due farther out."""
    trained = train(serial_comm)
    surface, _ = learning_surface(trained, tmp_path, options(check_every=1000, error_tolerance=1e3, force_tolerance=1e3))
    owner, checks = Owner(surface), []
    bodies = [geometry(first, 1.83, 0.0) for first in (1.83, 1.84, 2.05, 2.06, 2.05, 2.3)]
    for body in bodies:
        owner.at(body)
        checks.append(owner.memory.watch.checks)
    assert checks == [1, 1, 2, 2, 2, 3]
    assert owner.memory.watch.good_to == surface.region.distance(bodies[-1])
    surface.filed = surface.filed._replace(digest="1" * 64)
    owner.memory.follow()
    assert owner.memory.watch.good_to == 0.0 and owner.memory.watch.age == 0


@pytest.mark.serial
def test_neighbouring_geometries_are_not_gathered(serial_comm, tmp_path):
    trained = train(serial_comm)
    surface, _ = learning_surface(trained, tmp_path, options(check_every=1, error_tolerance=1e-12))
    owner = Owner(surface)
    for body in (OUTSIDE[0], OUTSIDE[0] + 1e-3, geometry(*TRAINING[1])):
        assert owner.at(body).extras["hifi"] == 1.0
    assert len(surface.gathering) == 1 and surface.grown()["gathered"] == 1
    assert surface.growth_lines(numbered("step")) == [
        "1 of 3 geometries are gathered for the model to grow by, in gathered-epoch-2.h5"
    ]


def test_what_waits_comes_back_on_any_number_of_ranks(comm, shared_tmp_path):
    trained = train(comm)
    grid, path = trained.model.grid, shared_tmp_path / "gathered.h5"
    one, other = (Gathering(grid, trained.model.signature(), 3) for _ in range(2))
    region = TrainingDistance(np.array([geometry(*point) for point in TRAINING]), 0, trained.symmetries)
    for body in OUTSIDE[:2]:
        assert one.wants(body, region)
        one.add(FullSolution.of(trained.model.place(body), trained.hifi(body)), path)
        assert not one.wants(body, region)
    other.solutions = other.read(one.positions_sav[:1], path)
    assert len(other) == 1
    assert np.array_equal(other.solutions[0].orbitals.local, one.solutions[0].orbitals.local)
    assert other.solutions[0].energy == one.solutions[0].energy
    assert np.array_equal(other.solutions[0].forces_av, one.solutions[0].forces_av)
    with pytest.raises(Exception, match="gathered"):
        other.read(one.positions_sav[:1] + 1e-3, path)
    trained.model.grid.destroy()


@pytest.mark.serial
def test_a_growth_that_fails_leaves_no_trace(serial_comm, tmp_path, monkeypatch):
    trained = train(serial_comm)
    surface, _ = learning_surface(trained, tmp_path, options(check_every=1, error_tolerance=1e-12), enough=1)
    owner = Owner(surface)
    whole = grown_models.grown_model

    def fails(*arguments):
        raise ConvergenceError("no minimum")

    monkeypatch.setattr(grown_models, "grown_model", fails)
    before = owner.memory.watch
    with pytest.raises(ConvergenceError):
        owner.at(OUTSIDE[0])
    assert owner.memory.watch == before and len(surface.gathering) == 0 and surface.number == 1
    monkeypatch.setattr(grown_models, "grown_model", whole)
    owner.at(OUTSIDE[0])
    assert surface.number == 2


@pytest.mark.serial
def test_fewer_orbitals_than_in_training_are_refused(serial_comm, tmp_path):
    trained = train(serial_comm)
    model = trained.reduced_model(16)
    extra = np.pad(model.training_orbitals_smn, ((0, 0), (0, 0), (0, 1)))
    trained.reduced_model = lambda rank: model.__class__(**vars(model) | {"training_orbitals_smn": extra})
    with pytest.raises(ConfigError, match=r"5 orbitals.*have 4.*scf\.empty_orbitals"):
        learning_surface(trained, tmp_path, options())


EPOCH = Epoch(2, 17, 35, 43, 85, 102, -17.0, -17.00002, -17.000021, 30.0)


def test_epochs_survive_a_checkpoint():
    unknown = EPOCH._replace(energy_before=nan)
    back = from_array(as_array([EPOCH, unknown]))
    assert back[0] == EPOCH and isinstance(back[0].step, int) and isnan(back[1].jump)
    assert from_array(as_array([])) == []


def test_jumps_are_named():
    assert findings([], 1e-5) == []
    (small,), (large,) = findings([EPOCH], 5e-5), findings([EPOCH], 1e-5)
    assert small.good is True and large.good is None
    assert "grew once (after step 17)" in small.words and "by up to 2.0e-05 Ha" in small.words
    (unknown,) = findings([EPOCH, EPOCH._replace(energy_before=nan)], 5e-5)
    assert unknown.good is None
    (line,) = lines([EPOCH], lambda step: f"step {step} (8 fs)")
    assert line.startswith("model 2 from step 17 (8 fs) on: 35 -> 43 geometries, 85 -> 102 modes")
    assert "jumps by -2.0e-05 Ha to -17.00002000 Ha" in line and "took 30.0 s" in line
