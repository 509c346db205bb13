# SPDX-License-Identifier: MIT
"""share/schema/batch.schema.json: what developers of upstream are told of bodies, held against itself and the programs."""
import copy
import csv
import functools
import json
import os
import re
import subprocess

import jsonschema
import pytest

from harness import FIXTURES, ROOT
import wire

ID = "01939f1e-7c1b-7a52-9d0e-3f0d5c1b2a49"
SNAPSHOTS = sorted((FIXTURES / "status").glob("*.json"))
META = ("type", "const", "enum", "anyOf", "oneOf", "$ref")


def schemas(node, where="$"):
    """Every schema in the file, with its place."""
    yield where, node
    for key in ("properties", "patternProperties", "$defs"):
        for name, part in node.get(key, {}).items():
            if isinstance(part, dict):
                yield from schemas(part, "%s.%s" % (where, name))
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from schemas(node[key], "%s.%s" % (where, key))
    for number, part in enumerate(node.get("anyOf", []) if "type" not in node else []):
        yield from schemas(part, "%s.anyOf[%d]" % (where, number))


ALL = list(schemas(wire.schema()))


def resolved(schema):
    while "$ref" in schema:
        schema = wire.schema()["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


# -- the schema by itself

def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(wire.schema())
    assert wire.schema()["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]


def test_every_property_is_described():
    assert len(ALL) > 150
    bare = [place for place, schema in ALL for name, part in schema.get("properties", {}).items()
            if isinstance(part, dict) and not (part.get("description") or resolved(part).get("description"))]
    assert bare == []
    assert [name for name, part in wire.schema()["$defs"].items() if not part.get("description")] == []


def test_every_object_says_what_else_may_be_in_it():
    """Keys that px-status(7) names are all that there are; where they are free, their form and their values are told."""
    def is_closed(schema):
        more = schema.get("additionalProperties")
        return more is False or (isinstance(more, dict) and "propertyNames" in schema)

    assert [place for place, schema in ALL if schema.get("type") == "object" and "anyOf" not in schema and not is_closed(schema)] == []


def test_every_value_has_a_type():
    assert [place for place, schema in ALL if not any(key in schema for key in META)] == []


def test_every_example_is_valid():
    examples = [(place, schema, example) for place, schema in ALL for example in schema.get("examples", [])]
    assert len(examples) >= 30
    for place, schema, example in examples:
        part = {**schema, "$defs": wire.schema()["$defs"]}
        jsonschema.Draft202012Validator(part).validate(example)


def test_every_typed_form_has_an_example():
    """Which no other form takes, so that a receiver can tell them apart by their keys."""
    forms = [part["$ref"].rpartition("/")[2] for part in wire.schema()["$defs"]["value"]["anyOf"][-1]["anyOf"]]
    assert len(forms) == 19
    for form in forms:
        for example in wire.schema()["$defs"][form]["examples"]:
            assert [other for other in forms if wire.fault(example, other) is None] == [form]


# -- is it strict?

ALWAYS = {
    "": "version sent_at uptime_ms device spool events stats",
    "device": "id name",
    "spool": "id recorded acknowledged pending quarantined dropped lost",
    "spool.lost": "events snapshots",
    "spool.last_quarantined": "id reason time",
    "spool.replaces": "id recorded acknowledged",
    "events.0": "id seq time uptime_ms topic",
    "events.0.measurement": "name value",
    "events.0.program": "status",
    "stats.0": "id seq time uptime_ms monit",
    "stats.0.monit": "reachable",
    "stats.0.summary": "total ok failed unmonitored initializing waiting",
    "stats.0.services.0": "type name state status values",
    "stats.0.services.1.values.port_response_time.0": "milliseconds",
}


# These are there or not together with others; test_what_belongs_together has them.
DEPENDENT = {"events.0.measurement": {"operator", "limit"}, "stats.0": {"summary", "services"},
             "stats.0.services.1.values.port_response_time.0": {"protocol"}}


@pytest.mark.parametrize("place", ALWAYS)
def test_what_is_always_there(place):
    """And nothing else has to be: what is not known is absent."""
    path = tuple(int(key) if key.isdigit() else key for key in place.split(".") if key)
    document = wire.schema()["examples"][0]
    part = functools.reduce(lambda node, key: node[key], path, document)
    needed = {key for key in part
              if wire.fault(changed(document, path, lambda old, key=key: {name: old[name] for name in old if name != key}))}
    assert needed == set(ALWAYS[place].split()) | DEPENDENT.get(place, set())


def places(schema, value, path=()):
    """Every value of a valid document, with its path and the schema that says most of it."""
    schema = resolved(schema)
    yield path, schema, value
    if isinstance(value, dict):
        for key, part in value.items():
            below = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            if isinstance(below, dict) and "anyOf" not in below:
                yield from places(below, part, path + (key,))
    elif isinstance(value, list) and "items" in schema:
        for number, part in enumerate(value):
            yield from places(schema["items"], part, path + (number,))


def changed(document, path, change):
    """A copy of ${document} whose value at ${path} is what ${change} makes of it."""
    whole = {"": copy.deepcopy(document)}
    *way, last = ("",) + path
    at = functools.reduce(lambda node, key: node[key], way, whole)
    at[last] = change(at[last])
    return whole[""]


OTHERS = {"object": {}, "array": [], "string": "", "number": 0.5, "boolean": True, "null": None}


def mutations(schema, value):
    """What must not stand in the place of ${value}: pairs of a name and a function."""
    for key in schema.get("required", []):
        yield "no " + key, lambda old, key=key: {name: part for name, part in old.items() if name != key}
    if schema.get("additionalProperties") is False and "patternProperties" not in schema:
        yield "one more", lambda old: {**old, "one_more": 1}
    own = schema.get("type", "string" if "enum" in schema else "integer" if "const" in schema else None)
    for kind, other in OTHERS.items():
        if own is not None and kind != own:
            yield "a %s" % kind, lambda old, other=other: other
    if "enum" in schema:
        yield "no such word", lambda old: "no such word"
        yield "upper case", lambda old: old.upper() if old != old.upper() else old + old
    if "pattern" in schema:
        yield "more in front", lambda old: "x" + old
        yield "more behind", lambda old: old + "x"
    if schema.get("minLength", 0) > 0:
        yield "empty", lambda old: ""
    if "minimum" in schema:
        yield "less", lambda old: schema["minimum"] - 1
    if schema.get("minItems", 0) > 0:
        yield "no items", lambda old: []
    if schema.get("minProperties", 0) > 0:
        yield "no members", lambda old: {}


def test_what_is_not_right_is_refused():
    document = wire.schema()["examples"][0]
    survivors, count = [], 0
    for path, schema, value in places(wire.schema(), document):
        for name, change in mutations(schema, value):
            count += 1
            if wire.fault(changed(document, path, change)) is None:
                survivors.append((path, name))
    assert survivors == []
    assert count > 400


def batch(event=None, snapshots=None, **spool):
    """A valid batch, its event, its snapshots or its spool changed."""
    document = copy.deepcopy(wire.schema()["examples"][0])
    document["spool"].update(spool)
    if event is not None:
        event(document["events"][0])
    if snapshots is not None:
        snapshots(document["stats"])
    return document


def drop(name):
    return lambda part: part.pop(name)


def put(*path_and_value):
    *path, last, value = path_and_value

    def change(part):
        functools.reduce(lambda node, key: node[key], path, part)[last] = value
    return change


NIL = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("document", [
    batch(lambda event: event["monit"].pop("category")),
    batch(lambda event: event["monit"].pop("state")),
    batch(lambda event: event["monit"].pop("event")),
    batch(lambda event: event["measurement"].pop("limit")),
    batch(lambda event: event["measurement"].pop("operator")),
    batch(put("params", "a b", "")),
    batch(put("params", "a" * 65, "")),
    batch(put("params", "a", None)),
    batch(put("params", "a", "x" * 4097)),
    batch(put("id", "01939f1e-7c1b-4a52-9d0e-3f0d5c1b2a49")),
    batch(put("id", ID.upper())),
    batch(put("time", "2026-11-22T14:55:47Z")),
    batch(put("time", "2026-11-22T14:55:47.123+00:00")),
    batch(put("seq", 0)),
    batch(put("services", [])),
    batch(snapshots=put(0, "topic", "cpu")),
    batch(snapshots=lambda stats: stats[0].pop("services")),
    batch(snapshots=lambda stats: stats[0].pop("summary")),
    batch(snapshots=put(0, "monit", "error", "why")),
    batch(snapshots=put(1, "services", [])),
    batch(snapshots=put(1, "summary", wire.schema()["examples"][0]["stats"][0]["summary"])),
    batch(snapshots=lambda stats: stats[1]["monit"].pop("error")),
    batch(snapshots=put(1, "monit", "version", "5.33.0")),
    batch(snapshots=put(0, "services", 1, "failures", ["x"])),
    batch(snapshots=put(0, "services", 0, "failures", [])),
    batch(snapshots=put(0, "services", 0, "failures", "x")),
    batch(snapshots=put(0, "services", 0, "type", "Remote Host")),
    batch(snapshots=put(0, "services", 0, "values", "status", "OK")),
    batch(snapshots=put(0, "services", 0, "values", "Memory", 1)),
    batch(snapshots=put(0, "services", 0, "values", "memory usage", 1)),
    batch(snapshots=put(0, "services", 0, "values", "memory", {"bytes": 1, "percent": 1, "limit": 1})),
    batch(snapshots=put(0, "services", 0, "values", "memory", {"bytes": 1.5})),
    batch(snapshots=put(0, "services", 0, "values", "memory", {"bytes": "1"})),
    batch(snapshots=put(0, "services", 0, "values", "memory", {})),
    batch(snapshots=put(0, "services", 0, "values", "memory", True)),
    batch(snapshots=put(0, "services", 0, "values", "memory", [{"bytes": 1}])),
    batch(snapshots=put(0, "services", 0, "values", "load_average", [1, 2, True])),
    batch(snapshots=put(0, "services", 0, "values", "port_response_time", {"milliseconds": 1})),
    batch(snapshots=put(0, "services", 0, "values", "port_response_time", [])),
    batch(snapshots=put(0, "services", 0, "values", "unix_socket_response_time", None)),
    batch(snapshots=put(0, "services", 0, "values", "ping", {"milliseconds": 1, "target": "h"})),
    batch(snapshots=put(0, "services", 0, "values", "ping", {"milliseconds": 1, "certificate_days": 1, "protocol": "HTTP"})),
    batch(snapshots=put(0, "services", 0, "values", "ping", {"failed": False, "target": "h", "type": "TCP", "protocol": "HTTP"})),
    batch(snapshots=put(0, "services", 0, "values", "last_output", 7)),
    batch(snapshots=put(0, "services", 0, "values", "permission", 644)),
    batch(snapshots=put(0, "services", 0, "values", "filesystem_flags", {"bytes": 1})),
    batch(id=NIL), batch(id="x"), batch(recorded=-1), batch(pending=1.5), batch(lost={"events": 0}), batch(last_quarantined=None),
    batch(replaces={"id": NIL, "recorded": 1}), {}, [], None,
], ids=lambda document: "")
def test_what_belongs_together(document):
    """Members that stand and fall with others, and forms that no value has."""
    assert wire.fault(batch()) is None
    assert wire.fault(document) is not None


@pytest.mark.parametrize("document", [
    batch(drop("monit")), batch(drop("measurement")), batch(drop("message")), batch(drop("params")), batch(drop("boot_id")),
    batch(put("params", "a", "")), batch(put("message", "")),
    batch(lambda event: event["measurement"].pop("unit")),
    batch(snapshots=lambda stats: stats[0]["monit"].pop("version")),
    batch(snapshots=put(0, "services", [])),
    batch(snapshots=put(0, "services", 0, "values", {})),
    batch(snapshots=put(0, "services", 0, "type", "service_of_tomorrow")),
    batch(snapshots=put(0, "services", 0, "values", "memory", [{"bytes": 1}, None])),
    batch(snapshots=put(0, "services", 0, "values", "last_output", ["7", None])),
], ids=lambda document: "")
def test_what_may_be(document):
    assert wire.fault(document) is None


# -- what the programs make

@pytest.mark.parametrize("path", SNAPSHOTS, ids=lambda path: path.stem)
def test_the_snapshots_of_real_monits(path):
    snapshot = {"id": ID, "seq": 1, **json.loads(path.read_text(encoding="utf-8"))}
    assert wire.fault(snapshot, "snapshot") is None


def test_real_monits_reach_upstream(enrolled, upstream, posted):
    """From Monit's text to a body, one way for all; each body is looked at when the test is over."""
    texts = sorted((FIXTURES / "status").glob("*.txt"))
    for number, path in enumerate(texts):
        monit = enrolled.monit_that_prints(path.read_bytes(), "monit-%d" % number)
        enrolled.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command": monit})
        enrolled.flush("--now").ended(0)
    snapshots = [snapshot for request in posted for snapshot in request.body["stats"]]
    assert len(snapshots) == len(texts) == len(SNAPSHOTS) and all(snapshot["monit"]["reachable"] for snapshot in snapshots)


def test_a_type_that_nobody_knows_reaches_upstream(enrolled, upstream, posted):
    """The body is looked at when the test is over."""
    text = "Monit 7.0 uptime: 3m\n\nOther Thing 'x'\n  status                       OK\n  cpu                          1.0%\n\n"
    monit = enrolled.monit_that_prints(text.encode(), "monit-7")
    enrolled.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command": monit})
    enrolled.flush("--now").ended(0)
    services = [service for request in posted for item in request.body["stats"] for service in item["services"]]
    assert services == [{"type": "other_thing", "name": "x", "state": "ok", "status": "OK", "values": {"cpu": {"percent": 1.0}}}]


def events_of_monit():
    with open(FIXTURES / "events.tsv", encoding="utf-8", newline="") as source:
        return list(csv.DictReader(source, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_the_categories_are_those_of_the_table():
    told = wire.schema()["$defs"]["event_monit"]["properties"]
    rows = events_of_monit()
    assert told["category"]["enum"] == sorted({row["category"] for row in rows} - {"null"} | {"unknown"})
    assert set(told["state"]["enum"]) == {"failed", "succeeded", "changed", "not_changed", "unknown"}


def test_every_name_of_an_event(device):
    texts = sorted({row["monit_event_text"] for row in events_of_monit()}) + ["", "Something new failed"]
    assert len(texts) > 200
    faults = {}
    for text in texts:
        event = device.document(monit={"EVENT": text, "SERVICE": "vm", "DESCRIPTION": "cpu usage of 99.7% matches resource limit "
                                       "[cpu usage > 80.0%]", "PROCESS_PID": "7", "PROGRAM_STATUS": "3"})
        faults[text] = wire.fault({**event, "seq": 1}, "event")
    assert {text: fault for text, fault in faults.items() if fault} == {}


def test_dry_runs_and_exports(enrolled):
    enrolled.event("cpu", "a=", "a=2", "-m", "", monit={"SERVICE": "vm", "BOGUS": "x"})
    broken = {"DESCRIPTION": "\udcff\x1b", "PROCESS_PID": "-1", "PROCESS_MEMORY": "7"}
    enrolled.event("x" * 5000, "bad\xffvalue=1", "\x01", monit=broken)
    enrolled.event()
    [body] = map(json.loads, enrolled.flush("--dry-run").ended(0).out.splitlines())
    assert len(body["events"]) == 3 and wire.fault(body) is None
    exported = [json.loads(line)["item"] for line in enrolled.status("export").ended(0).out.splitlines()]
    assert [wire.fault(item, "event") for item in exported] == [None] * 3


# -- where to find it

def test_it_is_installed():
    """And removed, with its folder."""
    def steps(target):
        return subprocess.run(["make", "-n", target, "DESTDIR=/somewhere", "PREFIX=/usr"], cwd=ROOT, env={"PATH": os.environ["PATH"]},
                              check=True, capture_output=True, text=True).stdout

    install, uninstall = steps("install"), steps("uninstall")
    assert {path.name for path in wire.SCHEMA_FOLDER.iterdir()} == {"batch.schema.json", "openapi.yaml"}
    for path in [*wire.SCHEMA_FOLDER.iterdir(), ROOT / "share" / "examples" / "receiver.py"]:
        place = "/somewhere/usr/share/px-status/%s" % path.parent.name
        assert str(path.relative_to(ROOT)) in install and place in install
        assert "%s/%s" % (place, path.name) in uninstall
        assert place in uninstall.split("rmdir")[0].split("for dir in")[-1]


# -- the manual page

def test_the_documents_of_the_page():
    """As they stand there, but for the breaks of lines and what it leaves out."""
    page = (ROOT / "man" / "px-status.7").read_text(encoding="utf-8")
    blocks = [json.loads(re.sub(r"\n\s+", " ", block).replace("[...]", "[]"))
              for block in re.findall(r"^\.Bd -literal.*?\n(\{.*?\})\n\.Ed", page, re.MULTILINE | re.DOTALL) if '"id"' in block]
    kinds = ["event" if "topic" in block else "snapshot" if "monit" in block else None for block in blocks]
    assert sorted(map(str, kinds)) == ["None", "event", "snapshot"]
    assert [wire.fault(block, kind) for block, kind in zip(blocks, kinds)] == [None] * 3
