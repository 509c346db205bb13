# SPDX-License-Identifier: MIT
"""What each program is doing while a fault comes."""
import contextlib
import json
import os
import sqlite3
import threading

from bench import STATUS_TEXT, harness

NOBODY = 65534


class Scene:
    """A state of the device and a program that is run on it."""

    def __init__(self, name, prepare, args=(), around=None, replies=None, may_lose=False, quarantines=False, damaged=False,
                 owner=None, env=None, is_slow=False, status=0, says="", **config):
        self.name = name
        self.program = name.split("-")[0]
        self.prepare = prepare          # of a Bench; returns the markers of what was accepted
        self.args = args
        self.replies = replies          # of upstream, while the program runs
        self.may_lose = may_lose        # bounds push events out
        self.quarantines = quarantines
        self.damaged = damaged          # the spool is not sound to begin with
        self.owner = owner              # of the spool's folder; needs root
        self.env = env or {}
        self.is_slow = is_slow          # takes seconds
        self.status = status            # without a fault
        self.says = says                # without a fault, in the log
        self._around = around
        self._config = config

    def configure(self, bench):
        sections = dict(self._config)
        if self.program == "flush":
            sections.setdefault("snapshot", {"enabled": "no"})
        bench.configure(bench.upstream, **sections)

    def around(self, bench):
        """What is the case while the program runs, and not before and behind it."""
        return self._around(bench) if self._around is not None else contextlib.nullcontext()


def nothing(bench):
    return []


def events(count, size=0):
    def prepare(bench):
        return [bench_event(bench, "old-%d" % number, size) for number in range(count)]
    return prepare


def bench_event(bench, marker, size=0):
    bench.event("topic", "n=" + marker, "text=" + "x" * size, monit={})
    return marker


def salts(log):
    """That a write-ahead log has until it is emptied."""
    return log.read_bytes()[16:24]


def long_log(bench):
    """The next commit makes the write-ahead log so long that it is emptied."""
    held = events(1)(bench)
    log = bench.spool.with_name("spool.db-wal")
    first = salts(log)
    while True:
        files = bench.files()
        held.append(bench_event(bench, "old-%d" % len(held)))
        if salts(log) != first:
            for name, data in files.items():
                (bench.spool_folder / name).write_bytes(data)
            return held[:-1]


def emptied_log(bench):
    """The next commit writes over what is left over in the write-ahead log."""
    held = long_log(bench)
    return held + [bench_event(bench, "old-%d" % len(held))]


def overflow_and_events(bench):
    held = events(2)(bench)
    with bench.obstructed():
        held += [bench_event(bench, "over-%d" % number) for number in range(2)]
    return held


def overflow_with_twin(bench):
    """An overflow file of an event that is in the spool, too, as a recorder leaves it whose last sync failed."""
    held = events(2)(bench)
    item = bench.list()[-1]
    with bench.obstructed():
        held.append(bench_event(bench, "over"))
    document = bench.show(item["id"])
    seq = document.pop("seq")
    source = bench.overflow_files()[0]
    twin = source.with_name("%s-%d.json" % (item["id"], seq))
    twin.write_text(json.dumps(document, separators=(",", ":")))
    twin.chmod(0o600)
    return held


def checkpointed(bench):
    connection = sqlite3.connect(bench.spool)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def without_first_page(bench):
    held = events(3)(bench)
    checkpointed(bench)
    with open(bench.spool, "r+b") as file:
        file.write(b"\xff" * 1024)
    return held


def garbage(bench):
    bench.spool.write_bytes(b"garbage" * 3000)
    bench.spool.chmod(0o600)
    return []


def newer(bench):
    """Made by a px-status of tomorrow."""
    held = events(2)(bench)
    connection = sqlite3.connect(bench.spool)
    connection.execute("PRAGMA user_version = 2")
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return held


def orphaned_log(bench):
    events(2)(bench)
    bench.spool.unlink()
    return []


def damaged_mark(bench):
    held = events(3)(bench)
    bench.spool.with_name("spool.db-damaged").touch(0o600)
    return held


