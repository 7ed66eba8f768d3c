"""propkey policy test: cases from files, decided as a key broker decides, and why."""
import copy
import json
import time

import pytest
from conftest import ROOT, SHARED, shared
from propkbs_peer import Client, b64u

EXAMPLES = ROOT / "examples/policies"
HEX = "6a6519d757e68c2e939c9dbbbc1828498e8de35d2766dd05f1a2cca5059d0cf4ae62a36d75c837974dd50b315506e73e"
HEAD = "package policy\n\nimport rego.v1\n\ndefault allow := false\n\n"
POLICY = HEAD + """cpu := input.submods.cpu0

status := cpu["ear.status"]

listed(value, name) if value in wanted(name)

wanted("svn") := ["1", "2"]

# Rule 1: affirmed guests
# with a known version
allow if {
	data["resource-path"][0] == "a"
	status == "affirming"
	some name, claims in cpu["ear.veraison.annotated-evidence"]
	listed(claims.svn, "svn")
}

closed if {
	not cpu["ear.veraison.annotated-evidence"].sample.debug
}

# Rule 2: the open ones
allow if {
	data["resource-path"][0] == "b"
	not closed
}

allow if every s in input.submods { s["ear.status"] == "warning" }
"""


def sample(svn="1", debug=False):
    return {"sample": {"svn": svn, "debug": debug}}


class Bench:
    def __init__(self, box):
        self.box = box

    def write(self, name, value):
        (self.box / name).write_text(value if isinstance(value, str) else json.dumps(value))
        return name

    def test(self, cases, *args, policy=POLICY, ok=None, name="cases.json"):
        self.write("p.rego", policy)
        self.write(name, cases if isinstance(cases, str) else {"version": 1, "case": cases})
        return self.box.run("propkey", "policy", "test", "p.rego", name, *args, ok=ok)

    def results(self, cases, *args, **kw):
        return self.test(cases, "--json", *args, **kw).json()["results"]

    def one(self, **case):
        """The result of one case that is expected to be allowed, with its reasons."""
        return self.results([{"resource": "a/b/c", "expect": "allow", **case}], "-v")[0]


@pytest.fixture
def bench(box):
    return Bench(box)


def conditions(way):
    return [(c["line"], c["holds"], c["text"]) for c in way["conditions"]]


def values(condition):
    return {v["text"]: v.get("value", v.get("missing")) for v in condition["values"]}


# --- decisions and reasons -----------------------------------------------------------------------------

def test_allowed(bench):
    r = bench.one(evidence=sample(), status="affirming")
    assert r["ok"] and r["got"] == "allow"
    assert r["reason"] == "rule 'allow', line 17 (Rule 1: affirmed guests)"
    (way,) = r["why"]
    assert way["holds"] and way["comment"] == "Rule 1: affirmed guests\nwith a known version"
    assert [c["holds"] for c in way["conditions"]] == [True] * 4


def test_a_condition_fails(bench):
    r = bench.one(evidence=sample(), status="contraindicated")
    assert not r["ok"] and r["got"] == "deny" and r["expect"] == "allow"
    assert r["reason"] == 'line 19: status == "affirming" (status is "contraindicated")'
    first = r["why"][0]
    assert first["line"] == 17 and first["of"] == 4 and not first["holds"]
    assert conditions(first) == [(18, True, 'data["resource-path"][0] == "a"'), (19, False, 'status == "affirming"')]
    assert values(first["conditions"][1]) == {"status": "contraindicated"}


def test_a_function_fails(bench):
    """The reason is inside the function, with the values it was called with."""
    r = bench.one(evidence=sample(svn="7"), status="affirming")
    assert r["reason"] == 'line 11: value in wanted(name) (value is "7", wanted(name) is ["1","2"], name is "svn")'
    failed = r["why"][0]["conditions"][-1]
    assert values(failed) == {"claims.svn": "7"}
    (inside,) = failed["because"]
    assert inside["rule"] == "listed" and inside["args"] == ["7", "svn"]


