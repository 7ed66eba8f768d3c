"""propenc encrypt in the place of CoCo's encrypt.sh: -k B64KEY -i KID -s SRC -d DST."""
import base64
import hashlib
import json
import os

import pytest

from conftest import VECTORS

FIX = VECTORS / "ocicrypt"
PLAIN = FIX / "04-plain-image-gzip/layout"


@pytest.fixture
def kek(box):
    data = os.urandom(32)
    (box / "kek.bin").write_bytes(data)
    (box / "kek.bin").chmod(0o600)
    return base64.b64encode(data).decode()


def script(box, *args, **kw):
    return box.run("propenc", "encrypt", *args, **kw)


def test_the_folder_has_the_kinds_of_files_skopeo_writes(box, kek):
    r = script(box, "-k", kek, "-i", "kbs:///default/key/x", "-s", f"oci:{PLAIN}:v1", "-d", "dir:out")
    assert "can be read by everybody" in r.err and kek not in r.err + r.out
    files = sorted(p.name for p in (box / "out").iterdir())
    doc = json.loads((box / "out/manifest.json").read_text())
    blobs = [doc["config"]] + doc["layers"]
    assert files == sorted(["version", "manifest.json"] + [b["digest"][7:] for b in blobs])
    assert (box / "out/version").read_text() == "Directory Transport Version: 1.1\n"
    for b in blobs:
        data = (box / "out" / b["digest"][7:]).read_bytes()
        assert len(data) == b["size"] and hashlib.sha256(data).hexdigest() == b["digest"][7:]
    packet = json.loads(base64.b64decode(
        doc["layers"][0]["annotations"]["org.opencontainers.image.enc.keys.provider.attestation-agent"]))
    assert packet["kid"] == "kbs:///default/key/x" and packet["wrap_type"] == "A256GCM"
    box.run("propenc", "decrypt", "dir:out", "oci:back:v1", "--key", "kek.bin")


@pytest.mark.parametrize("form", ["@kek.bin", "@kek.b64", "-"])
def test_the_key_need_not_stand_in_argv(box, kek, form):
    (box / "kek.b64").write_text(kek + "\n")
    (box / "kek.b64").chmod(0o600)
    r = script(box, "-k", form, "-i", "kbs:///default/key/x", "-s", f"oci:{PLAIN}:v1", "-d", "oci:out:v1", stdin=kek)
    assert "command line" not in r.err
    box.run("propenc", "decrypt", "oci:out:v1", "oci:back:v1", "--key", "kek.bin")


def test_standard_input_is_not_key_and_module_at_once(box, kek):
    r = script(box, "-k", "-", "-i", "kbs:///a/b/c", "-s", "-", "-d", "dir:out", "--json", stdin=kek, ok=3)
    assert r.error()["code"] == "empty-module" and not (box / "out").exists()


def test_a_module_and_a_registry(box, kek, registry):
    ref = f"docker://{registry.host}/team/app:v1"
    script(box, "-k", "@kek.bin", "-i", "kbs:///default/key/x", "-s", FIX / "wasm/addition.wasm", "-d", ref)
    out = box.run("propenc", "decrypt", ref, "-", "--key", "kek.bin").stdout
    assert out == (FIX / "wasm/addition.wasm").read_bytes()


@pytest.mark.parametrize("key", ["c2hvcnQ=", "not base64", base64.b64encode(bytes(33)).decode(), ""])
def test_a_key_that_is_none(box, key):
    r = script(box, "-k", key, "-i", "kbs:///a/b/c", "-s", f"oci:{PLAIN}:v1", "-d", "dir:out", "--json", ok=3)
    assert r.error()["code"] == "kek-length" and "key should be a b64-encoded 32 byte key" in r.error()["message"]
    assert not key or key not in r.err
    assert not (box / "out").exists()


@pytest.mark.parametrize("missing", ["-k", "-i", "-s", "-d"])
def test_all_four_are_needed(box, kek, missing):
    args = {"-k": kek, "-i": "kbs:///a/b/c", "-s": f"oci:{PLAIN}:v1", "-d": "dir:out"}
    del args[missing]
    r = script(box, *[x for pair in args.items() for x in pair], "--json", ok=2)
    assert r.error()["code"] == "arguments" and f"{missing} is missing" in r.error()["message"]
    assert kek not in r.err and not (box / "out").exists()


def test_nothing_else_is_taken_with_them(box, kek):
    args = ["-k", kek, "-i", "kbs:///a/b/c", "-s", f"oci:{PLAIN}:v1", "-d", "dir:out"]
    assert script(box, *args, "extra", "--json", ok=2).error()["code"] == "arguments"
    assert script(box, *args, "-k", kek, "--json", ok=2).error()["code"] == "arguments"
    r = script(box, *args[:2], "-i", "kbs:///a/b", *args[4:], "--json", ok=3)
    assert r.error()["code"] == "bad-resource-path"
    r = script(box, *args[:2], "-i", "kbs://elsewhere/a/b/c", *args[4:], "--json", ok=2)
    assert r.error()["code"] == "kid-host"
    assert not (box / "out").exists()


def test_help_tells_of_it(box):
    r = box.run("propenc", "encrypt", "-h")
    assert "-k <b64-encoded key> -i <key id> -s <source> -d <destination>" in r.out
