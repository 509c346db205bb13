# SPDX-License-Identifier: MIT
"""The units of systemd, installed on a machine that systemd really runs; see machine.py."""
import os
import re
import shutil
import subprocess
import time

import pytest

import harness
import machine
from harness import ROOT, UUID_V7

pytestmark = pytest.mark.long

UNITS = ROOT / "share" / "systemd"
SERVICE = UNITS / "px-status-flush.service"
ROOT_DROP_IN = ROOT / "share" / "examples" / "px-status-flush-root.conf"
FOLDER = "/var/lib/px-status"
MARK = FOLDER + "/spool.db-recorded"
PAUSE_S, PAUSE_OF_FAILURE_S = 0.5, 5
# What is promised where the machine has nothing else to do; then whatever others do.
SOON_S = 3 if harness.is_sanitized() else 1
LATER_S = 60


# -- as they stand

def analyze(*args):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    if not os.path.isdir("/run/systemd") and not harness.IS_ROOT:
        pytest.skip("systemd-analyze wants to make /run/systemd, which systemd has not made here")
    return subprocess.run(["systemd-analyze", *map(str, args)], capture_output=True, text=True)


@pytest.mark.parametrize("drop_in, most", [(None, 1.5), (ROOT_DROP_IN, 2.5)], ids=["px-status", "root"])
def test_exposure(tmp_path, drop_in, most):
    unit = shutil.copy(SERVICE, tmp_path)
    if drop_in is not None:
        folder = tmp_path / (SERVICE.name + ".d")
        folder.mkdir()
        shutil.copy(drop_in, folder)
    result = analyze("security", "--offline=true", "--no-pager", unit)
    level = re.search(r"Overall exposure level for px-status-flush.service: ([\d.]+)", result.stdout)
    assert level is not None, result.stderr
    assert float(level[1]) <= most
    assert ("runs as root user" in result.stdout) == (drop_in is not None)


# -- on a machine

class System:
    """The machine with px-status on it, and what a person does there."""

    def __init__(self, running):
        self.machine = running
        self.run, self.sh, self.file = running.run, running.sh, running.file

    def install(self):
        self.machine.make("install").ended(0)
        self.file("/etc/px-status/token", "a token\n", "600")
        # Who may not dump core can't look for leaks.
        self.run("systemctl", "set-environment", "ASAN_OPTIONS=detect_leaks=0").ended(0)
        self.run("systemctl", "daemon-reload").ended(0)

    def forget(self):
        """Everything that a test before this one left."""
        self.run("systemctl", "stop", "px-status-flush.path", "px-status-flush.timer", "px-status-flush.service", "monit.service")
        self.sh("rm -rf %s/* /etc/systemd/system/px-status-flush.*.d /etc/px-device-identity /run/monit.sock; "
                "systemctl daemon-reload; systemctl reset-failed" % FOLDER).ended(0)
        self.sh("chown px-status: %s" % FOLDER).ended(0)
        self.since = time.time()

    def configure(self, url=None, extra=""):
        upstream = "" if url is None else "[upstream]\nurl = %s\nconnect_timeout = 2s\n" % url
        self.file("/etc/px-status/px-status.conf",
                  "[retry]\ninitial = 1s\nmax = 1s\n[schedule]\nsplay = 0s\n" + upstream +
                  ("" if "[snapshot]" in extra else "[snapshot]\nenabled = no\n") + extra)

    def drop_in(self, text, unit="service"):
        self.file("/etc/systemd/system/px-status-flush.%s.d/test.conf" % unit, text)
        self.run("systemctl", "daemon-reload").ended(0)

    def note_statuses(self):
        """Instead of the pause: with what status each run ends."""
        self.drop_in("[Service]\nExecStopPost=\nExecStopPost=+/bin/sh -c 'echo $$EXIT_STATUS >>/run/statuses'\n")
        self.sh(": >/run/statuses").ended(0)

    def statuses(self):
        return [int(line) for line in self.machine.read("/run/statuses").split()]

    def event(self, topic="cpu"):
        """As Monit would, as root."""
        self.run("px-status-event", topic).ended(0)

    def start(self, unit="service"):
        return self.run("systemctl", "start", "px-status-flush." + unit)

    def show(self, unit, *properties):
        out = self.run("systemctl", "show", "px-status-flush." + unit, "-p", ",".join(properties)).ended(0).out
        found = dict(line.split("=", 1) for line in out.splitlines())
        return tuple(found[name] for name in properties)

    def log(self):
        self.run("journalctl", "--sync").ended(0)
        return self.run("journalctl", "--no-pager", "-o", "cat", "--since", "@%.6f" % self.since,
                        "-u", "px-status-flush.service", "-u", "px-status-flush.path").out

    def count_starts(self):
        """From now on; the journal does not have them."""
        self.drop_in("[Service]\nExecStartPre=+/bin/sh -c 'echo >>/run/starts'\n")
        self.sh(": >/run/starts").ended(0)

    def starts(self):
        return self.machine.read("/run/starts").count("\n")

    def idle(self):
        """No run, and nothing that would start one at once."""
        return self.show("service", "ActiveState")[0] in ("inactive", "failed") and self.show("path", "SubState")[0] != "running"

    def owners(self):
        return set(self.sh("stat -c %%U %s/*" % FOLDER).out.split())


