# SPDX-License-Identifier: MIT
"""A spool that is broken, or none at all: nothing crashes or hangs, nothing readable is lost, and the operator is told."""
import concurrent.futures
import contextlib
import json
import os
import re
import shutil
import socket
import sqlite3
import stat

import pytest

from broken import BOUND_S, PAGE, aside, checkpoint, overwrite, side, under_monit
from harness import EVENT, IS_ROOT, STATUS, STORAGE, exactly_once, run

# -- what is broken and readable: all of it is delivered

def header(device, _):
    overwrite(device.spool, b"x" * 16)


def page(number, content=b"\0" * PAGE):
    return lambda device, _: overwrite(device.spool, content, (number - 1) * PAGE)


def swapped_pages(device, _):
    data = device.spool.read_bytes()
    overwrite(device.spool, data[4 * PAGE:5 * PAGE] + data[3 * PAGE:4 * PAGE], 3 * PAGE)


def junk_index(device, _):
    side(device, "-shm").write_bytes(os.urandom(32768))


def stale_log(device, _):
    """The log of an older state lies beside a newer file."""
    side(device, "-wal").write_bytes(device.stale)


def log_of_another_spool(device, make_device):
    other = make_device()
    other.record(20, topic="other")
    shutil.copyfile(other.spool.with_name("spool.db-wal"), side(device, "-wal"))
    device.strangers = {item["id"] for item in other.list()}


def log_of_another_program(device, _):
    other = device.folder / "other.db"
    with contextlib.closing(sqlite3.connect(other)) as database:
        database.executescript("PRAGMA page_size=2048; PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)")
        shutil.copyfile(device.folder / "other.db-wal", side(device, "-wal"))


def log_of_junk(device, _):
    side(device, "-wal").write_bytes(os.urandom(10000))


