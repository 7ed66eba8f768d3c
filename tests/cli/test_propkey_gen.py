"""propkey gen, admin-keygen, admin-token: what is on disk afterwards, and openssl's word for it."""
import base64
import json
import os
import stat

import pytest

from conftest import need


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def left(box):
    return sorted(p.name for p in box.path.iterdir() if p.name != "home")


def test_a_kek_is_32_bytes_that_only_we_can_read(box):
    r = box.run("propkey", "gen", "a.kek", "--json").json()
    value = (box / "a.kek").read_bytes()
    assert len(value) == 32 and mode(box / "a.kek") == 0o600
    assert r["type"] == "kek" and len(r["fingerprint"]) == 16
    box.run("propkey", "gen", "b.kek")
    assert (box / "b.kek").read_bytes() != value


def test_a_kek_as_base64_has_no_newline(box):
    box.run("propkey", "gen", "a.kek", "--format", "base64")
    text = (box / "a.kek").read_bytes()
    assert len(text) == 44 and len(base64.b64decode(text, validate=True)) == 32


def test_both_forms_of_a_kek_have_one_fingerprint(box, kbs):
    box.run("propkey", "gen", "raw")
    (box / "b64").write_bytes(base64.b64encode((box / "raw").read_bytes()))
    said = [box.run("propkey", "set", f"default/key/{f}", f, "--kbs", kbs.url, "--admin-key", kbs.admin_key,
                    "--json").json()["fingerprint"] for f in ("raw", "b64")]
    assert said[0] == said[1]


def test_a_kek_is_kept_on_this_machine(box):
    r = box.run("propkey", "gen", "a.kek", "--json").json()
    folder = box.home / "data/prop/keys"
    assert r["kept"] == str(folder / f"kek-{r['fingerprint']}.bin")
    assert (folder / f"kek-{r['fingerprint']}.bin").read_bytes() == (box / "a.kek").read_bytes()
    assert mode(r["kept"]) == 0o600 and mode(folder) == 0o700
    assert "kept" not in box.run("propkey", "gen", "b.kek", "--no-keep", "--json").json()
    assert len(list(folder.iterdir())) == 1
    # a FILE that cannot be made leaves no KEK behind either
    box.run("propkey", "gen", "no/such/kek", ok=8)
    box.run("propkey", "gen", "a.kek", ok=7)
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("kind,bits", [("rsa2048", 2048), ("rsa3072", 3072), ("rsa4096", 4096)])
def test_rsa_by_its_size(box, kind, bits):
    box.run("propkey", "gen", "--type", kind, "k.pem")
    assert f"({bits} bit" in box.run(need("openssl"), "pkey", "-in", "k.pem", "-noout", "-text").out
    assert box.run("propkey", "gen", "--type", kind, "--bits", "8192", "x", "--json", ok=2).error()["code"] == "bad-option-value"


def test_a_kek_to_stdout(box):
    r = box.run("propkey", "gen", "-")
    assert len(r.stdout) == 32 and "fingerprint" in r.err
    assert box.run("propkey", "gen", "-", "--json", ok=2).error()["code"] == "json-and-stdout"


@pytest.mark.parametrize("kind,word", [("rsa", "Private-Key: (2048 bit"), ("ec", "prime256v1"), ("p384", "secp384r1"),
                                       ("p521", "secp521r1"), ("ed25519", "ED25519")])
def test_pairs_are_what_openssl_reads(box, kind, word):
    openssl = need("openssl")
    box.run("propkey", "gen", "--type", kind, *(["--bits", "2048"] if kind == "rsa" else []), "k.pem")
    assert mode(box / "k.pem") == 0o600
    assert word in box.run(openssl, "pkey", "-in", "k.pem", "-noout", "-text").out
    public = box.run(openssl, "pkey", "-in", "k.pem", "-pubout").out
    assert public == (box / "k.pem.pub").read_text()


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384", "p521", "ed25519"])
def test_pairs_as_jwk(box, kind):
    bits = ["--bits", "2048"] if kind == "rsa" else []
    r = box.run("propkey", "gen", "--type", kind, *bits, "--format", "jwk", "k", "--json").json()
    private, public = (json.loads((box / n).read_text()) for n in ("k", "k.pub"))
    assert "d" in private and "d" not in public and public["kid"] == r["thumbprint"]
    assert mode(box / "k") == 0o600
    if kind != "ed25519":  # the installed jose knows no OKP keys
        assert box.run(need("jose"), "jwk", "thp", "-a", "S256", "-i", "k.pub").out.strip() == r["thumbprint"]


@pytest.mark.parametrize("args", [["gen", "k"], ["gen", "--type", "ec", "k"], ["admin-keygen", "-o", "k"]])
def test_nothing_is_overwritten_without_force(box, args):
    box.run("propkey", *args)
    before = {n: (box / n).read_bytes() for n in left(box)}
    assert box.run("propkey", *args, "--json", ok=7).error()["code"] == "file-exists"
    assert before == {n: (box / n).read_bytes() for n in left(box)}
    box.run("propkey", *args, "--force")
    assert (box / "k").read_bytes() != before["k"] and mode(box / "k") == 0o600


