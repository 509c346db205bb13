# SPDX-License-Identifier: MIT
"""Real Monit asked by a flush that is not root, with the snippet that is shipped for it."""
import grp
import os
import pwd
import shutil
import signal
import subprocess

import pytest

import harness
from harness import MONIT, ROOT, mode_of, run
from upstream import bound

SNIPPET = ROOT / "share" / "monitrc.d" / "httpd"
PASSWORD = "it's \"quoted\" / pässwörd +=".replace('"', "")


def snippet(socket_path, group=None):
    """The file as it is shipped, but for the path, the password and, as it tells, the group."""
    text = SNIPPET.read_text(encoding="utf-8")
    for was, becomes in (("/run/monit.sock", os.fspath(socket_path)), ('"CHANGE-ME"', '"%s"' % PASSWORD)):
        assert text.count(was) == 1
        text = text.replace(was, becomes)
    if group is not None:
        assert text.count("#   gid px-status\n") == 1
        text = text.replace("#   gid px-status\n", '    gid "%s"\n' % group)
    return text


class Plain:
    """A user who is not root and runs the flush: nobody where the tests are run by root, else who runs them."""

    def __init__(self, device):
        user = pwd.getpwnam("nobody") if harness.IS_ROOT else pwd.getpwuid(os.geteuid())
        self.uid, self.gid, self._device = user.pw_uid, user.pw_gid if harness.IS_ROOT else os.getegid(), device
        self.group = grp.getgrgid(self.gid).gr_name
        self._as_user = {"user": self.uid, "group": self.gid, "extra_groups": []} if harness.IS_ROOT else {}
        self._program = device.folder / "px-status-flush"
        shutil.copy(harness.FLUSH, self._program)
        os.chown(device.spool_folder, self.uid, self.gid)

    def secret(self, content):
        """Root's, and for his group to read."""
        path = self._device.file("monit.password", content, 0o640)
        os.chown(path, os.geteuid(), self.gid)
        return path

    def snapshot(self, upstream, **settings):
        """What a flush by him sends."""
        self._device.configure(upstream, snapshot={"enabled": "yes", **settings})
        self._device.config.chmod(0o644)
        upstream.forget()
        self._device.run(self._program, "-c", self._device.config, "-s", self._device.spool, "--now", **self._as_user).ended(0)
        return upstream.requests[0].body["stats"][0]


@pytest.fixture
def plain(device):
    return Plain(device)


@pytest.fixture
def settings(device, plain):
    """As the snippet tells."""
    return {"socket": device.folder / "monit.sock", "user": "px-status", "password_file": plain.secret(PASSWORD + "\n")}


CHECKS = "check file watched with path /etc/passwd\n"


def names(snapshot):
    return {service["name"] for service in snapshot.get("services", [])}


def test_the_snippet(device, upstream, start_monit, plain, settings):
    """By the socket, without root; Monit's own commands still work; who only reads can only read."""
    monit = start_monit(CHECKS, snippet(settings["socket"], plain.group))
    assert mode_of(settings["socket"]) == 0o660 and os.stat(settings["socket"]).st_gid == plain.gid
    for source in ("socket", "auto"):
        snapshot = plain.snapshot(upstream, source=source, command="/bin/false", **settings)
        assert snapshot["monit"]["reachable"] is True and snapshot["monit"]["version"]
        assert "watched" in names(snapshot) and snapshot["summary"]["total"] == 2
    assert "watched" in monit.said() and "Monit" in monit.said().splitlines()[0]
    refused = run([MONIT, "-c", monit.control, "unmonitor", "watched"], device.environment())
    assert refused.status != 0 and "privileges" in refused.err
    assert "access denied" not in monit.log.read_text()


def test_a_wrong_password(upstream, start_monit, plain, settings):
    start_monit(CHECKS, snippet(settings["socket"], plain.group))
    for other in ({"password_file": plain.secret("wrong\n")}, {"user": "somebody"}, {"user": None}):
        for source in ("socket", "auto"):
            error = plain.snapshot(upstream, source=source, command="/bin/false", **{**settings, **other})["monit"]["error"]
            assert error == "cannot read '%s': it answered with status 401; look at [snapshot] user and password_file" % settings["socket"]


def test_without_the_group_the_socket_is_roots(upstream, start_monit, plain, settings, root):
    """And a flush that is not root learns why."""
    start_monit(CHECKS, snippet(settings["socket"]))
    assert mode_of(settings["socket"]) == 0o660 and os.stat(settings["socket"]).st_gid == 0
    assert plain.snapshot(upstream, source="socket", **settings)["monit"]["error"] == (
        "cannot connect to '%s': Permission denied" % settings["socket"])


