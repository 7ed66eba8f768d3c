"""Who the administrator is: keys and tokens of every form, against the development KBS, against older
releases with their own token rules, over TLS with client certificates, through proxies."""
import base64
import json
import pathlib
import socket
import ssl
import sys
import threading
import time

import pytest

from conftest import need

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "helpers"))
from old_kbs import OldKbs  # noqa: E402

PATH = "default/key/k1"


@pytest.fixture
def admin(box):
    box.run("propkey", "admin-keygen")
    (box / "v").write_bytes(b"0123456789abcdef0123456789abcdef")
    return ["--admin-key", "admin.key", "--json"]


def make_token(box, **claims):
    """An admin token file; nobody here checks its signature."""
    now = int(time.time())
    body = {"iss": "propkey", "sub": "admin", "role": "admin", "iat": now, "exp": now + 600, **claims}
    b64 = lambda v: base64.urlsafe_b64encode(json.dumps(v).encode()).rstrip(b"=").decode()
    (box / "t").write_text(".".join([b64({"alg": "EdDSA", "typ": "JWT"}), b64({k: v for k, v in body.items() if v is not None}), "c2ln"]))
    (box / "t").chmod(0o600)
    return ["--admin-token", "t", "--json"]


# --- keys ---------------------------------------------------------------------------------------

def test_a_key_made_by_openssl(box, kbs_factory, tmp_path):
    """The other way round too: the development KBS takes the public half openssl gives."""
    openssl = need("openssl")
    state = box / "kbs0"
    state.mkdir(mode=0o700)
    box.run(openssl, "genpkey", "-algorithm", "ed25519", "-out", state / "admin.key")
    (state / "admin.key").chmod(0o600)
    box.run(openssl, "pkey", "-in", state / "admin.key", "-pubout", "-out", state / "admin.pub")
    k = kbs_factory()
    (box / "v").write_bytes(b"x")
    r = box.run("propkey", "set", PATH, "v", "--kbs", k.url, "--admin-key", state / "admin.key", "--json").json()
    assert r["admin_token_form"] == "portable"


@pytest.mark.parametrize("make,code,status", [
    (lambda box: (box / "a").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), None, 3),
    (lambda box: (box / "a").write_text("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIF\n"), None, 3),
    (lambda box: (box / "a").write_bytes(b"\0\1\2"), None, 3),
    (lambda box: (box / "a").write_text(""), None, 3),
    (lambda box: box.run(need("openssl"), "genpkey", "-algorithm", "rsa", "-out", "a"), "admin-key-type", 3),
    (lambda box: box.run(need("openssl"), "genpkey", "-algorithm", "x25519", "-out", "a"), None, 9),
    (lambda box: box.run("propkey", "gen", "--type", "ec", "a"), "admin-key-type", 3),
], ids=["malformed", "cut", "binary", "empty", "rsa", "x25519", "ec"])
def test_keys_that_cannot_sign(box, make, code, status):
    with OldKbs("v0.21") as server:
        (box / "v").write_bytes(b"x")
        make(box)
        (box / "a").chmod(0o600)
        r = box.run("propkey", "set", PATH, "v", "--kbs", server.url, "--admin-key", "a", "--json", ok=None)
        e = r.error()
        assert r.returncode == status and (code is None or e["code"] == code) and "'a'" in e["message"]
        assert server.requests == []


def test_a_key_that_others_can_read(box, admin):
    (box / "admin.key").chmod(0o640)
    with OldKbs("v0.21") as server:
        e = box.run("propkey", "set", PATH, "v", "--kbs", server.url, *admin, ok=5).error()
        assert e["code"] == "key-file-mode" and server.requests == []


def test_a_key_through_a_pipe(box, admin, kbs):
    r = box.run("bash", "-c", f"propkey set {PATH} v --kbs {kbs.url} --admin-key <(cat {kbs.admin_key}) --json")
    assert r.json()["uploaded"] is True


