# SPDX-License-Identifier: MIT
"""The Debian package: built as `make deb` builds it, and on a machine of its own through its whole life; see machine.py."""
import datetime
import fcntl
import os
import re
import shutil
import subprocess

import pytest

import harness
import machine
from harness import ROOT

pytestmark = pytest.mark.long

FOLDER = "/var/lib/px-status"
CONF = "/etc/px-status/px-status.conf"
AVAILABLE, ENABLED = "/etc/monit/conf-available", "/etc/monit/conf-enabled"


def version():
    return re.search(r"^VERSION = (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The package that is tested, built once for all workers."""
    if harness.is_sanitized():
        pytest.skip("a package is not built with sanitizers")
    if any(shutil.which(program) is None for program in ("dpkg-buildpackage", "dh", "lintian")):
        pytest.skip("debhelper, dpkg-dev and lintian are needed")
    folder = tmp_path_factory.getbasetemp().parent / "px-status-deb"
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        log = folder / "log"
        if not log.exists():
            made = subprocess.run([ROOT / "test" / "tools" / "make-deb", folder], capture_output=True, text=True, stdin=subprocess.DEVNULL)
            log.write_text("%d\n%s%s" % (made.returncode, made.stdout, made.stderr))
        said = log.read_text()
    assert said.startswith("0\n"), said
    [found] = folder.glob("px-status_*.deb")
    return found, said


def test_all_changelogs_end_with_this_version():
    """The newest first, and of one day."""
    ours = re.search(r"^## \[(\d\S*)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    debian = (ROOT / "share/packaging/debian/changelog").read_text()
    day = datetime.datetime.strptime(re.search(r"^ -- .*  (.*)$", debian, re.MULTILINE)[1], "%a, %d %b %Y %H:%M:%S %z").date()
    assert ours[1] == version() and debian.startswith("px-status (%s) " % version()) and ours[2] == str(day)


def test_it_is_built_and_lintian_finds_nothing(package):
    found, said = package
    assert found.name.startswith("px-status_%s_" % version())
    assert [line for line in said.splitlines() if re.match("[EWN]: ", line)] == []
    # An override says why.
    lines = (ROOT / "share/packaging/debian/px-status.lintian-overrides").read_text().splitlines()
    assert all(lines[at - 1].startswith("#") for at, line in enumerate(lines) if not line.startswith("#"))


def test_what_is_in_it(package):
    listed = subprocess.run(["dpkg-deb", "-c", package[0]], check=True, capture_output=True, text=True).stdout
    files = {line.split()[5][1:]: line.split()[:2] for line in listed.splitlines()}
    assert {owner for _, owner in files.values()} == {"root/root"}
    assert [name for name in files if name.startswith("/var")] == []
    snippets = {path.name for path in (ROOT / "share" / "monitrc.d").iterdir()} - {"httpd"}
    names = {name if name == "px-status" else "px-status-" + name for name in snippets}
    assert {os.path.basename(name) for name in files if name.startswith(AVAILABLE + "/") and name[-1] != "/"} == names
    assert {"/usr/lib/systemd/system/px-status-flush." + unit for unit in ("service", "timer", "path")} <= files.keys()
    assert {"/usr/lib/sysusers.d/px-status.conf", "/usr/lib/tmpfiles.d/px-status.conf"} <= files.keys()


def test_what_it_depends_on(package):
    """libcurl, which no tool finds in a program that loads it, too."""
    found = subprocess.run(["dpkg-deb", "-f", package[0], "Depends"], check=True, capture_output=True, text=True).stdout
    names = {re.match(r"[^ ]+", one)[0] for one in found.strip().split(", ")}
    assert {"libc6", "libcjson1", "libcurl4", "libinih1", "libsqlite3-0", "zlib1g"} <= names


def next_version(package, folder):
    """The same package, as the next version with other defaults would be."""
    tree = folder / "next"
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    for path, old, new in ((tree / "DEBIAN/control", "Version: " + version(), "Version: %s+next" % version()),
                           (tree / CONF[1:], "[device]\n", "# Of the next version.\n[device]\n"),
                           (tree / AVAILABLE[1:] / "px-status-disk", "#", "# Of the next version.\n#")):
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, folder / "next.deb"], check=True, capture_output=True)
    return folder / "next.deb"


