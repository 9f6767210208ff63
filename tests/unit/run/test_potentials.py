"""The benchmark against potentials: nested parts, frames that are kept, errors, turns, and a potential's process.

The potential here is the test's own: springs between all atoms, their lengths and one stiffness fitted to the geometries.
"""

import json
import sys
from itertools import pairwise

import numpy as np
import pytest
from mpi4py import MPI

from mpiqmd.errors import ConfigError, ConvergenceError, DataFileError
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.parallel.log import silent
from run.bench import unseen_frames as module
from run.bench.drawing import potentials_figure
from run.bench.molecules import put_among_others
from run.bench.peer_codes.adapters import FailedPeer, MissingPeer
from run.bench.peer_codes.potential_process import Process, Solved
from run.bench.potentials import (
    SCRIPTS,
    Atoms,
    Entrant,
    Peer,
    ReducedPotential,
    alternating_seconds,
    judged,
    nested_subsets,
    peer_entrants,
    summary,
)
from run.bench.unseen_frames import UnseenFrames, Wanted, errors, orientation_ripple, read_frames, unseen_frames, write_frames

pytestmark = pytest.mark.serial

STIFFNESS = 0.4
LENGTHS = {(0, 1): 1.8, (0, 2): 1.8, (1, 2): 2.9}
REFERENCE_AV = np.array([[0.0, 0.0, 0.0], [1.1, 1.42, 0.0], [1.1, -1.42, 0.0]])


def springs(positions_av):
    """Energy and forces of springs between all atoms."""
    energy, forces_av = 0.0, np.zeros_like(positions_av)
    for (a, b), length in LENGTHS.items():
        apart = positions_av[b] - positions_av[a]
        distance = np.linalg.norm(apart)
        energy += 0.5 * STIFFNESS * (distance - length) ** 2
        pull = STIFFNESS * (distance - length) * apart / distance
        forces_av[a] += pull
        forces_av[b] -= pull
    return energy, forces_av


class SpringOwner:
    """Answers as a reduced model's owner does, and counts."""

    asked = 0

    def at(self, positions_av):
        self.asked += 1
        energy, forces_av = springs(positions_av)
        return Evaluation(energy, forces_av, {})


def geometries(count, seed=0):
    return REFERENCE_AV + 0.1 * np.random.default_rng(seed).normal(size=(count, 3, 3))


def solved_springs(positions_sav):
    energies, forces = zip(*map(springs, positions_sav), strict=True)
    return Solved(positions_sav, np.array(energies), np.array(forces))


def spring_frames(count=6, pending=()):
    solved = solved_springs(geometries(count, seed=5))
    frames = UnseenFrames(
        np.zeros(9), np.array(0.1), solved.positions_sav, solved.energies_s, solved.forces_sav, np.ones(count)
    )
    frames.energies_f[list(pending)] = np.nan
    return frames


# ---- parts and errors ------------------------------------------------------------------------------------------------


def test_parts_are_nested_and_large_enough():
    parts = nested_subsets(56, [1.0, 0.25, 0.5, 0.1], seed=1)
    assert [len(part) for part in parts] == [14, 28, 56]
    for smaller, larger in pairwise(parts):
        assert list(larger[: len(smaller)]) == list(smaller)
    assert sorted(parts[-1]) == list(range(56)) and list(parts[-1]) != list(range(56))
    assert np.array_equal(parts[0], nested_subsets(56, [0.25], seed=1)[0])


def test_errors_are_those_put_in():
    frames = spring_frames(4)
    forces_fav = frames.forces_fav.copy()
    forces_fav[2, 1, 0] += 6e-3
    found = errors(frames.energies_f + np.array([1e-3, -1e-3, 1e-3, 3e-3]), forces_fav, frames)
    assert found["energy_mean"] == pytest.approx(1e-3) and found["energy_largest"] == pytest.approx(3e-3)
    assert found["energy_rms"] == pytest.approx(np.sqrt(3.0) * 1e-3)
    assert found["force_largest"] == pytest.approx(6e-3) and found["force_rms"] == pytest.approx(6e-3 / np.sqrt(36))
    assert found["force_quantiles"]["0.5"] == pytest.approx(0.0, abs=1e-15) and found["unanswered"] == 0