# --- the form of the token ----------------------------------------------------------------------

@pytest.mark.parametrize("release", ["v0.14", "v0.16", "v0.17", "v0.18", "v0.20", "v0.21"])
def test_the_portable_token_is_taken_by_every_release(box, admin, release):
    with OldKbs(release) as server:
        r = box.run("propkey", "set", PATH, "v", "--kbs", server.url, *admin).json()
        assert r["admin_token_form"] == "portable" and server.resources[PATH] == (box / "v").read_bytes()
        (_, _, claims), = server.requests
        assert "aud" not in claims and claims["role"] == "admin" and claims["exp"] - claims["iat"] == 7200
        assert isinstance(claims["iat"], int) and claims["iat"] <= time.time()


def test_a_server_that_demands_an_audience(box, admin):
    with OldKbs("v0.21", audience="kbs") as server:
        e = box.run("propkey", "set", PATH, "v", "--kbs", server.url, *admin, ok=5).error()
        assert e["code"] == "admin-auth-initialization" and "--audience" in e["hint"]
        assert len(server.requests) == 1, "no other form could help, so none is tried"
        r = box.run("propkey", "set", PATH, "v", "--kbs", server.url, "--audience", "kbs", *admin).json()
        assert r["admin_token_form"] == "audience" and len(server.requests) == 2


@pytest.mark.parametrize("release", ["v0.18", "v0.19", "v0.20"])
def test_a_server_that_refuses_every_audience(box, admin, release):
    with OldKbs(release) as server:
        r = box.run("propkey", "set", PATH, "v", "--kbs", server.url, "--audience", "kbs", *admin)
        assert r.json()["admin_token_form"] == "portable" and "without one was sent" in r.err
        assert ["aud" in c for _, _, c in server.requests] == [True, False]
        # Found out once, then known in this process: the other calls have it right at once.
        del server.requests[:]
        box.run("propkey", "reference-value", "set", "a=1", "b=2", "--kbs", server.url, "--audience", "kbs", *admin)
        assert ["aud" in c for _, _, c in server.requests] == [True] + [False] * 5


def test_an_audience_is_not_left_out_where_that_cannot_help(box, admin):
    """A server since v0.21 says more; a token for everybody is not sent to one that wants another."""
    with OldKbs("v0.21", audience="other") as server:
        box.run("propkey", "set", PATH, "v", "--kbs", server.url, "--audience", "kbs", *admin, ok=5)
        assert [c.get("aud") for _, _, c in server.requests] == ["kbs"]


def test_a_refusal_of_both_forms(box, admin):
    with OldKbs("v0.19", clock_s=86400) as server:
        e = box.run("propkey", "set", PATH, "v", "--kbs", server.url, "--audience", "kbs", *admin, ok=5).error()
        assert e["code"] == "admin-auth" and server.resources == {} and len(server.requests) == 2
        assert "clock" in e["hint"] and "ahead" in e["hint"]


def test_the_clock_is_blamed_where_it_is_wrong(box, admin):
    for clock, word in ((-7200, "behind"), (3 * 7200, "ahead")):
        with OldKbs("v0.17", clock_s=clock) as server:
            e = box.run("propkey", "set", PATH, "v", "--kbs", server.url, *admin, ok=5).error()
            assert word in e["hint"], e


def test_verbose_says_which_form(box, admin):
    with OldKbs("v0.21") as server:
        r = box.run("propkey", "set", PATH, "v", "--kbs", server.url, "--admin-key", "admin.key", "-v")
        assert "admin token: portable" in r.err


# --- ready tokens -------------------------------------------------------------------------------

def test_an_expired_token_is_not_even_sent(box, admin):
    with OldKbs("v0.21") as server:
        e = box.run("propkey", "set", PATH, "v", "--kbs", server.url, *make_token(box, exp=1000), ok=5).error()
        assert e["code"] == "admin-token-expired" and "1970" in e["message"] and "new one" in e["hint"]
        assert server.requests == []