def test_under_a_not(bench):
    """What should not hold, holds: told is how."""
    r = bench.one(resource="b/c/d", evidence=sample(debug=False), status="affirming")
    failed = r["why"][0]["conditions"][-1]
    assert failed["text"] == "not closed" and values(failed) == {"closed": True}
    (inside,) = failed["because"]
    assert inside["rule"] == "closed" and inside["holds"] and inside["line"] == 24
    assert bench.one(resource="b/c/d", evidence=sample(debug=True), status="affirming")["got"] == "allow"


def test_claims_that_are_not_there(bench):
    r = bench.one(evidence={"snp": {"measurement": "00"}}, status="affirming")
    failed = r["why"][0]["conditions"][-1]
    assert failed["line"] == 21
    r = bench.one(token={"submods": {"gpu0": {"ear.status": "affirming"}}})
    failed = r["why"][0]["conditions"][-1]
    assert values(failed) == {"status": "input.submods has no 'cpu0'"}
    assert failed["because"][0]["rule"] == "status"
    assert failed["because"][0]["conditions"][0]["because"][0]["rule"] == "cpu"


def test_every(bench):
    token = {"submods": {"cpu0": {"ear.status": "warning"}, "gpu0": {"ear.status": "none"}}}
    r = bench.one(resource="x/y/z", token=token)
    failed = next(w for w in r["why"] if w["line"] == 34)["conditions"][0]
    assert {"text": "the first of 1 that fail (s)", "value": {"ear.status": "none"}} in failed["values"]
    token["submods"]["gpu0"]["ear.status"] = "warning"
    assert bench.one(resource="x/y/z", token=token)["got"] == "allow"


def test_furthest_first(bench):
    policy = HEAD + "".join("allow if {\n" + "\tinput.submods\n" * i + "\tfalse\n}\n" for i in (1, 3, 2))
    r = bench.results([{"resource": "a/b/c", "expect": "allow", "token": {"submods": {}}}], policy=policy)[0]
    assert [w["of"] for w in r["why"]] == [4, 3, 2]
    many = HEAD + "".join(f"allow if input.x == {i}\n" for i in range(30))
    r = bench.results([{"resource": "a/b/c", "expect": "allow", "token": {"submods": {}}}], policy=many)[0]
    assert len(r["why"]) == 5 and r["left"] == 25


@pytest.mark.parametrize("body,reason", [
    ('allow := "yes" if input.submods', 'allow is "yes", which is not true'),
    ("allow if input.submods.x", "input.submods has no 'x'"),
    ("x := 1", "no rule 'allow' fits"),
    ("allow if { x := input.submods; x.y == 1 }", "input.submods has no 'y'"),
    ("allow := input.submods.flag", "input.submods has no 'flag'"),
    ("allow if data.query.a == \"2\"", 'data.query.a is "1"'),
    ('allow if startswith(concat("/", data["resource-path"]), "z")', 'concat("/", data["resource-path"]) is "a/b/c"'),
    ("allow if count({1 | some s in input.submods}) > 0", "is 0"),
    ("allow if input.submods == {\"a\": 1, \"b\": 2}", "input.submods is {}"),
    ("f(x) := x\nallow if f(2) == 3", "f(2) is 2"),
    ("a.b if input.submods.q\nallow if a.b", "input.submods has no 'q'"),
    ("import input.submods as s\nallow if s.cpu0", "input.submods has no 'cpu0'"),
])
def test_reasons(bench, body, reason):
    head = HEAD
    if body.startswith("import"):
        line, body = body.split("\n")
        head = HEAD.replace("import rego.v1\n", f"import rego.v1\n{line}\n")
    r = bench.results([{"resource": "a/b/c", "query": {"a": "1"}, "expect": "allow", "token": {"submods": {}}}],
                      policy=head + body + "\n")[0]
    assert r["got"] == "deny" and reason in r["reason"], r


