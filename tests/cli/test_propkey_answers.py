"""propkey against a server that says exactly what it is told to: every refusal that was recorded from
a real key broker, and answers that no key broker should give. The real handshake is in
test_propkey_kbs.py."""
import base64
import json
import socket
import ssl
import struct
import threading

import pytest

from conftest import SHARED, need, shared

ERRORS = "https://github.com/confidential-containers/kbs/errors/"


def answer(status, body=b"", headers=()):
    body = body if isinstance(body, bytes) else body.encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n" + "".join(f"{h}\r\n" for h in headers)
    return head.encode() + b"\r\n" + body


def error(name, detail="x", status=401):
    return answer(status, json.dumps({"type": ERRORS + name, "detail": detail}))


COOKIE = "set-cookie: kbs-session-id=35cd91a4756f4d3ea5785eb9239a9c1c; Expires=Sat, 21 Nov 2026 13:20:04 GMT"
AUTH = answer(200, '{"nonce":"BaonjAV1QG7iVaIMtxcV/uqWGi9QbD+1zxrptjcQNLc=","extra-params":""}', [COOKIE])
ATTEST = answer(200, '{"token":"a.b.c"}')


class Fake:
    """Answers requests in turn; the last answer is repeated. None closes the connection instead, a
    tuple of bytes sends them and closes. Keeps what was asked."""

    def __init__(self, *answers):
        self.answers, self.requests, self.connections = list(answers), [], 0
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.sock.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def close(self):
        self.sock.close()

    def serve(self):
        while True:
            try:
                c, _ = self.sock.accept()
            except OSError:
                return
            self.connections += 1
            with c:
                try:
                    while self.one(c):
                        pass
                except OSError:
                    pass

    def one(self, c):
        data = b""
        while b"\r\n\r\n" not in data:
            more = c.recv(65536)
            if not more:
                return False
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (h.partition(":") for h in head.decode().split("\r\n")[1:])}
        if headers.get("expect"):
            c.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(body) < int(headers.get("content-length", 0)):
            body += c.recv(65536)
        self.requests.append((head.decode().split("\r\n")[0], headers, body))
        say = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if say is None:
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        c.sendall(say[0] if isinstance(say, tuple) else say)
        return not isinstance(say, tuple)


@pytest.fixture
def fake():
    made = []

    def start(*answers):
        made.append(Fake(*answers))
        return made[-1]

    yield start
    for f in made:
        f.close()


def get(box, f, *args, ok):
    return box.run("propkey", "get", "default/key/k1", "--kbs", f.url, "--tee", "sample", "--json", *args, ok=ok)


@pytest.fixture
def admin(box):
    box.run("propkey", "admin-keygen")
    (box / "v").write_bytes(b"0123456789abcdef0123456789abcdef")
    (box / "p.rego").write_text("package policy\ndefault allow := false\n")
    return ["--admin-key", "admin.key", "--json"]


VERBS = {
    "set": ["set", "default/key/k1", "v"], "delete": ["delete", "default/key/k1"],
    "policy": ["policy", "set", "p.rego", "--allow-wider"], "policy-get": ["policy", "get"],
}

RECORDED = [
    ("set", "set-resource-wrong-key", 5, "admin-auth-initialization"), ("set", "set-resource-expired", 5, "admin-auth-initialization"),
    ("set", "set-resource-no-role", 5, "admin-auth-initialization"), ("set", "set-resource-wrong-iss", 5, "admin-auth-initialization"),
    ("set", "set-resource-no-auth", 5, "admin-auth-initialization"), ("set", "denyall-set-resource", 5, "admin-auth-initialization"),
    ("set", "set-resource-bad-path", 6, "plugin-internal-error"), ("set", "set-resource-too-big", 9, "resource-too-big"),
    ("set", "root-404", 6, "not-a-kbs"), ("set", "plugin-not-found", 9, "plugin-not-found"),
    ("delete", "delete-resource-missing", 8, "plugin-internal-error"), ("delete", "delete-resource-no-auth", 5, "admin-auth-initialization"),
    ("policy", "set-policy-role-not-allowed", 5, "admin-auth-access"), ("policy", "denyall-set-policy", 5, "admin-auth-access"),
    ("policy", "set-resource-policy-bad-rego", 3, "policy-engine-error"), ("policy", "set-resource-policy-no-auth", 5, "admin-auth-access"),
    ("policy-get", "set-resource-policy-no-auth", 5, "admin-auth-access"),
]


