"""``rom.on_large_error = "learn"``: dynamics whose model grows, resumed and killed at any moment, and where it is refused."""

from __future__ import annotations

import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from mpi4py import MPI

from mpiqmd.ase import MPIQMD
from mpiqmd.errors import ConfigError
from mpiqmd.md.checkpoint import load_checkpoint
from mpiqmd.pipeline.info import describe
from mpiqmd.pipeline.results import read_result
from mpiqmd.rom import offline
from mpiqmd.rom.model import ReducedModel
from mpiqmd.units import BOHR_IN_ANGSTROM
from tests.helpers import learning_runs as runs
from tests.helpers.learned_water import COARSE
from tests.helpers.learning_runs import ROM, same
from tests.helpers.workplace import WATER, Bench, outside_environment, with_keys

STEPS = 30
MD = runs.MD | {"steps": STEPS}
"""Hot enough to leave what the model was trained on twice: it grows after steps 2 and 17."""
GREW = [2, 17]
content = partial(runs.content, epochs=len(GREW))


def words(bench, trained, folder, online="learned", *options, **rom):
    """The command line of a run that learns."""
    path = bench.write(f"{online}.toml", with_keys(WATER, md=MD, rom=ROM | {"online": online} | rom))
    return ["md", path, "--model", trained.model, "--output", folder, *options]


