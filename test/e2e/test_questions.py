# SPDX-License-Identifier: MIT
"""The answers of px-status(8), tried: the commands of the page are run, in a device's folder instead of the system's places."""
import json
import os
import re
import shutil

import pytest

from harness import EVENT, FLUSH, ROOT, STATUS, exactly_once, run

QUESTIONS = ["Why is nothing arriving", "What is quarantined, and why", "How do I move a spool", "How do I make an image",
             "How do I rotate a secret", "How do I update", "What did I lose, and where do I see it", "How do I test a snippet",
             "What does upstream see"]


def commands_of(question):
    """The literal blocks below a heading that have commands, as lists of these."""
    source = (ROOT / "man" / "px-status.8").read_text()
    part = re.search(r"^\.Ss %s\n(.*?)(?=^\.S[sh] )" % re.escape(question), source, re.MULTILINE | re.DOTALL)[1]
    blocks = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", part, re.MULTILINE | re.DOTALL)
    return [re.split(r"^# ", block.replace("\\e", "\\"), flags=re.MULTILINE)[1:] for block in blocks if block.startswith("# ")]


@pytest.fixture
def person(enrolled):
    """A function that types a command; what is root's, or not ours, is played by others."""
    folder = enrolled.folder / "bin"
    folder.mkdir()
    for program in (EVENT, FLUSH, STATUS):
        shutil.copy(program, folder)
    for name, script in (("systemctl", "exit 0"), ("monit", "exit 0"), ("apt", "exit 0"), ("make", "exit 0"),
                         ("journalctl", 'cat "$JOURNAL"'), ("editor", 'sed -i "s|^path = .*|path = $NEW_PATH|" "$1"')):
        (folder / name).write_text("#!/bin/sh\n%s\n" % script)
        (folder / name).chmod(0o755)
    (enrolled.folder / "machine-id").write_text("x\n")
    (enrolled.folder / "etc").mkdir()
    (enrolled.folder / "conf.d").mkdir()
    places = [("/etc/px-status/px-status.conf", enrolled.config), ("/etc/px-status", enrolled.folder / "etc"),
              ("/etc/machine-id", enrolled.folder / "machine-id"),
              ("/var/lib/px-status-checks", enrolled.folder / "checks"), ("/var/lib/px-status", enrolled.spool_folder),
              ("/var/lib/monit", enrolled.folder / "monit"), ("/srv/px-status", enrolled.folder / "srv"),
              ("/etc/monit/conf.d", enrolled.folder / "conf.d"), ("/usr/share/px-status", ROOT / "share"),
              ("/var/log/syslog", enrolled.folder / "syslog"),
              ("-o px-status -g px-status", "-o %d -g %d" % (os.getuid(), os.getgid())), ("-g px-status", "-g %d" % os.getgid())]
    env = enrolled.environment(env={"PATH": "%s:%s" % (folder, enrolled.env["PATH"]), "PX_STATUS_CONFIG": str(enrolled.config),
                                   "NEW_PATH": str(enrolled.folder / "srv" / "spool.db"),
                                   "JOURNAL": str(enrolled.folder / "journal")})

    def type(command, stdin=None, **words):
        for place, ours in places:
            command = command.replace(place, str(ours))
        for word, ours in words.items():
            command = re.sub(r"\b%s\b" % word, ours, command)
        with open(stdin or os.devnull, "rb") as typed:
            return run(["/bin/sh", "-c", command], env, stdin=typed)

    return type


def test_the_page_has_these_questions():
    source = (ROOT / "man" / "px-status.8").read_text()
    part = re.search(r"^\.Sh QUESTIONS OF THE DAY$.*?(?=^\.Sh )", source, re.MULTILINE | re.DOTALL)[0]
    assert re.findall(r"^\.Ss (.*)$", part, re.MULTILINE) == QUESTIONS


def test_nothing_arrives(enrolled, upstream, person):
    enrolled.record(1)
    upstream.script(default={"status": 404})
    [[check, now, stats]] = commands_of(QUESTIONS[0])
    assert "404" in person(check).ended(78).out and "404" in person(now).ended(78).err
    assert re.search(r"last failure .*\n.*404", person(stats).ended(0).out)


