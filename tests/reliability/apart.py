"""Fuzzing in a process of its own, which a damaged file may crash; started again after the file that did.

python -m tests.reliability.apart KIND FIRST LAST FOLDER   a line per case: its number when it starts, then what became of it
"""

from __future__ import annotations

import faulthandler
import subprocess
import sys
from pathlib import Path

from tests.helpers import ROOT
from tests.helpers.judging import SECONDS, Tally, fuzz
from tests.reliability.hdf5_formats import hdf5_format


def fuzz_apart(kind: str, folder: Path, cases: range) -> Tally:
    """Judge files without a seal case by case; ``crashed`` and ``hung`` count those that ended the process."""
    tally, first = Tally(), cases.start
    while first < cases.stop:
        words = [sys.executable, "-m", "tests.reliability.apart", kind, str(first), str(cases.stop), str(folder)]
        child = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
        started = [line.split(maxsplit=2) for line in child.stdout.splitlines()]
        for _, verdict, *reason in (line for line in started if len(line) > 1):
            tally.verdicts[verdict] += 1
            tally.wrong += reason
        last = int(started[-1][0]) if started else first
        if child.returncode == 0:
            break
        ended = "hung" if "Timeout" in child.stderr else "crashed"
        if not started or (child.returncode > 0 and ended == "crashed"):
            tally.wrong.append(f"case {last}: status {child.returncode}: {child.stderr[-300:]}")
        tally.verdicts[ended] += 1
        first = last + 1
    return tally


def main(kind: str, first: str, last: str, folder: str) -> None:
    """Judge the cases of one process, which ends itself when a case takes too long."""
    format = hdf5_format(kind, "unsealed")
    for case in range(int(first), int(last)):
        print(case, flush=True)
        # An endless loop in HDF5 lets no Python code run, a signal's handler least of all.
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        tally = fuzz(format, Path(folder), range(case, case + 1))
        print(case, next(iter(tally.verdicts)), " ".join("".join(tally.wrong).split()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
