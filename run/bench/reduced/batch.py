"""Time per replica and step when the replicas of a core are evaluated as a batch."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np

from mpiqmd.md.noise import replica_seed
from mpiqmd.md.record import Record
from mpiqmd.md.run import dynamics_steps, run_together
from mpiqmd.parallel.log import silent
from mpiqmd.pipeline.surface import dynamics_settings
from run.bench.reduced.common import COMM, Bench

COUNTS = (1, 8, 32, 64)
ROUNDS = 5
OUTPUT_EVERY = 10


def batch(bench: Bench) -> dict[str, dict[str, float]]:
    """Median microseconds per replica and step of ``mpiqmd md --replicas``, by replicas side by side, and of the evaluation.

    Processor time, so that other jobs on the machine do not count as waiting; all counts in turn, several times.  One
    replica is evaluated alone.
    """
    steps, evaluations = ({count: [] for count in COUNTS} for _ in range(2))
    for _ in range(ROUNDS):
        for count in COUNTS:
            steps[count].append(_step_seconds(bench, count, max(20, bench.arguments.timing_steps // (5 * count))))
            evaluations[count].append(_evaluation_seconds(bench, count))
    record = {}
    for count in COUNTS:
        row = {"step": 1e6 * np.median(steps[count]), "evaluation": 1e6 * np.median(evaluations[count])}
        for name, samples in (("step", steps), ("evaluation", evaluations)):
            row[f"{name}_gain"] = np.median(np.divide(samples[COUNTS[0]], samples[count]))
        record[str(count)] = {name: float(value) for name, value in row.items()}
    bench.log(_table(record))
    return record


def _table(record: dict[str, dict[str, float]]) -> str:
    lines = ["replicas   evaluation, us     gain   step with all, us     gain"]
    for count, row in record.items():
        evaluation = f"{row['evaluation']:16.1f} {row['evaluation_gain']:8.2f}"
        lines.append(f"{count:>8} {evaluation} {row['step']:19.1f} {row['step_gain']:8.2f}")
    return "\n".join(lines)


def _step_seconds(bench: Bench, count: int, steps: int) -> float:
    """Return the median processor time of a step of all replicas, by their number."""
    settings = dataclasses.replace(dynamics_settings(bench.settings, steps), output_every=OUTPUT_EVERY).shared_by(count)
    molecule = bench.molecule.with_positions(bench.reduced.reference_av)
    times: list[float] = []

    def note() -> None:
        times.append(time.process_time())

    with tempfile.TemporaryDirectory() as folder:
        surface, runs = bench.surface.surface, []
        memories = [surface.fresh(count) for _ in range(count)]
        for index, memory in enumerate(memories):
            seeded = dataclasses.replace(settings, seed=replica_seed(settings.seed, index))
            record = Record(Path(folder) / f"trajectory-{index}.h5", Path(folder) / f"checkpoint-{index}.h5")
            runs.append(dynamics_steps(molecule, memory, seeded, COMM, silent(COMM), record))
        run_together(surface, runs, memories, note)
    return float(np.median(np.diff(times))) / count


def _evaluation_seconds(bench: Bench, count: int) -> float:
    """Return the median processor time of an evaluation of all geometries at once, by their number."""
    surface, times = bench.owner().surface, []
    memories = [surface.fresh(count) for _ in range(count)]
    for _ in range(max(5, 500 // count)):
        geometries = bench.geometries(count, stretch=0.5)
        started = time.process_time()
        surface.evaluate(geometries, memories)
        times.append(time.process_time() - started)
    return float(np.median(times)) / count
