"""propkey reference-value and attestation-policy against the development KBS and older servers: merged,
never lost, in the shape the shipped policy tests."""
import json
import pathlib
import subprocess
import sys

import pytest

from conftest import BIN

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "helpers"))
from old_kbs import OldKbs  # noqa: E402

A, B, C = "a" * 96, "b" * 96, "0123456789ab" * 8


class Site:
    def __init__(self, box, url, key):
        self.box, self.admin = box, ["--kbs", url, "--admin-key", key]

    def run(self, verb, *args, ok=True, **kw):
        return self.box.run("propkey", "reference-value", verb, *args, *self.admin, "--json", ok=ok, **kw)

    def set(self, *args, **kw):
        return self.run("set", *args, **kw)

    def get(self, *names):
        r = self.run("get", *names, ok=None).json()["values"]
        return r[names[0]] if len(names) == 1 else r

    def load(self, doc, *args, **kw):
        (self.box / "m.json").write_text(json.dumps(doc))
        return self.run("import", "m.json", *args, **kw)


@pytest.fixture
def site(box, kbs):
    return Site(box, kbs.url, kbs.admin_key)


@pytest.fixture
def old(box):
    box.run("propkey", "admin-keygen")
    return lambda server: Site(box, server.url, "admin.key")


def test_several_at_once_of_any_kind(site):
    r = site.set('svn=["1"]', "major_version=1", 'own={"a":[1,2.5,null,true]}', "n=null", 'text="a=b"', "big=9007199254740993").json()
    assert r["uploaded"] is True and r["read_back"] is True and r["admin_token_form"] == "portable"
    assert site.get("svn", "major_version", "own", "text", "big") == {
        "svn": ["1"], "major_version": 1, "own": {"a": [1, 2.5, None, True]}, "text": "a=b", "big": 9007199254740993}


def test_sample_evidence_becomes_affirming(site):
    """The values do what they are for."""
    site.set('launch_digest=["abcde"]', 'svn=["1"]', "major_version=1", "minimum_minor_version=4")
    token = site.box.run("propkey", "attest", *site.admin[:2], "--tee", "sample").out
    (site.box / "t").write_text(token)
    r = site.box.run("propkey", "token", "t", "--insecure-header-jwk", "--json").json()
    assert r["submods"]["cpu0"]["status"] == "affirming"


def test_lists_are_united_and_nothing_is_lost(site):
    site.set(f'snp_launch_measurement=["{A}"]', "snp_bootloader=[10]")
    r = site.set(f'snp_launch_measurement=["{B}","{A}"]', "snp_bootloader=[10]").json()
    assert r["values"]["snp_launch_measurement"] == {"before": [A], "after": [A, B], "changed": True}
    assert r["values"]["snp_bootloader"]["changed"] is False
    assert site.get("snp_launch_measurement") == [A, B]


def test_the_same_again_posts_nothing(old):
    with OldKbs("v0.21") as server:
        site = old(server)
        site.set('svn=["1"]')
        posts = server.count("POST")
        r = site.set('svn=["1"]').json()
        assert r["uploaded"] is False and server.count("POST") == posts


def test_a_single_value_of_others_is_not_replaced(site):
    site.set("major_version=1")
    e = site.set("major_version=2", 'svn=["1"]', ok=7).error()
    assert e["code"] == "reference-conflict" and "--replace" in e["hint"] and ": 1" in e["message"]
    assert site.get("major_version") == 1 and site.run("get", "svn", ok=8).error()["code"] == "rvps-error"
    r = site.set("major_version=2", "--replace")
    assert "dropped" in r.err and r.json()["values"]["major_version"]["dropped"] == [1]
    assert site.get("major_version") == 2


def test_replace_says_what_it_drops(site):
    site.set('svn=["1","2"]')
    r = site.set('svn=["2","3"]', "--replace")
    assert r.json()["values"]["svn"]["dropped"] == ["1"] and "dropped" in r.err
    assert site.get("svn") == ["2", "3"]


def test_a_dry_run_shows_the_merge_and_changes_nothing(site):
    site.set('svn=["1"]')
    r = site.set('svn=["2"]', "--dry-run").json()
    assert r["values"]["svn"]["after"] == ["1", "2"] and r["uploaded"] is False
    assert site.get("svn") == ["1"]


