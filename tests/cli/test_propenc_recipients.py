"""Who may open it, whole tool: keys made, fetched and uploaded; key providers of a configuration;
what inspect tells about each."""
import base64
import hashlib
import json
import os
import shutil
import stat

import pytest

from conftest import VECTORS

FIX = VECTORS / "ocicrypt"
MODULE = FIX / "wasm/addition.wasm"
AGENT = "provider:attestation-agent"

# An exec key provider: it wraps with base64 and says what it was asked. KP_FAIL makes it fail.
PROVIDER = '''#!/usr/bin/env python3
import base64, json, os, sys
raw = sys.stdin.read()
open(os.environ["KP_LOG"], "a").write(json.dumps([sys.argv[1:], json.loads(raw)]) + "\\n")
fail = os.environ.get("KP_FAIL")
if fail == "status":
    sys.exit("the vault is sealed")
i = json.loads(raw)
if i["op"] == "keywrap":
    plain = base64.b64decode(i["keywrapparams"]["optsdata"])
    data = b"" if fail == "empty" else b"box:" + plain if fail == "bare" else b"box:" + base64.b64decode(i["keywrapparams"]["optsdata"])[::-1]
    print(json.dumps({"keywrapresults": {"annotation": list(data)}}))
else:
    data = base64.b64decode(i["keyunwrapparams"]["annotation"])[4:][::-1]
    print(json.dumps({"keyunwrapresults": {"optsdata": base64.b64encode(data).decode()}}))
'''


def encrypt(box, dst, *args, source=MODULE, **kw):
    return box.run("propenc", "encrypt", source, dst, *args, "--json", **kw)


def opens(box, source, *args, **kw):
    """Decrypt to a file of its own and compare."""
    box.run("propenc", "decrypt", source, "back.wasm", "--force", *args, **kw)
    assert (box / "back.wasm").read_bytes() == MODULE.read_bytes()


def recipients(box, source):
    doc = box.run("propenc", "inspect", source, "--json").json()
    return [(s["scheme"], r) for layer in doc["layers"] for s in layer["schemes"] for r in s["recipients"]]


# --- KEKs that no file was named for ---

def test_a_new_key_is_kept_and_its_file_said(box):
    r = encrypt(box, "oci:enc:v1", "--generate")
    made = r.json()["keks"][0]
    assert made["kid"] == f"kbs:///default/key/kek-{made['fingerprint']}" and made["uploaded"] is False
    file = made["file"]
    assert os.stat(file).st_mode & 0o777 == 0o600 and os.stat(file).st_size == 32
    assert file in r.err and "propkey set" in r.err
    opens(box, "oci:enc:v1", "--key", file)
    assert recipients(box, "oci:enc:v1")[0][1]["kid"] == made["kid"]
    r = encrypt(box, "oci:two:v1", "--generate", "-r", f"{AGENT}:keyid=kbs:///team/key/x")
    assert r.json()["keks"][0]["kid"] == "kbs:///team/key/x" and r.json()["keks"][0]["file"] != file


def test_a_new_key_goes_to_the_key_broker_first(box, kbs):
    admin = ["--kbs", kbs.url, "--admin-key", kbs.admin_key]
    r = encrypt(box, "oci:enc:v1", "--generate", "-r", f"{AGENT}:keyid=kbs:///team/key/x", *admin).json()
    assert r["keks"][0]["uploaded"] is True
    # Whoever revokes the key is told which image dies with it.
    told = box.run("propkey", "revoke", "team/key/x", "--dry-run", *admin)
    assert "oci:enc:v1" in told.out + told.err
    box.run("propkey", "policy", "preset", "allow-all", *admin)
    reader = ["--kbs", kbs.url, "--tee", "sample"]
    got = box.run("propkey", "get", "team/key/x", *reader, "-o", "got.bin")
    assert (box / "got.bin").read_bytes() == open(r["keks"][0]["file"], "rb").read(), got.err
    opens(box, "oci:enc:v1", *reader)
    opens(box, "oci:enc:v1", *reader, "--key", AGENT)
    # A name that is in use is not given another key.
    again = ["--generate", "-r", f"{AGENT}:keyid=kbs:///team/key/x", *admin]
    e = encrypt(box, "oci:no:v1", *again, ok=7).error()
    assert e["code"] == "kid-in-use" and "--replace-key" in e["hint"] and not (box / "no").exists()
    opens(box, "oci:enc:v1", *reader)
    encrypt(box, "oci:other:v1", *again, "--replace-key")
    opens(box, "oci:other:v1", *reader)
    r = box.run("propenc", "decrypt", "oci:enc:v1", "no.wasm", *reader, "--json", ok=4)
    assert r.error()["code"] == "kek-wrong" and not (box / "no.wasm").exists()