def test_frames_without_an_answer_are_counted_and_spoil_no_others():
    frames = spring_frames(4)
    energies_f, forces_fav = frames.energies_f + 1e-3, frames.forces_fav.copy()
    forces_fav[0, 0, 0] += 6e-3
    energies_f[3], forces_fav[3] = np.nan, np.nan
    found = errors(energies_f, forces_fav, frames)
    assert found["unanswered"] == 1 and found["energy_rms"] == pytest.approx(1e-3)
    assert found["force_largest"] == pytest.approx(6e-3) and found["force_rms"] == pytest.approx(6e-3 / np.sqrt(27))
    with pytest.raises(ConvergenceError, match="no answer on any frame"):
        errors(np.full(4, np.nan), forces_fav, frames)


# ---- frames that are kept --------------------------------------------------------------------------------------------


def test_frames_come_back_and_belong_to_what_made_them(tmp_path):
    path, frames = tmp_path / "new" / "frames.npz", spring_frames(5, pending=[1, 3])
    write_frames(path, "key", frames)
    again = read_frames(path, "key")
    assert again.pending == [1, 3] and np.array_equal(again.forces_fav, frames.forces_fav)
    assert [each.name for each in path.parent.iterdir()] == ["frames.npz"]
    with pytest.raises(ConfigError, match=r"frames\.npz holds frames of key, asked for is other"):
        read_frames(path, "other")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataFileError, match="Remove it"):
        read_frames(path, "key")


class Killed(Exception):
    """What ends a run in the middle."""


