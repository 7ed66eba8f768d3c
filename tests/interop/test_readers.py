"""The cells of docs/readers.md that are tests: the installed skopeo reads, or does not read, each form and
scheme. And the table itself: each cell is such a test, or says that it is by the reader's source."""
import hashlib
import json
import pathlib
import re
import sys

import pytest

from conftest import ROOT, VECTORS

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
import images  # noqa: E402
from images import Layout, named  # noqa: E402

FIX = VECTORS / "ocicrypt"


def layers(layout):
    return named(layout)[2]["layers"]


TYPES = {
    "wasm": "application/vnd.wasm.content.layer.v1+wasm",
    "cncf": "application/wasm",
    "tar": images.OCI + "layer.v1.tar",
    "gzip": images.OCI + "layer.v1.tar+gzip",
    "zstd": images.OCI + "layer.v1.tar+zstd",
    "nondistributable": images.OCI + "layer.nondistributable.v1.tar+gzip",
    "other": "application/x-anything",
}


@pytest.mark.parametrize("kind", TYPES)
def test_skopeo_reads_layer_type(box, skopeo, keys, kind):
    layout = Layout(box / "img")
    data = b"any bytes: what a layer holds is not looked at" * 50
    layout.name(layout.image([(TYPES[kind], data, data)]))
    box.run("propenc", "encrypt", "oci:img:v1", "oci:enc:v1", "-r", f"jwe:{keys}/ec.pub.pem")
    skopeo("copy", "--dest-oci-accept-uncompressed-layers", "--decryption-key", keys / "ec.pem", "oci:enc:v1", "dir:out")
    layer = json.loads((box / "out/manifest.json").read_bytes())["layers"][0]
    assert layer["mediaType"] == TYPES[kind] and (box / "out" / layer["digest"][7:]).read_bytes() == data


@pytest.mark.parametrize("case,key", [
    ("10-jwe-rsa", "rsa.pem"), ("11-jwe-ec", "ec.pem"), ("12-jwe-ec2", "ec2.pem"), ("13-jwe-multi", "ec.pem"),
    ("16-jwe-jwk-kid", "rsakid.jwk"), ("21-keyprovider-and-jwe", "rsa.pem"), ("41-wasm-jwe-rsa", "rsa.pem"),
    ("42-wasm-jwe-multi", "rsa2.pem"), ("43-wasm-jwe-rust", "ec.pem"), ("44-wasm-jwe-comma", "ec2.pem"),
    ("45-cncf-jwe", "ec.pem")])
def test_skopeo_reads_recorded(box, skopeo, keys, case, key):
    """What any known writer made, by the one that is installed: the plaintext is the recorded one."""
    expect = json.loads((FIX / case / "expect.json").read_bytes())["layers"]
    skopeo("copy", "--dest-oci-accept-uncompressed-layers", "--decryption-key", keys / key,
           f"oci:{FIX}/{case}/layout:v1", "dir:out")
    got = json.loads((box / "out/manifest.json").read_bytes())["layers"]
    for layer, want in zip(got, expect, strict=True):
        data = (box / "out" / layer["digest"][7:]).read_bytes()
        assert not layer["mediaType"].endswith("encrypted")
        assert hashlib.sha256(data).hexdigest() == want["plain_sha256"]


@pytest.mark.parametrize("case", ["30-coco-a256gcm", "32-wasm-coco-a256ctr", "36-wasm-coco-packet-v2",
                                  "40-wasm-coco-a256gcm"])
def test_skopeo_without_key_providers_copies_packets(box, skopeo, keys, case):
    """It opens none of them, and says so; without a key it copies them as they are."""
    src = f"oci:{FIX}/{case}/layout:v1"
    r = skopeo("copy", "--decryption-key", keys / "rsa.pem", src, "oci:out:v1", ok=None)
    assert r.returncode and ("missing private key needed for decryption" in r.err
                             or "no suitable key unwrapper found" in r.err), r.err
    skopeo("copy", src, "oci:same:v1")
    assert named(box / "same")[1]["digest"] == named(FIX / case / "layout")[1]["digest"]


def test_skopeo_reads_wasm_with_two_schemes(box, skopeo, keys):
    """A packet for the guest and a JWE for people on one layer: it takes the one it can open."""
    box.run("propenc", "encrypt", FIX / "wasm/addition.wasm", "oci:enc:v1", "-r", f"jwe:{keys}/ec.pub.pem", "-r",
            f"provider:attestation-agent:keypath={keys}/kek32.bin::keyid=kbs:///default/key/x")
    skopeo("copy", "--decryption-key", keys / "ec.pem", "oci:enc:v1", "dir:out")
    layer = json.loads((box / "out/manifest.json").read_bytes())["layers"][0]
    assert (box / "out" / layer["digest"][7:]).read_bytes() == (FIX / "wasm/addition.wasm").read_bytes()


def test_each_cell_is_a_test_or_says_where_it_is_from():
    text = (ROOT / "docs/readers.md").read_text()
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    assert len(tables) == 2
    cells = 0
    for table in tables:
        rows = [[c.strip() for c in line.strip("|\n").split("|")] for line in table.splitlines()]
        assert {len(r) for r in rows} == {7}, [r for r in rows if len(r) != 7]
        for row in rows[2:]:
            for cell in row[1:]:
                cells += 1
                assert re.match(r"(yes|no)\b", cell), (row[0], cell)
                tests = re.findall(r"`([^`]+::[^`]+)`", cell)
                assert tests or "by its source" in cell, (row[0], cell)
    assert cells > 90
    for name, function in set(re.findall(r"`(test_\w+)::(test_\w+)(?:\[[^`]*\])?`", text)):
        found = [p for p in (ROOT / "tests").rglob(f"{name}.*") if p.suffix in (".py", ".c")]
        assert len(found) == 1, name
        define = rf"^def {function}\(" if found[0].suffix == ".py" else rf"^static void {function}\("
        assert re.search(define, found[0].read_text(), re.M), f"{name}::{function}"
