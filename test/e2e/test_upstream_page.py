# SPDX-License-Identifier: MIT
"""px-status(7), FOR DEVELOPERS OF UPSTREAM: what the page tells them to reckon, reckoned with what the programs send."""
import datetime
import re
import time

import pytest

from harness import LATER, ROOT


class Ledger:
    """Takes batches as the page says: items by id, numbers by spool, and the sums of its section on gaps."""

    def __init__(self):
        self.items = {}
        self.numbers = {}       # by spool, {seq: id}
        self.sums = []          # of each batch: spool, missing, explained

    def take(self, body, rejected=()):
        spool = body["spool"]
        numbers = self.numbers.setdefault(spool["id"], {})
        items = [item for item in body["events"] + body["stats"] if item["id"] not in rejected]
        for item in items:
            assert {**item, "seq": 0} == {**self.items.setdefault(item["id"], item), "seq": 0}
            assert numbers.setdefault(item["seq"], item["id"]) == item["id"]
        missing = spool["recorded"] - len(numbers)
        explained = spool["pending"] - len(items) + spool["quarantined"] + spool["dropped"] + sum(spool["lost"].values())
        assert (missing > explained) == (len(numbers) < spool["acknowledged"] + len(items))
        self.sums.append((spool["id"], missing, explained))


@pytest.fixture
def ledger():
    return Ledger()


def test_gaps_are_explained(enrolled, upstream, ledger):
    """Dropped, rejected, pushed out and waiting items, a reply that was lost, and then a spool in the place of the first."""
    def take(request, reply=None, rejected=()):
        ledger.take(request.body, rejected)
        return reply or {"body": {"rejected": [{"id": name, "reason": "no"} for name in rejected]}}

    enrolled.configure(upstream, spool={"max_items": 6}, batch={"max_items": 2})
    ids = enrolled.record(5)
    enrolled.status("drop", ids[0]).ended(0)
    upstream.script(lambda request: take(request, rejected=[ids[1]] if ids[1] in request.ids else []))
    enrolled.flush("--now").ended(0)
    assert len(ledger.items) == 3 and ledger.sums[-1][1:] == (2, 2)

    for number in range(8):     # six have room; the one in quarantine is the first to go
        enrolled.event("later", "n=%d" % number)
    upstream.script(lambda request: take(request, {"commit": True, "reset": True}))
    enrolled.flush("--now").ended(LATER)
    assert ledger.sums[-1][1] == ledger.sums[-1][2] > 2
    upstream.script(take)
    enrolled.configure(upstream, spool={"max_items": 6}, batch={"max_items": 1})    # the same again in other pieces
    enrolled.flush("--now").ended(0)
    lost = enrolled.stats()["lost"]["events"]
    assert lost > 1 and ledger.sums[-1][1:] == (1 + lost, 1 + lost)
    assert any(missing < explained for _, missing, explained in ledger.sums)    # what came with the lost reply

    first = enrolled.stats()["spool_id"]
    enrolled.event("last")
    enrolled.configure(upstream, device={"id": "device-2"}, spool={"max_items": 6})
    enrolled.flush("--now").ended(0)
    assert {request.body["spool"]["id"] for request in upstream.requests} == {first, enrolled.stats()["spool_id"]}
    assert ledger.sums[-1][0] != first and ledger.sums[-1][1] == ledger.sums[-1][2]
    assert all(missing <= explained for _, missing, explained in ledger.sums)


def test_a_loss_of_upstream_shows(enrolled, upstream, ledger):
    enrolled.configure(upstream, batch={"max_items": 1})
    enrolled.record(3)
    upstream.script(lambda request: ledger.take(request.body))
    enrolled.flush().ended(0)
    assert [(missing, explained) for _, missing, explained in ledger.sums] == [(2, 2), (1, 1), (0, 0)]
    [numbers] = ledger.numbers.values()
    del numbers[2]
    enrolled.record(1)
    enrolled.flush("--now").ended(0)
    assert ledger.sums[-1][1:] == (1, 0)


def test_clocks_are_corrected(enrolled, upstream):
    """Whenever the batch comes: an item happened batch.uptime_ms - item.uptime_ms before."""
    moments = []
    for _ in range(3):
        before = time.time()
        enrolled.event("cpu")
        moments.append((before, time.time()))
        time.sleep(0.2)
    upstream.script({"status": 503})
    enrolled.flush("--now").ended(LATER)
    enrolled.flush("--now").ended(0)
    assert len(upstream.requests) == 2
    for request in upstream.requests:
        for (before, after), item in zip(moments, request.body["events"]):
            assert item["boot_id"] == request.body["boot_id"]
            happened = request.time - (request.body["uptime_ms"] - item["uptime_ms"]) / 1000
            assert before - 0.01 <= happened <= after + 5


def test_the_example_of_clocks():
    """The numbers on the page are those of its own rule."""
    page = (ROOT / "man" / "px-status.7").read_text(encoding="utf-8")
    block = page[page.index("arrived, by your clock"):]
    arrived, sent_at, recorded, happened = map(datetime.datetime.fromisoformat, re.findall(r"(\d{4}-\d\d-\d\dT[\d:.]+)Z", block)[:4])
    batch_ms, item_ms = map(int, re.findall(r"uptime_ms (\d+)", block)[:2])
    assert arrived - datetime.timedelta(milliseconds=batch_ms - item_ms) == happened
    assert sent_at - recorded == datetime.timedelta(milliseconds=batch_ms - item_ms)
