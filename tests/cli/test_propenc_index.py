"""Images for several platforms: every one is taken unless some are chosen, and the index follows."""
import os
import signal
import subprocess
import time

import pytest

import images
from conftest import BIN, VECTORS
from helpers.fault_server import FaultServer
from images import Layout, layer, named, opened

FIX = VECTORS / "ocicrypt"
AMD, ARM6, ARM8 = ({"architecture": "amd64", "os": "linux"}, {"architecture": "arm", "os": "linux", "variant": "v6"},
                   {"architecture": "arm64", "os": "linux", "variant": "v8"})
WASI = {"architecture": "wasm", "os": "wasip1"}
REFERENCE = "vnd.docker.reference.digest"


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


def build(path, kind=images.OCI + "index.v1+json"):
    """oci:PATH:v1, an index of four images and a statement about the first; each entry has annotations."""
    layout = Layout(path)
    entries = []
    for platform in (AMD, ARM6, ARM8):
        d = layout.image([layer(f"hello {platform['architecture']}"), layer("shared")])
        entries.append(({**d, "annotations": {"org.example.<arch>": platform["architecture"]}}, platform))
    wasm = (FIX / "wasm/addition.wasm").read_bytes()
    entries.append((layout.image([("application/vnd.wasm.content.layer.v1+wasm", wasm, wasm)], {},
                                 config_type="application/vnd.wasm.config.v1+json"), WASI))
    statement = layout.image([("application/vnd.in-toto+json", b'{"built":"here"}', b"")], {})
    entries.append(({**statement, "annotations": {
        REFERENCE: entries[0][0]["digest"], "vnd.docker.reference.type": "attestation-manifest"}},
        {"architecture": "unknown", "os": "unknown"}))
    # the bytes Go writes: < and > escaped
    doc = {"schemaVersion": 2, "mediaType": kind, "manifests": [
        {**{k: v for k, v in d.items() if k != "annotations"},
         **({"annotations": d["annotations"]} if "annotations" in d else {}), "platform": p} for d, p in entries],
        "annotations": {"org.example.name": "all of it"}}
    data = images.compact(doc).replace(b"<", b"\\u003c").replace(b">", b"\\u003e")
    layout.name(layout.put(kind, data))
    return layout


@pytest.fixture
def index(box):
    return build(box / "img")


def every_layer_encrypted(layout, doc):
    for entry in doc["manifests"]:
        for one in layout.read(entry)["layers"]:
            assert one["mediaType"].endswith("+encrypted"), one
            yield one


def test_all_images_and_back(box, encrypt, decrypt, index):
    r = encrypt("oci:img:v1", "oci:enc:v1")
    _, before, old = named(box / "img")
    layout, after, doc = named(box / "enc")
    assert after["mediaType"] == images.OCI + "index.v1+json" and after["digest"] == r.json()["digest"]
    assert len(list(every_layer_encrypted(layout, doc))) == 8 == r.json()["layers"]
    assert [x["platform"] for x in doc["manifests"]] == [x["platform"] for x in old["manifests"]]
    assert doc["annotations"] == old["annotations"] and list(doc) == list(old)
    for was, now in zip(old["manifests"], doc["manifests"]):
        assert list(was) == list(now) and was["digest"] != now["digest"]
    assert [x.get("annotations") for x in doc["manifests"][:4]] == [x.get("annotations") for x in old["manifests"][:4]]
    assert doc["manifests"][4]["annotations"][REFERENCE] == doc["manifests"][0]["digest"]
    assert [x.get("platform") for x in r.json()["images"]] == \
        ["linux/amd64", "linux/arm/v6", "linux/arm64/v8", "wasip1/wasm", "unknown/unknown"]
    assert "image 2 of 5" in r.err
    assert decrypt("oci:enc:v1", "oci:back:v1").json()["digest"] == before["digest"]
    assert (box / "back/blobs/sha256" / before["digest"][7:]).read_bytes() == \
        (box / "img/blobs/sha256" / before["digest"][7:]).read_bytes()


def test_all_is_the_default_spelt_out(box, encrypt, index):
    assert encrypt("oci:img:v1", "oci:enc:v1", "--all").json()["layers"] == 8
    r = encrypt("oci:img:v1", "oci:e2:v1", "--all", "--platform", "linux/amd64", ok=2)
    assert not (box / "e2").exists()


