# SPDX-License-Identifier: MIT
"""Where measurements are made: a folder on a disk, the built programs, and how long and how large others' programs are."""
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WARM_UP = 5

# As Monit gives it, see "Process context" of exec.
MONIT = {
    "PATH": PATH,
    "MONIT_DATE": "Sun, 22 Nov 2026 14:55:47",
    "MONIT_SERVICE": "vm",
    "MONIT_HOST": "vm",
    "MONIT_EVENT": "Resource limit matched",
    "MONIT_DESCRIPTION": "cpu usage of 99.7% matches resource limit [cpu usage > 80.0%]",
}


class Missing(Exception):
    """A figure cannot be had on this machine; the text says why."""


class Lab:
    def __init__(self, build, folder):
        self.build = build
        self.folder = folder
        self.tools = build / "test" / "bench"

    def room(self):
        """An empty folder, on the disk of the build."""
        return pathlib.Path(tempfile.mkdtemp(dir=self.folder))

    def config(self, url="http://127.0.0.1:1", compression="gzip", ca_file=None, **snapshot):
        """A configuration with a spool in a folder of its own."""
        folder = self.room()
        (folder / "spool").mkdir()
        path = folder / "px-status.conf"
        lines = "".join("%s = %s\n" % setting for setting in {"enabled": "no", **snapshot}.items())
        path.write_text("[device]\nid = bench\n[spool]\npath = %s/spool/spool.db\nmax_items = 10000000\nmax_bytes = 8G\n"
                        "[upstream]\nurl = %s\ncompression = %s\n%s[snapshot]\n%s[schedule]\nsplay = 0s\n"
                        % (folder, url, compression, "ca_file = %s\n" % ca_file if ca_file else "", lines))
        path.chmod(0o600)
        return path

    def recorder(self, config, *arguments):
        return [self.build / "px-status-event", "-c", config, *(arguments or ["cpu"])]

    def flush(self, config, *arguments):
        """The spool is named, so that the flush looks into no other place."""
        return [self.build / "px-status-flush", "-c", config, "-s", spool_of(config), *arguments]

    def peak_kib(self, command, environment=None):
        """The peak of a program's resident memory, and the seconds that it took."""
        peak = self.room() / "peak"
        took = seconds([self.tools / "peak", peak, *command], environment)
        return int(peak.read_text()), took


def spool_of(config):
    return config.parent / "spool" / "spool.db"


def copy_spool(config, to):
    """With its reserve: without one, a flush takes the disk for full and empties the log behind each batch."""
    for suffix in ("", "-reserve"):
        shutil.copy(str(spool_of(config)) + suffix, str(spool_of(to)) + suffix)


def words(command):
    return list(map(os.fspath, command))


def find(program):
    """Where this machine's program is, or the one that `need` unpacked."""
    path = shutil.which(program, path=PATH)
    if path is not None:
        return path
    for folder in ("usr/sbin", "usr/bin"):
        for unpacked in sorted((ROOT / "build").glob("*/%s/%s" % (folder, program))):
            return str(unpacked)
    raise Missing("%s is not here" % program)


def seconds(command, environment=None):
    """How long it takes from start to end."""
    command = words(command)
    began = time.perf_counter()
    pid = os.posix_spawn(command[0], command, MONIT if environment is None else environment)
    _, status = os.waitpid(pid, 0)
    took = time.perf_counter() - began
    if status != 0:
        raise Missing("%s ended with %d" % (pathlib.Path(command[0]).name, os.waitstatus_to_exitcode(status)))
    return took


def medians(runs, *commands):
    """The median of each command's seconds; they take turns, each behind each other one, so that all have the same machine."""
    for _ in range(WARM_UP):
        for command in commands:
            seconds(command)
    times = [[] for _ in commands]
    for run in range(runs):
        for at in range(len(commands)):
            which = (at + run) % len(commands)
            times[which].append(seconds(commands[which]))
    return [statistics.median(column) for column in times]


def output_of(command, environment=None):
    try:
        return subprocess.run(words(command), env=environment, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing("%s: %s" % (pathlib.Path(os.fspath(command[0])).name, getattr(error, "stderr", None) or error)) from error
