# SPDX-License-Identifier: MIT
"""The machine on which figures are had, and the versions of what is measured and compared with."""
import os
import pathlib
import platform
import subprocess

PACKAGES = ("gcc", "libsqlite3-0", "libcurl4", "zlib1g", "libcjson1", "sqlite3", "curl", "bsdutils", "strace", "valgrind")
UNPACKED = ("nginx", "syslog-ng")


def first_value(path, key):
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        if line.startswith(key):
            return line.partition(":")[2].strip()
    return "unknown"


def filesystem(folder):
    """Of the mount point that is nearest to it."""
    best = ("", "unknown")
    for line in pathlib.Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, place, kind = line.split()[:3]
        inside = folder == pathlib.Path(place) or pathlib.Path(place) in folder.parents
        if inside and len(place) >= len(best[0]):
            best = (place, kind)
    return "%s, mounted at %s" % (best[1], best[0])


def said(command, environment=None):
    """The first line that it prints, wherever it prints it."""
    try:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, check=False)
    except OSError:
        return ""
    return result.stdout.partition("\n")[0]


def versions(programs):
    found = said(["dpkg-query", "-W", "-f", "${Package} ${Version}, ", *PACKAGES]).rstrip(", ")
    for name, command, environment in programs:
        found += ", %s" % (said(command, environment) or "no %s" % name)
    return found


def describe(folder, programs):
    """${programs}: others than Debian's packages, as name, command that prints a version, environment."""
    return {
        "processor": "%s, %d of them" % (first_value("/proc/cpuinfo", "model name"), os.cpu_count()),
        "memory": first_value("/proc/meminfo", "MemTotal"),
        "kernel": "%s %s %s" % (platform.system(), platform.release(), platform.machine()),
        "file system": filesystem(folder),
        "versions": versions(programs),
    }