def test_the_key_broker_tells_that_a_name_is_in_use(box, kbs):
    """Another machine's upload is in no ledger here; with evidence the broker itself is asked."""
    admin = ["--kbs", kbs.url, "--admin-key", kbs.admin_key]
    (box / "k").write_bytes(os.urandom(32))
    box.run("propkey", "set", "team/key/x", "k", *admin)
    box.run("propkey", "policy", "preset", "allow-all", *admin)
    shutil.rmtree(box.home / "state")
    args = ["--generate", "-r", f"{AGENT}:keyid=kbs:///team/key/x", *admin, "--tee", "sample"]
    assert encrypt(box, "oci:no:v1", *args, ok=7).error()["code"] == "kid-in-use"
    box.run("propkey", "get", "team/key/x", "--kbs", kbs.url, "--tee", "sample", "-o", "got")
    assert (box / "got").read_bytes() == (box / "k").read_bytes() and not (box / "no").exists()


def test_the_key_of_the_key_broker_is_used(box, kbs):
    admin = ["--kbs", kbs.url, "--admin-key", kbs.admin_key]
    (box / "k").write_bytes(os.urandom(32))
    (box / "k").chmod(0o600)
    box.run("propkey", "set", "team/key/x", "k", *admin)
    spec = f"{AGENT}:keyid=kbs:///team/key/x"
    reader = ["--kbs", kbs.url, "--tee", "sample"]
    e = encrypt(box, "oci:no:v1", "-r", spec, *reader, ok=5).error()
    assert e["code"] == "policy-deny" and "team/key/x" in e["message"]
    box.run("propkey", "policy", "preset", "allow-all", *admin)
    encrypt(box, "oci:enc:v1", "-r", spec, *reader)
    opens(box, "oci:enc:v1", "--key", "k")
    e = encrypt(box, "oci:no:v1", "-r", f"{AGENT}:keyid=kbs:///team/key/none", *reader, ok=8).error()
    assert "team/key/none" in e["message"]
    # Without --tee nothing is claimed about this machine.
    e = encrypt(box, "oci:no:v1", "-r", spec, "--kbs", kbs.url, ok=9).error()
    assert e["code"] == "no-tee" and not (box / "no").exists()


def test_nothing_is_encrypted_when_the_upload_is_refused(box, kbs):
    box.run("propkey", "admin-keygen", "-o", "other.key")
    r = encrypt(box, "oci:no:v1", "--generate", "--kbs", kbs.url, "--admin-key", "other.key", ok=5)
    assert "default/key/kek-" in r.error()["message"] and not (box / "no").exists()


def test_a_dry_run_keeps_and_uploads_nothing(box, kbs):
    box.run("propenc", "encrypt", MODULE, "--dry-run", "--generate", "--kbs", kbs.url, "--admin-key",
            kbs.admin_key, "-r", f"{AGENT}:keyid=kbs:///team/key/x")
    assert not list(box.home.rglob("kek-*.bin")) and not (box.home / "state/prop/ledger.db").exists()


def test_generate_without_a_recipient_that_wants_it(box, keys):
    e = encrypt(box, "oci:no:v1", "--generate", "-r", f"jwe:{keys}/rsa.pub.pem", ok=2).error()
    assert e["code"] == "generate-unused" and AGENT in e["hint"] and not (box / "no").exists()


