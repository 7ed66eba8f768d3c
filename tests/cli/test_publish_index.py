"""An index of images: published whole under one key, verified image by image, withdrawn and taken back
with everything in it."""
import hashlib
import http.client
import json

import pytest

from publishing import ADDITION, Publisher, World, manifest, tag_digest
from test_publish_journal import killed

INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE = "application/vnd.oci.image.manifest.v1+json"
PLATFORMS = ("wasip1/wasm", "linux/arm64/v8")


def get(host, repo, reference):
    c = http.client.HTTPConnection(host, timeout=20)
    c.request("GET", f"/v2/{repo}/manifests/{reference}", headers={"Accept": f"{INDEX}, {IMAGE}"})
    r = c.getresponse()
    data = r.read()
    c.close()
    return r.status, data


def put(host, repo, tag, doc):
    data = json.dumps(doc).encode()
    c = http.client.HTTPConnection(host, timeout=20)
    c.request("PUT", f"/v2/{repo}/manifests/{tag}", data, {"Content-Type": INDEX})
    status = c.getresponse().status
    c.close()
    assert status == 201
    return {"mediaType": INDEX, "digest": "sha256:" + hashlib.sha256(data).hexdigest(),
            "size": len(data)}


def entry(host, repo, tag, platform):
    data = get(host, repo, tag)[1]
    names = dict(zip(("os", "architecture", "variant"), platform.split("/")))
    return {"mediaType": IMAGE, "digest": "sha256:" + hashlib.sha256(data).hexdigest(),
            "size": len(data), "platform": names}


def make_index(box, host, repo="src/app", extra=b""):
    """Two modules of one repository, and an index of both under the tag "all"."""
    entries = []
    for i, platform in enumerate(PLATFORMS):
        (box / f"{i}.wasm").write_bytes(ADDITION + b"\x00\x02\x01" + bytes([65 + i]) + extra)
        box.run("proppush", "push", box / f"{i}.wasm", f"{host}/{repo}:{i}")
        entries.append(entry(host, repo, str(i), platform))
    put(host, repo, "all", {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries,
                            "annotations": {"made": "by hand"}})
    return f"docker://{host}/{repo}:all"


@pytest.fixture
def source(box, registry):
    return make_index(box, registry.host)


def test_published_whole(pub, box, registry, source):
    doc = pub.json("--allow", "tee=sample", "--replace-policy", "--kid", "t/k/1", src=source)
    status, text = get(registry.host, "team/addition", doc["digest"])
    index = json.loads(text)
    assert status == 200 and index["annotations"] == {"made": "by hand"}
    assert [i["platform"] for i in doc["images"]] == list(PLATFORMS)
    for i, image in enumerate(doc["images"]):
        assert index["manifests"][i]["digest"] == image["digest"]
        (layer,) = manifest(registry.host, image["digest"])["layers"]
        assert layer["mediaType"].endswith("+encrypted")
        assert layer["digest"] == image["layers"][0]["digest"]
        # each opens with the one key
        out = box / f"out{i}.wasm"
        box.run("propenc", "decrypt", image["pinned"], out, "--key", doc["kek_file"])
        assert out.read_bytes() == (box / f"{i}.wasm").read_bytes()
    # a guest runs one image: the command pins one, not the index
    assert f"propcvm run {doc['images'][0]['pinned']} " in doc["run"] + " "
    assert doc["pinned"].endswith(doc["digest"])
    # again: nothing changes
    again = pub.json("--allow", "tee=sample", "--kid", "t/k/1", src=source)
    assert again["unchanged"] is True and again["digest"] == doc["digest"]
    # another module in it: another index
    make_index(box, registry.host, extra=b"x")
    changed = pub.json("--allow", "tee=sample", "--kid", "t/k/1", "--kek", doc["kek_file"], src=source)
    assert changed["digest"] != doc["digest"] and changed["unchanged"] is False


def test_the_command_runs_it(pub, box, source):
    doc = pub.json("--allow", "tee=sample", "--replace-policy", src=source)
    r = box.run("/bin/sh", "-c", doc["run"] + " --invoke add -- 10 20")
    assert r.out == "30\n"


def test_annotations_alone_are_a_change(pub, box, registry, source):
    first = pub.json("--kid", "t/k/1", src=source)
    index = json.loads(get(registry.host, "src/app", "all")[1])
    index["annotations"]["made"] = "again"
    put(registry.host, "src/app", "all", index)
    second = pub.json("--kid", "t/k/1", "--kek", first["kek_file"], src=source)
    assert second["unchanged"] is False and second["digest"] != first["digest"]


def test_into_a_layout_and_a_folder(box, kbs, registry, source):
    for dst in ("oci:layout:v1", "dir:folder", "oci-archive:a.tar:v1"):
        pub = Publisher(box, kbs, source, dst)
        doc = pub.json()
        assert len(doc["images"]) == 2 and "run" not in doc
        v = box.run("proppush", "verify", dst, "--kek", doc["kek_file"], "--json").json()
        assert v["images"] == 2
        assert {c["image"] for c in v["checks"] if c["check"] == "opens"} == {
            i["digest"] for i in doc["images"]}


