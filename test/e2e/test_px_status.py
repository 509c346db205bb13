# SPDX-License-Identifier: MIT
"""px-status: looking after the spool."""
import json
import os
import re

import pytest

from harness import CONFIG, FLUSH, LATER, RFC3339, STATUS, STORAGE, USAGE

STATS_KEYS = ["spool_id", "recorded", "acknowledged", "pending", "quarantined", "dropped", "lost", "overflow",
              "oldest_pending_seconds", "bytes", "next_try", "last_success", "last_failure"]
LIST_KEYS = ["id", "seq", "kind", "state", "time", "topic", "attempts", "reason"]


def test_list(device):
    device.event("cpu")
    device.event("memory", monit={})
    lines = device.status("list").ended(0).out.splitlines()
    assert len(device.list()) == 2
    for item in device.list():
        assert sum(item["id"] in line and item["topic"] in line for line in lines) == 1


def test_list_json(device):
    device.event("cpu")
    item = device.list()[0]
    assert list(item) == LIST_KEYS
    assert re.fullmatch(RFC3339, item.pop("time")) and item.pop("id")
    assert item == {"seq": 1, "kind": "event", "state": "pending", "topic": "cpu", "attempts": 0, "reason": None}


def test_list_json_of_a_snapshot(device, upstream):
    upstream.script(default={"status": 503})
    device.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command": "/bin/false"})
    device.flush("--now").ended(LATER)
    item = device.list()[0]
    assert list(item) == LIST_KEYS
    assert (item["kind"], item["topic"], item["attempts"]) == ("snapshot", None, 1)


def test_list_shows_control_characters_escaped(device):
    device.event("to\x1b[31mpic\nline")
    out = device.status("list").ended(0).out
    assert "\x1b" not in out and len([line for line in out.splitlines() if "pending" in line]) == 1
    assert device.list()[0]["topic"] == "to\x1b[31mpic\nline"


@pytest.fixture
def quarantined(enrolled, upstream):
    """Three items, the second in quarantine; upstream refuses everything from now on."""
    ids = enrolled.record(1)
    upstream.script({"body": {"rejected": [{"id": ids[0], "reason": "no"}]}}, default={"status": 503})
    enrolled.flush().ended(0)
    return ids + enrolled.record(2)


@pytest.mark.parametrize("state, expected", [("pending", [2, 3]), ("quarantined", [1])])
def test_list_by_state(enrolled, quarantined, state, expected):
    assert [item["seq"] for item in enrolled.list("--state", state)] == expected
    assert {item["state"] for item in enrolled.list("--state=" + state)} == {state}
    assert [item["seq"] for item in enrolled.list()] == [1, 2, 3]
    out = enrolled.status("list", "--state", state).ended(0).out
    assert [one in out for one in quarantined] == [number in expected for number in (1, 2, 3)]


def test_list_of_an_unknown_state(device):
    assert "--state" in device.status("list", "--state", "sent").ended(USAGE).err
    assert "--state" in device.status("list", "--state").ended(USAGE).err


# -- show

def unique_prefix(name, others):
    for length in range(1, len(name) + 1):
        if not any(other.startswith(name[:length]) for other in others if other != name):
            return name[:length]
    raise AssertionError("two ids are the same")


def test_show(device):
    ids = device.record(3)
    for number, name in enumerate(ids, 1):
        for way in (name, str(number), name[:-1]):
            document = device.show(way)
            assert (document["id"], document["seq"], document["params"]) == (name, number, {"n": str(number - 1)})


def test_show_by_a_prefix(device):
    ids = device.record(3)
    for name in ids:
        prefix = unique_prefix(name, ids)
        if not prefix.isdigit():
            assert device.show(prefix)["id"] == name


@pytest.mark.parametrize("name", ["4", "0", "-", "ffffffff", "01939f1e-0000-7000-8000-000000000000", "99999999999999999999", "%", "_", "'"])
def test_show_what_is_not_there(device, name):
    device.record(3)
    result = device.status("show", "--", name).ended(1)
    assert result.out == "" and name in result.err


def test_show_what_is_ambiguous(device):
    same = os.path.commonprefix(device.record(3))
    result = device.status("show", same).ended(1)
    assert result.out == "" and same in result.err