@pytest.mark.parametrize("value", [
    'svn="1"', "svn=1", "svn=[1]", "major_version=[1]", 'major_version="1"', "snp_bootloader=10", 'snp_bootloader=["10"]',
    "snp_smt_enabled=[true]", 'snp_smt_enabled="true"', f'mr_td="{A}"', f'mr_td=["{A.upper()}"]', 'rtmr_1=["abc"]', f'tdvfkernel=["{A}"]',
    'xfam="e742060000000000"', "svn=null", "svn={}",
])
def test_shapes_that_would_match_nothing(site, value):
    e = site.set(value, ok=3).error()
    assert e["code"] == "reference-shape" and "--force-shape" in e["hint"]
    name = value.partition("=")[0]
    assert site.run("get", name, ok=8).error()["code"] == "rvps-error"
    site.set(value, "--force-shape")


@pytest.mark.parametrize("args,status,code", [
    ([], 2, "no-reference-values"), (["svn"], 2, "bad-reference-argument"), (["=1"], 2, "bad-reference-argument"), (["a=text"], 3, "json-syntax"),
    (["a="], 3, "json-syntax"), (["a=1", "a=2"], 2, "bad-reference-argument"), (["a b=1"], 3, "bad-reference-name"), (["../x=1"], 3, "bad-reference-name"),
    (["é=1"], 3, "bad-reference-name"), (["a?b=1"], 3, "bad-reference-name"), (["./svn=1"], 3, "bad-reference-name"), (["-f", "no.json"], 8, "not-found"), (["-f", "list.json"], 3, "no-reference-values"),
    (["-f", "empty.json"], 3, "no-reference-values"), (["-f", "bad.json"], 3, "json-syntax"), (["a={\"x\":1,\"x\":2}"], 3, "json-syntax"),
    (["a=" + "[" * 200], 9, "json-depth"),
])
def test_bad_arguments(site, args, status, code):
    for name, text in (("list.json", "[]"), ("empty.json", "{}"), ("bad.json", "{")):
        (site.box / name).write_text(text)
    assert site.set(*args, ok=status).error()["code"] == code


def test_from_a_file_and_from_a_pipe(site):
    (site.box / "v.json").write_text('{"svn":["1"],"a/b.c":{"x":1}}')
    site.set("-f", "v.json", "other=2")
    site.set("-f", "-", stdin='{"svn":["2"]}')
    assert site.get("svn", "a/b.c", "other") == {"svn": ["1", "2"], "a/b.c": {"x": 1}, "other": 2}


def test_get(site):
    site.set('svn=["1"]', "own=1")
    r = site.run("get", "svn", "nothing", ok=8)
    assert r.json()["values"] == {"svn": ["1"]} and r.json()["missing"] == ["nothing"] and "nothing" in r.err
    assert site.run("get", "nothing", ok=8).error()["code"] == "rvps-error"
    assert site.run("get", "--all-known").json()["values"] == {"svn": ["1"]}
    assert site.run("get", "own", "--all-known").json()["values"] == {"own": 1, "svn": ["1"]}
    assert site.run("get", ok=2).error()["code"] == "no-reference-names"
    assert site.run("get", "a b", ok=3).error()["code"] == "bad-reference-name"
    r = site.box.run("propkey", "reference-value", "get", "svn", *site.admin)
    assert r.out == 'svn=["1"]\n'


def test_without_an_administrator(site):
    e = site.box.run("propkey", "reference-value", "set", "a=1", *site.admin[:2], "--json", ok=5).error()
    assert e["code"] == "admin-auth-access" and "--admin-key" in e["hint"]


# --- measurement files --------------------------------------------------------------------------

@pytest.mark.parametrize("doc", [
    {"launch_digest": A}, {"mode": "snp", "launch_digest": A.upper(), "vcpus": 2}, {"launch_digest": [A]},
    {"launch_digest": [{"profile": "p", "value": A}]}, {"mode": "snp", "launch_digest": {"EPYC-v4 x2": A}},
    {"snp_launch_measurement": [A]}, {"mode": "snp", "reference_values": {"snp_launch_measurement": [A]}},
])
def test_snp_measurements_in_every_form(site, doc):
    site.load(doc)
    assert site.run("get", "--all-known").json()["values"] == {"snp_launch_measurement": [A]}


