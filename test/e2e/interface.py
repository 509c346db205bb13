# SPDX-License-Identifier: MIT
"""Something in the place of Monit's HTTP interface, good or bad, on a Unix socket or a port."""
import os
import socket
import threading

SHORT = "Monit 5.33.0 uptime: 3m\n\nSystem 'vm'\n  status                       OK\n"


def http(status, body, *headers):
    """An answer as Monit gives it."""
    body = body if isinstance(body, bytes) else body.encode("utf-8")
    lines = ["HTTP/1.0 " + status, "Server: monit 5.33.0", "Content-Type: text/plain", "Connection: close", *headers,
             "Content-Length: %d" % len(body), "", ""]
    return "\r\n".join(lines).encode("utf-8") + body


class Interface:
    """
    Answers each request, in a with statement, with ${answer}: bytes, or a function of the connection. At once: without
    reading the request. Then it closes, unless it is to hold the connection until the client leaves.
    """

    def __init__(self, answer, path=None, holds=False, at_once=False):
        self.asked = []
        self.path = path
        self._answer, self._holds, self._at_once = answer, holds, at_once
        self._listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET, socket.SOCK_STREAM)
        self._listener.bind(os.fspath(path) if path else ("127.0.0.1", 0))
        self._listener.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._listener.close()

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self._listener.getsockname()[1]

    @property
    def settings(self):
        """What [snapshot] needs to find it."""
        return {"source": "socket", "socket": self.path} if self.path else {"source": "http", "url": self.url}

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection):
        with connection:
            try:
                self._exchange(connection)
            except OSError:
                pass

    def _exchange(self, connection):
        if not self._at_once and not self._receive(connection):
            return
        if callable(self._answer):
            self._answer(connection)
        else:
            connection.sendall(self._answer)
        while self._holds and connection.recv(65536):
            pass

    def _receive(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return False
            data += piece
        self.asked.append(data.decode("latin-1"))
        return True
