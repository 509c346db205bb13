# SPDX-License-Identifier: MIT
"""Fixtures of the end-to-end tests. The programs are those of the folder PX_BUILD, build/gcc unless given."""
import http.server
import importlib.util
import os
import pathlib
import shutil
import tempfile
import threading

import pytest

import certificates as authority
import harness
from upstream import Upstream


def pytest_configure(config):
    config.addinivalue_line("markers", "alone: needs the machine for itself, as what looks at all of its memory or at all of /tmp")
    config.addinivalue_line("markers", "long: a module that takes long, mostly by waiting")
    config.addinivalue_line("markers", "needs_root: is skipped for a plain user; given to what asks for the fixture root")


def pytest_collection_modifyitems(items):
    for item in items:
        if "root" in item.fixturenames:
            item.add_marker("needs_root")
    deal_long_modules(items)


def deal_long_modules(items):
    """
    To each worker of pytest-xdist another one to begin with, so that none has a long one left when the others are done. A
    worker is sent a quarter of its share at first, all in a row, and the rest as it gets on.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    modules = {}
    for item in filter(lambda item: item.get_closest_marker("long"), items):
        modules.setdefault(item.module.__name__, []).append(item)
    others = [item for item in items if not item.get_closest_marker("long")]
    at_first = len(items) // workers // 4
    hands = [sum(list(modules.values())[worker::workers], []) for worker in range(workers)]
    del items[:]
    for hand in hands:
        rest = max(at_first - len(hand), 0)
        items += hand + others[:rest]
        del others[:rest]
    items += others


def pytest_sessionstart(session):
    missing = [program for program in harness.PROGRAMS if not program.exists()]
    if missing:
        raise pytest.UsageError("not built: %s; run make, or set PX_BUILD" % ", ".join(map(str, missing)))
    if importlib.util.find_spec("jsonschema") is None:
        raise pytest.UsageError("python3-jsonschema is not installed: no test could tell whether what is posted is right")


@pytest.fixture(autouse=True)
def posted():
    """
    Every POST that an upstream of this test got, whichever; each is what share/schema/batch.schema.json says. That is looked
    at when the test is over and its times are taken.
    """
    import wire
    Upstream.posted = []
    yield Upstream.posted
    requests, Upstream.posted = Upstream.posted, None
    assert list(filter(None, map(wire.fault_of_request, requests))) == []


@pytest.fixture(scope="session")
def preload():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="px-"))
    folder.chmod(0o755)
    yield harness.build_preload(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def certificates():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="px-"))
    yield authority.make_all(folder)
    shutil.rmtree(folder)


@pytest.fixture
def make_device(preload):
    """A function that makes one more device."""
    made = []

    def make():
        made.append(harness.Device(preload))
        return made[-1]

    yield make
    for device in made:
        device.close()


@pytest.fixture
def device(make_device):
    return make_device()


@pytest.fixture
def bodies_may_be_broken(posted):
    """Nobody can tell of a byte inside a document that it was flipped on the disk: what is posted then need be no JSON."""
    yield
    posted.clear()


@pytest.fixture
def in_memory(monkeypatch, make_device):
    """A device in memory, for so many recorders or files that they would wait for a disk all the time."""
    if os.access("/dev/shm", os.W_OK):
        monkeypatch.setenv("TMPDIR", "/dev/shm")
        monkeypatch.setattr(tempfile, "tempdir", None)
    return make_device()


@pytest.fixture
def syslog(device):
    if not device.syslog_is_ours:
        pytest.skip("no C compiler to build the library that catches syslog")
    return device.syslog


@pytest.fixture
def upstream():
    """An upstream that takes everything unless told otherwise."""
    with Upstream() as server:
        yield server


@pytest.fixture
def enrolled(device, upstream):
    """The device, sending to upstream."""
    device.configure(upstream)
    return device


@pytest.fixture
def start_part():
    """A function that starts a part of parts.py, and ends it with the test."""
    started = []

    def start(part):
        started.append(part)
        return part.start()

    yield start
    for part in started:
        part.stop()


@pytest.fixture(scope="session")
def root():
    if not harness.IS_ROOT:
        pytest.skip("needs root")


@pytest.fixture
def plain_user():
    if harness.IS_ROOT:
        pytest.skip("root may do everything; run as a plain user too")


@pytest.fixture
def start_monit(device):
    """
    A function that starts real Monit with these checks, with another `set httpd` than usual and with words in front of its
    command line where these are given.
    """
    if harness.MONIT is None:
        pytest.skip("monit is not installed")
    started = []

    def start(checks, httpd=None, prefix=(), **env):
        started.append(harness.Monit(device, checks, httpd, prefix))
        started[-1].start(**env)
        return started[-1]

    yield start
    for monit in started:
        monit.stop()


@pytest.fixture
def collector():
    """Answers what ${answer} says; keeps the bodies of its requests."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            answer = server.answer      # before a test knows of the body, and may say another
            server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode("utf-8", "replace"))
            self.send_response(answer)
            if answer == 302:
                self.send_header("Location", "http://127.0.0.1:9/login")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.bodies, server.answer = [], 200
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
