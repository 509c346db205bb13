# SPDX-License-Identifier: MIT
"""A flush that root starts: who asks Monit, who runs commands, and when none is run."""
import os
import pathlib
import pwd
import re
import shutil
import threading
import time

import pytest

from harness import CONFIG
from interface import SHORT, Interface, http

pytestmark = pytest.mark.usefixtures("root")

WHO = """cat <<end
Monit 5.33.0 uptime: 3m

Program 'who'
  status                       OK
  last output                  $(id -u) $(id -g)
end"""


@pytest.fixture(params=["nobody", "daemon"])
def owner(request, device):
    """The owner of the spool's folder."""
    try:
        user = pwd.getpwnam(request.param)
    except KeyError:
        pytest.skip("there is no user " + request.param)
    os.chown(device.spool_folder, user.pw_uid, user.pw_gid)
    return user


@pytest.fixture
def nobody(device):
    user = pwd.getpwnam("nobody")
    os.chown(device.spool_folder, user.pw_uid, user.pw_gid)
    return user


def identity(pid):
    """Uids, gids, groups and capabilities, as the kernel tells them."""
    lines = pathlib.Path("/proc/%d/status" % pid).read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return {name: fields[name].split() for name in ("Uid", "Gid", "Groups", "CapEff", "CapPrm")}


def test_the_commands_alone_run_as_root(device, upstream, owner):
    token = device.monit_that("echo token-of-$(id -u)", "token")
    device.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command": device.monit_that(WHO)},
                     upstream={"url": upstream.url, "auth": "bearer", "token_command": token})
    seen = threading.Event()
    upstream.script({"until": seen})
    flush = device.flush_process("--now")
    upstream.wait_for(1)
    # Upstream has the request, and takes its time.
    assert flush.poll() is None
    its_identity = identity(flush.pid)
    seen.set()
    _, said = flush.communicate(timeout=60)
    assert flush.returncode == 0, said
    assert its_identity == {"Uid": [str(owner.pw_uid)] * 4, "Gid": [str(owner.pw_gid)] * 4, "Groups": [],
                            "CapEff": ["0" * 16], "CapPrm": ["0" * 16]}
    assert upstream.requests[0].header("Authorization") == "Bearer token-of-0"
    assert upstream.requests[0].body["stats"][0]["services"][0]["values"]["last_output"] == "0 0"
    assert {path.stat().st_uid for path in device.spool_folder.iterdir()} == {owner.pw_uid}


def test_neither_helper_nor_command_outlives_the_flush(device, upstream, nobody):
    command = device.monit_that("sleep 300 & echo $PPID $$ $! >%s/pids; wait" % device.folder)
    device.configure(upstream, snapshot={"enabled": "yes", "timeout": "5m", "source": "command", "command": command})
    flush = device.flush_process("--now")
    pids = device.folder / "pids"
    end = time.monotonic() + 60
    while not pids.exists() or len(pids.read_text().split()) < 3:
        assert time.monotonic() < end
        time.sleep(0.02)
    flush.kill()
    flush.communicate()
    for pid in pids.read_text().split():
        while os.path.exists("/proc/%s/fd/0" % pid):        # a zombie has none
            assert time.monotonic() < end, "%s is still there" % pid
            time.sleep(0.02)


# -- what others may write is not run

def by_owner(path, nobody):
    os.chown(path, nobody.pw_uid, -1)


def by_group(path, _):
    path.chmod(path.stat().st_mode | 0o020)


def by_world(path, _):
    path.chmod(path.stat().st_mode | 0o002)


class Places:
    """A configuration and two programs in folders of their own, all root's; each program leaves a mark when it runs."""

    def __init__(self, device):
        self.mark = device.folder / "ran"
        for name in ("etc", "bin", "linked", "linked/deep"):
            (device.folder / name).mkdir(mode=0o755)
        mark = "touch %s\n" % self.mark
        self.monit = device.monit_that(mark + "cat <<end\n%send" % SHORT, "linked/deep/monit")
        self.token = device.monit_that(mark + "echo token", "linked/deep/token")
        for program in (self.monit, self.token):
            (device.folder / "bin" / program.name).symlink_to(program)
        device.config = device.folder / "etc" / "px-status.conf"


def configure(device, upstream, which, source="command"):
    """${which} of the commands is in use."""
    bin_folder = device.folder / "bin"
    device.configure(
        upstream,
        snapshot={"enabled": "yes" if which == "monit" else "no", "source": source, "command": "%s/monit" % bin_folder,
                  "socket": device.folder / "none.sock"},
        upstream={"url": upstream.url, **({"auth": "bearer", "token_command": "%s/token" % bin_folder} if which == "token" else {})})


