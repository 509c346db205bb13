# SPDX-License-Identifier: MIT
"""Real Monit, from a test that fails to upstream."""
import re
import time

import pytest

from harness import EVENT

CHECKS = """
check file watched with path {folder}/watched
  if changed checksum then exec "{event} -c {config} breach kind=checksum"
check file grows with path {folder}/grows
  if size > 10 B then exec "{event} -c {config} size" else if succeeded then exec "{event} -c {config} size"
check filesystem rootfs with path /
  if space usage > 0.0001% then exec "{event} -c {config} disk severity=high"
"""


def wait_for_topics(monit, device, wanted):
    monit.wait_until(lambda: wanted <= {item["topic"] for item in device.list()} or device.overflow_files(), "events on " + str(wanted))
    assert device.overflow_files() == []


def test_alerts_of_real_monit_reach_upstream(device, upstream, start_monit):
    """A changed file, a size and its recovery, a filesystem; then Monit stopped."""
    watched = device.file("watched", "one\n")
    grows = device.file("grows", "small\n")
    monit = start_monit(CHECKS.format(folder=device.folder, event=EVENT, config=device.config), SECRET="hunter2-secret")
    wait_for_topics(monit, device, {"disk"})
    device.change(watched, "two\n")
    device.change(grows, "not small any more\n")
    wait_for_topics(monit, device, {"disk", "breach", "size"})
    device.change(grows, "small\n")
    monit.wait_until(lambda: len([item for item in device.list() if item["topic"] == "size"]) == 2, "the recovery")
    recorded = device.list()
    assert b"hunter2" not in b"".join(device.files().values())

    device.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command": monit.command})
    device.flush("--now").ended(0)
    events = {}
    for event in upstream.requests[0].body["events"]:
        events.setdefault(event["topic"], []).append(event)
    assert sorted(event["seq"] for topic in events.values() for event in topic) == [item["seq"] for item in recorded]

    disk = events["disk"][0]
    assert disk["monit"]["service"] == "rootfs" and disk["params"] == {"severity": "high"}
    assert (disk["monit"]["event"], disk["monit"]["category"], disk["monit"]["state"]) == (
        "Resource limit matched", "resource", "failed")
    assert disk["measurement"]["name"] == "space usage" and disk["measurement"]["unit"] == "%"
    assert disk["measurement"]["operator"] == ">" and 0 < disk["measurement"]["value"] <= 100
    assert disk["monit"]["host"] and re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d", disk["monit"]["date"])
    assert "problems" not in disk

    breach = events["breach"][0]
    assert (breach["monit"]["service"], breach["monit"]["category"], breach["monit"]["state"]) == ("watched", "checksum", "changed")
    assert "checksum" in breach["monit"]["description"] and breach["params"] == {"kind": "checksum"}

    failed, recovered = events["size"]
    assert (failed["monit"]["category"], failed["monit"]["state"]) == ("size", "failed")
    assert failed["measurement"]["value"] == 19 and failed["measurement"]["unit"] == "B"
    assert (recovered["monit"]["category"], recovered["monit"]["state"]) == ("size", "succeeded")
    assert recovered["measurement"]["value"] == 6

    snapshot = upstream.requests[0].body["stats"][0]
    assert snapshot["monit"]["reachable"] is True and re.fullmatch(r"\d+\.\d+(\.\d+)?", snapshot["monit"]["version"])
    services = {service["name"]: service for service in snapshot["services"]}
    assert {"watched", "grows", "rootfs"} <= set(services) and snapshot["summary"]["total"] == len(services) == 4
    assert services["rootfs"]["type"] == "filesystem" and services["rootfs"]["state"] == "failed"
    assert services["rootfs"]["values"]["space_total"]["bytes"] > 0
    assert services["grows"]["values"]["size"] == {"bytes": 6}
    assert {service["type"] for service in services.values()} == {"file", "filesystem", "system"}

    monit.stop()
    device.flush("--now").ended(0)
    gone = upstream.requests[-1].body["stats"][0]
    assert gone["monit"]["reachable"] is False and "monit" in gone["monit"]["error"].lower()
    assert "services" not in gone and device.list() == []
    assert all(len(items) == 1 for items in upstream.committed.values())


def test_an_outage_of_upstream_loses_nothing_of_monit(device, upstream, start_monit):
    watched = device.file("watched", "0\n")
    device.file("grows", "small\n")
    monit = start_monit(CHECKS.format(folder=device.folder, event=EVENT, config=device.config))
    wait_for_topics(monit, device, {"disk"})
    device.configure(upstream, snapshot={"enabled": "yes", "interval": "1s", "source": "command", "command": monit.command})
    upstream.stop()
    for number in (1, 2):
        device.change(watched, "%d\n" % number)
        monit.wait_until(lambda wanted=number: sum(item["topic"] == "breach" for item in device.list()) == wanted, "change %d" % number)
        assert device.flush().status == 75
        time.sleep(1)
    held = [item["id"] for item in device.list()]
    upstream.start()
    device.flush("--now").ended(0)
    monit.stop()
    assert set(held) <= set(upstream.committed) and all(len(items) == 1 for items in upstream.committed.values())
    assert len([items for items in upstream.committed.values() if items[0].get("topic") == "breach"]) == 2


def test_a_mistake_in_monits_control_file_costs_no_event(device, start_monit):
    watched = device.file("watched", "one\n")
    monit = start_monit("""
check file watched with path %s
  if changed checksum then exec "%s -c %s --bogus breach =x"
""" % (watched, EVENT, device.config))
    monit.wait_until(lambda: "checksum" in monit.said(), "the first checksum")
    device.change(watched, "two\n")
    monit.wait_until(device.list, "the event")
    document = device.only_document()
    assert document["topic"] == "breach" and len(document["problems"]) == 2


@pytest.mark.parametrize("source", ["socket", "auto"])
def test_a_snapshot_by_monits_socket(device, upstream, start_monit, source):
    device.file("watched", "one\n")
    monit = start_monit("check file watched with path %s/watched" % device.folder)
    monit.wait_until(lambda: "watched" in monit.said(), "a status")
    device.configure(upstream, snapshot={
        "enabled": "yes", "source": source, "socket": monit.socket, "command": "/bin/false", "user": monit.USER,
        "password_file": device.file("password", monit.PASSWORD + "\n")})
    device.flush("--now").ended(0)
    snapshot = upstream.requests[0].body["stats"][0]
    assert snapshot["monit"]["reachable"] is True and snapshot["monit"]["version"]
    assert "watched" in [service["name"] for service in snapshot["services"]]
