# SPDX-License-Identifier: MIT
"""Many recorders at once, and a flush among them: none is lost, none takes long, none waits for the network."""
import os
import threading
import time

import pytest

from harness import EVENT, exactly_once, is_sanitized

MANY = 1000
LIMIT_S = 10


def start(device, number):
    """A recorder, and when it started; stderr goes nowhere, so that nobody has to read it."""
    began = time.monotonic()
    nowhere = [(os.POSIX_SPAWN_OPEN, stream, "/dev/null", os.O_RDWR, 0) for stream in range(3)]
    pid = os.posix_spawn(EVENT, [EVENT, "-c", device.config, "cpu", "n=%d" % number],
                         device.environment({"DESCRIPTION": "d" * 200}), file_actions=nowhere)
    return pid, began


def record_many(device, count):
    """
    Starts as many as fast as can be, and waits for all of them by id, as they end, which the first may do before the last
    has started; exit statuses and the lives of the processes in seconds.
    """
    left = {}
    statuses, lives = [], []

    def start_all():
        for number in range(count):
            left.update([start(device, number)])

    starting = threading.Thread(target=start_all)
    starting.start()
    while starting.is_alive() or left:
        for pid in list(left):
            done, status, _ = os.wait4(pid, os.WNOHANG)
            if done == pid:
                lives.append(time.monotonic() - left.pop(pid))
                statuses.append(os.waitstatus_to_exitcode(status))
        time.sleep(0.002)
    return statuses, lives


def test_1000_recorders_and_flushes(in_memory, upstream):
    """Started as fast as can be, with flushes at work all the time."""
    device = in_memory
    if is_sanitized():
        pytest.skip("built with SAN=1: a thousand processes of that size are too many for a small machine")
    device.configure(upstream)
    device.event("first", "n=-1")
    upstream.script(lambda _: {"delay_s": 0.2})
    over = threading.Event()
    flushes = []

    def flush_again_and_again():
        while not over.is_set():
            flushes.append(device.flush("--now", timeout=60))

    flushing = threading.Thread(target=flush_again_and_again)
    flushing.start()
    try:
        statuses, lives = record_many(device, MANY)
    finally:
        over.set()
        flushing.join()
    assert statuses == [0] * MANY, device.syslog.text[-3000:]
    assert max(lives) <= LIMIT_S, "the longest took %.1f s" % max(lives)
    assert {flush.status for flush in flushes} <= {0, 75}, flushes
    # Some may have gone through overflow: the next flush has them.
    upstream.script({})
    device.flush("--now").ended(0)
    assert {items[0]["params"]["n"] for items in upstream.committed.values()} == {str(number) for number in range(-1, MANY)}
    exactly_once(upstream, list(upstream.committed))
    assert sorted(items[0]["seq"] for items in upstream.committed.values()) == list(range(1, MANY + 2))
    stats = device.stats()
    assert (stats["recorded"], stats["acknowledged"], stats["overflow"]) == (MANY + 1, MANY + 1, 0)


@pytest.mark.parametrize("reply", [{"hang": True}, {"drip_s": 0.5, "body": {"rejected": []}}, {"delay_s": 50}],
                         ids=["no answer", "a slow answer", "a late answer"])
def test_no_recorder_waits_for_the_network(device, upstream, reply):
    """While a flush is in the middle of a post, recorders come and go."""
    device.configure(upstream, upstream={"url": upstream.url, "timeout": "60s"})
    device.record(5)
    upstream.script(default=reply)
    flush = device.flush_process("--now")
    upstream.wait_for(1)
    before = len(upstream.requests)
    statuses, _ = record_many(device, 20)
    assert statuses == [0] * 20
    # All of them ended while the flush still waited for that one answer.
    assert flush.poll() is None and len(upstream.requests) == before
    assert device.overflow_files() == []
    assert device.stats()["recorded"] == 25
    flush.kill()
    flush.communicate()
    upstream.script(default={})
    device.flush("--now").ended(0)
    assert len(upstream.committed) == 25
