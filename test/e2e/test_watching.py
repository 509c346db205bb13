# SPDX-License-Identifier: MIT
"""
What share/monitrc.d tells of the machine itself: each rule of cpu, disk, network and px-status is made to happen under real
Monit, and what reached upstream is looked at. Thresholds, waiting and paths are the only things that differ from the snippet.
"""
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

import pytest

import harness
from harness import EVENT, MONIT, ROOT, STATUS, run

pytestmark = pytest.mark.long

SNIPPETS = ROOT / "share" / "monitrc.d"


RULE = re.compile(r"^ +if .*?(?=^ +if |^check |^#|\Z)", re.M | re.S)


def without_waiting(rule):
    """A rule as it stands when Monit counts more than once in a cycle, since then how often is what it is about."""
    text = rule.group()
    return text if "times within" in text else re.sub(r" for \d+ cycles", "", text)


def snippet(device, name, *changes):
    """The snippet's text with our programs, without waiting, and with ${changes}, pairs of old and new."""
    text = (SNIPPETS / name).read_text()
    own = [('"/usr/bin/px-status-event ', '"%s -c %s ' % (EVENT, device.config)),
           ("/usr/bin/px-status health", "%s -c %s health" % (STATUS, device.config)),
           ("/usr/share/px-status/checks/", "%s/share/checks/" % ROOT)]
    for old, new in own:
        text = text.replace(old, new)
    for old, new in changes:
        assert old in text, "%s has no '%s'" % (name, old)
        text = text.replace(old, new)
    return RULE.sub(without_waiting, text)


