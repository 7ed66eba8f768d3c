"""proppush publish against propkbs, docker-registry and layouts: what comes out, what is refused
before anything leaves, and what becomes of the policy."""
import base64
import json
import os
import pathlib
import re
import shlex
import sqlite3

import pytest

from conftest import ROOT
from publishing import ADDITION, Proxy, Publisher, host_of, kept_keks, manifest, tag_digest

HEX96 = "ab" * 48
OTHER96 = "cd" * 48


# --- the happy path ------------------------------------------------------------------------------

def test_publish_to_a_registry(pub, box):
    doc = pub.json("--allow", "tee=sample", "--replace-policy", env={"PROP_TEE": "sample"})
    host = host_of(pub)
    assert doc["digest"] == tag_digest(host)
    assert doc["pinned"] == f"{host}/team/addition@{doc['digest']}"
    m = manifest(host, doc["digest"])
    layer = m["layers"][0]
    assert layer["mediaType"] == "application/vnd.wasm.content.layer.v1+wasm+encrypted"
    assert layer["digest"] == doc["layer"] and layer["size"] == doc["size"] == len(ADDITION)
    packet = json.loads(base64.b64decode(
        layer["annotations"]["org.opencontainers.image.enc.keys.provider.attestation-agent"]))
    assert packet["kid"] == doc["kid"]
    # the key's default name: what it is, and which KEK
    assert doc["kid"] == f"kbs:///default/key/addition-{doc['kek_fingerprint']}"
    kek = pathlib.Path(doc["kek_file"])
    assert kek.stat().st_mode & 0o777 == 0o600 and len(kek.read_bytes()) == 32
    assert pub.get(doc["kid"]) == kek.read_bytes()
    assert pub.decrypts(doc)
    assert doc["insecure"] is True and doc["unchanged"] is False
    assert doc["proof"]["key"] == "fetched from the KBS as a guest would"
    steps = [s["step"] for s in doc["steps"]]
    assert steps == ["kek", "image", "policy", "key", "proof", "name"]
    assert doc["run"] == f"propcvm run {doc['pinned']} --kbs {pub.kbs.url} --tee sample"


def test_the_printed_command_runs_it(pub, box):
    doc = pub.json("--allow", "tee=sample", "--replace-policy")
    assert box.run(*shlex.split(doc["run"]), "--invoke", "add", "--", "10", "20").out == "30\n"


def test_human_output_and_notes(pub):
    r = pub.run("--allow", "tee=sample", "--replace-policy")
    assert re.search(r"^run +propcvm run \S+@sha256:[0-9a-f]{64} --kbs ", r.out, re.M)
    assert "warning: sample evidence may have the key" in r.err
    for word in ("kept in", "no name yet", "policy with the rule sent", "given to", "names the image"):
        assert word in r.err
    quiet = pub.run("--allow", "tee=sample", "--quiet")
    assert "note:" not in quiet.err and "warning:" in quiet.err


@pytest.mark.parametrize("dst", ["oci:layout:v1", "dir:folder", "oci-archive:image.tar:v1"])
def test_publish_to_local_places(box, kbs, module, dst):
    pub = Publisher(box, kbs, module, dst)
    doc = pub.json("--allow", "tee=sample", "--replace-policy", "--kid", "default/key/local")
    assert doc["kid"] == "kbs:///default/key/local"
    assert pub.get("default/key/local") == pathlib.Path(doc["kek_file"]).read_bytes()
    out = box / "out.wasm"
    box.run("propenc", "decrypt", dst, out, "--key", doc["kek_file"])
    assert out.read_bytes() == ADDITION
    assert f"--digest {doc['digest']}" in doc["run"]
    assert box.run(*shlex.split(doc["run"]), "--invoke", "add", "--", "10", "20").out == "30\n"


def test_stdin_image_source_and_odd_names(box, kbs, module):
    pub = Publisher(box, kbs, "-", "oci:my folder:über v1")
    doc = pub.json("--kid", "a/b/c", stdin=ADDITION)
    assert shlex.split(doc["run"])[2] == "oci:my folder:über v1"
    box.run("proppush", "push", module, "oci:plain:x")
    pub = Publisher(box, kbs, "oci:plain:x", "oci:second:x")
    doc = pub.json("--kid", "a/b/d")
    assert pub.decrypts(doc)


