"""Load, slow and broken clients, malformed HTTP, garbage on every route: always an answer or a closed
connection, and the server goes on. Sanitizer findings fail at the end of each test (conftest.Kbs)."""
import concurrent.futures
import http.client
import json
import random
import socket
import time

import pytest
from propkbs_peer import (ALLOW_ALL, PREFIX, Client, b64, b64u, compact, connect, exchange, open_jwe, parse_answer,
                          read_all, report_data, request)


@pytest.fixture
def client(kbs):
    c = Client(kbs)
    c.set_policy(ALLOW_ALL)
    c.set_resource("default/key/k1", b"secret")
    return c


def alive(kbs):
    assert kbs.proc.poll() is None, "propkbs ended"
    assert request(kbs, "GET", "/healthz").status == 200


def test_parallel_handshakes(client):
    def one(i):
        c = Client(client.kbs)
        out = []
        for _ in range(5):
            cookie, _ = c.attest()
            out.append(open_jwe(c.get("default/key/k1", cookie).body, c.tee_key))
            c.set_resource(f"par/key/n{i}", bytes([i]))
            out.append(open_jwe(c.get(f"par/key/n{i}", cookie).body, c.tee_key) == bytes([i]))
        return out
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for out in pool.map(one, range(16)):
            assert out == [b"secret", True] * 5


def test_interleaved_sessions(client):
    """Many handshakes in flight, each step of all of them before the next."""
    others = [Client(client.kbs) for _ in range(20)]
    opened = [c.auth() for c in others]
    for c, (cookie, nonce) in reversed(list(zip(others, opened))):
        assert c.post_attest(cookie, c.message(nonce)).status == 200
    for c, (cookie, _) in zip(others, opened):
        assert open_jwe(c.get("default/key/k1", cookie).body, c.tee_key) == b"secret"
    # somebody else's nonce or key does not do
    (a, b) = (others[0].auth(), others[1].auth())
    assert others[0].post_attest(a[0], others[0].message(b[1])).status == 401
    stolen = others[1].message(a[1])
    stolen["runtime-data"]["tee-pubkey"] = others[0].jwk
    assert others[0].post_attest(a[0], stolen).status == 401


