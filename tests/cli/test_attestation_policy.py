"""propkey attestation-policy lint and test: what evidence would be appraised to, and what is wrong
with the policy that does it. propkbs, which behaves as recorded, is asked for the same."""
import json

import pytest
from conftest import ROOT, shared
from propkbs_peer import Client, claims_of

EXAMPLES = ROOT / "examples/policies"
HEAD = "package policy\n\nimport rego.v1\n\n"
GOOD = HEAD + """trust_claims := {"executables": executables, "hardware": 2, "configuration": 2}

default executables := 33

executables := 3 if input.sample.launch_digest in query_reference_value("launch_digest")
"""
SAMPLE = {"sample": {"svn": "1", "launch_digest": "abcde", "debug": False, "platform_version": {"major": 1, "minor": 4}}}
REGISTERED = {"launch_digest": ["abcde"], "svn": ["1"], "major_version": 1, "minimum_minor_version": 4}


class Bench:
    def __init__(self, box):
        self.box = box

    def lint(self, text, *args, ok=None):
        (self.box / "p.rego").write_text(text)
        r = self.box.run("propkey", "attestation-policy", "lint", "p.rego", "--json", *args, ok=ok)
        return [(f["line"], f["severity"], f["rule"], f["message"]) for f in r.json()["findings"]]

    def test(self, policy, cases, *args, ok=None):
        if policy != "default":
            (self.box / "p.rego").write_text(policy)
        (self.box / "c.json").write_text(json.dumps({"version": 1, "case": cases}))
        return self.box.run("propkey", "attestation-policy", "test", "default" if policy == "default" else "p.rego",
                            "c.json", "--json", *args, ok=ok)

    def got(self, policy, evidence=SAMPLE, **case):
        return self.test(policy, [{"evidence": evidence, "expect": {"status": "none"}, **case}]).json()["results"][0]["got"]


@pytest.fixture
def bench(box):
    return Bench(box)


# --- test ------------------------------------------------------------------------------------------------

def test_shipped_policy_on_sample(bench):
    got = bench.got("default", reference_values=REGISTERED)
    assert got["status"] == "affirming" and got["outcome"] == "token"
    assert got["vector"] == {"instance-identity": 0, "configuration": 2, "executables": 3, "file-system": 0, "hardware": 2,
                             "runtime-opaque": 0, "storage-opaque": 0, "sourced-data": 0}
    assert bench.got("default")["status"] == "contraindicated"
    assert got["extensions"][0]["name"] == "ear.trustee.identifiers"


def test_shipped_policy_as_propkbs_says(box, kbs):
    """The same evidence and values: the same status and vector in a token."""
    client = Client(kbs)
    for values in ({}, {"launch_digest": ["abcde"]}, REGISTERED):
        if values:
            client.set_values(values)
        cpu = claims_of(client.attest()[1])["submods"]["cpu0"]
        evidence = {k: v for k, v in cpu["ear.veraison.annotated-evidence"].items()}
        case = {"evidence": evidence, "reference_values": values,
                "expect": {"status": cpu["ear.status"], "vector": cpu["ear.trustworthiness-vector"]}}
        (box / "c.json").write_text(json.dumps({"version": 1, "case": [case]}))
        box.run("propkey", "attestation-policy", "test", "default", "c.json")


def test_captured_snp_claims(bench):
    claims = json.loads(shared("fixtures", "measure", "snp-report-v3-genoa.json").read_text())["verifier_claims"]
    reference = {"snp_launch_measurement": [claims["measurement"]], "snp_bootloader": [claims["reported_tcb_bootloader"]],
                 "snp_microcode": [claims["reported_tcb_microcode"]], "snp_snp_svn": [claims["reported_tcb_snp"]],
                 "snp_tee_svn": [claims["reported_tcb_tee"]]}
    got = bench.got("default", {"snp": claims}, reference_values=reference)
    assert got["status"] == "affirming" and got["vector"]["executables"] == 3 and got["vector"]["configuration"] == 3
    reference["snp_launch_measurement"] = claims["measurement"]  # one value where a list is wanted
    assert bench.got("default", {"snp": claims}, reference_values=reference)["vector"]["executables"] == 33


def test_captured_tdx_claims(bench):
    quote = json.loads(shared("fixtures", "measure", "tdx-quote-v4.json").read_text())
    parsed = quote["parsed"]
    evidence = {"tdx": {"quote": {"header": {k: v for k, v in parsed.items() if k != "body"}, "body": parsed["body"]},
                        "td_attributes": quote["td_attributes_flags"], "tcb_status": "UpToDate",
                        "collateral_expiration_status": "0"}}
    body = parsed["body"]
    reference = {"mr_td": [body["mr_td"]], "rtmr_1": [body["rtmr_1"]], "rtmr_2": [body["rtmr_2"]], "xfam": [body["xfam"]]}
    got = bench.got("default", evidence, reference_values=reference)
    assert got["vector"]["executables"] == 4 and got["vector"]["hardware"] == 2
    assert got["vector"]["configuration"] == 36 and got["status"] == "warning"  # this one may be debugged


