# SPDX-License-Identifier: MIT
"""Monit's control files, as px-status-flush --check looks at them, and all snippets together beside a distribution's own."""
import os
import re

import pytest

from harness import CONFIG, EVENT, FLUSH, MONIT, ROOT, STATUS, run

SNIPPETS = sorted((ROOT / "share" / "monitrc.d").glob("*"))
PLACES = ("/root/.monitrc", "/etc/monitrc", "/etc/monit/monitrc", "/usr/local/etc/monitrc")
NOBODY = 65534


class Control:
    """A main control file, and the folder conf.d that it includes."""

    def __init__(self, device):
        self.device = device
        self.folder = device.folder / "conf.d"
        self.folder.mkdir(mode=0o755)
        self.folder.chmod(0o755)
        self.main = device.folder / "monitrc"
        self.write()
        self.name_by("-c %s" % self.main)

    def write(self, text=""):
        self.device.file("monitrc", "set daemon 30\n%s\ninclude %s/*\n" % (text, self.folder))

    def include(self, name, text, mode=0o644):
        return self.device.file("conf.d/" + name, text, mode)

    def name_by(self, option):
        self.device.configure(snapshot={"command": "%s %s -B status" % (self.device.monit_that("exit 1"), option)})

    def check(self, flush=FLUSH, **more):
        return Lines(self.device.run(flush, "-c", self.device.config, "-s", self.device.spool, "--check", **more))


class Lines:
    """What --check printed: the verdicts of each thing, and all that stands in and below its lines."""

    def __init__(self, result):
        self.status = result.status
        self.text = result.out
        self.verdicts = {}
        self.said = {}
        what = None
        for line in result.out.splitlines():
            what = line[8:22].strip() or what
            if line[:1] != " ":
                self.verdicts.setdefault(what, []).append(line.split()[0])
            self.said.setdefault(what, []).append(line[23:])

    def failed(self, what, *texts):
        """Asserts that a line of ${what} failed, and decided; what it said has ${texts}."""
        assert "failed" in self.verdicts[what] and self.status == CONFIG, self.text
        said = "\n".join(self.said[what])
        for text in texts:
            assert text in said, self.text
        return self

    def is_well(self, what, *texts):
        assert self.verdicts[what] == ["ok"], self.text
        for text in texts:
            assert text in self.said[what][0], self.text
        return self


@pytest.fixture
def control(device):
    return Control(device)


def test_all_is_well(control):
    control.include("ours", 'check system $HOST\n if memory usage > 90%% then exec "%s cpu"\n' % EVENT)
    control.check().is_well("monit files", "monitrc", "1 that it includes").is_well("monit rules", "conf.d/ours:1 runs")


@pytest.mark.parametrize("option", ["-c %s", "-c%s", "-Bc %s", "-B -v -c '%s'", "--conf %s", "--conf=%s", "-t --conf \"%s\""])
def test_the_command_names_the_file(control, option):
    control.name_by(option % control.main)
    control.check().is_well("monit files", str(control.main))


def test_others_can_write_an_included_file(control):
    path = control.include("open", "", 0o664)
    control.check().failed("monit files", "'%s'" % path, "0664", "chmod go-w")
    path.chmod(0o644)
    control.check().is_well("monit files")


def test_others_can_write_the_folder(control):
    """Also where nothing is in it yet, and where it is a sticky one: whoever may add a file tells Monit what to do."""
    for mode in (0o777, 0o1777, 0o770, 0o1775):
        control.folder.chmod(mode)
        control.check().failed("monit files", "'%s'" % control.folder, "%04o" % mode)
    control.folder.chmod(0o755)
    control.check().is_well("monit files")


def test_an_included_file_of_somebody_else(control, root):
    del root
    path = control.include("foreign", "")
    os.chown(path, NOBODY, NOBODY)
    control.check().failed("monit files", "'%s' is not root's" % path, "uid %d" % NOBODY, "chown root")


def test_one_line_for_a_folder_with_many_files(control):
    for number in range(20):
        control.include("n%d" % number, 'check file n%d with path /n if changed size then exec "/nonexistent/px-status-event a"\n' % number)
    control.folder.chmod(0o777)
    lines = control.check().failed("monit files").failed("monit rules", "'/nonexistent/px-status-event'")
    assert lines.verdicts["monit files"] == ["failed"] and lines.verdicts["monit rules"] == ["failed", "ok"]


def test_what_monit_does_not_take(control):
    """Dot files, backups of editors and folders, whoever may write them."""
    for name in (".hidden", "backup~"):
        control.include(name, "check system x\n", 0o666)
    (control.folder / "folder").mkdir()
    control.check().is_well("monit files", "0 that it includes").is_well("monit rules", "no 'check system'")


