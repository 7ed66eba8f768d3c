"""Policies on their way to the key broker: never wider by accident, nobody's rule lost, remembered,
put back; and the policy document changed only after the key broker took what it became."""
import json
import os
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from propkbs_peer import Client, b64u, unb64u

RED = '[[rule]] # red\'s\nresource = "red/*/*"\ntee = "snp"\ntier = "affirming"\n'
BLUE = '# blue, see ticket 7\n[[rule]]\ncomment = "blue"\nresource = "blue/key/model"\ntee = "tdx"\ntier = "affirming"\n'
BOTH = f"# keep in git\nversion = 1\n\n{RED}\n{BLUE}"
FOREIGN = 'package policy\nimport rego.v1\ndefault allow := false\nallow if data["resource-path"][0] == "red"\n'
SNP = {"ear.status": "affirming", "ear.veraison.annotated-evidence":
       {"snp": {"policy_debug_allowed": False, "policy_migrate_ma": False, "reported_tcb_snp": 23}}}
TDX = {"ear.status": "affirming", "ear.veraison.annotated-evidence": {"tdx": {"td_attributes": {"debug": False}}}}


class Site:
    def __init__(self, box, kbs):
        self.box, self.kbs, self.client = box, kbs, Client(kbs)
        self.doc = box / "p.toml"

    def args(self, *args):
        return ["propkey", "policy", *args, "--kbs", self.kbs.url, "--admin-key", self.kbs.admin_key]

    def run(self, *args, ok=True, **kw):
        return self.box.run(*self.args(*args), "--json", ok=ok, **kw)

    def decide(self, cpu, path):
        cpu = json.loads(json.dumps(cpu))
        cpu["ear.veraison.annotated-evidence"]["runtime_data_claims"] = {"tee-pubkey": self.client.jwk}
        token = self.client.ear(submods={"cpu0": cpu}, exp=int(time.time()) + 300)
        error = self.client.get(path, bearer=token).error
        assert error in ("PolicyDeny", "PluginInternalError"), error
        return error != "PolicyDeny"

    def history(self):
        r = self.box.run("propkey", "policy", "history", "--kbs", self.kbs.url, "--json", ok=None)
        return r.json()["policies"] if r.returncode == 0 else []

    def start(self, text=BOTH):
        self.doc.write_text(text)
        self.run("set", self.doc, "--allow-wider")


@pytest.fixture
def site(box, kbs):
    return Site(box, kbs)


# --- set ---------------------------------------------------------------------------------------------


def test_set_takes_a_document_and_compares(site):
    site.doc.write_text(BOTH)
    e = site.run("set", site.doc, ok=2).error()
    assert e["code"] == "policy-wider" and "--allow-wider" in e["hint"] and not site.history()
    r = site.run("set", site.doc, "--allow-wider").json()
    assert (r["rules"], r["change"], r["uploaded"]) == (2, "unknown", True)
    assert site.decide(SNP, "red/x/y") and site.decide(TDX, "blue/key/model") and not site.decide(TDX, "red/x/y")
    assert site.run("set", site.doc).json()["change"] == "same"
    assert len(site.history()) == 1 and site.history()[0]["document"] is True
    # Narrower, and said to be: somebody loses something.
    site.doc.write_text("version = 1\n" + RED)
    r = site.run("set", site.doc)
    assert r.json()["change"] == "narrower" and "blue/key/model" in r.err
    assert r.json()["examples"][0]["guest"]["tee"] == "tdx"
    # Wider again.
    site.doc.write_text(BOTH)
    e = site.run("set", site.doc, ok=2).error()
    assert e["code"] == "policy-wider" and "'blue/key/model' to a guest with tdx evidence" in e["message"]
    assert not site.decide(TDX, "blue/key/model") and len(site.history()) == 2
    r = site.run("set", site.doc, "--allow-wider").json()
    assert r["change"] == "wider" and r["examples"][0]["rule"] == 2 and site.decide(TDX, "blue/key/model")


