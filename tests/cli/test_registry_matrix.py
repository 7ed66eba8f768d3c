"""Every way a registry can fail, against every verb that talks to one: it is done and right, or refused with its
own code, with no tag, no file and no upload left."""
import hashlib
import json
import shutil

import pytest

from conftest import VECTORS
from helpers import fault_server as fs

FIX = VECTORS / "ocicrypt"
MIB = 1 << 20
NOW = {"Retry-After": "0"}
WRONG = "sha256:" + "0" * 64
MODULE = (b"\0asm\1\0\0\0" + hashlib.shake_256(b"module").digest(MIB) * 3)[:2 * MIB + 77]

# name: (method, path, fault, times, exit status or 0, error code)
UP = {
    "PATCH cut": ("PATCH", ".", fs.cut_patch(MIB), 1, 0, None),
    "PATCH cut, nothing kept": ("PATCH", ".", fs.cut_request(MIB), 1, 0, None),
    "PATCH cut always": ("PATCH", ".", fs.cut_request(10), 99, 6, "reset"),
    "PATCH stalls": ("PATCH", ".", fs.stall, 99, 6, "timeout"),
    "PATCH done, answer lost": ("PATCH", ".", fs.lost_answer, 1, 0, None),
    "PATCH answered with a cut body": ("PATCH", ".", fs.lie_length(7), 1, 0, None),
    "PATCH 401 without a way": ("PATCH", ".", fs.status(401, b"{}"), 99, 5, "unauthorized"),
    "PATCH 416": ("PATCH", ".", fs.status(416), 1, 0, None),
    "PATCH 429": ("PATCH", ".", fs.status(429, b"", NOW), 2, 0, None),
    "PATCH 429 always": ("PATCH", ".", fs.status(429, b"", NOW), 99, 6, "rate-limited"),
    "PATCH 500": ("PATCH", ".", fs.status(500, b"", NOW), 1, 0, None),
    "PATCH 502 early": ("PATCH", ".", fs.early_drained(502, b"", NOW), 1, 0, None),
    "PATCH 502 always": ("PATCH", ".", fs.status(502, b"", NOW), 99, 6, "registry-error"),
    "PATCH says more than was sent": ("PATCH", ".", fs.add_headers(Range=f"0-{99 * MIB}"), 9, 6, "bad-range"),
    "PATCH says less than was sent": ("PATCH", ".", fs.add_headers(Range="0-9"), 1, 0, None),
    "session lost": ("PATCH", ".", fs.forget, 1, 0, None),
    "session lost always": ("PATCH", ".", fs.forget, 99, 8, "upload-session-lost"),
    "POST 500": ("POST", "/uploads/", fs.status(500, b"", NOW), 1, 0, None),
    "POST 403": ("POST", "/uploads/", fs.status(403), 99, 5, "denied"),
    "POST drop": ("POST", "/uploads/", fs.drop, 1, 0, None),
    "commit lost": ("PUT", "/uploads/", fs.lost_answer, 1, 0, None),
    "commit not done": ("PUT", "/uploads/", fs.drop, 1, 0, None),
    "commit 400": ("PUT", "/uploads/", fs.status(400), 99, 6, "registry-refused"),
    "commit 502": ("PUT", "/uploads/", fs.status(502, b"", NOW), 1, 0, None),
    "commit stalls": ("PUT", "/uploads/", fs.stall, 99, 6, "timeout"),
    "commit under another digest": ("PUT", "/uploads/", fs.add_headers(Docker_Content_Digest=WRONG), 99, 4, "digest-mismatch"),
    "HEAD 500": ("HEAD", "/blobs/", fs.status(500, b"", NOW), 1, 0, None),
    "HEAD drop": ("HEAD", "/blobs/", fs.drop, 1, 0, None),
    "manifest lost": ("PUT", "/manifests/sha256", fs.lost_answer, 1, 0, None),
    "manifest 500": ("PUT", "/manifests/sha256", fs.status(500, b"", NOW), 1, 0, None),
    "manifest 400": ("PUT", "/manifests/sha256", fs.status(400), 99, 6, "registry-refused"),
    "manifest under another digest": ("PUT", "/manifests/", fs.add_headers(Docker_Content_Digest=WRONG), 99, 4, "digest-mismatch"),
    "tag lost": ("PUT", "/manifests/v1", fs.lost_answer, 1, 0, None),
    "tag 403": ("PUT", "/manifests/v1", fs.status(403), 99, 5, "denied"),
    "tag 502": ("PUT", "/manifests/v1", fs.status(502, b"", NOW), 1, 0, None),
}
DOWN = {
    "blob cut": ("GET", "/blobs/", fs.cut(1000), 1, 0, None),
    "blob cut always": ("GET", "/blobs/", fs.cut(0), 99, 6, "blob-truncated"),
    "blob stalls": ("GET", "/blobs/", fs.stall_after(1000), 99, 6, "timeout"),
    "blob longer than stated": ("GET", "/blobs/", fs.lie_length(5), 99, 4, "size-mismatch"),
    "blob shorter than stated": ("GET", "/blobs/", fs.lie_length(-5), 99, 4, "size-mismatch"),
    "blob is another": ("GET", "/blobs/", fs.replace_body(lambda b: b[:-1] + bytes([b[-1] ^ 1])), 99, 4, "digest-mismatch"),
    "blob 401": ("GET", "/blobs/", fs.status(401), 99, 5, "unauthorized"),
    "blob 404": ("GET", "/blobs/", fs.status(404), 99, 8, "blob-not-found"),
    "blob 416": ("GET", "/blobs/", fs.status(416), 99, 6, "registry-refused"),
    "blob 429": ("GET", "/blobs/", fs.status(429, b"", NOW), 2, 0, None),
    "blob 500": ("GET", "/blobs/", fs.status(500, b"", NOW), 1, 0, None),
    "blob 502 always": ("GET", "/blobs/", fs.status(502, b"", NOW), 99, 6, "registry-error"),
    "blob drop": ("GET", "/blobs/", fs.drop, 1, 0, None),
    "manifest cut": ("GET", "/manifests/", fs.cut(9), 1, 0, None),
    "manifest is another": ("GET", "/manifests/", fs.replace_body(lambda b: b.replace(b":2", b":3")), 99, 4, "digest-mismatch"),
    "manifest 503": ("GET", "/manifests/", fs.status(503, b"", NOW), 1, 0, None),
    "manifest stalls": ("GET", "/manifests/", fs.stall, 99, 6, "timeout"),
}