@pytest.mark.parametrize("there", ["k", "k.pub"])
def test_a_pair_is_written_whole_or_not_at_all(box, there):
    (box / there).write_text("mine")
    box.run("propkey", "admin-keygen", "-o", "k", ok=7)
    assert left(box) == [there] and (box / there).read_text() == "mine"


@pytest.mark.parametrize("args,code", [
    (["gen"], "arguments"), (["gen", "a", "b"], "arguments"), (["gen", "--type", "dsa", "a"], "bad-option-value"),
    (["gen", "--type", "rsa", "--bits", "1024", "a"], "bad-option-value"),
    (["gen", "--type", "ec", "--bits", "4096", "a"], "bad-option-value"), (["gen", "--bits", "4096", "a"], "bad-option-value"),
    (["gen", "--format", "pem", "a"], "bad-option-value"), (["gen", "--type", "ec", "--format", "raw", "a"], "bad-option-value"),
    (["gen", "--type", "ec", "-"], "pair-to-stdout"), (["admin-token", "--admin-key", "k", "--lifetime", "0"], "bad-option-value"),
    (["delete", "a/b/c", "--kbs", "http://127.0.0.1:1", "--lifetime", "0"], "bad-option-value"),
])
def test_wrong_command_lines(box, args, code):
    assert box.run("propkey", *args, "--json", ok=2).error()["code"] == code
    assert left(box) == []


def test_a_name_that_is_no_text(box):
    name = os.fsdecode(b"k\xff\x1b[31m")
    for kind in ("kek", "ec"):
        r = box.run("propkey", "gen", "--type", kind, name, "--force", "--json").json()
        assert r["file"] == "k\\xff\\x1b[31m"
    assert (box / name).exists()


def test_a_folder_that_is_not_there(box):
    assert box.run("propkey", "gen", "no/such/kek", "--json", ok=8).error()["code"] == "not-found"


def test_admin_keygen_makes_what_the_key_broker_takes(box):
    openssl = need("openssl")
    box.run("propkey", "admin-keygen")
    assert left(box) == ["admin.key", "admin.key.pub"] and mode(box / "admin.key") == 0o600
    assert (box / "admin.key").read_text().startswith("-----BEGIN PRIVATE KEY-----")
    assert "ED25519" in box.run(openssl, "pkey", "-in", "admin.key", "-noout", "-text").out
    box.run("propkey", "admin-token")


def test_an_admin_token_verifies_with_openssl(box):
    openssl = need("openssl")
    box.run(openssl, "genpkey", "-algorithm", "ed25519", "-out", "k")
    os.chmod(box / "k", 0o600)
    box.run(openssl, "pkey", "-in", "k", "-pubout", "-out", "pub")
    token = box.run("propkey", "admin-token", "--admin-key", "k", "--issuer", "I", "--audience", "A", "--role", "R",
                    "--lifetime", "90s").out.strip()
    c = claims(token)
    assert (c["iss"], c["sub"], c["aud"], c["role"], c["exp"] - c["iat"]) == ("I", "admin", "A", "R", 90)
    signed, _, sig = token.rpartition(".")
    (box / "signed").write_text(signed)
    (box / "sig").write_bytes(base64.urlsafe_b64decode(sig + "=="))
    box.run(openssl, "pkeyutl", "-verify", "-pubin", "-inkey", "pub", "-rawin", "-in", "signed", "-sigfile", "sig")


def test_an_admin_token_without_audience_names_none(box):
    box.run("propkey", "admin-keygen")
    c = claims(box.run("propkey", "admin-token", "--json").json()["token"])
    assert "aud" not in c and c["iss"] == "propkey" and c["role"] == "admin" and c["exp"] - c["iat"] == 7200


@pytest.mark.parametrize("make,status,code", [
    (lambda p: p.write_text("nothing"), 3, "not-a-private-key"),
    (lambda p: p.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), 3, "not-a-private-key"),
    (lambda p: None, 8, "not-found"),
])
def test_keys_that_are_none(box, make, status, code):
    make(box / "k")
    if (box / "k").exists():
        os.chmod(box / "k", 0o600)
    assert box.run("propkey", "admin-token", "--admin-key", "k", "--json", ok=status).error()["code"] == code


def test_a_key_of_another_kind(box):
    box.run("propkey", "gen", "--type", "rsa", "--bits", "2048", "k")
    assert box.run("propkey", "admin-token", "--admin-key", "k", "--json", ok=3).error()["code"] == "admin-key-type"


def test_a_key_that_others_can_read(box):
    box.run("propkey", "admin-keygen", "-o", "k")
    os.chmod(box / "k", 0o640)
    e = box.run("propkey", "admin-token", "--admin-key", "k", "--json", ok=5).error()
    assert e["code"] == "key-file-mode" and "chmod 600" in e["hint"]


def test_a_key_from_a_pipe(box):
    box.run("propkey", "admin-keygen", "-o", "k")
    box.run("sh", "-c", "propkey admin-token --admin-key /dev/fd/3 3<k | grep -q '^ey'")
    box.run("bash", "-c", "propkey admin-token --admin-key <(cat k) | grep -q '^ey'")


