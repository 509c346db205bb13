# SPDX-License-Identifier: MIT
"""What README says of a forwarder with a buffer on disk, seen with real syslog-ng; and that px-status does otherwise."""
import re
import socket
import subprocess
import time

import pytest

from harness import CONFIG, ROOT, exactly_once
from parts import Part

LIBRARIES = ROOT / "build" / "syslog-ng" / "usr" / "lib" / "syslog-ng"
# Each line is posted by itself, out of a buffer on disk that its manual calls reliable; what else is as it comes.
CONTROL = """@version: 3.38
options {{ stats-freq(0); time-reopen(1); }};
source lines {{ network(ip("127.0.0.1") port({port}) flags(no-parse)); }};
destination upstream {{
  http(url("{url}/") method("POST") body("$MSG") persist-name("test") timeout(5)
       disk-buffer(reliable(yes) disk-buf-size(1048576) mem-buf-size(1048576) dir("{folder}")));
}};
log {{ source(lines); destination(upstream); }};
"""
SYNCS = "sync,syncfs,fsync,fdatasync,msync,sync_file_range"


class SyslogNg(Part):
    """With every call by which it could sync a file noted by strace."""

    program = "strace"

    def __init__(self, device, url):
        super().__init__(device)
        found = subprocess.run([ROOT / "test" / "tools" / "unpacked-path", "syslog-ng"], capture_output=True, text=True)
        if found.returncode != 0:
            pytest.skip("syslog-ng is not here")
        self.syslog_ng = found.stdout.strip()
        self.upstream = url
        self.trace = self.folder / "trace"

    def command(self):
        control = self.file("control", CONTROL.format(folder=self.folder, port=self.port, url=self.upstream))
        modules = ["--module-path=%s" % path for path in LIBRARIES.glob("*") if path.is_dir()]
        return ["-f", "-qq", "-e", "trace=%s,openat,pwrite64" % SYNCS, "-s", "1000", "-o", self.trace, self.syslog_ng, "--foreground",
                "--no-caps", "--cfgfile=%s" % control, *modules, "--persist-file=%s/persist" % self.folder,
                "--pidfile=%s/pid" % self.folder, "--control=%s/ctl" % self.folder]

    def environment(self):
        return {"LD_LIBRARY_PATH": str(LIBRARIES)} if LIBRARIES.is_dir() else {}

    def say(self, text):
        with socket.create_connection(("127.0.0.1", self.port)) as sender:
            sender.send((text + "\n").encode())


def wait_for(is_so, what, within_s=60):
    end = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(0.02)


@pytest.mark.parametrize("answer, is_kept", [(410, False), (422, False), (503, True)])
def test_what_syslog_ng_drops(device, collector, start_part, answer, is_kept):
    """What upstream does not take now: tried again after a 503, and gone after a 410 or 422, without a word to upstream."""
    syslog = start_part(SyslogNg(device, "http://127.0.0.1:%d" % collector.server_port))
    collector.answer = answer
    syslog.say("one")
    wait_for(lambda: "one" in collector.bodies, "the first event")
    wait_for(lambda: not is_kept or collector.bodies.count("one") > 1, "another try")
    collector.answer = 200
    syslog.say("two")
    wait_for(lambda: "two" in collector.bodies, "the second event")
    assert (collector.bodies.count("one") > 1) == is_kept


def test_syslog_ng_syncs_nothing(device, collector, start_part):
    """An event that is in its buffer, waiting for upstream, may be gone with the power."""
    syslog = start_part(SyslogNg(device, "http://127.0.0.1:%d" % collector.server_port))
    collector.answer = 503
    syslog.say("a certain event")
    wait_for(lambda: "pwrite64" in syslog.trace.read_text() and "a certain event" in syslog.trace.read_text(), "the event in the buffer")
    wait_for(lambda: collector.bodies.count("a certain event") > 1, "another try")
    trace = syslog.trace.read_text()
    assert re.findall(r"\b(%s)\(" % SYNCS.replace(",", "|"), trace) == []
    assert re.findall(r'\.rqf".*O_D?SYNC', trace) == [] and '.rqf"' in trace


@pytest.mark.parametrize("answer, status, quarantined", [(410, CONFIG, 0), (422, 0, 1)])
def test_px_status_drops_neither(enrolled, upstream, answer, status, quarantined):
    """Kept, or set aside for a person with upstream told of it; delivered when upstream takes it."""
    [one] = enrolled.record(1)
    upstream.script(lambda request: {"status": answer} if request.items else {})
    enrolled.flush().ended(status)
    assert enrolled.stats()["quarantined"] == quarantined and [item["id"] for item in enrolled.list()] == [one]
    upstream.script(default={})
    enrolled.status("retry", "--all").ended(0)
    enrolled.flush("--now").ended(0)
    exactly_once(upstream, [one])