@pytest.fixture(scope="module")
def coarsely():
    """Growth that learns coarsely."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(offline, "LearnSettings", lambda: COARSE)
        yield


@pytest.fixture(scope="module")
def grown(session_folder, trained, coarsely):
    """Folder and result of a grid-free run without a pause."""
    bench = Bench(MPI.COMM_WORLD.Dup(), session_folder)
    folder = session_folder / "learning"
    return folder, bench.run(*words(bench, trained, folder))


@pytest.mark.serial
def test_epochs_and_jumps_are_recorded(bench, trained, grown):
    folder, result = grown
    first, second = result["epochs"]
    assert [first["step"], second["step"]] == GREW and [first["number"], second["number"]] == [2, 3]
    assert (first["geometries_before"], first["geometries"], second["geometries"]) == (6, 12, 18)
    assert first["modes_before"] < first["modes"] == second["modes_before"] < second["modes"]
    seen = content(bench, folder)
    for epoch in result["epochs"]:
        step = epoch["step"]
        assert seen["potential_energy"][step] == epoch["energy_full"] and seen["hifi"][step] == 1.0
        assert epoch["jump"] == epoch["energy"] - epoch["energy_before"] < 0.0
        assert abs(epoch["energy"] - epoch["energy_full"]) < 0.1 * abs(epoch["jump"])
        assert 0.0 < epoch["seconds"] < 60.0
    assert seen["epoch"].tolist() == [1.0] * 3 + [2.0] * 15 + [3.0] * 13
    assert "the model grew twice (after step 2, 17)" in result["verdict"]["words"]
    assert "has not been checked since it grew" in result["verdict"]["words"] and result["verdict"]["good"] is not True


@pytest.mark.serial
def test_what_was_left_is_not_solved_in_full_any_more(bench, grown):
    """Some steps in a row outside the tables or with large errors; afterwards the grown model has them."""
    seen = content(bench, grown[0])
    assert seen["hifi"][15:18].all() and not seen["hifi"][18:].any()
    assert grown[1]["error_checks"]["outside_tables"] > 0


@pytest.mark.serial
def test_grown_models_are_models_as_others(bench, trained, grown):
    folder, _ = grown
    reduced = ReducedModel.load(folder / "model-epoch-3.h5", bench.comm)
    assert reduced.notes["grown"]["epoch"] == 3 and reduced.notes["grown"]["geometries"] == [12, 18]
    assert not {"errors", "verdict"} & set(reduced.notes) and reduced.notes["recipe"]
    _, lines = describe(folder / "model-epoch-3.h5")
    assert any("grown in dynamics from 12 to 18 geometries" in line for line in lines)
    assert any("it has grown since it was checked" in line for line in lines)
    frames = bench.write("frame.xyz", "3\nwater\nO 0 0 0\nH 0.58 0.75 0\nH 0.58 -0.75 0\n")
    result = bench.run(
        "evaluate",
        trained.input,
        "--structures",
        frames,
        "--model",
        folder / "model-epoch-3.h5",
        "--output",
        bench.folder / "e",
    )
    assert np.isfinite(result["energies"]).all()


@pytest.mark.serial
def test_learned_geometries_are_reproduced_and_old_ones_as_good_as_before(bench, trained, grown):
    folder, _ = grown
    reduced = ReducedModel.load(folder / "model-epoch-2.h5", bench.comm)
    text = "".join(_frame(positions_av) for positions_av in reduced.training_positions_sav)
    frames = bench.write("frames.xyz", text)
    path = bench.write("grid.toml", with_keys(WATER, rom={"online": "grid", "on_large_error": "warn", "tolerance": 1e-8}))
    found = {}
    for name, model in (("before", trained.model), ("after", folder / "model-epoch-2.h5")):
        output = bench.folder / name
        found[name] = np.array(
            bench.run("evaluate", path, "--structures", frames, "--model", model, "--output", output)["energies"]
        )
    full = reduced.training_energies_s
    assert (found["after"] <= found["before"] + 1e-9).all() and (found["after"] >= full - 1e-9).all()
    assert (found["after"] - full).max() < 1.5 * (found["before"] - full)[:6].max()
    assert (found["before"] - full)[6:].max() > 1e-4


def _frame(positions_av):
    rows = (
        f"{symbol} {x:.12f} {y:.12f} {z:.12f}" for symbol, (x, y, z) in zip("OHH", positions_av * BOHR_IN_ANGSTROM, strict=True)
    )
    return "\n".join(["3", "water", *rows]) + "\n"


@pytest.mark.serial
def test_resumed_at_any_step_it_is_the_uninterrupted_run_bit_for_bit(bench, trained, grown):
    """While geometries are gathered, at the steps of the exchange, and between; what waits is kept."""
    folder, waiting = bench.folder / "resumed", []
    for steps in (1, 2, 12, 16, 17):
        waiting.append(bench.run(*words(bench, trained, folder, "learned", "--steps", steps))["gathered"])
    result = bench.run(*words(bench, trained, folder))
    assert waiting[0] == 2 and waiting[1] == waiting[2] == waiting[4] == 0 < waiting[3]
    assert same(content(bench, grown[0]), content(bench, folder))
    drop = {"seconds"}
    one, other = ([{k: v for k, v in each.items() if k not in drop} for each in r["epochs"]] for r in (grown[1], result))
    assert one == other


MOMENTS = {"learned": ["compiling", "saved"], "grid": ["gathering", "compressing", "saving"]}
KILLED = """
import os, signal, sys
from mpiqmd.cli import main
from mpiqmd.rom import gathering, grown_models, growth, offline
from mpiqmd.rom.learned.compile import LearnedCompiler
from mpiqmd.rom.model import ReducedModel
from mpiqmd.units import BOHR_IN_ANGSTROM
from tests.helpers.learned_water import COARSE
offline.LearnSettings = lambda: COARSE
moment, places = sys.argv[1], {
    "gathering": (gathering, "_rename"),
    "compressing": (growth, "make_reduced_model"),
    "compiling": (LearnedCompiler, "_start_fit"),
    "saving": (ReducedModel, "_write_replicated"),
    "saved": (grown_models.GrownModels, "load"),
}
def kill(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)
owner, name = places[moment]
whole, calls = getattr(owner, name), []
def killed(*arguments, **options):
    calls.append(1)
    # the model that a checkpoint is of, and a look for what an earlier run may have left, come before what is made
    return kill() if len(calls) == (3 if moment == "saved" else 1) else whole(*arguments, **options)
