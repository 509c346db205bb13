# SPDX-License-Identifier: MIT
"""
No room: a full disk, a quota, a read-only mount, a limit on the size of files. Each event goes where it is promised to, and
whatever was accepted arrives once there is an upstream, full disk or not.
"""
import collections
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from harness import EVENT, FLUSH, LATER, STORAGE, UUID_V7, is_sanitized, run
from interface import Interface, http
from room import Room

SIZES = ["200k", "300k", "400k", "600k", "1m", "2m"]


@pytest.fixture
def make_room(preload):
    made = []

    def make(options):
        made.append(Room(preload, options))
        if not made[-1].syslog_is_ours:
            pytest.skip("no C compiler to build the library that catches syslog")
        return made[-1]

    yield make
    for room in made:
        room.close()


def events_of(syslog):
    """The documents in these lines by their n, each put together from all of its parts; not those of which parts are lost."""
    parts = collections.defaultdict(dict)
    counts = {}
    for line in syslog.raw:
        assert len(line) <= 1024
        found = re.search(rb"px-status-event.*?: event (%s) (\d+)/(\d+) (.*)" % UUID_V7.encode(), line, re.DOTALL)
        if found is not None:
            parts[found[1]][int(found[2])] = found[4].rstrip(b"\0")
            counts[found[1]] = int(found[3])
    whole = {}
    for name, pieces in parts.items():
        if sorted(pieces) != list(range(1, counts[name] + 1)):
            continue
        document = json.loads(b"".join(pieces[number] for number in sorted(pieces)))
        assert document["id"].encode() == name
        whole[int(document["params"]["n"])] = document
    return whole


