"""propenc rewrap: recipients come and go by another manifest; no layer byte is read or moved."""
import base64
import hashlib
import json
import os
import shutil

import pytest

from conftest import VECTORS
from helpers.fault_server import FaultServer, status

FIX = VECTORS / "ocicrypt"
ADDITION = FIX / "wasm/addition.wasm"
ENC = "org.opencontainers.image.enc."
AGENT = ENC + "keys.provider.attestation-agent"


@pytest.fixture
def keys(keys):
    (keys / "new.bin").write_bytes(os.urandom(32))
    (keys / "new.bin").chmod(0o600)
    return keys


def agent(kek, kid="kbs:///default/key/x"):
    return f"provider:attestation-agent:keypath={kek}::keyid={kid}"


def manifest(layout, name="v1"):
    """(digest, document) of an image in a layout, by name."""
    for entry in json.loads((layout / "index.json").read_text())["manifests"]:
        if entry.get("annotations", {}).get("org.opencontainers.image.ref.name") == name:
            return entry["digest"], json.loads((layout / "blobs/sha256" / entry["digest"][7:]).read_text())
    raise AssertionError(f"no {name}")


def blocks(doc, key=AGENT, layer=0):
    value = doc["layers"][layer]["annotations"].get(key)
    return [base64.b64decode(b) for b in value.split(",")] if value else []


def kids(doc):
    return [json.loads(b)["kid"] for b in blocks(doc)]


@pytest.fixture
def image(box, keys):
    """oci:img:v1, encrypted for one KEK."""
    box.run("propenc", "encrypt", ADDITION, "oci:img:v1", "-r", agent(keys / "kek32.bin"))
    return box / "img"


def opens(box, image, key, name="v1"):
    r = box.run("propenc", "decrypt", f"{image}:{name}" if name else image, "-", "--key", key, ok=None)
    return r.returncode == 0 and r.stdout == ADDITION.read_bytes()


def state(folder):
    """Every file with its content's identity: a layer that is rewritten gets another one."""
    return {p.relative_to(folder): (p.stat().st_ino, p.stat().st_mtime_ns, p.stat().st_size)
            for p in folder.rglob("*") if p.is_file()}


def test_a_recipient_is_added_in_place_without_touching_a_blob(box, keys, image):
    before, old = manifest(image)
    files = state(image / "blobs")
    r = box.run("propenc", "rewrap", "oci:img:v1", "--key", keys / "kek32.bin",
                "-r", f"jwe:{keys}/rsa.pub.pem", "--json").json()
    digest, doc = manifest(image)
    assert (r["before"], r["digest"]) == (before, digest) and before != digest
    assert (r["layers"], r["added"], r["removed"]) == (1, 1, 0)
    assert blocks(doc) == blocks(old) and len(blocks(doc, ENC + "keys.jwe")) == 1
    assert doc["layers"][0]["annotations"][ENC + "pubopts"] == old["layers"][0]["annotations"][ENC + "pubopts"]
    for member in ("digest", "size", "mediaType"):
        assert doc["layers"][0][member] == old["layers"][0][member]
    now = state(image / "blobs")
    assert {k: v for k, v in now.items() if k in files} == files
    assert [p.name for p in set(now) - set(files)] == [digest[7:]]
    assert opens(box, "oci:img", keys / "rsa.pem") and opens(box, "oci:img", keys / "kek32.bin")


def test_adding_twice_changes_nothing(box, keys, image):
    before, _ = manifest(image)
    to = ["-r", agent(keys / "kek32.bin"), "-r", f"jwe:{keys}/rsa.pub.pem"]
    r = box.run("propenc", "rewrap", "oci:img:v1", "--key", keys / "kek32.bin", *to, "--json").json()
    assert (r["added"], r["removed"]) == (1, 0)
    after, _ = manifest(image)
    again = ["--key", keys / "kek32.bin", "--key", keys / "rsa.pem", *to, "--json"]
    r = box.run("propenc", "rewrap", "oci:img:v1", *again)
    assert "nothing had to change" in r.err
    assert (r.json()["added"], r.json()["before"], r.json()["digest"]) == (0, after, after)
    r = box.run("propenc", "rewrap", "oci:img:v1", "--replace", *again).json()
    assert (r["added"], r["removed"], r["digest"]) == (0, 0, after)


