"""Every recorded exchange with the real KBS, replayed against propkbs: nonce, cookie, tokens, dates
and evidence are fresh ones, everything else is sent as recorded and must be answered as recorded."""
import email.utils
import json
import re
import time

import pytest
from conftest import SHARED, shared
from propkbs_peer import (AFFIRMING, ALLOW_ALL, Client, b64u, claims_of, compact, exchange, header_of, open_jwe,
                          report_data, serialization, sign_jwt, unb64u)
from cryptography.hazmat.primitives.asymmetric import ed25519

TRANSCRIPTS = SHARED / "protocol" / "transcripts"
RECORDED = sorted(p.name for p in TRANSCRIPTS.glob("kbs-*.http"))
SWITCHES = ("--issuer", "propkey", "--audience", "kbs", "--acl", "admin=^/kbs/.+$",
            "--acl", r"uploader=^/kbs/v0/resource/.+$")

# Recorded exchanges that cannot be replayed, each with the reason.
NOT_APPLICABLE = {}

# Exchanges whose answer carries fresh data: compared by shape, not byte by byte.
FRESH_JWE = {"kbs-get-resource-affirming-policy-ok", "kbs-get-resource-bearer-ok", "kbs-get-resource-cookie-ok"}
SECRET = b"0123456789abcdef0123456789abcdef"


class Exchange:
    """One recorded file: request and answer."""

    def __init__(self, name):
        text = "\n".join(line for i, line in enumerate((TRANSCRIPTS / f"{name}.http").read_text().split("\n"))
                         if not (i < 3 and line.startswith("#")))
        sent, _, answer = text.partition("<<< RESPONSE\n")
        head, _, body = sent.split(">>> REQUEST\n", 1)[1].partition("\n\n")
        lines = head.split("\n")
        self.method, self.target, self.version = lines[0].split(" ")
        self.headers = [tuple(line.split(": ", 1)) for line in lines[1:]]
        length = int(dict(self.headers).get("Content-Length", 0))
        self.body = b"\x55" * length if body.startswith("<") and body.rstrip().endswith(" bytes>") else body.encode()[:length]
        assert len(self.body) == length, name
        head, _, body = answer.partition("\n\n")
        lines = head.split("\n")
        self.status = int(lines[0].split()[1])
        self.answer_headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
        self.answer = body.encode()[:int(self.answer_headers["content-length"])]
        self.time = email.utils.parsedate_to_datetime(self.answer_headers["date"]).timestamp() \
            if "date" in self.answer_headers else time.time()

    def header(self, name):
        return dict(self.headers).get(name)

    def replace(self, name, value):
        self.headers = [(k, value if k == name else v) for k, v in self.headers]

    def send(self, kbs):
        if self.header("Content-Length") is not None:
            self.replace("Content-Length", str(len(self.body)))
        head = [f"{self.method} {self.target} {self.version}", *(f"{k}: {v}" for k, v in self.headers)]
        return exchange(kbs, "\r\n".join(head).encode() + b"\r\n\r\n" + self.body)


def fresh_admin_token(client, x, name):
    """The recorded admin token, its times moved to now, signed with this server's key."""
    token = x.header("Authorization").split(" ", 1)[1]
    claims = claims_of(token)
    for when in ("iat", "exp"):
        claims[when] = int(claims[when] - x.time + time.time())
    key = ed25519.Ed25519PrivateKey.generate() if name.endswith("wrong-key") else client.admin_key
    return sign_jwt(key, claims, header_of(token))


def fresh_ear(client, x, name):
    """The recorded attestation token in this server's terms."""
    if name.endswith("bearer-ok"):
        return client.attest()[1]
    if name.endswith("bearer-bad-signature"):
        head, payload, sig = client.attest()[1].split(".")
        raw = bytearray(unb64u(sig))
        raw[40] ^= 1
        return f"{head}.{payload}.{b64u(bytes(raw))}"
    claims = claims_of(x.header("Authorization").split(" ", 1)[1])
    claims["exp"] = int(claims["exp"] - x.time + time.time())
    if name.endswith("bearer-expired"):
        assert claims["exp"] < time.time() - 60
    return client.ear(**claims)


