"""How modules are packed, which layers are taken, what --private leaves out; and back, byte for byte."""
import base64
import hashlib
import io
import itertools
import json
import os
import random
import subprocess
import tarfile

import pytest

import images
from conftest import BIN, ROOT, VECTORS
from images import Layout, component, layer, named, section, sha256

FIX = VECTORS / "ocicrypt"
ADDITION = FIX / "wasm/addition.wasm"
WASM = sha256(ADDITION.read_bytes())
FORMS = ["propeller", "cncf", "tar"]
TYPES = {"propeller": "application/vnd.wasm.content.layer.v1+wasm", "cncf": "application/wasm",
         "tar": "application/vnd.oci.image.layer.v1.tar"}
IMPORTS = ["wasi:cli/environment@0.2.0", "wasi:io/error@0.2.0"]
EXPORTS = ["wasi:cli/run@0.2.0"]


@pytest.fixture
def encrypt(box, keys):
    def run(src, dst, *args, **kw):
        return box.run("propenc", "encrypt", src, dst, "-r", f"jwe:{keys}/ec.pub.pem", *args, "--json", **kw)
    return run


@pytest.fixture
def decrypt(box, keys):
    def run(src, dst, **kw):
        return box.run("propenc", "decrypt", src, dst, "--key", keys / "ec.pem", "--json", **kw)
    return run


def plain(box, decrypt, src, name="p"):
    """(layout, manifest document, config document, layer bytes) of an image, decrypted."""
    decrypt(src, f"oci:{name}:v1")
    layout, entry, doc = named(box / name)
    return layout, doc, layout.read(doc["config"]), (layout.blobs / doc["layers"][0]["digest"][7:]).read_bytes()


# --- forms -------------------------------------------------------------------------------------

@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stdin", [False, True], ids=["file", "stdin"])
def test_forms(box, encrypt, decrypt, form, stdin):
    encrypt("-" if stdin else ADDITION, "oci:enc:v1", "--form", form, stdin=ADDITION.read_bytes() if stdin else b"")
    layout, _, doc = named(box / "enc")
    assert doc["layers"][0]["mediaType"] == TYPES[form] + "+encrypted"
    layout, doc, config, data = plain(box, decrypt, "oci:enc:v1")
    title = doc["layers"][0].get("annotations", {}).get("org.opencontainers.image.title")
    if form == "propeller":
        assert list(doc) == ["schemaVersion", "config", "layers"] and config == {}
        assert data == ADDITION.read_bytes() and title == ("module.wasm" if stdin else "addition.wasm")
    elif form == "cncf":
        assert doc["mediaType"] == images.OCI + "manifest.v1+json"
        assert doc["config"]["mediaType"] == "application/vnd.wasm.config.v0+json"
        assert config == {"created": "1970-01-01T00:00:00Z", "author": None, "architecture": "wasm", "os": "wasip1",
                          "layerDigests": ["sha256:" + WASM], "component": None}
        assert list(config) == ["created", "author", "architecture", "os", "layerDigests", "component"]
        assert data == ADDITION.read_bytes()
    else:
        assert doc["config"]["mediaType"] == images.OCI + "config.v1+json" and config["os"] == "linux"
        assert config["rootfs"] == {"type": "layers", "diff_ids": [doc["layers"][0]["digest"]]}
        assert title is None
        with tarfile.open(fileobj=io.BytesIO(data)) as t:
            (member,) = t.getmembers()
            assert (member.name, member.mode, member.uid, member.mtime) == ("module.wasm", 0o644, 0, 0)
            assert t.extractfile(member).read() == ADDITION.read_bytes()


@pytest.mark.parametrize("form", FORMS)
def test_one_module_is_always_the_same_image(box, encrypt, decrypt, form):
    """Twice, from a file and from a pipe, the plain manifest has the same bytes."""
    digests = set()
    for n, (src, data) in enumerate([(ADDITION, b""), (ADDITION, b""), ("-", ADDITION.read_bytes())]):
        encrypt(src, f"oci:e{n}:v1", "--form", form, "--title", "m.wasm", stdin=data)
        digests.add(decrypt(f"oci:e{n}:v1", f"oci:p{n}:v1").json()["digest"])
    assert len(digests) == 1


