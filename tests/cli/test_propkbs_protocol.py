"""What the protocol page says beyond the recorded exchanges: versions, evidence, tokens, paths,
administrators, both kinds of policies, reference values, bodies."""
import gzip
import hashlib
import sqlite3
import time

import pytest
from propkbs_peer import (AFFIRMING, ALLOW_ALL, PREFIX, Client, b64, b64u, claims_of, compact, ec, ec_jwk, open_jwe,
                          report_data, request, rsa, rsa_jwk, sign_jwt)

ATTEST_FAILED = "Attestation error: RCAR handshake Attest failed"


@pytest.fixture
def client(kbs):
    return Client(kbs)


@pytest.fixture
def open_client(client):
    """A server whose policy lets everybody have every resource, with one resource."""
    client.set_policy(ALLOW_ALL)
    client.set_resource("default/key/k1", b"secret")
    return client


def auth(client, **members):
    doc = {"version": "0.4.0", "tee": "sample", "extra-params": "", **members}
    return request(client.kbs, "POST", PREFIX + "/auth", compact(doc).encode())


# --- /auth -----------------------------------------------------------------------------------------


def test_versions(client):
    for good in ("0.4.0", "0.4.0+x", "0.4.0+a.b-c.007"):
        assert auth(client, version=good).status == 200, good
    for other in ("0.4.1", "0.5.0", "1.4.0", "0.4.0-rc1", "0.4.0-rc.1+b", "0.3.9", "18446744073709551615.0.0"):
        r = auth(client, version=other)
        assert (r.status, r.error) == (401, "AttestationError")
        assert r.detail == ("Attestation error: RCAR handshake Auth failed: KBS Client Protocol Version Mismatch: "
                            f"expect =0.4.0 while the request is {other}")
    for bad in ("", "0.4", "0.4.0.0", "0.4.00", "v0.4.0", "0.4.0-", "0.4.0+", "0.4.0-01", "0.4.x", " 0.4.0",
                "99999999999999999999.0.0"):
        assert auth(client, version=bad).detail.endswith("Auth failed: failed to parse KBS version"), bad


@pytest.mark.parametrize("tee", ["az-snp-vtpm", "az-tdx-vtpm", "nvidia", "sgx", "snp", "tdx", "cca", "csv", "hygondcu",
                                 "nvidia-dpu", "nvidiadpu", "tpm"])
def test_foreign_tees_fail_at_attest(client, tee):
    cookie, nonce = client.auth(tee)
    r = client.post_attest(cookie, client.message(nonce))
    assert (r.status, r.error, r.detail) == (401, "AttestationError", ATTEST_FAILED)


def test_tee_and_params(client):
    for params in ("", {}, None, [1], {"supported-hash-algorithms": ["sha384"]}):
        assert auth(client, **{"extra-params": params}).status == 200
    for tee in ("Sample", "SNP", "", "sample ", 1, None):
        assert auth(client, tee=tee).detail.endswith("deserialize Request")
    assert auth(client, tee="se").detail.endswith("Attestation Service generate challenge failed")
    assert auth(client, more={"a": [1]}).status == 200


def test_session_ids_and_nonces_are_fresh(client):
    seen = {v for _ in range(20) for v in client.auth()}
    assert len(seen) == 40


# --- /attest and evidence --------------------------------------------------------------------------


def test_evidence_forms(client):
    def attempt(change):
        cookie, nonce = client.auth()
        doc = client.message(nonce)
        change(doc, doc["tee-evidence"]["primary_evidence"])
        return client.post_attest(cookie, doc)

    def set_(key, value):
        return lambda doc, e: e.update({key: value})

    assert attempt(lambda d, e: None).status == 200
    assert attempt(set_("other", 1)).status == 200
    assert attempt(lambda d, e: d.pop("init-data")).status == 200
    assert attempt(lambda d, e: d.update(more=1)).status == 200
    for change in (set_("svn", 1), set_("svn", None), lambda d, e: e.pop("svn"), lambda d, e: e.pop("report_data"),
                   lambda d, e: e.update(report_data=e["report_data"].replace("+", "-").replace("/", "_") + "="),
                   lambda d, e: e.update(report_data=b64(bytes(64))), set_("report_data", 3),
                   lambda d, e: d["tee-evidence"].pop("additional_evidence"),
                   lambda d, e: d["tee-evidence"].update(additional_evidence="[]"),
                   lambda d, e: d["tee-evidence"].update(additional_evidence=None),
                   lambda d, e: d["tee-evidence"].pop("primary_evidence"),
                   lambda d, e: d.pop("runtime-data"), lambda d, e: d["runtime-data"].pop("tee-pubkey"),
                   lambda d, e: d["runtime-data"]["tee-pubkey"].pop("crv"),
                   lambda d, e: d["runtime-data"]["tee-pubkey"].update(kty="OKP"),
                   lambda d, e: d["runtime-data"]["tee-pubkey"].update(x=1),
                   lambda d, e: d.update({"init-data": "x"}), lambda d, e: d.update({"init-data": {"format": "toml"}})):
        r = attempt(change)
        assert (r.status, r.detail) == (401, ATTEST_FAILED)


def test_empty_additional_evidence_is_hashed_as_sent(client):
    cookie, nonce = client.auth()
    doc = client.message(nonce)
    doc["tee-evidence"]["additional_evidence"] = "{}"
    assert client.post_attest(cookie, doc).status == 401
    doc["tee-evidence"]["primary_evidence"]["report_data"] = report_data(nonce, client.jwk, "{}")
    r = client.post_attest(cookie, doc)
    assert r.status == 200
    assert list(claims_of(r.json()["token"])["submods"]) == ["cpu0"]


