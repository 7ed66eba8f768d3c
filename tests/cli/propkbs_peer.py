"""A client of propkbs that shares no code with the project: raw HTTP over a socket, tokens and
evidence made with the `cryptography` package, JWE opened by hand."""
import base64
import hashlib
import json
import socket
import time

import pytest

cryptography = pytest.importorskip("cryptography", reason="python3-cryptography is not installed")
from cryptography.hazmat.primitives import hashes, keywrap, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils  # noqa: E402, F401
from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: E402

PREFIX = "/kbs/v0"
ERRORS = "https://github.com/confidential-containers/kbs/errors/"
ALLOW_ALL = 'package policy\nimport rego.v1\ndefault allow := false\nallow if data.plugin == "resource"\n'
AFFIRMING = ('package policy\nimport rego.v1\ndefault allow := false\n'
             'not_ok if {\n\tsome s in input.submods\n\ts["ear.status"] != "affirming"\n}\n'
             'allow if {\n\tcount(input.submods) > 0\n\tnot not_ok\n}\n')


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64u(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def b64(data):
    return base64.b64encode(data).decode()


def compact(value):
    return json.dumps(value, separators=(",", ":"))


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        doc = self.json()
        assert doc["type"].startswith(ERRORS), doc
        return doc["type"][len(ERRORS):]

    @property
    def detail(self):
        return self.json()["detail"]

    @property
    def cookie(self):
        return self.headers["set-cookie"].split(";")[0]


def connect(kbs, timeout=30):
    s = socket.create_connection(("127.0.0.1", kbs.port), timeout=timeout)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def read_all(s):
    data = b""
    while True:
        try:
            chunk = s.recv(65536)
        except ConnectionResetError:
            break
        if not chunk:
            break
        data += chunk
    return data


def parse_answer(data):
    """Status, headers (lower case) and body of one answer, or None when there is none."""
    head, sep, body = data.partition(b"\r\n\r\n")
    if not sep:
        return None
    lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        assert name.lower() not in headers, f"header twice: {name}"
        headers[name.lower()] = value.strip()
    return Answer(int(lines[0].split()[1]), headers, body)


def exchange(kbs, data):
    """Send bytes, read until the server closes."""
    with connect(kbs) as s:
        try:
            s.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return parse_answer(read_all(s))


def request(kbs, method, path, body=None, headers=(), version="1.1"):
    head = [f"{method} {path} HTTP/{version}", "Host: kbs.example:8080", *headers]
    if body is not None:
        head.append(f"Content-Length: {len(body)}")
    head.append("Connection: close")
    return exchange(kbs, "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + (body or b""))


def sign_jwt(key, claims, header=None, kind="EdDSA"):
    if header is None:
        header = {"alg": kind, "typ": "JWT"}
    text = b64u(compact(header).encode()) + "." + b64u(compact(claims).encode())
    if isinstance(key, ed25519.Ed25519PrivateKey):
        sig = key.sign(text.encode())
    else:
        r, s = utils.decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        sig = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return text + "." + b64u(sig)


def ec_jwk(public, alg):
    n = public.public_numbers()
    size = (public.curve.key_size + 7) // 8
    crv = {256: "P-256", 384: "P-384", 521: "P-521"}[public.curve.key_size]
    jwk = {"kty": "EC", "crv": crv}
    if alg:
        jwk["alg"] = alg
    jwk.update(x=b64u(n.x.to_bytes(size, "big")), y=b64u(n.y.to_bytes(size, "big")))
    return jwk


def rsa_jwk(public, alg):
    n = public.public_numbers()

    def number(v):
        return b64u(v.to_bytes((v.bit_length() + 7) // 8, "big"))
    return {"kty": "RSA", "alg": alg, "n": number(n.n), "e": number(n.e)}


def report_data(nonce, jwk, additional=""):
    doc = {"nonce": nonce, "tee-pubkey": jwk}
    if additional is not None:
        doc["additional-evidence"] = additional
    text = json.dumps(doc, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return b64(hashlib.sha384(text.encode()).digest())


def open_jwe(text, key):
    """Decrypt a flattened JWE with a TEE's private key."""
    doc = json.loads(text)
    assert list(doc) == ["protected", "encrypted_key", "iv", "ciphertext", "tag"], list(doc)
    header = json.loads(unb64u(doc["protected"]))
    wrapped = unb64u(doc["encrypted_key"])
    if header["alg"] == "ECDH-ES+A256KW":
        assert list(header) == ["alg", "enc", "epk"] and list(header["epk"]) == ["crv", "kty", "x", "y"]
        curve = {"P-256": ec.SECP256R1(), "P-521": ec.SECP521R1()}[header["epk"]["crv"]]
        x, y = (int.from_bytes(unb64u(header["epk"][k]), "big") for k in "xy")
        z = key.exchange(ec.ECDH(), ec.EllipticCurvePublicNumbers(x, y, curve).public_key())
        info = bytes.fromhex("0000000e") + b"ECDH-ES+A256KW" + bytes(8) + bytes.fromhex("00000100")
        kek = hashlib.sha256(bytes.fromhex("00000001") + z + info).digest()
        cek = keywrap.aes_key_unwrap(kek, wrapped)
    else:
        assert list(header) == ["alg", "enc"]
        pad = {"RSA1_5": padding.PKCS1v15(),
               "RSA-OAEP-256": padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)}
        cek = key.decrypt(wrapped, pad[header["alg"]])
    assert header["enc"] == "A256GCM" and len(cek) == 32
    return AESGCM(cek).decrypt(unb64u(doc["iv"]), unb64u(doc["ciphertext"]) + unb64u(doc["tag"]),
                               doc["protected"].encode())


class Client:
    """What administrators and guests do with one KBS."""

    def __init__(self, kbs):
        self.kbs = kbs
        self.admin_key = serialization.load_pem_private_key(kbs.admin_key.read_bytes(), None)
        self.tee_key = ec.generate_private_key(ec.SECP256R1())
        self.jwk = ec_jwk(self.tee_key.public_key(), "ECDH-ES+A256KW")

    def token_key(self):
        return serialization.load_pem_private_key((self.kbs.state / "token.key").read_bytes(), None)

    def admin_token(self, **claims):
        now = int(time.time())
        doc = {"iss": "propkey", "sub": "admin", "aud": ["kbs"], "role": "admin", "iat": now, "exp": now + 600}
        doc.update(claims)
        return sign_jwt(self.admin_key, {k: v for k, v in doc.items() if v is not None})

    def ear(self, **claims):
        """A token under the server's own key with claims of our choice."""
        key = self.token_key()
        jwk = ec_jwk(key.public_key(), None)
        header = {"typ": "JWT", "alg": "ES256", "jwk": {"alg": "ES256", **jwk}}
        return sign_jwt(key, claims, header)

    def admin(self, method, path, body=None, token=None, headers=()):
        if isinstance(body, str):
            body = body.encode()
        return request(self.kbs, method, PREFIX + path, body,
                       [f"Authorization: Bearer {token or self.admin_token()}", *headers])

    def set_resource(self, path, data):
        r = self.admin("POST", "/resource/" + path, data)
        assert r.status == 200, r.body

    def set_policy(self, text):
        r = self.admin("POST", "/resource-policy", compact({"policy": b64u(text.encode())}))
        assert r.status == 200, r.body

    def set_attestation_policy(self, text, policy_id="default_cpu"):
        return self.admin("POST", "/attestation-policy",
                          compact({"type": "rego", "policy_id": policy_id, "policy": b64u(text.encode())}))

    def set_values(self, values):
        r = self.admin("POST", "/reference-value",
                       compact({"version": "0.1.0", "type": "sample", "payload": b64(compact(values).encode())}))
        assert r.status == 200, r.body

    def set_affirming_values(self):
        self.set_values({"launch_digest": ["abcde"], "svn": ["1"], "major_version": 1, "minimum_minor_version": 4})

    def auth(self, tee="sample"):
        """(cookie, nonce) of a fresh session."""
        r = request(self.kbs, "POST", PREFIX + "/auth",
                    compact({"version": "0.4.0", "tee": tee, "extra-params": ""}).encode())
        assert r.status == 200, r.body
        return r.cookie, r.json()["nonce"]

    def message(self, nonce, jwk=None, device=False, svn="1", init_data=None):
        jwk = jwk or self.jwk
        additional = ""
        if device:
            additional = compact({"sampledevice": {"svn": "2", "report_data": report_data(nonce, jwk, None)}})
        return {"init-data": init_data, "runtime-data": {"nonce": nonce, "tee-pubkey": jwk},
                "tee-evidence": {"primary_evidence": {"svn": svn, "report_data": report_data(nonce, jwk, additional)},
                                 "additional_evidence": additional}}

    def post_attest(self, cookie, message):
        body = message if isinstance(message, bytes) else compact(message).encode()
        return request(self.kbs, "POST", PREFIX + "/attest", body, [f"Cookie: {cookie}"] if cookie else [])

    def attest(self, tee="sample", **kw):
        """(cookie, token) of an attested session."""
        cookie, nonce = self.auth(tee)
        r = self.post_attest(cookie, self.message(nonce, **kw))
        assert r.status == 200, r.body
        return cookie, r.json()["token"]

    def get(self, path, cookie=None, bearer=None):
        headers = [f"Cookie: {cookie}"] if cookie else []
        if bearer:
            headers.append(f"Authorization: Bearer {bearer}")
        return request(self.kbs, "GET", PREFIX + "/resource/" + path, None, headers)


def claims_of(token):
    return json.loads(unb64u(token.split(".")[1]))


def header_of(token):
    return json.loads(unb64u(token.split(".")[0]))
