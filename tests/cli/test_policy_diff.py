"""propkey policy diff: which decisions change, by asking, and exactly for documents."""
import json

import pytest
from conftest import ROOT, shared

EXAMPLES = ROOT / "examples/policies"
HEAD = "package policy\n\nimport rego.v1\n\ndefault allow := false\n\n"
AFFIRMING = 'input.submods.cpu0["ear.status"] == "affirming"'
EVIDENCE = 'input.submods.cpu0["ear.veraison.annotated-evidence"]'


@pytest.fixture
def diff(box):
    def run(old, new, *args, ok=None, suffix="rego"):
        (box / f"old.{suffix}").write_text(old)
        (box / f"new.{suffix}").write_text(new)
        r = box.run("propkey", "policy", "diff", f"old.{suffix}", f"new.{suffix}", "--json", *args, ok=ok)
        doc = r.json()
        assert r.returncode == (0 if doc["same"] else 1)
        return doc
    return run


def changes(doc):
    return {(d["guest"], d["resource"], d["old"], d["new"]) for d in doc["differences"]}


def test_the_same(diff):
    a = HEAD + f"allow if {AFFIRMING}\n"
    doc = diff(a, HEAD + "# said otherwise\nok if " + AFFIRMING + "\nallow if ok\n", ok=0)
    assert doc["same"] and doc["differences"] == [] and doc["asked"] > 50


def test_kinds_of_guests(diff):
    """Every tier, debugged guests, sample evidence: made up, when no token is given."""
    old = HEAD + f"allow if {AFFIRMING}\n"
    doc = diff(old, HEAD + f"allow if {{\n\t{AFFIRMING}\n\tnot {EVIDENCE}.sample\n}}\n")
    assert changes(doc) == {("sample, affirming", "default/key/lint-asks", "allow", "deny")} | {
        ("sample, affirming", d["resource"], "allow", "deny") for d in doc["differences"]}
    doc = diff(old, HEAD + 'allow if input.submods.cpu0["ear.status"] in {"affirming", "warning"}\n')
    assert {d["guest"] for d in doc["differences"]} >= {"snp, warning", "snp, warning, debug", "tdx, warning", "sample, warning"}
    assert {(d["old"], d["new"]) for d in doc["differences"]} == {("deny", "allow")}
    doc = diff(old, HEAD + f"allow if {{\n\t{AFFIRMING}\n\tnot {EVIDENCE}.snp.policy_debug_allowed\n}}\n")
    assert {d["guest"] for d in doc["differences"]} == {"snp, affirming, debug"}


def test_measurements_and_paths_of_the_policies(diff):
    a, b = "ab" * 48, "cd" * 48
    text = HEAD + f'allow if {{\n\tdata["resource-path"] == ["x", "y", "z"]\n\t{EVIDENCE}.snp.measurement == "{a}"\n}}\n'
    doc = diff(text, text.replace(a, b))
    assert {(d["resource"], d["old"], d["new"]) for d in doc["differences"]} == {("x/y/z", "allow", "deny"),
                                                                                ("x/y/z", "deny", "allow")}
    assert all(a[:12] in d["guest"] or b[:12] in d["guest"] for d in doc["differences"])
    doc = diff(text, text.replace('"z"', '"w"'))
    assert {d["resource"] for d in doc["differences"]} == {"x/y/z", "x/y/w"}


def test_given_tokens_and_resources(diff, box):
    old, new = HEAD + f"allow if {AFFIRMING}\n", HEAD + "allow if input.submods\n"
    (box / "a.json").write_text(json.dumps({"submods": {"cpu0": {"ear.status": "affirming"}}}))
    (box / "w.json").write_text(json.dumps({"submods": {"cpu0": {"ear.status": "warning"}}}))
    doc = diff(old, new, "--token", "a.json", "--token", "w.json", "--resource", "kbs:///a/b/c", "-r", "d/e/f")
    assert doc["asked"] == 4
    assert changes(doc) == {("w.json", p, "deny", "allow") for p in ("a/b/c", "d/e/f")}
    assert diff(old, new, "--tokens", "a.json", "--resources", "a/b/c", ok=0)["same"]
    box.run("propkey", "policy", "diff", "old.rego", "new.rego", "-r", "a/b", ok=2)
    box.run("propkey", "policy", "diff", "old.rego", "new.rego", "-t", "absent", ok=8)
    (box / "bad").write_text("{}")
    box.run("propkey", "policy", "diff", "old.rego", "new.rego", "-t", "bad", ok=3)