def test_an_image_keeps_its_form(box, encrypt, decrypt):
    r = encrypt(f"oci:{FIX}/01-plain-wasm-to-oci/layout:v1", "oci:enc:v1", "--form", "cncf")
    assert "keeps the form it has" in r.err
    assert named(box / "enc")[2]["layers"][0]["mediaType"] == TYPES["propeller"] + "+encrypted"


def test_created_follows_source_date_epoch(box, encrypt, decrypt):
    encrypt(ADDITION, "oci:enc:v1", "--form", "cncf", env={"SOURCE_DATE_EPOCH": "1700000000"})
    assert plain(box, decrypt, "oci:enc:v1")[2]["created"] == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize("form", FORMS)
def test_sizes_around_the_pieces(box, encrypt, decrypt, form):
    for size in (8, 511, 512, 513, 65536, 1_000_001):
        data = ADDITION.read_bytes()[:8] + os.urandom(size - 8)
        (box / "m.wasm").write_bytes(data)
        encrypt("m.wasm", f"oci:e{size}:v1", "--form", form)
        got = plain(box, decrypt, f"oci:e{size}:v1", f"p{size}")[3]
        if form == "tar":
            got = tarfile.open(fileobj=io.BytesIO(got)).extractfile("module.wasm").read()
        assert got == data


@pytest.mark.parametrize("form", FORMS)
def test_encrypt_then_decrypt_gives_the_same_bytes(box, encrypt, decrypt, form):
    """Of an image: its manifest's digest comes back, through every kind of place."""
    encrypt(ADDITION, "oci:a:v1", "--form", form)
    original = decrypt("oci:a:v1", "oci:plain:v1").json()["digest"]
    places = ["oci:x{}:v1", "dir:y{}", "oci-archive:z{}.tar:v1"]
    at = "oci:plain:v1"
    for n, place in enumerate(places):
        encrypt(at, place.format(n))
        at = places[(n + 1) % 3].format(f"-{n}")
        assert decrypt(place.format(n), at).json()["digest"] == original


@pytest.mark.parametrize("case", ["01-plain-wasm-to-oci", "02-plain-oras", "03-plain-cncf", "04-plain-image-gzip",
                                  "05-plain-image-tar"])
def test_recorded_plain_images_come_back(box, encrypt, decrypt, case):
    src = f"oci:{FIX / case}/layout:v1"
    encrypt(src, "oci:enc:v1")
    back = decrypt("oci:enc:v1", "oci:back:v1").json()["digest"]
    assert back == json.loads((FIX / case / "layout/index.json").read_text())["manifests"][0]["digest"]


def test_every_place_to_every_place(box, encrypt, decrypt, registry):
    sources = {"file": str(ADDITION), "stdin": "-", "oci": "oci:s:v1", "archive": "oci-archive:s.tar:v1",
               "dir": "dir:s.dir", "docker": f"docker://{registry.host}/s/s:v1"}
    for kind in ("oci", "archive", "dir", "docker"):
        box.run("proppush", "push", ADDITION, sources[kind])
    plain_digest = None
    for (name, src), dst in itertools.product(sources.items(), [
            "oci:d:{}", "oci-archive:d-{}.tar:v1", "dir:d-{}", f"docker://{registry.host}/d/d:{{}}"]):
        dst = dst.format(name)
        encrypt(src, dst, "--title", "addition.wasm", stdin=ADDITION.read_bytes())
        assert decrypt(dst, "-").stdout == ADDITION.read_bytes()
        digest = decrypt(dst, "sink:").json()["digest"]
        plain_digest = plain_digest or digest
        assert digest == plain_digest, (src, dst)


def test_what_is_no_module(box, encrypt):
    (box / "x.wasm").write_bytes(b"hello world")
    assert "does not start as a Wasm module does" in encrypt("x.wasm", "oci:a:v1").err
    assert encrypt("x.wasm", "oci:b:v1", "--form", "cncf", ok=3).error()["code"] == "not-wasm"
    assert not (box / "b").exists()
    assert encrypt("x.wasm", "oci:c:v1", "--form", "zip", ok=2).error()["code"] == "bad-form"