def test_quarantined(enrolled, upstream, person):
    ids = enrolled.record(2)
    upstream.script({"body": {"rejected": [{"id": one, "reason": "too odd"} for one in ids]}})
    enrolled.flush().ended(0)
    [[listed, show, retry, drop]] = commands_of(QUESTIONS[1])
    assert person(listed).ended(0).out.count("too odd") == 2
    assert json.loads(person(show, ID=ids[0]).ended(0).out)["id"] == ids[0]
    person(retry, ID=ids[0]).ended(0)
    person(drop, ID=ids[1]).ended(0)
    enrolled.flush().ended(0)
    assert list(upstream.committed) == [ids[0]] and enrolled.stats()["dropped"] == 1


def test_moving_a_spool_without_stopping_anything(enrolled, upstream, person):
    ids = enrolled.record(2)
    [make, *edits, flush, stats, remove] = commands_of(QUESTIONS[2])[0]
    for command in (make, *edits):
        person(command).ended(0)
    enrolled.event("later")     # into the new one
    person(flush).ended(0)
    exactly_once(upstream, ids)
    assert re.search(r"^pending +0$", person(stats).ended(0).out, re.MULTILINE)
    person(remove).ended(0)
    assert list(enrolled.spool_folder.iterdir()) == []      # the folder stays, for who finds no path
    assert enrolled.only_document()["topic"] == "later"


def test_moving_a_spool_with_its_contents(enrolled, upstream, person):
    ids = enrolled.record(2)
    before = enrolled.stats()
    with enrolled.obstructed():
        enrolled.event("waits")
    for command in commands_of(QUESTIONS[2])[1]:
        result = person(command).ended(0)
        if command.startswith("px-status list"):
            assert all(one in result.out for one in ids)
    after = enrolled.stats()
    assert (after["spool_id"], after["recorded"], after["overflow"]) == (before["spool_id"], 2, 1)
    person("px-status-flush --now").ended(0)
    assert len(upstream.committed) == 3 and list(enrolled.spool_folder.iterdir()) == []


def test_an_image(enrolled, upstream, person):
    """What is posted last has no word of a Monit that was stopped for it."""
    token = enrolled.file("etc/token", "secret\n")
    enrolled.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command": enrolled.monit_that("exit 1")},
                       upstream={"auth": "bearer", "token_file": token})
    ids = enrolled.record(1)
    before = enrolled.stats()["spool_id"]
    for command in commands_of(QUESTIONS[3])[0]:
        result = person(command).ended(0)
        if command.startswith("px-status stats"):
            for name in ("pending", "quarantined", "overflow files"):
                assert re.search(r"^%s +0$" % name, result.out, re.MULTILINE)
    assert str(token) in enrolled.status("config").ended(0).out and not token.exists()
    exactly_once(upstream, ids)
    assert [request.body["stats"] for request in upstream.requests] == [[]]
    assert enrolled.stored_nothing() and enrolled.spool_folder.is_dir()
    assert (enrolled.folder / "machine-id").read_bytes() == b""
    enrolled.record(1)
    assert enrolled.stats()["spool_id"] != before and enrolled.stats()["recorded"] == 1


def test_rotating_a_secret(enrolled, upstream, person):
    token = enrolled.file("etc/token", "old\n", 0o640)
    enrolled.configure(upstream, upstream={"auth": "bearer", "token_file": token})
    enrolled.record(1)
    enrolled.flush().ended(0)
    [[install, move, check]] = commands_of(QUESTIONS[4])
    person(install, stdin=enrolled.file("typed", "new\n")).ended(0)
    assert token.read_text() == "old\n"
    person(move).ended(0)
    assert token.read_text() == "new\n" and token.stat().st_mode & 0o777 == 0o640
    person(check)
    enrolled.record(1)
    enrolled.flush().ended(0)
    assert [upstream.requests[at].header("Authorization") for at in (0, -1)] == ["Bearer old", "Bearer new"]


