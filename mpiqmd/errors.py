"""Exceptions of mpiqmd.

::

    MpiqmdError
    ├── ConfigError        the input file or the command line asks for something impossible
    ├── GeometryError      nuclei outside the cell, on top of each other, or without a body frame
    ├── DataFileError      a pseudopotential, model, snapshot or trajectory file is unusable
    ├── ConvergenceError   an iteration stopped before its tolerance was met
    └── AccuracyError      a numerical self-check failed (orthonormality, charge, NaN)

Every message says four things: what is wrong, the value found, what is allowed, and what to do.
"""


class MpiqmdError(Exception):
    """Base class: the command line prints its message and exits with status 1."""


class ConfigError(MpiqmdError):
    """The input asks for something unknown, contradictory or impossible."""


class GeometryError(MpiqmdError):
    """The nuclei are where they cannot be."""


class DataFileError(MpiqmdError):
    """A file cannot be read, is damaged, or belongs to different physics."""


class ConvergenceError(MpiqmdError):
    """An iteration ended without meeting its tolerance."""


class AccuracyError(MpiqmdError):
    """A number that must hold (charge, orthonormality, finiteness) does not."""


def cannot_be_loaded(problem: ImportError) -> str:
    """Return the message for a library that is missing or does not fit the others.  Not collective."""
    return (
        f"a library is missing or cannot be loaded: {problem}. mpiqmd needs all that `mpiqmd doctor` lists, in versions that "
        "fit each other. Run run/setup, which puts back what another pip has replaced, and use .venv/bin/mpiqmd."
    )
