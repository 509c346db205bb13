# SPDX-License-Identifier: MIT
"""What is written about the programs is true of them."""
import os
import re
import shutil
import subprocess

import pytest

from harness import EVENT, FLUSH, PROGRAMS, ROOT, STATUS

MAN = sorted((ROOT / "man").glob("px-status*"))
PAGES = {EVENT: "px-status-event.8", FLUSH: "px-status-flush.8", STATUS: "px-status.8"}

KEYS = {
    "device": "id name identity_file",
    "spool": "path max_items max_bytes",
    "snapshot": "enabled interval source command socket url user password_file timeout",
    "upstream": "url path auth token_file token_command user password_file ca_file client_cert client_key pinned_public_key "
                "proxy proxy_user proxy_password_file timeout connect_timeout compression allow_http",
    "batch": "max_items max_bytes",
    "retry": "initial max",
    "schedule": "splay",
}
DEFAULTS = {
    "spool": {"path": "/var/lib/px-status/spool.db", "max_items": "100000", "max_bytes": "256M"},
    "snapshot": {"enabled": "yes", "interval": "5m", "source": "auto", "command": "monit -B status", "socket": "/run/monit.sock",
                 "url": "http://127.0.0.1:2812", "timeout": "10s"},
    "upstream": {"path": "/api/v1/devices/stats", "auth": "none", "timeout": "30s", "connect_timeout": "10s", "compression": "gzip",
                 "allow_http": "no"},
    "batch": {"max_items": "500", "max_bytes": "1M"},
    "retry": {"initial": "30s", "max": "1h"},
    "schedule": {"splay": "30s"},
}
ALL_KEYS = [(section, key) for section, keys in KEYS.items() for key in keys.split()]


def page(name):
    """A manual page as text, a word never broken at a line's end."""
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    shown = subprocess.run(["mandoc", "-T", "ascii", "-O", "width=500", ROOT / "man" / name], check=True, capture_output=True, text=True)
    return re.sub(r".\x08", "", shown.stdout)


def section_of(text, section):
    """The part of px-status.conf(5) that describes [section]."""
    parts = re.split(r"^   \[(\w+)\]", text, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2]))
    assert section in sections
    return sections[section]


def test_there_are_five_pages():
    assert [path.name for path in MAN] == ["px-status-event.8", "px-status-flush.8", "px-status.7", "px-status.8", "px-status.conf.5"]


@pytest.mark.parametrize("path", MAN, ids=lambda path: path.name)
def test_lint(path):
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    result = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", path.name], cwd=path.parent, capture_output=True, text=True)
    assert result.stdout + result.stderr == ""