@pytest.fixture(scope="module")
def booted(root):
    with machine.running(boots=True) as running:
        system = System(running)
        system.install()
        yield system


@pytest.fixture
def system(booted):
    booted.forget()
    booted.configure()
    yield booted
    booted.run("systemctl", "stop", "px-status-flush.path", "px-status-flush.timer", "px-status-flush.service", "monit.service")


def wait_for_monit(system):
    """Its socket is there before its group and mode are."""
    system.machine.wait_until(lambda: system.run("monit", "-c", "/etc/monitrc", "-B", "summary").status == 0, "an answer of Monit")


def test_systemd_finds_nothing_wrong(system):
    names = sorted(path.name for path in UNITS.iterdir())
    assert names == ["px-status-flush.path", "px-status-flush.service", "px-status-flush.timer"]
    result = system.run("systemd-analyze", "verify", "--man=no", *("/usr/lib/systemd/system/" + name for name in names)).ended(0)
    ours = [line for line in result.err.splitlines() if "px-status" in line]
    assert ours == []


def test_the_service_delivers_as_its_own_user(system, upstream):
    """The name of upstream is looked up in the sandbox, too."""
    system.configure("http://localhost:%d" % upstream.port)
    system.event()
    system.start().ended(0)
    assert [items[0]["topic"] for items in upstream.committed.values()] == ["cpu"]
    assert system.show("service", "User", "Result", "ActiveState") == ("px-status", "success", "inactive")
    assert system.owners() == {"px-status"}
    body = upstream.requests[0].body
    assert body["boot_id"] == body["events"][0]["boot_id"] and body["uptime_ms"] >= body["events"][0]["uptime_ms"] > 0
    assert body["device"]["id"] == system.run("cat", "/etc/machine-id").out.strip()


def test_the_spool_is_made_in_the_sandbox(system, upstream):
    system.configure(upstream.url, "[snapshot]\nsource = socket\n")
    system.start().ended(0)
    [snapshot] = [items[0] for items in upstream.committed.values()]
    assert snapshot["monit"]["reachable"] is False and "/run/monit.sock" in snapshot["monit"]["error"]
    assert system.owners() == {"px-status"}


def test_monit_is_asked_by_its_socket(system, upstream):
    """As README has it: the snippet with its group, a password that the group may read."""
    if harness.MONIT is None:
        pytest.skip("monit is not installed")
    system.run("cp", harness.MONIT, "/usr/local/bin/monit").ended(0)
    snippet = (ROOT / "share" / "monitrc.d" / "httpd").read_text()
    assert "#   gid px-status" in snippet
    system.file("/etc/monitrc", "set daemon 1\n" + snippet.replace("#   gid", "    gid").replace("CHANGE-ME", "a password"), "600")
    system.file("/etc/px-status/monit.password", "a password\n", "640", "root:px-status")
    system.run("systemd-run", "--unit=monit.service", "/usr/local/bin/monit", "-I", "-c", "/etc/monitrc").ended(0)
    wait_for_monit(system)
    system.configure(upstream.url, "[snapshot]\nsource = socket\nuser = px-status\npassword_file = /etc/px-status/monit.password\n")
    system.start().ended(0)
    [snapshot] = [items[0] for items in upstream.committed.values()]
    assert snapshot["monit"]["reachable"], snapshot
    assert snapshot["services"] == [] or snapshot["services"][0]["type"] == "system"


