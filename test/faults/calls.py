# SPDX-License-Identifier: MIT
"""Faults of the kernel and of memory: a kill or an error at a system call, by strace; an allocation that fails."""
import collections
import re
import shutil
import subprocess

from bench import STATUSES, Wrong, harness

ERRORS = ("EIO", "ENOSPC", "EINTR", "EMFILE", "EDQUOT", "EROFS")

# Calls that have to do with files; each of the errors is tried at each of them.
FILE_CALLS = frozenset(
    "access chmod chown close creat dup dup2 dup3 faccessat faccessat2 fallocate fchmod fchmodat fchown fchownat fcntl "
    "fdatasync flock fstat fsync ftruncate getdents64 lchown link linkat lseek lstat mkdir mkdirat mmap munmap newfstatat "
    "open openat pread64 pwrite64 read readlink readlinkat readv rename renameat renameat2 rmdir stat statx symlink "
    "truncate umask unlink unlinkat utimensat write writev".split()) - {"umask", "munmap"}

# What fails from some moment on when a disk is full or turns read-only, or no descriptor is left.
LASTING = {
    "ENOSPC": ("pwrite64", "write", "fallocate", "mkdir", "link"),
    "EROFS": ("pwrite64", "write", "fallocate", "mkdir", "link", "unlink", "rename", "renameat", "unlinkat", "ftruncate"),
    "EIO": ("pwrite64", "write", "fsync", "fdatasync"),
    "EMFILE": ("openat",),
}
# What happens before main() is the same in all scenes of a program: it is tried at one.
WITH_START = ("event-warm", "flush-events")

# Of a call that comes more often than this, in a loop that waits or searches, about so many are tried.
MOST = 150
MOST_ALLOCATIONS = 8000
# And in a scene that takes seconds.
MOST_OF_SLOW = 20

# A flush whose lock can't be given back waits for itself, as long as for others: that is made shorter.
HASTE = {"PX_FAULT_HASTE": "10"}

# The sanitizers give up when they get no memory.
REFUSED = FILE_CALLS - {"mmap"} if harness.is_sanitized() else FILE_CALLS

NEVER = frozenset(("execve", "exit_group", "exit", "rt_sigreturn", "vfork"))    # not begun yet, or can't be stopped


def works():
    """Whether strace may trace here."""
    strace = shutil.which("strace")
    return strace is not None and subprocess.run([strace, "-o", "/dev/null", "-f", "true"], stderr=subprocess.DEVNULL,
                                                 check=False).returncode == 0


class Calls:
    """What a scene's program calls: how often each, and how often before its main()."""

    def __init__(self, lines):
        self.most = collections.Counter()
        self.before_main = collections.Counter()
        counts = collections.defaultdict(collections.Counter)
        first = None
        begun = False
        for line in lines:
            found = re.match(r"(\d+) +(\w+)\(", line)
            if found is None:
                continue
            process, call = found.groups()
            first = first or process
            # px_sys_fix_signals is among the first things that each program does.
            if process == first and not begun and call == "rt_sigaction" and "(SIGPIPE" in line:
                begun = True
                self.before_main = collections.Counter(counts[first])
            counts[process][call] += 1
        for counter in counts.values():
            self.most |= counter


def trace(bench, scene):
    """One run of the scene without a fault."""
    bench.set_up(scene)
    output = bench.folder / "trace"
    bench.upstream.script(*([scene.replies] if scene.replies else []), default={})
    with scene.around(bench):
        bench.run_scene(scene, ["strace", "-f", "-o", str(output)], env=scene.env)
    return Calls(output.read_text(errors="replace").splitlines())


def spread(first, last, most):
    """The numbers from ${first} to ${last}, or ${most} of them."""
    step = max(1, -(-(last - first + 1) // most))
    return range(first, last + 1, step)


def points(scene, calls):
    """The names of all points of a scene that strace tries."""
    for call, most in sorted(calls.most.items()):
        begin = calls.before_main[call] + 1
        for number in spread(1 if scene.name in WITH_START else begin, most, MOST_OF_SLOW if scene.is_slow else MOST):
            early = "early-" if number < begin else ""
            if call not in NEVER:
                yield "%s:%skill:%s:%d" % (scene.name, early, call, number)
            if call in REFUSED:
                for error in ERRORS:
                    yield "%s:%s%s:%s:%d" % (scene.name, early, error, call, number)
        for error, names in LASTING.items():
            if call in names:
                for number in spread(begin, most, MOST_OF_SLOW if scene.is_slow else MOST):
                    yield "%s:%s:%s:%d+" % (scene.name, error, call, number)


def allocation_points(bench, scene):
    """The names of all points of a scene at which an allocation fails."""
    bench.set_up(scene)
    output = bench.folder / "count"
    output.unlink(missing_ok=True)
    output.touch()
    output.chmod(0o666)
    bench.upstream.script(*([scene.replies] if scene.replies else []), default={})
    with scene.around(bench):
        bench.run_scene(scene, env={**scene.env, "PX_FAULT_COUNT": str(output)})
    before, count = max((tuple(map(int, line.split())) for line in output.read_text().splitlines()), key=lambda two: two[1])
    for number in spread(1 if scene.name in WITH_START else max(1, before), count,
                         10 * MOST_OF_SLOW if scene.is_slow else MOST_ALLOCATIONS):
        yield "%s:alloc:%d" % (scene.name, number)
        if scene.name in WITH_START:
            yield "%s:alloc:%d+" % (scene.name, number)


def try_point(bench, scene, kind, *where):
    """Tries one point; raises Wrong."""
    held = bench.set_up(scene)
    before, env = [], dict(scene.env)
    early = kind.startswith("early-")
    kind = kind.removeprefix("early-")
    if kind == "alloc":
        env["PX_FAULT_ALLOC"] = where[0]
    elif kind != "plain":
        if scene.program == "flush" and kind != "kill":
            env.update(HASTE)
        what = "signal=KILL" if kind == "kill" else "error=" + kind
        before = ["strace", "-f", "-o", "/dev/null", "-e", "trace=" + where[0],
                  "-e", "inject=%s:%s:when=%s" % (where[0], what, where[1])]
    bench.upstream.script(*([scene.replies] if scene.replies else []), default={})
    with scene.around(bench):
        ran = bench.run_scene(scene, before, env)
    check(bench, scene, held, ran, kind, early)


def check(bench, scene, held, ran, kind, early):
    """What must hold however the program ended; before its main() it may end as the loader likes, but not with 0."""
    if kind == "plain" and (ran.status != scene.status or scene.says not in ran.said + bench.syslog.text):
        raise Wrong("it ended with %s, not with %s and '%s': %s\n%s" % (ran.status, scene.status, scene.says, ran.said,
                                                                       bench.syslog.text))
    if not early and ran.status not in STATUSES[scene.program] and not (ran.was_killed and kind == "kill"):
        raise Wrong("it ended with %s: %s\n%s" % (ran.status, ran.said, bench.syslog.text))
    accepted = list(held)
    perhaps = ["new"]
    if scene.program == "event":
        if ran.status == 0:
            accepted.append("new")
        elif ran.status == 74 and "new" not in bench.in_syslog():
            raise Wrong("it ended with 74, and the event is not in syslog: %s\n%s" % (ran.said, bench.syslog.text))
    if not scene.damaged:
        bench.check_intact()
    bench.recover(accepted, scene, perhaps, again=1 if scene.program == "event" else 2)