def test_includes_in_a_circle(control):
    control.include("a", "include %s/conf.d/b\ninclude %s\n" % (control.device.folder, control.main))
    control.include("b", "include %s/conf.d/*\n" % control.device.folder)
    (control.folder / "c").symlink_to("a")
    control.check().is_well("monit files", "2 that it includes")


def test_a_fifo_is_not_waited_for(control):
    os.mkfifo(control.folder / "fifo", 0o644)
    control.check().failed("monit files", "fifo' is not a regular file")


def test_more_files_than_monit_takes(control):
    for number in range(1030):
        (control.folder / str(number)).touch(0o644)
    control.check().failed("monit files", "1024")


def test_any_bytes_in_files_and_names(control):
    name = "evil\x1b[31m\nok      monit files    all is well"
    path = control.include("e", bytes(range(256)) * 300 + b"\ncheck system \"x\x1b[0m\"\n")
    control.include(name, "", 0o666)
    lines = control.check().failed("monit files", r"evil\x1b[31m\x0aok")
    assert "\x1b" not in lines.text and path.exists()


def test_control_files_that_only_root_reads(control, device):
    """Told, and nothing failed."""
    device.config.chmod(0o644)
    control.main.chmod(0o000)
    more = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    lines = control.check(device.copy_of(FLUSH), **more).is_well("monit files", "run --check as root", str(control.main))
    assert "monit rules" not in lines.verdicts
    control.name_by("-c /nonexistent/monitrc")
    assert "monit rules" not in control.check().is_well("monit files", "/nonexistent/monitrc").verdicts


def test_no_monit_at_all(control):
    if any(os.path.exists(place) for place in PLACES):
        pytest.skip("this machine has a control file of Monit's")
    control.name_by("")
    assert "monit rules" not in control.check().is_well("monit files", "no control file").verdicts


def test_a_program_that_is_not_there(control):
    control.include("x", '# none\ncheck file x with path /x\n if changed size then exec "/nonexistent/bin/px-status-event disk"\n')
    control.check().failed("monit rules", "'/nonexistent/bin/px-status-event'", "conf.d/x:3")
    control.include("x", 'check program x with path "/bin/sh /nonexistent/share/px-status/checks/x y"\n')
    control.check().failed("monit rules", "'/nonexistent/share/px-status/checks/x'")
    control.include("x", 'check file x with path /x\n if changed size then exec "/nonexistent/other"\n')
    control.check().is_well("monit rules")


def test_an_interface_that_is_not_there(control):
    """Of a service of ours: Monit would report its link as down for ever."""
    text = "check network %s with interface %s\n if failed link then alert\n"
    control.include("n", text % ("px_network", "nosuch0"))
    control.check().failed("monit rules", "conf.d/n:1", "'nosuch0'")
    for fine in ("px_network", "lo"), ("theirs", "nosuch0"):
        control.include("n", text % fine)
        control.check().is_well("monit rules")


# -- two services of one name

def assert_monit_refuses(control):
    if MONIT is not None:
        result = run([MONIT, "-t", "-c", control.main], control.device.environment())
        assert result.status == 1 and "Service name conflict" in result.out + result.err, result


def test_a_snippet_that_is_copied_and_linked(control):
    """Debian's two folders; one line for each two files, however many services they have in common."""
    enabled = control.device.folder / "conf-enabled"
    enabled.mkdir(mode=0o755)
    (control.device.folder / "available").mkdir(mode=0o755)
    control.write("include %s/*" % enabled)
    for name in ("disk", "errors"):
        text = re.sub(r"/usr/(bin|share)/px-status\S*", "/bin/true", (ROOT / "share" / "monitrc.d" / name).read_text())
        control.include("px-status-" + name, text)
        control.device.file("available/px-status-" + name, text, 0o644)
        (enabled / ("px-status-" + name)).symlink_to("../available/px-status-" + name)
    lines = control.check().failed("monit rules", "'px_rootfs'", "%s/px-status-disk:" % control.folder, "%s/px-status-disk:" % enabled,
                                   "%s/px-status-errors:" % control.folder, "leave one")
    assert sum("the service" in line for line in lines.said["monit rules"]) == 2
    assert_monit_refuses(control)
    for name in ("disk", "errors"):
        (enabled / ("px-status-" + name)).unlink()
    control.check().is_well("monit rules")