@pytest.mark.parametrize("platforms,want", [
    (["linux/amd64", "linux/arm64"], [AMD, ARM8]), (["linux/arm/v6", "wasip1/wasm"], [ARM6, WASI]),
    (["linux/arm64/v8", "linux/amd64"], [AMD, ARM8])])
def test_chosen_platforms(box, encrypt, decrypt, index, platforms, want):
    r = encrypt("oci:img:v1", "oci:enc:v1", *[x for p in platforms for x in ("--platform", p)])
    assert "left out" in r.err
    layout, _, doc = named(box / "enc")
    assert [x["platform"] for x in doc["manifests"]] == want
    assert list(every_layer_encrypted(layout, doc))
    plain = {x["digest"] for x in named(box / "img")[2]["manifests"]}
    assert not plain & {"sha256:" + p.name for p in layout.blobs.iterdir()}
    decrypt("oci:enc:v1", "oci:back:v1")
    assert {x["digest"] for x in named(box / "back")[2]["manifests"]} < plain


def test_one_platform_is_an_image_without_an_index(box, encrypt, decrypt, index):
    encrypt("oci:img:v1", "oci:enc:v1", "--platform", "linux/arm64/v8")
    _, entry, doc = named(box / "enc")
    assert "layers" in doc and entry["mediaType"] == images.OCI + "manifest.v1+json"
    assert decrypt("oci:enc:v1", "oci:back:v1").json()["digest"] == named(box / "img")[2]["manifests"][2]["digest"]
    encrypt("oci:img:v1", "oci:w:v1", "--platform", "wasip1/wasm")
    assert decrypt("oci:w:v1", "-").stdout == (FIX / "wasm/addition.wasm").read_bytes()


@pytest.mark.parametrize("platform,code,status", [
    ("linux/riscv64", "platform-not-found", 8), ("linux/arm64/v9", "platform-not-found", 8),
    ("linux/arm6", "platform-not-found", 8), ("linux", "bad-platform", 2), ("/amd64", "bad-platform", 2),
    ("linux/", "bad-platform", 2), ("a/b/c/d", "bad-platform", 2)])
def test_platforms_that_are_not_there(box, encrypt, index, platform, code, status):
    r = encrypt("oci:img:v1", "oci:enc:v1", "--platform", "linux/amd64", "--platform", platform, ok=status)
    assert r.error()["code"] == code
    if code == "platform-not-found":
        assert "linux/arm/v6" in r.error()["hint"]
    assert not (box / "enc").exists()


def test_platforms_of_a_single_image(box, encrypt):
    r = encrypt(f"oci:{FIX}/04-plain-image-gzip/layout:v1", "oci:enc:v1", "--platform", "linux/amd64", ok=2)
    assert r.error()["code"] == "not-an-index"
    r = encrypt(FIX / "wasm/addition.wasm", "oci:enc:v1", "--platform", "linux/amd64", ok=2)
    assert r.error()["code"] == "not-an-index"


def test_a_docker_list_becomes_an_index(box, encrypt, decrypt):
    layout = Layout(box / "img")
    entries = [(layout.image([layer(p["architecture"], "docker")], kind=images.DOCKER + "distribution.manifest.v2+json",
                             config_type=images.DOCKER + "container.image.v1+json"), p) for p in (AMD, ARM6)]
    layout.name(layout.index(entries, kind=images.DOCKER + "distribution.manifest.list.v2+json"))
    r = encrypt("oci:img:v1", "oci:enc:v1")
    assert "2 Docker manifests were converted" in r.err
    layout, entry, doc = named(box / "enc")
    assert entry["mediaType"] == doc["mediaType"] == images.OCI + "index.v1+json"
    assert {x["mediaType"] for x in doc["manifests"]} == {images.OCI + "manifest.v1+json"}
    for one in every_layer_encrypted(layout, doc):
        assert one["mediaType"] == images.OCI + "layer.v1.tar+gzip+encrypted"
    decrypt("oci:enc:v1", "oci:back:v1")


