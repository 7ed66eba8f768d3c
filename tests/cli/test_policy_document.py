"""Policy documents: what is built from them, decided with it in propkbs on tokens of real and made-up
guests; the published schema against the parser; and bad documents, which change nothing."""
import copy
import hashlib
import json
import re
import time

import pytest
from conftest import ROOT, shared
from propkbs_peer import Client, claims_of

A, B = "a" * 96, "b" * 96
DIGEST = "sha256:" + "1" * 64
EXAMPLES = ROOT / "examples" / "policies"


class Site:
    def __init__(self, box, kbs):
        self.box, self.kbs, self.client = box, kbs, Client(kbs)

    def set(self, document, *args, name="p.toml", **kw):
        (self.box / name).write_text(document if isinstance(document, str) else json.dumps(document))
        return self.box.run("propkey", "policy", "set", name, "--kbs", self.kbs.url, "--admin-key", self.kbs.admin_key,
                            "--allow-wider", *args, **kw)

    def decide(self, cpu, path):
        """What propkbs says to a token with this CPU submodule: it holds no resource, so an allowed
        request ends at the store."""
        cpu = copy.deepcopy(cpu)
        evidence = cpu.setdefault("ear.veraison.annotated-evidence", {})
        evidence["runtime_data_claims"] = {"tee-pubkey": self.client.jwk}
        token = self.client.ear(submods={"cpu0": cpu}, exp=int(time.time()) + 300)
        error = self.client.get(path, bearer=token).error
        assert error in ("PolicyDeny", "PluginInternalError"), error
        return error != "PolicyDeny"


@pytest.fixture
def site(box, kbs):
    return Site(box, kbs)


def genoa(status="affirming", **claims):
    """What a verifier says of the report of a real machine."""
    snp = dict(json.loads(shared("fixtures", "measure", "snp-report-v3-genoa.json").read_text())["verifier_claims"])
    init_data = snp.pop("init_data")
    snp.update(claims)
    return {"ear.status": status, "ear.trustworthiness-vector": {"executables": 3, "hardware": 2, "configuration": 3},
            "ear.veraison.annotated-evidence": {"snp": snp, "init_data": init_data}}


def tdx(status="affirming", tcb="UpToDate", debug=False, init_data=None, claims=None, **body):
    quote = json.loads(shared("fixtures", "measure", "tdx-quote-v4.json").read_text())["parsed"]
    evidence = {"tdx": {"quote": {"body": {**quote["body"], **body}}, "td_attributes": {"debug": debug},
                        "tcb_status": tcb},
                "init_data": init_data or quote["body"]["mr_config_id"]}
    if claims is not None:
        evidence["init_data_claims"] = claims
    return {"ear.status": status, "ear.veraison.annotated-evidence": evidence}


SAMPLE = {"ear.status": "affirming", "ear.veraison.annotated-evidence": {"sample": {"svn": "1"}}}
MODEL = "262bac0a08f814ecab35da16a5f9dbd593e5a3c0f20851b76aa5c5413be3251f382e177c25ad5c5e624d66db795a2e08"
KBS_URL = {"aa.toml": {"token_configs": {"kbs": {"url": "https://kbs.example:8080"}}}}


def test_one_workload(site):
    site.set((EXAMPLES / "one-workload.toml").read_text())
    path = "default/key/addition"
    assert site.decide(genoa(), path)
    assert not site.decide(genoa(), "default/key/other")
    assert not site.decide(genoa("warning"), path)
    assert not site.decide(genoa(measurement=A), path)
    for part, value in (("bootloader", 9), ("snp", 22), ("microcode", 24)):
        assert not site.decide(genoa(**{f"reported_tcb_{part}": value}), path), part
        assert site.decide(genoa(**{f"reported_tcb_{part}": value + 2}), path), part
    assert not site.decide(genoa(policy_debug_allowed=True), path)
    assert not site.decide(genoa(policy_migrate_ma=True), path)
    assert not site.decide(SAMPLE, path)