def test_a_secret_that_is_typed_just_now(enrolled, upstream):
    token = enrolled.file("etc-token", "", 0o640)
    enrolled.configure(upstream, upstream={"auth": "bearer", "token_file": token}, retry={"initial": "1s", "max": "1s"})
    ids = enrolled.record(1)
    enrolled.flush("--now").ended(78)
    token.write_text("new\n")
    enrolled.flush("--now").ended(0)
    exactly_once(upstream, ids)


def test_an_update(enrolled, upstream, person):
    ids = enrolled.record(1)
    copy = enrolled.folder / "conf.d" / "px-status-disk"
    shutil.copy(ROOT / "share" / "monitrc.d" / "disk", copy)
    [package, sources, [version, check, compare]] = commands_of(QUESTIONS[5])
    for command in package + sources:
        person(command).ended(0)
    assert "px-status" in person(version).ended(0).out
    person(check)
    person(compare).ended(0)
    copy.write_text(copy.read_text().replace("90%", "95%"))
    assert "95%" in person(compare).ended(1).out
    enrolled.flush().ended(0)
    exactly_once(upstream, ids)


def test_what_was_lost(enrolled, syslog, person):
    enrolled.configure(spool={"max_items": 1})
    for _ in range(3):
        enrolled.event("cpu")
    [[stats, log], [ids, document]] = commands_of(QUESTIONS[6])
    assert re.search(r"^lost events +2$", person(stats).ended(0).out, re.MULTILINE)
    enrolled.overflow.write_text("no folder")
    with enrolled.obstructed():
        for number in range(2):
            enrolled.try_event("cpu", *("k%d=%s" % (at, "v  v" * 200) for at in range(3)), "n=%d" % number, monit={}).ended(74)
            assert syslog.raw       # all of it is read, so that the next one's lines have room
    lines = [re.fullmatch(r"<\d+>.*?(px-status-event\S*: )(.*)", line).groups()
             for line in syslog.text.replace("\0", "").split("\n") if "px-status-event" in line]
    lines.reverse()     # in whatever order they stand
    enrolled.file("journal", "".join(said + "\n" for _, said in lines))
    enrolled.file("syslog", "".join("Nov 22 14:55:47 device " + head + said + "\n" for head, said in lines))
    assert person(log).ended(0).out.count("is in syslog only") == 2
    parts = re.findall(r"^event (\S+) (\d+)/(\d+)$", person(ids).ended(0).out, re.MULTILINE)
    names = sorted({one for one, _, _ in parts})
    assert len(names) == 2 and len(parts) == sum(int(count) for _, part, count in parts if part == "1") > 4
    other = re.search(r"^\.Ql (sed -n .* /var/log/syslog)$", (ROOT / "man" / "px-status.8").read_text(), re.MULTILINE)[1]
    for command in (document, document.replace("journalctl -o cat -t px-status-event", other)):
        for number, one in enumerate(names):
            whole = json.loads(person(command, ID=one).ended(0).out)
            assert whole["id"] == one and whole["params"]["n"] == str(number) and whole["params"]["k2"] == "v  v" * 200


def test_a_snippet(enrolled, person):
    [[dry], others] = commands_of(QUESTIONS[7])
    document = json.loads(person(dry).ended(0).out)
    assert document["topic"] == "cpu" and document["monit"]["state"] == "failed" and document["measurement"]["value"] == 99.7
    assert "problems" not in document and enrolled.stored_nothing()
    for command in others:
        person(command).ended(0)


def test_what_upstream_sees(enrolled, person):
    ids = enrolled.record(1)
    [[dry, show, config]] = commands_of(QUESTIONS[8])
    body = json.loads(person(dry).ended(0).out)
    assert [event["id"] for event in body["events"]] == ids and body["device"]["id"] == "device-1"
    assert json.loads(person(show, ID="1").ended(0).out) == body["events"][0]
    assert re.search(r"device id +.*device-1", person(config).ended(0).out)
