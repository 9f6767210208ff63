"""What a grid-free reduced model is worth: errors, energy drift, time per step, and the error estimate.

    .venv/bin/python -m run.bench.reduced_model run/inputs/water.toml results/water/train/model.h5 --output results/bench

Parts (``--parts``, all by default):

gradient   forces against finite differences of the reduced energy
accuracy   grid-free against the grid online stage and against Hi-Fi on random geometries of the sampled box
decay      the same for bases of several sizes, made from the snapshots beside the model
frames     grid-free against Hi-Fi on frames of a 300 K trajectory
drift      NVE trajectories (--temperature) of 0.25, 0.5 and 1 fs steps, exact and rotated Hellmann-Feynman forces
batch      processor time per step and replica, for 1, 8, 32 and 64 replicas side by side
cost       median time per MD step, all included, beside the Hi-Fi step of the same input; multiplications
estimate   residual error estimate against the true error, inside and outside the box

Writes ``reduced_model.json`` and figures.  Serial: one core is what is measured.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mpiqmd.pipeline.results import write_result
from run.bench.cases import circumstances
from run.bench.reduced.accuracy import accuracy, decay, frames, gradient
from run.bench.reduced.batch import batch
from run.bench.reduced.common import Bench
from run.bench.reduced.cost import cost
from run.bench.reduced.drift import drift
from run.bench.reduced.estimate import estimate

PARTS = {
    "gradient": gradient,
    "accuracy": accuracy,
    "decay": decay,
    "frames": frames,
    "drift": drift,
    "batch": batch,
    "cost": cost,
    "estimate": estimate,
}


def main() -> None:
    """Run the parts asked for and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--output", type=Path, default=Path("bench"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--geometries", type=int, default=500, help="geometries of accuracy, against the grid stage")
    parser.add_argument("--hifi-geometries", type=int, default=40, help="how many of them also against Hi-Fi")
    parser.add_argument("--ranks", type=int, nargs="+", default=[16, 24, 34, 50, 70, 90, 110], help="modes of decay")
    parser.add_argument("--decay-geometries", type=int, default=20)
    parser.add_argument("--frames", type=int, default=200, help="frames of the 300 K trajectory, 50 fs apart")
    parser.add_argument("--steps", type=int, default=100_000, help="steps of 0.5 fs of the drift runs")
    parser.add_argument("--temperature", type=float, default=300.0, help="of the drift runs' start, kelvin")
    parser.add_argument("--timing-steps", type=int, default=10_000)
    parser.add_argument("--hifi-steps", type=int, default=30)
    parser.add_argument("--estimates", type=int, default=200)
    parser.add_argument("--seed", type=int, default=3)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments)
    path = arguments.output / "reduced_model.json"
    record = json.loads(path.read_text()) if path.exists() else {}
    record |= circumstances()
    for part in arguments.parts:
        record[part] = PARTS[part](bench)
        bench.log(f"{part}: {json.dumps(record[part], indent=2)}")
        write_result(path, record)


if __name__ == "__main__":
    main()