def test_replace_leaves_nobody_else(box, keys, image):
    new = agent(keys / "new.bin", "kbs:///default/key/new")
    r = box.run("propenc", "rewrap", "oci:img:v1", "oci:img:v2", "--key", keys / "kek32.bin", "--replace",
                "-r", new, "--json").json()
    assert (r["added"], r["removed"]) == (1, 1)
    _, doc = manifest(image, "v2")
    assert kids(doc) == ["kbs:///default/key/new"]
    assert opens(box, "oci:img", keys / "new.bin", "v2") and not opens(box, "oci:img", keys / "kek32.bin", "v2")
    assert opens(box, "oci:img", keys / "kek32.bin", "v1")
    # the old key no longer opens it, so it cannot rewrap it either
    r = box.run("propenc", "rewrap", "oci:img:v2", "--key", keys / "kek32.bin", "-r", f"jwe:{keys}/ec.pub.pem",
                "--json", ok=4)
    assert r.error()["code"] == "kek-wrong"


def test_one_kid_under_another_kek_needs_the_old_one_out(box, keys, image):
    before, _ = manifest(image)
    args = ["propenc", "rewrap", "oci:img:v1", "--key", keys / "kek32.bin", "-r", agent(keys / "new.bin"), "--json"]
    r = box.run(*args, ok=2)
    assert r.error()["code"] == "kid-taken" and "--remove kbs:///default/key/x" in r.error()["hint"]
    assert manifest(image)[0] == before
    r = box.run(*args, "--remove", "kbs:///default/key/x").json()
    assert (r["added"], r["removed"]) == (1, 1)
    assert opens(box, "oci:img", keys / "new.bin") and not opens(box, "oci:img", keys / "kek32.bin")


def test_removing_needs_no_key(box, keys, image):
    box.run("propenc", "rewrap", "oci:img:v1", "--key", keys / "kek32.bin", "-r", f"jwe:{keys}/rsa.pub.pem",
            "-r", f"jwe:{keys}/ec.pub.pem", "-r", f"jwe:{keys}/rsakid.pub.jwk")
    r = box.run("propenc", "rewrap", "oci:img:v1", "--remove", "kbs:///default/key/x", "--json").json()
    assert (r["added"], r["removed"]) == (0, 1)
    assert kids(manifest(image)[1]) == []
    kid = json.loads((keys / "rsakid.pub.jwk").read_text())["kid"]
    assert len(blocks(manifest(image)[1], ENC + "keys.jwe")) == 3
    r = box.run("propenc", "rewrap", "oci:img:v1", "--remove", f"kid:{kid}", "--json").json()
    assert r["removed"] == 1 and not opens(box, "oci:img", keys / "rsakid.jwk")
    assert opens(box, "oci:img", keys / "rsa.pem") and opens(box, "oci:img", keys / "ec.pem")
    last, _ = manifest(image)
    r = box.run("propenc", "rewrap", "oci:img:v1", "--remove", "jwe", "--json", ok=2)
    assert r.error()["code"] == "no-recipient"
    assert manifest(image)[0] == last


@pytest.mark.parametrize("who", ["kbs:///default/key/other", "kid:nobody", "thumb:nobody", "pkcs7", "provider.toy",
                                 "kbs://host/default/key/x", "nonsense"])
def test_removing_nobody_is_an_error(box, keys, image, who):
    before = state(image)
    r = box.run("propenc", "rewrap", "oci:img:v1", "--remove", who, "--json", ok=2)
    assert r.error()["code"] == "recipient-unknown" and who in r.error()["message"]
    assert state(image) == before


def test_one_of_several_recipients_of_a_general_jwe(box, keys):
    """go-jose's general form holds all recipients in one block: one can leave, and the rest still opens."""
    shutil.copytree(FIX / "42-wasm-jwe-multi/layout", box / "many")
    for f in (box / "many").rglob("*"):
        f.chmod(0o700 if f.is_dir() else 0o600)
    _, doc = manifest(box / "many")
    block = json.loads(blocks(doc, ENC + "keys.jwe")[0])
    assert len(block["recipients"]) > 1
    block["recipients"][1]["header"]["kid"] = "second"
    doc["layers"][0]["annotations"][ENC + "keys.jwe"] = base64.b64encode(json.dumps(block).encode()).decode()
    data = json.dumps(doc).encode()
    digest = hashlib.sha256(data).hexdigest()
    (box / "many/blobs/sha256" / digest).write_bytes(data)
    index = json.loads((box / "many/index.json").read_text())
    index["manifests"][0].update(digest="sha256:" + digest, size=len(data))
    (box / "many/index.json").write_text(json.dumps(index))
    r = box.run("propenc", "rewrap", "oci:many:v1", "--remove", "kid:second", "--json").json()
    assert r["removed"] == 1
    left = json.loads(blocks(manifest(box / "many")[1], ENC + "keys.jwe")[0])
    assert [x for x in block["recipients"] if x["header"].get("kid") != "second"] == left["recipients"]
    assert left["encrypted_key"] == left["recipients"][0]["encrypted_key"]
    good = [k for k in ("rsa.pem", "ec.pem", "rsa2.pem") if opens(box, "oci:many", keys / k)]
    assert len(good) == len(left["recipients"])