def test_set_is_exact_over_rules(site):
    """Two narrow rules for one wide one, and back: nobody gains, so no flag is needed."""
    wide = 'resource = "a/b/c"\ntee = "snp"\nmeasurement = ["{0}", "{1}"]\n'.format("a" * 96, "b" * 96)
    site.start("version = 1\n[[rule]]\n" + wide)
    site.doc.write_text("version = 1\n" + "".join(
        f'[[rule]]\nresource = "a/b/c"\ntee = "snp"\nmeasurement = "{c * 96}"\n' for c in "ba"))
    assert site.run("set", site.doc).json()["change"] == "same"
    site.doc.write_text("version = 1\n[[rule]]\n" + wide)
    assert site.run("set", site.doc).json()["change"] == "same"


def test_set_after_a_preset(site):
    site.doc.write_text(BOTH)
    site.run("preset", "default")
    site.run("set", site.doc)  # the default lets any hardware in
    site.run("preset", "deny-all")
    assert site.run("set", site.doc, ok=2).error()["code"] == "policy-wider"
    site.run("preset", "allow-all")
    site.run("set", site.doc)
    site.run("preset", "affirming")
    assert site.run("set", site.doc, ok=2).error()["code"] == "policy-wider"
    site.run("preset", "default")
    site.doc.write_text('version = 1\n[[rule]]\nresource = "a/b/c"\ntee = "sample"\n')
    e = site.run("set", site.doc, ok=2).error()
    assert e["code"] == "policy-wider" and "sample evidence" in e["message"]


def test_foreign_rego_always_needs_the_flag(site):
    site.start()
    (site.box / "f.rego").write_text(FOREIGN)
    assert site.run("set", "f.rego", ok=2).error()["code"] == "policy-wider"
    site.run("set", "f.rego", "--allow-wider")
    site.run("set", "f.rego")  # the very same
    assert site.run("set", site.doc, ok=2).error()["code"] == "policy-wider"
    e = site.run("set", "f.rego", "--measured", "x.json", ok=2).error()
    assert e["code"] == "not-a-document"
    # What a document becomes is that document's, also without it.
    (site.box / "b.rego").write_bytes(site.box.run("propkey", "policy", "build", site.doc).stdout)
    site.run("set", site.doc, "--allow-wider")
    site.run("set", "b.rego")
    assert site.run("set", site.doc).json()["change"] == "same"


def test_dry_run_changes_nothing(site):
    site.start()
    before, history = site.doc.read_text(), site.history()
    other = site.box / "q.toml"
    other.write_text("version = 1\n" + RED)
    assert site.run("set", other, "--dry-run").json()["uploaded"] is False
    r = site.run("add", "--policy-doc", site.doc, "--resource", "a/b/c", "--allow", "tier=affirming", "--dry-run").json()
    assert (r["uploaded"], r["added"]) == (False, 1)
    site.run("remove", "--policy-doc", site.doc, "--rule", "1", "--dry-run")
    site.run("rollback", "1", "--dry-run")
    assert site.doc.read_text() == before and site.history() == history
    assert site.decide(TDX, "blue/key/model") and not site.decide(SNP, "a/b/c")


# --- add and remove ----------------------------------------------------------------------------------