@pytest.fixture
def port():
    """Nobody's but Monit's."""
    with bound("127.0.0.1") as place:
        yield place.getsockname()[1]


def test_beside_a_port(upstream, start_monit, plain, settings, port):
    """Both at once; the users of one are those of the other."""
    url = "http://127.0.0.1:%d" % port
    monit = start_monit(CHECKS, "set httpd port %s and use address 127.0.0.1\n  allow 127.0.0.1\n  allow admin:\"x\"\n%s" % (
        port, snippet(settings["socket"], plain.group)))
    for source in ("http", "socket"):
        snapshot = plain.snapshot(upstream, source=source, url=url, **settings)
        assert snapshot["monit"]["reachable"] is True and "watched" in names(snapshot)
    error = plain.snapshot(upstream, source="http", url=url, **{**settings, "password_file": plain.secret("wrong\n")})["monit"]["error"]
    assert "'%s/_status?format=text': it answered with status 401" % url in error
    # An admin beside who only reads: Monit's commands take him.
    assert run([MONIT, "-c", monit.control, "unmonitor", "watched"], monit.device.environment()).status == 0


def test_a_port_where_a_host_was_enough_wants_a_password_then(upstream, start_monit, plain, settings, port):
    """What the snippet warns of."""
    url = "http://127.0.0.1:%d" % port
    start_monit(CHECKS, "set httpd port %s and use address 127.0.0.1\n  allow 127.0.0.1\n%s" % (
        port, snippet(settings["socket"], plain.group)))
    assert "401" in plain.snapshot(upstream, source="http", url=url)["monit"]["error"]


def test_the_last_socket_counts(device, upstream, start_monit, plain, settings):
    """As the snippet says; its users are those of both."""
    other = device.folder / "other.sock"
    start_monit(CHECKS, "set httpd unixsocket %s\n  allow admin:\"x\"\n%s" % (other, snippet(settings["socket"], plain.group)))
    assert plain.snapshot(upstream, source="socket", **settings)["monit"]["reachable"] is True
    assert not other.exists()


def test_monit_that_hangs_is_killed_and_comes_back(device, upstream, start_monit, plain, settings):
    monit = start_monit(CHECKS, snippet(settings["socket"], plain.group))
    monit.signal(signal.SIGSTOP)
    assert "timed out" in plain.snapshot(upstream, source="socket", timeout="1s", **settings)["monit"]["error"]
    monit.signal(signal.SIGKILL)
    monit.stop()
    assert settings["socket"].exists()
    assert plain.snapshot(upstream, source="socket", **settings)["monit"]["error"] == (
        "cannot connect to '%s': Connection refused" % settings["socket"])
    # The socket file of a Monit that was killed keeps nobody from the command.
    instead = device.monit_that_prints("Monit 5.33.0 uptime: 3m\n")
    (device.folder / "monit-calls").touch()
    (device.folder / "monit-calls").chmod(0o666)
    assert plain.snapshot(upstream, source="auto", command=instead, **settings)["monit"]["reachable"] is True
    monit.start()
    monit.wait_until(lambda: "watched" in monit.said(), "an answer")
    assert "watched" in names(plain.snapshot(upstream, source="socket", **settings))
    monit.stop()
    assert plain.snapshot(upstream, source="socket", **settings)["monit"]["reachable"] is False


def test_by_command_monits_own_words_tell_why(device, upstream, start_monit, plain, settings, root):
    """A flush that is not root and has no socket can't ask: the control file is root's."""
    monit = start_monit(CHECKS, snippet(settings["socket"], plain.group))
    program = shutil.copy(MONIT, device.folder / "monit")
    error = plain.snapshot(upstream, source="auto", command="%s -c %s -B status" % (program, monit.control),
                           **{**settings, "socket": device.folder / "none.sock"})["monit"]["error"]
    assert "none.sock': No such file or directory; and by command: '%s' ended with status 1: " % program in error
    assert "not readable" in error or "Permission denied" in error or "owned by" in error, error


def test_the_snippet_needs_its_group(device):
    """Monit refuses a group that is not there; that is why the line is a comment as it is shipped."""
    if MONIT is None:
        pytest.skip("monit is not installed")
    head = "set daemon 30\nset logfile {0}/l\nset pidfile {0}/p\nset idfile {0}/i\nset statefile {0}/s\n".format(device.folder)
    for group, fine in ((None, True), ("px-no-such-group", False)):
        control = device.file("monitrc", head + snippet(device.folder / "s", group), 0o600)
        result = subprocess.run([MONIT, "-t", "-c", control], env=device.environment(), capture_output=True, text=True, check=False)
        assert (result.returncode == 0) is fine, result
