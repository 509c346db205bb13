# SPDX-License-Identifier: MIT
"""What the spool promises: bounds and counters, a corrupt and a cloned spool."""
import contextlib
import random
import re
import shutil
import sqlite3
import subprocess
import time

import pytest

from harness import EVENT, FLUSH, LATER, STATUS, USAGE, UUID, exactly_once, mode_of

STATUS_TEXT = "Monit 5.33.0 uptime: 3m\n\nSystem 'vm'\n  status                       OK\n"


# -- bounds

def test_max_items_loses_the_oldest_events_and_counts_them(device, upstream):
    device.configure(upstream, spool={"max_items": 5})
    ids = [device.record(1)[0] for _ in range(5)]
    for _ in range(3):
        device.event("cpu")
    items = device.list()
    assert [item["seq"] for item in items] == [4, 5, 6, 7, 8] and items[0]["id"] == ids[3]
    stats = device.stats()
    assert (stats["recorded"], stats["pending"], stats["lost"]) == (8, 5, {"events": 3, "snapshots": 0})
    device.flush().ended(0)
    assert upstream.requests[0].body["spool"]["lost"] == {"events": 3, "snapshots": 0}


def snapshots_and_events(device, max_items, turns):
    device.configure("http://127.0.0.1:9", spool={"max_items": max_items}, snapshot={
        "enabled": "yes", "source": "command", "command": device.monit_that_prints(STATUS_TEXT)})
    for turn in turns:
        if turn == "s":
            device.flush("--now").ended(LATER)
        else:
            device.event("cpu")


def test_snapshots_are_pushed_out_before_events(device):
    snapshots_and_events(device, 3, "sseee")
    assert [item["kind"] for item in device.list()] == ["event"] * 3
    assert device.stats()["lost"] == {"events": 0, "snapshots": 2}


def test_a_snapshot_never_pushes_out_an_event(device):
    snapshots_and_events(device, 3, "eees")
    assert [item["kind"] for item in device.list()] == ["event"] * 3
    stats = device.stats()
    assert (stats["recorded"], stats["lost"]) == (4, {"events": 0, "snapshots": 1})


def test_quarantined_events_are_pushed_out_before_pending_ones(device, upstream):
    device.configure(upstream, spool={"max_items": 3})
    ids = device.record(3)
    upstream.script({"body": {"rejected": [{"id": ids[1], "reason": "no"}, {"id": ids[2], "reason": "no"}]}})
    device.flush().ended(0)
    device.event("a")
    device.event("b")
    assert [(item["seq"], item["state"]) for item in device.list()] == [(3, "quarantined"), (4, "pending"), (5, "pending")]
    assert device.stats()["lost"] == {"events": 1, "snapshots": 0}


def test_max_bytes_holds_on_disk(device):
    device.configure(spool={"max_bytes": "1M"})
    values = ["k%d=%s" % (number, "v" * 4000) for number in range(10)]
    for _ in range(60):
        device.event("cpu", *values)
    size = sum(path.stat().st_blocks * 512 for path in device.spool_folder.rglob("*") if path.is_file())
    assert size <= 1 << 20
    stats = device.stats()
    assert stats["recorded"] == 60 and stats["lost"]["events"] == 60 - stats["pending"] and 1 <= stats["pending"] < 40
    assert device.list()[-1]["seq"] == 60


# -- corrupt, cloned

