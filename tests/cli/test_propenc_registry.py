"""propenc against a real registry, and what interrupted runs leave behind."""
import hashlib
import json
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from conftest import BIN, VECTORS
from helpers.fault_server import FaultServer, status

FIX = VECTORS / "ocicrypt"
ADDITION = FIX / "wasm/addition.wasm"
ACCEPT = {"Accept": "application/vnd.oci.image.manifest.v1+json"}


def agent(keys):
    return f"provider:attestation-agent:keypath={keys}/kek32.bin::keyid=kbs:///default/key/x"


def fetch(registry, path):
    request = urllib.request.Request(f"http://{registry.host}/v2/{path}", headers=ACCEPT)
    return urllib.request.urlopen(request, timeout=20).read()


def test_round_trip_through_a_registry(box, keys, registry):
    ref = f"docker://{registry.host}/team/addition:encrypted"
    r = box.run("propenc", "encrypt", ADDITION, ref, "-r", agent(keys), "--json").json()
    manifest = fetch(registry, "team/addition/manifests/encrypted")
    assert r["digest"] == "sha256:" + hashlib.sha256(manifest).hexdigest()
    assert ADDITION.read_bytes() not in fetch(registry, f"team/addition/blobs/{r['layer']}")
    box.run("propenc", "decrypt", ref, "out.wasm", "--key", keys / "kek32.bin")
    assert (box / "out.wasm").read_bytes() == ADDITION.read_bytes()
    pinned = f"docker://{registry.host}/team/addition@{r['digest']}"
    assert box.run("propenc", "inspect", pinned, "--json").json()["encrypted"] is True
    box.run("propenc", "decrypt", ref, f"docker://{registry.host}/team/addition:plain", "--key", keys / "kek32.bin")
    layer = json.loads(fetch(registry, "team/addition/manifests/plain"))["layers"][0]
    assert fetch(registry, f"team/addition/blobs/{layer['digest']}") == ADDITION.read_bytes()


@pytest.mark.parametrize("case", ["bad-hmac", "bad-ciphertext"])
def test_no_plaintext_goes_to_a_registry_before_it_is_verified(box, keys, case):
    (box / "tmp").mkdir()
    with FaultServer() as server:
        r = box.run("propenc", "decrypt", f"oci:{FIX}/60-negative/{case}:v1", f"docker://{server.host}/a/b:v1",
                    "--key", keys / "rsa.pem", "--json", ok=4, env={"TMPDIR": str(box / "tmp")})
        assert r.error()["code"] in ("hmac-mismatch", "digest-mismatch")
        assert not [q for q in server.requests if q.method in ("POST", "PATCH", "PUT")]
    assert not list((box / "tmp").iterdir())


def test_a_layer_of_several_chunks_is_decrypted_into_a_registry(box, keys):
    data = b"\0asm\1\0\0\0" + b"".join(b"%08d " % i for i in range(400000))
    (box / "big.wasm").write_bytes(data)
    box.run("propenc", "encrypt", "big.wasm", "oci:enc:v1", "-r", agent(keys))
    with FaultServer() as server:
        box.run("propenc", "decrypt", "oci:enc:v1", f"docker://{server.host}/a/b:v1", "--key", keys / "kek32.bin")
        assert data in server.blobs.values()


def test_image_from_a_folder_to_a_registry_and_back_keeps_its_manifest(box, keys, registry):
    ref = f"docker://{registry.host}/team/image:v1"
    box.run("propenc", "encrypt", f"oci:{FIX}/04-plain-image-gzip/layout:v1", ref, "-r", f"jwe:{keys}/ec.pub.pem")
    r = box.run("propenc", "decrypt", ref, "oci:back:v1", "--key", keys / "ec.pem", "--json").json()
    index = json.loads((FIX / "04-plain-image-gzip/layout/index.json").read_text())
    assert r["digest"] == index["manifests"][0]["digest"]


def test_a_tag_does_not_move_when_encryption_fails(box, keys, registry):
    ref = f"docker://{registry.host}/team/addition:v1"
    before = box.run("propenc", "encrypt", ADDITION, ref, "-r", agent(keys), "--json").json()["digest"]
    source = box / "img"
    shutil.copytree(FIX / "04-plain-image-gzip/layout", source)
    blob = source / "blobs/sha256/c4003c1e5ef06678e7da5fab8ea0504c218fbb26792091b3b16285cc9cdfff77"
    data = bytearray(blob.read_bytes())
    data[9] ^= 1
    blob.chmod(0o600)
    blob.write_bytes(data)
    r = box.run("propenc", "encrypt", f"oci:{source}:v1", ref, "-r", agent(keys), "--json", ok=4)
    assert r.error()["code"] == "digest-mismatch"
    assert "sha256:" + hashlib.sha256(fetch(registry, "team/addition/manifests/v1")).hexdigest() == before
    with pytest.raises(urllib.error.HTTPError):
        fetch(registry, "team/addition/manifests/latest")