@pytest.mark.parametrize("rule,outcome,part", [
    ('trust_claims := {"hardware": 300}', "token", None),
    ("other := 1", "token", None),
    ("trust_claims := {}", "refused", "empty"),
    ("trust_claims := [1]", "refused", "not an object"),
    ('trust_claims := {"hardware": "2"}', "refused", "not an integer"),
    ('trust_claims := {"hardware": 2.5}', "refused", "not an integer"),
    ('trust_claims := {"hardwear": 2}', "crash", "hardwear"),
    ('trust_claims := {"hardware": 2}\ntrust_claims := {"hardware": 3}', "refused", ""),
    ('trust_claims := {"hardware": 2}\nextensions := 1', "refused", "extensions"),
    ('trust_claims := {"hardware": 2}\nextensions := [{"name": "a", "key": 1, "value": 1}, {"name": "a", "key": 2, "value": 2}]',
     "refused", "extensions"),
])
def test_outcomes(bench, rule, outcome, part):
    got = bench.got(HEAD + rule + "\n")
    assert got["outcome"] == outcome, got
    if part:
        assert part in got["reason"]
    if "300" in rule:
        assert got["vector"] == {"hardware": 44} and got["status"] == "warning"
    if rule == "other := 1":
        assert got["status"] == "none" and set(got["vector"].values()) == {0}


def test_differences_and_reasons(bench):
    r = bench.test(GOOD, [{"evidence": SAMPLE, "expect": {"status": "affirming", "vector": {"executables": 3}}},
                          {"evidence": SAMPLE, "reference_values": REGISTERED, "expect": {"status": "affirming"}}], ok=1).json()
    assert r["passed"] == 1 and r["failed"] == 1
    bad = r["results"][0]
    assert bad["differences"] == ['status is "warning", expected "affirming"', "executables is 33, expected 3"]
    way = next(w for w in bad["why"] if w["rule"] == "executables")
    shown = {v["text"]: v.get("value") for v in way["conditions"][0]["values"]}
    assert shown == {"input.sample.launch_digest": "abcde", 'query_reference_value("launch_digest")': None}
    text = bench.box.run("propkey", "attestation-policy", "test", "p.rego", "c.json", ok=1).out
    assert text.startswith("FAIL  c.json: case 1: warning:") and "executables 33 (warning)" in text
    assert text.splitlines()[-1] == "2 cases, 1 as expected, 1 not"
    assert "why" in bench.test(GOOD, [{"evidence": SAMPLE, "expect": {"status": "warning"}}], "-v", ok=0).json()["results"][0]


def test_example(box):
    r = box.run("propkey", "attestation-policy", "test", "default", EXAMPLES / "attestation.cases.toml", "--json").json()
    assert r["failed"] == 0 and r["passed"] >= 6


@pytest.mark.parametrize("case,part", [
    ({"evidence": {}}, "something to expect"),
    ({"evidence": {}, "expect": {}}, "something to expect"),
    ({"expect": {"status": "none"}}, "needs evidence"),
    ({"evidence": {}, "expect": "allow"}, "must be a table"),
    ({"evidence": {}, "expect": {"status": "good"}}, "must be one of"),
    ({"evidence": {}, "expect": {"vektor": {}}}, "no member"),
    ({"evidence": {}, "expect": {"vector": {"hardware": "2"}}}, "numbers"),
    ({"evidence": {}, "resource": "a/b/c", "expect": {"status": "none"}}, "no member"),
    ({"evidence": "absent.json", "expect": {"status": "none"}}, "absent.json"),
])
def test_bad_cases(bench, case, part):
    r = bench.test(GOOD, [case])
    assert r.returncode in (3, 8) and part in r.error()["message"]


def test_bad_policies(bench):
    r = bench.test("package policy\nx := {", [{"evidence": {}, "expect": {"status": "none"}}], ok=3)
    assert r.error()["code"] == "rego-syntax"
    bench.box.run("propkey", "attestation-policy", "test", "p.rego", ok=2)
    bench.box.run("propkey", "attestation-policy", "test", "absent.rego", "c.json", ok=8)


# --- lint ------------------------------------------------------------------------------------------------

def test_nothing_to_find(bench):
    assert bench.lint(GOOD, ok=0) == []


def vector(fields):
    return HEAD + "trust_claims := {" + fields + "}\n"