def test_devices(client):
    _, token = client.attest(device=True)
    assert list(claims_of(token)["submods"]) == ["cpu0", "gpu0"]
    # a device's own digest must be right, and its kind must be known
    cookie, nonce = client.auth()
    for additional in (compact({"sampledevice": {"svn": "2", "report_data": report_data(nonce, client.jwk, "")}}),
                       compact({"nosuch": {}}), compact({"snp": {}}), '{"sampledevice":{},"sampledevice":{}}'):
        doc = client.message(nonce)
        doc["tee-evidence"]["additional_evidence"] = additional
        doc["tee-evidence"]["primary_evidence"]["report_data"] = report_data(nonce, client.jwk, additional)
        assert client.post_attest(cookie, doc).status == 401
    # a second CPU comes second, whatever the order
    additional = compact({"sample": {"svn": "7", "report_data": report_data(nonce, client.jwk, None)},
                          "sampledevice": {"svn": "2", "report_data": report_data(nonce, client.jwk, None)}})
    doc = client.message(nonce)
    doc["tee-evidence"]["additional_evidence"] = additional
    doc["tee-evidence"]["primary_evidence"]["report_data"] = report_data(nonce, client.jwk, additional)
    submods = claims_of(client.post_attest(cookie, doc).json()["token"])["submods"]
    assert list(submods) == ["cpu0", "cpu1", "gpu0"]
    assert submods["cpu1"]["ear.veraison.annotated-evidence"]["sample"]["svn"] == "7"


def test_sampledevice_alone_has_no_key(open_client):
    c = open_client
    cookie, token = c.attest(tee="sampledevice", svn="2")
    assert list(claims_of(token)["submods"]) == ["gpu0"]
    assert c.get("default/key/k1", cookie).error == "TokenVerifierError"


def test_init_data(client):
    body = ('version = "0.1.0"\nalgorithm = "sha384"\n[data]\n"zz" = "last"\n"cdh.toml" = "a = 1\\n[t]\\nb = [2]\\n"\n'
            '"aa.toml" = "not = = toml"\n"policy.rego" = \'\'\'\npackage agent\npolicy_data := {"containers": [\n'
            ' {"OCI": {"Annotations": {"io.kubernetes.cri.image-name": "img:1"}, "Process": {"User": {"UID": 7}}}},\n'
            ' {"OCI": {}}]}\n\'\'\'\n')
    _, token = client.attest(init_data={"format": "toml", "body": body})
    cpu = claims_of(token)["submods"]["cpu0"]
    e = cpu["ear.veraison.annotated-evidence"]
    assert e["init_data"] == b64(hashlib.sha384(body.encode()).digest())
    assert list(e["init_data_claims"]) == ["aa.toml", "agent_policy_claims", "cdh.toml", "zz"]
    assert e["init_data_claims"]["cdh.toml"] == {"a": 1, "t": {"b": [2]}}
    assert e["init_data_claims"]["aa.toml"] == "not = = toml"
    assert cpu["ear.trustee.identifiers"] == {"validated": {"container_images": ["img:1"], "container_uids": [7]}}
    for bad in ('algorithm = "sha256"\n[data]\n', 'version = "1"\n[data]\n', 'version="1"\nalgorithm="sha256"\n',
                'version="1"\nalgorithm="md5"\n[data]\n', 'version="1"\nalgorithm="SHA256"\n[data]\n',
                'version="1"\nalgorithm="sha256"\n[data]\nn = 1\n'):
        cookie, nonce = client.auth()
        r = client.post_attest(cookie, client.message(nonce, init_data={"format": "toml", "body": bad}))
        assert (r.status, r.detail) == (401, ATTEST_FAILED), bad


def test_cookie_forms(open_client):
    c = open_client
    cookie, _ = c.attest()
    sid = cookie.split("=")[1]
    for header in (f"a=b; {cookie}; c=d", f'kbs-session-id="{sid}"', f"x;{cookie}", f"kbs-session-id={sid} ; z=1"):
        assert c.get("default/key/k1", header).status == 200, header
    for header in (f"kbs-session-idx={sid}", f"xkbs-session-id={sid}", "kbs-session-id=", f"kbs-session-id={sid}0",
                   f"kbs-session-id={sid.upper()}1", "kbs-session-id"):
        assert c.get("default/key/k1", header).error == "TokenNotFound", header


def expire(kbs, table_sql):
    with sqlite3.connect(kbs.state / "kbs.db", timeout=10) as db:
        db.execute(table_sql)
    db.close()


def test_sessions_end(open_client):
    c = open_client
    cookie, token = c.attest()
    pending, nonce = c.auth()
    assert c.get("default/key/k1", cookie).status == 200
    expire(c.kbs, f"update session set expires_s = {int(time.time()) - 1}")
    assert c.get("default/key/k1", cookie).error == "TokenNotFound"
    assert c.post_attest(pending, c.message(nonce)).detail == ATTEST_FAILED
    # the token itself goes on, and the cookie no longer stands in its way
    assert c.get("default/key/k1", cookie, token).status == 200


def test_attested_session_keeps_its_token(client):
    cookie, token = client.attest()
    assert client.set_attestation_policy("package policy\nimport rego.v1\n").status == 200
    r = client.post_attest(cookie, client.message("whatever"))
    assert r.json()["token"] == token
    assert client.post_attest(cookie, b"{}").status == 401
    assert client.post_attest(cookie, b"nope").status == 401


# --- tokens ----------------------------------------------------------------------------------------