def test_a_foreign_host_in_the_key_id_is_refused_before_a_key_is_made(box, kbs):
    e = encrypt(box, "oci:no:v1", "--generate", "--kbs", kbs.url, "--admin-key", kbs.admin_key, "-r",
                f"{AGENT}:keyid=kbs://evil.example.com/a/b/c", ok=2).error()
    assert e["code"] == "kid-host" and not list(box.home.rglob("kek-*.bin"))


def test_a256ctr_only_on_request(box, keys):
    spec = f"{AGENT}:keypath={keys}/kek32.bin::keyid=kbs:///a/b/c::algorithm=A256CTR"
    e = encrypt(box, "oci:no:v1", "-r", spec, ok=9).error()
    assert e["code"] == "a256ctr-refused" and "--allow-a256ctr" in e["hint"]
    r = encrypt(box, "oci:enc:v1", "-r", spec, "--allow-a256ctr")
    assert "no integrity" in r.err
    assert recipients(box, "oci:enc:v1")[0][1]["wrap_type"] == "A256CTR"
    opens(box, "oci:enc:v1", "--key", keys / "kek32.bin", "--allow-a256ctr")
    r = box.run("propenc", "decrypt", "oci:enc:v1", "no.wasm", "--key", keys / "kek32.bin", "--json", ok=5)
    assert r.error()["code"] == "a256ctr-refused"


# --- key providers of a configuration ---

@pytest.fixture
def provider(box):
    """(environment, requests()): a configuration that names the provider 'toy'."""
    program = box / "kp.py"
    program.write_text(PROVIDER)
    program.chmod(0o700)
    conf = box / "ocicrypt.conf"
    conf.write_text(json.dumps({"key-providers": {
        "toy": {"cmd": {"path": str(program), "args": ["--x", "1"]}},
        "attestation-agent": {"cmd": {"path": str(program)}}}}))
    env = {"OCICRYPT_KEYPROVIDER_CONFIG": str(conf), "KP_LOG": str(box / "kp.log")}

    def requests():
        log = box / "kp.log"
        return [json.loads(x) for x in log.read_text().splitlines()] if log.exists() else []
    return env, requests


def parameters(request, which, name):
    params = request[1][which]["ec" if which == "keywrapparams" else "dc"]["Parameters"][name]
    return [base64.b64decode(p).decode() for p in params]


def test_a_configured_provider_wraps_and_unwraps(box, keys, provider):
    env, requests = provider
    r = encrypt(box, "oci:enc:v1", "-r", "provider:toy:one:with:colons", "-r", "provider:toy", "-r",
                f"jwe:{keys}/rsa.pub.pem", env=env)
    assert "several key schemes" in r.err
    # One call with all parameters, in their order; without any, Go's word for it.
    assert len(requests()) == 1 and requests()[0][0] == ["--x", "1"]
    assert parameters(requests()[0], "keywrapparams", "toy") == ["one:with:colons", "Enabled"]
    opens(box, "oci:enc:v1", "--key", "provider:toy:anything", env=env)
    assert parameters(requests()[1], "keyunwrapparams", "toy") == ["anything"]
    assert "PRIVATE" not in json.dumps(requests())
    # Keys at hand come first, and a provider that was not named is never run.
    opens(box, "oci:enc:v1", "--key", keys / "rsa.pem", env=env)
    opens(box, "oci:enc:v1", "--key", "provider:toy", "--key", keys / "rsa.pem", env=env)
    r = box.run("propenc", "decrypt", "oci:enc:v1", "no.wasm", "--key", keys / "ec.pem", env=env, ok=4)
    assert len(requests()) == 2
    kinds = [k for k, _ in recipients(box, "oci:enc:v1")]
    assert sorted(kinds) == ["jwe", "provider.toy"]


@pytest.mark.parametrize("how", ["status", "empty", "bare"])
def test_a_provider_that_fails_leaves_no_image(box, provider, how):
    env, _ = provider
    r = encrypt(box, "oci:no:v1", "-r", "provider:toy", env={**env, "KP_FAIL": how}, ok=6)
    e = r.error()
    assert e["code"] == "provider-failed" and "toy" in e["message"]
    assert how != "status" or "the vault is sealed" in r.err
    assert not (box / "no/index.json").exists() or \
        not json.loads((box / "no/index.json").read_text())["manifests"]


