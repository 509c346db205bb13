# SPDX-License-Identifier: MIT
"""What all programs of share/checks hold to; software, reboot-required and backup."""
import os
import pathlib
import tempfile
import threading
import time

import pytest

from checks import CHECKS, applets, checks, dpkg  # noqa: F401, fixtures
from harness import IS_ROOT, run

NAMES = sorted(path.name for path in CHECKS.iterdir() if path.name != "common")


def arguments(name):
    return {"backup": ["/nothing"], "breach": ["files", "/nothing"], "log-errors": ["kernel"]}.get(name, [])


# -- all of them

def test_on_a_system_that_has_nothing(checks):
    """No dpkg, no systemd, no log: they say what they have, and that is no alarm; a backup alone has to be there."""
    for name in sorted({*NAMES} - {"gateway"}):
        result = checks.run(name, *arguments(name)).ended(1 if name == "backup" else 0)
        assert result.out and result.err == "" and len(result.out) <= 500


def test_mistakes(checks):
    for name in NAMES:
        for args in (["-Z"], ["-s"], ["-t", "soon", *arguments(name)]):
            result = checks.run(name, *args).ended(64)
            assert result.out == "" and result.err.startswith(name + ": ")
    assert not checks.state.exists()


@pytest.mark.alone
def test_by_hand_nothing_is_written_and_nothing_is_ever_left_behind(checks):
    def temporary():
        return {path for path in pathlib.Path("/tmp").glob("px-status-checks.*") if path.stat().st_uid == os.geteuid()}
    before = temporary()
    for name in NAMES:
        checks.run(name, *arguments(name), monit=False)
        assert not checks.state.exists()
    assert temporary() <= before


def test_what_was_killed_is_tidied_up_after(checks):
    folders = [pathlib.Path(tempfile.mkdtemp(prefix="px-status-checks.", dir="/tmp")) for _ in range(2)]
    (folders[0] / "inside").touch()
    os.utime(folders[0], (time.time() - 7200,) * 2)
    checks.run("reboot-required").ended(0)
    assert not folders[0].exists() and folders[1].exists()
    folders[1].rmdir()


@pytest.mark.parametrize("wrong, why", [("link", "is not a folder"), ("file", "is not a folder"), ("0777", "others have permissions"),
                                        ("0750", "others have permissions"), ("owner", "belongs to another user")])
def test_a_state_folder_that_others_have_a_hand_in(checks, wrong, why):
    if wrong == "link":
        (checks.device.folder / "elsewhere").mkdir(mode=0o700)
        checks.state.symlink_to(checks.device.folder / "elsewhere")
    elif wrong == "file":
        checks.state.touch(0o600)
    else:
        checks.state.mkdir()
        if wrong == "owner":
            if not IS_ROOT:
                pytest.skip("needs root")
            os.chown(checks.state, 65534, 65534)
        checks.state.chmod(int(wrong, 8) if wrong.startswith("0") else 0o700)
    result = checks.run("software").ended(78)
    assert why in result.err and str(checks.state) in result.err
    assert not checks.state.is_dir() or list(checks.state.iterdir()) == []


def test_the_state_folder_is_for_its_owner(checks):
    checks.file("etc/x")
    checks.run("breach", "files", "/etc").ended(0)
    assert checks.state.stat().st_mode & 0o7777 == 0o700
    assert {path.stat().st_mode & 0o7777 for path in checks.state.iterdir()} == {0o600}
    assert {path.name for path in checks.state.iterdir()} == {"files.base", "files.found"}


def test_many_at_once_make_the_folder(checks):
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(checks.run("filesystem-errors").status)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [0] * 8


def test_state_that_cannot_be_written(checks):
    checks.file("etc/x")
    (checks.state / "files.base.new").mkdir(parents=True)
    checks.state.chmod(0o700)
    assert "cannot write" in checks.run("breach", "files", "/etc").ended(74).err


