"""Debian's `jose` command as the other side: what we encrypt or sign it opens, what it encrypts we open."""
import base64
import hashlib
import http.client
import json

import pytest

from conftest import VECTORS, need

WASM = VECTORS / "ocicrypt" / "wasm" / "addition.wasm"
JWE_KEY = "org.opencontainers.image.enc.keys.jwe"
CURVES = ["P-256", "P-384", "P-521"]


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.fixture
def jose(box):
    """jose(*args) runs the peer in the box; jwk(crv) makes a key pair of it, both halves as files."""
    program = need("jose")

    class Jose:
        def __call__(self, *args, **kw):
            return box.run(program, *args, **kw)

        def jwk(self, name, template):
            key, pub = box / f"{name}.jwk", box / f"{name}.pub.jwk"
            self("jwk", "gen", "-i", json.dumps(template), "-o", key)
            key.chmod(0o600)
            self("jwk", "pub", "-i", key, "-o", pub)
            return key, pub

    return Jose()


def encrypted_with(box, recipient):
    """A module encrypted for one recipient into a dir: folder; its manifest's path and JWE."""
    box.run("propenc", "encrypt", WASM, f"dir:{box / 'image'}", "-r", f"jwe:{recipient}", "-q")
    manifest = box / "image" / "manifest.json"
    layer = json.loads(manifest.read_text())["layers"][0]
    return manifest, base64.b64decode(layer["annotations"][JWE_KEY])


@pytest.mark.parametrize("crv", CURVES)
def test_jose_opens_what_we_encrypt(box, jose, crv):
    key, pub = jose.jwk("k", {"kty": "EC", "crv": crv})
    _, jwe = encrypted_with(box, pub)
    options = json.loads(jose("jwe", "dec", "-i-", "-k", key, stdin=jwe).stdout)
    assert options["digest"] == "sha256:" + hashlib.sha256(WASM.read_bytes()).hexdigest()
    assert len(base64.b64decode(options["symkey"])) == 32
    other, _ = jose.jwk("other", {"kty": "EC", "crv": crv})
    assert jose("jwe", "dec", "-i-", "-k", other, stdin=jwe, ok=None).returncode != 0


def header_forms():
    return {
        "protected": {"protected": {"alg": "ECDH-ES+A256KW", "enc": "A256GCM"}},
        "alg-unprotected": {"protected": {"enc": "A256GCM"}, "unprotected": {"alg": "ECDH-ES+A256KW"}},
        "party-info": {"protected": {"alg": "ECDH-ES+A256KW", "enc": "A256GCM", "apu": "QWxpY2U", "apv": "Qm9i"}},
        "a128": {"protected": {"alg": "ECDH-ES+A128KW", "enc": "A128GCM"}},
        "a192": {"protected": {"alg": "ECDH-ES+A192KW", "enc": "A192GCM"}},
    }


@pytest.mark.parametrize("form", sorted(header_forms()) + ["compact", "redundant"])
@pytest.mark.parametrize("crv", CURVES)
def test_we_open_what_jose_encrypts(box, jose, crv, form):
    """The layer's options, wrapped anew by jose and put back into the manifest, decrypt the layer."""
    key, pub = jose.jwk("k", {"kty": "EC", "crv": crv})
    manifest, jwe = encrypted_with(box, pub)
    options = jose("jwe", "dec", "-i-", "-k", key, stdin=jwe).stdout
    (box / "options").write_bytes(options)
    template = header_forms().get(form, header_forms()["protected"])
    args = ["jwe", "enc", "-i", json.dumps(template), "-I", box / "options", "-k", pub]
    again = jose(*args, *(["-c"] if form == "compact" else [])).stdout.strip()
    if form == "redundant":
        o = json.loads(again)
        o["recipients"] = [{"header": o.pop("header"), "encrypted_key": o["encrypted_key"]}]
        again = json.dumps(o).encode()
    doc = json.loads(manifest.read_text())
    doc["layers"][0]["annotations"][JWE_KEY] = base64.b64encode(again).decode()
    manifest.chmod(0o600)
    manifest.write_text(json.dumps(doc))
    box.run("propenc", "decrypt", f"dir:{box / 'image'}", box / "out.wasm", "--key", key)
    assert (box / "out.wasm").read_bytes() == WASM.read_bytes()
    stranger, _ = jose.jwk("stranger", {"kty": "EC", "crv": crv})
    r = box.run("propenc", "decrypt", f"dir:{box / 'image'}", box / "none.wasm", "--key", stranger, "--json", ok=4)
    assert r.error()["code"] == "jwe-no-key"
    assert not (box / "none.wasm").exists()


def test_a_jwk_we_make_is_one_for_jose(box, jose):
    for kind, alg in (("p256", "ES256"), ("p384", "ES384"), ("p521", "ES512"), ("rsa", "RS256")):
        name = f"{kind}.jwk"
        box.run("propkey", "gen", name, "--type", kind, "--format", "jwk")
        (box / "payload").write_text("x")
        jws = jose("jws", "sig", "-I", box / "payload", "-s", json.dumps({"protected": {"alg": alg}}),
                   "-k", box / name, "-c").stdout
        jose("jws", "ver", "-i-", "-k", box / f"{name}.pub", stdin=jws)
        ours = json.loads((box / f"{name}.pub").read_text())
        thumbprint = jose("jwk", "thp", "-i", box / f"{name}.pub", "-a", "S256").out.strip()
        assert ours["kid"] == thumbprint


