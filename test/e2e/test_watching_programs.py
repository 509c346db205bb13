# SPDX-License-Identifier: MIT
"""
Snippets that watch with programs of share/checks: software, backup, errors, breach. Real Monit runs each as it is, but for
paths, limits and waiting; the thing happens; what Monit makes of it reaches upstream.
"""
import json
import os
import re
import shutil
import time

import pytest

from harness import BUILD, EVENT, IS_ROOT, MONIT, ROOT

pytestmark = pytest.mark.long

CHECKS = ROOT / "share" / "checks"
DAY = 86400


def uncommented(text):
    """With the blocks that stand there as comments."""
    return re.sub(r"^# ((?:# )?(?: *)(?:check|ignore|if|then|else) )", r"\1", text, flags=re.MULTILINE)


class Watch:
    """A system of its own below the device's folder, watched by the snippet ${name}."""

    def __init__(self, device, upstream, start_monit, name):
        self.device, self.upstream, self._start = device, upstream, start_monit
        self.root = device.folder / "root"
        self.programs = device.folder / "programs"
        self.state = device.folder / "baseline"
        for folder in ("etc", "run", "var/log", "var/backups", "var/lib/dpkg/info", "tmp"):
            (self.root / folder).mkdir(parents=True)
        self.programs.mkdir()
        (self.programs / "monit").symlink_to(MONIT)
        text = uncommented((ROOT / "share" / "monitrc.d" / name).read_text())
        text = text.replace("/usr/bin/px-status-event", "%s -c %s" % (EVENT, device.config))
        text = re.sub(r"/usr/share/px-status/checks/[a-z-]+(?=[ \"\n])", lambda match: "%s/%s -r %s -s %s -p %s -p %s" % (
            CHECKS, match[0].rsplit("/", 1)[1], self.root, self.state, BUILD, self.programs), text)
        text = re.sub(r"with path /(?=etc|var)", "with path %s/" % self.root, text)
        text = re.sub(r"every \d+ cycles| for \d+ cycles", "", text)
        text = text.replace("uid root", "uid %d" % os.geteuid()).replace("gid root", "gid %d" % os.getegid())
        self.text = text
        self.monit = None

    def file(self, name, content="", mode=0o644, age_s=0):
        """All at once, so that nobody sees half of it."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = self.device.file("new", content, mode)
        if age_s:
            os.utime(new, (time.time() - age_s,) * 2)
        new.rename(path)
        return path

    def append(self, name, *lines):
        with open(self.root / name, "a", encoding="utf-8") as log:
            log.writelines("Nov 22 14:55:47 vm %s\n" % line for line in lines)

    def start(self, *known):
        """Monit, until each service of ${known} has something to say."""
        self.monit = self._start(self.text)
        for service, text in known:
            self.wait(lambda service=service, text=text: text in self.status_of(service), "%s: %s" % (service, text))

    def stop(self):
        self.monit.stop()

    def status_of(self, service):
        return next((part for part in self.monit.said().split("\n\n") if re.match(r"\w+ '%s'" % service, part)), "")

    def wait(self, is_so, what, timeout_s=60):
        self.monit.wait_until(is_so, what, timeout_s)

    def events(self, service):
        """Of this service, oldest first, each as (category, state) and description."""
        lines = self.device.status("export").ended(0).out.splitlines()
        events = [json.loads(line)["item"] for line in lines]
        return [((event["monit"]["category"], event["monit"]["state"]), event["monit"]["description"], event)
                for event in events if event["monit"]["service"] == service]

    def comes(self, service, *wanted):
        """
        Waits until the events of this service are these, (category, state) each; their descriptions. Those that Monit raises
        in the same cycle are recorded in any order: a set of them.
        """
        groups = [group if isinstance(group, set) else {group} for group in wanted]
        count = sum(map(len, groups))

        def came():
            return [kind for kind, _, _ in self.events(service)]
        self.wait(lambda: len(came()) >= count, "%s of %s" % (wanted, service))
        kinds = came()
        for group in groups:
            assert set(kinds[:len(group)]) == group, "%s of %s: %s" % (wanted, service, came())
            del kinds[:len(group)]
        assert kinds == []
        return [description for _, description, _ in self.events(service)]

    def reaches_upstream(self, topic):
        """Flushes; all events were of this topic and arrive once; the last output or the values of each service."""
        recorded = {item["id"] for item in self.device.list()}
        self.device.configure(self.upstream, snapshot={"enabled": "yes", "source": "command", "command": self.monit.command})
        self.device.flush("--now").ended(0)
        assert recorded < set(self.upstream.committed) and self.device.list() == []
        assert all(len(items) == 1 for items in self.upstream.committed.values())
        assert {item[0]["topic"] for item in self.upstream.committed.values() if "topic" in item[0]} == {topic}
        assert not any("problems" in items[0] for items in self.upstream.committed.values())
        snapshot = next(items[0] for items in self.upstream.committed.values() if "services" in items[0])
        return {service["name"]: service for service in snapshot["services"]}


@pytest.fixture
def watch(device, upstream, start_monit):
    return lambda name: Watch(device, upstream, start_monit, name)


FAILED, SUCCEEDED = ("status", "failed"), ("status", "succeeded")


def packages(**versions):
    """The content of dpkg's status file."""
    return "".join("Package: %s\nStatus: install ok installed\nArchitecture: all\nMaintainer: x\nDescription: x\nVersion: %s\n\n" % item
                   for item in versions.items())


needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="no dpkg here")


def test_each_snapshot_has_the_versions():
    """Monit shows the output of a program that it does not run in each cycle only sometimes."""
    block = re.search(r"^check program px_software .*?(?=^#|^check|\Z)", (ROOT / "share/monitrc.d/software").read_text(),
                      re.MULTILINE | re.DOTALL)[0]
    assert not re.search(r"^ *every ", block, re.MULTILINE)


@needs_dpkg
def test_software(watch):
    """Packages change while Monit runs, again at once, and while it is stopped; a reboot is required and then done."""
    system = watch("software")
    system.file("etc/os-release", 'NAME=x\nPRETTY_NAME="Test OS 12 (worm)"\n')
    system.file("var/lib/dpkg/status", packages(bash="5.2", sed="4.9", gone="1"))
    system.start(("px_software", "packages: 3"), ("px_reboot", "not required"))

    system.file("var/lib/dpkg/status", packages(bash="5.3", sed="4.9", new="2"))
    system.file("run/reboot-required.pkgs", "linux-image\nlibc6\n")
    system.file("run/reboot-required")
    first = system.comes("px_software", FAILED)[0]
    assert "3 changes: bash 5.2 -> 5.3, -gone 1, +new 2" in first[:400]
    # While that is being told, and none of it may get lost.
    system.file("var/lib/dpkg/status", packages(bash="5.3", sed="4.10", new="2"))
    assert "reboot: required, asked for by libc6 linux-image" in system.comes("px_reboot", FAILED)[0]
    (system.root / "run/reboot-required").unlink()
    assert "1 change: sed 4.9 -> 4.10" in system.comes("px_software", FAILED, SUCCEEDED, FAILED, SUCCEEDED)[2]
    assert "not required" in system.comes("px_reboot", FAILED, SUCCEEDED)[1]

    system.stop()
    system.file("var/lib/dpkg/status", packages(bash="5.3", sed="4.10", new="3"))
    system.start()
    assert "1 change: new 2 -> 3" in system.comes("px_software", *[FAILED, SUCCEEDED] * 3)[4]

    services = system.reaches_upstream("software")
    output = dict(line.split(": ", 1) for line in services["px_software"]["values"]["last_output"].splitlines())
    assert list(output) == ["os", "kernel", "monit", "px-status", "packages", "set"]
    assert output["os"] == "Test OS 12 (worm)" and output["kernel"] == os.uname().release
    assert re.fullmatch(r"\d+\.\d+\.\d+", output["monit"]) and re.fullmatch(r"\d+\.\d+\.\d+", output["px-status"])
    assert output["packages"] == "3 (dpkg)" and re.fullmatch("[0-9a-f]{64}", output["set"])
    assert services["px_software"]["state"] == "ok" and services["px_reboot"]["state"] == "ok"


