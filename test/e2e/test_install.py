# SPDX-License-Identifier: MIT
"""`make install` and `make uninstall`: into a folder, as packages are made, and on a machine of its own; see machine.py."""
import os
import re
import subprocess

import pytest

import machine
from harness import BUILD, PROGRAMS, ROOT, mode_of

pytestmark = pytest.mark.long

FOLDER = "/var/lib/px-status"
# Of what is installed, the texts that name a place.
OTHERS = {"PREFIX": "/opt/px", "SYSCONFDIR": "/opt/etc", "LOCALSTATEDIR": "/opt/var"}


def make(*args, silent="-s", **more):
    """What is built already: another PREFIX would make it anew, under the other tests."""
    words = BUILD.name.split("-")
    flags = ["CC=" + words[0], *("%s=1" % word.upper() for word in words[1:])]
    return subprocess.run(["make", *filter(None, [silent]), "-o", "all", *flags, *args], cwd=ROOT, check=True, capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"]}, **more).stdout


def below(folder):
    """Every path below the folder with its mode and content."""
    return {str(path.relative_to(folder)): (mode_of(path), path.read_bytes() if path.is_file() else None)
            for path in folder.rglob("*")}


@pytest.fixture
def stage(tmp_path):
    folder = tmp_path / "stage"
    make("install", "DESTDIR=%s" % folder)
    return folder


def test_places_and_modes(stage):
    files = {name: mode for name, (mode, content) in below(stage).items() if content is not None}
    folders = {name: mode for name, (mode, content) in below(stage).items() if content is None}
    assert {"usr/bin/" + program.name for program in PROGRAMS} <= files.keys()
    for name, place in (("monitrc.d", "share/px-status/monitrc.d"), ("checks", "share/px-status/checks"),
                        ("cron", "share/px-status/cron"), ("examples", "share/px-status/examples"),
                        ("schema", "share/px-status/schema"), ("systemd", "lib/systemd/system"),
                        ("sysusers.d", "lib/sysusers.d"), ("tmpfiles.d", "lib/tmpfiles.d")):
        assert {"usr/%s/%s" % (place, path.name) for path in (ROOT / "share" / name).iterdir()} <= files.keys()
    assert {"usr/share/man/man%s/%s" % (path.suffix[1:], path.name) for path in (ROOT / "man").iterdir()} <= files.keys()
    assert "etc/px-status/px-status.conf" in files
    executable = re.compile("usr/bin/|usr/share/px-status/checks/")
    assert {name: mode for name, mode in files.items() if mode != (0o755 if executable.match(name) else 0o644)} == {}
    assert {name: mode for name, mode in folders.items() if mode != 0o755} == {"var/lib/px-status": 0o700}


def test_what_a_person_sees(tmp_path):
    """The places, and not each command, as of all else that is made."""
    said = make("install", "DESTDIR=%s" % tmp_path, silent=None)
    for place in ("bin", "share/px-status/monitrc.d", "share/man/man8", "lib/systemd/system"):
        assert "  INST  %s/usr/%s\n" % (tmp_path, place) in said
    said += make("uninstall", "DESTDIR=%s" % tmp_path, silent=None)
    assert "RM" in said and not re.search(r"sed|rm -f|install -m", said)
    assert "install -m 755" in make("install", "V=1", "DESTDIR=%s" % tmp_path, silent=None)


def test_whatever_the_umask(tmp_path, stage):
    os.umask(0o077)
    try:
        make("install", "DESTDIR=%s" % (tmp_path / "other"))
    finally:
        os.umask(0o022)
    assert below(tmp_path / "other") == below(stage)


def test_it_needs_no_root_and_says_what_is_left(tmp_path):
    said = make("install", "DESTDIR=%s" % (tmp_path / "other"))
    assert "useradd --system" in said and "install -d -m 700 -o px-status -g px-status /var/lib/px-status" in said
    assert str(tmp_path) not in said


def test_what_is_there_stays(stage):
    """A configuration, whatever is in it and even where it is a link to nothing; the folder of the spool."""
    conf = stage / "etc/px-status/px-status.conf"
    conf.write_text("[device]\nid = mine\n")
    conf.chmod(0o600)
    (stage / "var/lib/px-status").chmod(0o750)
    before = below(stage)
    make("install", "DESTDIR=%s" % stage)
    assert below(stage) == before
    conf.unlink()
    conf.symlink_to("elsewhere")
    make("install", "DESTDIR=%s" % stage)
    assert conf.is_symlink() and not conf.exists()


def test_uninstall_leaves_nothing_it_brought(stage):
    """Whatever was installed how often, and no folder either."""
    make("install", "DESTDIR=%s" % stage)
    make("uninstall", "DESTDIR=%s" % stage)
    assert list(below(stage)) == [] and stage.is_dir()
    make("uninstall", "DESTDIR=%s" % stage)
    assert stage.is_dir()


def test_the_receiver_leaves_nothing(stage, tmp_path):
    """Started as it says itself; and started in its place, after an uninstall."""
    place = stage / "usr/share/px-status/examples"
    source = (place / "receiver.py").read_text()
    start = re.search(r"^((?:    \S.*\n)+)", source, re.MULTILINE)[1]
    start = start.replace("/usr/share/px-status/examples", str(place)).replace("flask", "/usr/bin/python3 -m flask")
    start = start.replace(" run\n", " routes\n")     # as far as it can be without serving
    before = below(stage)
    for folder in (tmp_path, place):
        result = subprocess.run(["/bin/sh", "-c", start], cwd=folder, capture_output=True, text=True,
                                env={"PATH": os.environ["PATH"], "PYTHONNOUSERSITE": "1", "LANG": "C.UTF-8"})
        if "No module named flask" in result.stderr:
            pytest.skip("flask is not installed")
        assert "/api/v1/devices/stats" in result.stdout, result.stderr
        assert (folder / "__pycache__").is_dir() and (below(stage) == before) == (folder == tmp_path)
    make("uninstall", "DESTDIR=%s" % stage)
    assert list(below(stage)) == []


def test_uninstall_leaves_folders_that_were_there(tmp_path):
    """Empty ones too, which others may count on."""
    others = tmp_path / "usr/share/fish/vendor_completions.d"
    others.mkdir(parents=True)
    for _ in range(2):
        make("install", "DESTDIR=%s/" % tmp_path)
        make("uninstall", "DESTDIR=%s/" % tmp_path)
        assert [path for path in below(tmp_path) if others != tmp_path / path] == ["usr", "usr/share", "usr/share/fish"]


MINE = ["etc/px-status/token", "etc/px-status/px-status.conf", "var/lib/px-status/spool.db", "usr/share/px-status/monitrc.d/mine",
        "usr/share/man/man8/mine.8", "usr/lib/systemd/system/mine.service", "usr/bin/mine", "usr/lib/tmpfiles.d/mine.conf",
        "etc/systemd/system/px-status-flush.service.d/root.conf"]


def test_uninstall_leaves_everything_that_is_yours(stage):
    for name in MINE:
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        (stage / name).write_text("mine")
    make("uninstall", "DESTDIR=%s" % stage)
    assert sorted(name for name, (_, content) in below(stage).items() if content is not None) == sorted(MINE)
    assert {(stage / name).read_text() for name in MINE} == {"mine"}


def test_texts_tell_of_other_places(tmp_path):
    make("install", "DESTDIR=%s" % tmp_path, *("%s=%s" % item for item in OTHERS.items()))
    texts = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file() and "bin" not in path.parts}
    assert len(texts) > 30
    usual = re.compile(r"/usr/(bin|share)/px-status|(?<!/opt)/(etc/px-status/|var/lib/px-status)|/usr/lib/systemd/system/px")
    assert [(str(path), found[0]) for path, text in texts.items() for found in [usual.search(text)] if found] == []
    service = (tmp_path / "opt/px/lib/systemd/system/px-status-flush.service").read_text()
    assert "ExecStart=/opt/px/bin/px-status-flush\n" in service and "ReadWritePaths=-/opt/var/lib/px-status\n" in service
    assert (tmp_path / "opt/etc/px-status/px-status.conf").exists() and (tmp_path / "opt/var/lib/px-status").is_dir()
    make("uninstall", "DESTDIR=%s" % tmp_path, *("%s=%s" % item for item in OTHERS.items()))
    assert list(tmp_path.rglob("*")) == []


