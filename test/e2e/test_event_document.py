# SPDX-License-Identifier: MIT
"""px-status-event: the document that it makes of Monit's words."""
import csv
import datetime
import json
import os
import re
import time

import pytest

from harness import FIXTURES, RFC3339, UUID_V7

EVERYTHING = {
    "SERVICE": "vm",
    "EVENT": "Resource limit matched",
    "DESCRIPTION": "cpu usage of 99.7% matches resource limit [cpu usage > 80.0%]",
    "HOST": "vm.example.org",
    "DATE": "Sun, 22 Nov 2026 14:55:47",
    "PROCESS_PID": "1",
    "PROCESS_MEMORY": "31644",
    "PROCESS_CHILDREN": "26",
    "PROCESS_CPU_PERCENT": "0.1",
    "PROGRAM_STATUS": "3",
}


def test_every_variable_of_monit(device):
    before = time.time()
    document = device.document("cpu", "KEY=VALUE", "-m", "a text", monit=EVERYTHING)
    after = time.time()
    assert document["topic"] == "cpu"
    assert document["message"] == "a text"
    assert document["params"] == {"KEY": "VALUE"}
    assert document["monit"] == {
        "service": "vm", "event": "Resource limit matched", "category": "resource", "state": "failed",
        "description": EVERYTHING["DESCRIPTION"], "host": "vm.example.org", "date": "Sun, 22 Nov 2026 14:55:47",
    }
    assert document["measurement"] == {"name": "cpu usage", "value": 99.7, "unit": "%", "operator": ">", "limit": 80.0}
    assert document["process"] == {"pid": 1, "memory_kb": 31644, "children": 26, "cpu_percent": 0.1}
    assert document["program"] == {"status": 3}
    assert re.fullmatch(UUID_V7, document["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document["time"])
    happened = datetime.datetime.fromisoformat(document["time"].replace("Z", "+00:00")).timestamp()
    assert before - 0.01 <= happened <= after + 0.01
    assert int(document["id"].replace("-", "")[:12], 16) == round(happened * 1000)
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as source:
        assert document["boot_id"] == source.read().strip()
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME) * 1000
    assert isinstance(document["uptime_ms"], int) and uptime - 10000 < document["uptime_ms"] <= uptime
    assert "problems" not in document


def test_what_monit_does_not_give_is_absent(device):
    document = device.document("cpu")
    assert not {"monit", "measurement", "process", "program", "problems", "message", "seq"} & set(document)
    assert set(document) - {"params"} == {"id", "time", "boot_id", "uptime_ms", "topic"}


@pytest.mark.parametrize("name, value, block, member", [
    ("PROCESS_PID", "-1", "process", "pid"),
    ("PROCESS_MEMORY", "-1", "process", "memory_kb"),
    ("PROCESS_CHILDREN", "-1", "process", "children"),
    ("PROCESS_CPU_PERCENT", "-1.0", "process", "cpu_percent"),
    ("PROCESS_CPU_PERCENT", "-1", "process", "cpu_percent"),
    ("PROGRAM_STATUS", "-1", "program", "status"),
    ("PROCESS_PID", None, "process", "pid"),
    ("PROGRAM_STATUS", None, "program", "status"),
    ("DESCRIPTION", None, "monit", "description"),
    ("HOST", None, "monit", "host"),
    ("DATE", None, "monit", "date"),
    ("SERVICE", None, "monit", "service"),
])
def test_a_field_that_monit_does_not_know_is_absent(device, name, value, block, member):
    document = device.document("cpu", monit={**EVERYTHING, name: value})
    assert member not in document.get(block, {})
    assert document.get(block, {"absent": 1}) != {}


@pytest.mark.parametrize("name", ["DESCRIPTION", "HOST", "DATE", "SERVICE", "PROCESS_PID", "PROGRAM_STATUS"])
def test_an_empty_variable_is_absent(device, name):
    document = device.document("cpu", monit={**EVERYTHING, name: ""})
    assert "" not in document["monit"].values()
    assert None not in document["monit"].values()
    assert {} not in document.values()


def test_memory_zero_is_a_number(device):
    assert device.document("cpu", monit={"PROCESS_MEMORY": "0"})["process"] == {"memory_kb": 0}


@pytest.mark.parametrize("value", ["abc", "12x", "99999999999999999999999", "0x10", " "])
def test_a_number_that_is_none_costs_no_event(device, value):
    document = device.document("cpu", monit={**EVERYTHING, "PROCESS_PID": value})
    assert "pid" not in document["process"] and document["process"]["children"] == 26


@pytest.mark.parametrize("event", ["No Event", ""])
def test_no_event_leaves_event_category_and_state_out(device, event):
    monit = device.document("cpu", monit={**EVERYTHING, "EVENT": event})["monit"]
    assert set(monit) == {"service", "description", "host", "date"}


def events_of_monit():
    meanings = {}
    with open(FIXTURES / "events.tsv", encoding="utf-8", newline="") as source:
        for row in csv.DictReader(source, delimiter="\t"):
            meanings.setdefault(row["monit_event_text"], []).append((row["category"], row["state"]))
    for text in ("Existence changed", "Existence not changed"):
        meanings[text] = [("exist", state) for category, state in meanings[text] if category == "exist"]
    meanings["Action done"] = [("action", "unknown")]
    for text in ("Started", "Stopped", "Restarted"):
        if text in meanings:
            meanings[text] = [(meanings[text][0][0], "unknown")]
    meanings.pop("No Event", None)
    return meanings


def test_every_event_of_monit_has_its_category_and_state(device):
    wrong = []
    meanings = events_of_monit()
    assert len(meanings) > 200
    for text, expected in meanings.items():
        monit = device.document("x", monit={"EVENT": text})["monit"]
        if (monit["category"], monit["state"]) not in expected or monit["event"] != text:
            wrong.append((text, expected, monit))
    assert wrong == []


@pytest.mark.parametrize("text, state", [
    ("Started", "unknown"), ("Stopped", "unknown"), ("Restarted", "unknown"),
])
def test_what_start_and_stop_programs_say(device, text, state):
    assert device.document("x", monit={"EVENT": text})["monit"]["state"] == state


@pytest.mark.parametrize("text, state", [
    ("Gizmo failed", "failed"), ("Gizmo limit matched", "failed"), ("Gizmo bytes exceeded", "failed"),
    ("Gizmo error", "failed"), ("Gizmo down", "failed"),
    ("Gizmo succeeded", "succeeded"), ("Gizmo ok", "succeeded"), ("Gizmo up", "succeeded"), ("Gizmo recovery", "succeeded"),
    ("Gizmo changed", "changed"), ("Gizmo match", "changed"),
    ("Gizmo not changed", "not_changed"), ("Gizmo doesn't match", "not_changed"),
    ("Gizmo wobbles", "unknown"),
])
def test_an_event_that_is_not_known(device, text, state):
    monit = device.document("x", monit={"EVENT": text})["monit"]
    assert (monit["event"], monit["category"], monit["state"]) == (text, "unknown", state)


@pytest.mark.parametrize("description, expected", [
    ("cpu usage of 99.7% matches resource limit [cpu usage > 80.0%]",
     {"name": "cpu usage", "value": 99.7, "unit": "%", "operator": ">", "limit": 80.0}),
    ("total mem amount of 1.6 MB matches resource limit [total mem amount > 1 kB]",
     {"name": "total mem amount", "value": 1677722, "unit": "B", "operator": ">", "limit": 1024}),
    ("loadavg (1min) of 1.4 matches resource limit [loadavg (1min) > 0.0]",
     {"name": "loadavg (1min)", "value": 1.4, "operator": ">", "limit": 0.0}),
    ("space usage 7.9% matches resource limit [space usage > 1.0%]",
     {"name": "space usage", "value": 7.9, "unit": "%", "operator": ">", "limit": 1.0}),
    ("swap usage of 12.5% matches resource limit [swap usage > 10.0%]",
     {"name": "swap usage", "value": 12.5, "unit": "%", "operator": ">", "limit": 10.0}),
    ("inode usage 91.0% matches resource limit [inode usage > 90.0%]",
     {"name": "inode usage", "value": 91.0, "unit": "%", "operator": ">", "limit": 90.0}),
], ids=lambda value: value if isinstance(value, str) else "")
def test_the_measurement_in_a_description(device, description, expected):
    measured = device.document("x", monit={"EVENT": "Resource limit matched", "DESCRIPTION": description})["measurement"]
    measured = {key: round(value) if expected.get("unit") == "B" and key in ("value", "limit") else value
                for key, value in measured.items()}
    assert measured == expected


@pytest.mark.parametrize("description", [
    "checksum changed to 4a8f09f5cc5d456f23ab27a8447b66e3f4955123", "process is not running", "", "100%",
    "content match:\nERR cpu usage of x% matches [cpu usage > y%]",
    "failed protocol test [DEFAULT] at [127.0.0.1]:1 [TCP/IP] -- Connection refused",
])
def test_a_description_without_a_measurement(device, description):
    assert "measurement" not in device.document("x", monit={"EVENT": "Size failed", "DESCRIPTION": description})


# -- bytes of all kinds

def test_a_description_of_100_kb_is_cut_and_said_to_be(device):
    device.event("cpu", monit={"DESCRIPTION": "x" * 102400})
    document = device.only_document()
    assert document["monit"]["description"] == "x" * 4096
    assert any("description" in problem.lower() for problem in document["problems"])


@pytest.mark.parametrize("args, monit, member", [
    (["cpu", "-m", "m" * 5000], None, "message"),
    (["cpu", "key=" + "v" * 5000], None, "key"),
    (["t" * 5000], None, "topic"),
    (["cpu"], {"SERVICE": "s" * 5000}, "service"),
    (["cpu"], {"HOST": "h" * 5000}, "host"),
    (["cpu"], {"EVENT": "E" * 5000}, "event"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_long_value_is_cut_and_named(device, args, monit, member):
    document = device.document(*args, monit=monit)
    values = {**document, **document.get("params", {}), **document.get("monit", {})}
    assert len(values[member].encode()) == 4096
    assert any(member in problem.lower() for problem in document["problems"])


def test_a_value_of_exactly_4096_bytes_is_whole(device):
    document = device.document("cpu", "a=" + "v" * 4096)
    assert document["params"]["a"] == "v" * 4096 and "problems" not in document


def test_a_cut_falls_between_characters(device):
    value = device.document("cpu", "a=" + "€" * 3000)["params"]["a"]
    assert value == "€" * (4096 // 3)


def test_a_document_stays_within_65536_bytes(device):
    args = ["k%02d=%s" % (number, "v" * 4096) for number in range(60)]
    device.event("cpu", *args, monit=EVERYTHING)
    line = device.status("show", "1").ended(0).out.strip()
    assert len(line.encode()) <= 65536
    document = json.loads(line)
    assert len(document["params"]) == 60 and document["monit"]["service"] == "vm"
    assert any("k00" in problem for problem in document["problems"])


def test_a_document_of_control_characters_stays_within_65536_bytes(device):
    args = ["k%02d=%s" % (number, "\x01" * 4096) for number in range(10)]
    device.event("cpu", *args)
    line = device.status("show", "1").ended(0).out.strip()
    assert len(line.encode()) <= 65536 and len(json.loads(line)["params"]) == 10


def test_bytes_that_are_not_utf8_become_the_replacement_character(device):
    device.event(b"to\xffpic", b"a=\xc3\x28\xed\xa0\x80", "-m", b"\xf0\x9f\x98", monit={"SERVICE": b"s\x80", "DESCRIPTION": b"\xc0\xaf"})
    out = device.status("show", "1").ended(0).out
    document = json.loads(out)
    assert document["topic"] == "to\ufffdpic"
    assert document["monit"]["service"] == "s\ufffd"
    for text in (document["params"]["a"], document["message"], document["monit"]["description"]):
        assert "\ufffd" in text
    assert document["params"]["a"][:2] == "\ufffd("


def test_the_cut_is_of_cleaned_bytes(device):
    value = device.document("cpu", b"a=" + b"\xff" * 3000)["params"]["a"]
    assert value == "\ufffd" * (4096 // 3)


def test_control_characters_are_escaped_and_kept(device):
    text = "bell \x07 escape \x1b[31m nothing \x7f line\r\n\ttab"
    out = device.event("-n", "cpu", monit={"DESCRIPTION": text}).out
    assert json.loads(out)["monit"]["description"] == text
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", out)


def test_names_that_look_like_json(device):
    document = device.document('cpu","x":"', 'a="},{"', monit={"SERVICE": '"\\', "DESCRIPTION": "</script>\\u0000"})
    assert document["topic"] == 'cpu","x":"' and document["params"] == {"a": '"},{"'}
    assert document["monit"]["service"] == '"\\' and document["monit"]["description"] == "</script>\\u0000"


def test_the_stored_document_is_that_of_the_dry_run_and_a_seq(device):
    dry = device.document("cpu", "a=1", "-m", "x", monit=EVERYTHING)
    device.event("cpu", "a=1", "-m", "x", monit=EVERYTHING)
    stored = device.only_document()
    assert set(stored) - set(dry) == {"seq"} and stored["seq"] == 1
    for changing in ("id", "time", "uptime_ms", "seq"):
        dry.pop(changing, None)
        stored.pop(changing)
    assert stored == dry


def test_time_is_utc_whatever_the_zone(device):
    there = device.document("cpu", env={"TZ": "Pacific/Kiritimati"})["time"]
    here = datetime.datetime.now(datetime.timezone.utc)
    assert re.fullmatch(RFC3339, there)
    assert abs(datetime.datetime.fromisoformat(there.replace("Z", "+00:00")) - here) < datetime.timedelta(seconds=10)


def test_an_environment_near_its_limit(device):
    """One string of an environment is 128 KiB at most."""
    monit = {"DESCRIPTION": "d" * 131000, "SERVICE": "s" * 131000}
    document = device.document("cpu", "a=" + "v" * 131000, monit=monit)
    assert len(document["monit"]["description"]) == len(document["params"]["a"]) == 4096


@pytest.mark.parametrize("locale", ["C", "de_DE.UTF-8", "tr_TR.UTF-8"])
def test_the_locale_changes_nothing(device, locale):
    document = device.document("cpu", "ü=1", monit=EVERYTHING, env={"LC_ALL": locale, "LANG": locale})
    assert document["measurement"]["value"] == 99.7 and document["process"]["cpu_percent"] == 0.1
    assert os.linesep not in document["time"]
