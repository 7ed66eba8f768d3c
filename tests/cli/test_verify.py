"""proppush verify: one answer, one exit code."""
import json
import os
import pathlib


from publishing import Publisher, host_of

HEX96 = "ab" * 48


def token(box, name, tee, status="affirming", measurement=HEX96):
    """An EAR body as a verifier makes it, recorded as JSON."""
    claims = {"snp": {"measurement": measurement, "policy_debug_allowed": False,
                      "policy_migrate_ma": False}} if tee == "snp" else {"sample": {"debug": False}}
    path = box / name
    path.write_text(json.dumps({
        "eat_profile": "tag:github.com,2024:confidential-containers/Trustee", "iat": 1,
        "submods": {"cpu0": {"ear.status": status, "ear.veraison.annotated-evidence": claims,
                             "ear.trustworthiness-vector": {"executables": 3, "hardware": 2,
                                                            "configuration": 2}}}}))
    return path


def verify(box, ref, *args, ok=True, env=None):
    return box.run("proppush", "verify", ref, "--json", *args, ok=ok, env=env)


def no(box, code, error_id, ref, *args, env=None):
    r = verify(box, ref, *args, ok=code, env=env)
    assert r.out == ""
    e = r.error()
    assert e["code"] == error_id, e
    return e


def answers(doc):
    found = {}
    for c in doc["checks"]:
        found.setdefault(c["check"], set()).add(c["answer"])
    return found


def test_all_good(pub, box):
    doc = pub.json("--allow", "tee=sample", "--replace-policy", "--kid", "t/k/1")
    v = verify(box, doc["pinned"], "--kbs", pub.url, "--tee", "sample", "--i-know-this-is-a-test",
               "--strict", "--token", token(box, "guest.json", "sample"), "--deny-token",
               token(box, "other.json", "snp")).json()
    assert v["ok"] is True and v["digest"] == doc["digest"] and v["kids"] == ["t/k/1"]
    assert answers(v) == {k: {"yes"} for k in ("encrypted", "key", "opens", "policy")}
    r = box.run("proppush", "verify", pub.dst, "--kbs", pub.url, "--i-know-this-is-a-test")
    assert r.out.endswith(" is fit\n") and "encrypted yes" in r.err


def test_a_measured_guest(pub, box):
    pub.json("--allow", f"tee=snp,measurement=sha384:{HEX96}", "--replace-policy", "--kid", "t/k/1")
    good = token(box, "good.json", "snp")
    bad = token(box, "bad.json", "snp", measurement="cd" * 48)
    v = verify(box, pub.dst, "--kbs", pub.url, "--token", good, "--deny-token", bad).json()
    # the key cannot be looked at from here; it opens with the KEK kept here
    assert answers(v) == {"encrypted": {"yes"}, "key": {"unknown"}, "opens": {"yes"},
                          "policy": {"yes"}}
    no(box, 1, "not-known", pub.dst, "--kbs", pub.url, "--strict")
    no(box, 1, "policy-too-narrow", pub.dst, "--kbs", pub.url, "--token", bad)
    no(box, 1, "policy-too-wide", pub.dst, "--kbs", pub.url, "--deny-token", good)
    # the policy may be a file: Rego, or a document
    (box / "wide.rego").write_text("package policy\nimport rego.v1\ndefault allow := true\n")
    no(box, 1, "policy-too-wide", pub.dst, "--kbs", pub.url, "--policy", "wide.rego")
    (box / "p.toml").write_text(f'version = 1\n[[rule]]\nresource = "t/k/*"\ntee = "snp"\n'
                                f'measurement = ["sha384:{HEX96}"]\n')
    verify(box, pub.dst, "--kbs", pub.url, "--policy", "p.toml", "--token", good, "--deny-token", bad)


def test_sample_evidence_is_too_wide(pub, box):
    pub.json("--allow", "tee=sample", "--replace-policy")
    e = no(box, 1, "policy-too-wide", pub.dst, "--kbs", pub.url)
    assert "sample evidence" in e["message"]


