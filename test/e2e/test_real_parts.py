# SPDX-License-Identifier: MIT
"""Delivery through real parts: nginx in front of upstream, and real forward proxies."""
import base64
import random

import pytest

from certificates import make_authority, make_certificate
from harness import CONFIG, DENIED, LATER, exactly_once
import parts
from upstream import Upstream, server_context


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
def local(device):
    """An authority, and a certificate of it for this machine."""
    authority = make_authority(device.folder, "ours")
    pair = make_certificate(device.folder, "local", authority, "DNS:localhost,IP:127.0.0.1")
    pair.authority = authority.certificate
    return pair


# -- nginx

@pytest.mark.parametrize("compression", ["gzip", "none"])
@pytest.mark.parametrize("buffering", ["on", "off"])
def test_large_bodies_through_nginx(device, upstream, start_part, buffering, compression):
    """Which keeps them in files first, or passes them on as they come."""
    nginx = start_part(parts.Nginx(device, upstream, "proxy_request_buffering %s; client_body_buffer_size 4k;" % buffering))
    device.configure(nginx.url, upstream={"compression": compression})
    ids = record_noise(device, 14, 40000)
    device.flush().ended(0)
    exactly_once(upstream, ids)
    assert len(upstream.requests) == 1
    assert upstream.requests[0].header("Content-Encoding") == (None if compression == "none" else "gzip")
    assert len(upstream.requests[0].raw) > (1 << 18)


def test_nginx_limits_bodies(device, upstream, start_part):
    """Batches are halved until they fit, and the item that does not fit alone is quarantined, none that could go."""
    nginx = start_part(parts.Nginx(device, upstream, "client_max_body_size 8k;"))
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


def test_nothing_is_blamed_for_a_limit_that_lets_nothing_pass(device, upstream, start_part):
    nginx = start_part(parts.Nginx(device, upstream, "client_max_body_size 64;"))
    device.configure(nginx.url)
    device.record(3)
    device.flush("--now").ended(CONFIG)
    assert upstream.requests == [] and device.stats()["pending"] == 3


def test_upstream_is_down_behind_nginx(device, upstream, start_part):
    nginx = start_part(parts.Nginx(device, upstream))
    device.configure(nginx.url)
    ids = device.record(3)
    upstream.stop()
    device.flush("--now").ended(LATER)
    stats = device.stats()
    assert stats["pending"] == 3 and "502" in stats["last_failure"]["reason"]
    upstream.start()
    device.flush("--now").ended(0)
    exactly_once(upstream, ids)


def test_upstream_is_slow_behind_nginx(device, upstream, start_part):
    """It took the batch though nginx said 504: it comes again under the same ids."""
    nginx = start_part(parts.Nginx(device, upstream, "proxy_read_timeout 3s;"))
    device.configure(nginx.url)
    ids = device.record(3)
    upstream.script({"delay_s": 30}, default={})
    device.flush("--now").ended(LATER)
    stats = device.stats()
    assert stats["pending"] == 3 and "504" in stats["last_failure"]["reason"]
    device.flush("--now").ended(0)
    assert list(upstream.committed) == ids and [len(taken) for taken in upstream.committed.values()] == [2, 2, 2]
    assert device.list() == []


def test_a_run_keeps_its_connection(device, upstream, start_part):
    nginx = start_part(parts.Nginx(device, upstream))
    device.configure(nginx.url, batch={"max_items": 2})
    ids = device.record(8)
    device.flush().ended(0)
    exactly_once(upstream, ids)
    nginx.stop()
    assert [status for _, status in nginx.log()] == ["200"] * 4
    assert len({connection for connection, _ in nginx.log()}) == 1


@pytest.mark.parametrize("settings", ["keepalive_requests 1;", "keepalive_timeout 0;"])
def test_nginx_ends_connections(device, upstream, start_part, settings):
    nginx = start_part(parts.Nginx(device, upstream, settings))
    device.configure(nginx.url, batch={"max_items": 1})
    ids = device.record(4)
    device.flush().ended(0)
    exactly_once(upstream, ids)
    nginx.stop()
    assert len({connection for connection, _ in nginx.log()}) == 4


def test_nginx_is_reloaded_while_we_post(device, upstream, start_part):
    """Its old processes end the connection between two batches, its new ones go on."""
    nginx = start_part(parts.Nginx(device, upstream))
    device.configure(nginx.url, batch={"max_items": 1})
    ids = device.record(25)

    def reply(_):
        if len(upstream.requests) % 5 == 2:
            nginx.hang_up()
        if len(upstream.requests) == 23:        # and the last one is still to come
            nginx.wait_for_log("gracefully shutting down")
        return {"delay_s": 0.02}

    upstream.script(reply)
    device.flush().ended(0)
    exactly_once(upstream, ids)
    nginx.stop()
    assert len({connection for connection, _ in nginx.log()}) > 1


