# SPDX-License-Identifier: MIT
"""px-status-flush: what it posts, when, and what it says."""
import datetime
import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest

from harness import CONFIG, DEFAULT_SPOOL, FLUSH, LATER, LONG_RETRY, RFC3339, STORAGE, USAGE, UUID, UUID_V7, exactly_once
from terminal import on_terminal
from upstream import DOWN, Upstream

SLACK_S = 15        # of a busy machine; waits that are not to be are of minutes
STATUS_TEXT = "Monit 5.33.0 uptime: 3m\n\nSystem 'vm'\n  status                       OK\n"


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def silent(result):
    assert (result.out, result.err) == ("", ""), result
    return result


# -- the main way

def test_each_event_is_delivered_once(enrolled, upstream):
    ids = enrolled.record(3)
    silent(enrolled.flush().ended(0))
    exactly_once(upstream, ids)
    assert enrolled.list() == []
    silent(enrolled.flush().ended(0))
    assert len(upstream.requests) == 1
    stats = enrolled.stats()
    assert (stats["recorded"], stats["acknowledged"], stats["pending"]) == (3, 3, 0)
    assert stats["last_failure"] is None and re.fullmatch(RFC3339, stats["last_success"])


def test_the_spool_of_the_configuration(enrolled, upstream):
    if DEFAULT_SPOOL.parent.exists():
        pytest.skip("%s exists: a flush would take in what it holds" % DEFAULT_SPOOL.parent)
    ids = enrolled.record(1)
    enrolled.run(FLUSH, env={"PX_STATUS_CONFIG": str(enrolled.config)}).ended(0)
    exactly_once(upstream, ids)


def test_nothing_pending_posts_nothing(enrolled, upstream):
    silent(enrolled.flush().ended(0))
    assert enrolled.flush("--now").ended(0)
    assert upstream.requests == []


def test_nothing_pending_loads_no_libcurl(enrolled, upstream):
    """It and what comes with it are most of what a program here needs to start."""
    def loaded():
        result = enrolled.flush(env={"LD_DEBUG": "files", "LD_DEBUG_OUTPUT": str(enrolled.folder / "loaded")}).ended(0)
        silent(result)
        files = sorted(enrolled.folder.glob("loaded.*"))
        text = "".join(file.read_text(errors="replace") for file in files)
        for file in files:
            file.unlink()
        return [name for name in ("sqlite3", "curl", "ssl", "gnutls") if "lib%s" % name in text]
    assert loaded() == ["sqlite3"]
    ids = enrolled.record(1)
    assert "curl" in loaded()
    exactly_once(upstream, ids)


def test_the_envelope(enrolled, upstream):
    ids = enrolled.record(2)
    before = datetime.datetime.now(datetime.timezone.utc)
    enrolled.flush().ended(0)
    body = upstream.requests[0].body
    assert set(body) == {"version", "sent_at", "boot_id", "uptime_ms", "device", "spool", "events", "stats"}
    assert body["version"] == 1
    assert re.fullmatch(RFC3339, body["sent_at"])
    assert abs(moment(body["sent_at"]) - before) < datetime.timedelta(seconds=10)
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as source:
        assert body["boot_id"] == source.read().strip()
    assert isinstance(body["uptime_ms"], int) and body["uptime_ms"] >= body["events"][-1]["uptime_ms"]
    assert body["device"] == {"id": "device-1", "name": "unit"}
    assert re.fullmatch(UUID, body["spool"].pop("id"))
    assert body["spool"] == {"recorded": 2, "acknowledged": 0, "pending": 2, "quarantined": 0, "dropped": 0,
                             "lost": {"events": 0, "snapshots": 0}}
    assert body["stats"] == []
    assert [item["id"] for item in body["events"]] == ids
    assert [item["seq"] for item in body["events"]] == [1, 2]


def test_the_spool_keeps_its_id(enrolled, upstream):
    for _ in range(2):
        enrolled.record(1)
        enrolled.flush().ended(0)
    assert len({request.body["spool"]["id"] for request in upstream.requests}) == 1
    assert upstream.requests[0].body["spool"]["id"] == enrolled.stats()["spool_id"]
    assert [request.body["spool"]["acknowledged"] for request in upstream.requests] == [0, 1]