@pytest.mark.parametrize("doc", [
    {"mr_td": A, "rtmr_1": [B, C], "rtmr_2": C},
    {"mode": "tdx", "mr_td": A, "rtmr_1": [{"profile": "edk2-202508", "value": B}, {"profile": "edk2-202502", "value": C}], "rtmr_2": {"edk2-202508": C}},
    {"mr_td": [A], "rtmr_1": [B, C], "rtmr_2": [C]},
])
def test_tdx_measurements_in_every_form(site, doc):
    site.load(doc)
    assert site.run("get", "--all-known").json()["values"] == {"mr_td": [A], "rtmr_1": [B, C], "rtmr_2": [C]}


def test_two_images_live_side_by_side(site):
    site.load({"mr_td": A, "rtmr_1": B, "rtmr_2": B, "tdvfkernel": B})
    r = site.load({"mr_td": A, "rtmr_1": C, "rtmr_2": C, "tdvfkernel": C})
    assert r.json()["values"]["tdvfkernel"]["kept"] is True and "tdvfkernel" in r.err
    assert site.run("get", "--all-known").json()["values"] == {"mr_td": [A], "rtmr_1": [B, C], "rtmr_2": [B, C], "tdvfkernel": B}
    site.load({"mr_td": A, "tdvfkernel": C}, "--replace")
    assert site.get("tdvfkernel") == C


def test_the_samples_own_names_are_no_measurement(site):
    site.load({"launch_digest": ["abcde"], "svn": ["1"], "major_version": 1, "minimum_minor_version": 4, "own": 7})
    assert site.get("launch_digest", "own") == {"launch_digest": ["abcde"], "own": 7}


def test_what_get_printed_can_be_imported(site):
    site.load({"launch_digest": ["abcde"], "svn": ["1"], "own": 7})
    got = site.run("get", "own", "svn", "launch_digest").json()
    site.set("svn=[]", "--replace")
    assert set(site.load(got).json()["values"]) == {"launch_digest", "svn", "own"}
    assert site.get("svn") == ["1"]


@pytest.mark.parametrize("doc,status,code", [
    ({"mode": "sev", "launch_digest": "ab" * 32}, 9, "measurement-tee"), ({"mode": "snp", "launch_digest": "abc"}, 3, "bad-measurement"),
    ({"mode": "snp", "launch_digest": []}, 3, "bad-measurement"), ({"mr_td": {"p": 1}}, 3, "bad-measurement"), ({"mr_td": "g" * 96}, 3, "bad-measurement"),
    ({"mode": "snp"}, 3, "bad-measurement"), ([], 3, "bad-measurement"), ({}, 3, "bad-measurement"), ({"launch_digest": "abcde"}, 3, "reference-shape"),
    ({"mr_td": A, "xfam": "e742060000000000"}, 3, "reference-shape"),
])
def test_files_that_are_no_measurement(site, doc, status, code):
    assert site.load(doc, ok=status).error()["code"] == code
    assert site.run("get", "--all-known").json()["values"] == {}


# --- at the same time, and when things break ------------------------------------------------------