def test_tls_by_nginx(device, upstream, start_part, local):
    nginx = start_part(parts.Nginx(device, upstream, certificate=local))
    token = secret(device, "token", "t0k3n")
    device.configure(nginx.url, upstream={"ca_file": local.authority, "auth": "bearer", "token_file": token})
    ids = record_noise(device, 3, 40000)
    device.flush().ended(0)
    exactly_once(upstream, ids)
    assert upstream.requests[0].header("Authorization") == "Bearer t0k3n"
    device.configure(nginx.url)     # now by the system's store, which does not know it
    device.record(1)
    assert "certificate" in device.flush("--now").ended(LATER).err.lower()
    assert len(upstream.requests) == 1


def test_nginx_wants_a_password(device, upstream, start_part):
    """Its own 401 page is no reply of upstream's, and its meaning is the same."""
    users = device.file("users", parts.password_line(), 0o644)
    nginx = start_part(parts.Nginx(device, upstream, "auth_basic upstream; auth_basic_user_file %s;" % users))
    ids = device.record(2)
    keys = {"auth": "basic", "user": parts.USER}
    device.configure(nginx.url, upstream={**keys, "password_file": secret(device, "wrong", "wrong")})
    device.flush("--now").ended(DENIED)
    assert upstream.requests == [] and device.stats()["pending"] == 2
    device.configure(nginx.url, upstream={**keys, "password_file": secret(device, "right", parts.PASSWORD)})
    device.flush("--now").ended(0)
    exactly_once(upstream, ids)


def test_nginx_wants_a_client_certificate(device, upstream, start_part, local):
    """It answers 400, and to plain HTTP too: no item is blamed for that."""
    demand = "ssl_verify_client on; ssl_client_certificate %s;" % local.authority
    nginx = start_part(parts.Nginx(device, upstream, demand, certificate=local))
    ids = device.record(3)
    for url in (nginx.url, nginx.url.replace("https:", "http:")):
        device.configure(url, upstream={"ca_file": local.authority})
        device.flush("--now").ended(CONFIG)
        stats = device.stats()
        assert (stats["pending"], stats["quarantined"]) == (3, 0) and "400" in stats["last_failure"]["reason"]
    assert upstream.requests == []
    device.configure(nginx.url, upstream={"ca_file": local.authority, "client_cert": local.certificate,
                                          "client_key": device.file("device.key", local.key.read_text(), 0o600)})
    device.flush("--now").ended(0)
    exactly_once(upstream, ids)


def test_a_page_in_the_place_of_upstream(device, upstream, start_part):
    """As for maintenance, with 200: that is no acknowledgement."""
    page = device.file("index.html", "<html>Back soon</html>", 0o644)
    nginx = start_part(parts.Nginx(device, upstream, "error_page 502 =200 /soon; location = /soon { internal; default_type text/html; "
                              "alias %s; }" % page))
    device.configure(nginx.url)
    ids = device.record(2)
    upstream.stop()
    device.flush("--now").ended(LATER)
    assert device.stats()["pending"] == 2 and "HTML" in device.stats()["last_failure"]["reason"]
    upstream.start()
    device.flush("--now").ended(0)
    exactly_once(upstream, ids)


def test_nginx_limits_the_rate(device, upstream, start_part):
    """What was delivered before stays delivered, and the rest follows."""
    nginx = parts.Nginx(device, upstream, "limit_req zone=devices burst=2 nodelay; limit_req_status 429;")
    nginx.shared = "limit_req_zone $binary_remote_addr zone=devices:1m rate=1r/m;"
    start_part(nginx)
    device.configure(nginx.url, batch={"max_items": 1})
    ids = device.record(5)
    device.flush("--now").ended(LATER)
    assert list(upstream.committed) == ids[:3] and device.stats()["pending"] == 2
    device.configure(nginx.url)
    nginx.settings = ""
    nginx.restart()
    device.flush("--now").ended(0)
    exactly_once(upstream, ids)


# -- forward proxies

@pytest.fixture(params=[parts.Tinyproxy, parts.Apache], ids=lambda part: part.program)
def proxy(request, device, start_part):
    part = start_part(request.param(device))
    password = secret(device, "proxy-password", part.password)
    part.keys = {"proxy": part.url, "proxy_user": parts.USER, "proxy_password_file": password}
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
    token = {"auth": "bearer", "token_file": secret(device, "token", "t0k3n"), "ca_file": local.authority}
    device.configure(secure, batch={"max_items": 2}, upstream={**proxy.keys, **token, "proxy": relay.url})
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