def test_staging_and_production(site):
    site.set((EXAMPLES / "staging-production.toml").read_text())
    assert site.decide(SAMPLE, "staging/key/x") and not site.decide(SAMPLE, "production/key/app-1")
    assert site.decide(genoa("warning"), "staging/key/x") and not site.decide(genoa("warning"), "production/key/app-1")
    assert site.decide(genoa(), "production/key/app-1") and site.decide(tdx(), "production/key/app-1")
    signing = "production/key/release-signing"
    assert site.decide(genoa("warning"), signing)
    assert not site.decide(genoa(measurement=A), signing) and not site.decide(tdx(), signing)
    worse = genoa()
    worse["ear.trustworthiness-vector"]["hardware"] = 97
    assert not site.decide(worse, signing)
    del worse["ear.trustworthiness-vector"]
    assert not site.decide(worse, signing)


def test_two_teams(site):
    site.set((EXAMPLES / "two-teams.json").read_text(), name="p.json")
    assert site.decide(genoa(), "red/cert/x") and not site.decide(genoa(reported_tcb_snp=22), "red/cert/x")
    assert not site.decide(tdx(), "red/cert/x") and not site.decide(genoa(), "blue/key/app-1")
    model = "blue/key/model"
    assert site.decide(tdx(init_data=MODEL), model)
    assert not site.decide(tdx(), model)
    assert not site.decide(tdx(init_data=MODEL, debug=True), model)
    assert not site.decide(tdx(init_data=MODEL, tcb="OutOfDate"), model)
    assert not site.decide(tdx(init_data=MODEL, rtmr_1=A), model)
    assert not site.decide(tdx(init_data=MODEL, mr_td=A), model)
    assert site.decide(tdx(claims=KBS_URL), "blue/key/app-1")
    assert not site.decide(tdx(), "blue/key/app-1") and not site.decide(tdx(claims={"aa.toml": "x"}), "blue/key/app-1")


def test_what_a_real_session_says(site):
    """Sample evidence with init-data, attested: digest, claims and tier as propkbs itself makes them."""
    text = 'version = "0.1.0"\nalgorithm = "sha256"\n\n[data]\n"aa.toml" = \'\'\'\n[token_configs.kbs]\nurl = "http://k"\n\'\'\'\n'
    digest = hashlib.sha256(text.encode()).hexdigest()
    site.client.set_affirming_values()
    with_data, token = site.client.attest(init_data={"format": "toml", "body": text})
    without, _ = site.client.attest()
    assert claims_of(token)["submods"]["cpu0"]["ear.status"] == "affirming"
    site.client.set_resource("default/key/k", b"secret")
    rule = {"resource": "default/key/*", "tee": "sample"}
    for more, first, second in (
            ({}, True, True),
            ({"tier": "affirming"}, True, True),
            ({"executables": "affirming", "hardware": "affirming", "configuration": "affirming"}, True, True),
            ({"reference_values": ["launch_digest", "svn"]}, True, True),
            ({"init_data": "sha256:" + digest}, True, False),
            ({"init_data": "sha256:" + "0" * 64}, False, False),
            ({"init_data_claims": {"aa.toml": {"token_configs": {"kbs": {"url": "http://k"}}}}}, True, False),
            ({"init_data_claims": {"aa.toml": {"token_configs": {"kbs": {"url": "http://other"}}}}}, False, False),
            ({"container_images": DIGEST}, False, False)):
        site.set({"version": 1, "rule": [{**rule, **more}]}, name="p.json")
        for cookie, want in ((with_data, first), (without, second)):
            r = site.client.get("default/key/k", cookie=cookie)
            assert (r.status == 200) == want and (want or r.error == "PolicyDeny"), (more, r.body)