def test_further_recipient(pub, box):
    box.run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-out", "alice.pem")
    box.run("openssl", "pkey", "-in", "alice.pem", "-pubout", "-out", "alice.pub.pem")
    os.chmod(box / "alice.pem", 0o600)
    doc = pub.json("-r", f"jwe:{box / 'alice.pub.pem'}")
    assert pub.decrypts(doc)
    assert pub.decrypts(doc, kek=box / "alice.pem")


def test_given_kek_as_raw_and_base64(pub, box):
    kek = bytes(range(32))
    (box / "raw.kek").write_bytes(kek)
    (box / "b64.kek").write_text(base64.b64encode(kek).decode() + "\n")
    for name in ("raw.kek", "b64.kek"):
        os.chmod(box / name, 0o600)
    doc = pub.json("--kek", box / "raw.kek", "--kid", "t/k/1", "--allow", "tee=sample",
                   "--replace-policy")
    assert doc["kek_file"] == str(box / "raw.kek")
    assert pub.get("t/k/1") == kek
    doc = pub.json("--kek", box / "b64.kek", "--kid", "t/k/2", "--allow", "tee=sample", dst=pub.dst + "2")
    # raw bytes in the KBS, whatever the file's form: guests take nothing else
    assert pub.get("t/k/2") == kek
    assert kept_keks(box) == []
    (box / "short.kek").write_bytes(b"x" * 31)
    os.chmod(box / "short.kek", 0o600)
    pub.fails(3, "kek-length", "--kek", box / "short.kek")


def test_no_secret_in_any_output(pub, box):
    for i, args in enumerate(([], ["--json"], ["--verbose"])):
        r = pub.run("--allow", "tee=sample", "--replace-policy", "--kid", f"a/b/c{i}", *args,
                    dst=f"{pub.dst}{i}")
        for name in kept_keks(box):
            kek = (box.home / "data/prop/keys" / name).read_bytes()
            for form in (kek, kek.hex().encode(), base64.b64encode(kek), base64.urlsafe_b64encode(kek)[:42]):
                assert form not in r.stdout and form not in r.stderr


# --- again, and again differently ------------------------------------------------------------------

def test_second_publish_changes_nothing(pub, box):
    args = ("--allow", "tee=sample", "--policy-doc", "p.toml")
    (box / "p.toml").write_text("version = 1\n")
    first = pub.json(*args, env={"PROP_TEE": "sample"})
    text = (box / "p.toml").read_bytes()
    second = pub.json(*args, env={"PROP_TEE": "sample"})
    assert second["unchanged"] is True and first["unchanged"] is False
    assert second["digest"] == first["digest"] and second["kid"] == first["kid"]
    # a guest's view proved that policy and key are in place: nothing was sent
    assert second["policy"] == {**first["policy"], "changed": False, "sent": False}
    assert (box / "p.toml").read_bytes() == text
    assert len(kept_keks(box)) == 1
    # Where nothing can be proved key and rule are sent again, the rule first.
    third = pub.json(*args)
    assert third["unchanged"] is True and third["policy"]["sent"] is True
    assert [s["step"] for s in third["steps"]] == ["image", "policy", "key", "proof"]
    assert (box / "p.toml").read_bytes() == text
    human = pub.run(*args)
    assert "published already" in human.out


def test_second_publish_heals_a_new_kbs(box, registry, module, kbs_factory):
    """The KBS lost everything; the ledger must not be believed."""
    one, two = kbs_factory(), kbs_factory()
    proxy = Proxy(one.url.split("://")[1])
    pub = Publisher(box, one, module, f"{registry.host}/team/addition:encrypted",
                    f"http://{proxy.address}")
    first = pub.json("--allow", "tee=sample", "--replace-policy")
    pub.kbs, proxy.port = two, str(two.port)
    again = pub.json("--allow", "tee=sample", env={"PROP_TEE": "sample"})
    proxy.stop()
    assert again["unchanged"] is True and again["policy"]["sent"] is True
    assert pub.get(first["kid"]) == pathlib.Path(first["kek_file"]).read_bytes()


