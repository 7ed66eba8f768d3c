"""ocicrypt's key provider protocol as a program, both ends of it: recorded requests, a key broker behind,
providers that are no friends of ours, and a skopeo that knows key providers."""
import base64
import json
import re
import stat

import pytest

from conftest import BIN, free_port, need
from keyproviding import (KID, UNWRAP, WRAP, Site, ask, config, encrypt_and_back, fixture, grpc, image, kek,  # noqa: F401
                          message, packet_of, payload_of, recorded, refused, serve, site, unwrap_request,
                          wrap_request)


# --- exec ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("case", ["20-keyprovider-cmd", "30-coco-a256gcm", "31-coco-a256ctr-asked",
                                  "36-wasm-coco-packet-v2", "40-wasm-coco-a256gcm"])
def test_exec_unwraps_what_others_wrapped(box, kek, case):
    packet, key = packet_of(case)
    name, privopts = ask(box, unwrap_request(packet), "--kek", kek)
    assert name == "optsdata" and base64.b64decode(json.loads(privopts)["symkey"]) == key


def test_exec_recorded_requests(box, kek):
    """The bytes that a real skopeo sent, and the reply that it read."""
    reply = box.run("propenc", "keyprovider", "--name", "toy", "--kek", kek, stdin=recorded(1)).stdout
    want = fixture("20-keyprovider-cmd", "replies-array.jsonl").read_bytes().splitlines()[1]
    assert reply == want.replace(b" ", b"")
    # the recorded wrap names no KEK file in our parameters' form
    refused(box, 2, "bad-recipient", recorded(0), "--name", "toy")


def test_exec_wrap_is_the_coco_packet(box, kek):
    privopts = b'{"symkey":"AAAA","digest":"sha256:00","cipheroptions":{"nonce":"AA=="}}'
    for keyid in (KID, "/default/key/wasm-addition"):
        _, packet = ask(box, wrap_request([f"keypath={kek}::keyid={keyid}::algorithm=A256GCM"], privopts))
        doc = json.loads(packet)
        assert list(doc) == ["kid", "wrapped_data", "iv", "wrap_type"]
        assert doc["kid"] == KID and doc["wrap_type"] == "A256GCM"
        assert len(base64.b64decode(doc["iv"])) == 12
        assert len(base64.b64decode(doc["wrapped_data"])) == len(privopts) + 16
        assert ask(box, unwrap_request(packet), "--kek", kek) == ("optsdata", privopts)


def test_exec_rust_requests(box, kek):
    """Arrays of numbers, members left out, private options as plain text."""
    params = list(f"keypath={kek}::keyid={KID}".encode())
    _, packet = ask(box, {"op": "keywrap", "keywrapparams": {
        "ec": {"Parameters": {"attestation-agent": [params]}, "DecryptConfig": {"Parameters": {}}},
        "optsdata": '{"symkey":"é"}'}})
    assert ask(box, {"op": "keyunwrap", "keyunwrapparams": {"annotation": list(packet)}},
               "--kek", kek)[1] == '{"symkey":"é"}'.encode()


def test_exec_a256ctr_only_when_allowed(box, kek):
    packet, key = packet_of("32-wasm-coco-a256ctr")
    refused(box, 5, "a256ctr-refused", unwrap_request(packet), "--kek", kek)
    _, privopts = ask(box, unwrap_request(packet), "--kek", kek, "--allow-a256ctr")
    assert base64.b64decode(json.loads(privopts)["symkey"]) == key
    asked = wrap_request([f"keypath={kek}::keyid={KID}::algorithm=A256CTR"], privopts)
    refused(box, 9, "a256ctr-refused", asked)
    _, packet = ask(box, asked, "--allow-a256ctr")
    assert json.loads(packet)["wrap_type"] == "A256CTR"
    assert len(base64.b64decode(json.loads(packet)["iv"])) == 16
    assert ask(box, unwrap_request(packet), "--kek", kek, "--allow-a256ctr")[1] == privopts


