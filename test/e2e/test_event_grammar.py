# SPDX-License-Identifier: MIT
"""px-status-event: operands, options, and what a mistake costs."""
import json
import os
import re
import socket

import pytest

from harness import CONFIG, EVENT, FLUSH, STATUS, USAGE, UUID_V7, RFC3339, run

KEY_64 = "k" * 64


@pytest.mark.parametrize("args, topic, params", [
    ([], "unspecified", {}),
    (["cpu"], "cpu", {}),
    (["cpu", "a=1", "b=2"], "cpu", {"a": "1", "b": "2"}),
    (["a=1", "cpu", "b=2"], "cpu", {"a": "1", "b": "2"}),
    (["a=1"], "unspecified", {"a": "1"}),
    (["cpu", "a="], "cpu", {"a": ""}),
    (["cpu", "a=b=c"], "cpu", {"a": "b=c"}),
    (["cpu", "a=="], "cpu", {"a": "="}),
    (["cpu", "A.b-C_9=x"], "cpu", {"A.b-C_9": "x"}),
    (["cpu", KEY_64 + "=x"], "cpu", {KEY_64: "x"}),
    (["cpu", "a=two words\nand \"lines\"\t\\"], "cpu", {"a": "two words\nand \"lines\"\t\\"}),
    (["größe", "a=é😀"], "größe", {"a": "é😀"}),
    (["--", "cpu", "a=1"], "cpu", {"a": "1"}),
    (["--", "-x"], "-x", {}),
    (["--", "--message"], "--message", {}),
    (["--", "-k=v"], "unspecified", {"-k": "v"}),
    (["cpu", "--", "a=1"], "cpu", {"a": "1"}),
], ids=str)
def test_operands(device, args, topic, params):
    document = device.document(*args)
    assert document["topic"] == topic
    assert document.get("params", {}) == params
    assert "problems" not in document


@pytest.mark.parametrize("args", [
    ["-m", "a text", "cpu", "a=1"], ["cpu", "-m", "a text", "a=1"], ["cpu", "a=1", "-m", "a text"], ["cpu", "a=1", "-ma text"],
    ["cpu", "--message", "a text", "a=1"], ["cpu", "--message=a text", "a=1"], ["a=1", "-m", "a text", "--", "cpu"],
], ids=str)
@pytest.mark.parametrize("env", [{}, {"POSIXLY_CORRECT": "1"}], ids=["", "POSIXLY_CORRECT"])
def test_options_may_stand_anywhere(device, args, env):
    document = device.document(*args, env=env)
    assert (document["topic"], document["params"], document["message"]) == ("cpu", {"a": "1"}, "a text")


def test_of_a_repeated_key_the_last_wins_and_that_is_a_problem(device):
    device.event("cpu", "a=1", "b=2", "a=3")
    document = device.only_document()
    assert document["params"] == {"a": "3", "b": "2"}
    assert len(document["problems"]) == 1 and "a" in document["problems"][0]


MISTAKES = [
    # arguments, what the error names, then under Monit: topic, params
    (["cpu", "--bogus"], "--bogus", "cpu", {}),
    (["--bogus", "cpu", "a=1"], "--bogus", "cpu", {"a": "1"}),
    (["cpu", "-x"], "-x", "cpu", {}),
    (["cpu", "-m"], "-m", "cpu", {}),
    (["cpu", "--message"], "--message", "cpu", {}),
    (["cpu", "=x"], "=x", "cpu", {}),
    (["cpu", "a b=1", "c=2"], "a b", "cpu", {"c": "2"}),
    (["cpu", "ü=1"], "ü", "cpu", {}),
    (["cpu", "k" * 65 + "=1"], "k" * 60, "cpu", {}),
    (["cpu", "memory"], "memory", "cpu", {}),
    (["a=1", "cpu", "b=2", "memory"], "memory", "cpu", {"a": "1", "b": "2"}),
    ([""], "", "vm", {}),
    (["", "a=1"], "", "vm", {"a": "1"}),
]