@pytest.fixture
def server():
    with fs.FaultServer() as s:
        yield s


def put_image(server, layers):
    config = b'{"architecture":"amd64"}'
    kinds = [("application/vnd.oci.image.config.v1+json", config)]
    kinds += [("application/vnd.oci.image.layer.v1.tar", d) for d in layers]
    descriptors = [{"mediaType": k, "digest": fs.digest_of(d), "size": len(d)} for k, d in kinds]
    server.blobs.update({fs.digest_of(d): d for _, d in kinds})
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": descriptors[0], "layers": descriptors[1:]},
                          separators=(",", ":")).encode()
    server.manifests["team/app", "v1"] = server.manifests["team/app", fs.digest_of(manifest)] = manifest, kind


def prepare(box, verb, keys):
    """The command line before its destination, and the options after it."""
    (box / "m.wasm").write_bytes(MODULE)
    if verb == "copy":
        with fs.FaultServer() as other:
            put_image(other, [MODULE, MODULE[:MIB + MIB // 2], MODULE[:100]])
            box.run("proppush", "copy", f"docker://{other.host}/team/app:v1", "oci:src:v1")
        return ["proppush", "copy", "oci:src:v1"], []
    if verb == "encrypt":
        return ["propenc", "encrypt", "m.wasm"], ["-r", f"jwe:{keys}/ec.pub.pem"]
    return ["proppush", "push", "m.wasm"], []


@pytest.mark.parametrize("verb", ["push", "copy", "encrypt"])
def test_uploads(box, server, keys, verb):
    head, tail = prepare(box, verb, keys)
    for name, (method, path, fault, times, code, id) in UP.items():
        for store in (server.blobs, server.manifests, server.uploads):
            store.clear()
        server.rules.clear()
        server.fault(method, path, fault, times)
        r = box.run(*head, f"docker://{server.host}/team/app:v1", *tail, "--registry-timeout", "500ms", "--json", ok=None)
        # what was encrypted and sent is gone: it is encrypted anew some times, then the cause is told
        if verb == "encrypt" and r.returncode == 6 and r.error()["code"] == "upload-lost":
            assert times > 1 and any(w in r.error()["message"] for w in ("answered", "silent", "broke")), (name, r.err)
            code, id = 6, "upload-lost"
        assert r.returncode == code, (name, r.err, server.requests[-8:])
        if code:
            assert r.error()["code"] == id and r.stdout == b"", (name, r.err)
            assert ("team/app", "v1") not in server.manifests or "manifest under another" in name, name
        assert server.uploads == {}, name
        if code == 0:
            assert fs.digest_of(server.manifests["team/app", "v1"][0]) == r.json()["digest"], name
            for d in json.loads(server.manifests["team/app", "v1"][0])["layers"]:
                assert len(server.blobs[d["digest"]]) == d["size"], name
    # the blobs are what they should be: it is enough to look at the last one that was made whole
    server.rules.clear()
    box.run(*head, f"docker://{server.host}/team/app:v1", *tail)
    if verb == "encrypt":
        box.run("propenc", "decrypt", f"docker://{server.host}/team/app:v1", "out.wasm", "--key", keys / "ec.pem")
        assert (box / "out.wasm").read_bytes() == MODULE


@pytest.mark.parametrize("verb", ["pull", "copy", "decrypt"])
def test_downloads(box, server, keys, verb):
    where, key = f"docker://{server.host}/team/app:v1", []
    if verb == "decrypt":
        (box / "m.wasm").write_bytes(MODULE)
        box.run("propenc", "encrypt", "m.wasm", where, "-r", f"jwe:{keys}/ec.pub.pem")
        head, key, out = ["propenc", "decrypt"], ["--key", keys / "ec.pem"], "out.wasm"
    elif verb == "pull":
        server.put_image("team/app", "v1", MODULE)
        head, out = ["proppush", "pull"], "out.wasm"
    else:
        put_image(server, [MODULE, MODULE[:MIB], MODULE[:100]])
        head, out = ["proppush", "copy"], "oci:out.wasm:v1"
    for name, (method, path, fault, times, code, id) in DOWN.items():
        server.rules.clear()
        server.fault(method, path, fault, times)
        r = box.run(*head, where, out, *key, "--registry-timeout", "500ms", "--json", ok=None)
        assert r.returncode == code, (name, r.err, server.requests[-8:])
        if code:
            assert r.error()["code"] == id and r.stdout == b"", (name, r.err)
            assert not (box / "out.wasm").exists(), name
            assert not [f.name for f in box.path.iterdir() if f.name.startswith((".", "out"))], name
        elif verb == "copy":
            layer = box / "out.wasm/blobs" / fs.digest_of(MODULE).replace(":", "/")
            assert layer.read_bytes() == MODULE, name
            shutil.rmtree(box / "out.wasm")
        else:
            assert (box / "out.wasm").read_bytes() == MODULE, name
            (box / "out.wasm").unlink()


def test_publish(box, server, kbs):
    """As far as publish uploads through the same client: a failure leaves no tag, and a success a right one."""
    (box / "m.wasm").write_bytes(MODULE)
    for i, (name, (method, path, fault, times, code, id)) in enumerate(UP.items()):
        if times > 1 and "stalls" not in name and "403" not in name and "lost always" not in name:
            continue
        path = path.replace("v1", "enc")
        server.rules.clear()
        server.fault(method, path, fault, times)
        app = f"team/app{i}"
        r = box.run("proppush", "publish", "m.wasm", f"docker://{server.host}/{app}:enc", "--kbs", kbs.url, "--admin-key",
                    kbs.admin_key, "--kid", f"team/key/k{i}", "--registry-timeout", "1s", "--json", ok=None)
        server.rules.clear()
        assert (r.returncode == 0) == (code == 0), (name, r.err, server.requests[-8:])
        if code:
            assert r.error()["code"], name
            assert (app, "enc") not in server.manifests, name
        else:
            assert fs.digest_of(server.manifests[app, "enc"][0]) == r.json()["digest"], name
        assert server.uploads == {}, name