def test_plain_images(box, registry, module):
    ref = f"{registry.host}/team/plain:1"
    box.run("proppush", "push", module, ref)
    e = no(box, 1, "not-encrypted", ref)
    assert "layer 1 of 1" in e["message"]
    # layers that need not be
    no(box, 1, "not-encrypted", ref, "--layer", "application/vnd.wasm.content.layer.v1+wasm")
    no(box, 1, "not-encrypted", ref, "--layer", "2")


def test_key_missing_or_another(pub, box):
    doc = pub.json("--allow", "tee=sample", "--replace-policy", "--kid", "t/k/1")
    sample = ("--kbs", pub.url, "--tee", "sample", "--i-know-this-is-a-test")
    admin = ("--kbs", pub.url, "--admin-key", pub.kbs.admin_key)
    other = box / "other.kek"
    other.write_bytes(b"o" * 32)
    os.chmod(other, 0o600)
    elsewhere = {"XDG_STATE_HOME": str(box / "elsewhere"), "XDG_DATA_HOME": str(box / "data2")}
    box.run("propkey", "set", "t/k/1", other, *admin, env=elsewhere)
    no(box, 4, "proof", pub.dst, *sample)
    # on a machine that knows nothing it does not open
    no(box, 4, "kek-wrong", pub.dst, *sample, env=elsewhere)
    box.run("propkey", "delete", "t/k/1", *admin, env=elsewhere)
    e = no(box, 8, "key-missing", pub.dst, *sample)
    assert "t/k/1" in e["message"]
    assert doc["digest"]


def test_damage_and_absence(pub, box, registry):
    doc = pub.json()
    no(box, 8, "image-not-found", pub.dst + "x")
    no(box, 4, "digest-mismatch", pub.dst, "--digest", "sha256:" + "0" * 64)
    hex_digest = doc["layer"].split(":")[1]
    blob = registry.root / f"docker/registry/v2/blobs/sha256/{hex_digest[:2]}/{hex_digest}/data"
    data = bytearray(blob.read_bytes())
    data[5] ^= 1
    blob.write_bytes(data)
    no(box, 4, "digest-mismatch", pub.dst, "--kek", doc["kek_file"])
    no(box, 2, "bad-location", str(box / "addition.wasm"))


def test_policy_that_nobody_knows(pub, box):
    pub.json()
    assert answers(verify(box, pub.dst, "--kbs", pub.url).json())["policy"] == {"unknown"}
    e = no(box, 2, "policy-unknown", pub.dst, "--kbs", pub.url, "--token", token(box, "t", "snp"))
    assert "--policy" in e["hint"]
    (box / "bad.json").write_text("{}")
    (box / "p.toml").write_text("version = 1\n")
    r = verify(box, pub.dst, "--kbs", pub.url, "--policy", "p.toml", "--token", box / "bad.json", ok=3)
    assert r.error()["code"] == "not-a-token"


def test_layout_and_servers_down(box, kbs, module):
    pub = Publisher(box, kbs, module, "oci:layout:v1")
    doc = pub.json()
    v = verify(box, "oci:layout:v1", "--kek", doc["kek_file"]).json()
    assert answers(v)["opens"] == {"yes"} and "pinned" not in v
    no(box, 6, "connect", "oci:layout:v1", "--kbs", "http://127.0.0.1:9", "--tee", "sample")
    blob = box / "layout/blobs/sha256" / doc["layer"].split(":")[1]
    os.chmod(blob, 0o600)
    blob.write_bytes(blob.read_bytes()[:-1])
    r = verify(box, "oci:layout:v1", "--kek", doc["kek_file"], ok=4)
    assert r.error()["message"] and pathlib.Path(blob).exists()


def test_annotations_on_a_build_server(pub, box):
    pub.json("--allow", "tee=sample", "--replace-policy")
    r = verify(box, pub.dst, "--kbs", pub.url, ok=1, env={"GITHUB_ACTIONS": "true"})
    assert "::error title=proppush verify (policy-too-wide)::" in r.err
    assert host_of(pub)