def recorded(name):
    text = shared("protocol", "transcripts", f"kbs-{name}.http").read_text()
    head, _, body = text.partition("<<< RESPONSE\n")[2].partition("\n\n")
    return answer(int(head.split()[1]), body.strip("\n"))


@pytest.mark.parametrize("verb,name,status,code", RECORDED)
def test_recorded_refusals(box, fake, admin, verb, name, status, code):
    e = box.run("propkey", *VERBS[verb], "--kbs", fake(recorded(name)).url, *admin, ok=status).error()
    assert e["code"] == code and "\n" not in e["message"]


@pytest.mark.parametrize("name,status,code", [
    ("get-resource-policy-deny", 5, "policy-deny"), ("get-resource-not-found", 8, "plugin-internal-error"),
    ("get-resource-bad-path", 8, "plugin-internal-error"), ("get-resource-alg-unsupported", 6, "jwe-error"),
    ("get-plugin-not-found-attested", 9, "plugin-not-found"), ("get-resource-no-session", 5, "token-not-found"),
])
def test_recorded_refusals_after_attestation(box, fake, name, status, code):
    f = fake(AUTH, ATTEST, recorded(name))
    e = get(box, f, "-o", "out", ok=status).error()
    assert e["code"] == code and e["hint"]
    assert not (box / "out").exists() and f.connections == 1 and len(f.requests) == 3


@pytest.mark.parametrize("name,status,code", [
    ("rcar-auth-version-old", 9, "kbs-version"), ("rcar-auth-bad-tee", 6, "attestation-error"),
    ("rcar-auth-get", 9, "plugin-not-found"),
])
def test_recorded_refusals_of_auth(box, fake, name, status, code):
    f = fake(recorded(name))
    assert get(box, f, ok=status).error()["code"] == code
    assert len(f.requests) == 1


def test_recorded_refusal_of_the_evidence(box, fake):
    assert get(box, fake(AUTH, recorded("rcar-attest-wrong-report-data")), ok=5).error()["code"] == "attestation-error"


def test_a_denial_of_sample_evidence_says_what_to_do(box, fake):
    hint = get(box, fake(AUTH, ATTEST, error("PolicyDeny", "Access denied by policy")), ok=5).error()["hint"]
    assert "propkey policy build" in hint


def test_the_requests_are_those_of_the_protocol(box, fake):
    f = fake(AUTH, ATTEST, error("PolicyDeny"))
    get(box, f, ok=5)
    (auth, ah, ab), (attest, th, tb), (fetch, fh, _) = f.requests
    assert auth == "POST /kbs/v0/auth HTTP/1.1" and ah["content-type"] == "application/json"
    assert ab == b'{"version":"0.4.0","tee":"sample","extra-params":{"supported-hash-algorithms":["sha256","sha384","sha512","sm3"]}}'
    assert attest == "POST /kbs/v0/attest HTTP/1.1" and th["cookie"] == "kbs-session-id=35cd91a4756f4d3ea5785eb9239a9c1c"
    body = json.loads(tb)
    assert list(body) == ["init-data", "runtime-data", "tee-evidence"] and body["init-data"] is None
    assert body["runtime-data"]["nonce"] == "BaonjAV1QG7iVaIMtxcV/uqWGi9QbD+1zxrptjcQNLc="
    assert set(body["runtime-data"]["tee-pubkey"]) == {"kty", "crv", "alg", "x", "y"}
    assert body["tee-evidence"]["additional_evidence"] == "" and body["tee-evidence"]["primary_evidence"]["svn"] == "1"
    assert fetch == "GET /kbs/v0/resource/default/key/k1 HTTP/1.1" and fh["cookie"] == th["cookie"]
    assert "authorization" not in fh


