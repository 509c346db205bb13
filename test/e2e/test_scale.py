# SPDX-License-Identifier: MIT
"""A long outage: 10,000 events wait, and then they are delivered."""
import os
import subprocess

import pytest

from harness import EVENT, is_sanitized

pytestmark = pytest.mark.long

WAITING = 10000


def record_many(device, count):
    numbers = "\n".join("n=%d" % number for number in range(count))
    env = device.environment({"SERVICE": "vm", "EVENT": "Resource limit matched",
                              "DESCRIPTION": "cpu usage of 99.7% matches resource limit [cpu usage > 80.0%]"})
    subprocess.run(["xargs", "-P", str(os.cpu_count() or 2), "-n", "1", EVENT, "-c", device.config, "cpu"], input=numbers.encode(),
                   env=env, check=True, timeout=600)


def test_10000_waiting_events(in_memory, upstream):
    device = in_memory
    if is_sanitized():
        pytest.skip("built with SAN=1: neither memory nor time say anything")
    record_many(device, WAITING)
    stats = device.stats()
    assert (stats["pending"], stats["recorded"], stats["overflow"]) == (WAITING, WAITING, 0)
    device.configure(upstream)
    peak = device.file("peak", "", 0o666)
    result = device.flush("--now", env={"PX_TEST_PEAK": str(peak)}, timeout=300).ended(0)
    assert len(upstream.committed) == WAITING and {len(items) for items in upstream.committed.values()} == {1}
    assert {items[0]["params"]["n"] for items in upstream.committed.values()} == {str(number) for number in range(WAITING)}
    assert sorted(items[0]["seq"] for items in upstream.committed.values()) == list(range(1, WAITING + 1))
    assert device.list() == [] and device.stats()["acknowledged"] == WAITING
    assert len(upstream.requests) >= WAITING // 500
    if device.syslog_is_ours:
        peaks = [int(line.split()[0]) for line in peak.read_text().splitlines()]
        assert peaks and max(peaks) < 11 * 1024, "peak of resident memory: %s kB; %s" % (peaks, result)

    # After the backlog the files shrink within two flushes.
    device.event("cpu")
    device.flush("--now").ended(0)
    assert device.stats()["bytes"] < stats["bytes"] // 4
