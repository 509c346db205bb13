# SPDX-License-Identifier: MIT
"""max_items and max_bytes hold on disk at every moment of a storm, those of overflow too, and what they cost is told."""
import os
import random
import re
import sqlite3
import subprocess
import threading
import time

import pytest

from harness import EVENT, LATER, STORAGE, ids_in, is_sanitized

OVERFLOW_FILES, OVERFLOW_BYTES = 10000, 64 << 20


class Watch:
    """In a with statement: calls ${look} all the time and keeps the largest that it returned, and how often it looked."""

    def __init__(self, look):
        self.largest, self.count = 0, 0
        self._look = look
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._done.set()
        self._thread.join()

    def _watch(self):
        over = False
        while not over:
            over = self._done.is_set()      # then once more
            self.largest = max(self.largest, self._look())
            self.count += 1
            time.sleep(0.0005)


def bytes_of(device):
    """The spool's files by their lengths or by what they take on disk, whichever is more."""
    length, taken = 0, 0
    for path in (device.spool, *(device.spool.with_name(device.spool.name + suffix) for suffix in ("-wal", "-shm", "-reserve"))):
        try:
            found = path.lstat()
        except OSError:
            continue
        length, taken = length + found.st_size, taken + found.st_blocks * 512
    return max(length, taken)


