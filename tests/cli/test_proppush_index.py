"""Indexes: whole or by platform, from every kind of place to every other; nothing left out silently."""
import json

import pytest

from conftest import VECTORS, need
from images import DOCKER, Layout, layer, named, opened

ENCRYPTED = VECTORS / "ocicrypt/41-wasm-jwe-rsa/layout"
PLATFORMS = [{"architecture": "amd64", "os": "linux"}, {"architecture": "arm64", "os": "linux", "variant": "v8"},
             {"architecture": "wasm", "os": "wasip1"}]


def make(box, name="src", extra=()):
    """(layout, the index's descriptor, the images' descriptors)."""
    src = Layout(box / name)
    images = [src.image([layer(f"for {p['architecture']}")]) for p in PLATFORMS[:2]]
    wasm = b"\0asm\1\0\0\0\0\2\1x"
    images.append(src.image([("application/wasm", wasm, wasm)]))
    index = src.index(list(zip(images, PLATFORMS)) + list(extra), annotations={"k": "<&>"})
    src.name(index)
    return src, index, images


def blobs(path):
    return {p.name for p in (path / "blobs/sha256").iterdir()}


def refused(box, *argv, code, id):
    r = box.run("proppush", *argv, "--json", ok=code)
    error = r.error()
    assert error["code"] == id, error
    assert r.stdout == b""
    return error


def test_whole_through_every_place(box, registry):
    src, index, images = make(box)
    chain = ["oci:src:v1", f"{registry.host}/a/index:v1", "dir:flat", "oci-archive:it.tar:v1", f"{registry.host}/b/index:v1",
             "oci:back:v1"]
    for a, b in zip(chain, chain[1:]):
        r = box.run("proppush", "copy", a, b, "--json").json()
        assert r["digest"] == index["digest"] and "left_out" not in r
        assert [i["digest"] for i in r["images"]] == [i["digest"] for i in images]
        assert [i["platform"] for i in r["images"]] == ["linux/amd64", "linux/arm64/v8", "wasip1/wasm"]
    assert blobs(box / "back") == blobs(box / "src")
    # skopeo takes every step of it, too
    skopeo = need("skopeo")
    box.run(skopeo, "--insecure-policy", "copy", "--all", "--preserve-digests", f"dir:{box.path}/flat", f"oci:{box.path}/theirs:v1")
    assert named(box / "theirs")[1]["digest"] == index["digest"]
    box.run(skopeo, "--insecure-policy", "copy", "--all", "--preserve-digests", "--src-tls-verify=false",
            f"docker://{registry.host}/b/index:v1", f"dir:{box.path}/theirs-dir")
    r = box.run("proppush", "copy", f"dir:{box.path}/theirs-dir", "oci:again:v1", "--json").json()
    assert r["digest"] == index["digest"] and blobs(box / "again") == blobs(box / "src")


def test_one_platform_is_the_image_itself(box):
    _, index, images = make(box)
    r = box.run("proppush", "copy", "--platform", "linux/arm64", "oci:src:v1", "oci:out:v1", "--json").json()
    assert r["digest"] == images[1]["digest"]
    assert [(i["digest"], i["platform"]) for i in r["left_out"]] == [
        (images[0]["digest"], "linux/amd64"), (images[2]["digest"], "wasip1/wasm")]
    assert len(blobs(box / "out")) == 3
    text = box.run("proppush", "copy", "--platform", "linux/arm64/v8", "oci:src:v1", "oci:out:v2").out
    assert text.count("left out ") == 2 and "linux/amd64" in text and images[1]["digest"] in text
    assert index["digest"] not in text


def test_several_platforms_make_a_smaller_index(box):
    _, index, images = make(box)
    r = box.run("proppush", "push", "oci:src:v1", "oci:out:v1", "--platform", "wasip1/wasm", "--platform", "linux/amd64",
                "--json").json()
    assert r["digest"] != index["digest"] and len(r["left_out"]) == 1
    doc = named(box / "out")[2]
    assert [m["digest"] for m in doc["manifests"]] == [images[0]["digest"], images[2]["digest"]]
    assert [m["platform"] for m in doc["manifests"]] == [PLATFORMS[0], PLATFORMS[2]] and doc["annotations"] == {"k": "<&>"}
    # all of them chosen is the whole again
    every = [a for p in ("linux/amd64", "linux/arm64", "wasip1/wasm") for a in ("--platform", p)]
    assert box.run("proppush", "copy", "oci:src:v1", "oci:whole:v1", *every, "--json").json()["digest"] == index["digest"]