def test_backup(watch):
    """Missing, too old, too small and well, with one name and with names that have dates."""
    system = watch("backup")
    latest, dated = "var/backups/latest.tar.gz", "var/backups/db-2026-11-2%d.tar.gz"
    size_failed, size_ok = ("size", "failed"), ("size", "succeeded")
    old, young = ("timestamp", "failed"), ("timestamp", "succeeded")
    nonexist, exists = ("nonexist", "failed"), ("nonexist", "succeeded")
    system.text = system.text.replace("size < 1 MB", "size < 1 kB").replace("-m 1M", "-m 1k")
    system.start()
    system.comes("px_backup", nonexist)
    assert "missing" in system.comes("px_backup_newest", FAILED)[0]
    assert "backup: missing" in system.status_of("px_backup_age")

    system.file(latest, "x" * 2048, age_s=27 * 3600)
    assert "modify time for %s" % (system.root / latest) in "".join(system.comes("px_backup", nonexist, {exists, old}))
    # Another name, written earlier, and yet younger by its time.
    newest = "".join(system.comes("px_backup_newest", FAILED, {SUCCEEDED, FAILED}))
    assert "too old, the limit is 93600 s" in newest and "age: 27.0 h" in newest

    system.file(latest, "x" * 10)
    system.file(dated % 1, "x" * 3000, age_s=40 * 3600)
    system.wait(lambda: {size_failed, young} <= {kind for kind, _, _ in system.events("px_backup")}, "a small one")
    small = next(event for kind, _, event in system.events("px_backup") if kind == size_failed)
    assert small["measurement"]["value"] == 10 and small["measurement"]["unit"] == "B"
    system.wait(lambda: any("too small" in text for _, text, _ in system.events("px_backup_newest")), "a small newest one")
    system.file(dated % 2, "x" * 4000)
    system.file(latest, "x" * 5000, age_s=2 * 3600)
    system.wait(lambda: size_ok in {kind for kind, _, _ in system.events("px_backup")}, "the recovery of the size")
    system.wait(lambda: "status succeeded (0)" in system.events("px_backup_newest")[-1][1], "a good newest one")
    assert [kind for kind, _, _ in system.events("px_backup_newest")].count(FAILED) == 3

    # What cannot be looked at is neither there nor missing.
    system.device.file("programs/xargs", "#!/bin/sh\nexit 1\n", 0o755)
    assert "cannot look" in system.comes("px_backup_age", FAILED)[0]
    system.wait(lambda: "cannot look" in system.events("px_backup_newest")[-1][1], "the newest one out of sight")
    (system.programs / "xargs").unlink()
    system.comes("px_backup_age", FAILED, SUCCEEDED)
    system.wait(lambda: "status succeeded (0)" in system.events("px_backup_newest")[-1][1], "a good newest one, seen again")

    system.wait(lambda: "age: 2.0 h" in system.status_of("px_backup_age"), "the age")
    services = system.reaches_upstream("backup")
    assert "age: 2.0 h (72" in services["px_backup_age"]["values"]["last_output"]
    assert "size: 4.9 kB (5000 B)" in services["px_backup_age"]["values"]["last_output"]
    assert services["px_backup"]["values"]["size"] == {"bytes": 5018}
    assert "newest: /var/backups/db-2026-11-22.tar.gz" in services["px_backup_newest"]["values"]["last_output"]
    assert {service["state"] for service in services.values() if service["name"].startswith("px_")} == {"ok"}