@pytest.mark.parametrize("args", [["show"], ["show", "1", "2"], ["drop"], ["list", "1"], ["stats", "1"], ["config", "x"]], ids=str)
def test_a_wrong_number_of_operands(device, args):
    assert device.status(*args).ended(USAGE).err != ""


# -- stats

def test_stats_json(enrolled, upstream):
    enrolled.record(3)
    upstream.script({"status": 503})
    enrolled.flush().ended(LATER)
    stats = enrolled.stats()
    assert list(stats) == STATS_KEYS and list(stats["lost"]) == ["events", "snapshots"]
    assert set(stats["last_failure"]) == {"time", "reason"} and "503" in stats["last_failure"]["reason"]
    assert stats["bytes"] > 0 and 0 <= stats["oldest_pending_seconds"] < 60
    assert (stats["recorded"], stats["pending"], stats["overflow"], stats["last_success"]) == (3, 3, 0, None)


def test_stats_for_a_person(enrolled, upstream):
    enrolled.record(3)
    enrolled.flush().ended(0)
    out = enrolled.status("stats").ended(0).out
    for word in ("recorded", "acknowledged", "pending", "quarantined", "dropped", "lost"):
        assert word in out
    assert enrolled.stats()["spool_id"] in out


def test_the_bytes_are_those_on_disk(enrolled):
    enrolled.record(3)
    stats = enrolled.stats()
    size = sum(len(data) for path, data in enrolled.files().items() if not path.name.endswith("-lock"))
    assert abs(stats["bytes"] - size) < 70000


# -- drop

def test_drop_counts_and_says_what_it_dropped(enrolled, upstream):
    ids = enrolled.record(3)
    out = enrolled.status("drop", ids[1], "3").ended(0).out
    assert ids[1] in out and ids[2] in out and ids[0] not in out
    stats = enrolled.stats()
    assert (stats["recorded"], stats["pending"], stats["dropped"]) == (3, 1, 2)
    enrolled.flush().ended(0)
    assert upstream.requests[0].ids == ids[:1] and upstream.requests[0].body["spool"]["dropped"] == 2
    enrolled.event("cpu")
    assert [item["seq"] for item in enrolled.list()] == [4]


def test_drop_of_a_quarantined_item(enrolled, quarantined):
    enrolled.status("drop", quarantined[0]).ended(0)
    stats = enrolled.stats()
    assert (stats["pending"], stats["quarantined"], stats["dropped"]) == (2, 0, 1)


def test_drop_of_what_is_not_there_changes_nothing(device):
    ids = device.record(2)
    device.status("drop", ids[0], "77").ended(1)
    device.status("drop", os.path.commonprefix(ids)).ended(1)
    assert device.stats()["dropped"] == 0 and len(device.list()) == 2


# -- config

def test_config_shows_every_setting_and_where_it_came_from(device):
    device.configure("https://central.example.com", batch={"max_items": 77})
    out = device.status("config").ended(0).out
    lines = device.config.read_text().splitlines()
    number = lines.index("max_items = 77") + 1
    setting = next(line for line in out.splitlines() if "77" in line)
    assert str(device.config) in setting and re.search(r"\b%d\b" % number, setting)
    for key in ("interval", "compression", "max_bytes", "splay", "initial", "pinned_public_key", "identity_file"):
        assert key in out
    assert "https://central.example.com" in out and "device-1" in out
    assert list(device.spool_folder.iterdir()) == []


def test_config_names_the_identity_file_as_origin(device):
    identity = device.file("device.yml", "id: id-7\nhost: https://central.example.com\n", 0o644)
    device.configure(device={"id": None, "identity_file": identity})
    lines = device.status("config").ended(0).out.splitlines()
    assert any("id-7" in line and str(identity) in line for line in lines)
    assert any("https://central.example.com" in line and str(identity) in line for line in lines)