setattr(owner, name, killed)
main(sys.argv[2:])
"""


@pytest.mark.serial
@pytest.mark.parametrize(
    "online, moments", [("learned", ["compiling", "saved"]), ("grid", ["gathering", "compressing", "saving"])]
)
def test_killed_while_it_grows_it_goes_on_bit_for_bit(bench, trained, grown, online, moments):
    """The second time it grows, from a checkpoint of some steps before."""
    if online == "learned":
        expected = content(bench, grown[0])
    else:
        bench.run(*words(bench, trained, bench.folder / "whole", online))
        expected = content(bench, bench.folder / "whole")
    folder = bench.folder / "killed"
    bench.run(*words(bench, trained, folder, online, "--steps", 10))
    command = [*map(str, words(bench, trained, folder, online)), "--quiet"]
    for moment in MOMENTS[online]:
        process = subprocess.run(
            [sys.executable, "-c", KILLED, moment, *command], capture_output=True, check=False, env=outside_environment()
        )
        assert process.returncode == -signal.SIGKILL, process.stderr
        assert (folder / "model-epoch-3.h5").exists() == (moment == "saved")
    bench.run(*words(bench, trained, folder, online))
    assert same(expected, content(bench, folder))


def test_ranks_grow_the_same_model(bench, trained):
    """But for round-off; each rank's run alone is the oracle."""
    folder = bench.folder / "grid"
    result = bench.run(*words(bench, trained, folder, "grid"))
    alone = Bench(MPI.COMM_SELF, bench.folder / f"alone-{bench.comm.rank}")
    alone.folder.mkdir()
    if bench.comm.rank == 0:
        expected = alone.run(*words(alone, trained, alone.folder / "run", "grid"))
        assert [each["step"] for each in result["epochs"]] == [each["step"] for each in expected["epochs"]] == GREW
        assert [each["modes"] for each in result["epochs"]] == [each["modes"] for each in expected["epochs"]]
        one, other = content(alone, alone.folder / "run"), content(alone, folder)
        np.testing.assert_allclose(one["positions"], other["positions"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(one["potential_energy"], other["potential_energy"], rtol=0, atol=1e-6)
    bench.comm.Barrier()


@pytest.mark.serial
@pytest.mark.parametrize("command", ["evaluate", "relax", "frequencies"])
def test_elsewhere_it_is_refused(bench, trained, geometries, command, capfd):
    line = words(bench, trained, bench.folder / "out")
    line[0] = command
    line += ["--structures", geometries[0]] if command == "evaluate" else []
    assert bench.status(*line) == 1
    message = capfd.readouterr().err
    assert "rom.on_large_error = 'learn'" in message and "'warn-stop', 'warn', 'stop', 'hifi'" in message


@pytest.mark.serial
def test_ase_refuses_it(bench, trained):
    path = bench.write("learn.toml", with_keys(WATER, rom=ROM))
    with pytest.raises(ConfigError, match="'learn': models grow in `mpiqmd md`"):
        MPIQMD(path, model=trained.model, comm=bench.comm, quiet=True)


@pytest.mark.serial
def test_a_run_that_grew_goes_on_as_such_only(bench, trained, grown, capfd):
    folder, _ = grown
    assert bench.status(*words(bench, trained, folder, "learned", "--steps", 31, on_large_error="hifi")) == 1
    assert "has grown" in capfd.readouterr().err
    saved, _ = load_checkpoint(folder / "checkpoint.h5")
    assert saved.attributes["step"] == STEPS
    own = words(bench, trained, folder)
    own[own.index("--model") + 1] = folder / "model-epoch-3.h5"
    assert bench.status(*own) == 1
    assert "another --output" in capfd.readouterr().err


@pytest.mark.serial
def test_a_lost_model_is_told_of_and_the_one_that_is_named_is_kept(bench, trained, coarsely, capfd):
    folder = bench.folder / "lost"
    bench.run(*words(bench, trained, folder, "grid", "--steps", 6))
    grown = folder / "model-epoch-2.h5"
    grown.rename(folder / "elsewhere.h5")
    assert bench.status(*words(bench, trained, folder, "grid")) == 1
    assert "model-epoch-2.h5" in capfd.readouterr().err
    assert read_result(folder / "result.json")["steps"] == 6
    (folder / "elsewhere.h5").rename(grown)
    again = words(bench, trained, folder, "grid", "--overwrite")
    again[again.index("--model") + 1] = grown
    assert bench.status(*again) == 1
    assert "another --output" in capfd.readouterr().err and grown.exists()
