# SPDX-License-Identifier: MIT
"""px-status-flush --check: one line for each thing, what to do about what fails, and nothing changed."""
import re
import subprocess

import pytest

from harness import CONFIG, DENIED, LATER, STORAGE, mode_of

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
