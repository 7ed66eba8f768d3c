"""propkey doctor: one line per check, and nothing changed on the server."""
import os
import pathlib
import sys

import pytest


sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "helpers"))
from old_kbs import OldKbs  # noqa: E402


class Report:
    def __init__(self, r):
        self.r, self.doc = r, r.json()
        self.checks = {c["name"]: (c["status"], c["text"]) for c in self.doc["checks"]}
        assert self.doc["healthy"] is (r.returncode == 0) is all(s != "fail" for s, _ in self.checks.values())

    def __getitem__(self, name):
        return self.checks[name][0]

    def text(self, name):
        return self.checks[name][1]


@pytest.fixture
def admin(box):
    box.run("propkey", "admin-keygen")
    return ["--admin-key", "admin.key"]


def examine(box, url, *args, ok=True, **kw):
    return Report(box.run("propkey", "doctor", "--kbs", url, "--json", *args, ok=ok, **kw))


def test_a_fresh_key_broker_is_well(box, kbs):
    d = examine(box, kbs.url, "--admin-key", kbs.admin_key)
    assert {s for s, _ in d.checks.values()} == {"ok"}
    assert set(d.checks) == {"url", "health", "clock", "version", "admin-open", "admin", "attestation", "policy", "token-trust"}
    assert d.doc["server"] == "v0.21 or later" and d.doc["admin_token_form"] == "portable"
    assert "role admin" in d.text("admin") and "contraindicated" in d.text("attestation")
    r = box.run("propkey", "doctor", "--kbs", kbs.url, "--admin-key", kbs.admin_key)
    assert all(line.startswith("ok   ") and ": " in line for line in r.out.splitlines()) and len(r.out.splitlines()) == 9


def test_it_changes_nothing(box, admin):
    for release in ("v0.14", "v0.21"):
        with OldKbs(release) as server:
            examine(box, server.url, *admin)
            assert {(m, p) for m, p, _ in server.requests if m != "GET"} == {("POST", "/kbs/v0/auth"), ("POST", "/kbs/v0/attest")}
            assert server.resources == {} and server.values == {}


def test_a_policy_that_lets_sample_evidence_in(box, kbs):
    box.run("propkey", "policy", "preset", "allow-all", "--kbs", kbs.url, "--admin-key", kbs.admin_key)
    d = examine(box, kbs.url, "--admin-key", kbs.admin_key)
    assert d["policy"] == "warn" and "anybody" in d.text("policy")  # a laptop's own key broker
    box.run("propkey", "reference-value", "set", 'launch_digest=["abcde"]', 'svn=["1"]', "major_version=1", "minimum_minor_version=4",
            "--kbs", kbs.url, "--admin-key", kbs.admin_key)
    assert examine(box, kbs.url)["attestation"] == "warn"


@pytest.mark.parametrize("release,family", [("v0.14", "v0.18 or earlier"), ("v0.18", "v0.18 or earlier"), ("v0.19", "v0.19 or v0.20"),
                                            ("v0.20", "v0.19 or v0.20"), ("v0.21", "v0.21 or later")])
def test_releases_by_what_they_do(box, admin, release, family):
    with OldKbs(release) as server:
        d = examine(box, server.url, *admin)
        assert d.doc["server"] == family and d["version"] == "ok"
        assert d["admin"] == "ok" and d["attestation"] == "ok" and "policy" not in d.checks
        assert examine(box, server.url).doc["server"] in (family, "v0.20 or earlier")


def test_a_release_this_tool_cannot_attest_to(box, admin):
    with OldKbs("v0.13") as server:
        d = examine(box, server.url, *admin, ok=1)
        assert d["attestation"] == "fail" and "v0.14" in d.text("attestation") and d["admin"] == "ok"


def test_a_server_that_wants_no_audience(box, admin):
    with OldKbs("v0.19") as server:
        d = examine(box, server.url, *admin, "--audience", "kbs")
        assert d["admin"] == "ok" and d.doc["admin_token_form"] == "portable"


def test_without_an_administrator(box, kbs):
    d = examine(box, kbs.url)
    assert d["admin"] == "warn" and "--admin-key" in d.text("admin") and d["admin-open"] == "ok"


def test_the_wrong_administrator(box, kbs, admin):
    d = examine(box, kbs.url, *admin, ok=1)
    assert d["admin"] == "fail" and d["admin-open"] == "ok"


