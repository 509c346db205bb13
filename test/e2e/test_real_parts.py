# SPDX-License-Identifier: MIT
"""Delivery through real parts: nginx in front of upstream, real forward proxies, a receiver on a stock framework."""
import base64
import json
import random
import sqlite3
import urllib.request

import pytest

from certificates import make_authority, make_certificate
from harness import CONFIG, DENIED, LATER, ROOT, exactly_once
import parts
from upstream import Upstream, server_context

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


def noise(size):
    """Text that gzip makes little shorter: four bits of eight."""
    return "%0*x" % (size, random.getrandbits(4 * size))


def record_noise(device, count, size):
    """Events with ${size} bytes of noise each; their ids in order."""
    before = {item["id"] for item in device.list()}
    for _ in range(count):
        pieces = [min(4000, size - at) for at in range(0, size, 4000)]
        device.event("noise", *("n%d=%s" % (number, noise(piece)) for number, piece in enumerate(pieces)))
    return [item["id"] for item in device.list() if item["id"] not in before]


def secret(device, name, text):
    return device.file(name, text + "\n", 0o600)


@pytest.fixture
def start():
    """A function that starts a part, and ends it with the test."""
    started = []

    def begin(part):
        started.append(part)
        return part.start()

    yield begin
    for part in started:
        part.stop()


@pytest.fixture
def local(device):
    """An authority, and a certificate of it for this machine."""
    authority = make_authority(device.folder, "ours")
    pair = make_certificate(device.folder, "local", authority, "DNS:localhost,IP:127.0.0.1")
    pair.authority = authority.certificate
    return pair


# -- nginx

@pytest.mark.parametrize("compression", ["gzip", "none"])
@pytest.mark.parametrize("buffering", ["on", "off"])
def test_large_bodies_through_nginx(device, upstream, start, buffering, compression):
    """Which keeps them in files first, or passes them on as they come."""
    nginx = start(parts.Nginx(device, upstream, "proxy_request_buffering %s; client_body_buffer_size 4k;" % buffering))
    device.configure(nginx.url, upstream={"compression": compression})
    ids = record_noise(device, 14, 40000)
    device.flush().ended(0)
    exactly_once(upstream, ids)
    assert len(upstream.requests) == 1
    assert upstream.requests[0].header("Content-Encoding") == (None if compression == "none" else "gzip")
    assert len(upstream.requests[0].raw) > (1 << 18)


def test_nginx_limits_bodies(device, upstream, start):
    """Batches are halved until they fit, and the item that does not fit alone is quarantined, none that could go."""
    nginx = start(parts.Nginx(device, upstream, "client_max_body_size 8k;"))
    device.configure(nginx.url)
    ids = record_noise(device, 6, 3000)
    [large] = record_noise(device, 1, 40000)
    ids += record_noise(device, 6, 3000)
    device.flush().ended(0)
    exactly_once(upstream, ids)
    [item] = device.list()
    assert (item["id"], item["state"]) == (large, "quarantined") and "413" in item["reason"]
    statuses = [status for _, status in nginx.log()]
    assert "413" in statuses and len([request for request in upstream.requests if not request.items]) == 1


def test_nothing_is_blamed_for_a_limit_that_lets_nothing_pass(device, upstream, start):
    nginx = start(parts.Nginx(device, upstream, "client_max_body_size 64;"))
    device.configure(nginx.url)
    device.record(3)
    device.flush("--now").ended(CONFIG)
    assert upstream.requests == [] and device.stats()["pending"] == 3


def test_upstream_is_down_behind_nginx(device, upstream, start):
    nginx = start(parts.Nginx(device, upstream))
    device.configure(nginx.url)
    ids = device.record(3)
    upstream.stop()
    device.flush("--now").ended(LATER)
    stats = device.stats()
    assert stats["pending"] == 3 and "502" in stats["last_failure"]["reason"]
    upstream.start()
    device.flush("--now").ended(0)
    exactly_once(upstream, ids)


def test_upstream_is_slow_behind_nginx(device, upstream, start):
    """It took the batch though nginx said 504: it comes again under the same ids."""
    nginx = start(parts.Nginx(device, upstream, "proxy_read_timeout 1s;"))
    device.configure(nginx.url)
    ids = device.record(3)
    upstream.script({"delay_s": 2.5}, default={})
    device.flush("--now").ended(LATER)
    stats = device.stats()
    assert stats["pending"] == 3 and "504" in stats["last_failure"]["reason"]
    device.flush("--now").ended(0)
    assert list(upstream.committed) == ids and [len(taken) for taken in upstream.committed.values()] == [2, 2, 2]
    assert device.list() == []


