"""propenc on bare modules: the form it writes, outputs that appear whole or not at all, memory."""
import base64
import hashlib
import json
import os
import pty
import shutil
import subprocess
import sys

import pytest

from conftest import BIN, VECTORS

FIX = VECTORS / "ocicrypt"
ADDITION = FIX / "wasm/addition.wasm"


def agent(keys, kid="kbs:///default/key/wasm-addition"):
    return f"provider:attestation-agent:keypath={keys}/kek32.bin::keyid={kid}::algorithm=A256GCM"


def manifest_of(layout):
    index = json.loads((layout / "index.json").read_text())
    digest = index["manifests"][0]["digest"]
    return (layout / "blobs/sha256" / digest[7:]).read_bytes()


def test_a_module_has_the_form_of_the_recorded_artifact(box, keys):
    """Same members in the same order, same types, same sizes as fixture 40: only key material differs."""
    box.run("propenc", "encrypt", ADDITION, "oci:enc:v1", "-r", agent(keys))
    ours, theirs = (manifest_of(p) for p in (box / "enc", FIX / "40-wasm-coco-a256gcm/layout"))
    assert len(ours) == len(theirs)

    def shape(v):
        if isinstance(v, dict):
            return [(k, shape(x)) for k, x in v.items()]
        return [shape(x) for x in v] if isinstance(v, list) else len(v) if isinstance(v, str) else v
    assert shape(json.loads(ours)) == shape(json.loads(theirs))
    layer = json.loads(ours)["layers"][0]
    packet = json.loads(base64.b64decode(
        layer["annotations"]["org.opencontainers.image.enc.keys.provider.attestation-agent"]))
    assert list(packet) == ["kid", "wrapped_data", "iv", "wrap_type"]
    assert packet["kid"] == "kbs:///default/key/wasm-addition" and packet["wrap_type"] == "A256GCM"
    assert json.loads(ours)["config"] == json.loads(theirs)["config"]
    assert layer["mediaType"] == "application/vnd.wasm.content.layer.v1+wasm+encrypted"
    assert layer["annotations"]["org.opencontainers.image.title"] == "addition.wasm"


@pytest.mark.parametrize("dst", ["oci:out:v1", "dir:out", "oci-archive:out.tar:v1"])
def test_round_trip_through_every_local_kind(box, keys, dst):
    box.run("propenc", "encrypt", ADDITION, dst, "-r", agent(keys))
    box.run("propenc", "decrypt", dst, "out.wasm", "--key", keys / "kek32.bin")
    assert (box / "out.wasm").read_bytes() == ADDITION.read_bytes()


def test_standard_input_and_output(box, keys):
    data = b"\0asm\1\0\0\0" + os.urandom(700_000)
    box.run("propenc", "encrypt", "-", "oci:enc:v1", "-r", agent(keys), stdin=data)
    r = box.run("propenc", "decrypt", "oci:enc:v1", "-", "--key", keys / "kek32.bin")
    assert r.stdout == data
    layer = json.loads(manifest_of(box / "enc"))["layers"][0]
    assert layer["annotations"]["org.opencontainers.image.title"] == "module.wasm"


def test_titles(box, keys):
    box.run("propenc", "encrypt", ADDITION, "oci:a:v1", "-r", agent(keys), "--title", "x.wasm")
    box.run("propenc", "encrypt", ADDITION, "oci:b:v1", "-r", agent(keys), "--title", "")
    a, b = (json.loads(manifest_of(box / n))["layers"][0]["annotations"] for n in "ab")
    assert a["org.opencontainers.image.title"] == "x.wasm"
    assert "org.opencontainers.image.title" not in b