def test_a_role_that_may_not(box, kbs_factory):
    k = kbs_factory("--acl", "uploader=^/kbs/v0/resource/.+$")
    d = examine(box, k.url, "--admin-key", k.admin_key, "--role", "uploader", ok=1)
    assert d["admin"] == "fail" and "role" in d.text("admin")


def test_insecure_settings(box, admin):
    with OldKbs("v0.21", open=True, forgeable=True) as server:
        d = examine(box, server.url, *admin)
        assert d["admin-open"] == "warn" and d["token-trust"] == "warn" and "insecure_header_jwk" in d.text("token-trust")


def test_beyond_this_machine_it_fails(box, admin):
    """The same server by way of a proxy, as if it were far away."""
    with OldKbs("v0.21", open=True, forgeable=True) as server:
        handler = server.http.RequestHandlerClass
        routes = handler.route
        try:
            def route(h):
                h.path = h.path.removeprefix("http://kbs.example.com")
                routes(h)
            handler.route = route
            d = examine(box, "http://kbs.example.com", "--insecure-http", *admin, env={"http_proxy": server.url}, ok=1)
        finally:
            handler.route = routes
        assert d["url"] == "warn" and d["admin-open"] == "fail" and d["token-trust"] == "fail"


@pytest.mark.parametrize("clock,status", [(0, "ok"), (30, "warn"), (-30, "warn"), (3600, "fail"), (-3600, "fail")])
def test_clocks(box, admin, clock, status):
    with OldKbs("v0.21", clock_s=clock) as server:
        d = examine(box, server.url, *admin, ok=None)
        assert d["clock"] == status
        if clock:
            assert ("ahead" if clock > 0 else "behind") in d.text("clock")


def test_tls(box, kbs_factory):
    k = kbs_factory("--tls")
    d = examine(box, k.url, "--ca-cert", k.ca, "--admin-key", k.admin_key)
    assert d["tls"] == "ok" and "TLSv1.3" in d.text("tls") and "until 20" in d.text("tls") and d["url"] == "ok"
    d = examine(box, k.url, ok=1)
    assert d["tls"] == "fail" and "--ca-cert" in d.text("tls")
    assert set(d.checks) == {"url", "tls"}


def test_nobody_there(box):
    d = examine(box, "http://127.0.0.1:9", ok=1)
    assert set(d.checks) == {"url", "health"} and d["health"] == "fail"


def test_a_web_server_that_is_no_key_broker(box):
    import http.server
    import threading
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("H", (http.server.BaseHTTPRequestHandler,), {
        "do_GET": lambda h: h.send_error(404), "do_POST": lambda h: h.send_error(404), "log_message": lambda *a: None}))
    threading.Thread(target=s.serve_forever, args=(0.02,), daemon=True).start()
    d = examine(box, f"http://127.0.0.1:{s.server_address[1]}", ok=1)
    assert d["version"] == "warn" and d["admin-open"] == "fail" and d["attestation"] == "fail"
    s.shutdown()
    s.server_close()


def test_usage(box):
    assert box.run("propkey", "doctor", "--json", ok=2).error()["code"] == "no-kbs"
    assert box.run("propkey", "doctor", "--kbs", "http://kbs.example.com", "--json", ok=2).error()["code"] == "plain-http"
    assert box.run("propkey", "doctor", "--kbs", "http://127.0.0.1:1", "--tee", "x", "--json", ok=2).error()["code"] == "bad-tee"


def test_hardware_that_was_named_and_is_not_here(box, kbs):
    if any(os.path.exists(f"/dev/{name}") for name in ("sev-guest", "tdx_guest")):
        pytest.skip("this machine is a confidential guest")
    assert "hardware" not in examine(box, kbs.url).checks
    d = examine(box, kbs.url, "--tee", "snp", ok=1)
    assert d["hardware"] == "fail" and "snp" in d.text("hardware")


def test_a_ready_token_and_what_is_wrong_with_it(box, kbs):
    box.run("bash", "-c", f"umask 077; propkey admin-token --admin-key {kbs.admin_key} > t")
    d = examine(box, kbs.url, "--admin-token", "t")
    assert d["admin"] == "ok" and d.doc["admin_token_form"] == "given" and "role admin" in d.text("admin")
