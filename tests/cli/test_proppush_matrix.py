"""The same suite against docker-registry (open, htpasswd, token, TLS with an own CA) and an OCI layout:
push, pull, copy, tags, indexes, encryption and publish, with skopeo reading back."""
import hashlib
import json
import pathlib
import sys
import warnings

import pytest

from conftest import VECTORS, Kbs, Registry, need
from images import Layout, layer

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "helpers"))
import token_server  # noqa: E402

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import crypt  # Debian's only bcrypt for Python; gone from 3.13 on
except ImportError:
    crypt = None

FIX = VECTORS / "ocicrypt"
ADDITION = FIX / "wasm/addition.wasm"
GOLDEN = "sha256:dc3ef967b8fb17f99bee152d0a385addf3dcc978af37e0341a1aa77c30393039"
PASSWORD = "tr0ub4dor-Xz"
KINDS = ["plain", "htpasswd", "token", "tls", "layout"]


class Place:
    """Where images go. `ref(name)` is ours, `theirs(name)` and `flags(side)` are skopeo's."""

    options = ()

    def __init__(self, box):
        self.box = box

    def run(self, *argv, **kw):
        return self.box.run("proppush", *argv, *self.options, **kw)

    def json(self, *argv, **kw):
        return self.run(*argv, "--json", **kw).json()

    def skopeo(self, *argv, **kw):
        return self.box.run(need("skopeo"), "--insecure-policy", *argv, **kw)

    def inspect(self, name):
        return self.skopeo("inspect", "--raw", *self.flags(""), self.theirs(name)).stdout


class LayoutPlace(Place):
    def ref(self, name, tag="v1"):
        return f"oci:{name.replace('/', '-')}:{tag}"

    def theirs(self, name, tag="v1"):
        return f"oci:{self.box.path}/{name.replace('/', '-')}:{tag}"

    def flags(self, side):
        return []


class RegistryPlace(Place):
    def __init__(self, box, host, tls=None):
        super().__init__(box)
        self.host = host
        if tls:
            self.certs = box / "certs"
            self.certs.mkdir()
            (self.certs / "ca.crt").write_bytes(tls.read_bytes())
            self.options = ("--registry-ca", str(tls))
        self.tls = tls

    def ref(self, name, tag="v1"):
        return f"docker://{self.host}/{name}:{tag}"

    theirs = ref

    def flags(self, side):
        return [f"--{side}cert-dir={self.certs}"] if self.tls else [f"--{side}tls-verify=false"]


def configured(folder, monkeypatch, extra="", tls=None):
    """A docker-registry whose configuration gets `extra` lines and TLS."""
    write = pathlib.Path.write_text

    def with_more(path, text, *args, **kw):
        if path.name == "registry.yml":
            if tls:
                text = text.replace('"}\n', f'", tls: {{certificate: {tls[0]}, key: {tls[1]}}}}}\n')
            text += extra
        return write(path, text, *args, **kw)
    with monkeypatch.context() as m:
        m.setattr(pathlib.Path, "write_text", with_more)
        return Registry(folder)


@pytest.fixture(params=KINDS)
def place(request, box, tmp_path, monkeypatch):
    kind = request.param
    if kind == "layout":
        yield LayoutPlace(box)
        return
    extra, tls, tokens = "", None, None
    if kind == "htpasswd":
        if crypt is None:
            pytest.skip("python has no crypt module to write an htpasswd file with")
        (tmp_path / "htpasswd").write_text(
            "alice:" + crypt.crypt(PASSWORD, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)) + "\n")
        extra = f"auth: {{htpasswd: {{realm: test, path: {tmp_path}/htpasswd}}}}\n"
    if kind in ("token", "tls"):
        need("openssl")
    if kind == "token":
        tokens = token_server.TokenServer(tmp_path, users={"alice": PASSWORD})
        extra = tokens.registry_auth()
    if kind == "tls":
        tls = token_server.make_certificate(tmp_path)
    registry = configured(tmp_path / "reg", monkeypatch, extra, tls)
    try:
        p = RegistryPlace(box, registry.host, tls[0] if tls else None)
        if kind in ("htpasswd", "token"):
            assert p.run("push", ADDITION, p.ref("a/denied"), "--json", ok=5).error()["code"] == "unauthorized"
            p.run("login", "--username", "alice", "--password-stdin", registry.host, stdin=PASSWORD + "\n")
            assert p.run("login", "--get-login", registry.host).out == "alice\n"
        yield p
    finally:
        registry.stop()
        if tokens:
            tokens.close()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def test_modules_and_tags(place):
    box, ref = place.box, place.ref("team/addition")
    assert place.json("push", ADDITION, ref)["digest"] == GOLDEN
    assert digest(place.inspect("team/addition")) == GOLDEN
    place.run("tag", ref, "stable")
    listed = place.json("list-tags", ref.rpartition(":")[0])["tags"]
    assert sorted(listed) == ["stable", "v1"]
    place.run("pull", ref, "out.wasm")
    assert (box / "out.wasm").read_bytes() == ADDITION.read_bytes()
    # skopeo takes it away, and brings another back
    place.skopeo("copy", "--preserve-digests", *place.flags("src-"), place.theirs("team/addition"), f"dir:{box.path}/d")
    assert digest((box / "d/manifest.json").read_bytes()) == GOLDEN
    place.skopeo("copy", "--preserve-digests", *place.flags("dest-"), f"dir:{box.path}/d", place.theirs("theirs/addition"))
    assert place.json("inspect", place.ref("theirs/addition"))["digest"] == GOLDEN
    place.run("pull", place.ref("theirs/addition"), "-")