# --- components --------------------------------------------------------------------------------

def noise(size):
    """A custom section, which has nothing to say."""
    return section(0, images.text("noise") + random.Random(size).randbytes(size))


@pytest.mark.parametrize("data", [
    component(IMPORTS, EXPORTS), component(IMPORTS, EXPORTS, noise(70_000), noise(3)),
    component(IMPORTS[:1], (), after=component(IMPORTS[1:], EXPORTS)[8:]),
    component((), (), after=section(10, b"\2" + b"\0" + images.text(IMPORTS[0]) + b"\3\1" + b"\1" + images.text(IMPORTS[1])
                                    + b"\2\1\x7f") + section(11, b"\1\0" + images.text(EXPORTS[0]) + b"\0\x11\3\1\0\x11\1")),
    component(IMPORTS, EXPORTS, section(4, component(["nested:a/b"], ["nested:c/d"]))),
], ids=["plain", "custom", "wrapped", "mixed", "nested"])
def test_a_components_imports_and_exports(box, encrypt, decrypt, data):
    (box / "c.wasm").write_bytes(data)
    encrypt("c.wasm", "oci:enc:v1", "--form", "cncf")
    config = plain(box, decrypt, "oci:enc:v1")[2]
    assert config["os"] == "wasip2"
    assert config["component"] == {"exports": EXPORTS, "imports": IMPORTS, "target": None}


def test_a_real_component(box, encrypt, decrypt):
    encrypt(ROOT / "examples/modules/greet.wasm", "oci:enc:v1", "--form", "cncf")
    config = plain(box, decrypt, "oci:enc:v1")[2]
    assert config["os"] == "wasip2"
    assert config["component"] == {"exports": ["point", "greet", "scale"], "imports": [], "target": None}


@pytest.mark.parametrize("damage", [
    lambda c: c[:-1], lambda c: c[:12], lambda c: c + b"\x0b", lambda c: c + section(10, b"\x05"),
    lambda c: c + section(10, b"\1\0\xff\xff\xff\xff\x0fx"), lambda c: c + section(11, b"\1\0\1x\x09\0\0"),
    lambda c: c + section(10, b"\1\0\2\xff\xfe\5\0"), lambda c: c + b"\x0a\xff\xff\xff\xff\xff\xff",
    lambda c: c + b"\x0a\x80\x80\x80\x08" + bytes(100), lambda c: c + section(10, b"\1\7\1x\5\0"),
])
def test_a_damaged_component_is_refused(box, encrypt, damage):
    (box / "c.wasm").write_bytes(damage(component(IMPORTS, EXPORTS)))
    assert encrypt("c.wasm", "oci:enc:v1", "--form", "cncf", ok=3).error()["code"] == "bad-component"
    assert not (box / "enc").exists()
    encrypt("c.wasm", "oci:enc:v1", "--form", "propeller")  # its bytes are nobody's business there


# --- which layers ------------------------------------------------------------------------------

@pytest.fixture
def three(box):
    """oci:img:v1 with three tar layers; the middle one is not compressed."""
    layout = Layout(box / "img")
    layout.name(layout.image([layer("one"), layer("two", "tar"), layer("three")]))
    return layout


@pytest.mark.parametrize("args,want", [
    ([], "eee"), (["all"], "eee"), (["0"], "epp"), (["-1"], "ppe"), (["0", "-1"], "epe"), (["-3", "1"], "eep"),
    ([images.OCI + "layer.v1.tar"], "pep"), ([images.OCI + "layer.v1.tar+gzip"], "epe"), (["1", "all"], "eee")])