def test_add_and_remove(site):
    site.start()
    r = site.run("add", "--policy-doc", site.doc, "--resource", "green/key/*", "--allow",
                 "tee=snp,tier=affirming,min_tcb.snp=23", "--allow", "tee=tdx,tier=affirming,tcb_status=UpToDate")
    assert (r.json()["added"], r.json()["rules"]) == (2, 4) and "compare and set" in r.err
    assert site.doc.read_text().startswith(BOTH)
    assert site.decide(SNP, "green/key/1") and not site.decide(TDX, "green/key/1")
    assert site.decide(SNP, "red/x/y") and site.decide(TDX, "blue/key/model")
    # Again: nothing to add, nothing changed.
    text = site.doc.read_text()
    r = site.run("add", "--policy-doc", site.doc, "--resource", "green/key/one", "--allow", "tee=snp,tier=affirming,min_tcb.snp=24")
    assert r.json()["added"] == 0 and site.doc.read_text() == text and len(site.history()) == 2
    r = site.run("remove", "--policy-doc", site.doc, "--resource", "green/key/*")
    assert r.json()["removed"] == 2 and site.doc.read_text() == BOTH and not site.decide(SNP, "green/key/1")
    r = site.run("remove", "--policy-doc", site.doc, "--rule", "1")
    assert site.doc.read_text() == f"# keep in git\nversion = 1\n\n{BLUE}"
    assert not site.decide(SNP, "red/x/y") and site.decide(TDX, "blue/key/model")


def test_from_the_ledger_alone(site):
    site.start()
    site.doc.unlink()
    assert site.run("add", "--resource", "a/b/c", "--allow", "tee=snp,tier=affirming").json()["added"] == 1
    assert site.decide(SNP, "a/b/c") and site.decide(TDX, "blue/key/model")
    site.run("remove", "--resource", "a/b/c")
    assert not site.decide(SNP, "a/b/c") and site.decide(TDX, "blue/key/model")
    assert site.box.run("propkey", "policy", "history", "3", "--kbs", site.kbs.url).out == BOTH


def test_nothing_is_done_where_nothing_is_known(site):
    add = ("add", "--resource", "a/b/c", "--allow", "tee=snp,tier=affirming")
    assert site.run(*add, ok=2).error()["code"] == "policy-unknown"
    (site.box / "f.rego").write_text(FOREIGN)
    site.run("set", "f.rego", "--allow-wider")
    e = site.run(*add, ok=2).error()
    assert e["code"] == "policy-unknown" and "--policy-doc" in e["hint"] and "--replace-policy" in e["hint"]
    # A document that did not make what was uploaded last is not all of it.
    site.doc.write_text(BOTH)
    assert site.run(*add, "--policy-doc", site.doc, ok=2).error()["code"] == "policy-unknown"
    assert site.doc.read_text() == BOTH and site.decide(SNP, "red/x/y") and not site.decide(SNP, "a/b/c")
    site.run(*add, "--policy-doc", site.doc, "--replace-policy")
    assert site.decide(SNP, "a/b/c") and site.doc.read_text().startswith(BOTH)
    e = site.run(*add, "--policy-doc", site.box / "none.toml", ok=8).error()
    assert "version = 1" in e["hint"]
    site.run(*add, "--policy-doc", site.box / "new.toml", "--replace-policy")
    assert "a/b/c" in (site.box / "new.toml").read_text() and not site.decide(SNP, "red/x/y")


def test_nobodys_rule_is_lost(site):
    site.start()
    site.doc.write_text("version = 1\n" + RED)  # an old copy
    for args in (("add", "--resource", "a/b/c", "--allow", "tee=snp,tier=affirming"), ("remove", "--rule", "1")):
        e = site.run(*args, "--policy-doc", site.doc, ok=2).error()
        assert e["code"] == "policy-loses-rule" and "blue/key/model" in e["message"] and "newest version" in e["hint"]
    assert site.doc.read_text() == "version = 1\n" + RED and site.decide(TDX, "blue/key/model")
    # A narrower copy of the rule loses something too.
    site.doc.write_text(BOTH.replace('resource = "red/*/*"', 'resource = "red/key/*"'))
    assert site.run("add", "--resource", "a/b/c", "--allow", "tier=affirming", "--policy-doc", site.doc, ok=2).error()["code"] == \
        "policy-loses-rule"
    # Rewritten without loss is fine.
    site.doc.write_text("version = 1\n" + BLUE + RED.replace("red/*/*", "red/*/*a") + RED + RED.replace("red/*/*", "red/k/x"))
    site.run("add", "--resource", "a/b/c", "--allow", "tier=affirming", "--policy-doc", site.doc)