def test_errors_of_the_policy(bench):
    """What the server would answer with an error is neither allowed nor denied."""
    policy = HEAD + "a := 1\na := 2\nallow if a == 1\n"
    r = bench.results([{"resource": "a/b/c", "expect": "deny", "token": {"submods": {}}}], policy=policy)[0]
    assert r["got"] == "error" and not r["ok"] and "conflict" in r["reason"]


def test_old_servers(bench):
    policy = HEAD + 'allow if data["resource-path"] == "a/b/c"\n'
    case = {"resource": "kbs:///a/b/c", "token": {"submods": {}}}
    r = bench.results([{**case, "expect": "deny"}, {**case, "server": "v0.16", "expect": "allow"}], policy=policy, ok=0)
    assert [x["server"] for x in r] == ["current", "v0.16"]
    assert bench.results([{**case, "expect": "allow"}], "--server", "v0.16", policy=policy, ok=0)
    bench.test([{**case, "expect": "allow"}], "--server", "v9", policy=policy, ok=2)


# --- guests ----------------------------------------------------------------------------------------------

def jwt(body):
    return ".".join(b64u(json.dumps(p).encode()) for p in ({"alg": "ES256"}, body)) + "." + b64u(b"\0" * 64)


def test_tokens_from_files(bench):
    body = {"submods": {"cpu0": {"ear.status": "affirming", "ear.veraison.annotated-evidence": sample()}}}
    for name, text in (("t.json", body), ("t.jwt", jwt(body) + "\n"), ("answer.json", {"token": jwt(body)}),
                       ("decoded.json", {"header": {}, "payload": body})):
        bench.write(name, text)
        assert bench.one(token=name)["got"] == "allow"
        r = bench.box.run("propkey", "policy", "test", "p.rego", "--explain", name, "--resource", "a/b/c")
        assert r.out.startswith("allow: rule 'allow', line 17")
    (bench.box / "sub").mkdir()
    bench.write("sub/t.json", body)
    bench.test([{"resource": "a/b/c", "expect": "allow", "token": "t.json"}], name="sub/cases.json", ok=0)


def test_guests_and_defaults(bench):
    cases = """version = 1
[default]
resource = "a/b/c"
expect = "allow"
[guest.good]
status = "affirming"
evidence.sample = { svn = "1" }
[[case]]
guest = "good"
[[case]]
name = "by another name"
guest = "good"
resource = "c/b/a"
expect = "deny"
[[case]]
guest = "good"
status = "none"
"""
    r = bench.results(cases, name="c.toml", ok=1)
    assert [(x["name"], x["line"], x["ok"]) for x in r] == [("case 1", 8, True), ("by another name", 10, True),
                                                            ("case 3", 15, False)]


def test_vector_makes_the_status(bench):
    for vector, got in (({"hardware": 2, "executables": 3}, "allow"), ({"hardware": 97, "executables": 3}, "deny")):
        assert bench.one(evidence=sample(), vector=vector)["got"] == got


def test_claims_as_the_verifier_writes_them(bench):
    """report_data and init_data stand among the claims there, and beside them in a policy's input."""
    policy = HEAD + ('ev := input.submods.cpu0["ear.veraison.annotated-evidence"]\n'
                     'allow if { ev.init_data == "00"; not ev.snp.init_data }\n')
    evidence = {"snp": {"measurement": "aa", "init_data": "00", "report_data": "11"}}
    bench.test([{"resource": "a/b/c", "expect": "allow", "evidence": evidence}], policy=policy, ok=0)


