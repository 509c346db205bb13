# SPDX-License-Identifier: MIT
"""How Monit is asked: by socket, HTTP and command, and what comes of it when it can't be."""
import concurrent.futures
import gzip
import os
import re
import socket
import struct
import sys
import time

import pytest

import harness
from harness import CONFIG
from interface import SHORT, Interface, http
from upstream import Upstream

MEMORY_KB = 60 << 10        # at most, whatever Monit says
SLACK_S = 9                 # of a busy machine, behind the time-out


# Runs a program and writes its exit status and its peak of memory to a file: an exec keeps the peak of what was there
# before it, so that a small process has to start it.
MEASURE = """
import os, sys
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
with open(sys.argv[1], "w") as out:
    print(os.waitstatus_to_exitcode(status), usage.ru_maxrss, file=out)
"""


class Scheduled:
    """
    A scheduled flush of a device with one event, that asks as [snapshot] tells it: what it said, sent and needed. Who does
    not wait for the time-out has one that no busy machine comes to.
    """

    def __init__(self, device, settings, timeout_s=10):
        self.timeout_s = timeout_s
        with Upstream() as upstream:
            device.configure(upstream, snapshot={"enabled": "yes", "timeout": "%ds" % timeout_s, **settings})
            device.event("cpu")
            measured = device.folder / "measured"
            result = device.run(sys.executable, "-ISc", MEASURE, measured, harness.FLUSH, "-c", device.config, "-s", device.spool)
            self.status, self.memory_kb = map(int, measured.read_text().split())
            self.seconds, self.said = result.seconds, result.out + result.err
            bodies = [request.body for request in upstream.requests]
        self.topics = [event["topic"] for body in bodies for event in body["events"]]
        self.snapshots = [item for body in bodies for item in body["stats"]]

    def check(self):
        """What holds whatever Monit does; the snapshot."""
        assert (self.status, self.said, self.topics, len(self.snapshots)) == (0, "", ["cpu"], 1)
        assert self.seconds < self.timeout_s + SLACK_S
        assert harness.is_sanitized() or self.memory_kb < MEMORY_KB
        return self.snapshots[0]

    def unreachable(self, device, words):
        snapshot = self.check()
        assert set(snapshot) == {"id", "seq", "time", "boot_id", "uptime_ms", "monit"}
        assert set(snapshot["monit"]) == {"reachable", "error"} and snapshot["monit"]["reachable"] is False
        assert re.search(words, snapshot["monit"]["error"]), snapshot["monit"]["error"]
        assert not device.syslog_is_ours or "a snapshot without services: " + snapshot["monit"]["error"][:60] in device.syslog.text


def timeout_of(words):
    """In seconds, for what is to end with these words."""
    return 1 if re.search("timed out|did not end", words) else 10


def all_at_once(make_device, rows, check):
    """Runs ${check} with a device of its own for each row, some at a time since most of them wait; names those that failed."""
    devices = [make_device() for _ in rows]
    wrong = []
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        runs = [pool.submit(check, device, *row[1:]) for device, row in zip(devices, rows)]
    for row, run in zip(rows, runs):
        if run.exception() is not None:
            wrong.append("%s: %s" % (row[0], run.exception()))
    assert not wrong, "\n".join(wrong)


# -- an HTTP interface that does not answer well

HEAD = b"HTTP/1.0 200 OK\r\nServer: monit 5.33.0\r\n"


def drip(connection):
    for byte in http("200 OK", SHORT):
        connection.sendall(bytes([byte]))
        time.sleep(0.2)


def reset(connection):
    connection.sendall(HEAD + b"Content-Length: 5000\r\n\r\n" + SHORT.encode())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def endless(head, piece):
    def answer(connection):
        connection.sendall(head)
        while True:
            connection.sendall(piece)
    return answer


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


MANY = SHORT.encode() + b"x" * 65536
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TOO_MUCH = "more than 8388608 bytes"

