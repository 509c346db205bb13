# SPDX-License-Identifier: MIT
"""
Power loss. A chain of runs is logged by preload.c: every change of a file or a folder, every sync, and between them what was
accepted and what upstream took. A cut is a place in that log. Of what was not synced by then any part may be on disk, in
any order: POSIX promises no more. So the folder is built as it may stand there after the cut, and must keep the promises.

    a file's bytes, its length     are on disk once the file was synced
    a name, or that it is gone     is on disk once its folder was synced; a sync of the file is not enough
    a write                        may be torn at each 512 bytes
"""
import collections
import os
import random
import re
import shutil

import scenes
from bench import Wrong

KINDS = ("power", "killed", "seen")
SECTOR = 512

# What of the changes that were not synced is on disk after the cut: none or all of each sort, or what chance says.
PARTS = ("nothing", "everything", "names", "bytes", "chance-1", "chance-2", "chance-3")


class Chain:
    """Runs of programs, one after the other, with the state that they start from."""

    def __init__(self, name, base, *steps):
        self.name = name
        self.base = base            # the scene whose state is the start
        self.steps = steps          # names of scenes whose program runs


CHAINS = {chain.name: chain for chain in (
    Chain("power-first", "event-first", "event-first", "event-warm", "event-warm"),
    Chain("power-orphan", "event-orphan", "event-orphan", "event-warm"),
    Chain("power-checkpoint", "event-checkpoint", "event-warm", "event-warm", "event-warm", "flush-events"),
    Chain("power-overflow", "event-overflow-first", "event-overflow", "event-overflow", "flush-events"),
    Chain("power-take-in", "flush-twin", "flush-twin", "event-warm"),
    Chain("power-deliver", "flush-events", "flush-events", "event-warm", "flush-events", "event-warm"),
    Chain("power-unconfirmed", "flush-events", "flush-unconfirmed", "event-warm", "flush-events"),
    Chain("power-first-flush", "flush-first", "flush-first", "event-warm"),
    Chain("power-backlog", "flush-backlog", "flush-backlog", "event-warm", "flush-events", "event-warm"),
    Chain("power-long-backlog", "flush-long-backlog", "flush-long-backlog", "event-warm", "flush-events"),
    Chain("power-renew", "flush-damaged", "flush-damaged", "event-warm"),
    Chain("power-broken", "flush-broken", "flush-broken", "event-warm"),
)}
KILLED = "power-killed"
NAMES = (*CHAINS, KILLED)


def scene_of(name):
    return next(scene for scene in scenes.ALL if scene.name == name)


# -- the disk

class File:
    """What is on disk, and what is on its way there."""

    def __init__(self, data=b""):
        self.disk = bytearray(data)
        self.waiting = []           # ("write", at, bytes), ("size", bytes)


class Folder:
    def __init__(self):
        self.disk = {}              # name -> File or Folder
        self.now = {}
        self.waiting = []           # (name, File or Folder or None), or two of these that come together