def test_chained_with_an_attestation_policy(bench):
    reference = {"launch_digest": ["abcde"], "svn": ["1"], "major_version": 1, "minimum_minor_version": 4}
    evidence = {"sample": {"svn": "1", "launch_digest": "abcde", "debug": False, "platform_version": {"major": 1, "minor": 4}}}
    bench.write("rv.json", reference)
    bench.write("own.rego", 'package policy\nimport rego.v1\ntrust_claims := {"hardware": 2} if input.sample.svn == "1"\n')
    case = {"resource": "a/b/c", "evidence": evidence}
    bench.test([{**case, "attestation_policy": "default", "reference_values": reference, "expect": "allow"},
                {**case, "attestation_policy": "default", "reference_values": "rv.json", "expect": "allow"},
                {**case, "attestation_policy": "default", "expect": "deny"},
                {**case, "attestation_policy": "own.rego", "expect": "allow"},
                {**case, "attestation_policy": "own.rego", "evidence": sample("9"), "expect": "deny"}], ok=0)
    bench.write("broken.rego", 'package policy\nimport rego.v1\ntrust_claims := {"hardwear": 2}\n')
    r = bench.results([{**case, "attestation_policy": "broken.rego", "expect": "allow"}])[0]
    assert r["got"] == "deny" and r["reason"] == "no token: there is no trust claim 'hardwear'"


# --- bad case files --------------------------------------------------------------------------------------

GOOD = {"resource": "a/b/c", "expect": "allow", "evidence": sample(), "status": "affirming"}


@pytest.mark.parametrize("text,part", [
    ("version = 1\n", "there are no cases"),
    ("[[case]]\n", "version = 1 is missing"),
    ("version = 2\n[[case]]\n", "version = 1 is missing"),
    ('version = 1\ncases = []\n', ":2: a case file has version, default, guest and case only"),
    ('version = 1\n[[case]]\nresource = "a/b/c"\n', "needs expect"),
    ('version = 1\n[[case]]\nexpect = "allow"\nresource = "a/b/c"\n', "needs a token"),
    ('version = 1\n[[case]]\nexpect = "allow"\nresource = "a/b"\ntoken = "x"\n', "repository/type/tag"),
    ('version = 1\n[[case]]\nexpect = "yes"\n', ":3: 'expect' must be one of allow deny"),
    ('version = 1\n[[case]]\nexpect = true\n', ":3: 'expect' must be a text"),
    ('version = 1\n[[case]]\n\nexpected = "allow"\n', ":4: 'expected' is no member of a case"),
    ('version = 1\n[[case]]\nguest = "x"\nexpect = "allow"\n', "no such guest"),
    ('version = 1\n[guest.x]\nstat = "none"\n[[case]]\n', ":3: 'stat' is no member"),
    ('version = 1\n[[case]]\nexpect = "allow"\nresource = "a/b/c"\ntoken = {}\nevidence = {}\n', "exclude each other"),
    ('version = 1\n[[case]]\nexpect = "allow"\nresource = "a/b/c"\ntoken = {}\nstatus = "none"\n', "go with evidence"),
    ('version = 1\n[[case]]\nexpect = "allow"\nresource = "a/b/c"\nevidence = {}\nstatus = "none"\nattestation_policy = "default"\n',
     "one or the other"),
    ('version = 1\n[[case]]\nexpect = "allow"\nresource = "a/b/c"\nevidence = {}\nvector = { hardware = "2" }\n', "numbers"),
    ('version = 1\n[[case]]\nexpect = "allow"\nresource = "a/b/c"\nserver = "v3"\n', "'server' must be one of"),
    ("version = 1\n[[case]\n", "line 2"),
    ('{"version": 1, "case": [}', "1"),
    ("", "version = 1 is missing"),
])
def test_bad_case_files(bench, text, part):
    bench.write("p.rego", POLICY)
    bench.write("c.toml", text)
    r = bench.box.run("propkey", "policy", "test", "p.rego", "c.toml", "--json", ok=3)
    assert r.out == "" and "c.toml" in r.error()["message"] and part in r.error()["message"], r.error()