def test_errors(watch):
    """Lines of kernel and services, a flood of them, and while Monit is stopped; failed units; file systems with errors."""
    system = watch("errors")
    for name in ("kern.log", "syslog", "app.log"):
        system.file("var/log/" + name, "Nov 22 14:00:00 vm kernel: EXT4-fs error of long ago\nNov 22 14:00:00 vm cron[1]: error\n")
    system.file("run/systemd/system/.keep")
    system.device.file("programs/systemctl", "#!/bin/sh\ncat %s\n" % system.file("units"), 0o755)
    for name in ("sda1", "sda2"):
        system.file("sys/fs/ext4/%s/errors_count" % name, "0\n")
    system.file("sys/fs/ext4/sda1/last_error_time", "1795573000\n")
    system.file("sys/fs/ext4/sda1/last_error_func", "ext4_find_entry\n")
    system.start(("px_kernel_errors", "no new errors"), ("px_service_errors", "no new errors"), ("px_failed_units", "failed units: 0"),
                 ("px_filesystem_errors", "0 of 2"))

    system.append("var/log/kern.log", "kernel: eth0: link up", "kernel: [1.2] Buffer I/O error on dev sda1\x1b[31m")
    with system.monit.held():       # who looked in the midst of the flood would tell a part of it
        system.append("var/log/syslog", "kernel: Out of memory: Killed process 1 (x)", "monit[1]: 'px' failed", "px-status-flush[2]: error")
        system.append("var/log/syslog", *["app[7]: fatal error %d" % number for number in range(5000)])
    system.append("var/log/app.log", "app: FATAL, no disk", "app: harmless error, ERROR")
    system.file("units", "nginx.service loaded failed failed A server\n")
    system.file("sys/fs/ext4/sda1/errors_count", "3\n")
    assert "kernel: 1 new error\nfirst: Nov 22 14:55:47 vm kernel: [1.2] Buffer I/O error on dev sda1?[31m" in system.comes(
        "px_kernel_errors", FAILED)[0]
    flood = system.comes("px_service_errors", FAILED)[0]
    assert "services: 5000 new errors" in flood and "fatal error 0\n" in flood and "fatal error 4999" in flood and "monit" not in flood
    assert "app: FATAL, no disk" in system.comes("px_app_log", ("content", "changed"))[0]
    assert "failed units: 1\nnginx.service" in system.comes("px_failed_units", FAILED)[0]
    assert "ext4 sda1: 3 errors, last 2026-11-25T02:16:40Z in ext4_find_entry" in system.comes("px_filesystem_errors", FAILED)[0]

    # A second one beside the first is news; that the first one lasts is none.
    system.file("units", "nginx.service loaded failed failed A server\ncron.service loaded failed failed Another\n")
    system.file("sys/fs/ext4/sda2/errors_count", "1\n")
    assert "failed units: 2" in system.comes("px_failed_units", FAILED, FAILED)[1]
    assert "ext4 sda2: 1 errors" in system.comes("px_filesystem_errors", FAILED, FAILED)[1]
    system.file("units", "cron.service loaded failed failed Another\n")
    system.file("sys/fs/ext4/sda2/errors_count", "2\n")
    assert "failed units: 1\ncron.service" in system.comes("px_failed_units", FAILED, FAILED, FAILED)[2]
    assert "ext4 sda2: 2 errors" in system.comes("px_filesystem_errors", FAILED, FAILED, FAILED)[2]
    system.comes("px_kernel_errors", FAILED, SUCCEEDED)
    system.comes("px_service_errors", FAILED, SUCCEEDED)
    system.file("units")
    for name in ("sda1", "sda2"):
        system.file("sys/fs/ext4/%s/errors_count" % name, "0\n")
    system.comes("px_failed_units", FAILED, FAILED, FAILED, SUCCEEDED)
    system.wait(lambda: system.events("px_filesystem_errors")[-1][0] == SUCCEEDED, "the recovery of the file systems")

    system.stop()
    system.append("var/log/kern.log", "kernel: XFS (sda1): metadata I/O error")
    (system.root / "var/log/kern.log").rename(system.root / "var/log/kern.log.1")
    system.file("var/log/kern.log")
    system.append("var/log/kern.log", "kernel: BUG: soft lockup")
    system.append("var/log/app.log", "app: PANIC")
    system.start()
    text = system.comes("px_kernel_errors", *[FAILED, SUCCEEDED] * 2)[2]
    assert "2 new errors" in text and "first: Nov 22 14:55:47 vm kernel: XFS" in text and "last: Nov 22 14:55:47 vm kernel: BUG" in text
    assert "PANIC" in system.comes("px_app_log", *[("content", "changed")] * 2)[1]
    assert len(system.events("px_service_errors")) == 2

    services = system.reaches_upstream("errors")
    assert services["px_failed_units"]["values"]["last_output"] == "failed units: 0"
    assert services["px_kernel_errors"]["values"]["last_exit_value"] == 0