def test_a_corrupt_spool_is_set_aside_and_what_is_readable_is_sent(device, upstream, syslog):
    device.configure(upstream)
    device.record(1)
    device.flush().ended(0)
    before = device.stats()
    ids = device.record(40)
    with sqlite3.connect(device.spool) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    size = device.spool.stat().st_size
    with open(device.spool, "r+b") as spool:
        spool.seek(size * 3 // 4)
        spool.write(random.Random(1).randbytes(2048))
    said = [device.flush("--now").err for _ in range(3)]
    device.event("later")
    device.flush("--now").ended(0)
    took = [name for name in upstream.committed if name in ids]
    aside = [path for path in device.spool_folder.iterdir() if path.name.startswith("spool.db") and re.search(r"20\d\d", path.name)]
    if aside:
        assert device.stats()["spool_id"] != before["spool_id"]
        replaced = [request.body["spool"]["replaces"] for request in upstream.requests if "replaces" in request.body["spool"]]
        assert replaced and set(replaced[0]) == {"id", "recorded", "acknowledged"} and replaced[0]["id"] == before["spool_id"]
        assert "replaces" not in upstream.requests[-1].body["spool"]
        assert aside[0].name in "".join(said) + syslog.text
    assert len(took) > 10 and all(len(upstream.committed[name]) == 1 for name in took)


def test_a_spool_that_is_garbage_is_set_aside(device, upstream):
    device.configure(upstream)
    device.spool.write_bytes(b"garbage" * 3000)
    device.event("cpu", monit={})
    result = device.flush("--now").ended(0)
    assert [items[0]["topic"] for items in upstream.committed.values()] == ["cpu"]
    aside = [path for path in device.spool_folder.iterdir() if path.is_file() and path.read_bytes() == b"garbage" * 3000]
    assert len(aside) == 1 and aside[0] != device.spool and aside[0].name in result.err


def test_a_cloned_spool_starts_anew(device, upstream):
    device.configure(upstream)
    ids = device.record(3)
    upstream.script({"status": 503})
    device.flush().ended(LATER)
    before = device.stats()
    device.configure(upstream, device={"id": "device-2"})
    device.flush("--now").ended(0)
    exactly_once(upstream, ids)
    request = upstream.requests[-1]
    assert request.body["device"]["id"] == "device-2"
    assert request.body["spool"]["id"] != before["spool_id"] and re.fullmatch(UUID, request.body["spool"]["id"])
    assert request.body["spool"]["replaces"] == {"id": before["spool_id"], "recorded": 3, "acknowledged": 0}
    assert [item["seq"] for item in request.items] == [1, 2, 3]
    device.record(1)
    device.flush("--now").ended(0)
    assert "replaces" not in upstream.requests[-1].body["spool"]


def test_an_empty_batch_tells_what_a_spool_replaces(enrolled, upstream):
    """It is acknowledged, and that is once."""
    enrolled.record(4)
    enrolled.configure(upstream, device={"id": "another-device"})
    upstream.script(lambda request: {"status": 400 if len(request.ids) > 1 else 200})
    enrolled.flush("--now").ended(0)
    assert [(len(request.ids), "replaces" in request.body["spool"]) for request in upstream.requests[:3]] == [
        (4, True), (0, True), (2, False)]
    assert not any("replaces" in request.body["spool"] for request in upstream.requests[3:])


@pytest.mark.parametrize("command", ["export", "health", ["retry", "--all"]], ids=str)
def test_other_commands_of_a_missing_spool(device, command):
    device.status(*([command] if isinstance(command, str) else command)).ended(0)
    assert list(device.spool_folder.iterdir()) == []
    assert device.run(STATUS, "-c", device.config, "retry", "1").status == 1


def test_damage_that_shows_in_the_middle_of_a_run(device, upstream):
    """A leaf of the items is overwritten: one flush is enough."""
    device.configure(upstream)
    for _ in range(60):
        device.event("topic", "-m", "x" * 3000)
    device.flush("--no-snapshot", "-n").ended(0)
    with sqlite3.connect(device.spool) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    with open(device.spool, "r+b") as file:
        file.seek(30 * 4096)
        file.write(b"\xff" * (2 * 4096))
    device.flush("--now").ended(0)
    assert len(upstream.committed) >= 50
    assert upstream.requests[0].body["spool"]["replaces"]["recorded"] == 60
    assert device.stats()["pending"] == 0


def test_the_log_is_emptied_and_keeps_its_length(device, upstream):
    log = device.spool.with_name("spool.db-wal")
    salts = set()
    lengths = []
    ids = []
    while len(salts) < 4:
        ids += device.record(1)
        salts.add(log.read_bytes()[16:24])
        lengths.append(log.stat().st_size)
    assert lengths == sorted(lengths) and lengths[-1] <= 60 * (24 + 2048)
    assert len(set(lengths[len(lengths) // 2:])) < 3
    assert [item["seq"] for item in device.list()] == list(range(1, len(ids) + 1))
    device.configure(upstream)
    device.flush().ended(0)
    exactly_once(upstream, ids)
    assert log.stat().st_size == 0


def test_bounds_hold_with_many_recorders(device, upstream):
    """50 at once, events of both sizes; the files are looked at all the time."""
    device.configure(upstream, spool={"path": device.spool, "max_bytes": "1M"})
    upstream.script(default={"status": 503})
    largest = 0
    for _ in range(3):
        running = [subprocess.Popen([EVENT, "-c", device.config, "t", *(["-m", "x" * 4000] if number % 2 else []),
                                     *("k%d=%s" % (key, "y" * 3500) for key in range(12 if number % 3 == 0 else 0))],
                                    env=device.environment()) for number in range(50)]
        while any(process.poll() is None for process in running):
            largest = max(largest, sum(path.stat().st_size for path in device.spool_folder.glob("spool.db*")
                                       if "-new-" not in path.name))
            time.sleep(0.001)
        assert {process.returncode for process in running} == {0}
        device.flush("--now").ended(LATER)
    assert largest <= 1 << 20
    device.stats()


def test_a_reserve_from_the_first_event_on(device):
    device.event("cpu")
    reserve = device.spool.with_name("spool.db-reserve")
    assert reserve.stat().st_blocks * 512 >= 300 * 1024


# -- the mark of an event

def test_only_a_recorder_leaves_the_mark(enrolled, upstream):
    """So that what waits for it starts a flush for each event, and no flush for a flush."""
    mark = enrolled.spool.with_name("spool.db-recorded")
    for obstruction in (contextlib.nullcontext, enrolled.obstructed):
        with obstruction():
            enrolled.event("cpu", monit={})
        assert mode_of(mark) == 0o600 and mark.stat().st_size == 0
        mark.unlink()
    assert len(enrolled.overflow_files()) == 1
    enrolled.event("-n", "cpu")
    enrolled.flush("--dry-run").ended(0)
    enrolled.flush("--now").ended(0)
    enrolled.status("list").ended(0)
    enrolled.status("health").ended(0)
    enrolled.flush("--check")
    assert len(upstream.committed) == 2 and not mark.exists()
    enrolled.event("cpu")
    enrolled.flush().ended(0)
    assert mark.exists()


def test_what_stands_in_the_place_of_the_mark_is_left(device):
    mark = device.spool.with_name("spool.db-recorded")
    target = device.folder / "target"
    mark.symlink_to(target)
    device.event("cpu")
    assert mark.is_symlink() and not target.exists()
    mark.unlink()
    mark.write_text("kept")
    device.event("cpu")
    assert mark.read_text() == "kept" and len(device.list()) == 2


def test_the_same_item_named_twice(enrolled):
    enrolled.record(2)
    enrolled.status("drop", "1", "1").ended(USAGE)
    assert enrolled.stats()["pending"] == 2


def test_the_default_place_of_somebody_else(device, upstream, syslog, root):
    """A flush of a plain user, with a spool of his own, says nothing of a default place that he may not look into."""
    in_namespace = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /var/lib && mkdir -m 700 /var/lib/px-status && exec setpriv "
                    '--reuid nobody --regid nogroup --clear-groups "$@"', "sh"]
    if device.run(*in_namespace, "true").status != 0:
        pytest.skip("no mount namespace to be had")
    device.configure(upstream)
    ids = device.record(1)
    for path in (device.config, device.spool_folder, *device.spool_folder.iterdir()):
        shutil.chown(path, "nobody", "nogroup")
    device.run(*in_namespace, device.copy_of(FLUSH), "-c", device.config).ended(0)
    assert list(upstream.committed) == ids and syslog.text == ""