def test_two_processes_do_not_lose_each_others_values(site):
    procs = [subprocess.Popen([BIN / "propkey", "reference-value", "set", f'svn=["{i}"]', *map(str, site.admin)],
                              env=site.box.env, cwd=site.box.path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for i in range(8)]
    for p in procs:
        _, err = p.communicate(timeout=60)
        assert p.returncode == 0, err
    assert sorted(site.get("svn")) == [str(i) for i in range(8)]


def test_a_failure_midway_tells_what_is_there(old):
    with OldKbs("v0.21", keeps={"b"}) as server:
        e = old(server).set("a=1", "b=2", "c=3", ok=6).error()
        assert e["code"] == "rvps-error" and "now: b;" in e["hint"] and "not there: a, c" in e["hint"]
    with OldKbs("v0.21", keeps=set()) as server:
        assert "none of them" in old(server).set("a=1", ok=6).error()["hint"]
    with OldKbs("v0.21", crashes=[("POST", "/reference-value", "before")]) as server:
        e = old(server).set("a=1", ok=6).error()
        assert e["code"] == "connection-closed" and "none of them" in e["hint"]


def test_a_server_that_gives_something_else_back(old):
    with OldKbs("v0.21") as server:
        class Odd(dict):
            def update(self, other):
                super().update({k: [v] for k, v in other.items()})
        server.values = Odd()
        e = old(server).set("a=1", ok=4).error()
        assert e["code"] == "reference-readback" and "'a'" in e["message"]


def test_servers_that_give_all_values_whatever_is_asked(old):
    """v0.14 and v0.15: taken for one value, a merge would destroy the others."""
    with OldKbs("v0.15") as server:
        server.values.update({"svn": ["1"], "other": {"x": 1}})
        site = old(server)
        site.set('svn=["2"]', "new=1")
        assert server.values == {"svn": ["1", "2"], "other": {"x": 1}, "new": 1}
        assert site.get("other") == {"x": 1}
        assert site.run("get", "nothing", ok=8).error()["code"] == "rvps-error"
    with OldKbs("v0.16") as server:
        server.values.update({"o": {"o": 1}})
        assert old(server).get("o") == {"o": 1}


def test_an_answer_that_is_no_json(old):
    with OldKbs("v0.21") as server:
        server.values = type("V", (dict,), {"__contains__": lambda s, k: True, "__getitem__": lambda s, k: float("nan")})()
        assert old(server).run("get", "a", ok=6).error()["code"] == "json-syntax"


# --- attestation policies -----------------------------------------------------------------------

GOOD = 'package policy\nimport rego.v1\ntrust_claims := {"executables": 3, "hardware": 2, "configuration": 2}\n'


class Policies(Site):
    def put(self, text, *args, ok=True):
        (self.box / "a.rego").write_bytes(text if isinstance(text, bytes) else text.encode())
        return self.box.run("propkey", "attestation-policy", "set", "a.rego", *args, *self.admin, "--json", ok=ok)

    def tier(self):
        self.box.run("propkey", "attest", *self.admin[:2], "--tee", "sample", "--json")
        (self.box / "t").write_text(self.box.run("propkey", "attest", *self.admin[:2], "--tee", "sample").out)
        r = self.box.run("propkey", "token", "t", "--insecure-header-jwk", "--json").json()
        return r["submods"]["cpu0"]["status"]


@pytest.fixture
def policies(box, kbs):
    return Policies(box, kbs.url, kbs.admin_key)


def test_an_attestation_policy_is_used(policies):
    assert policies.tier() == "contraindicated"
    r = policies.put(GOOD)
    doc = r.json()
    assert doc["uploaded"] is True and doc["id"] == "default_cpu" and doc["read_back"] is False and "version control" in r.err
    assert policies.tier() == "affirming"
    assert policies.put(GOOD.replace("3", "33"), "--dry-run").json()["uploaded"] is False
    assert policies.tier() == "affirming"


def test_an_id_the_server_never_evaluates(policies):
    r = policies.put(GOOD, "--id", "default")
    assert "never evaluates" in r.err and policies.tier() == "contraindicated"
    assert "never" not in policies.put(GOOD, "--id", "default_gpu").err
    assert policies.put(GOOD, "--id", "a b", ok=2).error()["code"] == "bad-policy-id"


@pytest.mark.parametrize("text,status,code", [
    ("package policy\ntrust_claims := {", 3, "rego-syntax"), ("package other\nimport rego.v1\ntrust_claims := {}\n", 3, "policy-package"),
    ("package policy\nimport rego.v1\nallow := true\n", 3, "policy-rule"), ("", 3, "rego-syntax"), (b"\xff\xfe", 3, None), ("#" * (1 << 20) + "#", 9, "file-too-big"),
    ('package policy\nimport rego.v1\ntrust_claims := {"executable": 3}\n', 3, "unknown-claim"),
    ('package policy\nimport rego.v1\ntrust_claims := {"executables": 3, "Hardware": 2} if input.snp\n', 3, "unknown-claim"),
    ('package policy\nimport rego.v1\ntrust_claims := {"executables": "3"}\n', 3, "claim-value"),
    ('package policy\nimport rego.v1\ntrust_claims := {"executables": 300}\n', 3, "claim-value"),
    ('package policy\nimport rego.v1\ntrust_claims := {}\n', 3, "claim-value"),
    ('package policy\nimport rego.v1\ntrust_claims := 3\n', 3, "claim-value"),
    ('package policy\nimport rego.v1\ntrust_claims := {"executables": 3, "odd": 2} if input.cca\n', 3, "policy-lint"),
])
def test_attestation_policies_that_would_break_the_server(policies, text, status, code):
    e = policies.put(text, ok=status).error()
    assert code is None or e["code"] == code
    assert policies.tier() == "contraindicated"
