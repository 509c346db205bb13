# SPDX-License-Identifier: MIT
"""The terminal session of README is one: its commands are typed, and what comes has the shape that README shows."""
import os
import re
import sqlite3

import pytest

from harness import PROGRAMS, ROOT, UUID
from terminal import on_terminal


def session_of_readme():
    return re.search(r"^```console\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[1]


@pytest.fixture
def typed(enrolled):
    """A function that types a command on a terminal of 80 columns; what it shows."""
    folder = enrolled.folder / "bin"
    folder.mkdir()
    for program in PROGRAMS:
        os.symlink(program, folder / program.name)
    env = enrolled.environment(env={"PATH": "%s:%s" % (folder, enrolled.env["PATH"]), "PX_STATUS_CONFIG": str(enrolled.config),
                                   "TERM": "dumb"})

    def type(command):
        return on_terminal(["/bin/sh", "-c", command], env)[1].replace("\r\n", "\n")

    return type


def shape(text):
    """Without what is another each time."""
    text = re.sub(r"\n {17}", " ", text)
    text = re.sub(r"connect to \S+ port \d+", "connect to HOST", text)
    text = re.sub(UUID, "UUID", text)
    text = re.sub(r"^(spool +)\S+", r"\1PATH", text, flags=re.MULTILINE)
    text = re.sub(r"\d+", "0", text)
    return [re.sub(" +", " ", line) for line in text.splitlines()]


def test_the_session(enrolled, upstream, typed):
    enrolled.configure(upstream, retry={"initial": "1h", "max": "1h"})
    upstream.script(default={"status": 204})
    enrolled.record(1)
    enrolled.flush().ended(0)
    enrolled.record(2)
    with sqlite3.connect(enrolled.spool) as spool:      # the first of them is older
        spool.execute("UPDATE item SET time_ms = time_ms - 425000 WHERE key = (SELECT min(key) FROM item)")
    spool.close()
    upstream.stop()
    shown = ""
    for command in re.findall(r"^# (.*)$", session_of_readme(), re.MULTILINE):
        if "--verbose" in command:      # then the link is back
            upstream.start()
        shown += "# %s\n%s" % (command, typed(command))
    assert shape(shown) == shape(session_of_readme())