def test_passport_tokens(open_client):
    c = open_client
    now = int(time.time())
    key = {"tee-pubkey": c.jwk}

    def status(claims, header=None, key_=None):
        token = sign_jwt(key_ or c.token_key(), claims, header) if header else c.ear(**claims)
        r = c.get("default/key/k1", bearer=token)
        return "ok" if r.status == 200 else r.error

    assert status({"exp": now + 60, **key}) == "ok"
    assert status({"exp": now - 30, **key}) == "ok"
    assert status({"exp": now - 90, **key}) == "TokenVerifierError"
    assert status(key) == "TokenVerifierError"
    assert status({"exp": str(now + 60), **key}) == "TokenVerifierError"
    assert status({"exp": now + 60.5, **key}) == "TokenVerifierError"
    assert status({"exp": now + 60}) == "TokenVerifierError"
    assert status({"exp": now + 60, "tee-pubkey": {"kty": "EC"}}) == "TokenVerifierError"
    assert status({"exp": now + 60, "tee-pubkey": 1}) == "TokenVerifierError"
    jwk = ec_jwk(c.token_key().public_key(), None)
    assert status({"exp": now + 60, **key}, {"alg": "ES256", "jwk": jwk}) == "TokenVerifierError"
    assert status({"exp": now + 60, **key}, {"alg": "ES256"}) == "TokenVerifierError"
    assert status({"exp": now + 60, **key}, {"alg": "none", "jwk": {"alg": "none"}}) == "TokenVerifierError"
    # whoever brings a key of their own in the header is refused
    own = ec.generate_private_key(ec.SECP256R1())
    header = {"typ": "JWT", "alg": "ES256", "jwk": {"alg": "ES256", **ec_jwk(own.public_key(), None)}}
    assert status({"exp": now + 60, **key}, header, own) == "TokenVerifierError"


def test_places_of_the_tee_key(open_client):
    c = open_client
    exp = int(time.time()) + 60
    other = ec_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), "ECDH-ES+A256KW")
    ear = {"cpu0": {"ear.veraison.annotated-evidence": {"runtime_data_claims": {"tee-pubkey": c.jwk}}}}
    for claims in ({"tdx": {"attester_runtime_data": {"tee-pubkey": c.jwk}}, "tee-pubkey": other},
                   {"tdx": {"attester_user_data": {"tee-pubkey": c.jwk}}, "submods": {}},
                   {"customized_claims": {"runtime_data": {"tee-pubkey": c.jwk}}, "tee-pubkey": other},
                   {"submods": ear, "tee-pubkey": other}, {"submods": [], "tee-pubkey": c.jwk}):
        r = c.get("default/key/k1", bearer=c.ear(exp=exp, **claims))
        assert r.status == 200 and open_jwe(r.body, c.tee_key) == b"secret"


def test_session_before_header(open_client):
    c = open_client
    cookie, token = c.attest()
    assert c.get("default/key/k1", cookie, "abc.def.ghi").status == 200
    assert c.get("default/key/k1", "kbs-session-id=" + "0" * 32, token).status == 200
    pending, _ = c.auth()
    assert c.get("default/key/k1", pending, token).status == 200
    assert c.get("default/key/k1", pending, "abc.def.ghi").error == "TokenVerifierError"


# --- wrapping --------------------------------------------------------------------------------------


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP521R1()], ids=lambda c: c.name)
def test_wrap_ec(open_client, curve):
    key = ec.generate_private_key(curve)
    cookie, _ = open_client.attest(jwk=ec_jwk(key.public_key(), "ECDH-ES+A256KW"))
    for content in (b"", b"x", bytes(range(256)) * 4096):
        open_client.set_resource("default/key/k1", content)
        r = open_client.get("default/key/k1", cookie)
        assert r.headers["content-type"] == "application/json"
        assert open_jwe(r.body, key) == content


def test_wrap_rsa(open_client):
    key = rsa.generate_private_key(65537, 2048)
    for alg in ("RSA-OAEP-256", "RSA1_5"):
        cookie, _ = open_client.attest(jwk=rsa_jwk(key.public_key(), alg))
        assert open_jwe(open_client.get("default/key/k1", cookie).body, key) == b"secret"
    for alg in ("RSA-OAEP", "RSA-OAEP-512", "", "none"):
        cookie, _ = open_client.attest(jwk=rsa_jwk(key.public_key(), alg))
        assert open_client.get("default/key/k1", cookie).error == "JweError"


def test_wrap_refused(open_client):
    c = open_client
    good = ec_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), "ECDH-ES+A256KW")
    p384 = ec_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), "ECDH-ES+A256KW")
    for jwk in (p384, {**good, "alg": "ECDH-ES+A128KW"}, {**good, "alg": "ECDH-ES"}, {**good, "crv": "P-521"},
                {**good, "y": good["x"]}, {**good, "x": "!!"}, {"kty": "AKP", "alg": "ML-KEM-768+A192KW", "pub": "AA"},
                {"kty": "RSA", "alg": "RSA-OAEP-256", "n": "AQ", "e": "AQ"}):
        cookie, _ = c.attest(jwk=jwk)
        r = c.get("default/key/k1", cookie)
        assert (r.status, r.error, r.detail) == (401, "JweError", "JWE failed")
        # and before that: whether it exists is not told to a key that cannot have it
        assert c.get("default/key/nosuch", cookie).error == "PluginInternalError"


# --- paths and routes ------------------------------------------------------------------------------


GOOD_PATHS = {"a/b/c": "a/b/c", "A/B/C": "A/B/C", "-/_/0": "-/_/0", "a..b/c./d-_": "a..b/c./d-_", "a/b/c%2e": "a/b/c.",
              "x%2Fb/c": "x/b/c", "%61b/c/d": "ab/c/d", "q/r/s?x=1": "q/r/s", "a/b/" + "c" * 200: "a/b/" + "c" * 200}
BAD_PATHS = ["a", "a/b", "a/b/c/d", "a/b/", "/a/b", "a//c", "a/b/c/", ".a/b/c", "a/.b/c", "a/b/.c", "../b/c", "a/b/c~",
             "a/b/c:d", "a/b/@", "a/b/c+d", "a/b/%c3%a9", "a/b/c%00", "a/b/%ff", "a/b/c%20", "a%2Fb%2Fc%2Fd", "",
             "a/b/%zz", "a/b/c%", "a/b/" + "c" * 300]