@pytest.mark.parametrize("args, named, topic, params", MISTAKES, ids=str)
def test_a_mistake_at_a_terminal(device, args, named, topic, params):
    result = device.try_event(*args).ended(USAGE)
    assert result.out == ""
    assert result.err != "" and named in result.err
    assert device.stored_nothing()


@pytest.mark.parametrize("event", ["Checksum changed", ""], ids=["an event", "an empty MONIT_EVENT"])
@pytest.mark.parametrize("args, named, topic, params", MISTAKES, ids=str)
def test_a_mistake_under_monit(device, args, named, topic, params, event):
    result = device.event(*args, monit={"EVENT": event, "SERVICE": "vm"})
    assert (result.out, result.err) == ("", "")
    document = device.only_document()
    assert (document["topic"], document.get("params", {})) == (topic, params)
    assert any(named in problem for problem in document["problems"])
    assert document["monit"]["service"] == "vm"


def test_a_mistake_under_monit_is_in_the_log(device, syslog):
    device.event("cpu", "--bogus", monit={})
    assert "px-status-event" in syslog.text and "--bogus" in syslog.text


def test_several_mistakes_are_all_told(device):
    device.event("cpu", "--bogus", "=x", "memory", monit={})
    problems = "\n".join(device.only_document()["problems"])
    assert all(word in problems for word in ("--bogus", "=x", "memory"))


@pytest.mark.parametrize("topic", [[], ["a=1"]], ids=str)
def test_without_a_topic_it_is_the_service(device, topic):
    assert device.document(*topic, monit={"SERVICE": "rootfs"})["topic"] == "rootfs"
    assert device.document(*topic, env={"MONIT_SERVICE": "rootfs"})["topic"] == "rootfs"


# -- configuration

def broken(device, text):
    device.write_config(text)
    return device.config


@pytest.mark.parametrize("text, line, key", [
    ("[spool]\npath = %(spool)s\nmax_items = none\n", 3, "max_items"),
    ("[spool]\npath = %(spool)s\n[spool]\nbogus = 1\n", 4, "bogus"),
    ("[device]\nid = a\n[spool]\npath = %(spool)s\n[device]\nid = b\n", 6, "id"),
    ("[spool]\npath = %(spool)s\n  max_items = 5\n", 3, "max_items"),
    ("[spool]\npath = %(spool)s\nmax_bytes = 64M ; enough\n", 3, "max_bytes"),
    ("[spool]\npath = %(spool)s\nmax_bytes = 1k\n", 3, "max_bytes"),
    ("[device]\nname = " + "x" * 1100 + "\n[spool]\npath = %(spool)s\n", 2, None),
    ("[spool]\npath = %(spool)s\n[retry]\ninitial = 2h\nmax = 1h\n", 4, "initial"),
    ("[spool]\npath = %(spool)s\n[upstream]\nurl = http://example.com\n", 4, "url"),
    ("[spool]\npath = %(spool)s\n[upstream]\nauth = bearer\n", 4, "auth"),
    ("[device]\nthis is no setting\n[spool]\npath = %(spool)s\n", 2, None),
])
def test_a_broken_configuration(device, text, line, key):
    device.write_config(text % {"spool": device.spool})
    result = device.try_event("cpu").ended(CONFIG)
    assert str(device.config) in result.err and re.search(r"\b%d\b" % line, result.err), result
    assert key is None or key in result.err
    assert not device.files()

    device.event("cpu", monit={})
    device.configure()
    problems = "\n".join(device.only_document()["problems"])
    assert re.search(r"\b%d\b" % line, problems) and (key is None or key in problems)


def test_mistakes_for_which_there_is_no_room_are_counted(device):
    device.write_config("[spool]\npath = %s\n%s" % (device.spool, "".join("key%d = 1\n" % number for number in range(20))))
    assert "and 4 more problems" in device.try_event("cpu").ended(CONFIG).err
    device.event("cpu", monit={})
    device.configure()
    problems = device.only_document()["problems"]
    assert len(problems) == 17 and "key15" in problems[15] and problems[16] == "and 4 more problems"


