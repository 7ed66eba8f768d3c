"""propenc on recorded images: every one decrypts, damaged ones leave nothing, round trips restore
the manifest byte for byte."""
import base64
import hashlib
import json
import shutil

import pytest

from conftest import ROOT, VECTORS

FIX = VECTORS / "ocicrypt"
WASM = "f61fd62f57c41269c3c23f360eeaf1090b1db9c38651106674d48bc65dba88ba"

CASES = [
    ("10-jwe-rsa", "rsa.pem"), ("11-jwe-ec", "ec.pem"), ("12-jwe-ec2", "ec2.pem"),
    ("13-jwe-multi", "rsa.pem"), ("13-jwe-multi", "ec.pem"), ("13-jwe-multi", "rsa2.pem"),
    ("14-jwe-recompressed", "rsa.pem"), ("15-jwe-tar", "rsa.pem"), ("16-jwe-jwk-kid", "rsakid.jwk"),
    ("18-jwe-one-of-two-layers", "ec.pem"), ("20-keyprovider-cmd", "kek32.bin"),
    ("21-keyprovider-and-jwe", "rsa.pem"), ("30-coco-a256gcm", "kek32.bin"),
    ("31-coco-a256ctr-asked", "kek32.bin"), ("32-wasm-coco-a256ctr", "kek32.bin"),
    ("34-coco-no-kid", "kek32.bin"), ("36-wasm-coco-packet-v2", "kek32.bin"),
    ("40-wasm-coco-a256gcm", "kek32.bin"), ("41-wasm-jwe-rsa", "rsa.pem"),
    ("42-wasm-jwe-multi", "ec.pem"), ("42-wasm-jwe-multi", "rsa2.pem"),
    ("43-wasm-jwe-rust", "rsa.pem"), ("43-wasm-jwe-rust", "ec.pem"),
    ("44-wasm-jwe-comma", "rsa.pem"), ("44-wasm-jwe-comma", "rsa2.pem"),
    ("44-wasm-jwe-comma", "ec2.pem"), ("45-cncf-jwe", "ec.pem"),
]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def manifest_of(layout):
    """(digest, document) of the one manifest of a layout."""
    index = json.loads((layout / "index.json").read_text())
    digest = index["manifests"][0]["digest"]
    return digest, json.loads((layout / "blobs/sha256" / digest[7:]).read_text())


def relayout(source, target, edit):
    """A copy of a layout with an edited manifest, digests of manifest and index set right."""
    shutil.copytree(source, target)
    for f in target.rglob("*"):
        f.chmod(0o700 if f.is_dir() else 0o600)
    digest, doc = manifest_of(target)
    edit(doc, target / "blobs/sha256")
    data = json.dumps(doc, separators=(",", ":")).encode()
    (target / "blobs/sha256" / sha256(data)).write_bytes(data)
    index = json.loads((target / "index.json").read_text())
    index["manifests"][0].update(digest="sha256:" + sha256(data), size=len(data))
    (target / "index.json").write_text(json.dumps(index))
    return target


@pytest.mark.parametrize("case,key", CASES, ids=lambda v: v.split(".")[0])
def test_recorded_image_decrypts(box, keys, case, key):
    expect = json.loads((FIX / case / "expect.json").read_text())
    extra = ["--allow-a256ctr"] if case.startswith("32") else []
    r = box.run("propenc", "decrypt", f"oci:{FIX / case / 'layout'}:v1", "oci:out:v1",
                "--key", keys / key, "--json", *extra)
    digest, manifest = manifest_of(box / "out")
    assert r.json()["digest"] == digest
    assert len(manifest["layers"]) == len(expect["layers"])
    for got, want in zip(manifest["layers"], expect["layers"]):
        assert got["mediaType"] == want["plain_media_type"]
        assert got["digest"] == "sha256:" + want["plain_sha256"]
        assert sha256((box / "out/blobs/sha256" / got["digest"][7:]).read_bytes()) == want["plain_sha256"]
        assert not [k for k in got.get("annotations", {}) if k.startswith("org.opencontainers.image.enc")]


