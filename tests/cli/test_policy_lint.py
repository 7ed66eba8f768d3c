"""propkey policy lint: each rule of the linter finds what it is for, and nothing in what is well."""
import base64
import json

import pytest
from conftest import ROOT

HEAD = 'package policy\n\nimport rego.v1\n\ndefault allow := false\n\n'
EVIDENCE = 'input.submods.cpu0["ear.veraison.annotated-evidence"]'
AFFIRMING = 'input.submods.cpu0["ear.status"] == "affirming"'
# Hardware, closed, affirmed: nothing to find.
GOOD = HEAD + f'''allow if {{
\tdata["resource-path"] == ["default", "key", "a"]
\t{AFFIRMING}
\t{EVIDENCE}.snp.policy_debug_allowed == false
}}

allow if {{
\tdata["resource-path"] == "default/key/a"
\t{AFFIRMING}
\t{EVIDENCE}.snp.policy_debug_allowed == false
}}
'''


@pytest.fixture
def lint(box):
    def run(text, *args, name="p.rego", ok=None):
        (box / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        r = box.run("propkey", "policy", "lint", name, "--json", *args, ok=ok)
        doc = r.json()
        assert r.returncode in (0, 1)
        return [(f["line"], f["severity"], f["rule"], f["message"]) for f in doc["findings"]]
    return run


def rules(findings):
    return {f[2] for f in findings}


def test_nothing_to_find(lint):
    assert lint(GOOD, ok=0) == []


def rule(*conditions):
    return HEAD + "allow if {\n" + "".join(f"\t{c}\n" for c in conditions) + "}\n"


CASES = {
    # name: text, line, severity, rule, part of the message
    "allow-all": (HEAD + 'allow if data.plugin == "resource"\n', 7, "error", "always-true", "never looks at the guest"),
    "no-condition": (HEAD + "allow if 1 == 1\n", 7, "error", "always-true", "no condition"),
    "constant": ("package policy\nimport rego.v1\nallow := true\n", 3, "error", "always-true", "no condition"),
    "through-a-rule": (HEAD + "open if data.query.x\nallow if open\n", 8, "error", "always-true", "never looks"),
    "default-true": ("package policy\nimport rego.v1\ndefault allow := true\n", 3, "error", "default-allow", "everybody"),
    "old-assignment": ("package policy\nimport rego.v1\ndefault allow = false\n" + GOOD.split("false\n\n", 1)[1], 3,
                       "warning", "old-assignment", "':='"),
    "no-default": (GOOD.replace("default allow := false\n", ""), 0, "warning", "no-default", "default allow"),
    "text-value": (HEAD + f'allow := "true" if {AFFIRMING}\n', 7, "error", "allow-type", '"true"'),
    "number-default": ("package policy\nimport rego.v1\ndefault allow := 0\n" + GOOD.split("false\n\n", 1)[1], 3, "error",
                       "allow-type", "allow is 0"),
    "set": (HEAD.replace("default allow := false\n", "") + f"allow contains 1 if {AFFIRMING}\n", 6, "error", "allow-type", "set"),
    "function": (HEAD.replace("default allow := false\n", "") + f"allow(x) if {AFFIRMING}\n", 6, "error", "allow-type",
                 "function"),
    "package": (GOOD.replace("package policy", "package kbs"), 1, "error", "wrong-package", "'kbs'"),
    "permit": (GOOD.replace("allow", "permit").replace("debug_permited", "debug_allowed"), 5, "error", "wrong-rule",
               "the rule that is asked for is 'allow'"),
    "Allow": (GOOD.replace("allow if", "allowed if").replace("default allow", "default allowed"), 5, "error", "wrong-rule",
              "'allowed'"),
    "no-allow": ("package policy\nimport rego.v1\nx := 1\n", 0, "error", "wrong-rule", "no rule 'allow'"),
    "near-and-unused": (GOOD + f"\nallowed if {AFFIRMING}\n", 19, "warning", "unused-rule", "only the rule of that very name"),
    "v0": ("package policy\ndefault allow = false\nallow { input.x }\n", 3, "error", "rego-v0", "if"),
    "no-import": (GOOD.replace("import rego.v1\n", ""), 1, "warning", "no-import", "up to v0.16"),
    "syntax": (HEAD + "allow if {\n", 8, "error", "rego-syntax", ""),
    "recursion": (HEAD + "allow if f(input.x)\nf(x) := f(x)\n", 8, "error", "rego-recursion", "'f' needs itself"),
    "nesting": (HEAD + "x := " + "[" * 13 + "]" * 13 + "\n", 7, "error", "rego-syntax", "brackets"),
    "http": (rule(AFFIRMING, 'http.send({"url": "x"}).status == 200'), 9, "error", "unknown-function", "no network"),
    "unknown-function": (rule(AFFIRMING, 'io.jwt.decode("x")'), 9, "error", "unknown-function", "io.jwt.decode"),
    "reference": (rule(AFFIRMING, 'input.x in data.reference.svn'), 9, "error", "data-reference", "v0.11 to v0.15"),
    "data": (rule(AFFIRMING, "data.users.alice"), 9, "error", "unknown-data", "data.users"),
    "dash": (rule(AFFIRMING, 'data.resource-path == "x"'), 9, "error", "dash-in-name", '["resource-path"]'),
    "dots": (rule('input.submods.cpu0.ear.status == "affirming"'), 8, "warning", "unknown-claim", "brackets"),
    "claim": (rule(f'{EVIDENCE}.snp.measurment == "{"a" * 96}"'), 8, "warning", "unknown-claim", "'measurement'"),
    "claim-by-rule": (HEAD + f'ev := {EVIDENCE}\nallow if ev.tdx.quote.body.mrtd == "x"\n', 8, "warning", "unknown-claim",
                      "'mr_td'"),
    "claim-by-variable": (rule(f"e := {EVIDENCE}", 'e.snp.tcb == 1'), 9, "warning", "unknown-claim", "'tcb'"),
    "claim-by-loop": (rule("some s in input.submods", 's.status == "affirming"'), 9, "warning", "unknown-claim", "'status'"),
    "not-a-claim": (rule(AFFIRMING, f"not {EVIDENCE}.snp.debug_allowed"), 9, "error", "unknown-claim", "always holds"),
    "vector": (rule('input.submods.cpu0["ear.trustworthiness-vector"].executable == 3'), 8, "warning", "unknown-claim",
               "'executables'"),
    "submod": (rule('input.submods.main["ear.status"] == "affirming"'), 8, "warning", "unknown-claim", "cpu0, gpu0"),
    "old-submod": (rule('input.submods.cpu["ear.status"] == "affirming"'), 8, "error", "old-submod", "v0.14"),
    "status": (rule('input.submods.cpu0["ear.status"] == "affirmed"'), 8, "error", "unknown-status", "affirming"),
    "status-in": (rule('input.submods.cpu0["ear.status"] in ["affirming", "ok"]'), 8, "error", "unknown-status", '"ok"'),
    "digest-prefix": (rule(f'{EVIDENCE}.snp.measurement == "sha384:{"a" * 96}"'), 8, "error", "measurement-form", "prefix"),
    "digest-case": (rule(f'{EVIDENCE}.snp.measurement == "{"A" * 96}"'), 8, "error", "measurement-form", "lower case"),
    "digest-length": (rule(f'{EVIDENCE}.tdx.quote.body.rtmr_1 in {{"{"a" * 64}"}}'), 8, "error", "measurement-form", "96"),
    "path-as-text": (rule('data["resource-path"] == "default/key/a"', AFFIRMING), 8, "error", "path-as-text", "v0.17"),
    "path-as-text-function": (rule('startswith(data["resource-path"], "default/")', AFFIRMING), 8, "error", "path-as-text", ""),
    "path-as-list": (rule('data["resource-path"] == ["a", "b", "c"]', AFFIRMING), 8, "warning", "path-as-list", "v0.16"),
    "slash": (rule('p := concat("/", data["resource-path"])', 'p == "/default/key/a"', AFFIRMING), 9, "error",
              "resource-form", "slash"),
    "uri": (rule('p := concat("/", data["resource-path"])', 'p in {"kbs:///default/key/a"}', AFFIRMING), 9, "error",
            "resource-form", "kbs:///"),
    "slash-in-place": (rule('concat("/", data["resource-path"]) == "/default/key/a"', AFFIRMING), 8, "error",
                       "resource-form", "slash"),
    "two-names": (rule('data["resource-path"] == ["default", "key"]', AFFIRMING), 8, "warning", "resource-form",
                  "three names"),
    "star": (rule('concat("/", data["resource-path"]) in {"default/key/*"}', AFFIRMING), 8, "warning", "resource-form",
             "stands for itself"),
    "number-as-text": (rule(AFFIRMING, f'{EVIDENCE}.snp.reported_tcb_snp >= "23"'), 9, "error", "claim-type", "never holds"),
    "number-below-text": (rule(AFFIRMING, f'"23" > {EVIDENCE}.snp.reported_tcb_snp'), 9, "error", "claim-type",
                          "always holds"),
    "truth-as-text": (rule(AFFIRMING, f'e := {EVIDENCE}', 'e.tdx.td_attributes.debug != "true"'), 10, "error", "claim-type",
                      "always holds: verifiers give true or false"),
    "verdict-as-text": (rule('input.submods.cpu0["ear.trustworthiness-vector"].hardware == "2"'), 8, "error", "claim-type",
                        "a number"),
    "reference-value": (rule(f'{EVIDENCE}.snp.measurement in query_reference_value("m")'), 8, "error", "unknown-function",
                        "cannot ask for reference values"),
    "sample": (rule(AFFIRMING), 7, "warning", "sample-allowed", "status 'affirming'"),
    "sample-any-status": (rule(f"{EVIDENCE}.sample"), 7, "warning", "sample-allowed", "status 'none'"),
    "sample-one-path": (rule('data["resource-path"][0] == "test"', 'data["resource-path"][2] == "k"', AFFIRMING), 7,
                        "warning", "sample-allowed", "'test/"),
    "debug": (rule('input.submods.cpu0["ear.status"] in {"affirming", "warning"}', f"{EVIDENCE}.snp"), 7, "warning",
              "debug-allowed", "snp"),
    "debug-of-one-image": (rule(f'{EVIDENCE}.snp.measurement == "{"ab" * 48}"'), 7, "warning", "debug-allowed", "snp"),
    "any-guest": (rule(f"{EVIDENCE}.tdx.td_attributes.debug == false"), 7, "warning", "any-guest", "tdx"),
    "fails-open": (rule(f"not {EVIDENCE}.sample"), 7, "warning", "fails-open", "says nothing"),
    "error": (HEAD + "a := 1\na := 2\nallow if input.x == a\n", 0, "error", "fails", ""),
}


@pytest.mark.parametrize("name", CASES)
def test_finds(lint, name):
    text, line, severity, which, part = CASES[name]
    found = lint(text, ok=1 if severity == "error" else None)
    assert any(f[0] == line and f[1] == severity and f[2] == which and part in f[3] for f in found), found


def test_a_function_that_is_not_there_lets_nobody_in(lint):
    for call in ('http.send({"method": "get", "url": "x"}).status_code == 200', 'query_reference_value("x") == 1'):
        found = rules(lint(rule(call), ok=1))
        assert "unknown-function" in found and "always-true" not in found


def test_paths_of_other_plugins_are_no_error(lint):
    found = lint(rule('data.plugin == "pkcs11"', 'data["resource-path"] == ["wrap-key"]', AFFIRMING,
                      f"{EVIDENCE}.snp.policy_debug_allowed == false"), ok=0)
    assert "error" not in {f[1] for f in found}


def test_default_policy_is_no_error(lint):
    """What key brokers come with has its weaknesses, and no mistake."""
    text = HEAD + f'allow if {{\n\tdata.plugin == "resource"\n\tnot {EVIDENCE}.sample\n}}\n'
    found = lint(text, ok=0)
    assert rules(found) == {"fails-open", "debug-allowed", "any-guest"}
    assert "sample-allowed" not in rules(found)


def test_rules_that_change_nothing(lint):
    a, b = AFFIRMING, 'data["resource-path"][0] == "a"'
    text = HEAD + "".join(f"allow if {{\n{body}\n}}\n" for body in (f"{a}\n{b}", f"\t{b}\n  {a}", a))
    found = [f for f in lint(text) if f[2] in ("duplicate-rule", "shadowed-rule")]
    assert [(f[0], f[2]) for f in found] == [(7, "shadowed-rule"), (11, "duplicate-rule"), (11, "shadowed-rule")]


def test_sides_of_a_comparison(lint):
    turned = '"affirming" == input.submods.cpu0["ear.status"]'
    found = lint(HEAD + f"allow if {turned}\n\nallow if {{\n{AFFIRMING}\n{EVIDENCE}.snp\n}}\n")
    assert (9, "shadowed-rule") in [(f[0], f[2]) for f in found]


# --- the bytes of the file -------------------------------------------------------------------------------

@pytest.mark.parametrize("what,data,which,part", [
    ("standard", base64.b64encode((GOOD + "# ??>>").encode()), "base64", "standard alphabet, with padding"),
    ("url", base64.urlsafe_b64encode((GOOD + "# ??>>~~~").encode()).rstrip(b"="), "base64", "URL-safe alphabet, without padding"),
    ("lines", base64.encodebytes(GOOD.encode()), "base64", "in base64"),
    ("upload", json.dumps({"policy": base64.urlsafe_b64encode(GOOD.encode()).decode()}).encode(), "base64", "body of an upload"),
    ("bom", b"\xef\xbb\xbf" + GOOD.encode(), "byte-order-mark", ""),
    ("crlf", GOOD.replace("\n", "\r\n").encode(), "line-ends", "CR LF"),
    ("utf16", GOOD.encode("utf-16"), "not-text", "UTF-16"),
    ("latin1", GOOD.encode() + b"# \xe9\n", "not-text", "UTF-8"),
    ("nul", GOOD.encode() + b"\0", "not-text", "NUL"),
    ("empty", b"", "empty", ""),
], ids=lambda v: v if isinstance(v, str) and len(v) < 9 else "")
def test_bytes(lint, what, data, which, part):
    found = lint(data, name="policy" if what in ("standard", "url", "lines", "upload") else "p.rego")
    assert [f for f in found if f[2] == which and part in f[3]], found
    lint(data)  # under any name it ends as a linter should


# --- documents -------------------------------------------------------------------------------------------

def test_documents(lint):
    text = """version = 1
[[rule]]
resource = "a/b/*"
tier = "affirming"

[[rule]]
resource = "a/b/c"
tee = "snp"
tier = "affirming"

[[rule]]
resource = "a/b/*"
tier = "affirming"
comment = "again"

[[rule]]
resource = "x/y/z"
tee = "sample"

[[rule]]
resource = "x/y/w"
tee = "tdx"
allow_any_guest = true
"""
    found = [(f[0], f[2]) for f in lint(text, name="p.toml", ok=0)]
    assert found == [(6, "shadowed-rule"), (6, "shadowed-rule"), (11, "duplicate-rule"), (16, "sample-allowed"),
                     (20, "any-guest")]


def test_documents_that_are_none(lint):
    found = lint('version = 1\n[[rule]]\nresource = "a/b"\ntier = "affirming"\n', name="p.toml", ok=1)
    assert found[0][:3] == (3, "error", "bad-rule")
    assert lint("version = 1\n[[rule]\n", name="p.toml", ok=1)[0][2] == "toml-syntax"
    assert lint('{"version": 1,}', name="p.json", ok=1)[0][1] == "error"
    assert rules(lint("version = 1\n", name="p.toml", ok=0)) == {"no-rules"}


def test_examples(box):
    """No errors, and the warning is the sample rule of staging."""
    files = sorted((ROOT / "examples/policies").glob("*.*ml")) + sorted((ROOT / "examples/policies").glob("*.json"))
    r = box.run("propkey", "policy", "lint", "--json", *files)
    assert [(f["rule"], f["severity"]) for f in r.json()["findings"]] == [("sample-allowed", "warning")]
    box.run("propkey", "policy", "lint", "--strict", *files, ok=1)
    box.run("propkey", "policy", "lint", "--strict", "--ignore", "sample-allowed", *files)


def test_built_documents(box):
    """The text built from each example has no error either."""
    for path in sorted((ROOT / "examples/policies").iterdir()):
        if path.suffix in (".toml", ".json") and ".cases." not in path.name:
            (box / "b.rego").write_bytes(box.run("propkey", "policy", "build", path).stdout)
            found = box.run("propkey", "policy", "lint", "b.rego", "--json").json()["findings"]
            assert {f["rule"] for f in found} <= {"sample-allowed"}, found


# --- what was published ----------------------------------------------------------------------------------

def test_published_resources(box, kbs, lint):
    assert "unpublished-resource" not in rules(lint(GOOD))
    (box / "k").write_bytes(b"k" * 32)
    box.run("propkey", "set", "default/key/b", "k", "--kbs", kbs.url, "--admin-key", kbs.admin_key)
    found = [f for f in lint(GOOD) if f[2] == "unpublished-resource"]
    assert found and "default/key/a" in found[0][3]
    assert "unpublished-resource" not in rules(lint(GOOD.replace('"a"', '"b"').replace("key/a", "key/b")))
    doc = 'version = 1\n[[rule]]\nresource = "default/*/*"\ntier = "affirming"\n[[rule]]\nresource = "x/*/*"\ntier = "affirming"\n'
    assert [f[0] for f in lint(doc, name="p.toml") if f[2] == "unpublished-resource"] == [5]


# --- the command -----------------------------------------------------------------------------------------

def test_text_and_status(box):
    (box / "bad.rego").write_text(HEAD + 'allow if data.plugin == "resource"\n')
    (box / "good.rego").write_text(GOOD)
    r = box.run("propkey", "policy", "lint", "good.rego", "bad.rego", ok=1)
    assert r.out.splitlines()[0].startswith("bad.rego:7: error: always-true: ")
    assert "2 files, 1 errors" in r.err
    assert box.run("propkey", "policy", "lint", "good.rego", "-q").out == ""
    box.run("propkey", "policy", "lint", ok=2)
    box.run("propkey", "policy", "lint", "absent.rego", ok=8)
    (box / "big.rego").write_bytes(b"#" * (1 << 20) + b"\n")
    box.run("propkey", "policy", "lint", "big.rego", ok=9)
    (box / "name\x1b[31m.rego").write_text("x")
    assert "\x1b" not in box.run("propkey", "policy", "lint", "name\x1b[31m.rego", ok=1).out


def test_many_rules(lint):
    """Very many rules end in an answer, not in a wait."""
    text = HEAD + "".join(f'allow if {{\n\tinput.submods.cpu0["ear.status"] == "affirming"\n\tinput.x{i}\n}}\n'
                          for i in range(1500))
    assert "unknown-claim" in rules(lint(text))