def test_a_newer_document_goes_up_only_when_that_is_said(site):
    site.start("version = 1\n" + RED)
    site.doc.write_text(BOTH)  # pulled from git: blue's rule came from another machine
    add = ("add", "--resource", "a/b/c", "--allow", "tier=affirming", "--policy-doc", site.doc)
    e = site.run(*add, ok=2).error()
    assert e["code"] == "policy-wider" and "blue/key/model" in e["message"] and "--allow-wider" in e["hint"]
    assert site.doc.read_text() == BOTH and not site.decide(TDX, "blue/key/model")
    site.run(*add, "--allow-wider")
    assert site.decide(TDX, "blue/key/model")


def test_a_refused_upload_changes_nothing(site):
    site.start()
    site.box.run("propkey", "admin-keygen", "-o", "other.key")
    before, history = site.doc.read_bytes(), site.history()
    wrong = ["--kbs", site.kbs.url, "--admin-key", "other.key", "--json"]
    for args in (("add", "--policy-doc", site.doc, "--resource", "a/b/c", "--allow", "tier=affirming"),
                 ("remove", "--policy-doc", site.doc, "--rule", "1"), ("set", site.doc, "--allow-wider"),
                 ("rollback", "1")):
        assert site.box.run("propkey", "policy", *args, *wrong, ok=5).error()["code"] == "admin-auth-access"
    assert site.doc.read_bytes() == before and site.history() == history
    # Nor does a document that could not be written back afterwards.
    folder = site.box / "ro"
    folder.mkdir()
    (folder / "p.toml").write_text(BOTH)
    folder.chmod(0o500)
    if os.geteuid() != 0:
        site.run("add", "--policy-doc", folder / "p.toml", "--resource", "a/b/c", "--allow", "tier=affirming", ok=7)
        assert not site.decide(SNP, "a/b/c")
    folder.chmod(0o700)


def test_no_upload(site):
    site.doc.write_text(BOTH)
    site.doc.chmod(0o640)
    link = site.box / "link.toml"
    link.symlink_to("p.toml")
    r = site.box.run("propkey", "policy", "add", "--policy-doc", link, "--no-upload", "--resource", "kbs:///a/b/c", "--allow",
                     "tee=snp,tier=affirming", "--json").json()
    assert r["uploaded"] is False and r["added"] == 1
    assert link.is_symlink() and site.doc.stat().st_mode & 0o777 == 0o640
    assert site.doc.read_text() == BOTH + '\n[[rule]]\nresource = "a/b/c"\ntee = "snp"\ntier = "affirming"\n'
    site.box.run("propkey", "policy", "remove", "--policy-doc", link, "--no-upload", "--rule", "3")
    assert site.doc.read_text() == BOTH and not site.history()
    e = site.box.run("propkey", "policy", "add", "--no-upload", "--resource", "a/b/c", "--allow", "tier=affirming", "--json",
                     ok=2).error()
    assert e["code"] == "no-policy-doc"


def test_json_documents_keep_their_bytes(site):
    doc = site.box / "p.json"
    text = '{ "version":1,\n  "rule" : [\n\t{"resource":"red/*/*", "tee":"snp","tier":"affirming"}\n  ] }\n'
    doc.write_text(text)
    site.run("set", doc, "--allow-wider")
    site.run("add", "--policy-doc", doc, "--resource", "a/b/c", "--allow", "tee=snp,tier=affirming")
    assert doc.read_text().startswith(text[:80]) and len(json.loads(doc.read_text())["rule"]) == 2
    assert site.decide(SNP, "a/b/c")
    site.run("remove", "--policy-doc", doc, "--rule", "2")
    assert doc.read_text() == text


