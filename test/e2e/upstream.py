# SPDX-License-Identifier: MIT
"""Central Management for tests: an HTTP/1.1 server on raw sockets whose replies are scripted, good ones and bad ones.

As a module: Upstream(...) in a with statement. As a program:

    python3 upstream.py --log REQUESTS.jsonl --port-file FILE [--replies FILE] [--port N] [--bind 127.0.0.1]

A reply is a dictionary, every key optional:

    status    200
    reason    the words behind the status
    headers   {name: value}; Content-Length is added unless named; null leaves a header out
    body      text, bytes, or anything else that is sent as JSON of type application/json
    raw       text (latin-1) or bytes that are sent instead of all of the above
    delay_s   wait before the reply
    until     a threading.Event: wait for that before the reply
    drip_s    wait after each byte of the reply
    cut_after send that many bytes of the reply, then close
    hang      true: nothing until the server stops or the client leaves, or only what is raw
    reset     true: the connection is reset, where something is raw a tenth of a second behind that
    close     whether to close after the reply; by default only after what was raw or cut
    early     true: the reply goes out once the head of the request has come, whatever of its body is still to come
    endless   text or bytes that follow the reply over and over, until the client leaves
    commit    whether the items count as taken; by default those of a 2xx that went out whole, but its "rejected" ones

Replies come from a list, used up from its start and then followed by ${default}, or from a function of the request, which
can't be early.

What an upstream does apart from replies: ${greeting}, as a reply without a request, is what each connection gets in place
of TLS and HTTP (raw, drip_s, endless, hang, reset); ${reads} is how many bytes of a body it takes at once, and the pause
after each.
"""
import argparse
import collections
import gzip
import json
import os
import select
import signal
import socket
import ssl
import struct
import sys
import threading
import time
import zlib

HEAD_MAX = 65536
BODY_MAX = 128 << 20

# For an hour no scheduled run comes again. Without Retry-After it may: a back-off is drawn from no time at all on.
DOWN = {"status": 503, "headers": {"Retry-After": "3600"}}


def bound(host, port=0):
    """
    A socket at this port, or at a free one. As long as it is open, listening or not, no program that asks for any free port
    gets this one; who names it can have it, where both say SO_REUSEADDR and the other does not listen, as servers do.
    """
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((host, port))
    return made


class Request:
    """One request as it came."""

    def __init__(self, method, path, headers, raw):
        self.method = method
        self.path = path
        self.headers = headers
        self.raw = raw
        self.text = None        # decoded bytes, None where they could not be decoded
        self.body = None        # the JSON in them
        self.reply_status = None
        self.time = time.time()
        self._decode()

    def _decode(self):
        try:
            coding = self.header("Content-Encoding")
            self.text = gzip.decompress(self.raw) if coding == "gzip" else self.raw
            self.body = json.loads(self.text.decode("utf-8"))
        except (OSError, EOFError, ValueError, zlib.error):
            pass

    def header(self, name):
        """The value of header ${name}, whatever its case; None without one."""
        for key, value in self.headers.items():
            if key.lower() == name.lower():
                return value
        return None

    @property
    def items(self):
        """Events and snapshots, in the order in which they stand in the body."""
        if not isinstance(self.body, dict):
            return []
        return list(self.body.get("events", [])) + list(self.body.get("stats", []))

    @property
    def ids(self):
        return [item["id"] for item in self.items]

    def as_json(self):
        return {"method": self.method, "path": self.path, "headers": self.headers, "raw_length": len(self.raw),
                "body": self.body, "reply_status": self.reply_status}


