# SPDX-License-Identifier: MIT
"""
A hostile upstream, a row for each thing that it, or what stands in its place, may do. Whatever it is: a run ends in time
and in little memory with the right status; what left the spool is held upstream; once upstream is well everything arrives.
"""
import collections
import gzip
import json
import socket
import ssl
import types

import pytest

import harness
from harness import CONFIG, DENIED, LATER, Device, is_sanitized
from upstream import Upstream, bound, server_context

EVENTS = 3
ALL = -1                # as many as there are
SHORT_S, LONG_S = (2, 1), (10, 10)      # timeout and connect_timeout: for what runs into one, and for what is to end before
LIMIT_S = 15            # of a run: some requests' time, on a busy machine
PEAK_KIB = 32 << 10

JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html; charset=utf-8"}
OK = "HTTP/1.1 200 OK\r\n"
LEFT = {"raw": "", "commit": False}

Case = collections.namedtuple("Case", "name status reply taken more")


def case(name, status, reply=None, taken=0, **more):
    """
    The reply, or a list of replies whose last is said again; how many items ${taken}; ${more}: arguments of Upstream
    (greeting, reads, bind), ${tls}, the name of its certificate, ${context}, what is done to its TLS context, ${events},
    ${sections} of the configuration, ${url}, a function of the upstream, ${check}, a function of the outcome, ${waits}: a
    time-out ends it, though nothing above says so.
    """
    return Case(name, status, reply if reply is not None else {}, taken, more)


def bomb():
    return gzip.compress(b"\0" * (64 << 20))


def chunked(text):
    return OK + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + text


def framed(headers, body=""):
    return {"raw": OK + headers + "\r\n\r\n" + body}


# -- what rows look at afterwards

def batches_shrank(outcome):
    assert max(len(request.items) for request in outcome.well.requests) <= outcome.events // 2


def batches_did_not_shrink(outcome):
    assert len(outcome.well.requests[0].items) == len(outcome.left)


def posts(count):
    def check(outcome):
        assert len(outcome.upstream.requests) == count
    return check


def nothing_came(outcome):
    assert outcome.upstream.requests == []


def log_is_short(outcome):
    assert outcome.result.err.count("\n") < 40 and len(outcome.result.err) < 20000


def proxy_was_told(outcome):
    """The proxy, and in the tunnel nobody."""
    [request] = outcome.upstream.requests
    assert request.method == "CONNECT" and request.path == "central.invalid:443"
    assert request.header("Proxy-Authorization") == "Basic bWU6aHVudGVyMg==" and request.header("Authorization") is None


# -- what upstream does to its TLS

def only_tls_1_1(context):
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1


def wants_a_certificate(context):
    context.verify_mode = ssl.CERT_REQUIRED


def https(upstream):
    return upstream.url.replace("http:", "https:")


def by_proxy(url):
    """The upstream stands in a proxy's place."""
    return {"url": lambda upstream: url, "proxy": True}


ONE_EACH = {"batch": {"max_items": 1}}
PLAIN = {"upstream": {"compression": "none"}}
LARGE = {"sections": PLAIN, "events": 24, "size": 60000}
# More than the kernel takes for a reader who takes nothing (net.ipv4.tcp_wmem).
HUGE = {"sections": {**PLAIN, "batch": {"max_bytes": "16M"}}, "events": 110, "size": 60000, "reads": (1, 1)}

