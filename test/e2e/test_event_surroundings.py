# SPDX-License-Identifier: MIT
"""px-status-event: what Monit and the system may do to it."""
import concurrent.futures
import contextlib
import fcntl
import itertools
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time

import pytest

from broken import BOUND_S, SLACK_S
from harness import (DEFAULT_SPOOL, EVENT, FLUSH, IS_ROOT, ROOT, STATUS, STORAGE, USAGE, UUID_V7, exactly_once, ids_in, is_sanitized,
                     mode_of, run)


CLOSED = [streams for count in (1, 2, 3) for streams in itertools.combinations((0, 1, 2), count)]


def closing(streams):
    def close():
        for number in streams:
            os.close(number)

    return close


@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_closed_streams(device, closed):
    close = closing(closed)
    for args, monit in ((["cpu"], {}), (["--bogus"], {}), (["cpu"], None)):
        run([EVENT, "-c", device.config, *args], device.environment(monit), preexec_fn=close).ended(0)
    run([EVENT, "--bogus"], device.environment(), preexec_fn=close).ended(USAGE)
    assert len(device.list()) == 3
    with sqlite3.connect(device.spool) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with device.obstructed():
        run([EVENT, "-c", device.config, "cpu"], device.environment(), preexec_fn=close).ended(0)
    json.loads(device.overflow_files()[0].read_bytes())


@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_closed_streams_of_a_flush(device, upstream, closed):
    device.configure(upstream, snapshot={"enabled": "yes", "source": "command",
                                         "command": device.monit_that_prints("Monit 5.33.0 uptime: 3m\n")})
    ids = device.record(2)
    run([FLUSH, "-c", device.config, "-s", device.spool, "--now", "-v"], device.environment(), preexec_fn=closing(closed)).ended(0)
    assert set(ids) <= set(upstream.committed) and len(upstream.committed) == 3
    assert upstream.requests[0].body["stats"][0]["monit"]["reachable"] is True
    assert all(b"px-status-flush: " not in data for data in device.files().values())


def test_streams_whose_other_end_is_gone(device):
    """As under Monit 5.35: pipes that are broken, SIGPIPE and SIGHUP ignored, umask 022."""
    def ignore():
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.umask(0o022)

    reading, writing = os.pipe()
    os.close(reading)
    for args in (["cpu"], ["--bogus"]):
        run([EVENT, "-c", device.config, *args], device.environment({}), stdin=subprocess.DEVNULL, stdout=writing, stderr=writing,
            preexec_fn=ignore).ended(0)
    os.close(writing)
    assert len(device.list()) == 2


def test_sigpipe_by_default_and_a_broken_stderr(device):
    reading, writing = os.pipe()
    os.close(reading)
    run([EVENT, "--bogus"], device.environment(), stderr=writing, restore_signals=True).ended(USAGE)
    os.close(writing)