def test_refused_before_anything(pub, box, registry, source):
    inner = json.loads(get(registry.host, "src/app", "all")[1])
    outer = put(registry.host, "src/app", "all2", inner)
    put(registry.host, "src/app", "nested", {"schemaVersion": 2, "mediaType": INDEX,
                                             "manifests": [outer]})
    pub.fails(9, "nested-index", src=f"docker://{registry.host}/src/app:nested")
    put(registry.host, "src/app", "empty", {"schemaVersion": 2, "mediaType": INDEX, "manifests": []})
    pub.fails(3, "empty-index", src=f"docker://{registry.host}/src/app:empty")
    doc = pub.json(src=source)
    e = pub.fails(2, "already-encrypted", src=f"docker://{doc['pinned']}")
    assert "image 1 of 2 (wasip1/wasm)" in e["message"]
    assert box.run("proppush", "publish", "--list", "--json").json()["runs"] == []


def test_verify_answers_for_each_image(pub, box, registry, source):
    doc = pub.json("--allow", "tee=sample", "--replace-policy", "--kid", "t/k/1", src=source)
    host, kbs = registry.host, ("--kbs", pub.url, "--tee", "sample", "--i-know-this-is-a-test")
    v = box.run("proppush", "verify", doc["pinned"], *kbs, "--strict", "--json").json()
    assert v["ok"] is True and v["images"] == 2 and v["layers"] == 2 and v["kids"] == ["t/k/1"]
    for check in ("encrypted", "opens"):
        assert {c["image"] for c in v["checks"] if c["check"] == check} == {
            i["digest"] for i in doc["images"]}
    assert len([c for c in v["checks"] if c["check"] == "key"]) == 1
    # one plain image among them
    index = json.loads(get(host, "team/addition", doc["digest"])[1])
    box.run("proppush", "push", pub.module, f"{host}/team/addition:plain")
    index["manifests"].append(entry(host, "team/addition", "plain", "linux/riscv64"))
    inner = put(host, "team/addition", "mixed", index)
    r = box.run("proppush", "verify", f"{host}/team/addition:mixed", *kbs, ok=1)
    assert "image 3 of 3 (linux/riscv64): layer 1 of 1" in r.err
    assert r.err.count("encrypted yes") == 2 and r.err.count("encrypted no") == 1
    # and a level further down
    put(host, "team/addition", "deep", {"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        inner, entry(host, "team/addition", doc["images"][0]["digest"], "linux/amd64")]})
    r = box.run("proppush", "verify", f"{host}/team/addition:deep", *kbs, "--json", ok=1)
    assert r.error()["code"] == "not-encrypted" and "image 3 of 4" in r.error()["message"]
    r = box.run("proppush", "verify", f"{host}/team/addition:deep", *kbs, ok=1)
    assert r.err.count("encrypted yes") == 3
    # one that is missing
    registry_delete(host, "team/addition", doc["images"][1]["digest"])
    r = box.run("proppush", "verify", doc["pinned"], *kbs, "--json", ok=8)
    assert r.error()["code"] == "image-not-found" and "entry 2 of 2" in r.error()["message"]


def registry_delete(host, repo, digest):
    c = http.client.HTTPConnection(host, timeout=20)
    c.request("DELETE", f"/v2/{repo}/manifests/{digest}")
    assert c.getresponse().status == 202
    c.close()


def test_withdrawn_with_its_key(pub, box, source):
    doc = pub.json("--kid", "t/k/1", src=source)
    d = box.run("proppush", "delete", pub.dst, "--key", "--kbs", pub.url, "--admin-key",
                pub.kbs.admin_key, "--json").json()
    assert d["digest"] == doc["digest"]
    assert d["keys"] == [{"path": "t/k/1", "deleted": True}]


@pytest.mark.parametrize("layout", [False, True], ids=["registry", "layout"])
@pytest.mark.parametrize("how", ["--abort", "--resume"])
def test_killed_before_its_key(tmp_path, registry, layout, how):
    w = World(tmp_path / "world", registry, "team/addition", layout)
    try:
        source = make_index(w.box, registry.host)
        before = w.snapshot()
        blobs = sorted(p.name for p in (w.box / "layout").rglob("*")) if layout else None
        killed(w, "POST", f"/resource/{w.name}", src=source)
        assert w.open_runs() and w.tag() == w.old
        doc = w.run_verb(how, env={"PROP_TEE": "sample"}).json()
        if how == "--resume":
            assert len(doc["images"]) == 2 and w.tag() == doc["digest"]
            return
        assert w.snapshot() == before and w.open_runs() == []
        if layout:
            left = {p.name for p in (w.box / "layout").rglob("*")} - set(blobs)
            assert len(left) <= 1, left  # the one config of both, which others may share
            return
        deleted = [e[1] for e in w.reg_proxy.log if e[0] == "DELETE" and "/manifests/sha256:" in e[1]]
        assert len(deleted) == 3
    finally:
        w.stop()


def test_keys_of_an_index_are_in_use(pub, box, registry, source):
    """Somebody's index under our tag is read for the keys its images use."""
    first = pub.json("--kid", "t/k/1", src=source)
    e = pub.fails(7, "kid-in-use", "--kid", "t/k/1",
                  env={"XDG_STATE_HOME": str(box / "elsewhere"), "XDG_DATA_HOME": str(box / "other")})
    assert "the destination's name" in e["message"]
    assert tag_digest(registry.host) == first["digest"]
