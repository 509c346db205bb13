# SPDX-License-Identifier: MIT
"""Snapshots: what Monit's status becomes, and when one is taken."""
import json
import re
import time

import pytest

import status_words
from harness import FIXTURES, RFC3339, UUID_V7
from upstream import DOWN

STATUS = sorted((FIXTURES / "status").glob("*.txt"))
SHORT = "Monit 5.33.0 uptime: 3m\n\nSystem 'vm'\n  status                       OK\n"


def asking(device, upstream, command, **snapshot):
    device.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command": command, **snapshot})


def taken(device, upstream, command, **snapshot):
    """The one snapshot of one flush."""
    asking(device, upstream, command, **snapshot)
    device.flush("--now").ended(0)
    stats = [item for request in upstream.requests for item in request.body["stats"]]
    assert len(stats) == 1
    return stats[0]


@pytest.mark.parametrize("path", STATUS, ids=lambda path: path.stem)
def test_every_service_of_every_version(device, upstream, path):
    """Against a second reader of the same words, and against what the fixture says."""
    snapshot = taken(device, upstream, "/bin/cat %s" % path)
    expected = status_words.services(path.read_bytes())
    assert len(expected) > 0
    assert snapshot["services"] == expected
    assert snapshot["summary"] == status_words.summary(expected)
    assert snapshot["services"] == json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["services"]
    assert all(set(service) - {"failures", "pending"} == {"type", "name", "state", "status", "values"}
               for service in snapshot["services"])
    assert all("status" not in service["values"] for service in snapshot["services"])


@pytest.mark.parametrize("path, version, seconds", [
    ("5.33.0", "5.33.0", 60), ("5.20.0", "5.20.0", 0), ("5.7", "5.7", 0), ("5.33.0-http-colours", "5.33.0", 60),
])
def test_the_header(device, upstream, path, version, seconds):
    snapshot = taken(device, upstream, "/bin/cat %s/status/%s.txt" % (FIXTURES, path))
    assert snapshot["monit"] == {"reachable": True, "version": version, "uptime": {"seconds": seconds}}


@pytest.mark.parametrize("header, monit", [
    ("Monit uptime: 16h 0m", {"reachable": True, "uptime": {"seconds": 57600}}),
    ("The Monit daemon 5.17.1 uptime: 1d 2h 3m ", {"reachable": True, "version": "5.17.1", "uptime": {"seconds": 93780}}),
    ("Monit 5.33.0 uptime: 2h 14m", {"reachable": True, "version": "5.33.0", "uptime": {"seconds": 8040}}),
    ("", {"reachable": True}),
    (" New Monit id: 1234\nwarning: something\nMonit 5.33.0 uptime: 0m",
     {"reachable": True, "version": "5.33.0", "uptime": {"seconds": 0}}),
])
def test_other_headers(device, upstream, header, monit):
    command = device.monit_that_prints(header + "\n\nSystem 'vm'\n  status                       OK\n")
    assert taken(device, upstream, command)["monit"] == monit


def test_a_header_alone_is_monit_without_services(device, upstream):
    snapshot = taken(device, upstream, device.monit_that_prints("Monit 5.33.0 uptime: 2h 14m\n\n"))
    assert snapshot["monit"]["reachable"] is True and snapshot["services"] == [] and snapshot["summary"]["total"] == 0


def test_the_customers_sample(device, upstream):
    device.env["TZ"] = "Europe/Berlin"
    snapshot = taken(device, upstream, "/bin/cat %s/status/customer.txt" % FIXTURES)
    assert set(snapshot) == {"id", "seq", "time", "boot_id", "uptime_ms", "monit", "summary", "services"}
    assert re.fullmatch(UUID_V7, snapshot["id"]) and snapshot["seq"] == 1
    assert re.fullmatch(RFC3339, snapshot["time"]) and snapshot["uptime_ms"] > 0
    assert snapshot["monit"] == {"reachable": True}
    assert snapshot["summary"] == {"total": 1, "ok": 1, "failed": 0, "unmonitored": 0, "initializing": 0, "waiting": 0}
    assert snapshot["services"] == [{
        "type": "system", "name": "monitored-machine", "state": "ok", "status": "OK",
        "values": {
            "monitoring_status": "Monitored", "monitoring_mode": "active", "on_reboot": "start",
            "load_average": [0.15, 0.12, 0.09],
            "cpu": {"user_percent": 6.2, "system_percent": 1.0, "iowait_percent": 0.9},
            "memory_usage": {"bytes": 1395864371, "percent": 45.6},
            "swap_usage": {"bytes": 0, "percent": 0.0},
            "uptime": {"seconds": 9240},
            "boot_time": "2019-04-13T09:24:17Z", "data_collected": "2019-04-13T11:58:46Z",
        }}]


