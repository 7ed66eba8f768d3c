"""propkey against the development KBS: keys in, keys out, policies, and everything that must be
refused on the way."""
import base64
import json
import os
import stat
import time

import pytest

from conftest import need

SECRET = b"0123456789abcdef0123456789abcdef"
PATH = "default/key/k1"
ALLOW = 'package policy\nimport rego.v1\ndefault allow := false\nallow if data["resource-path"][0] == "default"\n'


class Site:
    """One key broker, and propkey called as its administrator."""

    def __init__(self, box, kbs):
        self.box, self.kbs = box, kbs
        (box / "v").write_bytes(SECRET)
        self.admin = ["--kbs", kbs.url, "--admin-key", kbs.admin_key]

    def run(self, *args, ok=True, **kw):
        return self.box.run("propkey", *args, *self.admin, ok=ok, **kw)

    def get(self, path=PATH, *args, ok=True, **kw):
        return self.box.run("propkey", "get", path, "--kbs", self.kbs.url, "--tee", "sample", *args, ok=ok, **kw)

    def opened(self):
        self.run("policy", "preset", "allow-all")
        return self


@pytest.fixture
def site(box, kbs):
    return Site(box, kbs)


def token(box, key, **claims):
    """An admin token with claims of one's choice, signed by openssl."""
    openssl = need("openssl")
    now = int(time.time())
    body = {"iss": "propkey", "sub": "admin", "role": "admin", "iat": now, "exp": now + 600, **claims}
    b64 = lambda b: base64.urlsafe_b64encode(b).rstrip(b"=")
    text = b64(b'{"alg":"EdDSA","typ":"JWT"}') + b"." + b64(json.dumps({k: v for k, v in body.items() if v is not None}).encode())
    (box / "signed").write_bytes(text)
    box.run(openssl, "pkeyutl", "-sign", "-inkey", key, "-rawin", "-in", "signed", "-out", "sig")
    path = box / "admin.token"
    path.write_bytes(text + b"." + b64((box / "sig").read_bytes()) + b"\n")
    path.chmod(0o600)
    return path


def test_a_key_goes_in_and_comes_out(site):
    r = site.run("set", PATH, "v", "--json").json()
    assert r["path"] == PATH and r["bytes"] == 32 and r["kbs"] == site.kbs.url and r["uploaded"] is True
    site.opened()
    assert site.get().stdout == SECRET
    assert site.get(f"kbs:///{PATH}").stdout == SECRET
    r = site.get(PATH, "-o", "out", "--json").json()
    assert r == {"version": 1, "path": PATH, "bytes": 32, "file": "out"}
    assert (site.box / "out").read_bytes() == SECRET
    assert stat.S_IMODE(os.stat(site.box / "out").st_mode) == 0o600
    assert base64.b64decode(site.get(PATH, "--json").json()["value"]) == SECRET


def test_from_a_pipe_to_a_pipe(site):
    site.run("set", PATH, "-", stdin=b"from a pipe")
    site.opened()
    assert site.get(PATH, "-o", "-").stdout == b"from a pipe"


@pytest.mark.parametrize("size", [1, 15, 16, 17, 2 * 1024 * 1024])
def test_any_size_up_to_the_limit(site, size):
    value = os.urandom(size)
    (site.box / "big").write_bytes(value)
    site.run("set", PATH, "big")
    site.opened()
    assert site.get().stdout == value


def test_one_byte_more_is_refused_before_it_is_sent(site):
    (site.box / "big").write_bytes(b"x" * (2 * 1024 * 1024 + 1))
    assert site.run("set", PATH, "big", "--json", ok=9).error()["code"] == "resource-too-big"
    assert site.run("set", PATH, "-", "--json", stdin=b"x" * (2 * 1024 * 1024 + 1), ok=9).error()["code"] == "resource-too-big"
    site.opened()
    assert site.get(PATH, "--json", ok=8).error()["code"] == "plugin-internal-error"


def test_an_empty_resource_must_be_meant(site):
    (site.box / "empty").write_bytes(b"")
    assert site.run("set", PATH, "empty", "--json", ok=3).error()["code"] == "empty-resource"
    site.run("set", PATH, "empty", "--allow-empty")
    site.opened()
    assert site.get().stdout == b""


def test_uploading_again_changes_nothing(site):
    site.run("set", PATH, "v")
    site.run("set", PATH, "v")
    site.opened()
    assert site.get().stdout == SECRET


