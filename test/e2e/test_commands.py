# SPDX-License-Identifier: MIT
"""px-status: health, retry, export, metrics, what a run left behind; and what a terminal is spared."""
import fcntl
import json
import re
import shutil
import sqlite3
import subprocess
import time

import pytest

from harness import CONFIG, DENIED, IS_ROOT, LATER, LONG_RETRY, ROOT, STATUS, STORAGE, USAGE, exactly_once, run
from upstream import DOWN


def reject(upstream, ids, reason="no"):
    upstream.script({"body": {"rejected": [{"id": one, "reason": reason} for one in ids]}})


def one_line(result):
    assert result.out.endswith("\n") and result.out.count("\n") == 1 and result.err == "", result
    return result.out


def test_one_is_no_plural(enrolled, upstream):
    """In whatever a person reads."""
    text = "Monit 5.33.0 uptime: 3m\n\nFile 'a'\n  status                       OK\n"
    said = ""
    with enrolled.obstructed():
        enrolled.event("waits")
    said += enrolled.flush("--check").out
    upstream.script(DOWN)
    said += enrolled.flush("--now").ended(LATER).err + enrolled.flush("-v").err
    said += enrolled.status("health").out + enrolled.status("health", "--max-age", "1s").out
    [found] = enrolled.list()
    reject(upstream, [found["id"]])
    said += enrolled.flush("--now", "-v").ended(0).err + enrolled.status("health").out + enrolled.status("retry", "--all").out
    enrolled.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command": enrolled.monit_that_prints(text)})
    upstream.script(default={})
    said += enrolled.flush("--check").out + enrolled.flush("--now", "--no-snapshot", "-v").ended(0).err
    for one in ("1 event waits in", "1 item waits for a back-off", "1 item is quarantined", "1 item is pending again", "1 service",
                "posted 1 item in", "1 item acknowledged"):
        assert one in said, said
    assert re.search(r"\b1 (items|events|services)\b", said) is None, said


# -- health

def test_health_of_nothing(device):
    assert one_line(device.status("health").ended(0)).startswith("well")
    assert device.stored_nothing()


def test_health_of_what_waits(enrolled):
    enrolled.record(1)
    assert "1 item pending" in one_line(enrolled.status("health").ended(0))
    time.sleep(1.1)
    assert "pending" in one_line(enrolled.status("health", "--max-age", "1s").ended(1))
    one_line(enrolled.status("health", "--max-age=1m").ended(0))


def test_health_of_a_quarantine(enrolled, upstream):
    ids = enrolled.record(1)
    reject(upstream, ids)
    enrolled.flush().ended(0)
    assert "quarantined" in one_line(enrolled.status("health").ended(1))
    enrolled.status("drop", ids[0]).ended(0)
    one_line(enrolled.status("health").ended(0))


@pytest.mark.parametrize("reply, status, well", [
    ({"status": 401}, DENIED, False), ({"status": 403}, DENIED, False), ({"status": 404}, CONFIG, False),
    ({"status": 302}, CONFIG, False), ({"status": 400}, CONFIG, False),
    ({"status": 503}, LATER, True), ({"reset": True}, LATER, True),
], ids=str)
def test_health_after_a_try(enrolled, upstream, reply, status, well):
    enrolled.configure(upstream, retry=LONG_RETRY)
    enrolled.record(1)
    upstream.script(default=reply)
    enrolled.flush().ended(status)
    line = one_line(enrolled.status("health").ended(0 if well else 1))
    assert well or str(reply["status"]) in line
    tries = len(upstream.requests)
    # A run that tries nothing, for its back-off, is no try.
    enrolled.flush().ended(LATER)
    assert len(upstream.requests) == tries and one_line(enrolled.status("health").ended(0 if well else 1)) == line
    upstream.script(default={})
    enrolled.flush("--now").ended(0)
    one_line(enrolled.status("health").ended(0))