def test_init_data_goes_along(box, fake):
    (box / "init.toml").write_text('version = "0.1.0"\n')
    f = fake(AUTH, ATTEST, error("PolicyDeny"))
    get(box, f, "--init-data", "init.toml", ok=5)
    assert json.loads(f.requests[1][2])["init-data"] == {"format": "toml", "body": 'version = "0.1.0"\n'}


@pytest.mark.parametrize("answers,status,code", [
    ([answer(200, "{}", [COOKIE])], 6, None), ([answer(200, "no json", [COOKIE])], 6, None),
    ([answer(200, '{"nonce":7}', [COOKIE])], 6, None), ([answer(200, '{"nonce":"n"}')], 6, "no-session-cookie"),
    ([answer(200, '{"nonce":"n"}', ["set-cookie: other=1"])], 6, "no-session-cookie"),
    ([answer(200, '{"nonce":"n","extra-params":{"selected-hash-algorithm":"sha512"}}', [COOKIE])], 9, "hash-algorithm"),
    ([AUTH, answer(200, "{}")], 6, "no-token"), ([AUTH, answer(200, "[]")], 6, "no-token"),
    ([AUTH, answer(200, '{"token":"a.b\\u001b[31m\\r\\nx: y.c"}')], 6, "no-token"),
    ([AUTH, ATTEST, answer(200, "{}")], 6, None), ([AUTH, ATTEST, answer(200, "")], 6, None),
    ([AUTH, ATTEST, answer(500, "oops")], 6, "unexpected-answer"), ([AUTH, ATTEST, answer(302, "", ["location: /x"])], 6, "unexpected-answer"),
    ([(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",)], 6, "connection-closed"), ([(b"SSH-2.0-x\r\n",)], 6, None),
    ([None], 6, "connection-closed"), ([AUTH, None], 6, "connection-closed"), ([AUTH, ATTEST, (b"HTTP/1.1 200 OK\r\nconte",)], 6, "connection-closed"),
])
def test_answers_no_key_broker_should_give(box, fake, answers, status, code):
    e = get(box, fake(*answers), "-o", "out", ok=status).error()
    assert code is None or e["code"] == code
    assert not (box / "out").exists()


def test_a_jwe_for_another_key_is_refused(box, fake):
    vector = json.loads(shared("protocol", "transcripts", "kbs-vector-jwe-p-256.json").read_text())
    f = fake(AUTH, ATTEST, answer(200, vector["resource_response_raw"]))
    assert get(box, f, "-o", "out", ok=4).error()["code"] == "jwe-no-key"
    assert not (box / "out").exists()


@pytest.mark.parametrize("name", ["p-256", "p-521", "rsa-oaep-256"])
def test_recorded_resources_open(box, fake, name):
    """The recorded TEE key, the recorded nonce, the recorded answer: the recorded plaintext, and the
    report data that the real server took."""
    v = json.loads(shared("protocol", "transcripts", f"kbs-vector-jwe-{name}.json").read_text())
    (box / "tee.key").write_text(v["tee_private_key_pem"])
    (box / "tee.key").chmod(0o600)
    f = fake(answer(200, json.dumps(v["challenge"]), [COOKIE]), ATTEST, answer(200, v["resource_response_raw"]))
    r = box.run("propkey", "get", "default/key/k1", "--kbs", f.url, "--tee", "sample", "--tee-key", "tee.key")
    assert r.stdout.hex() == v["plaintext_hex"]
    sent = json.loads(f.requests[1][2])
    want = v["attestation_request"]
    assert sent["runtime-data"] == want["runtime-data"] and sent["tee-evidence"] == want["tee-evidence"]


def test_a_passport_goes_in_the_header(box, fake):
    v = json.loads(shared("protocol", "transcripts", "kbs-vector-jwe-p-256.json").read_text())
    (box / "tee.key").write_text(v["tee_private_key_pem"])
    (box / "tee.key").chmod(0o600)
    (box / "t").write_text("a.b.c\n")
    f = fake(answer(200, v["resource_response_raw"]))
    r = box.run("propkey", "get", "default/key/k1", "--kbs", f.url, "--tee-key", "tee.key", "--attestation-token", "t", "-o", "out")
    assert (box / "out").read_bytes().hex() == v["plaintext_hex"] and r.stdout.startswith(b"path: ")
    assert len(f.requests) == 1 and f.requests[0][1]["authorization"] == "Bearer a.b.c"
    e = box.run("propkey", "get", "a/b/c", "--kbs", f.url, "--attestation-token", "t", "--json", ok=2).error()
    assert e["code"] == "no-tee-key"


def test_a_redirect_takes_no_token_anywhere(box, fake, admin):
    other = fake(answer(200))
    f = fake(answer(307, "", [f"location: {other.url}/kbs/v0/resource/default/key/k1"]))
    box.run("propkey", *VERBS["set"], "--kbs", f.url, *admin, ok=6)
    assert other.requests == []


def test_what_set_sends(box, fake, admin):
    f = fake(answer(200, "", ["content-type: text/xml"]))
    box.run("propkey", *VERBS["set"], "--kbs", f.url, *admin)
    line, headers, body = f.requests[0]
    assert line == "POST /kbs/v0/resource/default/key/k1 HTTP/1.1"
    assert headers["content-type"] == "application/octet-stream" and headers["authorization"].startswith("Bearer ey")
    assert body == (box / "v").read_bytes()


def test_what_policy_sends(box, fake, admin):
    f = fake(answer(200))
    box.run("propkey", *VERBS["policy"], "--kbs", f.url, *admin)
    assert f.requests[0][0] == "POST /kbs/v0/resource-policy HTTP/1.1"
    sent = json.loads(f.requests[0][2])["policy"]
    assert "=" not in sent and base64.urlsafe_b64decode(sent + "=" * (-len(sent) % 4)) == (box / "p.rego").read_bytes()


def test_a_ready_token_is_sent_as_it_is(box, fake, admin):
    (box / "t").write_text("  abc.def.ghi \n")
    (box / "t").chmod(0o600)
    f = fake(answer(200))
    box.run("propkey", *VERBS["set"], "--kbs", f.url, "--admin-token", "t")
    assert f.requests[0][1]["authorization"] == "Bearer abc.def.ghi"


def test_a_flag_wins_over_the_rivals_variable(box, fake, admin):
    (box / "t").write_text("abc.def.ghi")
    (box / "t").chmod(0o600)
    f = fake(answer(200))
    box.run("propkey", *VERBS["set"], "--kbs", f.url, "--admin-token", "t", env={"PROP_ADMIN_KEY": "admin.key"})
    assert f.requests[-1][1]["authorization"] == "Bearer abc.def.ghi"
    box.run("propkey", *VERBS["set"], "--admin-key", "admin.key", env={"PROP_ADMIN_TOKEN": "t", "PROP_KBS_URL": f.url})
    assert f.requests[-1][1]["authorization"].startswith("Bearer ey")
    for args, env in ((["--admin-key", "admin.key", "--admin-token", "t"], {}), ([], {"PROP_ADMIN_KEY": "admin.key", "PROP_ADMIN_TOKEN": "t"})):
        r = box.run("propkey", *VERBS["set"], "--kbs", f.url, "--json", *args, env=env, ok=2)
        assert r.error()["code"] == "two-admins"


def test_without_an_administrator_nothing_is_claimed(box, fake, admin):
    f = fake(answer(200))
    box.run("propkey", *VERBS["set"], "--kbs", f.url)
    assert "authorization" not in f.requests[0][1]


@pytest.mark.parametrize("text,code", [("", "admin-token"), ("two words", "admin-token"), ("a\r\nX: y", "admin-token"), ("a\0b", "admin-token")])
def test_tokens_that_are_none(box, fake, admin, text, code):
    (box / "t").write_text(text)
    (box / "t").chmod(0o600)
    f = fake(answer(200))
    assert box.run("propkey", *VERBS["set"], "--kbs", f.url, "--admin-token", "t", "--json", ok=3).error()["code"] == code
    assert f.requests == []


def test_a_token_that_others_can_read(box, fake, admin):
    (box / "t").write_text("a.b.c")
    (box / "t").chmod(0o644)
    f = fake(answer(200))
    assert box.run("propkey", *VERBS["set"], "--kbs", f.url, "--admin-token", "t", "--json", ok=5).error()["code"] == "key-file-mode"


def test_the_text_of_an_older_servers_policy(box, fake, admin):
    f = fake(answer(200, "cGFja2FnZSBwb2xpY3kK", ["content-type: text/xml"]))
    assert box.run("propkey", "policy", "get", "--kbs", f.url, "--admin-key", "admin.key").out == "package policy\n"


@pytest.mark.parametrize("url", ["http://192.0.2.1", "http://kbs.example.com:8080", "http://localhost.example.com", "http://127.0.0.1.nip.example"])
def test_plain_http_goes_to_loopback_only(box, admin, url):
    for verb in VERBS.values():
        e = box.run("propkey", *verb, "--kbs", url, *admin, ok=2).error()
        assert e["code"] == "plain-http" and "--insecure-http" in e["hint"]
    assert box.run("propkey", "get", "a/b/c", "--tee", "sample", "--kbs", url, "--json", ok=2).error()["code"] == "plain-http"


@pytest.mark.parametrize("url", ["", "kbs.example.com", "ftp://kbs.example.com", "https://u:secret@kbs.example.com", "https://kbs.example.com/?x", "https://"])
def test_urls_that_are_none(box, admin, url):
    r = box.run("propkey", *VERBS["delete"], "--kbs", url, *admin, ok=2)
    assert r.error()["code"] in ("bad-url", "no-kbs") and "secret" not in r.err


def test_no_url_at_all(box, admin):
    assert box.run("propkey", *VERBS["delete"], *admin, ok=2).error()["code"] == "no-kbs"


def test_nothing_listens(box, admin):
    with socket.create_server(("127.0.0.1", 0)) as s:
        url = f"http://127.0.0.1:{s.getsockname()[1]}"
    for verb in VERBS.values():
        assert box.run("propkey", *verb, "--kbs", url, *admin, ok=6).error()["code"] == "connect"
    assert get(box, type("F", (), {"url": url}), "-o", "out", ok=6).error()["code"] == "connect"
    assert not (box / "out").exists()


def test_tls_that_is_not_trusted(box, admin):
    openssl = need("openssl")
    box.run(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "s.key",
            "-out", "s.crt", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(box / "s.crt", box / "s.key")
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]

    def serve():
        while True:
            try:
                c, _ = sock.accept()
                with ctx.wrap_socket(c, server_side=True) as t:
                    t.recv(65536)
                    t.sendall(answer(200))
            except OSError:
                if sock.fileno() < 0:
                    return

    threading.Thread(target=serve, daemon=True).start()
    try:
        e = box.run("propkey", *VERBS["delete"], "--kbs", f"https://localhost:{port}", *admin, ok=6).error()
        assert e["code"] == "tls"
        e = box.run("propkey", *VERBS["delete"], "--kbs", f"https://127.0.0.1:{port}", "--ca-cert", "s.crt", *admin, ok=6).error()
        assert e["code"] == "tls"
        box.run("propkey", *VERBS["delete"], "--kbs", f"https://localhost:{port}", "--ca-cert", "s.crt", *admin)
    finally:
        sock.close()


def test_the_transcripts_are_named_right():
    if SHARED.exists():
        for _, name, _, _ in RECORDED:
            shared("protocol", "transcripts", f"kbs-{name}.http")


@pytest.mark.parametrize("verb", ["set", "policy", "delete"])
def test_a_web_server_that_says_200_is_no_key_broker(box, fake, admin, verb):
    """A key broker answers a change with nothing; a page must not pass for an upload."""
    f = fake(answer(200, "<html>welcome</html>", ["content-type: text/html"]))
    e = box.run("propkey", *VERBS[verb], "--kbs", f.url, *admin, ok=6).error()
    assert e["code"] == "not-a-kbs" and "welcome" not in e["message"]