# Name, answer, how the connection goes on, what the error says.
BAD_ANSWERS = [
    ("silence", b"", {"holds": True}, "timed out"),
    ("silence at once", b"", {"holds": True, "at_once": True}, "timed out"),
    ("a byte now and then", drip, {}, "timed out"),
    ("all of it, but no end", HEAD + b"\r\n" + SHORT.encode(), {"holds": True}, "timed out"),
    ("headers without an end, and waiting", HEAD, {"holds": True}, "timed out"),
    ("nothing", b"", {}, "[Ee]mpty reply"),
    ("a reset", reset, {}, "reset|bytes remaining"),
    ("half of it", HEAD + b"Content-Length: 5000\r\n\r\n" + SHORT.encode(), {}, "bytes remaining"),
    ("half the headers", HEAD, {}, "headers break off"),
    ("chunks that end too soon", CHUNKED + chunk(SHORT.encode()), {}, "outstanding read data"),
    ("chunks without an end", endless(CHUNKED, chunk(MANY)), {}, TOO_MUCH),
    ("100 MB", endless(HEAD + b"Content-Length: 100000000\r\n\r\n", MANY), {}, TOO_MUCH),
    ("100 MB of unknown length", endless(HEAD + b"\r\n", MANY), {}, TOO_MUCH),
    ("100 MB, compressed", http("200 OK", gzip.compress(b"Monit uptime: 3m\n" * 6000000, 1), "Content-Encoding: gzip"), {},
     "no status from Monit"),
    ("headers without end", endless(HEAD, b"X-More: 1\r\n" * 100), {}, "more than 256 KiB"),
    ("a header without end", endless(HEAD + b"X-More: ", b"x" * 65536), {}, "cannot read"),
    ("garbage", b"\x00\xff\x1b[31m\r\n\r\n", {}, "does not answer in HTTP"),
    ("HTTP/0.9", SHORT.encode(), {}, "does not answer in HTTP"),
    ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n", {"holds": True, "at_once": True}, "does not answer in HTTP"),
    ("a login page", http("200 OK", "<html><form>Password: </form></html>"), {}, "no status from Monit: .*<html>"),
    ("nothing in it", http("200 OK", ""), {}, "no status from Monit: it said nothing"),
    ("401", http("401 Unauthorized", "no"), {}, r"status 401; look at \[snapshot\] user and password_file"),
    ("403", http("403 Forbidden", "no"), {}, r"status 403; look at \[snapshot\] user and password_file"),
    ("404", http("404 Not Found", SHORT), {}, "status 404"),
    ("500", http("500 Internal Server Error", SHORT), {}, "status 500"),
    ("204", b"HTTP/1.0 204 No Content\r\n\r\n", {}, "status 204"),
    ("206", http("206 Partial Content", SHORT), {}, "status 206"),
]


@pytest.mark.parametrize("by_socket", [True, False], ids=["socket", "http"])
def test_an_interface_that_does_not_answer_well(make_device, by_socket):
    def check(device, answer, ways, words):
        with Interface(answer, device.folder / "m.sock" if by_socket else None, **ways) as interface:
            Scheduled(device, interface.settings, timeout_of(words)).unreachable(device, words)

    all_at_once(make_device, BAD_ANSWERS, check)


# -- no interface at all

def bound(kind):
    def make(path):
        one = socket.socket(socket.AF_UNIX, kind)
        one.bind(os.fspath(path))
        return one
    return make


def busy(path):
    """Listens, and has no place for one more that waits."""
    listener = bound(socket.SOCK_STREAM)(path)
    listener.listen(0)
    waiting = socket.socket(socket.AF_UNIX)
    waiting.connect(os.fspath(path))
    return listener, waiting