def test_keep_alive_and_pipelining(client):
    kbs = client.kbs
    c = http.client.HTTPConnection("127.0.0.1", kbs.port)
    for i in range(50):
        c.request("POST", PREFIX + "/auth", '{"version":"0.4.0","tee":"sample","extra-params":""}')
        r = c.getresponse()
        assert r.status == 200 and len(json.loads(r.read())["nonce"]) == 44
        c.request("GET", PREFIX + "/resource/a/b/c")
        assert c.getresponse().read().startswith(b'{"type"')
    c.close()
    one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(kbs) as s:
        s.sendall(one * 4 + one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert read_all(s).count(b"HTTP/1.1 200") == 5


def test_handshake_is_quick(client):
    """Not a benchmark: only that nothing waits (for a delayed ACK, a sync of the disk, a timer)."""
    c = http.client.HTTPConnection("127.0.0.1", client.kbs.port)
    start = time.monotonic()
    for _ in range(20):
        c.request("POST", PREFIX + "/auth", '{"version":"0.4.0","tee":"sample","extra-params":""}')
        r = c.getresponse()
        cookie, nonce = r.getheader("set-cookie").split(";")[0], json.loads(r.read())["nonce"]
        c.request("POST", PREFIX + "/attest", compact(client.message(nonce)), {"Cookie": cookie})
        assert c.getresponse().read().startswith(b'{"token"')
        c.request("GET", PREFIX + "/resource/default/key/k1", headers={"Cookie": cookie})
        assert c.getresponse().read().startswith(b'{"protected"')
    assert (time.monotonic() - start) / 20 < 0.25
    c.close()


def test_http_1_0_and_chunked(client):
    kbs = client.kbs
    r = request(kbs, "GET", PREFIX + "/nosuch", version="1.0")
    assert r.status == 404 and r.error == "PluginNotFound"
    token = client.admin_token()
    head = (f"POST {PREFIX}/resource/a/b/chunked HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n").encode()
    body = b"".join(b"%x\r\n%s\r\n" % (n, b"y" * n) for n in (1, 15, 4096, 70000)) + b"0\r\n\r\n"
    assert exchange(kbs, head + body).status == 200
    cookie, _ = client.attest()
    assert open_jwe(client.get("a/b/chunked", cookie).body, client.tee_key) == b"y" * 74112
    big = b"100000\r\n" + b"z" * 0x100000 + b"\r\n"
    assert exchange(kbs, head + big * 2 + b"0\r\n\r\n").status == 200
    r = exchange(kbs, head + big * 2 + b"1\r\nz\r\n0\r\n\r\n")
    assert (r.status, r.body) == (413, b"payload reached size limit")


def test_expect_continue(client):
    kbs = client.kbs
    token = client.admin_token()

    def head(length):
        return (f"POST {PREFIX}/resource/a/b/c HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
                f"Content-Length: {length}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n").encode()
    with connect(kbs) as s:
        s.sendall(head(3))
        assert s.recv(4096).startswith(b"HTTP/1.1 100")
        s.sendall(b"abc")
        assert parse_answer(read_all(s)).status == 200
    r = exchange(kbs, head(2097153))
    assert r.status == 413


def test_head_limit(kbs):
    def with_head(size):
        line = b"GET /kbs/v0/nosuch HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Pad: "
        return line + b"p" * (size - len(line) - 4) + b"\r\n\r\n"
    assert exchange(kbs, with_head(100000)).status == 404
    r = exchange(kbs, with_head(140000))
    assert (r.status, r.body) == (431, b"")
    r = exchange(kbs, with_head(3 << 20))
    assert r is None or r.status in (400, 413, 414, 431)
    r = exchange(kbs, b"GET /kbs/v0/" + b"a" * 120000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert r.status == 404 and len(r.body) > 120000
    alive(kbs)


@pytest.mark.parametrize("data", [
    b"", b"\r\n", b"\x00" * 100, b"GET", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /kbs/v0/auth HTTP/1.1\r\n\r\n",
    b"GET /kbs/v0/a b/c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b" GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost\r\n\r\n", b"GET / HTTP/1.1\r\n: x\r\n\r\n", b"GET / HTTP/1.1\nHost: x\n\n",
    b"POST /kbs/v0/auth HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /kbs/v0/auth HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST /kbs/v0/auth HTTP/1.1\r\nHost: x\r\nContent-Length: 1x\r\n\r\nab",
    b"POST /kbs/v0/auth HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
    b"POST /kbs/v0/auth HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /kbs/v0/auth HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    b"POST /kbs/v0/auth HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\nConnection: close\r\n\r\nab",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET http://x/kbs/v0/auth HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), b"GET /" + b"%" * 3000 + b" HTTP/1.1\r\n\r\n"],
    ids=lambda d: repr(d[:24]))
def test_malformed_http(kbs, data):
    with connect(kbs) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        answer = read_all(s)
    assert answer == b"" or answer.startswith(b"HTTP/1.")
    if answer:
        assert int(answer.split()[1]) in (400, 401, 404, 405, 411, 413, 501, 505), answer[:200]
    alive(kbs)


def test_clients_that_leave(client):
    kbs = client.kbs
    token = client.admin_token()
    for data in (b"POST /kbs/v0/auth HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc",
                 f"POST {PREFIX}/resource/a/b/gone HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
                 "Content-Length: 1000000\r\n\r\nhalf".encode(),
                 b"GET /kbs/v0/resource/a/b/c HTTP/1.1\r\nHost: x\r\n\r\n"):
        for _ in range(5):
            s = connect(kbs)
            s.sendall(data)
            s.close()
    # many connections that say nothing do not keep others out
    idle = [connect(kbs) for _ in range(200)]
    alive(kbs)
    cookie, _ = client.attest()
    assert client.get("a/b/gone", cookie).error == "PluginInternalError"
    for s in idle:
        s.close()
    # a client that sends byte by byte
    with connect(kbs) as s:
        for byte in b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":
            s.sendall(bytes([byte]))
        assert parse_answer(read_all(s)).status == 200


def garbage(rng):
    kind = rng.randrange(6)
    if kind == 0:
        return rng.randbytes(rng.randrange(200))
    if kind == 1:
        return b"[" * rng.randrange(1, 5000)
    if kind == 2:
        return compact(junk(rng, 4)).encode("utf-8", "surrogatepass")
    if kind == 3:
        return b'{"a":' * rng.randrange(1, 3000) + b"1"
    if kind == 4:
        return b'"' + rng.randbytes(50).replace(b'"', b"") + b'"'
    return b"{" + b",".join(b'"%s":%s' % (k, v) for k, v in
                            zip((b"policy", b"tee", b"version", b"payload", b"policy_id", b"type", b"extra-params"),
                                (rng.choice([b"1", b"null", b'"x"', b"{}", b'"\\u0000"', b"1e999", b"-0", b'"\\ud800"'])
                                 for _ in range(7)))) + b"}"


def junk(rng, depth):
    names = ["runtime-data", "tee-evidence", "init-data", "nonce", "tee-pubkey", "kty", "alg", "crv", "x", "y", "n", "e", "svn",
             "report_data", "primary_evidence", "additional_evidence", "format", "body", "version", "tee", "policy", "payload", ""]
    kind = rng.randrange(7) if depth else rng.randrange(4)
    if kind == 0:
        return rng.choice(["", "EC", "RSA", "P-256", "toml", "{}", "\u0000", "a" * 300, "\U0001f600", "AAAA", "0.4.0", "sample"])
    if kind == 1:
        return rng.choice([0, -1, 2**31, 2**63 - 1, 1.5, True, False, None])
    if kind in (2, 3):
        return rng.choice([[], {}])
    if kind == 4:
        return [junk(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice(names): junk(rng, depth - 1) for _ in range(rng.randrange(6))}


ROUTES = ["/auth", "/attest", "/resource/a/b/c", "/resource-policy", "/attestation-policy", "/reference-value",
          "/reference-value/x", "/sample/x", "/nosuch", ""]


@pytest.mark.parametrize("seed", range(4))
def test_garbage_on_every_route(client, seed):
    rng = random.Random(seed)
    kbs = client.kbs
    token = client.admin_token()
    cookies = [client.attest()[0], client.auth()[0], "kbs-session-id=" + "f" * 32]
    for _ in range(150):
        path = rng.choice(ROUTES)
        if rng.random() < 0.3:
            path += "".join(rng.choice(["/", "%00", "%ff", "%2e", "..", "?", "&", "=", "+", "a", "%", ";", "#", "[", "\u00e9"])
                            for _ in range(rng.randrange(12)))
        headers = [f"Authorization: Bearer {token}"] if rng.random() < 0.7 else []
        if rng.random() < 0.5:
            headers.append("Cookie: " + rng.choice(cookies))
        if rng.random() < 0.1:
            headers.append("Content-Encoding: gzip")
        r = request(kbs, rng.choice(["GET", "POST", "POST", "POST", "PUT", "DELETE"]), PREFIX + path, garbage(rng), headers)
        assert r is None or r.status in (200, 400, 401, 404, 405, 413), (path, r.body)
    alive(kbs)


@pytest.mark.parametrize("seed", range(2))
def test_mutated_messages(client, seed):
    """Valid handshake messages, tokens and admin calls with a few bytes changed."""
    rng = random.Random(100 + seed)
    kbs = client.kbs
    for _ in range(60):
        cookie, nonce = client.auth()
        body = bytearray(compact(client.message(nonce, device=rng.random() < 0.5, init_data=rng.choice(
            [None, {"format": "toml", "body": 'version="1"\nalgorithm="sha256"\n[data]\n"aa.toml"="x=1"\n'}]))).encode())
        original = bytes(body)
        for _ in range(rng.randrange(1, 4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        r = client.post_attest(cookie, bytes(body))
        assert r.status in (200, 401)
        if r.status == 200 and bytes(body) != original:
            # only what nothing depends on may differ: svn, init-data, unknown members
            doc = json.loads(bytes(body))
            assert doc["runtime-data"]["nonce"] == nonce
        token = bytearray(client.ear(exp=int(time.time()) + 60, **{"tee-pubkey": client.jwk}).encode())
        good = bytes(token)
        token[rng.randrange(len(token))] = rng.choice(b"ABCabc019_-.=")
        if bytes(token) != good:
            assert client.get("default/key/k1", bearer=token.decode()).error == "TokenVerifierError"
        admin = bytearray(client.admin_token().encode())
        good = bytes(admin)
        admin[rng.randrange(len(admin))] = rng.choice(b"ABCabc019_-.=")
        if bytes(admin) != good:
            r = client.admin("GET", "/resource-policy", token=admin.decode())
            assert r.error == "AdminAuthAccess"
    alive(kbs)


def test_hostile_policies(client):
    """Policies that recurse, build large values or never were text."""
    for text in ("package policy\nimport rego.v1\nallow if allow\n",
                 "package policy\nimport rego.v1\na if b\nb if a\nallow if a\n",
                 "package policy\nx := " + "[" * 3000 + "]" * 3000 + "\n", "package policy\nx := " + "{" * 30,
                 "package policy\nx := \"" + "[" * 3000 + "\"\n", "package policy\nx := `" + "{" * 3000 + "`\n",
                 'package policy\nx := "\\"' + "[" * 30 + '"\ny := 1\n', "package policy\n# " + "[" * 3000 + "\nx := [1]\n",
                 "package policy\nallow := " + "(" * 5000 + "true" + ")" * 5000 + "\n",
                 "package policy\nimport rego.v1\nallow if count([x | some x in numbers.range(1, 20000)]) == 1\n",
                 "\u0000", "package policy\n" + "#" * 100000):
        r = client.admin("POST", "/resource-policy", compact({"policy": b64u(text.encode())}))
        assert r.status in (200, 401), text[:60]
        if r.status == 200:
            r = client.get("default/key/k1", client.attest()[0])
            assert r.error in ("PolicyDeny", "PolicyEngineError"), text[:60]
        alive(client.kbs)


def test_report_data_of_strange_texts(client):
    """Nonce and evidence are hashed as text: what JSON escapes must hash as what it means."""
    cookie, nonce = client.auth()
    additional = '{"sampledevice":{"svn":"\u00e9\U0001f600\\n\\u0001","report_data":"%s"}}' % report_data(nonce, client.jwk, None)
    doc = client.message(nonce)
    doc["tee-evidence"]["additional_evidence"] = additional
    doc["tee-evidence"]["primary_evidence"]["report_data"] = report_data(nonce, client.jwk, additional)
    for ascii_only in (True, False):
        r = client.post_attest(cookie, json.dumps(doc, ensure_ascii=ascii_only).encode())
        assert r.status == 200, r.body
        cookie, nonce2 = client.auth()
        doc["runtime-data"]["nonce"] = nonce2
        doc["tee-evidence"]["additional_evidence"] = additional.replace(report_data(nonce, client.jwk, None),
                                                                          report_data(nonce2, client.jwk, None))
        doc["tee-evidence"]["primary_evidence"]["report_data"] = report_data(
            nonce2, client.jwk, doc["tee-evidence"]["additional_evidence"])
    assert b64(b"x") == "eA=="
