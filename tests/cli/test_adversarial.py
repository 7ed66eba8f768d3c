"""Damaged and hostile encrypted images, through the whole tool: refused with the cause, and the plaintext
is nowhere: not in the output, not in the folder, not in TMPDIR, not on stdout. The same bit by bit and in
memory: tests/unit/test_ocicrypt_damage.c."""
import base64
import hashlib
import json
import re
import shutil

import pytest

from conftest import BIN, need, shared

MARK = b"the plaintext that nobody must see "
MODULE = b"\0asm\1\0\0\0" + b"".join(b"%08d " % i + MARK for i in range(8000))  # three chunks
PUBOPTS = "org.opencontainers.image.enc.pubopts"
AGENT = "org.opencontainers.image.enc.keys.provider.attestation-agent"


class Image:
    """A layout with one encrypted module, to be damaged."""

    def __init__(self, box, name, kek="kek.bin"):
        self.path = box / name
        (box / "m.wasm").write_bytes(MODULE)
        box.run("propenc", "encrypt", "m.wasm", f"oci:{name}:v1", "-r",
                f"provider:attestation-agent:keypath={kek}::keyid=kbs:///default/key/x")
        (box / "m.wasm").unlink()
        self.index = json.loads((self.path / "index.json").read_bytes())
        self.manifest = json.loads(self.blob(self.index["manifests"][0]["digest"]).read_bytes())
        self.layer = self.manifest["layers"][0]
        self.notes = self.layer["annotations"]

    def blob(self, digest):
        return self.path / "blobs/sha256" / digest[7:]

    def data(self):
        return self.blob(self.layer["digest"]).read_bytes()

    def overwrite(self, data):
        """Other bytes under the old digest."""
        self.blob(self.layer["digest"]).write_bytes(data)

    def put(self, data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blob(digest).write_bytes(data)
        return {"digest": digest, "size": len(data)}

    def replace(self, data):
        """Another layer, with everything that leads to it named anew, as an attacker would."""
        self.layer.update(self.put(data))

    def save(self, text=None):
        self.index["manifests"][0].update(self.put(text or json.dumps(self.manifest).encode()))
        (self.path / "index.json").write_text(json.dumps(self.index))

    def options(self):
        return json.loads(base64.b64decode(self.notes[PUBOPTS]))

    def annotate(self, key, doc):
        text = doc if isinstance(doc, bytes) else json.dumps(doc).encode()
        self.notes[key] = base64.b64encode(text).decode()


def flip(data, bit):
    out = bytearray(data)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


def layer_bit(i, _):
    i.overwrite(flip(i.data(), 8 * 200000 + 3))


def layer_bit_named_anew(i, _):
    i.replace(flip(i.data(), 8 * 200000 + 3))


def layer_last_bit(i, _):
    i.replace(flip(i.data(), 8 * len(i.data()) - 1))


def layer_cut(i, _):
    i.overwrite(i.data()[:-1])


def layer_cut_named_anew(i, _):
    i.replace(i.data()[:131072])


def layer_grown(i, _):
    i.overwrite(i.data() + b"\0")


def layer_grown_named_anew(i, _):
    i.replace(i.data() + b"\0" * 16)


def layer_gone(i, _):
    i.blob(i.layer["digest"]).unlink()


def layer_of_another_image(i, other):
    i.replace(other.data())


def annotations_of_another_image(i, other):
    i.notes.update(other.notes)


def pubopts_of_another_image(i, other):
    i.notes[PUBOPTS] = other.notes[PUBOPTS]


def manifest_bit(i, _):
    path = i.blob(i.index["manifests"][0]["digest"])
    path.write_bytes(flip(path.read_bytes(), 8 * 100))
    i.save = lambda: None


def no_pubopts(i, _):
    del i.notes[PUBOPTS]


def no_hmac(i, _):
    i.annotate(PUBOPTS, {k: v for k, v in i.options().items() if k != "hmac"})


def empty_hmac(i, _):
    i.annotate(PUBOPTS, {**i.options(), "hmac": ""})


def hmac_bit(i, _):
    mac = base64.b64decode(i.options()["hmac"])
    i.annotate(PUBOPTS, {**i.options(), "hmac": base64.b64encode(flip(mac, 255)).decode()})


def short_public_nonce(i, _):
    i.annotate(PUBOPTS, {**i.options(), "cipheroptions": {"nonce": base64.b64encode(bytes(12)).decode()}})


def another_public_nonce(i, _):
    i.annotate(PUBOPTS, {**i.options(), "cipheroptions": {"nonce": base64.b64encode(bytes(16)).decode()}})


def another_cipher(i, _):
    i.annotate(PUBOPTS, {**i.options(), "cipher": "AES_256_CTR"})


def packet_bit(i, _):
    packet = json.loads(base64.b64decode(i.notes[AGENT]))
    data = base64.b64decode(packet["wrapped_data"])
    i.annotate(AGENT, {**packet, "wrapped_data": base64.b64encode(flip(data, 77)).decode()})


def packet_says_ctr(i, _):
    packet = json.loads(base64.b64decode(i.notes[AGENT]))
    i.annotate(AGENT, {**packet, "wrap_type": "A256CTR", "iv": base64.b64encode(bytes(16)).decode()})


def packet_member_twice(i, _):
    packet = base64.b64decode(i.notes[AGENT])
    i.annotate(AGENT, b'{"kid":"kbs:///a/b/c",' + packet[1:])


def not_base64(i, _):
    i.notes[AGENT] = i.notes[AGENT][:-4] + "*==="


def annotation_twice(i, _):
    text = json.dumps(i.manifest).replace(f'"{PUBOPTS}"', f'"{PUBOPTS}": "e30=", "{PUBOPTS}"', 1)
    save = i.save
    i.save = lambda: save(text.encode())


def crowd(i, _):
    i.notes[AGENT] = ",".join(["e30="] * 100000)


def packets_of_a_crowd(i, _):
    i.notes[AGENT] = ",".join([i.notes[AGENT]] * 2000)


CASES = [
    (layer_bit, 4, "digest-mismatch"), (layer_bit_named_anew, 4, "hmac-mismatch"),
    (layer_last_bit, 4, "hmac-mismatch"), (layer_cut, 4, "blob-truncated"),
    (layer_cut_named_anew, 4, "hmac-mismatch"), (layer_grown, 4, "size-mismatch"),
    (layer_grown_named_anew, 4, "hmac-mismatch"), (layer_gone, 8, "blob-not-found"),
    (layer_of_another_image, 4, "hmac-mismatch"), (annotations_of_another_image, 4, "hmac-mismatch"),
    (pubopts_of_another_image, 4, "hmac-mismatch"), (manifest_bit, 4, "digest-mismatch"),
    (no_pubopts, 3, "bad-annotation"), (no_hmac, 3, "bad-options"), (empty_hmac, 3, "bad-options"),
    (hmac_bit, 4, "hmac-mismatch"), (short_public_nonce, 3, "bad-options"),
    (another_public_nonce, 4, "nonce-mismatch"), (another_cipher, 9, "unsupported-cipher"),
    (packet_bit, 4, "kek-wrong"), (packet_says_ctr, 5, "a256ctr-refused"),
    (packet_member_twice, 3, "bad-annotation"), (not_base64, 3, "bad-annotation"),
    (annotation_twice, 3, None), (crowd, 9, None), (packets_of_a_crowd, 9, None),
]
OUTPUTS = ["out.wasm", "-", "oci:out:v1", "dir:out", "oci-archive:out.tar:v1"]


@pytest.fixture
def site(box):
    box.run("propkey", "gen", "kek.bin")
    (box / "tmp").mkdir()
    box.env["TMPDIR"] = str(box / "tmp")
    return box


def nothing_came_out(box, before, r):
    assert r.stdout == b""
    assert MARK not in r.stderr
    assert sorted(p for p in box.path.rglob("*")) == before
    for path in box.path.rglob("*"):
        assert path.is_dir() or MARK not in path.read_bytes(), path


@pytest.mark.parametrize("damage,status,code", CASES, ids=lambda v: v.__name__ if callable(v) else None)
def test_damage(site, damage, status, code):
    image, other = Image(site, "image"), Image(site, "other")
    assert MARK not in image.data()
    damage(image, other)
    image.save()
    before = sorted(p for p in site.path.rglob("*"))
    for output in OUTPUTS:
        r = site.run("propenc", "decrypt", "oci:image:v1", output, "--key", "kek.bin", "--json", ok=status)
        error = r.error()
        assert error["message"] and (code is None or error["code"] == code), error
        nothing_came_out(site, before, r)


def test_what_is_damaged_was_good(site):
    """The same image, saved anew without damage, opens: what the cases above show is not our handling of it."""
    image = Image(site, "image")
    image.annotate(PUBOPTS, {**image.options(), "future": [1]})
    packet = json.loads(base64.b64decode(image.notes[AGENT]))
    image.annotate(AGENT, {"future": {"x": None}, **packet})
    image.notes["org.opencontainers.image.enc.future"] = "x"
    image.save()
    site.run("propenc", "decrypt", "oci:image:v1", "out.wasm", "--key", "kek.bin")
    assert (site / "out.wasm").read_bytes() == MODULE
    assert list((site / "tmp").iterdir()) == []


def test_another_kek(site):
    Image(site, "image")
    site.run("propkey", "gen", "other.bin")
    before = sorted(p for p in site.path.rglob("*"))
    for output in OUTPUTS:
        r = site.run("propenc", "decrypt", "oci:image:v1", output, "--key", "other.bin", "--json", ok=4)
        assert r.error()["code"] == "kek-wrong"
        nothing_came_out(site, before, r)


def test_layers_of_one_image_swapped(site):
    """Both layers are in the image and under the image's own KEK; only their places are not theirs."""
    image, other = Image(site, "image"), Image(site, "other")
    second = json.loads(json.dumps(other.layer))
    image.put(other.data())
    image.manifest["layers"].append(second)
    for key in ("digest", "size"):
        image.layer[key], second[key] = second[key], image.layer[key]
    image.save()
    before = sorted(p for p in site.path.rglob("*"))
    for output in ("oci:out:v1", "dir:out"):
        r = site.run("propenc", "decrypt", "oci:image:v1", output, "--key", "kek.bin", "--json", ok=4)
        assert r.error()["code"] == "hmac-mismatch" and "layer 1" in r.error()["message"]
        nothing_came_out(site, before, r)


def test_the_output_that_was_there_stays(site):
    image = Image(site, "image")
    layer_last_bit(image, None)
    image.save()
    (site / "out.wasm").write_bytes(b"mine")
    for argv in ([], ["--force"]):
        site.run("propenc", "decrypt", "oci:image:v1", "out.wasm", "--key", "kek.bin", *argv, ok=None)
        assert (site / "out.wasm").read_bytes() == b"mine"


@pytest.mark.parametrize("name,code", [
    ("bad-ciphertext", "hmac-mismatch"), ("bad-hmac", "hmac-mismatch"), ("bad-jwe-tag", "jwe-no-key"),
    ("no-pubopts", "bad-annotation"), ("unknown-cipher", "unsupported-cipher")])
def test_recorded_images_that_must_be_refused(site, name, code):
    fixture = shared("fixtures", "ocicrypt", "60-negative", name)
    layout = next(p.parent for p in fixture.rglob("index.json"))
    shutil.copytree(layout, site / "image")
    shutil.copy(shared("fixtures", "ocicrypt", "keys", "rsa.pem"), site / "rsa.pem")
    (site / "rsa.pem").chmod(0o600)
    before = sorted(p for p in site.path.rglob("*"))
    for output in OUTPUTS:
        r = site.run("propenc", "decrypt", "oci:image", output, "--key", "rsa.pem", "--json", ok=None)
        assert r.returncode in (3, 4, 9) and r.error()["code"] == code, r.err
        nothing_came_out(site, before, r)


def test_a_crowd_of_recipients_costs_little(site):
    """10^5 blocks: inspect and decrypt say so at once, in memory that does not grow with them."""
    need("time")
    sanitized = b"__asan_init" in (BIN / "propenc").read_bytes()
    peaks = []
    for name, n in (("few", 1), ("many", 100000)):
        image = Image(site, name)
        image.notes[AGENT] = ",".join(["e30="] * n)
        image.save()
        for argv in (["inspect", f"oci:{name}:v1"], ["decrypt", f"oci:{name}:v1", "out.wasm", "--key", "kek.bin"]):
            r = site.run("/usr/bin/time", "-q", "-f", "peak %M", "propenc", *argv, ok=None)
            peaks.append(int(re.search(r"peak (\d+)", r.err).group(1)))
    assert sanitized or max(peaks[2:]) < max(peaks[:2]) + 16384, peaks