def test_partial_copies(box):
    """Mirrors leave images out: what is there can be had by its platform, the whole cannot."""
    src, _, images = make(box)
    (src.blobs / images[0]["digest"][7:]).unlink()
    e = refused(box, "copy", "oci:src:v1", "oci:out:v1", code=8, id="blob-not-found")
    assert "image 1 of 3" in e["message"] and not (box / "out").exists()
    assert box.run("proppush", "copy", "--platform", "linux/arm64", "oci:src:v1", "oci:out:v1", "--json").json()[
        "digest"] == images[1]["digest"]
    r = box.run("proppush", "inspect", "oci:src:v1", "--json").json()
    assert [m.get("missing", False) for m in r["manifests"]] == [True, False, False]
    assert "(not there)" in box.run("proppush", "inspect", "oci:src:v1").out


def test_docker_list_keeps_its_type(box, registry):
    src = Layout(box / "src")
    images = [src.image([layer(p["architecture"], "docker")], kind=DOCKER + "distribution.manifest.v2+json",
                        config_type=DOCKER + "container.image.v1+json") for p in PLATFORMS[:2]]
    index = src.index(list(zip(images, PLATFORMS)), kind=DOCKER + "distribution.manifest.list.v2+json")
    src.name(index)
    assert box.run("proppush", "copy", "oci:src:v1", f"{registry.host}/d/list:v1", "--json").json()["digest"] == index["digest"]
    r = box.run("proppush", "inspect", f"{registry.host}/d/list:v1", "--json").json()
    assert r["mediaType"] == DOCKER + "distribution.manifest.list.v2+json" and len(r["manifests"]) == 2
    raw = box.run(need("skopeo"), "--insecure-policy", "inspect", "--raw", "--tls-verify=false",
                  f"docker://{registry.host}/d/list:v1").stdout
    assert raw == (src.blobs / index["digest"][7:]).read_bytes()


def test_bad_choices(box):
    make(box)
    e = refused(box, "copy", "--platform", "plan9/mips", "oci:src:v1", "oci:out:v1", code=8, id="platform-not-found")
    assert "linux/arm64/v8" in e["hint"]
    refused(box, "copy", "--platform", "linux", "oci:src:v1", "oci:out:v1", code=2, id="bad-platform")
    refused(box, "copy", "--platform", "linux/amd64", f"oci:{ENCRYPTED}", "oci:out:v1", code=2, id="not-an-index")
    refused(box, "copy", "--all", "--platform", "linux/amd64", "oci:src:v1", "oci:out:v1", code=2, id="usage")
    (box / "m.wasm").write_bytes(b"\0asm\1\0\0\0")
    refused(box, "push", "--platform", "linux/amd64", "m.wasm", "oci:out:v1", code=2, id="not-an-index")
    e = refused(box, "pull", "oci:src:v1", "out.wasm", code=9, id="index")
    assert "wasip1/wasm" in e["hint"]
    refused(box, "pull", "oci:src:v1", "out.wasm", "--platform", "linux/amd64", code=3, id="no-wasm-layer")
    refused(box, "inspect", "--config", "oci:src:v1", code=9, id="index")
    refused(box, "inspect", "--platform", "linux/riscv64", "oci:src:v1", code=8, id="platform-not-found")
    assert not (box / "out").exists() and not (box / "out.wasm").exists()


def nested(box, name="src"):
    """(layout, outer, inner, images): amd64 outside; arm64 and wasm in an index of their own, and one below that."""
    src = Layout(box / name)
    images = [src.image([layer(f"for {p['architecture']}")]) for p in PLATFORMS[:2]]
    wasm = b"\0asm\1\0\0\0\0\2\1x"
    images.append(src.image([("application/wasm", wasm, wasm)]))
    lowest = src.index([(images[2], PLATFORMS[2])], annotations={"depth": "2"})
    inner = src.index([(images[1], PLATFORMS[1]), (lowest, None)], annotations={"depth": "1"})
    outer = src.index([(images[0], PLATFORMS[0]), (inner, None)], annotations={"depth": "0"})
    src.name(outer)
    return src, outer, inner, images


def test_indexes_inside_an_index(box, registry):
    """Through every kind of place and back, byte for byte."""
    _, outer, _, images = nested(box)
    chain = ["oci:src:v1", f"{registry.host}/n/index:v1", "dir:flat", "oci-archive:it.tar:v1", f"{registry.host}/n/two:v1",
             "oci:back:v1"]
    for a, b in zip(chain, chain[1:]):
        r = box.run("proppush", "copy", a, b, "--json").json()
        assert r["digest"] == outer["digest"] and "left_out" not in r
        assert [(i["digest"], i["platform"]) for i in r["images"]] == [
            (i["digest"], p) for i, p in zip(images, ("linux/amd64", "linux/arm64/v8", "wasip1/wasm"))]
    assert blobs(box / "back") == blobs(box / "src")


