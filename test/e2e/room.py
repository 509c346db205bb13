# SPDX-License-Identifier: MIT
"""A device whose spool's folder is a file system of its own, small or read-only, in a mount namespace that dies with it."""
import os
import pathlib
import shutil
import subprocess

import pytest

import harness


class Room(harness.Device):
    """
    The programs run inside of the namespace by nsenter; spool_folder and overflow are seen from outside through /proc. For a
    plain user the namespace is also one of users, in which it is root.
    """

    def __init__(self, preload, options):
        self._holder = None
        super().__init__(preload)
        tools = ["unshare", "nsenter", "mount"]
        if None in map(shutil.which, tools):
            pytest.skip("%s are needed" % ", ".join(tools))
        self.mounted = self.spool_folder
        if harness.IS_ROOT:
            unshare, self.enter = ["unshare", "-m"], ["nsenter", "-m"]
        else:
            unshare, self.enter = ["unshare", "-rm"], ["nsenter", "-m", "-U", "--preserve-credentials"]
        script = 'mount -t tmpfs -o "$1" none "$2" && echo mounted && exec cat'
        self._holder = subprocess.Popen([*unshare, "/bin/sh", "-c", script, "sh", options, self.mounted], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        if self._holder.stdout.readline() != b"mounted\n":
            why = self._holder.stderr.read().decode("utf-8", "replace").strip()
            self.close()
            pytest.skip("no file system with %s to be had here: %s" % (options, why))
        self.enter += ["-t", str(self._holder.pid), "--"]
        self.spool_folder = pathlib.Path("/proc/%d/root" % self._holder.pid) / self.mounted.relative_to("/")
        self.overflow = self.spool_folder / "overflow"

    def close(self):
        if self._holder is not None:
            self._holder.stdin.close()
            self._holder.wait()
            self._holder.stdout.close()
            self._holder.stderr.close()
        super().close()

    def run(self, program, *args, prefix=(), monit=None, env=None, **more):
        """${prefix}: words in front of the program, inside of the namespace."""
        return harness.run([*self.enter, *prefix, program, *args], self.environment(monit, env), **more)

    def remount(self, options):
        self.run("mount", "-o", "remount,bind," + options, self.mounted).ended(0)

    def fill(self, left=0):
        """Another program's file takes what is there, to the last byte but for some that are ${left}."""
        later = self.spool_folder / "left"
        later.write_bytes(b"x" * left)
        size = 65536
        with open(self.spool_folder / "filler", "ab", buffering=0) as filler:
            while size > 0:
                try:
                    if filler.write(b"x" * size) < size:
                        size //= 2
                except OSError:
                    size //= 2
        later.unlink()

    def unfill(self):
        os.unlink(self.spool_folder / "filler")

    @property
    def free_bytes(self):
        found = os.statvfs(self.spool_folder)
        return found.f_bavail * found.f_frsize