class Filling:
    """Records events and keeps account of what was accepted."""

    def __init__(self, device):
        self.device = device
        self.accepted, self.refused = [], []
        self.long = set()       # of more lines than a socket of syslog's holds while nobody reads: nobody waits for that
        self.where = []         # of each in order: "spool", "overflow", "syslog"
        self._number = 0

    def record(self, size, **more):
        number = self._number
        self._number += 1
        waiting, recorded = len(self.device.overflow_files()), self.recorded()
        values = ["k%d=%s" % (at, "v" * min(4000, size - at * 4000)) for at in range((size + 3999) // 4000)]
        result = self.device.try_event("cpu", "n=%d" % number, *values, monit={}, **more)
        assert result.status in (0, STORAGE), result
        assert result.seconds < 10
        (self.accepted if result.status == 0 else self.refused).append(number)
        if size > 5000:
            self.long.add(number)
        if result.status == STORAGE:
            self.where.append("syslog")
            assert self.device.syslog.raw       # all of it is read, so that the next one's lines have room
            assert (len(self.device.overflow_files()), self.recorded()) == (waiting, recorded)
        else:
            in_spool = self.recorded() - recorded
            assert in_spool + len(self.device.overflow_files()) - waiting == 1, result
            self.where.append("spool" if in_spool else "overflow")
        return self.where[-1]

    def recorded(self):
        """Something may stand in the spool's place."""
        return 0 if (self.device.spool_folder / self.device.spool.name).is_dir() else self.device.stats()["recorded"]

    def until_full(self):
        while self.device.free_bytes > 150000:
            self.record(20000)
        # No more lines than a socket holds that nobody reads meanwhile.
        for size in (2500, 600):
            while self.record(size) != "syslog":
                pass

    def arrived(self, upstream):
        """Asserts that what was accepted has arrived, each once, and what was refused stands whole in syslog."""
        counts = collections.Counter(int(item["params"]["n"]) for items in upstream.committed.values() for item in items
                                     if "params" in item)
        assert counts == collections.Counter(self.accepted)
        told = set(events_of(self.device.syslog))
        assert set(self.refused) - self.long <= told <= set(self.refused)
        stats = self.device.stats()
        assert (stats["pending"], stats["overflow"], stats["lost"]["events"]) == (0, 0, 0)
        assert self.device.overflow_files() == []


@pytest.mark.parametrize("size", SIZES)
def test_a_disk_that_fills_up(make_room, upstream, size):
    """First the spool takes events, then overflow, then syslog; delivery and removal need no room."""
    device = make_room("mode=755,size=" + size)
    device.configure(upstream)
    filling = Filling(device)
    later = device.spool_folder / "later"
    later.write_bytes(b"x" * 65536)
    filling.until_full()
    assert filling.where[0] == "spool" and filling.where[-1] == "syslog"
    later.unlink()
    with device.obstructed():
        filling.until_full()
    filling.until_full()
    log = device.syslog.text
    assert set(filling.where) == {"spool", "overflow", "syslog"}
    assert "waits in the overflow folder" in log and "No space left on device" in log and "is in syslog only" in log
    assert str(device.spool) in log and str(device.mounted / "overflow") in log

    assert device.free_bytes < 20000
    device.flush("--now").ended(0)
    filling.arrived(upstream)
    assert filling.record(3000) == "spool"
    device.flush("--now").ended(0)
    filling.arrived(upstream)


@pytest.mark.parametrize("size, message, items", [("1m", 700, 500), ("2m", 100, 500), ("2m", 1, 10000)])
def test_whole_batches_leave_a_full_disk(make_room, upstream, size, message, items):
    """Each is removed within the room that there is, and none comes twice."""
    if size != "1m" and is_sanitized():
        pytest.skip("built with SAN=1: thousands of recorders take too long")
    device = make_room("mode=755,size=" + size)
    device.configure(upstream, batch={"max_items": items})
    until_full = "while [ ! -d %s ]; do %s -c %s cpu -m %s || exit; done" % (
        device.mounted / "overflow", EVENT, device.config, "m" * message)
    device.run("/bin/sh", "-c", until_full, monit={}, timeout=600)
    device.fill()
    pending = device.stats()["pending"]
    assert pending > 450 and device.free_bytes == 0
    device.flush("--now").ended(0)
    assert len(upstream.committed) >= pending and {len(items) for items in upstream.committed.values()} == {1}
    assert (device.stats()["pending"], device.stats()["lost"]["events"]) == (0, 0)


def test_nothing_enters_a_log_that_could_not_be_emptied(make_room, upstream):
    """What finds room in the log and then none in the file would leave no room to remove anything, for good."""
    device = make_room("mode=755,size=8m")
    status = "Monit 5.33.0 uptime: 3m\n\n" + "Program 'p'\n  status  OK\n  last output  %s\n\n" % ("x" * 900) * 1000
    filling = Filling(device)
    for _ in range(20):
        assert filling.record(3000) == "spool"
    device.fill(1300000)
    with Interface(http("200 OK", status)) as monit:
        device.configure("http://127.0.0.1:9", snapshot={"enabled": "yes", **monit.settings})
        result = device.flush("--now").ended(LATER)
        assert len(monit.asked) == 1
    device.configure(upstream, snapshot={"enabled": "no"})
    device.flush("--now").ended(0)
    filling.arrived(upstream)
    assert "cannot write spool '%s': No space left on device" % device.spool in result.err


@pytest.mark.parametrize("left", [200000, 300000, 400000])
def test_overflow_enters_no_log_that_could_not_be_emptied(make_room, upstream, left):
    """Each file makes room as it goes, and each event takes more than that in log and spool."""
    device = make_room("mode=755,size=8m")
    device.configure("http://127.0.0.1:9")
    filling = Filling(device)
    for _ in range(20):
        assert filling.record(3000) == "spool"
    with device.obstructed():
        for _ in range(15):
            assert filling.record(60000) == "overflow"
    device.fill(left)
    device.flush("--now").ended(LATER)
    device.configure(upstream)
    device.flush("--now").ended(0)
    filling.arrived(upstream)


READER = """import sqlite3, sys
spool = sqlite3.connect(sys.argv[1], isolation_level=None)
spool.execute("BEGIN")
print(spool.execute("SELECT count(*) FROM item").fetchone()[0], flush=True)
sys.stdin.read()
"""


def test_events_enter_no_log_that_could_not_be_emptied(make_room, upstream):
    """While another program reads the spool, the log is not emptied and takes all that the disk has."""
    device = make_room("mode=755,size=3m")
    device.configure(upstream)
    filling = Filling(device)
    filling.record(600)
    reader = subprocess.Popen([*device.enter, sys.executable, "-c", READER, device.mounted / "spool.db"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert reader.stdout.readline() == b"1\n"
    while filling.record(20000) == "spool":
        pass
    device.fill()
    reader.communicate()
    device.flush("--now").ended(0)
    filling.arrived(upstream)


def test_rejections_leave_room_for_removal(make_room, upstream):
    """Reasons take room that there is not; what leaves next needs some, too."""
    device = make_room("mode=755,size=2m")
    device.configure(upstream, spool={"max_bytes": 1 << 20})
    device.run("xargs", "-n", "1", EVENT, "-c", device.config, "cpu", monit={}, timeout=120, stdin=device.file(
        "numbers", "\n".join("n=%d" % number for number in range(400))).open()).ended(0)
    device.fill()
    upstream.script(lambda request: {"body": {"rejected": [{"id": name, "reason": "r" * 900} for name in request.ids]}})
    assert "cannot write spool '%s'" % device.spool in device.flush("--now").ended(STORAGE).err
    stats = device.stats()
    assert stats["quarantined"] > 50 and stats["pending"] > 50
    upstream.script()
    device.flush("--now").ended(0)
    assert len(upstream.committed) == stats["pending"] and {len(items) for items in upstream.committed.values()} == {1}
    assert device.stats()["pending"] == 0


def test_overflow_that_is_all_there_is(make_room, upstream):
    """There is room for its files and no more, and nothing in the spool whose delivery would make some."""
    device = make_room("mode=755,size=2m")
    device.configure(upstream)
    filling = Filling(device)
    filling.record(600)
    device.flush("--now").ended(0)
    with device.obstructed():
        for size in (3000, 60000, 600):
            assert filling.record(size) == "overflow"
    device.fill()
    device.flush("--now").ended(0)
    filling.arrived(upstream)


@pytest.mark.parametrize("command", ["flush", "drop"])
def test_no_inode_left(make_room, upstream, command):
    """Not even one for the index of the log, which recorders do not need and have not left."""
    device = make_room("mode=755,size=2m,nr_inodes=40")
    device.configure(upstream)
    filling = Filling(device)
    filling.record(600)
    filling.record(600)
    (device.spool_folder / "spool.db-lock").touch(0o600)
    (device.spool_folder / "spool.db-shm").unlink()
    with contextlib.suppress(OSError):
        for number in range(40):
            (device.spool_folder / str(number)).touch()
    if command == "flush":
        device.flush("--now").ended(0)
        filling.arrived(upstream)
    else:
        device.status("drop", "2").ended(0)
        assert device.stats()["dropped"] == 1


def test_a_disk_that_others_fill(make_room, upstream):
    """The last byte is gone before the flush begins, and stays gone."""
    device = make_room("mode=755,size=2m")
    device.configure("http://127.0.0.1:9", batch={"max_items": 5}, snapshot={
        "enabled": "yes", "source": "command", "command": device.monit_that_prints("Monit 5.33.0 uptime: 3m\n")})
    filling = Filling(device)
    for _ in range(60):
        assert filling.record(3000) == "spool"
    with device.obstructed():
        device.event("cpu", "n=1000", monit={})
    filling.accepted.append(1000)
    device.fill()
    places = [filling.record(3000) for _ in range(20)]          # some fit into the log, which keeps its length
    assert places[-1] == "syslog" and places == sorted(places)
    device.configure(upstream, batch={"max_items": 5})
    device.flush("--now").ended(0)
    filling.arrived(upstream)
    device.fill()
    device.list()


def test_a_person_at_a_full_disk(make_room, upstream):
    """Sees what is there, and may take away."""
    device = make_room("mode=755,size=2m")
    device.configure(upstream)
    for _ in range(5):
        device.event("cpu", "n=0", "k=" + "v" * 3000)
    device.fill()
    assert [item["seq"] for item in device.list()] == [1, 2, 3, 4, 5]
    assert device.show(2)["topic"] == "cpu" and device.stats()["pending"] == 5
    assert len(device.status("export").ended(0).out.splitlines()) == 5
    device.status("health").ended(0)
    device.status("drop", "2", "3").ended(0)
    assert [item["seq"] for item in device.list()] == [1, 4, 5]
    assert device.stats()["dropped"] == 2
    device.flush("--now").ended(0)
    assert len(upstream.committed) == 3


def test_a_disk_that_fills_during_the_flush(make_room, upstream):
    device = make_room("mode=755,size=2m")
    device.configure(upstream, batch={"max_items": 5})
    filling = Filling(device)
    for _ in range(60):
        filling.record(3000)

    def reply(_):
        if not (device.spool_folder / "filler").exists():
            device.fill()
        return {}

    upstream.script(reply)
    device.flush("--now").ended(0)
    filling.arrived(upstream)
    assert len(upstream.requests) == 12


def test_overflow_that_waits_makes_no_run_longer(make_room, upstream):
    """10 minutes are all, though each delivery makes room for overflow that may go next."""
    device = make_room("mode=755,size=2m")
    device.configure(upstream, batch={"max_items": 1})
    filling = Filling(device)
    for _ in range(12):
        filling.record(3000)
    with device.obstructed():
        for _ in range(5):
            filling.record(60000)
    device.fill()
    later = device.folder / "later"
    later.touch()
    device.env["PX_TEST_LATER"] = str(later)

    def reply(_):
        os.truncate(later, later.stat().st_size + 250)
        return {}

    upstream.script(reply)
    for _ in range(3):
        upstream.forget()
        device.flush("--now").ended(0)
        assert len(upstream.requests) == 3
    upstream.script()
    device.flush("--now").ended(0)
    filling.arrived(upstream)


def test_a_spool_that_can_not_be_made(make_room, upstream):
    """Not a byte from the start on; later there is room again."""
    device = make_room("mode=755,size=400k")
    device.configure(upstream)
    device.fill()
    filling = Filling(device)
    assert filling.record(600) == "syslog"
    result = device.flush("--now").ended(STORAGE)
    assert "disk is full" in result.err and str(device.spool) in result.err
    device.unfill()
    assert filling.record(600) == "spool"
    device.flush("--now").ended(0)
    filling.arrived(upstream)


@pytest.mark.parametrize("first", [True, False], ids=["empty", "in use"])
def test_a_read_only_mount(make_room, upstream, first):
    device = make_room("mode=755,size=2m")
    device.configure(upstream)
    filling = Filling(device)
    if not first:
        filling.record(600)
    device.remount("ro")
    assert filling.record(600) == "syslog"
    assert "Read-only file system" in device.syslog.text
    result = device.flush("--now").ended(STORAGE)
    assert "ead-only" in result.err and str(device.spool) in result.err
    assert len(device.list()) == (0 if first else 1)
    device.remount("rw")
    filling.record(600)
    device.flush("--now").ended(0)
    filling.arrived(upstream)


def test_a_read_only_mount_is_named_where_sqlite_does_not(make_room):
    """Without the shared memory of the log's index, SQLite tells what it could not do in the place of what it is for."""
    device = make_room("mode=755,size=2m")
    device.event("cpu")
    device.remount("ro")
    for result in (device.try_event("cpu"), device.status("list")):
        assert "cannot open spool '%s': Read-only file system" % device.spool in result.ended(STORAGE).err


@pytest.mark.parametrize("first", [True, False], ids=["a new spool", "a warm spool"])
def test_a_limit_on_the_size_of_files(device, upstream, syslog, first):
    """ulimit -f, in bytes: neither the recorder nor the flush dies of SIGXFSZ, whatever had room arrives."""
    if shutil.which("prlimit") is None:
        pytest.skip("prlimit is needed")
    device.configure(upstream)
    filling = Filling(device)
    if not first:
        filling.record(600)
    for limit in (0, 100, 1024, 4096, 9000, 20000, 40000, 100000, 1 << 20):
        program = ["prlimit", "--fsize=%d" % limit, EVENT]
        waiting, recorded = len(device.overflow_files()), device.stats()["recorded"]
        number = 5000 + limit
        result = device.run(*program, "-c", device.config, "cpu", "n=%d" % number, "k=" + "v" * 3000, monit={})
        assert result.status in (0, STORAGE), result
        (filling.accepted if result.status == 0 else filling.refused).append(number)
        gained = device.stats()["recorded"] - recorded + len(device.overflow_files()) - waiting
        assert gained == (1 if result.status == 0 else 0)
    assert filling.refused and len(filling.accepted) >= 4
    log = syslog.text
    assert "File too large" in log and "is in syslog only" in log
    result = run(["prlimit", "--fsize=20000", FLUSH, "-c", device.config, "-s", device.spool, "--now"], device.environment())
    assert result.status in (0, STORAGE), result
    device.flush("--now").ended(0)
    filling.arrived(upstream)


QUOTA = "mode=755,size=4m,usrquota,usrquota_block_hardlimit=300k,usrquota_inode_hardlimit=200"


def test_a_quota(make_room, upstream):
    device = make_room(QUOTA)
    device.configure(upstream)
    filling = Filling(device)
    filling.until_full()
    assert "Disk quota exceeded" in device.syslog.text
    device.flush("--now").ended(0)
    filling.arrived(upstream)


@pytest.mark.parametrize("call", ["pwrite64", "ftruncate", "fallocate", "openat"])
def test_what_a_quota_does(device, upstream, syslog, call):
    """Where no file system with quotas is to be had: each of these calls fails as it does when one is exhausted."""
    if shutil.which("strace") is None:
        pytest.skip("strace is needed")
    device.configure(upstream)
    filling = Filling(device)
    filling.record(600)
    device.env["ASAN_OPTIONS"] += ":detect_leaks=0"
    of_files = [word for suffix in ("", "-wal", "-shm") for word in ("-P", str(device.spool) + suffix)]
    inject = ["strace", "-qq", "-f", "-o", "/dev/null", *of_files, "-e", "trace=" + call, "-e", "inject=%s:error=EDQUOT" % call]
    result = device.run(*inject, EVENT, "-c", device.config, "cpu", "n=1", "k=v", monit={})
    if "ptrace" in result.err:
        pytest.skip("strace may not trace here: " + result.err.strip())
    result.ended(0)
    filling.accepted.append(1)
    device.run(*inject, FLUSH, "-c", device.config, "-s", device.spool, "--now")
    device.flush("--now").ended(0)
    filling.arrived(upstream)
