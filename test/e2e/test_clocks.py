# SPDX-License-Identifier: MIT
"""Waits that outlive a process, whatever the clocks do. The clocks are those of preload.c: moved, not waited for."""
import datetime
import email.utils
import time

import pytest

from harness import CONFIG, LATER, exactly_once

MINUTE, HOUR, DAY = 60, 3600, 86400
SLACK_S = 30        # between a run and the look at what it left, on a busy machine
STATUS_TEXT = "Monit 5.33.0 uptime: 3m\n\nSystem 'vm'\n  status                       OK\n"
TO_1970 = 1000 - int(time.time()) // DAY * DAY
TO_2049 = 24 * 365 * DAY


def in_words(value):
    """For the names of tests, which are the same for all that collect these, before and after midnight."""
    return "1970" if value == TO_1970 else None


@pytest.fixture(autouse=True)
def clocks(device):
    if not device.syslog_is_ours:
        pytest.skip("no C compiler to build the library that moves the clocks")
    device.file("another-boot", "0c4a1f6e-4a52-4e53-9d2c-6f3c9a3d8b11\n", 0o644)


def later(device, wall_s=0, boot_s=0, another_boot=False):
    """The environment of a process for which so much time has passed, in this boot or in another."""
    return {"PX_TEST_WALL_S": str(wall_s), "PX_TEST_BOOT_S": str(boot_s),
            "PX_TEST_BOOT_ID": str(device.folder / "another-boot") if another_boot else None}


def passed(device, seconds):
    """As clocks should go."""
    return later(device, seconds, seconds)


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def next_try_s(device):
    """How far away the next try is; 0 without one."""
    text = device.stats()["next_try"]
    return moment(text) - time.time() if text is not None else 0


def wait_an_hour(device, upstream):
    upstream.script({"status": 503, "headers": {"Retry-After": str(HOUR)}}, default={})
    ids = device.record(1)
    device.flush().ended(LATER)
    upstream.forget()
    return ids


# -- back-off and Retry-After

@pytest.mark.parametrize("wall_s, boot_s, another_boot, is_over", [
    (HOUR - 60, HOUR - 60, False, False),
    (HOUR + 1, HOUR + 1, False, True),
    # the same boot: the clock that runs through sleep decides
    (TO_1970, HOUR - 60, False, False),
    (TO_1970, HOUR + 1, False, True),
    (TO_2049, HOUR - 60, False, False),
    (TO_2049, HOUR + 1, False, True),
    (-10 * MINUTE, HOUR + 1, False, True),
    (0, HOUR + 1, False, True),
    # another boot: the wall clock decides
    (HOUR - 60, 0, True, False),
    (HOUR + 1, 0, True, True),
    (HOUR - 60, 2 * HOUR, True, False),
    (TO_2049, 0, True, True),
    (TO_1970, 0, True, False),
    (-10 * MINUTE, 0, True, False),
], ids=in_words)
def test_a_wait_on_both_clocks(enrolled, upstream, wall_s, boot_s, another_boot, is_over):
    ids = wait_an_hour(enrolled, upstream)
    enrolled.flush(env=later(enrolled, wall_s, boot_s, another_boot)).ended(0 if is_over else LATER)
    assert len(upstream.requests) == is_over
    enrolled.flush("--now", env=later(enrolled, wall_s, boot_s, another_boot)).ended(0)
    exactly_once(upstream, ids)


@pytest.mark.parametrize("wall_s", [TO_1970, -HOUR], ids=in_words)
def test_a_wait_is_never_longer_than_its_length(enrolled, upstream, wall_s):
    """A device without a clock of its own starts at the same wrong time again; once it is up, the time it is up counts."""
    wait_an_hour(enrolled, upstream)
    enrolled.flush(env=later(enrolled, wall_s, 0, True)).ended(LATER)
    enrolled.flush(env=later(enrolled, wall_s, HOUR - 60, True)).ended(LATER)
    assert upstream.requests == []
    enrolled.flush(env=later(enrolled, wall_s, HOUR + 1, True)).ended(0)
    assert len(upstream.requests) == 1