def test_a_file_that_is_included_twice(control):
    path = control.include("a", "check file one with path /1\n")
    (control.folder / "b").symlink_to("a")
    control.check().failed("monit rules", "'one' is at %s:1" % path, "'%s/b' too" % control.folder)
    assert_monit_refuses(control)


@pytest.mark.parametrize("one, other", [("file px_x", "host PX_X"), ("file \"x y\"", "program 'X Y'"), ("system vm", "host vm")])
def test_services_of_one_name(control, one, other):
    """Of any type, quoted or not; Monit does not tell letters by their case."""
    rest = {"file": "with path /x", "host": "with address localhost", "program": "with path /bin/true", "system": ""}
    control.include("a", "".join("check %s %s\n" % (check, rest[check.split()[0]]) for check in (one, other)))
    control.check().failed("monit rules", "conf.d/a:1", "conf.d/a:2")
    assert_monit_refuses(control)


# -- `check system`

def test_there_is_a_check_system_already(control):
    control.write("check system a-name\n if memory usage > 50% then alert")
    lines = control.check().is_well("monit rules", "monitrc:2", "add these lines")
    assert [line.strip() for line in lines.said["monit rules"][1:]] == rules_of_cpu()


def test_two_of_them(control):
    control.include("a", "check system one\n")
    control.include("b", "check system two\n")
    control.check().failed("monit rules", "'one'", "conf.d/a:1", "'two'", "conf.d/b:1", "leave one")


def rules_of_cpu():
    """Those of the snippet, without comments and blanks in front."""
    text = (ROOT / "share" / "monitrc.d" / "cpu").read_text().split("check system $HOST\n")[1]
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


def test_no_snippet_but_cpu_has_a_check_system():
    assert {"cpu", "disk", "network", "px-status"} <= {path.name for path in SNIPPETS}
    for path in SNIPPETS:
        found = re.findall(r"check\s+system\s+(\S+)", re.sub(r"(?m)^\s*#.*", "", path.read_text()), re.I)
        assert found == (["$HOST"] if path.name == "cpu" else []), path


def stock_monitrc(device):
    """That of Debian's package, with all it names in the device's folder."""
    places = [place / "etc" / "monit" / "monitrc" for place in (ROOT / "build" / "monit", ROOT.__class__("/"))]
    found = [place for place in places if os.access(place, os.R_OK)]
    if MONIT is None or not found:
        pytest.skip("Monit's package is not here, or its control file is root's alone")
    (device.folder / "events").mkdir()
    text = found[0].read_text()
    return re.sub(r"(?m)^([^#\n]*)/(?:var/log|var/lib/monit|etc/monit|run)/", r"\g<1>%s/" % device.folder, text)


def assert_monit_takes(control):
    result = run([MONIT, "-t", "-c", control.main], control.device.environment()).ended(0)
    assert "Control file syntax OK" in result.out and "conflict" not in result.out + result.err, result


@pytest.mark.parametrize("own", [None, "$HOST", "a-name"])
def test_all_snippets_beside_a_stock_control_file(control, device, own):
    """With a `check system` of its own: what --check says is done."""
    stock = stock_monitrc(device)
    assert str(control.folder) in stock
    block = "\ncheck system %s\n  if loadavg (1min) > 100 then alert\n" % own if own else ""
    device.file("monitrc", stock + block)
    for path in SNIPPETS:
        control.include(path.name, path.read_text())
    if own is None:
        assert_monit_takes(control)
    ours = [("/usr/bin/px-status-event", str(EVENT)), ("/usr/bin/px-status", str(STATUS)),
            ("/usr/share/px-status/checks", "%s/share/checks" % ROOT), ("interface eth0", "interface lo")]
    for path in SNIPPETS:
        text = path.read_text()
        for old, new in ours:
            text = re.sub(re.escape(old) + r"\b(?!/px)", new, text)
        control.include(path.name, text)
    if own is None:
        control.check().is_well("monit files").is_well("monit rules", "conf.d/cpu:")
        return
    lines = control.check().is_well("monit files").failed("monit rules", "'%s'" % own, "'$HOST'", "take out the one at")
    assert re.search(r"take out the one at \S+/conf\.d/cpu:\d+, and add these lines to the one at %s:\d+:$" % control.main, lines.text, re.M)
    said = lines.said["monit rules"]
    added = said[[line.startswith("take out") for line in said].index(True) + 1:]
    (control.folder / "cpu").unlink()
    device.file("monitrc", stock + block + "\n".join(added).replace("/usr/bin/px-status-event", str(EVENT)) + "\n")
    control.check().is_well("monit files").is_well("monit rules", "runs px-status-event")
    assert_monit_takes(control)
