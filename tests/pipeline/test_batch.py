"""The batch scripts, with stand-ins for the schedulers: what they start, and when they queue themselves again."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.serial
FOLDER = Path(__file__).parents[2] / "run" / "batch"
WORDS = ["water.toml", "--model", "m.h5", "--output", "out"]

STAND_INS = {
    "mpiqmd": 'echo "mpiqmd $*" >> "$LOG"; exit "$STATUS"',
    "srun": 'echo "$SLURM_MPI_TYPE" > mpi-type; shift; "$@"',
    "mpirun": '"$@"',
    "scontrol": 'echo "scontrol $*" >> "$LOG"',
    "qsub": 'echo "qsub $*" >> "$LOG"; echo 7.server',
    "sbatch": 'echo "sbatch $*" >> "$LOG"; echo 7',
    "flux": 'case "$1 $2" in "job timeleft") echo 7200.5 ;; run*) shift 2; "$@" ;; '
    '*) echo "flux $*" >> "$LOG"; echo "f$(wc -l < "$LOG")" ;; esac',
}


@pytest.fixture
def submit(tmp_path):
    """A function that runs a script as its scheduler would and returns status and log."""
    for name, body in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / name).chmod(0o755)

    def run(script: str, status: int, *words: str, **variables: str) -> tuple[int, list[str]]:
        log = tmp_path / "log"
        log.write_text("")
        environment = os.environ | variables | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(log)}
        environment |= {"STATUS": str(status), "MPIQMD": str(tmp_path / "mpiqmd")}
        command = ["bash", str(FOLDER / script), *words]
        process = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        return process.returncode, log.read_text().splitlines()

    return run


SCRIPTS = [
    ("md.slurm", WORDS, {"SLURM_JOB_ID": "42"}, "scontrol requeue 42"),
    ("md.pbs", [], {"ARGUMENTS": " ".join(WORDS)}, "run/batch/md.pbs"),
    ("md.flux", WORDS, {}, f"flux --parent batch run/batch/md.flux {' '.join(WORDS)}"),
]


@pytest.mark.parametrize(("script", "words", "variables", "resubmission"), SCRIPTS, ids=lambda value: str(value)[:8])
def test_an_unfinished_run_is_queued_again_and_nothing_else_is(submit, script, words, variables, resubmission):
    status, log = submit(script, 75, *words, **variables)
    assert status == 0 and len(log) == 2
    assert log[0].startswith(f"mpiqmd md {' '.join(WORDS)}") and log[1].endswith(resubmission)
    for end in (0, 1, 130):
        status, log = submit(script, end, *words, **variables)
        assert status == end and len(log) == 1


def test_the_wall_time_is_what_is_left_of_the_job(submit):
    end = {"SLURM_JOB_ID": "42", "SLURM_JOB_END_TIME": str(int(time.time()) + 3600)}
    _, (line,) = submit("md.slurm", 0, *WORDS, **end)
    assert 3590 <= int(line.split("--walltime ")[1]) <= 3600
    _, (line,) = submit("md.slurm", 0, *WORDS, SLURM_JOB_ID="42")
    assert "--walltime" not in line
    _, (line,) = submit("md.flux", 0, *WORDS)
    assert line.endswith("--walltime 7200")
    _, (line,) = submit("md.pbs", 0, ARGUMENTS="a.toml", WALLTIME="00:10:00")
    assert line == "mpiqmd md a.toml --walltime 00:10:00"


@pytest.mark.parametrize(("script", "words"), [("md.slurm", WORDS), ("train.slurm", ["3", *WORDS[:1]])])
def test_srun_is_told_how_to_speak_with_mpi(submit, tmp_path, script, words, monkeypatch):
    monkeypatch.delenv("SLURM_MPI_TYPE", raising=False)
    submit(script, 1, *words, SLURM_JOB_ID="42")
    assert (tmp_path / "mpi-type").read_text() == "pmix\n"
    submit(script, 1, *words, SLURM_JOB_ID="42", SLURM_MPI_TYPE="pmi2")
    assert (tmp_path / "mpi-type").read_text() == "pmi2\n"


def test_resubmission_under_pbs_keeps_what_was_asked_for(submit):
    _, log = submit("md.pbs", 75, ARGUMENTS="a.toml --steps 9", WALLTIME="00:10:00", SCRIPT="/x/my.pbs")
    assert log[1].startswith("qsub -v ARGUMENTS=a.toml --steps 9,WALLTIME=00:10:00,MPIQMD=")
    assert log[1].endswith(",SCRIPT=/x/my.pbs /x/my.pbs")


@pytest.mark.parametrize("script", ["md.slurm", "md.pbs", "md.flux"])
def test_without_an_input_the_usage_is_shown(submit, script):
    assert submit(script, 0) == (2, [])


@pytest.mark.parametrize(("script", "words", "variables", "resubmission"), SCRIPTS, ids=lambda value: str(value)[:8])
def test_a_chain_does_not_start_afresh_with_every_job(submit, script, words, variables, resubmission):
    if variables.get("ARGUMENTS"):
        variables = {"ARGUMENTS": variables["ARGUMENTS"] + " --overwrite"}
    assert submit(script, 75, *words, *(["--overwrite"] if words else []), **variables) == (2, [])


TRAIN = ["water.toml", "--output", "out"]
ARGUMENTS = " ".join(TRAIN)
PBS = {"ARGUMENTS": ARGUMENTS, "PARTS": "3", "WALLTIME": "01:00:00"}
SLURM = {"SLURM_JOB_ID": "42"}
TRAININGS = {
    "slurm": (["3", *TRAIN], SLURM, ["part", "3", *TRAIN], {"SLURM_ARRAY_TASK_ID": "2"}, ["whole", *TRAIN]),
    "pbs": ([], PBS, [], {"STAGE": "part", "PBS_ARRAY_INDEX": "2"}, []),
    "flux": (["3", *TRAIN], {}, ["part", "2/3", *TRAIN], {}, ["whole", *TRAIN]),
}
"""Words and variables of the job that a user submits, of one that solves a part, and of the last one."""


def without_walltime(line):
    return line.split(" --walltime")[0]


@pytest.mark.parametrize("scheduler", TRAININGS)
def test_a_training_submits_its_parts_and_what_waits_for_them(submit, scheduler):
    words, variables, _, _, _ = TRAININGS[scheduler]
    status, log = submit(f"train.{scheduler}", 0, *words, **variables)
    assert status == 0 and without_walltime(log[0]) == f"mpiqmd train {ARGUMENTS} --samples-only"
    script = f"run/batch/train.{scheduler}"
    if scheduler == "slurm":
        assert log[1:] == [
            f"sbatch --parsable --array=1-3 {script} part 3 {ARGUMENTS}",
            f"sbatch --dependency=afterany:7 {script} whole {ARGUMENTS}",
        ]
    elif scheduler == "pbs":
        rest = f"PARTS=3,ARGUMENTS={ARGUMENTS},WALLTIME=01:00:00,MPIQMD="
        assert log[1].startswith(f"qsub -J 1-3 -v STAGE=part,{rest}") and log[1].endswith(script)
        assert log[2].startswith(f"qsub -W depend=afterany:7.server -v STAGE=whole,{rest}") and len(log) == 3
    else:
        parts = [f"flux --parent batch {script} part {k}/3 {ARGUMENTS}" for k in (1, 2, 3)]
        after = " ".join(f"--dependency=afterany:f{k}" for k in (2, 3, 4))
        assert log[1:] == [*parts, f"flux --parent batch {after} {script} whole {ARGUMENTS}"]


@pytest.mark.parametrize("scheduler", TRAININGS)
def test_parts_and_the_last_job_do_theirs_and_submit_nothing(submit, scheduler):
    _, variables, part, part_variables, whole = TRAININGS[scheduler]
    status, log = submit(f"train.{scheduler}", 0, *part, **variables | part_variables)
    assert status == 0 and [without_walltime(line) for line in log] == [f"mpiqmd train {ARGUMENTS} --part 2/3"]
    status, log = submit(f"train.{scheduler}", 0, *whole, **variables | {"STAGE": "whole"})
    assert status == 0 and [without_walltime(line) for line in log] == [f"mpiqmd train {ARGUMENTS}"]
    for words in (part, whole):
        assert submit(f"train.{scheduler}", 1, *words, **variables | part_variables)[0] == 1


AGAIN = {"slurm": "scontrol requeue 42", "pbs": "run/batch/train.pbs", "flux": f"run/batch/train.flux whole {ARGUMENTS}"}


@pytest.mark.parametrize("scheduler", TRAININGS)
def test_an_unfinished_training_goes_on(submit, scheduler):
    words, variables, part, part_variables, whole = TRAININGS[scheduler]
    status, log = submit(f"train.{scheduler}", 75, *whole, **variables | {"STAGE": "whole"})
    assert status == 0 and len(log) == 2 and log[1].endswith(AGAIN[scheduler])
    assert scheduler != "pbs" or "STAGE=whole," in log[1]
    # Slurm requeues one job of an array; elsewhere the last job solves what a part has left
    status, log = submit(f"train.{scheduler}", 75, *part, **variables | part_variables)
    assert status == 0 and len(log) == (2 if scheduler == "slurm" else 1)
    # no parts before the geometries are chosen
    status, log = submit(f"train.{scheduler}", 75, *words, **variables)
    assert status == 0 and len(log) == 2 and "array" not in log[1] and "afterany" not in log[1]


@pytest.mark.parametrize("scheduler", TRAININGS)
def test_a_training_without_parts_or_with_overwrite_is_refused(submit, scheduler):
    words, variables, _, _, _ = TRAININGS[scheduler]
    for parts in ("", "0", "x", "-1"):
        changed = variables | ({"PARTS": parts} if "PARTS" in variables else {})
        assert submit(f"train.{scheduler}", 0, *([parts, *TRAIN] if words else []), **changed) == (2, [])
    fresh = variables | ({"ARGUMENTS": f"{ARGUMENTS} --overwrite"} if "ARGUMENTS" in variables else {})
    assert submit(f"train.{scheduler}", 0, *([*words, "--overwrite"] if words else []), **fresh) == (2, [])