@needs_dpkg
def test_breach(watch):
    """Files change while Monit runs and while it is stopped; modes and owners; a setuid file; a program of a package."""
    system = watch("breach")
    for name, mode in (("passwd", 0o644), ("group", 0o644), ("shadow", 0o640), ("ssh/sshd_config", 0o600), ("pam.d/common-auth", 0o644)):
        system.file("etc/" + name, "one\n", mode)
    system.file("usr/bin/tool", "good", 0o755)
    system.file("var/lib/dpkg/status", packages(tool="1"))
    system.file("var/lib/dpkg/info/format", "1\n")
    system.file("var/lib/dpkg/info/tool.list", "/.\n/usr\n/usr/bin\n/usr/bin/tool\n")
    system.file("var/lib/dpkg/info/tool.md5sums", "755f85c2723bb39381c7379a604160d8  usr/bin/tool\n")
    system.file("usr/bin/su", "su", 0o4755)
    system.start(("px_passwd", "checksum"), ("px_group", "checksum"), ("px_shadow", "checksum"), ("px_files", "as in the baseline"),
                 ("px_setuid", "setuid: 1 as in"), ("px_packages", "are as in Debian's packages"))

    accounts = {"passwd": 0o644, "group": 0o644, "shadow": 0o640}
    came = {name: [] for name in accounts}

    def accounts_come(*kinds):
        """One event of each kind more, for each of the three."""
        for name in accounts:
            came[name].append({kind for kind in kinds if (name, kind[0]) != ("shadow", "gid")})
            system.comes("px_" + name, *came[name])

    def last_says(service, text):
        """A look may fall between two of our steps; then there is one event more on the way there."""
        system.wait(lambda: system.events(service) and text in system.events(service)[-1][1], "%r from %s" % (text, service))

    def file_changes_come(text):
        last_says("px_files", text)

    for name in accounts:
        system.file("etc/" + name, "one\nmallory\n", 0o666)
    system.file("usr/bin/tool", "evil", 0o755)
    system.file("tmp/sh", "sh", 0o4755)
    accounts_come(("checksum", "changed"), ("permission", "failed"))
    file_changes_come("/etc/passwd: content, mode -rw-r--r-- -> -rw-rw-rw-\n/etc/shadow: content, mode -rw-r----- -> -rw-rw-rw-")
    last_says("px_setuid", "/tmp/sh: added")
    last_says("px_packages", "/usr/bin/tool: content")

    # The accounts as they were; more of the others.
    for name, mode in accounts.items():
        system.file("etc/" + name, "one\n", mode)
    system.file("usr/bin/tool", "worse", 0o755)
    system.file("tmp/sh2", "sh", 0o2755)
    accounts_come(("checksum", "changed"), ("permission", "succeeded"))
    file_changes_come("as in the baseline")
    last_says("px_setuid", "setuid: 2 not as")
    system.wait(lambda: len(system.events("px_packages")) >= 2, "the program of the package once more")

    for name in accounts:
        (system.root / "etc" / name).rename(system.root / name)
    system.file("usr/bin/tool", "worst", 0o755)
    (system.root / "tmp/sh").chmod(0o755)
    accounts_come(("nonexist", "failed"))
    file_changes_come("/etc/group: removed\n/etc/passwd: removed\n/etc/shadow: removed")
    last_says("px_setuid", "setuid: 1 not as")
    system.wait(lambda: len(system.events("px_packages")) >= 3, "the program of the package a third time")

    # All as it was.
    for name in accounts:
        (system.root / name).rename(system.root / "etc" / name)
    system.file("usr/bin/tool", "good", 0o755)
    (system.root / "tmp/sh2").unlink()
    accounts_come(("nonexist", "succeeded"))
    file_changes_come("as in the baseline")
    last_says("px_setuid", "setuid: 1 as in")
    last_says("px_packages", "are as in Debian's packages")
    for service in ("px_setuid", "px_packages"):
        kinds = [kind for kind, _, _ in system.events(service)]
        assert kinds[:3] == [FAILED] * 3 and kinds[-1] == SUCCEEDED
    if IS_ROOT:
        for owner, kind in ((65534, "failed"), (0, "succeeded")):
            for name in accounts:
                os.chown(system.root / "etc" / name, owner, owner)
            accounts_come(("uid", kind), ("gid", kind))
            file_changes_come("owner 0:0 -> 65534:65534" if owner else "as in the baseline")

    # While nobody looks.
    system.stop()
    before = len(system.events("px_files"))
    system.file("etc/passwd", "one\neve\n")
    system.file("etc/ssh/sshd_config", "PermitRootLogin yes\n", 0o600)
    system.file("etc/sudoers.d/eve", "eve ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    system.start()
    system.wait(lambda: len(system.events("px_files")) > before, "what was changed while Monit was stopped")
    kind, text, _ = system.events("px_files")[before]
    assert kind == FAILED and "/etc/passwd: content\n/etc/ssh/sshd_config: content\n" in text and "/etc/sudoers.d/eve: added" in text
    # And again, before the first is accepted.
    system.file("etc/pam.d/common-auth", "auth sufficient pam_permit.so\n")
    system.wait(lambda: len(system.events("px_files")) > before + 1, "a further change")
    assert "/etc/pam.d/common-auth: content" in system.events("px_files")[before + 1][1]
    system.file("root/.ssh/authorized_keys", "ssh-ed25519 AAAA eve\n")
    system.wait(lambda: len(system.events("px_files")) > before + 2, "one more")
    assert "files: 6 not as" in system.events("px_files")[before + 2][1]

    shown = system.device.run(CHECKS / "breach", "-s", system.state, "show", "files").ended(0).out
    assert len(shown.splitlines()) == 6 and "/etc/sudoers.d: added" in shown
    assert "accepted: 6" in system.device.run(CHECKS / "breach", "-s", system.state, "accept", "files").ended(0).out
    system.wait(lambda: system.events("px_files")[-1][0] == SUCCEEDED, "the recovery after it was accepted")
    assert [kind for kind, _, _ in system.events("px_files")[before:]] == [FAILED, FAILED, FAILED, SUCCEEDED]

    services = system.reaches_upstream("breach")
    assert services["px_files"]["state"] == "ok" and "as in the baseline of 20" in services["px_files"]["values"]["last_output"]
    assert services["px_passwd"]["values"]["checksum"]["algorithm"] == "SHA1"
