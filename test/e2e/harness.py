# SPDX-License-Identifier: MIT
"""What the tests stand on: a device in a temporary folder, the three programs run from outside, and real Monit."""
import collections
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FIXTURES = ROOT / "test" / "fixtures"
BUILD = pathlib.Path(os.environ.get("PX_BUILD") or ROOT / "build" / "gcc").resolve()
EVENT, FLUSH, STATUS = (BUILD / name for name in ("px-status-event", "px-status-flush", "px-status"))
PROGRAMS = (EVENT, FLUSH, STATUS)
IS_ROOT = os.geteuid() == 0
DEFAULT_SPOOL = pathlib.Path("/var/lib/px-status/spool.db")

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
UUID_V7 = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
RFC3339 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"

# OpenSSL's configuration that allows what our programs are to refuse by themselves.
WEAK_OPENSSL = """openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = defaults
[defaults]
MinProtocol = TLSv1
CipherString = DEFAULT:@SECLEVEL=0
"""

# A [retry] for a back-off that is not over when the test is, though it is drawn from no time at all on: for what Retry-After
# can't hold off, which holds for certain; see upstream.DOWN.
LONG_RETRY = {"initial": "30d", "max": "30d"}

USAGE, BUG, STORAGE, LATER, DENIED, CONFIG = 64, 70, 74, 75, 77, 78


class Result(collections.namedtuple("Result", "args status out err seconds")):
    """How a program ended."""

    def __str__(self):
        return "%s\n  status %s after %.2f s\n  stdout: %s\n  stderr: %s" % (
            " ".join(map(str, self.args)), self.status, self.seconds, self.out[:3000], self.err[:3000])

    def ended(self, status):
        """Asserts the exit status; returns itself."""
        assert self.status == status, "status %d was expected\n%s" % (status, self)
        return self


def run(args, env, timeout=20, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more):
    """Runs a program to its end, killing it and everything it started after ${timeout} seconds."""
    began = time.monotonic()
    process = subprocess.Popen([os.fspath(arg) for arg in args], env=env, stdin=stdin, stdout=stdout, stderr=stderr,
                               start_new_session=True, **more)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError("%s did not end in %g s; stderr: %r" % (" ".join(map(str, args)), timeout, err)) from None
    text = [(data or b"").decode("utf-8", "backslashreplace") for data in (out, err)]
    return Result(args, process.returncode, text[0], text[1], time.monotonic() - began)


def is_sanitized():
    """Whether the programs were built with SAN=1; then memory and speed say nothing."""
    return b"__asan_init" in FLUSH.read_bytes()


# -- the system's log

class Syslog:
    """A socket in the place of /dev/log, read all the time, since a full one loses lines."""

    def __init__(self, path):
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.bind(os.fspath(path))
        os.chmod(path, 0o666)
        self._lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        while True:
            try:
                data = self._socket.recv(65536)
            except OSError:
                return
            self._lines.append(data)
            if data == b"end":
                return

    @property
    def raw(self):
        """The datagrams so far."""
        mark = b"mark %d" % time.monotonic_ns()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(mark, os.fspath(self.path))
        while mark not in self._lines:
            time.sleep(0.002)
        return [line for line in self._lines if not line.startswith(b"mark ")]

    @property
    def text(self):
        return "\n".join(line.decode("utf-8", "backslashreplace") for line in self.raw)

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"end", os.fspath(self.path))
        self._reader.join()     # it would read what is next to get the number of this socket
        self._socket.close()