@pytest.mark.parametrize("case,key", [c for c in CASES if c[0][:2] in ("32", "36", "40", "41", "42", "43", "44", "45")],
                         ids=lambda v: v.split(".")[0])
def test_recorded_module_decrypts_to_a_file(box, keys, case, key):
    extra = ["--allow-a256ctr"] if case.startswith("32") else []
    box.run("propenc", "decrypt", f"oci:{FIX / case / 'layout'}:v1", "out.wasm", "--key", keys / key, *extra)
    assert sha256((box / "out.wasm").read_bytes()) == WASM
    assert (box / "out.wasm").stat().st_mode & 0o777 == 0o600


def test_the_sample_key_opens_its_image_when_given_by_hand(box, keys):
    sample = keys / "sample.bin"
    sample.write_bytes(bytes.fromhex("d99b7705b0ba7a168295b3a3367270b0dd9b371bf514ca8b9ba7f0a33711daea"))
    sample.chmod(0o600)
    box.run("propenc", "decrypt", f"oci:{FIX}/33-coco-sample/layout:v1", "oci:out:v1", "--key", sample)
    assert "everybody has" in box.run("propenc", "inspect", f"oci:{FIX}/33-coco-sample/layout:v1").err


@pytest.mark.parametrize("source", ["dir:{}/50-dir/layout", "oci-archive:{}/51-oci-archive/archive.tar:v1"])
def test_other_kinds_of_source(box, keys, source):
    box.run("propenc", "decrypt", source.format(FIX), "out.wasm", "--key", keys / "rsa.pem")
    assert sha256((box / "out.wasm").read_bytes()) == WASM


def test_decrypting_restores_the_original_manifest(box, keys):
    for case, plain in [("10-jwe-rsa", "04-plain-image-gzip"), ("41-wasm-jwe-rsa", "01-plain-wasm-to-oci")]:
        r = box.run("propenc", "decrypt", f"oci:{FIX / case}/layout:v1", f"oci:{case}:v1",
                    "--key", keys / "rsa.pem", "--json")
        assert r.json()["digest"] == manifest_of(FIX / plain / "layout")[0]


@pytest.mark.parametrize("plain", ["01-plain-wasm-to-oci", "02-plain-oras", "03-plain-cncf",
                                   "04-plain-image-gzip", "05-plain-image-tar"])
def test_encrypt_then_decrypt_is_the_identity(box, keys, plain):
    kek = f"provider:attestation-agent:keypath={keys}/kek32.bin::keyid=kbs:///default/key/x"
    r = box.run("propenc", "encrypt", f"oci:{FIX / plain}/layout:v1", "oci:enc:v1", "-r",
                f"jwe:{keys}/ec.pub.pem", "-r", kek, "--json").json()
    original, doc = manifest_of(FIX / plain / "layout")
    digest, encrypted = manifest_of(box / "enc")
    assert r["digest"] == digest and r["layers"] == len(doc["layers"])
    assert encrypted["config"] == doc["config"]
    for before, after in zip(doc["layers"], encrypted["layers"]):
        assert after["mediaType"] == before["mediaType"] + "+encrypted"
        assert after["size"] == before["size"] and after["digest"] != before["digest"]
    for n, key in enumerate(["ec.pem", "kek32.bin"]):
        r = box.run("propenc", "decrypt", "oci:enc:v1", f"oci:dec{n}:v1", "--key", keys / key, "--json")
        assert r.json()["digest"] == original


NEGATIVE = [
    ("bad-hmac", "hmac-mismatch", 4), ("bad-ciphertext", "hmac-mismatch", 4),
    ("bad-jwe-tag", "jwe-no-key", 4), ("unknown-cipher", "unsupported-cipher", 9),
    ("no-pubopts", "bad-annotation", 3),
]