def test_a_provider_that_fails_to_unwrap_is_what_is_told(box, provider):
    env, _ = provider
    encrypt(box, "oci:enc:v1", "-r", "provider:toy", env=env)
    r = box.run("propenc", "decrypt", "oci:enc:v1", "no.wasm", "--key", "provider:toy", "--json",
                env={**env, "KP_FAIL": "status"}, ok=6)
    assert r.error()["code"] == "provider-failed" and not (box / "no.wasm").exists()


def test_a_provider_nobody_configured(box, provider, keys):
    env, _ = provider
    for args in (["-r", "provider:other"], ["-r", "provider:other:x"]):
        e = encrypt(box, "oci:no:v1", *args, env=env, ok=8).error()
        assert e["code"] == "no-such-provider" and "--keyprovider-config" in e["hint"]
    assert encrypt(box, "oci:no:v1", "-r", "provider:toy", ok=8).error()["code"] == "no-such-provider"
    (box / "bad.conf").write_text("{")
    e = encrypt(box, "oci:no:v1", "-r", "provider:toy", "--keyprovider-config", "bad.conf", ok=3).error()
    assert e["code"] == "keyprovider-config" and not (box / "no").exists()
    # A broken configuration in the environment is nothing to who uses none.
    encrypt(box, "oci:enc:v1", "-r", f"jwe:{keys}/rsa.pub.pem",
            env={"OCICRYPT_KEYPROVIDER_CONFIG": str(box / "bad.conf")})


def test_attestation_agent_is_ours_unless_a_configuration_is_named(box, keys, provider):
    env, requests = provider
    spec = f"{AGENT}:keypath={keys}/kek32.bin::keyid=kbs:///a/b/c"
    encrypt(box, "oci:enc:v1", "-r", spec, env=env)
    assert requests() == []
    opens(box, "oci:enc:v1", "--key", keys / "kek32.bin", env=env)
    conf = ["--keyprovider-config", env["OCICRYPT_KEYPROVIDER_CONFIG"]]
    encrypt(box, "oci:theirs:v1", "-r", spec, *conf, env=env)
    assert parameters(requests()[0], "keywrapparams", "attestation-agent") == \
        [f"keypath={keys}/kek32.bin::keyid=kbs:///a/b/c"]
    opens(box, "oci:theirs:v1", "--key", AGENT, *conf, env=env)


# --- what opens ---

def test_certificate_and_key_in_one_file_and_a_readable_certificate(box, keys):
    encrypt(box, "oci:enc:v1", "-r", f"pkcs7:{keys}/rsa.crt")
    both = keys / "both.pem"
    both.write_bytes((keys / "rsa.crt").read_bytes() + (keys / "rsa.pem").read_bytes())
    both.chmod(0o600)
    opens(box, "oci:enc:v1", "--key", both)
    (keys / "rsa.crt").chmod(0o644)
    opens(box, "oci:enc:v1", "--key", keys / "rsa.pem", "--key", keys / "rsa.crt")
    both.chmod(0o644)
    r = box.run("propenc", "decrypt", "oci:enc:v1", "no.wasm", "--key", both, "--json", ok=5)
    assert r.error()["code"] == "key-file-mode"
    r = box.run("propenc", "decrypt", "oci:enc:v1", "no.wasm", "--key", keys / "rsa.crt", "--json", ok=4)
    assert r.error()["code"] == "pkcs7-no-key" and "--key CERT.pem --key KEY.pem" in r.error()["hint"]


def test_a_recipient_is_checked_with_the_key_at_hand(box, keys):
    """Also given as the recipient itself: the public half receives."""
    encrypt(box, "oci:enc:v1", "-r", f"jwe:{keys}/rsa.pem", "--key", keys / "rsa2.pem", "-r",
            f"jwe:{keys}/rsa2.pub.pem")
    for key in ("rsa.pem", "rsa2.pem"):
        opens(box, "oci:enc:v1", "--key", keys / key)