def test_what_is_refused(site):
    site.start()
    before = site.doc.read_bytes()
    doc = ("--policy-doc", site.doc)
    for args, status, code in (
            (("add", *doc, "--allow", "tier=affirming"), 2, "missing-option"),
            (("add", *doc, "--resource", "a/b/c"), 2, "missing-option"),
            (("add", *doc, "--resource", "a/b", "--allow", "tier=affirming"), 2, "bad-resource"),
            (("add", *doc, "--resource", "a/b/*c*", "--allow", "tier=affirming"), 2, "bad-resource"),
            (("add", *doc, "--resource", "a/b/c", "--allow", "tee=snp"), 2, "bad-allow"),
            (("add", *doc, "--resource", "a/b/c", "--allow", "nonsense"), 2, "bad-allow"),
            (("remove", *doc), 2, "which-rule"),
            (("remove", *doc, "--rule", "1", "--resource", "red/*/*"), 2, "which-rule"),
            (("remove", *doc, "--rule", "3"), 8, "no-such-rule"),
            (("remove", *doc, "--rule", "0"), 8, "no-such-rule"),
            (("remove", *doc, "--resource", "red/key/x"), 8, "no-such-rule")):
        assert site.run(*args, ok=status).error()["code"] == code, args
    assert site.doc.read_bytes() == before and len(site.history()) == 1
    # Inline lists are not rewritten behind anybody's back.
    inline = site.box / "i.toml"
    inline.write_text('version = 1\nrule = [{ resource = "a/b/c", tier = "affirming" }]\n')
    for args in (("add", "--resource", "x/y/z", "--allow", "tier=affirming"), ("remove", "--rule", "1")):
        e = site.box.run("propkey", "policy", *args, "--policy-doc", inline, "--no-upload", "--json", ok=9).error()
        assert e["code"] == "policy-form"


def test_sample_evidence_is_said_aloud(site):
    site.start()
    r = site.run("add", "--policy-doc", site.doc, "--resource", "a/b/c", "--allow", "tee=sample")
    assert "anybody can make sample evidence" in r.err
    e = site.box.run("propkey", "policy", "add", "--policy-doc", site.doc, "--no-upload", "--resource", "a/b/d", "--allow",
                     "tee=sample", "--json", ok=2).error()
    assert e["code"] == "sample-not-loopback"