def build_preload(folder):
    """The library that leads the programs' syslog to ours; None where there is no compiler."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        return None
    library = folder / "preload.so"
    subprocess.run([compiler, "-std=c17", "-O1", "-fPIC", "-shared", "-o", library, HERE / "preload.c", "-ldl"], check=True)
    return library


# -- a device

class Device:
    """A temporary folder with a configuration, a spool's folder, a log; and the programs, run on them."""

    def __init__(self, preload):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="px-"))
        self.folder.chmod(0o755)
        self.config = self.folder / "px-status.conf"
        self.spool_folder = self.folder / "spool"
        self.spool_folder.mkdir()
        self.spool = self.spool_folder / "spool.db"
        self.overflow = self.spool_folder / "overflow"
        self.syslog = Syslog(self.folder / "log")
        self.syslog_is_ours = preload is not None
        self.env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": os.fspath(self.folder),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
        }
        if preload is not None:
            self.env.update(LD_PRELOAD=os.fspath(preload), PX_TEST_SYSLOG=os.fspath(self.syslog.path))
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            self.env[name] = os.environ.get(name, "")
        self.env["ASAN_OPTIONS"] += ":verify_asan_link_order=0"
        self.configure()

    def close(self):
        self.syslog.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def change(self, path, content):
        """Gives a file another content at once: who looks meanwhile sees what it was or what it is, and never half of it."""
        self.file("changed", content, mode_of(path)).rename(path)

    def file(self, name, content, mode=0o600):
        """Writes a file into the device's folder; its path."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        path.chmod(mode)
        return path

    # -- configuration

    def configure(self, url=None, /, **sections):
        """
        Writes the configuration: what tests want (no snapshots, no waiting), the URL (an Upstream will do), then ${sections}
        as in configure(batch={"max_items": 3}); a value of None leaves a key out.
        """
        whole = {
            "device": {"id": "device-1", "name": "unit"},
            "spool": {"path": self.spool},
            "snapshot": {"enabled": "no"},
            "upstream": {"timeout": "5s", "connect_timeout": "2s"},
            "retry": {"initial": "1s", "max": "1s"},
            "schedule": {"splay": "0s"},
        }
        if url is not None:
            whole["upstream"]["url"] = getattr(url, "url", url)
        for name, keys in sections.items():
            whole.setdefault(name, {}).update(keys)
        lines = []
        for name, keys in whole.items():
            lines.append("[%s]" % name)
            lines += ["%s = %s" % (key, value) for key, value in keys.items() if value is not None]
        self.write_config("\n".join(lines) + "\n")

    def write_config(self, text):
        self.config.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        self.config.chmod(0o600)

    # -- the programs

    def environment(self, monit=None, env=None):
        """${monit} is what Monit says, as in {"EVENT": "..."}; None: not run by Monit."""
        whole = dict(self.env)
        if monit is not None:
            monit = dict(monit)
            monit.setdefault("EVENT", "Checksum changed")
            whole.update(("MONIT_" + name, value) for name, value in monit.items())
        whole.update(env or {})
        return {name: value for name, value in whole.items() if value is not None}

    def run(self, program, *args, monit=None, env=None, **more):
        return run([program, *args], self.environment(monit, env), **more)

    def event(self, *args, monit=None, **more):
        """Records an event, asserts that it ended with 0."""
        return self.run(EVENT, "-c", self.config, *args, monit=monit, **more).ended(0)

    def try_event(self, *args, monit=None, **more):
        return self.run(EVENT, "-c", self.config, *args, monit=monit, **more)

    def document(self, *args, monit=None, **more):
        """The document of a dry run."""
        return json.loads(self.event("-n", *args, monit=monit, **more).out)

    def flush(self, *args, **more):
        """
        The spool is named, since a flush with the configured one also takes in what recorders put into the default place,
        which on a machine with px-status installed would be the machine's own.
        """
        return self.run(FLUSH, "-c", self.config, "-s", self.spool, *args, **more)

    def flush_process(self, *args, **more):
        """A flush that is still at work."""
        return subprocess.Popen([FLUSH, "-c", self.config, "-s", self.spool, *args], env=self.environment(),
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                start_new_session=True, **more)

    def status(self, *args, **more):
        return self.run(STATUS, "-c", self.config, *args, **more)

    def copy_of(self, program):
        """For another user, who may not be allowed to look into the folder that it was built in."""
        return pathlib.Path(shutil.copy(program, self.folder / program.name))

    # -- what is in the spool

    def list(self, *args):
        lines = self.status("list", "--json", *args).ended(0).out.splitlines()
        return [json.loads(line) for line in lines]

    def show(self, name):
        return json.loads(self.status("show", str(name)).ended(0).out)

    def documents(self):
        return [self.show(item["id"]) for item in self.list()]

    def only_document(self):
        """The one item that there is, whole."""
        items = self.list()
        assert len(items) == 1, "one item was expected: %s\n%s" % (items, self.syslog.text)
        return self.show(items[0]["id"])

    def stats(self):
        stats = json.loads(self.status("stats", "--json").ended(0).out)
        held = sum(stats[key] for key in ("acknowledged", "pending", "quarantined", "dropped"))
        assert stats["recorded"] == held + stats["lost"]["events"] + stats["lost"]["snapshots"], stats
        return stats

    def record(self, count, topic="cpu"):
        """Records ${count} events; their ids in order."""
        before = {item["id"] for item in self.list()}
        for number in range(count):
            self.event(topic, "n=%d" % number)
        ids = [item["id"] for item in self.list() if item["id"] not in before]
        assert len(ids) == count, self.syslog.text
        return ids

    def files(self):
        """Every file below the spool's folder, with its bytes."""
        return {path.relative_to(self.spool_folder): path.read_bytes()
                for path in sorted(self.spool_folder.rglob("*")) if path.is_file() and not path.is_symlink()}

    def overflow_files(self):
        return sorted(path for path in self.overflow.iterdir()) if self.overflow.is_dir() else []

    def stored_nothing(self):
        return not self.files() and not self.overflow.exists() and self.list() == []

    # -- others

    def monit_that(self, script, name="monit"):
        """A program in Monit's place: a shell script."""
        return self.file(name, "#!/bin/sh\n" + script + "\n", 0o755)

    def monit_that_prints(self, text, name="monit"):
        source = self.file(name + ".txt", text, 0o644)
        return self.monit_that('echo "$@" >>%s/monit-calls; exec cat %s' % (self.folder, source), name)

    def monit_calls(self):
        path = self.folder / "monit-calls"
        return path.read_text().splitlines() if path.exists() else []

    def locked(self):
        """Holds the spool's lock for the time of a with statement, as another program might."""
        return Locked(self.spool)

    @contextlib.contextmanager
    def obstructed(self):
        """For the time of a with statement a folder stands in the spool's place; quicker than a lock."""
        spool, hidden = self.spool_folder / self.spool.name, self.spool_folder / "hidden"
        if spool.exists():
            spool.rename(hidden)
        spool.mkdir()
        yield
        spool.rmdir()
        if hidden.exists():
            hidden.rename(spool)


