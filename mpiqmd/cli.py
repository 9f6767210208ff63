"""The command line: what can be asked, and the step from there to a running command.

Nothing here knows any physics.  Help and mistakes in the command are answered before MPI or NumPy is loaded.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import mpiqmd
from mpiqmd.argument_types import count, part, positive_count, walltime
from mpiqmd.commands import COMMANDS, Command
from mpiqmd.completion import SHELLS, completion_script
from mpiqmd.config import describe_keys
from mpiqmd.errors import ConfigError, cannot_be_loaded
from mpiqmd.launcher import launcher_rank, leaving_at_once, prepare_environment, singletons_message
from mpiqmd.streams import PatientStream, complain, patient_streams

MODEL_HELP = "reduced model made by `mpiqmd train`; without it the full Hi-Fi solver is used"

COMPLETION_TEXT = "Print a script with which the shell completes commands, options, choices and files of mpiqmd."
COMPLETION_EXAMPLES = """put it where the shell looks:
  mpiqmd completion bash > ~/.local/share/bash-completion/completions/mpiqmd   (needs the package bash-completion)
  mpiqmd completion zsh  > ~/.zfunc/_mpiqmd                                    (with fpath+=~/.zfunc before compinit)
  mpiqmd completion fish > ~/.config/fish/completions/mpiqmd.fish
or load it in this shell only:
  source <(mpiqmd completion bash)"""


class _Parser(argparse.ArgumentParser):
    """An argument parser that lets only one process of an MPI job speak."""

    def __init__(self, **options: Any) -> None:
        layout = options.pop("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**options, formatter_class=lambda prog: layout(prog, max_help_position=26, width=100))

    def _print_message(self, message: str, file: Any = None) -> None:
        if launcher_rank() == 0:
            super()._print_message(message, file)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Exit; the silent ranks of a failed job last, because mpirun ends the others with the first."""
        _let_rank_zero_speak(status)
        super().exit(status, message)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line.  Not collective."""
    parser = _Parser(
        prog="mpiqmd",
        description="Quantum molecular dynamics accelerated by model order reduction.",
        epilog="start:\n  mpiqmd scf run/inputs/water.toml\n\n`mpiqmd COMMAND --help` explains a command, "
        "`mpiqmd help-input` lists every key of an input file.\n"
        "Every command also runs under `mpirun -n N`.",
    )
    parser.add_argument("--version", action="version", version=f"mpiqmd {mpiqmd.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        examples = "\n".join(f"  {example}" for example in command.examples)
        subparser = commands.add_parser(
            name,
            help=command.summary,
            description=command.text,
            epilog=f"examples:\n{examples}",
        )
        _add_common_options(subparser, command)
        _OPTIONS.get(name, lambda parser: None)(subparser)
    commands.add_parser("help-input", help="every key of an input file", description="List every key of an input file.")
    completion = commands.add_parser(
        "completion", help="completion for your shell", description=COMPLETION_TEXT, epilog=COMPLETION_EXAMPLES
    )
    completion.add_argument("shell", choices=SHELLS, help="whose script to print")
    return parser


def _add_common_options(parser: argparse.ArgumentParser, command: Command) -> None:
    if command.reads_input and command.module != "check":
        _add_input(parser)
    if command.output is not None:
        default = command.output.format(input="INPUT", file="FILE", command=parser.prog.split()[-1], check="CHECK")
        parser.add_argument("--output", type=Path, metavar="DIR", help=f"folder of the results (default: {default}/ here)")
        parser.add_argument("--overwrite", action="store_true", help="remove earlier results instead of resuming")
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def _add_input(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="INPUT.toml", help="see `mpiqmd help-input`")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, metavar="MODEL.h5", help=MODEL_HELP)


def _add_walltime(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--walltime",
        type=walltime,
        metavar="TIME",
        help="seconds or [D-]HH:MM:SS that this command may take: it ends in time, ready to be continued",
    )


def _init_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("structure", type=Path, metavar="FILE", help="one geometry, any file ASE reads")
    parser.add_argument(
        "--input", type=Path, dest="target", metavar="INPUT.toml", help="file to write (default: FILE's name with .toml, here)"
    )
    parser.add_argument(
        "--charge", type=int, default=None, metavar="Q", help="net charge of the molecule (default: the file's, or 0)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the input file if it is there")


def _scf_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--density", action="store_true", help="write the electron density too")


def _evaluate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--structures", type=Path, metavar="FILE", required=True, help="geometries, any file ASE reads")
    parser.add_argument("--body-frame", action="store_true", help="solve every geometry in the molecule's body frame")
    _add_model(parser)


def _md_options(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("--steps", type=count, metavar="N", help="number of steps (default: [md] steps)")
    parser.add_argument("--extxyz", action="store_true", help="write trajectory.extxyz (angstrom, eV) at the end")
    _add_walltime(parser)
    parser.add_argument(
        "--replicas",
        type=positive_count,
        metavar="K",
        help="run K independent trajectories with seeds of their own, spread over the ranks",
    )


def _train_options(parser: argparse.ArgumentParser) -> None:
    stages = parser.add_mutually_exclusive_group()
    stages.add_argument("--samples-only", action="store_true", help="choose the geometries, write geometries.extxyz, and end")
    stages.add_argument(
        "--part",
        type=part,
        metavar="K/N",
        help="solve only the K-th of N parts of the geometries, into a file of its own, and end",
    )
    parser.add_argument(
        "--groups",
        type=positive_count,
        default=1,
        metavar="G",
        help="solve geometries in G groups of ranks at once (default: all ranks solve one after the other)",
    )
    _add_walltime(parser)


def _ipi_options(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--address", metavar="HOST:PORT", help="where the server listens (mode='inet')")
    where.add_argument("--unix", metavar="NAME", help="its <address> (mode='unix'), or the path of its UNIX socket")
    parser.add_argument(
        "--connections",
        type=positive_count,
        default=1,
        metavar="N",
        help="connect N times: with as many as beads, a grid-free model evaluates all of them at once (default: 1)",
    )


def _compare_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", type=Path, metavar="A.h5", help="trajectory of reference, usually Hi-Fi")
    parser.add_argument("second", type=Path, metavar="B.h5", help="trajectory to compare with it, usually reduced")


def _file_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="model, trajectory, checkpoint or result.json")


def _plot_options(parser: argparse.ArgumentParser) -> None:
    drawn = "trajectory.h5, replicas.h5, model.h5, or the result.json of train"
    parser.add_argument("file", type=Path, metavar="FILE", help=drawn)
    parser.add_argument("--spectrum", action="store_true", help="infrared spectrum of a trajectory with dipole moments")


def _check_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("check", choices=("forces", "frame", "egg-box"), help="what to check")
    _add_input(parser)
    _add_model(parser)


_OPTIONS = {
    "init": _init_options,
    "scf": _scf_options,
    "evaluate": _evaluate_options,
    "train": _train_options,
    "md": _md_options,
    "ipi": _ipi_options,
    "compare": _compare_options,
    "plot": _plot_options,
    "info": _file_option,
    "check": _check_options,
    "relax": _add_model,
    "frequencies": _add_model,
}


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line, with the default output folder and the command's module filled in.

    Not collective.  Exits with status 2 and a usage line if the command line is wrong.
    """
    parser = build_parser()
    arguments = parser.parse_args(words)
    if getattr(arguments, "part", None) and arguments.overwrite:
        parser.error("--overwrite with --part would remove the other parts' files too; leave it out or remove the folder")
    arguments.words = list(sys.argv[1:] if words is None else words)
    arguments.started = time.monotonic()
    if arguments.command in COMMANDS:
        command = COMMANDS[arguments.command]
        arguments.module, arguments.files, arguments.patterns = (
            command.module,
            command.files,
            command.patterns,
        )
        if getattr(arguments, "output", None) is None:
            arguments.output = _default_folder(arguments, command)
    return arguments