def test_an_event_arrives_as_it_was_recorded(enrolled, upstream):
    enrolled.event("cpu", "a=é\n", "-m", "text", monit={"SERVICE": "vm", "DESCRIPTION": "\x01 \"quoted\" 😀"})
    stored = enrolled.only_document()
    enrolled.flush().ended(0)
    assert upstream.requests[0].body["events"] == [stored]


def test_the_request(enrolled, upstream):
    enrolled.record(1)
    enrolled.flush().ended(0)
    request = upstream.requests[0]
    assert (request.method, request.path) == ("POST", "/api/v1/devices/stats")
    assert request.header("Content-Type") == "application/json"
    assert request.header("Content-Encoding") == "gzip"
    assert re.fullmatch(r"px-status/\d+\.\d+\.\d+\S*", request.header("User-Agent"))
    assert request.header("Host") == "127.0.0.1:%d" % upstream.port
    assert request.header("Authorization") is None
    assert request.raw[:2] == b"\x1f\x8b"


def test_without_compression(enrolled, upstream):
    enrolled.configure(upstream, upstream={"compression": "none"})
    ids = enrolled.record(1)
    enrolled.flush().ended(0)
    assert upstream.requests[0].header("Content-Encoding") is None
    assert json.loads(upstream.requests[0].raw)["events"][0]["id"] == ids[0]


@pytest.mark.parametrize("base, path, expected", [
    ("", None, "/api/v1/devices/stats"), ("/", None, "/api/v1/devices/stats"),
    ("/tenant", None, "/tenant/api/v1/devices/stats"), ("/tenant/", None, "/tenant/api/v1/devices/stats"),
    ("", "/x", "/x"), ("", "x", "/x"), ("/", "/x", "/x"), ("/a", "b/c", "/a/b/c"),
])
def test_one_slash_joins_url_and_path(enrolled, upstream, base, path, expected):
    enrolled.configure(upstream.url + base, upstream={"path": path})
    enrolled.record(1)
    enrolled.flush().ended(0)
    assert upstream.requests[0].path == expected


# -- batches

def test_max_items(enrolled, upstream):
    enrolled.configure(upstream, batch={"max_items": 3})
    ids = enrolled.record(7)
    enrolled.flush().ended(0)
    assert [request.ids for request in upstream.requests] == [ids[:3], ids[3:6], ids[6:]]
    assert [request.body["spool"]["pending"] for request in upstream.requests] == [7, 4, 1]
    assert [request.body["spool"]["acknowledged"] for request in upstream.requests] == [0, 3, 6]
    exactly_once(upstream, ids)
    assert upstream.connections == 1


def test_max_bytes(enrolled, upstream):
    enrolled.configure(upstream, batch={"max_bytes": "128k"})
    values = ["k%d=%s" % (number, "v" * 4000) for number in range(6)]
    for _ in range(12):
        enrolled.event("cpu", *values)
    enrolled.flush().ended(0)
    sizes = [len(request.text) for request in upstream.requests]
    assert max(sizes) <= 128 * 1024
    assert len(upstream.committed) == 12 and len(sizes) == 3
    assert [item["seq"] for request in upstream.requests for item in request.items] == list(range(1, 13))


def spool_with_snapshots(device, upstream, events, snapshots):
    """Snapshots first, then events, none of them delivered."""
    upstream.stop()
    device.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command": device.monit_that_prints(STATUS_TEXT)})
    for _ in range(snapshots):
        device.flush("--now").ended(LATER)
    device.configure(upstream, batch={"max_items": 3})
    device.record(events)
    upstream.start()


def test_events_go_before_snapshots(enrolled, upstream):
    spool_with_snapshots(enrolled, upstream, events=4, snapshots=3)
    assert [item["kind"] for item in enrolled.list()] == ["snapshot"] * 3 + ["event"] * 4
    enrolled.flush("--now").ended(0)
    kinds = [(len(request.body["events"]), len(request.body["stats"])) for request in upstream.requests]
    assert kinds == [(3, 0), (1, 2), (0, 1)]
    assert [item["seq"] for request in upstream.requests for item in request.items] == [4, 5, 6, 7, 1, 2, 3]