def authorize(client, x, name):
    value = x.header("Authorization")
    if value is None or not re.match(r"(?i)bearer ", value) or name.endswith("garbage"):
        return
    scheme, token = value.split(" ", 1)
    fresh = fresh_admin_token if header_of(token)["alg"] == "EdDSA" else fresh_ear
    x.replace("Authorization", f"{scheme} {fresh(client, x, name)}")


def recompute(x, nonce, name):
    """Put the nonce of a fresh challenge and evidence bound to it into a recorded /attest body."""
    doc = json.loads(x.body)
    runtime, evidence = doc["runtime-data"], doc["tee-evidence"]
    if not name.endswith(("wrong-nonce", "attest-again")):
        runtime["nonce"] = nonce
    jwk = runtime["tee-pubkey"]
    if evidence["additional_evidence"]:
        devices = json.loads(evidence["additional_evidence"])
        devices["sampledevice"]["report_data"] = report_data(runtime["nonce"], jwk, None)
        evidence["additional_evidence"] = compact(devices)
    if not name.endswith("wrong-report-data"):
        evidence["primary_evidence"]["report_data"] = report_data(nonce, jwk, evidence["additional_evidence"])
    return doc


def prepare(client, x, name):
    """Bring the server into the state that the exchange was recorded in; fills cookie and body."""
    if name in ("kbs-delete-resource-ok", "kbs-get-resource-policy-deny", "kbs-get-resource-authed-not-attested",
                "kbs-set-resource-overwrite-ok") or "get-resource-" in name:
        client.set_resource("default/key/k1", SECRET)
    if "get-resource-" in name and not name.endswith("policy-deny"):
        client.set_policy(AFFIRMING if "affirming" in name else ALLOW_ALL)
    if "affirming" in name:
        client.set_affirming_values()
    if name.startswith("kbs-get-reference-value"):
        client.set_values({"svn": ["1"], "a/b": {"n": [1, {"z": None}]}})
    if name == "kbs-metrics":
        fill_metrics(client)
    if x.header("Cookie") is None or name.endswith("unknown-cookie"):
        return
    if name.startswith("kbs-rcar-") and name.endswith("attest-bad-json"):
        cookie = client.auth()[0]
    elif "attest-" in name or name.endswith("-attest"):
        cookie, nonce = client.auth()
        if name.endswith("ok-after-failures"):
            assert client.post_attest(cookie, client.message("AAAA")).status == 401
            assert client.post_attest(cookie, client.message(nonce, jwk={**client.jwk, "kid": "x"})).status == 401
        if name.endswith("attest-again"):
            assert client.post_attest(cookie, client.message(nonce)).status == 200
        x.body = json.dumps(recompute(x, nonce, name)).encode()
    elif name.endswith("authed-not-attested"):
        cookie = client.auth()[0]
    elif name.endswith("alg-unsupported"):
        jwk = json.loads(shared("protocol", "transcripts", "kbs-vector-jwe-rsa-oaep-256.json").read_text())["tee_pubkey_jwk"]
        cookie = client.attest(jwk={**jwk, "alg": "RSA-OAEP"})[0]
    else:
        cookie = client.attest()[0]
    x.replace("Cookie", cookie)


def fill_metrics(client):
    """Make every family of the recorded metrics appear."""
    client.set_resource("default/key/k1", SECRET)
    client.set_policy(ALLOW_ALL)
    cookie, _ = client.attest()
    assert client.get("default/key/k1", cookie).status == 200
    assert client.admin("DELETE", "/resource/default/key/k1").status == 200
    for tee in ("sample", "snp", "tdx"):
        cookie, nonce = client.auth(tee)
        bad = client.message(nonce)
        bad["tee-evidence"]["primary_evidence"]["report_data"] = "AAAA"
        assert client.post_attest(cookie, bad).status == 401


