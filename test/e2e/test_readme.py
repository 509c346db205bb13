# SPDX-License-Identifier: MIT
"""The terminal session of README is one: its commands are typed, and what comes is what README shows, all counts too."""
import json
import os
import re
import sqlite3

import pytest

from harness import LONG_RETRY, PROGRAMS, ROOT, UUID
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
    """Without what is another each time; what is counted stays."""
    text = re.sub(r"\n {17}", " ", text)
    text = re.sub(r"connect to \S+ port \d+ after \d+ ms", "connect to HOST", text)
    text = re.sub(UUID, "UUID", text)
    text = re.sub(r"^(spool +)\S+", r"\1PATH", text, flags=re.MULTILINE)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text)
    text = re.sub(r"\d+m \d+s old", "AGE", text)
    text = re.sub(r"^(bytes on disk +)\d+|in \d+ bytes", r"\1BYTES", text, flags=re.MULTILINE)
    lines = []
    for line in (re.sub(" +", " ", line) for line in text.splitlines()):
        run, last = (re.fullmatch(r"TIME (\d+) (75 .*)", one) for one in (line, lines[-1] if lines else ""))
        if run and last and run[2] == last[2]:      # apart only by the milliseconds of a reason, which is cut before them
            lines[-1] = "TIME %d %s" % (int(last[1]) + int(run[1]), run[2])
        else:
            lines.append(line)
    return lines


def test_the_session(enrolled, upstream, typed):
    """As a device is by default, so that --now takes a snapshot."""
    monit = enrolled.monit_that("exec cat '%s'" % (ROOT / "test" / "fixtures" / "status" / "5.33.0.txt"))
    enrolled.configure(upstream, retry=LONG_RETRY,
                       snapshot={"enabled": "yes", "source": "command", "command": monit})
    upstream.script(default={"status": 204})
    for events in (4, *[1] * 10):       # and the snapshot of the first run
        enrolled.record(events)
        enrolled.flush().ended(0)
    enrolled.record(2)
    with sqlite3.connect(enrolled.spool) as spool:      # the first of them is older
        spool.execute("UPDATE item SET time_ms = time_ms - 425000 WHERE key = (SELECT min(key) FROM item)")
    spool.close()
    upstream.stop()
    for _ in range(3):
        enrolled.flush("--now", "--no-snapshot").ended(75)
    shown = ""
    for command in re.findall(r"^# (.*)$", session_of_readme(), re.MULTILINE):
        if "--verbose" in command:      # then the link is back
            upstream.start()
        shown += "# %s\n%s" % (command, typed(command))
    assert shape(shown) == shape(session_of_readme())


def test_the_counters_of_the_session_add_up():
    session = session_of_readme()
    by_age = ("under 5 minutes", "under 1 hour", "under 1 day", "1 day and more")
    counted = {name: int(number) for name, number in re.findall(r"^([a-z15 ]+?) {2,}(\d+)(?:  #*)?$", session, re.MULTILINE)}
    assert counted["recorded"] == sum(counted[name] for name in (
        "acknowledged", "pending", "quarantined", "dropped", "lost events", "lost snapshots"))
    assert counted["pending"] == sum(counted[name] for name in by_age)


def test_what_a_snapshot_costs(enrolled, upstream):
    """The table is true of the fixture that it names, and its days are 288 of its snapshots."""
    text = (ROOT / "README.md").read_text()
    named = re.search(r"A snapshot of a Monit with (\d+) services \(`(.*?)`\)", text)
    rows = dict(re.findall(r"^\| (JSON|sent|on disk).*? \| ([\d.]+ kB \| [\d.]+) MB \|", text, re.MULTILINE))
    kilobytes, megabytes = ({name: float(row.split()[at]) for name, row in rows.items()} for at in (0, -1))
    monit = enrolled.monit_that("exec cat '%s'" % (ROOT / named[2]))
    enrolled.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command": monit})
    upstream.script(default={"status": 503})
    enrolled.flush("--now").ended(75)
    shown = enrolled.status("show", "1").ended(0).out
    assert json.loads(shown)["summary"]["total"] == int(named[1])
    assert len(shown.encode()) / 1000 == pytest.approx(kilobytes["JSON"], abs=0.1)
    size = enrolled.stats()["bytes"]
    upstream.stop()
    for _ in range(20):
        enrolled.flush("--now").ended(75)
    assert (enrolled.stats()["bytes"] - size) / 20000 == pytest.approx(kilobytes["on disk"], rel=0.1)
    sent = int(upstream.requests[0].header("Content-Length")) + 175     # and the header
    assert sent / 1000 == pytest.approx(kilobytes["sent"], rel=0.1)
    assert all(kilobytes[name] * 0.288 == pytest.approx(megabytes[name], abs=0.05) for name in ("JSON", "sent", "on disk"))