@pytest.mark.parametrize("place", ["dir:d", "oci-archive:a.tar:v1", "docker"])
def test_other_places(box, encrypt, decrypt, index, registry, place):
    place = f"docker://{registry.host}/team/all:v1" if place == "docker" else place
    encrypt("oci:img:v1", place)
    if place.startswith("dir:"):
        names = [p.name for p in (box / "d").iterdir()]
        assert len([n for n in names if n.endswith(".manifest.json")]) == 5 and "manifest.json" in names
    digest = named(box / "img")[1]["digest"]
    assert decrypt(place, "oci:back:v1").json()["digest"] == digest
    again = place.replace("/all", "/again").replace("dir:d", "dir:e").replace("a.tar", "b.tar")
    assert decrypt(place, again).json()["digest"] == digest
    encrypt(again, "oci:enc2:v1")
    assert decrypt("oci:enc2:v1", "oci:back2:v1").json()["digest"] == digest


def test_rewrap_of_an_index(box, keys, encrypt, decrypt, index):
    encrypt("oci:img:v1", "oci:enc:v1")
    files = {p.name: p.stat().st_mtime_ns for p in (box / "enc/blobs/sha256").iterdir()}
    r = box.run("propenc", "rewrap", "oci:enc:v1", "oci:enc:v2", "--key", keys / "ec.pem", "--replace", "-r",
                f"jwe:{keys}/rsa.pub.pem", "--json").json()
    assert (r["layers"], r["added"], r["removed"]) == (8, 8, 8)
    new = {p.name: p.stat().st_mtime_ns for p in (box / "enc/blobs/sha256").iterdir()}
    assert {n: t for n, t in new.items() if n in files} == files and len(new) == len(files) + 6
    back = box.run("propenc", "decrypt", "oci:enc:v2", "oci:back:v1", "--key", keys / "rsa.pem", "--json").json()
    assert back["digest"] == named(box / "img")[1]["digest"]
    # of some images only: the others stay, and stay what they are
    box.run("propenc", "rewrap", "oci:enc:v1", "oci:enc:v3", "--key", keys / "ec.pem", "-r", f"jwe:{keys}/rsa.pub.pem",
            "--platform", "linux/amd64")
    one, three = named(box / "enc", "v1")[2]["manifests"], named(box / "enc", "v3")[2]["manifests"]
    assert [a["digest"] == b["digest"] for a, b in zip(one, three)] == [False, True, True, True, True]


def test_rewrap_of_an_index_in_a_registry_moves_no_blob(box, keys, encrypt, decrypt, index):
    with FaultServer() as server:
        ref = f"docker://{server.host}/team/all:v1"
        encrypt("oci:img:v1", ref)
        server.requests.clear()
        box.run("propenc", "rewrap", ref, "--key", keys / "ec.pem", "-r", f"jwe:{keys}/rsa.pub.pem")
        assert not [x for x in server.requests if "/blobs/" in x.path]
        assert len([x for x in server.requests if x.method == "PUT"]) == 7  # five images, the index twice


def test_an_image_that_cannot_be_encrypted_stops_all(box, encrypt):
    layout = Layout(box / "img")
    good = layout.image([layer("good")])
    bad = layout.image([layer("bad")])
    doc = layout.read(bad)
    doc["layers"][0]["urls"] = ["https://example.com/layer"]
    bad = layout.put(images.OCI + "manifest.v1+json", images.compact(doc))
    layout.name(layout.index([(good, AMD), (bad, ARM6)]))
    with FaultServer() as server:
        r = encrypt("oci:img:v1", f"docker://{server.host}/a/b:v1", ok=9)
        assert r.error()["code"] == "foreign-layer" and "image 2 of 2" in r.error()["message"]
        assert not [x for x in server.requests if x.method != "GET"]