def test_skopeo_s_options_are_split_at_commas_and_ours_are_not(box, keys):
    (keys / "a,b.pem").write_bytes((keys / "ec.pem").read_bytes())
    (keys / "a,b.pem").chmod(0o600)
    encrypt(box, "oci:enc:v1", "--encryption-key", f"jwe:{keys}/rsa.pub.pem,pkcs7:{keys}/rsa.crt", "-r",
            f"jwe:{keys}/a,b.pem")
    assert sorted(k for k, _ in recipients(box, "oci:enc:v1")) == ["jwe", "jwe", "pkcs7"]
    opens(box, "oci:enc:v1", "--key", keys / "a,b.pem")
    opens(box, "oci:enc:v1", "--decryption-key", f'"{keys}/a,b.pem"')
    opens(box, "oci:enc:v1", "--decryption-key", f"{keys}/rsa2.pem,{keys}/rsa.pem")
    box.run("propenc", "decrypt", "oci:enc:v1", "no.wasm", "--decryption-key", f"{keys}/a,b.pem", ok=8)


def test_keys_of_other_tools_are_named(box, keys):
    (box / "token.yaml").write_text("pkcs11:\n  uri: pkcs11:token=x\n")
    (box / "ring.asc").write_text("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n-----END PGP PRIVATE KEY BLOCK-----\n")
    for name, words in (("token.yaml", "PKCS#11"), ("ring.asc", "OpenPGP")):
        (box / name).chmod(0o600)
        r = box.run("propenc", "decrypt", f"oci:{FIX}/10-jwe-rsa/layout:v1", "oci:no:v1", "--key", name,
                    "--json", ok=9)
        assert r.error()["code"] == "key-unsupported" and words in r.error()["message"]


# --- inspect ---

def blob(layout, data):
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(data)
    return {"digest": "sha256:" + digest, "size": len(data)}


def layout_of(folder, manifest, media_type="application/vnd.oci.image.manifest.v1+json", blobs=()):
    """A layout with one named manifest (bytes or object)."""
    (folder / "blobs/sha256").mkdir(parents=True)
    for data in blobs:
        blob(folder, data)
    text = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [
        {"mediaType": media_type, **blob(folder, text),
         "annotations": {"org.opencontainers.image.ref.name": "v1"}}]}))
    return folder


def described(data, media_type):
    return {"mediaType": media_type, "digest": "sha256:" + hashlib.sha256(data).hexdigest(), "size": len(data)}


def image(config, config_type, *layers, **more):
    return {"schemaVersion": 2, "config": described(config, config_type), "layers": list(layers), **more}


def test_inspect_names_what_a_component_s_config_tells(box):
    config = json.dumps({"os": "wasip2", "architecture": "wasm", "layerDigests": ["sha256:" + "0" * 64],
                         "component": {"imports": ["wasi:http/types@0.2.0"], "exports": ["team:add/calc@1.0.0"],
                                       "target": None}}).encode()
    m = image(config, "application/vnd.wasm.config.v0+json", described(b"x", "application/wasm+enc"),
              annotations={"org.opencontainers.image.source": "https://example.com/team"})
    layout_of(box / "img", m, blobs=[config])
    r = box.run("propenc", "inspect", "oci:img:v1", "--json")
    clear = r.json()["config"]
    assert clear["imports"] == ["wasi:http/types@0.2.0"] and clear["exports"] == ["team:add/calc@1.0.0"]
    assert clear["plain_digests"] == ["sha256:" + "0" * 64] and len(clear["clear"]) == 3
    assert "before 2019" in r.err and "nothing is encrypted" in r.err
    r = box.run("propenc", "inspect", "oci:img:v1")
    for words in ("wasi:http/types@0.2.0", "team:add/calc@1.0.0", "https://example.com/team", "PLAIN"):
        assert words in r.out