@pytest.mark.parametrize("member,value,text,status,part", [
    ("token", "absent.json", None, 8, "absent.json"),
    ("token", "f.json", "{}", 3, "not an EAR token"),
    ("token", "f.json", "garbage", 3, "f.json"),
    ("token", "f.json", '{"submods": 1}', 3, "not an EAR token"),
    ("evidence", "f.json", "[]", 3, "'evidence' is not an object"),
    ("evidence", "f.json", '{"a": 1, "a": 2}', 3, "f.json"),
    ("attestation_policy", "f.rego", "package policy\nx := {", 3, "f.rego"),
    ("attestation_policy", "f.rego", "package policy\nf(x) := f(x)", 3, "needs itself"),
    ("reference_values", "f.json", "[]", 3, "'reference_values' is not an object"),
])
def test_bad_files_of_cases(bench, member, value, text, status, part):
    case = {"name": "n", "resource": "a/b/c", "expect": "allow", "evidence": sample(), member: value}
    if member == "token":
        del case["evidence"]
    if member == "reference_values":
        case["attestation_policy"] = "default"
    if text is not None:
        bench.write(value, text)
    r = bench.test([case], "--json", ok=status)
    assert part in r.error()["message"] and "case 'n'" in r.error()["message"], r.error()


def test_bad_policies(bench):
    for policy, code in (("package policy\nallow {", "rego-syntax"), ("package policy\nf(x) := f(x)", "rego-recursion")):
        assert bench.test([GOOD], "--json", policy=policy, ok=3).error()["code"] == code
    bench.write("p.toml", "version = 1\n[[rule]]\n")
    assert bench.box.run("propkey", "policy", "test", "p.toml", "cases.json", "--json", ok=3).error()["code"] == "bad-rule"
    bench.box.run("propkey", "policy", "test", "absent.rego", "cases.json", ok=8)
    bench.box.run("propkey", "policy", "test", "p.toml", ok=2)
    bench.box.run("propkey", "policy", "test", "p.toml", "cases.json", "--explain", "t.json", "--resource", "a/b/c", ok=2)
    bench.box.run("propkey", "policy", "test", "p.toml", "--explain", "t.json", ok=2)
    bench.box.run("propkey", "policy", "test", "p.rego", "--explain", "t.json", "--resource", "a/b", ok=2)


def test_text(bench):
    r = bench.test([GOOD, {**GOOD, "name": "bad \x1b[31m", "status": "none"}], ok=1)
    lines = r.out.splitlines()
    assert lines[0].startswith("FAIL  cases.json: bad \\x1b[31m: deny, expected allow (a/b/c)")
    assert lines[1].strip() == 'line 19: status == "affirming" (status is "none")'
    assert lines[-1] == "2 cases, 1 as expected, 1 not"
    assert bench.test([GOOD], ok=0).out == "1 cases, 1 as expected, 0 not\n"
    assert "ok    cases.json: case 1: allow" in bench.test([GOOD], "-v", ok=0).out


def test_many_cases(bench):
    """1 000 cases take their time once for the policy, and little for each guest."""
    cases = [{**GOOD, "name": str(i), "resource": f"a/b/{i % 50}", "evidence": sample(svn=str(i % 3))} for i in range(1000)]
    for c in cases:
        c["expect"] = "allow" if c["evidence"]["sample"]["svn"] != "0" else "deny"
    r = bench.test(cases, "--json", ok=0).json()
    assert r["cases"] == r["passed"] == 1000 and [x["name"] for x in r["results"]] == [str(i) for i in range(1000)]


# --- the examples, here and in a key broker --------------------------------------------------------------

DOCUMENTS = [("one-workload.toml", "one-workload.cases.toml"),
             ("staging-production.toml", "staging-production.cases.toml"), ("two-teams.json", "two-teams.cases.json")]


