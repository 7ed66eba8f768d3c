"""Every form we make, against the installed skopeo and docker-registry: it decrypts and copies them, and we
decrypt what it encrypts, indexes included."""
import hashlib
import io
import json
import pathlib
import sys
import tarfile

import pytest

from conftest import VECTORS

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
import images  # noqa: E402
from images import Layout, layer, named  # noqa: E402

FIX = VECTORS / "ocicrypt"
ADDITION = FIX / "wasm/addition.wasm"
PAIRS = [("rsa.pub.pem", "rsa.pem"), ("ec2.pub.pem", "ec2.pem")]
FORMS = ["propeller", "cncf", "tar"]


def encrypt(box, src, dst, *args):
    return box.run("propenc", "encrypt", src, dst, *args, "--json").json()


def decrypt(box, src, dst, key):
    return box.run("propenc", "decrypt", src, dst, "--key", key, "--json").json()["digest"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("public,private", PAIRS)
def test_skopeo_decrypts_every_form(box, keys, skopeo, form, public, private):
    encrypt(box, ADDITION, "oci:enc:v1", "-r", f"jwe:{keys / public}", "--form", form)
    ours = decrypt(box, "oci:enc:v1", "oci:ours:v1", keys / private)
    skopeo("copy", "--dest-oci-accept-uncompressed-layers", "--decryption-key", keys / private, "oci:enc:v1",
           "oci:theirs:v1")
    layout, entry, doc = named(box / "theirs")
    assert entry["digest"] == ours, "skopeo restores another manifest"
    data = (layout.blobs / doc["layers"][0]["digest"][7:]).read_bytes()
    if form == "tar":
        data = tarfile.open(fileobj=io.BytesIO(data)).extractfile("module.wasm").read()
    assert data == ADDITION.read_bytes()


def test_skopeo_decrypts_pkcs7_of_a_tar_layer(box, keys, skopeo):
    box.run("openssl", "req", "-x509", "-key", keys / "rsa.pem", "-subj", "/CN=reader", "-out", box / "c.pem",
            "-days", "2")
    encrypt(box, ADDITION, "oci:enc:v1", "-r", f"pkcs7:{box / 'c.pem'}", "--form", "tar")
    skopeo("copy", "--dest-oci-accept-uncompressed-layers", "--decryption-key", keys / "rsa.pem", "--decryption-key",
           box / "c.pem", "oci:enc:v1", "oci:theirs:v1")
    layout, _, doc = named(box / "theirs")
    data = (layout.blobs / doc["layers"][0]["digest"][7:]).read_bytes()
    assert tarfile.open(fileobj=io.BytesIO(data)).extractfile("module.wasm").read() == ADDITION.read_bytes()


@pytest.mark.parametrize("form", FORMS)
def test_skopeo_copies_every_form_unchanged(box, keys, skopeo, registry, form):
    """Through a registry, a dir, an archive: the ciphertext and its manifest keep their digests."""
    digest = encrypt(box, ADDITION, "oci:enc:v1", "-r", f"jwe:{keys}/ec.pub.pem", "--form", form)["digest"]
    ref = f"docker://{registry.host}/team/app:{form}"
    skopeo("copy", "--dest-tls-verify=false", "oci:enc:v1", ref)
    skopeo("copy", "--src-tls-verify=false", ref, "dir:d")
    skopeo("copy", "dir:d", "oci-archive:a.tar:v1")
    skopeo("copy", "oci-archive:a.tar:v1", "oci:last:v1")
    assert named(box / "last")[1]["digest"] == digest
    for place in (ref, "dir:d", "oci-archive:a.tar:v1"):
        decrypt(box, place, "oci:back:v1", keys / "ec.pem")


def test_skopeo_reads_our_places(box, keys, skopeo, registry):
    for place in ("dir:d", "oci-archive:a.tar:v1", f"docker://{registry.host}/team/app:v1"):
        encrypt(box, ADDITION, place, "-r", f"jwe:{keys}/ec.pub.pem", "--form", "tar")
        skopeo("copy", "--src-tls-verify=false", "--dest-oci-accept-uncompressed-layers", "--decryption-key",
               keys / "ec.pem", place, "oci:theirs:v1")
        assert named(box / "theirs")[2]["layers"][0]["mediaType"] == images.OCI + "layer.v1.tar"


def test_our_dir_has_the_kinds_of_files_of_skopeos(box, keys, skopeo):
    src = f"oci:{FIX}/04-plain-image-gzip/layout:v1"
    encrypt(box, src, "dir:ours", "-r", f"jwe:{keys}/ec.pub.pem")
    skopeo("copy", "--encryption-key", f"jwe:{keys}/ec.pub.pem", src, "dir:theirs")

    def kinds(folder):
        return sorted("blob" if len(p.name) == 64 else p.name for p in (box / folder).iterdir())
    assert kinds("ours") == kinds("theirs")
    assert (box / "ours/version").read_bytes() == (box / "theirs/version").read_bytes()


@pytest.fixture
def index(box):
    layout = Layout(box / "img")
    platforms = [{"architecture": "amd64", "os": "linux"}, {"architecture": "arm64", "os": "linux", "variant": "v8"}]
    layout.name(layout.index([(layout.image([layer(p["architecture"])]), p) for p in platforms]))
    return layout


def layers_of(layout, doc):
    return [x["digest"] for m in doc["manifests"] for x in layout.read(m)["layers"]]


def test_skopeo_decrypts_our_index(box, keys, skopeo, index):
    encrypt(box, "oci:img:v1", "oci:enc:v1", "-r", f"jwe:{keys}/rsa.pub.pem")
    skopeo("copy", "--all", "--decryption-key", keys / "rsa.pem", "oci:enc:v1", "dir:theirs")
    doc = json.loads((box / "theirs/manifest.json").read_text())
    layout, _, plain = named(box / "img")
    want = layers_of(layout, plain)
    for entry, digest in zip(doc["manifests"], want):
        child = json.loads((box / "theirs" / f"{entry['digest'][7:]}.manifest.json").read_text())
        assert child["layers"][0]["digest"] == digest
        assert hashlib.sha256((box / "theirs" / digest[7:]).read_bytes()).hexdigest() == digest[7:]


def test_we_decrypt_skopeos_index(box, keys, skopeo, index, registry):
    skopeo("copy", "--all", "--encryption-key", f"jwe:{keys}/rsa.pub.pem", "oci:img:v1", "dir:enc")
    decrypt(box, "dir:enc", "oci:back:v1", keys / "rsa.pem")
    layout, _, plain = named(box / "img")
    back, _, doc = named(box / "back")
    assert layers_of(back, doc) == layers_of(layout, plain)
    assert [x["platform"] for x in doc["manifests"]] == [x["platform"] for x in plain["manifests"]]
    skopeo("copy", "--all", "--dest-tls-verify=false", "dir:enc", f"docker://{registry.host}/team/all:v1")
    decrypt(box, f"docker://{registry.host}/team/all:v1", "oci:back2:v1", keys / "rsa.pem")


def test_rewrapped_images_open_with_skopeo(box, keys, skopeo):
    encrypt(box, ADDITION, "oci:enc:v1", "-r", f"jwe:{keys}/rsa.pub.pem", "--form", "tar")
    box.run("propenc", "rewrap", "oci:enc:v1", "--key", keys / "rsa.pem", "-r", f"jwe:{keys}/ec.pub.pem")
    for key in ("rsa.pem", "ec.pem"):
        skopeo("copy", "--dest-oci-accept-uncompressed-layers", "--decryption-key", keys / key, "oci:enc:v1",
               f"oci:{key}:v1")
    # skopeo's own image, which it cannot give another recipient
    skopeo("copy", "--encryption-key", f"jwe:{keys}/rsa.pub.pem", f"oci:{FIX}/04-plain-image-gzip/layout:v1", "oci:s:v1")
    box.run("propenc", "rewrap", "oci:s:v1", "--key", keys / "rsa.pem", "--replace", "-r", f"jwe:{keys}/ec2.pub.pem")
    skopeo("copy", "--decryption-key", keys / "ec2.pem", "oci:s:v1", "oci:t:v1")
    skopeo("copy", "--decryption-key", keys / "rsa.pem", "oci:s:v1", "oci:u:v1", ok=1)