def test_migration_and_images(site):
    site.set('version = 1\n[[rule]]\nresource = "a/b/moved"\ntee = "snp"\ntier = "affirming"\nmigration = "allowed"\n'
             f'[[rule]]\nresource = "a/b/pod"\ntier = "affirming"\ncontainer_images = ["{DIGEST}"]\n')
    assert site.decide(genoa(policy_migrate_ma=True), "a/b/moved") and site.decide(genoa(), "a/b/moved")
    assert not site.decide(genoa(policy_migrate_ma=True, policy_debug_allowed=True), "a/b/moved")
    for images, want in (([f"reg/x@{DIGEST}"], True), ([f"reg/x@{DIGEST}", "reg/y:1"], False), ([], False), (None, False)):
        cpu = genoa()
        cpu["ear.trustee.identifiers"] = {"validated": {"container_images": images}}
        assert site.decide(cpu, "a/b/pod") == want, images


# --- measurement files -------------------------------------------------------------------------------


def test_measured(site):
    box = site.box
    snp = genoa()["ear.veraison.annotated-evidence"]["snp"]["measurement"]
    (box / "prod.json").write_text(json.dumps({"launch_digest": snp, "mode": "snp", "vcpus": 2}))
    (box / "next.json").write_text(json.dumps({"name": "next", "launch_digest": A}))
    text = 'version = 1\n[[rule]] # ours\nresource = "a/b/c"\ntee = "snp"\nmeasured = "prod"\n'
    (box / "p.toml").write_text(text)
    e = box.run("propkey", "policy", "build", "p.toml", "--json", ok=3).error()
    assert e["code"] == "not-measured" and "--measured" in e["hint"]
    e = box.run("propkey", "policy", "build", "p.toml", "--measured", "next.json", "--json", ok=3).error()
    assert e["code"] == "not-measured" and "next (snp)" in e["hint"]
    rego = box.run("propkey", "policy", "build", "p.toml", "--measured", "next.json", "--measured", "prod.json").out
    assert snp in rego and A not in rego
    site.set(text, "--measured", "prod.json")
    assert site.decide(genoa(), "a/b/c") and not site.decide(genoa(measurement=A), "a/b/c")
    assert (box / "p.toml").read_text() == text
    # The same values again are the same policy; other ones are not.
    quiet = ("propkey", "policy", "set", "p.toml", "--kbs", site.kbs.url, "--admin-key", site.kbs.admin_key, "--json")
    assert box.run(*quiet, "--measured", "prod.json").json()["change"] == "same"
    (box / "p.toml").write_text(text.replace('"prod"', "true"))
    e = box.run(*quiet, "--measured", "prod.json", "--measured", "next.json", ok=2).error()
    assert e["code"] == "policy-wider" and A[:16] in e["message"]
    for bad, code in (("{}", "bad-measurement"), ('{"launch_digest":"00"}', "bad-measurement"), ("x", "json-syntax")):
        (box / "bad.json").write_text(bad)
        assert box.run("propkey", "policy", "build", "p.toml", "--measured", "bad.json", "--json", ok=3).error()["code"] == code
    box.run("propkey", "policy", "build", "p.toml", "--measured", "none.json", ok=8)


# --- schema ------------------------------------------------------------------------------------------


def build(box, document, ok=None):
    (box / "d.json").write_text(json.dumps(document))
    return box.run("propkey", "policy", "build", "d.json", "--json", ok=ok)


def rule(**members):
    return {"version": 1, "rule": [{"resource": "a/b/c", **members}]}


@pytest.fixture
def schema(box):
    return json.loads(box.run("propkey", "policy", "schema").out)


def test_the_published_schema_is_the_tools(box):
    assert box.run("propkey", "policy", "schema").out == (ROOT / "docs" / "policy-document.schema.json").read_text()