def test_exec_refusals(box, kek):
    short = box / "short.bin"
    short.write_bytes(b"x" * 31)
    public = box / "public.bin"
    public.write_bytes(bytes.fromhex("d99b7705b0ba7a168295b3a3367270b0dd9b371bf514ca8b9ba7f0a33711daea"))
    packet, _ = packet_of("30-coco-a256gcm")
    other = box / "other.bin"
    other.write_bytes(b"o" * 32)
    for code, error_id, request, args in (
            (3, "keyprovider-request", b"", ()),
            (3, "keyprovider-request", b"{}", ()),
            (3, "keyprovider-request", b'{"op":"keywrap"}', ()),
            (9, "file-too-big", b" " * ((4 << 20) + 1), ()),
            (5, "public-kek", wrap_request(["sample=true"]), ()),
            (5, "public-kek", wrap_request([f"keypath={public}::keyid={KID}"]), ()),
            (3, "kek-length", wrap_request([f"keypath={short}::keyid={KID}"]), ()),
            (8, "not-found", wrap_request([f"keypath={box / 'none'}::keyid={KID}"]), ()),
            (2, "kid-host", wrap_request([f"keypath={kek}::keyid=kbs://kbs.example.com/a/b/c"]), ()),
            (3, "bad-resource-path", wrap_request([f"keypath={kek}::keyid=kbs:///a/b"]), ()),
            (2, "bad-recipient", wrap_request([f"keypath={kek}"]), ()),
            (2, "bad-recipient", wrap_request([]), ()),
            (2, "keyprovider-params", wrap_request([f"keypath={kek}::keyid={KID}"] * 2), ()),
            (8, "no-kek", wrap_request([f"keyid={KID}"]), ()),
            (8, "no-kek", unwrap_request(packet), ()),
            (4, "kek-wrong", unwrap_request(packet), ("--kek", other)),
            (3, "bad-annotation", unwrap_request(b"{}"), ("--kek", kek)),
            (2, "no-kbs", unwrap_request(packet), ("--auth-private-key", kek)),
            (2, "daemon", unwrap_request(packet), ("--daemon",))):
        refused(box, code, error_id, request, *args)


def test_exec_never_repeats_what_is_not_its_own(box, kek):
    """A request carries the private keys that are meant for other schemes."""
    secret = b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0LW9mLWFub3RoZXItc2NoZW1l\n"
    more = {"privkeys": [base64.b64encode(secret).decode()], "privkeys-passwords": ["c2VjcmV0LXBhc3N3b3Jk"]}
    packet, _ = packet_of("30-coco-a256gcm")
    for request, ok in ((unwrap_request(packet, **more), True), (unwrap_request(b"{}", **more), 3),
                        (wrap_request([], **more), 2)):
        r = box.run("propenc", "keyprovider", "--kek", kek, "--verbose", stdin=json.dumps(request), ok=ok)
        for word in (b"c2VjcmV0", b"secret-of", b"PRIVATE", b"secret-password"):
            assert word not in r.stderr and word not in r.stdout


# --- a key broker behind it -----------------------------------------------------------------------------