@pytest.mark.parametrize("claims,word", [({"role": None}, "role"), ({"exp": None}, "exp"), ({"exp": 4102444800.5}, "whole number")])
def test_what_servers_will_say_is_said_before(box, admin, claims, word):
    with OldKbs("v0.21") as server:
        r = box.run("propkey", "set", PATH, "v", "--kbs", server.url, *make_token(box, **claims), ok=5)
        assert "warning" in r.err and word in r.err.split("warning")[1]
        assert word in r.error()["hint"] and server.resources == {}
    with OldKbs("v0.17") as server:  # an older one needs no role
        if "role" in claims:
            assert box.run("propkey", "set", PATH, "v", "--kbs", server.url, *make_token(box, **claims)).json()["admin_token_form"] == "given"


# --- servers that cannot, and servers that break ------------------------------------------------

def test_delete_where_the_server_cannot(box, admin):
    for release in ("v0.14", "v0.19"):
        with OldKbs(release) as server:
            box.run("propkey", "set", PATH, "v", "--kbs", server.url, *admin)
            e = box.run("propkey", "delete", PATH, "--kbs", server.url, *admin, ok=9).error()
            assert e["code"] == "delete-unsupported" and "v0.20" in e["hint"] and PATH in server.resources
            # It is still there, so it is still in the ledger.
            assert PATH in box.run("propkey", "list", "--kbs", server.url).out
    with OldKbs("v0.20") as server:
        box.run("propkey", "set", PATH, "v", "--kbs", server.url, *admin)
        box.run("propkey", "delete", PATH, "--kbs", server.url, *admin)
        assert server.resources == {}


@pytest.mark.parametrize("verb,pattern", [
    (["set", PATH, "v"], r"/resource/"), (["delete", PATH], r"/resource/"), (["policy", "preset", "deny-all"], r"/resource-policy"),
    (["attestation-policy", "set", "a.rego"], r"/attestation-policy"),
])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_server_that_closes_instead_of_answering(box, admin, verb, pattern, when):
    (box / "a.rego").write_text('package policy\nimport rego.v1\ntrust_claims := {"executables": 3}\n')
    method = "DELETE" if verb[0] == "delete" else "POST"
    with OldKbs("v0.21", crashes=[(method, pattern, when)]) as server:
        e = box.run("propkey", *verb, "--kbs", server.url, *admin, ok=6).error()
        assert e["code"] == "connection-closed" and "not known" in e["hint"]
        assert server.count(method) == 1, "a change is never sent twice"
        assert box.run("propkey", "list").out == ""


def test_a_change_is_never_sent_twice_over_a_used_connection(box, admin):
    """libcurl sends again by itself when a reused connection dies: not for changes."""
    with OldKbs("v0.21", crashes=[("POST", "/reference-value", "after")]) as server:
        e = box.run("propkey", "reference-value", "set", "a=1", "--kbs", server.url, *admin, ok=6).error()
        assert e["code"] == "connection-closed" and server.count("POST") == 1
        assert "on the key broker now: a" in e["hint"]


def test_reading_may_be_tried_again(box, admin):
    with OldKbs("v0.21", crashes=[("GET", "/reference-value", "before")]) as server:
        e = box.run("propkey", "reference-value", "get", "a", "--kbs", server.url, *admin, ok=6).error()
        assert e["code"] == "connection-closed" and "nothing was changed" in e["hint"] and server.count("GET") > 1


# --- TLS ----------------------------------------------------------------------------------------

