# SPDX-License-Identifier: MIT
"""A program on a terminal."""
import fcntl
import os
import struct
import subprocess
import termios

import pytest


def on_terminal(words, env, columns=80, **streams):
    """
    The exit status of a program and what it showed on a pseudo terminal, which its stdout and stderr are unless ${streams}
    say otherwise. Skips the test where there is none to be had.
    """
    try:
        leader, follower = os.openpty()
    except OSError:
        pytest.skip("no pseudo terminal to be had")
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    streams = {"stdin": subprocess.DEVNULL, "stdout": follower, "stderr": follower, **streams}
    with subprocess.Popen(words, env=env, **streams) as process:
        os.close(follower)
        said = b""
        while True:
            try:
                piece = os.read(leader, 4096)
            except OSError:     # EIO: the other side is closed
                break
            if not piece:
                break
            said += piece
        os.close(leader)
    return process.returncode, said.decode()