# -- on a machine

@pytest.fixture
def own(root):
    with machine.running() as running:
        yield running


def owner_of(running, path):
    return running.run("stat", "-c", "%U:%G %a", path).ended(0).out.strip()


def folders_of(running):
    return set(running.run("find", "/etc", "/usr", "/var/lib", "-xdev", "-type", "d").ended(0).out.splitlines())


def test_on_a_device(own):
    """As root: the user and the folder, once; what is there stays; away again, and the user's files stay. There is no fish."""
    own.run("rm", "-rf", "/usr/share/fish").ended(0)
    before = folders_of(own)
    own.make("install").ended(0)
    assert owner_of(own, FOLDER) == "px-status:px-status 700"
    home, shell = own.run("getent", "passwd", "px-status").ended(0).out.strip().split(":")[5:]
    assert home == FOLDER and shell.endswith("/nologin")
    own.run("px-status-event", "hello").ended(0)
    own.make("install").ended(0)
    assert owner_of(own, FOLDER + "/spool.db") == "px-status:px-status 600"
    own.make("uninstall").ended(0)
    left = own.changes("/usr", "/etc", "/var/lib")
    accounts = re.compile(r"/etc/(passwd|group|g?shadow|sub[ug]id)-?$|/etc/\.pwd\.lock$")
    assert FOLDER + "/spool.db" in left
    assert [path for path in left - before if not path.startswith(FOLDER) and not accounts.match(path)] == []
    assert folders_of(own) ^ before == {FOLDER}


