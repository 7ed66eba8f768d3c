"""Both directions against the installed skopeo: it opens what we encrypt, we open what it does."""
import gzip
import hashlib
import io
import json
import os
import tarfile

import pytest

from conftest import VECTORS, need

FIX = VECTORS / "ocicrypt"
PAIRS = [("rsa.pub.pem", "rsa.pem"), ("ec.pub.pem", "ec.pem"), ("ec2.pub.pem", "ec2.pem")]


def put(blobs, data):
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).write_bytes(data)
    return {"digest": "sha256:" + digest, "size": len(data)}


@pytest.fixture
def image(box):
    """A tar-layer image of two layers, one of them larger than any buffer, as a layout 'plain:v1'."""
    blobs = box / "plain/blobs/sha256"
    blobs.mkdir(parents=True)
    layers, diff_ids = [], []
    for name, size in (("big.bin", 3_000_000), ("addition.wasm", 0)):
        tar = io.BytesIO()
        data = os.urandom(size) or (FIX / "wasm/addition.wasm").read_bytes()
        with tarfile.open(fileobj=tar, mode="w") as t:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
        diff_ids.append("sha256:" + hashlib.sha256(tar.getvalue()).hexdigest())
        layers.append({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                       **put(blobs, gzip.compress(tar.getvalue(), mtime=0))})
    config = put(blobs, json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                                    "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode())
    manifest = put(blobs, json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
        "layers": layers}, separators=(",", ":")).encode())
    (box / "plain/oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (box / "plain/index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", **manifest,
         "annotations": {"org.opencontainers.image.ref.name": "v1"}}]}))
    return layers


def layers_of(layout):
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    return json.loads((layout / "blobs/sha256" / digest[7:]).read_text())["layers"]


def same_blobs(layers, layout):
    got = layers_of(layout)
    assert [(x["mediaType"], x["digest"], x["size"]) for x in got] == \
           [(x["mediaType"], x["digest"], x["size"]) for x in layers]
    for x in got:
        assert hashlib.sha256((layout / "blobs/sha256" / x["digest"][7:]).read_bytes()).hexdigest() == x["digest"][7:]


@pytest.fixture
def p521(box, keys):
    """A P-521 pair beside the recorded keys."""
    box.run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521",
            "-out", keys / "p521.pem")
    box.run("openssl", "pkey", "-in", keys / "p521.pem", "-pubout", "-out", keys / "p521.pub.pem")
    (keys / "p521.pem").chmod(0o600)
    return "p521.pub.pem", "p521.pem"


def test_p521_both_ways(box, skopeo, keys, image, p521):
    public, private = p521
    box.run("propenc", "encrypt", "oci:plain:v1", "oci:enc:v1", "-r", f"jwe:{keys / public}")
    skopeo("copy", "--decryption-key", keys / private, "oci:enc:v1", "oci:out:v1")
    same_blobs(image, box / "out")
    skopeo("copy", "--encryption-key", f"jwe:{keys / public}", "oci:plain:v1", "oci:theirs:v1")
    box.run("propenc", "decrypt", "oci:theirs:v1", "oci:ours:v1", "--key", keys / private)
    same_blobs(image, box / "ours")


def test_rsa_oaep_256_opens_in_skopeo(box, skopeo, keys, image):
    r = box.run("propenc", "encrypt", "oci:plain:v1", "oci:enc:v1", "-r",
                f"jwe:{keys}/rsa.pub.pem:alg=RSA-OAEP-256")
    assert "RSA-OAEP-256 is not read by the Rust library" in r.err
    skopeo("copy", "--decryption-key", keys / "rsa.pem", "oci:enc:v1", "oci:out:v1")
    same_blobs(image, box / "out")


def test_pkcs7_both_ways(box, skopeo, keys, image):
    both = [f"--decryption-key={keys}/rsa.pem", f"--decryption-key={keys}/rsa.crt"]
    box.run("propenc", "encrypt", "oci:plain:v1", "oci:enc:v1", "-r", f"pkcs7:{keys}/rsa.crt")
    skopeo("copy", *both, "oci:enc:v1", "oci:out:v1")
    same_blobs(image, box / "out")
    skopeo("copy", both[0], "oci:enc:v1", "oci:no:v1", ok=1)  # skopeo too needs both
    skopeo("copy", "--encryption-key", f"pkcs7:{keys}/rsa.crt", "oci:plain:v1", "oci:theirs:v1")
    box.run("propenc", "decrypt", "oci:theirs:v1", "oci:ours:v1", *both)
    same_blobs(image, box / "ours")
    r = box.run("propenc", "inspect", "oci:theirs:v1")
    assert "pkcs7  RSA1_5  A128GCM  issuer CN=ocicrypt fixture" in r.out


def test_pkcs7_recipients_beside_each_other_and_beside_jwe(box, skopeo, keys, image):
    """Each certificate has an object of its own; a jwe key stands beside them."""
    box.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/O=ex/CN=second",
            "-keyout", keys / "two.pem", "-out", keys / "two.crt", "-days", "2")
    (keys / "two.pem").chmod(0o600)
    box.run("propenc", "encrypt", "oci:plain:v1", "oci:enc:v1", "-r", f"pkcs7:{keys}/rsa.crt",
            "-r", f"pkcs7:{keys}/two.crt", "-r", f"jwe:{keys}/ec.pub.pem", "--key", keys / "two.pem")
    for n, use in enumerate([("rsa.pem", "rsa.crt"), ("two.pem", "two.crt"), ("ec.pem",)]):
        given = [f"--decryption-key={keys / k}" for k in use]
        skopeo("copy", *given, "oci:enc:v1", f"oci:out{n}:v1")
        same_blobs(image, box / f"out{n}")
        box.run("propenc", "decrypt", "oci:enc:v1", f"oci:ours{n}:v1", *given)
        same_blobs(image, box / f"ours{n}")


