"""Shell completion of the command line: scripts for bash, zsh and fish, made from the argument parser.

Commands, their options, and what may follow: the words of a choice, a folder, or a file.  Where a place tells by its name
which kind of file belongs there (``INPUT.toml``, ``MODEL.h5``), such files are offered.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

SHELLS = ("bash", "zsh", "fish")
FILE, FOLDER, NOTHING = "file", "folder", "nothing"
_KINDS_OF_FILE = (".toml", ".h5")


@dataclass(frozen=True)
class Value:
    """What may be written in one place: the words of a choice, or files with an ending, or folders, or anything."""

    kind: str
    words: tuple[str, ...] = ()
    ending: str = ""


@dataclass(frozen=True)
class Option:
    """An option: how it may be written, its help, and its value if it takes one."""

    names: tuple[str, ...]
    help: str
    value: Value | None


@dataclass(frozen=True)
class Completed:
    """One command: its name, help, options and places."""

    name: str
    help: str
    options: tuple[Option, ...]
    places: tuple[Value, ...]


def completion_script(shell: str, parser: argparse.ArgumentParser) -> str:
    """Return the script that teaches a shell of ``SHELLS`` the commands of a parser.  Not collective."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](parser.prog, list(completed_commands(parser)))


def completed_commands(parser: argparse.ArgumentParser) -> Iterator[Completed]:
    """Yield the commands of a parser with subparsers.  Not collective."""
    subparsers = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    helps = {action.dest: action.help or "" for action in subparsers._choices_actions}
    for name, command in subparsers.choices.items():
        actions = [action for action in command._actions if action.help != argparse.SUPPRESS]
        yield Completed(
            name,
            helps.get(name, ""),
            tuple(_option(action) for action in actions if action.option_strings),
            tuple(_value(action) for action in actions if not action.option_strings),
        )


def _option(action: argparse.Action) -> Option:
    takes_value = action.nargs != 0
    return Option(tuple(action.option_strings), action.help or "", _value(action) if takes_value else None)


def _value(action: argparse.Action) -> Value:
    if action.choices is not None:
        return Value(NOTHING, tuple(str(choice) for choice in action.choices))
    name = action.metavar if isinstance(action.metavar, str) else ""
    if name == "DIR":
        return Value(FOLDER)
    if name == "FILE" or name.endswith(_KINDS_OF_FILE):
        return Value(FILE, ending=name[name.rfind(".") :] if "." in name else "")
    return Value(NOTHING)


def _bash_values(value: Value) -> str:
    """Return the bash command that fills COMPREPLY for the word ``$word``."""
    if value.words:
        return f'_mpiqmd_words "{" ".join(value.words)}"'
    if value.kind == FOLDER:
        return "_mpiqmd_folders"
    if value.kind == FILE:
        return f"_mpiqmd_files '{value.ending}'"
    return ":"


def _bash(program: str, commands: list[Completed]) -> str:
    names = " ".join(command.name for command in commands)
    blocks = "\n".join(_bash_command(command) for command in commands)
    script = f"""# bash completion for {program}
_mpiqmd_words() {{ COMPREPLY=($(compgen -W "$1" -- "$word")); }}
_mpiqmd_folders() {{ local IFS=$'\\n'; COMPREPLY=($(compgen -d -- "$word")); }}
_mpiqmd_files() {{ local IFS=$'\\n'; COMPREPLY=($(compgen -f -X "!*$1" -- "$word") $(compgen -d -- "$word")); }}
_mpiqmd() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" command="" place=-1 valued i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${{COMP_WORDS[i]}} == -* ]] || {{ command="${{COMP_WORDS[i]}}"; break; }}
    done
    case "$command" in
        "") _mpiqmd_words "{names} --help --version" ;;
{blocks}
    esac
}}
complete -o filenames -F _mpiqmd {program}
"""
    return script.replace("_mpiqmd", f"_{program}")


