# SPDX-License-Identifier: MIT
"""The programs log-errors, failed-units and filesystem-errors of share/checks."""
import os
import re
import shutil
import subprocess

import pytest

from checks import applets, checks  # noqa: F401, fixtures

JOURNAL_WRITER = next((path for path in ("/usr/lib/systemd/systemd-journal-remote", "/lib/systemd/systemd-journal-remote")
                       if os.path.exists(path)), None)
BOOT = "d0e6cbd6dfbd4a7d8dbed7ab1d1b4ecb"


def log_line(text):
    return "Nov 22 14:55:47 vm %s\n" % text


def append(path, text):
    with open(path, "ab") as log:
        log.write(text if isinstance(text, bytes) else text.encode())


def in_form(form, line):
    """A "program[7]: text" as logs of that form have it."""
    program, process, text = re.fullmatch(r"([^ :[]+)(?:\[([0-9]+)\])?: (.*)", line).groups()
    return form.format(line=line, program=program, process=process or "-", text=text) + "\n"


# As rsyslog, syslog-ng, and busybox without and with -S write them; busybox has the facility of whoever logs. What follows
# RFC 5424 may have the data of whoever logs, and without a time or a host has "-"; rsyslog keeps the blank behind a colon.
FORMS = {
    "traditional": "Nov  2 14:55:47 vm {line}",
    "iso": "2026-11-22T14:55:47.123456+01:00 vm {line}",
    "traditional with PRI": "<27>Nov 22 14:55:47 vm {line}",
    "busybox": "Nov 22 14:55:47 vm local0.err {line}",
    "busybox -S": "Nov 22 14:55:47 {line}",
    "RFC 5424": "<27>1 2026-11-29T11:07:43.003Z vm {program} {process} - - {text}",
    "RFC 5424 without PRI": "1 2026-11-29T11:07:43.003456+01:00 vm {program} {process} ID47 -  {text}",
    "RFC 5424 without version": "2026-11-29T11:07:43Z vm {program} {process} - - {text}",
    "RFC 5424 with data": '<191>1 - - {program} {process} - [origin ip="::1" x="\\"] -"][y@1]  \ufeff{text}',
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("kind, lines, others", [
    ("kernel", ["kernel: EXT4-fs error (device sda1): bad", "kernel: [  12.3] Buffer I/O error on dev sdb",
                "vmunix: [  12.3] Out of memory: Killed process 7 (x)"],
     ["kernel: usb 1-1: new device", "app[1]: I/O error"]),
    ("services", ["app[1]: I/O error", "app: Connection FAILED.", "app[1]: px-status-event 1 - - error",
                  "app: 10 errors", "systemd[1]: Failed to start mdmonitor.service - MD array monitor."],
     ["app: 0 errors", "app: terrors", "kernel: error", "monit[7]: 'x' status failed (1) -- error", "px-status-event[7]: error",
      "systemd[1]: Failed to start px-status-flush.service - Send.", "systemd[1]: monit.service: Failed with result 'exit-code'.",
      "systemd[1]: Failed to start Send Monit's alerts and status to Central Management.", "ignored[7]: error"])],
    ids=["kernel", "services"])
def test_lines_that_count(checks, kind, lines, others, form):
    log = checks.file("var/log/messages", in_form(form, "kernel: EXT4-fs error before") + in_form(form, "app: error before"))
    checks.run("log-errors", "-i", "ignored", kind).ended(0)
    append(log, "".join(in_form(form, line) for line in others))
    assert "no new errors" in checks.run("log-errors", "-i", "ignored", kind).ended(0).out
    append(log, "".join(in_form(form, line) for line in lines))
    assert "%s: %d new errors\n" % (kind, len(lines)) in checks.run("log-errors", "-i", "ignored", kind).ended(1).out


def test_a_log_that_is_cut_rotated_and_half_written(checks):
    log = checks.file("var/log/messages", log_line("app: error 0"))

    def errors():
        """Of the next look that is none of telling again."""
        for _ in range(4):
            out = checks.run("log-errors", "services").out
            if "new error" in out and "no new errors" not in out:
                checks.run("log-errors", "services").ended(1)
                checks.run("log-errors", "services").ended(0)
                return re.findall(r"(\d+)(?: or more)? new errors?\n|(?:first|last): .*error (\S+)", out)
        return []

    assert errors() == []
    append(log, log_line("app: error 1")[:-1])
    assert errors() == []
    append(log, b"\n" + log_line("app: error \x00\xff2").encode("latin-1"))
    assert errors() == [("2", ""), ("", "1"), ("", "??2")]
    append(log, log_line("app: error 3"))
    log.rename(str(log) + ".1")
    log = checks.file("var/log/messages", log_line("app: error 4"))
    assert errors() == [("2", ""), ("", "3"), ("", "4")]
    with open(log, "w", encoding="utf-8") as again:
        again.write("")
    assert errors() == []
    append(log, log_line("app: error 5"))
    assert errors() == [("1", ""), ("", "5"), ("", "5")]
    append(log, log_line("app: error " + "x" * 200) * 30000)
    assert errors()[0][0].isdigit() and errors() == []


def journal_entry(number, transport, priority, program, message):
    return ("__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%s\n_HOSTNAME=vm\n_TRANSPORT=%s\nPRIORITY=%d\n"
            "SYSLOG_IDENTIFIER=%s\nMESSAGE=%s\n\n" % (1795573000000000 + number * 10**6, number * 10**6, BOOT, transport, priority,
                                                     program, message))


@pytest.mark.skipif(JOURNAL_WRITER is None or shutil.which("journalctl") is None, reason="no systemd-journal-remote here")
def test_the_journal(checks):
    """A real one, by real journalctl."""
    folder = checks.file("var/log/journal/%s/x" % BOOT).parent
    checks.file("etc/machine-id", BOOT + "\n")
    checks.file("var/log/messages", "")
    number = iter(range(1, 10**6))

    def log(*entries):
        text = "".join(journal_entry(next(number), *entry) for entry in entries)
        subprocess.run([JOURNAL_WRITER, "-o", folder / "system.journal", "-"], input=text.encode(), check=True, capture_output=True)

    def errors(kind):
        out = checks.run("log-errors", kind).ended(1).out
        checks.run("log-errors", kind).ended(1)
        checks.run("log-errors", kind).ended(0)
        return out

    log(("kernel", 3, "kernel", "EXT4-fs error before"), ("syslog", 6, "app", "well"))
    for kind in ("kernel", "services"):
        assert "looked at: journal" in checks.run("log-errors", kind).ended(0).out
    # The first error of services ever, and behind one that is of no matter.
    log(("syslog", 6, "app", "well"), ("stdout", 3, "app", "bad 1"), ("syslog", 2, "app", "bad 2"), ("syslog", 3, "monit", "no"))
    assert "services: 2 new errors\n" in errors("services") and "no new errors" in checks.run("log-errors", "kernel").ended(0).out
    log(("syslog", 6, "app", "well"), ("kernel", 2, "kernel", "EXT4-fs error now"), ("kernel", 4, "kernel", "only a warning"))
    out = errors("kernel")
    assert "kernel: 1 new error\n" in out and "first: Nov 25 02:16:48 vm kernel: EXT4-fs error now" in out
    log(*[("journal", 3, "app", "flood %d" % flood) for flood in range(700)])
    assert "services: 500 or more new errors\n" in errors("services")
    assert "no new errors" in checks.run("log-errors", "services").ended(0).out


def test_failed_units_that_are_told_and_not(checks):
    checks.file("run/systemd/system/x")
    checks.program("systemctl", 'cat "%s/units"' % checks.root)
    for units, status in (("", 0), ("a.service loaded failed failed A\n", 1), ("a.service loaded failed failed A\n", 1),
                          ("b.service loaded failed failed B\n", 2), ("b.service x x x\na.service x x x\n", 3), ("a.service\nb.service\n", 3),
                          ("a.service\n", 2), ("known.service\n", 0), ("b.service\n", 1)):
        checks.file("units", units)
        checks.run("failed-units", "-i", "^known").ended(status)
    checks.run("failed-units", "-i", "(").ended(64)


def test_btrfs(checks):
    stats = checks.file("sys/fs/btrfs/uuid-1/devinfo/1/error_stats", "write_errs 0\nread_errs 0\n")
    checks.file("sys/fs/btrfs/features/x")
    assert "0 of 1" in checks.run("filesystem-errors").ended(0).out
    stats.write_text("write_errs 2\nread_errs 0\ncorruption_errs 1\n")
    assert "btrfs uuid-1 device 1: write_errs 2, corruption_errs 1" in checks.run("filesystem-errors").ended(1).out
