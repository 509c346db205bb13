# SPDX-License-Identifier: MIT
"""What README says of Monit's own queue for M/Monit, seen with real Monit; and that px-status does otherwise."""
import pytest

from harness import EVENT

CHANGES = """
set eventqueue basedir %s slots 100
set mmonit http://u:p@127.0.0.1:%d/collector
check file watched with path %s
  if changed checksum then %s
"""


def change(device, monit, watched, said):
    """Changes the file, and waits until Monit has seen that."""
    before = monit.log.read_text().count("checksum changed")
    device.change(watched, said)
    monit.wait_until(lambda: monit.log.read_text().count("checksum changed") > before, "the change")


@pytest.mark.parametrize("answer, is_queued", [(503, True), (302, False)])
def test_what_monit_takes_for_delivered(device, collector, start_monit, answer, is_queued):
    """An event that upstream did not take is queued when the answer is 503; a redirect, as to a login, ends it."""
    queue = device.folder / "queue"
    queue.mkdir(mode=0o700)
    watched = device.file("watched", "one\n")
    monit = start_monit(CHANGES % (queue, collector.server_port, watched, "alert"))
    monit.wait_until(lambda: "checksum" in monit.said(), "the first checksum")
    collector.answer = answer
    change(device, monit, watched, "two\n")
    monit.wait_until(lambda: any("hecksum changed" in body for body in collector.bodies), "the event at the collector")
    if is_queued:
        monit.wait_until(lambda: list(queue.iterdir()), "the event in the queue")
    else:
        seen = len(collector.bodies)
        monit.wait_until(lambda: len(collector.bodies) >= seen + 2, "two cycles more")
        assert list(queue.iterdir()) == []
        assert sum("hecksum changed" in body for body in collector.bodies) == 1, "and it never comes again"


def test_monit_runs_a_program_once_whatever_it_ends_with(device, collector, start_monit):
    """As a script that could not reach anybody: the event is gone with it."""
    queue = device.folder / "queue"
    queue.mkdir(mode=0o700)
    watched = device.file("watched", "one\n")
    calls = device.folder / "calls"
    script = device.file("script", "#!/bin/sh\necho called >>%s\nexit 7\n" % calls, 0o755)
    monit = start_monit(CHANGES % (queue, collector.server_port, watched, 'exec "%s"' % script))
    monit.wait_until(lambda: "checksum" in monit.said(), "the first checksum")
    change(device, monit, watched, "two\n")
    monit.wait_until(calls.exists, "the call")
    seen = len(collector.bodies)
    monit.wait_until(lambda: len(collector.bodies) >= seen + 3, "three cycles more")
    assert calls.read_text() == "called\n"


def test_px_status_takes_a_redirect_for_none(enrolled, upstream, start_monit, collector):
    queue = enrolled.folder / "queue"
    queue.mkdir(mode=0o700)
    watched = enrolled.file("watched", "one\n")
    monit = start_monit(CHANGES % (queue, collector.server_port, watched, 'exec "%s -c %s breach"' % (EVENT, enrolled.config)))
    monit.wait_until(lambda: "checksum" in monit.said(), "the first checksum")
    upstream.script(default={"status": 302})
    change(enrolled, monit, watched, "two\n")
    monit.wait_until(enrolled.list, "the event")
    enrolled.flush().ended(78)
    assert len(enrolled.list()) == 1
    upstream.script(default={})
    enrolled.flush("--now").ended(0)
    assert len(upstream.committed) == 1 and enrolled.list() == []
