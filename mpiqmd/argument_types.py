"""What single words of the command line may be: counts, parts of a whole, times.

Each function returns the value of a word or raises ``argparse.ArgumentTypeError`` with what is wrong.
"""

from __future__ import annotations

import argparse
import re


def count(text: str) -> int:
    """Return a command-line number that must be a non-negative integer."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def positive_count(text: str) -> int:
    """Return a command-line number that must be a positive integer."""
    if count(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def part(text: str) -> tuple[int, int]:
    """Return K and N of the K-th of N parts."""
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
    part, parts = (int(number) for number in match.groups()) if match else (0, 0)
    if not 1 <= part <= parts:
        raise argparse.ArgumentTypeError(f"{text!r} is not K/N with whole numbers from 1/N to N/N")
    return part, parts


def walltime(text: str) -> float:
    """Return seconds from a number of them or from ``[D-]HH:MM:SS``, as batch systems write it."""
    match = re.fullmatch(r"(?:(?:(\d{1,4})-)?(\d{1,5}):([0-5]?\d):)?(\d{1,9}(?:\.\d+)?)", text, re.ASCII)
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups()) if match else (0.0,) * 4
    total = 86400.0 * days + 3600.0 * hours + 60.0 * minutes + seconds
    if total <= 0.0 or (":" in text and seconds >= 60.0):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a positive number of seconds nor [D-]HH:MM:SS")
    return total
