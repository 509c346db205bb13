# SPDX-License-Identifier: MIT
"""px-status.conf as px-status-flush and px-status read it: strictly."""
import re

import pytest

from harness import CONFIG, FLUSH, STATUS

GOOD = """[device]
id = d
[spool]
path = %(spool)s
[snapshot]
enabled = no
[upstream]
url = http://127.0.0.1:9
"""
LINES = len(GOOD.splitlines())


@pytest.mark.parametrize("text, line, key", [
    ("[nonsense]\na = 1", 1, "nonsense"),
    ("[batch]\nmax_itemss = 3", 2, "max_itemss"),
    ("[Batch]\nmax_items = 3", 1, "Batch"),
    ("[batch]\nmax_items = 3\nmax_items = 3", 3, "max_items"),
    ("[batch]\nmax_items = 3\n[retry]\nmax = 2h\n[batch]\nmax_items = 4", 6, "max_items"),
    ("[batch]\nmax_items =", 2, "max_items"),
    ("[batch]\nmax_items = 0", 2, "max_items"),
    ("[batch]\nmax_items = 10001", 2, "max_items"),
    ("[batch]\nmax_items = -1", 2, "max_items"),
    ("[batch]\nmax_items = 3x", 2, "max_items"),
    ("[batch]\nmax_items = 99999999999999999999", 2, "max_items"),
    ("[batch]\nmax_bytes = 127k", 2, "max_bytes"),
    ("[batch]\nmax_bytes = 65M", 2, "max_bytes"),
    ("[batch]\nmax_bytes = 1MB", 2, "max_bytes"),
    ("[batch]\nmax_bytes = 1.5M", 2, "max_bytes"),
    ("[spool]\nmax_items = 0", 2, "max_items"),
    ("[spool]\nmax_items = 10000001", 2, "max_items"),
    ("[spool]\nmax_bytes = 1023k", 2, "max_bytes"),
    ("[spool]\nmax_bytes = 1025G", 2, "max_bytes"),
    ("[snapshot]\nenabled = maybe", 2, "enabled"),
    ("[snapshot]\ninterval = 0s", 2, "interval"),
    ("[snapshot]\ninterval = 31d", 2, "interval"),
    ("[snapshot]\ninterval = 5", 2, "interval"),
    ("[snapshot]\ninterval = 5 m", 2, "interval"),
    ("[snapshot]\ninterval = 5m ; often", 2, "interval"),
    ("[snapshot]\nsource = pigeon", 2, "source"),
    ("[snapshot]\ntimeout = 0s", 2, "timeout"),
    ("[upstream]\nauth = digest", 2, "auth"),
    ("[upstream]\ncompression = brotli", 2, "compression"),
    ("[upstream]\nallow_http = 2", 2, "allow_http"),
    ("[upstream]\ntimeout = 31d", 2, "timeout"),
    ("[upstream]\npath = /x ; y", 2, "path"),
    ("[upstream]\n path = /x", 2, "path"),
    ("[upstream]\n\tpath = /x", 2, "path"),
    ("[upstream]\npath = /" + "x" * 1100, 2, None),
    ("[retry]\ninitial = 2h\nmax = 1h", None, "initial"),
    ("[retry]\ninitial = 2h", None, "initial"),
    ("[schedule]\nsplay = 6m", None, "splay"),
    ("[schedule]\nsplay = -1s", 2, "splay"),
    ("words without a meaning", 1, None),
    ("[batch\nmax_items = 3", 1, None),
], ids=lambda value: value[:50] if isinstance(value, str) else "")
def test_a_mistake_is_named_with_file_line_and_key(device, text, line, key):
    good = GOOD.replace("enabled = no\n", "") if "enabled" in text else GOOD
    device.write_config(good % {"spool": device.spool} + text + "\n")
    for result in (device.flush(), device.status("config"), device.status("list")):
        result.ended(CONFIG)
        assert result.out == "" and str(device.config) in result.err, result
        if line is not None:
            assert re.search(r"\b%d\b" % (len(good.splitlines()) + line), result.err), result
        assert key is None or key in result.err, result
    assert list(device.spool_folder.iterdir()) == []


def test_a_key_outside_of_any_section(device):
    device.write_config("max_items = 3\n" + GOOD % {"spool": device.spool})
    result = device.flush().ended(CONFIG)
    assert "max_items" in result.err and re.search(r"\b1\b", result.err)


