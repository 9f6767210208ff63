"""The input file: every key that exists, what may be written there, and the settings that come out.

``values`` reads one value of a given kind, ``kinds`` has the kinds of our keys, ``settings`` declares every section and
key once (type, default, description), ``parsing`` turns a TOML file into :class:`Settings` in Hartree atomic units and
reports all problems at once.  Only ``cli`` and ``pipeline`` may import this package; it imports ``units`` and ``errors``.
"""

from mpiqmd.config.description import describe_keys
from mpiqmd.config.parsing import load_input, parse_input
from mpiqmd.config.settings import Settings

__all__ = ["Settings", "describe_keys", "load_input", "parse_input"]
