"""What may be chosen of a reduced model, as the section [rom] of an input says it."""

from __future__ import annotations

from typing import Protocol


class RomOptions(Protocol):
    """The choices of the offline stage (``energy_fraction`` to ``max_rank``) and of the online stage (those after)."""

    @property
    def online(self) -> str:
        """``"learned"`` or ``"grid"``: which online stage."""
        ...

    @property
    def tolerance(self) -> float:
        """Largest residual of the reduced density matrix."""
        ...

    @property
    def energy_fraction(self) -> float:
        """Share kept of the singular values, or of their squares."""
        ...

    @property
    def criterion(self) -> str:
        """``"sigma"`` or ``"sigma2"``: which of them."""
        ...

    @property
    def rank(self) -> int | None:
        """Number of modes instead, None to choose by ``energy_fraction``."""
        ...

    @property
    def max_rank(self) -> int | None:
        """Most modes that ``energy_fraction`` may choose, None for no limit."""
        ...

    @property
    def compilation_error(self) -> float:
        """Energy that the grid-free form may leave out, Ha."""
        ...

    @property
    def minimiser(self) -> str:
        """How the grid online stage minimises, see :mod:`~mpiqmd.rom.grid_solver`."""
        ...

    @property
    def forces(self) -> str:
        """``"gradient"`` of the reduced energy, or ``"hellmann-feynman"``."""
        ...

    @property
    def check_every(self) -> int:
        """Evaluations between estimates of the errors; 0 for none."""
        ...

    @property
    def error_tolerance(self) -> float | None:
        """Estimated energy error that counts as large, Ha; None where none does."""
        ...

    @property
    def force_tolerance(self) -> float | None:
        """Estimated force error on an atom that counts as large, Ha/bohr; None where none does."""
        ...

    @property
    def on_large_error(self) -> str:
        """What follows then, see :mod:`~mpiqmd.rom.reactions`."""
        ...
