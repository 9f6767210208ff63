"""Evaluations kept in a file: nothing is computed twice, whatever a kill leaves of the file; other surfaces are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mpiqmd.errors import AccuracyError, DataFileError
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.surface import Owner
from mpiqmd.statics.journaled import JournaledSurface
from tests.helpers.toy_surfaces import ToySurface
from tests.pipeline.springs import Springs, distorted

IDENTITY = {"solver": "springs", "physics.order": "8"}
PLACES = [distorted().positions_av * factor for factor in (1.0, 1.01, 0.97)]


def ask(surface, places=PLACES):
    owner = Owner(surface)
    return [owner.at(positions_av) for positions_av in places]


@pytest.fixture
def path(shared_tmp_path):
    return shared_tmp_path / "record.jsonl"


@pytest.fixture
def first(comm, path):
    """What three evaluations give, with the record of them on disk."""
    return ask(JournaledSurface(Springs(), path, IDENTITY, comm))


def same(one, other):
    assert [a.energy for a in one] == [b.energy for b in other]
    assert all(np.array_equal(a.forces_av, b.forces_av) and a.extras == b.extras for a, b in zip(one, other, strict=True))


def test_a_second_run_computes_nothing(comm, path, first):
    springs = Springs()
    again = JournaledSurface(springs, path, IDENTITY, comm)
    assert again.known == 3
    same(ask(again), first)
    assert springs.asked == 0


@pytest.mark.parametrize("lost", [1, 30, 400])
def test_what_a_kill_cut_off_is_computed_again(comm, path, first, lost):
    content = path.read_bytes()
    comm.Barrier()
    if comm.rank == 0:
        path.write_bytes(content[:-lost])
    comm.Barrier()
    springs = Springs()
    again = JournaledSurface(springs, path, IDENTITY, comm)
    known = again.known
    assert known == (3 if lost == 1 else 2)
    same(ask(again), first)
    assert springs.asked == 3 - known
    assert JournaledSurface(springs, path, IDENTITY, comm).known == 3


def test_other_geometries_replace_the_rest_of_the_record(comm, path, first):
    springs = Springs()
    again = JournaledSurface(springs, path, IDENTITY, comm)
    places = [PLACES[0], PLACES[1] + 1e-3, PLACES[2]]
    ask(again, places)
    assert springs.asked == 2
    assert JournaledSurface(springs, path, IDENTITY, comm).known == 3
    same(ask(JournaledSurface(springs, path, IDENTITY, comm), places)[:1], first[:1])
    assert springs.asked == 2


def test_another_surface_is_refused(comm, path, first):
    with pytest.raises(DataFileError, match=r"physics.order was 8, is 6.*--overwrite"):
        JournaledSurface(Springs(), path, IDENTITY | {"physics.order": "6"}, comm)


@pytest.mark.parametrize("line", ["not json", "[1, 2]", '"text"', "[" * 100_000])
def test_foreign_files_are_refused(comm, path, line):
    if comm.rank == 0:
        path.write_text(line + "\n")
    comm.Barrier()
    with pytest.raises(DataFileError, match="does not start with the identity"):
        JournaledSurface(Springs(), path, IDENTITY, comm)


DAMAGES = [{"energy": text} for text in ("x", None, float("nan"))]
DAMAGES += [{"forces": [[1.0]]}, {"positions": [["a"]]}, {"extras": 3}]
DAMAGES += [{"energy": number} for number in ("1.5", True, 10**400)]
DAMAGES += [{"extras": {"training_distance": value}} for value in ("1.5", [1.0], {}, True, 10**400)]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_rows_are_left_out(comm, path, first, damage):
    lines = path.read_text().splitlines()
    comm.Barrier()
    if comm.rank == 0:
        lines[2] = json.dumps(json.loads(lines[2]) | damage)
        path.write_text("\n".join(lines) + "\n")
    comm.Barrier()
    again = JournaledSurface(Springs(), path, IDENTITY, comm)
    assert again.known == 1
    same(ask(again), first)


def test_what_is_not_finite_is_not_kept(comm, path):
    class Broken(ToySurface):
        def at(self, positions_av, memory=None):
            return Evaluation(np.nan, np.zeros_like(positions_av))

    surface = JournaledSurface(Broken(), path, IDENTITY, comm)
    with pytest.raises(AccuracyError, match="geometry 0 are not finite"):
        Owner(surface).at(PLACES[0])
    assert JournaledSurface(Springs(), path, IDENTITY, comm).known == 0