def test_age_of_the_server(diff):
    """A policy may decide otherwise where the path is one text."""
    old = HEAD + f'allow if {{\n\tconcat("/", data["resource-path"]) == "a/b/c"\n\t{AFFIRMING}\n}}\n'
    new = HEAD + f'allow if {{\n\tdata["resource-path"] == "a/b/c"\n\t{AFFIRMING}\n}}\n'
    assert {(d["old"], d["new"]) for d in diff(old, new)["differences"]} == {("allow", "deny")}
    assert {(d["old"], d["new"]) for d in diff(old, new, "--server", "v0.16")["differences"]} >= {("error", "allow")}


def test_documents_exactly(diff, box):
    text = (EXAMPLES / "staging-production.toml").read_text()
    same = diff(text, text.replace("laptops", "Laptops"), suffix="toml", ok=0)
    assert same["documents"]["same"] and not same["documents"]["wider"]
    wider = diff(text, text.replace('resource = "production/key/app-*"', 'resource = "production/key/ap*"'), suffix="toml")
    assert wider["documents"]["wider"] and not wider["documents"]["narrower"] and wider["documents"]["examples"]
    back = diff(text.replace('tier = "affirming"', 'tier = "warning"'), text, suffix="toml")
    assert back["documents"]["narrower"] and not back["documents"]["wider"]
    assert {(d["old"], d["new"]) for d in back["differences"]} == {("allow", "deny")}
    r = box.run("propkey", "policy", "diff", "old.toml", "new.toml", ok=1)
    assert "documents, compared exactly: narrower" in r.out and "allow -> deny: production/key/app-x: snp, warning" in r.out


def test_documents_and_their_rego(box):
    """A document and the text built from it decide the same, for servers of either age."""
    for name in ("one-workload.toml", "staging-production.toml", "two-teams.json"):
        (box / "built.rego").write_bytes(box.run("propkey", "policy", "build", EXAMPLES / name).stdout)
        for age in ("current", "v0.16"):
            doc = box.run("propkey", "policy", "diff", EXAMPLES / name, "built.rego", "--server", age, "--json").json()
            assert doc["same"] and "documents" not in doc


def test_recorded_tokens(box):
    token = shared("protocol", "transcripts", "kbs-ear-affirming.json")
    (box / "a.rego").write_text(HEAD + f"allow if {AFFIRMING}\n")
    (box / "b.rego").write_text(HEAD + f"allow if {EVIDENCE}.snp\n")
    doc = box.run("propkey", "policy", "diff", "a.rego", "b.rego", "-t", token, "-r", "a/b/c", "--json", ok=1).json()
    assert [(d["old"], d["new"]) for d in doc["differences"]] == [("allow", "deny")]


def test_bad_policies(box):
    (box / "good.rego").write_text(HEAD)
    (box / "bad.rego").write_text("package policy\nallow {")
    r = box.run("propkey", "policy", "diff", "good.rego", "bad.rego", "--json", ok=3)
    assert r.error()["code"] == "rego-syntax" and "bad.rego" in r.error()["message"]
    box.run("propkey", "policy", "diff", "good.rego", ok=2)
    box.run("propkey", "policy", "diff", "good.rego", "absent.rego", ok=8)
    (box / "error.rego").write_text(HEAD + "a := 1\na := 2\nallow if a == 1\n")
    doc = box.run("propkey", "policy", "diff", "good.rego", "error.rego", "--json", ok=1).json()
    assert {(d["old"], d["new"]) for d in doc["differences"]} == {("deny", "error")}