NO_SOCKETS = [
    ("nothing", lambda path: None, "No such file or directory"),
    ("a folder that is not there", lambda path: path.symlink_to("/nonexistent/monit.sock"), "No such file or directory"),
    ("what a Monit left that was killed", lambda path: bound(socket.SOCK_STREAM)(path).close(), "Connection refused"),
    ("nobody who listens", bound(socket.SOCK_STREAM), "Connection refused"),
    ("a socket of another kind", bound(socket.SOCK_DGRAM), "Protocol wrong type for socket"),
    ("a file", lambda path: path.write_text(SHORT), "it is not a socket"),
    ("a folder", lambda path: path.mkdir(), "it is not a socket"),
    ("a FIFO", os.mkfifo, "it is not a socket"),
    ("a device", lambda path: path.symlink_to("/dev/null"), "it is not a socket"),
    ("itself", lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ("somebody who is busy", busy, "it takes no connection now"),
]


def test_a_socket_that_is_none(make_device):
    def check(device, make, words):
        made = make(device.folder / "m.sock")
        Scheduled(device, {"source": "socket", "socket": device.folder / "m.sock"}).unreachable(
            device, "'%s/m.sock': .*(%s)" % (device.folder, words))
        del made

    all_at_once(make_device, NO_SOCKETS, check)


def test_a_port_at_which_nobody_listens(device):
    with socket.socket() as bound_only:
        bound_only.bind(("127.0.0.1", 0))
        port = bound_only.getsockname()[1]
        Scheduled(device, {"source": "http", "url": "http://127.0.0.1:%d" % port}).unreachable(
            device, "'http://127.0.0.1:%d/.*': Connection refused" % port)


# -- a command that does not do well

COMMANDS = [
    ("a reason", "echo 'monit: the monit daemon is not running' >&2; exit 1", "status 1: monit: the monit daemon is not running"),
    ("no reason", "exit 3", "monit' ended with status 3"),
    ("a status, and failed", "cat <<end\n%send\nexit 1" % SHORT, "ended with status 1"),
    ("a signal", "kill -9 $$", "killed by signal 9"),
    ("a status, and a signal", "cat <<end\n%send\nkill -SEGV $$" % SHORT, "killed by signal 11"),
    ("silence", "true", "no status from Monit: it said nothing"),
    ("blank lines", "echo; echo", "no status from Monit"),
    ("words that are no status", "echo no words of Monit", "no status from Monit: .*no words of Monit"),
    ("noise", "head -c 100000 /dev/urandom", "no status from Monit"),
    ("no end", "exec sleep 60", "did not end within 1 s"),
    ("a status, and no end", "cat <<end\n%send\nexec sleep 60" % SHORT, "did not end within 1 s"),
    ("no end behind a closed pipe", "cat <<end\n%send\nexec sleep 60 >&- 2>&-" % SHORT, "did not end within 1 s"),
    ("deaf to signals", "trap '' TERM INT HUP; while :; do sleep 1; done", "did not end within 1 s"),
    ("stopped", "kill -STOP $$", "did not end within 1 s"),
    ("waits for a word", "read word </dev/tty || exec sleep 60", "did not end within 1 s"),
    ("100 MB", "head -c 100000000 /dev/zero | tr '\\0' x", "printed more than 8388608 bytes"),
    ("no end of services", "yes \"Process 'p'\"", "printed more than 8388608 bytes"),
    ("100 MB of reasons", "head -c 100000000 /dev/zero | tr '\\0' x >&2; exit 1", "ended with status 1: x"),
]


def test_a_command_that_does_not_do_well(make_device):
    def check(device, script, words):
        settings = {"source": "command", "command": device.monit_that(script)}
        Scheduled(device, settings, timeout_of(words)).unreachable(device, words)

    all_at_once(make_device, COMMANDS, check)


NO_PROGRAMS = [
    ("nowhere", "/nonexistent/monit -B status", "cannot run '/nonexistent/monit': No such file"),
    ("not in the system folders", "no-such-monit status", "cannot find the program 'no-such-monit'"),
    ("not to be executed", "/etc/passwd", "cannot run '/etc/passwd': Permission denied"),
    ("a folder", "/tmp", "cannot run '/tmp': Permission denied"),
]


def test_a_program_that_is_none(make_device):
    all_at_once(make_device, NO_PROGRAMS, lambda device, command, words: Scheduled(
        device, {"source": "command", "command": command}).unreachable(device, words))


@pytest.mark.parametrize("script", [
    "cat <<end\n%send\nsleep 60 &" % SHORT, "cat <<end\n%send\nsetsid sleep 30 &\nsleep 0.1" % SHORT,
    "(setsid sh -c 'sleep 30 & exec sleep 30' &)\ncat <<end\n%send" % SHORT,
    "printf '%%s' \"%s\"" % SHORT.rstrip(), "cat <<end\n%send\necho a warning >&2" % SHORT,
], ids=["a child keeps the pipe", "a daemon keeps it", "a daemon's daemon does", "no last newline", "a warning"])
def test_a_command_that_does_well_enough(device, script):
    snapshot = Scheduled(device, {"source": "command", "command": device.monit_that(script)}).check()
    assert snapshot["monit"]["version"] == "5.33.0" and snapshot["services"][0]["state"] == "ok"


def test_nothing_of_a_command_is_left_running(device):
    script = "echo $$ >%s/pids; sleep 60 & echo $! >>%s/pids; sleep 60" % (device.folder, device.folder)
    settings = {"source": "command", "command": device.monit_that(script)}
    Scheduled(device, settings, timeout_s=3).unreachable(device, "did not end within 3 s")
    for pid in (device.folder / "pids").read_text().split():
        end = time.monotonic() + 30
        while is_at_work(pid):
            assert time.monotonic() < end, "%s still runs" % pid
            time.sleep(0.05)


def is_at_work(pid):
    try:
        with open("/proc/%s/stat" % pid, encoding="ascii") as source:
            return source.read().rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False


def test_the_reason_is_for_whoever_asks(device, upstream):
    device.configure(upstream, snapshot={"enabled": "yes", "source": "socket", "socket": device.folder / "none.sock"})
    result = device.flush("-v").ended(0)
    assert "a snapshot without services: cannot connect to '%s/none.sock': No such file" % device.folder in result.err
    assert "none.sock" not in device.flush("--now", "-q").ended(0).err


# -- how a command is run

def run_as_monit(device, upstream, script, **more):
    device.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command": device.monit_that(script)},
                     upstream={"url": upstream.url, "auth": "bearer", "token_file": device.file("token", "hunter2-token\n")})
    device.flush("--now", **more).ended(0)