VALUES_OF_5_33 = [
    ("labhost", "load_average", [2.48, 2.39, 1.34]),
    ("labhost", "cpu", {"user_percent": 1.1, "system_percent": 0.8, "nice_percent": 0.0, "iowait_percent": 0.0,
                        "hardirq_percent": 0.0, "softirq_percent": 0.2, "steal_percent": 0.0, "guest_percent": 0.0,
                        "guestnice_percent": 0.0}),
    ("labhost", "uptime", {"seconds": 1260}),
    ("labhost", "boot_time", "2026-11-22T14:37:42Z"),
    ("labhost", "filedescriptors", {"value": 732, "percent": 0.0, "limit": 2466177}),
    ("proc_ok", "pid", 5758),
    ("proc_ok", "cpu", {"percent": 0.0}),
    ("proc_ok", "memory", {"percent": 0.0, "bytes": 1677722}),
    ("proc_ok", "security_attribute", None),
    ("proc_ok", "read_bytes", {"bytes_per_second": 0, "total_bytes": 6963}),
    ("proc_ok", "disk_read_operations", {"per_second": 0.0, "total": 10}),
    ("proc_match", "write_bytes", {"bytes_per_second": 651, "total_bytes": 45875}),
    ("proc_limits", "port_response_time", [
        {"failed": True, "target": "[localhost]:18081", "type": "TCP/IP", "protocol": "DEFAULT"},
        {"milliseconds": 0.975, "target": "localhost:18080", "type": "TCP/IP", "protocol": "HTTP"}]),
    ("proc_limits", "unix_socket_response_time", [
        {"failed": True, "target": "/srv/lab/status/none.sock", "type": "TCP", "protocol": "DEFAULT"},
        {"milliseconds": 0.014, "target": "/srv/lab/status/u.sock", "type": "TCP", "protocol": "DEFAULT"}]),
    ("host_ok", "port_response_time", [
        {"milliseconds": 0.788, "target": "127.0.0.1:18080", "type": "TCP/IP", "protocol": "HTTP"}]),
    ("host_ok", "ping_response_time", {"milliseconds": 0.022}),
    ("host_unresolv", "ping_response_time", "connection failed"),
    ("file_ok", "permission", "644"),
    ("file_ok", "size", {"bytes": 3}),
    ("file_ok", "checksum", {"hash": "eff5bc1ef8ec9d03e640fc4370f5eacd", "algorithm": "MD5"}),
    ("file_log", "content_match", "no"),
    ("fifo_wrongtype", "permission", None),
    ("fifo_wrongtype", "uid", None),
    ("fifo_wrongtype", "access_timestamp", None),
    ("fs_root", "filesystem_type", "ext4"),
    ("fs_root", "filesystem_flags", "rw,relatime,discard,resv_strict,resuid=65534,resgid=65534"),
    ("fs_root", "block_size", {"bytes": 4096}),
    ("fs_root", "space_total", {"bytes": 270582939648, "reserved_percent": 62.0}),
    ("fs_root", "space_free_for_non_superuser", {"bytes": 80852759347, "percent": 29.9}),
    ("fs_root", "inodes_total", 16777216),
    ("fs_root", "inodes_free", {"value": 16296611, "percent": 97.1}),
    ("fs_root", "service_time", {"milliseconds": 0.0, "read_milliseconds": 0.0, "write_milliseconds": 0.0}),
    ("prog_ok", "last_exit_value", 0),
    ("prog_ok", "last_output", "all good"),
    ("prog_slow", "last_output", None),
    ("prog_every", "monitoring_status", "Waiting"),
]


def test_values_of_5_33(device, upstream):
    snapshot = taken(device, upstream, "/bin/cat %s/status/5.33.0.txt" % FIXTURES)
    services = {service["name"]: service for service in snapshot["services"]}
    wrong = [(name, key, expected, services[name]["values"].get(key, "absent")) for name, key, expected in VALUES_OF_5_33
             if services[name]["values"].get(key, "absent") != expected]
    assert wrong == []
    assert services["prog_multi"]["state"] == "failed" and "spoofed" not in services
    output = services["prog_multi"]["values"]["last_output"].split("\n")
    assert output[:2] == ["first line", "second line: key: value"]
    assert any("Process 'spoofed'" in line for line in output) and any("status" in line for line in output)
    assert len(services["prog_long"]["values"]["last_output"].split("\n")) == 41