def test_results(box, keys):
    digest = "sha256:" + hashlib.sha256(ADDITION.read_bytes()).hexdigest()
    r = box.run("propenc", "encrypt", ADDITION, "oci:enc:v1", "-r", agent(keys), "--json").json()
    assert r["plain"] == digest and r["bytes"] == 41 and r["layers"] == 1 and r["written"] is True
    assert r["digest"] == "sha256:" + hashlib.sha256(manifest_of(box / "enc")).hexdigest()
    out = box.run("propenc", "decrypt", "oci:enc:v1", "o.wasm", "--key", keys / "kek32.bin", "--json").json()
    assert out["digest"] == digest
    dry = box.run("propenc", "encrypt", ADDITION, "--dry-run", "-r", agent(keys), "--json").json()
    assert dry["written"] is False and dry["plain"] == digest and dry["destination"] == "sink:"


def test_two_runs_share_no_key_material(box, keys):
    seen = set()
    for n in range(3):
        box.run("propenc", "encrypt", ADDITION, f"oci:e{n}:v1", "-r", agent(keys))
        layer = json.loads(manifest_of(box / f"e{n}"))["layers"][0]
        seen |= {layer["digest"], *[v for k, v in layer["annotations"].items() if ".enc." in k]}
    assert len(seen) == 9


def test_an_existing_file_is_kept(box, keys):
    box.run("propenc", "encrypt", ADDITION, "oci:enc:v1", "-r", agent(keys))
    (box / "out.wasm").write_text("mine")
    r = box.run("propenc", "decrypt", "oci:enc:v1", "out.wasm", "--key", keys / "kek32.bin", "--json", ok=None)
    assert r.returncode not in (0, 70) and r.error()["hint"]
    assert (box / "out.wasm").read_text() == "mine"
    box.run("propenc", "decrypt", "oci:enc:v1", "out.wasm", "--key", keys / "kek32.bin", "--force")
    assert (box / "out.wasm").read_bytes() == ADDITION.read_bytes()


def test_a_failed_decrypt_keeps_the_file_it_was_to_replace(box, keys):
    (box / "out.wasm").write_text("mine")
    box.run("propenc", "decrypt", f"oci:{FIX}/60-negative/bad-hmac:v1", "out.wasm", "--key",
            keys / "rsa.pem", "--force", ok=4)
    assert (box / "out.wasm").read_text() == "mine"
    assert sorted(p.name for p in box.path.iterdir()) == ["home", "keys", "out.wasm"]


def test_a_terminal_gets_no_module(box, keys):
    box.run("propenc", "encrypt", ADDITION, "oci:enc:v1", "-r", agent(keys))
    master, slave = pty.openpty()
    p = subprocess.run([BIN / "propenc", "decrypt", "oci:enc:v1", "-", "--key", keys / "kek32.bin"],
                       stdout=slave, stderr=subprocess.PIPE, env=box.env, cwd=box.path, timeout=60)
    os.close(slave)
    os.close(master)
    assert p.returncode == 2 and b"terminal" in p.stderr


@pytest.mark.parametrize("recipient,code,status", [
    ("nobody", "bad-recipient", 2), ("jwe:none.pem", "not-found", 8),
    ("pkcs7:{k}/rsa.pub.pem", "not-a-certificate", 3), ("provider:toy:x", "no-such-provider", 8),
    ("provider:attestation-agent:sample=true", "public-kek", 5),
    ("provider:attestation-agent:keypath={k}/kek32.bin::keyid=kbs://host/a/b/c", "kid-host", 2),
    ("provider:attestation-agent:keypath={k}/kek32.bin::keyid=kbs:///a/b", "bad-resource-path", 3),
    ("provider:attestation-agent:keypath={k}/rsa.pem::keyid=kbs:///a/b/c", "kek-length", 3),
])
def test_bad_recipients_write_nothing(box, keys, recipient, code, status):
    r = box.run("propenc", "encrypt", ADDITION, "oci:enc:v1", "-r", recipient.format(k=keys), "--json", ok=status)
    assert r.error()["code"] == code, r.err
    assert not (box / "enc").exists()


def test_usage_errors(box, keys):
    r = box.run("propenc", "encrypt", ADDITION, "oci:enc:v1", "--json", ok=2)
    assert r.error()["code"] == "no-recipient" and r.error()["hint"]
    box.run("propenc", "encrypt", ADDITION, "-r", agent(keys), ok=2)
    box.run("propenc", "encrypt", ADDITION, "out.wasm", "-r", agent(keys), ok=2)
    box.run("propenc", "encrypt", "none.wasm", "oci:enc:v1", "-r", agent(keys), ok=8)
    assert not (box / "enc").exists() and not (box / "out.wasm").exists()