def test_changed_module_gets_a_new_image_and_key(pub, module, box):
    first = pub.json()
    module.write_bytes(ADDITION + b"\x00\x02\x01x")
    second = pub.json()
    assert second["unchanged"] is False
    assert second["digest"] != first["digest"] and second["kid"] != first["kid"]
    assert tag_digest(host_of(pub)) == second["digest"]
    assert len(kept_keks(box)) == 2


def test_same_kid_same_kek_other_module(pub, module, box):
    first = pub.json("--kid", "t/k/1", "--allow", "tee=sample", "--replace-policy")
    module.write_bytes(ADDITION + b"\x00\x02\x01x")
    second = pub.json("--kid", "t/k/1", "--kek", first["kek_file"], "--allow", "tee=sample")
    assert second["digest"] != first["digest"]
    assert second["policy"]["changed"] is False
    assert pub.get("t/k/1") == pathlib.Path(first["kek_file"]).read_bytes()


def test_kid_in_use(pub, module, box):
    first = pub.json("--kid", "t/k/1", "--allow", "tee=sample", "--replace-policy")
    old = pathlib.Path(first["kek_file"]).read_bytes()
    module.write_bytes(ADDITION + b"\x00\x02\x01x")
    e = pub.fails(7, "kid-in-use", "--kid", "kbs:///t/k/1")
    assert "--replace-key" in e["hint"]
    assert tag_digest(host_of(pub)) == first["digest"]
    assert pub.get("t/k/1") == old and len(kept_keks(box)) == 1
    # Another machine, without our ledger: the destination's present image tells.
    (box.home / "state/prop/ledger.db").unlink()
    pub.fails(7, "kid-in-use", "--kid", "t/k/1")
    # ... and it tells that the KEK given is the one in use
    pub.json("--kid", "t/k/1", "--kek", first["kek_file"])
    r = pub.run("--kid", "t/k/1", "--replace-key", "--json")
    assert "overwritten" in r.err
    assert pub.get("t/k/1") == pathlib.Path(r.json()["kek_file"]).read_bytes() != old


# --- options that cannot be ------------------------------------------------------------------------

@pytest.mark.parametrize("args, code, error_id", [
    (["--policy-doc", "p.toml"], 2, "no-allow"),
    (["--replace-policy"], 2, "no-allow"),
    (["--replace-key"], 2, "no-kid"),
    (["--allow", "tee=snp"], 2, "bad-allow"),
    (["--allow", "snp"], 2, "bad-allow"),
    (["--allow", "tee=snp,tier=affirming"], 2, "policy-unknown"),
    (["--allow", "tee=snp,tier=affirming", "--policy-doc", "none.toml"], 8, "not-found"),
    (["--kid", "a/b"], 3, "bad-resource-path"),
    (["--kid", "kbs://other.example.com/a/b/c"], 2, "foreign-kbs"),
    (["--kek", "none.kek"], 8, "not-found"),
    (["-r", "jwe:none.pem"], 8, "not-found"),
    (["-r", "xyz:none.pem"], 2, "bad-recipient"),
])
def test_refused_before_anything(pub, box, args, code, error_id):
    pub.fails(code, error_id, *args)
    assert tag_digest(host_of(pub)) is None
    assert kept_keks(box) == []


def test_bad_sources_and_destinations(pub, box, module):
    pub.fails(8, "no-such-source", src=box / "none.wasm")
    pub.fails(2, "bad-location", dst=str(box / "x.wasm"))
    pub.fails(2, "bad-location", dst="sink:")
    pub.fails(2, "bad-location", dst=f"{host_of(pub)}/team/addition@sha256:{'0' * 64}")
    doc = pub.json()
    pub.fails(2, "already-encrypted", src=doc["pinned"], dst=pub.dst + "2")
    assert tag_digest(host_of(pub), tag="encrypted2") is None
    # not a module: published as asked, with a word
    (box / "text.wasm").write_text("(module)")
    assert "does not begin as a WebAssembly module" in pub.run(src=box / "text.wasm",
                                                               dst=pub.dst + "3").err