def test_a_run_keeps_its_connection(device, upstream, start):
    nginx = start(parts.Nginx(device, upstream))
    device.configure(nginx.url, batch={"max_items": 2})
    ids = device.record(8)
    device.flush().ended(0)
    exactly_once(upstream, ids)
    nginx.stop()
    assert [status for _, status in nginx.log()] == ["200"] * 4
    assert len({connection for connection, _ in nginx.log()}) == 1


@pytest.mark.parametrize("settings", ["keepalive_requests 1;", "keepalive_timeout 0;"])
def test_nginx_ends_connections(device, upstream, start, settings):
    nginx = start(parts.Nginx(device, upstream, settings))
    device.configure(nginx.url, batch={"max_items": 1})
    ids = device.record(4)
    device.flush().ended(0)
    exactly_once(upstream, ids)
    nginx.stop()
    assert len({connection for connection, _ in nginx.log()}) == 4


def test_nginx_is_reloaded_while_we_post(device, upstream, start):
    """Its old processes end the connection between two batches, its new ones go on."""
    nginx = start(parts.Nginx(device, upstream))
    device.configure(nginx.url, batch={"max_items": 1})
    ids = device.record(25)

    def reply(_):
        if len(upstream.requests) % 5 == 2:
            nginx.hang_up()
        return {"delay_s": 0.02}

    upstream.script(reply)
    device.flush().ended(0)
    exactly_once(upstream, ids)
    nginx.stop()
    assert len({connection for connection, _ in nginx.log()}) > 1


def test_tls_by_nginx(device, upstream, start, local):
    nginx = start(parts.Nginx(device, upstream, certificate=local))
    device.configure(nginx.url, upstream={"ca_file": local.authority, "auth": "bearer", "token_file": secret(device, "token", "t0k3n")})
    ids = record_noise(device, 3, 40000)
    device.flush().ended(0)
    exactly_once(upstream, ids)
    assert upstream.requests[0].header("Authorization") == "Bearer t0k3n"
    device.configure(nginx.url)     # now by the system's store, which does not know it
    device.record(1)
    assert "certificate" in device.flush("--now").ended(LATER).err.lower()
    assert len(upstream.requests) == 1


def test_nginx_wants_a_password(device, upstream, start):
    """Its own 401 page is no reply of upstream's, and its meaning is the same."""
    users = device.file("users", parts.password_line(), 0o644)
    nginx = start(parts.Nginx(device, upstream, "auth_basic upstream; auth_basic_user_file %s;" % users))
    ids = device.record(2)
    device.configure(nginx.url, upstream={"auth": "basic", "user": parts.USER, "password_file": secret(device, "wrong", "wrong")})
    device.flush("--now").ended(DENIED)
    assert upstream.requests == [] and device.stats()["pending"] == 2
    device.configure(nginx.url, upstream={"auth": "basic", "user": parts.USER, "password_file": secret(device, "right", parts.PASSWORD)})
    device.flush("--now").ended(0)
    exactly_once(upstream, ids)


# -- forward proxies

@pytest.fixture(params=[parts.Tinyproxy, parts.Apache], ids=lambda part: part.program)
def proxy(request, device, start):
    part = start(request.param(device))
    part.keys = {"proxy": part.url, "proxy_user": parts.USER, "proxy_password_file": secret(device, "proxy-password", part.password)}
    return part


def test_plain_http_through_a_proxy(device, upstream, proxy):
    device.configure(upstream.url, batch={"max_items": 2}, upstream=proxy.keys)
    ids = device.record(5)
    device.flush().ended(0)
    exactly_once(upstream, ids)
    for request in upstream.requests:
        assert (request.method, request.path) == ("POST", "/api/v1/devices/stats")
        assert request.header("Via").startswith("1.1 ")
        assert request.header("Proxy-Authorization") is None


@pytest.fixture
def secure(local):
    with Upstream(tls=server_context(local.certificate, local.key)) as server:
        yield server


