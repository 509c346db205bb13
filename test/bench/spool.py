# SPDX-License-Identifier: MIT
"""Spools with many events in them, made from one that was recorded."""
import sqlite3
import uuid

from lab import MONIT, seconds, spool_of

EVENT_KEYS = 1 << 48

# What Monit reports in a bad week: the words of its manual, with numbers that differ.
MIXED = (
    ("Resource limit matched", "vm", "cpu usage of %d.%d%% matches resource limit [cpu usage > 80.0%%]", "cpu"),
    ("Resource limit succeeded", "vm", "cpu usage check succeeded [current cpu usage = %d.%d%%]", "cpu"),
    ("Resource limit matched", "rootfs", "space usage %d.%d%% matches resource limit [space usage > 90.0%%]", "disk"),
    ("Connection failed", "nginx", "failed protocol test [HTTP] at [localhost]:80 [TCP/IP] -- Connection refused (%d, %d)", "software"),
    ("Connection succeeded", "nginx", "connection succeeded to [localhost]:80 [TCP/IP] after %d.%d s", "software"),
    ("Does not exist", "sshd", "process is not running (was %d, %d)", "software"),
    ("PID changed", "mosquitto", "process PID changed from %d to 2%d", "software"),
    ("Checksum failed", "passwd", "checksum changed for /etc/passwd (%d, line %d)", "breach"),
    ("Content match", "syslog", "content match:\nNov 22 14:55:%02d vm sshd[%d]: Failed password for root", "errors"),
    ("Status failed", "backup", "status failed (1) -- backup: newest copy is %d.%d days old", "backup"),
    ("Link down", "eth0", "link down, errors %d, retries %d", "network"),
    ("Download bytes exceeded", "eth0", "download bytes %d.%d MB/s matches limit [download rate > 5.0 MB/s]", "network"),
)


# Of this one some 320 bytes are sent.
PLAIN = {
    "MONIT_DATE": "Sun, 22 Nov 2026 14:55:47",
    "MONIT_SERVICE": "sshd",
    "MONIT_EVENT": "Does not exist",
    "MONIT_DESCRIPTION": "process is not running",
}


def record_mixed(lab, config, count):
    """Events of all kinds, each recorded by its own process as Monit has it done."""
    for number in range(count):
        event, service, description, topic = MIXED[number * 7 % len(MIXED)]
        seconds(lab.recorder(config, topic), {
            **MONIT, "MONIT_EVENT": event, "MONIT_SERVICE": service,
            "MONIT_DATE": "Sun, 22 Nov 2026 14:%02d:%02d" % (number // 60 % 60, number % 60),
            "MONIT_DESCRIPTION": description % (number * 37 % 97, number * 11 % 89)})


def fill(lab, config, count):
    """One event is recorded, and repeated under other ids and times until there are ${count}."""
    seconds(lab.recorder(config), PLAIN)
    with sqlite3.connect(spool_of(config)) as spool:
        spool.execute("PRAGMA synchronous=OFF")
        spool.execute("PRAGMA cache_size=-65536")
        spool.execute(
            "WITH RECURSIVE number(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM number WHERE n < ?) "
            "INSERT INTO item (key, id, time_ms, topic, body) SELECT ? + n, randomblob(16), time_ms + n, topic, "
            "CAST(replace(CAST(body AS TEXT), '14:55:47', printf('%02d:%02d:%02d', n/3600%24, n/60%60, n%60)) AS BLOB) "
            "FROM number, (SELECT * FROM item LIMIT 1)", (count, EVENT_KEYS))
        spool.execute("UPDATE counters SET recorded = ?", (count,))
        spool.commit()
        spool.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spool.close()


def bodies(config):
    """The documents of the items as they are stored, in order."""
    return (body for _, _, body in items(config))


def documents(config):
    """The same as a batch has them."""
    for key, name, body in items(config):
        yield '{"id":"%s","seq":%d,%s' % (uuid.UUID(bytes=name), key - EVENT_KEYS, body[1:])


def items(config):
    with sqlite3.connect(spool_of(config)) as spool:
        yield from spool.execute("SELECT key, id, CAST(body AS TEXT) FROM item ORDER BY key")
    spool.close()
