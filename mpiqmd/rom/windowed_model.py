"""The models of several windows as one: a small file that says where the windows are and which models belong to them.

The models themselves stay in files of their own beside it, ``window-K/model.h5``, and are loaded when the molecule first comes
there.  Their checksums are known here: a model that was trained again is not taken for the one that was checked.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpiqmd import __version__
from mpiqmd.datafiles import Contents, Unfit, opened, replacing, scalar, sealed, stored_digest
from mpiqmd.datasets import WINDOWS_DATASETS, annotate
from mpiqmd.errors import ConfigError, DataFileError
from mpiqmd.findings import Finding
from mpiqmd.rom.kinds import WINDOWS
from mpiqmd.rom.pooled import pooled_notes
from mpiqmd.rom.signature import differences, listed, plain
from mpiqmd.rom.verdict import FULL_WARNINGS, finding_on_model, stored_verdict, unchecked, warning_on_loading
from mpiqmd.sampling.windows import Windows

FORMAT = 1
KEPT = ("errors", "verdict", FULL_WARNINGS)
"""Notes of the models that are known without loading them."""
REMEDY = "A model.h5 written by `mpiqmd train` of this version is needed. Train it again: snapshots that are solved are kept."


def window_folder(folder: Path, window: int) -> Path:
    """Return where a window's model and its training are."""
    return folder / f"window-{window}"


def window_model(path: Path, window: int) -> Path:
    """Return the file of a window's model beside the file of all windows."""
    return window_folder(path.parent, window) / "model.h5"


@dataclass(frozen=True, eq=False)
class WindowedModel:
    """Windows and what is known of their models.  Not collective; replicated.

    Attributes
    ----------
    windows
        Where they are, and which are images of others.
    signature
        The physics of all models, :meth:`KohnShamModel.signature`.
    digests
        Checksum of the model file of each distinct window.
    notes
        What each distinct window's model has noted of its errors.
    """

    windows: Windows
    signature: Mapping[str, Any]
    digests: Mapping[int, str]
    notes: Mapping[int, Mapping[str, Any]]

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all.  Not collective: rank 0 calls it.  Raises DataFileError."""
        content = io.BytesIO()
        described = {
            "windows": self.windows.described(),
            "signature": plain(self.signature),
            "models": {str(window): digest for window, digest in self.digests.items()},
            "notes": {str(window): plain(notes) for window, notes in self.notes.items()},
        }
        with h5py.File(content, "w") as file:
            file.attrs.update({"kind": WINDOWS, "format": FORMAT, "code_version": __version__})
            for name, value in described.items():
                file[name] = np.frombuffer(json.dumps(value).encode(), np.uint8)
            annotate(file, WINDOWS_DATASETS)
        with replacing(path) as beside:
            beside.write_bytes(sealed(content.getvalue()))

    @classmethod
    def load(cls, path: Path) -> WindowedModel:
        """Read the file.  Not collective.  Raises DataFileError if it is none, is damaged, or a model of it is missing."""
        with opened(path, WINDOWS, REMEDY, must_be_sealed=True) as contents:
            found = cls.of(contents)
        for window in found.digests:
            found.require_model(path, window)
        return found

    @classmethod
    def of(cls, contents: Contents) -> WindowedModel:
        """Return what an open file holds; models beside it are not looked at.  Raises Unfit if it is something else."""
        attributes = contents.file.attrs
        if attributes.get("kind") != WINDOWS or scalar(attributes["format"], int) != FORMAT:
            raise Unfit(f"it is no file of {WINDOWS} of format {FORMAT}")
        windows = Windows.of(_object(contents, "windows"))
        digests = {int(window): str(digest) for window, digest in _object(contents, "models").items()}
        notes = {int(window): dict(each) for window, each in _object(contents, "notes").items()}
        if sorted(digests) != windows.distinct or sorted(notes) != windows.distinct:
            raise Unfit("windows and models do not belong together")
        return cls(windows, _object(contents, "signature"), digests, notes)

    def lines(self) -> list[str]:
        """Return what people want to know first: the windows, and how good the model of each distinct one is."""
        lines = [self.windows.words]
        for window, notes in sorted(self.notes.items()):
            judgement = stored_verdict(notes)
            words = judgement["words"] if judgement else unchecked(notes)
            lines.append(f"  {window_folder(Path(), window)}, about {self._name(window)}: {words}")
        return lines

    def check(self, path: Path, signature: Mapping[str, object]) -> None:
        """Raise ConfigError, naming what differs, unless the models belong to this physics."""
        differing = differences(self.signature, signature)
        if differing:
            raise ConfigError(
                f"{path} was made for other physics: {listed(differing)}. These must agree: use the model's own settings "
                "(`mpiqmd info` shows them), or train a model with this input."
            )

    def warnings(self, online: str) -> list[str]:
        """Return what whoever uses the models in a form should hear of their errors, each with its window."""
        found = []
        for window, notes in sorted(self.notes.items()):
            warning = warning_on_loading(notes, online)
            if warning is not None:
                found.append(f"window about {self._name(window)}: {warning}")
        return found

    def finding(self, online: str) -> Finding:
        """Return whether the models are good enough in a form, by their notes: each by itself, and all on enough geometries."""
        found = [(finding_on_model(notes, online), window) for window, notes in sorted(self.notes.items())]
        bad = [(each, window) for each, window in found if each.good is False]
        if bad:
            worst, window = bad[0]
            return Finding(
                False, f"{len(bad)} of {len(found)} distinct windows, as the one about {self._name(window)}: {worst.words}"
            )
        whole = finding_on_model(pooled_notes([self.notes[window] for _, window in found]), online)
        return Finding(whole.good, f"{len(found)} distinct windows together: {whole.words}")

    def _name(self, window: int) -> str:
        return self.windows.coordinate.shown(float(self.windows.centres_w[window]))

    def require_model(self, path: Path, window: int) -> None:
        """Raise DataFileError unless a window's model is there and the one that was made with this file.  Not collective."""
        model = window_model(path, window)
        if not model.is_file():
            raise DataFileError(
                f"{path} needs {model}, which is not there: the models of windows stay beside it, in the same folder. Copy the "
                "whole folder, or train again."
            )
        if stored_digest(model) != self.digests[window]:
            raise DataFileError(
                f"{model} is not the model that {path} was made with: it was trained again, or is damaged. Run the same "
                "`mpiqmd train` again, which takes in what is there."
            )


def _object(contents: Contents, name: str) -> dict[str, Any]:
    """Return a JSON object that an array of bytes holds.  Raises Unfit for anything else."""
    value = json.loads(contents.array(name, f"{name}", integer=True).astype(np.uint8).tobytes().decode())
    if not isinstance(value, dict):
        raise Unfit(f"{name} holds a {type(value).__name__}, a JSON object is expected")
    return value


def is_windowed(path: Path) -> bool:
    """Return whether a file is one of windows; raises nothing, what it is not is found when it is read.  Not collective."""
    try:
        with h5py.File(path, "r") as file:
            return file.attrs.get("kind") == WINDOWS
    except OSError:
        return False