def test_platforms_inside_an_inner_index(box):
    src, outer, inner, images = nested(box)
    r = box.run("proppush", "copy", "--platform", "wasip1/wasm", "oci:src:v1", "oci:one:v1", "--json").json()
    assert r["digest"] == images[2]["digest"] and len(r["left_out"]) == 2
    # two of them keep the shape; what becomes empty goes
    r = box.run("proppush", "copy", "--platform", "linux/amd64", "--platform", "linux/arm64", "oci:src:v1", "oci:two:v1", "--json")
    two = opened(box / "two")
    doc = named(box / "two")[2]
    assert r.json()["digest"] != outer["digest"] and doc["annotations"] == {"depth": "0"}
    assert doc["manifests"][0]["digest"] == images[0]["digest"] and doc["manifests"][1]["digest"] != inner["digest"]
    below = two.read(doc["manifests"][1])
    assert [m["digest"] for m in below["manifests"]] == [images[1]["digest"]] and below["annotations"] == {"depth": "1"}
    assert two.path.joinpath("blobs/sha256", doc["manifests"][1]["digest"][7:]).stat().st_size == doc["manifests"][1]["size"]
    e = refused(box, "copy", "--platform", "plan9/mips", "oci:src:v1", "oci:no:v1", code=8, id="platform-not-found")
    assert "wasip1/wasm" in e["hint"]
    # an image that says no platform has its index's
    wasm = b"\0asm\1\0\0\0"
    image = src.image([("application/wasm", wasm, wasm)])
    src.name(src.index([(src.index([(image, None)]), PLATFORMS[2]), (images[0], PLATFORMS[0])]), "silent")
    assert box.run("proppush", "copy", "--platform", "wasip1/wasm", "oci:src:silent", "oci:s:v1", "--json").json()[
        "digest"] == image["digest"]


def test_reading_inside_an_inner_index(box):
    src, outer, inner, images = nested(box)
    box.run("proppush", "pull", "oci:src:v1", "out.wasm", "--platform", "wasip1/wasm")
    assert (box / "out.wasm").read_bytes()[:4] == b"\0asm"
    e = refused(box, "pull", "oci:src:v1", "no.wasm", code=9, id="index")
    assert "3 images" in e["message"] and "linux/arm64/v8" in e["hint"]
    r = box.run("proppush", "inspect", "oci:src:v1", "--json").json()
    below = r["manifests"][1]
    assert below["digest"] == inner["digest"] and below["manifests"][0]["digest"] == images[1]["digest"]
    assert below["manifests"][1]["manifests"][0]["layers"][0]["mediaType"] == "application/wasm"
    text = box.run("proppush", "inspect", "oci:src:v1").out
    assert text.count("index ") >= 2 and text.count("layer ") == 3 and images[2]["digest"] in text
    # the one real image of an index needs no --platform, wherever it stands
    lone = Layout(box / "lone")
    wasm = b"\0asm\1\0\0\0"
    lone.name(lone.index([(lone.index([(lone.image([("application/wasm", wasm, wasm)]), None)]), None)]))
    box.run("proppush", "pull", "oci:lone:v1", "lone.wasm")
    assert (box / "lone.wasm").read_bytes() == wasm


def test_inner_indexes_that_are_not_good(box):
    src, outer, inner, images = nested(box)
    deep = images[0]
    for n in range(9):
        deep = src.index([(deep, None)])
        if n == 7:
            src.name(deep, "deepest")
    src.name(deep, "too-deep")
    box.run("proppush", "copy", "oci:src:deepest", "oci:deep:v1")
    for verb in (["copy", "oci:src:too-deep", "oci:out:v1"], ["inspect", "oci:src:too-deep"], ["pull", "oci:src:too-deep", "o.wasm"]):
        refused(box, *verb, code=9, id="nested-index")
    wide = src.index([(inner, None)] * 70)
    src.name(wide, "wide")
    refused(box, "copy", "oci:src:wide", "oci:out:v1", code=9, id="nested-index")
    bomb = inner
    for _ in range(6):
        bomb = src.index([(bomb, None)] * 20)
    src.name(bomb, "bomb")
    refused(box, "copy", "oci:src:bomb", "oci:out:v1", code=9, id="nested-index")
    lie = {**images[0], "mediaType": "application/vnd.oci.image.index.v1+json"}
    src.name(src.index([(lie, None)]), "lie")
    refused(box, "copy", "oci:src:lie", "oci:out:v1", code=3, id="media-type-mismatch")
    # a mirror without it: the images beside it can be had, the whole cannot
    f = src.blobs / inner["digest"][7:]
    good = f.read_bytes()
    f.unlink()
    refused(box, "copy", "oci:src:v1", "oci:out:v1", code=8, id="blob-not-found")
    assert box.run("proppush", "copy", "--platform", "linux/amd64", "oci:src:v1", "oci:part:v1", "--json").json()[
        "digest"] == images[0]["digest"]
    assert "(not there)" in box.run("proppush", "inspect", "oci:src:v1").out
    f.write_bytes(good[:-2] + b" }")
    refused(box, "copy", "oci:src:v1", "oci:out:v1", code=4, id="digest-mismatch")
    assert not (box / "out").exists()


