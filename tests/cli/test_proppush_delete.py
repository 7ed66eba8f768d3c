"""proppush delete: names and manifests of registries and layouts, and keys that nobody needs."""
import json


from conftest import Registry
from publishing import Publisher, tag_digest


def delete(pub, ref, *args, ok=True):
    return pub.box.run("proppush", "delete", ref, "--json", *args, ok=ok)


def with_key(pub):
    return ("--key", "--kbs", pub.url, "--admin-key", pub.kbs.admin_key)


def test_image_and_key(pub, box):
    doc = pub.json("--allow", "tee=sample", "--replace-policy", "--kid", "t/k/1")
    plan = delete(pub, pub.dst, "--dry-run", *with_key(pub)).json()
    assert plan["dry_run"] is True and plan["keys"] == [{"path": "t/k/1", "deleted": True}]
    assert pub.get("t/k/1") is not None
    done = delete(pub, pub.dst, *with_key(pub)).json()
    assert done["digest"] == doc["digest"] and done["deleted"] == "manifest"
    assert done["keys"] == [{"path": "t/k/1", "deleted": True}] and done["tags"] == []
    assert any("registry cleans up" in t for t in done["left"])
    assert tag_digest(pub.dst.split("/")[0]) is None
    assert pub.get("t/k/1") is None and pub.refusal != "policy-deny"
    r = delete(pub, pub.dst, ok=8)
    assert r.error()["code"] == "image-not-found"
    # ... and it can be published again
    assert pub.json("--kid", "t/k/1")["digest"] != doc["digest"]


def test_other_tags_of_the_manifest(pub, box):
    doc = pub.json("--kid", "t/k/1")
    host = pub.dst.split("/")[0]
    box.run("proppush", "tag", pub.dst, "stable")
    e = delete(pub, pub.dst, ok=7).error()
    assert e["code"] == "tags-share" and "stable" in e["message"] and "--all-tags" in e["hint"]
    assert tag_digest(host) == tag_digest(host, tag="stable") == doc["digest"]
    done = delete(pub, pub.dst, "--all-tags").json()
    assert done["tags"] == ["stable"] and tag_digest(host, tag="stable") is None
    assert any("keys stay" in t for t in done["left"])


def test_a_key_that_another_image_needs(pub, box):
    doc = pub.json("--kid", "t/k/1", "--allow", "tee=sample", "--replace-policy")
    pub.json("--kid", "t/k/1", "--kek", doc["kek_file"], "--allow", "tee=sample", dst=pub.dst + "2")
    done = delete(pub, pub.dst, *with_key(pub)).json()
    assert done["keys"] == [{"path": "t/k/1", "deleted": False}]
    assert any("another image needs it" in t for t in done["left"])
    assert pub.get("t/k/1") is not None
    done = delete(pub, pub.dst + "2", *with_key(pub)).json()
    assert done["keys"] == [{"path": "t/k/1", "deleted": True}]
    assert pub.get("t/k/1") is None


def test_a_registry_that_does_not_delete(box, kbs, module, tmp_path):
    registry = Registry(tmp_path / "kept", delete=False)
    try:
        pub = Publisher(box, kbs, module, f"{registry.host}/team/addition:encrypted")
        pub.json("--kid", "t/k/1", "--allow", "tee=sample", "--replace-policy")
        e = delete(pub, pub.dst, *with_key(pub), ok=9).error()
        assert e["code"] == "delete-unsupported"
        # the image is still there, so its key is too
        assert tag_digest(registry.host) is not None and pub.get("t/k/1") is not None
    finally:
        registry.stop()


def test_a_name_of_a_layout(box, kbs, module):
    pub = Publisher(box, kbs, module, "oci:layout:v1")
    pub.json("--kid", "t/k/1", "--allow", "tee=sample", "--replace-policy")
    other = pub.json("--kid", "t/k/2", "--allow", "tee=sample", dst="oci:layout:v2")
    done = delete(pub, "oci:layout:v1", *with_key(pub)).json()
    assert done["deleted"] == "name" and done["keys"] == [{"path": "t/k/1", "deleted": True}]
    index = json.loads((box / "layout/index.json").read_text())
    assert [m["digest"] for m in index["manifests"]] == [other["digest"]]
    assert pub.get("t/k/1") is None and pub.get("t/k/2") is not None
    assert delete(pub, "oci:layout:v1", ok=8).error()["code"] == "image-not-found"
    assert delete(pub, "oci:none:v1", ok=8).error()["code"] == "no-such-source"
    assert delete(pub, "dir:folder", ok=8).error()["message"]


def test_wrong_pin_and_wrong_admin(pub, box):
    pub.json("--kid", "t/k/1", "--allow", "tee=sample", "--replace-policy")
    assert delete(pub, pub.dst, "--digest", "sha256:" + "0" * 64, ok=4).error()["code"] == (
        "digest-mismatch")
    box.run("propkey", "admin-keygen", "-o", "wrong.key")
    r = delete(pub, pub.dst, "--key", "--kbs", pub.url, "--admin-key", "wrong.key", ok=5)
    assert "the image is deleted, its key is not" in r.error()["message"]
    assert pub.get("t/k/1") is not None