class Disk:
    """The spool's folder, as the log says."""

    def __init__(self, path):
        self.top = str(path)
        self.inodes = {}
        self.root = self._read(self.top)

    def _read(self, path):
        folder = Folder()
        self.inodes[os.stat(path).st_ino] = folder
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False):
                found = self._read(entry.path)
            else:
                with open(entry.path, "rb") as source:
                    found = File(source.read())
                known = self.inodes.setdefault(entry.inode(), found)
                found = known
            folder.disk[entry.name] = folder.now[entry.name] = found
        return folder

    def _place(self, path):
        """The folder and the name; None outside of the spool's folder."""
        if not path.startswith(self.top + "/"):
            return None, None
        *folders, name = path[len(self.top) + 1:].split("/")
        folder = self.root
        for one in folders:
            folder = folder.now.get(one)
            if not isinstance(folder, Folder):
                return None, None
        return folder, name

    def _name(self, path, found):
        folder, name = self._place(path)
        if folder is None:
            return []
        if found is None:
            folder.now.pop(name, None)
        else:
            folder.now[name] = found
        return [(folder, name, found)]

    def _wait(self, changes):
        """Changes of one folder that come together, as a rename's."""
        if changes:
            changes[0][0].waiting.append([(name, found) for _, name, found in changes])

    def apply(self, line):
        """One line of the log."""
        word, *args = line.split("\t")
        if word in ("create", "folder"):
            folder, _ = self._place(args[1])
            if folder is not None:
                self.inodes[int(args[0])] = found = File() if word == "create" else Folder()
                self._wait(self._name(args[1], found))
        elif word in ("write", "truncate", "grow", "sync"):
            found = self.inodes.get(int(args[0]))
            if found is not None:
                self._change(found, word, args[1:])
        elif word in ("link", "rename"):
            folder, name = self._place(args[0])
            found = folder.now.get(name) if folder is not None else None
            if found is not None:
                changes = self._name(args[1], found)
                if word == "rename" and found is not None and args[0] != args[1]:
                    changes += self._name(args[0], None)
                self._wait(changes)
        elif word == "unlink":
            self._wait(self._name(args[0], None))

    @staticmethod
    def _change(found, word, args):
        if word == "sync":
            if isinstance(found, Folder):
                for changes in found.waiting:
                    put_names(found.disk, changes)
            else:
                for change in found.waiting:
                    put_bytes(found.disk, change)
            found.waiting = []
        elif word == "write":
            found.waiting.append(("write", int(args[0]), bytes.fromhex(args[1])))
        else:
            found.waiting.append(("size" if word == "truncate" else "grow", int(args[0])))

    def build(self, path, part, chance):
        """Makes ${path} what may be on disk."""
        shutil.rmtree(path)
        os.mkdir(path, 0o755)
        self._build(self.root, str(path), part, chance)

    def _build(self, folder, path, part, chance):
        entries = dict(folder.disk)
        for changes in folder.waiting:
            if part in ("everything", "names") or part.startswith("chance") and chance.random() < 0.5:
                put_names(entries, changes)
        for name, found in sorted(entries.items()):
            if name.endswith("-shm"):
                continue            # never synced, and made anew by who comes first
            if isinstance(found, Folder):
                os.mkdir(path + "/" + name, 0o700)
                self._build(found, path + "/" + name, part, chance)
                continue
            with open(path + "/" + name, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as out:
                data = contents(found, part, chance)
                out.write(data)


def put_names(entries, changes):
    for name, found in changes:
        if found is None:
            entries.pop(name, None)
        else:
            entries[name] = found


def put_bytes(data, change):
    if change[0] == "write":
        _, at, new = change
        if len(data) < at:
            data.extend(bytes(at - len(data)))
        data[at:at + len(new)] = new
    elif change[0] == "grow":
        data.extend(bytes(max(0, change[1] - len(data))))
    elif change[1] < len(data):
        del data[change[1]:]
    else:
        data.extend(bytes(change[1] - len(data)))


def contents(file, part, chance):
    """Of a file after the cut."""
    data = bytearray(file.disk)
    for change in file.waiting:
        if part in ("everything", "bytes"):
            put_bytes(data, change)
        elif part.startswith("chance"):
            if change[0] != "write":
                if chance.random() < 0.5:
                    put_bytes(data, change)
                continue
            _, at, new = change
            end = at + len(new)
            while at < end:
                stop = min(end, (at // SECTOR + 1) * SECTOR)
                if chance.random() < 0.5:
                    put_bytes(data, ("write", at, new[at - change[1]:stop - change[1]]))
                at = stop
    return data


# -- runs

def run_chain(bench, chain):
    """Runs a chain; the disk before it, the markers accepted before it, and the log."""
    held = bench.set_up(scene_of(chain.base))
    disk = Disk(bench.spool_folder)
    log = start_log(bench)
    for number, name in enumerate(chain.steps):
        step(bench, scene_of(name), "step-%d" % number, log)
    return disk, held, log.read_text().splitlines()


def start_log(bench):
    log = bench.folder / "changes"
    log.unlink(missing_ok=True)
    log.touch()
    log.chmod(0o666)
    return log


def step(bench, scene, marker, log, kill=None, before=()):
    """One program of a chain."""
    def reply(request):
        said = (scene.replies(request) if scene.replies else None) or {}
        with open(log, "a", encoding="utf-8") as out:
            out.write("posted\n" + "".join("took\t%s\n" % name for name in request.ids))
        return said
    bench.upstream.script(reply)
    env = {**scene.env, "PX_FAULT_LOG": str(log)}
    if kill is not None:
        env["PX_FAULT_KILL"] = str(kill)
    with scene.around(bench):
        ran = bench.run_scene(scene, before, env, marker)
    if ran.status == 0 and scene.program == "event":
        with open(log, "a", encoding="utf-8") as out:
            out.write("accepted\t%s\n" % marker)
    elif ran.status != 0 and kill is None and scene.program == "event":
        raise Wrong("a recorder ended with %s: %s" % (ran.status, ran.said))
    return ran


def is_change(line):
    return line.split("\t", 1)[0] not in ("posted", "took", "accepted")


def try_cut(bench, scene, disk, held, lines, cut, part, name):
    """The disk after the first ${cut} lines of the log."""
    accepted = list(held)
    taken = []
    posts = 0
    for line in lines[:cut]:
        word, *args = line.split("\t")
        if word == "accepted":
            accepted.append(args[0])
        elif word == "took":
            taken.append(args[0])
        elif word == "posted":
            posts += 1
        else:
            disk.apply(line)
    everything = {item: list(items) for item, items in bench.upstream.committed.items()}
    disk.build(bench.spool_folder, part, random.Random(name))
    bench.listen()
    # What upstream took before the cut it has, and nothing of what came later.
    del bench.upstream.requests[posts:]
    bench.upstream.committed.clear()
    for item in taken:
        bench.upstream.committed[item] = everything[item][:1]
    perhaps = ["step-%d" % number for number in range(10)] + held
    bench.recover(accepted, scene, perhaps, again=3)


def points(bench, name, traces):
    """The names of all points of a chain; ${traces}: strace may be used."""
    if name == KILLED:
        return list(killed_points(bench))
    _, _, lines = run_chain(bench, CHAINS[name])
    cuts = [number for number in range(len(lines) + 1) if number == len(lines) or is_change(lines[number])]
    # A flush may not be dumped, so only root is told what files it has open.
    may_look = traces and (os.geteuid() == 0 or not any("flush" in step for step in CHAINS[name].steps))
    seen = ["%s:seen:1" % name] if may_look else []
    return seen + ["%s:power:%d:%s" % (name, cut, part) for cut in cuts for part in PARTS]


def try_point(bench, name, kind, *where):
    if kind == "killed":
        try_killed(bench, *where)
        return
    chain = CHAINS[name]
    if kind == "seen":
        compare_with_strace(bench, chain)
        return
    disk, held, lines = run_chain(bench, chain)
    cut, part = int(where[0]), where[1]
    try_cut(bench, scene_of(chain.base), disk, held, lines, min(cut, len(lines)), part, ":".join((name, *where)))


# -- whether the log holds all that happens

WORDS = {
    "pwrite64": "write", "write": "write", "ftruncate": "truncate", "fallocate": "grow", "fsync": "sync", "fdatasync": "sync",
    "link": "link", "linkat": "link", "rename": "rename", "renameat": "rename", "renameat2": "rename", "unlink": "unlink",
    "unlinkat": "unlink", "mkdir": "folder", "mkdirat": "folder",
}


def compare_with_strace(bench, chain):
    """Every call that strace sees on the spool's folder must be in the log: one that is not would never be cut off."""
    bench.set_up(scene_of(chain.base))
    log = start_log(bench)
    trace = bench.folder / "trace"
    strace = ("strace", "-f", "-y", "-o", str(trace), "-e", "trace=" + ",".join(WORDS))
    for number, name in enumerate(chain.steps):
        before = log.read_text().splitlines()
        step(bench, scene_of(name), "step-%d" % number, log, before=strace)
        logged = collections.Counter(line.split("\t")[0] for line in log.read_text().splitlines()[len(before):])
        seen = collections.Counter()
        for line in trace.read_text(errors="replace").splitlines():
            found = re.match(r"\d+ +(\w+)\(", line)
            if found and str(bench.spool_folder) in line and " = -1 " not in line:
                seen[WORDS[found.group(1)]] += 1
        for word in set(WORDS.values()):
            if seen[word] != logged[word]:
                raise Wrong("%s: strace saw '%s' %d times, the log has it %d times" % (name, word, seen[word], logged[word]))


# -- killed, killed again, then a power cut

def changes_of(bench, kills):
    """How many changes the recorder makes that comes after those that were killed at ${kills}."""
    scene = scene_of("event-first")
    bench.set_up(scene)
    log = start_log(bench)
    for number, kill in enumerate(kills):
        step(bench, scene, "killed-%d" % number, log, kill)
    before = len(log.read_text().splitlines())
    step(bench, scene, "next", log)
    return sum(map(is_change, log.read_text().splitlines()[before:]))


def killed_points(bench):
    """The first recorder ever is killed at each change, the next at each of its own; a third is accepted."""
    for first in range(1, changes_of(bench, ()) + 1):
        for second in range(1, changes_of(bench, (first,)) + 1):
            for part in PARTS[:4]:
                yield "%s:killed:%d:%d:%s" % (KILLED, first, second, part)


def try_killed(bench, first, second, part):
    scene = scene_of("event-first")
    held = bench.set_up(scene)
    disk = Disk(bench.spool_folder)
    log = start_log(bench)
    step(bench, scene, "step-0", log, int(first))
    step(bench, scene, "step-1", log, int(second))
    step(bench, scene, "step-2", log)
    lines = log.read_text().splitlines()
    try_cut(bench, scene, disk, held, lines, len(lines), part, part)