class Locked:
    def __init__(self, path):
        self._path = path

    def __enter__(self):
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        self._connection.execute("BEGIN EXCLUSIVE")
        return self

    def __exit__(self, *exc):
        self._connection.execute("ROLLBACK")
        self._connection.close()


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def ids_in(data):
    """Every UUIDv7 in these bytes, in order, each once."""
    found = re.findall(UUID_V7, data.decode("utf-8", "replace"))
    return list(dict.fromkeys(found))


def exactly_once(upstream, ids):
    """Asserts that upstream took these items and no others, each once."""
    counts = {name: len(items) for name, items in upstream.committed.items()}
    assert counts == {name: 1 for name in ids}


# -- real Monit

MONIT = next(filter(None, map(shutil.which, ("monit", "/usr/bin/monit", "/usr/sbin/monit"))), None)


class Monit:
    """
    A Monit of its own: control file, state, log and socket in the device's folder, one cycle a second. ${prefix} are words in
    front of its command line.
    """

    USER, PASSWORD = "px", "a password"

    def __init__(self, device, checks, httpd=None, prefix=()):
        self.device = device
        self.prefix = [*prefix]
        self.socket = device.folder / "monit.sock"
        self.log = device.folder / "monit.log"
        self.control = device.file("monitrc", "\n".join([
            "set daemon 1",
            "set logfile %s" % self.log,
            "set pidfile %s/monit.pid" % device.folder,
            "set idfile %s/monit.id" % device.folder,
            "set statefile %s/monit.state" % device.folder,
            'set httpd unixsocket %s\n  allow %s:"%s"' % (self.socket, self.USER, self.PASSWORD) if httpd is None else httpd,
            checks, ""]), 0o600)
        self._process = None

    def start(self, **env):
        checked = run([*self.prefix, MONIT, "-t", "-c", self.control], self.device.environment(env=env)).ended(0)
        assert "syntax OK" in checked.out + checked.err
        self._process = subprocess.Popen([*self.prefix, MONIT, "-I", "-c", self.control], env=self.device.environment(env=env),
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                         start_new_session=True)
        self.wait_until(self.answers, "an answer of Monit")

    def answers(self):
        """Whether it takes requests, which it does once its socket has owner and mode; this one is not worth its log."""
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
            client.settimeout(5)
            client.connect(os.fspath(self.socket))
            client.shutdown(socket.SHUT_WR)
            return client.recv(1) != b""
        return False

    def stop(self):
        if self._process is None:
            return
        self.signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def signal(self, number):
        self._process.send_signal(number)

    @contextlib.contextmanager
    def held(self):
        """For the time of a with statement it stands still, and so does what it runs: nobody sees a half of what is done."""
        self.signal(signal.SIGSTOP)
        self.wait_until(self._stands_still, "the end of what Monit runs")
        yield
        self.signal(signal.SIGCONT)

    def _stands_still(self):
        def state(pid):
            try:
                return pathlib.Path("/proc/%s/stat" % pid).read_text().rpartition(") ")[2][0]
            except FileNotFoundError:
                return "gone"

        threads = pathlib.Path("/proc/%d/task" % self._process.pid).iterdir()
        children = " ".join((thread / "children").read_text() for thread in threads).split()
        return state(self._process.pid) == "T" and {state(child) for child in children} <= {"Z", "gone"}

    @property
    def command(self):
        return "%s -c %s -B status" % (MONIT, self.control)

    def said(self):
        return run([*self.prefix, *self.command.split()], self.device.environment()).out

    def wait_until(self, is_so, what, timeout_s=60):
        end = time.monotonic() + timeout_s
        while not is_so():
            log = self.log.read_text() if self.log.exists() else ""
            assert time.monotonic() < end, "%s did not come in %g s; Monit's log:\n%s" % (what, timeout_s, log[-3000:])
            time.sleep(0.05)