def test_a_folder_of_roots_stays_roots(own):
    own.run("install", "-d", "-m", "755", FOLDER).ended(0)
    own.make("install").ended(0)
    own.sh("systemd-sysusers && systemd-tmpfiles --create /usr/lib/tmpfiles.d/px-status.conf").ended(0)
    assert owner_of(own, FOLDER) == "root:root 755"


def test_what_systemd_makes(own):
    """As a package has it done; the same as `make install` on the device."""
    own.make("install", "DESTDIR=/stage").ended(0)
    if own.sh("command -v systemd-sysusers systemd-tmpfiles").status != 0:
        pytest.skip("systemd-sysusers and systemd-tmpfiles are not installed")
    own.run("systemd-sysusers", "/stage/usr/lib/sysusers.d/px-status.conf").ended(0)
    own.run("systemd-tmpfiles", "--create", "/stage/usr/lib/tmpfiles.d/px-status.conf").ended(0)
    assert owner_of(own, FOLDER) == "px-status:px-status 700"
    home, shell = own.run("getent", "passwd", "px-status").ended(0).out.strip().split(":")[5:]
    assert home == FOLDER and shell.endswith("/nologin")


@pytest.mark.parametrize("name", ["README.md", "man/px-status-flush.8"])
def test_the_lines_for_a_system_without_systemd(own, name):
    """They stand in README and manual page, and do what they are for."""
    text = (ROOT / name).read_text().replace("\\e\n", "\\\n")
    lines = re.findall(r"^(?:# |sudo |\s+sudo )?((?:useradd --system|install -d -m 700).*?[^\\])$", text, re.MULTILINE | re.DOTALL)
    assert len(lines) == 2, lines
    own.sh("\n".join(lines)).ended(0)
    assert owner_of(own, FOLDER) == "px-status:px-status 700"
