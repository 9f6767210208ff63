"""The input file: the sections and keys that may be written, and the settings that come out.

``settings`` declares the sections with the keys that are always there; what thermostats, sampling rules and energy terms
declare joins them from :mod:`mpiqmd.keys.registries`.  ``parsing`` turns a TOML file into :class:`Settings` in Hartree atomic
units and reports all problems at once.  Only ``cli`` and ``pipeline`` may import this package; it imports ``keys``, ``units``
and ``errors``.
"""

from mpiqmd.config.description import describe_keys
from mpiqmd.config.parsing import load_input, parse_input
from mpiqmd.config.settings import Settings

__all__ = ["Settings", "describe_keys", "load_input", "parse_input"]