# --- convert ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "p521", "ed25519"])
def test_convert_there_and_back(box, kind):
    box.run("propkey", "gen", "--type", kind, "k.pem")
    r = box.run("propkey", "convert", "k.pem", "-o", "k.jwk", "--json").json()
    assert r["private"] is True and mode(box / "k.jwk") == 0o600
    assert json.loads((box / "k.jwk").read_text())["kid"] == r["thumbprint"]
    assert box.run("propkey", "convert", "k.jwk").out == (box / "k.pem").read_text()
    r = box.run("propkey", "convert", "k.pem.pub", "-o", "pub.jwk", "--json").json()
    assert r["private"] is False and mode(box / "pub.jwk") & 0o044 == 0o044
    assert "d" not in json.loads((box / "pub.jwk").read_text())
    assert box.run("propkey", "convert", "pub.jwk").out == (box / "k.pem.pub").read_text()
    assert box.run("propkey", "convert", "k.jwk", "--public").out == (box / "k.pem.pub").read_text()
    assert json.loads(box.run("propkey", "convert", "k.pem", "--public", "--format", "jwk").out) == \
        json.loads((box / "pub.jwk").read_text())


def test_convert_keeps_a_kid(box):
    box.run("propkey", "gen", "--type", "ec", "--format", "jwk", "k")
    jwk = json.loads((box / "k").read_text())
    jwk["kid"] = "reader-7"
    (box / "k").write_text(json.dumps(jwk))
    assert json.loads(box.run("propkey", "convert", "k", "--format", "jwk").out)["kid"] == "reader-7"


@pytest.mark.parametrize("template", [{"crv": "P-256", "kty": "EC"}, {"kty": "RSA", "bits": 2048}])
def test_convert_what_jose_made(box, template):
    box.run(need("jose"), "jwk", "gen", "-i", json.dumps(template), "-o", "k.jwk")
    os.chmod(box / "k.jwk", 0o600)
    box.run("propkey", "convert", "k.jwk", "-o", "k.pem")
    box.run(need("openssl"), "pkey", "-in", "k.pem", "-check", "-noout")


def test_convert_what_openssl_made(box):
    openssl = need("openssl")
    (box / "pw").write_text("tree\n")
    box.run(openssl, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-aes-256-cbc", "-pass", "file:pw",
            "-out", "k.pem")
    os.chmod(box / "k.pem", 0o600)
    assert json.loads(box.run("propkey", "convert", "k.pem:file=pw").out)["crv"] == "P-384"
    assert box.run("propkey", "convert", "k.pem", "--json", "-o", "x", ok=5).error()["code"] == "passphrase"
    (box / "bad").write_text("three")
    assert box.run("propkey", "convert", "k.pem:file=bad", "--json", "-o", "x", ok=5).error()["code"] == "passphrase"
    assert not (box / "x").exists()


def test_convert_a_kek(box):
    box.run("propkey", "gen", "raw.kek")
    text = box.run("propkey", "convert", "raw.kek").out
    assert base64.b64decode(text, validate=True) == (box / "raw.kek").read_bytes() and len(text) == 44
    (box / "b64.kek").write_text(text + "\n")
    assert box.run("propkey", "convert", "b64.kek").stdout == (box / "raw.kek").read_bytes()
    assert box.run("bash", "-c", "propkey convert <(cat b64.kek) --format base64").out == text
    assert box.run("propkey", "convert", "raw.kek", "--public", "-o", "x", "--json", ok=2).error()["code"] == "no-public-half"


@pytest.mark.parametrize("make,args,status,code", [
    (lambda p: p.write_text("nothing"), [], 3, "not-a-private-key"),
    (lambda p: p.write_text('{"kty":"EC"'), [], 3, "bad-jwk"),
    (lambda p: p.write_text('{"keys":[]}'), [], 9, "jwk-set"),
    (lambda p: None, [], 8, "not-found"),
    (lambda p: p.write_bytes(b"0" * 70000), [], 9, "file-too-big"),
])
def test_convert_what_is_no_key(box, make, args, status, code):
    make(box / "k")
    if (box / "k").exists():
        os.chmod(box / "k", 0o600)
    assert box.run("propkey", "convert", "k", "-o", "out", *args, "--json", ok=status).error()["code"] == code
    assert not (box / "out").exists()


def test_convert_refuses(box):
    box.run("propkey", "gen", "--type", "ec", "k")
    assert box.run("propkey", "convert", "k", "-o", "k.pub", "--json", ok=7).error()["code"] == "file-exists"
    assert box.run("propkey", "convert", "k", "--json", ok=2).error()["code"] == "json-and-stdout"
    assert box.run("propkey", "convert", "k", "--format", "raw", "-o", "x", "--json", ok=2).error()["code"] == "bad-option-value"
    os.chmod(box / "k", 0o644)
    assert box.run("propkey", "convert", "k", "-o", "x", "--json", ok=5).error()["code"] == "key-file-mode"
    assert not (box / "x").exists()
