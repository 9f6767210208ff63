"""Things that register themselves by name with keys of their own: one file declares all that the input may say of them.

The keys, the allowed names, their descriptions and the checks between keys are asked of a registry by the parser, the help
and the documentation; the program asks it to make the thing.  What comes with mpiqmd is registered by the modules that a
registry names, what others wrote by :mod:`~mpiqmd.keys.plugins`; both are imported when a registry is first asked.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mpiqmd.errors import ConfigError
from mpiqmd.keys.plugins import load_plugins
from mpiqmd.keys.roles import Role
from mpiqmd.keys.spec import KeySpec, Options, defaults


def no_problems(section: Options) -> list[str]:
    """Return no problem: keys that do not depend on each other need no check."""
    return []


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One registered thing.

    Attributes
    ----------
    name
        As the input says it.
    summary
        What it does, in a few words, for the help.
    make
        Makes the thing; its keys are named arguments.
    keys
        Its keys of the input by name.
    check
        Returns the problems between keys, each a line for the user, from the values of its section as attributes.
    flags
        What else is true of it, in words that its registry knows.
    title
        Its name in figures, if not ``name``.
    """

    name: str
    summary: str
    make: Callable[..., Any]
    keys: Mapping[str, KeySpec] = field(default_factory=dict)
    check: Callable[[Options], list[str]] = no_problems
    flags: frozenset[str] = frozenset()
    title: str = ""

    @property
    def module(self) -> str:
        """The module that it comes from."""
        return getattr(self.make, "__module__", "")

    @property
    def comes_with_mpiqmd(self) -> bool:
        """Whether it is part of mpiqmd; the keys of what is not matter to those only who choose it."""
        return self.module.split(".")[0] == "mpiqmd"


class Registry:
    """Entries by name.

    Parameters
    ----------
    what
        The kind of thing, for messages.
    role
        What its keys decide, one of :data:`mpiqmd.keys.roles.ROLES`, unless a key says otherwise.
    modules
        Modules of mpiqmd that register entries, in the order of lists of names.
    """

    def __init__(self, what: str, role: Role, modules: tuple[str, ...] = ()) -> None:
        self.what, self.role, self.modules = what, role, modules
        self._entries: dict[str, Entry] = {}
        self._loaded = False

    def register(self, entry: Entry) -> None:
        """Take in an entry.

        Raises ConfigError for a name that is taken, and for a key that another entry declares differently.
        """
        others = {name: spec for other in self._entries.values() for name, spec in other.keys.items()}
        differing = [name for name, spec in entry.keys.items() if others.get(name, spec) != spec]
        if entry.name in self._entries or differing:
            subject = f"key {differing[0]!r} of the {self.what}" if differing else self.what
            raise ConfigError(
                f"the {subject} {entry.name!r} of {entry.module} is known already, and says something else. Names are given "
                "once, keys are shared only as they are. Rename it."
            )
        self._entries[entry.name] = entry

    @property
    def entries(self) -> dict[str, Entry]:
        """All entries by name, those of mpiqmd first."""
        self._load()
        return {entry.name: entry for entry in sorted(self._entries.values(), key=self._place)}

    def entry(self, name: str) -> Entry:
        """Return an entry.  Raises ConfigError for a name that is not known."""
        if name not in self.entries:
            raise ConfigError(f"the {self.what} {name!r} is unknown; allowed: {', '.join(self.entries)}. Choose one of them.")
        return self.entries[name]

    def with_flag(self, flag: str) -> list[str]:
        """Return the names of the entries with a flag."""
        return [entry.name for entry in self.entries.values() if flag in entry.flags]

    def role_of(self, spec: KeySpec) -> Role:
        """Return what a key decides."""
        return spec.role or self.role

    def _place(self, entry: Entry) -> int:
        if entry.module in self.modules:
            return self.modules.index(entry.module)
        return len(self.modules) + (not entry.comes_with_mpiqmd)

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        try:
            for name in self.modules:
                importlib.import_module(name)
            load_plugins()
        except BaseException:
            self._loaded = False
            raise


class Choices(Registry):
    """Entries of which a key of the input names one; their keys stand in the same section.

    Parameters
    ----------
    section, key
        The key that names one.
    default
        The one that is taken if nothing is said.
    """

    def __init__(self, what: str, role: Role, modules: tuple[str, ...], *, section: str, key: str, default: str) -> None:
        super().__init__(what, role, modules)
        self.section, self.key, self.default = section, key, default

    def all_keys(self) -> dict[str, KeySpec]:
        """Return the keys of all entries, each told whose it is."""
        return _merged(self.entries.values())

    def keys_with(self, chosen: str) -> dict[str, KeySpec]:
        """Return the keys that there are if this one is chosen: its own, and those of all that comes with mpiqmd."""
        return _merged(entry for entry in self.entries.values() if entry.comes_with_mpiqmd or entry.name == chosen)

    def owners(self, key: str) -> list[str]:
        """Return the names of the entries that declare a key."""
        return [entry.name for entry in self.entries.values() if key in entry.keys]

    def options(self, chosen: str, given: Mapping[str, Any]) -> Options:
        """Return the values of all keys that there are if this one is chosen, defaults for those not given."""
        specs = self.keys_with(chosen)
        return Options(**defaults(specs) | {name: value for name, value in given.items() if name in specs})

    def arguments(self, chosen: str, options: Options) -> dict[str, Any]:
        """Return the values of the chosen one's own keys by name."""
        return {name: getattr(options, name) for name in self.entry(chosen).keys}

    def summary(self) -> str:
        """Return the summaries of all entries, as the description of the key that chooses."""
        return "; ".join(f"{entry.name}: {entry.summary}" for entry in self.entries.values())

    def describe(self, name: str, spec: KeySpec) -> str:
        """Return the description of a key with those whose it is."""
        return f"{', '.join(self.owners(name))}: {spec.description}"


class Sections(Registry):
    """Entries each of which has a section of the input, named like it, if it has keys; it is there if that is written."""

    def sections(self) -> dict[str, Entry]:
        """Return the entries that have a section."""
        return {name: entry for name, entry in self.entries.items() if entry.keys}

    def section_keys(self, section: str) -> Mapping[str, KeySpec]:
        """Return the keys of an entry's section, none for another section."""
        entry = self.sections().get(section)
        return entry.keys if entry else {}

    def there(self, options: Mapping[str, Options]) -> list[Entry]:
        """Return the entries that there are with these sections written: those, and all without keys."""
        return [entry for entry in self.entries.values() if not entry.keys or entry.name in options]


def _merged(entries: Iterable[Entry]) -> dict[str, KeySpec]:
    return {name: spec for entry in entries for name, spec in entry.keys.items()}
