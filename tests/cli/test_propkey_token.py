"""propkey token: recorded tokens, tokens made with other software, and every way to be wrong."""
import base64
import json
import time

import pytest

from conftest import need, shared

cryptography = pytest.importorskip("cryptography", reason="python3-cryptography is not installed")
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, utils  # noqa: E402

PROFILE = "tag:github.com,2024:confidential-containers/Trustee"


def b64u(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b"=").decode()


def jwk_of(key, **more):
    n = key.public_key().public_numbers()
    return {"alg": "ES256", "kty": "EC", "crv": "P-256", "x": b64u(n.x.to_bytes(32, "big")), "y": b64u(n.y.to_bytes(32, "big")), **more}


def sign(key, header, claims):
    text = f"{b64u(header)}.{b64u(claims)}"
    r, s = utils.decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{b64u(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def ear(**more):
    now = int(time.time())
    claims = {"eat_profile": PROFILE, "iat": now, "exp": now + 300, "iss": "CoCo-Attestation-Service", "submods": {"cpu0": {
        "ear.status": "warning", "ear.appraisal-policy-id": "default",
        "ear.trustworthiness-vector": {"instance-identity": 1, "configuration": 36, "executables": 33, "file-system": -2, "hardware": 97,
                                       "runtime-opaque": -33, "storage-opaque": -97, "sourced-data": 31},
        "ear.veraison.annotated-evidence": {"snp": {"measurement": "ab", "policy_debug_allowed": False}}}}, **more}
    return {k: v for k, v in claims.items() if v is not None}


@pytest.fixture
def key():
    return ec.generate_private_key(ec.SECP256R1())


def show(box, token, *args, ok=True):
    (box / "t").write_text(token)
    return box.run("propkey", "token", "t", *args, "--json", ok=ok)


def test_a_recorded_token_is_shown_and_too_old(box):
    """Signed by a real Trustee; long over, except where the machine's clock says otherwise."""
    token = shared("protocol", "transcripts", "kbs-ear-token.jwt").read_text()
    want = json.loads(shared("protocol", "transcripts", "kbs-ear-token-decoded.json").read_text())
    r = show(box, token, "--insecure-header-jwk", ok=None)
    doc = r.json()
    assert r.returncode in (0, 1) and doc["valid"] is (r.returncode == 0)
    assert doc["profile"] == PROFILE and doc["header"] == want["header"]
    cpu = want["payload"]["submods"]["cpu0"]
    assert doc["submods"]["cpu0"]["claims"] == cpu["ear.veraison.annotated-evidence"]
    assert {k: v["value"] for k, v in doc["submods"]["cpu0"]["vector"].items()} == cpu["ear.trustworthiness-vector"]
    # One character of the payload, and the signature is wrong, whoever is trusted.
    head, body, sig = token.strip().split(".")
    for bad in (f"{head}.{body[:-3]}AAA.{sig}", f"{head}.{body}.{sig[:-4]}AAAA"):
        assert show(box, bad, "--insecure-header-jwk", ok=None).returncode in (3, 4)
    assert show(box, f"{head}.{body}.{'A' * len(sig)}", ok=4).error()["code"] == "token-signature"


def test_tiers_of_every_claim(box, key):
    doc = show(box, sign(key, {"typ": "JWT", "alg": "ES256", "jwk": jwk_of(key)}, ear()), "--insecure-header-jwk").json()
    assert {k: v["tier"] for k, v in doc["submods"]["cpu0"]["vector"].items()} == {
        "instance-identity": "none", "configuration": "warning", "executables": "warning", "file-system": "affirming",
        "hardware": "contraindicated", "runtime-opaque": "warning", "storage-opaque": "contraindicated", "sourced-data": "affirming"}
    assert doc["valid"] is True and doc["insecure"] is True and doc["submods"]["cpu0"]["status"] == "warning"
    r = box.run("propkey", "token", "t", "--insecure-header-jwk")
    assert "cpu0: warning" in r.out and "snp.policy_debug_allowed = false" in r.out and "anybody can make" in r.out
    assert any(line.split() == ["hardware", "97", "contraindicated"] for line in r.out.splitlines())


def test_a_key_of_its_own_proves_nothing(box, key):
    r = show(box, sign(key, {"typ": "JWT", "alg": "ES256", "jwk": jwk_of(key)}, ear()), ok=1)
    doc = r.json()
    assert doc["valid"] is False and doc["reason"] == "not-verified" and "proves nothing" in doc["signature_text"]


@pytest.mark.parametrize("more,reason", [
    ({"exp": 1000}, "expired"), ({"exp": None}, "no-expiry"), ({"exp": "soon"}, "no-expiry"),
    ({"iat": 4102444800, "exp": 4102444900}, "not-yet-valid"), ({"nbf": 4102444800}, "not-yet-valid"),
])
def test_times(box, key, more, reason):
    doc = show(box, sign(key, {"alg": "ES256", "jwk": jwk_of(key)}, ear(**more)), "--insecure-header-jwk", ok=1).json()
    assert doc["valid"] is False and doc["reason"] == reason


def test_another_profile_is_pointed_out(box, key):
    assert "profile" in show(box, sign(key, {"alg": "ES256", "jwk": jwk_of(key)}, ear(eat_profile="tag:other")), "--insecure-header-jwk").err


def test_keys_of_the_signer(box, key):
    other = ec.generate_private_key(ec.SECP256R1())
    (box / "set.json").write_text(json.dumps({"keys": [jwk_of(other, kid="a"), {"kty": "weird"}, jwk_of(key, kid="b")]}))
    (box / "one.json").write_text(json.dumps(jwk_of(key)))
    (box / "wrong.json").write_text(json.dumps({"keys": [jwk_of(other, kid="b")]}))
    (box / "empty.json").write_text('{"keys":[]}')
    with_kid = sign(key, {"alg": "ES256", "kid": "b"}, ear())
    for jwks in ("set.json", "one.json"):
        assert show(box, with_kid, "--jwks", jwks).json()["signature"] == "jwks"
        assert show(box, sign(key, {"alg": "ES256"}, ear()), "--jwks", jwks).json()["valid"] is True
    assert show(box, with_kid, "--jwks", "wrong.json", ok=4).error()["code"] == "token-signature"
    assert show(box, sign(key, {"alg": "ES256", "kid": "a"}, ear()), "--jwks", "set.json", ok=4).error()["code"] == "token-signature"
    assert show(box, sign(key, {"alg": "ES256", "kid": "c"}, ear()), "--jwks", "set.json", ok=8).error()["code"] == "token-key"
    assert show(box, with_kid, "--jwks", "empty.json", ok=8).error()["code"] == "token-key"
    assert show(box, with_kid, ok=8).error()["code"] == "token-key"
    # The key in the header does not count where a set is given.
    forged = sign(other, {"alg": "ES256", "jwk": jwk_of(other)}, ear())
    assert show(box, forged, "--jwks", "one.json", ok=4).error()["code"] == "token-signature"


class Chain:
    """CA and leaf, made with openssl; the leaf signs."""

    def __init__(self, box, key, name="ca", ca_key=("ec", "-pkeyopt", "ec_paramgen_curve:P-256"), digest="sha256", extensions=""):
        openssl = need("openssl")
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (box / "leaf.key").write_bytes(pem)
        (box / "leaf.ext").write_text(extensions)
        box.run(openssl, "req", "-x509", "-newkey", *ca_key, "-nodes", "-keyout", f"{name}.key",
                "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}")
        box.run(openssl, "req", "-new", "-key", "leaf.key", "-subj", "/CN=leaf", "-out", "leaf.csr")
        box.run(openssl, "x509", "-req", "-in", "leaf.csr", "-CA", f"{name}.pem", "-CAkey", f"{name}.key", "-CAcreateserial", "-days", "2",
                f"-{digest}", "-extfile", "leaf.ext", "-out", f"{name}-leaf.pem")
        self.x5c = []
        for pem in (f"{name}-leaf.pem", f"{name}.pem"):
            lines = (box / pem).read_text().split("-----BEGIN CERTIFICATE-----")[1].split("-----END")[0]
            self.x5c.append("".join(lines.split()))


def test_a_chain_that_leads_to_a_trusted_certificate(box, key):
    c, other = Chain(box, key), ec.generate_private_key(ec.SECP256R1())
    foreign = Chain(box, other, "other")
    header = lambda k, x5c: {"typ": "JWT", "alg": "ES256", "jwk": jwk_of(k, x5c=x5c)}
    good = sign(key, header(key, c.x5c), ear())
    assert show(box, good, "--trust-cert", "ca.pem").json()["signature"] == "trusted-cert"
    assert show(box, good, "--trust-cert", "ca-leaf.pem").json()["valid"] is True  # trusted as it stands
    assert show(box, sign(key, header(key, c.x5c[:1]), ear()), "--trust-cert", "ca.pem").json()["valid"] is True
    assert show(box, sign(key, {"alg": "ES256", "x5c": c.x5c}, ear()), "--trust-cert", "ca.pem").json()["valid"] is True
    bad = {
        "another CA": (good, "other.pem"), "no chain": (sign(key, {"alg": "ES256", "jwk": jwk_of(key)}, ear()), "ca.pem"),
        "a chain of others": (sign(other, header(other, foreign.x5c), ear()), "ca.pem"),
        "a key beside the chain": (sign(other, header(other, c.x5c), ear()), "ca.pem"),
    }
    for what, (token, root) in bad.items():
        e = show(box, token, "--trust-cert", root, ok=4).error()
        assert e["code"] == "untrusted-chain", (what, e)
    assert show(box, sign(other, {"alg": "ES256", "x5c": c.x5c}, ear()), "--trust-cert", "ca.pem", ok=4).error()["code"] == "token-signature"
    assert show(box, sign(key, header(key, ["AAAA"]), ear()), "--trust-cert", "ca.pem", ok=3).error()["code"] == "bad-certificate"
    assert show(box, sign(key, header(key, c.x5c * 9), ear()), "--trust-cert", "ca.pem", ok=3).error()["code"] == "bad-certificate"
    assert show(box, good, "--trust-cert", "leaf.key", ok=3).error()["code"] == "bad-certificate"
    assert show(box, good, "--trust-cert", "no.pem", ok=8).error()["code"] == "not-found"
    assert show(box, good, "--trust-cert", "ca.pem", "--jwks", "x", ok=2).error()["code"] == "two-trusts"


@pytest.mark.parametrize("how,status,why", [
    ({"extensions": "keyUsage=digitalSignature\n"}, 0, None), ({"extensions": "keyUsage=keyAgreement\n"}, 4, "not there to sign"),
    ({"extensions": "1.2.3.4=critical,DER:0500\n"}, 4, "critical"), ({"digest": "sha1"}, 4, "digest algorithm too weak"),
    ({"ca_key": ("rsa:1024",)}, 4, "key too weak"),
])
def test_what_a_chain_may_be_made_of(box, key, how, status, why):
    c = Chain(box, key, **how)
    r = show(box, sign(key, {"alg": "ES256", "x5c": c.x5c}, ear()), "--trust-cert", "ca.pem", ok=status)
    assert status == 0 or (r.error()["code"] == "untrusted-chain" and why in r.error()["message"])


@pytest.mark.parametrize("token,status", [("", 3), ("a.b", 3), ("a.b.c", 3), ("no token", 3), ("{}", 3), ("a" * 300000, 9)])
def test_what_is_no_token(box, token, status):
    show(box, token, ok=status)


def test_algorithms_that_are_refused(box, key):
    claims = b64u(ear())
    for alg in ("none", "HS256", "RS256"):
        r = show(box, f"{b64u({'alg': alg, 'jwk': jwk_of(key)})}.{claims}.AAAA", "--insecure-header-jwk", ok=None)
        assert r.returncode in (3, 4, 9) and r.stdout == b""


def test_from_attest_through_a_pipe(box, kbs):
    r = box.run("bash", "-c", f"propkey attest --kbs {kbs.url} --tee sample | propkey token - --insecure-header-jwk --json").json()
    assert r["valid"] is True and r["submods"]["cpu0"]["claims"]["sample"]["svn"] == "1"


def test_hostile_text_does_not_reach_the_terminal(box, key):
    evil = ear(iss="x\x1b[31m")
    evil["submods"] = {"cpu0\x1b[2J": {"ear.status": "\x1b]0;t\x07", "ear.veraison.annotated-evidence": {"a\x1b": "\x9b\x07"}}, "odd": 7}
    show(box, sign(key, {"alg": "ES256", "jwk": jwk_of(key)}, evil), "--insecure-header-jwk")
    r = box.run("propkey", "token", "t", "--insecure-header-jwk")
    assert b"\x1b" not in r.stdout and b"\x07" not in r.stdout
