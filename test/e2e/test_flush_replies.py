# SPDX-License-Identifier: MIT
"""px-status-flush: what a reply means."""
import json
import os
import sqlite3

import pytest

from harness import CONFIG, DENIED, LATER, LONG_RETRY, exactly_once

HTML = {"Content-Type": "text/html"}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("reply", [
    {"status": 200}, {"status": 201}, {"status": 202}, {"status": 204}, {"status": 205}, {"status": 299},
    {"status": 200, "headers": HTML}, {"status": 204, "headers": HTML}, {"status": 205, "headers": HTML},
    {"status": 200, "headers": JSON},
    {"body": {}}, {"body": {"rejected": []}}, {"body": []}, {"body": {"rejected": [], "other": [1]}},
    {"body": '{"accepted": 3}', "headers": {"Content-Type": "application/json; charset=utf-8"}},
    {"body": " {}\n", "headers": JSON},
    {"body": "OK", "headers": {"Content-Type": "text/plain"}}, {"body": "OK"}, {"body": "<html>", "headers": {"Content-Type": "image/png"}},
    {"body": "not json", "headers": {"Content-Type": "application/octet-stream"}},
    {"raw": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n", "commit": True},
    {"raw": "HTTP/1.0 200 OK\r\n\r\n", "commit": True},
    {"raw": "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "commit": True},
    {"status": 200, "delay_s": 0.5},
], ids=str)
def test_an_acknowledgement(enrolled, upstream, reply):
    upstream.script(reply)
    ids = enrolled.record(2)
    result = enrolled.flush().ended(0)
    assert (result.out, result.err) == ("", "")
    assert len(upstream.requests) == 1
    exactly_once(upstream, ids)
    assert enrolled.list() == [] and enrolled.stats()["acknowledged"] == 2


KEPT = [
    # no upstream at all, but something that answers in its place
    (LATER, {"body": "<html>Please log in</html>", "headers": HTML, "commit": False}),
    (LATER, {"body": "<html>Please log in</html>", "headers": {"Content-Type": "Text/HTML; charset=utf-8"}, "commit": False}),
    (LATER, {"body": "<html/>", "headers": {"Content-Type": "application/xhtml+xml"}, "commit": False}),
    (LATER, {"body": "not json", "headers": JSON, "commit": False}),
    (LATER, {"body": "{} {}", "headers": JSON, "commit": False}),
    (LATER, {"body": '{"a":', "headers": JSON, "commit": False}),
    (LATER, {"body": "garbage", "headers": {"Content-Type": "Application/JSON; charset=utf-8"}, "commit": False}),
    (LATER, {"body": "garbage", "headers": {"Content-Type": "application/problem+json"}, "commit": False}),
    (LATER, {"body": '{"rejected": 1}', "headers": JSON, "commit": False}),
    (LATER, {"body": '{"rejected": {"id": "x", "reason": "y"}}', "headers": JSON, "commit": False}),
    (LATER, {"body": '{"rejected": ["x"]}', "headers": JSON, "commit": False}),
    (LATER, {"body": '{"rejected": [{"reason": "y"}]}', "headers": JSON, "commit": False}),
    (LATER, {"body": '{"rejected": [{"id": 7, "reason": "y"}]}', "headers": JSON, "commit": False}),
    (LATER, {"body": json.dumps({"pad": "x" * (1 << 20)}), "headers": JSON, "commit": False}),
    (LATER, {"body": "half", "headers": {"Content-Length": "100"}, "cut_after": 60}),
    (LATER, {"raw": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"}),
    (LATER, {"raw": "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nOK"}),
    (LATER, {"raw": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"}),
    (LATER, {"raw": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"}),
    (LATER, {"raw": "HTTP/1.1 200"}),
    (LATER, {"raw": "HTTP/1.1 100 Continue\r\n\r\n"}),
    (LATER, {"raw": "\x16\x03\x01 garbage\r\n\r\n"}),
    (LATER, {"raw": "SSH-2.0-OpenSSH_9.2\r\n"}),
    (LATER, {"raw": "<html>no header</html>"}),
    (LATER, {"raw": "\r\n"}),
    (LATER, {"cut_after": 0}),
    (LATER, {"reset": True}),
] + [
    (DENIED, {"status": status}) for status in (401, 403)
] + [
    (CONFIG, {"status": status}) for status in (300, 301, 302, 303, 304, 307, 308, 402, 404, 405, 406, 407, 410, 411, 418, 431, 451, 499)
] + [
    (LATER, {"status": status}) for status in (408, 409, 425, 429, 500, 501, 502, 503, 504, 507, 511, 599)
]


@pytest.mark.parametrize("status, reply", KEPT, ids=lambda value: str(value)[:80])
def test_everything_is_kept(enrolled, upstream, status, reply):
    upstream.script(default=reply)
    ids = enrolled.record(2)
    result = enrolled.flush().ended(status)
    assert result.out == ""
    assert (result.err != "") == (status == CONFIG), result
    assert upstream.requests and upstream.committed == {}
    stats = enrolled.stats()
    assert (stats["pending"], stats["acknowledged"], stats["quarantined"]) == (2, 0, 0)
    assert stats["last_failure"]["reason"] and stats["last_success"] is None

    upstream.script(default={})
    enrolled.flush("--now").ended(0)
    exactly_once(upstream, ids)


@pytest.mark.parametrize("reply", [
    {"hang": True},
    {"status": 200, "body": "slowly", "drip_s": 0.2, "commit": False},
    {"status": 200, "body": "x" * 100, "headers": {"Content-Length": "101", "Connection": "keep-alive"}, "commit": False},
], ids=str)
def test_time_runs_out(enrolled, upstream, reply):
    enrolled.configure(upstream, upstream={"timeout": "1s"})
    upstream.script(default=reply)
    enrolled.record(2)
    result = enrolled.flush("--now").ended(LATER)
    assert 0.9 < result.seconds < 9
    assert enrolled.stats()["pending"] == 2
    upstream.stop()


def test_415_to_a_compressed_body(enrolled, upstream):
    upstream.script(lambda request: {"status": 415} if request.header("Content-Encoding") else {})
    ids = enrolled.record(1)
    assert "plain for a day" in enrolled.flush("--now").ended(0).err
    assert [request.header("Content-Encoding") for request in upstream.requests] == ["gzip", None]
    ids += enrolled.record(1)
    enrolled.flush().ended(0)
    assert [request.header("Content-Encoding") for request in upstream.requests] == ["gzip", None, None]
    exactly_once(upstream, ids)


def test_415_to_a_plain_body(enrolled, upstream):
    enrolled.configure(upstream, upstream={"compression": "none"})
    upstream.script(default={"status": 415})
    enrolled.record(1)
    enrolled.flush().ended(CONFIG)
    assert enrolled.stats()["pending"] == 1 and len(upstream.requests) == 1


# -- single items

def test_rejected_items_are_quarantined(enrolled, upstream):
    ids = enrolled.record(4)
    upstream.script({"body": {"rejected": [{"id": ids[1], "reason": "no such topic"}, {"id": ids[3], "reason": "too old"}]}})
    enrolled.flush().ended(0)
    exactly_once(upstream, [ids[0], ids[2]])
    items = enrolled.list()
    assert [(item["id"], item["state"], item["reason"], item["attempts"]) for item in items] == [
        (ids[1], "quarantined", "no such topic", 1), (ids[3], "quarantined", "too old", 1)]
    stats = enrolled.stats()
    assert (stats["acknowledged"], stats["quarantined"], stats["pending"]) == (2, 2, 0)

    enrolled.flush("--now").ended(0)
    assert len(upstream.requests) == 1
    enrolled.record(1)
    enrolled.flush().ended(0)
    spool = upstream.requests[-1].body["spool"]
    assert spool["quarantined"] == 2
    assert set(spool["last_quarantined"]) == {"id", "reason", "time"}
    assert spool["last_quarantined"]["id"] in (ids[1], ids[3])


def test_rejected_ids_that_are_not_of_the_batch_are_logged_and_ignored(enrolled, upstream, syslog):
    enrolled.configure(upstream, batch={"max_items": 1})
    ids = enrolled.record(2)
    upstream.script({"body": {"rejected": [{"id": ids[1], "reason": "x"}, {"id": "nonsense", "reason": "y\x1b[31m\n"}]}})
    enrolled.flush().ended(0)
    exactly_once(upstream, ids)
    assert enrolled.list() == [] and ids[1] in syslog.text and "nonsense" in syslog.text and "\x1b" not in syslog.text


def test_a_reason_of_any_kind(enrolled, upstream):
    ids = enrolled.record(1)
    upstream.script({"body": json.dumps({"rejected": [{"id": ids[0], "reason": "\x1b[31m é" + "r" * 100000}]}), "headers": JSON})
    enrolled.flush().ended(0)
    listed = enrolled.status("list").ended(0).out
    assert "quarantined" in listed and "\x1b" not in listed
    assert "é" in enrolled.list()[0]["reason"]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_batch_that_is_refused_for_one_item(enrolled, upstream, status):
    """Whatever becomes of the item at fault: nothing is lost, and nothing is acknowledged that upstream did not take."""
    ids = enrolled.record(5)
    at_fault = ids[2]
    upstream.script(lambda request: {"status": status} if at_fault in request.ids else {})
    enrolled.flush()
    for _ in range(3):
        enrolled.flush("--now")
    exactly_once(upstream, [one for one in ids if one != at_fault])
    stats = enrolled.stats()
    assert stats["acknowledged"] == 4 and stats["pending"] + stats["quarantined"] == 1
    assert [item["id"] for item in enrolled.list()] == [at_fault]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_upstream_that_refuses_everything(enrolled, upstream, status):
    upstream.script(default={"status": status})
    ids = enrolled.record(3)
    assert enrolled.flush("--now").status in (CONFIG, LATER)
    stats = enrolled.stats()
    assert (stats["acknowledged"], stats["pending"], stats["quarantined"]) == (0, 3, 0)
    assert [item["id"] for item in enrolled.list()] == ids


@pytest.mark.parametrize("status", [400, 422])
def test_bad_items_are_found_by_halving(enrolled, upstream, status):
    """k of n: one empty batch, and about k * log2(n) requests more than without them."""
    ids = enrolled.record(64)
    bad = {ids[5], ids[40]}
    upstream.script(lambda request: {
        "status": status, "body": '{"title": "Not to our taste", "detail": "no"}', "headers": {"Content-Type": "application/problem+json"},
    } if bad & set(request.ids) else {})
    enrolled.flush().ended(0)
    assert [len(request.items) for request in upstream.requests].count(0) == 1
    assert upstream.requests[1].items == []
    assert len(upstream.requests) <= 1 + 1 + 2 * (2 * 6 + 2)
    exactly_once(upstream, [one for one in ids if one not in bad])
    assert [(item["id"], item["state"], item["reason"], item["attempts"]) for item in enrolled.list()] == [
        (ids[number], "quarantined", "Not to our taste: no", 1) for number in (5, 40)]


def test_sixteen_refused_alone_and_nothing_taken(enrolled, upstream):
    enrolled.configure(upstream, retry=LONG_RETRY)
    ids = enrolled.record(20)
    upstream.script(lambda request: {"status": 400} if request.items else {})
    enrolled.flush("--now").ended(LATER)
    assert sum(len(request.items) == 1 for request in upstream.requests) == 16
    stats = enrolled.stats()
    assert (stats["pending"], stats["quarantined"]) == (20, 0) and stats["next_try"] is not None
    assert [item["attempts"] for item in enrolled.list()] == 16 * [1] + 4 * [0]
    # One that is taken shows that upstream is well: the others are at fault.
    upstream.script(lambda request: {"status": 400} if set(request.ids) - {ids[17]} else {})
    enrolled.status("drop", *ids[:4]).ended(0)
    enrolled.flush("--now").ended(0)
    exactly_once(upstream, ids[17:18])
    assert enrolled.stats()["quarantined"] == 15


def test_an_empty_batch_that_draws_something_else(enrolled, upstream):
    """The batch is refused; what the empty one draws decides, and no item is blamed."""
    enrolled.record(2)
    for status, expected in ((401, DENIED), (404, CONFIG), (503, LATER), (429, LATER), (302, CONFIG)):
        upstream.script(lambda request, status=status: {"status": 422} if request.items else {"status": status})
        enrolled.flush("--now").ended(expected)
        assert (enrolled.stats()["pending"], enrolled.stats()["quarantined"]) == (2, 0)


def test_an_item_that_draws_500_keeps_nobody_waiting(enrolled, upstream):
    ids = enrolled.record(6)
    poison = ids[0]
    upstream.script(lambda request: {"status": 500} if poison in request.ids else {})
    runs = 0
    while len(upstream.committed) < 5:
        enrolled.flush("--now").ended(LATER)
        runs += 1
        assert runs <= 3 + 3 + 1
    exactly_once(upstream, ids[1:])
    [left] = enrolled.list()
    assert (left["id"], left["seq"], left["state"]) == (poison, 1, "pending")
    ids += enrolled.record(1)
    enrolled.flush("--now").ended(LATER)
    assert upstream.requests[-2].ids == ids[-1:] and upstream.requests[-1].ids == [poison]
    upstream.script(default={})
    enrolled.flush("--now").ended(0)
    exactly_once(upstream, ids)


def test_time_outs_halve_the_batch_and_success_lets_it_grow(enrolled, upstream):
    ids = enrolled.record(8)
    enrolled.configure(upstream, upstream={"timeout": "1s"})
    upstream.script(lambda request: {"hang": True} if len(request.items) > 2 else {})
    for _ in range(2):
        enrolled.flush("--now").ended(LATER)
    enrolled.configure(upstream)
    upstream.script(default={})
    enrolled.flush("--now").ended(0)
    sizes = [len(request.items) for request in upstream.requests]
    assert sizes[:3] == [8, 4, 2] and max(sizes[3:]) > 2
    exactly_once(upstream, ids)


# -- credentials

def counting_tokens(device):
    """A token command that prints another token each time."""
    return device.monit_that('echo x >>{0}/asked; echo "token-$(wc -l <{0}/asked)"'.format(device.folder), "token")


def asked(device):
    path = device.folder / "asked"
    return len(path.read_text().splitlines()) if path.exists() else 0


def bearer(upstream):
    return [request.header("Authorization") for request in upstream.requests]


def test_a_token_file(enrolled, upstream):
    enrolled.configure(upstream, upstream={"auth": "bearer", "token_file": enrolled.file("token", "hunter2-token\n")})
    enrolled.record(1)
    result = enrolled.flush("-v").ended(0)
    assert bearer(upstream) == ["Bearer hunter2-token"] and "hunter2" not in result.err


def test_basic_authentication(enrolled, upstream):
    enrolled.configure(upstream, upstream={"auth": "basic", "user": "me", "password_file": enrolled.file("password", "pass word\n")})
    enrolled.record(1)
    enrolled.flush().ended(0)
    assert bearer(upstream) == ["Basic bWU6cGFzcyB3b3Jk"]


def test_a_token_command_runs_once_a_flush(enrolled, upstream):
    enrolled.configure(upstream, upstream={"auth": "bearer", "token_command": counting_tokens(enrolled)}, batch={"max_items": 1})
    enrolled.record(3)
    enrolled.flush().ended(0)
    assert bearer(upstream) == ["Bearer token-1"] * 3 and asked(enrolled) == 1


def test_a_token_command_runs_once_more_after_a_401(enrolled, upstream):
    enrolled.configure(upstream, upstream={"auth": "bearer", "token_command": counting_tokens(enrolled)})
    upstream.script({"status": 401})
    ids = enrolled.record(1)
    enrolled.flush().ended(0)
    assert bearer(upstream) == ["Bearer token-1", "Bearer token-2"]
    exactly_once(upstream, ids)


def test_a_token_command_runs_once_more_a_run_however_often_it_delivers(enrolled, upstream):
    """Damage in the middle of a run makes the spool anew, and what is left is delivered from that."""
    enrolled.configure(upstream, upstream={"auth": "bearer", "token_command": counting_tokens(enrolled)}, batch={"max_items": 5})
    spools = []

    def refuse_once_a_spool(request):
        name = request.body["spool"]["id"]
        spools.append(name)
        return {"status": 401} if spools.count(name) == 1 else {}

    upstream.script(refuse_once_a_spool)
    for _ in range(60):
        enrolled.event("topic", "-m", "x" * 3000)
    with sqlite3.connect(enrolled.spool) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    with open(enrolled.spool, "r+b") as file:
        file.seek(30 * 4096)
        file.write(b"\xff" * (2 * 4096))
    enrolled.flush("--now").ended(DENIED)
    assert len(set(spools)) == 2 and spools.count(spools[0]) > 2 and spools.count(spools[-1]) == 1
    assert asked(enrolled) == 2 and bearer(upstream) == ["Bearer token-1"] + ["Bearer token-2"] * (len(spools) - 1)


@pytest.mark.parametrize("status", [401, 403])
def test_a_new_token_does_not_help_either(enrolled, upstream, status):
    enrolled.configure(upstream, upstream={"auth": "bearer", "token_command": counting_tokens(enrolled)})
    upstream.script(default={"status": status})
    enrolled.record(1)
    result = enrolled.flush("--now").ended(DENIED)
    assert asked(enrolled) == 2 and len(upstream.requests) == 2 and "token-" not in result.err
    assert enrolled.stats()["pending"] == 1


def test_a_token_command_that_prints_json(enrolled, upstream):
    script = enrolled.monit_that("""echo '{"access_token": "from-json", "expires_at": 4102444800}'""", "token")
    enrolled.configure(upstream, upstream={"auth": "bearer", "token_command": script})
    enrolled.record(1)
    enrolled.flush().ended(0)
    assert bearer(upstream) == ["Bearer from-json"]


@pytest.mark.parametrize("script", ["exit 3", "true", "printf 'a\\nb\\n'", "echo '{}'"])
def test_a_token_command_without_a_token(enrolled, upstream, script):
    enrolled.configure(upstream, upstream={"auth": "bearer", "token_command": enrolled.monit_that(script, "token")})
    enrolled.record(1)
    assert enrolled.flush("--now").status in (LATER, DENIED, CONFIG)
    assert enrolled.stats()["pending"] == 1 and upstream.committed == {}


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o601, 0o602])
@pytest.mark.parametrize("keys", [{"auth": "bearer", "token_file": None}, {"auth": "basic", "user": "me", "password_file": None}], ids=str)
def test_a_secret_that_others_may_touch(enrolled, upstream, mode, keys):
    secret = enrolled.file("secret", "hunter2\n", mode)
    enrolled.configure(upstream, upstream={key: value or secret for key, value in keys.items()})
    enrolled.record(1)
    result = enrolled.flush().ended(CONFIG)
    assert str(secret) in result.err and "hunter2" not in result.err and upstream.requests == []


def test_a_secret_of_somebody_else(enrolled, upstream, root):
    secret = enrolled.file("secret", "hunter2\n", 0o600)
    os.chown(secret, 65534, 65534)
    enrolled.configure(upstream, upstream={"auth": "bearer", "token_file": secret})
    enrolled.record(1)
    assert str(secret) in enrolled.flush().ended(CONFIG).err


def test_a_secret_that_is_missing(enrolled, upstream):
    enrolled.configure(upstream, upstream={"auth": "bearer", "token_file": "/nonexistent/token"})
    enrolled.record(1)
    assert "/nonexistent/token" in enrolled.flush().ended(CONFIG).err


@pytest.mark.parametrize("status", [400, 413, 422])
def test_compression_is_not_blamed_when_plain_does_not_help(enrolled, upstream, status):
    upstream.script(default={"status": status})
    enrolled.record(1)
    enrolled.flush("--now").ended(CONFIG)
    upstream.script(default={})
    enrolled.flush("--now").ended(0)
    assert upstream.requests[-1].headers.get("Content-Encoding") == "gzip"
    assert enrolled.stats()["quarantined"] == 0


def test_413_is_remembered_though_the_empty_batch_fails(enrolled, upstream):
    enrolled.record(4)
    upstream.script(lambda request: {"status": 503} if not request.items else {"status": 413} if len(request.items) > 2 else {})
    enrolled.flush("--now").ended(LATER)
    assert [item["attempts"] for item in enrolled.list()] == [1] * 4
    enrolled.flush("--now").ended(0)
    assert upstream.committed and max(len(request.items) for request in upstream.requests[2:]) <= 2