# A rule in which each member may stand.
WHOLE = {
    "resource": {}, "tee": {"tier": "affirming"}, "tier": {}, "executables": {"tier": "affirming"}, "hardware": {"tier": "affirming"},
    "configuration": {"tier": "affirming"}, "measurement": {"tee": "snp"},
    **{f"rtmr_{i}": {"tee": "tdx", "tier": "affirming"} for i in range(4)}, "measured": {"tee": "snp"},
    "reference_values": {"tier": "affirming"}, "min_tcb": {"tee": "snp", "tier": "affirming"},
    "tcb_status": {"tee": "tdx", "tier": "affirming"}, "init_data": {"tee": "snp", "tier": "affirming"},
    "init_data_claims": {"tee": "snp", "tier": "affirming"}, "container_images": {"tier": "affirming"},
    "debug": {"tier": "affirming"}, "migration": {"tee": "snp", "tier": "affirming"}, "allow_any_guest": {"tee": "snp"},
    "comment": {"tier": "affirming"},
}


def words_of(schema):
    """Every word of the schema's enumerations."""
    if "enum" in schema:
        return list(schema["enum"])
    return [w for s in schema.get("oneOf", []) for w in words_of(s)]


def test_members_and_words_are_the_parsers(box, schema):
    members = schema["$defs"]["rule"]["properties"]
    assert set(members) == set(WHOLE)
    hint = build(box, rule(nonsense=1), ok=3).error()["hint"].replace("rtmr_0..rtmr_3", "rtmr_0 rtmr_1 rtmr_2 rtmr_3")
    assert set(hint.removeprefix("known: ").split()) == set(members)
    readme = (EXAMPLES / "README.md").read_text().replace("`rtmr_0` … `rtmr_3`", "`rtmr_0` `rtmr_1` `rtmr_2` `rtmr_3`")
    assert set(members) <= {w for line in readme.splitlines() if line.startswith("| `")
                            for w in re.findall(r"`(\w+)`", line.split("|")[1])}
    seen = 0
    for name, member in members.items():
        for word in words_of(member):
            rules = [{**WHOLE[name], name: word}]
            if name == "tee" and word == "sample":
                rules = [{name: word}]
            if name == "reference_values":
                rules = [{**WHOLE[name], "tee": tee, name: word} for tee in ("snp", "tdx", "sample")]
            codes = [build(box, rule(**r)).returncode for r in rules]
            assert 0 in codes and codes.count(0) == 1, (name, word, codes)
            assert build(box, rule(**{**rules[0], name: word + "x"})).returncode == 3, (name, word)
            seen += 1
    assert seen > 40
    for name in WHOLE:
        assert build(box, rule(**{**WHOLE[name], name: [[]]})).returncode == 3, name


