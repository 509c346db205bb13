# SPDX-License-Identifier: MIT
"""The program breach of share/checks."""
import os

from checks import applets, checks, dpkg  # noqa: F401, fixtures


def test_names_that_want_to_be_others(checks):
    """Blanks, new lines, escapes, backslashes, bytes of no alphabet: each is a file of its own, and one line."""
    names = ["we ird", "new\nline", "tab\ttab", "esc\x1b[31m", "back\\slash", "\\x41", "-n", "*", "$(x)", "'\"", "é", " ", "\n"]
    for name in names:
        checks.file("etc/" + name, "one")
    (checks.root / "etc/link").symlink_to("a\nb")
    os.mkfifo(checks.root / "etc/fifo")
    checks.run("breach", "files", "/etc").ended(0)
    base = (checks.state / "files.base").read_text(encoding="ascii")
    assert len({line.split("\t")[0] for line in base.splitlines()}) == len(names) + 3
    assert all(line.count("\t") == 2 for line in base.splitlines())
    for name in names:
        checks.file("etc/" + name, "two")
    out = checks.run("breach", "files", "/etc", monit=False).ended(1).out
    changed = [line for line in out.splitlines() if line.endswith(": content")]
    assert len(changed) == len(names) and "/etc/new\\x0aline: content" in changed and "/etc/\\x5cx41: content" in changed
    assert out.isascii() and out.replace("\n", "").isprintable()


def test_monit_gets_what_it_has_room_for(checks):
    checks.run("breach", "files", "/etc").ended(0)
    for number in range(100):
        checks.file("etc/%03d" % number)
    cut = checks.run("breach", "files", "/etc").ended(1).out
    assert cut.startswith("files: 101 not as in the baseline") and 400 < len(cut) <= 500
    assert len(checks.run("breach", "files", "/etc", monit=False).ended(1).out.splitlines()) == 102


def test_what_differs_is_named(checks):
    for name in ("content", "mode", "gone", "type", "sub/inside"):
        checks.file("etc/" + name, "one")
    (checks.root / "etc/link").symlink_to("content")
    checks.run("breach", "-x", "/etc/left", "files", "/etc", "/absent").ended(0)
    checks.file("etc/content", "two")
    checks.file("etc/mode", "one", 0o4755)
    (checks.root / "etc/gone").unlink()
    (checks.root / "etc/type").unlink()
    (checks.root / "etc/type").mkdir()
    (checks.root / "etc/sub/inside").chmod(0o600)
    checks.file("absent", "there")
    checks.file("etc/left/out", "x")
    out = checks.run("breach", "-x", "/etc/left", "files", "/etc", "/absent").ended(1).out
    assert out.splitlines()[1:] == [
        "/absent: added", "/etc/content: content", "/etc/gone: removed", "/etc/link: content", "/etc/mode: mode -rw-r--r-- -> -rwsr-xr-x",
        "/etc/sub/inside: mode -rw-r--r-- -> -rw-------", "/etc/type: content, mode -rw-r--r-- -> drwxr-xr-x"]


def test_the_same_file_once_more(checks):
    """Nobody who has seen the first change has seen the second."""
    checks.file("etc/a", "one")
    for content, status in (("one", 0), ("two", 1), ("two", 1), ("three", 2), ("four", 3), ("five", 2), ("five", 2), ("one", 0), ("two", 1)):
        checks.file("etc/a", content)
        checks.run("breach", "files", "/etc").ended(status)


def test_accepting(checks):
    def breach(*args):
        return checks.run("breach", *args)

    assert "no Monit has run this" in breach("show", "files").ended(74).err
    checks.file("etc/a", "one")
    breach("files", "/etc").ended(0)
    checks.file("etc/a", "two")
    breach("files", "/etc").ended(1)
    checks.file("etc/b", "nobody has been shown this")
    assert breach("show", "files").ended(0).out == "/etc/a: content\n"
    assert breach("accept", "files").ended(0).out == "/etc/a: content\naccepted: 1\n"
    assert "/etc/b: added" in breach("files", "/etc").out
    breach("accept", "files").ended(0)
    breach("files", "/etc").ended(0)
    assert breach("accept", "everything").status == breach("accept").status == breach().status == breach("files", "x").status == 64


def test_a_baseline_that_is_gone(checks):
    """It is not learned anew: whoever changed the files may have removed it."""
    checks.file("etc/a", "one")
    checks.run("breach", "files", "/etc").ended(0)
    (checks.state / "files.base").unlink()
    assert "files.base: missing" in checks.run("breach", "files", "/etc").ended(1).out
    assert checks.run("breach", "show", "files").ended(0).out == "/etc/a: added\n/etc: added\n"
    assert not (checks.state / "files.base").exists()
    checks.run("breach", "accept", "files").ended(0)
    checks.run("breach", "files", "/etc").ended(0)