@pytest.mark.parametrize("program", PAGES, ids=lambda path: path.name)
def test_every_option_of_help_is_in_the_page(device, program):
    options = set(re.findall(r"(?<![\w-])(--?[A-Za-z][\w-]*)", device.run(program, "--help").ended(0).out))
    assert {"-h", "--help", "-V", "--version", "-c", "--config", "-s", "--spool"} <= options
    text = page(PAGES[program])
    assert [option for option in options if not re.search(r"(?<![\w-])%s(?![\w-])" % option, text)] == []


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_help_fits_a_terminal(device, program):
    assert [line for line in device.run(program, "--help").ended(0).out.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("program, options", [
    (EVENT, "-c --config -s --spool -m --message -n --dry-run -h --help -V --version"),
    (FLUSH, "-c --config -s --spool -h --help -V --version --now --no-snapshot -n --dry-run -q --quiet -v --verbose"),
    (FLUSH, "--check"),
    (STATUS, "-c --config -s --spool -h --help -V --version --json --state --prometheus --max-age --all"),
], ids=lambda value: value.name if hasattr(value, "name") else "")
def test_help_names_every_option(device, program, options):
    text = device.run(program, "--help").ended(0).out
    assert [option for option in options.split() if not re.search(r"(?<![\w-])%s(?![\w-])" % option, text)] == []


@pytest.mark.parametrize("command", ["list", "show", "stats", "health", "export", "retry", "drop", "config"])
def test_every_command_is_in_help_and_page(device, command):
    assert re.search(r"^\s+%s\b" % command, device.run(STATUS, "--help").ended(0).out, re.MULTILINE)
    assert re.search(r"^\s+%s\b" % command, page("px-status.8"), re.MULTILINE)


@pytest.mark.parametrize("section, key", ALL_KEYS, ids=str)
def test_every_key_is_in_the_page_of_the_configuration(section, key):
    assert re.search(r"^ +%s = " % key, section_of(page("px-status.conf.5"), section), re.MULTILINE)


@pytest.mark.parametrize("section, key", [(section, key) for section, keys in DEFAULTS.items() for key in keys], ids=str)
def test_every_default_is_in_the_page_of_the_configuration(section, key):
    part = section_of(page("px-status.conf.5"), section)
    entry = re.search(r"^ +%s = .*?(?=^ +\w+ = |\Z)" % key, part, re.MULTILINE | re.DOTALL)[0]
    assert re.search(r"Default: %s[.,]( |$)" % re.escape(DEFAULTS[section][key]), entry, re.MULTILINE)


def test_the_programs_know_every_key_and_its_default(device):
    device.write_config("")
    out = device.status("config").status, device.status("config").out
    lines = out[1].splitlines()
    missing = [key for key in ALL_KEYS if not any(re.search(r"\b%s\b.*\b%s\b" % key, line) for line in lines)]
    assert missing == []
    wrong = [(section, key, value) for section, keys in DEFAULTS.items() for key, value in keys.items()
             if not any(re.search(r"\b%s\b.*\b%s\b.* %s( |$)" % (section, key, re.escape(value)), line) for line in lines)]
    assert wrong == []


@pytest.mark.parametrize("section, key", ALL_KEYS, ids=str)
def test_the_programs_take_every_key(device, section, key):
    value = DEFAULTS.get(section, {}).get(key)
    if value is None:
        value = {"url": "https://central.example.com", "pinned_public_key": "sha256//YhKJKSzoTt2b5FP18fvpHo7fJYqQCjAa3HWY3tvRMwE=",
                 "proxy": "http://proxy.example.com:3128", "identity_file": device.file("device.yml", "id: x\n", 0o644),
                 "token_command": "/bin/true"}.get(key, "/x" if key.endswith(("file", "cert", "key")) else "x")
    others = {("snapshot", "password_file"): {"user": "u"}, ("upstream", "password_file"): {"user": "u", "auth": "basic"},
              ("upstream", "client_cert"): {"client_key": "/y"}, ("upstream", "client_key"): {"client_cert": "/y"},
              ("upstream", "proxy_user"): {"proxy": "http://p:1"}, ("retry", "initial"): {"max": "1h"},
              ("upstream", "proxy_password_file"): {"proxy": "http://p:1", "proxy_user": "u"}}
    device.configure(**{section: {**others.get((section, key), {}), key: value}})
    assert str(value) in device.status("config").ended(0).out


EXIT_STATUS = {"px-status-event.8": (0, 64, 70, 74, 78), "px-status-flush.8": (0, 64, 70, 74, 75, 77, 78),
               "px-status.8": (0, 1, 64, 70, 74, 75, 77, 78)}


@pytest.mark.parametrize("name", EXIT_STATUS)
def test_every_exit_status_is_in_the_page(name):
    part = re.search(r"^EXIT STATUS$.*?(?=^[A-Z])", page(name), re.MULTILINE | re.DOTALL)[0]
    assert [status for status in EXIT_STATUS[name] if not re.search(r"^ +%d\b" % status, part, re.MULTILINE)] == []


@pytest.mark.parametrize("name", ["MONIT_SERVICE", "MONIT_EVENT", "MONIT_DESCRIPTION", "MONIT_HOST", "MONIT_DATE", "MONIT_PROCESS_PID",
                                  "MONIT_PROCESS_MEMORY", "MONIT_PROCESS_CHILDREN", "MONIT_PROCESS_CPU_PERCENT",
                                  "MONIT_PROGRAM_STATUS", "PX_STATUS_CONFIG"])
def test_every_variable_is_in_the_page(name):
    assert name in page("px-status-event.8")


def test_the_example_configuration_is_read(device):
    example = ROOT / "share" / "examples" / "px-status.conf"
    device.run(STATUS, "-c", example, "-s", device.spool, "list").ended(0)
    text = example.read_text()
    assert "[upstream]" in text and "url" in text


def test_the_keys_of_the_example_are_ours():
    known = {(section, key) for section, key in ALL_KEYS}
    section = None
    for line in (ROOT / "share" / "examples" / "px-status.conf").read_text().splitlines():
        header = re.fullmatch(r"\[(\w+)\]", line)
        setting = re.match(r"[;#]?(\w+) = ", line)
        if header is not None:
            section = header[1]
        elif setting is not None:
            assert (section, setting[1]) in known, line


def test_what_the_readme_says_of_others_is_seen_or_linked():
    """Beside each program that it compares with stands the test that shows it, or the page that says it."""
    part = re.search(r"^## What is different from .*?\n(.*?)^What an event costs", (ROOT / "README.md").read_text(), re.M | re.S)[1]
    seen, told = part.split("what their own documents say:")
    items = re.findall(r"^- \*\*(.*?)\*\*(.*?)(?=^- |^\S|\Z)", seen, re.M | re.S)
    assert len(items) == 3
    assert [name for name, text in items if not re.search(r"`test/e2e/\w+\.py`|The same file", text)] == []
    items = re.findall(r"^- \*\*(.*?)\*\*(.*?)(?=^- |^\S|\Z)", told, re.M | re.S)
    assert [name for name, text in items] == ["Telegraf", "Fluent Bit"]
    assert [name for name, text in items if not re.search(r"\]\(https://[^)]+\)", text)] == []


def test_every_path_in_the_readme_exists():
    text = (ROOT / "README.md").read_text()
    paths = set(re.findall(r"\]\(([^)#:]+)\)", text))
    paths |= set(re.findall(r"`((?:cmd|lib|man|share|test|\.ci)/[\w./-]*)`", text))
    paths |= {name for name in re.findall(r"`([A-Z]\w+(?:\.md)?)`", text) if name in ("Makefile", "LICENSE", "CHANGELOG.md")}
    assert len(paths) >= 10
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_what_the_readme_tells_to_make_can_be_made():
    targets = set(re.findall(r"^\s*(?:sudo )?make ([a-z-]+)$", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"demo", "check"} <= targets
    for target in targets:
        made = subprocess.run(["make", "-n", "-s", target], cwd=ROOT, capture_output=True, text=True,
                              env={**os.environ, "MAKEFLAGS": "", "DESTDIR": "/nonexistent"})
        assert "No rule to make target '%s'" % target not in made.stderr


@pytest.mark.parametrize("target", ["help", "demo", "check", "deb", "install", "uninstall", "bench", "lint"])
def test_make_does_not_complain_before_it_installs(tmp_path, target):
    """On a machine without a compiler: what it needs is installed when a target asks for it, and nobody is to miss it before."""
    absent = re.compile(r"(.*-)?(gcc|cc|c\d\d|clang|ld|objdump|pkg-config|pkgconf)(-[\d.]+)?")
    for folder in ("/bin", "/usr/bin"):
        for program in os.listdir(folder):
            if not absent.fullmatch(program) and not (tmp_path / program).is_symlink():
                (tmp_path / program).symlink_to(os.path.join(folder, program))
    made = subprocess.run(["make", "-n", "-s", target], cwd=ROOT, capture_output=True, text=True,
                          env={"PATH": str(tmp_path), "DESTDIR": "/nonexistent"})
    assert (made.returncode, made.stderr) == (0, "")


def test_the_configurations_in_the_readme_are_read(device):
    """As they stand, copied from its source."""
    blocks = re.findall(r"```\w*\n(.*?)^ *```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    blocks = [block for block in blocks if re.match(r"\s*\[(%s)\]" % "|".join(KEYS), block)]
    assert len(blocks) >= 2
    for number, block in enumerate(blocks):
        path = device.file("readme-%d.conf" % number, block)
        device.run(STATUS, "-c", path, "-s", device.spool, "list").ended(0)


def test_the_configurations_in_the_pages_are_read(device):
    blocks = [block for path in MAN for block in re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", path.read_text(), re.MULTILINE | re.DOTALL)
              if re.match(r"\s*\[(%s)\]" % "|".join(KEYS), block)]
    assert len(blocks) >= 3
    for number, block in enumerate(blocks):
        path = device.file("page-%d.conf" % number, re.sub(r"\\&", "", block))
        device.run(STATUS, "-c", path, "-s", device.spool, "list").ended(0)


@pytest.mark.parametrize("path", sorted(path for path in (ROOT / "share").rglob("*") if path.suffix in (".service", ".timer", ".path")),
                         ids=lambda path: path.name)
def test_units(path):
    text = path.read_text()
    for program in re.findall(r"^ExecStart=(\S+)", text, re.MULTILINE):
        assert os.path.basename(program) in {one.name for one in PAGES}
    assert "[Unit]" in text and "[%s]" % path.suffix[1:].capitalize() in text


def test_the_house_has_no_other_rooms():
    files = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if files.returncode != 0:
        pytest.skip("not a git checkout")
    top = {name.split("/")[0] for name in files.stdout.splitlines()}
    known = {"Makefile", "cmd", "lib", "share", "test", "man", "README.md", "LICENSE", "CHANGELOG.md"}
    assert {name for name in top if not name.startswith(".")} <= known
