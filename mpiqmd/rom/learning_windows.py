"""The surface of several windows whose models grow: each by what dynamics meets in its own window and in the images of it.

Nothing else is exchanged: a border is blended from the models that are in use on both sides of it.  A file of all windows with
the models that are in use is written whenever one of them grew; it stands for all of them as the one that the run began with.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.errors import MpiqmdError
from mpiqmd.findings import Finding
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.rom import epochs as exchanges
from mpiqmd.rom.epochs import Epoch
from mpiqmd.rom.file_names import MODEL_FILE, MODEL_NAME
from mpiqmd.rom.learning import LearningSurface
from mpiqmd.rom.reactions import Limits
from mpiqmd.rom.windowed_model import WindowedModel, put_beside, window_folder
from mpiqmd.rom.windowed_surface import WindowedSurface, WindowsMemory, by_window

if TYPE_CHECKING:
    from mpi4py import MPI


class LearningWindows(WindowedSurface[LearningSurface]):
    """The blended surface of models that grow.

    Parameters
    ----------
    windowed, path
        The windows and their models as the run begins, and the file that has them.
    folder
        Where the run writes its models, those of a window in ``window-K``.
    make_surface
        Makes the surface of the model of a distinct window, given its file and the folder of the models that it grows to.
        Collective.
    limits
        When errors are estimated, which are large, and what follows.
    online
        The form of the models that is used.
    comm
        Communicator of the surfaces.
    cell_v
        Edges (3,) of a periodic cell, bohr.
    """

    def __init__(
        self,
        windowed: WindowedModel,
        path: Path,
        folder: Path,
        make_surface: Callable[[Path, Path], LearningSurface],
        *,
        limits: Limits,
        online: str,
        comm: MPI.Comm,
        cell_v: np.ndarray | None = None,
    ) -> None:
        def make(window: int) -> LearningSurface:
            # days may have passed since the run began
            on_rank_zero(comm, windowed.require_model, path, window)
            own = window_folder(folder, window)
            on_rank_zero(comm, lambda: own.mkdir(parents=True, exist_ok=True))
            return make_surface(windowed.model_path(path, window), own)

        super().__init__(windowed.windows, make, limits, comm, cell_v)
        self.windowed, self.path, self.folder, self.online = windowed, path, folder, online
        self._written = 1

    @property
    def number(self) -> int:
        """Number of the file of all windows in use; the first is 1."""
        return 1 + sum(surface.number - 1 for surface in self.surfaces.values())

    def _evaluated(
        self, positions_bav: Sequence[np.ndarray], memories: Sequence[WindowsMemory]
    ) -> list[Evaluation | MpiqmdError]:
        number = self.number
        answers = super()._evaluated(positions_bav, memories)
        for answer in answers:
            if isinstance(answer, Evaluation):
                answer.extras["epoch"] = float(number)
        if self.number == self._written:
            return answers
        try:
            on_rank_zero(self.comm, self._write)
        except MpiqmdError as error:
            return [copy.copy(error) for _ in answers]
        self._written = self.number
        return answers

    def recall(self, state: Mapping[str, np.ndarray]) -> None:
        """Take back what the state of an owner says of the models of all windows.  Collective.

        Raises what :meth:`LearningSurface.recall` does.
        """
        for window, own in by_window(state).items():
            self._surface(self.windows.models_w[window]).recall(own)

    def _write(self) -> None:
        """Write the file of all windows with the models in use, those that did not grow beside it; rank 0.

        Raises DataFileError.
        """
        written, grown = self.folder / MODEL_NAME.format(self.number), self._models
        for window, digest in self.windowed.digests.items():
            if window not in grown:
                beside = window_folder(self.folder, window) / MODEL_FILE
                put_beside(self.windowed.model_path(self.path, window), beside, digest)
        self.windowed.with_models(grown, written).save(written)

    @property
    def _models(self) -> dict[int, tuple[Path, str, Mapping[str, Any]]]:
        """The models in use that grew in this run: of each window the file, its checksum and its notes."""
        return {
            window: (surface.models.path(surface.number), surface.filed.digest, surface.reduced.notes)
            for window, surface in self.surfaces.items()
            if surface.epochs
        }

    def grown(self) -> dict[str, Any]:
        """Return ``epochs`` of all windows and ``gathered``, how many geometries wait in all.  Not collective.

        Each epoch has its ``window`` and ``file``, the number of the file of all windows, which counts those of all.
        """
        numbered = enumerate(self._epochs, start=2)
        epochs = [epoch.as_dict() | {"window": window, "file": file} for file, (window, epoch) in numbered]
        return {"epochs": epochs, "gathered": sum(len(surface.gathering) for surface in self.surfaces.values())}

    def growth_lines(self, name: Callable[[int], str]) -> list[str]:
        """Return the exchanges and what waits in words, window by window.  Not collective."""
        return [
            f"window about {self.windowed.name(window)}: {line}"
            for window, surface in sorted(self.surfaces.items())
            for line in surface.growth_lines(name)
        ]

    def growth_findings(self) -> list[Finding]:
        """Return what the exchanges mean for the energies of a run.  Not collective."""
        return exchanges.findings([epoch for _, epoch in self._epochs], self.limits.tolerance.energy)

    def standing(self) -> Finding:
        """Return how good the models in use are.  Not collective."""
        return self.windowed.with_models(self._models, self.path).finding(self.online)

    @property
    def _epochs(self) -> list[tuple[int, Epoch]]:
        """The exchanges in the order in which they were, with their windows."""
        found = [(window, epoch) for window, surface in sorted(self.surfaces.items()) for epoch in surface.epochs]
        return sorted(found, key=lambda pair: pair[1].step)