def test_sample_for_a_kbs_elsewhere(box, module):
    """Refused by its name alone; nothing is asked of that host."""
    for url in ("http://127.0.0.1.example.invalid", "https://localhost.example.invalid:8080",
                "https://[::2]:8080", "https://kbs.example.invalid/127.0.0.1"):
        e = box.run("proppush", "publish", module, "oci:x:y", "--kbs", url, "--insecure-http", "--allow",
                    "tee=sample", "--replace-policy", "--json", ok=2).error()
        assert e["code"] == "sample-not-loopback" and "--i-know-this-is-a-test" in e["hint"], url
    args = ["proppush", "publish", module, "oci:x:y", "--kbs", "http://127.0.0.1.example.invalid",
            "--insecure-http", "--allow", "tee=sample", "--replace-policy", "--json"]
    # the name does not resolve: what is left to see is that the flag is not a usage error any more
    r = box.run(*args, "--i-know-this-is-a-test", ok=None)
    assert r.error()["code"] != "sample-not-loopback"


# --- policies ----------------------------------------------------------------------------------------

def test_document_is_kept_byte_for_byte(pub, box):
    text = ("# two teams share this KBS\nversion = 1\n\n[[rule]]   # red\nresource = 'red/*/*'\n"
            "tier = \"affirming\"\n\n# end")
    doc = box / "policy.toml"
    doc.write_text(text)
    os.chmod(doc, 0o640)
    pub.run("--policy-doc", doc, "--allow", f"tee=snp,measurement=sha384:{HEX96}", "--kid", "b/k/1")
    after = doc.read_text()
    assert after.startswith(text + "\n")
    assert after[len(text):].count("[[rule]]") == 1 and HEX96 in after
    assert doc.stat().st_mode & 0o777 == 0o640
    # The same rule is not added a second time, another one is.
    pub.run("--policy-doc", doc, "--allow", f"tee=snp,measurement={HEX96.upper()}", "--kid", "b/k/1")
    assert doc.read_text() == after
    pub.run("--policy-doc", doc, "--allow", f"tee=snp,measurement={OTHER96}", "--kid", "b/k/1")
    assert doc.read_text().startswith(after) and OTHER96 in doc.read_text()


def test_document_through_a_link_and_json(pub, box):
    (box / "git").mkdir()
    (box / "git/policy.json").write_text('{"version": 1, "rule": []}\n')
    (box / "policy.json").symlink_to("git/policy.json")
    pub.run("--policy-doc", "policy.json", "--allow", "tier=affirming", "--kid", "b/k/1")
    assert (box / "policy.json").is_symlink()
    assert json.loads((box / "git/policy.json").read_text()) == {
        "version": 1, "rule": [{"resource": "b/k/1", "tier": "affirming"}]}


def test_prefix_rule_covers(pub, box):
    (box / "p.toml").write_text('version = 1\n[[rule]]\nresource = "team/key/*"\ntee = "sample"\n')
    text = (box / "p.toml").read_bytes()
    doc = pub.json("--policy-doc", "p.toml", "--allow", "tee=sample", "--kid", "team/key/1")
    assert (box / "p.toml").read_bytes() == text
    assert pub.get("team/key/1") == pathlib.Path(doc["kek_file"]).read_bytes()


def test_ledger_knows_what_was_uploaded(pub, box):
    one = pub.json("--allow", "tee=sample", "--replace-policy", "--kid", "t/k/1", dst=pub.dst + "1")
    two = pub.json("--allow", "tee=sample", "--kid", "t/k/2", dst=pub.dst + "2")
    # the second rule was added to the first
    for doc, kid in ((one, "t/k/1"), (two, "t/k/2")):
        assert pub.get(kid) == pathlib.Path(doc["kek_file"]).read_bytes()
    # A document without them would lose them.
    (box / "p.toml").write_text("version = 1\n")
    e = pub.fails(2, "policy-loses-rule", "--policy-doc", "p.toml", "--allow", "tee=sample", "--kid",
                  "t/k/3", dst=pub.dst + "3")
    assert "t/k/1" in e["message"] and "--replace-policy" in e["hint"]
    assert (box / "p.toml").read_text() == "version = 1\n"
    assert pub.get("t/k/1") is not None
    pub.run("--policy-doc", "p.toml", "--allow", "tee=sample", "--kid", "t/k/3", "--replace-policy",
            dst=pub.dst + "3")
    assert pub.get("t/k/1") is None and pub.refusal == "policy-deny"
    assert pub.get("t/k/3") is not None