def test_tls_through_a_proxy(device, secure, proxy, local):
    """By a tunnel: the proxy gets its own credentials and none of upstream's, upstream none of the proxy's."""
    relay = parts.Relay(proxy.port)
    device.configure(secure, batch={"max_items": 2}, upstream={
        **proxy.keys, "proxy": relay.url, "ca_file": local.authority, "auth": "bearer", "token_file": secret(device, "token", "t0k3n")})
    ids = device.record(5)
    device.flush().ended(0)
    exactly_once(secure, ids)
    assert {request.header("Authorization") for request in secure.requests} == {"Bearer t0k3n"}
    assert {request.header("Proxy-Authorization") for request in secure.requests} == {None}
    credentials = base64.b64encode(("%s:%s" % (parts.USER, proxy.password)).encode())
    assert relay.seen.startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % secure.port)
    assert relay.seen.count(b"Proxy-Authorization: Basic " + credentials) == 1
    assert b"t0k3n" not in relay.seen and b"\r\nAuthorization:" not in relay.seen
    relay.stop()


@pytest.mark.parametrize("password", [None, "wrong"])
def test_a_proxy_that_refuses_us(device, upstream, secure, proxy, local, password):
    """
    All is kept. 407 is the proxy's own word; Tinyproxy has 401 for a wrong password, as upstream might, and ends the
    connection on a body that it did not read, so that its answer may not come whole.
    """
    keys = {**proxy.keys, "proxy_password_file": secret(device, "wrong", "wrong")}
    if password is None:
        keys = {"proxy": proxy.url}
    refusal = 407 if password is None else proxy.refuses_with
    token = {"auth": "bearer", "token_file": secret(device, "token", "t0k3n"), "ca_file": local.authority}
    ids = device.record(2)

    device.configure(upstream, upstream=keys)
    result = device.flush("--now")
    assert result.status == (CONFIG if refusal == 407 else DENIED) or (proxy.ends_early and result.status == LATER)
    assert str(refusal) in device.stats()["last_failure"]["reason"]

    device.configure(secure, upstream={**keys, **token})
    device.flush("--now").ended(CONFIG if refusal == 407 else LATER)
    assert str(refusal) in device.stats()["last_failure"]["reason"]

    assert upstream.requests == secure.requests == [] and device.stats()["pending"] == 2
    device.configure(secure, upstream={**proxy.keys, **token})
    device.flush("--now").ended(0)
    exactly_once(secure, ids)


def test_a_proxy_that_is_down(device, upstream, secure, proxy, local):
    proxy.stop()
    device.record(2)
    for server in (upstream, secure):
        device.configure(server, upstream={**proxy.keys, "ca_file": local.authority})
        device.flush("--now").ended(LATER)
    assert upstream.requests == secure.requests == [] and device.stats()["pending"] == 2


def test_upstream_is_down_behind_a_proxy(device, upstream, secure, proxy, local):
    device.record(2)
    for server in (upstream, secure):
        server.stop()
        device.configure(server, upstream={**proxy.keys, "ca_file": local.authority})
        device.flush("--now").ended(LATER)
    assert device.stats()["pending"] == 2


# -- a receiver on Flask

def rows(receiver, query):
    connection = sqlite3.connect(receiver.database)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def gaps(receiver):
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(receiver.url + "/gaps", timeout=20) as reply:
        return json.load(reply)


def test_the_receiver_of_the_examples(make_device, start):
    """Two devices, replies that are lost after the receiver took the batch; in the end each item is there, once."""
    devices = [make_device(), make_device()]
    receiver = start(parts.Receiver(devices[0], RECEIVER))
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


def test_the_receiver_sees_gaps(device, start):
    """Ones that the device tells of, and what it lost itself."""
    receiver = start(parts.Receiver(device, RECEIVER))
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


def test_the_receiver_refuses_what_it_cannot_read(device, start):
    receiver = start(parts.Receiver(device, RECEIVER))
    for body, headers in ((b"{", {}), (b"not gzip", {"Content-Encoding": "gzip"}), (b"\xff", {})):
        request = urllib.request.Request(receiver.url + "/api/v1/devices/stats", body, headers)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20)
        assert caught.value.code == 400
    device.configure(receiver.url + "/elsewhere")
    device.record(1)
    device.flush("--now").ended(CONFIG)


def test_a_receiver_that_knows_no_gzip(device, start):
    """
    Flask answers 400 to what it can't read, not 415: the empty batch finds out what is wrong, and no item is blamed. Its
    empty reply is of type text/html, and acknowledges all the same.
    """
    receiver = start(parts.Receiver(device, device.file("newcomer.py", NEWCOMER, 0o644)))
    device.configure(receiver.url)
    ids = device.record(3)
    device.flush().ended(0)
    ids += device.record(1)
    device.flush().ended(0)
    assert (receiver.folder / "batches").read_text().split() == ids
    assert device.list() == [] and device.stats()["quarantined"] == 0
    served = (receiver.folder / "output").read_text()
    assert (served.count('" 400 '), served.count('" 200 ')) == (2, 3)