@pytest.mark.parametrize("which", ["monit", "token"])
@pytest.mark.parametrize("others", [by_owner, by_group, by_world], ids=["owner", "group", "world"])
def test_what_others_may_write_is_not_run(device, upstream, nobody, which, others):
    places = Places(device)
    configure(device, upstream, which)
    device.event("cpu")
    program = places.monit if which == "monit" else places.token
    for path in (device.config, device.config.parent, program, program.parent, program.parent.parent, device.folder / "bin"):
        kept = path.stat()
        others(path, nobody)
        result = device.flush("--now").ended(CONFIG)
        os.chown(path, kept.st_uid, kept.st_gid)
        path.chmod(kept.st_mode)
        assert "a command is not run as root: '%s'" % path in result.err
        assert not places.mark.exists() and upstream.requests == []
    # As it was, behind links and in a folder of /tmp, it is root's alone.
    device.flush("--now").ended(0)
    assert places.mark.exists() and len(upstream.requests) == 1


def test_a_link_of_somebody_else(device, upstream, nobody):
    places = Places(device)
    link = device.folder / "bin" / "monit"
    os.lchown(link, nobody.pw_uid, nobody.pw_gid)
    configure(device, upstream, "monit")
    assert "'%s'" % link in device.flush("--now").ended(CONFIG).err
    assert not places.mark.exists()


def test_auto_may_come_to_the_command(device, upstream, nobody):
    places = Places(device)
    places.monit.chmod(0o757)
    configure(device, upstream, "monit", source="auto")
    assert "'%s'" % places.monit in device.flush("--now").ended(CONFIG).err
    assert not places.mark.exists() and upstream.requests == []


@pytest.mark.parametrize("args", [["--no-snapshot", "--now"], ["--dry-run"]], ids=str)
def test_what_is_not_to_be_run_is_not_looked_at(device, upstream, nobody, args):
    places = Places(device)
    places.monit.chmod(0o757)
    configure(device, upstream, "monit")
    device.event("cpu")
    device.flush(*args).ended(0)


def test_a_program_of_the_system_folders(device, upstream, nobody):
    """Root's `id`, not another one that PATH leads to first."""
    fake = device.folder / "fake"
    fake.mkdir()
    shutil.copy(device.monit_that("echo fake"), fake / "id")
    device.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command": "id -u"})
    device.flush("--now", env={"PATH": "%s:/usr/bin:/bin" % fake}).ended(0)
    assert upstream.requests[0].body["stats"][0]["monit"]["error"] == "no status from Monit: it said '0'"


# -- the socket is opened, and the password read

def test_the_socket_is_not_opened_as_root(device, upstream, owner):
    """It has to let in the owner of the spool's folder, whatever names he makes; the password file is read before."""
    password = device.file("password", "secret\n")
    path = device.folder / "m.sock"
    link = device.spool_folder / "link.sock"
    link.symlink_to(path)
    with Interface(http("200 OK", SHORT), path) as interface:
        for mode, gid, reachable in ((0o600, 0, False), (0o660, 0, False), (0o660, owner.pw_gid, True)):
            os.chown(path, 0, gid)
            path.chmod(mode)
            for name in (path, link):
                device.configure(upstream, snapshot={"enabled": "yes", "source": "socket", "socket": name, "user": "px-status",
                                                     "password_file": password})
                device.flush("--now").ended(0)
                monit = upstream.requests[-1].body["stats"][0]["monit"]
                assert monit["reachable"] is reachable
                assert reachable or monit["error"] == "cannot connect to '%s': Permission denied" % name
            device.configure(upstream, snapshot={"enabled": "yes", "source": "auto", "socket": path, "command": device.monit_that(WHO),
                                                 "user": "px-status", "password_file": password})
            device.flush("--now").ended(0)
            names = [service["name"] for service in upstream.requests[-1].body["stats"][0]["services"]]
            assert names == (["vm"] if reachable else ["who"])
    assert all(re.search("^Authorization: Basic cHgtc3RhdHVzOnNlY3JldA==\r$", asked, re.MULTILINE) for asked in interface.asked)
    assert len(interface.asked) == 3


@pytest.mark.parametrize("mode, status", [(0o640, 0), (0o600, 0), (0o604, CONFIG)])
def test_a_password_file_for_the_group(device, upstream, nobody, mode, status):
    password = device.file("password", "secret\n", mode)
    os.chown(password, 0, nobody.pw_gid)
    device.configure(upstream, snapshot={"enabled": "yes", "source": "socket", "socket": device.folder / "none.sock",
                                         "password_file": password})
    device.flush("--now").ended(status)


def test_a_password_file_of_somebody_else(device, upstream, nobody):
    """Who could change it could have root read any file, by a link."""
    password = device.file("password", "secret\n")
    os.chown(password, nobody.pw_uid, nobody.pw_gid)
    device.configure(upstream, snapshot={"enabled": "yes", "source": "socket", "socket": device.folder / "none.sock",
                                         "password_file": password})
    result = device.flush("--now").ended(CONFIG)
    assert "'%s' is a secret, but its owner, uid %d, is neither root nor who runs" % (password, nobody.pw_uid) in result.err