def test_policy_uploaded_by_hand(pub, box):
    """propkey's uploads are in the same ledger."""
    admin = ["--kbs", pub.kbs.url, "--admin-key", pub.kbs.admin_key]
    box.run("propkey", "policy", "preset", "deny-all", *admin)
    pub.json("--allow", "tee=sample", "--kid", "t/k/1")     # nobody's rule is lost
    box.run("propkey", "policy", "preset", "allow-all", *admin)
    pub.fails(2, "policy-unknown", "--allow", "tee=sample", "--kid", "t/k/1")
    (box / "own.rego").write_text('package policy\nimport rego.v1\nallow if data.plugin == "resource"\n')
    box.run("propkey", "policy", "set", box / "own.rego", "--allow-wider", *admin)
    pub.fails(2, "policy-unknown", "--allow", "tee=sample", "--kid", "t/k/1")
    (box / "p.toml").write_text("version = 1\n")
    pub.fails(2, "policy-unknown", "--allow", "tee=sample", "--kid", "t/k/1", "--policy-doc", "p.toml")


def test_policy_wider_than_allow(pub, box):
    (box / "p.toml").write_text('version = 1\n[[rule]]\nresource = "*/*/*"\ntee = "sample"\n')
    e = pub.fails(1, "policy-too-wide", "--policy-doc", "p.toml", "--allow", "tee=snp,tier=affirming")
    assert "sample evidence" in e["message"]
    assert tag_digest(host_of(pub)) is None and kept_keks(box) == []
    doc = pub.json("--policy-doc", "p.toml", "--allow", "tee=snp,tier=affirming", "--allow",
                   "tee=sample")
    assert doc["insecure"] is True


@pytest.mark.parametrize("text, code, error_id", [
    ("version = 1\n[[rule]\n", 3, "toml-syntax"),
    ("version = 2\n", 9, "policy-version"),
    ('version = 1\n[[rule]]\nresource = "a/b/c"\nteee = "snp"\n', 3, "bad-rule"),
    ('version = 1\nrule = [{resource = "a/b/c", tier = "affirming"}]\n', 9, "policy-form"),
])
def test_bad_documents(pub, box, text, code, error_id):
    (box / "p.toml").write_text(text)
    pub.fails(code, error_id, "--policy-doc", "p.toml", "--allow", "tee=snp,tier=affirming")
    assert (box / "p.toml").read_text() == text
    assert tag_digest(host_of(pub)) is None and kept_keks(box) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_document_that_cannot_be_written(pub, box):
    (box / "git").mkdir()
    (box / "git/p.toml").write_text("version = 1\n")
    os.chmod(box / "git", 0o500)
    pub.fails(7, "io", "--policy-doc", "git/p.toml", "--allow", "tee=snp,tier=affirming")
    assert tag_digest(host_of(pub)) is None


def test_without_allow_the_policy_is_left_alone(pub, box):
    admin = ["--kbs", pub.kbs.url, "--admin-key", pub.kbs.admin_key]
    box.run("propkey", "policy", "preset", "deny-all", *admin)
    before = box.run("propkey", "policy", "get", *admin).out
    doc = pub.json(env={"PROP_TEE": "sample"})
    assert "policy" not in doc and "insecure" not in doc
    assert "left alone" in [s["text"] for s in doc["steps"] if s["step"] == "policy"][0]
    assert doc["proof"]["key"] == "taken by the KBS, which denies it to this machine"
    assert box.run("propkey", "policy", "get", *admin).out == before


def test_hardware_rule_denies_this_machine(pub):
    doc = pub.json("--allow", f"tee=snp,measurement=sha384:{HEX96}", "--replace-policy",
                   env={"PROP_TEE": "sample"})
    assert doc["proof"]["key"] == "taken by the KBS, which denies it to this machine"
    assert "denies others" in doc["proof"]["policy"]
    assert pub.get(doc["kid"]) is None and pub.refusal == "policy-deny"