CASES = [
    # One of each class of status; test_flush_replies.py has the others.
    case("100 and no more", LATER, {"raw": "HTTP/1.1 100 Continue\r\n\r\n"}),
    case("101", LATER, {"raw": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"}),
    case("102, then silence", LATER, {"raw": "HTTP/1.1 102 Processing\r\n\r\n", "hang": True}),
    case("199", LATER, {"raw": "HTTP/1.1 199 Odd\r\n\r\n"}),
    case("206", 0, {"status": 206}, ALL),
    case("300", CONFIG, {"status": 300}),
    case("304", CONFIG, {"status": 304}),
    case("400 to everything", CONFIG, {"status": 400}, check=posts(3)),
    case("401", DENIED, {"status": 401}),
    case("402", CONFIG, {"status": 402}),
    case("413 to everything", CONFIG, {"status": 413}, events=8, check=batches_shrank),
    case("415 to everything", CONFIG, {"status": 415}, check=posts(2)),
    case("429 with a Retry-After of a century", LATER, {"status": 429, "headers": {"Retry-After": "9" * 40}}),
    case("600", LATER, {"status": 600, "reason": "What"}),
    case("999", LATER, {"raw": "HTTP/1.1 999 Denied\r\nContent-Length: 0\r\n\r\n"}),
    case("000", LATER, {"raw": "HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n"}),
    # 16 items refused alone, and nothing taken but empty batches
    case("422 to every item", LATER, [{"status": 422}, {}, {"status": 422}], events=17, sections=ONE_EACH, check=posts(17)),

    # Not HTTP, or not quite.
    case("closes at once", LATER, greeting={}),
    case("resets at once", LATER, greeting={"reset": True}),
    case("takes the connection and says nothing", LATER, greeting={"hang": True}),
    case("says something else", LATER, greeting={"raw": "220 mail ESMTP\r\n", "hang": True}),
    case("garbage without end", LATER, greeting={"endless": "\0\xff garbage" * 500}),
    case("one line without end", LATER, {"raw": "HTTP/1.1 200 ", "endless": "O" * 4096}),
    case("HTTP/0.9", LATER, {"raw": "taken, thank you"}),
    case("another protocol's status line", LATER, {"raw": "ICY 200 OK\r\n\r\n"}),
    case("HTTP/2 where 1.1 was asked", LATER, {"raw": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + b"\0" * 18}),
    case("lines that end with LF", 0, {"raw": "HTTP/1.1 200 OK\nContent-Length: 0\n\n", "commit": True}, ALL),

    # Headers.
    case("a header of 1 MiB", LATER, framed("X: " + "x" * (1 << 20))),
    case("headers without end", LATER, {"raw": OK, "endless": "X-Filler: %s\r\n" % ("x" * 200)}),
    case("headers that break off", LATER, {"raw": OK + "Content-Le"}),
    case("headers, then silence", LATER, {"raw": OK, "hang": True}),
    case("headers that drip", LATER, {"raw": OK + "X: y\r\n" * 30, "drip_s": 0.1}),
    case("1xx storm", LATER, {"raw": "", "endless": "HTTP/1.1 100 Continue\r\n\r\n" * 50}),
    case("1xx, a hundred of them", 0, {"raw": "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100 + OK + "Content-Length: 0\r\n\r\n",
                                       "commit": True}, ALL),
    case("a NUL in a header", LATER, framed("X: a\0b\r\nContent-Length: 0")),
    case("a negative length", LATER, framed("Content-Length: -5")),
    case("a length that is none", LATER, framed("Content-Length: many", "x")),
    case("a length beyond all numbers", LATER, framed("Content-Length: 99999999999999999999999", "x")),
    case("two lengths", LATER, framed("Content-Length: 9\r\nContent-Length: 0")),
    case("two lengths, the other way", LATER, framed("Content-Length: 0\r\nContent-Length: 9", "x")),
    case("a length said twice", 0, {"raw": OK + "Content-Length: 0\r\ncontent-length: 0\r\n\r\n", "commit": True}, ALL),
    case("a length of 8 EiB", LATER, framed("Content-Type: application/json\r\nContent-Length: 9223372036854775807", "{}")),
    case("more than its length", 0, {"raw": OK + "Content-Length: 2\r\n\r\nOK, and more", "commit": True}, ALL),
    case("more than its length, of JSON", 0, {"raw": OK + "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}}", "commit": True}, ALL),

    # Bodies.
    case("cut", LATER, framed("Content-Length: 1000", "x" * 999)),
    case("cut, of chunks", LATER, {"raw": chunked("2\r\n{}\r\n")}),
    case("cut behind the last chunk's size", LATER, {"raw": chunked("2\r\n{}\r\n0\r\n")}),
    case("a chunk of no size", LATER, {"raw": chunked("zz\r\n{}\r\n0\r\n\r\n")}),
    case("a chunk beyond all numbers", LATER, {"raw": chunked("FFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n")}),
    case("a chunk's extension without end", LATER, {"raw": chunked("2;x="), "endless": "x" * 4096}, waits=True),
    case("trailers without end", LATER, {"raw": chunked("2\r\n{}\r\n0\r\n"), "endless": "X: %s\r\n" % ("x" * 200)}),
    case("10 MB of text", 0, {"body": b"x" * 10_000_000, "headers": {"Content-Type": "text/plain"}, "commit": True}, ALL),
    case("10 MB of JSON", LATER, {"body": json.dumps(["x" * 10_000_000]), "headers": JSON, "commit": False}, events=8, check=batches_shrank),
    case("10 MB of an error", LATER, {"status": 500, "body": b"x" * 10_000_000, "headers": HTML}),
    case("text without end", 0, {"raw": OK + "Content-Type: text/plain\r\n\r\n", "endless": "x" * 4096, "commit": True}, ALL),
    case("JSON without end", LATER, {"raw": OK + "Content-Type: application/json\r\n\r\n[1", "endless": ",1" * 2048}),
    case("chunks without end", LATER, {"raw": chunked(""), "endless": "1\r\n \r\n" * 500}),
    case("HTML without end", LATER, {"raw": OK + "Content-Type: text/html\r\n\r\n", "endless": "<p>" * 1000}, check=batches_did_not_shrink),
    case("an error without end", LATER, {"raw": "HTTP/1.1 503 No\r\n\r\n", "endless": "x" * 4096}),
    case("a refusal without end", CONFIG, {"raw": "HTTP/1.1 404 No\r\n\r\n", "endless": "x" * 4096}),
    case("a body that drips", LATER, {"body": "{}" + " " * 100, "headers": JSON, "drip_s": 0.05, "commit": False}),
    case("a gzip bomb", LATER, {"body": bomb(), "headers": {**JSON, "Content-Encoding": "gzip"}, "commit": False}),
    case("a gzip bomb for a transfer", LATER, {"raw": OK.encode() + b"Content-Type: application/json\r\nTransfer-Encoding: gzip\r\n\r\n" + bomb()}),
    case("JSON too deep", LATER, {"body": "[" * 100000 + "]" * 100000, "headers": JSON, "commit": False}),
    case("JSON too deep, of objects", LATER, {"body": '{"rejected":' * 50000 + "[]" + "}" * 50000, "headers": JSON, "commit": False}),
    case("rejected twice", LATER, {"body": '{"rejected":[],"rejected":[]}', "headers": JSON, "commit": False}),
    case("rejects the whole world", 0, {"body": {"rejected": [{"id": "x%d" % number, "reason": "no\n\x1b[31m"} for number in range(20000)]}}, ALL,
         check=log_is_short),
    case("bytes that are no UTF-8", LATER, {"body": b'{"a": \xff\xfe}', "headers": JSON, "commit": False}),
    case("a captive portal", LATER, {"body": "<html><title>Welcome, log in</title></html>", "headers": HTML, "commit": False}),
    case("a captive portal that redirects", CONFIG, {"status": 302, "headers": {"Location": "http://127.0.0.1:9/login"}}),
    case("a captive portal by the book", LATER, {"status": 511, "body": "<html>log in</html>", "headers": HTML}),
    case("honest and empty, of text/html", 0, {"headers": HTML}, ALL),

    # Connections.
    case("reset before it took anything", LATER, {"reset": True}),
    case("reset when it had all", LATER, {"reset": True, "commit": True}),
    case("closed when it had all", LATER, {"cut_after": 0, "commit": True}),
    case("cut in the status when it had all", LATER, {"cut_after": 10, "commit": True}),
    case("silent when it had all", LATER, {"hang": True, "commit": True}),
    case("reset while the body comes", LATER, {"early": True, "reset": True}, **LARGE),
    case("no while the body comes", LATER, {"early": True, "status": 503, "headers": {"Connection": "close"}}, **LARGE),
    case("yes while the body comes, of which it takes nothing", LATER,
         {"early": True, "raw": OK + "Content-Length: 0\r\n\r\n", "reset": True}, **HUGE),
    case("yes while the body comes, then silence", LATER,
         {"early": True, "raw": OK + "Content-Length: 0\r\n\r\n", "hang": True}, **HUGE),
    case("yes while the body comes, and closes", LATER,
         {"early": True, "raw": OK + "Connection: close\r\nContent-Length: 0\r\n\r\n"}, **HUGE),
    case("too large while the body comes", CONFIG, {"early": True, "status": 413, "headers": {"Connection": "close"}}, **LARGE),
    case("reads nothing", LATER, {"early": True, "raw": "", "hang": True}),
    case("reads slowly", LATER, reads=(1024, 0.1), check=batches_shrank, **LARGE),
    case("closes after each reply", 0, {"close": True}, ALL, sections=ONE_EACH),
    case("says 200 twice, then means 503", LATER, [{"raw": (OK + "Content-Length: 0\r\n\r\n") * 2, "close": False, "commit": True}, {"status": 503}],
         1, sections=ONE_EACH),
    case("takes the first batch, then leaves", LATER, [{}, {"reset": True}], 1, sections=ONE_EACH),
    case("takes two batches, then denies", DENIED, [{}, {}, {"status": 401}], 2, sections=ONE_EACH),
    case("takes the first batch, then shows a portal", LATER, [{}, {"body": "<html/>", "headers": HTML, "commit": False}], 1, sections=ONE_EACH),
    case("nobody listens", LATER, url=lambda upstream: "http://127.0.0.1:1", check=nothing_came),
    case("IPv6 only", 0, {}, ALL, bind="::1"),
    case("IPv6 only, and another family is named", LATER, bind="::1", url=lambda upstream: "http://127.0.0.1:%d" % upstream.port, check=nothing_came),

    # TLS.
    case("TLS that is good", 0, {}, ALL, tls="good"),
    case("TLS expired", LATER, tls="expired", check=nothing_came),
    case("TLS of another host", LATER, tls="elsewhere", check=nothing_came),
    case("TLS of an unknown CA", LATER, tls="unknown", check=nothing_came),
    case("TLS 1.1", LATER, tls="good", context=only_tls_1_1, check=nothing_came),
    case("TLS that wants a certificate", LATER, tls="good", context=wants_a_certificate, check=nothing_came),
    case("TLS closed in the handshake", LATER, tls="good", greeting={}),
    case("TLS reset in the handshake", LATER, tls="good", greeting={"reset": True}),
    case("TLS silent in the handshake", LATER, tls="good", greeting={"hang": True}),
    case("TLS half a handshake", LATER, tls="good", greeting={"raw": "\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03", "hang": True}),
    case("TLS garbage", LATER, tls="good", greeting={"endless": "\x16\x03\x03\x40\x00" + "\1" * 16384}),
    # Each four zeros are a message of the handshake that OpenSSL reads over, without a word to curl as long as more is there,
    # which is so every other time.
    *[case("TLS with hellos without end, try %d" % number, LATER, tls="good",
           greeting={"endless": "\x16\x03\x03\x40\x00" + "\0" * 16384}) for number in (1, 2, 3)],
    case("HTTP where TLS was asked", LATER, url=https, check=nothing_came, waits=True),
    case("TLS where HTTP was asked", LATER, tls="good", url=lambda upstream: upstream.url.replace("https:", "http:")),
    case("TLS cut in a body without length", LATER, {"raw": OK + "Content-Type: application/json\r\n\r\n{", "commit": False}, tls="good"),

    # A proxy.
    case("a proxy that wants credentials", CONFIG, {"status": 407}, **by_proxy("https://central.invalid")),
    case("a proxy that wants credentials, without a tunnel", CONFIG, {"status": 407}, **by_proxy("http://central.invalid")),
    case("a proxy that knows no way", LATER, {"status": 502}, **by_proxy("https://central.invalid")),
    case("a proxy that says nothing", LATER, {"hang": True}, **by_proxy("https://central.invalid")),
    case("a proxy that is content with our credentials, and closes", LATER, {"raw": "HTTP/1.1 200 Connected\r\n\r\n"},
         proxy_user=True, check=proxy_was_told, **by_proxy("https://central.invalid")),
    case("a proxy that tunnels to nowhere", LATER, {"raw": "HTTP/1.1 200 Connected\r\n\r\n"}, **by_proxy("https://central.invalid")),
    case("a proxy that tunnels to itself", LATER, {"raw": "HTTP/1.1 200 Connected\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "hang": True},
         **by_proxy("https://central.invalid")),
    case("a proxy that answers for upstream", LATER, {"body": "<html>no such host</html>", "headers": HTML, "commit": False},
         **by_proxy("http://central.invalid")),
]


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener:
            listener.bind(("::1", 0))
    except OSError:
        return False
    return True


def make_upstream(row, certificates, port):
    replies = row.reply if isinstance(row.reply, list) else [row.reply]
    tls = None
    if "tls" in row.more:
        pair = getattr(certificates, row.more["tls"])
        tls = server_context(pair.certificate, pair.key)
        row.more.get("context", lambda context: None)(tls)
    return Upstream(replies[:-1], default=replies[-1], tls=tls, port=port,
                    **{key: row.more[key] for key in ("greeting", "reads", "bind") if key in row.more})


def is_waited_for(row):
    """Whether a time-out ends it, or may."""
    greeting = row.more.get("greeting", {})
    said = [*(row.reply if isinstance(row.reply, list) else [row.reply]), greeting]
    of_its_own = row.more.keys() & {"waits", "reads"} or "endless" in greeting
    return of_its_own or any(one.keys() & {"hang", "drip_s"} for one in said)


def configure(row, device, upstream, certificates):
    timeout_s, connect_timeout_s = SHORT_S if is_waited_for(row) else LONG_S
    keys = {"timeout": "%ds" % timeout_s, "connect_timeout": "%ds" % connect_timeout_s}
    if "tls" in row.more:
        keys["ca_file"] = certificates.ours.certificate
    if "proxy" in row.more:
        keys.update(proxy=upstream.url, allow_http="yes")
    if "proxy_user" in row.more:
        keys.update(proxy_user="me", proxy_password_file=device.file("proxy-password", "hunter2\n"),
                    auth="bearer", token_file=device.file("token", "for-upstream-only\n"))
    sections = row.more.get("sections", {})
    keys.update(sections.get("upstream", {}))
    url = row.more.get("url", lambda upstream: upstream.url)(upstream)
    device.configure(url, **{**sections, "upstream": keys})


def record(row, device):
    count, size = row.more.get("events", EVENTS), row.more.get("size", 0)
    values = ["k%d=%s" % (number, "v" * 4000) for number in range(size // 4000)]
    for _ in range(count):
        device.event("cpu", *values)
    return [item["id"] for item in device.list()]


def play(row, preload, certificates):
    """One case from its start to a good end; what there is to look at."""
    device = Device(preload)
    peak = device.file("peak", "", 0o666)
    weak = device.file("openssl.cnf", harness.WEAK_OPENSSL, 0o644)
    try:
        # At that port nobody listens in the other family.
        with bound("127.0.0.1") as place, make_upstream(row, certificates, place.getsockname()[1]) as upstream:
            configure(row, device, upstream, certificates)
            ids = record(row, device)
            result = device.flush("--now", env={"PX_TEST_PEAK": str(peak), "OPENSSL_CONF": str(weak)}, timeout=60)
        left = [item["id"] for item in device.list()]
        quarantined = device.stats()["quarantined"]
        with Upstream() as well:
            device.configure(well, **{**row.more.get("sections", {}), "upstream": {}})
            device.flush("--now").ended(0)
        return types.SimpleNamespace(result=result, ids=ids, left=left, quarantined=quarantined, upstream=upstream, well=well,
                                     events=len(ids), peak_kib=int((peak.read_text().split() or ["0"])[0]), at_the_end=device.list())
    finally:
        device.close()


def may_run(row):
    return row.more.get("bind") != "::1" or has_ipv6()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("row", CASES, ids=lambda row: row.name.replace(" ", "-"))
def test_a_hostile_upstream(preload, certificates, row):
    if not may_run(row):
        pytest.skip("no IPv6 on the loopback interface")
    outcome = play(row, preload, certificates)
    result = outcome.result.ended(row.status)
    assert result.seconds < LIMIT_S, result
    assert is_sanitized() or 0 < outcome.peak_kib <= PEAK_KIB

    taken = len(outcome.ids) if row.taken == ALL else row.taken
    assert outcome.left == outcome.ids[taken:] and outcome.quarantined == 0, result
    gone = set(outcome.ids) - set(outcome.left)
    assert gone <= set(outcome.upstream.committed), result

    assert outcome.at_the_end == []
    copies = {name: outcome.upstream.committed.get(name, []) + outcome.well.committed.get(name, []) for name in outcome.ids}
    assert set(outcome.upstream.committed) | set(outcome.well.committed) == set(outcome.ids)
    assert all(copy and all(one == copy[0] for one in copy) for copy in copies.values())
    if "check" in row.more:
        row.more["check"](outcome)


def test_a_resolver_that_never_answers(device, root):
    """In a mount namespace with a resolv.conf of its own, which names a silent socket of this machine."""
    address = "127.9.8.7"
    resolver = device.file("resolv.conf", "nameserver %s\noptions timeout:30 attempts:5\n" % address, 0o644)
    in_namespace = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', resolver]
    if device.run(*in_namespace, "true").status != 0:
        pytest.skip("no mount namespace to be had")
    device.configure("https://central.invalid", upstream={"timeout": "2s", "connect_timeout": "1s"})
    device.record(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        try:
            silent.bind((address, 53))
        except OSError as error:
            pytest.skip("cannot listen at %s:53: %s" % (address, error))
        silent.settimeout(1)
        result = device.run(*in_namespace, harness.FLUSH, "-c", device.config, "-s", device.spool, "--now").ended(LATER)
        assert b"central" in silent.recv(512)
    assert result.seconds < LIMIT_S and device.stats()["pending"] == 1


def test_there_are_enough_of_them():
    assert len({row.name for row in CASES}) == len(CASES) >= 60