class Space:
    """
    A mount and a network namespace for the length of a test; a plain user is root in it. What is run in it sees the device's
    folder, and what it mounts nobody else sees.
    """

    def __init__(self, device, inside=None):
        self.device = device
        user = [] if harness.IS_ROOT or inside else ["-U", "-r"]
        self._holder = subprocess.Popen([*(inside.prefix if inside else []), "unshare", *user, "-m", "-n", "sh", "-c",
                                         "echo; exec sleep 600"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if not self._holder.stdout.readline():
            pytest.skip("no namespaces here: %s" % self._holder.communicate()[1].decode().strip())
        self.pid = str(self._holder.pid)
        user = [] if harness.IS_ROOT else ["-U", "--preserve-credentials"]
        self.prefix = ["nsenter", "-t", self.pid, *user, "-m", "-n", "--wd=%s" % device.folder]
        self._started = []

    def try_run(self, *args):
        return run([*self.prefix, *args], self.device.environment())

    def run(self, *args):
        return self.try_run(*args).ended(0)

    def mount(self, *args):
        result = self.try_run("mount", *args)
        if result.status != 0:
            pytest.skip("nothing can be mounted here: %s" % result.err.strip())

    def start(self, *args):
        process = subprocess.Popen([*self.prefix, *args], env=self.device.environment(), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._started.append(process)
        return process

    def close(self):
        for process in [*self._started, self._holder]:
            process.kill()
            process.communicate()


@pytest.fixture
def space(device):
    made = Space(device)
    yield made
    made.close()


class Watch:
    """Monit at work on a device, and what it has recorded so far."""

    def __init__(self, device, monit):
        self.device = device
        self.monit = monit
        self._documents = {}

    def events(self):
        for item in self.device.list():
            if item["id"] not in self._documents:
                self._documents[item["id"]] = self.device.show(item["id"])
        return list(self._documents.values())

    def wait_for(self, *wanted, timeout_s=60):
        """Until each of these (service, state, start of the description) is there."""
        def missing():
            seen = [(event["monit"]["service"], event["monit"]["state"], event["monit"]["description"])
                    for event in self.events() if "service" in event.get("monit", {})]
            return [want for want in wanted if not any(one[:2] == want[:2] and one[2].startswith(want[2]) for one in seen)]
        self.monit.wait_until(lambda: not missing(), "events of %s" % (wanted,), timeout_s)

    def deliver(self, upstream):
        """Stops Monit and flushes; what upstream received, each once."""
        self.monit.stop()
        assert self.device.overflow_files() == []
        recorded = [item["id"] for item in self.device.list()]
        self.device.configure(upstream)
        self.device.flush("--now").ended(0)
        received = [event for request in upstream.requests for event in request.body["events"]]
        assert [event["id"] for event in received] == recorded and self.device.list() == []
        return received


@pytest.fixture
def watch(device, start_monit):
    return lambda checks, prefix=(): Watch(device, start_monit(checks, prefix=prefix))


def one(events, service, state, description):
    """The first event of this kind; it has no problems, and the machine's name."""
    found = [event for event in events if event["monit"]["service"] == service and event["monit"]["state"] == state
             and event["monit"]["description"].startswith(description)]
    assert found, "no %s %s %s among %s" % (service, state, description, [event["monit"] for event in events])
    assert "problems" not in found[0] and found[0]["monit"]["host"] == socket.gethostname()
    return found[0]


def assert_measured(event, name, unit, operator, limit):
    measurement = event["measurement"]
    assert (measurement["name"], measurement["unit"], measurement["operator"], measurement["limit"]) == (name, unit, operator, limit)
    value = measurement["value"]
    assert {">": value > limit, ">=": value >= limit}[operator] or value == pytest.approx(limit, abs=0.1)


# -- cpu

@pytest.mark.alone
def test_cpu(device, upstream, watch):
    """Memory: held, and given back. Usage, load and swap: by limits that can't but be passed."""
    meminfo = dict(line.split(":") for line in pathlib.Path("/proc/meminfo").read_text().splitlines())
    total, available = (int(meminfo[key].split()[0]) for key in ("MemTotal", "MemAvailable"))
    used = 100 * (total - available) / total
    has_swap = int(meminfo["SwapTotal"].split()[0]) > 0
    # Others use memory too while this runs: the limit is far above what is used now, and what is held goes well beyond it.
    margin = max(5, 300 * 1024 * 100 / total)
    held_percent = 1.3 * margin
    if available < total * (held_percent + 5) / 100:
        pytest.skip("no memory to spare")
    limit = round(used + margin, 1)
    watched = watch(snippet(device, "cpu", ("cpu usage > 95%", "cpu usage > 0.1%"), ("loadavg (5min) > 8", "loadavg (5min) >= 0"),
                            ("memory usage > 90%", "memory usage > %s%%" % limit), ("swap usage > 50%", "swap usage >= 0%")))
    name = socket.gethostname()
    holder = subprocess.Popen([sys.executable, "-c", "import sys, time\nheld = bytearray(b'x') * %d\nsys.stdout.write('held')\n"
                               "sys.stdout.flush()\nsys.stdin.read()" % (total * 1024 * held_percent / 100)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.read(4) == b"held"
    watched.wait_for((name, "failed", "mem usage"), (name, "failed", "cpu usage"), (name, "failed", "loadavg"),
                     *[(name, "failed", "swap usage")] * has_swap)
    holder.communicate()
    watched.wait_for((name, "succeeded", "mem usage"))
    events = watched.deliver(upstream)
    assert {event["topic"] for event in events} == {"cpu"}
    assert {event["monit"]["service"] for event in events} == {name}
    assert {event["monit"]["category"] for event in events} == {"resource"}
    assert_measured(one(events, name, "failed", "cpu usage"), "cpu usage", "%", ">", 0.1)
    assert_measured(one(events, name, "failed", "mem usage"), "mem usage", "%", ">", limit)
    load = one(events, name, "failed", "loadavg")["measurement"]
    assert (load["name"], load["operator"], load["limit"]) == ("loadavg (5min)", ">=", 0) and "unit" not in load
    recovered = one(events, name, "succeeded", "mem usage")
    assert recovered["monit"]["event"] == "Resource limit succeeded" and recovered["measurement"]["value"] <= limit + 0.1
    if has_swap:
        assert_measured(one(events, name, "failed", "swap usage"), "swap usage", "%", ">=", 0)


# -- disk

def test_disk(device, upstream, watch, space):
    """A small filesystem that is filled, runs out of inodes, and is mounted anew without the right to write."""
    disk = device.folder / "disk"
    disk.mkdir()
    space.mount("-t", "tmpfs", "-o", "size=1m,nr_inodes=64", "none", disk)
    watched = watch(snippet(device, "disk", ("with path /\n", "with path %s\n" % disk)), space.prefix)
    watched.monit.wait_until(lambda: "inodes free" in watched.monit.said(), "the first look")
    space.run("dd", "if=/dev/zero", "of=%s/large" % disk, "bs=1k", "count=1000")
    watched.wait_for(("px_rootfs", "failed", "space usage"))
    space.run("rm", disk / "large")
    space.run("sh", "-c", "for n in $(seq 61); do : >%s/$n; done" % disk)
    watched.wait_for(("px_rootfs", "succeeded", "space usage"), ("px_rootfs", "failed", "inode usage"))
    space.run("sh", "-c", "rm %s/*" % disk)
    watched.wait_for(("px_rootfs", "succeeded", "inode usage"))
    space.run("mount", "-o", "remount,bind,ro", disk)
    watched.wait_for(("px_rootfs", "changed", "filesystem flags"))
    events = watched.deliver(upstream)
    assert {event["topic"] for event in events} == {"disk"}
    for what in ("space usage", "inode usage"):
        failed = one(events, "px_rootfs", "failed", what)
        assert (failed["monit"]["category"], failed["monit"]["event"]) == ("resource", "Resource limit matched")
        assert_measured(failed, what, "%", ">", 90)
        recovered = one(events, "px_rootfs", "succeeded", what)
        assert recovered["monit"]["category"] == "resource" and recovered["measurement"]["value"] < 90
    flags = one(events, "px_rootfs", "changed", "filesystem flags")
    assert flags["monit"]["category"] == "fsflags" and re.search(r"to 'ro\b", flags["monit"]["description"])


def test_disk_service_time(device, upstream, watch, space, root):
    """A disk of its own, so that nobody else writes when it rests: Monit has the times from the kernel's block devices."""
    del root
    image, disk = device.folder / "image", device.folder / "disk"
    disk.mkdir()
    with open(image, "wb") as file:
        file.truncate(4 << 20)
    space.run("mkfs.ext2", "-q", "-F", image)
    space.mount("-o", "loop", image, disk)
    watched = watch(snippet(device, "disk", ("with path /\n", "with path %s\n" % disk), ("service time > 50", "service time > 0")),
                    space.prefix)
    watched.monit.wait_until(lambda: "service time" in watched.monit.said(), "the first look")
    space.run("sh", "-c", "for n in $(seq 40); do dd if=/dev/zero of=%s/f bs=4k count=16 conv=fsync; sleep 0.05; done" % disk)
    watched.wait_for(("px_rootfs", "failed", "service time"), ("px_rootfs", "succeeded", "service time"))
    events = watched.deliver(upstream)
    failed = one(events, "px_rootfs", "failed", "service time")
    assert (failed["topic"], failed["monit"]["category"]) == ("disk", "resource")
    assert_measured(failed, "service time", "ms", ">", 0)
    assert one(events, "px_rootfs", "succeeded", "service time")["monit"]["category"] == "resource"


# -- network

# So many in each second, also where it has to wait for its turn.
FLOOD = """
import socket, time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
began, sent = time.monotonic(), 0
while True:
    while sent < 800 * (time.monotonic() - began):
        sent += 1
        try:
            sender.sendto(bytes(60000), ("10.9.8.3", 9))
        except OSError:
            pass
    time.sleep(0.01)
"""


class Wire:
    """In the space the interface eth0, whose other end, the gateway 10.9.8.2 and a neighbour 10.9.8.3, is in a space of its own."""

    def __init__(self, space, other):
        self.here, self.there = space, other
        space.mount("-t", "sysfs", "none", "/sys")
        space.run("ip", "link", "set", "lo", "up")
        made = space.try_run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "peer0", "netns", other.pid)
        if made.status != 0:
            pytest.skip("no pair of interfaces can be made here: %s" % made.err.strip())
        for address in ("10.9.8.2/24", "10.9.8.3/24"):
            other.run("ip", "address", "add", address, "dev", "peer0")
        space.run("ip", "address", "add", "10.9.8.1/24", "dev", "eth0")
        other.run("ip", "link", "set", "peer0", "up")
        space.run("ip", "link", "set", "eth0", "up")
        space.run("ip", "route", "add", "default", "via", "10.9.8.2")

    def drop_gateway(self):
        self.there.run("ip", "address", "del", "10.9.8.2/24", "dev", "peer0")
        self.there.run("ip", "address", "replace", "10.9.8.3/24", "dev", "peer0")
        self.here.run("ip", "neighbour", "flush", "dev", "eth0")

    def give_gateway_back(self):
        self.there.run("ip", "address", "add", "10.9.8.2/24", "dev", "peer0")


@pytest.fixture
def other_space(device, space):
    """A second one that belongs to the first."""
    made = Space(device, space)
    yield made
    made.close()


def test_network(device, upstream, watch, space, other_space):
    """
    One direction of a link that is flooded, and a gateway that is gone; both over; then a link without its other end. The rules
    for link and saturation wait as the snippet has it, since how Monit counts is what they are about.
    """
    wire = Wire(space, other_space)
    watched = watch(snippet(device, "network", ("saturation > 90%", "saturation >= 1%"), ("load > 10 MB/s", "load > 1 MB/s"),
                            ("total uploaded > 20 GB in last day", "total uploaded > 1 MB in last minute"),
                            ("total downloaded > 20 GB in last day", "total downloaded >= 1 B in last minute")), space.prefix)
    watched.monit.wait_until(lambda: re.search(r"last exit value +0", watched.monit.said()), "a gateway that answers")
    wire.drop_gateway()
    flood = space.start(sys.executable, "-c", FLOOD)
    watched.wait_for(("px_network", "failed", "link upload saturation"), ("px_network", "failed", "upload"),
                     ("px_network", "failed", "total upload"), ("px_network", "failed", "total download"),
                     ("px_gateway", "failed", "status failed"))
    flood.kill()
    wire.give_gateway_back()
    watched.wait_for(("px_network", "succeeded", "link"), ("px_network", "succeeded", "upload"),
                     ("px_gateway", "succeeded", "status succeeded"))
    other_space.run("ip", "link", "set", "peer0", "down")
    watched.wait_for(("px_network", "failed", "link down"))
    other_space.run("ip", "link", "set", "peer0", "up")
    watched.monit.wait_until(lambda: [event for event in watched.events() if event["monit"]["event"] == "Link up"], "the link")
    events = watched.deliver(upstream)
    assert {event["topic"] for event in events} == {"network"}

    saturated = one(events, "px_network", "failed", "link upload saturation")
    assert (saturated["monit"]["event"], saturated["monit"]["category"]) == ("Saturation exceeded", "saturation")
    assert_measured(saturated, "link upload saturation", "%", ">=", 1)
    by_category = {}
    for event in events:
        by_category.setdefault(event["monit"]["category"], []).append(event["monit"]["state"])
    # One direction is full and the other is not, and still it begins once and ends once.
    assert by_category["saturation"] == ["failed", "succeeded"]
    assert by_category["link"] == ["failed", "succeeded"]
    assert_measured(one(events, "px_network", "failed", "upload"), "upload", "B", ">", 1 << 20)
    assert_measured(one(events, "px_network", "failed", "total upload"), "total upload", "B", ">", 1 << 20)
    assert_measured(one(events, "px_network", "failed", "total download"), "total download", "B", ">=", 1)
    assert one(events, "px_network", "failed", "upload")["monit"]["category"] == "byteout"
    assert one(events, "px_network", "failed", "total download")["monit"]["category"] == "bytein"
    assert one(events, "px_network", "succeeded", "upload")["monit"]["category"] == "byteout"
    silent = one(events, "px_gateway", "failed", "status failed")
    assert silent["monit"]["category"] == "status" and silent["program"] == {"status": 1}
    assert "10.9.8.2 does not answer on eth0" in silent["monit"]["description"]
    assert one(events, "px_gateway", "succeeded", "status succeeded")["program"] == {"status": 0}


def test_network_errors(device, upstream, watch, space):
    """A tunnel without a way to its end counts each packet as an error: trouble that begins once and ends once."""
    space.mount("-t", "sysfs", "none", "/sys")
    made = space.try_run("ip", "link", "add", "eth0", "type", "vxlan", "id", "1", "remote", "203.0.113.9", "dstport", "4789")
    if made.status != 0:
        pytest.skip("no interface that makes errors can be had here: %s" % made.err.strip())
    space.run("sysctl", "-q", "-w", "net.ipv6.conf.eth0.disable_ipv6=1")
    space.run("ip", "address", "add", "10.9.8.1/24", "dev", "eth0")
    space.run("ip", "link", "set", "eth0", "up")
    space.run("ip", "neighbour", "add", "10.9.8.3", "lladdr", "02:00:00:00:00:03", "dev", "eth0")
    watched = watch(snippet(device, "network"), space.prefix)
    flood = space.start(sys.executable, "-c", FLOOD)
    watched.wait_for(("px_network", "failed", ""))
    time.sleep(3)
    flood.kill()
    watched.wait_for(("px_network", "succeeded", ""))
    events = [event for event in watched.deliver(upstream) if event["monit"]["service"] == "px_network"]
    assert [(event["monit"]["category"], event["monit"]["state"]) for event in events] == [("link", "failed"), ("link", "succeeded")]
    assert events[0]["measurement"]["name"] == "upload errors" and events[0]["measurement"]["value"] > 0


def test_a_gateway_in_other_words(space, other_space):
    """One that answers, also one that answers no ping; the second of two; a route that needs none; no route."""
    wire = Wire(space, other_space)
    gateway = "%s/share/checks/gateway" % ROOT
    assert "10.9.8.2 answers on eth0" in space.run(gateway).out
    other_space.run("sysctl", "-q", "-w", "net.ipv4.icmp_echo_ignore_all=1")
    assert "10.9.8.2 answers on eth0" in space.run(gateway).out
    wire.drop_gateway()
    other_space.run("sysctl", "-q", "-w", "net.ipv4.icmp_echo_ignore_all=0")
    space.run("ip", "route", "add", "default", "via", "10.9.8.3", "metric", "100")
    assert space.run(gateway).out == "10.9.8.2 does not answer on eth0\n10.9.8.3 answers on eth0\n"
    space.run("ip", "route", "flush", "default")
    space.run("ip", "route", "add", "default", "dev", "eth0")
    assert "needs no gateway" in space.run(gateway).out
    space.run("ip", "route", "flush", "default")
    result = space.try_run(gateway).ended(1)
    assert result.out == "there is no default route\n"


# -- px-status itself

def test_px_status(device, upstream, watch):
    """An item that upstream refuses is quarantined: not well, until a person drops it. What root's Monit runs makes no file of root's."""
    if harness.IS_ROOT:
        os.chown(device.spool_folder, 65534, 65534)
    owner = device.spool_folder.stat().st_uid
    device.configure(upstream)
    [refused] = device.record(1)
    upstream.script(lambda request: {"body": {"rejected": [{"id": refused, "reason": "not today"}]}})
    device.flush("--now").ended(0)
    assert device.stats()["quarantined"] == 1
    upstream.script()
    upstream.forget()
    watched = watch(snippet(device, "px-status", ("every 5 cycles", "every 1 cycles")))
    watched.wait_for(("px_health", "failed", "status failed (1) -- not well"))
    device.status("drop", refused).ended(0)
    watched.wait_for(("px_health", "succeeded", "status succeeded (0) -- well"))
    watched.monit.stop()
    assert {path.stat().st_uid for path in device.spool_folder.iterdir()} == {owner}
    failed, recovered = watched.deliver(upstream)
    assert failed["topic"] == recovered["topic"] == "px-status" and failed["monit"]["host"] == socket.gethostname()
    assert (failed["monit"]["category"], failed["monit"]["state"], failed["program"]) == ("status", "failed", {"status": 1})
    assert "1 item is quarantined" in failed["monit"]["description"]
    assert (recovered["monit"]["category"], recovered["monit"]["state"]) == ("status", "succeeded")


def test_px_status_of_a_device_without_a_spool(device, watch):
    """Root's Monit asks for weeks before the first event: nothing is made, and nothing is wrong."""
    monit = watch(snippet(device, "px-status", ("every 5 cycles", "every 1 cycles"))).monit
    monit.wait_until(lambda: re.search(r"last exit value +0", monit.said()), "the first answer")
    assert device.stored_nothing()