def test_role_that_may_only_upload(box, registry, module, kbs_factory):
    """A pipeline's token that may not touch the policy (kbs.md 1.2) publishes without --allow."""
    kbs = kbs_factory("--acl", "uploader=^/kbs/v0/resource/.+$")
    pub = Publisher(box, kbs, module, f"{registry.host}/team/addition:encrypted")
    doc = pub.json("--role", "uploader")
    assert doc["digest"] == tag_digest(registry.host)
    pub.fails(5, "admin-auth-access", "--role", "uploader", "--allow", "tier=affirming",
              "--replace-policy")


# --- dry run -----------------------------------------------------------------------------------------

def test_dry_run_changes_nothing(pub, box):
    (box / "p.toml").write_text("version = 1\n")
    before = sorted(str(p) for p in box.path.rglob("*") if "kbs" not in p.parts[-2])
    doc = pub.json("--dry-run", "--allow", "tee=sample", "--policy-doc", "p.toml")
    assert doc["dry_run"] is True and doc["kid"] == "kbs:///default/key/addition-<fingerprint>"
    assert [s["step"] for s in doc["steps"]] == ["kek", "image", "policy", "document", "key", "proof",
                                                 "name"]
    pub.json("--dry-run", "--kid", "a/b/c", dst="oci:new/deep/layout:x")
    pub.run("--dry-run", "--allow", "tee=sample", "--policy-doc", "p.toml")
    assert sorted(str(p) for p in box.path.rglob("*") if "kbs" not in p.parts[-2]) == before
    assert (box / "p.toml").read_text() == "version = 1\n"
    assert tag_digest(host_of(pub)) is None
    pub.fails(1, "policy-too-wide", "--dry-run", "--allow", "tier=affirming", "--policy-doc",
              wide_document(box))
    # with everything in place it says that too
    done = pub.json("--allow", "tee=sample", "--policy-doc", "p.toml")
    again = pub.json("--dry-run", "--allow", "tee=sample", "--policy-doc", "p.toml")
    assert again["unchanged"] is True and again["kid"] == done["kid"]


def wide_document(box):
    path = box / "wide.toml"
    path.write_text('version = 1\n[[rule]]\nresource = "*/*/*"\ntee = "sample"\n')
    return path


# --- the examples --------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", sorted(p.name for p in (ROOT / "examples/policies").iterdir()
                                        if p.suffix in (".toml", ".json") and ".cases." not in p.name))
def test_example_documents(pub, box, name):
    """Each is a document that a rule can be added to, and every word of it stays."""
    text = (ROOT / "examples/policies" / name).read_text()
    (box / name).write_text(text)
    doc = pub.json("--policy-doc", name, "--allow", f"tee=snp,measurement=sha384:{HEX96}", "--kid",
                   "own/key/1")
    after = (box / name).read_text()
    assert HEX96 in after and len(after) > len(text)
    for line in text.splitlines():
        assert line.rstrip(",") in after
    assert doc["policy"]["changed"] is True


def test_ledger_is_private(pub, box):
    pub.json()
    path = box.home / "state/prop/ledger.db"
    assert path.stat().st_mode & 0o777 == 0o600
    rows = sqlite3.connect(path).execute("SELECT kbs, path, image, digest FROM image").fetchall()
    assert len(rows) == 1 and rows[0][0] == pub.kbs.url
    assert rows[0][2] == f"docker://{pub.dst}" and rows[0][3].startswith("sha256:")


def test_another_machine_does_not_overwrite_a_key_it_can_see(pub, box):
    """No ledger knows the name, but the key broker says that it holds another key."""
    pub.json("--kid", "t/k/seen", "--allow", "tee=sample", "--replace-policy")
    mine = pub.get("t/k/seen")
    elsewhere = {"XDG_STATE_HOME": str(box / "other-state"), "PROP_TEE": "sample"}
    host = pub.dst.rsplit(":", 1)[0]
    e = pub.fails(7, "kid-in-use", "--kid", "t/k/seen", dst=f"{host}:elsewhere", env=elsewhere)
    assert "key broker" in e["message"]
    assert pub.get("t/k/seen") == mine
    doc = pub.json("--kid", "t/k/seen", "--replace-key", dst=f"{host}:elsewhere", env=elsewhere)
    assert doc["kid"] == "kbs:///t/k/seen" and pub.get("t/k/seen") != mine