def test_health_of_a_device_that_nobody_knows(enrolled, upstream):
    """The identity file is no part of the configuration: only a flush says what is wrong with it."""
    enrolled.record(1)
    for name, content, why in (("missing.yml", None, "missing.yml"), ("device.yml", "host: http://x.example\n", "http:// is refused")):
        if content is not None:
            enrolled.file(name, content)
        enrolled.configure(upstream, device={"id": None, "identity_file": enrolled.folder / name}, upstream={"url": None})
        assert why in enrolled.flush("--now").ended(CONFIG).err
        assert why in one_line(enrolled.status("health").ended(1))
    enrolled.configure(upstream)
    enrolled.flush("--now").ended(0)
    one_line(enrolled.status("health").ended(0))


def test_health_without_a_url(enrolled, upstream):
    """Nothing is tried, so that what the last try met is no reason any more; and what waits for too long waits for a URL."""
    def runs():
        return enrolled.status("stats").ended(0).out.partition("last runs")[2].count("\n")

    enrolled.configure(snapshot={"enabled": "no"}, upstream={})
    enrolled.record(1)
    enrolled.flush().ended(CONFIG)
    assert one_line(enrolled.status("health").ended(0)).startswith("well") and runs() == 0
    time.sleep(1.1)
    assert "no URL to send to yet" in one_line(enrolled.status("health", "--max-age", "1s").ended(1))
    upstream.script(default={"status": 404})
    enrolled.configure(upstream)
    enrolled.flush().ended(CONFIG)
    assert "404" in one_line(enrolled.status("health").ended(1)) and runs() == 2
    enrolled.configure(snapshot={"enabled": "no"}, upstream={})
    enrolled.flush("--now").ended(CONFIG)
    line = one_line(enrolled.status("health").ended(1))
    assert "no URL to send to yet" in line and "404" not in line and runs() == 2


def test_health_after_a_secret_that_could_not_be_read(enrolled, upstream):
    enrolled.configure(upstream, upstream={"auth": "bearer", "token_file": enrolled.file("token", "t\n", 0o644)})
    enrolled.record(1)
    enrolled.flush().ended(CONFIG)
    assert "token" in enrolled.stats()["last_failure"]["reason"]
    assert "token" in one_line(enrolled.status("health").ended(1))


