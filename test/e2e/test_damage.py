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
import shutil
import sqlite3
import time

import pytest

import harness
from broken import BOUND_S, PAGE, aside, checkpoint, overwrite, side, under_monit
from harness import LATER, STORAGE, is_sanitized
from upstream import Upstream

LOG_HEADER, FRAME_HEADER = 32, 24
FRAME = FRAME_HEADER + PAGE
ITEM_ROOT = 4
EVENT_KEYS = 1 << 48
PEAK_KIB = 32 << 10


def leaves_of_items(data):
    """Numbers of the leaves below the root, in the order of their keys."""
    root = data[(ITEM_ROOT - 1) * PAGE:ITEM_ROOT * PAGE]
    assert root[0] == 5
    places = [int.from_bytes(root[at:at + 2], "big") for at in range(12, 12 + 2 * int.from_bytes(root[3:5], "big"), 2)]
    return [int.from_bytes(root[at:at + 4], "big") for at in [*places, 8]]


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


LOGS = [junk_over_the_header, zeros_over_the_header, junk_over_two_frames, junk_within_a_frame]


@pytest.mark.parametrize("damage", LOGS, ids=lambda damage: damage.__name__)
def test_damage_between_frames(device, upstream, damage):
    """It hides no more than what it hurts: no item is in these."""
    device.configure(upstream)
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
    assert first.seconds < BOUND_S
    assert is_sanitized() or not device.syslog_is_ours or 0 < int(peak.read_text().split()[0]) <= PEAK_KIB
    device.flush("--now").ended(0)
    device.status("export").ended(0)
    stats = device.stats()
    assert stats["pending"] == 0 and stats["overflow"] == 0
    assert len(set(ids) - set(upstream.committed)) <= MAY_LOSE.get(make, 0)
    assert [items[0]["topic"] for items in upstream.committed.values()].count("later") == 1