def test_resource_paths(open_client):
    c = open_client
    cookie, _ = c.attest()
    for sent, stored in GOOD_PATHS.items():
        assert c.admin("POST", "/resource/" + sent, stored.encode()).status == 200, sent
        r = c.get(stored, cookie)
        assert open_jwe(r.body, c.tee_key) == stored.encode()
    for path in BAD_PATHS:
        for r in (c.admin("POST", "/resource/" + path, b"x"), c.admin("DELETE", "/resource/" + path),
                  c.get(path, cookie)):
            assert (r.status, r.error, r.detail) == (401, "PluginInternalError", "Plugin internal error"), path


def test_routes(kbs, client):
    token = client.admin_token()
    auth_header = [f"Authorization: Bearer {token}"]

    def ask(method, path, headers=(), body=None):
        return request(kbs, method, path, body, headers)

    for path in ("/", "/kbs", "/kbs/v0", "/kbs/v1/auth", "/kbs/v0x/auth", "//kbs/v0/auth", "/healthz/", "/metrics/", "/x"):
        for method in ("GET", "POST", "PATCH"):
            r = ask(method, path, body=b"x" if method == "POST" else None)
            assert (r.status, r.body) == (404, b"") and "content-type" not in r.headers, path
    assert ask("HEAD", "/healthz").status == 404 and ask("POST", "/healthz").status == 404
    assert ask("GET", "/healthz?x=1").status == 200
    assert ask("POST", "/metrics", body=b"").status == 405
    assert "allow" not in ask("POST", "/metrics", body=b"").headers
    for method in ("HEAD", "OPTIONS", "PATCH", "TRACE", "BREW"):
        r = ask(method, "/kbs/v0/resource/a/b/c")
        assert (r.status, r.body, r.headers["allow"]) == (405, b"", "GET, POST, PUT, DELETE"), method
    # a path after a built-in name is ignored
    assert ask("POST", "/kbs/v0/auth/x/y", body=b'{"version":"0.4.0","tee":"sample","extra-params":0}').status == 200
    policy = compact({"policy": b64u(ALLOW_ALL.encode())}).encode()
    assert ask("POST", "/kbs/v0/resource-policy/foo", auth_header, policy).status == 200
    assert ask("GET", "/kbs/v0/resource-policy/foo", auth_header).json() == ["resource-policy"]
    # names are exact, and a wrong method on a built-in is a plugin that is not there
    for method, path, name in (("GET", "/attest", "attest"), ("PUT", "/auth", "auth"), ("DELETE", "/resource-policy", "resource-policy"),
                               ("PUT", "/reference-value", "reference-value"), ("GET", "/Resource/a/b/c", "Resource"),
                               ("GET", "/%41uth", "Auth"), ("GET", "/a%2Fb", "a"), ("GET", "/%ff%00", "\ufffd\ufffd"),
                               ("GET", "/%22%5c", '"\\'), ("GET", "/caf%C3%A9", "caf\u00e9")):
        r = ask(method, PREFIX + path)
        assert (r.status, r.error, r.detail) == (404, "PluginNotFound", f"Plugin {name} not found")


def test_sample_plugin(kbs, client):
    for method in ("GET", "POST", "PUT", "DELETE"):
        r = client.admin(method, "/sample/anything")
        assert (r.status, r.body, r.headers["content-type"]) == (200, b"sample plugin response", "text/xml")
        r = request(kbs, method, PREFIX + "/sample/anything")
        assert (r.status, r.error) == (401, "AdminAuthInitialization")


def test_order_of_checks(client):
    """Policy before path and lookup; admin before path."""
    cookie, _ = client.attest()
    for path in ("a/b", "default/key/nosuch", "x/y/z"):
        assert client.get(path, cookie).error == "PolicyDeny"
        assert client.get(path).error == "TokenNotFound"
        assert client.get(path, bearer="x.y.z").error == "TokenVerifierError"
        r = client.admin("POST", "/resource/" + path, b"x", token="x.y.z")
        assert r.error == "AdminAuthInitialization"
    client.set_policy(ALLOW_ALL)
    r = request(client.kbs, "PUT", PREFIX + "/resource/a/b/c", b"x", [f"Cookie: {cookie}"])
    assert r.error == "PluginInternalError"


# --- administrators --------------------------------------------------------------------------------


def admin_error(client, **claims):
    r = client.admin("GET", "/resource-policy", token=client.admin_token(**claims))
    return None if r.status == 200 else r.detail.split("resource-policy: ", 1)[1]


CANNOT = "Admin access denied: Cannot verify token with any of the issuers"
NO_ROLE = ('Admin access denied: Failed to parse claims from token: AdminAccessDenied { reason: "Missing required '
           '`role` claim in JWT" }')


def test_admin_claims(client):
    now = int(time.time())
    for good in ({}, {"iss": None}, {"aud": None}, {"iat": None}, {"iat": now + 10000}, {"nbf": now + 10000},
                 {"exp": now - 30}, {"sub": None}, {"aud": 7}):
        assert admin_error(client, **good) is None, good
    for bad in ({"exp": None}, {"exp": now - 90}, {"exp": str(now + 60)}, {"exp": now + 60.5}, {"exp": -1}):
        assert admin_error(client, **bad) == CANNOT, bad
    for bad in ({"role": None}, {"role": 1}, {"role": ["admin"]}):
        assert admin_error(client, **bad) == NO_ROLE, bad
    assert admin_error(client, role="other") == "Admin access denied: Role other not allowed for path /kbs/v0/resource-policy"
    assert admin_error(client, role="a\"\\\n\u00e9") == ("Admin access denied: Role a\"\\\n\u00e9 not allowed for path "
                                                           "/kbs/v0/resource-policy")