def backlog(bench):
    held = events(60, 3000)(bench)
    return held


def long_backlog(bench):
    """So long that the write-ahead log is emptied between two batches of one flush."""
    return events(700, 1500)(bench)


@contextlib.contextmanager
def no_longer_newer(bench):
    yield
    connection = sqlite3.connect(bench.spool)
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()


@contextlib.contextmanager
def locked_for_a_while(bench):
    """Another program has the spool for some ms."""
    connection = sqlite3.connect(bench.spool, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(0.04, lambda: connection.execute("ROLLBACK"))
    timer.start()
    yield
    timer.join()
    connection.close()


def locked(bench):
    return bench.locked()


def obstructed(bench):
    return bench.obstructed()


def one_at_a_time(request):
    return {"status": 413} if len(request.items) > 1 else {}


def rejects_second(request):
    if len(request.items) < 2:
        return {}
    return {"body": {"rejected": [{"id": request.ids[1], "reason": "never"}]}}


def unavailable(request):
    return {"status": 503}


def no_reply(request):
    """Committed, and the reply is lost."""
    return {"reset": True, "commit": True}


SNAPSHOTS = {"enabled": "yes", "source": "command", "timeout": "5s"}


def with_snapshot(count):
    """A snapshot is due, by a command that prints what Monit might."""
    def prepare(bench):
        text = bench.file("status.txt", STATUS_TEXT, 0o644)
        bench.configure(bench.upstream, snapshot={**SNAPSHOTS, "command": "/bin/cat %s" % text})
        return events(count)(bench)
    return prepare


def excess(bench):
    """The bound was lowered."""
    held = events(6)(bench)
    bench.configure(bench.upstream, spool={"max_items": 3})
    return held


def hurried():
    return {"PX_FAULT_HASTE": "50"}


ALL = [
    Scene("event-first", nothing),
    Scene("event-warm", events(2)),
    Scene("event-checkpoint", long_log),
    Scene("event-emptied", emptied_log),
    Scene("event-waits", events(2), around=locked_for_a_while),
    Scene("event-locked", events(2), around=locked, env=hurried()),
    Scene("event-evicts", events(3), may_lose=True, spool={"max_items": 3}),
    Scene("event-overflow-first", events(1), around=obstructed),
    Scene("event-overflow", overflow_and_events, around=obstructed),
    Scene("event-garbage", garbage, damaged=True),
    Scene("event-broken", without_first_page, damaged=True),
    Scene("event-newer", newer, around=no_longer_newer,
          says="it was made by a newer px-status (version 2, this one knows 1)"),
    Scene("event-orphan", orphaned_log),
    Scene("flush-events", events(3)),
    Scene("flush-first", with_snapshot(0)),
    Scene("flush-snapshot", with_snapshot(3)),
    Scene("flush-helper", with_snapshot(2), owner=NOBODY),
    Scene("flush-overflow", overflow_and_events),
    Scene("flush-twin", overflow_with_twin),
    Scene("flush-damaged", damaged_mark),
    Scene("flush-broken", without_first_page, damaged=True),
    Scene("flush-garbage", garbage, damaged=True, is_slow=True),
    Scene("flush-halves", events(4), replies=one_at_a_time),
    Scene("flush-quarantines", events(3), replies=rejects_second, quarantines=True),
    Scene("flush-fails", events(2), replies=unavailable, status=harness.LATER),
    Scene("flush-unconfirmed", events(2), replies=no_reply, status=harness.LATER),
    Scene("flush-newer", newer, around=no_longer_newer, status=harness.STORAGE,
          says="it was made by a newer px-status (version 2, this one knows 1)"),
    Scene("flush-nothing", nothing),
    Scene("flush-backlog", backlog, batch={"max_items": 20}),
    Scene("flush-long-backlog", long_backlog, batch={"max_items": 200}),
    Scene("flush-excess", excess, may_lose=True),
]


def usable():
    """The scenes that may be run by who runs this."""
    return [scene for scene in ALL if scene.owner is None or os.geteuid() == 0]
