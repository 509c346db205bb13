# SPDX-License-Identifier: MIT
"""Real programs that stand between a device and upstream, as processes of a test: nginx, tinyproxy, Apache httpd, a receiver."""
import base64
import hashlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest

from harness import IS_ROOT
from upstream import bound

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
APACHE_MODULES = "/usr/lib/apache2/modules"
USER, PASSWORD = "device", "p:ss word"


def password_line():
    """USER and PASSWORD, as nginx and Apache httpd read them."""
    return "%s:{SHA}%s\n" % (USER, base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode())


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Part:
    """A process that serves a port of this machine, with a folder of its own below the device's."""

    program = None

    def __init__(self, device):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=self.program.rpartition("/")[2] + "-", dir=device.folder))
        self.folder.chmod(0o755)
        self._place = bound("127.0.0.1")
        self.port = self._place.getsockname()[1]
        self._process = None

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.port

    def command(self):
        raise NotImplementedError

    def start(self):
        """Begins, or begins again, at its own port."""
        program = shutil.which(self.program, path="%s:%s" % (os.environ.get("PATH", ""), PATH))
        if program is None:
            pytest.skip("%s is not installed" % self.program)
        with open(self.folder / "output", "ab") as output:
            self._process = subprocess.Popen([program, *map(str, self.command())], stdin=subprocess.DEVNULL, stdout=output,
                                             stderr=output, cwd=self.folder, env={"PATH": PATH, **self.environment()},
                                             start_new_session=True)
        end = time.monotonic() + 60
        while time.monotonic() < end and self._process.poll() is None:
            if answers(self.port):
                return self
            time.sleep(0.02)
        self.stop()
        raise AssertionError("%s does not start:\n%s" % (self.program, (self.folder / "output").read_text(errors="replace")))

    def environment(self):
        return {}

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
        return path

    def restart(self):
        self.stop()
        self.start()

    def hang_up(self):
        self._process.send_signal(signal.SIGHUP)

    def stop(self):
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(2)
        except ProcessLookupError:
            pass
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None


class Nginx(Part):
    """A reverse proxy in front of ${upstream}; ${settings} are lines of its server."""

    program = "nginx"

    def __init__(self, device, upstream, settings="", certificate=None):
        super().__init__(device)
        self.upstream = upstream
        self.settings = settings
        self.shared = ""        # lines for all servers
        self.certificate = certificate

    @property
    def url(self):
        return "%s://127.0.0.1:%d" % ("https" if self.certificate else "http", self.port)

    def command(self):
        tls = ""
        if self.certificate is not None:
            tls = "ssl_certificate %s; ssl_certificate_key %s;" % (self.certificate.certificate, self.certificate.key)
        temporary = "".join("%s_temp_path %s/%s;\n" % (name, self.folder, name)
                            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        config = self.file("nginx.conf", """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log info; {user}
events {{ worker_connections 64; }}
http {{
  log_format facts '$connection $status';
  access_log {folder}/access.log facts;
  {temporary} {shared}
  server {{
    listen 127.0.0.1:{port} {ssl}; {tls}
    {settings}
    location / {{
      proxy_pass {upstream}; proxy_http_version 1.1; proxy_set_header Connection "";
    }}
  }}
}}
""".format(folder=self.folder, user="user nobody nogroup;" if IS_ROOT else "", temporary=temporary, port=self.port,
           ssl="ssl" if tls else "", tls=tls, shared=self.shared, settings=self.settings, upstream=self.upstream.url))
        return ["-p", self.folder, "-c", config, "-e", self.folder / "start.log"]

    def wait_for_log(self, words):
        """Until the log of its processes has these words."""
        end = time.monotonic() + 60
        while words not in (self.folder / "error.log").read_text():
            assert time.monotonic() < end, "nginx did not log '%s'" % words
            time.sleep(0.02)

    def log(self):
        """Connection and status of each request that is over."""
        return [line.split() for line in (self.folder / "access.log").read_text().splitlines()]


class Tinyproxy(Part):
    """A forward proxy that wants USER and a password."""

    program = "tinyproxy"
    password = "secret"     # its configuration takes no blanks
    refuses_with = 401      # a wrong password; none: 407
    ends_early = True       # it closes the connection on what it has not read

    def command(self):
        config = self.file("tinyproxy.conf", "Port %d\nListen 127.0.0.1\n%sTimeout 30\nMaxClients 20\nBasicAuth %s %s\n" % (
            self.port, "User nobody\nGroup nogroup\n" if IS_ROOT else "", USER, self.password))
        return ["-d", "-c", config]


class Apache(Part):
    """Apache httpd as a forward proxy that wants USER and PASSWORD."""

    program = "apache2"
    password = PASSWORD
    refuses_with = 407
    ends_early = False

    def command(self):
        users = self.file("users", password_line())
        modules = "mpm_event authn_core authn_file authz_core authz_user auth_basic proxy proxy_http proxy_connect"
        lines = ["LoadModule %s_module %s/mod_%s.so" % (name, APACHE_MODULES, name) for name in modules.split()]
        config = self.file("httpd.conf", "\n".join(lines) + """
ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/pid
DefaultRuntimeDir {folder}
ErrorLog {folder}/error.log
{user}
StartServers 1
ProxyRequests On
ProxyVia On
AllowCONNECT 0-65535
<Proxy "*">
  AuthType Basic
  AuthName proxy
  AuthUserFile {users}
  Require valid-user
</Proxy>
""".format(folder=self.folder, port=self.port, users=users, user="User nobody\nGroup nogroup" if IS_ROOT else ""))
        return ["-X", "-f", config]


class Receiver(Part):
    """A Flask application, run as Flask's own documentation has it."""

    program = "/usr/bin/python3"

    def __init__(self, device, application):
        super().__init__(device)
        self.application = application
        self.database = self.folder / "receiver.db"

    def command(self):
        return ["-m", "flask", "--app", self.application, "run", "--host", "127.0.0.1", "--port", self.port]

    def environment(self):
        return {"RECEIVER_DATABASE": str(self.database), "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"}


class Relay:
    """Passes bytes between a port of its own and another's, keeps those of clients, and cuts connections when told to."""

    def __init__(self, port):
        self.seen = b""         # what clients sent
        self.cuts = 0           # so many replies are lost: at their first byte the connection ends
        self._to = port
        self._place = bound("127.0.0.1")
        self.port = self._place.getsockname()[1]
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.port

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            for args in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass, args=args, daemon=True).start()

    def _pass(self, source, sink, from_client):
        try:
            while True:
                data = source.recv(65536)
                if from_client:
                    self.seen += data
                elif data and self.cuts > 0:
                    self.cuts -= 1
                    data = b""
                if not data:
                    break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        source.close()

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
