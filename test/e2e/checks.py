# SPDX-License-Identifier: MIT
"""The programs of share/checks, run as Monit runs them, under dash and under Busybox with nothing but its own tools."""
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from harness import ROOT, run

CHECKS = ROOT / "share" / "checks"
BUSYBOX = shutil.which("busybox")
SHELLS = {"dash": ["/bin/dash"], "busybox": [BUSYBOX, "sh"]}


class Checks:
    """The programs, with a shell, a root and a state folder."""

    def __init__(self, device, shell, applets):
        self.device = device
        self.root = device.folder / "root"
        self.state = device.folder / "state"
        self.programs = device.folder / "programs"
        self.programs.mkdir()
        self.root.mkdir()
        self.shell = SHELLS[shell]
        self.options = ["-r", self.root, "-s", self.state, *(["-p", applets] if shell == "busybox" else []), "-p", self.programs]

    def run(self, name, *args, monit=True, **more):
        env = self.device.environment(env={"MONIT_SERVICE": "px" if monit else None})
        return run([*self.shell, CHECKS / name, *self.options, *args], env, **more)

    def file(self, name, content="", mode=0o644):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path

    def program(self, name, script):
        path = self.programs / name
        path.unlink(missing_ok=True)
        path.write_text("#!/bin/sh\n" + script + "\n")
        path.chmod(0o755)

    def packages(self, **versions):
        self.file("var/lib/dpkg/status", "".join(
            "Package: %s\nStatus: install ok installed\nArchitecture: all\nMaintainer: x\nDescription: x\nVersion: %s\n\n" % item
            for item in versions.items()))
        (self.root / "var/lib/dpkg/info").mkdir(exist_ok=True)


@pytest.fixture(scope="module")
def applets():
    """Busybox's own tools, but those that would hide a package manager."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="px-"))
    if BUSYBOX is not None:
        subprocess.run([BUSYBOX, "--install", "-s", folder], check=True)
        for applet in ("dpkg", "dpkg-deb", "rpm"):
            (folder / applet).unlink(missing_ok=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=SHELLS)
def checks(device, request, applets):
    if request.param == "busybox" and BUSYBOX is None:
        pytest.skip("busybox is not installed")
    return Checks(device, request.param, applets)


@pytest.fixture
def dpkg():
    if shutil.which("dpkg-query") is None:
        pytest.skip("no dpkg here")
