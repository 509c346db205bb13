# SPDX-License-Identifier: MIT
"""
A backlog on its way to nginx on this machine, by px-status-flush and by syslog-ng: the same documents, byte for byte. Both are
timed from the start of the program until the server has all of them. What comes behind that is told apart: px-status-flush
then makes its file smaller and ends; syslog-ng goes on.

They do not promise the same. px-status-flush has each batch on disk as acknowledged before it sends the next one; syslog-ng's
reliable disk buffer holds each line before it is sent, and syncs nothing, so that it is the page cache's.
"""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

from lab import ROOT, Missing, copy_spool, find, output_of
from spool import documents, fill

LIMIT_S = 120           # no transfer here lasts longer
BATCH = 1000            # events or lines in a request, of either program
FEW = 10_000
PEAK_KIB, PEAK_LIMIT_KIB = 12 * 1024, 16 * 1024
UNPACKED = ROOT / "build" / "syslog-ng" / "usr" / "lib" / "syslog-ng"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A server of this run; it is stopped at the end."""

    def __init__(self, command, folder, environment=None):
        self.command = command
        with open(folder / "output", "ab") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            env={**os.environ, **(environment or {})})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def await_(self, happened):
        end = time.monotonic() + LIMIT_S
        while not happened():
            if self.process.poll() is not None or time.monotonic() > end:
                raise Missing("%s did not do what it was to do" % pathlib.Path(self.command[0]).name)
            time.sleep(0.02)


class Nginx:
    """
    Reads each request to its end and then answers 204 to it. nginx's own answer would come before the end, so that is the
    second server's.
    """

    def __init__(self, lab):
        self.folder = lab.room()
        self.folder.chmod(0o755)
        self.port = free_port()
        self.tls_port = free_port()
        self.certificate = self.folder / "certificate"
        self.log = self.folder / "access.log"
        self._process = None

    def __enter__(self):
        temporary = "".join("%s_temp_path %s/%s;\n" % (name, self.folder, name)
                            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        output_of([find("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                   "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.folder / "key",
                   "-out", self.certificate])
        config = self.folder / "nginx.conf"
        config.write_text("""
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; {user}
events {{ worker_connections 64; }}
http {{
  log_format facts '$msec $content_length $status';
  access_log off; client_max_body_size 0; client_body_buffer_size 4m;
  {temporary}
  upstream taker {{ server unix:{folder}/taker; keepalive 4; }}
  server {{ listen unix:{folder}/taker; return 204; }}
  server {{
    listen 127.0.0.1:{port}; listen 127.0.0.1:{tls_port} ssl; access_log {folder}/access.log facts;
    ssl_certificate {folder}/certificate; ssl_certificate_key {folder}/key;
    location / {{
      proxy_pass http://taker; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_pass_request_body off; proxy_set_header Content-Length "";
    }}
  }}
}}
""".format(folder=self.folder, temporary=temporary, port=self.port, tls_port=self.tls_port,
           user="user root;" if os.geteuid() == 0 else ""))
        self._process = Process([find("nginx"), "-p", str(self.folder), "-c", str(config), "-e", str(self.folder / "start.log")],
                                self.folder)
        try:
            self._process.await_(self._answers)
        except BaseException:
            self._process.__exit__()
            raise
        return self

    def __exit__(self, *arguments):
        self._process.__exit__(*arguments)

    def _answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return self.log.exists()

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.port

    @property
    def tls_url(self):
        return "https://127.0.0.1:%d" % self.tls_port

    def taken(self):
        """Requests that were answered with 2xx, as time and bytes of the body."""
        lines = (line.split() for line in self.log.read_text().splitlines())
        return [(float(when), int(size)) for when, size, status in lines if status.startswith("2")]

    def forget(self):
        """nginx appends, and so begins anew."""
        os.truncate(self.log, 0)


def syslog_ng_environment():
    """Where the libraries of the unpacked one are."""
    return {"LD_LIBRARY_PATH": str(UNPACKED)} if UNPACKED.is_dir() else {}


class SyslogNg:
    """Holds lines in a reliable disk buffer and posts them, a JSON array of some thousand at a time."""

    def __init__(self, lab):
        self.program = find("syslog-ng")
        self.folder = lab.room()
        self.buffer = self.folder / "buffer"
        self.buffer.mkdir()

    def run(self, url, lines=None):
        """${lines}: the file to read from; without one only what is in the buffer is sent."""
        config = self.folder / "syslog-ng.conf"
        config.write_text("""@version: 3.38
