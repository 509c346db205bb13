# SPDX-License-Identifier: MIT
"""
The spool's folder belongs to a user who means harm: links, FIFOs, huge files and hostile databases in it. Root runs the
programs all the same, and that user gains nothing by it and hangs nobody.
"""
import hashlib
import itertools
import os
import pwd
import re
import shutil
import sqlite3
import subprocess

import pytest

from broken import BOUND_S, SLACK_S
from harness import CONFIG, EVENT, FLUSH, LATER, STATUS, STORAGE

pytestmark = pytest.mark.usefixtures("root")

SECONDS = 40        # at most, on a busy machine; what is hostile takes minutes


@pytest.fixture(params=["nobody", "daemon"])
def owner(request, device, upstream):
    """The owner of the spool's folder, a real user."""
    try:
        user = pwd.getpwnam(request.param)
    except KeyError:
        pytest.skip("there is no user " + request.param)
    device.configure(upstream)
    os.chown(device.spool_folder, user.pw_uid, user.pw_gid)
    return user


@pytest.fixture
def treasure(device):
    """What is root's alone: a folder with a file in it."""
    folder = device.folder / "treasure"
    folder.mkdir(mode=0o700)
    (folder / "secret").write_text("root's own\n" * 300)
    (folder / "secret").chmod(0o600)
    return folder


def state_of(folder):
    """Every name below the folder with owner, mode, time and content: what nobody may change."""
    found = {}
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else None
        found[str(path)] = (status.st_uid, status.st_gid, status.st_mode, status.st_mtime_ns, content)
    return found


def run_all(device, timeout=SECONDS):
    """Each program as root, the recorder as Monit runs it; none may hang or say what it should not. Their results."""
    event, flush = [EVENT, "-c", device.config, "cpu"], [FLUSH, "-c", device.config, "-s", device.spool, "--now"]
    results = []
    for args in (event, flush, [STATUS, "-c", device.config, "list"], [STATUS, "-c", device.config, "stats"], event):
        results.append(device.run(*args, monit={} if args is event else None, timeout=timeout))
    assert max(results[0].seconds, results[-1].seconds) < BOUND_S + SLACK_S
    assert all(result.status in (0, 1, STORAGE, LATER) for result in results), "\n".join(map(str, results))
    assert "root's own" not in "".join(result.out + result.err for result in results) + device.syslog.text
    return results


def fresh_folder(device, owner):
    shutil.rmtree(device.spool_folder, ignore_errors=True)
    device.spool_folder.mkdir(mode=0o700)
    os.chown(device.spool_folder, owner.pw_uid, owner.pw_gid)


FILES = ["spool.db", "spool.db-wal", "spool.db-shm", "spool.db-journal", "spool.db-reserve", "spool.db-lock"]
NAMES = [*FILES, "spool.db-damaged", "overflow"]


def plant_link(path, treasure):
    path.symlink_to(treasure / "secret")


def plant_link_to_a_folder(path, treasure):
    path.symlink_to(treasure)


def plant_hard_link(path, treasure):
    os.link(treasure / "secret", path)


def plant_fifo(path, treasure):
    os.mkfifo(path)


def plant_folder(path, treasure):
    path.mkdir()


def plant_link_to_nothing(path, treasure):
    path.symlink_to(treasure / "new")


PLANTS = [plant_link, plant_link_to_a_folder, plant_hard_link, plant_fifo, plant_folder, plant_link_to_nothing]


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__[6:])
def test_what_stands_in_the_place_of_a_file(device, owner, treasure, plant):
    """Each file of the spool in turn is something else; with a spool beside it and without."""
    before = state_of(treasure)
    for name, warm in itertools.product(NAMES, (False, True)):
        fresh_folder(device, owner)
        if warm:
            device.event("before")
        path = device.spool_folder / name
        path.unlink(missing_ok=True)
        plant(path, treasure)
        planted = path.lstat().st_ino
        if plant is not plant_hard_link:
            os.lchown(path, owner.pw_uid, owner.pw_gid)
        run_all(device)
        assert state_of(treasure) == before, (name, warm)
        others = [found for found in device.spool_folder.rglob("*") if found.lstat().st_ino != planted]
        assert {found.lstat().st_uid for found in others} <= {owner.pw_uid}, (name, warm)


# -- a database of his

ENDLESS = "(WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n)"
SLOW = "instr(zeroblob(6000000), CAST(zeroblob(3000000) || x'01' AS BLOB))"         # minutes