def test_a_mistake_elsewhere_is_a_problem_and_moves_nothing(device):
    device.write_config("[upstream]\nurl = ftp://x\nbogus = 1\n[nonsense]\na = 1\n[spool]\npath = %s\n" % device.spool)
    device.event("cpu", monit={})
    device.configure()
    assert "bogus" in "\n".join(device.only_document()["problems"])


@pytest.mark.parametrize("how", ["-c", "PX_STATUS_CONFIG"])
@pytest.mark.parametrize("kind", ["missing", "folder", "binary"])
def test_a_named_configuration_that_is_not_to_be_read(device, how, kind):
    named = device.folder / kind
    if kind == "folder":
        named.mkdir()
    elif kind == "binary":
        named.write_bytes(os.urandom(3000))
    args = ["-c", named] if how == "-c" else []
    env = {"PX_STATUS_CONFIG": str(named)} if how != "-c" else {}
    result = device.run(EVENT, *args, "-s", device.spool, "cpu", env=env).ended(CONFIG)
    assert str(named) in result.err
    assert not device.files()
    device.run(EVENT, *args, "-s", device.spool, "cpu", env=env, monit={}).ended(0)
    assert str(named) in "\n".join(device.only_document()["problems"])


def test_a_fifo_as_configuration_hangs_nobody(device):
    fifo = device.folder / "fifo"
    os.mkfifo(fifo)
    result = device.run(EVENT, "-c", fifo, "-s", device.spool, "cpu", timeout=8).ended(CONFIG)
    assert str(fifo) in result.err
    device.run(EVENT, "-c", fifo, "-s", device.spool, "cpu", monit={}, timeout=8).ended(0)
    assert device.only_document()["problems"]


def test_a_configuration_without_permission(device, plain_user):
    device.config.chmod(0)
    result = device.try_event("cpu").ended(CONFIG)
    assert "Permission denied" in result.err and str(device.config) in result.err
    device.run(EVENT, "-c", device.config, "-s", device.spool, "cpu", monit={}).ended(0)
    device.config.chmod(0o600)
    assert device.only_document()["problems"]


def test_the_option_beats_the_environment(device):
    device.run(EVENT, "-c", device.config, "cpu", env={"PX_STATUS_CONFIG": "/nonexistent"}).ended(0)
    assert device.only_document()["topic"] == "cpu"


def test_the_environment_names_the_configuration(device):
    device.run(EVENT, "cpu", env={"PX_STATUS_CONFIG": str(device.config)}).ended(0)
    assert device.only_document()["topic"] == "cpu"


def test_the_spool_of_the_option(device):
    other = device.folder / "other.db"
    device.event("-s", other, "cpu")
    device.event("--spool=%s" % other, "memory")
    assert device.list() == []
    assert len(device.run(STATUS, "-c", device.config, "-s", other, "list", "--json").ended(0).out.splitlines()) == 2


# -- dry run, help, version

@pytest.mark.parametrize("option", ["-n", "--dry-run"])
def test_dry_run_prints_the_document_and_stores_nothing(device, option):
    result = device.event(option, "cpu", "a=1", "-m", "text")
    lines = result.out.splitlines()
    assert len(lines) == 1 and result.err == ""
    document = json.loads(lines[0])
    assert "seq" not in document
    assert re.fullmatch(UUID_V7, document["id"]) and re.fullmatch(RFC3339, document["time"])
    assert list(device.spool_folder.iterdir()) == []


def test_dry_run_under_monit_prints_mistakes_too(device):
    document = device.document("cpu", "--bogus", monit={"EVENT": "Size failed"})
    assert "--bogus" in document["problems"][0]
    assert list(device.spool_folder.iterdir()) == []


@pytest.mark.parametrize("program", [EVENT, FLUSH, STATUS], ids=lambda path: path.name)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(device, program, option):
    result = device.run(program, option, env={"PX_STATUS_CONFIG": "/nonexistent"}).ended(0)
    assert program.name in result.out and "--version" in result.out and result.err == ""
    assert list(device.spool_folder.iterdir()) == []