@pytest.mark.parametrize("case,key", [("10-jwe-rsa", "rsa.pem"), ("14-jwe-recompressed", "rsa.pem"),
                                      ("18-jwe-one-of-two-layers", "ec.pem"), ("30-coco-a256gcm", "kek32.bin"),
                                      ("34-coco-no-kid", "kek32.bin"), ("36-wasm-coco-packet-v2", "kek32.bin"),
                                      ("43-wasm-jwe-rust", "rsa.pem"), ("45-cncf-jwe", "ec.pem")])
def test_recorded_images_are_rewrapped(box, keys, case, key):
    box.run("propenc", "rewrap", f"oci:{FIX / case}/layout:v1", "oci:out:v1", "--key", keys / key, "--replace",
            "-r", agent(keys / "new.bin", "kbs:///default/key/new"))
    a = box.run("propenc", "decrypt", f"oci:{FIX / case}/layout:v1", "oci:plain:a", "--key", keys / key, "--json")
    b = box.run("propenc", "decrypt", "oci:out:v1", "oci:plain:b", "--key", keys / "new.bin", "--json")
    assert a.json()["digest"] == b.json()["digest"]


def test_in_a_registry_only_the_manifest_is_put(box, keys):
    with FaultServer() as server:
        ref = f"docker://{server.host}/team/app:v1"
        box.run("propenc", "encrypt", ADDITION, ref, "-r", agent(keys / "kek32.bin"))
        server.requests.clear()
        r = box.run("propenc", "rewrap", ref, "--key", keys / "kek32.bin", "-r", f"jwe:{keys}/ec.pub.pem",
                    "--json").json()
        asked = [str(x) for x in server.requests]
        assert not [x for x in asked if "/blobs/" in x], asked
        assert asked == ["GET /v2/team/app/manifests/v1", f"PUT /v2/team/app/manifests/{r['digest']}",
                         f"GET /v2/team/app/manifests/{r['digest']}", "HEAD /v2/team/app/manifests/v1", "PUT /v2/team/app/manifests/v1"]
        assert opens(box, ref, keys / "ec.pem", None)


def test_a_pin_is_for_what_is_read(box, keys, image):
    digest, _ = manifest(image)
    to = ["--key", keys / "kek32.bin", "-r", f"jwe:{keys}/ec.pub.pem", "--json"]
    r = box.run("propenc", "rewrap", f"oci:img:@{digest}", *to, ok=2)
    assert r.error()["code"] == "digest-destination"
    box.run("propenc", "rewrap", f"oci:img:v1@{digest}", *to)
    assert opens(box, "oci:img", keys / "ec.pem")
    with FaultServer() as server:
        ref = f"docker://{server.host}/team/app"
        r = box.run("propenc", "encrypt", ADDITION, f"{ref}:v1", "-r", agent(keys / "kek32.bin"), "--json").json()
        assert box.run("propenc", "rewrap", f"{ref}@{r['digest']}", *to, ok=2).error()["code"] == "digest-destination"
        box.run("propenc", "rewrap", f"{ref}:v1@{r['digest']}", *to)
        assert opens(box, f"{ref}:v1", keys / "ec.pem", None)
        # pinned to what it no longer is
        assert box.run("propenc", "rewrap", f"{ref}:v1@{r['digest']}", *to, ok=7).error()["code"] == "image-changed"


def test_a_name_that_moved_meanwhile_is_left_alone(box, keys):
    with FaultServer() as server:
        ref = f"docker://{server.host}/team/app:v1"
        box.run("propenc", "encrypt", ADDITION, ref, "-r", agent(keys / "kek32.bin"))

        def moved(handler):
            server.manifests["team/app", "v1"] = b'{"somebody":"else"}', "application/vnd.oci.image.manifest.v1+json"
            return False
        server.fault("PUT", r"/manifests/sha256", moved)
        r = box.run("propenc", "rewrap", ref, "--key", keys / "kek32.bin", "-r", f"jwe:{keys}/ec.pub.pem", "--json",
                    ok=None)
        assert r.returncode != 0 and r.error()["code"] == "image-changed"
        assert server.manifests["team/app", "v1"][0] == b'{"somebody":"else"}'


