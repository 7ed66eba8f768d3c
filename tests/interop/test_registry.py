"""proppush with Debian's docker-registry (open, with passwords, with tokens, with TLS) and skopeo."""
import hashlib
import json
import pathlib
import subprocess
import sys
import warnings

import pytest

from conftest import BIN, VECTORS, Registry, need

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


def start(folder, monkeypatch, extra="", tls=None):
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


def skopeo(box, *args, ok=True):
    return box.run(need("skopeo"), "--insecure-policy", *args, ok=ok)


def test_wasm_to_oci_artifact_through_skopeo(box, registry):
    ref = f"docker://{registry.host}/team/addition:v1"
    assert box.run("proppush", "push", ADDITION, ref, "--json").json() == {
        "version": 1, "source": str(ADDITION), "reference": f"{registry.host}/team/addition:v1", "digest": GOLDEN,
        "pinned": f"{registry.host}/team/addition@{GOLDEN}"}
    raw = skopeo(box, "inspect", "--raw", "--tls-verify=false", ref).stdout
    assert raw == (FIX / "01-plain-wasm-to-oci/layout/blobs" / GOLDEN.replace(":", "/")).read_bytes()
    skopeo(box, "copy", "--src-tls-verify=false", ref, f"dir:{box.path}/d")
    layer = json.loads(raw)["layers"][0]["digest"].split(":")[1]
    assert (box / "d" / layer).read_bytes() == ADDITION.read_bytes()


@pytest.mark.parametrize("case", ["01-plain-wasm-to-oci", "02-plain-oras", "03-plain-cncf", "05-plain-image-tar",
                                  "13-jwe-multi", "41-wasm-jwe-rsa", "43-wasm-jwe-rust"])
def test_both_directions(box, registry, case):
    """skopeo pushes, we pull; we push, skopeo pulls; every byte stays."""
    index = json.loads((FIX / case / "layout/index.json").read_bytes())
    digest = index["manifests"][0]["digest"]
    theirs, ours = f"docker://{registry.host}/theirs/x:v1", f"docker://{registry.host}/ours/x:v1"
    skopeo(box, "copy", "--preserve-digests", "--dest-tls-verify=false", f"oci:{FIX}/{case}/layout", theirs)
    assert box.run("proppush", "copy", theirs, "oci:pulled:v1", "--json").json()["digest"] == digest
    assert box.run("proppush", "copy", "oci:pulled:v1", ours, "--json").json()["digest"] == digest
    skopeo(box, "copy", "--preserve-digests", "--src-tls-verify=false", ours, f"oci:{box.path}/back:v1")
    assert json.loads((box / "back/index.json").read_bytes())["manifests"][0]["digest"] == digest
    for f in (FIX / case / "layout/blobs/sha256").iterdir():
        for copy in ("pulled", "back"):
            assert (box / copy / "blobs/sha256" / f.name).read_bytes() == f.read_bytes()
    # and folders and archives as skopeo reads them
    box.run("proppush", "copy", ours, "dir:flat")
    box.run("proppush", "copy", ours, "oci-archive:it.tar:v1")
    for source in (f"dir:{box.path}/flat", f"oci-archive:{box.path}/it.tar:v1", f"oci:{box.path}/pulled:v1"):
        raw = skopeo(box, "inspect", "--raw", source).stdout
        assert "sha256:" + hashlib.sha256(raw).hexdigest() == digest


def test_tags_and_digests(box, registry):
    name = f"docker://{registry.host}/team/app"
    box.run("proppush", "push", ADDITION, f"{name}:v1")
    box.run("proppush", "tag", f"{name}:v1", "stable")
    box.run("proppush", "tag", f"{name}@{GOLDEN}", "pinned")
    assert sorted(box.run("proppush", "list-tags", name).out.split()) == ["pinned", "stable", "v1"]
    listed = json.loads(skopeo(box, "list-tags", "--tls-verify=false", name).stdout)
    assert sorted(listed["Tags"]) == ["pinned", "stable", "v1"]
    r = box.run("proppush", "push", f"oci:{FIX}/41-wasm-jwe-rsa/layout", f"{name}:v1", "--json").json()
    assert box.run("proppush", "inspect", f"{name}:v1", "--json").json()["digest"] == r["digest"]
    assert box.run("proppush", "inspect", f"{name}:stable", "--json").json()["digest"] == GOLDEN
    e = box.run("proppush", "push", ADDITION, f"{name}:v9@{r['digest']}", "--json", ok=4)
    assert e.error()["code"] == "digest-mismatch"
    assert box.run("proppush", "inspect", f"{name}:absent", "--json", ok=8).error()["code"] == "image-not-found"
    e = box.run("proppush", "list-tags", f"docker://{registry.host}/no/such", "--json", ok=8)
    assert e.error()["code"] == "repository-not-found"
    # without a tag: by digest only
    box.run("proppush", "push", ADDITION, f"docker://{registry.host}/bare@{GOLDEN}")
    box.run("proppush", "inspect", f"docker://{registry.host}/bare@{GOLDEN}")