CASES = {
    "name": (vector('"hardwear": 2'), 5, "error", "trust-name", "'hardware'"),
    "other-name": (vector('"status": 2'), 5, "error", "trust-name", "the real server dies"),
    "range": (vector('"hardware": 300'), 5, "error", "trust-value", "44 (warning)"),
    "fraction": (vector('"hardware": 2.5'), 5, "error", "trust-value", "integer"),
    "text": (vector('"hardware": "2"'), 5, "error", "trust-value", "integer"),
    "range-of-a-rule": (HEAD + 'default h := 97\nh := 200 if input.snp\ntrust_claims := {"hardware": h}\n', 6, "error",
                        "trust-value", "200"),
    "range-of-an-else": (HEAD + 'h := 2 if input.snp\nelse := 128 if input.tdx\ntrust_claims := {"hardware": h}\n', 6, "error",
                         "trust-value", "128"),
    "empty": (vector(""), 5, "error", "trust-empty", "fail"),
    "form": (HEAD + "trust_claims contains 1 if input.snp\n", 5, "error", "trust-form", "set"),
    "package": (vector('"hardware": 2').replace("package policy", "package cpu"), 1, "error", "wrong-package", "'cpu'"),
    "rule": (vector('"hardware": 2').replace("trust_claims", "trust_claim"), 5, "error", "wrong-rule", "'trust_claims'"),
    "no-rule": (HEAD + "x := 1\n", 0, "error", "wrong-rule", "no rule 'trust_claims'"),
    "extensions": (vector('"hardware": 2') + 'extensions := {"name": "a"}\n', 6, "error", "extension-form", "list"),
    "extension-key": (vector('"hardware": 2') + 'extensions := [{"name": "a", "key": 5000000000, "value": 1}]\n', 6, "error",
                      "extension-form", "32 bits"),
    "extension-part": (vector('"hardware": 2') + 'extensions := [{"name": "a", "value": 1}]\n', 6, "error", "extension-form",
                       '"key"'),
    "extension-name": (vector('"hardware": 2') + 'extensions := [{"name": 1, "key": 1, "value": 1}]\n', 6, "error",
                       "extension-form", "text"),
    "reference-name": (GOOD.replace('"launch_digest")', '"launch_digests")'), 9, "warning", "unknown-reference", "launch_digests"),
    "list-as-one": (GOOD.replace(" in query", " == query"), 9, "warning", "reference-shape", "list"),
    "one-as-list": (HEAD + 'h := 2 if {\n\tw := query_reference_value("tdvfkernel")\n\tinput.tdx.tcb_status in w\n}\n'
                    'trust_claims := {"hardware": h}\n', 7, "warning", "reference-shape", "single value"),
    "reference-call": (HEAD + 'trust_claims := {"hardware": 2} if query_reference_value("svn", 1)\n', 5, "error",
                       "reference-call", "one name"),
    "claim": (HEAD + 'trust_claims := {"hardware": 2} if input.snp.measurment\n', 5, "warning", "unknown-claim", "'measurement'"),
    "negated-claim": (HEAD + 'trust_claims := {"hardware": 2} if not input.snp.debug\n', 5, "error", "unknown-claim", "always"),
    "token": (HEAD + 'trust_claims := {"hardware": 2} if input.submods.cpu0\n', 5, "error", "unknown-claim", "not a token"),
    "data-reference": (HEAD + 'trust_claims := {"hardware": 2} if input.sample.svn in data.reference.svn\n', 5, "error",
                       "data-reference", "query_reference_value"),
    "data": (HEAD + 'trust_claims := {"hardware": 2} if data.x\n', 5, "error", "unknown-data", "query_reference_value"),
    "unused": (GOOD + "x := 1\n", 10, "warning", "unused-rule", "'x'"),
    "unknown-function": (HEAD + 'trust_claims := {"hardware": 2} if http.send({}).x\n', 5, "error", "unknown-function", "http.send"),
    "v0": ("package policy\ntrust_claims = {} { true }\n", 2, "error", "rego-v0", "if"),
    "no-import": (GOOD.replace("import rego.v1\n", ""), 1, "warning", "no-import", "v0.16"),
    "recursion": (HEAD + 'f(x) := f(x)\ntrust_claims := {"hardware": f(1)}\n', 5, "error", "rego-recursion", "'f'"),
}


@pytest.mark.parametrize("name", CASES)
def test_finds(bench, name):
    text, line, severity, which, part = CASES[name]
    found = bench.lint(text, ok=1 if severity == "error" else 0)
    assert any(f[0] == line and f[1] == severity and f[2] == which and part in f[3] for f in found), found


def test_tiers(bench):
    """What each constant means, on request."""
    notes = [f for f in bench.lint(GOOD, "-v", ok=0) if f[1] == "note"]
    assert {(n[0], n[3]) for n in notes} == {(5, "hardware 2 is affirming"), (5, "configuration 2 is affirming"),
                                            (7, "executables 33 is warning"), (9, "executables 3 is affirming")}
    bench.box.run("propkey", "attestation-policy", "lint", "p.rego", "--strict", "-v")


def test_status(bench):
    assert bench.lint(GOOD + "x := 1\n", "--strict", ok=1)
    assert bench.lint(GOOD + "x := 1\n", "--strict", "--ignore", "unused-rule", ok=0) == []
    bench.box.run("propkey", "attestation-policy", "lint", ok=2)
    bench.box.run("propkey", "attestation-policy", "lint", "absent", ok=8)


def test_what_lint_calls_a_crash_is_one(bench):
    """A name that the linter refuses is what the test says the real server dies on."""
    assert bench.got(vector('"hardwear": 2'))["outcome"] == "crash"
    assert bench.lint(vector('"hardwear": 2'), ok=1)[0][2] == "trust-name"
