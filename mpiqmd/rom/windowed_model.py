"""The models of several windows as one: a small file that says where the windows are and which models belong to them.

The models themselves stay in files of their own beside it, ``window-K/model.h5`` (those that grew in a run are elsewhere, and
the file says where), and are loaded when the molecule first comes there.  Their checksums are known here: a model that was
trained again is not taken for the one that was checked.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os.path import relpath
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpiqmd import __version__
from mpiqmd.datafiles import Contents, Unfit, opened, replacing, scalar, sealed, stored_digest, writing
from mpiqmd.datasets import WINDOWS_DATASETS, annotate
from mpiqmd.errors import ConfigError, DataFileError
from mpiqmd.findings import Finding
from mpiqmd.rom.file_names import MODEL_FILE
from mpiqmd.rom.kinds import WINDOWS
from mpiqmd.rom.pooled import pooled_notes
from mpiqmd.rom.signature import differences, listed, plain
from mpiqmd.rom.verdict import FULL_WARNINGS, GROWN, finding_on_model, stored_verdict, unchecked, warning_on_loading
from mpiqmd.sampling.windows import Windows

FORMAT = 1
KEPT = ("errors", "verdict", FULL_WARNINGS, GROWN)
"""Notes of the models that are known without loading them."""
REMEDY = "A model.h5 written by `mpiqmd train` of this version is needed. Train it again: snapshots that are solved are kept."


def window_folder(folder: Path, window: int) -> Path:
    """Return where a window's model and its training are."""
    return folder / f"window-{window}"


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
    elsewhere
        Model files of distinct windows that are not where training leaves them, from the folder of the file of all.
    """

    windows: Windows
    signature: Mapping[str, Any]
    digests: Mapping[int, str]
    notes: Mapping[int, Mapping[str, Any]]
    elsewhere: Mapping[int, str] = field(default_factory=dict)

    def model_path(self, path: Path, window: int) -> Path:
        """Return the file of a distinct window's model, given the file of all windows."""
        return path.parent / self.elsewhere.get(window, window_folder(Path(), window) / MODEL_FILE)

    def with_models(self, grown: Mapping[int, tuple[Path, str, Mapping[str, Any]]], written: Path) -> WindowedModel:
        """Return the same with other models of some windows, to be written to another file; rank 0.

        Of each the file, its checksum and its notes are given; the others are where training leaves them beside that file.
        """
        beside = {window: relpath(file.resolve(), written.parent.resolve()) for window, (file, *_) in grown.items()}
        digests = dict(self.digests) | {window: digest for window, (_, digest, _) in grown.items()}
        notes = dict(self.notes) | {window: kept_notes(each) for window, (*_, each) in grown.items()}
        return replace(self, digests=digests, notes=notes, elsewhere=beside)

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all.  Not collective: rank 0 calls it.  Raises DataFileError."""
        content = io.BytesIO()
        described = {
            "windows": self.windows.described(),
            "signature": plain(self.signature),
            "models": {str(window): digest for window, digest in self.digests.items()},
            "notes": {str(window): plain(notes) for window, notes in self.notes.items()},
        }
        if self.elsewhere:
            described["elsewhere"] = {str(window): file for window, file in self.elsewhere.items()}
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
        places = _object(contents, "elsewhere") if "elsewhere" in contents.file else {}
        elsewhere = {int(window): str(file) for window, file in places.items()}
        return cls(windows, _object(contents, "signature"), digests, notes, elsewhere)

    def lines(self) -> list[str]:
        """Return what people want to know first: the windows, and how good the model of each distinct one is."""
        lines = [self.windows.words]
        for window, notes in sorted(self.notes.items()):
            judgement = stored_verdict(notes)
            words = judgement["words"] if judgement else unchecked(notes)
            lines.append(f"  {self.model_path(Path(MODEL_FILE), window).parent}, about {self.name(window)}: {words}")
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
                found.append(f"window about {self.name(window)}: {warning}")
        return found

    def finding(self, online: str) -> Finding:
        """Return whether the models are good enough in a form, by their notes: each by itself, and all on enough geometries."""
        found = [(finding_on_model(notes, online), window) for window, notes in sorted(self.notes.items())]
        bad = [(each, window) for each, window in found if each.good is False]
        if bad:
            worst, window = bad[0]
            return Finding(
                False, f"{len(bad)} of {len(found)} distinct windows, as the one about {self.name(window)}: {worst.words}"
            )
        pooled = pooled_notes([self.notes[window] for _, window in found])
        unknown = [(each, window) for each, window in found if each.good is None]
        if not pooled and unknown:
            first, window = unknown[0]
            return Finding(
                None, f"{len(unknown)} of {len(found)} distinct windows, as the one about {self.name(window)}: {first.words}"
            )
        whole = finding_on_model(pooled, online)
        return Finding(whole.good, f"{len(found)} distinct windows together: {whole.words}")

    def name(self, window: int) -> str:
        """Return what messages call a window: the value of the coordinate in its middle."""
        return self.windows.coordinate.shown(float(self.windows.centres_w[window]))

    def require_model(self, path: Path, window: int) -> None:
        """Raise DataFileError unless a window's model is there and the one that was made with this file.  Not collective."""
        model = self.model_path(path, window)
        if not model.is_file():
            raise DataFileError(
                f"{path} needs {model}, which is not there: the models of windows stay beside it. Copy the whole folder, or "
                "make the file anew (`mpiqmd train`, or the run in which they grew)."
            )
        if stored_digest(model) != self.digests[window]:
            raise DataFileError(
                f"{model} is not the model that {path} was made with: it was trained again, or is damaged. Run the same "
                "`mpiqmd train` again, which takes in what is there; of a model that grew in a run restore a copy."
            )


def _object(contents: Contents, name: str) -> dict[str, Any]:
    """Return a JSON object that an array of bytes holds.  Raises Unfit for anything else."""
    value = json.loads(contents.array(name, f"{name}", integer=True).astype(np.uint8).tobytes().decode())
    if not isinstance(value, dict):
        raise Unfit(f"{name} holds a {type(value).__name__}, a JSON object is expected")
    return value


def put_beside(model: Path, place: Path, digest: str) -> None:
    """Let a model file with a checksum be in another place, too, without a copy where the file system allows it; rank 0.

    Raises DataFileError, also where another file is there.
    """
    if place.exists():
        if stored_digest(place) != digest:
            raise DataFileError(f"{place} is another model than {model}, which belongs there. Choose another --output.")
        return
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(model.resolve(), place)
        except OSError:
            shutil.copy2(model, place)


def kept_notes(notes: Mapping[str, Any]) -> dict[str, Any]:
    """Return those notes of a model that are known without loading it."""
    return {name: notes[name] for name in KEPT if name in notes}


def is_windowed(path: Path) -> bool:
    """Return whether a file is one of windows; raises nothing, what it is not is found when it is read.  Not collective."""
    try:
        with h5py.File(path, "r") as file:
            return file.attrs.get("kind") == WINDOWS
    except OSError:
        return False