def test_a_live_key_is_not_overwritten(site):
    site.run("set", PATH, "v")
    site.box.run("propkey", "gen", "other")
    e = site.run("set", PATH, "other", "--json", ok=7).error()
    assert e["code"] == "key-in-use" and "--replace-key" in e["hint"]
    site.opened()
    assert site.get().stdout == SECRET
    site.run("set", PATH, "other", "--replace-key")
    assert site.get().stdout == (site.box / "other").read_bytes()


def test_what_is_no_key_may_be_replaced(site):
    """No image needs it; a key over it is then guarded like any other."""
    for text in (b"one", b"two"):
        (site.box / "text").write_bytes(text)
        site.run("set", PATH, "text")
    site.run("set", PATH, "v")
    assert site.run("set", PATH, "text", "--json", ok=7).error()["code"] == "key-in-use"
    assert site.opened().get().stdout == SECRET


def test_a_deleted_name_is_free_again(site):
    site.run("set", PATH, "v")
    assert site.run("delete", PATH, "--json").json()["deleted"] is True
    site.opened()
    assert site.get(PATH, "--json", ok=8).error()["code"] == "plugin-internal-error"
    assert site.run("delete", PATH, "--json", ok=8).error()["code"] == "plugin-internal-error"
    site.box.run("propkey", "gen", "other")
    site.run("set", PATH, "other")


def test_a_dry_run_uploads_nothing(site):
    assert site.run("set", PATH, "v", "--dry-run", "--json").json()["uploaded"] is False
    assert site.run("policy", "preset", "allow-all", "--dry-run", "--json").json()["uploaded"] is False
    assert site.get(PATH, "--json", ok=5).error()["code"] == "policy-deny"
    site.opened()
    site.get(ok=8)


@pytest.mark.parametrize("path", ["a/b", "a/b/c/d", "/a/b/c", "a//c", "a/b/.c", "a/b/../c", "a/b/c?x", "a b/c/d", "http://x/a/b/c", ""])
def test_bad_resource_paths(site, path):
    for verb in (["set", path, "v"], ["delete", path]):
        assert site.run(*verb, "--json", ok=3).error()["code"] == "bad-resource-path"
    assert site.get(path, "--json", ok=3).error()["code"] == "bad-resource-path"


def test_the_url_of_the_api_is_not_that_of_the_server(site):
    for verb in (["set", PATH, "v"], ["delete", PATH]):
        r = site.box.run("propkey", *verb, "--json", "--kbs", f"{site.kbs.url}/kbs/v0", "--admin-key", site.kbs.admin_key, ok=9)
        e = r.error()
        assert e["code"] == "plugin-not-found" and "without /kbs/v0" in e["hint"]


def test_another_key_brokers_resource(site):
    for verb in (["set", "kbs://evil.example/a/b/c", "v"], ["delete", "kbs://evil.example/a/b/c"]):
        assert site.run(*verb, "--json", ok=5).error()["code"] == "foreign-kbs"
    assert site.get("kbs://evil.example/a/b/c", "--json", ok=5).error()["code"] == "foreign-kbs"
    host = site.kbs.url.partition("://")[2]
    site.opened().run("set", f"kbs://{host}/{PATH}", "v")
    assert site.get(f"kbs://{host}/{PATH}").stdout == SECRET


# --- who may ------------------------------------------------------------------------------------

def test_the_wrong_admin_key(site):
    site.box.run("propkey", "admin-keygen")
    wrong = ["--kbs", site.kbs.url, "--admin-key", "admin.key", "--json"]
    e = site.box.run("propkey", "set", PATH, "v", *wrong, ok=5).error()
    assert e["code"] == "admin-auth-initialization" and e["hint"]
    assert site.box.run("propkey", "delete", PATH, *wrong, ok=5).error()["code"] == "admin-auth-initialization"
    assert site.box.run("propkey", "policy", "preset", "allow-all", *wrong, ok=5).error()["code"] == "admin-auth-access"


def test_no_administrator_at_all(site):
    e = site.box.run("propkey", "set", PATH, "v", "--kbs", site.kbs.url, "--json", ok=5).error()
    assert e["code"] == "admin-auth-initialization" and "--admin-key" in e["hint"]


def with_token(site, ok, **claims):
    path = token(site.box, site.kbs.admin_key, **claims)
    return site.box.run("propkey", "set", PATH, "v", "--kbs", site.kbs.url, "--admin-token", path, "--json", ok=ok)


def test_a_ready_token(site):
    with_token(site, 0)
    with_token(site, 0, aud="anything")