def test_a_real_registry(box, keys, registry):
    ref = f"docker://{registry.host}/team/app:v1"
    box.run("propenc", "encrypt", ADDITION, ref, "-r", agent(keys / "kek32.bin"))
    other = f"docker://{registry.host}/other/app:v1"
    box.run("propenc", "rewrap", ref, other, "--key", keys / "kek32.bin", "-r", f"jwe:{keys}/ec.pub.pem")
    assert opens(box, other, keys / "ec.pem", None) and not opens(box, ref, keys / "ec.pem", None)
    box.run("propenc", "rewrap", other, "--remove", "provider.attestation-agent")
    assert opens(box, other, keys / "ec.pem", None) and not opens(box, other, keys / "kek32.bin", None)


def test_to_another_repository_of_one_registry_nothing_is_moved(box, keys, registry):
    """docker-registry takes the blobs over from its own other repository."""
    ref, other = f"docker://{registry.host}/team/app:v1", f"docker://{registry.host}/other/app:v1"
    box.run("propenc", "encrypt", ADDITION, ref, "-r", agent(keys / "kek32.bin"))
    blobs = state(registry.root / "docker/registry/v2/blobs")
    box.run("propenc", "rewrap", ref, other, "--key", keys / "kek32.bin", "-r", f"jwe:{keys}/ec.pub.pem")
    now = state(registry.root / "docker/registry/v2/blobs")
    assert {k: v for k, v in now.items() if k in blobs} == blobs and len(now) == len(blobs) + 1
    assert opens(box, other, keys / "ec.pem", None)


@pytest.mark.parametrize("answer", [202, 404, 403, 500])
def test_a_registry_that_mounts_nothing_gets_the_bytes(box, keys, answer):
    with FaultServer() as server:
        ref = f"docker://{server.host}/team/app:v1"
        box.run("propenc", "encrypt", ADDITION, ref, "-r", agent(keys / "kek32.bin"))
        server.requests.clear()
        if answer != 202:
            server.fault("POST", "mount=", status(answer), times=99)
        server.fault("HEAD", "/v2/other/app/blobs/", status(404), times=99)
        box.run("propenc", "rewrap", ref, ref.replace("team", "other"), "--key", keys / "kek32.bin",
                "-r", f"jwe:{keys}/ec.pub.pem")
        asked = [str(r) for r in server.requests]
        assert [a for a in asked if "mount=sha256:" in a and "from=team/app" in a]
        sent = [a for a in asked if a.startswith("PUT") and "/other/app/blobs/uploads/" in a]
        assert len(sent) == 2 and not server.uploads
        assert opens(box, ref.replace("team", "other"), keys / "ec.pem", None)


def test_a_killed_put_leaves_the_old_name(box, keys):
    with FaultServer() as server:
        ref = f"docker://{server.host}/team/app:v1"
        box.run("propenc", "encrypt", ADDITION, ref, "-r", agent(keys / "kek32.bin"))
        server.fault("PUT", r"/manifests/sha256", status(403), times=9)
        box.run("propenc", "rewrap", ref, "--key", keys / "kek32.bin", "--replace", "-r", f"jwe:{keys}/ec.pub.pem",
                ok=5)
        assert opens(box, ref, keys / "kek32.bin", None)


def test_a_dir_image_keeps_its_very_blobs(box, keys):
    box.run("propenc", "encrypt", ADDITION, "dir:img", "-r", agent(keys / "kek32.bin"))
    before = {n: v for n, v in state(box / "img").items() if len(n.name) == 64}
    box.run("propenc", "rewrap", "dir:img", "--key", keys / "kek32.bin", "-r", f"jwe:{keys}/ec.pub.pem")
    after = {n: v for n, v in state(box / "img").items() if len(n.name) == 64}
    assert before == after and len(after) == 2
    assert opens(box, "dir:img", keys / "ec.pem", None)
    assert sorted(p.name for p in box.path.iterdir() if p.name.startswith("img")) == ["img"]


def test_an_archive_and_other_places(box, keys, image):
    box.run("propenc", "rewrap", "oci:img:v1", "oci-archive:a.tar:v1", "--key", keys / "kek32.bin",
            "-r", f"jwe:{keys}/ec.pub.pem")
    assert opens(box, "oci-archive:a.tar", keys / "ec.pem")
    box.run("propenc", "rewrap", "oci-archive:a.tar:v1", "--remove", "provider.attestation-agent")
    assert opens(box, "oci-archive:a.tar", keys / "ec.pem") and not opens(box, "oci-archive:a.tar", keys / "kek32.bin")
    box.run("propenc", "rewrap", "oci-archive:a.tar:v1", "dir:d", "--key", keys / "ec.pem",
            "-r", agent(keys / "new.bin"))
    assert opens(box, "dir:d", keys / "new.bin", None)