def copied(system, path):
    """Onto the machine, which need not see what is made while it runs."""
    with open(path, "rb") as file:
        system.run("install", "-m", "644", "/dev/stdin", "/" + path.name, stdin=file).ended(0)
    return "/" + path.name


def test_its_life(root, package, tmp_path, upstream):
    """Installed, used, upgraded with a configuration that was edited, removed, installed again, purged: by dpkg."""
    with machine.running(boots=True) as system:
        system.sh("rm -f /usr/sbin/policy-rc.d; mkdir -p %s; dpkg --configure -a" % ENABLED)
        first, second = copied(system, package[0]), copied(system, next_version(package[0], tmp_path))

        result = system.run("dpkg", "-i", first)
        if "dependency problems" in result.err:
            pytest.skip("what the package needs is not on this machine: " + result.err)
        result.ended(0)
        assert system.run("stat", "-c", "%U:%G %a", FOLDER).out.strip() == "px-status:px-status 700"
        system.run("systemctl", "is-active", "px-status-flush.timer", "px-status-flush.path").ended(0)
        system.run("systemctl", "is-enabled", "px-status-flush.timer", "px-status-flush.path").ended(0)
        if harness.MONIT is not None:
            check_snippets(system)

        system.file(CONF, "[upstream]\nurl = %s\n[snapshot]\nenabled = no\n[schedule]\nsplay = 0s\n" % upstream.url)
        system.run("px-status-event", "hello").ended(0)
        upstream.wait_for(1)
        system.run("systemctl", "disable", "--now", "px-status-flush.path").ended(0)
        system.run("px-status-event", "later").ended(0)

        system.run("dpkg", "-i", "--force-confdef", "--force-confold", second).ended(0)
        assert upstream.url in system.read(CONF) and "Of the next version." in system.read(CONF + ".dpkg-dist")
        assert "Of the next version." in system.read(AVAILABLE + "/px-status-disk")
        assert system.run("systemctl", "is-enabled", "px-status-flush.path").out.strip() == "disabled"
        system.run("systemctl", "is-active", "px-status-flush.timer").ended(0)

        system.run("ln", "-s", "../conf-available/px-status-disk", ENABLED + "/px-status-disk").ended(0)
        system.run("/usr/bin/python3", "-m", "py_compile", "/usr/share/px-status/examples/receiver.py").ended(0)
        system.file("/etc/monit/conf.d/mine", 'check file x path /x\n  if changed checksum then exec "/usr/bin/px-status-event"\n')
        said = system.run("dpkg", "-r", "px-status").ended(0).out
        assert "removed %s/px-status-disk" % ENABLED in said and "/etc/monit/conf.d/mine still names" in said
        assert system.run("systemctl", "is-active", "px-status-flush.timer").status != 0
        assert upstream.url in system.read(CONF)
        system.run("test", "-e", FOLDER + "/spool.db").ended(0)

        system.run("dpkg", "-i", "--force-confold", second).ended(0)
        system.run("systemctl", "start", "px-status-flush.service").ended(0)
        assert [items[0]["topic"] for items in upstream.committed.values()] == ["hello", "later"]

        system.file("/etc/px-status/token", "mine\n", "600")
        system.run("dpkg", "-P", "px-status").ended(0)
        assert [path for path in sorted(system.changes("/etc", "/usr", "/var/lib")) if "px-status" in path] == [
            "/etc/px-status", "/etc/px-status/token"]
        system.run("getent", "passwd", "px-status").ended(0)
        system.run("test", "-e", "/etc/monit/conf.d/mine").ended(0)


def check_snippets(system):
    """Each that is ready to link, linked, and all together, as Monit's own package includes them."""
    system.run("cp", harness.MONIT, "/usr/bin/monit").ended(0)
    system.file("/etc/monit/monitrc", "set daemon 60\ninclude %s/*\n" % ENABLED, "600")
    for name in system.run("ls", AVAILABLE).out.split():
        if name.startswith("px-status"):
            system.run("ln", "-s", "../conf-available/" + name, ENABLED).ended(0)
            assert "syntax OK" in system.run("monit", "-t", "-c", "/etc/monit/monitrc").ended(0).out
    system.sh("rm /usr/bin/monit /etc/monit/monitrc %s/px-status*" % ENABLED).ended(0)
