"""Shell completion: what bash offers in which place, and that every command and option is in every script."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from mpiqmd.cli import build_parser, main
from mpiqmd.commands import COMMANDS
from mpiqmd.completion import SHELLS, completed_commands, completion_script

pytestmark = pytest.mark.serial

ASK = """
source {script}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_mpiqmd
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def offered(tmp_path, monkeypatch):
    """A function that returns what bash offers for a line, the last word of it unfinished, in a folder with some files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script").write_text(completion_script("bash", build_parser()))
    for name in ("water.toml", "two words.toml", "model.h5", "frames.xyz"):
        (tmp_path / name).write_text("")
    (tmp_path / "results").mkdir()

    def ask(line):
        words = " ".join(f"'{word}'" for word in line.split(" "))
        code = ASK.format(script=tmp_path / "script", words=words)
        process = subprocess.run(["bash", "-u", "-c", code], capture_output=True, text=True, check=False)
        assert (process.returncode, process.stderr) == (0, "")
        return set(process.stdout.split("\n")) - {""}

    return ask


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mpiqmd sc", {"scf"}),
        ("mpiqmd --quiet c", {"compare", "check", "completion"}),
        ("mpiqmd train --s", {"--samples-only"}),
        ("mpiqmd ini", {"init"}),
        ("mpiqmd init f", {"frames.xyz"}),
        ("mpiqmd init frames.xyz --input w", {"water.toml"}),
        ("mpiqmd md w", {"water.toml"}),
        ("mpiqmd md ", {"water.toml", "two words.toml", "results"}),
        ("mpiqmd md water.toml --model ", {"model.h5", "results"}),
        ("mpiqmd md --model model.h5 w", {"water.toml"}),
        ("mpiqmd md --model model.h5 water.toml ", set()),
        ("mpiqmd md water.toml --steps ", set()),
        ("mpiqmd md water.toml --output ", {"results"}),
        ("mpiqmd evaluate water.toml --structures f", {"frames.xyz"}),
        ("mpiqmd check f", {"forces", "frame"}),
        ("mpiqmd check forces w", {"water.toml"}),
        ("mpiqmd compare model.h5 m", {"model.h5"}),
        ("mpiqmd completion z", {"zsh"}),
        ("mpiqmd help-input ", set()),
        ("mpiqmd nonsense ", set()),
    ],
)
def test_bash_offers(offered, line, expected):
    assert offered(line) == expected


def test_bash_offers_every_command_and_option(offered):
    assert offered("mpiqmd ") >= {*COMMANDS, "help-input", "completion", "--version"}
    for command in completed_commands(build_parser()):
        assert offered(f"mpiqmd {command.name} --") == {
            name for option in command.options for name in option.names if name.startswith("--")
        }


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_know_every_command_and_option_and_their_shell_accepts_them(shell, capsys, tmp_path):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for command in completed_commands(build_parser()):
        assert command.name in script
        for option in command.options:
            assert all((name.lstrip("-") if shell == "fish" else name) in script for name in option.names)
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: its syntax is not checked")
    (tmp_path / "script").write_text(script)
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


def test_the_help_tells_where_to_put_it(capsys):
    with pytest.raises(SystemExit):
        main(["completion", "--help"])
    text = capsys.readouterr().out
    for place in ("bash-completion/completions/mpiqmd", "fpath", "fish/completions/mpiqmd.fish"):
        assert place in text
