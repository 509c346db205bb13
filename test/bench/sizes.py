# SPDX-License-Identifier: MIT
"""The other figures: what goes over the wire, a flush with nothing to do, the parser, and how large the programs are."""
import os
import pathlib
import socket
import subprocess
import time

from lab import ROOT, MONIT, Missing, find, medians, output_of, spool_of, words
from spool import fill, record_mixed

MIXED = 500
RUNS = 50
SERVICES = 250, 1000
PARSES = 20
STATUS = ROOT / "test" / "fixtures" / "status" / "5.33.0.txt"
PROGRAMS = "px-status-event", "px-status-flush", "px-status"


def measure_wire(lab, table, server):
    config = lab.config(server.url)
    record_mixed(lab, config, MIXED)
    plain = len(output_of(lab.flush(config, "--dry-run")).encode())
    server.forget()
    lab.peak_kib(lab.flush(config, "--now", "--no-snapshot"))
    sent = sum(size for _, size in server.taken())
    table.add("%d mixed events on the wire, of their JSON" % MIXED, sent / plain, at_most=0.12, limit=0.12,
              note="%s of %s bytes" % ("{:,}".format(sent), "{:,}".format(plain)))


def measure_nothing_due(lab, table):
    """What programs print goes nowhere: it is not a part of what they do."""
    flush = lab.flush(lab.config())
    quiet = ["/bin/sh", "-c", 'exec "$@" >/dev/null', "sh"]
    ours, curl = medians(RUNS, [*quiet, *flush], [*quiet, find("curl"), "--version"])
    table.add("a flush with nothing due", ours * 1000, "ms")
    table.add("a flush with nothing due, in times of curl --version", ours / curl, at_most=1.0)
    table.add("a flush with nothing due, peak memory", lab.peak_kib(flush)[0], "KiB")


def status_of(count):
    """A status text with so many services, as Monit writes them."""
    head, *services = STATUS.read_text(encoding="utf-8", errors="replace").strip("\n").split("\n\n")
    many = (services[number % len(services)].replace("'", "'%d-" % number, 1) for number in range(count))
    return head + "\n\n" + "\n\n".join(many) + "\n"


def measure_parser(lab, table):
    rates = []
    for count in SERVICES:
        path = lab.room() / "status"
        path.write_text(status_of(count), encoding="utf-8")
        took = float(output_of([lab.tools / "parse", path, str(PARSES)]))
        rates.append(path.stat().st_size / took / 1e6)
        table.add("a status of %s services to a snapshot's document" % "{:,}".format(count), rates[-1], "MB/s",
                  note="%s bytes" % "{:,}".format(path.stat().st_size))
    table.add("seconds for a byte with %s, of those with %s services" % ("{:,}".format(SERVICES[1]), SERVICES[0]), rates[0] / rates[1],
              at_most=1.5)


def memory_of(pid):
    """What it alone holds, and all that is resident, in KiB."""
    private = resident = 0
    for line in pathlib.Path("/proc/%d/smaps_rollup" % pid).read_text(encoding="utf-8").splitlines():
        if line.startswith("Private_"):
            private += int(line.split()[1])
        elif line.startswith("Rss:"):
            resident = int(line.split()[1])
    return private, resident


def look_at(command, is_there):
    """Its memory in the middle of its work, at which it is held up."""
    process = subprocess.Popen(words(command), env=MONIT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        end = time.monotonic() + 5
        while not is_there() and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.2)
        return memory_of(process.pid)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def recorder_at_work(lab):
    """Another program writes to the spool, so it waits."""
    import sqlite3
    config = lab.config()
    fill(lab, config, 1)
    with sqlite3.connect(spool_of(config), isolation_level=None) as spool:
        spool.execute("BEGIN IMMEDIATE")
        found = look_at(lab.recorder(config), lambda: True)
        spool.execute("ROLLBACK")
    spool.close()
    return found


def flush_at_work(lab):
    """Upstream does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        config = lab.config("http://127.0.0.1:%d" % server.getsockname()[1])
        fill(lab, config, 10_000)
        held = []
        return look_at(lab.flush(config, "--now", "--no-snapshot"), lambda: held or held.append(server.accept()))


def status_at_work(lab):
    """Nobody reads what it prints."""
    config = lab.config()
    fill(lab, config, 10_000)
    return look_at([lab.build / "px-status", "-c", config, "list"], lambda: True)


def measure_programs(lab, table):
    for name, at_work in zip(PROGRAMS, (recorder_at_work, flush_at_work, status_at_work)):
        stripped = lab.room() / name
        output_of(["/usr/bin/strip", "-o", stripped, lab.build / name])
        libraries = [line.split()[0] for line in output_of(["/usr/bin/ldd", lab.build / name]).splitlines() if "=>" in line]
        table.add("%s, stripped" % name, stripped.stat().st_size, "bytes")
        table.add("%s, shared libraries that it is linked with" % name, len(libraries), note=" ".join(libraries))
        private, resident = at_work(lab)
        table.add("%s at work, private memory" % name, private, "KiB")
        most = 4096 if name == "px-status-event" else None
        table.add("%s at work, resident memory" % name, resident, "KiB", at_most=most, limit=most)


def measure(lab, table, server):
    table.section("On the wire, with nothing to do, and in memory")
    table.attempt("mixed events on the wire", measure_wire, lab, table, server)
    table.attempt("a flush with nothing due", measure_nothing_due, lab, table)
    table.attempt("a status of many services", measure_parser, lab, table)
    table.attempt("the programs", measure_programs, lab, table)