def test_openpgp_of_skopeo_is_named_and_refused(box, skopeo, keys, image):
    gpg = need("gpg")
    home = box / "gnupg"
    home.mkdir(mode=0o700)
    env = {"GNUPGHOME": str(home)}
    box.run(gpg, "--batch", "--passphrase", "", "--quick-generate-key", "me@example.com", "rsa2048",
            "encr", "never", env=env)
    skopeo("copy", "--encryption-key", "pgp:me@example.com", "oci:plain:v1", "oci:enc:v1", env=env)
    doc = box.run("propenc", "inspect", "oci:enc:v1", "--json").json()
    scheme = doc["layers"][0]["schemes"][0]
    listed = box.run(gpg, "--with-colons", "--list-keys", env=env).out
    assert scheme["scheme"] == "pgp" and scheme["recipients"][0]["alg"] == "RSA"
    assert scheme["recipients"][0]["key_id"].upper() in listed
    r = box.run("propenc", "decrypt", "oci:enc:v1", "oci:no:v1", "--key", keys / "rsa.pem", "--json", ok=9)
    assert r.error()["code"] == "pgp-unsupported" and not (box / "no").exists()
    ring = box.run(gpg, "--batch", "--export-secret-keys", env=env).stdout
    (box / "ring.gpg").write_bytes(ring)
    (box / "ring.gpg").chmod(0o600)
    r = box.run("propenc", "decrypt", "oci:enc:v1", "oci:no:v1", "--key", "ring.gpg", "--json", ok=9)
    assert r.error()["code"] == "key-unsupported" and "OpenPGP" in r.error()["message"]


@pytest.mark.parametrize("public,private", PAIRS)
def test_skopeo_opens_what_we_encrypt(box, skopeo, keys, image, public, private):
    box.run("propenc", "encrypt", "oci:plain:v1", "oci:enc:v1", "-r", f"jwe:{keys / public}")
    skopeo("copy", "--decryption-key", keys / private, "oci:enc:v1", "oci:out:v1")
    same_blobs(image, box / "out")


@pytest.mark.parametrize("public,private", PAIRS)
def test_we_open_what_skopeo_encrypts(box, skopeo, keys, image, public, private):
    skopeo("copy", "--encryption-key", f"jwe:{keys / public}", "oci:plain:v1", "oci:enc:v1")
    assert all(x["mediaType"].endswith("+encrypted") for x in layers_of(box / "enc"))
    r = box.run("propenc", "decrypt", "oci:enc:v1", "oci:out:v1", "--key", keys / private, "--json")
    same_blobs(image, box / "out")
    plain = json.loads((box / "plain/index.json").read_text())["manifests"][0]["digest"]
    assert r.json()["digest"] == plain


def test_several_recipients_each_open_in_skopeo(box, skopeo, keys, image):
    to = [a for public, _ in PAIRS for a in ("-r", f"jwe:{keys / public}")]
    box.run("propenc", "encrypt", "oci:plain:v1", "oci:enc:v1", *to)
    for n, (_, private) in enumerate(PAIRS):
        skopeo("copy", "--decryption-key", keys / private, "oci:enc:v1", f"oci:out{n}:v1")
        same_blobs(image, box / f"out{n}")
    skopeo("copy", "--decryption-key", keys / "rsa2.pem", "oci:enc:v1", "oci:no:v1", ok=1)


def test_skopeo_opens_and_copies_our_wasm_artifact(box, skopeo, keys):
    """Stock skopeo refuses to make these and opens them; copying moves the same bytes."""
    module = FIX / "wasm/addition.wasm"
    r = box.run("propenc", "encrypt", module, "oci:enc:v1", "-r", f"jwe:{keys}/rsa.pub.pem", "--json").json()
    skopeo("copy", "oci:enc:v1", "dir:copy")
    assert "sha256:" + hashlib.sha256((box / "copy/manifest.json").read_bytes()).hexdigest() == r["digest"]
    skopeo("copy", "--decryption-key", keys / "rsa.pem", "oci:enc:v1", "dir:out")
    layer = json.loads((box / "out/manifest.json").read_text())["layers"][0]
    assert layer["mediaType"] == "application/vnd.wasm.content.layer.v1+wasm"
    assert (box / "out" / layer["digest"][7:]).read_bytes() == module.read_bytes()
    box.run("propenc", "decrypt", "dir:copy", "out.wasm", "--key", keys / "rsa.pem")
    assert (box / "out.wasm").read_bytes() == module.read_bytes()
    # What skopeo made of it is what we make of it.
    ours = box.run("propenc", "decrypt", "oci:enc:v1", "dir:ours", "--key", keys / "rsa.pem", "--json").json()
    assert "sha256:" + hashlib.sha256((box / "out/manifest.json").read_bytes()).hexdigest() == ours["digest"]


def test_skopeo_refuses_our_image_when_a_bit_is_flipped(box, skopeo, keys, image):
    box.run("propenc", "encrypt", "oci:plain:v1", "oci:enc:v1", "-r", f"jwe:{keys}/rsa.pub.pem")
    blob = box / "enc/blobs/sha256" / layers_of(box / "enc")[0]["digest"][7:]
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.chmod(0o600)
    blob.write_bytes(data)
    skopeo("copy", "--decryption-key", keys / "rsa.pem", "oci:enc:v1", "oci:out:v1", ok=1)
    r = box.run("propenc", "decrypt", "oci:enc:v1", "oci:ours:v1", "--key", keys / "rsa.pem", "--json", ok=4)
    assert r.error()["code"] == "digest-mismatch" and not (box / "ours").exists()