def test_layers_are_chosen(box, encrypt, decrypt, three, args, want):
    r = encrypt("oci:img:v1", "oci:enc:v1", *[x for a in args for x in ("--layer", a)])
    _, _, doc = named(box / "enc")
    got = "".join("e" if x["mediaType"].endswith("+encrypted") else "p" for x in doc["layers"])
    assert got == want and r.json()["layers"] == want.count("e")
    assert [x["action"] for x in r.json()["images"][0]["layers"]] == \
           [{"e": "encrypted", "p": "left-plain"}[c] for c in want]
    assert ("readable to everybody" in r.err) == ("p" in want)
    assert decrypt("oci:enc:v1", "oci:back:v1").json()["digest"] == named(box / "img")[1]["digest"]


@pytest.mark.parametrize("which,code", [("3", "no-such-layer"), ("-4", "no-such-layer"), ("first", "bad-layer"),
                                        ("", "bad-layer"), ("application/wasm", "no-such-layer"), ("--1", "bad-layer")])
def test_layers_that_are_not_there(box, encrypt, three, which, code):
    assert encrypt("oci:img:v1", "oci:enc:v1", f"--layer={which}", ok=2).error()["code"] == code
    assert not (box / "enc").exists()


def test_the_other_layer_of_a_half_encrypted_image(box, keys, encrypt, decrypt):
    """Only the plain layer is chosen: the encrypted one needs no key."""
    src = f"oci:{FIX}/18-jwe-one-of-two-layers/layout:v1"
    _, _, before = named(FIX / "18-jwe-one-of-two-layers/layout")
    at = [i for i, x in enumerate(before["layers"]) if not x["mediaType"].endswith("+encrypted")][0]
    r = encrypt(src, "oci:enc:v1", "--layer", at)
    assert [x["action"] for x in r.json()["images"][0]["layers"]][1 - at] == "left-encrypted"
    assert "not chosen" not in r.err
    _, _, doc = named(box / "enc")
    assert all(x["mediaType"].endswith("+encrypted") for x in doc["layers"])
    assert doc["layers"][1 - at] == before["layers"][1 - at]
    decrypt("oci:enc:v1", "oci:back:v1")


@pytest.mark.parametrize("twin", ["layer", "config", "empty"])
def test_a_blob_that_stays_readable_in_another_place_is_told(box, encrypt, twin):
    one = layer("one")
    layout = Layout(box / "img")
    if twin == "layer":
        layout.name(layout.image([one, layer("two"), one]))
    elif twin == "config":
        config = {"a": "config that is a layer too"}
        layout.name(layout.image([(TYPES["tar"], images.compact(config), b"")], config))
    else:  # ORAS's and Helm's way of having no config
        empty = "application/vnd.oci.empty.v1+json"
        layout.name(layout.image([(empty, b"{}", b"{}")], {}, config_type=empty))
    r = encrypt("oci:img:v1", "oci:enc:v1", "--layer", "0")
    assert ("stays readable all the same" in r.err) == (twin != "empty")
    assert "stays readable all the same" not in encrypt("oci:img:v1", "oci:all:v1").err or twin == "config"


def test_a_layout_that_keeps_the_plain_layers_is_told(box, encrypt, three):
    assert "in plain too" not in encrypt("oci:img:v1", "oci:enc:v1").err
    assert "holds 3 of these layers in plain too" in encrypt("oci:img:v1", "oci:img:v1").err


def test_media_types_of_all_kinds(box, encrypt, decrypt):
    layout = Layout(box / "img")
    data = os.urandom(100)
    types = [images.OCI + "layer.v1.tar", images.OCI + "layer.v1.tar+gzip", images.OCI + "layer.v1.tar+zstd",
             images.OCI + "layer.nondistributable.v1.tar+gzip", "application/vnd.wasm.content.layer.v1+wasm",
             "application/wasm", "application/x-anything"]
    layout.name(layout.image([(t, data, data) for t in types]))
    encrypt("oci:img:v1", "oci:enc:v1")
    assert [x["mediaType"] for x in named(box / "enc")[2]["layers"]] == [t + "+encrypted" for t in types]
    assert decrypt("oci:enc:v1", "oci:back:v1").json()["digest"] == named(box / "img")[1]["digest"]


