"""Inputs that are well-formed and absurd: a reason to stop or a result, never a traceback, an endless run or a full memory."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mpiqmd.config.sections import section_keys
from mpiqmd.keys.values import Bounds, Kind
from mpiqmd.parallel import machine
from tests.helpers.judging import limited
from tests.helpers.workplace import WATER, with_keys

ABSURD = (
    *(0, 1, -1, 2, 4, 7, 100, 10**5, 2**62, 1e-300, 1e-12, 1e-3, 0.5, 1e3, 1e12, 1e300),
    *("1e-5 K", "3000 K", "1e6 fs", "1e-6 fs"),
)
KEYS = [
    (section, name)
    for section in ("system", "grid", "scf", "md")
    for name, spec in section_keys(section).items()
    if spec.kind.short.split()[0] not in ("list", "path", "true") and name not in ("steps", "max_iterations")
]


def absurd_value(kind: Kind, rng: np.random.Generator) -> object:
    """A word the key knows, the end of its interval, or any absurd number."""
    if hasattr(kind, "options"):
        return kind.options[rng.integers(len(kind.options))]
    bounds = getattr(getattr(kind, "kind", kind), "bounds", Bounds())
    ends = [end for end in (bounds.minimum, bounds.maximum) if end is not None]
    values = ends if ends and rng.random() < 0.7 else ABSURD
    return values[rng.integers(len(values))]


def absurd_input(rng: np.random.Generator) -> str:
    """The water molecule with one to three numbers, or words, exchanged."""
    sections: dict[str, dict] = {"scf": {"max_iterations": 40, "energy_tolerance": 1e-6}}
    for index in rng.choice(len(KEYS), size=rng.integers(1, 4), replace=False):
        section, name = KEYS[index]
        sections.setdefault(section, {})[name] = absurd_value(section_keys(section)[name].kind, rng)
    return with_keys(WATER, **sections)


def outcome(bench, capfd, case: int) -> str:
    """``"finished"`` or ``"refused"``; raises AssertionError for anything else."""
    path = bench.write("absurd.toml", absurd_input(np.random.default_rng(case)))
    words = ("md", path, "--steps", 3, "--output", bench.folder / "out", "--overwrite")
    capfd.readouterr()
    with limited():
        status = bench.status(*words)
    text = capfd.readouterr().err
    explained = re.fullmatch(r"(.*warning: .*\n)*mpiqmd: error: (.|\n)*", text) is not None
    assert "Traceback" not in text and (status == 0 or explained), f"case {case}\n{path.read_text()}\n{text}"
    assert "Warning" not in text, f"case {case}\n{path.read_text()}\n{text}"
    return "refused" if status else "finished"


@pytest.mark.serial
def test_absurd_values_are_refused_or_computed(bench, capfd):
    found = [outcome(bench, capfd, case) for case in range(25)]
    assert found.count("refused") > 5 and found.count("finished") > 5


@pytest.mark.slow
@pytest.mark.serial
def test_many_absurd_values_are_refused_or_computed(bench, capfd):
    problems, found = [], []
    for case in range(1000, 1300):
        try:
            found.append(outcome(bench, capfd, case))
        except BaseException as problem:
            problems.append(str(problem)[-1500:])
    with capfd.disabled():
        print(f"absurd inputs: {found.count('refused')} refused, {found.count('finished')} finished, {len(problems)} wrong")
    assert not problems, "\n\n".join(problems[:10])


def test_a_grid_beyond_the_memory_is_refused_with_the_estimate(bench, capfd):
    """10^15 points of water, four orbitals: 278 functions of 8 bytes, most of them for multigrid."""
    path = bench.write("huge.toml", with_keys(WATER, grid={"points": 100_000, "cell": 2000.0}))
    capfd.readouterr()
    assert bench.status("scf", path, "--output", bench.folder / "out") == 1
    message = bench.comm.bcast(capfd.readouterr().err, root=0)
    assert "100000 x 100000 x 100000 with 4 orbitals takes about 2.22e+09 GB" in message
    assert f"the {bench.comm.size} rank(s) of this job have" in message and "grid.spacing" in message


def test_the_memory_of_a_rank_is_the_same_everywhere_and_no_more_than_the_machine_has(comm):
    share = machine.memory_per_rank(comm)
    assert comm.allgather(share) == [share] * comm.size
    with open("/proc/meminfo", encoding="ascii") as file:
        total = 1024 * int(file.readline().split()[1])
    assert 1e8 < share <= total / comm.size


@pytest.mark.serial
@pytest.mark.parametrize(
    ("lines", "file"), [("0::/job/step", "job/memory.max"), ("9:memory:/job", "memory/job/memory.limit_in_bytes")]
)
def test_the_limit_of_a_batch_system_counts(comm, tmp_path, monkeypatch, lines, file):
    limit = tmp_path / file
    limit.parent.mkdir(parents=True)
    limit.write_text(f"{3 * 10**8}\n")
    (tmp_path / "membership").write_text(lines + "\n")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "MEMBERSHIP", tmp_path / "membership")
    assert machine.memory_per_rank(comm) == 3e8