@pytest.mark.parametrize("args, in_syslog", [(["twice", "a=1", "a=2"], True), (["--bogus"], False)], ids=["stored", "refused"])
def test_a_stderr_that_nobody_reads(device, syslog, args, in_syslog):
    """A full pipe, at a terminal: under Monit nothing is written there."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    result = run([EVENT, "-c", device.config, *args], device.environment(), stderr=writing).ended(STORAGE)
    assert result.seconds < BOUND_S + SLACK_S
    assert bool(re.search(r"event %s 1/1 .*twice" % UUID_V7, syslog.text)) == in_syslog
    os.close(reading)
    os.close(writing)


def test_a_dry_run_that_nobody_reads_ends(device, syslog):
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    result = run([EVENT, "-c", device.config, "-n", "-m", "x" * 4096, "cpu", "k=" + "y" * 4096], device.environment({}),
                 stdout=writing).ended(STORAGE)
    os.close(reading)
    os.close(writing)
    assert result.seconds < BOUND_S + SLACK_S and device.stored_nothing() and syslog.text == ""


def test_a_dry_run_that_nobody_can_read_fails(device):
    with open("/dev/full", "wb") as full:
        result = run([EVENT, "-c", device.config, "-n", "cpu"], device.environment(), stdout=full)
    assert result.status == STORAGE


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777], ids=oct)
def test_modes_do_not_depend_on_the_umask(device, umask):
    device.event("cpu", umask=umask)
    with device.obstructed():
        device.event("cpu", monit={}, umask=umask)
    files = [path for path in device.spool_folder.iterdir() if path.is_file()]
    assert device.spool in files
    assert {path.name: oct(mode_of(path)) for path in files} == {path.name: "0o600" for path in files}
    assert mode_of(device.overflow) == 0o700
    assert [mode_of(path) for path in device.overflow_files()] == [0o600]


def test_secrets_of_the_environment_are_not_recorded(device):
    secrets = {"DB_PASSWORD": "hunter2-secret", "MONIT_PASSWORD": "hunter2-secret", "AWS_SECRET_ACCESS_KEY": "hunter2-secret",
               "MONIT": "hunter2-secret", "MONIT_FOO": "hunter2-secret", "XMONIT_EVENT": "hunter2-secret"}
    device.event("cpu", monit={"SERVICE": "vm"}, env=secrets)
    with device.obstructed():
        device.event("cpu", monit={"SERVICE": "vm"}, env=secrets)
    whole = b"".join(device.files().values())
    assert b"Checksum changed" in whole
    assert b"hunter2" not in whole and "hunter2" not in device.syslog.text


def test_it_does_not_link_libcurl(device):
    needed = subprocess.run(["readelf", "-d", EVENT], check=True, capture_output=True, text=True).stdout
    assert "NEEDED" in needed
    assert "curl" not in needed and "libssl" not in needed and "cjson" not in needed


def test_a_recorder_that_holds_sqlite_loads_nothing(device):
    if is_sanitized():
        pytest.skip("their libraries are shared")
    if shutil.which("make") is None or shutil.which(os.environ.get("CC", "gcc")) is None:
        pytest.skip("no make or compiler here")
    build = device.folder / "static"
    recorder = build / "px-status-event"
    made = subprocess.run(["make", "-s", "-j2", "-C", ROOT, "STATIC_SQLITE=1", "SAN=", "build=%s" % build, recorder],
                          capture_output=True, text=True, check=False)
    assert (made.returncode, made.stderr) == (0, "")
    headers = subprocess.run(["readelf", "-d", "-l", recorder], check=True, capture_output=True, text=True).stdout
    assert "NEEDED" not in headers and "INTERP" not in headers
    assert "DYN (" in headers          # at an address that is not known beforehand
    device.run(recorder, "-c", device.config, "cpu", monit={"SERVICE": "vm"}).ended(0)
    assert [item["topic"] for item in device.list()] == ["cpu"]


def traced(device, calls, args, **more):
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    trace = device.folder / "trace"
    env = device.environment(more.pop("monit", None))
    env["ASAN_OPTIONS"] += ":detect_leaks=0"
    result = run([strace, "-f", "-o", trace, "-e", "trace=" + calls, *args], env, **more)
    text = trace.read_text(errors="replace") if trace.exists() else ""
    if "PTRACE" in result.err or "ptrace" in result.err:
        pytest.skip("strace may not trace here: " + result.err.strip())
    result.ended(0)
    return text


@pytest.mark.parametrize("first", [True, False], ids=["a new spool", "a warm spool"])
def test_no_network_and_no_other_program(device, first):
    if not first:
        device.event("cpu")
    trace = traced(device, "network,process", [EVENT, "-c", device.config, "cpu", "--bogus"], monit={})
    assert not re.search(r"AF_INET|AF_INET6|AF_NETLINK", trace)
    assert len(re.findall(r"execve\(", trace)) == 1
    assert not re.search(r"\b(clone|clone3|fork|vfork)\(", trace)


def test_at_most_five_syncs_an_event(device):
    device.event("cpu")
    trace = traced(device, "fsync,fdatasync,sync,syncfs,sync_file_range,msync",
                   [EVENT, "-c", device.config, "cpu"], monit={"DESCRIPTION": "d" * 200})
    assert 1 <= len(re.findall(r"\b(?:fsync|fdatasync|sync|syncfs|sync_file_range|msync)\(", trace)) <= 5, trace


# -- a spool that is none

def make_folder(path):
    path.mkdir()


def make_fifo(path):
    os.mkfifo(path)


def make_text(path):
    path.write_text("this is no database\n" * 500)


def make_empty(path):
    path.write_bytes(b"")


def make_garbage(path):
    path.write_bytes(b"SQLite format 3\0" + os.urandom(20000))


def make_foreign(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE cats (name TEXT)")
        connection.execute("INSERT INTO cats VALUES ('Tom')")


def make_loop(path):
    path.symlink_to(path)


def make_link_to_nowhere(path):
    path.symlink_to("/nonexistent/spool.db")


@pytest.mark.parametrize("make", [make_folder, make_fifo, make_text, make_garbage, make_foreign, make_loop,
                                  make_link_to_nowhere], ids=lambda make: make.__name__[5:])
def test_a_spool_that_is_none_costs_no_event(device, make, syslog):
    make(device.spool)
    before = device.files()
    for monit in ({"DESCRIPTION": "kept"}, None):
        device.event("cpu", monit=monit)
    files = device.overflow_files()
    assert len(files) == 2
    assert sum(b"kept" in path.read_bytes() for path in files) == 1
    assert {name: data for name, data in device.files().items() if name in before} == before
    assert "overflow" in syslog.text


def test_an_empty_file_costs_no_event(device, upstream):
    """What an interrupted copy leaves."""
    make_empty(device.spool)
    device.event("cpu", monit={"DESCRIPTION": "kept"})
    device.configure(upstream)
    device.flush("--now").ended(0)
    assert [items[0]["monit"]["description"] for items in upstream.committed.values()] == ["kept"]


def test_an_error_at_a_terminal_names_the_spool(device):
    make_folder(device.spool)
    assert str(device.spool) in device.event("cpu").err


def test_a_newer_spool(device, syslog):
    device.event("cpu")
    with sqlite3.connect(device.spool) as connection:
        connection.execute("PRAGMA user_version = 9999")
    before = device.spool.read_bytes()
    device.event("memory", monit={})
    assert len(device.overflow_files()) == 1
    assert "newer" in syslog.text
    result = device.flush("--now", "--no-snapshot").ended(STORAGE)
    assert "newer" in result.err and str(device.spool) in result.err
    assert "newer" in device.status("list").ended(STORAGE).err
    assert device.spool.read_bytes() == before and len(device.overflow_files()) == 1


def test_a_spool_without_permission(device, plain_user):
    device.event("cpu")
    device.spool.chmod(0)
    device.event("memory", monit={})
    assert len(device.overflow_files()) == 1


def test_a_read_only_spool(device, plain_user):
    device.event("cpu")
    for path in device.spool_folder.iterdir():
        path.chmod(0o400)
    device.event("memory", monit={})
    assert len(device.overflow_files()) == 1


def parts_of(syslog):
    """The event that syslog holds, put together: its id and its document."""
    found = {}
    for line in syslog.raw:
        assert len(line) <= 1024
        match = re.search(rb"px-status-event.*?: event (%s) (\d+)/(\d+) (.*)" % UUID_V7.encode(), line, re.DOTALL)
        if match is not None:
            found[int(match[2])] = (match[1].decode(), int(match[3]), match[4].rstrip(b"\0"))
    assert found and sorted(found) == list(range(1, len(found) + 1))
    assert {parts for _, parts, _ in found.values()} == {len(found)}
    return found[1][0], b"".join(found[number][2] for number in sorted(found))


@pytest.mark.parametrize("length", [10, 3500])
def test_a_missing_folder_leaves_syslog(device, syslog, length):
    device.configure(spool={"path": device.folder / "missing" / "spool.db"})
    device.try_event("cpu", monit={"DESCRIPTION": "é" * (length // 2)}).ended(STORAGE)
    name, text = parts_of(syslog)
    document = json.loads(text)
    assert document["id"] == name and document["monit"]["description"] == "é" * (length // 2)
    assert not (device.folder / "missing").exists()


def test_an_overflow_that_is_none_leaves_syslog(device, syslog):
    make_folder(device.spool)
    device.overflow.write_text("a file in its place")
    device.try_event("cpu", monit={}).ended(STORAGE)
    assert json.loads(parts_of(syslog)[1])["topic"] == "cpu"


def test_a_folder_without_permission_leaves_syslog(device, syslog, plain_user):
    device.spool_folder.chmod(0o500)
    device.try_event("cpu", monit={}).ended(STORAGE)
    device.spool_folder.chmod(0o700)
    assert json.loads(parts_of(syslog)[1])["topic"] == "cpu"


def test_at_a_terminal_a_lost_event_is_an_error(device):
    device.configure(spool={"path": device.folder / "missing" / "spool.db"})
    assert "missing" in device.try_event("cpu").ended(STORAGE).err


def test_a_full_overflow_leaves_syslog(device, syslog):
    make_folder(device.spool)
    device.event("cpu")
    pattern = device.overflow_files()[0]
    name = ids_in(pattern.name.encode() + pattern.read_bytes())[0]
    for number in range(10000):
        other = "%s%06x" % (name[:-6], number)
        (device.overflow / pattern.name.replace(name, other)).write_bytes(b"{}")
    if len(device.overflow_files()) < 10000:
        pytest.fail("overflow files are not named by id: this test is to be taught their names")
    before = len(device.overflow_files())
    device.try_event("memory", monit={}).ended(STORAGE)
    assert len(device.overflow_files()) == before
    assert json.loads(parts_of(syslog)[1])["topic"] == "memory"


# -- a spool that is held

def test_a_locked_spool(device, upstream, syslog):
    """Never longer than 10 seconds, whatever signals it was given; then the next flush takes the event in, once."""
    first = device.record(1)[0]

    def deaf():
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM, signal.SIGTERM})

    with device.locked(), concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = [pool.submit(device.event, "cpu", "n=%d" % number, monit={}, timeout=60,
                               preexec_fn=deaf if number else None) for number in range(3)]
        results = [one.result() for one in waiting]
    assert max(result.seconds for result in results) < BOUND_S
    files = device.overflow_files()
    assert len(files) == 3 and "overflow" in syslog.text
    ids = [ids_in(path.name.encode() + path.read_bytes())[0] for path in files]
    assert device.stats()["overflow"] == 3 and device.stats()["recorded"] == 1

    device.configure(upstream)
    device.flush("--now").ended(0)
    device.flush("--now").ended(0)
    exactly_once(upstream, [first] + ids)
    assert device.overflow_files() == []
    assert sorted(items[0]["seq"] for items in upstream.committed.values()) == [1, 2, 3, 4]
    assert device.stats()["acknowledged"] == 4


def test_overflow_is_taken_in_without_an_upstream_too(device):
    device.record(1)
    with device.obstructed():
        device.event("memory", monit={})
    device.configure("http://127.0.0.1:9")
    device.flush()
    assert [item["topic"] for item in device.list()] == ["cpu", "memory"] and device.overflow_files() == []


def test_what_is_no_event_in_the_overflow_folder_hurts_nobody(device, upstream):
    device.event("cpu")
    with device.obstructed():
        device.event("memory", monit={})
    name = device.overflow_files()[0].name
    other = name.replace(ids_in(name.encode())[0], "01939f1e-0000-7000-8000-000000000000") if ids_in(name.encode()) else "x"
    (device.overflow / other).write_bytes(b"{ garbage")
    (device.overflow / "a-folder").mkdir()
    os.mkfifo(device.overflow / "a-fifo")
    (device.overflow / "a-link").symlink_to("/etc/passwd")
    device.configure(upstream)
    device.flush("--now").ended(0)
    assert sorted(items[0]["topic"] for items in upstream.committed.values()) == ["cpu", "memory"]
    assert os.path.exists("/etc/passwd")


def test_fifty_recorders_at_once(in_memory):
    device = in_memory
    env = device.environment({"DESCRIPTION": "d" * 300})
    running = [subprocess.Popen([EVENT, "-c", device.config, "cpu", "n=%d" % number], env=env, stdin=subprocess.DEVNULL,
                                stderr=subprocess.PIPE) for number in range(50)]
    began = time.monotonic()
    ended = [(process.communicate(timeout=60)[1], process.returncode) for process in running]
    assert ended == [(b"", 0)] * 50
    assert is_sanitized() or (time.monotonic() - began < 10 and device.overflow_files() == [])
    device.configure("http://127.0.0.1:9")
    device.flush()      # slow as they are then, some may have gone by the overflow folder
    items = device.list()
    assert [item["seq"] for item in items] == list(range(1, 51))
    assert len({item["id"] for item in items}) == 50
    assert {device.show(item["seq"])["params"]["n"] for item in items} == {str(number) for number in range(50)}


def test_recorders_killed_at_any_time_leave_a_sound_spool(device):
    device.event("cpu")
    kept = 1
    for number in range(40):
        process = subprocess.Popen([EVENT, "-c", device.config, "cpu", "n=%d" % number], env=device.environment({}),
                                   stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(number * 0.0003)
        process.kill()
        kept += process.wait() == 0
    device.event("last")
    items = device.list()
    assert [item["seq"] for item in items] == list(range(1, len(items) + 1))
    assert len(items) >= kept + 1 and items[-1]["topic"] == "last"
    assert device.stats()["recorded"] == len(items)


# -- identity and the default place

def test_root_takes_the_identity_of_the_folders_owner(device, upstream, root):
    os.chown(device.spool_folder, 65534, 65534)
    device.event("cpu", monit={})
    with device.locked():
        device.event("memory", monit={})
    paths = [path for path in device.spool_folder.rglob("*")]
    assert device.spool in paths and len(device.overflow_files()) == 1
    assert {(path.name, path.stat().st_uid, path.stat().st_gid) for path in paths} == {(path.name, 65534, 65534) for path in paths}
    device.configure(upstream)
    device.flush("--now").ended(0)
    assert len(upstream.committed) == 2
    paths = [path for path in device.spool_folder.rglob("*")]
    assert {path.stat().st_uid for path in paths} == {65534}
    assert device.stats()["acknowledged"] == 2
    assert {path.stat().st_uid for path in device.spool_folder.rglob("*")} == {65534}


def test_a_link_in_the_folder_of_a_user_gains_nothing(device, root):
    victim = device.file("victim", "precious", 0o600)
    os.chown(device.spool_folder, 65534, 65534)
    device.spool.symlink_to(victim)
    device.event("cpu", monit={})
    assert victim.read_text() == "precious" and victim.stat().st_uid == 0
    assert len(device.overflow_files()) == 1


def in_a_namespace(device, script, **more):
    """Runs a shell script where /var/lib is an empty folder of its own, the machine's out of sight."""
    unshare = shutil.which("unshare")
    option = "-m" if IS_ROOT else "-rm"
    if unshare is None or run([unshare, option, "mount", "-t", "tmpfs", "none", "/var/lib"], device.environment()).status != 0:
        pytest.skip("no mount namespace to be had")
    return run([unshare, option, "/bin/sh", "-euc", "mount -t tmpfs none /var/lib\n" + script], device.environment(**more))


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_without_dev_null(device, closed):
    in_a_namespace(device, """
        mount -t tmpfs none /dev
        MONIT_EVENT='Size failed' {event} -c {config} cpu {closed}
    """.format(event=EVENT, config=device.config, closed=closed)).ended(0)
    assert device.only_document()["topic"] == "cpu"