def test_monit_is_asked_by_root_alone(system, upstream):
    """A check by root gets an answer that the unit does not get, and says so."""
    if harness.MONIT is None:
        pytest.skip("monit is not installed")
    system.run("cp", harness.MONIT, "/usr/local/bin/monit").ended(0)
    system.file("/etc/monitrc", "set daemon 1\nset httpd unixsocket /run/monit-of-root.sock\n    allow admin:admin\n", "600")
    system.run("systemd-run", "--unit=monit.service", "/usr/local/bin/monit", "-I", "-c", "/etc/monitrc").ended(0)
    wait_for_monit(system)
    system.configure(upstream.url, "[snapshot]\nsource = auto\n")
    warned = system.run("px-status-flush", "--check").ended(0).out
    assert re.search(r"^warning monit +version .*; px-status, .* cannot read '/etc/monitrc'", warned, re.MULTILINE), warned
    assert "monitrc.d/httpd" in warned
    system.start().ended(0)
    [snapshot] = [items[0] for items in upstream.committed.values()]
    assert snapshot["monit"]["reachable"] is False
    system.run("px-status-flush", "--now").ended(0)
    assert list(upstream.committed.values())[-1][0]["monit"]["reachable"] is True


def test_secrets_and_identity(system, upstream):
    """A file that the group may read; PantherX's identity file."""
    system.file("/etc/px-device-identity/device.yml", 'id: "a device"\nhost: NONE\n', "644")
    system.file("/etc/px-status/shared-token", "shared\n", "640", "root:px-status")
    system.configure(upstream.url, "auth = bearer\ntoken_file = /etc/px-status/shared-token\n[snapshot]\nenabled = no\n")
    system.event()
    system.start().ended(0)
    [request] = upstream.requests
    assert request.header("Authorization") == "Bearer shared" and request.body["device"]["id"] == "a device"


def test_a_secret_of_root_alone(system, upstream):
    """Is not for px-status; the log says which file, the unit has not failed, and a check by root warns of it."""
    system.configure(upstream.url, "auth = bearer\ntoken_file = /etc/px-status/token\n[snapshot]\nenabled = no\n")
    system.event()
    system.start().ended(0)
    assert upstream.requests == [] and "/etc/px-status/token" in system.log()
    checked = system.run("runuser", "-u", "px-status", "--", "px-status-flush", "--check").ended(harness.CONFIG)
    assert "/etc/px-status/token" in checked.out
    warned = system.run("px-status-flush", "--check").out
    assert re.search(r"^warning files +px-status, .* cannot read '/etc/px-status/token'", warned, re.MULTILINE), warned
    [advice] = re.findall(r"chgrp \S+ FILE && chmod \S+ FILE", warned)
    system.sh(advice.replace("FILE", "/etc/px-status/token")).ended(0)
    try:
        assert "warning" not in system.run("px-status-flush", "--check").out
        system.run("runuser", "-u", "px-status", "--", "cat", "/etc/px-status/token").ended(0)
    finally:
        system.file("/etc/px-status/token", "a token\n", "600")


def test_a_secret_of_another_group(system, upstream):
    """Of which px-status is a member: as the unit has it, a check by root does not warn."""
    system.sh("groupadd --system px-secrets; usermod -aG px-secrets px-status").ended(0)
    system.file("/etc/px-status/shared-token", "shared\n", "640", "root:px-secrets")
    system.configure(upstream.url, "auth = bearer\ntoken_file = /etc/px-status/shared-token\n[snapshot]\nenabled = no\n")
    assert "warning" not in system.run("px-status-flush", "--check").ended(0).out
    system.event()
    system.start().ended(0)
    assert upstream.requests[-1].header("Authorization") == "Bearer shared"


