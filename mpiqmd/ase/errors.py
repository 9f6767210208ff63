"""Errors that are both mpiqmd's and ASE's: scripts written for either catch them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ase.calculators.calculator import CalculationFailed, CalculatorError, InputError, SCFError

from mpiqmd.errors import (
    AccuracyError,
    ConfigError,
    ConvergenceError,
    DataFileError,
    GeometryError,
    MpiqmdError,
)


class WrongInput(ConfigError, InputError):
    """Input and atoms do not fit together, or ask for something impossible."""


class WrongFile(DataFileError, InputError):
    """A file is unusable."""


class WrongGeometry(GeometryError, CalculationFailed):
    """The nuclei are where they cannot be, or where the model does not go."""


class NotConverged(ConvergenceError, SCFError):
    """The electrons did not converge."""


class NotAccurate(AccuracyError, CalculationFailed):
    """A number is not what it must be, or is not known well enough."""


class Failed(MpiqmdError, CalculatorError):
    """Anything else."""


_KINDS = (WrongInput, WrongFile, WrongGeometry, NotConverged, NotAccurate, Failed)


@contextmanager
def errors_of_ase() -> Iterator[None]:
    """Let errors of mpiqmd leave the body of a ``with`` block as errors of ASE too; they are caused by the first.

    Not collective.
    """
    try:
        yield
    except CalculatorError:
        raise
    except MpiqmdError as error:
        kind = next(kind for kind in _KINDS if isinstance(error, kind.__bases__[0]))
        raise kind(*error.args) from error
