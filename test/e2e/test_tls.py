# SPDX-License-Identifier: MIT
"""TLS: real certificates, made for the test."""
import re
import ssl
import subprocess

import pytest

from certificates import openssl
from harness import CONFIG, LATER, WEAK_OPENSSL, exactly_once
from upstream import Upstream, server_context


@pytest.fixture
def serve():
    servers = []

    def start(pair, change=None, **versions):
        context = server_context(pair.certificate, pair.key, **versions)
        if change is not None:
            change(context)
        servers.append(Upstream(tls=context))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def test_a_verified_certificate(device, serve, certificates):
    server = serve(certificates.good)
    device.configure(server, upstream={"ca_file": certificates.ours.certificate})
    ids = device.record(2)
    device.flush().ended(0)
    exactly_once(server, ids)


@pytest.mark.parametrize("which, authority", [
    ("expired", "ours"), ("elsewhere", "ours"), ("unknown", "ours"), ("good", "other"), ("good", None),
])
def test_a_certificate_that_is_not_to_be_trusted(device, serve, certificates, which, authority):
    server = serve(getattr(certificates, which))
    trusted = getattr(certificates, authority).certificate if authority else None
    device.configure(server, upstream={"ca_file": trusted})
    device.record(2)
    result = device.flush("--now").ended(LATER)
    assert "certificate" in result.err.lower()
    assert server.requests == [] and device.stats()["pending"] == 2


@pytest.mark.parametrize("name", ["CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_environment_does_not_choose_whom_to_trust(device, serve, certificates, name):
    """As a flush started by root would otherwise trust what a user's environment names; SSL_CERT_FILE is OpenSSL's own matter."""
    server = serve(certificates.good)
    device.configure(server, upstream={"ca_file": certificates.other.certificate})
    device.record(1)
    device.flush(env={name: str(certificates.ours.certificate)}).ended(LATER)
    assert server.requests == []


def test_tls_1_1_is_refused(device, serve, certificates):
    """By the flush itself: OpenSSL is told to allow it."""
    def weaken(context):
        context.set_ciphers("DEFAULT:@SECLEVEL=0")

    with pytest.warns(DeprecationWarning):
        server = serve(certificates.good, weaken, minimum=ssl.TLSVersion.TLSv1_1, maximum=ssl.TLSVersion.TLSv1_1)
    device.configure(server, upstream={"ca_file": certificates.ours.certificate})
    device.record(1)
    device.flush(env={"OPENSSL_CONF": str(device.file("openssl.cnf", WEAK_OPENSSL, 0o644))}).ended(LATER)
    assert server.requests == []


def test_tls_1_2_is_accepted(device, serve, certificates):
    server = serve(certificates.good, maximum=ssl.TLSVersion.TLSv1_2)
    device.configure(server, upstream={"ca_file": certificates.ours.certificate})
    device.record(1)
    device.flush().ended(0)


def test_plain_http_where_tls_was_expected(device, upstream, certificates):
    device.configure(upstream.url.replace("http:", "https:"), upstream={"ca_file": certificates.ours.certificate})
    device.record(1)
    device.flush().ended(LATER)
    assert upstream.requests == []


def test_a_client_certificate(device, serve, certificates):
    def demand(context):
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificates.ours.certificate)

    server = serve(certificates.good, demand)
    device.record(1)
    device.configure(server, upstream={"ca_file": certificates.ours.certificate})
    device.flush("--now").ended(LATER)
    key = device.file("device.key", certificates.device.key.read_text(), 0o600)
    device.configure(server, upstream={"ca_file": certificates.ours.certificate, "client_cert": certificates.device.certificate,
                                       "client_key": key})
    device.flush("--now").ended(0)
    assert len(server.requests) == 1
    key.chmod(0o644)
    device.record(1)
    assert str(key) in device.flush("--now").ended(CONFIG).err


def pin(certificate):
    public = openssl("x509", "-in", certificate, "-noout", "-pubkey")
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=public, check=True, capture_output=True).stdout
    digest = subprocess.run(["openssl", "dgst", "-sha256", "-binary"], input=der, check=True, capture_output=True).stdout
    return "sha256//" + subprocess.run(["openssl", "base64", "-A"], input=digest, check=True, capture_output=True).stdout.decode()


def test_a_pinned_key(device, serve, certificates):
    server = serve(certificates.good)
    device.record(1)
    keys = {"ca_file": certificates.ours.certificate}
    device.configure(server, upstream={**keys, "pinned_public_key": pin(certificates.unknown.certificate)})
    device.flush("--now").ended(LATER)
    assert server.requests == []
    both = pin(certificates.unknown.certificate) + ";" + pin(certificates.good.certificate)
    device.configure(server, upstream={**keys, "pinned_public_key": both})
    device.flush("--now").ended(0)
    assert len(server.requests) == 1


@pytest.mark.parametrize("content", [None, "no certificate\n"], ids=["missing", "useless"])
@pytest.mark.parametrize("key", ["ca_file", "client_cert", "client_key"])
def test_files_that_are_of_no_use(device, serve, certificates, key, content):
    server = serve(certificates.good)
    path = device.folder / "missing.pem" if content is None else device.file("useless.pem", content)
    device_key = device.file("device.key", certificates.device.key.read_text(), 0o600)
    device.configure(server, upstream={"ca_file": certificates.ours.certificate, "client_cert": certificates.device.certificate,
                                       "client_key": device_key, key: path})
    device.record(1)
    result = device.flush("--now").ended(CONFIG)
    assert str(path) in result.err or key in result.err
    assert server.requests == [] and device.stats()["pending"] == 1


def test_monit_behind_tls(device, upstream, serve, certificates):
    """Verified as upstream is: by the system's store, or by ca_file."""
    status = "Monit 5.33.0 uptime: 3m\n\nSystem 'vm'\n  status                       OK\n"
    for pair, authority, said in ((certificates.good, certificates.ours, None), (certificates.good, None, "certificate"),
                                  (certificates.good, certificates.other, "certificate"), (certificates.expired, certificates.ours, "expired"),
                                  (certificates.elsewhere, certificates.ours, "name|match")):
        monit = serve(pair)
        monit.default = {"body": status, "headers": {"Content-Type": "text/plain"}}
        device.configure(upstream, snapshot={"enabled": "yes", "source": "http", "url": monit.url, "timeout": "5s"},
                         upstream={"url": upstream.url, "ca_file": authority.certificate if authority else None})
        device.flush("--now").ended(0)
        answer = upstream.requests[-1].body["stats"][0]["monit"]
        assert answer["reachable"] is (said is None) and len(monit.requests) == (1 if said is None else 0)
        assert said is None or re.search(said, answer["error"]), answer