def test_inspect_of_an_index_goes_image_by_image(box):
    """Two images of recorded layouts under one index, one plain; a third that was left out."""
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}
    folder = box / "img"
    (folder / "blobs").mkdir(parents=True)
    for case, platform in (("10-jwe-rsa", "linux/amd64"), ("04-plain-image-gzip", "linux/arm64/v8")):
        shutil.copytree(FIX / case / "layout/blobs/sha256", folder / "blobs/sha256", dirs_exist_ok=True)
        entry = json.loads((FIX / case / "layout/index.json").read_text())["manifests"][0]
        parts = platform.split("/") + [None]
        entry["platform"] = {k: v for k, v in zip(("os", "architecture", "variant"), parts) if v}
        del entry["annotations"]
        index["manifests"].append(entry)
    text = json.dumps(index).encode()
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [
        {"mediaType": index["mediaType"], **blob(folder, text),
         "annotations": {"org.opencontainers.image.ref.name": "v1"}}]}))
    r = box.run("propenc", "inspect", "oci:img:v1", "--json")
    doc = r.json()
    assert [(i["platform"], i["encrypted"]) for i in doc["images"]] == [("linux/amd64", True), ("linux/arm64/v8", False)]
    assert doc["encrypted"] is True and doc["plain_layers"] == 1 and doc["encrypted_layers"] == 1
    assert "linux/arm64/v8: nothing is encrypted" in r.err
    out = box.run("propenc", "inspect", "oci:img:v1").out
    assert "image 1: linux/amd64" in out and "RSA-OAEP" in out and "PLAIN" in out
    box.run("propenc", "inspect", "oci:img:v1", "--require-encrypted", ok=1)
    gone = index["manifests"][1]["digest"][7:]
    os.unlink(folder / "blobs/sha256" / gone)
    r = box.run("propenc", "inspect", "oci:img:v1", "--json", "--require-encrypted", ok=1)
    assert r.json()["images"][1]["missing"] is True and "not there" in r.err


def test_decrypt_of_chosen_platforms(box, keys):
    """An index made by propenc, of two plain images."""
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}
    folder = box / "img"
    (folder / "blobs").mkdir(parents=True)
    for case, arch in (("05-plain-image-tar", "amd64"), ("04-plain-image-gzip", "arm64")):
        shutil.copytree(FIX / case / "layout/blobs/sha256", folder / "blobs/sha256", dirs_exist_ok=True)
        entry = json.loads((FIX / case / "layout/index.json").read_text())["manifests"][0]
        del entry["annotations"]
        index["manifests"].append({**entry, "platform": {"os": "linux", "architecture": arch}})
    text = json.dumps(index).encode()
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [
        {"mediaType": index["mediaType"], **blob(folder, text),
         "annotations": {"org.opencontainers.image.ref.name": "v1"}}]}))
    box.run("propenc", "encrypt", "oci:img:v1", "oci:enc:v1", "-r", f"pkcs7:{keys}/rsa.crt")
    box.run("propenc", "inspect", "oci:enc:v1", "--require-encrypted")
    both = ["--key", keys / "rsa.pem", "--key", keys / "rsa.crt"]
    r = box.run("propenc", "decrypt", "oci:enc:v1", "oci:one:v1", *both, "--platform", "linux/arm64", "--json")
    assert r.json()["digest"] == index["manifests"][1]["digest"]
    r = box.run("propenc", "decrypt", "oci:enc:v1", "oci:all:v1", *both, "--json")
    got = json.loads((box / "all/blobs/sha256" / r.json()["digest"][7:]).read_text())
    assert [m["digest"] for m in got["manifests"]] == [m["digest"] for m in index["manifests"]]
    r = box.run("propenc", "decrypt", "oci:enc:v1", "no.wasm", *both, "--platform", "linux/arm64", "--json", ok=2)
    assert r.error()["code"] == "platform-and-file"
    r = box.run("propenc", "decrypt", "oci:enc:v1", "oci:no:v1", *both, "--platform", "plan9/mips", "--json", ok=8)
    assert r.error()["code"] == "platform-not-found" and not (box / "no").exists()


