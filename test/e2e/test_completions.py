# SPDX-License-Identifier: MIT
"""What bash, zsh and fish complete."""
import os
import re
import select
import shutil
import signal
import subprocess
import time

import pytest

from harness import BUILD, EVENT, FLUSH, PROGRAMS, ROOT, STATUS

COMPLETIONS = ROOT / "share" / "completions"
FILES = ["bash/px-status", "bash/px-status-event", "bash/px-status-flush", "fish/px-status-event.fish", "fish/px-status-flush.fish",
         "fish/px-status.fish", "zsh/_px-status", "zsh/_px-status-event", "zsh/_px-status-flush"]
COMMANDS = ["config", "drop", "export", "health", "list", "retry", "show", "stats"]
COMMON = {"-c", "--config", "-s", "--spool", "-h", "--help", "-V", "--version"}
OPTIONS = {"list": ["--json", "--state"], "stats": ["--json", "--prometheus"], "health": ["--max-age"], "retry": ["--all"]}
ALL_OPTIONS = {option for options in OPTIONS.values() for option in options}


def files(folder):
    return sorted(os.fspath(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_they_are_what_the_programs_say(tmp_path):
    """If not: make completions."""
    subprocess.run([ROOT / "test" / "tools" / "completions", BUILD, tmp_path], check=True)
    assert files(tmp_path) == files(COMPLETIONS) == FILES
    assert [name for name in FILES if (tmp_path / name).read_text() != (COMPLETIONS / name).read_text()] == []


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", sorted(ALL_OPTIONS))
def test_help_tells_which_command_takes_which_option(device, command, option):
    """The texts of --help, which completions go by, and the program agree."""
    value = {"--state": ["pending"], "--max-age": ["1h"]}.get(option, [])
    result = device.status(command, option, *value, *(["1"] if command in ("show", "drop") else []))
    assert ("does not take such an option" in result.err) == (option not in OPTIONS.get(command, []))


# -- lists of what may come next

@pytest.fixture
def shell_env(device):
    """The programs are in PATH; three events, the first of them in quarantine."""
    folder = device.folder / "bin"
    folder.mkdir()
    for program in PROGRAMS:
        shutil.copy(program, folder)
    return device.environment(env={"PATH": "%s:%s" % (folder, device.env["PATH"]), "TERM": "dumb", "PX_STATUS_CONFIG": str(device.config),
                                   "XDG_CONFIG_HOME": str(device.folder), "XDG_DATA_HOME": str(device.folder), "LD_PRELOAD": None})


def need_shell(name):
    if shutil.which(name) is None:
        pytest.skip("%s is not installed" % name)


def bash_candidates(env, line):
    need_shell("bash")
    words = line.split(" ")
    script = 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _%s; printf "%%s\\n" "${COMPREPLY[@]}"' % words[0].replace("-", "_")
    split = [part for word in words for part in (re.split("(=)", word) if word.startswith("--") else [word])]
    out = subprocess.run(["bash", "--norc", "--noprofile", "-c", script, COMPLETIONS / "bash" / words[0], *split], env=env,
                         timeout=60, capture_output=True, text=True, check=True).stdout
    return set(out.split())


def fish_candidates(env, line):
    need_shell("fish")
    script = "source %s; complete -C '%s'" % (COMPLETIONS / "fish" / (line.split(" ")[0] + ".fish"), line)
    out = subprocess.run(["fish", "--no-config", "-c", script], env=env, timeout=60, capture_output=True, text=True,
                         check=True).stdout
    return {candidate.split("\t")[0].split("=")[-1] for candidate in out.splitlines()}


@pytest.fixture(params=[bash_candidates, fish_candidates], ids=["bash", "fish"])
def candidates(request, shell_env):
    return lambda line: request.param(shell_env, line)


def test_commands(candidates):
    assert candidates("px-status ") == candidates("px-status -s x ") == set(COMMANDS)
    assert candidates("px-status s") == {"show", "stats"}


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_options_of_commands(candidates, command):
    expected = COMMON | (set(OPTIONS.get(command, [])) if command else ALL_OPTIONS)
    short = {option for option in expected if not option.startswith("--")}
    line = "px-status %s -" % command if command else "px-status -"
    assert candidates(line) | short == expected
    assert candidates(line + "-") == expected - short


@pytest.mark.parametrize("program, options", [(EVENT, "--config --spool --message --dry-run --help --version"),
                                              (FLUSH, "--config --spool --now --no-snapshot --dry-run --check --quiet --verbose --help "
                                                      "--version")], ids=lambda value: getattr(value, "name", ""))
def test_options_of_programs(candidates, program, options):
    assert candidates(program.name + " --") == set(options.split())


@pytest.mark.parametrize("line", ["--state ", "list --state ", "--state="])
def test_states(candidates, line):
    assert candidates("px-status " + line) == {"pending", "quarantined"}
    assert candidates("px-status %sq" % line) == {"quarantined"}


@pytest.mark.parametrize("option", ["-c ", "--config ", "--config=", "-s ", "--spool="])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_files(device, candidates, program, option):
    assert candidates("%s %s%s/px-st" % (program.name, option, device.folder)) == {str(device.config)}


@pytest.fixture
def three(enrolled, upstream):
    ids = enrolled.record(1)
    upstream.script({"body": {"rejected": [{"id": ids[0], "reason": "no"}]}}, default={"status": 503})
    enrolled.flush().ended(0)
    return ids + enrolled.record(2)


def test_ids(three, candidates, tmp_path):
    assert candidates("px-status show ") == candidates("px-status drop ") == candidates("px-status drop 1 ") == set(three)
    assert candidates("px-status retry ") == {three[0]}
    assert candidates("px-status show " + three[1]) == {three[1]}
    assert candidates("px-status stats ") == candidates("px-status list ") == set()
    for option in ("-s ", "--spool="):
        assert candidates("px-status %s%s/none.db show " % (option, tmp_path)) == set()


# -- a person who types

class Typed:
    """An interactive shell on a pseudo terminal."""

    def __init__(self, args, env):
        pid, self._fd = os.forkpty()
        if pid == 0:
            os.execvpe(args[0], args, env)
        self._pid = pid
        self._said = b""

    def type(self, text):
        os.write(self._fd, text.encode())

    def wait_for(self, pattern):
        """What the shell said, once ${pattern} is in it."""
        end = time.monotonic() + 60
        while re.search(pattern, self._said.decode(errors="replace")) is None:
            left = end - time.monotonic()
            assert left > 0 and select.select([self._fd], [], [], left)[0], self._said.decode(errors="replace")
            self._said += os.read(self._fd, 65536)
        said, self._said = self._said.decode(errors="replace"), b""
        return said

    def close(self):
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._fd)


SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "for f in %s/bash/*; do source $f; done" % COMPLETIONS),
    "zsh": (["zsh", "-f", "-i"], "fpath=(%s/zsh $fpath); autoload -U compinit; compinit -u -D; LISTMAX=0" % COMPLETIONS),
    "fish": (["fish", "--no-config", "-i"], "for f in %s/fish/*; source $f; end" % COMPLETIONS),
}


@pytest.fixture(params=SHELLS)
def typed(request, shell_env):
    need_shell(request.param)
    args, start = SHELLS[request.param]
    try:
        shell = Typed(args, shell_env)
    except OSError:
        pytest.skip("no pseudo terminal to be had")
    shell.type(start + "; echo rea''dy\n")
    shell.wait_for("ready")
    yield shell
    shell.close()


def test_what_is_typed_with_tabs_is_run(three, device, typed):
    typed.type("px-status sho\t%s\t\n" % three[2][:-2])
    assert '"seq":3' in typed.wait_for(r'"id":"%s".*\}' % three[2])
    typed.type("px-status list --state qua\t --js\t; echo do''ne\n")
    said = typed.wait_for("done")
    assert '{"id":"%s"' % three[0] in said and '"seq":2' not in said
    typed.type("px-status --spool %s/spo\tspool\t sta\t --js\t; echo do''ne\n" % device.folder)
    assert '"recorded":3' in typed.wait_for("done")
    typed.type("px-status-flush --dry\t -c %s/px-\t | tr -d 0; echo do''ne\n" % device.folder)
    assert '"pending":2' in typed.wait_for("done")
    typed.type("px-status retry \t\n")
    assert "item 1 is pending again" in typed.wait_for("again")