def test_how_the_command_is_split(device, upstream):
    device.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command":
                     "%s 'a b' \"c  d\" e'f'g $HOME * ; | >x \\n" % device.monit_that('printf "%%s|" "$@" >%s/args' % device.folder)})
    # " ;" would be a mistake of the configuration; the shell's other words are words here.
    assert device.flush("--now").status == CONFIG
    device.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command":
                     "%s 'a b' \"c  d\" e'f'g $HOME * | >x \\n ''" % device.folder.joinpath("monit")})
    device.flush("--now").ended(0)
    assert (device.folder / "args").read_text() == "a b|c  d|efg|$HOME|*|||>x|\\n||"


def test_a_program_is_looked_up_in_the_system_folders_only(device, upstream):
    folder = device.folder / "bin"
    folder.mkdir()
    for name in ("echo", "px-test-monit"):
        (folder / name).write_text("#!/bin/sh\ntouch %s/ran\n" % device.folder)
        (folder / name).chmod(0o755)
    env = {"PATH": "%s:/usr/bin:/bin" % folder}
    for command, said in (("px-test-monit", "in the system folders"), ("echo no words of Monit", "no words of Monit")):
        upstream.forget()
        device.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command": command})
        device.flush("--now", env=env).ended(0)
        assert said in upstream.requests[0].body["stats"][0]["monit"]["error"]
    assert not (device.folder / "ran").exists()


@pytest.mark.parametrize("command", ["./monit", "bin/monit -B status", "../monit"])
def test_a_relative_path_is_a_mistake(device, upstream, command):
    device.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command": command})
    assert command.split()[0] in device.flush("--now").ended(CONFIG).err and upstream.requests == []


def test_what_a_command_is_given(device, upstream):
    """Its own process group, /dev/null, no descriptor and no secret of ours, and the system folders for a PATH."""
    script = "cd %s; env >env; cat >stdin; ls -l /proc/$$/fd >fds; cut -d' ' -f5 /proc/$$/stat >group; echo $$ >pid" % device.folder
    script += "; tr '\\0' ' ' </proc/$PPID/cmdline >caller; cat <<end\n%send" % SHORT
    with open(device.file("ours", "x"), "rb") as ours:
        run_as_monit(device, upstream, script, env={"PATH": "/nonexistent:/bin", "PX_TEST_OTHER": "kept"}, pass_fds=(ours.fileno(),))
    read = {name: (device.folder / name).read_text() for name in ("env", "stdin", "fds", "group", "pid", "caller")}
    env = dict(line.split("=", 1) for line in read["env"].splitlines() if "=" in line)
    assert env["PATH"] == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" and env["PX_TEST_OTHER"] == "kept"
    assert "hunter2" not in read["env"] + read["caller"] and read["stdin"] == ""
    assert read["group"] == read["pid"]
    assert "ours" not in read["fds"] and "spool" not in read["fds"] and "socket:" not in read["fds"]
    assert upstream.requests[0].body["stats"][0]["monit"]["reachable"] is True