def test_require_encrypted_is_the_exit_status(box, keys):
    encrypt(box, "oci:enc:v1", "-r", f"jwe:{keys}/rsa.pub.pem")
    box.run("propenc", "inspect", "oci:enc:v1", "--require-encrypted")
    for source in (f"oci:{FIX}/18-jwe-one-of-two-layers/layout:v1", f"oci:{FIX}/01-plain-wasm-to-oci/layout:v1", MODULE):
        r = box.run("propenc", "inspect", source, "--require-encrypted", "--json", ok=1)
        assert json.loads(r.stdout)["image"]
        box.run("propenc", "inspect", source)
    r = box.run("propenc", "inspect", f"oci:{FIX}/18-jwe-one-of-two-layers/layout:v1")
    assert "only 1 of 2 layers are encrypted" in r.err


def test_a_type_that_says_encrypted_is_not_enough(box):
    layer = {**described(b"\0asm\1\0\0\0", "application/wasm+encrypted")}
    layout_of(box / "img", image(b"{}", "application/json", layer), blobs=[b"{}", b"\0asm\1\0\0\0"])
    r = box.run("propenc", "inspect", "oci:img:v1", "--require-encrypted", ok=1)
    assert "encrypted by its type ONLY" in r.out and "nothing is encrypted" in r.err


def test_inspect_of_a_hundred_thousand_recipients(box):
    """Over the limit: refused, quickly and with its own word."""
    value = ",".join(["e30="] * 100_000)
    layer = {**described(b"x", "application/wasm+encrypted"),
             "annotations": {"org.opencontainers.image.enc.keys.jwe": value,
                             "org.opencontainers.image.enc.pubopts": base64.b64encode(b"{}").decode()}}
    layout_of(box / "img", image(b"{}", "application/vnd.wasm.config.v1+json", layer), blobs=[b"{}", b"x"])
    for verb in (["inspect", "oci:img:v1"], ["decrypt", "oci:img:v1", "no.wasm", "--key", "k"]):
        (box / "k").write_bytes(bytes(32))
        (box / "k").chmod(0o600)
        r = box.run("propenc", *verb, "--json", ok=9, timeout=30)
        assert r.error()["code"] == "over-limit" and "256" in r.error()["message"]
    assert not (box / "no.wasm").exists()


def test_secrets_are_in_no_output(box, keys, kbs):
    """The new KEK's bytes, raw or as text, are nowhere but in the store."""
    admin = ["--kbs", kbs.url, "--admin-key", kbs.admin_key]
    r = encrypt(box, "oci:enc:v1", "--generate", "-v", *admin)
    kek = open(r.json()["keks"][0]["file"], "rb").read()
    for text in (r.stdout, r.stderr, (box / "enc/index.json").read_bytes()):
        assert kek not in text and base64.b64encode(kek)[:20] not in text and kek.hex().encode() not in text
    assert stat.S_IMODE(os.stat(os.path.dirname(r.json()["keks"][0]["file"])).st_mode) == 0o700


def test_the_toy_provider_s_fixture_opens_through_its_configuration(box, keys):
    pytest.importorskip("cryptography")
    conf = box / "c.json"
    conf.write_text(json.dumps({"key-providers": {"toy": {"cmd": {
        "path": str(FIX / "20-keyprovider-cmd/kp.py"), "args": []}}}}))
    if not os.access(FIX / "20-keyprovider-cmd/kp.py", os.X_OK):
        shutil.copy(FIX / "20-keyprovider-cmd/kp.py", box / "kp.py")
        (box / "kp.py").chmod(0o700)
        conf.write_text(conf.read_text().replace(str(FIX / "20-keyprovider-cmd/kp.py"), str(box / "kp.py")))
    for style in ("b64", "array"):
        r = box.run("propenc", "decrypt", f"oci:{FIX}/20-keyprovider-cmd/layout:v1", f"oci:out-{style}:v1",
                    "--key", "provider:toy", "--keyprovider-config", conf, "--json",
                    env={"KP_KEK": str(keys / "kek32.bin"), "KP_STYLE": style})
        plain = json.loads((FIX / "04-plain-image-gzip/layout/index.json").read_text())["manifests"][0]["digest"]
        assert r.json()["digest"] == plain
