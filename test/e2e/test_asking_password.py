# SPDX-License-Identifier: MIT
"""The password with which Monit is asked."""
import base64

import pytest

from harness import CONFIG
from interface import SHORT, Interface, http


@pytest.mark.parametrize("content, password", [
    (b"secret", b"secret"), (b"secret\n", b"secret"), (b"secret\r\n", b"secret"), (b"secret\nmore\n", b"secret"),
    (b"a:b:c\n", b"a:b:c"), (b" a b \n", b" a b "), ("pässwörd…\n".encode(), "pässwörd…".encode()), (b"x" * 1000, b"x" * 1000),
], ids=["plain", "newline", "crlf", "lines", "colons", "blanks", "utf-8", "long"])
def test_a_password(device, upstream, content, password):
    with Interface(http("200 OK", SHORT)) as interface:
        device.configure(upstream, snapshot={"enabled": "yes", **interface.settings, "user": "ro",
                                             "password_file": device.file("password", content, 0o640)})
        device.flush("--now").ended(0)
    assert "Authorization: Basic %s\r\n" % base64.b64encode(b"ro:" + password).decode() in interface.asked[0]


@pytest.mark.parametrize("content, mode, words", [
    (b"hunter2\n", 0o644, "others may access it: its mode is 0644"), (b"hunter2\n", 0o601, "others may access it"),
    (b"", 0o600, "is empty"), (b"\nhunter2\n", 0o600, "is empty"), (b"\r\n", 0o600, "is empty"),
    (b"hunter2\0more\n", 0o600, "is no text"), (b"hunter2" * 10000, 0o600, "is larger than 65536 bytes"),
    (None, 0, "No such file"),
], ids=["readable", "executable", "empty", "no first line", "nothing but an end", "NUL", "long", "missing"])
def test_a_password_file_that_is_no_good(device, upstream, content, mode, words):
    path = device.file("password", content, mode) if content is not None else device.folder / "none"
    with Interface(http("200 OK", SHORT)) as interface:
        device.configure(upstream, snapshot={"enabled": "yes", **interface.settings, "user": "ro", "password_file": path})
        result = device.flush("--now").ended(CONFIG)
    assert "[snapshot] password_file: " in result.err and str(path) in result.err and words in result.err
    assert "hunter2" not in result.err and interface.asked == [] and upstream.requests == []