def test_without_a_valid_path_the_default_place(device, upstream, syslog):
    device.configure(upstream, spool={"path": "relative/path.db"})
    bad = device.file("bad.conf", device.config.read_text())
    device.configure(upstream)
    result = in_a_namespace(device, """
        mkdir -m 700 /var/lib/px-status
        MONIT_EVENT='Size failed' {event} -c {bad} cpu
        MONIT_EVENT='Size failed' {event} -c /nonexistent memory
        test -f {default}
        {flush} -c {config} --now
        {flush} -c {config} --now
    """.format(event=EVENT, flush=FLUSH, bad=bad, config=device.config, default=DEFAULT_SPOOL)).ended(0)
    assert str(DEFAULT_SPOOL) in syslog.text, result
    assert sorted(items[0]["topic"] for items in upstream.committed.values()) == ["cpu", "memory"]
    assert {len(items) for items in upstream.committed.values()} == {1}
    assert device.spool.exists()


@pytest.mark.parametrize("damage", ["touch {default}-damaged", "printf garbage | dd conv=notrunc of={default} 2>&1"],
                         ids=["found", "header"])
def test_a_broken_spool_in_the_default_place_is_made_anew(device, upstream, damage):
    device.configure(upstream)
    result = in_a_namespace(device, ("""
        mkdir -m 700 /var/lib/px-status
        MONIT_EVENT='Size failed' {event} -c /nonexistent cpu
        """ + damage + """
        MONIT_EVENT='Size failed' {event} -c /nonexistent memory
        {flush} -c {config} --now
        ls /var/lib/px-status
    """).format(event=EVENT, flush=FLUSH, config=device.config, default=DEFAULT_SPOOL)).ended(0)
    assert sorted(items[0]["topic"] for items in upstream.committed.values()) == ["cpu", "memory"]
    assert {len(items) for items in upstream.committed.values()} == {1}
    assert re.search(r"set aside as '%s\.broken-\S+'; (1 item was|2 items were) readable" % DEFAULT_SPOOL, result.err)
    assert "spool.db.broken-" in result.out and "spool.db-damaged" not in result.out