@pytest.mark.parametrize("case,code,status", NEGATIVE, ids=lambda v: str(v))
@pytest.mark.parametrize("dst", ["out.wasm", "-", "oci:out:v1", "dir:out"])
def test_damaged_image_leaves_nothing(box, keys, case, code, status, dst):
    before = sorted(p.name for p in box.path.iterdir())
    r = box.run("propenc", "decrypt", f"oci:{FIX}/60-negative/{case}:v1", dst, "--key",
                keys / "rsa.pem", "--json", ok=status)
    assert r.error()["code"] == code and r.stdout == b""
    assert "\n" not in r.error()["message"]
    assert sorted(p.name for p in box.path.iterdir()) == before


def refused(box, key, source, code, status, *extra):
    before = sorted(p.name for p in box.path.iterdir())
    for dst in ("out.wasm", "oci:out:v1"):
        r = box.run("propenc", "decrypt", source, dst, "--key", key, "--json", *extra, ok=status)
        assert r.error()["code"] == code, r.err
        assert r.stdout == b""
        assert sorted(p.name for p in box.path.iterdir()) == before


def test_changed_blobs_are_refused(box, keys):
    source = FIX / "41-wasm-jwe-rsa/layout"
    blob = manifest_of(source)[1]["layers"][0]["digest"][7:]
    data = (source / "blobs/sha256" / blob).read_bytes()
    for n, (changed, code) in enumerate([
            (data[:7] + bytes([data[7] ^ 1]) + data[8:], "digest-mismatch"),
            (data[:-1], "blob-truncated"), (b"", "blob-truncated"), (data + b"x", "size-mismatch")]):
        target = box / f"img{n}"
        shutil.copytree(source, target)
        (target / "blobs/sha256" / blob).chmod(0o600)
        (target / "blobs/sha256" / blob).write_bytes(changed)
        refused(box, keys / "rsa.pem", f"oci:{target}:v1", code, 4)
    target = box / "gone"
    shutil.copytree(source, target)
    (target / "blobs/sha256" / blob).unlink()
    refused(box, keys / "rsa.pem", f"oci:{target}:v1", "blob-not-found", 8)


def test_a_changed_manifest_is_refused(box, keys):
    source = FIX / "41-wasm-jwe-rsa/layout"
    digest = manifest_of(source)[0][7:]
    data = (source / "blobs/sha256" / digest).read_bytes()
    for n in range(0, len(data), 97):
        target = box / "img"
        shutil.copytree(source, target)
        (target / "blobs/sha256" / digest).chmod(0o600)
        (target / "blobs/sha256" / digest).write_bytes(data[:n] + bytes([data[n] ^ 1]) + data[n + 1:])
        refused(box, keys / "rsa.pem", f"oci:{target}:v1", "digest-mismatch", 4)
        shutil.rmtree(target)


def test_a_layer_under_another_image_s_manifest_is_refused(box, keys):
    """Digests set right, so that only the HMAC can tell."""
    other = FIX / "42-wasm-jwe-multi/layout"
    layer = manifest_of(other)[1]["layers"][0]

    def swap(doc, blobs):
        shutil.copy(other / "blobs/sha256" / layer["digest"][7:], blobs)
        doc["layers"][0].update(digest=layer["digest"], size=layer["size"])
    relayout(FIX / "41-wasm-jwe-rsa/layout", box / "img", swap)
    refused(box, keys / "rsa.pem", f"oci:{box.path}/img:v1", "hmac-mismatch", 4)


def test_a_public_nonce_that_contradicts_the_wrapped_one_is_refused(box, keys):
    """The HMAC does not cover the nonce: believing the public one would give other plaintext."""
    key = "org.opencontainers.image.enc.pubopts"

    def add(doc, blobs):
        a = doc["layers"][0]["annotations"]
        pub = json.loads(base64.b64decode(a[key]))
        pub["cipheroptions"] = {"nonce": base64.b64encode(bytes(16)).decode()}
        a[key] = base64.b64encode(json.dumps(pub).encode()).decode()
    relayout(FIX / "41-wasm-jwe-rsa/layout", box / "img", add)
    refused(box, keys / "rsa.pem", f"oci:{box.path}/img:v1", "nonce-mismatch", 4)


