# SPDX-License-Identifier: MIT
"""share/schema/openapi.yaml: what developers of upstream are told of replies, held against itself and the flush."""
import datetime
import functools
import json
import re
import urllib.parse

import jsonschema
import pytest
import yaml

from harness import CONFIG, exactly_once
import wire


@functools.lru_cache(maxsize=None)
def api():
    return yaml.safe_load((wire.SCHEMA_FOLDER / "openapi.yaml").read_text(encoding="utf-8"))


def at_pointer(document, pointer):
    for part in filter(None, pointer.split("/")):
        part = urllib.parse.unquote(part).replace("~1", "/").replace("~0", "~")
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def target(reference):
    """What a $ref of the OpenAPI document means."""
    file, _, pointer = reference.partition("#")
    document = api() if not file else json.loads((wire.SCHEMA_FOLDER / file).read_text(encoding="utf-8"))
    return at_pointer(document, pointer)


def walk(node):
    yield node
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from walk(part)


def valid(schema, value):
    if schema.get("$ref") == "batch.schema.json":
        return wire.fault(value) is None
    while "$ref" in schema:
        schema = target(schema["$ref"])
    return jsonschema.Draft202012Validator(schema).is_valid(value)


def test_the_document_of_the_endpoint():
    document = api()
    assert document["openapi"].startswith("3.1.") and document["info"]["title"] and document["info"]["version"]
    references = [node["$ref"] for node in walk(document) if isinstance(node, dict) and "$ref" in node]
    assert "batch.schema.json" in references
    for reference in references:
        assert isinstance(target(reference), dict)
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    known = set(document["components"]["securitySchemes"])
    assert {name for choice in document["security"] for name in choice} == known
    [operation] = [part[method] for part in document["paths"].values() for method in part if method == "post"]
    for number, reply in operation["responses"].items():
        assert re.fullmatch(r"[2-5](XX|[0-9]{2})", number) and reply["description"].strip()


def test_its_examples_are_valid():
    found = 0
    for node in walk(api()):
        if not (isinstance(node, dict) and isinstance(node.get("schema"), dict)):
            continue
        examples = [example["value"] for example in node.get("examples", {}).values()]
        for example in examples + ([node["example"]] if "example" in node else []):
            assert valid(node["schema"], example), example
            found += 1
    problem = api()["components"]["schemas"]["Problem"]
    assert all(valid(problem, example) for example in problem["examples"])
    assert found >= 6


def test_the_request_is_as_it_says(enrolled, upstream):
    enrolled.record(1)
    enrolled.flush().ended(0)
    [(path, _)] = api()["paths"].items()
    [request] = upstream.requests
    assert request.path == path
    for parameter in api()["paths"][path]["post"]["parameters"]:
        assert valid(parameter["schema"], request.header(parameter["name"])), parameter["name"]
    assert request.header("Content-Type") in api()["paths"][path]["post"]["requestBody"]["content"]


RESPONSES = api()["paths"]["/api/v1/devices/stats"]["post"]["responses"]
STANDS_FOR = {"2XX": 299, "3XX": 302, "4XX": 404, "5XX": 599}


@pytest.mark.parametrize("number", RESPONSES)
def test_a_reply_means_what_it_says(enrolled, upstream, number):
    """Retry-After too: it counts where the document names it, and nowhere else."""
    told, status = RESPONSES[number]["x-device"], STANDS_FOR.get(number) or int(number)
    ids = enrolled.record(4)
    reply = {"status": status, "headers": {"Retry-After": "3000"}}
    upstream.script({"acknowledged": lambda request: reply, "kept": lambda request: reply,
                     "halved": lambda request: reply if ids[2] in request.ids else {},
                     "plain": lambda request: reply if request.header("Content-Encoding") else {}}[told["items"]])
    enrolled.flush("--now").ended(told["exit"])
    kept = {"kept": ids, "halved": [ids[2]]}.get(told["items"], [])
    state = "pending" if told["items"] == "kept" else "quarantined"
    assert [(item["id"], item["state"]) for item in enrolled.list()] == [(name, state) for name in kept]
    exactly_once(upstream, [name for name in ids if name not in kept])
    if told["items"] == "halved":   # but where everything is refused, nothing is blamed
        enrolled.record(1)
        upstream.script(lambda request: reply)
        enrolled.flush("--now").ended(CONFIG)
        assert enrolled.stats()["pending"] == 1
    heeded = "Retry-After" in RESPONSES[number].get("headers", {})
    assert waits_s(enrolled) > 2900 if heeded else waits_s(enrolled) <= 1


def waits_s(device):
    """How long the next flush is held back; the back-off alone is a second at most."""
    next_try, now = device.stats()["next_try"], device.document()["time"]
    return (moment(next_try) - moment(now)).total_seconds() if next_try is not None else 0


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