def corpus():
    good = [rule(tier="affirming"), {"version": 1}, {"version": 1, "comment": "x", "rule": []},
            rule(tee="snp", measurement=A), rule(tee="snp", measurement=["sha384:" + A, B.upper()]),
            rule(tee="snp", executables="affirming"), rule(executables="affirming", hardware="affirming"),
            rule(tee="tdx", reference_values=["rtmr_1", "mr_td"]), rule(tee="snp", min_tcb={"snp": 0}, allow_any_guest=True),
            rule(tee="sample"), rule(tee="sample", reference_values="svn"), rule(tee="snp", tier="warning", measured=False),
            rule(tee="tdx", measurement=A, rtmr_3=B), rule(tier="warning", allow_any_guest=False),
            rule(tee="tdx", tier="warning", init_data_claims={"a": {"b": 1, "c": True}, "d": ""}),
            {"version": 1, "rule": [{"resource": "kbs:///a-*/*b/c.*", "tier": "warning"}]}]
    bad = [[], {}, {"version": "1"}, {"version": 2}, {"version": 1, "rule": {}}, {"version": 1, "comment": 1}, {"version": 1, "x": 1},
           {"version": 1, "rule": [3]}, {"version": 1, "rule": [{"tier": "affirming"}]}, rule(), rule(tee="snp"), rule(tier="none"),
           rule(tee="snp", measured=False), rule(tee="snp", measured=""), rule(tee="sgx", measured=True),
           rule(tee="snp", measurement=[]), rule(tee="snp", measurement="00"), rule(tee="sgx", measurement=A), rule(measurement=A),
           rule(tee="snp", tier="warning", rtmr_1=A), rule(tee="tdx", rtmr_1=A), rule(tee="tdx", executables="affirming"),
           rule(executables="affirming"), rule(tee="tdx", reference_values="rtmr_1"), rule(tee="tdx", tier="warning", reference_values="svn"),
           rule(tier="warning", reference_values="svn"), rule(tee="snp", tier="warning", min_tcb={}),
           rule(tee="snp", tier="warning", min_tcb={"fmc": 1}), rule(tee="snp", tier="warning", min_tcb={"snp": 256}),
           rule(tee="tdx", tier="warning", min_tcb={"snp": 1}), rule(tee="snp", tier="warning", tcb_status="UpToDate"),
           rule(tee="tdx", tier="warning", tcb_status="Revoked"), rule(tee="snp", tier="warning", init_data=A),
           rule(tier="warning", init_data="sha384:" + A), rule(tee="snp", tier="warning", init_data_claims={}),
           rule(tee="snp", tier="warning", init_data_claims={"a": {}}), rule(tee="snp", tier="warning", init_data_claims={"a": 1.5}),
           rule(tee="snp", tier="warning", init_data_claims={"a": None}), rule(tier="warning", container_images="x@" + DIGEST),
           rule(tier="warning", container_images=[]), rule(tier="warning", debug="always"), rule(tier="warning", migration="never"),
           rule(tee="tdx", tier="warning", migration="never"), rule(tier="warning", allow_any_guest=True),
           rule(tee="sample", allow_any_guest=True), rule(tee="snp", tier="warning", comment="x" * 2001),
           rule(tier="warning", resource="a/b"), rule(tier="warning", resource="a/b/c/d"), rule(tier="warning", resource="a/b/.c"),
           rule(tier="warning", resource="a/b/*c*"), rule(tier="warning", resource="a//c"), rule(tier="warning", resource="a/b/c d")]
    return good, bad


def test_the_parser_takes_and_refuses(box):
    good, bad = corpus()
    for document in good:
        build(box, document, ok=0)
    for document in bad:
        r = build(box, document)
        assert r.returncode == (9 if document == {"version": 2} else 3), document
        assert r.error()["code"] in ("bad-rule", "bad-policy", "policy-version", "json-syntax", "toml-syntax"), document


def test_the_schema_takes_and_refuses_the_same(schema):
    jsonschema = pytest.importorskip("jsonschema", reason="python3-jsonschema is not installed")
    checker = getattr(jsonschema, "Draft202012Validator", None)
    if checker is None:
        pytest.skip("python3-jsonschema is too old for 2020-12")
    checker.check_schema(schema)
    good, bad = corpus()
    for document in good + [json.loads((EXAMPLES / "two-teams.json").read_text())]:
        assert checker(schema).is_valid(document), document
    for document in bad:
        assert not checker(schema).is_valid(document), document


# --- bad documents, big documents ----------------------------------------------------------------------