def test_wrong_keys_are_told_apart(box, keys):
    wrong = keys / "wrong.bin"
    wrong.write_bytes(bytes(32))
    wrong.chmod(0o600)
    refused(box, wrong, f"oci:{FIX}/40-wasm-coco-a256gcm/layout:v1", "kek-wrong", 4)
    refused(box, keys / "rsa2.pem", f"oci:{FIX}/41-wasm-jwe-rsa/layout:v1", "jwe-no-key", 4)
    refused(box, keys / "kek32.bin", f"oci:{FIX}/41-wasm-jwe-rsa/layout:v1", "no-usable-scheme", 9)
    refused(box, keys / "rsa.pem", f"oci:{FIX}/40-wasm-coco-a256gcm/layout:v1", "no-usable-scheme", 9)
    refused(box, keys / "kek32.bin", f"oci:{FIX}/32-wasm-coco-a256ctr/layout:v1", "a256ctr-refused", 5)
    refused(box, wrong, f"oci:{FIX}/32-wasm-coco-a256ctr/layout:v1", "kek-wrong", 4, "--allow-a256ctr")
    r = box.run("propenc", "decrypt", f"oci:{FIX}/17-pkcs7/layout:v1", "oci:out:v1", "--key",
                keys / "rsa.pem", "--json", ok=9)
    assert r.error()["code"] == "no-usable-scheme" and "pkcs7" in r.error()["message"]


def test_key_arguments_that_are_no_keys(box, keys):
    source = f"oci:{FIX}/41-wasm-jwe-rsa/layout:v1"
    (box / "open.pem").write_bytes((keys / "rsa.pem").read_bytes())
    (box / "open.pem").chmod(0o644)
    (box / "junk").write_bytes(b"no key")
    (box / "junk").chmod(0o600)
    for key, code, status in [("none.pem", "not-found", 8), (box / "open.pem", "key-file-mode", 5),
                              (keys / "rsa.crt", "no-usable-scheme", 9),
                              ("provider:attestation-agent", "no-kek-source", 2),
                              ("provider:toy", "no-such-provider", 8)]:
        r = box.run("propenc", "decrypt", source, "out.wasm", "--key", key, "--json", ok=status)
        assert r.error()["code"] == code, r.err
    for key in [keys / "rsa.pub.pem", box / "junk", keys / "rsakid.pub.jwk"]:
        box.run("propenc", "decrypt", source, "out.wasm", "--key", key, ok=3)
    r = box.run("propenc", "decrypt", source, "out.wasm", "--json", ok=2)
    assert r.error()["code"] == "no-key" and r.error()["hint"]
    assert not (box / "out.wasm").exists()


def test_a_kek_in_base64_form(box, keys):
    text = keys / "kek.b64"
    text.write_text(base64.b64encode((keys / "kek32.bin").read_bytes()).decode() + "\n")
    text.chmod(0o600)
    box.run("propenc", "decrypt", f"oci:{FIX}/40-wasm-coco-a256gcm/layout:v1", "out.wasm", "--key", text)
    assert sha256((box / "out.wasm").read_bytes()) == WASM
    r = box.run("propenc", "encrypt", FIX / "wasm/addition.wasm", "oci:enc:v1", "-r",
                f"provider:attestation-agent:keypath={text}::keyid=kbs:///default/key/x")
    assert "32 raw bytes" in r.err
    box.run("propenc", "decrypt", "oci:enc:v1", "again.wasm", "--key", keys / "kek32.bin")
    assert sha256((box / "again.wasm").read_bytes()) == WASM


