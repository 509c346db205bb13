# SPDX-License-Identifier: MIT
"""px-status-flush --check: one line for each thing, what to do about what fails, and nothing changed."""
import re
import subprocess

import pytest

from harness import CONFIG, DENIED, IS_ROOT, LATER, STORAGE, mode_of
from room import Room

STATUS_TEXT = "Monit 5.33.0 uptime: 3m\n\nFile 'a'\n  status                       OK\n\n"


def lines_of(result):
    """The verdict by the name of what was checked."""
    return {line[8:22].strip(): line.split()[0] for line in result.out.splitlines() if line[:1] != " "}


@pytest.fixture
def checked(enrolled, upstream):
    enrolled.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command": enrolled.monit_that_prints(STATUS_TEXT)})
    return enrolled


def test_all_is_well(checked, upstream):
    checked.record(2)
    result = checked.flush("--check").ended(0)
    assert set(lines_of(result).values()) == {"ok"}
    assert set(lines_of(result)) >= {"configuration", "device", "files", "spool folder", "spool", "overflow", "monit", "upstream"}
    assert "version 5.33.0" in result.out and "2 pending" in result.out
    [request] = upstream.requests
    assert request.body["events"] == [] and request.body["stats"] == []
    assert checked.stats()["pending"] == 2


def test_nothing_is_made(checked, upstream):
    checked.flush("--check").ended(0)
    assert checked.stored_nothing()
    [request] = upstream.requests
    assert request.body["spool"]["id"] == "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("reply, status", [
    ({"status": 401}, DENIED), ({"status": 404}, CONFIG), ({"status": 400}, CONFIG), ({"status": 503}, LATER),
    ({"status": 200, "headers": {"Content-Type": "text/html"}, "body": "<html>log in</html>"}, LATER),
])
def test_upstream_says_no(checked, upstream, reply, status):
    upstream.script(default=reply)
    result = checked.flush("--check").ended(status)
    assert lines_of(result)["upstream"] == "failed"
    assert lines_of(result)["monit"] == "ok"
    assert "%s (%s:" % (upstream.url, checked.config) in result.out


def test_no_url_yet(device):
    device.configure(snapshot={"enabled": "no"})
    result = device.flush("--check").ended(CONFIG)
    assert lines_of(result)["upstream"] == "failed" and "enrol" in result.out


def test_monit_does_not_answer(enrolled, upstream):
    enrolled.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command": enrolled.monit_that("echo no daemon >&2; exit 1")})
    result = enrolled.flush("--check").ended(LATER)
    assert lines_of(result)["monit"] == "failed" and "no daemon" in result.out
    assert lines_of(result)["upstream"] == "ok"


def test_a_broken_spool(checked):
    checked.record(1)
    checked.spool.write_bytes(b"this is no database" * 1000)
    result = checked.flush("--check").ended(STORAGE)
    assert lines_of(result)["spool"] == "failed" and "next flush" in result.out
    assert checked.spool.read_bytes().startswith(b"this is no database")


def test_the_first_line_that_failed_decides(checked, upstream):
    upstream.script(default={"status": 401})
    checked.record(1)
    checked.spool.write_bytes(b"this is no database" * 1000)
    checked.flush("--check").ended(STORAGE)


def test_every_mistake_in_the_configuration_is_a_line(device):
    device.write_config("[spool]\npath = relative\n[upstream]\ncolour = blue\n")
    result = device.flush("--check").ended(CONFIG)
    assert ":2: [spool] path" in result.out and ":4: [upstream] colour" in result.out


def test_an_upstream_that_takes_only_plain_bodies(checked, upstream):
    upstream.script(lambda request: {"status": 415} if request.headers.get("Content-Encoding") else {})
    result = checked.flush("--check").ended(0)
    assert lines_of(result)["upstream"] == "ok"
    assert result.err == ""     # nothing is remembered, so nothing is promised for a day