def test_a_wait_that_began_in_2049(enrolled, upstream):
    """Then the clock is set right, and the device starts again."""
    upstream.script({"status": 503, "headers": {"Retry-After": str(HOUR)}}, default={})
    enrolled.record(1)
    enrolled.flush(env=later(enrolled, TO_2049)).ended(LATER)
    enrolled.flush(env=later(enrolled, 0, 0, True)).ended(LATER)
    enrolled.flush(env=later(enrolled, HOUR + 1, HOUR + 1, True)).ended(0)


def test_boot_time_that_went_back(enrolled, upstream):
    """As in a container with a time namespace of its own: the wait is kept once, from then on."""
    wait_an_hour(enrolled, upstream)
    enrolled.flush(env=later(enrolled, 0, -MINUTE)).ended(LATER)
    enrolled.flush(env=later(enrolled, HOUR, HOUR - MINUTE - 60)).ended(LATER)
    assert upstream.requests == []
    enrolled.flush(env=later(enrolled, HOUR, HOUR - MINUTE + 1)).ended(0)


@pytest.mark.parametrize("wall_s", [0, TO_1970, TO_2049, -HOUR], ids=in_words)
@pytest.mark.parametrize("ahead_s, waits_s", [(600, 600), (-600, 0), (40 * DAY, DAY)])
def test_a_date_is_measured_against_the_date_of_the_reply(enrolled, upstream, wall_s, ahead_s, waits_s):
    """Whatever this device's clock says, and upstream's own."""
    there = 1_700_000_000
    upstream.script({"status": 429, "headers": {"Date": email.utils.formatdate(there, usegmt=True),
                                                "Retry-After": email.utils.formatdate(there + ahead_s, usegmt=True)}})
    enrolled.record(1)
    enrolled.flush(env=later(enrolled, wall_s)).ended(LATER)
    assert max(waits_s, 1) - SLACK_S <= next_try_s(enrolled) <= max(waits_s, 1)


@pytest.mark.parametrize("headers", [
    {"Retry-After": "soon"}, {"Retry-After": "-5"}, {"Retry-After": ""}, {"Retry-After": "1e3"},
    {"Retry-After": "Wed, 25 Nov 2099 12:00:00 GMT"}, {"Date": "yesterday", "Retry-After": "Wed, 25 Nov 2099 12:00:00 GMT"},
], ids=str)
def test_a_retry_after_that_says_nothing(enrolled, upstream, headers):
    upstream.script({"status": 503, "headers": headers})
    enrolled.record(1)
    enrolled.flush().ended(LATER)
    assert next_try_s(enrolled) <= 1


@pytest.mark.parametrize("value, waits_s", [("0", 1), ("1", 1), ("86400", DAY), ("86401", DAY), ("9" * 30, DAY), ("0600", 600)])
def test_a_retry_after_in_seconds(enrolled, upstream, value, waits_s):
    upstream.script({"status": 503, "headers": {"Retry-After": value}})
    enrolled.record(1)
    enrolled.flush().ended(LATER)
    assert waits_s - SLACK_S <= next_try_s(enrolled) <= waits_s


def test_a_retry_after_sooner_than_the_back_off(enrolled, upstream):
    """Of 30 draws below ten days none is below a second: the later of both counts."""
    enrolled.configure(upstream, retry={"initial": "10d", "max": "10d"})
    upstream.script(default={"status": 503, "headers": {"Retry-After": "1"}})
    enrolled.record(1)
    waits = []
    for _ in range(30):
        enrolled.flush("--now").ended(LATER)
        waits.append(next_try_s(enrolled))
    assert max(waits) > DAY and min(waits) >= 0


def test_a_413_that_asks_for_time(enrolled, upstream):
    upstream.script(default={"status": 413, "headers": {"Retry-After": "600"}})
    enrolled.record(1)
    enrolled.flush().ended(CONFIG)
    assert 600 - SLACK_S < next_try_s(enrolled) <= 600


