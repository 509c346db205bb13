# SPDX-License-Identifier: MIT
"""
A machine of its own: every file of this one as it is, and none of its changes. Its root is an overlay that lives in memory,
its processes, mounts, names and control groups are apart; the network is shared, so that it reaches an upstream of a test.
It needs root, for which a test asks by the fixture of that name, and a kernel and a container that let it mount: where they
do not, the tests are skipped and say why.
"""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

import harness

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SYSTEMD = next(filter(os.path.exists, ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")), None)

# $1 is a folder to mount in, $2 the tree of the sources, $3 "boot" or "rest". What an init of Debian starts is left out.
SET_UP = r"""
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
mkdir -p "$1/root$2"
mount --bind "$2" "$1/root$2"
cd "$1/root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
	touch dev/$device
	mount --bind /dev/$device dev/$device
done
mkdir dev/shm dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
if [ "$3" = boot ]; then
	mount -t cgroup2 cgroup2 sys/fs/cgroup
	rm -rf usr/lib/systemd/system-generators usr/lib/systemd/system/*.wants etc/systemd/system
	mkdir -p etc/systemd/system
	for unit in systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket timers.target paths.target; do
		echo "Wants=$unit"
	done | sed '1i [Unit]' >etc/systemd/system/machine.target
fi
pivot_root . mnt
cd /
umount -l /mnt
hostname machine
if [ "$3" = boot ]; then
	exec env -i container=machine PATH="$PATH" "$4" --unit=machine.target --log-level=info
fi
exec sleep infinity
"""


def control_groups():
    """Where control groups of version 2 are; None: nowhere."""
    for path in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        if os.path.exists(path + "/cgroup.procs") and os.access(path, os.W_OK):
            return pathlib.Path(path)
    return None


class Machine:
    def __init__(self, boots=False):
        self.boots = boots
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="px-machine-"))
        self._group = None
        self._process = None
        self._init = None

    def start(self):
        """Skips the test where there can't be such a machine."""
        self._began = time.time()
        if self.boots:
            self._make_group()
        log = open(self.folder / "log", "wb")
        self._process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--ipc", "--uts", "--cgroup", "--kill-child", "sh", "-c", SET_UP, "sh",
             self.folder, harness.ROOT, "boot" if self.boots else "rest", SYSTEMD or ""],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": PATH}, preexec_fn=self._enter_group, start_new_session=True)
        log.close()
        self._find_init()
        if self.boots:
            self.wait_until(lambda: self.run("systemctl", "is-system-running").out.strip() in ("running", "degraded"), "the boot")

    def _make_group(self):
        if SYSTEMD is None or control_groups() is None:
            pytest.skip("no systemd to boot, or no control groups of version 2 to write to")
        self._group = control_groups() / self.folder.name
        self._group.mkdir()

    def _enter_group(self):
        if self._group is not None:
            (self._group / "cgroup.procs").write_text("0")

    def _find_init(self):
        """The process that is the first of the machine, once it is what it is to become."""
        children = pathlib.Path("/proc/%d/task/%d/children" % (self._process.pid, self._process.pid))
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if self._process.poll() is not None:
                pytest.skip("there can't be a machine of its own here: " + self.said().strip())
            with contextlib.suppress(OSError, IndexError):
                init = children.read_text().split()[0]
                if pathlib.Path("/proc/%s/comm" % init).read_text() == ("systemd\n" if self.boots else "sleep\n"):
                    self._init = init
                    return
            time.sleep(0.02)
        raise AssertionError("the machine did not start: " + self.said())

    def said(self):
        return (self.folder / "log").read_text(errors="replace")

    def stop(self):
        """Its first process takes all others with it."""
        if self._process is not None and self._process.poll() is None:
            if self._init is not None:
                os.kill(int(self._init), signal.SIGKILL)
            else:
                self._process.kill()
            self._process.wait(60)
        if self._group is not None:
            for folder in sorted([self._group, *(path for path in self._group.rglob("*") if path.is_dir())], reverse=True):
                folder.rmdir()
        shutil.rmtree(self.folder)

    def run(self, *args, timeout=60, env=None, **more):
        """Runs a program on the machine to its end."""
        return harness.run(["nsenter", "-t", self._init, "-m", "-p", "-i", "-u", "-C", "-r", "-w", "--", *args],
                           {"PATH": PATH, "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "ASAN_OPTIONS": "detect_leaks=0",
                            **(env or {})}, timeout=timeout, **more)

    def sh(self, script, *args, **more):
        return self.run("sh", "-c", script, "sh", *args, **more)

    def make(self, *args, **more):
        """`make` in the tree, of the build that is tested, which is there."""
        words = harness.BUILD.name.split("-")
        flags = ["CC=" + words[0], *("%s=1" % word.upper() for word in words[1:])]
        return self.run("make", "-s", "-o", "all", "-C", harness.ROOT, *flags, *args, **more)

    def file(self, path, content, mode="644", owner="root:root"):
        """Writes a file on the machine, as `install` does."""
        self.run("install", "-D", "-m", mode, "-o", owner.split(":")[0], "-g", owner.split(":")[1], "/dev/stdin", path,
                 stdin=self._content(content)).ended(0)

    def _content(self, content):
        source = tempfile.TemporaryFile()
        source.write(content.encode("utf-8"))
        source.seek(0)
        return source

    def read(self, path):
        return self.run("cat", path).ended(0).out

    def changes(self, *folders):
        """Every path below these folders that was made or changed since the machine started."""
        return set(self.run("find", *folders, "-xdev", "-newerct", "@%.6f" % self._began).ended(0).out.splitlines())

    def wait_until(self, is_so, what, timeout_s=60):
        end = time.monotonic() + timeout_s
        while not is_so():
            assert time.monotonic() < end, "%s did not come in %g s\n%s" % (what, timeout_s, self.said())
            time.sleep(0.02)


@contextlib.contextmanager
def running(boots=False):
    machine = Machine(boots)
    try:
        machine.start()
        yield machine
    finally:
        machine.stop()