@pytest.mark.parametrize("status, script", [(75, {"status": 503}), (77, {"status": 401}), (78, {"status": 404}), (75, None)])
def test_an_outage_is_no_failure(system, upstream, status, script):
    if script is None:
        upstream.stop()
    else:
        upstream.script(default=script)
    system.configure(upstream.url)
    system.note_statuses()
    system.event()
    for _ in range(7):
        system.start().ended(0)
    assert system.statuses()[0] == status and set(system.statuses()) <= {75, status}
    assert system.show("service", "Result", "ActiveState") == ("success", "inactive")
    assert system.run("systemctl", "--failed", "--no-legend", "--plain").out == ""


def test_a_device_that_is_not_enrolled(system):
    system.note_statuses()
    for _ in range(7):
        system.start().ended(0)
    assert set(system.statuses()) == {78} and system.show("service", "Result") == ("success",)
    assert system.log().count("no URL to send to yet") == 1


def test_a_failure_that_is_over(system, upstream):
    """px-status itself can't work: that is a failure, soon and often tried it stays one unit that can be started."""
    system.configure(upstream.url)
    system.note_statuses()
    system.run("chown", "root:", FOLDER).ended(0)
    system.event()
    for _ in range(10):
        assert system.start().status == 1
    assert set(system.statuses()) == {74} and system.show("service", "Result", "ActiveState") == ("exit-code", "failed")
    system.sh("chown -R px-status: %s" % FOLDER).ended(0)
    system.start().ended(0)
    assert len(upstream.committed) == 1 and system.show("service", "ActiveState") == ("inactive",)


def test_the_journal_has_what_matters(system, upstream):
    """Nothing of a run that goes well; of others what px-status says, what systemd says of it, and the words of who has no level."""
    system.configure(upstream.url)
    system.event()
    system.start().ended(0)
    assert len(upstream.committed) == 1 and system.log() == ""
    system.configure(upstream.url, "auth = bearer\ntoken_file = /nonexistent\n[snapshot]\nenabled = no\n")
    system.event()
    system.start().ended(0)
    assert "/nonexistent" in system.log() and "Start" not in system.log()
    system.drop_in("[Service]\nExecStart=\nExecStart=/bin/sh -c 'echo a loader has no level >&2; exit 127'\n")
    assert system.start().status == 1
    log = system.log()
    assert "a loader has no level" in log and "status=127" in log and "Failed with result 'exit-code'" in log
    assert "Failed to start px-status-flush.service" in log


# -- the path

def arrives(upstream, count, within_s):
    end = time.monotonic() + within_s
    while len(upstream.committed) < count:
        assert time.monotonic() < end, "%d of %d events came in %g s" % (len(upstream.committed), count, within_s)
        time.sleep(0.01)


@pytest.mark.alone
def test_an_event_is_on_its_way_within_a_second(system, upstream):
    """What else the machine does may spoil a measurement, but not all of them."""
    def takes_s():
        count = len(upstream.committed)
        system.event()
        began = time.monotonic()
        arrives(upstream, count + 1, LATER_S)
        return time.monotonic() - began

    def takes_s_after_rest():
        system.machine.wait_until(system.idle, "the end of the run")
        return takes_s()

    def takes_s_in_the_pause():
        takes_s_after_rest()
        return takes_s()

    system.configure(upstream.url)
    system.start("path").ended(0)
    for measure in (takes_s_after_rest, takes_s_in_the_pause):
        assert any(measure() <= SOON_S for _ in range(5)), measure.__name__


def test_a_flush_does_not_start_the_next(system, upstream):
    system.configure(upstream.url)
    system.count_starts()
    system.start("path").ended(0)
    system.event()
    arrives(upstream, 1, LATER_S)
    system.machine.wait_until(system.idle, "the end of the run")
    started = system.starts()
    system.run("px-status-flush", "--now").ended(0)
    system.run("px-status", "list").ended(0)
    system.start().ended(0)
    time.sleep(2 * PAUSE_S)
    assert system.starts() == started + 1
    assert system.show("path", "ActiveState", "SubState") == ("active", "waiting")