def test_keys_are_made_uploaded_and_fetched(box, site):
    _, packet = ask(box, wrap_request([f"keyid={KID}"], b'{"layer":1}'), *site.admin)
    key = site.get("default/key/wasm-addition")
    assert len(key) == 32
    kept = list((box.home / "data/prop/keys").iterdir())
    assert [f.read_bytes() for f in kept] == [key] and stat.S_IMODE(kept[0].stat().st_mode) == 0o600
    # the next layer gets the same key; so does a provider that has no administrator's key
    _, second = ask(box, wrap_request([f"keyid={KID}"], b'{"layer":2}'), *site.admin)
    _, third = ask(box, wrap_request([f"keyid={KID}"], b'{"layer":3}'), "--kbs", site.kbs.url)
    assert site.get("default/key/wasm-addition") == key
    # opened with the kept key, and on a machine that keeps nothing, through attestation
    assert ask(box, unwrap_request(second)) == ("optsdata", b'{"layer":2}')
    bare = {"XDG_DATA_HOME": str(box.home / "d2"), "XDG_STATE_HOME": str(box.home / "s2")}
    for n, p in enumerate((packet, second, third), 1):
        assert ask(box, unwrap_request(p), *site.guest, env=bare)[1] == b'{"layer":%d}' % n
    # there, wrapping for that name takes the broker's key and changes nothing
    _, fourth = ask(box, wrap_request([f"keyid={KID}"], b'{"layer":4}'), *site.admin, "--tee", "sample", env=bare)
    assert ask(box, unwrap_request(fourth))[1] == b'{"layer":4}'
    assert site.get("default/key/wasm-addition") == key


def test_keyless_recipient_gets_a_name_that_guests_can_fetch(box, site):
    """coco_keyprovider's own such names, /default/image-kek/<uuid>, are refused by the guest."""
    _, packet = ask(box, wrap_request([]), *site.admin)
    kid = json.loads(packet)["kid"]
    assert re.fullmatch(r"kbs:///default/image-kek/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", kid)
    assert len(site.get(kid)) == 32
    bare = {"XDG_DATA_HOME": str(box.home / "d2"), "XDG_STATE_HOME": str(box.home / "s2")}
    assert ask(box, unwrap_request(packet), *site.guest, env=bare)[1] == b'{"symkey":"x"}'


def test_a_named_key_is_uploaded_too(box, site, kek):
    ask(box, wrap_request([f"keypath={kek}::keyid={KID}"]), *site.admin)
    assert site.get("default/key/wasm-addition") == kek.read_bytes()
    ask(box, wrap_request([f"keypath={kek}::keyid={KID}"]), *site.admin)
    other = box / "other.bin"
    other.write_bytes(b"o" * 32)
    # another key under that name: known from the ledger, and from the broker
    refused(box, 7, "kid-in-use", wrap_request([f"keypath={other}::keyid={KID}"]), *site.admin)
    bare = {"XDG_DATA_HOME": str(box.home / "d2"), "XDG_STATE_HOME": str(box.home / "s2")}
    refused(box, 7, "kid-in-use", wrap_request([f"keypath={other}::keyid={KID}"]), *site.admin,
            "--tee", "sample", env=bare)
    assert site.get("default/key/wasm-addition") == kek.read_bytes()
    ask(box, wrap_request([f"keypath={other}::keyid={KID}"]), *site.admin, "--replace-key")
    assert site.get("default/key/wasm-addition") == b"o" * 32


def test_no_packet_without_an_upload(box, kbs, kek):
    """coco_keyprovider calls a refused upload a success."""
    stranger = box / "stranger.key"
    box.run("propkey", "admin-keygen", "-o", stranger)
    for params in ([f"keyid={KID}"], [f"keypath={kek}::keyid={KID}"], []):
        refused(box, 5, "admin-auth-initialization", wrap_request(params), "--kbs", kbs.url, "--auth-private-key", stranger)
    refused(box, 6, "connect", wrap_request([f"keyid={KID}"]), "--kbs", f"http://127.0.0.1:{free_port()}",
            "--admin-key", kbs.admin_key)


