"""The commands: what each does and writes, with examples; the table from which the command line is made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One command: its help, the module of ``mpiqmd.pipeline`` that runs it, and the names of files it writes."""

    summary: str
    text: str
    examples: tuple[str, ...]
    module: str
    reads_input: bool = True
    output: str | None = "{input}-{command}"
    patterns: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


TRAINED = (
    "snapshots.h5",
    "snapshots-*.h5",
    "validation.h5",
    "validation-*.h5",
    "rounds.json",
    "result-*.json",
    "model.h5",
    "model-draft.h5",
    "singular_values.*",
    "geometries.extxyz",
)
"""What training leaves of each model."""

COMMANDS = {
    "init": Command(
        "an input file for your molecule",
        "Write an input file for the molecule in FILE: a cell from its extent in its own frame and from how far the density of "
        "its elements reaches, a grid spacing for its elements, PBE with GTH pseudopotentials, dynamics and training, each "
        "explained; and say what to do next, and how many points and how much memory that is.\n"
        "Writes INPUT.toml; replaces no file unless --overwrite is given.",
        ("mpiqmd init methanal.xyz", "mpiqmd init ion.xyz --charge 1 --input cation.toml"),
        "init",
        reads_input=False,
        output=None,
        files=("structure",),
    ),
    "scf": Command(
        "ground state of one geometry",
        "Solve the electronic ground state of the molecule in INPUT on the full grid.\n"
        "Writes result.json (energy and its components, forces, dipole moment, eigenvalues, occupations, gap, timing), and "
        "with --density the electron density.",
        ("mpiqmd scf water.toml", "mpirun -n 4 mpiqmd scf water.toml --density --output results/scf"),
        "scf",
        patterns=("density.*",),
    ),
    "evaluate": Command(
        "energies and forces of many geometries",
        "Compute energy and forces of every geometry in a file that ASE reads, with the Hi-Fi solver or a reduced "
        "model.\nWrites evaluated.extxyz (eV, eV/angstrom), result.json (atomic units) and evaluate.jsonl (evaluations: an "
        "interrupted run resumes). A geometry that fails does not stop the others; result.json names it, the status is 1.",
        (
            "mpiqmd evaluate water.toml --structures frames.extxyz",
            "mpiqmd evaluate water.toml --structures frames.extxyz --model water-train/model.h5",
        ),
        "evaluate",
        patterns=("evaluated.extxyz", "evaluate.jsonl"),
        files=("structures", "model"),
    ),
    "relax": Command(
        "the nearest minimum of the energy",
        "Relax the geometry on the surface of the Hi-Fi solver, or of a reduced model, until no force exceeds "
        "relax.force_tolerance.\nWrites relaxed.xyz, relax.extxyz (all steps), relax.jsonl (evaluations: an interrupted run "
        "resumes) and result.json.",
        ("mpirun -n 2 mpiqmd relax water.toml", "mpiqmd relax water.toml --model water-train/model.h5"),
        "relax",
        patterns=("relaxed.xyz", "relax.extxyz", "relax.jsonl"),
        files=("model",),
    ),
    "frequencies": Command(
        "harmonic vibrations",
        "Difference the forces about the geometry in INPUT, which should be relaxed, and print the harmonic wave "
        "numbers (1/cm), reduced masses (Da), infrared intensities (km/mol) where the surface has dipole moments, the "
        "zero-point energy, and enthalpy and entropy of the ideal gas at frequencies.temperature. A geometry whose forces "
        "exceed frequencies.max_force is refused before any displacement.\nWrites modes.molden and modes.extxyz (the "
        "modes, for viewers), frequencies.jsonl (evaluations: an interrupted run resumes) and result.json.",
        (
            "mpirun -n 2 mpiqmd frequencies water-relaxed.toml",
            "mpiqmd frequencies water-relaxed.toml --model water-train/model.h5",
        ),
        "frequencies",
        patterns=("frequencies.jsonl", "modes.molden", "modes.extxyz"),
        files=("model",),
    ),
    "train": Command(
        "make a reduced model",
        "Choose geometries, solve each on the full grid, compress the orbitals into modes, and check the model on "
        "train.validation unseen geometries that are solved in full, half of them random, half frames of its own dynamics: "
        "the last line says what it is good to, or what to change. A model that is not good enough is made again, up to "
        "train.rounds times, with more modes, with geometries where its estimated errors are largest, or with a finer "
        "grid-free form of the same modes.\n"
        "Writes snapshots.h5 and validation.h5 (grow as geometries finish; an interrupted run resumes), rounds.json, model.h5 "
        "and result.json; with train.sampling = 'normal-modes' the molecule is relaxed first (modes.json).\n"
        "A molecule that turns about a bond (train.sampling = 'torsion') or inverts ('inversion') gets a model for each "
        "distinct window, in folders window-K, and model.h5 makes one of all; keep them together. --part K/N then trains every "
        "N-th.\n"
        "Geometries are independent: --groups G solves G at once in one job, and the jobs of an array, started with "
        "--part 1/N to --part N/N after one with --samples-only, each leave a file snapshots-*.h5 in the same folder, which "
        "the command without --part gathers before it solves what is missing. run/batch/train.* submit such jobs.\n"
        "With --walltime, or on SIGTERM, SIGUSR1, SIGHUP or Ctrl-C, it ends between two geometries (exit status 75, after "
        "Ctrl-C 130: start the same command again).",
        (
            "mpirun -n 2 mpiqmd train water.toml",
            "mpirun -n 8 mpiqmd train water.toml --groups 4",
            "mpirun -n 8 mpiqmd train water.toml --part 2/8 --walltime 04:00:00",
        ),
        "train",
        patterns=(*TRAINED, "modes.json", "modes-*.jsonl", *(f"window-*/{name}" for name in (*TRAINED, "window-relax.jsonl"))),
    ),
    "md": Command(
        "molecular dynamics",
        "Move the nuclei on the Born-Oppenheimer surface of the Hi-Fi solver, or of a reduced model.\n"
        "Writes trajectory.h5 (H5MD), checkpoint.h5 (an interrupted run resumes; a larger --steps extends) and "
        "result.json; with --replicas K, one folder per replica (replica-0000, ...) with a trajectory and a checkpoint, "
        "and replicas.h5 that links the trajectories.\n"
        "With rom.on_large_error = 'learn' in the input the model grows by what it could not describe: geometries with large "
        "errors or outside its tables are solved in full, and rom.learn_batch of them that differ enough join its training. "
        "The grown models are model-epoch-2.h5 and so on, the full solutions gathered-epoch-2.h5 and so on; a line, epochs in "
        "result.json and the verdict say when a model took the place of another, and by how much the energy jumped. All "
        "--replicas learn from each other, and then run on all ranks; of windows each grows by what is met in it.\n"
        "A run ends early, with a checkpoint, when --walltime is nearly over, on SIGTERM, SIGUSR1 or SIGHUP (exit status 75: "
        "start the same command again), on Ctrl-C (130), and when a file called STOP appears in its folder (status 0).",
        (
            "mpirun -n 2 mpiqmd md water.toml",
            "mpiqmd md water.toml --model water-train/model.h5 --steps 2000 --extxyz --output water-rom",
            "mpirun -n 8 mpiqmd md water.toml --model water-train/model.h5 --replicas 32 --walltime 04:00:00",
        ),
        "md",
        patterns=(
            "trajectory.h5",
            "trajectory.extxyz",
            "topology.psf",
            "model-epoch-*.h5",
            "gathered-epoch-*.h5",
            "window-*/*-epoch-*.h5",
            "checkpoint*.h5",
            "replicas.h5",
            "replica-*/*.h5",
            "replica-*/topology.psf",
        ),
        files=("model",),
    ),
    "ipi": Command(
        "forces for an i-PI server",
        "Connect to an i-PI server and give it energies and forces of the Hi-Fi solver, or of a reduced model; one process "
        "serves all beads. A grid-free model needs one rank, the Hi-Fi solver gains from several.\n"
        "Every answer carries extras as JSON: error_estimate (Ha), force_error_estimate (Ha/bohr), error_age, "
        "training_distance (1: as far as the training geometries are apart), hifi, on_grid and dipole (atomic units). "
        "Ends when the server says EXIT or goes, or on SIGTERM, "
        "SIGUSR1, SIGHUP (status 75) or Ctrl-C (130).\n"
        "Writes result.json (evaluations, largest error estimates and training distance, time), and the models that grow with "
        "rom.on_large_error = 'learn', as md does: what one bead meets all learn.",
        (
            "mpiqmd ipi water.toml --model water-train/model.h5 --unix water --connections 32",
            "mpirun -n 2 mpiqmd ipi water.toml --address localhost:31415",
        ),
        "ipi",
        patterns=("model-epoch-*.h5", "gathered-epoch-*.h5", "window-*/*-epoch-*.h5"),
        files=("model",),
    ),
    "compare": Command(
        "two trajectories beside each other",
        "Draw bond lengths, angles, energies and temperature of two trajectories of the same molecule and print "
        "their differences. Where one is a replicas.h5, distributions and means are compared "
        "instead.\nWrites the figures (PNG and PDF) and result.json.",
        ("mpiqmd compare water-hifi/trajectory.h5 water-rom/trajectory.h5",),
        "compare",
        reads_input=False,
        output="compare",
        patterns=("*.png", "*.pdf"),
        files=("first", "second"),
    ),
    "plot": Command(
        "figures of one file",
        "Draw what a file holds: observables and geometry of a trajectory, the same of replicas together, the singular values "
        "of a model.\nWrites figures (PNG and PDF) and result.json; --spectrum writes the numbers too (spectrum.csv) and says "
        "what a run of that length and interval of frames can resolve.",
        (
            "mpiqmd plot water-md/trajectory.h5",
            "mpiqmd plot water-md/replicas.h5 --spectrum",
            "mpiqmd plot water-train/model.h5 --output figures",
        ),
        "plot",
        reads_input=False,
        output="{file}-plot",
        patterns=("*.png", "*.pdf", "spectrum.csv"),
        files=("file",),
    ),
    "info": Command(
        "what a file holds",
        "Print what a model, trajectory or checkpoint holds and where it came from. Writes nothing.",
        ("mpiqmd info water-train/model.h5",),
        "info",
        reads_input=False,
        output=None,
        files=("file",),
    ),
    "check": Command(
        "self-checks for your input",
        "forces: compare the forces with finite differences of the energy.\n"
        "frame: move the molecule rigidly and compare energies and forces.\n"
        "egg-box: what the grid does to the energy and the net force as the molecule moves through one spacing and turns, and "
        "what the grid is good enough for.\n"
        "Writes result.json with the largest differences; egg-box also a figure.",
        (
            "mpiqmd check forces water.toml",
            "mpiqmd check egg-box water.toml",
            "mpiqmd check frame water.toml --model water-train/model.h5",
        ),
        "check",
        output="{input}-check-{check}",
        files=("model",),
    ),
    "doctor": Command(
        "is the installation sound?",
        "Print versions and test what the other commands need: MPI, PETSc and SLEPc with real double precision, "
        "parallel HDF5, libxc. Under mpirun it tests the job as it will run. Writes nothing.",
        ("mpiqmd doctor", "mpirun -n 2 mpiqmd doctor"),
        "doctor",
        reads_input=False,
        output=None,
    ),
}
