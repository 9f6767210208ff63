"""Reduced models beside machine-learned potentials that are given the same full solutions, on frames neither has seen.

    python -m run.bench.potentials INPUT.toml --model FOLDER/model.h5 --output FOLDER/potentials

Frames of the model's own dynamics at 300 K (``unseen_frames.py``, kept in ``frames.npz``: a killed run goes on) are solved in
full.  Potentials learn from the training geometries of the model and from nested random parts of them: the bare solutions,
without mirror images, with exact forces of no net force and no torque, as those compared.  Further models (``--model A B``),
trained on other numbers of geometries, only get lines of their own; frames and training geometries are the first one's.

A few frames are solved once more, turned in the grid: errors smaller than what this changes are against the surface of the
grid, ripple included, which reduced models have by construction and potentials must learn.

sgdml     sGDML, with the permutations of like atoms that it finds and those of the symmetry that the model uses, and GDML
          without; parameters by cross-validation
mace      MACE from scratch, where asked for (``--potentials sgdml mace``): slow on one core

A package may live in another Python (``--sgdml-python``, ``--mace-python``): ``python3 -m venv potentials;
potentials/bin/pip install sgdml`` (NumPy 1.24 and 2.4 both do; it brings PyTorch along), or ``mace-torch``.  A missing one is
reported with how to install it, and the others go on.

Times are processor seconds of one evaluation, all taken alternately in this run along successive geometries of the dynamics,
so that reduced models start from the step before, as they do; set OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1.  Writes
``potentials.json`` and a figure; ``--record docs/records/potentials.json`` puts the molecule among the others of the page.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpiqmd.errors import MpiqmdError
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.log import Log
from mpiqmd.pipeline.results import write_result
from mpiqmd.plots.style import save_figure, style
from run.bench.cases import circumstances
from run.bench.drawing import potentials_figure
from run.bench.molecules import put_among_others
from run.bench.peer_codes.adapters import FailedPeer, MissingPeer
from run.bench.peer_codes.potential_process import Potential, Process, Record, Solved
from run.bench.reduced.common import COMM
from run.bench.unseen_frames import (
    Physics,
    Trained,
    UnseenFrames,
    Wanted,
    add_options,
    errors,
    orientation_ripple,
    unseen_frames,
)

SCRIPTS = Path(__file__).parent / "peer_codes"
FEWEST = 10
"""Geometries that a potential is trained on, at least: some of them only validate."""
ROUNDS = 10
"""How often the potentials take turns while they are timed."""


@dataclass(frozen=True)
class Peer:
    """A package of potentials.

    Attributes
    ----------
    module, script, install
        What must be importable, the script of its process, and how to install it.
    methods
        What it trains by the name in the table, with the options of each.
    """

    module: str
    script: str
    install: str
    methods: dict[str, Record]


PEERS = {
    "sgdml": Peer(
        "sgdml",
        "sgdml_potential.py",
        "pip install sgdml, there or anywhere else; --sgdml-python names the Python that has it",
        {"sGDML": {"symmetric": True}, "GDML": {"symmetric": False}},
    ),
    "mace": Peer(
        "mace",
        "mace_potential.py",
        "pip install mace-torch, in a virtual environment of its own; --mace-python names its Python",
        {"MACE": {"epochs": 500}},
    ),
}


@dataclass(frozen=True)
class Atoms:
    """What potentials are told about the atoms: their elements, and the permutations of like ones that symmetry makes.

    Each permutation says which atom every atom comes onto; the identity may be missing.
    """

    symbols: tuple[str, ...]
    permutations: list[list[int]]


@dataclass(frozen=True)
class Entrant:
    """One of those compared: its line of the record as far as it is known without asking it, and itself."""

    about: Record
    potential: Potential


class ReducedPotential:
    """A reduced model, which goes on from the geometry before.

    Parameters
    ----------
    owner
        Its surface with the memory of one trajectory.
    """

    def __init__(self, owner: Owner) -> None:
        self.owner = owner

    def evaluate(self, positions_sav: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return energies (S,), Ha, forces (S, N, 3), Ha/bohr, and processor seconds (S,) of geometries (S, N, 3), bohr."""
        energies, forces, seconds = [], [], []
        for positions_av in positions_sav:
            started = time.process_time()
            found = self.owner.at(positions_av)
            seconds.append(time.process_time() - started)
            energies.append(found.energy)
            forces.append(found.forces_av)
        return np.array(energies), np.array(forces), np.array(seconds)