@pytest.mark.parametrize("in_the_way", ["", "mkdir {default}"], ids=["spool", "overflow"])
def test_an_event_in_the_default_place_waits_for_no_splay(device, upstream, in_the_way):
    """As one in the configured spool, though a snapshot is due."""
    device.configure(upstream, device={"id": "a"}, schedule={"splay": "4m"}, snapshot={
        "enabled": "yes", "source": "http", "url": "http://127.0.0.1:9"})
    result = in_a_namespace(device, ("""
        mkdir -m 700 /var/lib/px-status
        """ + in_the_way + """
        MONIT_EVENT='Size failed' {event} -c /nonexistent cpu
        {flush} -c {config}
    """).format(event=EVENT, flush=FLUSH, config=device.config, default=DEFAULT_SPOOL)).ended(0)
    assert result.seconds < 10
    assert [event["topic"] for event in upstream.requests[0].body["events"]] == ["cpu"]


def test_a_default_place_where_another_flush_is_at_work(device, upstream):
    if shutil.which("flock") is None:
        pytest.skip("flock is needed")
    device.configure(upstream)
    result = in_a_namespace(device, """
        mkdir -m 700 /var/lib/px-status
        MONIT_EVENT='Size failed' {event} -c /nonexistent cpu
        flock {default}-lock {flush} -c {config} --now
        {status} list -s {default}
    """.format(event=EVENT, flush=FLUSH, status=STATUS, config=device.config, default=DEFAULT_SPOOL)).ended(0)
    assert upstream.committed == {} and " cpu" in result.out and "wait there" not in result.err


def test_without_a_configuration_defaults(device):
    in_a_namespace(device, """
        mkdir -m 700 /var/lib/px-status
        mount -t tmpfs none /etc
        {event} cpu
        test -f {default}
    """.format(event=EVENT, default=DEFAULT_SPOOL)).ended(0)


@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm"])
def test_a_fifo_beside_the_spool_hangs_nobody(device, upstream, suffix):
    device.configure(upstream)
    device.event("before")
    beside = device.spool.with_name(device.spool.name + suffix)
    beside.unlink(missing_ok=True)
    os.mkfifo(beside)
    assert device.event("after", monit={}).seconds < BOUND_S
    assert len(device.overflow_files()) == 1
    assert device.flush("--now", timeout=20).ended(STORAGE).seconds < BOUND_S
    assert device.status("list", timeout=20).ended(STORAGE).seconds < BOUND_S
