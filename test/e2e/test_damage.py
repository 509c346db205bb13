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