def test_an_inline_copy_does_not_stay(box, encrypt):
    layout = Layout(box / "img")
    doc = {"schemaVersion": 2, "mediaType": images.OCI + "manifest.v1+json",
           "config": layout.put("application/vnd.oci.empty.v1+json", b"{}", data="e30="),
           "layers": [layout.put("application/wasm", ADDITION.read_bytes(),
                                 data=base64.b64encode(ADDITION.read_bytes()).decode())]}
    layout.name(layout.put(images.OCI + "manifest.v1+json", images.compact(doc)))
    encrypt("oci:img:v1", "oci:enc:v1")
    assert "data" not in named(box / "enc")[2]["layers"][0]


# --- Docker ------------------------------------------------------------------------------------

def docker_image(layout, *texts):
    return layout.image([layer(t, "docker") for t in texts], kind=images.DOCKER + "distribution.manifest.v2+json",
                        config_type=images.DOCKER + "container.image.v1+json")


def test_docker_schema_2_becomes_oci(box, encrypt, decrypt):
    layout = Layout(box / "img")
    layout.name(docker_image(layout, "one", "two"))
    r = encrypt("oci:img:v1", "oci:enc:v1")
    assert "converted to OCI" in r.err
    _, entry, doc = named(box / "enc")
    assert entry["mediaType"] == doc["mediaType"] == images.OCI + "manifest.v1+json"
    assert doc["config"]["mediaType"] == images.OCI + "config.v1+json"
    assert {x["mediaType"] for x in doc["layers"]} == {images.OCI + "layer.v1.tar+gzip+encrypted"}
    decrypt("oci:enc:v1", "oci:back:v1")
    want = named(box / "img")[2]
    assert [x["digest"] for x in named(box / "back")[2]["layers"]] == [x["digest"] for x in want["layers"]]
    assert named(box / "back")[2]["config"]["digest"] == want["config"]["digest"]


@pytest.mark.parametrize("media_type,code", [(images.DOCKER + "plugin.v1+json", "media-type"),
                                             (images.DOCKER + "image.rootfs.foreign.diff.tar.gzip", None)])
def test_docker_layers_of_other_kinds(box, encrypt, media_type, code):
    layout = Layout(box / "img")
    layout.name(layout.image([(media_type, b"x", b"x")], kind=images.DOCKER + "distribution.manifest.v2+json",
                             config_type=images.DOCKER + "container.image.v1+json"))
    r = encrypt("oci:img:v1", "oci:enc:v1", ok=9 if code else 0)
    if code:
        assert r.error()["code"] == code
    else:
        assert named(box / "enc")[2]["layers"][0]["mediaType"] == \
            images.OCI + "layer.nondistributable.v1.tar+gzip+encrypted"


# --- --private ---------------------------------------------------------------------------------

def leaks(box, layout):
    """Every byte that is not a ciphertext."""
    _, _, doc = named(box / layout)
    ciphers = {x["digest"][7:] for x in doc["layers"]}
    return b"".join(p.read_bytes() for p in (box / layout).rglob("*") if p.is_file() and p.name not in ciphers)


@pytest.mark.parametrize("form", ["propeller", "cncf"])
def test_private_tells_nothing_of_a_module(box, encrypt, decrypt, form):
    data = component(IMPORTS, EXPORTS)
    (box / "guess-me.wasm").write_bytes(data)
    encrypt("guess-me.wasm", "oci:open:v1", "--form", form)
    encrypt("guess-me.wasm", "oci:hid:v1", "--form", form, "--private")
    told = [b"guess-me"] + ([sha256(data).encode(), b"wasi:cli"] if form == "cncf" else [])
    for word in told:
        assert word in leaks(box, "open") and word not in leaks(box, "hid")
    assert sha256(data).encode() not in leaks(box, "hid")
    assert decrypt("oci:hid:v1", "-").stdout == data
    if form == "cncf":
        config = plain(box, decrypt, "oci:hid:v1")[2]
        assert config["layerDigests"] == [] and config["component"] is None and config["os"] == "wasip2"


