# SPDX-License-Identifier: MIT
"""
Random histories: a device, an upstream, and whatever may happen to them, step by step and by chance, against what must be
true after each. PX_HISTORY_SECONDS says for how long (20). A history that fails is made as short as can be and printed
with what runs it alone: PX_HISTORY='[...]'.
"""
import collections
import contextlib
import json
import os
import random
import signal
import subprocess
import time

import pytest

import harness
from harness import CONFIG, DENIED, EVENT, FLUSH, LATER, STORAGE, ids_in
from room import Room
from upstream import Upstream

pytestmark = pytest.mark.long

STEPS = 30
SHRINK_SECONDS = 60


class Broken(AssertionError):
    """Something is not as it must be."""


def must(holds, *what):
    if not holds:
        raise Broken(" ".join(map(str, what)))


class World:
    """The device, the upstream and the model: where each event that was accepted must be found."""

    def __init__(self, device, upstream):
        self.device, self.upstream = device, upstream
        self.number = 0
        self.accepted = set()           # n of the events whose recorder ended with 0
        self.dropped = set()
        self.perhaps = set()            # was in the spool when that was damaged
        self.id_of = {}                 # n -> id
        self.item_of = {}               # (spool id, seq) -> item id
        self.confirmed = set()          # ids whose acknowledgement a flush has seen and put down
        self.seen_requests = 0
        self.lost_before = 0            # events, in spools that were replaced
        self.spool_id = None
        self.counters = collections.Counter()
        self.is_damaged = False         # and no flush has been at it since
        self.was_damaged = False        # old pages may come to light again, and a log end before its end
        self.may_lose = self.may_drop = False
        self.clock_s = 0
        self.rule = "up"
        self.salt = 0
        upstream.script(self.reply)

    # -- upstream

    def reply(self, request):
        """By the rule that is in force; which items are poor is a matter of their number."""
        if request.body is None:
            return {"status": 400}
        poor = [item["id"] for item in request.items if any((number + self.salt) % 4 == 0 for number in self.numbers([item]))]
        request.taken = set(request.ids)
        if self.rule == "rejecting":
            request.taken -= set(poor)
            return {"body": {"rejected": [{"id": name, "reason": "no"} for name in poor]}}
        if self.rule == "unprocessable":
            return {"status": 422} if poor else {}
        if self.rule == "small":
            return {"status": 413} if len(request.items) > 3 else {}
        return {
            "up": {},
            "down": {"status": 503},
            "denying": {"status": 401},
            "gone": {"status": 404},
            "losing": {"cut_after": 10, "commit": True},
            "resetting": {"reset": True, "commit": True},
        }[self.rule]

    def numbers(self, items):
        """What the events are called here; damage may have changed what one says."""
        found = set()
        for item in items:
            try:
                found.add(int(item["params"]["n"]))
            except (KeyError, TypeError, ValueError):
                must(self.was_damaged, "an event without its number:", item)
        return found

    # -- the programs

    def env(self):
        return {"PX_TEST_WALL_S": str(self.clock_s)}

    def start(self, *args, monit=None):
        return subprocess.Popen(list(map(str, [*self.device.prefix, *args])), env=self.device.environment(monit, self.env()),
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def start_recorder(self, chance, config=None):
        number = self.number
        self.number += 1
        size = chance.choice([1, 1, 100, 3000, 20000])
        values = ["k%d=%s" % (at, "v" * min(4000, size - at * 4000)) for at in range((size + 3999) // 4000)]
        return number, self.start(EVENT, "-c", config or self.device.config, "t", "n=%d" % number, *values, monit={})

    def end_recorder(self, number, process, killed=False):
        err = process.communicate(timeout=60)[1]
        must(process.returncode in ((0, STORAGE, -signal.SIGKILL) if killed else (0, STORAGE)), "recorder", process.returncode, err)
        if process.returncode == 0:
            self.accepted.add(number)

    def start_flush(self):
        return self.start(FLUSH, "-c", self.device.config, "-s", self.device.spool, "--now")

    def end_flush(self, process):
        """What upstream has acknowledged is confirmed when the flush that had the reply came to its end."""
        err = process.communicate(timeout=60)[1].decode("utf-8", "replace")
        must(process.returncode in (0, STORAGE, LATER, DENIED, CONFIG), "flush", process.returncode, err)
        self.look_at_requests(process.returncode != STORAGE)
        if process.returncode != STORAGE:
            self.is_damaged = False
        return process.returncode

    # -- steps

    def record(self, chance):
        self.end_recorder(*self.start_recorder(chance))

    def burst(self, chance):
        """Many at once, and perhaps a flush."""
        flush = self.start_flush() if chance.random() < 0.5 else None
        running = [self.start_recorder(chance) for _ in range(chance.randrange(2, 12))]
        for one in running:
            self.end_recorder(*one)
        if flush is not None:
            self.end_flush(flush)

    def flush(self, chance):
        del chance
        self.end_flush(self.start_flush())

    def kill_recorder(self, chance):
        number, process = self.start_recorder(chance)
        time.sleep(chance.random() * 0.015)
        process.kill()
        self.end_recorder(number, process, killed=True)

    def kill_flush(self, chance):
        process = self.start_flush()
        time.sleep(chance.random() ** 2 * 0.12)
        process.kill()
        process.communicate(timeout=20)
        self.upstream.settle()      # or the next flush would seem to have had the reply
        self.look_at_requests(False)

    def change_rule(self, chance):
        self.rule = chance.choice(["up", "up", "up", "down", "rejecting", "unprocessable", "small", "denying", "gone", "losing",
                                   "resetting"])
        self.salt = chance.randrange(4)

    def retry(self, chance):
        del chance
        status = self.device.status("retry", "--all", env=self.env()).status
        must(status in (0, STORAGE), "retry", status)

    def drop(self, chance):
        items = self.items()
        if items:
            self.may_drop = True
            one = chance.choice(items)
            result = self.device.status("drop", str(one["item"]["seq"]), env=self.env())
            must(result.status in (0, STORAGE), "drop", result)
            if result.status == 0:
                self.dropped |= self.numbers([one["item"]])

    def squeeze(self, chance):
        """A bound that pushes events out."""
        text = self.device.config.read_text().replace("[spool]\n", "[spool]\nmax_items = %d\n" % chance.randrange(1, 6))
        config = self.device.file("squeezed.conf", text)
        self.may_lose = True
        for _ in range(chance.randrange(1, 4)):
            self.end_recorder(*self.start_recorder(chance, config))
        if self.is_damaged:     # what the spool that is about to be replaced has lost, it takes along
            self.perhaps |= self.accepted

    def obstruct(self, chance):
        """Something stands in the spool's way: overflow."""
        with self.device.obstructed():
            for _ in range(chance.randrange(1, 5)):
                self.end_recorder(*self.start_recorder(chance))

    def step_clock(self, chance):
        self.clock_s += chance.choice([-86400 * 40, -86400, -3600, 3600, 86400, 86400 * 40])

    def fill(self, chance):
        del chance
        if self.device.is_room and not (self.device.spool_folder / "filler").exists():
            self.device.fill()

    def unfill(self, chance):
        del chance
        if self.device.is_room and (self.device.spool_folder / "filler").exists():
            self.device.unfill()

    def corrupt(self, chance):
        path = self.device.spool_folder / (self.device.spool.name + chance.choice(["", "", "-wal"]))
        if not path.exists() or path.stat().st_size == 0:
            return
        at = chance.randrange(path.stat().st_size)
        if path.name == self.device.spool.name and at < 72:
            at += 72            # another version, another program's: such a file is refused, and rightly not touched
        # What is there and not yet gone may go with it.
        self.perhaps |= self.accepted
        self.is_damaged = self.was_damaged = True
        # On a full disk even what is there already can't always be written over.
        with contextlib.suppress(OSError), open(path, "r+b", buffering=0) as file:
            file.seek(at)
            file.write(bytes(chance.randrange(256) for _ in range(chance.choice([1, 16, 700]))))

    # -- what must be true

    def look_at_requests(self, is_certain):
        for request in self.upstream.requests[self.seen_requests:]:
            must(request.body is not None or self.was_damaged, "a body that is no JSON:", (request.text or request.raw)[:1000])
            if request.body is None:
                continue
            spool = request.body["spool"]
            sums = sum(spool[key] for key in ("acknowledged", "pending", "quarantined", "dropped")) + sum(spool["lost"].values())
            must(spool["recorded"] == sums, "the counters of a batch do not add up:", spool)
            for item in request.items:
                must(item["id"] not in self.confirmed or self.was_damaged, item["id"],
                     "was sent again, though its acknowledgement was seen")
                self.note(spool["id"], item)
        if is_certain and self.rule not in ("losing", "resetting"):
            for request in self.upstream.requests[self.seen_requests:]:
                if request.reply_status == 200:
                    self.confirmed |= request.taken
        self.seen_requests = len(self.upstream.requests)

    def note(self, spool_id, item):
        """An event has one id for ever, a seq of a spool one event."""
        if self.was_damaged:
            return
        number = int(item["params"]["n"])
        must(self.id_of.setdefault(number, item["id"]) == item["id"], "event", number, "has two ids")
        must(self.item_of.setdefault((spool_id, item["seq"]), item["id"]) == item["id"], "seq", item["seq"], "was given twice")

    def items(self):
        result = self.device.status("export", env=self.env())
        must(result.status == 0 or self.was_damaged, "export", result)
        # Damage that no flush has come across yet.
        self.is_damaged |= result.status != 0
        items = []
        for line in result.out.splitlines() if result.status == 0 else []:
            try:
                items.append(json.loads(line))
            except ValueError:
                must(self.was_damaged, "no JSON:", line[:1000])
        return items

    def check(self):
        if self.is_damaged:
            return None
        items = self.items()
        result = self.device.status("stats", "--json", env=self.env())
        must(result.status == 0 or self.was_damaged, "stats", result)
        self.is_damaged |= result.status != 0
        if self.is_damaged:
            return None
        stats = json.loads(result.out)
        lost = stats["lost"]["events"]
        must(stats["recorded"] == stats["acknowledged"] + stats["pending"] + stats["quarantined"] + stats["dropped"] + lost +
             stats["lost"]["snapshots"], "the conservation law:", stats)
        states = collections.Counter(item["state"] for item in items)
        must((states["pending"], states["quarantined"]) == (stats["pending"], stats["quarantined"]) or self.was_damaged, states, "but", stats)
        seqs = [item["item"]["seq"] for item in items]
        must(seqs == sorted(set(seqs)) and (not seqs or seqs[-1] <= stats["recorded"]), "seqs", seqs)
        if stats["spool_id"] != self.spool_id:
            self.lost_before += self.counters["lost"]
            self.spool_id, self.counters = stats["spool_id"], collections.Counter()
        now = collections.Counter({key: stats[key] for key in ("recorded", "acknowledged", "dropped")}, lost=lost)
        must(self.may_lose or self.was_damaged or lost == self.counters["lost"], "lost without need:", stats)
        must(self.may_drop or self.was_damaged or stats["dropped"] == self.counters["dropped"], "dropped by nobody:", stats)
        must(all(now[key] >= self.counters[key] for key in now) or self.was_damaged, "a counter went back:", self.counters, now)
        self.counters = now
        self.may_lose = self.may_drop = False
        for item in items:
            self.note(self.spool_id, item["item"])
        taken = {item["seq"] for request in self.upstream.requests if request.body and request.body["spool"]["id"] == self.spool_id
                 for item in request.items if item["id"] in self.upstream.committed}
        must(stats["acknowledged"] <= len(taken) or self.was_damaged, "acknowledged", stats["acknowledged"], "but upstream has", len(taken))

        there = self.numbers(item["item"] for item in items)
        there |= self.numbers(json.loads(path.read_bytes()) for path in self.device.overflow_files() if ids_in(path.name.encode())
                              and path.suffix == ".json")
        there |= self.numbers(found[0] for found in self.upstream.committed.values())
        missing = self.accepted - there - self.dropped - self.perhaps
        must(len(missing) <= lost + self.lost_before, "accepted, and nowhere:", sorted(missing), "of which lost:", lost)
        return stats

    def finish(self):
        """In the end all is well again, and everything arrives."""
        self.unfill(None)
        self.rule = "up"
        for _ in range(2):
            self.retry(None) if not self.is_damaged else None
            self.flush(None)
        must(not self.is_damaged, "two flushes did not mend the spool")
        stats = self.check()
        must(stats is not None, "a spool that can not be read, after two flushes")
        must((stats["pending"], stats["quarantined"], stats["overflow"]) == (0, 0, 0) or self.was_damaged, "left:", stats)


WEIGHTS = {
    World.record: 10, World.burst: 5, World.flush: 8, World.kill_recorder: 3, World.kill_flush: 5, World.change_rule: 8, World.retry: 2,
    World.drop: 2, World.squeeze: 1, World.obstruct: 3, World.step_clock: 2, World.fill: 2, World.unfill: 2, World.corrupt: 1,
}


def history_of(seed):
    """Steps by name, each with the seed of its own choices, so that a step does the same in a shorter history."""
    chance = random.Random(seed)
    steps = chance.choices(list(WEIGHTS), WEIGHTS.values(), k=STEPS)
    return [[step.__name__, chance.randrange(1 << 30)] for step in steps]


@contextlib.contextmanager
def device_of(preload):
    """In a small file system where one is to be had."""
    try:
        device = Room(preload, "mode=755,size=3m")
        device.is_room, device.prefix = True, device.enter
    except pytest.skip.Exception:
        device = harness.Device(preload)
        device.is_room, device.prefix = False, []
    try:
        yield device
    finally:
        device.close()


def play(preload, history):
    """Plays it on a new device; None, or what is not as it must be."""
    with device_of(preload) as device, Upstream() as upstream:
        device.configure(upstream, batch={"max_items": 7}, upstream={"url": upstream.url, "timeout": "30s"})
        world = World(device, upstream)
        at = 0
        try:
            for at, (name, seed) in enumerate(history):
                getattr(world, name)(random.Random(seed))
                world.check()
            at = "the end"
            world.finish()
        except (AssertionError, subprocess.TimeoutExpired) as broken:
            return "%s: %s" % (history[at] if at != "the end" else at, broken)
    return None


def shrunk(preload, history, why):
    """Fewer steps that still fail: pieces are left out, half of it at first, as long as that helps."""
    end = time.monotonic() + SHRINK_SECONDS
    size = len(history) // 2
    while size > 0 and time.monotonic() < end:
        at = 0
        while at < len(history) and time.monotonic() < end:
            shorter = history[:at] + history[at + size:]
            found = play(preload, shorter)
            if found is None:
                at += size
            else:
                history, why = shorter, found
        size //= 2
    return history, why


def test_random_histories(preload, bodies_may_be_broken):
    if preload is None:
        pytest.skip("no C compiler to build the library that steps the clock")
    given = os.environ.get("PX_HISTORY")
    if given:
        why = play(preload, json.loads(given))
        assert why is None, why
        return
    end = time.monotonic() + float(os.environ.get("PX_HISTORY_SECONDS") or 20)
    seed, count = int(os.environ.get("PX_HISTORY_SEED") or time.time_ns() % 10 ** 9), 0
    while count == 0 or time.monotonic() < end:
        history = history_of(seed + count)
        why = play(preload, history)
        if why is not None:
            print("seed %d: %s" % (seed + count, why))
            history, why = shrunk(preload, history, why)
            pytest.fail("seed %d: %s\nPX_HISTORY='%s'" % (seed + count, why, json.dumps(history)), pytrace=False)
        count += 1
    print("%d histories from seed %d on" % (count, seed))