def test_an_expired_token_is_told_from_a_wrong_one(site):
    e = with_token(site, 5, exp=int(time.time()) - 3600).error()
    assert e["code"] == "admin-token-expired" and "expired at" in e["message"]


def test_a_token_without_role(site):
    assert "role" in with_token(site, 5, role=None).error()["hint"]


def test_our_own_token_is_taken(site):
    r = site.box.run("propkey", "admin-token", "--admin-key", site.kbs.admin_key)
    (site.box / "t").write_text(r.out)
    (site.box / "t").chmod(0o600)
    site.box.run("propkey", "set", PATH, "v", "--kbs", site.kbs.url, "--admin-token", "t")


def test_issuer_audience_and_role(box, kbs_factory):
    site = Site(box, kbs_factory("--issuer", "I", "--audience", "A", "--acl", "uploader=^/kbs/v0/resource/.+$"))
    right = ["--issuer", "I", "--audience", "A", "--role", "uploader"]
    site.run("set", PATH, "v", *right)
    for i in (1, 3):
        wrong = right[:i] + ["other"] + right[i + 1:]
        assert site.run("set", PATH, "v", "--json", *wrong, ok=5).error()["code"] == "admin-auth-initialization"
    assert site.run("set", PATH, "v", "--json", ok=5).error()["code"] == "admin-auth-initialization"
    e = site.run("policy", "preset", "deny-all", "--json", *right, ok=5).error()
    assert e["code"] == "admin-auth-access" and "role" in e["hint"]


def test_a_server_that_denies_every_administrator(box, kbs_factory):
    site = Site(box, kbs_factory("--deny-all"))
    e = site.run("set", PATH, "v", "--json", ok=5).error()
    assert e["code"] == "admin-auth-initialization" and "every administrator" in e["hint"]


def test_an_admin_key_that_others_can_read(site):
    key = site.box / "loose.key"
    key.write_bytes(site.kbs.admin_key.read_bytes())
    key.chmod(0o644)
    r = site.box.run("propkey", "set", PATH, "v", "--kbs", site.kbs.url, "--admin-key", key, "--json", ok=5)
    assert r.error()["code"] == "key-file-mode"


def test_an_admin_key_of_another_kind(site):
    site.box.run("propkey", "gen", "--type", "ec", "ec.key")
    r = site.box.run("propkey", "set", PATH, "v", "--kbs", site.kbs.url, "--admin-key", "ec.key", "--json", ok=3)
    assert r.error()["code"] == "admin-key-type"


# --- attestation --------------------------------------------------------------------------------

def test_the_default_policy_denies_sample_evidence(site):
    site.run("set", PATH, "v")
    e = site.get(PATH, "-o", "out", "--json", ok=5).error()
    assert e["code"] == "policy-deny" and "propkey policy build" in e["hint"]
    assert not (site.box / "out").exists()
    assert site.get("no/such/key", "--json", ok=5).error()["code"] == "policy-deny"


def test_evidence_is_never_sample_by_itself(site):
    r = site.box.run("propkey", "get", PATH, "--kbs", site.kbs.url, "--json", ok=9)
    assert r.error()["code"] == "no-tee" and "--tee sample" in r.error()["hint"]
    r = site.box.run("propkey", "get", PATH, "--kbs", site.kbs.url, "--tee", "none", "--json", ok=2)
    assert r.error()["code"] == "bad-tee"
    site.opened().run("set", PATH, "v")
    assert site.box.run("propkey", "get", PATH, "--kbs", site.kbs.url, env={"PROP_TEE": "sample"}).stdout == SECRET


@pytest.mark.parametrize("kind", [["rsa", "--bits", "2048"], ["p256"], ["p521"]])
def test_tee_keys_of_ones_own(site, kind):
    site.box.run("propkey", "gen", "--type", *kind, "tee.key")
    site.opened().run("set", PATH, "v")
    assert site.get(PATH, "--tee-key", "tee.key").stdout == SECRET


@pytest.mark.parametrize("kind", ["p384", "ed25519"])
def test_tee_keys_nobody_encrypts_to(site, kind):
    site.box.run("propkey", "gen", "--type", kind, "tee.key")
    assert site.get(PATH, "--tee-key", "tee.key", "--json", ok=9).error()["code"] == "tee-key"


