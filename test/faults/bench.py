# SPDX-License-Identifier: MIT
"""A device that faults are tried on, and what must be true of it afterwards."""
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, os.fspath(HERE.parent / "e2e"))

import harness  # noqa: E402 (found by the line above)
from upstream import Upstream  # noqa: E402

WAIT_S = {"event": 15, "flush": 90}     # no program may take longer, whatever fails; a flush waits for others at each step
STATUSES = {
    "event": {0, harness.STORAGE},
    "flush": {0, harness.BUG, harness.STORAGE, harness.LATER, harness.DENIED, harness.CONFIG},
}
STATUS_TEXT = "Monit 5.33.0 uptime: 3m\n\nSystem 'vm'\n  status                       OK\n"


class Wrong(Exception):
    """A promise that was not kept."""


def build_library(folder):
    """Our preload.c; None where there is no compiler."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        return None
    library = folder / "faults.so"
    without = ["-DPX_FAULT_NO_ALLOC"] if harness.is_sanitized() else []
    subprocess.run([compiler, "-std=c17", "-O1", "-U_FORTIFY_SOURCE", "-fno-builtin", "-fPIC", "-shared", *without,
                    "-o", library, HERE / "preload.c"], check=True)
    return library


def marker_of(item):
    """What a test calls an event; None for a snapshot. Without memory not all of an event goes to syslog."""
    return item.get("params", {}).get("n") or item.get("monit", {}).get("description")


class Ran:
    """How a program ended: its status, negative for a signal."""

    def __init__(self, status, said):
        self.status = status
        self.said = said

    @property
    def was_killed(self):
        return self.status == -9


class Bench(harness.Device):
    """A device whose spool's folder can be put back to what it was before a scene."""

    def __init__(self, libraries):
        super().__init__(None)
        self.folder.chmod(0o755)
        self.libraries = ":".join(map(os.fspath, libraries))
        self.env.update(LD_PRELOAD=self.libraries, PX_TEST_SYSLOG=os.fspath(self.syslog.path))
        self.notes = None               # a file that gets a line for each item that upstream took
        self.upstream = Upstream()
        self.upstream.start()
        self._logs = 0
        self._templates = {}            # scene's name -> (folder, markers that are held in it)

    def close(self):
        self.upstream.stop()
        super().close()

    # -- scenes

    def set_up(self, scene):
        """The device as it is before the scene's program runs; the markers of events that were accepted."""
        self.upstream.script(default={})
        self.upstream.committed.clear()
        self.upstream.requests.clear()
        self.notes = None
        if scene.name not in self._templates:
            self._clear()
            scene.configure(self)
            held = scene.prepare(self)
            kept = self.folder / ("template-" + scene.name)
            shutil.copytree(self.spool_folder, kept)
            self._templates[scene.name] = (kept, held, dict(self.upstream.committed), self.config.read_bytes())
        kept, held, committed, config = self._templates[scene.name]
        self._clear()
        shutil.copytree(kept, self.spool_folder, dirs_exist_ok=True)
        shutil.copystat(kept, self.spool_folder)
        if scene.owner is not None:
            for path in (self.spool_folder, *self.spool_folder.rglob("*")):
                os.chown(path, scene.owner, scene.owner)
        self.config.write_bytes(config)
        self.upstream.committed.clear()
        self.upstream.committed.update({name: list(items) for name, items in committed.items()})
        self.upstream.requests.clear()
        self.listen()
        return list(held)

    def _clear(self):
        shutil.rmtree(self.spool_folder)
        self.spool_folder.mkdir(mode=0o755)

    def listen(self):
        """A new syslog, empty."""
        self.syslog.close()
        os.unlink(self.syslog.path)
        self._logs += 1
        self.syslog = harness.Syslog(self.folder / ("log-%d" % self._logs))
        self.env["PX_TEST_SYSLOG"] = os.fspath(self.syslog.path)

    # -- programs

    def command(self, scene, marker="new"):
        if scene.program == "event":
            return [os.fspath(harness.EVENT), "-c", os.fspath(self.config), "topic", "n=" + marker, *scene.args]
        return [os.fspath(harness.FLUSH), "-c", os.fspath(self.config), "-s", os.fspath(self.spool), *scene.args]

    def run_scene(self, scene, before=(), env=None, marker="new"):
        """Runs the scene's program behind the words ${before}."""
        whole = self.environment({"DESCRIPTION": marker} if scene.program == "event" else None, env)
        if before:
            # strace itself is to be left in peace.
            preload = whole.pop("LD_PRELOAD")
            before = [*before, "-E", "LD_PRELOAD=" + preload]
        try:
            result = harness.run([*before, *self.command(scene, marker)], whole, timeout=WAIT_S[scene.program])
        except AssertionError as hang:
            raise Wrong(str(hang)) from None
        return Ran(result.status, result.err)

    def record(self, marker):
        """An event that must be accepted."""
        result = self.run(harness.EVENT, "-c", self.config, "topic", "n=" + marker, monit={}, timeout=WAIT_S["event"])
        if result.status != 0:
            raise Wrong("the recorder that came next ended with %d: %s\n%s" % (result.status, result.err, self.syslog.text))
        return marker

    # -- what must be true

    def in_syslog(self):
        """The markers of events that are whole in syslog."""
        parts = {}
        for line in self.syslog.raw:
            words = line.decode("utf-8", "replace").split("]: event ", 1)
            if len(words) == 2 and words[1].count(" ") >= 2:
                name, number, text = words[1].split(" ", 2)
                if "/" in number:
                    parts.setdefault(name, {})[int(number.split("/")[0])] = (text, int(number.split("/")[1]))
        found = []
        for pieces in parts.values():
            if len(pieces) == next(iter(pieces.values()))[1]:
                found.append(marker_of(json.loads("".join(pieces[number][0] for number in sorted(pieces)))))
        return found

    def check_intact(self):
        """Right after the fault, on a copy since looking changes it."""
        if not self.spool.is_file():
            return
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for suffix in ("", "-wal"):
            if os.path.exists(os.fspath(self.spool) + suffix):
                shutil.copyfile(os.fspath(self.spool) + suffix, os.fspath(copy / "spool.db") + suffix)
        self.check_counters(copy / "spool.db")

    @staticmethod
    def check_counters(path):
        """The file is sound, and recorded = acknowledged + pending + quarantined + dropped + lost. All counters."""
        connection = sqlite3.connect(path)
        try:
            said = connection.execute("PRAGMA integrity_check").fetchall()
            if said != [("ok",)]:
                raise Wrong("integrity_check: %s" % said[:3])
            row = connection.execute("SELECT recorded, acknowledged, quarantined, dropped, lost_events, lost_snapshots "
                                     "FROM counters").fetchone()
            items = connection.execute("SELECT count(*), count(DISTINCT id), max(key & ((1 << 48) - 1)) FROM item").fetchone()
            quarantined = connection.execute("SELECT count(*) FROM mark WHERE reason IS NOT NULL").fetchone()[0]
            name = connection.execute("SELECT id FROM spool").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise Wrong("the spool can't be read: %s" % error) from None
        finally:
            connection.close()
        recorded, acknowledged, _, dropped, *lost = row
        if recorded != acknowledged + items[0] + dropped + sum(lost) or quarantined != row[2]:
            raise Wrong("counters %s with %d items, %d of them quarantined" % (row, items[0], quarantined))
        if items[0] != items[1] or (items[2] or 0) > recorded:
            raise Wrong("items %s, recorded %d" % (items, recorded))
        return {"id": name, "recorded": recorded, "lost": sum(lost), "lost_events": lost[0], "pending": items[0] - quarantined,
                "quarantined": quarantined, "dropped": dropped}

    def recover(self, accepted, scene, perhaps=(), again=1):
        """
        A recorder and a flush without faults. Every event of ${accepted} must then be with upstream, one of ${perhaps} may
        be, each under one id and not more than ${again} times.
        """
        self.upstream.script(default={})
        accepted = [*accepted, self.record("after")]
        result = self.run(harness.FLUSH, "-c", self.config, "-s", self.spool, "--now", "--no-snapshot", timeout=WAIT_S["flush"])
        if result.status != 0:
            raise Wrong("the flush that came next ended with %d: %s" % (result.status, result.err))
        counters = self.check_counters(self.spool)
        if counters["pending"] > 0:
            raise Wrong("%d items are pending after a flush" % counters["pending"])
        left = [path.name for path in self.overflow_files() if path.name.endswith((".json", ".bad"))]
        if left:
            raise Wrong("overflow still holds %s" % left)
        may_miss = counters["lost_events"] if scene.may_lose else counters["quarantined"] if scene.quarantines else 0
        self._check_upstream(accepted, perhaps, again, counters, may_miss)

    def _check_upstream(self, accepted, perhaps, again, counters, may_miss):
        ids = {}
        seqs = {}
        for name, items in self.upstream.committed.items():
            if len(items) > again:
                raise Wrong("item %s was sent %d times" % (name, len(items)))
            ids.setdefault(marker_of(items[0]), set()).add(name)
        for request in self.upstream.requests:
            for item in request.items:
                seqs.setdefault((request.body["spool"]["id"], item["seq"]), set()).add(item["id"])
        for marker, names in ids.items():
            if marker is not None and len(names) != 1:
                raise Wrong("event '%s' came under the ids %s" % (marker, sorted(names)))
        for (spool, seq), names in seqs.items():
            if len(names) != 1:
                raise Wrong("seq %d of spool %s is of %s" % (seq, spool, sorted(names)))
        known = set(ids) - {None}
        strangers = known - set(accepted) - set(perhaps)
        if strangers:
            raise Wrong("nobody recorded %s" % sorted(strangers))
        missing = [marker for marker in accepted if marker not in known]
        if len(missing) > may_miss:
            raise Wrong("lost: %s; counters: %s\n%s" % (missing, counters, self.syslog.text))
        mine = {seq for spool, seq in seqs if spool == counters["id"]}
        if len(mine) + counters["lost"] + counters["quarantined"] + counters["dropped"] < counters["recorded"]:
            raise Wrong("of %d recorded items upstream saw %s; %s" % (counters["recorded"], sorted(mine), counters))
