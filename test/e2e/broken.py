# SPDX-License-Identifier: MIT
"""How spools are broken in tests, and what is looked at then."""
import contextlib
import re
import sqlite3

PAGE = 2048
BOUND_S = 10
SLACK_S = 5         # of a busy machine
ASIDE = r"spool\.db\.broken-20\d{6}T\d{6}Z(-\d+)?"


def side(device, suffix):
    return device.spool.with_name("spool.db" + suffix)


def checkpoint(device):
    """Everything into the file itself, as when its log has been emptied."""
    with contextlib.closing(sqlite3.connect(device.spool)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def overwrite(path, content, at=0):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(content)


def aside(device):
    return [path for path in device.spool_folder.iterdir() if re.fullmatch(ASIDE, path.name)]


def under_monit(device, topic="later"):
    """An event in bad times: status 0 within the bound, whatever the spool is."""
    result = device.try_event(topic, monit={}).ended(0)
    assert result.seconds < BOUND_S + 1
    return result