def test_indexes_that_are_none(box, encrypt):
    layout = Layout(box / "img")
    image = layout.image([layer("one")])
    deep = image
    for _ in range(9):
        deep = layout.index([(deep, AMD)])
    short = {**image, "size": image["size"] - 1}
    other = {**image, "digest": "sha256:" + "0" * 64}
    for n, (entries, code, status) in enumerate([
            ([], "empty-index", 3), ([(deep, AMD)], "nested-index", 9), ([(other, AMD)], "blob-not-found", 8),
            ([(short, AMD)], "size-mismatch", 4),
            ([({**image, "mediaType": "application/vnd.example.v1+json"}, AMD)], "media-type-mismatch", 3)]):
        name = f"t{n}"
        layout.name(layout.index(entries), name)
        r = encrypt(f"oci:img:{name}", f"oci:enc{n}:v1", ok=status)
        assert r.error()["code"] == code, r.err
        assert not (box / f"enc{n}").exists()
    index = layout.index([(image, AMD)])
    path = layout.blobs / image["digest"][7:]
    path.write_bytes(path.read_bytes().replace(b"layers", b"Layers"))
    layout.name(index, "damaged")
    assert encrypt("oci:img:damaged", "oci:enc:v1", ok=4).error()["code"] == "digest-mismatch"


def test_indexes_inside_an_index(box, encrypt, decrypt):
    """All images are encrypted, wherever they stand; decrypting gives back every byte."""
    layout = Layout(box / "img")
    one, two, three = (layout.image([layer(n)]) for n in ("one", "two", "three"))
    inner = layout.index([(two, AMD), (three, ARM6)])
    layout.name(layout.index([(one, AMD), (layout.index([(inner, None)]), None)], annotations={"k": "v"}))
    r = encrypt("oci:img:v1", "oci:enc:v1").json()
    assert r["layers"] == 3
    outer = named(box / "enc")[2]
    nested = opened(box / "enc").read(opened(box / "enc").read(outer["manifests"][1])["manifests"][0])
    for entry in [outer["manifests"][0], *nested["manifests"]]:
        assert opened(box / "enc").read(entry)["layers"][0]["mediaType"].endswith("+encrypted")
    assert decrypt("oci:enc:v1", "oci:back:v1").json()["digest"] == named(box / "img")[1]["digest"]


def test_the_same_image_twice(box, encrypt, decrypt):
    layout = Layout(box / "img")
    image = layout.image([layer("one")])
    layout.name(layout.index([(image, AMD), (image, ARM6)]))
    encrypt("oci:img:v1", "oci:enc:v1")
    assert decrypt("oci:enc:v1", "oci:back:v1").json()["digest"] == named(box / "img")[1]["digest"]


def test_decrypting_an_index_with_plain_images(box, encrypt, decrypt):
    """One image is encrypted, one is not: it comes along as it is."""
    layout = Layout(box / "img")
    layout.name(layout.image([layer("secret")]))
    encrypt("oci:img:v1", "oci:img:enc")
    layout = opened(box / "img")
    _, secret, _ = named(box / "img", "enc")
    secret = {k: v for k, v in secret.items() if k != "annotations"}
    plain = layout.image([layer("open")])
    layout.name(layout.index([(secret, AMD), (plain, ARM6)]), "both")
    decrypt("oci:img:both", "oci:back:v1")
    got = named(box / "back")[2]["manifests"]
    assert got[0]["digest"] == named(box / "img")[1]["digest"] and got[1]["digest"] == plain["digest"]
    layout.name(layout.index([(plain, AMD), (plain, ARM6)]), "none")
    assert decrypt("oci:img:none", "oci:b:v1", ok=3).error()["code"] == "not-encrypted"


@pytest.mark.parametrize("place", ["dir:out", "oci:out:v1", "oci-archive:out.tar:v1"])
def test_a_stopped_run_leaves_nothing(box, keys, place):
    """Stopped while the second image is on its way."""
    layout = Layout(box / "img")
    big = os.urandom(150_000_000)
    layout.name(layout.index([(layout.image([layer("small")]), AMD),
                              (layout.image([(images.OCI + "layer.v1.tar", big, b"")]), ARM6)]))
    before = sorted(p.name for p in box.path.iterdir())
    run = subprocess.Popen([BIN / "propenc", "encrypt", "oci:img:v1", place, "-r", f"jwe:{keys}/ec.pub.pem"],
                           env=box.env, cwd=box.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 20
    while not [p for p in box.path.iterdir() if p.name.startswith("out")] and time.monotonic() < deadline:
        time.sleep(0.001)
    run.send_signal(signal.SIGTERM)
    _, err = run.communicate(timeout=60)
    assert run.returncode in (0, 130), err
    if run.returncode == 130:
        assert sorted(p.name for p in box.path.iterdir()) == before