options {{ stats-freq(0); log-msg-size(65536); }};
source lines {{ {source} }};
destination upstream {{
  http(url("{url}/") method("POST") headers("Content-Type: application/json")
       body("$MSG") body-prefix("[") delimiter(",") body-suffix("]")
       batch-lines({batch}) batch-timeout(500) workers(1) persist-name("bench") time-reopen(1) timeout(30)
       disk-buffer(reliable(yes) disk-buf-size(8589934592) mem-buf-size(16777216) dir("{buffer}")));
}};
log {{ source(lines); destination(upstream); }};
""".format(url=url, batch=BATCH, buffer=self.buffer, source='file("%s" flags(no-parse) follow-freq(1) log-iw-size(10000) '
           'log-fetch-limit(1000));' % lines if lines else 'unix-dgram("%s/nothing");' % self.folder))
        modules = [path for path in UNPACKED.glob("*") if path.is_dir()]
        return Process([self.program, "--foreground", "--no-caps", "--cfgfile=%s" % config,
                        *("--module-path=%s" % path for path in modules),
                        "--persist-file=%s/persist" % self.folder, "--pidfile=%s/pid" % self.folder,
                        "--control=%s/control" % self.folder], self.folder, syslog_ng_environment())

    def buffered(self):
        return sum(path.stat().st_size for path in self.buffer.iterdir())


def rate_of_syslog_ng(server, syslog, lines, count):
    """Events a second until the server has all of them, from its start; ${lines} None: what is in the buffer."""
    server.forget()
    began = time.time()
    with syslog.run(server.url, lines) as process:
        process.await_(lambda: len(server.taken()) >= count / BATCH)
        peak = peak_of(process.process.pid)
    return count / (server.taken()[-1][0] - began), peak


def peak_of(pid):
    for line in pathlib.Path("/proc/%d/status" % pid).read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


def fill_buffer(syslog, lines):
    """Nobody takes anything: all lines end in the buffer. It is full when it grows no more."""
    last = [0]

    def is_full():
        time.sleep(0.3)
        before, last[0] = last[0], syslog.buffered()
        return before == last[0] > lines.stat().st_size

    with syslog.run("http://127.0.0.1:1", lines) as process:
        process.await_(is_full)


class Delivery:
    """A copy of a full spool to the server: the seconds until it was there and until all was done, the peak, and what was sent."""

    def __init__(self, lab, server, full, compression, tls=False):
        config = lab.config(server.tls_url if tls else server.url, compression, server.certificate if tls else None)
        with config.open("a") as file:
            file.write("[batch]\nmax_items = %d\n" % BATCH)
        copy_spool(full, config)
        os.sync()
        server.forget()
        began = time.time()
        self.peak, self.took = lab.peak_kib(lab.flush(config, "--now", "--no-snapshot"))
        taken = server.taken()
        self.arrived = taken[-1][0] - began
        self.sent = sum(size for _, size in taken)
        shutil.rmtree(config.parent)


def measure_ours(lab, table, server, full, count):
    """Once with few and once with all; rates by compression."""
    few = lab.config()
    fill(lab, few, FEW)
    rates = {}
    for compression in ("none", "gzip"):
        done = Delivery(lab, server, few, compression)
        table.add("peak memory, %s waiting, compression %s" % ("{:,}".format(FEW), compression), done.peak, "KiB", at_most=PEAK_KIB,
                  limit=PEAK_LIMIT_KIB)
        done = Delivery(lab, server, full, compression)
        rates[compression] = count / done.arrived
        table.add("events a second, compression %s" % compression, rates[compression], "/s", note="%.0f MB sent; the run ended %.1f s "
                  "later" % (done.sent / 1e6, done.took - done.arrived))
        table.add("peak memory, %s waiting, compression %s" % ("{:,}".format(count), compression), done.peak, "KiB", at_most=PEAK_KIB,
                  limit=PEAK_LIMIT_KIB)
    done = Delivery(lab, server, few, "gzip", tls=True)
    table.add("peak memory, %s waiting, by HTTPS" % "{:,}".format(FEW), done.peak, "KiB", at_most=PEAK_KIB, limit=PEAK_LIMIT_KIB)
    return rates


def measure_syslog_ng(lab, table, server, full, count, ours):
    lines = lab.room() / "lines"
    with open(lines, "w", encoding="utf-8") as file:
        file.writelines(document + "\n" for document in documents(full))
    syslog = SyslogNg(lab)
    through, _ = rate_of_syslog_ng(server, syslog, lines, count)
    table.add("syslog-ng, events a second through its buffer from a file", through, "/s", note="not compressed, it can't")
    syslog = SyslogNg(lab)
    fill_buffer(syslog, lines)
    full_buffer, peak = rate_of_syslog_ng(server, syslog, None, count)
    table.add("syslog-ng, events a second out of its full buffer", full_buffer, "/s", note="it syncs nothing")
    table.add("syslog-ng, peak memory of that", peak, "KiB")
    for compression, rate in ours.items():
        table.add("in times of syslog-ng through its buffer, compression %s" % compression, rate / through, at_least=3)
        table.add("in times of syslog-ng out of its buffer, compression %s" % compression, rate / full_buffer, at_least=3)


def measure(lab, table, server, full, count):
    """${full}: the configuration of a spool in which ${count} events wait."""
    table.section("Delivering %s events to nginx on this machine" % "{:,}".format(count))
    ours = measure_ours(lab, table, server, full, count)
    table.attempt("in times of syslog-ng", measure_syslog_ng, lab, table, server, full, count, ours)
