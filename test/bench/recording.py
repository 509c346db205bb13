# SPDX-License-Identifier: MIT
"""What an event costs: in time beside other ways to keep or send it, in syncs, instructions and bytes, alone and among many."""
import concurrent.futures
import os
import re
import socket
import sqlite3
import statistics
import subprocess
import time

from lab import MONIT, Missing, find, medians, output_of, seconds, spool_of, words
from spool import bodies

RUNS = 50
STEADY, STEADY_EVENTS = 8, 100
TRACED = 1000
COUNTED = 5
SYNCS = "fsync,fdatasync,sync,syncfs,sync_file_range,msync"
LOOP = 'i=0; while [ $i -lt "$0" ]; do "$@" || exit; i=$((i + 1)); done'

# As it stands in many a Monit configuration.
SCRIPT = """#!/bin/sh
curl -s -o /dev/null -H 'Content-Type: application/json' --data-binary @- URL <<END
{"service":"$MONIT_SERVICE","event":"$MONIT_EVENT","description":"$MONIT_DESCRIPTION","host":"$MONIT_HOST","date":"$MONIT_DATE"}
END
"""


def looped(count, command):
    """One shell that runs the command so many times."""
    return ["/bin/sh", "-c", LOOP, str(count), *words(command)]


class Others:
    """Other ways to keep or to send the same event."""

    def __init__(self, lab, document, url):
        self.folder = lab.room()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.lab, self.document, self.url = lab, document, url

    def floor(self):
        return [self.lab.tools / "floor", self.folder / "floor"]

    def sqlite3(self):
        path = self.folder / "sqlite3.db"
        program = find("sqlite3")
        output_of([program, path, "CREATE TABLE item (key INTEGER PRIMARY KEY, id, time_ms, topic, body)"])
        return [program, "-batch", path, "INSERT INTO item (id, time_ms, topic, body) VALUES (randomblob(16), 1795359347123, 'cpu', "
                "'%s')" % self.document.replace("'", "''")]

    def insert(self):
        path = self.folder / "insert.db"
        path.unlink(missing_ok=True)
        with sqlite3.connect(path) as made:
            made.executescript("PRAGMA page_size=2048; PRAGMA journal_mode=WAL; CREATE TABLE item (key INTEGER PRIMARY KEY, body)")
        made.close()
        return [self.lab.tools / "insert", path]

    def logger(self):
        name = self.folder / "log"
        self.socket.bind(os.fspath(name))
        return [find("logger"), "--socket", name, "--tag", "bench", self.document]

    def curl(self):
        body = self.folder / "body"
        body.write_text(self.document, encoding="utf-8")
        return [find("curl"), "-s", "-o", "/dev/null", "-H", "Content-Type: application/json", "--data-binary", "@%s" % body, self.url]

    def script(self):
        path = self.folder / "script"
        path.write_text(SCRIPT.replace("URL", self.url), encoding="utf-8")
        path.chmod(0o755)
        find("curl")
        return [path]

    def empty_log(self):
        """A socket that nobody reads fills up, and who writes waits."""
        self.socket.setblocking(False)
        try:
            while True:
                self.socket.recv(65536)
        except BlockingIOError:
            pass


# What is compared with the recorder, and how many times as long it may take; 2.5 is the bound that decides.
BOUNDS = (("the floor", 2.0, "2.50 at the very most"), ("a bare insert", None, ""), ("sqlite3", 0.75, ""), ("curl", 0.3, ""),
          ("logger", None, ""), ("the script", None, ""))


def measure_time(lab, table, url):
    """Each pair takes turns, so that both are as warm."""
    config = lab.config()
    ours = lab.recorder(config)
    seconds(ours)
    others = Others(lab, next(bodies(config)), url)
    ways = {"the floor": (others.floor, "the floor"), "a bare insert": (others.insert, "a bare insert by the same libsqlite3"),
            "sqlite3": (others.sqlite3, "sqlite3, inserting the same"), "logger": (others.logger, "logger"),
            "curl": (others.curl, "curl, posting it to this machine"), "the script": (others.script, "a shell script with curl")}
    ratios = {}
    for name, (way, what) in ways.items():
        try:
            recorder, other = medians(RUNS, ours, way())
        except Missing as reason:
            table.missing(what, str(reason))
            continue
        others.empty_log()
        if name == "the floor":
            table.add("px-status-event", recorder * 1000, "ms")
        table.add(what, other * 1000, "ms")
        ratios[name] = recorder / other
    for name, most, note in BOUNDS:
        if name in ratios:
            table.add("an event, in times of %s" % name, ratios[name], at_most=most, note=note)
    floor, insert = medians(RUNS, others.floor(), others.insert())
    table.add("a bare insert, in times of the floor", insert / floor, note="no recorder into a file of SQLite's takes less")
    static = lab.build.with_name(lab.build.name + "-static") / "px-status-event"
    if static.exists():
        floor, inside = medians(RUNS, others.floor(), [static, *lab.recorder(lab.config())[1:]])
        table.add("with SQLite inside, in times of the floor", inside / floor, at_most=1.6)
    else:
        table.missing("with SQLite inside, in times of the floor", "it could not be built")