@pytest.mark.parametrize("document,cases", DOCUMENTS)
def test_examples(box, document, cases):
    r = box.run("propkey", "policy", "test", EXAMPLES / document, EXAMPLES / cases, "--json").json()
    assert r["failed"] == 0 and r["passed"] >= 10
    assert {x["expect"] for x in r["results"]} == {"allow", "deny"}
    (box / "built.rego").write_bytes(box.run("propkey", "policy", "build", EXAMPLES / document).stdout)
    box.run("propkey", "policy", "test", "built.rego", EXAMPLES / cases)


@pytest.mark.parametrize("document,cases", DOCUMENTS)
def test_examples_in_propkbs(box, kbs, document, cases):
    """A key broker with the built policy decides each case as the test did: tokens with the cases'
    claims, signed by the broker's own key."""
    client = Client(kbs)
    box.run("propkey", "policy", "set", EXAMPLES / document, "--kbs", kbs.url, "--admin-key", kbs.admin_key, "--allow-wider")
    results = box.run("propkey", "policy", "test", EXAMPLES / document, EXAMPLES / cases, "--json", "-v").json()["results"]
    import tomllib
    text = (EXAMPLES / cases).read_text()
    doc = json.loads(text) if cases.endswith(".json") else tomllib.loads(text)
    asked = 0
    for case, result in zip(doc["case"], results):
        case = {**doc.get("default", {}), **doc["guest"].get(case.get("guest"), {}), **case}
        if "attestation_policy" in case or "plugin" in case or "server" in case:
            continue
        evidence = copy.deepcopy(case["evidence"])
        evidence["runtime_data_claims"] = {"tee-pubkey": client.jwk}
        token = client.ear(submods={"cpu0": {"ear.status": case["status"], "ear.veraison.annotated-evidence": evidence}},
                           exp=int(time.time()) + 300)
        error = client.get(case["resource"], bearer=token).error
        assert (error == "PolicyDeny") == (result["got"] == "deny"), (case, error)
        asked += 1
    assert asked >= 6


def test_sample_evidence_in_propkbs(box, kbs):
    """The same with evidence that goes the whole way: attested, appraised, asked for."""
    document = EXAMPLES / "staging-production.toml"
    admin = ["--kbs", kbs.url, "--admin-key", kbs.admin_key]
    (box / "k").write_bytes(b"k" * 32)
    for path in ("staging/key/model", "production/key/app-model"):
        box.run("propkey", "set", path, "k", *admin)
    box.run("propkey", "policy", "set", document, *admin, "--allow-wider")
    box.run("propkey", "get", "staging/key/model", "--kbs", kbs.url, "--tee", "sample", "-o", "out")
    box.run("propkey", "get", "production/key/app-model", "--kbs", kbs.url, "--tee", "sample", "-o", "out2", ok=5)
    (box / "t.jwt").write_bytes(box.run("propkey", "attest", "--kbs", kbs.url, "--tee", "sample").stdout)
    box.run("propkey", "policy", "test", document, "--explain", "t.jwt", "--resource", "staging/key/model")
    r = box.run("propkey", "policy", "test", document, "--explain", "t.jwt", "--resource", "production/key/app-model", ok=1)
    assert "not sample (sample is true)" in r.out


def test_recorded_tokens(box):
    """The tokens that were recorded: sample evidence counts in staging, whatever the verifier says."""
    shared("protocol", "transcripts", "kbs-ear-affirming.json")
    tokens = sorted((SHARED / "protocol/transcripts").glob("kbs-ear-*.json"))
    assert len(tokens) >= 5
    decisions = {"staging-production.toml": {"staging/key/x": "allow", "production/key/app-x": "deny",
                                             "production/key/release-signing": "deny"},
                 "one-workload.toml": {"default/key/addition": "deny"}, "two-teams.json": {"red/key/x": "deny"}}
    for token in tokens:
        for document, paths in decisions.items():
            cases = [{"token": str(token), "resource": p, "expect": e} for p, e in paths.items()]
            (box / "c.json").write_text(json.dumps({"version": 1, "case": cases}))
            box.run("propkey", "policy", "test", EXAMPLES / document, "c.json")