def test_the_back_off_doubles_and_is_drawn_after_the_cap(enrolled, upstream):
    enrolled.configure(upstream, retry={"initial": "30s", "max": "10m"})
    upstream.script(default={"status": 503})
    enrolled.record(1)
    at_cap = []
    for step in range(45):
        enrolled.flush("--now").ended(LATER)
        cap_s = min(30 * 2 ** step, 600)
        wait_s = next_try_s(enrolled)
        assert -SLACK_S < wait_s <= cap_s, step
        if cap_s == 600:
            at_cap.append(wait_s)
    # Full jitter: of 40 draws some are in the lower half, some in the upper.
    assert min(at_cap) < 300 < max(at_cap)
    assert len(set(map(int, at_cap))) > 10

    # A success ends it; a failure after one in the same run starts from the beginning.
    enrolled.configure(upstream, retry={"initial": "30s", "max": "10m"}, batch={"max_items": 1})
    enrolled.record(1)
    upstream.script({}, default={"status": 503})
    enrolled.flush("--now").ended(LATER)
    assert next_try_s(enrolled) <= 30
    upstream.script(default={})
    enrolled.flush("--now").ended(0)
    enrolled.record(1)
    upstream.script(default={"status": 503})
    enrolled.flush().ended(LATER)
    assert next_try_s(enrolled) <= 30


@pytest.mark.parametrize("clock", [(TO_1970, 0), (TO_2049, 0), (0, 0)])
def test_now_overrides_every_wait(enrolled, upstream, clock):
    ids = wait_an_hour(enrolled, upstream)
    enrolled.configure(upstream, schedule={"splay": "5m"}, snapshot={
        "enabled": "yes", "source": "command", "command": enrolled.monit_that_prints(STATUS_TEXT)})
    for count in (1, 2):
        assert slept_ms(enrolled, "--now", **later(enrolled, *clock)) == []
        assert len(enrolled.monit_calls()) == count
    assert len(upstream.requests) == 2 and ids[0] in upstream.committed


# -- the interval, the day after a 415, the day between two words about a URL

@pytest.mark.parametrize("wall_s, boot_s, another_boot, is_due", [
    (HOUR - 60, HOUR - 60, False, False), (HOUR + 1, HOUR + 1, False, True),
    (TO_2049, HOUR - 60, False, False), (TO_1970, HOUR + 1, False, True), (TO_1970, HOUR - 60, False, False),
    (HOUR - 60, 0, True, False), (HOUR + 1, 0, True, True), (TO_2049, 0, True, True), (TO_1970, 0, True, False),
], ids=in_words)
def test_the_interval_of_snapshots(enrolled, upstream, wall_s, boot_s, another_boot, is_due):
    enrolled.configure(upstream, snapshot={"enabled": "yes", "interval": "1h", "source": "command",
                                           "command": enrolled.monit_that_prints(STATUS_TEXT)})
    enrolled.flush().ended(0)
    enrolled.flush(env=later(enrolled, wall_s, boot_s, another_boot)).ended(0)
    assert len(enrolled.monit_calls()) == 1 + is_due
    assert len(upstream.requests) == 1 + is_due


@pytest.mark.parametrize("has_url", [True, False], ids=["slack", "no slack"])
def test_slack_for_the_jitter_of_a_timer(enrolled, upstream, has_url):
    """Some seconds, but for a device without a URL, where an hour is the least."""
    enrolled.configure(upstream if has_url else None, snapshot={
        "enabled": "yes", "interval": "1h", "source": "command", "command": enrolled.monit_that_prints(STATUS_TEXT)})
    began = time.time()
    status = 0 if has_url else CONFIG
    enrolled.flush().ended(status)
    enrolled.flush(env=passed(enrolled, HOUR - 4 - int(time.time() - began))).ended(status)
    assert len(enrolled.monit_calls()) == 1 + has_url
    enrolled.flush(env=passed(enrolled, 2 * HOUR)).ended(status)
    assert len(enrolled.monit_calls()) == 2 + has_url


@pytest.mark.parametrize("wall_s, boot_s, another_boot, is_over", [
    (DAY - 60, DAY - 60, False, False), (DAY + 1, DAY + 1, False, True), (TO_1970, DAY - 60, False, False),
    (DAY - 60, 0, True, False), (DAY + 1, 0, True, True), (TO_1970, 0, True, False),
], ids=in_words)
def test_the_day_after_a_415(enrolled, upstream, wall_s, boot_s, another_boot, is_over):
    upstream.script(lambda request: {"status": 415} if request.header("Content-Encoding") else {})
    ids = enrolled.record(1)
    enrolled.flush().ended(0)
    upstream.forget()
    upstream.script(default={})
    ids += enrolled.record(1)
    enrolled.flush(env=later(enrolled, wall_s, boot_s, another_boot)).ended(0)
    assert [request.header("Content-Encoding") for request in upstream.requests] == ["gzip" if is_over else None]
    exactly_once(upstream, ids)