class Upstream:
    posted = None   # a list that gets every POST of every upstream that waits for the body, where somebody wants them

    def __init__(self, replies=(), default=None, bind="127.0.0.1", port=0, log=None, tls=None, greeting=None, reads=None):
        self.default = default if default is not None else {}
        self.requests = []
        self.committed = collections.OrderedDict()      # id -> [item, item again, ...]
        self.connections = 0
        self._replies = list(replies) if not callable(replies) else replies
        self._bind = bind
        self._port = port
        self._log = log
        self._tls = tls
        self._greeting = greeting
        self._reads = reads
        self._lock = threading.Lock()
        self._place = None
        self._listener = None
        self._stopping = threading.Event()
        self._open = set()
        self._last_client = None

    # -- for tests

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.stop()
        self._place.close()

    @property
    def port(self):
        return self._port

    @property
    def url(self):
        host = "[%s]" % self._bind if ":" in self._bind else self._bind
        return "%s://%s:%d" % ("https" if self._tls else "http", host, self._port)

    def script(self, *replies, default=None):
        """Replies from now on: a list, or one function of the request."""
        with self._lock:
            self._replies = replies[0] if len(replies) == 1 and callable(replies[0]) else list(replies)
            if default is not None:
                self.default = default

    def forget(self):
        """Forgets the requests so far, but not what was committed."""
        with self._lock:
            self.requests = []

    def wait_for(self, count, timeout_s=30):
        """Waits until ${count} requests have come; their list."""
        end = time.monotonic() + timeout_s
        while len(self.requests) < count:
            if time.monotonic() > end:
                raise AssertionError("%d of %d requests came in %g s" % (len(self.requests), count, timeout_s))
            time.sleep(0.01)
        return self.requests

    def settle(self, timeout_s=30):
        """Waits until all that clients sent before they left is dealt with, as when one was killed."""
        end = time.monotonic() + timeout_s
        with socket.create_connection((self._bind, self._port)) as last:
            name = last.getsockname()
            while self._last_client != name and time.monotonic() < end:
                time.sleep(0.001)
        while self._open and time.monotonic() < end:
            time.sleep(0.001)
        assert not self._open, "connections are open after %g s" % timeout_s

    def start(self):
        """Begins, or begins again at the same port, which nobody else had in between."""
        self._stopping = threading.Event()
        if self._place is None:
            self._place = bound(self._bind, self._port)
            self._port = self._place.getsockname()[1]
        self._listener = bound(self._bind, self._port)
        if self._reads is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, args=(self._listener, self._stopping), daemon=True)
        self._thread.start()

    def stop(self):
        """Ends; from then on connections are refused, until it begins again."""
        self._stopping.set()
        if self._listener is None:
            return
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        self._listener = None
        with self._lock:
            left = list(self._open)
        for connection in left:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._thread.join(5)

    # -- connections

    def _accept(self, listener, stopping):
        while not stopping.is_set():
            try:
                connection, client = listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(connection)
                self._last_client = client
            threading.Thread(target=self._serve, args=(connection, stopping), daemon=True).start()

    def _serve(self, raw_connection, stopping):
        connection = raw_connection
        try:
            connection.settimeout(60)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._greeting is not None:
                self._send(connection, self._greeting, self._bytes(self._greeting.get("raw", b"")), stopping)
                return
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            waiting = b""
            while not stopping.is_set():
                request, waiting = self._read_request(connection, waiting, stopping)
                if request is None or not self._answer(connection, request, stopping):
                    break
        except (OSError, ValueError):
            pass
        finally:
            with self._lock:
                self._open.discard(raw_connection)
            try:
                connection.close()
            except OSError:
                pass

    def _receive(self, connection, data, wanted, stopping):
        size, pause_s = self._reads or (65536, 0)
        while len(data) < wanted:
            piece = connection.recv(size)
            if not piece or stopping.wait(pause_s):
                raise OSError("the client left, or it is over")
            data += piece
        return data

    def _read_request(self, connection, data, stopping):
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return None, b""
            data += piece
            if len(data) > HEAD_MAX and b"\r\n\r\n" not in data:
                raise ValueError("head too large")
        head, data = data.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ", 2)
        headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            headers[name] = value.strip()
        low = {name.lower(): value for name, value in headers.items()}
        if self._next_is_early():
            return Request(method, path, headers, b""), b""
        if low.get("expect", "").lower() == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if low.get("transfer-encoding", "").lower() == "chunked":
            body, data = self._read_chunks(connection, data, stopping)
        else:
            length = int(low.get("content-length", "0"))
            if length > BODY_MAX:
                raise ValueError("body too large")
            data = self._receive(connection, data, length, stopping)
            body, data = data[:length], data[length:]
        return Request(method, path, headers, body), data

    def _read_chunks(self, connection, data, stopping):
        body = b""
        while True:
            while b"\r\n" not in data:
                data = self._receive(connection, data, len(data) + 1, stopping)
            size, data = data.split(b"\r\n", 1)
            length = int(size.split(b";")[0], 16)
            data = self._receive(connection, data, length + 2, stopping)
            body, data = body + data[:length], data[length + 2:]
            if length == 0:
                return body, data

    # -- replies

    def _next_reply(self, request):
        with self._lock:
            if callable(self._replies):
                return self._replies(request) or {}
            return self._replies.pop(0) if self._replies else self.default

    def _next_is_early(self):
        with self._lock:
            if callable(self._replies):
                return False
            return bool((self._replies[0] if self._replies else self.default).get("early"))

    def _note(self, request, reply):
        """Before the reply goes out, so that whoever has it finds its request here."""
        broken = any(reply.get(key) for key in ("raw", "hang", "reset", "early", "endless")) or "cut_after" in reply
        status = reply.get("status", 200)
        request.reply_status = None if reply.get("hang") or reply.get("reset") or reply.get("raw") else status
        commits = reply.get("commit", 200 <= status < 300 and not broken)
        rejected = set()
        if isinstance(reply.get("body"), dict) and isinstance(reply["body"].get("rejected"), list):
            rejected = {entry.get("id") for entry in reply["body"]["rejected"] if isinstance(entry, dict)}
        with self._lock:
            if commits:
                for item in request.items:
                    if item["id"] not in rejected:
                        self.committed.setdefault(item["id"], []).append(item)
            self.requests.append(request)
            if Upstream.posted is not None and request.method == "POST" and not reply.get("early"):
                Upstream.posted.append(request)
            if self._log is not None:
                self._log.write(json.dumps(request.as_json(), ensure_ascii=False) + "\n")
                self._log.flush()

    @staticmethod
    def _bytes(text):
        return text if isinstance(text, bytes) else text.encode("latin-1")

    def _encode(self, request, reply):
        if reply.get("raw") is not None:
            return self._bytes(reply["raw"])
        status = reply.get("status", 200)
        headers = {}
        body = reply.get("body", b"")
        if isinstance(body, str):
            body = body.encode("utf-8")
        elif not isinstance(body, bytes):
            body = json.dumps(body).encode("utf-8")
            headers["Content-Type"] = "application/json"
        if status != 204 and status >= 200:
            headers["Content-Length"] = str(len(body))
        headers.update(reply.get("headers", {}))
        lines = ["HTTP/1.1 %d %s" % (status, reply.get("reason", "Scripted"))]
        lines += ["%s: %s" % (name, value) for name, value in headers.items() if value is not None]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        return head if request.method == "HEAD" else head + body

    def _answer(self, connection, request, stopping):
        """Sends a reply; whether the connection goes on."""
        reply = self._next_reply(request)
        self._note(request, reply)
        data = self._encode(request, reply)
        if "cut_after" in reply:
            data = data[:reply["cut_after"]]
        if not self._send(connection, reply, data, stopping):
            return False
        if reply.get("early"):
            self._drain(connection, stopping)
            return False
        ends = reply.get("close", "cut_after" in reply or reply.get("raw") is not None)
        return not ends and (request.header("Connection") or "").lower() != "close"

    def _send(self, connection, reply, data, stopping):
        """Sends ${data} in the manner of ${reply}; whether the connection may go on."""
        if reply.get("delay_s"):
            stopping.wait(reply["delay_s"])
        while reply.get("until") and not stopping.is_set() and not reply["until"].wait(0.02):
            pass
        if reply.get("reset"):
            if reply.get("raw"):
                connection.sendall(data)
                stopping.wait(0.1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if reply.get("drip_s"):
            for at in range(len(data)):
                connection.sendall(data[at:at + 1])
                if stopping.wait(reply["drip_s"]):
                    return False
        elif reply.get("raw") or not reply.get("hang"):
            connection.sendall(data)
        while reply.get("endless") and not stopping.is_set():
            connection.sendall(self._bytes(reply["endless"]))
        if reply.get("hang"):
            self._drain(connection, stopping)
        return not reply.get("hang")

    def _drain(self, connection, stopping):
        """Until the client leaves. Who takes little at once takes nothing here."""
        watched = select.poll()
        watched.register(connection, select.POLLRDHUP if self._reads else select.POLLIN)
        while not stopping.is_set():
            if watched.poll(50) and (self._reads or not connection.recv(65536)):
                break


def server_context(certificate, key, minimum=None, maximum=None):
    """A TLS context for Upstream(tls=...)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if minimum is not None:
        context.minimum_version = minimum
    if maximum is not None:
        context.maximum_version = maximum
    return context


def write_whole(path, text):
    """So that whoever waits for the file never sees half of it."""
    with open(path + ".new", "w", encoding="utf-8") as out:
        out.write(text)
    os.rename(path + ".new", path)


def main():
    parser = argparse.ArgumentParser(description="A scripted upstream for px-status.")
    parser.add_argument("--log", required=True, help="file that gets one JSON line for each request")
    parser.add_argument("--port-file", required=True, help="file that gets the port once the server listens")
    parser.add_argument("--replies", help="file with a JSON list of replies; after them everything is taken")
    parser.add_argument("--port", type=int, default=0, help="port, by default a free one")
    parser.add_argument("--bind", default="127.0.0.1")
    parser.add_argument("--tls-cert", help="serve TLS with this certificate, PEM")
    parser.add_argument("--tls-key", help="its key, PEM")
    options = parser.parse_args()

    replies = []
    if options.replies:
        with open(options.replies, encoding="utf-8") as source:
            replies = json.load(source)
    tls = server_context(options.tls_cert, options.tls_key) if options.tls_cert else None
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with open(options.log, "a", encoding="utf-8") as log:
        with Upstream(replies, bind=options.bind, port=options.port, log=log, tls=tls) as upstream:
            write_whole(options.port_file, "%d\n" % upstream.port)
            done.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