@pytest.mark.parametrize("text,code,say", [
    (b"", "bad-policy", "'version' is missing"),
    (b"version = 1\n[[rule]\n", "toml-syntax", "line 2"),
    (b"version = 1\nversion = 1\n", "toml-syntax", "duplicate"),
    (b'version = 1\n[[rule]]\nresource = "a/b/c"\nresource = "a/b/d"\n', "toml-syntax", "duplicate"),
    (b'{"version":1,\n"version":1}', "json-syntax", "line 2"),
    (b'{"version":1,', "json-syntax", "p.toml"),
    (b"version = 1\n# \x00\n", "bad-policy", "zero byte"),
    (b"version = 1\n# \xff\n", "toml-syntax", "UTF-8"),
    (b'{"version":1,"comment":"\xff"}', "json-syntax", "p.toml"),
    (b"version = true\n", "bad-policy", "'p.toml:1': 'version' is not a number"),
    (b'version = 1\n\n[[rule]]\nresource = "a/b/c"\ntier = "affirmed"\n', "bad-rule", "'p.toml:5': rule 1: 'tier'"),
    (b'version = 1\n[[rule]]\nresource = "a/b/c"\ntier = "affirming"\n\n[[rule]]\nresource = "a/b/d"\ntee = "snp"\n'
     b'measurement = [\n  "sha384:00",\n]\n', "bad-rule", "'p.toml:10': rule 2: 'measurement'"),
    (b'{"version": 1,\n "rule": [\n  {"resource": "a/b/c",\n   "tiers": 1}]}', "bad-rule", "'p.toml:4': rule 1: unknown key 'tiers'"),
    (b'version = 1\n[[rule]]\nresource = "a/b/c\\n}\\nallow := true"\ntier = "affirming"\n', "bad-rule", "\\x0a"),
])
def test_bad_documents(site, text, code, say):
    box = site.box
    site.set('version = 1\n[[rule]]\nresource = "a/b/c"\ntier = "affirming"\n', name="good.toml")
    before = site.box.run("propkey", "policy", "history", "--kbs", site.kbs.url).out
    (box / "p.toml").write_bytes(text)
    where = ("--kbs", site.kbs.url, "--admin-key", site.kbs.admin_key)
    for command in (("build", "p.toml", "-o", "out.rego"), ("set", "p.toml", "--allow-wider", *where),
                    ("add", "--policy-doc", "p.toml", "--resource", "a/b/c", "--allow", "tier=affirming", *where),
                    ("remove", "--policy-doc", "p.toml", "--rule", "1", *where)):
        e = box.run("propkey", "policy", *command, "--json", ok=3).error()
        if command[0] == "set" and not text:
            continue  # an empty file is no document yet
        assert e["code"] == code and say in e["message"] and "\n" not in e["message"], (command, e)
    assert not (box / "out.rego").exists() and (box / "p.toml").read_bytes() == text
    assert site.decide(genoa(), "a/b/c")
    assert site.box.run("propkey", "policy", "history", "--kbs", site.kbs.url).out == before


def test_ten_thousand_rules(site):
    """Nothing may take minutes; what is too large says so and changes nothing."""
    box = site.box
    site.set('version = 1\n[[rule]]\nresource = "a/b/c"\ntier = "affirming"\n', name="good.toml")
    many = "".join(f'[[rule]]\nresource = "t/k/a{i}"\ntier = "affirming"\n' for i in range(10000))
    (box / "p.toml").write_text("version = 1\n" + many)
    where = ("--kbs", site.kbs.url, "--admin-key", site.kbs.admin_key)
    for command in (("build", "p.toml", "-o", "out.rego"), ("set", "p.toml", "--allow-wider", *where),
                    ("add", "--policy-doc", "p.toml", "--replace-policy", "--resource", "x/y/z", "--allow", "tier=affirming", *where)):
        e = box.run("propkey", "policy", *command, "--json", ok=9, timeout=60).error()
        assert e["code"] == "policy-size" and "10000 rules" in e["message"].replace("10001", "10000"), e
    assert site.decide(genoa(), "a/b/c") and not (box / "out.rego").exists()
    # As many as a key broker takes.
    few = "".join(f'[[rule]]\nresource = "t/k/a{i}"\ntier = "affirming"\n' for i in range(2400))
    (box / "p.toml").write_text("version = 1\n" + few)
    box.run("propkey", "policy", "set", "p.toml", "--allow-wider", *where, timeout=60)
    assert site.decide(genoa(), "t/k/a2399") and not site.decide(genoa(), "t/k/a2400")
    box.run("propkey", "policy", "remove", "--policy-doc", "p.toml", "--rule", "1200", *where, timeout=60)
    assert not site.decide(genoa(), "t/k/a1199") and site.decide(genoa(), "t/k/a1200")
    (box / "p.toml").write_text("version = 1\n" + many * 3)
    assert box.run("propkey", "policy", "build", "p.toml", "--json", ok=9).error()["code"] == "file-too-big"
