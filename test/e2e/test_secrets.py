# SPDX-License-Identifier: MIT
"""A secret that is easy to find is looked for wherever a secret must not be, while it is in use."""
import os
import pathlib
import resource
import signal
import subprocess

import pytest

from harness import CONFIG, FLUSH, LATER
from upstream import Upstream, server_context

CANARY = "canary-8d1f52c07e"


def token_file(device, upstream):
    return {"upstream": {"auth": "bearer", "token_file": device.file("token", CANARY + "\n")}}


def token_command(device, upstream):
    return {"upstream": {"auth": "bearer", "token_command": device.monit_that("cat <<.\n%s\n.\n" % CANARY, "token")}}


def token_command_json(device, upstream):
    script = 'cat <<.\n{"access_token": "%s", "expires_at": 4102444800}\n.\n' % CANARY
    return {"upstream": {"auth": "bearer", "token_command": device.monit_that(script, "token")}}


def password(device, upstream):
    return {"upstream": {"auth": "basic", "user": "me", "password_file": device.file("password", CANARY + "\n")}}


def proxy_password(device, upstream):
    return {"upstream": {"url": "http://central.invalid", "allow_http": "yes", "proxy": upstream.url, "proxy_user": "me",
                         "proxy_password_file": device.file("password", CANARY + "\n")}}


def monit_password(device, upstream):
    return {"snapshot": {"enabled": "yes", "source": "http", "url": upstream.url, "user": "me", "timeout": "2s",
                         "password_file": device.file("password", CANARY + "\n")}}


KINDS = [token_file, token_command, token_command_json, password, proxy_password, monit_password]
by_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def processes_of(session):
    """What /proc says of each process of a session: arguments and environment."""
    for folder in pathlib.Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and os.getsid(int(folder.name)) == session:
                yield (folder / "cmdline").read_bytes()
                yield (folder / "environ").read_bytes()
        except OSError:
            continue        # it has ended, or does not show its environment


def kept(device):
    """Every byte in the spool's folder, and what the log holds."""
    return b"".join(device.files().values()) + b"".join(device.syslog.raw)


@by_kind
def test_a_secret_in_use(enrolled, upstream, kind):
    sections = kind(enrolled, upstream)
    enrolled.configure(upstream, **sections)
    enrolled.record(1)
    upstream.script(default={"hang": True})
    process = enrolled.flush_process("--now", "-v")
    upstream.wait_for(1)
    shown = b"".join(processes_of(process.pid))
    assert b"px-status-flush" in shown
    process.terminate()
    shown += b"".join(process.communicate(timeout=60))
    sent = upstream.requests[0].header("Authorization") or upstream.requests[0].header("Proxy-Authorization")
    assert sent is not None and CANARY.encode() not in shown + kept(enrolled)