def test_admin_issuer_and_audience(kbs_factory):
    c = Client(kbs_factory("--issuer", "propkey", "--audience", "kbs"))
    for good in ({}, {"aud": "kbs"}, {"aud": ["x", "kbs"]}, {"aud": [1, "kbs"]}):
        assert admin_error(c, **good) is None, good
    for bad in ({"iss": None}, {"iss": "Propkey"}, {"iss": ["propkey"]}, {"aud": None}, {"aud": "kbs "}, {"aud": []},
                {"aud": {"kbs": 1}}):
        assert admin_error(c, **bad) == CANNOT, bad
    # the role is looked at before issuer and audience
    assert admin_error(c, role=None, iss="other") == NO_ROLE


def test_admin_headers(client):
    token = client.admin_token()
    refused = "Failed to parse HTTP Auth Bearer header"
    for value in ("", token, "Bearer", "Bearer ", f"BEARER {token}", f"Basic {token}", f"Bearer {token} x"):
        r = request(client.kbs, "GET", PREFIX + "/resource-policy", None, [f"Authorization: {value}"])
        assert r.error == "AdminAuthAccess" and r.detail.endswith(refused), value
    for name, header in (("Ed25519", {"alg": "Ed25519"}), ("none", {"alg": "none"}), ("HS256", {"alg": "HS256"}),
                         ("crit", {"alg": "EdDSA", "crit": ["x"], "x": 1})):
        claims = {"role": "admin", "exp": int(time.time()) + 60}
        r = client.admin("GET", "/resource-policy", token=sign_jwt(client.admin_key, claims, header))
        assert r.detail.endswith(CANNOT), name
    for extra in ({"alg": "EdDSA"}, {"alg": "EdDSA", "kid": "k1", "typ": "JWT"}):
        claims = {"role": "admin", "exp": int(time.time()) + 60}
        assert client.admin("GET", "/resource-policy", token=sign_jwt(client.admin_key, claims, extra)).status == 200


def test_acl_sees_the_query(kbs_factory):
    c = Client(kbs_factory("--acl", r"up=^/kbs/v0/resource/[0-9]+/[a-z]{3}/(?:x|y)$", "--acl", "up=^/kbs/v0/sample$",
                           "--acl", "admin=^/kbs/v0/resource-policy$"))
    up = c.admin_token(role="up")
    for path, ok in (("/resource/12/abc/x", True), ("/resource/12/abc/y", True), ("/resource/12/abc/z", False),
                     ("/resource/12/abc/x?a=1", False), ("/resource/a/abc/x", False), ("/sample", True), ("/sample/x", False)):
        r = c.admin("POST", path, b"v", token=up)
        assert (r.status == 200) == ok, path
        if not ok:
            assert r.detail == ("failed to initialize [admin] configuration: Admin access denied: Role up not allowed "
                                f"for path /kbs/v0{path}")
    assert c.admin("GET", "/resource-policy").status == 200
    assert c.admin("POST", "/resource/1/abc/x", b"v").error == "AdminAuthInitialization"


def test_deny_all(kbs_factory):
    k = kbs_factory("--deny-all")
    c = Client(k)
    for method, path in (("GET", "/resource-policy"), ("POST", "/attestation-policy"), ("GET", "/reference-value/x")):
        assert c.admin(method, path).error == "AdminAuthAccess"
        assert request(k, method, PREFIX + path).error == "AdminAuthAccess"
    assert c.admin("DELETE", "/resource/a/b/c").error == "AdminAuthInitialization"
    assert c.attest()[1]


# --- resource policies -----------------------------------------------------------------------------


def verdict(client, policy, path="default/key/k1", cookie=None):
    client.set_policy(policy)
    r = client.get(path, cookie or client.attest()[0])
    return "ok" if r.status == 200 else r.error


def rego(*lines):
    return "package policy\nimport rego.v1\n" + "\n".join(lines) + "\n"


def test_policy_decisions(open_client):
    c = open_client
    cookie, _ = c.attest()
    for policy, want in (
            (rego("allow := true"), "ok"), (rego("allow := false"), "PolicyDeny"), (rego("other := true"), "PolicyDeny"),
            (rego('allow := "true"'), "PolicyDeny"), (rego("allow := 1"), "PolicyDeny"), (rego("allow := null"), "PolicyDeny"),
            ("package other\nimport rego.v1\nallow := true\n", "PolicyDeny"),
            ("package policy\nallow if true\n", "ok"),
            (rego("allow if input.submods.cpu0[\"ear.status\"] == \"contraindicated\""), "ok"),
            (rego("allow if input.nosuch"), "PolicyDeny"),
            (rego("allow := true if true", "allow := false if true"), "PolicyEngineError"),
            (rego("allow if {", "\tx := 1 / 0", "\tx", "}"), "PolicyEngineError"),
            (rego('allow if http.send({"method": "get", "url": "http://127.0.0.1"})'), "PolicyEngineError")):
        assert verdict(c, policy, cookie=cookie) == want, policy
    r = c.get("default/key/k1", cookie)
    assert r.detail.startswith("Policy engine error: Failed to eval policy: ") and len(r.detail) > 50


def test_policy_data(open_client):
    c = open_client
    cookie, _ = c.attest()
    policy = rego('allow if {', '\tdata.plugin == "resource"',
                  '\tdata["resource-path"] == ["default", "key", "k1"]', '\tdata.query == {"a": "2", "b c": "x&y", "e": ""}', '}')
    assert verdict(c, policy, "default/key/k1?a=1&b+c=x%26y&a=2&&e", cookie) == "ok"
    assert verdict(c, policy, "default/key/k1", cookie) == "PolicyDeny"
    assert verdict(c, rego("allow if data.query == {}"), "default/key/k1", cookie) == "ok"
    assert verdict(c, rego('allow if data["resource-path"] == ["default", "", "k1"]'), "default//k1", cookie) == "PluginInternalError"
    assert verdict(c, rego('allow if data["resource-path"] == []'), "x", cookie) == "PolicyDeny"
    r = request(c.kbs, "GET", PREFIX + "/resource", None, [f"Cookie: {cookie}"])
    assert r.error == "PluginInternalError"


