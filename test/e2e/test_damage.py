# SPDX-License-Identifier: MIT
"""
Damage here and there in the pages of a spool, and spools that say they are huge. Two flushes mend it, whatever it is; what
is readable arrives. PX_DAMAGE_SECONDS says for how long damage is drawn at random (8), PX_DAMAGE_SEED from which seed on.
"""
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import sqlite3
import time

import pytest

import harness
from broken import BOUND_S, PAGE, SLACK_S, aside, checkpoint, overwrite, side, under_monit
from harness import LATER, STORAGE, is_sanitized
from upstream import Upstream

LOG_HEADER, FRAME_HEADER = 32, 24
FRAME = FRAME_HEADER + PAGE
MAP, ITEM_ROOT = 2, 4
EVENT_KEYS = 1 << 48
PEAK_KIB = 32 << 10
NEW = re.compile(rb'{"id":"([^"]+)","seq":[0-9]+,[^{}]*"topic":"new"')


def leaves_of_items(data):
    """Numbers of the leaves below the root, in the order of their keys."""
    root = data[(ITEM_ROOT - 1) * PAGE:ITEM_ROOT * PAGE]
    assert root[0] == 5
    places = [int.from_bytes(root[at:at + 2], "big") for at in range(12, 12 + 2 * int.from_bytes(root[3:5], "big"), 2)]
    return [int.from_bytes(root[at:at + 4], "big") for at in [*places, 8]]


# -- damage that a flush comes upon, and takes for something else

def test_pages_beyond_all_numbers(device, upstream):
    """SQLite says that the disk is full where a page leads to one that no file can have."""
    device.configure(upstream, batch={"max_items": 7})
    device.record(60)
    checkpoint(device)
    data = device.spool.read_bytes()
    for leaf in leaves_of_items(data)[1:-1]:
        with contextlib.suppress(FileNotFoundError):
            side(device, "-wal").unlink()
        device.spool.write_bytes(data)
        overwrite(device.spool, b"\xff" * 700, (leaf - 1) * PAGE + 900)
        for _ in range(2):
            last = device.flush("--now")
        last.ended(0)
        assert aside(device) and device.stats()["pending"] == 0
        for path in aside(device):
            path.unlink()