def test_what_hangs_is_stopped(checks):
    """And is no change: what is not known is not compared."""
    for path in ("var/lib/dpkg/status", "run/systemd/system/x", "var/log/journal/x.journal", "etc/x"):
        checks.file(path)
    checks.state.mkdir(mode=0o700)
    bases = {checks.state / (name + ".base"): "journal s=1;i=1\n" for name in ("software", "log-kernel", "files")}
    for path, text in bases.items():
        path.write_text(text)
    for program in ("dpkg-query", "systemctl", "journalctl", "dpkg", "xargs"):
        checks.program(program, "exec sleep 1000")
    checks.program("find", 'case $* in *.journal*) echo /x.journal ;; *) exec sleep 1000 ;; esac')
    ended = {}

    def check(name, *args):
        ended[name, args] = checks.run(name, "-t", "1", *args)

    threads = [threading.Thread(target=check, args=args) for args in (
        ("software",), ("failed-units",), ("log-errors", "kernel"), ("backup", "/etc/x"), ("breach", "packages"), ("breach", "files", "/etc"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {result.status for result in ended.values()} == {70} and len(ended) == 6, list(map(str, ended.values()))
    assert all(path.read_text() == text for path, text in bases.items())
    assert {path.name for path in checks.state.iterdir()} == {path.name for path in bases}


def test_a_program_that_fails_is_no_change(checks, dpkg):
    checks.packages(a="1")
    checks.run("software").ended(0)
    checks.program("dpkg-query", "echo 'database is broken\033[31m' >&2; exit 2")
    out = checks.run("software").ended(70).out
    assert "packages: unknown, dpkg does not tell, or not in time: database is broken?[31m" in out
    (checks.programs / "dpkg-query").unlink()
    checks.run("software").ended(0)


# -- what has to be told

def test_a_change_is_told_until_monit_has_surely_seen_it(checks, dpkg):
    """Twice to one Monit, which is the parent; one that was lost with its Monit does not count."""
    checks.packages(a="1", b="1")
    checks.run("software").ended(0)
    checks.packages(a="2", b="1")

    def by_another_monit():
        args = [*checks.shell, CHECKS / "software", *checks.options]
        return run(["/bin/sh", "-c", '"$@"; exit $?', "sh", *args], checks.device.environment(env={"MONIT_SERVICE": "px"}))

    for _ in range(4):
        assert "1 change: a 1 -> 2" in by_another_monit().ended(1).out
    assert "1 change: a 1 -> 2" in checks.run("software").ended(1).out
    checks.packages(a="3", c="1")
    assert "1 change: a 1 -> 2" in checks.run("software").ended(1).out
    assert "change" not in checks.run("software").ended(0).out
    assert "3 changes: a 2 -> 3, -b 1, +c 1" in checks.run("software").ended(1).out
    assert "3 changes" in checks.run("software", monit=False).ended(1).out
    assert "3 changes" in checks.run("software").ended(1).out
    assert checks.run("software").ended(0).out == checks.run("software").ended(0).out


def test_a_long_list_of_changes_fits(checks, dpkg):
    checks.file("etc/os-release", 'PRETTY_NAME="One"\n')
    checks.packages(**{"package%d" % number: "1" for number in range(300)})
    checks.run("software").ended(0)
    checks.file("etc/os-release", 'PRETTY_NAME="Two"\n')
    checks.packages(**{"package%d" % number: "2" for number in range(300)})
    out = checks.run("software").ended(1).out
    assert out.startswith("301 changes: os One -> Two, package0 1 -> 2, ") and len(out) <= 500 and "packages: 300" in out
    assert len(checks.run("software", monit=False).ended(1).out) > 4000


def test_packages_that_are_removed_but_for_their_configuration_are_not_counted(checks, dpkg):
    checks.packages(a="1", b="1")
    path = checks.root / "var/lib/dpkg/status"
    path.write_text(path.read_text().replace("Package: b\nStatus: install ok installed", "Package: b\nStatus: deinstall ok config-files"))
    assert "packages: 1 (dpkg)" in checks.run("software").ended(0).out


# -- reboot-required

def test_a_newer_kernel_of_the_same_kind(checks):
    for kernels, running, status in [
            ([], "6.1.0-9-amd64", 0), (["6.1.0-9-amd64"], "6.1.0-9-amd64", 0), (["6.1.0-10-rt-amd64"], "6.1.0-9-amd64", 0),
            (["6.1.0-10-amd64"], "6.1.0-9-amd64", 1), ([], "6.1.0-10-amd64", 0), ([], "5.15.0-custom", 0)]:
        for kernel in kernels:
            checks.file("boot/vmlinuz-" + kernel)
        out = checks.run("reboot-required", "-k", running).ended(status).out
        assert ("reboot: required, kernel 6.1.0-10-amd64 is installed" in out) == (status == 1)


def test_another_system_of_guix(checks):
    for name in ("old", "new"):
        checks.file("gnu/store/%s/kernel/bzImage" % name)
    for name, target in (("booted", "old"), ("current", "old")):
        checks.file("run/x")
        (checks.root / ("run/%s-system" % name)).symlink_to(checks.root / "gnu/store" / target)
    checks.run("reboot-required").ended(0)
    (checks.root / "run/current-system").unlink()
    (checks.root / "run/current-system").symlink_to(checks.root / "gnu/store/new")
    assert "another kernel than the booted one" in checks.run("reboot-required").ended(1).out


# -- backup

def backup_file(checks, name, size, age_s):
    path = checks.file("backups/" + name, b"x" * size)
    os.utime(path, (time.time() - age_s,) * 2)


@pytest.mark.parametrize("files, status, text", [
    ([], 1, "backup: missing, nothing matches /backups/*.gz"),
    ([("a.gz", 5000, 100)], 0, "size: 4.9 kB (5000 B)\nnewest: /backups/a.gz\nfiles: 1\n"),
    ([("a.gz", 5000, 100), ("b.gz", 5, 9000)], 0, "newest: /backups/a.gz\nfiles: 2\n"),
    ([("a.gz", 5, 100), ("b.gz", 5000, 9000)], 3, "backup: too small, the limit is 1.0 kB\nage: 0.0 h"),
    ([("with blank.gz", 5000, 9000)], 2, "backup: too old, the limit is 7200 s\nage: 2.5 h (9"),
    ([("a.gz", 5, 9000)], 2, "backup: too small, the limit is 1.0 kB"),
    ([("a.gz", 5000, -90000)], 2, "backup: its time lies in the future"),
    ([("a.gz", 5000, 9000), ("b\n9999999999 9999 c.gz", 5000, 100)], 2, "left out: 1, for a control character in the name"),
    ([("-n.gz", 5000, 100)], 0, "newest: /backups/-n.gz"),
], ids=lambda value: None)
def test_backups(checks, files, status, text):
    for name, size, age_s in files:
        backup_file(checks, name, size, age_s)
    assert text in checks.run("backup", "-a", "2h", "-m", "1k", "/backups/*.gz").ended(status).out


def test_limits_that_are_none(checks):
    for args in (["-a", "2"], ["-a", "h"], ["-m", "1T"], ["-m", "-1"], ["-a", "99999999999s"]):
        checks.run("backup", *args, "/x").ended(64)
    checks.run("backup").ended(64)


def test_only_a_file_is_a_backup(checks):
    (checks.root / "backups/x.gz").mkdir(parents=True)
    os.mkfifo(checks.root / "backups/y.gz")
    (checks.root / "backups/z.gz").symlink_to("nowhere")
    checks.run("backup", "/backups/*.gz").ended(1)
    backup_file(checks, "real", 2000, 100)
    (checks.root / "backups/latest.gz").symlink_to("real")
    assert "size: 2.0 kB (2000 B)" in checks.run("backup", "/backups/*.gz").ended(0).out