def test_nothing_of_one_request_reaches_the_next(open_client):
    """Compiled policies are kept between requests; their answers must not be."""
    c = open_client
    c.set_resource("default/key/k2", b"2")
    c.set_policy(rego('allow if data["resource-path"][2] == input.submods.cpu0["ear.veraison.annotated-evidence"].sample.svn'))
    first, second = c.attest(svn="k1")[0], c.attest(svn="k2")[0]
    for _ in range(3):
        assert c.get("default/key/k1", first).status == 200
        assert c.get("default/key/k2", first).error == "PolicyDeny"
        assert c.get("default/key/k2", second).status == 200
        assert c.get("default/key/k1", second).error == "PolicyDeny"
        assert c.get("default/key/k1", "x=y").error == "TokenNotFound"


def test_default_policy_denies_sample_only(client):
    client.set_resource("default/key/k1", b"secret")
    cookie, _ = client.attest()
    assert client.get("default/key/k1", cookie).error == "PolicyDeny"
    now = int(time.time())
    evidence = {"snp": {}, "runtime_data_claims": {"tee-pubkey": client.jwk}}
    token = client.ear(exp=now + 60, submods={"cpu0": {"ear.veraison.annotated-evidence": evidence}})
    assert client.get("default/key/k1", bearer=token).status == 200
    r = request(client.kbs, "GET", PREFIX + "/nosuch/default/key/k1", None, [f"Authorization: Bearer {token}"])
    assert r.error == "PluginNotFound"


def test_refused_policy_changes_nothing(open_client):
    c = open_client
    cookie, _ = c.attest()
    for body, error in ((compact({"policy": b64u(b"package policy\nallow { true }\n")}), "PolicyEngineError"),
                        (compact({"policy": b64u(b"")}), "PolicyEngineError"),
                        (compact({"policy": b64u(b"\xff\xfe")}), "ParsePolicyError"),
                        (compact({"policy": "A"}), "ParsePolicyError"), (compact({"policy": "AB="}), "ParsePolicyError"),
                        (compact({"policy": None}), "ParsePolicyError"), ("[]", "ParsePolicyError"), ("", "ParsePolicyError")):
        r = c.admin("POST", "/resource-policy", body)
        assert (r.status, r.error) == (401, error), body
        assert c.get("default/key/k1", cookie).status == 200


# --- attestation policies --------------------------------------------------------------------------


def status_of(client, policy):
    assert client.set_attestation_policy(policy).status == 200
    cookie, nonce = client.auth()
    r = client.post_attest(cookie, client.message(nonce))
    if r is None:
        return "closed"
    return claims_of(r.json()["token"])["submods"]["cpu0"] if r.status == 200 else r.detail


@pytest.mark.parametrize("value, status", [
    (0, "none"), (1, "none"), (-1, "none"), (2, "affirming"), (31, "affirming"), (-2, "affirming"), (-32, "affirming"),
    (32, "warning"), (95, "warning"), (-33, "warning"), (-96, "warning"), (96, "contraindicated"),
    (127, "contraindicated"), (-97, "contraindicated"), (-128, "contraindicated")])
def test_tiers(client, value, status):
    cpu = status_of(client, rego(f'trust_claims := {{"hardware": {value}}}'))
    assert cpu["ear.status"] == status
    assert cpu["ear.trustworthiness-vector"] == {"hardware": value}


def test_vectors(client):
    cpu = status_of(client, rego('trust_claims := {"sourced-data": 2, "executables": 40, "instance-identity": 3}'))
    assert list(cpu["ear.trustworthiness-vector"].items()) == [("instance-identity", 3), ("executables", 40), ("sourced-data", 2)]
    assert cpu["ear.status"] == "warning"
    assert "ear.trustee.identifiers" not in cpu
    assert status_of(client, rego('trust_claims := {"hardware": 300}'))["ear.trustworthiness-vector"] == {"hardware": 44}
    cpu = status_of(client, rego("x := 1"))
    assert cpu["ear.status"] == "none" and set(cpu["ear.trustworthiness-vector"].values()) == {0}
    assert len(cpu["ear.trustworthiness-vector"]) == 8
    for bad in ("trust_claims := {}", "trust_claims := [1]", 'trust_claims := {"hardware": "2"}',
                'trust_claims := {"hardware": 1.5}', 'trust_claims := {"hardware": null}', "trust_claims := 3",
                'trust_claims := {"hardware": 1} if true\ntrust_claims := {"hardware": 2} if true'):
        assert status_of(client, rego(bad)) == ATTEST_FAILED, bad
    # an unknown name kills the real server's handler: no answer, and the next request is served
    assert status_of(client, rego('trust_claims := {"hardware": 2, "nosuch": 2}')) == "closed"
    assert status_of(client, rego('trust_claims := {"hardware": 2}'))["ear.status"] == "affirming"


def test_extensions(client):
    base = 'trust_claims := {"hardware": 2}\n'
    cpu = status_of(client, rego(base + 'extensions := [{"name": "z.last", "key": 7, "value": {"b": 1, "a": [true, null]}},\n'
                                 ' {"name": "a.first", "key": -2147483648, "value": "t"}, {"name": "gone", "key": 1, "value": null}]'))
    assert list(cpu) == ["ear.status", "ear.trustworthiness-vector", "ear.appraisal-policy-id",
                         "ear.veraison.annotated-evidence", "a.first", "z.last"]
    assert cpu["z.last"] == {"a": [True, None], "b": 1} and list(cpu["z.last"]) == ["a", "b"]
    for bad in ('{"name": "a", "key": 1, "value": 1}', '[{"name": "a", "key": 1}]', '[{"name": 1, "key": 1, "value": 1}]',
                '[{"name": "a", "key": 2147483648, "value": 1}]', '[{"name": "a", "key": "1", "value": 1}]',
                '[{"name": "a", "key": 1, "value": 1}, {"name": "a", "key": 2, "value": 1}]',
                '[{"name": "a", "key": 1, "value": 1}, {"name": "b", "key": 1, "value": 1}]', "[1]"):
        assert status_of(client, rego(base + "extensions := " + bad)) == ATTEST_FAILED, bad