def test_an_event_that_comes_during_a_run(system, upstream):
    """Whatever the run had looked at already."""
    system.configure(upstream.url)
    system.start("path").ended(0)
    upstream.script(lambda request: {"delay_s": 3} if any(e["topic"] == "first" for e in request.body["events"]) else {})
    system.event("first")
    upstream.wait_for(1)
    system.event("second")
    arrives(upstream, 2, LATER_S)


def test_a_storm(system, upstream):
    """1,000 events as fast as they can be recorded: all arrive, by few runs, and nothing has failed for it."""
    system.configure(upstream.url)
    system.count_starts()
    system.start("path").ended(0)
    began = time.monotonic()
    storm = "for n in $(seq 500); do px-status-event storm n=$n || exit; done"
    system.sh("(%s) & one=$!; %s && wait $one" % (storm, storm), timeout=300).ended(0)
    arrives(upstream, 1000, LATER_S)
    system.machine.wait_until(system.idle, "the end of the last run")
    assert system.starts() <= (time.monotonic() - began) / PAUSE_S + 2
    assert system.show("path", "ActiveState", "SubState") == ("active", "waiting")
    assert system.run("systemctl", "--failed", "--no-legend", "--plain").out == ""
    system.event("after")
    arrives(upstream, 1001, LATER_S)


def test_events_during_an_outage(system, upstream):
    """They start runs that end in a back-off, and when it is over the next run delivers all."""
    upstream.script(default={"status": 503})
    system.configure(upstream.url)
    system.start("path").ended(0)
    for _ in range(20):
        system.event()
    system.machine.wait_until(lambda: upstream.requests != [], "a try")
    assert system.show("path", "ActiveState")[0] == "active"
    upstream.script(default={})
    system.event("last")
    system.machine.wait_until(lambda: system.start().ended(0) and len(upstream.committed) == 21, "the delivery")


def test_a_path_over_a_folder_that_is_not_ours(system):
    """The runs fail; they do not fill the log as fast as they can, and the path waits on."""
    system.count_starts()
    system.run("chown", "root:", FOLDER).ended(0)
    system.start("path").ended(0)
    began = time.monotonic()
    for _ in range(3):
        system.event()
    system.machine.wait_until(lambda: system.starts() > 0, "a run")
    time.sleep(2)
    assert system.starts() <= 1 + (time.monotonic() - began) / PAUSE_OF_FAILURE_S
    assert system.show("path", "ActiveState") == ("active",)


# Types into the file that `systemctl edit` gives, where that says; the drop-in for /x.service is in /run/x.service.
TYPIST = """#!/bin/sh
name=$(basename "$(dirname "$1")" .d)
sed -i "2r /run/$name" "$1"
"""


@pytest.fixture
def can_move(system):
    """The machine, with who types for a person, and a monit.service."""
    system.file("/usr/local/bin/typist", TYPIST, "755")
    system.file("/usr/local/bin/editor", '#!/bin/sh\nprintf "[spool]\\npath = /srv/px-status/spool.db\\n" >>"$1"\n', "755")
    system.file("/run/systemd/system/monit.service", "[Service]\nExecStart=/bin/sleep infinity\n")
    yield system
    system.sh("rm -rf /srv/px-status /run/px-status-flush.* /run/systemd/system/monit.service /usr/local/bin/editor; "
              "install -d -m 700 -o px-status -g px-status %s; systemctl daemon-reload" % FOLDER).ended(0)