def test_a_token_that_was_renewed(checked, upstream):
    count = checked.folder / "count"
    command = checked.file("token", "#!/bin/sh\necho x >>%s\necho token$(wc -l <%s)\n" % (count, count), 0o755)
    checked.configure(upstream, upstream={"url": upstream.url, "auth": "bearer", "token_command": command})
    upstream.script(lambda request: {} if request.headers.get("Authorization") == "Bearer token2" else {"status": 401})
    assert lines_of(checked.flush("--check").ended(0))["upstream"] == "ok"


def test_files_that_are_not_there(checked, upstream):
    checked.configure(upstream, upstream={"url": upstream.url, "ca_file": "/nonexistent"})
    lines = lines_of(checked.flush("--check").ended(CONFIG))
    assert [lines[name] for name in ("files", "monit", "upstream")] == ["failed"] * 3


# -- the spool's folder

def test_a_folder_that_is_not_there(checked, upstream):
    """Nothing is said of what is in it."""
    checked.spool_folder.rmdir()
    result = checked.flush("--check").ended(STORAGE)
    lines = lines_of(result)
    assert [lines[name] for name in ("spool folder", "spool", "overflow")] == ["failed"] * 3
    assert (lines["monit"], lines["upstream"]) == ("ok", "ok")
    assert "install -d" in result.out and "not made yet" not in result.out


def test_a_folder_that_is_closed_to_who_runs(checked):
    """As to a person who forgot sudo."""
    checked.record(1)
    if IS_ROOT:
        pytest.skip("nothing is closed to root")
    checked.spool_folder.chmod(0)
    try:
        result = checked.flush("--check").ended(STORAGE)
    finally:
        checked.spool_folder.chmod(0o700)
    assert "Permission denied" in result.out and "start this as root" in result.out
    assert lines_of(result)["overflow"] == "failed"


def test_a_folder_that_everybody_may_write(checked):
    checked.record(1)
    checked.spool_folder.chmod(0o777)
    result = checked.flush("--check").ended(0)
    assert lines_of(result)["spool folder"] == "warning" and lines_of(result)["spool"] == "ok"
    [command] = re.findall(r"chmod \S+ FOLDER", result.out)
    subprocess.run(command.replace("FOLDER", str(checked.spool_folder)), shell=True, check=True)
    assert lines_of(checked.flush("--check").ended(0))["spool folder"] == "ok"


@pytest.fixture
def room(preload, upstream):
    """A device with a file system of its own, of 2 MiB, for the spool."""
    made = Room(preload, "mode=755,size=2m")
    made.configure(upstream)
    yield made
    made.close()


def test_a_full_disk(room):
    room.record(1)
    assert lines_of(room.flush("--check").ended(0))["spool folder"] == "ok"
    room.fill()
    result = room.flush("--check").ended(0)
    assert lines_of(result)["spool folder"] == "warning" and "full, with 0 KiB" in result.out and "make room" in result.out
    room.unfill()
    assert lines_of(room.flush("--check").ended(0))["spool folder"] == "ok"


def test_a_disk_that_is_read_only(room):
    room.record(1)
    room.remount("ro")
    result = room.flush("--check").ended(STORAGE)
    assert lines_of(result)["spool folder"] == "failed" and lines_of(result)["spool"] == "ok"
    assert "Read-only file system" in result.out and "mount it for writing" in result.out and "start this as root" not in result.out


# -- secrets

def with_token(device, upstream, mode):
    token = device.file("token", "secret\n", mode)
    device.configure(upstream, upstream={"url": upstream.url, "auth": "bearer", "token_file": token})
    return token


def test_a_secret_that_is_open_to_others(checked, upstream):
    """What it says to do closes the file to them, and to nobody else."""
    token = with_token(checked, upstream, 0o644)
    result = checked.flush("--check").ended(CONFIG)
    assert lines_of(result)["files"] == "failed"
    [command] = re.findall(r"chmod \S+ FILE", result.out)
    subprocess.run(command.replace("FILE", str(token)), shell=True, check=True)
    assert mode_of(token) == 0o640
    assert lines_of(checked.flush("--check").ended(0))["files"] == "ok"