# -- an interface that answers

@pytest.mark.parametrize("source", ["http", "socket", "auto"])
def test_the_http_interface(device, upstream, source):
    body = (harness.FIXTURES / "status" / "5.33.0-http-colours.txt").read_bytes()
    with Interface(http("200 OK", body), None if source == "http" else device.folder / "m.sock") as interface:
        device.configure(upstream, snapshot={
            "enabled": "yes", **interface.settings, "source": source, "command": device.monit_that_prints(SHORT), "user": "ro",
            "password_file": device.file("password", "ro\n")})
        device.flush("--now").ended(0)
    snapshot = upstream.requests[0].body["stats"][0]
    assert snapshot["monit"]["version"] == "5.33.0" and snapshot["summary"]["total"] == 40
    assert "\\u001b[" not in str(snapshot["services"]) and device.monit_calls() == []
    assert len(interface.asked) == 1 and interface.asked[0].startswith("GET /_status?format=text HTTP/1.1\r\n")
    assert "Authorization: Basic cm86cm8=" in interface.asked[0]


def test_a_link_to_the_socket(device, upstream):
    (device.folder / "link").symlink_to(device.folder / "m.sock")
    with Interface(http("200 OK", SHORT), device.folder / "m.sock"):
        device.configure(upstream, snapshot={"enabled": "yes", "source": "socket", "socket": device.folder / "link"})
        device.flush("--now").ended(0)
    assert upstream.requests[0].body["stats"][0]["monit"]["reachable"] is True


@pytest.mark.parametrize("make", [row[1] for row in NO_SOCKETS], ids=[row[0] for row in NO_SOCKETS])
def test_auto_without_a_socket_is_the_command(device, upstream, make):
    path = device.folder / "m.sock"
    made = make(path)
    settings = {"enabled": "yes", "source": "auto", "socket": path, "command": device.monit_that_prints(SHORT)}
    device.configure(upstream, snapshot=settings)
    device.flush("--now").ended(0)
    assert upstream.requests[0].body["stats"][0]["monit"]["version"] == "5.33.0" and device.monit_calls() == [""]
    device.configure(upstream, snapshot={**settings, "command": device.monit_that("echo no daemon >&2; exit 1", "other")})
    device.flush("--now").ended(0)
    error = upstream.requests[1].body["stats"][0]["monit"]["error"]
    assert str(path) in error and "ended with status 1: no daemon" in error
    del made


def test_auto_with_an_interface_that_says_no(device, upstream):
    """Then it is there, and its word counts."""
    with Interface(http("401 Unauthorized", "no"), device.folder / "m.sock") as interface:
        device.configure(upstream, snapshot={
            "enabled": "yes", "source": "auto", "socket": interface.path, "command": device.monit_that_prints(SHORT)})
        device.flush("--now").ended(0)
    assert "status 401" in upstream.requests[0].body["stats"][0]["monit"]["error"] and device.monit_calls() == []


def test_nothing_leads_elsewhere(device, upstream):
    """A redirect, proxies and .netrc are not followed."""
    device.file(".netrc", "default login netrc password hunter2\n")
    with Interface(http("200 OK", SHORT)) as elsewhere, \
            Interface(http("302 Found", SHORT, "Location: %s/" % elsewhere.url)) as redirecting, Interface(http("200 OK", SHORT)) as good:
        proxies = {name: elsewhere.url for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY")}
        for interface, reachable in ((redirecting, False), (good, True)):
            device.configure(upstream, snapshot={"enabled": "yes", **interface.settings})
            device.flush("--now", env=proxies).ended(0)
            assert upstream.requests[-1].body["stats"][0]["monit"]["reachable"] is reachable
            assert len(interface.asked) == 1 and "Authorization" not in interface.asked[0]
    assert elsewhere.asked == []


def test_plain_http_to_another_host_needs_a_word(device, upstream):
    settings = {"enabled": "yes", "source": "http", "url": "http://monit.example.com:2812", "timeout": "1s"}
    device.configure(upstream, snapshot=settings)
    assert "[snapshot] url" in device.flush("--now").ended(CONFIG).err and upstream.requests == []