def _bash_command(command: Completed) -> str:
    """Return the branch of one command: values of options, options, then the places, counted without either."""
    valued = [(option.names, option.value) for option in command.options if option.value is not None]
    after = [f"                {'|'.join(names)}) {_bash_values(value)}; return ;;" for names, value in valued]
    all_names = " ".join(name for option in command.options for name in option.names)
    places = [f"                {index}) {_bash_values(value)} ;;" for index, value in enumerate(command.places)]
    lines = [
        f"        {command.name})",
        *(['            case "$previous" in', *after, "            esac"] if after else []),
        f'            if [[ $word == -* ]]; then _mpiqmd_words "{all_names}"; return; fi',
        f'            valued=" {" ".join(name for names, _ in valued for name in names)} "',
        "            for ((i++; i <= COMP_CWORD; i++)); do",
        '                [[ ${COMP_WORDS[i]} == -* || $valued == *" ${COMP_WORDS[i-1]} "* ]] || ((place++))',
        "            done",
        *(['            case "$place" in', *places, "            esac"] if places else []),
        "            ;;",
    ]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """Return a text in single quotes for zsh and fish, one line, without what would end a description."""
    plain = " ".join(text.split()).replace("\\", "").replace("'", "").replace("`", "")
    return plain.replace("[", "(").replace("]", ")")


def _zsh_values(value: Value) -> str:
    if value.words:
        return f":value:({' '.join(value.words)})"
    if value.kind == FOLDER:
        return ":folder:_files -/"
    if value.kind == FILE:
        return f':file:_files -g "*{value.ending}"' if value.ending else ":file:_files"
    return ":value:"


def _zsh(program: str, commands: list[Completed]) -> str:
    described = "\n".join(f"        '{command.name}:{_quoted(command.help)}'" for command in commands)
    blocks = "\n".join(_zsh_command(command) for command in commands)
    return f"""#compdef {program}
_{program}() {{
    local -a commands
    commands=(
{described}
    )
    if ((CURRENT == 2)); then
        _describe command commands
        return
    fi
    local name="$words[2]"
    shift words
    ((CURRENT--))
    case "$name" in
{blocks}
    esac
}}
if [[ "$funcstack[1]" == "_{program}" ]]; then _{program} "$@"; else compdef _{program} {program}; fi
"""


def _zsh_command(command: Completed) -> str:
    arguments = []
    for option in command.options:
        value = "" if option.value is None else _zsh_values(option.value)
        arguments += [f"'{name}[{_quoted(option.help)}]{value}'" for name in option.names]
    arguments += [f"'{index}{_zsh_values(value)}'" for index, value in enumerate(command.places, start=1)]
    lines = " \\\n                ".join(arguments)
    return f"        {command.name})\n            _arguments \\\n                {lines}\n            ;;"


def _fish_values(value: Value) -> str:
    if value.words:
        return f"-xa '{' '.join(value.words)}'"
    if value.kind == FOLDER:
        return "-xa '(__fish_complete_directories)'"
    if value.kind == FILE:
        return f"-kxa '(__fish_complete_suffix {value.ending})'" if value.ending else "-rF"
    return "-x"


def _fish(program: str, commands: list[Completed]) -> str:
    lines = [f"# fish completion for {program}", f"complete -c {program} -f"]
    for command in commands:
        lines.append(f"complete -c {program} -n __fish_use_subcommand -a {command.name} -d '{_quoted(command.help)}'")
        own = f"complete -c {program} -n '__fish_seen_subcommand_from {command.name}'"
        for option in command.options:
            names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.names)
            value = "" if option.value is None else f" {_fish_values(option.value)}"
            lines.append(f"{own} {names}{value} -d '{_quoted(option.help)}'")
        lines += [f"{own} {_fish_values(value)}" for value in dict.fromkeys(command.places) if value.kind != NOTHING]
        lines += [f"{own} {_fish_values(value)}" for value in command.places if value.words]
    return "\n".join(lines) + "\n"