HOSTILE = {
    "trigger that fails": ["CREATE TRIGGER t BEFORE INSERT ON item BEGIN SELECT RAISE(ABORT, 'no'); END",
                           "CREATE TRIGGER u BEFORE DELETE ON item BEGIN SELECT RAISE(ABORT, 'no'); END"],
    "trigger that keeps copies": ["CREATE TABLE copies(body)",
                                  "CREATE TRIGGER t AFTER INSERT ON item BEGIN INSERT INTO copies VALUES (new.body); END",
                                  "CREATE TRIGGER u AFTER UPDATE ON counters BEGIN DELETE FROM item; END"],
    "trigger without end": ["CREATE TRIGGER t AFTER UPDATE ON counters BEGIN SELECT %s; END" % ENDLESS],
    "view without end": ["ALTER TABLE counters RENAME TO hidden",
                         "CREATE VIEW counters AS SELECT h.* FROM hidden h WHERE %s > 0" % ENDLESS],
    "view of another table": ["ALTER TABLE item RENAME TO hidden", "CREATE VIEW item AS SELECT * FROM hidden"],
    "index that takes for ever": ["CREATE INDEX i ON mark(CASE WHEN attempts > 0 THEN %s ELSE 0 END)" % SLOW],
    "column that is computed": ["ALTER TABLE counters ADD COLUMN more GENERATED ALWAYS AS (hex(zeroblob(500000000)))"],
    "extension": ["CREATE TRIGGER t AFTER INSERT ON item BEGIN SELECT load_extension('/nonexistent/x.so'); END"],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_database(device, upstream, name):
    """It hangs nobody, nothing of it is run, and the next events arrive."""
    user = pwd.getpwnam("nobody")
    device.configure(upstream)
    fresh_folder(device, user)
    device.event("before", "-m", "kept")
    with sqlite3.connect(device.spool, isolation_level=None) as connection:
        for statement in HOSTILE[name]:
            connection.execute(statement)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    for path in device.spool_folder.iterdir():
        os.chown(path, user.pw_uid, user.pw_gid)
    upstream.script({"status": 503})        # what draws it gets a mark
    results = run_all(device)
    run_all(device)
    accepted = sum(result.status == 0 for result in (results[0], results[-1]))
    topics = [items[0]["topic"] for items in upstream.committed.values()]
    assert topics.count("cpu") >= accepted
    with sqlite3.connect(device.spool) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        if "copies" in tables:
            assert connection.execute("SELECT count(*) FROM copies").fetchone() == (0,)
    connection.close()


# -- large things

def sparse(path, size, head=b""):
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(size)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keeps", [True, False], ids=["its beginning is right", "zeros"])
def test_a_huge_file(device, upstream, name, keeps):
    """10 GiB that take no room. Of a spool that is none, every page is looked at: that takes its time."""
    user = pwd.getpwnam("nobody")
    device.configure(upstream)
    fresh_folder(device, user)
    device.event("before")
    path = device.spool_folder / name
    sparse(path, 200 << 20 if name == "spool.db" else 10 << 30, path.read_bytes() if keeps and path.exists() else b"")
    os.chown(path, user.pw_uid, user.pw_gid)
    first = run_all(device)
    run_all(device)
    assert first[0].status == 0
    assert "cpu" in [items[0]["topic"] for items in upstream.committed.values()]


def test_a_huge_overflow_file(device, upstream):
    user = pwd.getpwnam("nobody")
    device.configure(upstream)
    fresh_folder(device, user)
    with device.obstructed():
        device.event("cpu", monit={})
    first = device.overflow / ("00000000" + device.overflow_files()[0].name[8:])
    sparse(first, 10 << 30, b"{")
    os.chown(first, user.pw_uid, user.pw_gid)
    device.flush("--now", timeout=SECONDS).ended(0)
    assert [items[0]["topic"] for items in upstream.committed.values()] == ["cpu"]
    # Set aside it fills the folder as long as it is there.
    assert [path.name for path in device.overflow_files()] == [first.name + ".bad"]
    with device.obstructed():
        assert device.try_event("cpu", monit={}).status == STORAGE


def test_100000_overflow_files(in_memory, upstream):
    device, user = in_memory, pwd.getpwnam("nobody")
    device.configure(upstream)
    fresh_folder(device, user)
    with device.obstructed():
        device.event("cpu", monit={})
    path = device.overflow_files()[0]
    for number in range(100000):
        os.close(os.open(device.overflow / ("%08x%s" % (number, path.name[8:])), os.O_CREAT | os.O_WRONLY, 0o600))
    with device.obstructed():
        refused = device.try_event("cpu", monit={}).ended(STORAGE)
    assert max(refused.seconds, device.event("memory", monit={}).seconds) < BOUND_S + SLACK_S
    for _ in range(3):
        device.flush("--now", timeout=60)
    assert sorted(items[0]["topic"] for items in upstream.committed.values()) == ["cpu", "memory"]


# -- the folder itself

SWAP = """
import os, sys
folder, treasure = sys.argv[1:]
aside = folder + "-aside"
print("ready", flush=True)
while True:
    os.rename(folder, aside)
    os.symlink(treasure, folder)
    os.unlink(folder)
    os.rename(aside, folder)
"""


def test_a_folder_that_is_a_link_to_roots(device, owner, treasure):
    """He owns the folder above, too: root's folder is not for his spool."""
    os.chown(device.folder, owner.pw_uid, owner.pw_gid)
    device.spool_folder.rmdir()
    device.spool_folder.symlink_to(treasure)
    os.lchown(device.spool_folder, owner.pw_uid, owner.pw_gid)
    before = state_of(treasure)
    results = run_all(device)
    assert state_of(treasure) == before
    assert {result.status for result in results} == {STORAGE}
    assert str(device.spool_folder) in results[1].err and "link" in results[1].err
    assert "is in syslog only" in device.syslog.text


def test_a_folder_that_is_swapped_all_the_time(device, owner, treasure):
    os.chown(device.folder, owner.pw_uid, owner.pw_gid)
    before = state_of(treasure)
    attacker = subprocess.Popen(["setpriv", "--reuid", str(owner.pw_uid), "--regid", str(owner.pw_gid), "--clear-groups",
                                 "/usr/bin/python3", "-c", SWAP, device.spool_folder, treasure], stdout=subprocess.PIPE)
    try:
        attacker.stdout.readline()
        for _ in range(12):
            run_all(device)
    finally:
        attacker.kill()
        attacker.wait()
        attacker.stdout.close()
    assert state_of(treasure) == before
    for folder in (device.spool_folder, device.folder / "spool-aside"):
        if folder.is_dir() and not folder.is_symlink():
            assert {path.lstat().st_uid for path in folder.rglob("*")} <= {owner.pw_uid}


def test_a_link_that_root_made(device, owner):
    """/var/lib/px-status may well be a link to a larger disk."""
    there = device.folder / "there"
    device.spool_folder.rename(there)
    device.spool_folder.symlink_to(there)
    device.event("cpu")
    assert {path.lstat().st_uid for path in there.rglob("*")} == {owner.pw_uid}


@pytest.mark.parametrize("program", [EVENT, FLUSH, STATUS], ids=lambda path: path.name)
def test_root_has_not_touched_it(device, owner, program):
    """As the kernel sees it: before the change of identity the folder is only looked at, and there is no way back."""
    if shutil.which("strace") is None:
        pytest.skip("strace is needed")
    device.event("before")
    device.env["ASAN_OPTIONS"] += ":detect_leaks=0"
    trace = device.folder / "trace"
    args = {EVENT: ["cpu"], FLUSH: ["-s", device.spool, "--now"], STATUS: ["drop", "1"]}[program]
    result = device.run("strace", "-f", "-o", trace, "-e", "trace=%file,%desc,setuid,setresuid,setgroups,setresgid", program,
                        "-c", device.config, *args)
    if "ptrace" in result.err:
        pytest.skip("strace may not trace here: " + result.err.strip())
    lines = result.ended(0) and trace.read_text(errors="replace").splitlines()
    change = next(at for at, line in enumerate(lines) if "setresuid(%d, %d, %d) " % ((owner.pw_uid,) * 3) in line + " ")
    before = [line for line in lines[:change] if str(device.spool_folder) in line and "execve(" not in line]
    assert before and all(re.search(r"\b(newfstatat|lstat|stat|statx|readlink|readlinkat)\(", line) for line in before), before
    assert any("setgroups(0" in line for line in lines[:change])
    # What follows can only fail: it is tried.
    assert all("EPERM" in line for line in lines[change + 1:] if "setresuid(" in line)
    assert any(str(device.spool) in line and "open" in line for line in lines[change:])


@pytest.mark.parametrize("key", ["command", "token_command"])
def test_a_configuration_that_he_can_write(device, owner, upstream, key):
    mark = device.folder / "ran"
    program = device.file("program", "#!/bin/sh\nid -u >>%s\n" % mark, 0o755)
    own = {"snapshot": {"enabled": "yes", "source": "command", "command": program}} if key == "command" else {
        "upstream": {"url": upstream.url, "auth": "bearer", "token_command": program}}
    device.configure(upstream, **own)
    os.chown(device.config, owner.pw_uid, owner.pw_gid)
    device.event("cpu", monit={})
    result = device.run(FLUSH, "--now", env={"PX_STATUS_CONFIG": str(device.config)}).ended(CONFIG)
    assert str(device.config) in result.err and "not root's" in result.err
    assert not mark.exists() and upstream.requests == []