def test_an_item_that_does_not_fit_goes_alone(enrolled, upstream):
    large = "Monit 5.33.0 uptime: 3m\n\n" + "".join(
        "File 'a-rather-long-name-of-a-file-%05d'\n  status                       OK\n  monitoring status            Monitored\n\n"
        % number for number in range(3000))
    enrolled.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command": enrolled.monit_that_prints(large)},
                       batch={"max_bytes": "128k"})
    enrolled.record(2)
    enrolled.flush().ended(0)
    assert [(len(request.body["events"]), len(request.body["stats"])) for request in upstream.requests] == [(2, 0), (0, 1)]
    assert len(upstream.requests[1].text) > 128 * 1024
    assert enrolled.list() == []


def test_a_new_alert_goes_next(enrolled, upstream):
    """Between two batches of snapshots an event comes."""
    spool_with_snapshots(enrolled, upstream, events=0, snapshots=6)

    def record_meanwhile(request):
        if len(upstream.requests) == 0:
            enrolled.event("meanwhile")
        return {}

    upstream.script(record_meanwhile)
    enrolled.flush("--now").ended(0)
    assert [len(request.body["events"]) for request in upstream.requests] == [0, 1, 0]
    assert enrolled.list() == []


# -- upstream down, then up

def test_nobody_listens_then_somebody_does(enrolled, upstream):
    upstream.stop()
    ids = enrolled.record(3)
    silent(enrolled.flush().ended(LATER))
    stats = enrolled.stats()
    assert (stats["pending"], stats["acknowledged"]) == (3, 0)
    assert re.fullmatch(RFC3339, stats["last_failure"]["time"]) and stats["last_failure"]["reason"]
    assert stats["last_success"] is None
    assert [item["attempts"] for item in enrolled.list()] == [1, 1, 1]
    upstream.start()
    ids += enrolled.record(1)
    enrolled.flush("--now").ended(0)
    exactly_once(upstream, ids)
    assert enrolled.stats()["acknowledged"] == 4


def test_a_failure_of_a_scheduled_run_is_in_syslog_only(enrolled, upstream, syslog):
    upstream.stop()
    enrolled.record(1)
    silent(enrolled.flush().ended(LATER))
    assert "px-status-flush" in syslog.text and "127.0.0.1" in syslog.text


@pytest.mark.parametrize("option", ["--now", "-v", "--verbose"])
def test_a_watched_failure_is_on_stderr(enrolled, upstream, option):
    upstream.stop()
    enrolled.record(1)
    assert "127.0.0.1" in enrolled.flush(option).ended(LATER).err


def test_during_a_back_off_nothing_is_posted(enrolled, upstream):
    enrolled.configure(upstream, retry=LONG_RETRY)
    upstream.script(default={"status": 503})
    ids = enrolled.record(1)
    enrolled.flush().ended(LATER)
    assert len(upstream.requests) == 1
    now = datetime.datetime.now(datetime.timezone.utc)
    next_try = moment(enrolled.stats()["next_try"])
    assert now < next_try <= now + datetime.timedelta(days=30)

    upstream.script(default={})
    ids += enrolled.record(1)
    silent(enrolled.flush().ended(LATER))
    assert len(upstream.requests) == 1
    enrolled.flush("--now").ended(0)
    exactly_once(upstream, ids)
    assert enrolled.stats()["next_try"] is None

    ids += enrolled.record(1)
    silent(enrolled.flush().ended(0))
    exactly_once(upstream, ids)


def test_a_back_off_with_nothing_pending_is_no_failure(enrolled, upstream):
    upstream.script(default=DOWN)
    enrolled.record(1)
    enrolled.flush().ended(LATER)
    enrolled.status("drop", "1").ended(0)
    silent(enrolled.flush().ended(0))


def test_a_back_off_ends(enrolled, upstream):
    upstream.script({"status": 503})
    ids = enrolled.record(1)
    enrolled.flush().ended(LATER)
    time.sleep(1.05)
    silent(enrolled.flush().ended(0))
    exactly_once(upstream, ids)