def test_captured_snp_claims(box):
    """The claims of a real machine's report, appraised by the shipped policy."""
    claims = json.loads(shared("fixtures", "measure", "snp-report-v3-genoa.json").read_text())["verifier_claims"]
    reference = {"snp_launch_measurement": [claims["measurement"]], "snp_bootloader": [claims["reported_tcb_bootloader"]],
                 "snp_microcode": [claims["reported_tcb_microcode"]], "snp_snp_svn": [claims["reported_tcb_snp"]],
                 "snp_tee_svn": [claims["reported_tcb_tee"]]}
    guest = {"evidence": {"snp": claims}, "attestation_policy": "default", "reference_values": reference}
    one, two, three = (f'version = 1\n[[rule]]\nresource = "t/k/a"\ntee = "snp"\ntier = "affirming"\n{more}'
                       for more in (f'measurement = "{claims["measurement"]}"\n', f'measurement = "{"0" * 96}"\n',
                                    'min_tcb = { microcode = 99 }\n'))
    for document, expect in ((one, "allow"), (two, "deny"), (three, "deny")):
        (box / "d.toml").write_text(document)
        (box / "c.json").write_text(json.dumps({"version": 1, "case": [
            {**guest, "resource": "t/k/a", "expect": expect},
            {**guest, "reference_values": {}, "resource": "t/k/a", "expect": "deny"}]}))
        box.run("propkey", "policy", "test", "d.toml", "c.json")


# --- the form of case files ------------------------------------------------------------------------------

def test_schema(box):
    """The published schema takes the examples and what the tool takes, and refuses what it refuses."""
    jsonschema = pytest.importorskip("jsonschema", reason="python3-jsonschema is not installed")
    import tomllib
    schema = json.loads((ROOT / "docs/policy-cases.schema.json").read_text())
    check = jsonschema.Draft202012Validator(schema)
    for path in EXAMPLES.glob("*.cases.*"):
        text = path.read_text()
        check.validate(json.loads(text) if path.suffix == ".json" else tomllib.loads(text))
    for bad in ({"case": []}, {"version": 1, "case": []}, {"version": 2, "case": [{}]}, {"version": 1, "case": [{"x": 1}]},
                {"version": 1, "case": [{"expect": "yes"}]}, {"version": 1, "case": [{}], "cases": []}):
        assert not check.is_valid(bad), bad


# --- policies that would end a server --------------------------------------------------------------------

def test_propkbs_survives(box, kbs):
    """Uploads of policies that would end the process are refused, and the old policy goes on."""
    admin = ["--kbs", kbs.url, "--admin-key", kbs.admin_key]
    client = Client(kbs)
    before = client.get("a/b/c").error
    bad = [HEAD + "allow if f(1)\nf(x) := f(x)\n", HEAD + "x := " + "[" * 30 + "]" * 30 + "\n",
           HEAD + "x := 1" + "\n+ 1" * 15000 + "\n", HEAD + "".join(f"a{i} := a{i + 1}\n" for i in range(9000)) + "a9000 := 1\n"]
    for text in bad:
        (box / "p.rego").write_text(text)
        box.run("propkey", "policy", "set", "p.rego", *admin, "--allow-wider", ok=3)
        answer = client.admin("POST", "/resource-policy", json.dumps({"policy": b64u(text.encode())}).encode())
        assert answer.status == 401 and answer.error == "PolicyEngineError"
    assert client.get("a/b/c").error == before
    (box / "p.rego").write_text(HEAD + "allow if {\n\tsome a in numbers.range(1, 1000000000)\n\ta < 0\n}\n")
    box.run("propkey", "policy", "set", "p.rego", *admin, "--allow-wider")
    box.run("propkey", "get", "a/b/c", "--kbs", kbs.url, "--tee", "sample", "-o", "x", ok=None)
    assert kbs.proc.poll() is None