def test_a_missing_url_is_said_once_a_day(device):
    device.configure()
    device.record(1)
    said = [device.flush(env=passed(device, hours * HOUR)).ended(CONFIG).err != "" for hours in (0, 1, 23, 25, 26, 50)]
    assert said == [True, False, False, True, False, True]


# -- what the clock says of items

@pytest.mark.parametrize("wall_s", [TO_1970, TO_2049, -DAY], ids=in_words)
def test_an_event_under_a_wrong_clock(enrolled, upstream, wall_s):
    """Boot id and uptime say when it happened; nobody is told of an age below nothing."""
    enrolled.event("cpu", env=later(enrolled, wall_s))
    assert enrolled.stats()["oldest_pending_seconds"] >= 0
    enrolled.flush("--now").ended(0)
    body = upstream.requests[0].body
    [event] = body["events"]
    assert abs(moment(event["time"]) - time.time() - wall_s) < MINUTE
    assert event["boot_id"] == body["boot_id"] and 0 <= body["uptime_ms"] - event["uptime_ms"] < MINUTE * 1000


# -- splay

def share_ms(name, splay_ms):
    """FNV-1a, 64 bits."""
    value = 0xcbf29ce484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001b3 % (1 << 64)
    return value % splay_ms


def sleeps_of(device, *args, status=0, **env):
    """The sleeps that a flush asked for, each of a millisecond or more, and for how long it was at work all the same."""
    sleeps = device.file("sleeps", "", 0o666)
    worked_s = device.flush(*args, env={"PX_TEST_SLEEPS": str(sleeps), **env}).ended(status).seconds
    return [ms for ms in map(int, sleeps.read_text().split()) if ms > 0], worked_s * 1000


def slept_ms(device, *args, **more):
    return sleeps_of(device, *args, **more)[0]


@pytest.mark.parametrize("name", ["device-1", "a", "ein gerät"])
def test_a_device_has_its_share_of_the_splay(enrolled, upstream, name):
    enrolled.configure(upstream, device={"id": name}, schedule={"splay": "5m"}, snapshot={
        "enabled": "yes", "interval": "1h", "source": "command", "command": enrolled.monit_that_prints(STATUS_TEXT)})
    expected = share_ms(name, 5 * MINUTE * 1000)
    for hours in (0, 2, 4):
        slept, worked_ms = sleeps_of(enrolled, **passed(enrolled, hours * HOUR))
        assert expected - worked_ms - len(slept) <= sum(slept) <= expected and max(slept) <= 500
    assert len(upstream.requests) == 3
    # Nothing is due; then an event is there; then it is told not to wait.
    assert slept_ms(enrolled, **passed(enrolled, 4 * HOUR)) == []
    enrolled.record(1)
    assert slept_ms(enrolled, **passed(enrolled, 6 * HOUR)) == []
    assert slept_ms(enrolled, "--no-snapshot", **passed(enrolled, 8 * HOUR)) == []
    assert slept_ms(enrolled, "--now", **passed(enrolled, 8 * HOUR)) == []
    assert slept_ms(enrolled, **passed(enrolled, 10 * HOUR)) != []


def test_no_splay_in_a_back_off(enrolled, upstream):
    """The run posts nothing: there is nothing to wait for."""
    wait_an_hour(enrolled, upstream)
    enrolled.status("drop", "1").ended(0)
    enrolled.configure(upstream, schedule={"splay": "5m"}, snapshot={
        "enabled": "yes", "source": "command", "command": enrolled.monit_that_prints(STATUS_TEXT)})
    assert slept_ms(enrolled, status=LATER) == []
    assert len(enrolled.monit_calls()) == 1 and upstream.requests == []


# -- the wait for another flush

def test_now_waits_30_seconds_for_the_other(enrolled, upstream):
    enrolled.configure(upstream, upstream={"timeout": "5m"})
    upstream.script(default={"hang": True})
    enrolled.record(1)
    other = enrolled.flush_process()
    upstream.wait_for(1)
    slept, worked_ms = sleeps_of(enrolled, "--now", status=LATER)
    assert 30000 - worked_ms - len(slept) <= sum(slept) <= 31000 and len(upstream.requests) == 1
    assert slept_ms(enrolled) == []
    other.terminate()
    other.communicate(timeout=60)