@pytest.mark.parametrize("status, heeded", [(503, True), (429, True), (500, True), (404, False), (403, False)])
def test_retry_after(enrolled, upstream, status, heeded):
    upstream.script({"status": status, "headers": {"Retry-After": "3600"}})
    enrolled.record(1)
    assert enrolled.flush().status != 0
    left = moment(enrolled.stats()["next_try"] or "2000-01-01T00:00:00Z") - datetime.datetime.now(datetime.timezone.utc)
    assert (left > datetime.timedelta(minutes=59)) == heeded


def test_a_retry_after_that_is_unreadable_is_ignored(enrolled, upstream):
    upstream.script({"status": 503, "headers": {"Retry-After": "soon"}})
    enrolled.record(1)
    enrolled.flush().ended(LATER)
    time.sleep(1.05)
    enrolled.flush().ended(0)


def test_an_upstream_that_took_all_and_then_fell_silent(enrolled, upstream):
    """Its reply was lost: the batch comes again with the same ids, by which upstream drops it."""
    upstream.script({"reset": True, "commit": True})
    ids = enrolled.record(3)
    enrolled.flush().ended(LATER)
    assert enrolled.stats()["acknowledged"] == 0
    enrolled.flush("--now").ended(0)
    assert [request.ids for request in upstream.requests] == [ids, ids]
    assert upstream.requests[0].body["events"] == upstream.requests[1].body["events"]
    assert enrolled.stats()["acknowledged"] == 3 and enrolled.list() == []


def test_progress_before_a_failure_is_kept(enrolled, upstream):
    enrolled.configure(upstream, batch={"max_items": 2})
    upstream.script({}, {"status": 503})
    ids = enrolled.record(5)
    enrolled.flush().ended(LATER)
    assert [item["id"] for item in enrolled.list()] == ids[2:]
    enrolled.flush("--now").ended(0)
    exactly_once(upstream, ids)


# -- two at once

class Busy:
    """Another flush, at work on its one item until upstream has leave to answer it."""

    def __init__(self, device, upstream):
        self._may_answer = threading.Event()
        device.configure(upstream, upstream={"timeout": "5m"})
        upstream.script({"until": self._may_answer})
        device.record(1)
        self._process = device.flush_process()
        self._said = None
        upstream.wait_for(1)

    def is_at_work(self):
        return self._process.poll() is None

    def end(self):
        """What it said."""
        self._may_answer.set()
        self._said = self._said or self._process.communicate(timeout=60)
        assert self._process.returncode == 0
        return self._said


@pytest.fixture
def busy(enrolled, upstream):
    other = Busy(enrolled, upstream)
    yield other
    other.end()


def test_a_scheduled_flush_that_finds_another_ends_at_once(enrolled, upstream, busy):
    silent(enrolled.flush().ended(0))
    assert busy.is_at_work() and len(upstream.requests) == 1
    assert busy.end() == (b"", b"")


def test_now_waits_for_the_other(enrolled, upstream, busy):
    ids = [item["id"] for item in enrolled.list()] + enrolled.record(1)
    waiting = enrolled.flush_process("--now")
    time.sleep(1)
    assert waiting.poll() is None and len(upstream.requests) == 1
    busy.end()
    waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    exactly_once(upstream, ids)


def test_a_dry_run_does_not_wait(enrolled, upstream, busy):
    result = enrolled.flush("--dry-run").ended(0)
    assert busy.is_at_work() and len(json.loads(result.out)["events"]) == 1


def test_recorders_do_not_wait_for_the_network(enrolled, upstream, busy):
    enrolled.event("cpu", monit={})
    assert busy.is_at_work() and enrolled.overflow_files() == []


def test_looking_does_not_wait_for_the_network(enrolled, upstream, busy):
    enrolled.status("list").ended(0)
    enrolled.status("drop", "1").ended(0)
    assert busy.is_at_work()