def test_a_key_through_a_pipe_and_with_a_passphrase(box, keys):
    source = f"oci:{FIX}/41-wasm-jwe-rsa/layout:v1"
    box.run("bash", "-c", f"propenc decrypt {source} a.wasm --key <(cat {keys}/rsa.pem)")
    (box / "pw").write_text("correct horse")
    (box / "pw").chmod(0o600)
    box.run("openssl", "pkcs8", "-topk8", "-in", keys / "rsa.pem", "-passout", "file:pw", "-out", "locked.pem")
    (box / "locked.pem").chmod(0o600)
    box.run("propenc", "decrypt", source, "b.wasm", "--key", "locked.pem:file=pw")
    assert sha256((box / "a.wasm").read_bytes()) == sha256((box / "b.wasm").read_bytes()) == WASM
    r = box.run("propenc", "decrypt", source, "c.wasm", "--key", "locked.pem", "--json", ok=5)
    assert r.error()["code"] == "passphrase" and "file=" in r.error()["hint"]
    r = box.run("propenc", "decrypt", source, "c.wasm", "--key", "locked.pem:correct horse", ok=2)
    assert "correct horse" not in r.err


def test_inspect_needs_no_key_and_names_everything(box):
    r = box.run("propenc", "inspect", f"oci:{FIX}/40-wasm-coco-a256gcm/layout:v1", "--json")
    doc = r.json()
    assert doc["encrypted"] is True and doc["encrypted_layers"] == 1
    scheme = doc["layers"][0]["schemes"][0]
    assert scheme["scheme"] == "provider.attestation-agent" and scheme["blocks"] == 1
    assert scheme["recipients"][0]["kid"] == "kbs:///default/key/wasm-addition"
    assert scheme["recipients"][0]["wrap_type"] == "A256GCM"
    assert doc["layers"][0]["clear_annotations"] == {"org.opencontainers.image.title": "addition.wasm"}
    r = box.run("propenc", "inspect", f"oci:{FIX}/10-jwe-rsa/layout:v1")
    assert "RSA-OAEP" in r.out and "diff_ids" in r.out
    r = box.run("propenc", "inspect", f"oci:{FIX}/45-cncf-jwe/layout:v1")
    assert "layerDigests" in r.out
    r = box.run("propenc", "inspect", f"oci:{FIX}/17-pkcs7/layout:v1")
    assert "pkcs7" in r.out and "issuer CN=ocicrypt fixture" in r.out
    r = box.run("propenc", "inspect", f"oci:{FIX}/18-jwe-one-of-two-layers/layout:v1", "--json")
    assert [x["encrypted"] for x in r.json()["layers"]] == [False, True]
    r = box.run("propenc", "inspect", FIX / "wasm/addition.wasm", "--json")
    assert r.json()["encrypted"] is False and "not encrypted" in r.err
    for layers in (13, 16, 20, 21, 30, 31, 32, 33, 34, 36, 41, 42, 43, 44):
        folder = next(FIX.glob(f"{layers}-*"))
        assert box.run("propenc", "inspect", f"oci:{folder}/layout:v1", "--json").json()["encrypted"]


def test_control_characters_of_an_image_do_not_reach_the_terminal(box):
    def evil(doc, blobs):
        doc["annotations"] = {"x\x1b[2J": "y\x1b]0;owned\x07"}
        doc["layers"][0]["annotations"]["org.opencontainers.image.title"] = "a\x1b[31mb"
    relayout(FIX / "41-wasm-jwe-rsa/layout", box / "img", evil)
    r = box.run("propenc", "inspect", f"oci:{box.path}/img:v1")
    assert "\x1b" not in r.out + r.err and "\\x1b" in r.out