@pytest.mark.parametrize("kind", KINDS[:-1], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("status", [200, 401, 403, 407, 503])
def test_a_secret_after_its_use(enrolled, upstream, kind, status):
    """Upstream says it back, too."""
    enrolled.configure(upstream, **kind(enrolled, upstream))
    enrolled.record(1)
    said = {"status": status, "reason": "%s is wrong" % CANARY, "body": '{"title": "%s"}' % CANARY,
            "headers": {"Content-Type": "application/problem+json", "X-Debug": CANARY, "WWW-Authenticate": "Bearer " + CANARY}}
    upstream.script(default=said)
    results = [enrolled.flush(*args) for args in (["-v"], ["--now", "-v"], ["-n"], ["--check"])]
    results += [enrolled.status(*args) for args in (["config"], ["stats"], ["list"], ["health"], ["export"])]
    assert upstream.requests
    for result in results:
        assert CANARY not in result.out + result.err, result
    assert CANARY.encode() not in kept(enrolled)


@pytest.mark.parametrize("kind", KINDS[:-1], ids=lambda kind: kind.__name__)
def test_a_secret_in_a_reason(enrolled, upstream, kind):
    """What upstream says of an item is kept and told, but for what it should not have said."""
    enrolled.configure(upstream, **kind(enrolled, upstream))
    first, _ = enrolled.record(2)
    upstream.script({"body": {"rejected": [{"id": first, "reason": "not with %s, %s" % (CANARY, CANARY)}]}})
    results = [enrolled.flush("--now", "-v").ended(0)]
    enrolled.status("drop", first).ended(0)
    enrolled.record(1)
    upstream.script(lambda request: {"status": 422, "body": '{"title": "not with %s"}' % CANARY,
                                     "headers": {"Content-Type": "application/problem+json"}} if request.ids else {"status": 204})
    results += [enrolled.flush("--now", "-v").ended(0), enrolled.flush("-n").ended(0)]
    results += [enrolled.status(*args) for args in (["stats"], ["list"], ["health"], ["export"])]
    for result in results:
        assert CANARY not in result.out + result.err, result
    assert CANARY.encode() not in kept(enrolled)
    hidden = "not with " + "*" * len(CANARY)
    assert hidden + ", " + "*" * len(CANARY) in results[0].err and [item["reason"] for item in enrolled.list()] == [hidden]


@pytest.mark.parametrize("script", ["echo {0} >&2; exit 1", "echo {0}; exit 1", "printf '{0} {0}\\n'", "printf '{{\"token\": \"{0}\"}}\\n'"])
def test_a_token_command_that_fails_with_its_secret(enrolled, upstream, script):
    """Of what it writes to standard error something may be said, as a person has to know; of its output nothing is."""
    command = enrolled.monit_that(script.format(CANARY), "token")
    enrolled.configure(upstream, upstream={"auth": "bearer", "token_command": command})
    enrolled.record(1)
    result = enrolled.flush("--now", "-v")
    assert result.status != 0 and upstream.requests == []
    if ">&2" not in script:
        assert CANARY not in result.out + result.err and CANARY.encode() not in kept(enrolled)


def test_a_client_key(device, certificates):
    """Its base64 stands in no place either; a run with it is refused when others may read it."""
    secret = certificates.device.key.read_text().splitlines()[1]
    key = device.file("device.key", certificates.device.key.read_text())
    with Upstream(tls=server_context(certificates.good.certificate, certificates.good.key)) as server:
        device.configure(server, upstream={"ca_file": certificates.ours.certificate, "client_cert": certificates.device.certificate,
                                           "client_key": key})
        device.record(1)
        results = [device.flush(*args) for args in (["-n"], ["--check"], ["--now", "-v"])]
        for result in results:
            assert secret not in result.ended(0).out + result.err
        assert secret.encode() not in kept(device)
        key.chmod(0o604)
        assert secret not in device.flush("--now").ended(CONFIG).err


def unlimited_cores():
    """And SIGQUIT as it is by default; who started the tests may have it ignored."""
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def dumps_core(folder):
    """Whether a process that breaks down here leaves its memory."""
    try:
        process = subprocess.Popen(["sleep", "60"], cwd=folder, preexec_fn=unlimited_cores)
    except (OSError, ValueError, subprocess.SubprocessError):
        return False
    os.kill(process.pid, signal.SIGQUIT)
    return os.WCOREDUMP(os.waitpid(process.pid, 0)[1])


@pytest.mark.parametrize("kind", [token_file, token_command], ids=lambda kind: kind.__name__)
def test_no_core_holds_it(enrolled, upstream, kind):
    if not dumps_core(enrolled.folder):
        pytest.skip("no process dumps core here")
    before = set(enrolled.folder.iterdir())
    enrolled.configure(upstream, **kind(enrolled, upstream))
    enrolled.record(1)
    upstream.script(default={"hang": True})
    process = subprocess.Popen([FLUSH, "-c", enrolled.config, "-s", enrolled.spool, "--now"], env=enrolled.environment(),
                               cwd=enrolled.folder, preexec_fn=unlimited_cores, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    upstream.wait_for(1)
    os.kill(process.pid, signal.SIGQUIT)
    status = os.waitpid(process.pid, 0)[1]
    process.returncode = status
    assert os.WIFSIGNALED(status) and not os.WCOREDUMP(status)
    new = [path.name for path in set(enrolled.folder.iterdir()) - before]
    assert not [name for name in new if name.startswith("core")]
    upstream.script(default={})
    enrolled.flush("--now").ended(0)


def test_a_token_that_is_over(enrolled, upstream):
    script = 'echo \'{"access_token": "%s", "expires_at": 1000000000}\'' % CANARY
    enrolled.configure(upstream, upstream={"auth": "bearer", "token_command": enrolled.monit_that(script, "token")})
    enrolled.record(1)
    result = enrolled.flush("--now")
    assert result.status in (LATER, 77) and "expired" in result.err and CANARY not in result.err and upstream.requests == []