def damaged_log(device, _):
    """A byte in the middle of a log: SQLite would end there without a word."""
    frames = side(device, "-wal").stat().st_size // (PAGE + 24)
    assert frames > 8
    overwrite(side(device, "-wal"), b"\xff\xff", 32 + (PAGE + 24) * (frames // 2) + 1500)


def cut_off(length):
    return lambda device, _: os.truncate(device.spool, length)


def journal(device, path):
    """A rollback journal as a program leaves it that was killed."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.execute("PRAGMA cache_size=1")
    connection.execute("CREATE TABLE IF NOT EXISTS big(x)")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO big VALUES (zeroblob(1500))", [()] * 40)
    hot = path.with_name(path.name + "-journal").read_bytes()
    connection.execute("ROLLBACK")
    connection.close()
    assert len(hot) > 2 * PAGE
    side(device, "-journal").write_bytes(hot)


def journal_of_another_program(device, _):
    path = device.folder / "another.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript("PRAGMA page_size=2048; CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(30000))")
    journal(device, path)


def journal_of_another_spool(device, make_device):
    other = make_device()
    other.record(20)
    checkpoint(other)
    journal(device, other.spool)


# name: (how it is broken, whether a new spool takes its place, whether the log is emptied before)
READABLE = {
    "header": (header, True, True),
    "first page": (page(1), True, True),
    "pointer map": (page(2), None, True),
    "counters": (page(3), True, True),
    "root of the items": (page(4), True, True),
    "junk for the root of the items": (page(4, os.urandom(PAGE)), True, True),
    "identity": (page(8), True, True),
    "swapped pages": (swapped_pages, True, True),
    "junk index": (junk_index, False, False),
    "stale log": (stale_log, True, True),
    "log of another spool": (log_of_another_spool, True, True),
    "log of another program": (log_of_another_program, True, True),
    "log of junk": (log_of_junk, True, True),
    "damaged log": (damaged_log, True, False),
    "nothing but the log": (cut_off(0), True, False),
    "one byte and the log": (cut_off(1), True, False),
    "less than a page and the log": (cut_off(PAGE - 1), True, False),
    "journal of another program": (journal_of_another_program, False, True),
    "journal of another spool": (journal_of_another_spool, False, True),
}


@pytest.mark.parametrize("event_first", [False, True], ids=["flush first", "event first"])
@pytest.mark.parametrize("case", READABLE, ids=str)
def test_everything_readable_is_delivered(device, upstream, make_device, case, event_first):
    damage, renews, empties = READABLE[case]
    device.configure(upstream)
    device.record(4)
    device.stale = side(device, "-wal").read_bytes()
    ids = [item["id"] for item in device.list()] + device.record(9)
    before = device.stats()
    if empties:
        checkpoint(device)
    damage(device, make_device)
    if event_first:
        under_monit(device, "meanwhile")
    result = device.flush("--now").ended(0)
    under_monit(device)
    device.flush("--now").ended(0)

    strangers = getattr(device, "strangers", set())
    took = {name: items for name, items in upstream.committed.items() if name not in strangers}
    lost = [name for name in ids if name not in took]
    # Of a damaged log one version of one page can't be read, and what was in no other.
    assert len(lost) <= (2 if case == "damaged log" else 0), result
    topics = [items[0]["topic"] for items in took.values()]
    assert topics.count("later") == 1 and topics.count("meanwhile") == int(event_first)
    assert all(len(items) == 1 for items in took.values())
    stats = device.stats()
    assert stats["pending"] == 0 and stats["overflow"] == 0
    if renews:
        assert len(aside(device)) == 1 and str(aside(device)[0]) in result.err
        assert re.search(r"\d+ items were readable", result.err)
        replaces = next(request.body["spool"]["replaces"] for request in upstream.requests if "replaces" in request.body["spool"]) \
            if case != "identity" else {"id": before["spool_id"]}
        assert replaces["id"] == before["spool_id"]
        if case != "counters":
            assert case == "identity" or replaces["recorded"] >= 13
    elif renews is False:
        assert aside(device) == [] and stats["spool_id"] == before["spool_id"]
    if case.startswith("journal"):
        assert "-journal-orphan" in result.err and not side(device, "-journal").exists()
    left = {path.name for path in device.spool_folder.iterdir()}
    assert not [name for name in left if "-new-" in name or "-renew-" in name or "-damaged" in name], left


def test_a_twin_in_overflow_is_known_in_a_new_spool(device, upstream):
    """An insert whose last sync failed is in the spool and in overflow, and a renewal gives the row another seq."""
    device.configure(upstream)
    device.record(3)
    device.flush("--now").ended(0)
    ids = device.record(2)
    device.overflow.mkdir(mode=0o700)
    for item in [json.loads(line)["item"] for line in device.status("export").ended(0).out.splitlines()]:
        name = "%s-%d.json" % (item["id"], item.pop("seq"))
        (device.overflow / name).write_text(json.dumps(item, separators=(",", ":")))
    side(device, "-damaged").touch()
    device.flush("--now").ended(0)
    assert len(aside(device)) == 1 and device.overflow_files() == []
    assert [len(upstream.committed[name]) for name in ids] == [1, 1]
    assert device.stats()["recorded"] == 2


def test_a_log_without_a_spool_is_put_away_for_good_first(device):
    """A power cut may keep a later change of a folder and lose an earlier one, unless the folder is synced in between."""
    if STRACE is None or run([STRACE, "-o", "/dev/null", "true"], device.environment()).status != 0:
        pytest.skip("strace can trace nothing here")
    device.record(2)
    device.spool.unlink()
    trace = device.folder / "trace"
    run([STRACE, "-qq", "-o", trace, "-e", "trace=rename,renameat,renameat2,fsync,link,linkat", EVENT, "-c", device.config, "cpu"],
        device.environment(env=STRACED)).ended(0)
    calls = trace.read_text().splitlines()
    away = next(number for number, call in enumerate(calls) if "-wal-orphan" in call)
    placed = next(number for number, call in enumerate(calls) if call.startswith("link") and "-new-" in call)
    assert any(call.startswith("fsync") for call in calls[away:placed]), calls


# -- what never was a spool

NO_SPOOL = {
    "text": b"this is no database\n" * 500,
    "picture": b"\x89PNG\r\n\x1a\n" + os.urandom(5000),
    "zeros": b"\0" * 8192,
    "empty": b"",
}


@pytest.mark.parametrize("case", NO_SPOOL, ids=str)
def test_a_file_that_is_no_spool_is_set_aside(device, upstream, case):
    device.configure(upstream)
    device.spool.write_bytes(NO_SPOOL[case])
    for command in (["list"], ["stats"], ["health"]):
        result = device.status(*command).ended(STORAGE)
        assert str(device.spool) in result.err and "next flush" in result.err
    checked = device.flush("--check").ended(STORAGE)
    assert "next flush" in checked.out
    under_monit(device)
    result = device.flush("--now").ended(0)
    assert [items[0]["topic"] for items in upstream.committed.values()] == ["later"]
    assert [path.read_bytes() for path in aside(device)] == [NO_SPOOL[case]]
    assert str(aside(device)[0]) in result.err and "0 items were readable" in result.err


@pytest.mark.parametrize("content", [b"\xff" * 16, b"\x84" * 4], ids=["ones", "lengths"])
def test_damage_in_the_schema_is_found(device, upstream, content):
    """Also where a text is said to be longer than any may be."""
    device.configure(upstream)
    for at in range(1100, PAGE - 16, 60):
        ids = device.record(1)
        device.flush("--now").ended(0)
        checkpoint(device)
        overwrite(device.spool, content, at)
        for _ in range(2):
            device.flush("--no-snapshot")
        device.status("export").ended(0)
        assert set(ids) <= set(upstream.committed), at


# What is written into the page of a table, and where: over all of it, its head, what its oldest row holds.
IN_A_PAGE = {"zeros": (0, b"\0" * PAGE), "junk": (0, b"\xa5" * 700), "a row": (PAGE - 13, b"\xb0" * 13)}


@pytest.mark.parametrize("case", IN_A_PAGE, ids=str)
@pytest.mark.parametrize("name", ["counters", "item", "mark", "mark_quarantined", "mark_deferred", "spool", "timer", "run", "taken"])
def test_damage_where_nothing_leads_is_found(device, upstream, name, case):
    """All is delivered, so that the next flush has nothing to do in the table."""
    at, content = IN_A_PAGE[case]
    device.configure(upstream)
    device.record(2)
    device.flush().ended(0)
    checkpoint(device)
    with contextlib.closing(sqlite3.connect(device.spool)) as database:
        root, = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    overwrite(device.spool, content, (root - 1) * PAGE + at)
    for _ in range(2):
        device.flush("--no-snapshot")
    assert device.status("export").ended(0).out == ""
    device.status("stats", "--json").ended(0)
    device.record(1, topic="later")
    device.flush().ended(0)
    assert {len(found) for found in upstream.committed.values()} == {1} and len(upstream.committed) == 3


def foreign_database(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript("CREATE TABLE t(x); INSERT INTO t VALUES (1)")


def link_to_a_spool(path):
    shutil.copyfile(path.with_name("hidden"), path.with_name("real.db"))
    path.symlink_to("real.db")


def unix_socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))


def device_file(path):
    if not IS_ROOT:
        pytest.skip("only root can make a device")
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))


IN_ITS_PLACE = {
    "folder": (lambda path: path.mkdir(), "Is a directory"),
    "FIFO": (os.mkfifo, "no regular file"),
    "socket": (unix_socket, "no regular file"),
    "device": (device_file, "no regular file"),
    "link to a spool": (link_to_a_spool, "symbolic link"),
    "link to a file of root's": (lambda path: path.symlink_to("/etc/passwd"), "symbolic link"),
    "dangling link": (lambda path: path.symlink_to("nowhere"), "symbolic link"),
    "database of another program": (foreign_database, "another program"),
}


@pytest.mark.parametrize("case", IN_ITS_PLACE, ids=str)
def test_what_is_in_the_place_of_the_spool_is_left_alone(device, upstream, syslog, case):
    make, says = IN_ITS_PLACE[case]
    device.configure(upstream)
    ids = device.record(2)
    checkpoint(device)
    side(device, "-wal").unlink(missing_ok=True)
    hidden = device.spool.with_name("hidden")
    device.spool.rename(hidden)
    make(device.spool)
    passwd = os.stat("/etc/passwd")
    under_monit(device)
    assert says in syslog.text and "overflow" in syslog.text
    for result in [device.flush("--now").ended(STORAGE)] + [device.status(command).ended(STORAGE) for command in ("list", "stats", "health")]:
        assert str(device.spool) in result.err and says in result.err and "move it away" in result.err
    checked = device.flush("--check").ended(STORAGE)
    assert says in checked.out and "move it away" in checked.out
    assert aside(device) == [] and os.stat("/etc/passwd").st_size == passwd.st_size
    if device.spool.is_dir():
        device.spool.rmdir()
    else:
        device.spool.unlink()
    hidden.rename(device.spool)
    device.flush("--now").ended(0)
    assert sorted(items[0]["topic"] for items in upstream.committed.values()) == ["cpu", "cpu", "later"]
    assert set(ids) < set(upstream.committed) and all(len(items) == 1 for items in upstream.committed.values())


def test_no_folder(device, upstream, syslog):
    device.configure(upstream, spool={"path": device.folder / "missing" / "spool.db"})
    result = device.try_event("cpu", monit={}).ended(STORAGE)
    assert result.seconds < BOUND_S + 1 and "event " in syslog.text and "missing" in syslog.text
    result = run([device.flush("-V").args[0], "-c", device.config, "--now"], device.environment()).ended(STORAGE)
    assert "missing" in result.err
    assert not (device.folder / "missing").exists()


def locked_out(device, upstream, spoil, mend):
    device.configure(upstream)
    ids = device.record(2)
    spool_id = device.stats()["spool_id"]
    checkpoint(device)
    spoil()
    under_monit(device)
    assert len(device.overflow_files()) == 1
    for result in device.flush("--now").ended(STORAGE), device.status("list").ended(STORAGE), device.status("health").ended(STORAGE):
        assert str(device.spool) in result.err and "Permission denied" in result.err and "owner and mode" in result.err
    assert "owner and mode" in device.flush("--check").ended(STORAGE).out
    assert aside(device) == []
    mend()
    device.flush("--now").ended(0)
    assert device.stats()["spool_id"] == spool_id
    assert set(ids) < set(upstream.committed) and len(upstream.committed) == 3


def test_the_spool_of_another_owner(device, upstream, root):
    """As root, for only root can give files away: the folder is nobody's and so are the programs, the spool is root's."""
    for path in (device.spool_folder, *device.spool_folder.iterdir()):
        os.chown(path, 65534, 65534)

    def spoil():
        for path in device.spool_folder.glob("spool.db*"):
            os.chown(path, 0, 0)

    def mend():
        for path in device.spool_folder.glob("spool.db*"):
            os.chown(path, 65534, 65534)

    locked_out(device, upstream, spoil, mend)


def test_a_spool_that_nobody_may_read(device, upstream, plain_user):
    locked_out(device, upstream, lambda: device.spool.chmod(0), lambda: device.spool.chmod(0o600))


# -- what is whole and only out of reach: not renewed

def test_a_locked_spool_is_not_broken(device, upstream):
    device.configure(upstream)
    ids = device.record(2)
    spool_id = device.stats()["spool_id"]
    with concurrent.futures.ThreadPoolExecutor(2) as pool, device.locked():
        flush = pool.submit(device.flush, "--now", timeout=60)
        pool.submit(under_monit, device).result()
    flush.result()
    device.flush("--now").ended(0)
    assert aside(device) == [] and device.stats()["spool_id"] == spool_id
    assert set(ids) < set(upstream.committed) and len(upstream.committed) == 3


STRACE = shutil.which("strace")
# What AddressSanitizer does under a tracer, it may not.
STRACED = {"ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0"}


@pytest.fixture
def strace(device):
    if STRACE is None or run([STRACE, "-o", "/dev/null", "true"], device.environment()).status != 0:
        pytest.skip("strace can trace nothing here")

    def traced(device, inject, *args, path=()):
        return run([STRACE, *(("-P", path) if path else ()), "-f", "-qq", "-o", os.devnull, "-e", "trace=" + inject.split(":")[0], "-e", "inject=" + inject,
                    EVENT.with_name("px-status-flush"), "-c", device.config, "-s", device.spool, "--now", *args],
                   device.environment(env=STRACED), timeout=60)

    return traced


# By its path only root can follow a file of a process that keeps its secrets to itself.
@pytest.mark.parametrize("suffix", ["", "-wal"], ids=["file", "log"])
def test_a_disk_that_failed_to_read_once(device, upstream, strace, root, suffix):
    device.configure(upstream)
    ids = device.record(3)
    spool_id = device.stats()["spool_id"]
    checkpoint(device)
    for when in range(1, 20):
        if suffix == "-wal":
            ids += device.record(3)
        upstream.script({"status": 503})
        strace(device, "pread64:error=EIO:when=%d" % when, path=side(device, suffix))
        assert aside(device) == [] and not side(device, "-damaged").exists(), when
    device.flush("--now").ended(0)
    assert device.stats()["spool_id"] == spool_id and set(upstream.committed) == set(ids)


def test_a_place_that_a_renewal_reads_the_second_time(make_device, upstream, strace, root):
    """Three tries of a read fail, and with them the read; a second look at all of the spool finds everything."""
    def renew(device, when):
        device.configure(upstream)
        ids = device.record(12)
        checkpoint(device)
        side(device, "-damaged").touch()
        result = strace(device, "pread64:error=EIO:when=%d..%d" % (when, when + 2), path=device.spool)
        if result.status != 0:      # it was not yet at the renewal, or beyond it
            assert result.status == STORAGE, result
            device.flush("--now").ended(0)
        assert aside(device) and set(ids) <= set(upstream.committed), result
        return result.status == 0

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda when: renew(make_device(), when), range(1, 60, 2)))
    assert sum(done) > len(done) // 3


def test_a_disk_that_reads_nothing_is_at_fault_itself(device, upstream, strace, root):
    device.configure(upstream)
    ids = device.record(3)
    checkpoint(device)
    for when in (1, 2, 5, 8):
        assert strace(device, "pread64:error=EIO:when=%d+" % when, path=device.spool).status == STORAGE
    assert aside(device) == []
    device.flush("--now").ended(0)
    assert set(upstream.committed) == set(ids)


# A renewal is hit at these system calls, each of these times.
POINTS = [(call, when) for call, times in {
    "pwrite64": (1, 2, 5, 20), "fsync": (1, 2, 3), "link": (1, 2), "linkat": (1,), "unlink": (1, 2, 3, 4), "rename": (1, 2),
    "ftruncate": (1,), "openat": (40,)}.items() for when in times]


@pytest.mark.parametrize("what", ["signal=KILL", "error=ENOSPC", "error=EIO"])
def test_a_renewal_that_is_cut_off(make_device, upstream, strace, what):
    def cut_off(device, call, when):
        device.configure(upstream)
        ids = device.record(12)
        replaced = device.stats()["spool_id"]
        checkpoint(device)
        ids += device.record(2)
        overwrite(device.spool, b"\0" * PAGE, 3 * PAGE)
        side(device, "-damaged").touch()
        hit = strace(device, "%s:%s:when=%d" % (call, what, when), "--no-snapshot").status != 0
        for _ in range(2):
            device.flush("--now").ended(0)
        lost = [name for name in ids if name not in upstream.committed]
        assert not lost, (call, when, lost)
        left = {path.name for path in device.spool_folder.iterdir()}
        assert not [name for name in left if "-new-" in name or "-renew-" in name or "-copy" in name or "-damaged" in name], (call, when)
        assert len(aside(device)) == 1, (call, when, left)
        assert any(request.body["spool"].get("replaces", {}).get("id") == replaced for request in upstream.requests), (call, when)
        return hit

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        hits = [done.result() for done in [pool.submit(cut_off, make_device(), *point) for point in POINTS]]
    print(what, [point for point, hit in zip(POINTS, hits) if hit])
    assert sum(hits) > len(POINTS) // 3


def test_a_full_disk_is_not_a_broken_spool(device, upstream, strace):
    device.configure(upstream)
    ids = device.record(3)
    spool_id = device.stats()["spool_id"]
    for when in (1, 2, 3):
        strace(device, "pwrite64:error=ENOSPC:when=%d+" % when)
    device.flush("--now").ended(0)
    assert aside(device) == [] and device.stats()["spool_id"] == spool_id
    assert set(upstream.committed) == set(ids)