class TlsKbs:
    """A TLS server that takes every upload; certificates from a CA of its own."""

    def __init__(self, box, names="DNS:localhost", want_client=False, days="2"):
        self.box, openssl = box, need("openssl")
        run = lambda *a: box.run(openssl, *a)
        for who, subject in (("ca", "/CN=test CA"), ("srv", "/CN=server"), ("cli", "/CN=client")):
            run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{who}.key")
            (box / f"{who}.key").chmod(0o600)
            if who == "ca":
                run("req", "-x509", "-key", "ca.key", "-subj", subject, "-days", "2", "-out", "ca.pem")
            else:
                (box / f"{who}.ext").write_text(f"subjectAltName={names}\n")
                run("req", "-new", "-key", f"{who}.key", "-subj", subject, "-out", f"{who}.csr")
                run("x509", "-req", "-in", f"{who}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                    "-days", days, "-extfile", f"{who}.ext", "-out", f"{who}.pem")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(box / "srv.pem", box / "srv.key")
        if want_client:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(box / "ca.pem")
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port, self.peers = self.sock.getsockname()[1], []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                c, _ = self.sock.accept()
                with self.context.wrap_socket(c, server_side=True) as t:
                    self.peers.append(t.getpeercert())
                    t.recv(65536)
                    t.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            except OSError:
                if self.sock.fileno() < 0:
                    return

    def set(self, *args, host="localhost", ok=True):
        return self.box.run("propkey", "delete", PATH, "--kbs", f"https://{host}:{self.port}", "--admin-key", "admin.key",
                            "--json", *args, ok=ok)


@pytest.fixture
def tls(box, admin):
    made = []

    def start(**kw):
        made.append(TlsKbs(box, **kw))
        return made[-1]

    yield start
    for t in made:
        t.sock.close()


def test_tls_name_mismatch_and_unknown_ca(tls):
    t = tls()
    t.set("--ca-cert", "ca.pem")
    e = t.set(ok=6).error()
    assert e["code"] == "tls" and "--ca-cert" in e["hint"]
    e = t.set("--ca-cert", "ca.pem", host="127.0.0.1", ok=6).error()
    assert e["code"] == "tls" and "another name" in e["hint"]


def test_tls_to_a_port_without(box, admin):
    with OldKbs("v0.21") as server:
        e = box.run("propkey", "delete", PATH, "--kbs", server.url.replace("http:", "https:"), *admin, ok=6).error()
        assert e["code"] in ("tls", "connection-closed") and e["hint"] and server.requests == []


def test_client_certificates(box, tls):
    t = tls(want_client=True)
    trust = ["--ca-cert", "ca.pem"]
    t.set(*trust, "--client-cert", "cli.pem", "--client-key", "cli.key")
    assert t.peers and any(("commonName", "client") in rdn for rdn in t.peers[-1]["subject"])
    (box / "both.pem").write_bytes((box / "cli.pem").read_bytes() + (box / "cli.key").read_bytes())
    (box / "both.pem").chmod(0o600)
    t.set(*trust, "--client-cert", "both.pem")
    assert t.set(*trust, ok=6).error()["hint"]


@pytest.mark.parametrize("args,status,code", [
    (["--client-key", "cli.key"], 2, "no-client-cert"), (["--client-cert", "cli.pem", "--client-key", "srv.key"], 3, "client-cert-mismatch"),
    (["--client-cert", "cli.pem", "--client-key", "no.key"], 8, "not-found"), (["--client-cert", "cli.pem"], 5, "key-file-mode"),
    (["--client-cert", "v", "--client-key", "cli.key"], 3, None), (["--client-cert", "cli.pem", "--client-key", "v"], 3, None),
    (["--client-cert", "cli.pem", "--client-key", "loose.key"], 5, "key-file-mode"),
])
def test_client_certificates_that_are_no_pair(box, tls, args, status, code):
    t = tls()
    (box / "v").chmod(0o600)
    (box / "cli.pem").chmod(0o644)
    (box / "loose.key").write_bytes((box / "cli.key").read_bytes())
    (box / "loose.key").chmod(0o644)
    e = t.set("--ca-cert", "ca.pem", *args, ok=status).error()
    assert (code is None or e["code"] == code) and t.peers == []


# --- proxies ------------------------------------------------------------------------------------

def test_proxies_of_the_environment(box, admin):
    with OldKbs("v0.21") as proxy, OldKbs("v0.21") as server:
        for name in ("http_proxy", "HTTP_PROXY"):
            del proxy.requests[:]
            box.run("propkey", "delete", PATH, "--kbs", "http://kbs.example.com", "--insecure-http", *admin, env={name: proxy.url}, ok=None)
            assert proxy.requests[0][1] == "http://kbs.example.com/kbs/v0/resource/" + PATH
        del proxy.requests[:]
        # Never for loopback: what goes there must not leave the machine.
        box.run("propkey", "set", PATH, "v", "--kbs", server.url, *admin, env={"http_proxy": proxy.url})
        assert proxy.requests == [] and len(server.requests) == 1
        # And https goes through as a tunnel, never in the clear.
        with socket.create_server(("127.0.0.1", 0)) as s:
            s.settimeout(30)
            seen = []

            def listen():
                c, _ = s.accept()
                seen.append(c.recv(4096))
                c.close()

            threading.Thread(target=listen, daemon=True).start()
            box.run("propkey", "delete", PATH, "--kbs", "https://kbs.example.com", *admin, ok=6,
                    env={"https_proxy": f"http://127.0.0.1:{s.getsockname()[1]}"})
            assert seen[0].startswith(b"CONNECT kbs.example.com:443 ") and b"Bearer" not in seen[0]


# --- the proof after an upload ------------------------------------------------------------------

def test_what_is_proved_after_an_upload(box, kbs):
    (box / "v").write_bytes(b"sesame")
    up = ["propkey", "set", PATH, "v", "--kbs", kbs.url, "--admin-key", kbs.admin_key, "--json"]
    r = box.run(*up).json()
    assert r["proof"] == "accepted" and "nothing to attest with" in r["proof_text"]
    r = box.run(*up, "--tee", "sample").json()
    assert r["proof"] == "accepted" and "policy" in r["proof_text"]
    box.run("propkey", "policy", "preset", "allow-all", "--kbs", kbs.url, "--admin-key", kbs.admin_key)
    r = box.run(*up, "--tee", "sample").json()
    assert r["proof"] == "fetched"
    r = box.run(*up, env={"PROP_TEE": "sample"}).json()
    assert r["proof"] == "fetched"
    assert "proof" not in box.run(*up, "--tee", "sample", "--dry-run").json()


def test_a_tee_that_is_not_here_is_told_before_the_upload(box, admin):
    with OldKbs("v0.21") as server:
        e = box.run("propkey", "set", PATH, "v", "--kbs", server.url, "--tee", "snp", *admin, ok=9).error()
        assert e["code"] == "no-tee" and server.requests == []


def test_the_list_is_the_ledgers(box, kbs):
    up = ["--kbs", kbs.url, "--admin-key", kbs.admin_key]
    assert box.run("propkey", "list", "--json").json()["resources"] == []
    (box / "text").write_bytes(b"no key at all")
    box.run("propkey", "gen", "kek")
    box.run("propkey", "set", "default/key/a", "kek", *up)
    box.run("propkey", "set", "default/text/b", "text", *up)
    r = box.run("propkey", "list", "--json", "--kbs", kbs.url)
    doc = r.json()
    assert doc["source"] == "ledger" and "do not list" in r.err
    assert [(x["path"], "fingerprint" in x, x["kbs"]) for x in doc["resources"]] == [
        ("default/key/a", True, kbs.url), ("default/text/b", False, kbs.url)]
    assert box.run("propkey", "list", "--json", "--kbs", "http://127.0.0.1:1").json()["resources"] == []
    assert len(box.run("propkey", "list", "--json").json()["resources"]) == 2
    box.run("propkey", "delete", "default/text/b", *up)
    assert "default/text/b" not in box.run("propkey", "list").out