def test_only_the_configured_broker_is_asked(box, kbs, kbs_factory, kek):
    site = Site(box, kbs)
    foreign = kbs_factory()
    ask(box, wrap_request([f"keypath={kek}::keyid={KID}"]), *site.admin)
    doc = json.loads(ask(box, wrap_request([f"keypath={kek}::keyid={KID}"]), *site.admin)[1])
    bare = {"XDG_DATA_HOME": str(box.home / "d2"), "XDG_STATE_HOME": str(box.home / "s2")}
    for host, ok in ((f"127.0.0.1:{kbs.port}", True), (f"127.0.0.1:{foreign.port}", False), ("kbs.example.com", False)):
        doc["kid"] = f"kbs://{host}/default/key/wasm-addition"
        request = unwrap_request(json.dumps(doc).encode())
        if ok:
            assert ask(box, request, *site.guest, env=bare)[0] == "optsdata"
        else:
            refused(box, 5, "foreign-kbs", request, *site.guest, env=bare)


def test_a_denied_key_is_a_refusal(box, kbs, kek):
    site = Site(box, kbs, "deny-all")
    _, packet = ask(box, wrap_request([f"keypath={kek}::keyid={KID}"]), *site.admin)
    refused(box, 5, "policy-deny", unwrap_request(packet), *site.guest)
    refused(box, 8, "no-kek", unwrap_request(packet), "--kbs", kbs.url)  # no TEE, and never sample by itself


# --- asking others --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("style", ["b64", "array"])
def test_a_foreign_program(box, kek, style):
    """The program that stock skopeo was recorded with, in both of its reply styles."""
    pytest.importorskip("cryptography", reason="peer not installed: python3-cryptography")
    script = fixture("20-keyprovider-cmd", "kp.py")
    log = box / "requests.log"
    env = {"KP_KEK": str(kek), "KP_STYLE": style, "KP_LOG": str(log),
           **config(box, toy={"cmd": {"path": "/usr/bin/python3", "args": [str(script), "--demo", "1"]}})}
    encrypt_and_back(box, env, "toy", KID)
    sent = [json.loads(line.split(b"] ", 1)[1]) for line in log.read_bytes().splitlines()]
    assert [r["op"] for r in sent][0] == "keywrap" and sent[-1]["op"] == "keyunwrap"
    want = json.loads(recorded(0))
    assert list(sent[0]) == list(want) and sent[0]["keywrapparams"]["ec"] == want["keywrapparams"]["ec"]
    # and the image that skopeo made with it
    box.run("propenc", "decrypt", f"oci:{fixture('20-keyprovider-cmd', 'layout')}:v1", "oci:dec:v1", "--key", "provider:toy", env=env)


def test_a_foreign_grpc_server(box, grpc, kek):
    """python3-grpcio serves, our client asks."""
    from concurrent import futures
    seen = []

    def wrap(request, context):
        seen.append((WRAP, json.loads(request), dict(context.invocation_metadata()), context.time_remaining()))
        data = base64.b64decode(json.loads(request)["keywrapparams"]["optsdata"])
        return json.dumps({"keywrapresults": {"annotation": list(data[::-1])}}).encode()

    def unwrap(request, context):
        seen.append((UNWRAP, json.loads(request), {}, 0))
        data = base64.b64decode(json.loads(request)["keyunwrapparams"]["annotation"])
        if refuse:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you, caf\u00e9")
        return json.dumps({"keyunwrapresults": {"optsdata": list(data[::-1])}, "keywrapresults": None}).encode()

    def handler(f):
        return grpc.unary_unary_rpc_method_handler(f, request_deserializer=payload_of, response_serializer=message)

    refuse = False
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
        "keyprovider.KeyProviderService", {WRAP: handler(wrap), UNWRAP: handler(unwrap)}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.add_insecure_port(f"unix:{box / 'peer.sock'}")
    server.start()
    try:
        for target in (f"127.0.0.1:{port}", f"http://127.0.0.1:{port}", f"dns:///localhost:{port}", f"unix://{box / 'peer.sock'}"):
            env = config(box, peer={"grpc": target})
            encrypt_and_back(box, env, "peer", "p:1")
        method, request, metadata, left = seen[0]
        assert method == WRAP and request["keywrapparams"]["ec"]["Parameters"] == {"peer": ["cDox"]}
        assert 0 < left <= 120
        refuse = True
        r = box.run("propenc", "decrypt", "oci:enc:v1", "out2.wasm", "--key", "provider:peer", env=env, ok=None)
        assert r.returncode and "PERMISSION_DENIED (7): not you, caf\u00e9" in r.err and not (box / "out2.wasm").exists()
    finally:
        server.stop(None).wait()
    r = box.run("propenc", "decrypt", "oci:enc:v1", "out2.wasm", "--key", "provider:peer", env=env, ok=None)
    assert r.returncode and not (box / "out2.wasm").exists()