def test_a_disk_that_is_full_is_not_damage(device, upstream):
    device.configure(upstream)
    device.record(3)
    spool_id = device.stats()["spool_id"]
    limit = device.spool.stat().st_size
    # The longest file that a process may write, as a full disk but for the number of the error.
    device.run("sh", "-c", 'ulimit -f %d; exec "$@"' % (limit // 512), "sh", harness.FLUSH, "-c", device.config, "-s", device.spool, "--now")
    device.flush("--now").ended(0)
    assert aside(device) == [] and device.stats()["spool_id"] == spool_id


@pytest.mark.parametrize("pair", [(0, 3), (0, -1), (1, 2), (-2, -1)], ids=str)
def test_leaves_that_changed_places(device, upstream, pair):
    """Whatever becomes of an item whose key does not lead to it, it would be there again, and be posted for ever."""
    device.configure(upstream, batch={"max_items": 7})
    ids = device.record(60)
    checkpoint(device)
    data = device.spool.read_bytes()
    first, second = (leaves_of_items(data)[at] - 1 for at in pair)
    overwrite(device.spool, data[first * PAGE:(first + 1) * PAGE], second * PAGE)
    overwrite(device.spool, data[second * PAGE:(second + 1) * PAGE], first * PAGE)
    device.flush("--now").ended(0)
    device.flush("--now").ended(0)
    assert set(upstream.committed) == set(ids) and max(map(len, upstream.committed.values())) <= 2
    assert device.stats()["pending"] == 0


@pytest.mark.parametrize("seq", [1, 4, 9], ids=str)
def test_a_key_that_no_item_has(device, upstream, seq):
    """Nobody comes by such an item who asks for those that were recorded."""
    device.configure(upstream, batch={"max_items": 3})
    ids = device.record(9)
    checkpoint(device)
    with contextlib.closing(sqlite3.connect(device.spool)) as database:
        database.execute("UPDATE item SET key = key + ? WHERE key = ?", (EVENT_KEYS, EVENT_KEYS + seq))
        database.commit()
    for _ in range(2):
        device.flush("--now").ended(0)
    assert device.stats()["pending"] == 0 and device.list() == []
    assert set(ids) - {ids[seq - 1]} <= set(upstream.committed)


@pytest.mark.parametrize("left", [True, False], ids=["an item is there", "all is delivered"])
def test_a_key_that_is_a_column(device, upstream, left):
    """A recorder does not read the schema, and an insert into this one succeeds."""
    device.configure(upstream)
    device.record(1)
    if not left:
        device.flush("--now").ended(0)
    checkpoint(device)
    schema = device.spool.read_bytes()[:PAGE]
    overwrite(device.spool, b"\xff", schema.index(b"item(key INTEGER PRIMARY KEY") + len("item(key INTEGER"))
    under_monit(device)
    for _ in range(2):
        device.flush("--now").ended(0)
    assert sorted(items[0]["topic"] for items in upstream.committed.values()) == ["cpu", "later"]


def test_damage_among_quarantined_items(device, upstream):
    """Which no flush sends, but a person will ask for."""
    device.configure(upstream)
    ids = device.record(20)
    upstream.script(lambda request: {"body": {"rejected": [{"id": name, "reason": "no"} for name in request.ids]}})
    device.flush("--now").ended(0)
    upstream.script()
    checkpoint(device)
    leaf = leaves_of_items(device.spool.read_bytes())[1]
    overwrite(device.spool, b"\xff" * 16, leaf * PAGE - 16)     # the end of its oldest item
    for _ in range(2):
        device.flush("--now").ended(0)
    items = [json.loads(line) for line in device.status("export").ended(0).out.splitlines()]
    assert {item["state"] for item in items} == {"quarantined"}
    assert len(set(ids) - {item["item"]["id"] for item in items}) == 1 and len(items) == 19


def test_a_byte_that_is_no_text(device, upstream):
    """What is said of items, and of runs, is UTF-8 whatever has become of it on the disk."""
    device.configure(upstream)
    device.record(2)
    upstream.script({"body": {"rejected": [{"id": device.list()[0]["id"], "reason": "a reason"}]}}, {"status": 503})
    device.flush("--now").ended(0)
    device.record(1, topic="a-topic")
    device.flush("--now").ended(LATER)
    with contextlib.closing(sqlite3.connect(device.spool)) as database:
        for table, column in ("mark", "reason"), ("spool", "last_failure_reason"), ("run", "reason"), ("item", "topic"):
            database.execute("UPDATE %s SET %s = CAST(x'ff' || %s AS TEXT) WHERE length(%s) > 0" % (table, column, column, column))
        database.commit()
    assert device.stats()["last_failure"]["reason"].startswith("\ufffd")
    assert [(item["topic"][0], (item["reason"] or "-")[0]) for item in device.list()] == [("\ufffd", "\ufffd"), ("\ufffd", "-")]
    assert "\\xff" not in device.status("export").ended(0).out + device.status("list").ended(0).out + device.status("stats").ended(0).out
    side(device, "-damaged").touch()
    device.flush("--now").ended(0)
    assert [(item["topic"][0], item["reason"][0]) for item in device.list()] == [("\ufffd", "\ufffd")]


# -- damage in the write-ahead log

def frames_of(data):
    """The pages of the frames, in order."""
    return [int.from_bytes(data[at:at + 4], "big") for at in range(LOG_HEADER, len(data), FRAME)]


def junk_over_the_header(device, _):
    """And over the first frame's own, in which the same salts are."""
    overwrite(side(device, "-wal"), b"\xff" * (LOG_HEADER + FRAME_HEADER + 50 - 3), 3)


def zeros_over_the_header(device, _):
    overwrite(side(device, "-wal"), b"\0" * (LOG_HEADER + FRAME_HEADER + 50 - 3), 3)


def junk_over_two_frames(device, frames):
    """The end of one and the header of the next, which is the last of the items' root: what it was nobody knows."""
    last = len(frames) - 1 - frames[::-1].index(ITEM_ROOT)
    overwrite(side(device, "-wal"), b"\xa5" * 300, LOG_HEADER + FRAME * last - 200)


def junk_within_a_frame(device, frames):
    """Over the checksum of the last frame of the items' root, and its page."""
    last = len(frames) - 1 - frames[::-1].index(ITEM_ROOT)
    overwrite(side(device, "-wal"), b"\xa5" * 16, LOG_HEADER + FRAME * last + 19)


def junk_over_map_and_root(device, frames):
    """The older pointer map says that the new leaf is free, as it was."""
    for page in MAP, ITEM_ROOT:
        last = len(frames) - 1 - frames[::-1].index(page)
        overwrite(side(device, "-wal"), b"\xa5" * 16, LOG_HEADER + FRAME * last + 100)


LOGS = [junk_over_map_and_root, junk_over_the_header, zeros_over_the_header, junk_over_two_frames, junk_within_a_frame]


@pytest.mark.parametrize("damage", LOGS, ids=lambda damage: damage.__name__)
def test_damage_between_frames(device, upstream, damage):
    """It hides no more than what it hurts: no item is in these."""
    device.configure(upstream)
    for _ in range(12):         # their pages are free then
        device.event("cpu", "v=" + "v" * 1500)
    device.flush("--now").ended(0)
    for number in range(6):     # each brings a new leaf, to which its root's last version alone leads
        device.event("cpu", "n=%d" % number, "v=" + "v" * 1500)
    frames = frames_of(side(device, "-wal").read_bytes())
    assert ITEM_ROOT in frames[-4:-1] and frames[-1] not in frames[:-1]
    ids = [item["id"] for item in device.list()]
    damage(device, frames)
    for _ in range(2):
        device.flush("--now").ended(0)
    assert aside(device) and set(ids) <= set(upstream.committed)


# -- huge ones, which are holes

def tail(device, size):
    checkpoint(device)
    os.truncate(device.spool, size)


def tail_and_log(device, size):
    os.truncate(device.spool, size)


def tail_and_damage(device, size):
    tail(device, size)
    overwrite(device.spool, b"\0" * PAGE, (ITEM_ROOT - 1) * PAGE)


def tail_that_counts(device, size):
    """The header says that it has all these pages."""
    tail(device, size)
    overwrite(device.spool, min(size // PAGE, 0xfffffffe).to_bytes(4, "big"), 28)


def tail_that_is_counted(device, size):
    """And here that its number of pages is not to be believed."""
    tail(device, size)
    overwrite(device.spool, b"\0\0\0\x07", 92)


def hole_in_the_middle(device, size):
    checkpoint(device)
    data = device.spool.read_bytes()
    os.truncate(device.spool, ITEM_ROOT * PAGE)
    os.truncate(device.spool, size)
    overwrite(device.spool, data[ITEM_ROOT * PAGE:], min(size, 1 << 42) // PAGE * PAGE - (1 << 20))


def nothing_but_a_hole(device, size):
    for name in device.spool, side(device, "-wal"):
        os.truncate(name, 0)
    os.truncate(device.spool, size)


def tail_of_the_log(device, size):
    os.truncate(side(device, "-wal"), size)


def tail_of_a_damaged_log(device, size):
    overwrite(side(device, "-wal"), b"zz", LOG_HEADER + FRAME * 5 + 100)
    os.truncate(side(device, "-wal"), size)


def log_in_pieces(device, size):
    """Each within what is looked for behind the one before."""
    log = side(device, "-wal")
    data = log.read_bytes()
    os.truncate(log, size)
    for number in range(1, 100):
        overwrite(log, data[LOG_HEADER:LOG_HEADER + FRAME], LOG_HEADER + FRAME * 30000 * number)


def index_of_the_log(device, size):
    side(device, "-shm").touch()
    os.truncate(side(device, "-shm"), size)


def reserve(device, size):
    side(device, "-reserve").touch()
    os.truncate(side(device, "-reserve"), size)


HUGE = [tail, tail_and_log, tail_and_damage, tail_that_counts, tail_that_is_counted, hole_in_the_middle, nothing_but_a_hole,
        tail_of_the_log, tail_of_a_damaged_log, log_in_pieces, index_of_the_log, reserve]
MAY_LOSE = {nothing_but_a_hole: 30, tail_of_a_damaged_log: 1}
# Of a file on the disk, and of one in memory, which may be as long as any.
SIZES = {"device": 1 << 40, "in_memory": 7 << 60}


@pytest.mark.parametrize("where", SIZES, ids=str)
@pytest.mark.parametrize("make", HUGE, ids=lambda make: make.__name__)
def test_a_huge_spool(request, upstream, make, where):
    """However long it is, what is read, and kept of it in memory, is what is there."""
    device = request.getfixturevalue(where)
    device.configure(upstream)
    ids = device.record(30)
    peak = device.file("peak", "", 0o666)
    try:
        make(device, SIZES[where])
    except OSError as error:
        pytest.skip("no file of that size: %s" % error)
    under_monit(device)
    for command in ("list", "stats", "health"):
        assert device.status(command).status in (0, STORAGE)
    first = device.flush("--now", env={"PX_TEST_PEAK": str(peak)}).ended(0)
    assert first.seconds < BOUND_S + SLACK_S
    assert is_sanitized() or not device.syslog_is_ours or 0 < int(peak.read_text().split()[0]) <= PEAK_KIB
    device.flush("--now").ended(0)
    device.status("export").ended(0)
    stats = device.stats()
    assert stats["pending"] == 0 and stats["overflow"] == 0
    assert len(set(ids) - set(upstream.committed)) <= MAY_LOSE.get(make, 0)
    assert [items[0]["topic"] for items in upstream.committed.values()].count("later") == 1


# -- at random

def pending(device, upstream):
    del upstream
    device.record(12)
    device.event("large", *["k%d=%s" % (number, "v" * 4000) for number in range(5)])


def delivered_and_more(device, upstream):
    pending(device, upstream)
    device.flush("--now").ended(0)
    device.record(4)


def quarantined(device, upstream):
    pending(device, upstream)
    upstream.script(lambda request: {"body": {"rejected": [{"id": name, "reason": "no"} for name in request.ids[::2]]}})
    device.flush("--now").ended(0)
    upstream.script()
    device.record(3)


def many(device, upstream):
    del upstream
    device.record(60)


def spools(make_device, upstream, folder):
    """A folder for each, with its log and without."""
    for make in pending, delivered_and_more, quarantined, many:
        device = make_device()
        device.configure(upstream)
        make(device, upstream)
        yield shutil.copytree(device.spool_folder, folder / make.__name__)
        checkpoint(device)
        yield shutil.copytree(device.spool_folder, folder / (make.__name__ + " without a log"))


def hurt(chance, folder):
    """Does something to the file or its log; what that was."""
    path = folder / chance.choice(["spool.db", "spool.db", "spool.db-wal"])
    size = path.stat().st_size if path.exists() else 0
    if size <= PAGE:
        return "nothing"
    kind = chance.choice(["write"] * 8 + ["cut", "swap"])
    at = chance.choice([chance.randrange(72, min(size, 2 * PAGE)), chance.randrange(72, size), chance.randrange(size // PAGE) * PAGE + 80])
    if kind == "cut":
        at = max(at, 512)       # what is shorter is a case of its own
        os.truncate(path, at)
    elif kind == "swap" and size > 3 * PAGE:
        data, other = path.read_bytes(), chance.randrange(1, size // PAGE) * PAGE
        at = max(at // PAGE, 1) * PAGE
        overwrite(path, data[at:at + PAGE], other)
        overwrite(path, data[other:other + PAGE], at)
    else:
        byte = chance.choice([None, 0, 0x80, 0x84, 0xff])
        content = bytes(chance.randrange(256) if byte is None else byte for _ in range(chance.choice([1, 4, 16, 700])))
        overwrite(path, content, at)
        kind = "%s of %s" % (kind, content[:16].hex())
    return "%s at %d of %s" % (kind, at, path.name)


def check_mended(device, upstream, timeout=30):
    """As an operator would see it, who looks after two runs."""
    assert device.try_event("new", monit={}).ended(0).seconds < BOUND_S + SLACK_S
    for _ in range(2):
        result = device.flush("--now", timeout=timeout)
        assert result.status in (0, STORAGE, LATER), result
    result.ended(0)
    device.status("export", timeout=timeout).ended(0)
    device.status("list", timeout=timeout).ended(0)
    assert device.status("health", timeout=timeout).status in (0, 1)
    stats = device.stats()
    assert stats["pending"] == 0 and stats["overflow"] == 0
    # A body may be damaged, too, and then the batch is no JSON. What was posted and could not be settled comes again, as it was.
    posted = [name for request in upstream.requests for name in NEW.findall(request.text or b"")]
    assert len(set(posted)) == 1 and len(posted) <= 2


def test_damage_at_random(make_device, tmp_path, bodies_may_be_broken):
    seed, count = int(os.environ.get("PX_DAMAGE_SEED") or time.time_ns() % 10 ** 9), 0
    with Upstream() as upstream:
        folders = list(spools(make_device, upstream, pathlib.Path(tmp_path)))
        device = make_device()
        end = time.monotonic() + float(os.environ.get("PX_DAMAGE_SECONDS") or 8)
        while count == 0 or time.monotonic() < end:
            chance = random.Random(seed + count)
            device.configure(upstream, batch={"max_items": chance.choice([1, 7, 500])})
            shutil.rmtree(device.spool_folder)
            folder = chance.choice(folders)
            shutil.copytree(folder, device.spool_folder)
            done = [hurt(chance, device.spool_folder) for _ in range(chance.choice([1, 1, 1, 2, 5]))]
            upstream.forget()
            try:
                check_mended(device, upstream)
            except AssertionError as error:
                pytest.fail("PX_DAMAGE_SEED=%d: %s: %s: %s" % (seed + count, folder.name, "; ".join(done), error), pytrace=False)
            count += 1
    print("%d spools from seed %d on" % (count, seed))