def test_what_stopped_a_run_is_noted_under_the_lock(enrolled, upstream):
    """A flush that holds it will tell how it is; two that write at once would spoil what the spool remembers of runs."""
    enrolled.configure(upstream, upstream={"auth": "bearer", "token_file": enrolled.file("token", "t\n", 0o644)})
    enrolled.record(1)
    with open("%s-lock" % enrolled.spool, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        enrolled.flush().ended(CONFIG)
        assert enrolled.stats()["last_failure"] is None
    enrolled.flush().ended(CONFIG)
    assert "token" in enrolled.stats()["last_failure"]["reason"]


@pytest.mark.parametrize("age", ["", "0s", "1", "-1s", "soon"])
def test_health_wants_a_duration(device, age):
    result = device.status("health", "--max-age", age)
    assert result.status in ((0,) if age == "0s" else (USAGE,)), result


# -- retry

def test_retry(enrolled, upstream):
    ids = enrolled.record(3)
    reject(upstream, ids)
    enrolled.flush().ended(0)
    assert enrolled.stats()["quarantined"] == 3
    out = enrolled.status("retry", ids[0], "3").ended(0).out
    assert out.splitlines() == ["item 1 is pending again", "item 3 is pending again"]
    assert enrolled.status("retry", "1").ended(0).out == "item 1 is pending already\n"
    stats = enrolled.stats()
    assert (stats["pending"], stats["quarantined"]) == (2, 1)
    assert [item["reason"] for item in enrolled.list()] == [None, "no", None]
    enrolled.flush().ended(0)
    exactly_once(upstream, [ids[0], ids[2]])
    assert [item["seq"] for item in upstream.requests[-1].items] == [1, 3]


def test_retry_all(enrolled, upstream):
    ids = enrolled.record(3)
    reject(upstream, ids)
    enrolled.flush().ended(0)
    assert enrolled.status("retry", "--all").ended(0).out == "3 items are pending again\n"
    assert enrolled.status("retry", "--all").ended(0).out == "0 items are pending again\n"
    enrolled.flush().ended(0)
    exactly_once(upstream, ids)
    assert enrolled.stats()["quarantined"] == 0


def test_retry_of_what_is_not_there_changes_nothing(enrolled, upstream):
    ids = enrolled.record(2)
    reject(upstream, ids)
    enrolled.flush().ended(0)
    assert "77" in enrolled.status("retry", ids[0], "77").ended(1).err
    assert "more than one" in enrolled.status("retry", ids[0][:4]).ended(1).err
    assert enrolled.stats()["quarantined"] == 2
    assert enrolled.status("retry").ended(USAGE).err and enrolled.status("retry", "--all", "1").ended(USAGE).err


# -- export

def test_export(enrolled, upstream):
    ids = enrolled.record(1)
    reject(upstream, ids, "no \x1b[31m")
    upstream.default = {"status": 503}
    enrolled.flush().ended(0)
    enrolled.configure(upstream, snapshot={"enabled": "yes", "source": "command", "command": "/bin/false"})
    enrolled.flush("--now").ended(LATER)
    ids += enrolled.record(1)
    out = enrolled.status("export").ended(0).out
    lines = [json.loads(line) for line in out.splitlines()]
    assert "\x1b" not in out and all(list(line) == ["kind", "state", "reason", "item"] for line in lines)
    assert [(line["kind"], line["state"], line["reason"]) for line in lines] == [
        ("event", "quarantined", "no \x1b[31m"), ("snapshot", "pending", None), ("event", "pending", None)]
    assert [line["item"] for line in lines] == enrolled.documents()
    assert [lines[0]["item"]["id"], lines[2]["item"]["id"]] == ids


def test_export_of_nothing(device):
    assert device.status("export").ended(0).out == "" and device.stored_nothing()


# -- stats

METRIC = r"px_status_[a-z_]+ -?\d+"


def metrics(device):
    out = device.status("stats", "--prometheus").ended(0).out
    values = {}
    for helped, typed, value in zip(*[iter(out.splitlines())] * 3):
        name = value.split()[0]
        assert helped.startswith("# HELP %s " % name) and re.fullmatch(METRIC, value)
        assert typed == "# TYPE %s %s" % (name, "counter" if name.endswith("_total") else "gauge")
        values[name.removeprefix("px_status_")] = int(value.split()[1])
    return values


def test_metrics(enrolled, upstream):
    assert set(metrics(enrolled).values()) == {0}
    ids = enrolled.record(4)
    reject(upstream, ids[:1])
    enrolled.flush().ended(0)
    upstream.default = {"status": 503}
    dropped = enrolled.record(1) + enrolled.record(1)
    enrolled.flush().ended(LATER)
    enrolled.status("drop", dropped[0]).ended(0)
    values = metrics(enrolled)
    stats = enrolled.stats()
    for name in ("recorded", "acknowledged", "dropped"):
        assert values[name + "_total"] == stats[name]
    assert (values["pending"], values["quarantined"], values["lost_events_total"]) == (1, 1, 0)
    assert values["spool_bytes"] > 0 and abs(values["last_success_timestamp_seconds"] - time.time()) < 60
    assert values["last_failure_timestamp_seconds"] >= values["last_success_timestamp_seconds"]


def test_metrics_are_what_prometheus_reads(enrolled, upstream):
    """And by its conventions for names and units."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool here")
    for _ in range(2):
        out = enrolled.status("stats", "--prometheus").ended(0).out
        checked = subprocess.run([promtool, "check", "metrics"], input=out, capture_output=True, text=True, timeout=60)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
        ids = enrolled.record(2)
        reject(upstream, ids[:1])
        enrolled.flush().ended(0)


def examples(page):
    """The literal blocks of a manual page."""
    source = (ROOT / "man" / page).read_text()
    blocks = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", source, re.MULTILINE | re.DOTALL)
    return [re.sub(r"\\(\(aq|\(dq|&)", lambda found: {"(aq": "'", "(dq": '"', "&": ""}[found[1]], block) for block in blocks]


@pytest.mark.parametrize("begin", [r"\* \* \* \* \* root (cd .*)", r"(?s:.*)ExecStart=/bin/sh -c '(.*)'"])
def test_the_file_for_a_textfile_collector(enrolled, begin):
    """The lines of the manual page, in another folder; a file that is there stays whole when they fail."""
    [line] = [found[1] for found in (re.match(begin, block) for block in examples("px-status.8")) if found and "node-exporter" in found.string]
    folder = enrolled.folder / "textfiles"
    folder.mkdir()
    line = line.replace("/var/lib/prometheus/node-exporter", str(folder)).replace("/usr/bin/px-status", str(STATUS))
    env = enrolled.environment(env={"PX_STATUS_CONFIG": str(enrolled.config)})
    run(["/bin/sh", "-c", line], env, cwd=folder).ended(0)
    assert [path.name for path in folder.iterdir()] == ["px-status.prom"]
    text = (folder / "px-status.prom").read_text()
    assert text == enrolled.status("stats", "--prometheus").ended(0).out
    enrolled.write_config("[nonsense]\n")
    assert run(["/bin/sh", "-c", line], env, cwd=folder).status != 0
    assert (folder / "px-status.prom").read_text() == text


def test_the_last_50_runs(enrolled, upstream):
    enrolled.record(1)
    upstream.script(default={"status": 503})
    for _ in range(52):
        enrolled.flush("--now").ended(LATER)
    upstream.script(default={"status": 404})
    enrolled.flush("--now").ended(CONFIG)
    out = enrolled.status("stats").ended(0).out
    runs = out[out.index("last runs"):].splitlines()[1:]
    assert len(runs) == 50
    assert re.search(r"  78 .*404", runs[0]) and all(re.search(r"  75 .*503", run) for run in runs[1:])


def test_what_a_person_sees_has_no_control_characters(enrolled, upstream):
    """Whatever stands in the spool."""
    enrolled.record(1)
    upstream.script(default={"status": 404})
    enrolled.flush().ended(CONFIG)
    with sqlite3.connect(enrolled.spool) as spool:
        spool.execute("UPDATE run SET reason = ?", ("red \x1b[31m\nline",))
        spool.execute("UPDATE spool SET last_failure_reason = ?", ("red \x1b[31m\nline",))
    spool.close()
    for out in (enrolled.status("stats").ended(0).out, enrolled.status("health").ended(1).out):
        assert "\x1b" not in out and "\nline" not in out and "red" in out


# -- config

def test_config_names_the_spool_of_the_command_line(device):
    out = device.run(STATUS, "-c", device.config, "-s", "/elsewhere/spool.db", "config").ended(0).out
    [line] = [line for line in out.splitlines() if line.startswith("[spool] path")]
    assert "/elsewhere/spool.db" in line and "--spool" in line and str(device.config) not in line


# -- a dry run on nothing

def test_a_dry_run_where_even_the_folder_is_missing(enrolled):
    result = enrolled.flush("-n", "-s", enrolled.folder / "missing" / "spool.db").ended(0)
    assert (result.out, result.err) == ("", "") and not (enrolled.folder / "missing").exists()


# -- who only looks

def test_who_may_only_read_is_told_what_he_lacks(device):
    """There is no such file, says the system of the log's index, which can't be made in a folder that one may not write."""
    device.event("cpu")
    device.config.chmod(0o644)
    device.spool_folder.chmod(0o555)
    for path in device.spool_folder.iterdir():
        path.chmod(0o444)
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if IS_ROOT else []
    result = run([*prefix, STATUS, "-c", device.config, "list"], device.environment())
    device.spool_folder.chmod(0o755)
    assert "Permission denied; look at owner and mode of the file and its folder" in result.ended(STORAGE).err