def test_indexes(place):
    box = place.box
    src = Layout(box / "src")
    platforms = [{"architecture": a, "os": "linux"} for a in ("amd64", "arm64")]
    images = [src.image([layer(p["architecture"])]) for p in platforms]
    index = src.index(list(zip(images, platforms)))
    src.name(index)
    assert place.json("copy", "oci:src:v1", place.ref("team/index"))["digest"] == index["digest"]
    assert digest(place.inspect("team/index")) == index["digest"]
    place.skopeo("copy", "--all", "--preserve-digests", *place.flags("src-"), place.theirs("team/index"), f"oci:{box.path}/back:v1")
    assert {p.name for p in (box / "back/blobs/sha256").iterdir()} == {p.name for p in src.blobs.iterdir()}
    r = place.json("copy", "--platform", "linux/arm64", place.ref("team/index"), place.ref("team/arm"))
    assert r["digest"] == images[1]["digest"] and [i["platform"] for i in r["left_out"]] == ["linux/amd64"]


def test_encrypted_images_keep_every_byte(place):
    box = place.box
    case = FIX / "41-wasm-jwe-rsa/layout"
    want = json.loads((case / "index.json").read_text())["manifests"][0]["digest"]
    assert place.json("copy", f"oci:{case}", place.ref("team/secret"))["digest"] == want
    assert place.json("copy", place.ref("team/secret"), place.ref("other/secret"))["digest"] == want
    assert digest(place.inspect("other/secret")) == want
    e = place.run("pull", place.ref("team/secret"), "x.wasm", "--json", ok=9).error()
    assert e["code"] == "encrypted-layer"
    place.run("copy", place.ref("other/secret"), "oci-archive:out.tar:v1")
    place.skopeo("copy", "--preserve-digests", f"oci-archive:{box.path}/out.tar:v1", f"oci:{box.path}/back:v1")
    for f in (case / "blobs/sha256").iterdir():
        assert (box / "back/blobs/sha256" / f.name).read_bytes() == f.read_bytes()


def test_artifacts_and_referrers(place):
    box, ref = place.box, place.ref("team/app")
    place.run("push", "--form", "cncf", ADDITION, ref)
    (box / "note.txt").write_text("a note\n")
    r = place.json("push", "note.txt:text/plain", "--artifact-type", "text/x-note", "--subject", ref, place.ref("team/app", "note"))
    found = place.json("referrers", ref)["referrers"]
    assert [(d["digest"], d["artifactType"]) for d in found] == [(r["digest"], "text/x-note")]
    place.run("pull", place.ref("team/app", "note"), "out/")
    assert (box / "out/note.txt").read_text() == "a note\n"


def test_publish(place):
    box = place.box
    kbs = Kbs(box)
    try:
        ref = place.ref("team/published", "encrypted")
        doc = place.json("publish", ADDITION, ref, "--kbs", kbs.url, "--admin-key", kbs.admin_key, "--allow", "tee=sample",
                         "--replace-policy")
        assert place.json("inspect", ref)["digest"] == doc["digest"]
        raw = place.skopeo("inspect", "--raw", *place.flags(""), place.theirs("team/published", "encrypted")).stdout
        assert digest(raw) == doc["digest"] and json.loads(raw)["layers"][0]["mediaType"].endswith("+encrypted")
        if not isinstance(place, LayoutPlace):
            assert doc["pinned"].endswith("@" + doc["digest"])
        out = box.run("propcvm", "run", doc.get("pinned", ref), "--kbs", kbs.url, "--tee", "sample", "--invoke", "add",
                      *place.options, "--", "10", "20", ok=None)
        if "no-engine" not in out.err:
            assert (out.returncode, out.out.strip()) == (0, "30"), out.err
    finally:
        kbs.stop()