def nested_subsets(count: int, parts: list[float], seed: int) -> list[np.ndarray]:
    """Return the indices of random parts of so many geometries, each within every larger one; without those too small."""
    order = np.random.default_rng(seed).permutation(count)
    sizes = sorted({round(part * count) for part in parts})
    return [order[:size] for size in sizes if size >= FEWEST]


def alternating_seconds(potentials: list[Potential], positions_tav: np.ndarray) -> list[float]:
    """Return the median time of an evaluation of each, which take turns along successive geometries (T, N, 3), bohr."""
    seconds: list[list[np.ndarray]] = [[] for _ in potentials]
    for part_tav in np.array_split(positions_tav, ROUNDS):
        for potential, taken in zip(potentials, seconds, strict=True):
            taken.append(potential.evaluate(part_tav)[2])
    return [float(np.median(np.concatenate(taken))) for taken in seconds]


def summary(record: Record) -> list[str]:
    """Return the table of the screen; ratios are to the first line."""
    first, heads = record["rows"][0], ("solves", "force rms", "ratio", "largest", "energy rms", "step, ms", "ratio")
    lines = [f"{'':24s}" + "".join(f"{head:>11s}" for head in heads)]
    for row in record["rows"]:
        cells = [
            f"{row['solves']:d}",
            f"{row['force_rms']:.1e}",
            f"{row['force_rms'] / first['force_rms']:.1f}",
            f"{row['force_largest']:.1e}",
            f"{row['energy_rms']:.1e}",
            f"{1e3 * row['seconds_a_step']:.3f}",
            f"{row['seconds_a_step'] / first['seconds_a_step']:.2f}",
        ]
        lines.append(f"{row['method']:24s}" + "".join(f"{cell:>11s}" for cell in cells))
    solve, ripple = record["hifi_seconds_a_solve"], record["orientation_ripple"]
    return [
        *lines,
        *(f"{name}: {reason}" for name, reason in record["missing"].items()),
        f"Ha and Ha/bohr, on {record['frames']} frames with forces of {record['forces_rms']:.1e} (rms of all components)",
        *(
            []
            if ripple is None
            else [f"turning the molecule in the grid changes the full solver's forces by {ripple:.1e} (rms)"]
        ),
        f"a full solution from atoms: {solve:.2f} s, as long as {solve / first['seconds_a_step']:.0f} steps of the first line",
    ]


def judged(entrants: list[Entrant], frames: UnseenFrames, successive_tav: np.ndarray) -> Record:
    """Return the errors on the frames and the time of a step of all."""
    seconds = alternating_seconds([entrant.potential for entrant in entrants], successive_tav)
    rows = []
    for entrant, taken in zip(entrants, seconds, strict=True):
        energies_f, forces_fav, _ = entrant.potential.evaluate(frames.positions_fav)
        rows.append(entrant.about | errors(energies_f, forces_fav, frames) | {"seconds_a_step": taken})
    return {
        "frames": len(frames.positions_fav),
        "forces_rms": float(np.sqrt(np.mean(frames.forces_fav**2))),
        "hifi_seconds_a_solve": float(np.median(frames.seconds_f)),
        "rows": rows,
    }


def reduced_entrant(trained: Trained) -> Entrant:
    """Return a reduced model as one of those compared."""
    solves = len(trained.reduced.training_positions_sav)
    about = {"method": f"mpiqmd, {trained.physics.settings.rom.online}", "solves": solves, "modes": trained.reduced.rank}
    return Entrant(about, ReducedPotential(trained.owner))


