# SPDX-License-Identifier: MIT
"""What a person sees on a terminal: within its lines, in colours only where they are wanted."""
import re
import sqlite3
import time

import pytest

from harness import CONFIG, DENIED, EVENT, FLUSH, LATER, STATUS, USAGE
from terminal import on_terminal

COLOUR = re.compile("\x1b\\[[0-9;]*m")


@pytest.fixture
def on_screen(device):
    """A function that runs px-status, or another program, on a pseudo terminal of so many columns; what it shows, line by line."""
    def run(*args, program=STATUS, columns=80, **env):
        words = [program, "-c", device.config, *args]
        return on_terminal(words, device.environment(env={"TERM": "xterm", **env}), columns)[1].splitlines()
    return run


@pytest.fixture
def full(enrolled, upstream):
    """Items of every age, one in quarantine, and runs of every kind; then numbers and reasons as large as they can be."""
    ids = enrolled.record(1)
    upstream.script({"body": {"rejected": [{"id": ids[0], "reason": "no " * 120}]}}, default={"status": 503})
    enrolled.flush().ended(0)
    enrolled.record(4)
    for _ in range(3):
        enrolled.flush("--now").ended(LATER)
    upstream.script(default={"status": 404})
    enrolled.flush("--now").ended(CONFIG)
    now = int(time.time() * 1000)
    with sqlite3.connect(enrolled.spool) as spool:
        keys = [key for [key] in spool.execute("SELECT key FROM item ORDER BY key")][1:]
        for key, age_s in zip(keys, (10, 600, 7200, 200000)):
            spool.execute("UPDATE item SET time_ms = ? WHERE key = ?", (now - age_s * 1000, key))
        spool.execute("DELETE FROM timer")      # the same is said of the next try each time
    spool.close()
    return enrolled


def enlarge(device):
    with sqlite3.connect(device.spool) as spool:
        spool.execute("UPDATE counters SET recorded = 281000000000000, acknowledged = 280000000000000, "
                      "dropped = 1000000000000 - 5 - lost_events")
        spool.execute("UPDATE run SET reason = reason || ?, acknowledged = 4000000000000000000", (" \u4e2d\u6587" * 100,))
        spool.execute("UPDATE spool SET last_failure_reason = ?", ("word " * 80 + "x" * 90,))
        spool.execute("UPDATE item SET topic = ?", ("topic " * 40,))
    spool.close()


def width(line):
    return sum(2 if ord(letter) >= 0x800 else 1 for letter in COLOUR.sub("", line))


@pytest.mark.parametrize("command", ["stats", "list"])
@pytest.mark.parametrize("columns", [80, 60])
def test_no_line_is_longer_than_the_terminal(full, on_screen, command, columns):
    """Nor than 80, which what stands in columns needs."""
    for _ in range(2):
        lines = on_screen(command, columns=columns)
        assert len(lines) > 4 and [line for line in lines if width(line) > 80] == []
        enlarge(full)


def test_a_long_name_of_a_spool_goes_on_in_the_next_line(device, on_screen):
    path = "/nowhere/" + "x" * 100
    lines = on_screen("-s", path, "stats")
    assert max(map(width, lines)) <= 80 and path in "".join(line[17:] for line in lines[:2])


def test_stats_at_a_glance(full, on_screen):
    lines = on_screen("stats", NO_COLOR="1")
    text = "\n".join(lines)
    ages = {match[1]: (int(match[2]), len(match[3] or "")) for match in
            re.finditer(r"^(under 5 minutes|under 1 hour|under 1 day|1 day and more) +(\d+)(?:  (#+))?$", text, re.MULTILINE)}
    assert ages == {"under 5 minutes": (1, 40), "under 1 hour": (1, 40), "under 1 day": (1, 40), "1 day and more": (1, 40)}
    assert re.search(r"^oldest pending   2d 7h old$", text, re.MULTILINE)
    runs = lines[[line.startswith("last runs") for line in lines].index(True) + 1:]
    assert [re.search(r"^\S+ \S+ +(\d+) +(\d+) +(\d+)  (\S+)", run).groups()[:3] for run in runs] == [
        ("1", "78", "0"), ("3", "75", "0"), ("1", "0", "0")]
    assert "404" in runs[0] and "503" in runs[1]


def test_bars_compare(device, on_screen):
    device.record(4)
    with sqlite3.connect(device.spool) as spool:
        spool.execute("UPDATE item SET time_ms = time_ms - 600000 WHERE key = (SELECT min(key) FROM item)")
    spool.close()
    lines = on_screen("stats")
    assert [line.count("#") for line in lines if line.startswith("under 5 minutes")] == [40]
    assert [line.count("#") for line in lines if line.startswith("under 1 hour")] == [13]
    assert [line.count("#") for line in lines if line.startswith("under 1 day")] == [0]


def test_elsewhere_each_run_has_its_line_and_no_reason_is_cut(full):
    out = full.status("stats").ended(0).out
    assert len(out[out.index("last runs"):].splitlines()) == 6
    out = full.status("list").ended(0).out
    assert "no " * 119 in out


