# SPDX-License-Identifier: MIT
"""Receivers on Flask: the one of share/examples, and one as a newcomer writes it."""
import json
import sqlite3
import urllib.error
import urllib.request

import pytest

from harness import CONFIG, LATER, ROOT
import parts

RECEIVER = ROOT / "share" / "examples" / "receiver.py"

# As somebody writes it who has read one example of the wire, and knows neither gzip nor duplicates.
NEWCOMER = """
from flask import Flask, request
app = Flask(__name__)

@app.post("/api/v1/devices/stats")
def take():
    batch = request.get_json()
    with open("batches", "a") as out:
        for item in batch["events"] + batch["stats"]:
            print(item["id"], file=out)
    return ""
"""


def rows(receiver, query):
    connection = sqlite3.connect(receiver.database)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def gaps(receiver):
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(receiver.url + "/gaps", timeout=20) as reply:
        return json.load(reply)


def test_the_receiver_of_the_examples(make_device, start_part):
    """Two devices, replies that are lost after the receiver took the batch; in the end each item is there, once."""
    devices = [make_device(), make_device()]
    receiver = start_part(parts.Receiver(devices[0], RECEIVER))
    relay = parts.Relay(receiver.port)
    ids = []
    for number, device in enumerate(devices):
        text = "Monit 5.33.0 uptime: 3m\n\nFile 'a'\n  status                       OK\n"
        device.configure(relay.url, device={"id": "device-%d" % number}, batch={"max_items": 3}, snapshot={
            "enabled": "yes", "source": "command", "command": device.monit_that_prints(text)})
        ids += device.record(5)
    for device in devices:
        relay.cuts = 1
        device.flush("--now").ended(LATER)
        assert relay.cuts == 0 and device.stats()["pending"] == 6
    assert [(gap["missing"], gap["lost_here"]) for gap in gaps(receiver)] == [(3, 0), (3, 0)]
    for device in devices:
        device.flush("--now").ended(0)
        assert device.list() == [] and device.stats()["acknowledged"] == 7

    assert sorted(name for name, in rows(receiver, "SELECT id FROM item WHERE kind = 'events'")) == sorted(ids)
    assert rows(receiver, "SELECT device, kind, count(*) FROM item GROUP BY device, kind ORDER BY 1, 2") == [
        ("device-0", "events", 5), ("device-0", "stats", 2), ("device-1", "events", 5), ("device-1", "stats", 2)]
    assert sorted(gap["device"] for gap in gaps(receiver)) == ["device-0", "device-1"]
    assert {(gap["missing"], gap["lost_here"]) for gap in gaps(receiver)} == {(0, 0)}
    stored = [json.loads(text) for text, in rows(receiver, "SELECT document FROM item ORDER BY id")]
    assert {item["seq"] for item in stored} == set(range(1, 8))
    relay.stop()


def test_the_receiver_sees_gaps(device, start_part):
    """Ones that the device tells of, and what it lost itself."""
    receiver = start_part(parts.Receiver(device, RECEIVER))
    device.configure(receiver.url)
    ids = device.record(4)
    device.status("drop", ids[1]).ended(0)
    device.flush().ended(0)
    assert [(gap["missing"], gap["lost_here"]) for gap in gaps(receiver)] == [(1, 0)]
    with sqlite3.connect(receiver.database) as database:
        database.execute("DELETE FROM number WHERE seq = 3")
    database.close()
    device.record(1)
    device.flush("--now").ended(0)
    assert [(gap["missing"], gap["lost_here"]) for gap in gaps(receiver)] == [(2, 1)]


def test_the_receiver_refuses_what_it_cannot_read(device, start_part):
    receiver = start_part(parts.Receiver(device, RECEIVER))
    for body, headers in ((b"{", {}), (b"not gzip", {"Content-Encoding": "gzip"}), (b"\xff", {})):
        request = urllib.request.Request(receiver.url + "/api/v1/devices/stats", body, headers)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20)
        assert caught.value.code == 400
    device.configure(receiver.url + "/elsewhere")
    device.record(1)
    device.flush("--now").ended(CONFIG)


def test_a_receiver_that_knows_no_gzip(device, start_part):
    """
    Flask answers 400 to what it can't read, not 415: the empty batch finds out what is wrong, and no item is blamed. Its
    empty reply is of type text/html, and acknowledges all the same.
    """
    receiver = start_part(parts.Receiver(device, device.file("newcomer.py", NEWCOMER, 0o644)))
    device.configure(receiver.url)
    ids = device.record(3)
    device.flush().ended(0)
    ids += device.record(1)
    device.flush().ended(0)
    assert (receiver.folder / "batches").read_text().split() == ids
    assert device.list() == [] and device.stats()["quarantined"] == 0
    served = (receiver.folder / "output").read_text()
    assert (served.count('" 400 '), served.count('" 200 ')) == (2, 3)