def test_policy_sees_evidence(client):
    cpu = status_of(client, rego(
        'trust_claims := {"hardware": 2} if {', '\tinput.sample.svn == "1"', '\tinput.sample.platform_version.minor == 4',
        '\tinput.report_data', '\tinput.runtime_data_claims["tee-pubkey"].kty == "EC"', '\tnot input.init_data', '}'))
    assert cpu["ear.status"] == "affirming"


def test_attestation_policy_ids(client):
    base = rego('trust_claims := {"hardware": 2}')
    for good in ("default", "other", "a/b", "default_gpu", "x.y-z_1"):
        assert client.set_attestation_policy(base, good).status == 200, good
    for bad in ("a b", "\u00e9", "a:b", "x" * 300, "a\\b"):
        r = client.set_attestation_policy(base, bad)
        assert (r.error, r.detail) == ("AttestationError", "Attestation error: Set Attestation Policy failed"), bad
    # only default_cpu and default_gpu count
    cpu = claims_of(client.attest()[1])["submods"]["cpu0"]
    assert cpu["ear.status"] == "contraindicated"
    submods = claims_of(client.attest(device=True)[1])["submods"]
    assert submods["gpu0"]["ear.status"] == "affirming"
    for body in ("[]", "{}", '{"policy_id":"a"}', '{"policy_id":1,"policy":"AA"}',
                 compact({"policy_id": "a", "policy": b64(b"package policy\n?>") + "="}),
                 compact({"policy_id": "a", "policy": b64u(b"\xff")})):
        assert client.admin("POST", "/attestation-policy", body).detail.endswith("Set Attestation Policy failed"), body
    # `type` is ignored
    r = client.admin("POST", "/attestation-policy", compact({"policy_id": "a", "policy": b64u(base.encode())}))
    assert r.status == 200 and r.body == b"" and "content-type" not in r.headers


def test_default_appraisal_of_sample(client):
    def vector():
        cpu = claims_of(client.attest()[1])["submods"]["cpu0"]
        v = cpu["ear.trustworthiness-vector"]
        return cpu["ear.status"], v["executables"], v["hardware"], v["configuration"]

    assert vector() == ("contraindicated", 33, 97, 2)
    client.set_values({"launch_digest": ["zzz", "abcde"]})
    assert vector() == ("contraindicated", 3, 97, 2)
    client.set_values({"svn": ["1"], "major_version": 1, "minimum_minor_version": 4})
    assert vector() == ("affirming", 3, 2, 2)
    client.set_values({"minimum_minor_version": 5})
    assert vector() == ("contraindicated", 3, 97, 2)
    client.set_values({"minimum_minor_version": 3, "svn": ["2"]})
    assert vector() == ("contraindicated", 3, 97, 2)
    client.set_values({"svn": ["2", "1"], "launch_digest": []})
    assert vector() == ("warning", 33, 2, 2)
    for odd in (None, "1", {"x": 1}, 7):
        client.set_values({"major_version": odd})
        assert vector() == ("contraindicated", 33, 97, 2)


def test_affirming_preset(client):
    client.set_policy(AFFIRMING)
    client.set_resource("default/key/k1", b"secret")
    assert client.get("default/key/k1", client.attest()[0]).error == "PolicyDeny"
    client.set_affirming_values()
    assert client.get("default/key/k1", client.attest()[0]).status == 200
    # no device is ever affirming under the policies of the first start
    assert client.get("default/key/k1", client.attest(device=True)[0]).error == "PolicyDeny"


# --- reference values ------------------------------------------------------------------------------


def test_reference_values(client):
    client.set_values({"list": ["1", 2], "one": "x", "n": 0, "t": True, "o": {"b": 1, "a": None}, "a/b.c-d_e": [1.5]})
    for name, text in (("list", '["1",2]'), ("one", '"x"'), ("n", "0"), ("t", "true"), ("o", '{"a":null,"b":1}'),
                       ("a/b.c-d_e", "[1.5]")):
        r = client.admin("GET", "/reference-value/" + name)
        assert (r.status, r.body.decode(), r.headers["content-type"]) == (200, text, "application/json")
    client.set_values({"one": [], "new": 1})
    assert client.admin("GET", "/reference-value/one").body == b"[]"
    assert client.admin("GET", "/reference-value/n").body == b"0"


def test_reference_value_refusals(client):
    def post(**members):
        doc = {"version": "0.1.0", "type": "sample", "payload": b64(b'{"k":1}'), **members}
        return client.admin("POST", "/reference-value", compact({k: v for k, v in doc.items() if v is not None}))

    assert post().status == 200 and post(version=None).status == 200
    message = "RVPS configuration failed: Failed to register reference value: register reference value"
    for bad in ({"version": "0.1.1"}, {"version": 1}, {"type": None}, {"type": "swid"}, {"type": "corim"}, {"payload": None},
                {"payload": "!"}, {"payload": b64(b"[1]")}, {"payload": b64(b"1")}, {"payload": b64(b"{")},
                {"payload": b64(b'{"a b":1}')}, {"payload": b64(b'{"":1}')}, {"payload": b64u(b'{"k":"\xc3\xbf?>"}')},
                {"payload": b64(b'{"' + b"x" * 300 + b'":1}')}):
        r = post(**bad)
        assert (r.status, r.error, r.detail) == (401, "RvpsError", message), bad
    # all or nothing
    assert post(payload=b64(b'{"fine":1,"not fine":2}')).status == 401
    r = client.admin("GET", "/reference-value/fine")
    assert r.detail.endswith("No reference value found for the given id: fine")
    r = client.admin("POST", "/reference-value", b"\xff")
    assert r.detail == "RVPS configuration failed: Failed to parse reference value message"