def test_setuid_files_of_packages_may_be_updated(checks):
    checks.file("usr/bin/su", "one", 0o4755)
    checks.file("usr/bin/own", "one", 0o2755)
    checks.file("opt/containers/su", "one", 0o4755)
    checks.file("var/lib/dpkg/info/su.list", "/.\n/bin\n/bin/su\n")

    def setuid():
        result = checks.run("breach", "-x", "/opt/containers", "setuid", "/")
        return result.status, result.out.splitlines()[1:]

    assert setuid() == (0, [])
    assert "/opt" not in (checks.state / "setuid.base").read_text()
    checks.file("usr/bin/su", "two", 0o4755)
    checks.file("opt/containers/other", "two", 0o4755)
    assert setuid() == (0, [])
    checks.file("usr/bin/own", "two", 0o2755)
    assert setuid() == (1, ["/usr/bin/own: content"])
    checks.file("usr/bin/su", "two", 0o755)
    assert setuid() == (2, ["/usr/bin/own: content", "/usr/bin/su: removed"])


def test_programs_that_are_not_as_their_package_brought_them(checks, dpkg):
    checks.packages(tool="1")
    sum_of_good = "755f85c2723bb39381c7379a604160d8"
    paths = ["usr/bin/tool", "usr/lib/x.so", "usr/share/doc/x", "sbin/y"]
    checks.file("var/lib/dpkg/info/format", "1\n")
    checks.file("var/lib/dpkg/info/tool.list", "".join("/%s\n" % path for path in paths))
    checks.file("var/lib/dpkg/info/tool.md5sums", "".join("%s  %s\n" % (sum_of_good, path) for path in paths))
    for path in paths:
        checks.file(path, "good")

    def packages():
        result = checks.run("breach", "packages")
        return result.status, result.out.splitlines()[1:]

    assert packages() == (0, [])
    for path in paths[:3]:
        checks.file(path, "evil")
    (checks.root / "sbin/y").unlink()
    assert packages() == (1, ["/sbin/y: missing", "/usr/bin/tool: content", "/usr/lib/x.so: content"])
    checks.run("breach", "accept", "packages").ended(0)
    assert packages() == (0, [])
    checks.file("usr/bin/tool", "worse")
    assert packages() == (1, ["/usr/bin/tool: content"])
    for path in paths:
        checks.file(path, "good")
    assert packages() == (0, [])


def test_programs_that_others_may_change(checks, dpkg, root):
    """dpkg does not look at owner and mode."""
    checks.packages(tool="1")
    tool = checks.file("usr/bin/tool", mode=0o755)
    odd = checks.file("usr/lib/x/a\nb.so", mode=0o644)
    for path, mode in (("usr/bin/suid", 0o4755), ("usr/share/doc", 0o666)):
        os.chown(checks.file(path, mode=mode), 1, 1)
        (checks.root / path).chmod(mode)
    (checks.root / "usr/lib/link").symlink_to("x")

    def packages():
        result = checks.run("breach", "packages")
        return result.status, result.out.splitlines()[1:]

    assert packages() == (0, [])
    tool.chmod(0o757)
    odd.parent.chmod(0o775)
    os.chown(odd, 1, 2)
    found = ["/usr/bin/tool: mode -rwxr-xrwx", "/usr/lib/x/a\\x0ab.so: owner 1:2", "/usr/lib/x: mode drwxrwxr-x"]
    assert packages() == (1, found)
    os.chown(tool, 1, 0)
    assert packages() == (2, ["/usr/bin/tool: owner 1:0, mode -rwxr-xrwx", *found[1:]])
    checks.run("breach", "accept", "packages").ended(0)
    assert packages() == (0, [])
    os.chown(tool, 0, 0)
    assert packages() == (0, [])
    tool.chmod(0o777)
    assert packages() == (1, ["/usr/bin/tool: mode -rwxrwxrwx"])
    for path, mode in (tool, 0o755), (odd.parent, 0o755):
        path.chmod(mode)
    os.chown(odd, 0, 0)
    assert packages() == (0, [])


def test_files_that_cannot_be_read(checks, plain_user):
    secret = checks.file("etc/secret", "one", 0)
    checks.run("breach", "files", "/etc").ended(0)
    secret.chmod(0o600)
    assert "/etc/secret: content, mode" in checks.run("breach", "files", "/etc").ended(1).out
