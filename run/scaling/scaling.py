"""Strong and weak scaling of ABPG, one JSON and one figure, with a performance model fitted to it.

    .venv/bin/python -m run.scaling.scaling --ranks 1 2 4 --output results/scaling

Strong: water on 64^3 points over all ranks.  Weak: as many points for every rank, 48^3, the cell growing with the ranks.
Every point of the study is a job of its own (``worker.py``) under the launcher:

--launcher "mpirun -n {ranks}"                       this machine (default)
--launcher "srun -N {nodes} -n {ranks}"              inside a Slurm allocation; see batch/scaling.slurm
--launcher "flux run -N {nodes} -n {ranks}"          inside a Flux allocation; see batch/scaling.flux

with ``--ranks-per-node`` to count the nodes.  Points already in the output are not measured again; ``--refit`` only
draws and fits.  The figure shows efficiency, share of messages and memory per rank; ``model.py`` predicts the times and
extrapolates to 10^4 ranks.  CPU seconds of the slowest rank are used, which other jobs on the cores disturb least;
``--clock wall`` takes wall-clock seconds, right on cores of one's own.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mpiqmd.parallel.countdown import Countdown
from mpiqmd.pipeline.circumstances import loaded_versions
from mpiqmd.pipeline.results import read_result, write_result
from run.scaling import model
from run.scaling.figure import draw

SPACING = 0.1875
STUDIES = {"strong": ("direct",), "weak": ("direct",), "multigrid": ("multigrid",)}
ENVIRONMENT = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} | {
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
"""One thread a rank; and Open MPI may start more ranks than there are cores, for a test of the drivers."""
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
ROOT = Path(__file__).parents[2]


def mpirun() -> str:
    """Return the launcher that belongs to the MPI library of this installation."""
    recorded = ROOT / ".venv" / "launcher"
    return recorded.read_text().strip() if recorded.is_file() else "mpirun"


def without_folder(launcher: str) -> str:
    """Return a launcher's command line without the folder of its program, as records keep it."""
    program, _, options = launcher.partition(" ")
    return f"{Path(program).name} {options}"


def environment() -> dict[str, str]:
    """Return the environment of the workers; what is set already stays."""
    return ENVIRONMENT | (AS_ROOT if os.geteuid() == 0 else {}) | dict(os.environ)


def points_of(study: str, ranks: int, strong: int, weak: int) -> list[int]:
    """Return the grid points along x, y and z of one point of a study.

    The weak grid doubles along z and y in turn, so that blocks stay compact; ``ranks`` must then be a power of two
    times a number that goes to z.
    """
    if study != "weak":
        return [strong] * 3
    along_y = 1
    remaining = ranks
    while remaining % 4 == 0:
        remaining //= 4
        along_y *= 2
    return [weak, weak * along_y, weak * (ranks // along_y)]


def measure(arguments: argparse.Namespace, study: str, ranks: int) -> dict[str, Any]:
    """Run one worker under the launcher and return its record."""
    points = points_of(study, ranks, arguments.strong, arguments.weak)
    nodes = -(-ranks // arguments.ranks_per_node)
    launcher = shlex.split(arguments.launcher.format(ranks=ranks, nodes=nodes))
    with tempfile.TemporaryDirectory(dir=arguments.output.resolve()) as folder:
        path = Path(folder) / "point.json"
        command = [*launcher, sys.executable, "-m", "run.scaling.worker", "--output", str(path)]
        command += ["--points", *map(str, points), "--cell", *(f"{n * SPACING:.6f}" for n in points)]
        command += ["--iterations", str(arguments.iterations), "--poisson", STUDIES[study][0]]
        subprocess.run(command, check=True, env=environment(), cwd=ROOT)
        return read_result(path) | {"study": study, "load_average": os.getloadavg()[0]}


def scaling_rows(points: list[dict[str, Any]], clock: str) -> list[dict[str, Any]]:
    """Return efficiency, message share and memory per rank of every point of the strong and weak studies.

    Strong efficiency is ``t_1 r_1 / (t r)``, weak efficiency ``t_1 / t``, against the fewest ranks measured.
    """
    rows = []
    for study in STUDIES:
        chosen = sorted((p for p in points if p["study"] == study), key=lambda p: p["ranks"])
        for point in chosen:
            time, first = point["iteration"][clock], chosen[0]["iteration"][clock]
            ratio = 1.0 if study == "weak" else chosen[0]["ranks"] / point["ranks"]
            messages = point["iteration"]["message_cpu" if clock == "cpu" else "message_wall"]
            rows.append(
                {
                    "study": study,
                    "ranks": point["ranks"],
                    "seconds": time,
                    "efficiency": first * ratio / time,
                    "message_share": messages / time,
                    "memory": point["peak_memory"],
                    "bytes_sent": point["iteration"]["bytes"],
                    "messages": point["iteration"]["calls"],
                }
            )
    return rows


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the scaling table."""
    titles = ("ms/iteration", "efficiency", "messages", "MB/rank", "MB sent")
    widths = (13, 11, 9, 8, 8)
    head = " ".join(f"{title:>{width}s}" for title, width in zip(titles, widths, strict=True))
    lines = [f"{'study':10s} {'ranks':>5s} {head}"]
    for row in rows:
        share = f"{row['message_share']:9.0%}" if row["study"] != "multigrid" else f"{'':9s}"
        lines.append(
            f"{row['study']:10s} {row['ranks']:5d} {1e3 * row['seconds']:13.1f} {row['efficiency']:11.0%} {share} "
            f"{1e-6 * row['memory']:8.0f} {1e-6 * row['bytes_sent']:8.2f}"
        )
    return lines


class StandardError:
    """Where progress goes: a log without MPI, which this script must leave to those that it starts."""

    is_terminal = False

    def progress(self, text: str, last: bool = False) -> None:
        """Print one line."""
        print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure what is missing, fit, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--studies", nargs="+", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--strong", type=int, default=64, help="points a side of the strong study")
    parser.add_argument("--weak", type=int, default=48, help="points a side of each rank's share of the weak study")
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--launcher", default=f"{mpirun()} -n {{ranks}}")
    parser.add_argument("--ranks-per-node", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
    parser.add_argument("--refit", action="store_true", help="measure nothing: draw and fit what is there")
    parser.add_argument("--output", type=Path, default=Path("results/scaling"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "scaling.json"
    record = read_result(path) if path.exists() else {"points": []}
    record |= {"versions": loaded_versions(), "launcher": without_folder(arguments.launcher), "clock": arguments.clock}
    if not arguments.refit:
        record["machine"] = {"date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count()}
    known = {(point["study"], point["ranks"]) for point in record["points"]}
    asked = [] if arguments.refit else [(study, ranks) for study in arguments.studies for ranks in arguments.ranks]
    todo = [point for point in asked if point not in known]
    countdown = Countdown(StandardError(), len(todo), "measured")
    for study, ranks in todo:
        print(f"{study}, {ranks} ranks ...", file=sys.stderr, flush=True)
        record["points"].append(measure(arguments, study, ranks))
        write_result(path, record)
        countdown.advance(f"{study}, {ranks} ranks")
    record["scaling"] = scaling_rows(record["points"], arguments.clock)
    record["model"], lines = model.report(record["points"])
    write_result(path, record)
    text = [*table(record["scaling"]), "", *lines]
    (arguments.output / "scaling.txt").write_text("\n".join(text) + "\n")
    print("\n".join(text))
    for figure in draw(record["scaling"], record["model"], arguments.output):
        print(f"figure: {figure}")


if __name__ == "__main__":
    main()