# --- bodies ----------------------------------------------------------------------------------------


LIMIT = 2 << 20


def test_body_limit(open_client):
    c = open_client
    cookie, _ = c.attest()
    exact = bytes(LIMIT)
    assert c.admin("POST", "/resource/big/b/exact", exact).status == 200
    assert open_jwe(c.get("big/b/exact", cookie).body, c.tee_key) == exact
    r = c.admin("POST", "/resource/big/b/over", exact + b"x")
    assert (r.status, r.body, r.headers["content-type"]) == (413, b"payload reached size limit", "text/plain; charset=utf-8")
    # before anybody looks at who asks
    assert request(c.kbs, "POST", PREFIX + "/auth", bytes(LIMIT + 1)).status == 413
    assert request(c.kbs, "POST", PREFIX + "/nosuch", bytes(LIMIT + 1)).status == 413
    assert request(c.kbs, "POST", "/nosuch", bytes(LIMIT + 1)).status == 404
    assert c.get("big/b/over", cookie).error == "PluginInternalError"


def test_gzip_bodies(open_client):
    c = open_client
    cookie, _ = c.attest()
    for i, content in enumerate((b"", b"x", b"abc" * 5000, bytes(range(256)) * 64, bytes(LIMIT), (b"%d " * 20000) % tuple(range(20000)))):
        for level in (0, 1, 9) if len(content) < LIMIT else (1, 9):
            r = c.admin("POST", "/resource/gz/b/c", gzip.compress(content, level), headers=["Content-Encoding: gzip"])
            assert r.status == 200, (i, level)
            assert open_jwe(c.get("gz/b/c", cookie).body, c.tee_key) == content
    two = gzip.compress(b"one, ") + gzip.compress(b"two")
    assert c.admin("POST", "/resource/gz/b/c", two, headers=["content-encoding: GZIP"]).status == 200
    assert open_jwe(c.get("gz/b/c", cookie).body, c.tee_key) == b"one, two"
    # sent as it is without the header, and under encodings that are not known
    assert c.admin("POST", "/resource/gz/b/c", two).status == 200
    assert open_jwe(c.get("gz/b/c", cookie).body, c.tee_key) == two


def test_gzip_refusals(open_client):
    c = open_client

    def post(data):
        return c.admin("POST", "/resource/gz/b/c", data, headers=["Content-Encoding: gzip"])

    assert post(gzip.compress(bytes(LIMIT + 1))).status == 413
    assert post(gzip.compress(bytes(40 << 20), 9)).status == 413
    content = b"some content, some more content, and some more"
    good = gzip.compress(content, 9)
    cookie, _ = c.attest()
    for bad in (good[:-1], good[:-9], good[:5], b"\x1f", b"plain text", good + b"x",
                good[:-5] + bytes([good[-5] ^ 1]) + good[-4:], good[:-1] + bytes([good[-1] ^ 1])):
        r = post(bad)
        assert (r.status, r.body) == (400, b"can not decode content-encoding"), bad
    for i in range(10, len(good) - 8, 3):
        for bit in range(0, 8, 2) if i != len(good) - 9 else range(8):
            bad = bytearray(good)
            bad[i] ^= 1 << bit
            status = post(bytes(bad)).status
            if status == 200:  # one of the bits that fill up the last byte
                assert i == len(good) - 9
                assert open_jwe(c.get("gz/b/c", cookie).body, c.tee_key) == content
            else:
                assert status in (400, 413), (i, bit)


def test_empty_resource_and_overwrite(open_client):
    c = open_client
    cookie, _ = c.attest()
    for content in (b"one", b"", b"three"):
        r = c.admin("POST", "/resource/a/b/c", content)
        assert (r.status, r.body, r.headers["content-type"]) == (200, b"", "text/xml")
        assert open_jwe(c.get("a/b/c", cookie).body, c.tee_key) == content
    assert c.admin("DELETE", "/resource/a/b/c").status == 200
    assert c.admin("DELETE", "/resource/a/b/c").error == "PluginInternalError"
    assert c.get("a/b/c", cookie).error == "PluginInternalError"


def test_deleted_bytes_leave_the_file(client):
    secret = b"this-is-the-deleted-resource-0123456789"
    client.set_resource("a/b/c", secret)
    assert client.admin("DELETE", "/resource/a/b/c").status == 200
    client.kbs.proc.terminate()
    client.kbs.proc.wait(10)
    for path in client.kbs.state.iterdir():
        assert secret not in path.read_bytes(), path


def test_metrics_count(open_client):
    c = open_client
    cookie, _ = c.attest()
    assert c.get("default/key/k1", cookie).status == 200
    assert c.get("default/key/nosuch", cookie).status == 401
    c.set_policy(rego("allow := false"))
    assert c.get("default/key/k1", cookie).status == 401
    c.set_policy(rego("allow := 1"))
    assert c.get("default/key/k1", cookie).status == 401
    auth(c, tee="nosuch")
    text = request(c.kbs, "GET", "/metrics").body.decode()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    for name, value in (("kbs_policy_evaluations_total", 4), ("kbs_policy_approvals_total", 2),
                        ("kbs_policy_violations_total", 2), ("kbs_policy_errors_total", 1),
                        ("kbs_auth_requests_total", 2), ("kbs_auth_errors_total", 1), ("kbs_auth_successes_total", 1),
                        ("kbs_attestation_requests_total", 1), ('kbs_attestation_successes_total{tee_type="sample"}', 1),
                        ('kbs_resource_reads_total{resource_path="default/key/k1"}', 1),
                        ('kbs_resource_reads_total{resource_path="default/key/nosuch"}', 1),
                        ('kbs_resource_writes_total{resource_path="default/key/k1"}', 1),
                        ("kbs_http_active_connections", 0), ("kbs_http_requests_total", 11),
                        ("kbs_http_request_duration_seconds_count", 11)):
        assert values[name] == str(value), (name, values[name])