def test_dry_run_writes_nothing(box, keys, image):
    before = state(image)
    r = box.run("propenc", "rewrap", "oci:img:v1", "--key", keys / "kek32.bin", "-r", f"jwe:{keys}/ec.pub.pem",
                "--dry-run", "--json").json()
    assert r["added"] == 1 and not r["written"] and state(image) == before


@pytest.mark.parametrize("args,code,status", [
    ([], "no-recipient", 2),
    (["-r", "jwe:{k}/rsa.pub.pem"], "no-key", 2),
    (["--add", "--replace", "-r", "jwe:{k}/rsa.pub.pem", "--key", "{k}/kek32.bin"], "add-and-replace", 2),
    (["--key", "{k}/new.bin", "-r", "jwe:{k}/rsa.pub.pem"], "kek-wrong", 4),
    (["--key", "{k}/rsa.pem", "-r", "jwe:{k}/rsa.pub.pem"], "no-usable-scheme", 9),
    (["--platform", "linux/amd64", "--remove", "jwe"], "not-an-index", 2),
    (["--platform", "linux", "--remove", "jwe"], "bad-platform", 2),
])
def test_wrong_command_lines_change_nothing(box, keys, image, args, code, status):
    before = state(image)
    r = box.run("propenc", "rewrap", "oci:img:v1", *[a.format(k=keys) for a in args], "--json", ok=status)
    assert r.error()["code"] == code, r.err
    assert state(image) == before


def test_plain_images_have_no_recipients(box, keys):
    r = box.run("propenc", "rewrap", f"oci:{FIX}/01-plain-wasm-to-oci/layout:v1", "oci:a:v1", "--remove", "jwe",
                "--json", ok=3)
    assert r.error()["code"] == "not-encrypted" and not (box / "a").exists()
    r = box.run("propenc", "rewrap", ADDITION, "oci:a:v1", "--remove", "jwe", "--json", ok=3)
    assert r.error()["code"] == "not-encrypted" and not (box / "a").exists()


def test_a_plain_layer_beside_is_told(box, keys):
    r = box.run("propenc", "rewrap", f"oci:{FIX}/18-jwe-one-of-two-layers/layout:v1", "oci:a:v1", "--key",
                keys / "ec.pem", "-r", f"jwe:{keys}/rsa.pub.pem")
    assert "1 layer is not encrypted and stays readable" in r.err


@pytest.mark.parametrize("scheme,damaged", [("jwe", b"{}"), ("pkcs7", b"0"), ("pgp", None)])
def test_the_last_recipient_who_can_open_it_stays(box, keys, image, scheme, damaged):
    """What is left behind is no recipient when nobody can ever open it."""
    digest, doc = manifest(image)
    text = base64.b64encode(damaged).decode() if damaged else "!!!"
    doc["layers"][0]["annotations"][ENC + f"keys.{scheme}"] = text
    data = json.dumps(doc).encode()
    new = hashlib.sha256(data).hexdigest()
    (image / "blobs/sha256" / new).write_bytes(data)
    index = json.loads((image / "index.json").read_text())
    index["manifests"][0].update(digest="sha256:" + new, size=len(data))
    (image / "index.json").write_text(json.dumps(index))
    r = box.run("propenc", "rewrap", "oci:img:v1", "--remove", "provider.attestation-agent", "--json", ok=2)
    assert r.error()["code"] == "no-recipient"
    box.run("propenc", "rewrap", "oci:img:v1", "--remove", scheme)  # the damaged one may go
    assert opens(box, "oci:img", keys / "kek32.bin")


def test_encrypting_an_encrypted_image_adds_recipients(box, keys, image):
    r = box.run("propenc", "encrypt", "oci:img:v1", "oci:img:v2", "--key", keys / "kek32.bin",
                "-r", f"jwe:{keys}/ec.pub.pem", "--json")
    assert "recipients were added" in r.err
    _, old = manifest(image)
    _, doc = manifest(image, "v2")
    assert doc["layers"][0]["digest"] == old["layers"][0]["digest"]
    assert r.json()["images"][0]["layers"][0]["action"] == "recipients-added"
    assert opens(box, "oci:img", keys / "ec.pem", "v2") and opens(box, "oci:img", keys / "kek32.bin", "v2")
    r = box.run("propenc", "encrypt", "oci:img:v1", "oci:img:v3", "-r", f"jwe:{keys}/ec.pub.pem", "--json", ok=2)
    assert r.error()["code"] == "already-encrypted" and "rewrap" in r.error()["hint"]