def storm(device, count, arguments, monit=None):
    """${count} recorders at once; their exit statuses."""
    running = [subprocess.Popen([EVENT, "-c", device.config, *arguments(number)], env=device.environment(monit or {}),
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
               for number in range(count)]
    return [process.wait(60) for process in running]


def status_text(size):
    """What Monit might say, of about ${size} bytes."""
    line = "  last output                  %s\n" % ("x" * 900)
    return "Monit 5.33.0 uptime: 3m\n\n" + "".join("Program 'p%d'\n  status                       OK\n%s\n" % (number, line)
                                                for number in range(size // 970))


@pytest.mark.parametrize("limit, largest_snapshot", [(1 << 20, 200000), (4 << 20, 4000000)], ids=["1M", "4M"])
def test_max_bytes_in_a_storm(device, upstream, limit, largest_snapshot):
    """Events of 300 bytes to 64 KiB from 30 recorders at once, snapshots of any size, upstream up, down and rejecting."""
    seed, waves = time.time_ns(), 0
    chance = random.Random(seed)
    device.configure(upstream, spool={"max_bytes": limit}, batch={"max_items": 20}, snapshot={
        "enabled": "yes", "source": "command", "command": device.monit_that_prints("")})

    def values(_):
        return ["t", *("k%d=%s" % (at, "y" * 4000) for at in range(chance.choice([0, 0, 1, 4, 15, 15])))]

    def snapshots():
        return {item["id"] for item in device.list() if item["kind"] == "snapshot"}

    def reply(request):
        kind = chance.randrange(4)
        if kind == 0 or waves < 3:
            return {"status": 503}
        poor = [name for name in request.ids if kind == 1 and chance.random() < 0.3]
        return {"body": {"rejected": [{"id": name, "reason": "r" * 900} for name in poor]}}

    upstream.script(reply)
    with Watch(lambda: bytes_of(device)) as watch:
        for waves in range(5):
            (device.folder / "monit.txt").write_text(status_text(chance.randrange(2000, largest_snapshot)))
            lost, there = device.stats()["lost"]["events"], snapshots()
            flush = device.flush_process("--now")
            statuses = storm(device, 30, values)
            assert flush.wait(30) in (0, LATER), flush.communicate()
            assert set(statuses) <= {0}, seed
            # A snapshot may come in behind an event that was pushed out, but none is left that was there before.
            assert device.stats()["lost"]["events"] == lost or not there & snapshots(), seed
    assert watch.count > 5
    assert watch.largest <= limit, (seed, watch.largest, limit)
    assert watch.largest > limit * 2 // 5, "the storm came nowhere near the bound"

    upstream.script({})
    (device.folder / "monit.txt").write_text(status_text(2000))
    device.status("retry", "--all").ended(0)
    for _ in range(3):
        device.flush("--now").ended(0)
    told, stats = upstream.requests[-1].body["spool"], device.stats()
    assert told["lost"] == stats["lost"] and sum(stats["lost"].values()) > 0
    # What upstream has not got by seq is lost; what was pushed out while it was on its way counts as lost, and arrived.
    seqs = {item["seq"] for items in upstream.committed.values() for item in items}
    missing, lost = stats["recorded"] - len(seqs), sum(stats["lost"].values())
    assert missing <= lost and stats["acknowledged"] + lost == stats["recorded"], seed
    assert stats["acknowledged"] <= len(seqs) and stats["pending"] == stats["quarantined"] == 0


@pytest.mark.parametrize("message, items, reason", [(900, 500, 0), (400, 500, 0), (1, 10000, 0), (1, 500, 900)],
                         ids=["large", "small", "all at once", "rejected"])
def test_max_bytes_while_whole_batches_leave(in_memory, upstream, message, items, reason):
    """From a spool that is full: neither their removal nor the reasons of those that stay break the bound."""
    if reason == 0 and is_sanitized():
        pytest.skip("built with SAN=1: a thousand recorders take long, and one row is enough for memory")
    device = in_memory
    device.configure(upstream, spool={"max_bytes": 1 << 20}, batch={"max_items": items})
    numbers = "\n".join("n=%d" % number for number in range(1100))
    subprocess.run(["xargs", "-P", "4", "-n", "1", EVENT, "-c", device.config, "-m", "m" * message, "cpu"], input=numbers,
                   check=True, timeout=600, text=True, env=device.environment({}))
    if reason > 0:
        upstream.script(lambda request: {"body": {"rejected": [{"id": name, "reason": "r" * reason} for name in request.ids]}})
    with Watch(lambda: bytes_of(device)) as watch:
        device.flush("--now", timeout=60).ended(0)
    stats = device.stats()
    assert stats["pending"] == 0 and watch.largest <= 1 << 20, watch.largest
    assert stats["acknowledged"] + stats["quarantined"] + stats["lost"]["events"] == 1100


def test_max_items_in_a_storm(in_memory):
    """As another reader of the file sees them."""
    device = in_memory
    device.configure("http://127.0.0.1:9", spool={"max_items": 12})
    device.event("first")
    reader = sqlite3.connect("file:%s?mode=ro" % device.spool, uri=True, check_same_thread=False, timeout=10)

    def count():
        try:
            return reader.execute("SELECT count(*) FROM item").fetchone()[0]
        except sqlite3.OperationalError:
            return 0

    with Watch(count) as watch:
        statuses = storm(device, 60, lambda number: ["t", "n=%d" % number])
    reader.close()
    assert set(statuses) == {0}
    # On a machine so busy that some can't get the lock in time, these come by the overflow folder.
    device.flush().ended(LATER)
    assert watch.count > 3 and watch.largest == 12
    assert [item["seq"] for item in device.list()] == list(range(50, 62))
    assert device.stats()["lost"] == {"events": 49, "snapshots": 0}


def fill_overflow(device, count, size):
    """${count} files as a recorder leaves them, of ${size} bytes that take no room."""
    with device.obstructed():
        device.event("first", monit={})
    pattern = device.overflow_files()[0]
    name = ids_in(pattern.name.encode())[0]
    digit = "1" if name[-7] == "0" else "0"     # none has the name of the first
    for number in range(count - 1):
        with open(device.overflow / pattern.name.replace(name, "%s%s%06x" % (name[:-7], digit, number)), "wb") as file:
            file.truncate(size)
    owner = device.spool_folder.stat()
    for path in device.overflow.iterdir():
        os.chown(path, owner.st_uid, owner.st_gid)


def sizes_of(folder):
    """Of each file, by inode: one that is renamed meanwhile may be seen under both names."""
    sizes = {}
    for entry in os.scandir(folder):
        try:
            sizes[entry.inode()] = entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            pass
    return sizes


def total_bytes(folder):
    return sum(sizes_of(folder).values())


def test_the_number_of_overflow_files_in_a_storm(in_memory):
    """40 recorders for the last 10 places."""
    device = in_memory
    fill_overflow(device, OVERFLOW_FILES - 10, 0)
    with device.obstructed(), Watch(lambda: len({entry.inode() for entry in os.scandir(device.overflow)})) as watch:
        statuses = storm(device, 40, lambda number: ["t", "n=%d" % number])
    assert watch.count > 0 and watch.largest <= OVERFLOW_FILES
    # On a machine so busy that some can't get the lock in time, not all ten places are taken.
    taken = len(device.overflow_files()) - (OVERFLOW_FILES - 10)
    assert 0 < taken <= 10 and sorted(statuses) == [0] * taken + [STORAGE] * (40 - taken)
    if device.syslog_is_ours:
        assert re.search("overflow folder '%s' is (half )?full" % device.overflow, device.syslog.text)


def test_the_bytes_of_overflow_in_a_storm(device):
    """Room for 5 documents of some 40 KB, and 20 that want it."""
    fill_overflow(device, 65, (1 << 20) - 3500)
    with device.obstructed(), Watch(lambda: total_bytes(device.overflow)) as watch:
        room = OVERFLOW_BYTES - total_bytes(device.overflow)
        statuses = storm(device, 20, lambda number: ["t", *("k%d=%s" % (at, "y" * 4000) for at in range(10))])
    assert watch.count > 0 and watch.largest <= OVERFLOW_BYTES
    assert statuses.count(0) == room // 40500 and statuses.count(STORAGE) == 20 - statuses.count(0)


def test_files_shrink_after_a_backlog(in_memory, upstream):
    """Within two flushes, and the reserve is there again; the recorder after them pays for none of it."""
    device = in_memory
    values = ["k%d=%s" % (at, "y" * 4000) for at in range(10)]
    storm(device, 60, lambda number: ["t", *values])
    assert bytes_of(device) > 1 << 20
    device.configure(upstream)
    for _ in range(2):
        device.flush("--now").ended(0)
    assert len(upstream.committed) == 60
    assert bytes_of(device) < 600 << 10
    device.event("t")
    assert bytes_of(device) < 700 << 10
