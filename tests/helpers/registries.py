"""Places to push to, all used the same way: Debian's docker-registry open, with passwords, with tokens and with
TLS under a CA of its own, and an OCI layout folder.

    with place("htpasswd", box, folder) as p:
        box.run("proppush", "push", file, p.ref("team/app:v1"), *p.ours)
        p.skopeo_read("team/app:v1", folder)         # what skopeo copies back, as a dir: folder
"""
import base64
import contextlib
import json
import pathlib
import warnings

import pytest

from conftest import Registry, need
from helpers import token_server

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import crypt  # for bcrypt; gone from Python 3.13 on
except ImportError:
    crypt = None

KINDS = ["plain", "htpasswd", "token", "tls", "layout"]
PASSWORD = "tr0ub4dor-Xz"


class Configured(Registry):
    """docker-registry with more lines in its configuration."""

    def __init__(self, folder, auth="", tls=None):
        write = pathlib.Path.write_text

        def with_more(path, text, *args, **kw):
            if path.name == "registry.yml":
                if tls:
                    text = text.replace('"}\n', f'", tls: {{certificate: {tls[0]}, key: {tls[1]}}}}}\n')
                text += auth
            return write(path, text, *args, **kw)
        pathlib.Path.write_text = with_more
        try:
            super().__init__(folder)
        finally:
            pathlib.Path.write_text = write


class Place:
    def __init__(self, box, kind, host, ours=(), theirs=()):
        self.box, self.kind, self.host = box, kind, host
        self.ours = [str(a) for a in ours]      # options of our tools
        self.theirs = [str(a) for a in theirs]  # of skopeo, for a source

    def ref(self, name):
        if self.kind == "layout":
            return f"oci:{self.host}:{name.replace('/', '-').replace(':', '-')}"
        return f"docker://{self.host}/{name}"

    def skopeo_read(self, name, to):
        self.box.run(need("skopeo"), "--insecure-policy", "copy", "--preserve-digests", *self.theirs, self.ref(name),
                     f"dir:{to}")
        return pathlib.Path(to)


@contextlib.contextmanager
def place(kind, box, folder):
    """`folder` must be fresh."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    if kind == "layout":
        yield Place(box, kind, folder / "layout")
        return
    auth, tls, tokens, ours, theirs = "", None, None, [], ["--src-tls-verify=false"]
    if kind == "htpasswd":
        if crypt is None:
            pytest.skip("python has no crypt module to write an htpasswd file with")
        secret = crypt.crypt(PASSWORD, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16))
        (folder / "htpasswd").write_text(f"alice:{secret}\n")
        auth = f"auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}\n"
    if kind == "token":
        need("openssl")
        tokens = token_server.TokenServer(folder, users={"alice": PASSWORD})
        auth = tokens.registry_auth()
    if kind == "tls":
        need("openssl")
        tls = token_server.make_certificate(folder)
        certs = folder / "certs"
        certs.mkdir()
        (certs / "ca.crt").write_bytes(tls[0].read_bytes())
        ours, theirs = ["--cert-dir", certs], ["--src-cert-dir", certs]
    registry = Configured(folder / "server", auth, tls)
    try:
        if kind in ("htpasswd", "token"):
            entry = {"auth": base64.b64encode(f"alice:{PASSWORD}".encode()).decode()}
            (folder / "auth.json").write_text(json.dumps({"auths": {registry.host: entry}}))
            ours = ["--authfile", folder / "auth.json"]
            theirs += ["--src-authfile", folder / "auth.json"]
        p = Place(box, kind, registry.host, ours, theirs)
        p.registry, p.tokens = registry, tokens
        yield p
    finally:
        registry.stop()
        if tokens:
            tokens.close()