def test_missing_images_and_servers(box, keys, registry):
    r = box.run("propenc", "decrypt", f"docker://{registry.host}/none/none:v1", "o.wasm", "--key",
                keys / "kek32.bin", "--json", ok=8)
    assert r.error()["code"] == "image-not-found"
    registry.stop()
    box.run("propenc", "decrypt", f"docker://{registry.host}/a/b:v1", "o.wasm", "--key", keys / "kek32.bin", ok=6)
    assert not (box / "o.wasm").exists()


@pytest.mark.parametrize("sig,status", [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_an_interrupted_run_leaves_nothing(box, keys, sig, status):
    """Endless input, so that the signal always comes in the middle."""
    with open("/dev/zero", "rb") as zero:
        p = subprocess.Popen([BIN / "propenc", "encrypt", "-", "oci:out:v1", "-r", agent(keys)], stdin=zero,
                             stderr=subprocess.PIPE, env=box.env, cwd=box.path)
        deadline = time.monotonic() + 20
        while not (box / "out").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        p.send_signal(sig)
        err = p.communicate(timeout=30)[1]
    assert p.returncode == status, err
    assert b"interrupted" in err
    assert not (box / "out").exists()


def test_a_killed_run_leaves_no_named_plaintext(box, keys):
    """SIGKILL while the ciphertext is still arriving: there is no output file and no image."""
    with open(box / "big.wasm", "wb") as f:
        f.write(b"\0asm\1\0\0\0")
        f.truncate(64 << 20)
    box.run("propenc", "encrypt", "big.wasm", "oci:enc:v1", "-r", agent(keys))
    before = sorted(p.name for p in box.path.iterdir())
    for delay in (0.0, 0.01, 0.03):
        p = subprocess.Popen([BIN / "propenc", "decrypt", "oci:enc:v1", "out.wasm", "--key", keys / "kek32.bin"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=box.env, cwd=box.path)
        time.sleep(delay)
        p.kill()
        p.wait()
        out = box / "out.wasm"
        if out.exists():
            assert out.read_bytes() == (box / "big.wasm").read_bytes()
            out.unlink()
        assert sorted(x.name for x in box.path.iterdir()) == before


def test_a_digest_is_no_destination(box, keys):
    with FaultServer() as server:
        r = box.run("propenc", "encrypt", ADDITION, f"docker://{server.host}/a/b@sha256:{'0' * 64}", "-r", agent(keys),
                    "--json", ok=2)
        assert r.error()["code"] == "digest-destination" and not server.requests


@pytest.mark.parametrize("code", ["DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN"])
@pytest.mark.parametrize("path", [r"/manifests/sha256", r"/manifests/v1"])
def test_a_shared_blob_in_motion_is_waited_for(box, keys, code, path):
    """docker-registry loses sight of '{}' for a moment when another push writes it at the same time."""
    body = json.dumps({"errors": [{"code": code, "message": "blob unknown"}]}).encode()
    with FaultServer() as server:
        server.fault("PUT", path, status(400, body), times=2)
        ref = f"docker://{server.host}/team/app:v1"
        box.run("propenc", "encrypt", ADDITION, ref, "-r", agent(keys))
        assert len([r for r in server.requests if r.method == "PUT" and "/manifests/" in r.path]) == 4
        server.fault("PUT", path, status(400, body), times=99)
        box.run("propenc", "encrypt", ADDITION, ref.replace("app", "b"), "-r", agent(keys), ok=6)


def test_a_manifest_that_is_refused_is_not_sent_again(box, keys):
    body = json.dumps({"errors": [{"code": "MANIFEST_INVALID", "message": "no"}]}).encode()
    with FaultServer() as server:
        server.fault("PUT", r"/manifests/", status(400, body), times=99)
        box.run("propenc", "encrypt", ADDITION, f"docker://{server.host}/team/app:v1", "-r", agent(keys), ok=6)
        assert len([r for r in server.requests if r.method == "PUT" and "/manifests/" in r.path]) == 1
