"""The same suite at every kind of place: push, copy, pull, encrypt, tag, and what skopeo reads back. And a real
registry behind connections that break."""
import hashlib
import json
import shutil
import sys

import pytest

from conftest import BIN, VECTORS
from helpers.cut_proxy import CutProxy
from helpers.registries import KINDS, place
from images import Layout

FIX = VECTORS / "ocicrypt"
ADDITION = FIX / "wasm/addition.wasm"
GOLDEN = "sha256:dc3ef967b8fb17f99bee152d0a385addf3dcc978af37e0341a1aa77c30393039"
MIB = 1 << 20


@pytest.fixture(params=KINDS)
def at(request, box, tmp_path):
    with place(request.param, box, tmp_path / "place") as p:
        yield p


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def big(box, size, name="big.wasm"):
    block = hashlib.shake_256(name.encode()).digest(MIB)
    (box / name).write_bytes((b"\0asm\1\0\0\0" + b"".join(bytes([i & 255]) + block for i in range(size // MIB + 1)))[:size])
    return box / name


def layered(box, name="image", layers=5):
    """A layout with several layers; its manifest's digest."""
    blobs = box / name / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data, kind):
        (blobs / digest_of(data)[7:]).write_bytes(data)
        return {"mediaType": kind, "digest": digest_of(data), "size": len(data)}
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}',
                      "application/vnd.oci.image.config.v1+json"),
        "layers": [put(bytes([i]) * (200_000 + i), "application/vnd.oci.image.layer.v1.tar") for i in range(layers)]}).encode()
    entry = put(manifest, "application/vnd.oci.image.manifest.v1+json")
    (box / name / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    entry["annotations"] = {"org.opencontainers.image.ref.name": "v1"}
    (box / name / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return entry["digest"]


def read_back(at, name, folder):
    """skopeo's copy: its manifest's digest, and the layers."""
    folder = at.skopeo_read(name, folder)
    manifest = (folder / "manifest.json").read_bytes()
    return digest_of(manifest), [(folder / d["digest"][7:]).read_bytes() for d in json.loads(manifest)["layers"]]


def test_a_module(box, at):
    assert box.run("proppush", "push", ADDITION, at.ref("team/addition:v1"), *at.ours, "--json").json()["digest"] == GOLDEN
    assert read_back(at, "team/addition:v1", box / "theirs") == (GOLDEN, [ADDITION.read_bytes()])
    box.run("proppush", "pull", at.ref("team/addition:v1"), "out.wasm", *at.ours)
    assert (box / "out.wasm").read_bytes() == ADDITION.read_bytes()
    # from a pipe, whose length nobody knows
    data = big(box, 3 * MIB).read_bytes()
    r = box.run("proppush", "push", "-", at.ref("team/pipe:v1"), *at.ours, "--json", stdin=data).json()
    assert read_back(at, "team/pipe:v1", box / "pipe") == (r["digest"], [data])


def test_an_image_of_several_layers(box, at):
    digest = layered(box)
    assert box.run("proppush", "copy", "oci:image:v1", at.ref("team/image:v1"), *at.ours, "--json").json()["digest"] == digest
    assert read_back(at, "team/image:v1", box / "theirs")[0] == digest
    assert box.run("proppush", "copy", at.ref("team/image:v1"), "oci:back:v1", *at.ours, "--json").json()["digest"] == digest
    # within one place: mounted, or there already
    box.run("proppush", "copy", at.ref("team/image:v1"), at.ref("other/image:v2"), *at.ours)
    assert read_back(at, "other/image:v2", box / "theirs2")[0] == digest


def test_encrypted_while_uploading(box, at, keys):
    path = big(box, 5 * MIB + 11)
    kek = f"provider:attestation-agent:keypath={keys}/kek32.bin::keyid=kbs:///default/key/x"
    r = box.run("propenc", "encrypt", path, at.ref("team/secret:v1"), "-r", kek, *at.ours, "--json").json()
    digest, layers = read_back(at, "team/secret:v1", box / "theirs")
    assert digest == r["digest"] and digest_of(layers[0]) == r["layer"] and layers[0] != path.read_bytes()
    box.run("propenc", "decrypt", at.ref("team/secret:v1"), "out.wasm", "--key", keys / "kek32.bin", *at.ours)
    assert (box / "out.wasm").read_bytes() == path.read_bytes()
    # decrypted from one name to another of the same place
    box.run("propenc", "decrypt", at.ref("team/secret:v1"), at.ref("team/plain:v1"), "--key", keys / "kek32.bin", *at.ours)
    assert read_back(at, "team/plain:v1", box / "plain")[1] == [path.read_bytes()]


def test_a_tag_moves_last(box, at):
    box.run("proppush", "push", ADDITION, at.ref("team/app:v1"), *at.ours)
    broken = FIX / "04-plain-image-gzip/layout"
    shutil.copytree(broken, box / "img")
    for f in (box / "img/blobs/sha256").iterdir():
        if f.stat().st_size > 1000 or b"schemaVersion" not in f.read_bytes():
            f.chmod(0o600)
            f.write_bytes(bytes(f.stat().st_size))
    r = box.run("proppush", "copy", "oci:img:v1", at.ref("team/app:v1"), *at.ours, "--json", ok=4)
    assert r.error()["code"] == "digest-mismatch"
    assert read_back(at, "team/app:v1", box / "theirs")[0] == GOLDEN


@pytest.mark.parametrize("kind", ["plain", "token", "tls"])
def test_connections_that_break(box, tmp_path, keys, kind):
    """docker-registry forgets an upload whose Location is old: what is small is sent again, what is large is read
    or encrypted again."""
    with place(kind, box, tmp_path / "place") as at, CutProxy(at.registry.port) as proxy:
        direct = at.host
        if kind == "token":
            auth = tmp_path / "place/auth.json"
            auth.write_text(auth.read_text().replace(direct, proxy.host))
        at.host = proxy.host
        cases = ((3 * MIB, [2 * MIB]), (6 * MIB, [5 * MIB, 3 * MIB]), (200_000, [150_000, 100_000]))
        for size, cuts in cases if kind == "plain" else cases[1:2]:
            path = big(box, size)
            proxy.cuts[:] = cuts
            r = box.run("proppush", "push", path, at.ref("team/plain:v1"), *at.ours, "--json").json()
            assert not proxy.cuts
            box.run("proppush", "pull", at.ref("team/plain:v1"), "out.wasm", "--digest", r["digest"], "--force", *at.ours)
            assert (box / "out.wasm").read_bytes() == path.read_bytes()
            proxy.cuts[:] = cuts
            r = box.run("propenc", "encrypt", path, at.ref("team/secret:v1"), "-r", f"jwe:{keys}/ec.pub.pem", *at.ours,
                        "--json").json()
            assert not proxy.cuts
            box.run("propenc", "decrypt", at.ref("team/secret:v1"), "dec.wasm", "--key", keys / "ec.pem", "--force", *at.ours)
            assert (box / "dec.wasm").read_bytes() == path.read_bytes()
        digest = layered(box)
        proxy.cuts[:] = [None, 150_000, 250_000, None, 199_000]
        assert box.run("proppush", "copy", "oci:image:v1", at.ref("team/image:v1"), *at.ours, "--json").json()["digest"] == digest
        assert not proxy.cuts
        assert read_back(at, "team/image:v1", box / "theirs")[0] == digest


# A child's peak counts that of the process it was forked from, so a small one does the forking.
PEAK = """import os, sys
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss)
sys.exit(status != 0)"""


def peak_mib(box, *argv):
    return int(box.run(sys.executable, "-S", "-c", PEAK, *argv).out.split()[-1]) / 1024


def heavy(box, size, layers=3):
    """A layout with a few large layers."""
    src, block = Layout(box / f"heavy-{size}"), hashlib.shake_256(b"heavy").digest(MIB)
    blobs = [bytes([i]) + block * (size // MIB) for i in range(layers)]
    src.name(src.image([("application/octet-stream", b, b) for b in blobs]))
    return f"oci:heavy-{size}:v1"


@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_memory_of_parallel_copies(box, tmp_path, kind):
    """Three layers at once from one registry to another: the same peak at any size, also over TLS, where
    every connection would have roots of its own."""
    asan = b"__asan_init" in (BIN / "proppush").read_bytes()
    with place(kind, box, tmp_path / "a") as a, place(kind, box, tmp_path / "b") as b:
        both = []
        if kind == "tls":
            (box / "both.pem").write_bytes(b"".join((tmp_path / p / "certs/ca.crt").read_bytes() for p in "ab"))
            both = ["--registry-ca", "both.pem"]
        peaks = []
        for size in (MIB, 24 * MIB):
            name = f"team/app{size}:v1"
            up = peak_mib(box, "proppush", "copy", heavy(box, size), a.ref(name), *both)
            across = peak_mib(box, "proppush", "copy", a.ref(name), b.ref(name), *both)
            peaks.append(max(up, across))
            assert asan or peaks[-1] <= 20, peaks
        assert asan or peaks[1] < peaks[0] + 3, peaks


def test_roots_from_a_pipe_and_damaged_ones(box, tmp_path):
    """A pipe is read once, however many connections a command makes."""
    with place("tls", box, tmp_path / "place") as at:
        ca = tmp_path / "place/certs/ca.crt"
        digest = layered(box)
        script = 'proppush copy oci:image:v1 "$1,v2,v3" --registry-ca <(cat "$2") --json'
        r = box.run("bash", "-c", script, "-", at.ref("team/image:v1"), ca)
        assert r.json()["digest"] == digest
        text = ca.read_text()
        for n, (damaged, word) in enumerate(((text[:200] + "\n" + text[-30:], "damaged"), ("", "no PEM"), ("no roots", "no PEM"),
                                             (text + text[:300], "damaged"))):
            (box / f"{n}.pem").write_text(damaged)
            e = box.run("proppush", "inspect", at.ref("team/image:v1"), "--registry-ca", f"{n}.pem", "--json", ok=3).error()
            assert e["code"] == "bad-certificate" and word in e["message"] and f"{n}.pem" in e["message"], e
        # the system's are read when the named ones do not do: damaged ones are told, none at all is no failure
        env = {"SSL_CERT_FILE": str(box / "0.pem")}
        box.run("proppush", "inspect", at.ref("team/image:v1"), "--registry-ca", ca, env=env)
        e = box.run("proppush", "inspect", at.ref("team/image:v1"), "--cert-dir", box.home, "--json", env=env, ok=3).error()
        assert e["code"] == "bad-certificate" and "0.pem" in e["message"]
        box.run("proppush", "inspect", at.ref("team/image:v1"), "--registry-ca", ca, env={"SSL_CERT_FILE": "/dev/null"})
        # and trusted as much as those that are named
        box.run("proppush", "inspect", at.ref("team/image:v1"), "--cert-dir", box.home, env={"SSL_CERT_FILE": str(ca)})
        e = box.run("proppush", "inspect", at.ref("team/image:v1"), "--cert-dir", box.home, "--json", ok=6).error()
        assert e["code"] == "tls"
