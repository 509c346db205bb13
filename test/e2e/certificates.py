# SPDX-License-Identifier: MIT
"""Authorities and certificates, made for the tests by openssl."""
import subprocess
import types

CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def openssl(*args):
    return subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True).stdout


def make_authority(folder, name):
    key, certificate = folder / (name + ".key"), folder / (name + ".pem")
    openssl("req", "-x509", *CURVE, "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=" + name)
    return types.SimpleNamespace(key=key, certificate=certificate)


def make_certificate(folder, name, authority, alt_names, days=2):
    key, request, certificate, extensions = (folder / (name + suffix) for suffix in (".key", ".csr", ".pem", ".ext"))
    openssl("req", *CURVE, "-keyout", key, "-out", request, "-subj", "/CN=" + name)
    extensions.write_text("subjectAltName=%s\n" % alt_names)
    openssl("x509", "-req", "-in", request, "-CA", authority.certificate, "-CAkey", authority.key, "-CAcreateserial", "-days", days,
            "-extfile", extensions, "-out", certificate)
    return types.SimpleNamespace(key=key, certificate=certificate)


def make_all(folder):
    """Two authorities, servers' certificates good and bad, and a device's; each has key and certificate."""
    ours, other = make_authority(folder, "ours"), make_authority(folder, "other")
    here = "DNS:localhost,IP:127.0.0.1"
    return types.SimpleNamespace(
        ours=ours, other=other,
        good=make_certificate(folder, "good", ours, here),
        expired=make_certificate(folder, "expired", ours, here, days=-1),
        elsewhere=make_certificate(folder, "elsewhere", ours, "DNS:central.example.com,IP:192.0.2.1"),
        unknown=make_certificate(folder, "unknown", other, here),
        device=make_certificate(folder, "device", ours, "DNS:device"),
    )
