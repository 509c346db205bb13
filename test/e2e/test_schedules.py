# SPDX-License-Identifier: MIT
"""What runs the flush where there is no systemd: lines for cron, and what Guile reads for mcron, the Shepherd and Guix."""
import re
import shutil
import subprocess

import pytest

import harness
import machine
from harness import ROOT

pytestmark = pytest.mark.long

CRON = ROOT / "share" / "cron"
GUIX = ROOT / "share" / "guix" / "px-status.scm"
SCHEME = [*sorted(path for path in CRON.iterdir() if path.suffix in (".scm", ".guile")), GUIX]

# Guix reads #~ and its like; then every form of the files is printed.
READ = """
(for-each (lambda (sign) (read-hash-extend sign (lambda (_ port) (list 'gexp (read port))))) '(#\\~ #\\$ #\\+))
(call-with-input-file (cadr (command-line))
  (lambda (port)
    (let loop ((form (read port)))
      (unless (eof-object? form)
        (write form)
        (newline)
        (loop (read port))))))
"""


def guile(program, *args):
    if shutil.which("guile") is None:
        pytest.skip("guile is not installed")
    return subprocess.run(["guile", "--no-auto-compile", "-c", program, *map(str, args)], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("path", SCHEME, ids=lambda path: path.name)
def test_guile_reads_it(path):
    forms = guile(READ, path).splitlines()
    assert forms and "px-status-flush" in "\n".join(forms)
    # Every bracket is closed where its form ends.
    assert sum(line.startswith("(") for line in path.read_text().splitlines()) == sum(form.startswith("(") for form in forms)


def test_the_job_of_mcron():
    job = "(define jobs '()) (define (job . words) (set! jobs (cons words jobs))) (load (cadr (command-line))) (write jobs)"
    assert guile(job, CRON / "mcron.guile") == '(((next-minute) "/usr/bin/px-status-flush"))'
    if shutil.which("mcron") is not None:
        scheduled = subprocess.run(["mcron", "--schedule=2", CRON / "mcron.guile"], check=True, capture_output=True, text=True).stdout
        assert scheduled.count("/usr/bin/px-status-flush") == 2


def test_guix_has_our_version_and_licence():
    text = GUIX.read_text()
    makefile = (ROOT / "Makefile").read_text()
    assert '(version "%s")' % re.search(r"^VERSION = (\S+)", makefile, re.MULTILINE)[1] in text
    assert "(license license:expat)" in text and (ROOT / "LICENSE").read_text().startswith("MIT License")


# Notes who runs the flush, then is it.
WRAPPER = """#!/bin/sh
echo "$(id -un) $*" >>/ran
exec /usr/bin/px-status-flush.real "$@"
"""


def test_both_lines_of_cron(root, upstream):
    """By real cron: /etc/cron.d and a user's own file, as busybox crond has it too. An outage is not mailed."""
    if shutil.which("cron") is None:
        pytest.skip("cron is not installed")
    if harness.is_sanitized():
        pytest.skip("it waits for a minute to begin; the other run of the tests has it")
    upstream.script({"status": 503})
    with machine.running() as system:
        system.make("install").ended(0)
        system.file("/etc/px-status/px-status.conf",
                    "[snapshot]\nenabled = no\n[schedule]\nsplay = 0s\n[retry]\ninitial = 1s\nmax = 1s\n[upstream]\nurl = %s\n" % upstream.url)
        system.run("mv", "/usr/bin/px-status-flush", "/usr/bin/px-status-flush.real").ended(0)
        system.file("/usr/bin/px-status-flush", WRAPPER, "755")
        system.file("/usr/sbin/sendmail", "#!/bin/sh\ncat >>/mail\n", "755")
        system.sh("rm -f /etc/cron.d/* /var/spool/cron/crontabs/*; cp /usr/share/px-status/cron/px-status /etc/cron.d/").ended(0)
        system.run("crontab", "/usr/share/px-status/cron/busybox").ended(0)
        system.run("px-status-event", "cpu").ended(0)
        system.run("cron").ended(0)
        system.wait_until(lambda: system.run("cat", "/ran").out == "root \n" * 2, "a run of each", 120)
        upstream.wait_for(1)
        system.wait_until(lambda: system.run("pgrep", "-x", "px-status-flush").status == 1, "the end of the runs")
        assert system.run("test", "-e", "/mail").status == 1
        # That it would be mailed, if it said anything.
        system.file("/etc/px-status/px-status.conf", "nonsense\n")
        assert system.run("px-status-flush").ended(harness.CONFIG).err != ""
