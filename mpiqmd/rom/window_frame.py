"""The body frame of a window's model: geometries outside of the window have none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mpiqmd.errors import DataFileError, GeometryError
from mpiqmd.molecule.body_surface import BodyMemory, MovingFrame, SurfaceFrame
from mpiqmd.molecule.images import whole
from mpiqmd.molecule.rigid import Alignment
from mpiqmd.molecule.surface import Memory
from mpiqmd.sampling.windows import WINDOW_NOTE, Windows

ROUND_OFF = 1e-6
"""Of the coordinate, in its unit: an image of a geometry may be so far outside of its window."""


class OutsideWindowError(GeometryError):
    """A geometry outside of the window that a model is for."""


class WindowFrame:
    """The frame of a molecule that has to stay in a window; of an owner it remembers nothing.

    Parameters
    ----------
    frame
        The body frame.
    windows, window
        All windows, and which one it is.
    """

    def __init__(self, frame: MovingFrame, windows: Windows, window: int) -> None:
        self.inner, self.windows, self.window = frame, windows, window

    def fresh(self) -> Memory:
        """Return a memory of nothing.  Not collective."""
        return self.inner.fresh()

    def align(self, positions_av: np.ndarray, memory: BodyMemory) -> Alignment:
        """Return the geometry in the body frame.  Not collective.  Raises GeometryError, also outside of the window."""
        windows, cell_v = self.windows, self.inner.cell_v
        positions_av = positions_av if cell_v is None else whole(positions_av, cell_v)
        if windows.beyond(self.window, positions_av) > ROUND_OFF:
            shown, centre = windows.coordinate.shown, float(windows.centres_w[self.window])
            here, ends = windows.coordinate.value(positions_av), (centre - windows.half_width, centre + windows.half_width)
            raise OutsideWindowError(
                f"the molecule is at {shown(here)} of its {windows.coordinate.name}; this model is for {shown(ends[0])} to "
                f"{shown(ends[1])}. Use the model.h5 of the folder above, which has all windows."
            )
        return self.inner.align(positions_av, memory)


def frame_of_model(frame: MovingFrame, notes: Mapping[str, Any], source: str) -> SurfaceFrame:
    """Return the frame of a model: kept to its window if its notes have one.  Not collective.

    Raises DataFileError if they have something else.
    """
    if WINDOW_NOTE not in notes:
        return frame
    try:
        windows, window = Windows.of(notes[WINDOW_NOTE]["windows"]), int(notes[WINDOW_NOTE]["window"])
        if not 0 <= window < len(windows):
            raise ValueError(f"window {window} of {len(windows)}")
    except (KeyError, TypeError, ValueError) as error:
        raise DataFileError(f"{source} says of its window what it cannot be ({error}). Train again.") from error
    return WindowFrame(frame, windows, window)
