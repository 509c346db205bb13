# SPDX-License-Identifier: MIT
"""What upstream is told it will get: the schema of share/schema, and whether what is posted keeps to it."""
import functools
import json
import pathlib

import jsonschema

SCHEMA_FOLDER = pathlib.Path(__file__).resolve().parents[2] / "share" / "schema"
BATCH = SCHEMA_FOLDER / "batch.schema.json"

# Of a larger array only so many items are looked at: its first and last ones, and some between. Thousands of events
# that one loop recorded are alike, and each takes a millisecond.
SAMPLE = 24


@functools.lru_cache(maxsize=None)
def schema():
    return json.loads(BATCH.read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=None)
def validator(name=None):
    """For a whole batch, or for what ${name} of its $defs describes."""
    whole = schema()
    part = whole if name is None else {"$defs": whole["$defs"], "$ref": "#/$defs/" + name}
    return jsonschema.Draft202012Validator(part)


def fault(document, name=None):
    """What is wrong with ${document}, None when nothing is."""
    worst = jsonschema.exceptions.best_match(validator(name).iter_errors(document))
    return worst and "%s: %s" % (worst.json_path, worst.message[:500])


def sample(items):
    if len(items) <= SAMPLE:
        return items
    step = len(items) / (SAMPLE - 2)
    between = [items[int(number * step)] for number in range(SAMPLE - 2)]
    return between + items[-2:]


def fault_of_request(request):
    """What is wrong with a POST that an upstream got, None when nothing is. A test may have changed the request's body."""
    if not isinstance(request.body, dict):
        return "the body is not a JSON object: %r" % request.raw[:200]
    body = json.loads(request.text)
    small = {**body, **{key: sample(body[key]) for key in ("events", "stats") if isinstance(body.get(key), list)}}
    return fault(small)
