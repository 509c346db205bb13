# SPDX-License-Identifier: MIT
"""The status of real Monit, every type of service in many states, against a second reader of it."""
import json
import os

import pytest

import status_words
from harness import MONIT, run

ZONE = "Europe/Berlin"
CHECKS = """
check system lab
  if loadavg (1min) >= 0 then alert
check process "this one" with pidfile {folder}/monit.pid
  if failed unixsocket {folder}/monit.sock then alert
  if failed unixsocket {folder}/none.sock then alert
  if failed host 127.0.0.1 port 1 then alert
check process gone with pidfile {folder}/none.pid
check file "it's a file" with path {folder}/file
  if changed sha1 checksum then alert
check file "'two'" with path {folder}/file
  if size > 1 B then alert
  if failed permission 0600 then alert
check file "Größe — ok" with path {folder}/file
check file content with path {folder}/file
  if content = "ERR" then alert
check fifo "a fifo" with path {folder}/fifo
check fifo "wrong type" with path {folder}/file
check directory "d <&;>" with path {folder}
check filesystem root with path /
  if space usage > 0.0001% then alert
check network lo interface lo
check network nowhere interface nosuch0
check host local with address 127.0.0.1
  if failed port 1 protocol http with timeout 1 seconds then alert
check program "prints much" with path {folder}/prints-much
  if status != 0 then alert
check program silent with path /bin/true
  if status != 0 then alert
check program slow with path {folder}/slow with timeout 200 seconds
  if status != 0 then alert
check program seldom with path /bin/true every 1000 cycles
  if status != 0 then alert
check file off with path {folder}/file
  mode passive
"""
OUTPUT = [
    "Process 'spoofed'", "  status                       OK", "", "Monit 9.9.9 uptime: 3m", "Program 'spoofed'",
    "  data collected               never", "\x1b[0;91mred\x1b[0m \x1b[38;5;208morange\x1b[m\ttab \u00e9", "  last output                  x",
    "", "", "20", "end",
]
PLAIN = "\n".join(OUTPUT).replace("\x1b[0;91mred\x1b[0m \x1b[38;5;208morange\x1b[m", "red orange")
STATES = {
    "lab": "failed", "this one": "failed", "gone": "failed", "it's a file": "ok", "two": "failed", "Größe — ok": "ok", "content": "ok",
    "a fifo": "ok", "wrong type": "failed", "d <&;>": "ok", "root": "failed", "lo": "ok", "nowhere": "failed", "local": "failed",
    "prints much": "failed", "silent": "ok", "slow": "initializing", "seldom": "ok", "off": "unmonitored",
}


@pytest.fixture
def monit(device, start_monit):
    """Monit, every service in the state in which it will stay."""
    device.env["TZ"] = ZONE
    device.file("file", "ERR a\n", 0o644)
    os.mkfifo(device.folder / "fifo")
    device.file("output", "\n".join(OUTPUT) + "\n", 0o644)
    device.file("prints-much", "#!/bin/sh\ncat %s/output\nexit 3\n" % device.folder, 0o755)
    device.file("slow", "#!/bin/sh\nwhile [ -e $0 ]; do sleep 0.2; done\n", 0o755)
    monit = start_monit(CHECKS.format(folder=device.folder))
    run([MONIT, "-c", monit.control, "unmonitor", "off"], device.environment()).ended(0)
    monit.wait_until(lambda: {one["name"]: one["state"] for one in status_words.services(monit.said().encode())} == STATES,
                     "the state of every service")
    yield monit
    (device.folder / "slow").unlink()


def taken(device, upstream, **snapshot):
    device.configure(upstream, snapshot={"enabled": "yes", **snapshot})
    device.flush("--now").ended(0)
    return upstream.requests[-1].body["stats"][0]


def test_the_status_by_the_command(device, upstream, monit):
    """The very bytes that the snapshot was made of, read once more."""
    command = device.monit_that("%s >%s/said && cat %s/said" % (monit.command, device.folder, device.folder), "tee")
    snapshot = taken(device, upstream, source="command", command=command)
    said = (device.folder / "said").read_bytes()
    assert snapshot["services"] == status_words.services(said, ZONE)
    assert snapshot["summary"] == status_words.summary(snapshot["services"])
    assert snapshot["monit"]["version"] in said.decode().split("\n")[0] and snapshot["monit"]["uptime"] == {"seconds": 0}

    services = {service["name"]: service for service in snapshot["services"]}
    assert {name: service["state"] for name, service in services.items()} == STATES
    assert {service["type"] for service in services.values()} == {one.lower().replace(" ", "_") for one in status_words.TYPES}
    assert services["two"]["failures"] == ["Permission failed", "Size failed"]
    assert services["prints much"]["values"]["last_output"] == PLAIN
    assert services["prints much"]["values"]["last_exit_value"] == 3
    assert services["silent"]["values"]["last_output"] is None
    assert services["content"]["values"]["content_match"] in ("yes", "no")
    assert services["wrong type"]["values"]["permission"] is None
    assert services["it's a file"]["values"]["permission"] == "644"
    assert services["nowhere"]["values"]["download_bytes"] is None
    sockets = services["this one"]["values"]["unix_socket_response_time"]
    assert [socket.get("failed", False) for socket in sockets] == [True, False]
    assert sockets[1]["target"] == str(monit.socket) and sockets[1]["milliseconds"] > 0
    assert services["local"]["values"]["port_response_time"] == [
        {"failed": True, "target": "[127.0.0.1]:1", "type": "TCP/IP", "protocol": "HTTP"}]


def test_the_status_by_the_socket(device, upstream, monit):
    """With Monit's colours, and those of a program's output, on the way."""
    snapshot = taken(device, upstream, source="socket", socket=monit.socket, user=monit.USER,
                     password_file=device.file("password", monit.PASSWORD + "\n"))
    services = {service["name"]: service for service in snapshot["services"]}
    assert {name: service["state"] for name, service in services.items()} == STATES
    assert services["prints much"]["values"]["last_output"] == PLAIN
    assert services["silent"]["values"]["last_output"] is None
    assert services["root"]["values"]["space_total"]["bytes"] > 0
    assert "\x1b" not in json.dumps(snapshot, ensure_ascii=False) and "u001b" not in json.dumps(snapshot)


def test_names_that_monits_command_cuts(device, upstream, start_monit):
    """It joins the rest of their line and the next: they are services all the same, and nothing of them goes to another one."""
    names = ["first", "one \u2514 two", "\u251c", "last"]
    control = "".join('check file "%s" with path /etc/passwd\n' % name for name in names)
    monit = start_monit("check system lab\n" + control)
    monit.wait_until(lambda: monit.said().count("size  ") == len(names), "the size of every file")
    said = {}
    for source, settings in (("command", {"command": monit.command}), ("socket", {
            "socket": monit.socket, "user": monit.USER, "password_file": device.file("password", monit.PASSWORD + "\n")})):
        services = [one for one in taken(device, upstream, source=source, **settings)["services"] if one["type"] == "file"]
        assert all(one["state"] == "ok" and one["values"]["monitoring_status"] == "Monitored" for one in services), services
        said[source] = [one["name"] for one in services]
    assert said == {"socket": names, "command": ["first", "one ", "", "last"]}