def measure_syncs(lab, table):
    config = lab.config()
    trace = config.parent / "trace"
    seconds(lab.recorder(config))
    command = [find("strace"), "-f", "-qq", "--seccomp-bpf", "-e", "trace=" + SYNCS, "-e", "signal=none", "-o", trace,
               *looped(TRACED, lab.recorder(config))]
    if subprocess.run(words(command), env=MONIT, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        raise Missing("strace does not work here")
    counts = {}
    for line in trace.read_text().splitlines():
        counts[line.split()[0]] = counts.get(line.split()[0], 0) + 1
    table.add("syncs an event, mean of %s" % "{:,}".format(TRACED), sum(counts.values()) / TRACED, at_most=2.1, limit=2.1)
    table.add("syncs an event, the most", max(counts.values()), at_most=5, limit=5)


def measure_instructions(lab, table):
    config = lab.config()
    seconds(lab.recorder(config))
    command = [find("valgrind"), "--tool=callgrind", "--callgrind-out-file=/dev/null", *lab.recorder(config)]
    counts = []
    for _ in range(COUNTED):
        said = subprocess.run(words(command), env=MONIT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        found = re.search(r"Collected : (\d+)", said.stderr)
        if found is None or said.returncode != 0:
            raise Missing("valgrind does not work here")
        counts.append(int(found.group(1)))
    table.add("instructions an event, median of %d" % COUNTED, statistics.median(counts) / 1e6, "million", at_most=4, limit=4)


def measure_bytes(lab, table):
    """A process's own bytes are added to those of the shell that waited for it, see proc_pid_io(5)."""
    config = lab.config()
    seconds(lab.recorder(config))
    said = output_of(["/bin/sh", "-c", LOOP + "; cat /proc/$$/io", str(TRACED), *words(lab.recorder(config))], MONIT)
    written = int(re.search(r"^write_bytes: (\d+)", said, re.MULTILINE).group(1))
    if written == 0:
        raise Missing("this file system does not count them")
    table.add("bytes written to disk an event, mean of %s" % "{:,}".format(TRACED), written / TRACED / 1024, "KiB", at_most=12,
              limit=12)


def measure_waiting(lab, table, full, count):
    """${full}: the configuration of a spool in which ${count} events wait."""
    none = lab.config()
    with_none, with_many = medians(RUNS, lab.recorder(none), lab.recorder(full))
    table.add("an event with %s waiting, in times of one with none" % "{:,}".format(count), with_many / with_none, at_most=1.1)


def measure_many(lab, table):
    """Each starts its next event as soon as its last one is recorded."""
    recorder = lab.recorder(lab.config())
    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(STEADY) as pool:
        lives = sorted(pool.map(lambda _: seconds(recorder), range(STEADY * STEADY_EVENTS)))
    rate = STEADY * STEADY_EVENTS / (time.perf_counter() - began)
    table.add("an event, %d recorders without pause, median" % STEADY, 1000 * statistics.median(lives), "ms")
    table.add("an event, %d recorders without pause, 99th percentile" % STEADY, 1000 * lives[int(0.99 * (len(lives) - 1))], "ms",
              at_most=35)
    table.add("events a second of these", rate, "/s", at_least=500)


def measure(lab, table, url):
    table.section("Recording an event, medians of %d, in turn" % RUNS)
    table.attempt("the time of an event", measure_time, lab, table, url)
    table.section("What an event takes")
    table.attempt("syncs an event", measure_syncs, lab, table)
    table.attempt("instructions an event", measure_instructions, lab, table)
    table.attempt("bytes written to disk an event", measure_bytes, lab, table)
    table.attempt("many recorders", measure_many, lab, table)