def test_private_is_refused_where_the_reader_needs_the_digests(box, encrypt):
    r = encrypt(ADDITION, "oci:a:v1", "--form", "tar", "--private", ok=9)
    assert r.error()["code"] == "private-diff-ids" and "--form propeller" in r.error()["hint"]
    assert not (box / "a").exists()


def test_private_takes_digests_out_of_a_layer_s_annotations(box, encrypt):
    layout = Layout(box / "img")
    kind, data, text = layer("one")
    secret = {"containerd.io/uncompressed": "sha256:" + sha256(text), "org.opencontainers.image.title": "guess-me",
              "containerd.io/snapshot/stargz/toc.digest": "sha256:" + sha256(b"toc")}
    doc = {"schemaVersion": 2, "config": layout.put(images.OCI + "config.v1+json", b"{}"),
           "layers": [layout.put(kind, data, annotations={**secret, "a.b/kept": "sha256"})]}
    layout.name(layout.put(images.OCI + "manifest.v1+json", images.compact(doc)))
    encrypt("oci:img:v1", "oci:enc:v1")
    assert secret.items() <= named(box / "enc")[2]["layers"][0]["annotations"].items()
    encrypt("oci:img:v1", "oci:hid:v1", "--private")
    kept = named(box / "hid")[2]["layers"][0]["annotations"]
    assert not secret.keys() & kept.keys() and kept["a.b/kept"] == "sha256"


def test_private_of_an_image(box, encrypt, decrypt, three):
    _, _, doc = named(box / "img")
    config = three.read(doc["config"])
    r = encrypt("oci:img:v1", "oci:hid:v1", "--private")
    assert "image-rs refuses the image" in r.err
    for diff_id in config["rootfs"]["diff_ids"]:
        assert diff_id.encode() not in leaks(box, "hid")
    decrypt("oci:hid:v1", "oci:back:v1")
    assert [x["digest"] for x in named(box / "back")[2]["layers"]] == [x["digest"] for x in doc["layers"]]
    encrypt(f"oci:{FIX}/03-plain-cncf/layout:v1", "oci:hid2:v1", "--private")
    assert b"addition.wasm" not in leaks(box, "hid2")
    layout, _, doc = named(box / "hid2")
    assert layout.read(doc["config"])["layerDigests"] == [] and WASM.encode() not in leaks(box, "hid2")
    assert "org.opencontainers.image.title" not in doc["layers"][0]["annotations"]


# --- the usual traps ---------------------------------------------------------------------------

def test_what_readers_stumble_over_is_said(box, keys):
    r = box.run("propenc", "encrypt", ADDITION, "oci:a:v1", "-r", f"jwe:{keys}/ec.pub.pem", "-r",
                f"provider:attestation-agent:keypath={keys}/kek32.bin::keyid=kbs:///default/key/x")
    assert "oras writes the ciphertext" in r.err and "several key schemes" in r.err
    r = box.run("propenc", "encrypt", ADDITION, "oci:a:v1", "-r", f"jwe:{keys}/ec.pub.pem", "--title", "")
    assert "oras" not in r.err


def test_four_at_once_into_one_folder(box, keys):
    """Each run is good by itself, and what stands there at the end is one of them, whole."""
    for n in range(4):
        (box / f"m{n}.wasm").write_bytes(ADDITION.read_bytes() + hashlib.sha256(bytes([n])).digest() * 5000)
    for place in ("dir:out", "oci:lay:v1"):
        for _ in range(3):
            runs = [subprocess.Popen([BIN / "propenc", "encrypt", f"m{n}.wasm", place, "-r", f"jwe:{keys}/ec.pub.pem"],
                                     env=box.env, cwd=box.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                    for n in range(4)]
            for p in runs:
                out, err = p.communicate(timeout=60)
                assert p.returncode == 0, err
            got = box.run("propenc", "decrypt", place, "-", "--key", keys / "ec.pem").stdout
            assert got in [(box / f"m{n}.wasm").read_bytes() for n in range(4)]
    assert sorted(p.name for p in box.path.iterdir() if p.name.startswith("out")) == ["out"]
    assert len(list((box / "out").iterdir())) == 4