def test_two_at_once_wait_for_each_other(site):
    site.start()
    procs = [subprocess.Popen([str(a) for a in site.args("add", "--policy-doc", site.doc, "--resource", f"a/b/c{i}", "--allow",
                                                         "tee=snp,tier=affirming")],
                              env=site.box.env, cwd=site.box.path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
             for i in range(5)]
    for p in procs:
        err = p.communicate(timeout=60)[1]
        assert p.returncode == 0, err
    for i in range(5):
        assert f'"a/b/c{i}"' in site.doc.read_text() and site.decide(SNP, f"a/b/c{i}")
    assert len(site.history()) == 6


# --- history and rollback ----------------------------------------------------------------------------


def test_rollback(site):
    site.start()
    site.run("remove", "--policy-doc", site.doc, "--rule", "2")
    site.run("remove", "--policy-doc", site.doc, "--rule", "1")
    history = site.history()
    assert [h["id"] for h in history] == [3, 2, 1] and all(len(h["sha256"]) == 64 and h["document"] for h in history)
    lines = site.box.run("propkey", "policy", "history", "--kbs", site.kbs.url).out.splitlines()
    assert len(lines) == 3 and lines[2].split()[0] == "1" and "from a document" in lines[0]
    assert site.box.run("propkey", "policy", "history", "1", "--kbs", site.kbs.url).out == BOTH
    # Back is wider here, exactly said; forward again is not.
    e = site.run("rollback", ok=2).error()
    assert e["code"] == "policy-wider" and "red/" in e["message"]
    r = site.run("rollback", "1", "--allow-wider")
    assert r.json()["id"] == 1 and r.json()["change"] == "wider" and "policy history 1" in r.err
    assert site.decide(TDX, "blue/key/model") and site.decide(SNP, "red/x/y")
    site.run("rollback", "--to", history[1]["sha256"][:12])
    assert not site.decide(TDX, "blue/key/model") and site.decide(SNP, "red/x/y")
    site.run("rollback", "--to", "sha256:" + history[0]["sha256"])
    assert not site.decide(SNP, "red/x/y")
    for args, status, code in ((("99",), 8, "policy-unknown"), (("--to", "0" * 64), 8, "policy-unknown"),
                               (("--to", "ab"), 2, "bad-option-value"), (("1", "--to", "0" * 64), 2, "which-policy"),
                               (("x",), 2, None)):
        got = site.run("rollback", *args, ok=status).error()["code"]
        assert code is None or got == code, (args, got)


def test_rollback_of_foreign_rego(site):
    (site.box / "f.rego").write_text(FOREIGN)
    site.run("set", "f.rego", "--allow-wider")
    site.start("version = 1\n" + BLUE)
    assert site.run("rollback", ok=2).error()["code"] == "policy-wider"
    site.run("rollback", "--allow-wider")
    assert site.decide(SNP, "red/x/y") and not site.decide(TDX, "blue/key/model")
    site.run("preset", "deny-all")
    site.run("preset", "allow-all")
    assert site.run("rollback").json()["change"] == "unknown"  # deny-all, after a preset: nobody gains
    assert not site.decide(SNP, "red/x/y")
    assert site.run("rollback", ok=2).error()["code"] == "policy-wider"


def test_history_without_a_ledger(box, kbs):
    e = box.run("propkey", "policy", "history", "--kbs", kbs.url, "--json", ok=8).error()
    assert e["code"] == "policy-unknown"
    e = box.run("propkey", "policy", "rollback", "--kbs", kbs.url, "--admin-key", kbs.admin_key, "--json", ok=8).error()
    assert e["code"] == "policy-unknown"


def test_another_server_is_another_policy(box, kbs_factory):
    one, two = Site(box, kbs_factory()), Site(box, kbs_factory())
    one.start()
    assert two.run("set", two.doc, ok=2).error()["code"] == "policy-wider"
    assert not two.history() and len(one.history()) == 1


class OldKbs:
    """A server before v0.19: gives its policy's text back."""

    def __init__(self):
        class Handler(BaseHTTPRequestHandler):
            policy = ""

            def answer(self, body):
                self.send_response(200)
                self.send_header("content-type", "text/xml")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                self.answer(b64u(type(self).policy.encode()).encode())

            def do_POST(self):
                text = json.loads(self.rfile.read(int(self.headers["content-length"])))["policy"]
                type(self).policy = unb64u(text).decode()
                self.answer(b"")

            def log_message(self, *args):
                pass

        self.handler = Handler
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def test_an_older_server_tells_that_somebody_else_changed_it(box):
    old = OldKbs()
    doc = box / "p.toml"
    doc.write_text(BOTH)
    box.run("propkey", "admin-keygen", "-o", "admin.key")
    args = ("--kbs", old.url, "--admin-key", "admin.key", "--json")
    box.run("propkey", "policy", "set", doc, "--allow-wider", *args)
    box.run("propkey", "policy", "set", doc, *args)
    box.run("propkey", "policy", "add", "--policy-doc", doc, "--resource", "a/b/c", "--allow", "tier=affirming", *args)
    ours, text = old.handler.policy, doc.read_text()
    old.handler.policy = FOREIGN
    for verb in (("set", doc), ("add", "--policy-doc", doc, "--resource", "a/b/d", "--allow", "tier=affirming"),
                 ("remove", "--policy-doc", doc, "--rule", "1"), ("rollback", "2")):
        e = box.run("propkey", "policy", *verb, *args, ok=2).error()
        assert e["code"] == "policy-differs" and "somebody else" in e["hint"], verb
    assert old.handler.policy == FOREIGN and doc.read_text() == text
    box.run("propkey", "policy", "set", doc, "--allow-wider", *args)
    assert old.handler.policy == ours
    old.server.shutdown()