def peer_entrants(peer: Peer, process: Process, atoms: Atoms, subsets: list[Solved], log: Log) -> Iterator[Entrant]:
    """Yield every method of a package trained on every subset.  Raises FailedPeer."""
    for method, options in peer.methods.items():
        for solved in subsets:
            potential, notes = process.train(atoms.symbols, solved, permutations=atoms.permutations, **options)
            log(f"{method} has learnt from {len(solved)} geometries: {notes}")
            yield Entrant({"method": method, "solves": len(solved), "version": process.version, "notes": notes}, potential)


def compared(arguments: argparse.Namespace, log: Log) -> Record:
    """Return the record: all models and all potentials that are there, judged by the frames of the first model."""
    physics = Physics(arguments.input)
    models = [Trained(physics, path) for path in arguments.model]
    first = models[0]
    atoms = Atoms(physics.molecule.symbols, [symmetry.permutation_a.tolist() for symmetry in first.reduced.symmetries])
    wanted = Wanted.of(arguments)
    frames = unseen_frames(first, wanted, arguments.output / "frames.npz", log)
    _, successive = first.dynamics(arguments.timed_steps, 1, arguments.temperature)
    solved = Solved(first.reduced.training_positions_sav, first.reduced.training_energies_s, first.training_forces())
    subsets = [solved.only(chosen) for chosen in nested_subsets(len(solved), arguments.parts, arguments.seed)]
    entrants, missing = [reduced_entrant(trained) for trained in models], {}
    with ExitStack() as running:
        for name in arguments.potentials:
            peer, words = PEERS[name], arguments.output / f"{name}.log"
            try:
                python = getattr(arguments, f"{name}_python")
                process = running.enter_context(
                    closing(Process(python, peer.module, SCRIPTS / peer.script, words, peer.install))
                )
                for entrant in peer_entrants(peer, process, atoms, subsets, log):
                    entrants.append(entrant)
            except (MissingPeer, FailedPeer) as problem:
                missing[name] = str(problem)
        record = judged(entrants, frames, np.array(successive))
    ripple = orientation_ripple(first, frames, arguments.turned, arguments.seed)
    return record | {
        "orientation_ripple": ripple,
        "formula": physics.molecule.formula,
        "atoms": len(physics.molecule),
        "wanted": vars(wanted),
        "missing": missing,
    }


def main() -> None:
    """Compare, print the table, write record and figure."""
    arguments, log = _arguments(), Log(COMM)
    arguments.output.mkdir(parents=True, exist_ok=True)
    about = circumstances()
    record = compared(arguments, log)
    write_result(arguments.output / "potentials.json", about | record)
    if arguments.record is not None:
        put_among_others(about, record, arguments.record, "molecules")
    with style():
        save_figure(potentials_figure([record]), arguments.output / "potentials")
    for line in summary(record):
        log(line)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path, help="the input that the models were trained with")
    parser.add_argument("--model", type=Path, nargs="+", required=True, help="model files; the first makes the frames")
    parser.add_argument("--output", type=Path, required=True, help="folder of the results")
    parser.add_argument("--record", type=Path, help="JSON file of all molecules, from which the page is made")
    parser.add_argument("--potentials", nargs="*", choices=PEERS, default=["sgdml"], help="default: sgdml")
    parser.add_argument("--parts", type=float, nargs="+", default=[0.25, 0.5, 1.0], help="shares of the training geometries")
    add_options(parser)
    parser.add_argument("--timed-steps", type=int, default=500, help="successive geometries for the times (default: 500)")
    parser.add_argument("--seed", type=int, default=1, help="of the parts (default: 1)")
    parser.add_argument("--turned", type=int, default=10, help="frames to solve once more, turned in the grid (default: 10)")
    for name in PEERS:
        parser.add_argument(f"--{name}-python", default=sys.executable, help=f"the Python that has {name} (default: this one)")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except MpiqmdError as problem:
        sys.exit(f"potentials: error: {problem}")
