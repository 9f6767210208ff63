"""Text from elsewhere made fit to be printed: what a file or a person wrote must not steer the terminal that shows it."""

from __future__ import annotations

LONGEST = 2000
"""Characters of a line that are shown: our own lines are shorter."""
MOST_LINES = 200


def printable(text: object, longest: int = LONGEST) -> str:
    """Return text as one line in which every character is a visible one, cut to a length.

    Control characters (C0, C1, DEL), line breaks, bidirectional controls, invisible characters and halves of surrogate
    pairs become what Python writes for them: ``\\x1b``, ``\\n``, ``\\u202e``.
    """
    text = str(text)
    # an escape makes text longer, never shorter: nothing beyond these characters could be shown
    line = visible(text[: longest + 1])
    return line if len(line) <= longest else line[: max(0, longest - 4)] + " ..."


def printable_lines(text: object) -> str:
    """Return text of several lines with each as :func:`printable` has it; all but the first are indented, so that none can
    pass for a line of its own."""
    first, *rest = str(text).split("\n")
    shown = [printable(first), *(f"  {printable(line.removeprefix('  '))}" for line in rest[: MOST_LINES - 1])]
    hidden = len(rest) + 1 - len(shown)
    return "\n".join([*shown, f"  ... and {hidden} more lines"] if hidden else shown)


def visible(text: str, allowed: str = "") -> str:
    """Return text with all but visible characters, and those ``allowed``, escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in allowed else c.encode("unicode_escape").decode("ascii") for c in text)