def test_a_narrow_list_names_items_by_seq(full, on_screen):
    ids = [item["id"] for item in full.list()]
    narrow, wide = ("\n".join(on_screen("list", columns=columns)) for columns in (80, 200))
    assert not any(one in narrow for one in ids) and all(one in wide for one in ids)
    assert re.search(r"^ +5  event ", narrow, re.MULTILINE)
    assert narrow.count("no") >= 120, "a reason is shown whole"


@pytest.mark.parametrize("args", [("stats",), ("list",), ("--check",)], ids=str)
@pytest.mark.parametrize("env, colours", [
    ({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": "0"}, False), ({"TERM": "dumb"}, False),
    ({"TERM": ""}, False), ({"TERM": None}, False),
], ids=str)
def test_colours(full, on_screen, args, env, colours):
    lines = on_screen(*args, program=FLUSH if args == ("--check",) else STATUS, **env)
    assert lines and any(COLOUR.search(line) for line in lines) == colours
    assert [line for line in lines if re.search("\x1b\\[0m[^\x1b]*\x1b\\[0m|^[^\x1b]*\x1b\\[0m", line)] == [], "each ends one that began"
    plain = on_screen(*args, program=FLUSH if args == ("--check",) else STATUS, NO_COLOR="1")
    if args != ("--check",):
        assert [COLOUR.sub("", line) for line in lines] == plain, "nothing is told by colour alone"


@pytest.mark.parametrize("args", [("stats",), ("list",), ("stats", "--json"), ("stats", "--prometheus"), ("health",), ("config",)], ids=str)
def test_what_is_no_terminal_has_no_colours(full, args):
    assert "\x1b" not in full.status(*args, env={"TERM": "xterm"}).out


@pytest.mark.parametrize("args", [("list", "--json"), ("stats", "--json"), ("stats", "--prometheus"), ("export",)], ids=str)
def test_output_for_programs_is_the_same_on_a_terminal(full, on_screen, args):
    seconds = re.compile(r'(oldest_pending_seconds(?:":| ))\d+')
    shown = "\n".join(on_screen(*args, columns=40)) + "\n"
    assert seconds.sub(r"\1", shown) == seconds.sub(r"\1", full.status(*args).ended(0).out)


def test_times_are_local(device, on_screen):
    device.record(1)
    utc, local = (on_screen("list", TZ=zone)[1].split()[3:5] for zone in ("UTC", "UTC-5:30"))
    assert [*map(int, local[1].split(":")[1:2])] != [*map(int, utc[1].split(":")[1:2])]


# -- what to do next

@pytest.mark.parametrize("reply, status", [({"status": 401}, DENIED), ({"status": 404}, CONFIG), ({"status": 503}, LATER)], ids=str)
def test_a_failure_names_the_next_step(enrolled, upstream, on_screen, reply, status):
    enrolled.record(1)
    upstream.script(default=reply)
    lines = on_screen("--now", program=FLUSH)
    assert str(reply["status"]) in lines[-2] and "px-status-flush --check" in lines[-1]
    assert "--check" not in enrolled.flush("--now").ended(status).err, "a log has its facts and no more"
    lines = on_screen("--check", program=FLUSH)
    assert "failed" in lines[-2] and "look at" in lines[-1]


def test_the_next_step_stands_below_all_that_failed(device, on_screen):
    """As to a person who forgot sudo: neither the secret nor the spool is to be had."""
    device.configure("https://central.example.com", upstream={"auth": "bearer", "token_file": device.folder / "token"},
                     spool={"path": device.folder / "nowhere" / "spool.db"})
    *failures, last = on_screen(program=FLUSH)
    assert "what to do" in last and len(failures) == 2
    assert "nowhere" in failures[0] and "token" in failures[1]


@pytest.mark.parametrize("program, args", [(STATUS, ["list"]), (EVENT, ["cpu"]), (FLUSH, ["--now"])], ids=lambda value: getattr(value, "name", ""))
def test_a_mistake_in_the_configuration_names_the_next_step(device, on_screen, program, args):
    device.write_config("[nonsense]\n")
    lines = on_screen(*args, program=program)
    assert "nonsense" in lines[0] and "px-status-flush --check" in lines[-1]
    lines = on_screen("--check", program=FLUSH)
    assert "nonsense" in lines[0] and "px-status.conf(5)" in lines[1]


def test_a_usage_error_names_help(on_screen):
    lines = on_screen("frobnicate")
    assert len(lines) == 1 and "--help" in lines[0]


@pytest.mark.parametrize("program", [STATUS, EVENT, FLUSH], ids=lambda program: program.name)
@pytest.mark.parametrize("args", [["--nope"], ["-Z"], ["--config"], ["--help=1"]], ids=str)
def test_a_bad_option_names_help(device, program, args):
    """And what was wrong, which stands before it."""
    said = device.run(program, *args).ended(USAGE).err.splitlines()
    assert len(said) == 2 and args[0].split("=")[0] in said[0] and "%s --help" % program.name in said[1]


def test_what_may_not_be_read_names_root(device, plain_user, on_screen):
    device.config.chmod(0)
    assert "Permission denied" in on_screen("list")[0]
    assert "root" in on_screen("--check", program=FLUSH)[1]
    device.config.chmod(0o600)
    device.record(1)
    device.spool_folder.chmod(0o500)
    text = "\n".join(on_screen("--check", program=FLUSH))
    device.spool_folder.chmod(0o700)
    assert "start this as root" in text