def test_a_token_now_a_resource_later(site):
    site.box.run("propkey", "gen", "--type", "ec", "tee.key")
    site.box.run("propkey", "gen", "--type", "ec", "other.key")
    site.opened().run("set", PATH, "v")
    ear = site.box.run("propkey", "attest", "--kbs", site.kbs.url, "--tee", "sample", "--tee-key", "tee.key")
    (site.box / "ear").write_text(ear.out)
    passport = ["propkey", "get", PATH, "--kbs", site.kbs.url, "--attestation-token", "ear", "--json"]
    assert base64.b64decode(site.box.run(*passport, "--tee-key", "tee.key").json()["value"]) == SECRET
    assert site.box.run(*passport, "--tee-key", "other.key", ok=4).error()["code"] == "jwe-no-key"
    assert site.get(PATH, "--token", "ear", "--tee-key", "tee.key").stdout == SECRET
    assert site.get(PATH, "--token", "ear", "--json", ok=2).error()["code"] == "no-tee-key"
    (site.box / "ear").write_text(ear.out[:-8] + "AAAAAAA\n")
    assert site.box.run(*passport, "--tee-key", "tee.key", ok=5).error()["code"] == "token-verifier-error"


def test_attest_prints_an_ear(site):
    r = site.box.run("propkey", "attest", "--kbs", site.kbs.url, "--tee", "sample", "--json").json()
    part = r["token"].split(".")[1]
    ear = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    assert r["tee"] == "sample" and "cpu0" in ear["submods"]


def test_files_in_the_way_stay(site):
    site.opened().run("set", PATH, "v")
    (site.box / "out").write_text("mine")
    assert site.get(PATH, "-o", "out", "--json", ok=7).error()["code"] == "file-exists"
    assert (site.box / "out").read_text() == "mine"
    site.get(PATH, "-o", "out", "--force")
    assert (site.box / "out").read_bytes() == SECRET
    site.run("delete", PATH)
    site.get(PATH, "-o", "out", "--force", ok=8)
    assert (site.box / "out").read_bytes() == SECRET


def test_binary_does_not_go_to_a_terminal(site):
    (site.box / "bin").write_bytes(b"\x00\x1b[31m")
    site.opened().run("set", PATH, "bin")
    script = need("script")
    command = f"propkey get {PATH} --kbs {site.kbs.url} --tee sample"
    r = site.box.run(script, "-qec", command, "/dev/null", ok=2)
    assert "goes to a terminal" in r.out and "\x1b[31m" not in r.out and "\x00" not in r.out


# --- policies -----------------------------------------------------------------------------------

def test_presets(site):
    site.run("set", PATH, "v")
    for name, status in (("allow-all", 0), ("deny-all", 5), ("allow-all", 0), ("affirming", 5), ("allow-all", 0), ("default", 5)):
        site.run("policy", "preset", name)
        site.get(ok=status)
    assert site.run("policy", "preset", "everything", "--json", ok=2).error()["code"] == "unknown-preset"


def test_allow_all_warns(site):
    assert "warning" in site.run("policy", "preset", "allow-all").err
    assert "warning" not in site.run("policy", "preset", "deny-all").err


def test_a_policy_of_ones_own_must_be_meant(site):
    site.run("set", PATH, "v")
    (site.box / "p.rego").write_text(ALLOW)
    e = site.run("policy", "set", "p.rego", "--json", ok=2).error()
    assert e["code"] == "policy-wider" and "--allow-wider" in e["hint"]
    site.get(ok=5)
    r = site.run("policy", "set", "p.rego", "--allow-wider", "--json").json()
    assert r["uploaded"] is True and r["digest"].startswith("sha256:")
    assert site.get().stdout == SECRET
    assert site.get("other/key/k1", "--json", ok=5).error()["code"] == "policy-deny"
    # The one uploaded last from here is no wider than itself, and nobody is no wider than anybody.
    site.run("policy", "set", "p.rego")
    site.run("policy", "preset", "deny-all")
    (site.box / "d.rego").write_bytes(site.run("policy", "get").stdout)
    site.run("policy", "set", "d.rego")
    assert site.run("policy", "set", "p.rego", "--json", ok=2).error()["code"] == "policy-wider"


def test_a_policy_comes_back_as_it_was_uploaded(site):
    e = site.run("policy", "get", "--json", ok=8).error()
    assert e["code"] == "policy-unknown" and "version control" in e["hint"]
    (site.box / "p.rego").write_text(ALLOW)
    site.run("policy", "set", "p.rego", "--allow-wider")
    r = site.run("policy", "get")
    assert r.out == ALLOW and "from this machine" in r.err
    assert site.run("policy", "get", "--json").json()["source"] == "ledger"