@pytest.mark.parametrize("program", [EVENT, FLUSH, STATUS], ids=lambda path: path.name)
@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(device, program, option):
    result = device.run(program, option, env={"PX_STATUS_CONFIG": "/nonexistent"}).ended(0)
    assert re.search(r"\b\d+\.\d+\.\d+", result.out) and result.err == ""


@pytest.mark.parametrize("program", [EVENT, FLUSH, STATUS], ids=lambda path: path.name)
def test_control_characters_never_reach_stderr_raw(device, program):
    result = device.run(program, "--bo\x1b[31mgus\r\nfake: line").ended(USAGE)
    assert "\x1b" not in result.err and "\nfake" not in result.err and "\r" not in result.err and "gus" in result.err


def test_lines_for_the_journal_have_their_priority(device):
    reading, writing = os.pipe()
    stat = os.fstat(writing)
    env = device.environment(env={"JOURNAL_STREAM": "%d:%d" % (stat.st_dev, stat.st_ino)})
    run([EVENT, "--bogus"], env, stderr=writing).ended(USAGE)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        lines = pipe.read().decode().splitlines()
    assert lines and all(re.match(r"<[0-7]>", line) for line in lines)


def test_a_scheduled_flush_tells_the_journal_and_nobody_else(enrolled, upstream, syslog):
    """A socket stands for the journal, as under systemd."""
    enrolled.record(1)
    ours, journal = socket.socketpair()
    stat = os.fstat(journal.fileno())
    env = enrolled.environment(env={"JOURNAL_STREAM": "%d:%d" % (stat.st_dev, stat.st_ino)})
    upstream.script({"body": {"rejected": [{"id": "no-such", "reason": "no"}]}}, default={"status": 503})
    for _ in range(2):
        run([FLUSH, "-c", enrolled.config, "-s", enrolled.spool], env, stdout=journal, stderr=journal)
        enrolled.record(1)
    journal.close()
    with ours, ours.makefile() as said:
        lines = said.read().splitlines()
    assert [line[:3] for line in lines] == ["<4>", "<3>"] and "no-such" in lines[0] and "503" in lines[1]
    assert syslog.text == ""


def test_a_foreign_journal_stream_is_not_ours(device):
    result = device.run(EVENT, "--bogus", env={"JOURNAL_STREAM": "1:1"}).ended(USAGE)
    assert not result.err.startswith("<")


@pytest.mark.parametrize("word", ["-high", "-none", "-verbose", "-Vx", "-nx", "-xn", "-xc", "-xm"])
def test_a_word_with_an_unknown_letter_is_one_mistake(device, word):
    """Under Monit it is recorded, and is neither help nor a dry run nor another spool."""
    device.event(word, "cpu", monit={})
    document = device.only_document()
    assert document["topic"] == "cpu"
    assert document["problems"] == ["unknown option '%s'" % word]
    device.try_event(word, "cpu").ended(USAGE)
    assert len(device.list()) == 1


@pytest.mark.parametrize("name", ["", "/", "folder/"])
def test_a_spool_that_names_no_file(device, name):
    device.try_event("-s", name, "cpu").ended(USAGE)
    device.event("-s", name, "cpu", monit={})
    assert "--spool" in device.only_document()["problems"][0]


@pytest.mark.parametrize("program", [EVENT, FLUSH, STATUS], ids=lambda path: path.name)
@pytest.mark.parametrize("option", ["-h", "--help", "-V", "--version"])
def test_of_help_and_a_mistake_the_first_counts(device, program, option):
    assert "px-status" in device.run(program, option, "--bogus").ended(0).out
    for mistake in (["--bogus"], ["-Z"], ["-h="], ["-hZ"], ["--help=1"]):
        result = device.run(program, *mistake, option).ended(USAGE)
        assert result.out == "" and mistake[0] in result.err, (mistake, result)


def test_help_under_monit_is_no_event_unless_there_is_a_mistake(device):
    device.event("-h", monit={})
    assert device.list() == []
    device.event("-h", "--bogus", "cpu", monit={})
    assert device.only_document()["topic"] == "cpu"
    device.event("--bogus", "-h", "memory", monit={})
    assert [item["topic"] for item in device.list()] == ["cpu", "memory"]