@pytest.mark.parametrize("status, expected", [
    ("OK", ("ok", None, None)), ("ok", ("ok", None, None)), ("running", ("ok", None, None)), ("UP", ("ok", None, None)),
    ("Online with all services", ("ok", None, None)), ("Not monitored", ("unmonitored", None, None)),
    ("not monitored", ("unmonitored", None, None)), ("Initializing", ("initializing", None, None)),
    ("Waiting", ("waiting", None, None)), ("Link down", ("failed", ["Link down"], None)),
    ("Does not exist", ("failed", ["Does not exist"], None)),
    ("Size failed | UID failed", ("failed", ["Size failed", "UID failed"], None)),
    ("Something new", ("failed", ["Something new"], None)),
    ("OK - restart pending", ("ok", None, "restart")),
    ("Not monitored - monitor pending", ("unmonitored", None, "monitor")),
    ("Size failed | UID failed - stop pending", ("failed", ["Size failed", "UID failed"], "stop")),
])
def test_a_status_line(device, upstream, status, expected):
    text = "Monit 5.33.0 uptime: 3m\n\nFile 'f'\n  status                       %s\n" % status
    service = taken(device, upstream, device.monit_that_prints(text))["services"][0]
    assert service["status"] == status
    assert (service["state"], service.get("failures"), service.get("pending")) == expected


def test_service_names(device, upstream):
    names = ["it's", "a 'b' c", "a\"b", "ü", "<&;>"]
    text = "Monit 5.33.0 uptime: 3m\n\n" + "".join("File '%s'\n  status                       OK\n\n" % name for name in names)
    snapshot = taken(device, upstream, device.monit_that_prints(text))
    assert [service["name"] for service in snapshot["services"]] == names


# -- when

def test_the_interval(device, upstream, syslog):
    del syslog      # what it comes from shifts the clocks
    asking(device, upstream, device.monit_that_prints(SHORT), interval="1h")
    device.flush().ended(0)
    device.flush().ended(0)
    assert len(device.monit_calls()) == 1 and len(upstream.requests) == 1
    device.flush("--now").ended(0)
    assert len(device.monit_calls()) == 2
    for shift_s, calls in ((1800, 2), (3600, 3)):
        device.flush(env={"PX_TEST_WALL_S": str(shift_s), "PX_TEST_BOOT_S": str(shift_s)}).ended(0)
        assert len(device.monit_calls()) == calls
    assert [len(request.body["stats"]) for request in upstream.requests] == [1, 1, 1]


@pytest.mark.parametrize("args", [["--no-snapshot"], ["--no-snapshot", "--now"]], ids=str)
def test_no_snapshot(device, upstream, args):
    asking(device, upstream, device.monit_that_prints(SHORT))
    device.event("cpu")
    device.flush(*args).ended(0)
    assert device.monit_calls() == [] and len(upstream.requests[0].body["events"]) == 1


@pytest.mark.parametrize("args", [[], ["--now"]], ids=str)
def test_disabled(device, upstream, args):
    asking(device, upstream, device.monit_that_prints(SHORT), enabled="no")
    device.event("cpu")
    device.flush(*args).ended(0)
    assert device.monit_calls() == [] and upstream.requests[0].body["stats"] == []


def test_snapshots_are_taken_during_a_back_off(device, upstream):
    device.configure(upstream, snapshot={
        "enabled": "yes", "source": "command", "interval": "1s", "command": device.monit_that_prints(SHORT)})
    upstream.script(default=DOWN)
    device.flush()
    time.sleep(1.1)
    device.flush().ended(75)
    assert len(upstream.requests) == 1 and [item["kind"] for item in device.list()] == ["snapshot", "snapshot"]


def test_a_huge_status_is_not_a_huge_snapshot(device, upstream):
    """More than 4 MiB of services: what can't be a document says so."""
    script = """printf 'Monit 5.33.0 uptime: 3m\\n\\n'
        i=0; while [ $i -lt 1000 ]; do printf "Program 'p%d'\\n  status                       OK\\n  last output                  " $i
        head -c 6000 /dev/zero | tr '\\0' x; printf '\\n\\n'; i=$((i + 1)); done"""
    snapshot = taken(device, upstream, device.monit_that(script))
    assert snapshot["monit"]["reachable"] is False and "services" not in snapshot