@pytest.mark.parametrize("text,where", [
    ("package policy\nallow if {\n", "line 3"), ("package policy\nallow = = true\n", "line 2"), ("not rego", "line 1"),
])
def test_a_policy_that_does_not_parse(site, text, where):
    (site.box / "bad.rego").write_text(text)
    e = site.run("policy", "set", "bad.rego", "--allow-wider", "--json", ok=3).error()
    assert e["code"] == "rego-syntax" and where in e["message"] and "bad.rego" in e["message"]
    assert site.run("policy", "get", "--json", ok=8).error()["code"] == "policy-unknown"


@pytest.mark.parametrize("text,status,code", [(b"", 3, "rego-syntax"), (b"package policy\0", 3, "rego-syntax"), (b"#" * (1 << 20) + b"#", 9, "file-too-big")])
def test_files_that_are_no_policy(site, text, status, code):
    (site.box / "p").write_bytes(text)
    assert site.run("policy", "set", "p", "--allow-wider", "--json", ok=status).error()["code"] == code


def test_a_policy_that_denies_by_mistake_is_pointed_out(site):
    (site.box / "p").write_text("package other\nallow := true\n")
    assert "deny everybody" in site.run("policy", "set", "p", "--allow-wider").err
    (site.box / "p").write_text("package policy\npermit := true\n")
    assert "deny everybody" in site.run("policy", "set", "p", "--allow-wider").err


def test_without_a_ledger_the_verbs_go_on(site):
    state = site.box.home / "state"
    state.parent.mkdir(exist_ok=True)
    if state.exists():
        pytest.fail("the ledger was there before")
    state.write_text("a file where the folder should be")
    assert "ledger" in site.run("set", PATH, "v").err
    assert "ledger" in site.run("policy", "preset", "allow-all").err
    assert site.get().stdout == SECRET


# --- TLS, and what must never show ----------------------------------------------------------------

def test_tls_with_a_ca_of_its_own(box, kbs_factory):
    site = Site(box, kbs_factory("--tls"))
    assert site.kbs.url.startswith("https://")
    assert site.run("set", PATH, "v", "--json", ok=6).error()["code"] == "tls"
    trust = ["--ca-cert", site.kbs.ca]
    site.run("set", PATH, "v", *trust)
    site.run("policy", "preset", "allow-all", *trust)
    assert site.get(PATH, *trust).stdout == SECRET
    assert site.get(PATH, "--json", ok=6).error()["code"] == "tls"
    assert site.run("set", PATH, "v", "--ca-cert", "no/such.pem", "--json", ok=8).error()["code"] == "not-found"
    site.run("set", PATH, "v", "--ca-cert", "v", ok=3)


def test_the_key_broker_is_down(box, kbs_factory):
    site = Site(box, kbs_factory())
    site.kbs.proc.terminate()
    site.kbs.proc.wait(10)
    for args in (["set", PATH, "v"], ["delete", PATH], ["policy", "preset", "deny-all"], ["policy", "get"]):
        e = site.run(*args, "--json", ok=6).error()
        assert e["code"] == "connect" and "running" in e["hint"]
    site.get(PATH, "-o", "out", ok=6)
    assert not (box / "out").exists()


def test_no_secret_is_ever_said(site):
    (site.box / "v").write_bytes(b"sesame-sesame-sesame-sesame-1234")
    needles = [b"sesame", base64.b64encode(b"sesame-sesame-sesame-sesame-1234")[:20], b"sesame".hex().encode()]
    pem = site.kbs.admin_key.read_bytes().split(b"\n")[1]
    needles.append(pem)
    said = b""
    for args in (["set", PATH, "v"], ["set", PATH, "v", "--json", "-v"], ["set", "bad", "v"], ["policy", "preset", "allow-all", "-v"],
                 ["delete", "no/such/key", "-v"], ["delete", PATH, "-v"], ["set", PATH, "v", "--show-config"]):
        r = site.run(*args, ok=None)
        said += r.stdout + r.stderr
    site.run("set", PATH, "v")
    for args in ([PATH, "-o", "out", "-v"], [PATH, "-o", "out"], ["no/such/key", "-v"]):
        r = site.get(*args, ok=None)
        said += r.stdout + r.stderr
    assert (site.box / "out").read_bytes().startswith(b"sesame")
    for n in needles:
        assert n not in said
    # Bearer tokens and cookies are secrets as well.
    assert b"eyJ" not in said and b"kbs-session-id" not in said
    for p in site.box.home.rglob("*"):
        if p.is_file():
            assert not any(n in p.read_bytes() for n in needles), p
