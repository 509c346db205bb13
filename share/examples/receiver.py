#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
A receiver of px-status to begin with. Copy it to where it is to grow: Python leaves what it compiled beside a source.

    cp /usr/share/px-status/examples/receiver.py .
    RECEIVER_DATABASE=/some/file.db flask --app receiver run

It keeps each item once, by id, and which number it has in which spool, on disk before it acknowledges. GET /gaps tells
what is missing. It asks for no credentials: that is for a proxy in front of it, or to be added.
"""
import contextlib
import json
import os
import sqlite3
import zlib

from flask import Flask, request

app = Flask(__name__)
LIMIT = 64 << 20        # bytes of a body, compressed or not: the most that a device may be configured to send
TABLES = """
CREATE TABLE IF NOT EXISTS item (id PRIMARY KEY, device, kind, document);
CREATE TABLE IF NOT EXISTS number (spool, seq, item, PRIMARY KEY (spool, seq));
CREATE TABLE IF NOT EXISTS spool (id PRIMARY KEY, device, recorded, told);
"""
NEWER = """
INSERT INTO spool VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
SET recorded = max(recorded, excluded.recorded), told = max(told, excluded.told)
"""


@contextlib.contextmanager
def database():
    """One transaction, which is on disk when the with statement is over, or not at all."""
    with contextlib.closing(sqlite3.connect(os.environ["RECEIVER_DATABASE"], timeout=20)) as db:
        db.executescript(TABLES)
        with db:
            yield db


@app.post("/api/v1/devices/stats")
def take():
    if (request.content_length or 0) > LIMIT:
        return {"title": "The body is too large"}, 413
    body = request.get_data()
    try:
        if request.headers.get("Content-Encoding") == "gzip":
            gzip = zlib.decompressobj(wbits=31)
            body = gzip.decompress(body, LIMIT)
            if gzip.unconsumed_tail:
                return {"title": "The body is too large"}, 413
        batch = json.loads(body)
    except (zlib.error, ValueError):
        return {"title": "The body cannot be read"}, 400
    device, spool = batch["device"]["id"], batch["spool"]
    items = [(kind, item) for kind in ("events", "stats") for item in batch[kind]]
    with database() as db:
        for kind, item in items:
            db.execute("INSERT OR IGNORE INTO item VALUES (?, ?, ?, ?)", (item["id"], device, kind, json.dumps(item)))
            db.execute("INSERT OR IGNORE INTO number VALUES (?, ?, ?)", (spool["id"], item["seq"], item["id"]))
        if items:
            db.execute(NEWER, (spool["id"], device, spool["recorded"], spool["acknowledged"] + len(items)))
    return "", 204


@app.get("/gaps")
def gaps():
    """Of each spool: how many items are not here, and how many of those the device was told are here."""
    with database() as db:
        rows = db.execute("SELECT id, device, recorded, told, (SELECT count(*) FROM number WHERE spool = spool.id)"
                          " FROM spool ORDER BY device, id").fetchall()
    return [{"spool": spool, "device": device, "missing": recorded - here, "lost_here": max(0, told - here)}
            for spool, device, recorded, told, here in rows]