def test_dropped_while_it_was_under_way(enrolled, upstream, busy):
    enrolled.status("drop", "1").ended(0)
    busy.end()
    stats = enrolled.stats()
    assert (stats["recorded"], stats["acknowledged"], stats["dropped"], stats["pending"]) == (1, 0, 1, 0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_a_flush_that_was_killed_holds_no_lock_and_lost_nothing(enrolled, upstream, number):
    upstream.script({"hang": True})
    ids = enrolled.record(2)
    process = enrolled.flush_process()
    upstream.wait_for(1)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    enrolled.flush("--now").ended(0)
    assert [request.ids for request in upstream.requests] == [ids, ids]
    exactly_once(upstream, ids)


# -- dry run

def test_dry_run_changes_nothing(enrolled, upstream):
    enrolled.configure(upstream, batch={"max_items": 2})
    upstream.script(default=DOWN)
    ids = enrolled.record(3)
    enrolled.flush().ended(LATER)
    upstream.forget()
    stats, items = enrolled.stats(), enrolled.list()
    result = enrolled.flush("--dry-run").ended(0)
    bodies = [json.loads(line) for line in result.out.splitlines()]
    assert [[item["id"] for item in body["events"]] for body in bodies] == [ids[:2], ids[2:]]
    assert all(set(body) == {"version", "sent_at", "boot_id", "uptime_ms", "device", "spool", "events", "stats"} for body in bodies)
    assert upstream.requests == []
    after = enrolled.stats()
    for one in (stats, after):
        one.pop("oldest_pending_seconds")
        one["next_try"] = round(moment(one["next_try"]).timestamp(), 1)   # told by the clock that runs through sleep
    assert abs(stats.pop("next_try") - after.pop("next_try")) < 5
    assert (after, enrolled.list()) == (stats, items)


def test_dry_run_needs_no_url_and_runs_nothing(device):
    command = device.monit_that_prints(STATUS_TEXT)
    device.configure(snapshot={"enabled": "yes", "source": "command", "command": command},
                     upstream={"auth": "bearer", "token_command": device.monit_that("touch %s/asked; echo t" % device.folder, "token")})
    device.event("cpu")
    with device.obstructed():
        device.event("memory", monit={})
    files = device.files()
    bodies = device.flush("-n").ended(0).out.splitlines()
    assert [item["topic"] for item in json.loads(bodies[0])["events"]] == ["cpu"] and len(bodies) == 1
    assert device.monit_calls() == [] and not (device.folder / "asked").exists()
    assert len(device.overflow_files()) == 1
    assert {name: data for name, data in device.files().items() if "-" not in name.name} == \
        {name: data for name, data in files.items() if "-" not in name.name}


def test_dry_run_without_a_spool_creates_nothing(device):
    result = device.flush("-n").ended(0)
    assert result.out == "" and list(device.spool_folder.iterdir()) == []


# -- no URL yet

def test_a_device_without_a_url(device, upstream):
    identity = device.file("device.yml", "id: abc\nhost: NONE\n", 0o644)
    device.configure(device={"id": None, "identity_file": identity},
                     snapshot={"enabled": "yes", "interval": "1s", "source": "command",
                               "command": device.monit_that_prints(STATUS_TEXT)})
    device.event("cpu")
    result = device.flush().ended(CONFIG)
    assert result.err != "" and "url" in result.err.lower()
    time.sleep(1.1)
    device.flush().ended(CONFIG)
    assert [item["kind"] for item in device.list()] == ["event", "snapshot"]
    assert len(device.monit_calls()) == 1

    identity.write_text("id: abc\nhost: %s\n" % upstream.url)
    device.flush().ended(0)
    assert upstream.requests[0].body["device"]["id"] == "abc"
    assert device.list() == []


@pytest.mark.parametrize("value", ["%s", '"%s"', "'%s'"])
def test_the_identity_file(device, upstream, value):
    identity = device.file("device.yml", "# a device\nid: %s\nhost: %s\nother: x\n" % (value % "id-7", value % upstream.url), 0o644)
    device.configure(device={"id": None, "name": "n", "identity_file": identity})
    device.event("cpu")
    device.flush().ended(0)
    assert upstream.requests[0].body["device"] == {"id": "id-7", "name": "n"}


def test_the_configuration_beats_the_identity_file(device, upstream):
    identity = device.file("device.yml", "id: other\nhost: http://127.0.0.1:9\n", 0o644)
    device.configure(upstream, device={"id": "mine", "identity_file": identity})
    device.event("cpu")
    device.flush().ended(0)
    assert upstream.requests[0].body["device"]["id"] == "mine"


def test_the_machine_id(device, upstream):
    if not os.path.exists("/etc/machine-id") or os.path.exists("/etc/px-device-identity/device.yml"):
        pytest.skip("no /etc/machine-id, or an identity file in its way")
    device.configure(upstream, device={"id": None, "name": None})
    device.event("cpu")
    device.flush().ended(0)
    with open("/etc/machine-id", encoding="ascii") as source:
        assert upstream.requests[0].body["device"] == {"id": source.read().strip(), "name": os.uname().nodename}


# -- options and verbosity

@pytest.mark.parametrize("args", [["--bogus"], ["-x"], ["--nov"], ["extra"], ["-c"]], ids=str)
def test_a_wrong_option(enrolled, upstream, args):
    enrolled.record(1)
    result = enrolled.run(FLUSH, *args).ended(USAGE)
    assert result.err != "" and result.out == "" and (args == ["extra"] or args[0] in result.err)
    assert upstream.requests == []


def test_quiet_and_verbose(enrolled, upstream):
    enrolled.record(1)
    silent(enrolled.flush("-q").ended(0))
    enrolled.record(1)
    assert enrolled.flush("-v").ended(0).err != ""
    enrolled.record(1)
    assert len(enrolled.flush("--now", "-q").ended(0).err) <= len(enrolled.flush("--now", "-v").ended(0).err)


def test_errors_of_a_quiet_run_are_told(enrolled, upstream):
    upstream.script(default={"status": 404})
    enrolled.record(1)
    assert enrolled.flush("--quiet", "--now").ended(CONFIG).err != ""


def test_now_ignores_splay(device, upstream):
    device.configure(upstream, schedule={"splay": "4m"})
    device.event("cpu")
    assert device.flush("--now").ended(0).seconds < SLACK_S and len(upstream.requests) == 1


def test_a_scheduled_run_with_an_event_ignores_splay(device, upstream):
    device.configure(upstream, schedule={"splay": "4m"})
    device.event("cpu")
    assert device.flush().ended(0).seconds < SLACK_S and len(upstream.requests) == 1


def test_a_scheduled_run_without_an_event_waits_its_share(device, upstream):
    """Really; how long, for which device and when not is told by test_clocks.py."""
    device.configure(upstream, device={"id": "a"}, schedule={"splay": "3s"}, snapshot={
        "enabled": "yes", "source": "command", "command": device.monit_that_prints(STATUS_TEXT)})
    assert 0.5 < device.flush().ended(0).seconds < 3 + SLACK_S and len(upstream.requests) == 1


def test_an_event_ends_the_wait(device, upstream):
    """Whoever started the flush started it for a snapshot; the alert that comes meanwhile has not to wait for that."""
    device.configure(upstream, device={"id": "a"}, schedule={"splay": "4m"}, snapshot={
        "enabled": "yes", "source": "command", "command": device.monit_that_prints(STATUS_TEXT)})
    waiting = device.flush_process()
    try:
        time.sleep(1)
        assert waiting.poll() is None and upstream.requests == []
        device.event("cpu")
        upstream.wait_for(1, timeout_s=SLACK_S)
        assert [event["topic"] for event in upstream.requests[0].body["events"]] == ["cpu"]
        waiting.communicate(timeout=60)
        assert waiting.returncode == 0
    finally:
        waiting.kill()
        waiting.communicate()


# -- the network around it

def test_proxies_and_netrc_of_the_environment_are_ignored(enrolled, upstream):
    (enrolled.folder / ".netrc").write_text("machine 127.0.0.1 login user password secret\n")
    (enrolled.folder / ".netrc").chmod(0o600)
    enrolled.record(1)
    dead = "http://127.0.0.1:9"
    env = {name: dead for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")}
    enrolled.flush(env={**env, "no_proxy": "", "NETRC": str(enrolled.folder / ".netrc")}).ended(0)
    assert upstream.requests[0].header("Authorization") is None and upstream.requests[0].path.startswith("/")


def test_a_proxy_of_the_configuration(device, upstream):
    device.configure("http://central.invalid", upstream={"allow_http": "yes", "proxy": upstream.url})
    device.event("cpu")
    device.flush().ended(0)
    assert upstream.requests[0].path == "http://central.invalid/api/v1/devices/stats"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(enrolled, upstream, status):
    with Upstream() as other:
        upstream.script(default={"status": status, "headers": {"Location": other.url + "/api/v1/devices/stats"}})
        enrolled.record(1)
        enrolled.flush("--now").ended(CONFIG)
        assert other.requests == [] and len(upstream.requests) == 1
    assert enrolled.stats()["pending"] == 1


@pytest.mark.parametrize("url", ["http://192.0.2.1", "http://example.com", "http://127.0.0.1.example.com", "http://localhost.example.com",
                                 "HTTP://example.com", "http://[2001:db8::1]", "http://127.0.0.1@example.com", "http://0.0.0.0"])
def test_plain_http_leaves_this_machine_never(device, url):
    device.configure(url)
    device.event("cpu", monit={})
    result = device.flush().ended(CONFIG)
    assert str(device.config) in result.err and "url" in result.err
    device.configure()
    assert device.stats()["pending"] == 1


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.8.7", "[::1]", "LOCALHOST"])
def test_plain_http_to_this_machine(device, host):
    device.configure("http://%s:9" % host)
    device.event("cpu")
    device.flush().ended(LATER)


@pytest.mark.parametrize("url", ["http://user:hunter2@127.0.0.1", "https://user:hunter2@central.example.com",
                                 "https://user@central.example.com"])
def test_credentials_in_a_url(device, url):
    device.configure(url)
    device.event("cpu", monit={})
    result = device.flush().ended(CONFIG)
    assert "url" in result.err and "hunter2" not in result.err
    assert "hunter2" not in device.syslog.text


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1", "https://", "http:/127.0.0.1", "file:///etc/passwd", "https://a b"])
def test_what_is_no_url(device, url):
    device.configure(url)
    device.event("cpu", monit={})
    assert "url" in device.flush().ended(CONFIG).err


# -- the spool in the flush's way

def test_a_spool_that_is_a_folder(enrolled, upstream):
    enrolled.spool.mkdir()
    result = enrolled.flush("--now").ended(STORAGE)
    assert str(enrolled.spool) in result.err and upstream.requests == []


@pytest.mark.parametrize("args", [[], ["--now"]], ids=str)
def test_a_spool_that_another_program_keeps_locked(enrolled, upstream, args):
    """What upstream took could not be settled: nothing is posted."""
    if not enrolled.syslog_is_ours:
        pytest.skip("no C compiler to build the library that passes over the wait")
    ids = enrolled.record(2)
    with enrolled.locked():
        enrolled.flush(*args, env={"PX_TEST_PAUSES": "1"}).ended(STORAGE)
    assert upstream.requests == []
    enrolled.flush().ended(0)
    exactly_once(upstream, ids)


def test_a_spool_folder_that_is_missing(enrolled):
    result = enrolled.run(FLUSH, "-c", enrolled.config, "-s", enrolled.folder / "missing" / "spool.db", "--now").ended(STORAGE)
    assert "missing" in result.err and not (enrolled.folder / "missing").exists()


def test_ids_are_of_version_7_and_in_order(enrolled):
    ids = enrolled.record(5)
    assert all(re.fullmatch(UUID_V7, one) for one in ids)
    assert [one[:13] for one in ids] == sorted(one[:13] for one in ids)


def test_progress_on_a_terminal(enrolled, upstream):
    """More than a second's work, on a pseudo terminal."""
    enrolled.configure(upstream, batch={"max_items": 1})
    upstream.script(*[{"delay_s": 0.5}] * 4)
    enrolled.record(4)
    status, said = on_terminal([FLUSH, "-c", enrolled.config, "-s", enrolled.spool, "--now"], enrolled.environment(),
                               stdout=subprocess.DEVNULL)
    assert status == 0
    assert re.search(r"\r[123] of 4 sent, \d+/s, \d+s left +\r", said), said


def test_no_progress_of_what_is_done(enrolled, upstream):
    """All came at once, however long it took."""
    upstream.script({"delay_s": 1.1})
    enrolled.record(4)
    status, said = on_terminal([FLUSH, "-c", enrolled.config, "-s", enrolled.spool, "--now"], enrolled.environment(),
                               stdout=subprocess.DEVNULL)
    assert (status, said) == (0, "px-status-flush: 4 items acknowledged, 0 quarantined\r\n")