def test_what_cannot_be_encrypted_or_decrypted_says_so(box, keys):
    to = ["-r", f"jwe:{keys}/rsa.pub.pem", "--json"]
    r = box.run("propenc", "encrypt", f"oci:{FIX}/41-wasm-jwe-rsa/layout:v1", "oci:a:v1", *to, ok=2)
    assert r.error()["code"] == "already-encrypted"
    r = box.run("propenc", "encrypt", f"oci:{FIX}/18-jwe-one-of-two-layers/layout:v1", "oci:a:v1", *to, ok=2)
    assert r.error()["code"] == "already-encrypted"
    r = box.run("propenc", "decrypt", f"oci:{FIX}/01-plain-wasm-to-oci/layout:v1", "oci:a:v1",
                "--key", keys / "rsa.pem", "--json", ok=3)
    assert r.error()["code"] == "not-encrypted"
    r = box.run("propenc", "decrypt", f"oci:{FIX}/01-plain-wasm-to-oci/layout:v1", "a.wasm",
                "--key", keys / "rsa.pem", "--json", ok=3)
    assert r.error()["code"] == "not-encrypted"
    r = box.run("propenc", "decrypt", f"oci:{FIX}/10-jwe-rsa/layout:v1", "a.wasm",
                "--key", keys / "rsa.pem", "--json", ok=3)
    assert r.error()["code"] == "no-wasm-layer" and "oci:" in r.error()["hint"]

    def schema1(doc, blobs):
        doc["schemaVersion"] = 1

    def foreign(doc, blobs):
        doc["layers"][0]["urls"] = ["https://example.com/layer"]

    def empty(doc, blobs):
        doc["layers"] = []
    for n, (edit, code, status) in enumerate([(schema1, "schema1", 9), (foreign, "foreign-layer", 9),
                                              (empty, "no-layers", 3)]):
        target = relayout(FIX / "04-plain-image-gzip/layout", box / f"img{n}", edit)
        r = box.run("propenc", "encrypt", f"oci:{target}:v1", "oci:a:v1", *to, ok=status)
        assert r.error()["code"] == code, r.err
    assert not (box / "a").exists() and not (box / "a.wasm").exists()


def test_an_inline_copy_of_a_layer_does_not_survive_encryption(box, keys):
    plain = (FIX / "wasm/addition.wasm").read_bytes()

    def inline(doc, blobs):
        doc["layers"][0]["data"] = base64.b64encode(plain).decode()
    relayout(FIX / "01-plain-wasm-to-oci/layout", box / "img", inline)
    box.run("propenc", "encrypt", f"oci:{box.path}/img:v1", "oci:enc:v1", "-r", f"jwe:{keys}/rsa.pub.pem")
    for f in (box / "enc").rglob("*"):
        if f.is_file():
            assert plain not in f.read_bytes() and base64.b64encode(plain) not in f.read_bytes()


def test_an_image_without_a_name_is_never_lost_among_others(box):
    """oci:DIR without a name: replaces what has none, and is refused beside images that have one."""
    wasm = ROOT / "examples/modules/add.wasm"
    other = ROOT / "examples/modules/wc.wasm"
    box.run("propkey", "gen", "k.bin")
    to = ["-r", "provider:attestation-agent:keypath=k.bin::keyid=kbs:///a/b/c"]
    for module in (wasm, other, wasm):
        box.run("propenc", "encrypt", module, "oci:plain", *to)
        box.run("propenc", "decrypt", "oci:plain", "back.wasm", "--key", "k.bin", "--force")
        assert (box / "back.wasm").read_bytes() == module.read_bytes()
    box.run("propenc", "encrypt", wasm, "oci:named:v1", *to)
    before = (box / "named/index.json").read_bytes()
    for argv in (["propenc", "encrypt", other, "oci:named", *to], ["proppush", "push", other, "oci:named"]):
        e = box.run(*argv, "--json", ok=2).error()
        assert e["code"] == "which-image" and "v1" in e["hint"]
    assert (box / "named/index.json").read_bytes() == before
    box.run("propenc", "decrypt", "oci:named", "again.wasm", "--key", "k.bin")