@pytest.mark.parametrize("way", [0, 1], ids=["empty", "with its contents"])
def test_a_spool_is_moved(can_move, upstream, way):
    """By the commands of px-status(8), which says two ways, and its drop-ins; the new one is delivered at once, by its path."""
    system = can_move
    page = (ROOT / "man" / "px-status.8").read_text()
    part = re.search(r"^\.Ss How do I move a spool\n(.*?)^\.Ss ", page, re.MULTILINE | re.DOTALL)[1]
    blocks = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", part, re.MULTILINE | re.DOTALL)
    assert [block.split()[0] for block in blocks] == ["#", "#", "[Service]", "[Path]"]
    for unit, text in zip(("service", "path"), blocks[2:]):
        system.file("/run/px-status-flush." + unit, text)
    upstream.script(default={"status": 503})
    system.configure(upstream.url)
    system.start("path").ended(0)
    system.event("before")
    system.machine.wait_until(lambda: upstream.requests != [] and system.idle(), "a try")
    upstream.script(default={})
    for command in re.findall("^# (.*)", blocks[way], re.MULTILINE):
        if command.startswith("systemctl edit"):    # which wants a terminal
            system.run("env", "SYSTEMD_EDITOR=typist", "script", "--quiet", "--return", "--command", command, "/dev/null").ended(0)
        else:
            system.sh(command).ended(0)
    if way == 1:
        system.start("path").ended(0)
    for count in (1, 2):
        system.event("after")
        arrives(upstream, 1 + count, LATER_S)
    system.machine.wait_until(system.idle, "the end of the run")
    spool = {items[0]["topic"]: body["spool"]["id"] for body in (request.body for request in upstream.requests)
             for items in [body["events"]] if items}
    assert (spool["before"] == spool["after"]) == (way == 1)
    assert system.run("ls", "-A", FOLDER).ended(0).out == ""     # it stays, for a recorder that finds no valid path
    system.machine.wait_until(lambda: system.run("test", "-e", "/srv/px-status/spool.db-recorded").status == 1, "the end of the mark")


# -- the timer

def test_the_timer_starts_the_service(system, upstream):
    system.configure(upstream.url)
    system.event()
    system.file("/run/systemd/system/px-status-flush.timer.d/soon.conf",
                "[Timer]\nOnCalendar=*:*:*\nRandomizedDelaySec=0\nAccuracySec=10ms\n")
    system.run("systemctl", "daemon-reload").ended(0)
    try:
        system.start("timer").ended(0)
        arrives(upstream, 1, LATER_S)
    finally:
        system.run("systemctl", "stop", "px-status-flush.timer")
        system.sh("rm -r /run/systemd/system/px-status-flush.timer.d && systemctl daemon-reload").ended(0)


def test_the_timer_is_enabled_and_spread(system):
    system.run("systemctl", "enable", "--now", "px-status-flush.timer", "px-status-flush.path").ended(0)
    calendar, persistent, delay = system.show("timer", "TimersCalendar", "Persistent", "RandomizedDelayUSec")
    assert "*-*-* *:*:00" in calendar and persistent == "yes" and delay == "10s"
    system.run("systemctl", "is-active", "px-status-flush.timer", "px-status-flush.path").ended(0)
    system.run("systemctl", "disable", "--now", "px-status-flush.timer", "px-status-flush.path").ended(0)


# -- as root

def test_root_for_commands(system, upstream):
    """The drop-in as it says itself: both commands run as root, the spool is px-status's all the same."""
    lines = ROOT_DROP_IN.read_text().split("To use it:")[1].split("[Service]")[0]
    system.sh(re.sub(r"^# *", "", lines, flags=re.MULTILINE)).ended(0)
    for command, words in (("status", "Monit 5.33.0 uptime: 3m\\n\\nSystem '$(id -un)'\\n  status  OK\\n"), ("token", "$(id -un)")):
        system.file("/usr/local/sbin/a-" + command, '#!/bin/sh\nprintf "%s"\n' % words, "700")
    system.configure(upstream.url, "auth = bearer\ntoken_command = a-token\n[snapshot]\nsource = command\ncommand = a-status\n")
    system.event()
    system.start().ended(0)
    assert upstream.requests[0].header("Authorization") == "Bearer root"
    snapshot = next(item for item in upstream.requests[0].body["stats"])
    assert [service["name"] for service in snapshot["services"]] == ["root"]
    assert re.fullmatch(UUID_V7, snapshot["id"]) and system.owners() == {"px-status"}
    assert system.run("test", "-e", MARK).status == 1