class SpringModel:
    """Stands for a reduced model: dynamics of three frames, a frame that is the laboratory, springs solved in full."""

    digest = "abc"

    def __init__(self, dies_after=99):
        self.runs, self.solved, self.dies_after = 0, 0, dies_after
        self.physics = self.model = self.settings = self.stage = self.frame = self

    def dynamics(self, steps, keep_every, temperature):
        self.runs += 1
        return np.zeros(steps), list(geometries(steps // keep_every, seed=int(temperature)))

    def align(self, positions_av):
        self.body_positions_av = positions_av
        return self

    def gradient_forces(self, gradient_av):
        return -gradient_av

    def place(self, positions_av):
        return positions_av

    def solve(self, positions_av):
        if self.solved == self.dies_after:
            raise Killed
        self.solved += 1
        self.free_energy, forces_av = springs(positions_av)
        self.gradient_av = -forces_av
        return self


@pytest.fixture
def solver_of_springs(monkeypatch):
    monkeypatch.setattr(module, "build_solver", lambda settings, model, energy_tolerance: settings)


def test_a_killed_run_goes_on_with_its_frames(tmp_path, solver_of_springs):
    wanted, path, log = Wanted(frames=5, steps=50, temperature=300.0), tmp_path / "frames.npz", silent(MPI.COMM_SELF)
    killed, resumed, third = SpringModel(dies_after=2), SpringModel(), SpringModel()
    with pytest.raises(Killed):
        unseen_frames(killed, wanted, path, log)
    frames = unseen_frames(resumed, wanted, path, log)
    assert (killed.runs, killed.solved, resumed.runs, resumed.solved) == (1, 2, 0, 3)
    expected = solved_springs(geometries(5, seed=300))
    assert np.array_equal(frames.positions_fav, expected.positions_sav)
    assert frames.forces_fav == pytest.approx(expected.forces_sav) and frames.energies_f == pytest.approx(expected.energies_s)
    again = unseen_frames(third, wanted, path, log)
    assert third.runs == third.solved == 0 and np.array_equal(again.forces_fav, frames.forces_fav)
    with pytest.raises(ConfigError, match="another --output"):
        unseen_frames(third, Wanted(frames=5, steps=50, temperature=200.0), path, log)


def test_a_surface_that_turns_with_the_molecule_has_no_ripple(solver_of_springs):
    model, frames = SpringModel(), spring_frames(6)
    assert orientation_ripple(model, frames, count=4, seed=1) < 1e-12 and model.solved == 4
    assert orientation_ripple(model, frames, count=0, seed=1) is None

    def pulled(positions_av):
        """Springs and a grid that pulls the first atom along its own x axis."""
        solved = SpringModel.solve(model, positions_av)
        solved.gradient_av = solved.gradient_av + np.array([[3e-3, 0, 0], [0, 0, 0], [0, 0, 0]])
        return solved

    model.solve = pulled
    assert orientation_ripple(model, frames, count=6, seed=1) == pytest.approx(3e-3 / np.sqrt(9))


def test_dynamics_without_a_frame_are_refused(tmp_path, solver_of_springs):
    left = SpringModel()
    left.dynamics = lambda steps, keep_every, temperature: (np.zeros(3), [])
    with pytest.raises(ConfigError, match=r"after 3 steps, before its first frame \(step 10\)"):
        unseen_frames(left, Wanted(5, 50, 300.0), tmp_path / "frames.npz", silent(MPI.COMM_SELF))
    assert not list(tmp_path.iterdir())


# ---- a potential in its process --------------------------------------------------------------------------------------

SPRINGS_THAT_LEARN = f'''
"""Springs between all atoms, their stiffness and lengths fitted to the forces; refuses fewer geometries than it needs."""
import itertools
import sys

import numpy as np

sys.path.insert(0, {str(SCRIPTS)!r})
from potential_server import serve


def features(positions):
    """Forces of unit springs (stiffness times distance, stiffness times length) for each pair, (2 pairs, N, 3)."""
    rows = []
    for a, b in itertools.combinations(range(len(positions)), 2):
        apart = positions[b] - positions[a]
        for pull in (apart, -apart / np.linalg.norm(apart)):
            forces = np.zeros_like(positions)
            forces[a], forces[b] = pull, -pull
            rows.append(forces)
    return np.array(rows)


def train(request):
    print("a library that talks")
    if len(request["positions"]) < request["fewest"]:
        raise ValueError("too few geometries")
    matrix = np.array([features(positions) for positions in request["positions"]]).transpose(0, 2, 3, 1)
    fitted = np.linalg.lstsq(matrix.reshape(-1, matrix.shape[-1]), request["forces"].ravel(), rcond=None)[0]

    def potential(positions):
        if positions.max() > 1e3:
            sys.exit("the molecule has left")
        energy = 0.0
        for (a, b), (stiff, pull) in zip(itertools.combinations(range(len(positions)), 2), fitted.reshape(-1, 2)):
            distance = np.linalg.norm(positions[b] - positions[a])
            energy += 0.5 * stiff * distance**2 - pull * distance + 0.5 * pull**2 / stiff
        return energy, np.tensordot(fitted, features(positions), 1)

    return potential, {{"stiffness": fitted[::2].tolist()}}


serve("1.2.3", train)
'''


@pytest.fixture
def process(tmp_path):
    script = tmp_path / "springs.py"
    script.write_text(SPRINGS_THAT_LEARN)
    started = Process(sys.executable, "numpy", script, tmp_path / "springs.log", "install it")
    yield started
    started.close()


def test_a_potential_learns_in_its_process(process, tmp_path):
    potential, notes = process.train(("O", "H", "H"), solved_springs(geometries(12)), fewest=10)
    assert process.version == "1.2.3" and notes["stiffness"] == pytest.approx([STIFFNESS] * 3)
    assert notes["training_seconds"] >= 0.0 and "model" not in notes
    assert "a library that talks" in (tmp_path / "springs.log").read_text()
    expected = solved_springs(geometries(4, seed=3))
    energies_s, forces_sav, seconds_s = potential.evaluate(expected.positions_sav)
    assert energies_s == pytest.approx(expected.energies_s) and forces_sav == pytest.approx(expected.forces_sav)
    assert seconds_s.shape == (4,) and (seconds_s >= 0.0).all()


def test_failures_of_the_process_are_told(process):
    with pytest.raises(FailedPeer, match="ValueError: too few geometries"):
        process.train(("O", "H", "H"), solved_springs(geometries(9)), fewest=10)
    potential, _ = process.train(("O", "H", "H"), solved_springs(geometries(10)), fewest=10)
    with pytest.raises(FailedPeer, match="the molecule has left"):
        potential.evaluate(geometries(1) + 1e4)


def test_a_missing_package_is_told_with_how_to_install_it(tmp_path):
    with pytest.raises(MissingPeer, match=r"cannot import no_such_module \(ModuleNotFoundError.*\): pip install it"):
        Process(sys.executable, "no_such_module", tmp_path / "x.py", tmp_path / "x.log", "pip install it")
    with pytest.raises(MissingPeer, match="cannot run /nowhere/python"):
        Process("/nowhere/python", "numpy", tmp_path / "x.py", tmp_path / "x.log", "pip install it")


# ---- all together ----------------------------------------------------------------------------------------------------


def test_potentials_take_turns_along_the_dynamics():
    order = []

    class Watched:
        def __init__(self, name, seconds):
            self.name, self.taken = name, seconds

        def evaluate(self, positions_sav):
            order.append((self.name, len(positions_sav)))
            return None, None, np.full(len(positions_sav), self.taken)

    seconds = alternating_seconds([Watched("a", 2.0), Watched("b", 3.0)], geometries(20))
    assert seconds == [2.0, 3.0] and order == [("a", 2), ("b", 2)] * 10


def test_the_record_makes_table_and_figure(process, tmp_path):
    owner, solved, frames = SpringOwner(), solved_springs(geometries(40)), spring_frames()
    subsets = [solved.only(chosen) for chosen in nested_subsets(40, [0.5, 1.0], seed=1)]
    peer = Peer("numpy", "springs.py", "install it", {"springs": {"fewest": 10}})
    entrants = [Entrant({"method": "mpiqmd", "solves": 40}, ReducedPotential(owner))]
    entrants += peer_entrants(peer, process, Atoms(("O", "H", "H"), [[0, 2, 1]]), subsets, silent(MPI.COMM_SELF))
    record = judged(entrants, frames, geometries(20)) | {"missing": {"mace": "not there"}, "orientation_ripple": 2e-4}
    assert owner.asked == 20 + 6 and record["frames"] == 6
    assert record["forces_rms"] == pytest.approx(np.sqrt(np.mean(frames.forces_fav**2)))
    assert [(row["method"], row["solves"]) for row in record["rows"]] == [("mpiqmd", 40), ("springs", 20), ("springs", 40)]
    assert all(row["force_largest"] < 1e-12 and row["seconds_a_step"] >= 0.0 for row in record["rows"])
    record["rows"] = [
        row | {"force_rms": error, "seconds_a_step": 1e-3}
        for row, error in zip(record["rows"], (1e-6, 2e-5, 1e-5), strict=True)
    ]
    lines = summary(json.loads(json.dumps(record)))
    cells = next(line for line in lines if line.startswith("springs")).split()
    assert cells[1:4] == ["20", "2.0e-05", "20.0"] and cells[-2:] == ["1.000", "1.00"]
    assert "mace: not there" in lines and any("changes the full solver's forces by 2.0e-04" in line for line in lines)
    record |= {"formula": "H2O", "atoms": 3}
    axes = potentials_figure([record, record | {"orientation_ripple": None}, record]).axes
    assert [len(axis.lines) for axis in axes] == [7, 5, 6, 0]
    assert axes[1].lines[3].get_xydata().tolist() == [[20, 2e-5], [40, 1e-5]]


def test_a_molecule_takes_its_place_among_others(tmp_path):
    path = tmp_path / "record.json"
    for formula, atoms, frames in (("H3N", 4, 10), ("H2O", 3, 10), ("CH2O", 4, 10), ("H3N", 4, 20)):
        put_among_others({"machine": formula}, {"formula": formula, "atoms": atoms, "frames": frames}, path, "molecules")
    record = json.loads(path.read_text())
    assert record["machine"] == "H3N"
    assert [(each["formula"], each["frames"]) for each in record["molecules"]] == [("H2O", 10), ("CH2O", 10), ("H3N", 20)]
    with pytest.raises(DataFileError, match="no record of cards"):
        put_among_others({}, record["molecules"][0], path, "cards")