def test_pull_and_inspect_by_platform(box):
    src, index, images = make(box, extra=[])
    box.run("proppush", "pull", "oci:src:v1", "out.wasm", "--platform", "wasip1/wasm")
    assert (box / "out.wasm").read_bytes()[:4] == b"\0asm"
    r = box.run("proppush", "inspect", "--platform", "wasip1/wasm", "oci:src:v1", "--json").json()
    assert r["digest"] == images[2]["digest"] and r["layers"][0]["mediaType"] == "application/wasm"
    raw = box.run("proppush", "inspect", "--raw", "--platform", "linux/amd64", "oci:src:v1").stdout
    assert raw == (src.blobs / images[0]["digest"][7:]).read_bytes()
    assert json.loads(box.run("proppush", "inspect", "--config", "--platform", "linux/amd64", "oci:src:v1").stdout)["os"] == "linux"
    # statements of a builder are no image to choose: one real image needs no --platform
    lone = Layout(box / "lone")
    wasm = b"\0asm\1\0\0\0"
    image, statement = lone.image([("application/wasm", wasm, wasm)]), lone.image([layer("statement")])
    lone.name(lone.index([(image, PLATFORMS[2]), (statement, {"architecture": "unknown", "os": "unknown"})]))
    box.run("proppush", "pull", "oci:lone:v1", "lone.wasm")
    assert (box / "lone.wasm").read_bytes() == wasm


def test_inspect_says_what_is_encrypted(box):
    """An index with a plain and an encrypted image."""
    enc = opened(ENCRYPTED)
    src = Layout(box / "src")
    for f in enc.blobs.iterdir():
        (src.blobs / f.name).write_bytes(f.read_bytes())
    theirs = {k: v for k, v in enc.entries[0].items() if k != "annotations"}
    plain = src.image([("application/wasm", b"\0asm\1\0\0\0", b"")])
    src.name(src.index([(theirs, PLATFORMS[2]), (plain, PLATFORMS[0])]))
    r = box.run("proppush", "inspect", "oci:src:v1", "--json").json()
    assert [m["encrypted"] for m in r["manifests"]] == [True, False]
    assert [layer["encrypted"] for m in r["manifests"] for layer in m["layers"]] == [True, False]
    text = box.run("proppush", "inspect", "oci:src:v1").out
    assert text.count("  encrypted") == 1 and "wasip1/wasm" in text and "linux/amd64" in text
    assert "encrypted  sha256:" in box.run("proppush", "inspect", f"oci:{ENCRYPTED}").out


@pytest.mark.parametrize("what", ["child", "layer"])
def test_damage_in_an_image_of_an_index(box, what):
    src, _, images = make(box)
    victim = images[1]["digest"] if what == "child" else src.read(images[1])["layers"][0]["digest"]
    f = src.blobs / victim[7:]
    data = f.read_bytes()
    f.write_bytes(data[:-2] + b"x" + data[-1:])
    for dst in ("oci:out:v1", "dir:out", "oci-archive:out:v1"):
        r = box.run("proppush", "copy", "oci:src:v1", dst, "--json", ok=4)
        assert r.error()["code"] == "digest-mismatch" and "image 2 of 3" in r.error()["message"]
        assert not (box / "out").exists()


def test_dry_run(box, registry):
    _, index, _ = make(box)
    ref = f"{registry.host}/dry/run:v1"
    r = box.run("proppush", "copy", "-n", "oci:src:v1", ref, "--json").json()
    assert r["dry_run"] and r["digest"] == index["digest"] and r["current"] is None and r["new_blobs"] == 6
    assert box.run("proppush", "inspect", ref, "--json", ok=8).error()["code"] == "image-not-found"
    box.run("proppush", "copy", "oci:src:v1", ref)
    r = box.run("proppush", "copy", "-n", "oci:src:v1", ref, "--json").json()
    assert r["current"] == index["digest"] and r["new_blobs"] == 0 and r["new_bytes"] == 0
    assert "leave as it is" in box.run("proppush", "copy", "-n", "oci:src:v1", ref).out
    assert box.run("proppush", "copy", "-n", "oci:src:v1", "oci:new:v1", "--json").json()["new_blobs"] == 6
    assert box.run("proppush", "copy", "-n", "oci:src:v1", "dir:new-dir", "--json").json()["current"] is None
    assert not (box / "new").exists() and not (box / "new-dir").exists()
    r = box.run("proppush", "tag", "-n", ref, "v2", "--json").json()
    assert r["dry_run"] and r["current"] is None
    assert box.run("proppush", "list-tags", f"{registry.host}/dry/run").out.split() == ["v1"]