def metric_shape(text):
    """Comment lines, names and label names, without values; one line of each family with free labels."""
    shape = []
    for line in text.decode().split("\n"):
        if line and not line.startswith("#"):
            line = line.rsplit(" ", 1)[0]
            if "le=" not in line:
                line = re.sub(r'="[^"]*"', '=""', line)
        if not shape or shape[-1] != line:
            shape.append(line)
    return shape


def check_headers(x, got):
    want = set(x.answer_headers)
    assert set(got.headers) == want | {"date"}, (got.headers, x.answer_headers)
    for name in want - {"date", "set-cookie", "content-length"}:
        assert got.headers[name] == x.answer_headers[name], name
    assert int(got.headers["content-length"]) == len(got.body) or x.method == "HEAD"
    if "set-cookie" in want:
        shape = re.compile(r"kbs-session-id=[0-9a-f]{32}; Expires=[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
        assert shape.fullmatch(x.answer_headers["set-cookie"]) and shape.fullmatch(got.headers["set-cookie"])
        over = email.utils.parsedate_to_datetime(got.headers["set-cookie"].split("Expires=")[1]).timestamp()
        assert 200 < over - time.time() < 301


VOLATILE = {"iat", "exp", "nonce", "report_data", "x", "y", "additional-evidence"}


def flatten(value, path=""):
    """Members in order, values that are fresh each time by their type only."""
    if isinstance(value, dict):
        out = [(path, "object", len(value))]
        for k, v in value.items():
            out += flatten(v, f"{path}/{k}")
        return out
    if path.rsplit("/", 1)[-1] in VOLATILE and value != "":
        value = type(value).__name__
    return [(path, value)]


def check_body(x, got, name, client):
    if name in FRESH_JWE:
        assert len(got.body) == len(x.answer)
        assert open_jwe(got.body, client.tee_key) == SECRET
    elif name == "kbs-metrics":
        assert metric_shape(got.body) == metric_shape(x.answer)
    elif x.status == 200 and x.target.endswith("/auth"):
        want, have = json.loads(x.answer), got.json()
        assert list(have) == list(want) and have["extra-params"] == want["extra-params"]
        assert len(have["nonce"]) == 44 and have["nonce"] != want["nonce"]
    elif x.status == 200 and x.target.endswith("/attest"):
        want, have = json.loads(x.answer)["token"], got.json()["token"]
        assert list(got.json()) == ["token"]
        assert flatten(header_of(have)) == flatten(header_of(want))
        assert flatten(claims_of(have)) == flatten(claims_of(want))
        assert len(have) == len(want)
    else:
        assert got.body == x.answer


@pytest.mark.parametrize("name", [n[:-5] for n in RECORDED] or ["none"])
def test_replay(kbs_factory, name):
    if name == "none":
        shared("protocol", "transcripts", "kbs-healthz.http")
    if name in NOT_APPLICABLE:
        pytest.skip(NOT_APPLICABLE[name])
    x = Exchange(name)
    kbs = kbs_factory(*(("--deny-all",) if "denyall" in name else SWITCHES))
    client = Client(kbs)
    prepare(client, x, name)
    authorize(client, x, name)
    got = x.send(kbs)
    assert got is not None, "no answer"
    assert got.status == x.status, got.body
    check_headers(x, got)
    check_body(x, got, name, client)


def test_every_exchange_is_replayed():
    shared("protocol", "transcripts", "kbs-healthz.http")
    assert len(RECORDED) >= 90
    assert set(NOT_APPLICABLE) <= {n[:-5] for n in RECORDED}


def init_data():
    body = json.loads(Exchange("kbs-rcar-attest-initdata-toml").body)
    return body["init-data"]


@pytest.mark.parametrize("name, how", [
    ("kbs-ear-affirming", {}), ("kbs-ear-device", {"device": True}), ("kbs-ear-initdata-null", {"init_data": None}),
    ("kbs-ear-initdata-toml", {"init_data": "toml"}), ("kbs-ear-token-decoded", {})])
def test_ear_members(kbs_factory, name, how):
    want = json.loads(shared("protocol", "transcripts", f"{name}.json").read_text())
    client = Client(kbs_factory(*SWITCHES))
    if "affirming" in name:
        client.set_affirming_values()
    if how.get("init_data") == "toml":
        how = {"init_data": init_data()}
    _, token = client.attest(**how)
    have = {"header": header_of(token), "payload": claims_of(token)} if "payload" in want else claims_of(token)
    assert flatten(have) == flatten(want)
    claims = claims_of(token)
    assert claims["exp"] == claims["iat"] + 300


@pytest.mark.parametrize("alg", ["p-256", "p-521", "rsa-oaep-256", "rsa1_5"])
def test_vector_keys(kbs_factory, alg):
    """The recorded TEE keys, their recorded evidence for the recorded nonce, and a resource of ours."""
    v = json.loads(shared("protocol", "transcripts", f"kbs-vector-jwe-{alg}.json").read_text())
    key = serialization.load_pem_private_key(v["tee_private_key_pem"].encode(), None)
    # The recorded answer opens with the code this test trusts.
    assert open_jwe(v["resource_response_raw"], key).hex() == v["plaintext_hex"]
    nonce, jwk = v["challenge"]["nonce"], v["tee_pubkey_jwk"]
    evidence = v["attestation_request"]["tee-evidence"]["primary_evidence"]
    assert report_data(nonce, jwk) == evidence["report_data"]
    client = Client(kbs_factory(*SWITCHES))
    client.set_policy(ALLOW_ALL)
    client.set_resource("default/key/v", bytes.fromhex(v["plaintext_hex"]))
    cookie, _ = client.attest(jwk=jwk)
    r = client.get("default/key/v", cookie)
    assert r.status == 200, r.body
    assert open_jwe(r.body, key).hex() == v["plaintext_hex"]
    if alg.startswith("p"):
        assert len(r.body) == len(v["resource_response_raw"])


def test_vector_admin_token(box, kbs_factory):
    """A folder that holds somebody else's admin.pub only: the recorded token is accepted."""
    v = json.loads(shared("protocol", "transcripts", "kbs-vector-admin-jwt.json").read_text())
    state = box / "kbs0"
    state.mkdir()
    (state / "admin.pub").write_text(v["public_key_pem"])
    kbs = kbs_factory("--issuer", "propkey", "--audience", "kbs")
    assert not (state / "admin.key").exists()
    r = exchange(kbs, (f"GET /kbs/v0/resource-policy HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {v['jwt']}\r\n"
                       "Connection: close\r\n\r\n").encode())
    assert r.status == 200 and r.json() == ["resource-policy"]


def test_client_wire(kbs_factory):
    """The real kbs-client's requests, in their order, on connections of their own."""
    text = shared("protocol", "transcripts", "kbs-client-wire.txt").read_text()
    client = Client(kbs_factory(*SWITCHES))
    cookie = nonce = None
    done = 0
    for part in text.split("\n>>> ")[1:]:
        sent, _, answer = part.partition("\n<<< ")
        head, _, body = sent.partition("\n\n")
        head = head.replace("<JWT>", client.admin_token()).replace("HTTP/1.1\n", "HTTP/1.1\nconnection: close\n", 1)
        body = body.rstrip("\n")
        if cookie:
            head = re.sub(r"cookie: \S+", f"cookie: {cookie}", head)
        if "/attest HTTP" in head:
            doc = json.loads(body)
            doc["runtime-data"].update({"nonce": nonce, "tee-pubkey": client.jwk})
            doc["tee-evidence"]["primary_evidence"]["report_data"] = report_data(nonce, client.jwk)
            body = compact(doc)
        if body:
            head = re.sub(r"content-length: \d+", f"content-length: {len(body)}", head)
        got = exchange(client.kbs, head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body.encode())
        want_status = int(answer.split()[1])
        assert got.status == want_status, (head, got.body)
        if "/auth HTTP" in head:
            cookie, nonce = got.cookie, got.json()["nonce"]
        if want_status == 401:
            assert got.body.decode() in answer
        done += 1
    assert done == 10
    assert open_jwe(got.body, client.tee_key) == SECRET