def test_empty_and_large_blobs(box, registry):
    """A layer of no bytes, and one of many pieces from a pipe (length unknown: chunked coding)."""
    name = f"docker://{registry.host}/team/sizes"
    body = b"\0asm\1\0\0\0" + hashlib.shake_128(b"x").digest(5 << 20)
    r = box.run("proppush", "push", "-", f"{name}:big", "--json", stdin=body).json()
    box.run("proppush", "pull", f"{name}@{r['digest']}", "big.wasm")
    assert (box / "big.wasm").read_bytes() == body
    layout = box / "e"
    box.run("proppush", "push", ADDITION, "oci:e:v1")
    empty = hashlib.sha256(b"").hexdigest()
    manifest = json.dumps({"schemaVersion": 2, "config": {"mediaType": "application/x", "digest": f"sha256:{empty}", "size": 0},
                           "layers": [{"mediaType": "application/x", "digest": f"sha256:{empty}", "size": 0}]}).encode()
    digest = hashlib.sha256(manifest).hexdigest()
    (layout / "blobs/sha256" / empty).write_bytes(b"")
    (layout / "blobs/sha256" / digest).write_bytes(manifest)
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": f"sha256:{digest}", "size": len(manifest)}]}))
    box.run("proppush", "copy", "oci:e", f"{name}:empty")
    box.run("proppush", "copy", f"{name}:empty", "oci:back:v1")
    assert (box / "back/blobs/sha256" / empty).read_bytes() == b""


def test_pushes_side_by_side(box, registry):
    procs = [subprocess.Popen([BIN / "proppush", "push", ADDITION, f"docker://{registry.host}/many/m{i}:v1"], env=box.env,
                              stdout=subprocess.DEVNULL) for i in range(20)]
    assert [p.wait(60) for p in procs] == [0] * 20


def login(box, host, password, *more, ok=True):
    return box.run("proppush", "login", "--username", "alice", "--password-stdin", host, *more, stdin=password, ok=ok)


def test_passwords(box, tmp_path, monkeypatch):
    if crypt is None:
        pytest.skip("python has no crypt module to write an htpasswd file with")
    htpasswd = tmp_path / "htpasswd"
    htpasswd.write_text("alice:" + crypt.crypt(PASSWORD, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)) + "\n")
    r = start(tmp_path / "auth", monkeypatch, f"auth: {{htpasswd: {{realm: test, path: {htpasswd}}}}}\n")
    try:
        ref = f"docker://{r.host}/team/addition:v1"
        assert box.run("proppush", "push", ADDITION, ref, "--json", ok=5).error()["code"] == "unauthorized"
        assert login(box, r.host, "wrong", "--json", ok=5).error()["code"] == "unauthorized"
        login(box, r.host, PASSWORD)
        assert box.run("proppush", "push", ADDITION, ref, "--json").json()["digest"] == GOLDEN
        box.run("proppush", "pull", ref, "out.wasm")
        # skopeo reads our file, and we read skopeo's
        skopeo(box, "inspect", "--raw", "--tls-verify=false", ref)
        box.run("proppush", "logout", r.host)
        skopeo(box, "inspect", "--raw", "--tls-verify=false", ref, ok=1)
        box.run(need("skopeo"), "login", "--tls-verify=false", "-u", "alice", "--password-stdin", r.host, stdin=PASSWORD)
        box.run("proppush", "inspect", ref)
        box.run("proppush", "logout", r.host)
        skopeo(box, "inspect", "--raw", "--tls-verify=false", ref, ok=1)
    finally:
        r.stop()