def _default_folder(arguments: argparse.Namespace, command: Command) -> Path | None:
    if command.output is None:
        return None
    stems = {name: getattr(arguments, name, Path()).stem for name in ("input", "file")}
    return Path(command.output.format(**stems, command=arguments.command, check=getattr(arguments, "check", "")))


def _let_rank_zero_speak(status: int) -> None:
    if status and launcher_rank() != 0:
        time.sleep(1.0)


def _fail(message: str, everyone: bool = False) -> int:
    """Print an error from one process, or from those that are still there when the first has spoken; return status 1."""
    _let_rank_zero_speak(1)
    if everyone or launcher_rank() == 0:
        complain(message)
    return 1


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.  Collective over all processes of the job.

    What happens to the output, a pipe without reader or a full disk, does not change what is computed or the status.
    """
    with patient_streams() as output:
        prepare_environment()
        return _run(parse_arguments(words), output)


def _run(arguments: argparse.Namespace, output: PatientStream) -> int:
    """Run a command that has been parsed; one that computes says so if nobody reads its output any more."""
    if arguments.command == "help-input":
        return _help_input()
    if arguments.command == "completion":
        return _print_once(completion_script(arguments.shell, build_parser()))
    if COMMANDS[arguments.command].reads_input:
        output.on_loss = _going_on
    try:
        with leaving_at_once():
            from mpi4py import MPI

            from mpiqmd.pipeline.job import run_job
    except ImportError as problem:
        return _fail(cannot_be_loaded(problem))
    message = singletons_message(MPI.COMM_WORLD.size)
    # a launcher that does not know them as one job may write what each says to a file of its own
    return _fail(message, everyone=True) if message else run_job(arguments, MPI.COMM_WORLD)


def _help_input() -> int:
    """Print every key, those of what registers itself too: that is imported, which needs NumPy, not MPI."""
    try:
        return _print_once(describe_keys())
    except ImportError as problem:
        return _fail(cannot_be_loaded(problem))
    except ConfigError as problem:
        return _fail(str(problem))


def _going_on(reason: str) -> None:
    complain(f"standard output cannot be written to ({reason}); going on without it, results are in files", "warning")


def _print_once(text: str) -> int:
    """Print from one process."""
    if launcher_rank() == 0:
        print(text)
    return 0
