"""A folder belongs to one run: a file in it says who is at work, and a second run is refused before it touches anything.

The claim is a file with command, host, process and start; :mod:`mpiqmd.claimfiles` has the rules.  While it is held, a thread
touches it now and then.  Not collective: one rank of a job claims.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

from mpiqmd import claimfiles
from mpiqmd.claimfiles import Holder, Taken
from mpiqmd.errors import ConfigError, DataFileError
from mpiqmd.printable import printable

CLAIM = ".mpiqmd-claim"


class Claim:
    """The right to write into a folder, held from :meth:`take` to :meth:`release`.

    Parameters
    ----------
    folder
        The folder; made if it is not there.
    words
        The command line, for others to read.
    part
        ``(K, N)`` for one of N jobs that share the folder, each with files of its own; None for all of it.
    """

    def __init__(self, folder: Path, words: list[str], part: tuple[int, int] | None = None) -> None:
        self.folder, self.part = absolute(folder), part
        self.path = self.folder / (CLAIM if part is None else f"{CLAIM}-part-{part[0]}-of-{part[1]}")
        self.holder = Holder.this_process(words)
        self._file: int | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> None:
        """Take the claim, over from a run that is dead if need be.

        Raises
        ------
        ConfigError
            Another run is writing there, or nothing can be written there.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = claimfiles.acquire(self.path, self.holder)
            self._thread = threading.Thread(target=self._live, daemon=True)
            self._thread.start()
            for other in self._rivals():
                claimfiles.remove_if_dead(other, self.holder)
        except Taken as taken:
            self.release()
            raise self._refusal(taken.holder) from None
        except OSError as problem:
            self.release()
            raise unusable(self.folder, problem) from None

    def verify(self) -> None:
        """Raise DataFileError if another run has taken the folder over, as it may from a run that was silent for long.

        A claim that somebody has removed by hand is made again.
        """
        if self._file is None:
            return
        try:
            if claimfiles.read(self.path) is None:
                before, self._file = self._file, claimfiles.acquire(self.path, self.holder)
                os.close(before)
            claimfiles.remove_if_dead(self.path, self.holder)
        except (Taken, OSError) as problem:
            raise DataFileError(
                f"{self.folder} does not belong to this run any more ({problem}). One run at a time may write into a "
                f"folder, and one without a sign of life for {claimfiles.SILENCE:.0f} s is taken for dead. Start the same "
                "command again when nobody else is at work there."
            ) from None

    def release(self) -> None:
        """Give the claim back; nothing happens if it is not held, or held by another run by now."""
        if self._file is None:
            return
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        with suppress(OSError, Taken):
            claimfiles.remove(self.path, self.holder.token, self.holder)
        os.close(self._file)
        self._file = None
        _sweep(self.folder)

    def _live(self) -> None:
        """Touch the claim now and then."""
        while not self._ended.wait(claimfiles.HEARTBEAT):
            # By its number, so that another run's claim of the same name is not kept alive.
            with suppress(OSError):
                if self._file is not None:
                    os.utime(self._file)

    def _rivals(self) -> list[Path]:
        """Return the claims that exclude this one: parts exclude the whole, and parts of another division."""
        if self.part is None:
            return sorted(path for path in self.folder.glob(f"{CLAIM}-part-*-of-*") if path.suffix == "")
        others = self.folder.glob(f"{CLAIM}-part-*-of-*")
        whole = self.folder / CLAIM
        return [whole, *sorted(path for path in others if path.suffix == "" and not path.name.endswith(f"-of-{self.part[1]}"))]

    def _refusal(self, holder: Holder) -> ConfigError:
        return ConfigError(
            f"{self.folder}: another run is writing here ({holder.describe()}). One run at a time may write into a folder. "
            "Wait until it has ended, end it (kill it, or for md: touch STOP in the folder), or choose another folder with "
            "--output."
        )


def absolute(folder: Path) -> Path:
    """Return the path of an output folder without links in it.  Raises ConfigError if it leads nowhere."""
    try:
        return folder.resolve()
    except (OSError, RuntimeError) as problem:
        # links in a circle, or the current folder is gone
        raise unusable(folder, problem) from None


def unusable(folder: Path, problem: OSError | RuntimeError) -> ConfigError:
    """Return the error for an output folder that something is wrong with."""
    reason = getattr(problem, "strerror", None) or str(problem)
    culprit = getattr(problem, "filename", None)
    where = f" ({printable(culprit)})" if culprit and Path(culprit).parent == folder else ""
    return ConfigError(
        f"--output {folder}: {reason}{where}. A folder that can be created and written to is needed. Choose another with "
        "--output."
    )


def holder_of(folder: Path) -> Holder | None:
    """Return who is at work in a folder now, as far as that can be told without waiting; None if nobody is."""
    for path in (folder / CLAIM, *sorted(folder.glob(f"{CLAIM}-part-*-of-*"))):
        holder = claimfiles.read(path)
        if holder is not None and path.suffix == "" and claimfiles.is_alive(path, holder, waits=False) is not False:
            return holder
    return None


def _sweep(folder: Path) -> None:
    """Remove what kills in the middle of claiming left behind, once it is old enough to be of no run."""
    for path in folder.glob(f"{CLAIM}*.*"):
        with suppress(OSError):
            if claimfiles.now(folder) - path.stat().st_mtime > claimfiles.SILENCE:
                path.unlink()