def test_tokens(box, tmp_path, monkeypatch):
    need("openssl")
    server = token_server.TokenServer(tmp_path, users={"alice": PASSWORD}, identity={"refresh-1": "alice"}, anonymous={"pull"})
    r = start(tmp_path / "token", monkeypatch, server.registry_auth())
    try:
        ref = f"docker://{r.host}/team/addition:v1"
        e = box.run("proppush", "push", ADDITION, ref, "--json", ok=5)  # anonymous may only pull
        assert e.error()["code"] == "unauthorized"
        assert login(box, r.host, "wrong", "--json", ok=5).error()["code"] == "unauthorized"
        login(box, r.host, PASSWORD)
        assert "scope" not in server.requests[-1][1]
        server.requests.clear()
        box.run("proppush", "push", ADDITION, ref)
        # one token for the whole push, for pulling and pushing, and the password went only there
        assert len(server.requests) == 1
        assert server.requests[0][1]["scope"] == ["repository:team/addition:pull,push"]
        assert server.requests[0][1]["service"] == ["reg.test"] and server.requests[0][1]["account"] == ["alice"]
        box.run("proppush", "tag", ref, "v2")
        box.run("proppush", "list-tags", f"docker://{r.host}/team/addition")
        box.run("proppush", "logout", r.host)
        server.requests.clear()
        box.run("proppush", "pull", ref, "out.wasm")  # anonymous
        assert [q[2] for q in server.requests] == [None]
        # an identity token goes by POST
        auth = box / "id.json"
        auth.write_text(json.dumps({"auths": {r.host: {"auth": "YWxpY2U6", "identitytoken": "refresh-1"}}}))
        server.requests.clear()
        box.run("proppush", "push", f"oci:{FIX}/41-wasm-jwe-rsa/layout", ref, "--authfile", auth)
        method, form, authorization = server.requests[0]
        assert method == "POST" and authorization is None and form["refresh_token"] == ["refresh-1"]
        auth.write_text(json.dumps({"auths": {r.host: {"identitytoken": "refresh-9"}}}))
        e = box.run("proppush", "pull", ref, "x.wasm", "--authfile", auth, "--json", ok=5)
        assert e.error()["code"] == "unauthorized" and "refresh-9" not in e.err
        server.post_status = 404
        e = box.run("proppush", "pull", ref, "x.wasm", "--authfile", auth, "--json", ok=9)
        assert e.error()["code"] == "identity-token"
        # a ready bearer token
        token = server.token("alice", ["repository:team/addition:pull"])["token"]
        auth.write_text(json.dumps({"auths": {r.host: {"registrytoken": token}}}))
        server.requests.clear()
        box.run("proppush", "inspect", ref, "--authfile", auth)
        assert server.requests == []
    finally:
        r.stop()
        server.close()


def test_tls(box, tmp_path, monkeypatch):
    need("openssl")
    cert, key = token_server.make_certificate(tmp_path)
    r = start(tmp_path / "tls", monkeypatch, tls=(cert, key))
    try:
        ref = f"docker://{r.host}/team/addition:v1"
        e = box.run("proppush", "push", ADDITION, ref, "--json", ok=6)  # loopback is plain HTTP unless told
        assert "--registry-ca" in e.error()["hint"]
        box.run("proppush", "push", ADDITION, ref, "--registry-ca", cert)
        certs = box / "certs"
        certs.mkdir()
        (certs / "ca.crt").write_bytes(cert.read_bytes())
        box.run("proppush", "pull", ref, "out.wasm", "--cert-dir", certs)
        usual = box.home / ".config/containers/certs.d" / r.host
        usual.mkdir(parents=True)
        (usual / "ca.crt").write_bytes(cert.read_bytes())
        box.run("proppush", "inspect", ref)
        # another authority's certificate is not enough, nor the right one for another name
        other, _ = token_server.make_certificate(tmp_path, "other")
        (usual / "ca.crt").write_bytes(other.read_bytes())
        e = box.run("proppush", "inspect", ref, "--json", ok=6)
        assert e.error()["code"] == "tls"
        wrong = ref.replace("127.0.0.1", "127.0.0.2")
        e = box.run("proppush", "inspect", wrong, "--registry-ca", cert, "--json", ok=6)
        assert e.error()["code"] in ("tls", "connect")
        (usual / "half.cert").write_bytes(cert.read_bytes())
        assert box.run("proppush", "inspect", ref, "--json", ok=3).error()["code"] == "bad-certificate"
        e = box.run("proppush", "inspect", ref, "--registry-ca", key, "--cert-dir", certs, "--json", ok=3)
        assert e.error()["code"] == "bad-certificate"
    finally:
        r.stop()
