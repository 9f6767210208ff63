"""What others wrote: modules that installed packages name under the entry points ``mpiqmd`` are imported, and register.

Only what somebody installed is run; an input file cannot name code.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

from mpiqmd.errors import ConfigError

GROUP = "mpiqmd"


def load_plugins() -> None:
    """Import every module that an installed package names; one that is imported already is not run again.

    Not collective.  Raises ConfigError for a module that cannot be imported.
    """
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        try:
            importlib.import_module(point.module)
        except ConfigError:
            raise
        except Exception as problem:
            raise ConfigError(
                f"the entry point {point.name} = {point.value} (group {GROUP!r}) of an installed package cannot be imported: "
                f"{type(problem).__name__}: {problem}. It must name a module that registers something. Correct or uninstall it."
            ) from problem