# --- a skopeo that knows key providers -------------------------------------------------------------------------

@pytest.fixture
def skopeo(box):
    path = need("skopeo")
    r = box.run(path, "copy", "--insecure-policy", "--encryption-key", "provider:none", f"oci:{fixture('04-plain-image-gzip', 'layout')}:v1",
                "oci:probe:v1", ok=None)
    if "Provided protocol not recognized" in r.err:
        pytest.skip("peer not installed: a skopeo that knows key providers (Debian's 1.9.3 does not)")
    return path


def skopeo_there_and_back(box, skopeo, env, params, what="04-plain-image-gzip"):
    src = f"oci:{fixture(what, 'layout')}:v1"
    box.run(skopeo, "copy", "--insecure-policy", "--encryption-key", f"provider:attestation-agent:{params}", src, "oci:enc:v1", env=env)
    box.run(skopeo, "copy", "--insecure-policy", "--decryption-key", "provider:attestation-agent", "oci:enc:v1", "oci:dec:v1", env=env)
    digest = lambda p: json.loads(p.read_bytes())["manifests"][0]["digest"]  # noqa: E731
    assert digest(box / "dec/index.json") == digest(fixture(what, "layout") / "index.json")


@pytest.mark.parametrize("how", ["exec", "port", "unix"])
def test_skopeo(box, skopeo, serve, kek, how):
    if how == "exec":
        entry = {"cmd": {"path": str(BIN / "propenc"), "args": ["keyprovider", "--kek", str(kek)]}}
    else:
        listen = "127.0.0.1:0" if how == "port" else f"unix:{box / 'kp.sock'}"
        address = serve("--kek", kek, listen=("--listen", listen)).address
        entry = {"grpc": address if how == "port" else f"unix://{box / 'kp.sock'}"}
    env = config(box, **{"attestation-agent": entry})
    skopeo_there_and_back(box, skopeo, env, f"keypath={kek}::keyid={KID}::algorithm=A256GCM")
    # images of the CoCo key provider, and ours by skopeo
    box.run(skopeo, "copy", "--insecure-policy", "--decryption-key", "provider:attestation-agent",
            f"oci:{fixture('40-wasm-coco-a256gcm', 'layout')}:v1", "oci:wasm:v1", env=env)
    box.run("propenc", "encrypt", image(box), "oci:ours:v1", "-r", f"provider:attestation-agent:keypath={kek}::keyid={KID}")
    box.run(skopeo, "copy", "--insecure-policy", "--decryption-key", "provider:attestation-agent", "oci:ours:v1", "oci:plain:v1", env=env)
    # skopeo tells why, and leaves no image
    r = box.run(skopeo, "copy", "--insecure-policy", "--encryption-key", "provider:attestation-agent:sample=true",
                f"oci:{fixture('04-plain-image-gzip', 'layout')}:v1", "oci:bad:v1", env=env, ok=None)
    assert r.returncode and "'sample' wraps with a key that everybody has" in r.err, r.err


def test_skopeo_with_a_key_broker(box, skopeo, site, serve):
    """Keys made on the way in, fetched through attestation on the way out."""
    env = config(box, **{"attestation-agent": {"grpc": serve(*site.admin, "--tee", "sample").address}})
    skopeo_there_and_back(box, skopeo, env, f"keyid={KID}")
    assert len(site.get("default/key/wasm-addition")) == 32