class Attested:
    """A handshake spelled out by hand, so that the TEE key can be one that jose made."""

    def __init__(self, kbs, jwk, alg):
        names = {"EC": ["kty", "crv", "x", "y"], "RSA": ["kty", "n", "e"]}[jwk["kty"]]
        self.tee_pubkey = {**{n: jwk[n] for n in names}, "alg": alg}
        self.conn = http.client.HTTPConnection("127.0.0.1", kbs.port, timeout=30)
        _, challenge, headers = self.call("POST", "/auth", {"version": "0.4.0", "tee": "sample", "extra-params": ""})
        self.cookie = headers["Set-Cookie"].split(";")[0]
        bound = {"additional-evidence": "", "nonce": challenge["nonce"], "tee-pubkey": self.tee_pubkey}
        material = json.dumps(bound, sort_keys=True, separators=(",", ":")).encode()
        evidence = {"svn": "1", "report_data": base64.b64encode(hashlib.sha384(material).digest()).decode()}
        status, answer, _ = self.call("POST", "/attest", {
            "init-data": None, "runtime-data": {"nonce": challenge["nonce"], "tee-pubkey": self.tee_pubkey},
            "tee-evidence": {"primary_evidence": evidence, "additional_evidence": ""}})
        assert status == 200, answer
        self.token = answer["token"]

    def call(self, method, path, body=None):
        headers = {"Cookie": self.cookie} if hasattr(self, "cookie") else {}
        self.conn.request(method, "/kbs/v0" + path, json.dumps(body) if body else None, headers)
        r = self.conn.getresponse()
        return r.status, json.loads(r.read()), r.headers


@pytest.fixture
def broker(box, kbs):
    """A key broker that gives its one resource to any sample guest."""
    if not (box / "secret").exists():
        (box / "secret").write_bytes(bytes(range(32)))
    admin = ["--kbs", kbs.url, "--admin-key", kbs.admin_key]
    box.run("propkey", "policy", "preset", "allow-all", *admin)
    box.run("propkey", "set", "default/key/1", box / "secret", *admin)
    return kbs


@pytest.mark.parametrize("template,alg", [
    ({"kty": "EC", "crv": "P-256"}, "ECDH-ES+A256KW"), ({"kty": "EC", "crv": "P-521"}, "ECDH-ES+A256KW"),
    ({"kty": "RSA", "bits": 2048}, "RSA1_5")])
def test_jose_opens_a_key_broker_answer(box, jose, broker, template, alg):
    key, _ = jose.jwk("tee", template)
    session = Attested(broker, json.loads(key.read_text()), alg)
    status, jwe, _ = session.call("GET", "/resource/default/key/1")
    assert status == 200, jwe
    plain = jose("jwe", "dec", "-i-", "-k", key, stdin=json.dumps(jwe)).stdout
    assert plain == bytes(range(32))


def test_openssl_opens_a_key_broker_answer(box, jose, broker):
    """RSA-OAEP-256, which jose cannot do."""
    openssl = need("openssl")
    box.run(openssl, "genrsa", "-out", "tee.pem", "2048")
    (box / "tee.pem").chmod(0o600)
    der = box.run(openssl, "rsa", "-in", "tee.pem", "-noout", "-modulus").out
    n = bytes.fromhex(der.strip().split("=")[1])
    session = Attested(broker, {"kty": "RSA", "n": b64u(n), "e": "AQAB"}, "RSA-OAEP-256")
    status, jwe, _ = session.call("GET", "/resource/default/key/1")
    assert status == 200, jwe
    wrapped = base64.urlsafe_b64decode(jwe["encrypted_key"] + "==")
    cek = box.run(openssl, "pkeyutl", "-decrypt", "-inkey", "tee.pem", "-pkeyopt", "rsa_padding_mode:oaep",
                  "-pkeyopt", "rsa_oaep_md:sha256", "-pkeyopt", "rsa_mgf1_md:sha256", stdin=wrapped).stdout
    assert len(cek) == 32
    # the command line has no GCM, but its content is CTR from block 2 on (SP 800-38D)
    counter = base64.urlsafe_b64decode(jwe["iv"] + "==").hex() + "00000002"
    plain = box.run(openssl, "enc", "-d", "-aes-256-ctr", "-K", cek.hex(), "-iv", counter,
                    stdin=base64.urlsafe_b64decode(jwe["ciphertext"] + "==")).stdout
    assert plain == bytes(range(32))


def test_jose_verifies_an_attestation_token(box, jose, broker):
    key, _ = jose.jwk("tee", {"kty": "EC", "crv": "P-256"})
    token = Attested(broker, json.loads(key.read_text()), "ECDH-ES+A256KW").token
    head, body, sig = token.split(".")
    jwk = json.loads(base64.urlsafe_b64decode(head + "=="))["jwk"]
    (box / "signer.jwk").write_text(json.dumps(jwk))
    jose("jws", "ver", "-i-", "-k", box / "signer.jwk", stdin=token)
    changed = base64.urlsafe_b64decode(body + "==").replace(b'"sample"', b'"simple"')
    forged = f"{head}.{b64u(changed)}.{sig}"
    assert jose("jws", "ver", "-i-", "-k", box / "signer.jwk", stdin=forged, ok=None).returncode != 0
