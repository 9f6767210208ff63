"""What tests of several folders share, by name."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The checkout, from which tests start other programs that import the tests."""