def test_two_mistakes_are_both_named(device):
    device.write_config(GOOD % {"spool": device.spool} + "[batch]\nbogus = 1\nmax_items = none\n")
    result = device.flush().ended(CONFIG)
    assert "bogus" in result.err and "max_items" in result.err


@pytest.mark.parametrize("text", [
    "[snapshot]\ninterval = 1s\n[schedule]\nsplay = 0s", "[snapshot]\ninterval = 30d", "[snapshot]\ninterval = 48h",
    "[retry]\ninitial = 5m\nmax = 5m", "[schedule]\nsplay = 5m",
    "[batch]\nmax_items = 1\nmax_bytes = 128k", "[batch]\nmax_items = 10000\nmax_bytes = 64M", "[batch]\nmax_bytes = 131072",
    "[spool]\nmax_items = 1\nmax_bytes = 1M", "[spool]\nmax_items = 10000000\nmax_bytes = 1024G",
    "; a comment\n# another\n\n[batch]\n;max_items = none\n#max_items = none\nmax_items=7",
    "[batch]\nmax_items   =   7   ",
    "[upstream]\nallow_http = true", "[upstream]\nallow_http = off", "[upstream]\nallow_http = 1",
    "[upstream]\npath = /a;b", "[upstream]\nuser = a=b",
    "[upstream]\npinned_public_key = sha256//YhKJKSzoTt2b5FP18fvpHo7fJYqQCjAa3HWY3tvRMwE=;sha256//t62CeU2tQiqkexU74Gxa2eg7fRbEgoChTociMee9wno=",
    "[snapshot]\ncommand = \"/usr/bin/monit\" -B 'status'", "[snapshot]\ncommand = /no/such/program",
    "[snapshot]\nuser = " + "u" * 1000,
], ids=lambda text: text[:60])
def test_what_is_no_mistake(device, text):
    device.write_config(GOOD % {"spool": device.spool} + text + "\n")
    device.status("config").ended(0)
    device.flush("-n").ended(0)


def test_a_line_of_1023_bytes_is_read(device):
    line = "name = " + "n" * (1023 - len("name = "))
    device.write_config("[device]\n%s\nid = d\n[spool]\npath = %s\n" % (line, device.spool))
    assert "n" * 1016 in device.status("config").ended(0).out
    device.write_config("[device]\n%sx\nid = d\n[spool]\npath = %s\n" % (line, device.spool))
    assert re.search(r"\b2\b", device.status("config").ended(CONFIG).err)


def test_a_file_without_a_last_newline(device):
    device.write_config((GOOD % {"spool": device.spool} + "[batch]\nmax_items = 77").rstrip("\n"))
    assert "77" in device.status("config").ended(0).out


@pytest.mark.parametrize("how", ["-c", "PX_STATUS_CONFIG"])
@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_a_named_file_must_be_there(device, how, kind):
    named = device.folder / kind
    if kind == "folder":
        named.mkdir()
    args = ["-c", named] if how == "-c" else []
    env = {"PX_STATUS_CONFIG": str(named)} if how != "-c" else {}
    for program, more in ((FLUSH, ["-s", device.spool]), (STATUS, ["list"])):
        assert str(named) in device.run(program, *args, *more, env=env).ended(CONFIG).err


@pytest.mark.parametrize("section, key", [("snapshot", "url"), ("upstream", "proxy")])
def test_credentials_in_other_urls(device, section, key):
    device.write_config(GOOD % {"spool": device.spool} + "[%s]\n%s = http://user:hunter2@127.0.0.1:2812\n" % (section, key))
    for result in (device.flush(), device.status("config")):
        result.ended(CONFIG)
        assert key in result.err and "hunter2" not in result.out + result.err


def test_a_command_that_others_may_change_is_not_run_as_root(device, upstream, root):
    command = device.monit_that("touch %s/ran; echo" % device.folder)
    for path in (command, device.config):
        device.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command": command})
        mode = path.stat().st_mode
        path.chmod(0o777 if path == command else 0o666)
        result = device.flush("--now").ended(CONFIG)
        assert str(path) in result.err
        path.chmod(mode)
    assert not (device.folder / "ran").exists()
    device.flush("--now").ended(0)
    assert (device.folder / "ran").exists()