def test_config_never_shows_a_secret(device):
    files = {name: device.file(name, "hunter2-%s\n" % name) for name in ("token", "password", "proxy")}
    device.configure("https://central.example.com", snapshot={"user": "ro", "password_file": files["password"]}, upstream={
        "auth": "bearer", "token_file": files["token"], "proxy": "http://proxy.example.com:3128", "proxy_user": "u",
        "proxy_password_file": files["proxy"]})
    result = device.status("config").ended(0)
    assert str(files["token"]) in result.out and "hunter2" not in result.out + result.err


def test_the_secret_of_an_argument_is_told_to_nobody(device):
    """What stands in a command line of the configuration is shown to who may read the configuration, but never logged."""
    device.configure("http://127.0.0.1:9", upstream={"auth": "bearer", "token_command": "/bin/false hunter2"})
    device.event("cpu")
    result = device.flush("--now", "-v")
    assert result.status != 0 and "hunter2" not in result.err + device.syslog.text


# -- a spool that is not there, or none

@pytest.mark.parametrize("args, out", [(["list"], None), (["list", "--json"], ""), (["stats"], None), (["stats", "--json"], None)], ids=str)
def test_a_missing_spool_is_an_empty_one(device, args, out):
    result = device.status(*args).ended(0)
    assert result.err == "" and (out is None or result.out == out)
    assert list(device.spool_folder.iterdir()) == []


def test_stats_of_a_missing_spool(device):
    stats = device.stats()
    assert list(stats) == STATS_KEYS
    assert stats["spool_id"] is None and stats["oldest_pending_seconds"] is None and stats["recorded"] == 0


@pytest.mark.parametrize("command", ["show", "drop"])
def test_an_item_of_a_missing_spool(device, command):
    device.status(command, "1").ended(1)
    assert list(device.spool_folder.iterdir()) == []


def test_a_missing_folder_is_an_empty_spool_too(device):
    spool = device.folder / "missing" / "spool.db"
    assert device.run(STATUS, "-c", device.config, "-s", spool, "list", "--json").ended(0).out == ""
    assert device.run(STATUS, "-c", device.config, "-s", spool, "health").ended(0).out == "well: 0 items pending, 0 acknowledged\n"
    for check in ["--check"], []:
        device.run(FLUSH, "-c", device.config, "-s", spool, *check).ended(STORAGE)
    assert not spool.parent.exists()


@pytest.mark.parametrize("command", [["list"], ["stats"], ["stats", "--json"], ["show", "1"], ["drop", "1"]], ids=str)
def test_a_spool_that_is_none(device, command):
    device.spool.write_text("this is no database\n" * 500)
    result = device.status(*command).ended(STORAGE)
    assert str(device.spool) in result.err and device.spool.read_text().startswith("this is no database")


def test_a_spool_that_is_a_folder(device):
    device.spool.mkdir()
    assert str(device.spool) in device.status("list").ended(STORAGE).err


# -- usage

@pytest.mark.parametrize("args, named", [
    ([], ""), (["frobnicate"], "frobnicate"), (["list", "--bogus"], "--bogus"), (["--bogus"], "--bogus"), (["-x", "list"], "-x"),
    (["show", "--state", "pending", "1"], "show"), (["list", "--prometheus"], "list"), (["stats", "--json", "--prometheus"], "--json"),
    (["-c"], "-c"),
], ids=str)
def test_usage(device, args, named):
    result = device.run(STATUS, *args).ended(USAGE)
    assert result.out == "" and result.err != "" and named in result.err


def test_options_may_stand_before_and_behind_the_command(device):
    device.event("cpu")
    device.configure()
    for args in (["--json", "list"], ["list", "--json"]):
        assert json.loads(device.status(*args).ended(0).out)["topic"] == "cpu"
    assert json.loads(device.run(STATUS, "list", "--json", "-c", device.config).ended(0).out)["topic"] == "cpu"


def test_a_full_standard_output_is_an_error(device):
    device.record(3)
    with open("/dev/full", "wb") as full:
        assert device.status("list", stdout=full).status == STORAGE


def test_a_reader_that_leaves_hangs_nobody(device):
    device.record(3)
    reading, writing = os.pipe()
    os.close(reading)
    result = device.status("list", stdout=writing)
    os.close(writing)
    assert result.status != 0


def test_configuration_errors(device):
    device.write_config("[nonsense]\n")
    assert "nonsense" in device.status("list").ended(CONFIG).err