def test_what_is_no_module_is_encrypted_with_a_word(box, keys):
    (box / "x.wasm").write_bytes(b"hello")
    r = box.run("propenc", "encrypt", "x.wasm", "oci:enc:v1", "-r", agent(keys))
    assert "does not start as a Wasm module" in r.err
    assert "does not start" not in box.run("propenc", "encrypt", ADDITION, "sink:", "-r", agent(keys)).err


def test_no_secret_in_any_output(box, keys):
    secret = (keys / "kek32.bin").read_bytes()
    needles = [secret, secret.hex().encode(), base64.b64encode(secret)]
    pem = (keys / "rsa.pem").read_text().splitlines()[1].encode()
    for argv in (["encrypt", ADDITION, "oci:enc:v1", "-r", agent(keys), "-v"],
                 ["decrypt", "oci:enc:v1", "o.wasm", "--key", keys / "kek32.bin", "--key", keys / "rsa.pem", "-v"],
                 ["inspect", "oci:enc:v1"]):
        r = box.run("propenc", *argv)
        for needle in needles + [pem]:
            assert needle not in r.stdout + r.stderr
    for f in (box / "enc").rglob("*"):
        assert f.is_dir() or not any(n in f.read_bytes() for n in needles)


def test_the_tool_is_built_without_the_engine(box):
    assert b"wasmtime" not in (BIN / "propenc").read_bytes()


# A child's peak counts that of the process it was forked from, so a small one does the forking.
PEAK = """import os, sys
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss)
sys.exit(status != 0)"""


def peak_kib(box, *argv):
    r = box.run(sys.executable, "-S", "-c", PEAK, *argv)
    return int(r.out.split()[-1])


def test_memory_does_not_grow_with_the_module(box, keys):
    asan = b"__asan_init" in (BIN / "propenc").read_bytes()
    peaks = {}
    for mib in (1, 256):
        with open(box / f"{mib}.wasm", "wb") as f:
            f.write(b"\0asm\1\0\0\0")
            f.truncate(mib << 20)
        peaks["encrypt", mib] = peak_kib(box, "propenc", "encrypt", f"{mib}.wasm", "sink:", "-r", agent(keys))
    for mib in (1, 64):
        with open(box / "m.wasm", "wb") as f:
            f.truncate(mib << 20)
        peaks["layout", mib] = peak_kib(box, "propenc", "encrypt", "m.wasm", f"oci:e{mib}:v1", "-r", agent(keys))
        peaks["decrypt", mib] = peak_kib(box, "propenc", "decrypt", f"oci:e{mib}:v1", f"{mib}.out.wasm",
                                         "--key", keys / "kek32.bin")
    for what, big in (("encrypt", 256), ("layout", 64), ("decrypt", 64)):
        # the ring fills up, then nothing grows
        assert peaks[what, big] < peaks[what, 1] + (24 << 10 if asan else 8 << 10), peaks
        assert asan or peaks[what, big] <= 20 << 10, peaks
    shutil.rmtree(box / "e64")


def test_decrypt_takes_any_name_for_its_file(box, keys):
    box.run("propenc", "encrypt", ADDITION, "oci:enc:v1", "-r", agent(keys))
    (box / "folder").mkdir()
    for name in ("plain", "folder/plain.bin"):
        box.run("propenc", "decrypt", "oci:enc:v1", name, "--key", keys / "kek32.bin")
        assert (box / name).read_bytes() == ADDITION.read_bytes()
    # a forgotten transport is no file name
    r = box.run("propenc", "decrypt", "oci:enc:v1", "enc:v2", "--key", keys / "kek32.bin", "--json", ok=8)
    assert r.error()["code"] == "no-such-source" and not (box / "enc:v2").exists()
