"""oras and wasm-to-oci against proppush, both ways, where they are installed."""
import json
import os

import pytest

from conftest import VECTORS, need

ADDITION = VECTORS / "ocicrypt/wasm/addition.wasm"
ENCRYPTED = VECTORS / "ocicrypt/41-wasm-jwe-rsa/layout"
GOLDEN = "sha256:dc3ef967b8fb17f99bee152d0a385addf3dcc978af37e0341a1aa77c30393039"
CREATED = "org.opencontainers.image.created"


@pytest.fixture
def oras(box):
    program = need("oras")

    def run(*argv, **kw):
        return box.run(program, *argv, **kw)
    return run


@pytest.fixture
def w2o(box):
    program = need("wasm-to-oci")

    def run(verb, *argv, **kw):
        return box.run(program, verb, "--use-http", *argv, **kw)
    return run


@pytest.fixture
def module(box):
    (box / "addition.wasm").write_bytes(ADDITION.read_bytes())
    return "addition.wasm"


def raw(box, ref):
    return box.run("proppush", "inspect", "--raw", ref).stdout


# --- oras ---------------------------------------------------------------------------------------

def test_oras_push_we_pull(box, registry, oras, module):
    ref = f"{registry.host}/oras/add:v1"
    oras("push", "--plain-http", ref, f"{module}:application/wasm", "-a", f"{CREATED}=2026-01-01T00:00:00Z")
    box.run("proppush", "pull", ref, "out.wasm")
    assert (box / "out.wasm").read_bytes() == ADDITION.read_bytes()
    # and ours is the same to the byte
    ours = f"{registry.host}/ours/add:v1"
    box.run("proppush", "push", "--form", "oras", module, ours, "--annotation", f"{CREATED}=2026-01-01T00:00:00Z")
    assert raw(box, ours) == raw(box, ref)


def test_oras_files_both_ways(box, registry, oras, module):
    (box / "note.txt").write_text("a note\n")
    (box / "sub").mkdir()
    (box / "sub/more.json").write_text("{}")
    theirs, ours = f"{registry.host}/oras/files:v1", f"{registry.host}/ours/files:v1"
    args = [f"{module}:application/wasm", "note.txt:text/plain", "sub/more.json:application/json"]
    stamp = f"{CREATED}=2026-01-01T00:00:00Z"
    oras("push", "--plain-http", "--artifact-type", "application/x-test", "-a", stamp, "-a", "k=<&>", theirs, *args)
    box.run("proppush", "push", "--keep-path", "--artifact-type", "application/x-test", "--annotation", stamp,
            "--annotation", "k=<&>", *args, ours)
    assert raw(box, ours) == raw(box, theirs)
    box.run("proppush", "pull", theirs, "a/")
    oras("pull", "--plain-http", "-o", "b", ours)
    for name in (module, "note.txt", "sub/more.json"):
        assert (box / "a" / name).read_bytes() == (box / "b" / name).read_bytes() == (box / name).read_bytes()


def test_oras_default_type_and_v10(box, registry, oras, module):
    """Without a type, oras calls everything a tar: no module for us, but a file; image-spec 1.0 has no artifactType."""
    ref = f"{registry.host}/oras/untyped:v1"
    oras("push", "--plain-http", ref, module)
    assert box.run("proppush", "pull", ref, "x.wasm", "--json", ok=3).error()["code"] == "no-wasm-layer"
    box.run("proppush", "pull", ref, "out/")
    assert (box / "out" / module).read_bytes() == ADDITION.read_bytes()
    oras("push", "--plain-http", "--image-spec", "v1.0", ref, f"{module}:application/wasm")
    assert box.run("proppush", "pull", ref, "-").stdout == ADDITION.read_bytes()


@pytest.mark.parametrize("form", ["wasm-to-oci", "cncf", "oras"])
def test_oras_pulls_every_form(box, registry, oras, module, form):
    ref = f"{registry.host}/forms/{form}:v1"
    box.run("proppush", "push", "--form", form, module, ref)
    oras("pull", "--plain-http", "-o", "out", ref)
    assert (box / "out" / module).read_bytes() == ADDITION.read_bytes()


def test_oras_referrers_both_ways(box, registry, oras, module):
    name = f"{registry.host}/team/app"
    box.run("proppush", "push", module, f"{name}:v1")
    (box / "a.json").write_text('{"a":1}')
    (box / "b.json").write_text('{"b":1}')
    oras("attach", "--plain-http", "--artifact-type", "application/x-theirs", f"{name}:v1", "a.json:application/json")
    box.run("proppush", "push", "b.json:application/json", "--artifact-type", "application/x-ours", "--subject", f"{name}:v1",
            f"{name}:b")
    ours = box.run("proppush", "referrers", f"{name}:v1", "--json").json()["referrers"]
    theirs = json.loads(oras("discover", "--plain-http", "--format", "json", f"{name}:v1").stdout)
    theirs = theirs.get("referrers") or theirs.get("manifests")
    assert sorted(d["artifactType"] for d in ours) == ["application/x-ours", "application/x-theirs"]
    assert sorted(d["digest"] for d in theirs) == sorted(d["digest"] for d in ours)


def test_oras_copies_ours_and_lists_our_tags(box, registry, oras, module):
    name = f"{registry.host}/team/copy"
    box.run("proppush", "push", f"oci:{ENCRYPTED}", f"{name}:v1,v2")
    assert sorted(oras("repo", "tags", "--plain-http", name).out.split()) == ["v1", "v2"]
    oras("cp", "--from-plain-http", "--to-oci-layout", f"{name}:v1", "layout:v1")
    r = box.run("proppush", "inspect", "oci:layout:v1", "--json").json()
    assert r["digest"] == box.run("proppush", "inspect", f"{name}:v2", "--json").json()["digest"]
    oras("cp", "--from-oci-layout", "--to-plain-http", "layout:v1", f"{registry.host}/back/copy:v1")
    assert raw(box, f"{registry.host}/back/copy:v1") == raw(box, f"{name}:v1")


# --- wasm-to-oci --------------------------------------------------------------------------------

def test_wasm_to_oci_both_ways(box, registry, w2o, module):
    theirs, ours = f"{registry.host}/w2o/add:v1", f"{registry.host}/ours/add:v1"
    w2o("push", module, theirs)
    box.run("proppush", "push", module, ours)
    assert raw(box, theirs) == raw(box, ours)
    assert box.run("proppush", "inspect", theirs, "--json").json()["digest"] == GOLDEN
    box.run("proppush", "pull", theirs, "a.wasm")
    w2o("pull", ours, "--out", "b.wasm")
    assert (box / "a.wasm").read_bytes() == (box / "b.wasm").read_bytes() == ADDITION.read_bytes()


def test_wasm_to_oci_keeps_paths(box, registry, w2o, module):
    (box / "sub").mkdir()
    os.rename(box / module, box / "sub/addition.wasm")
    theirs, ours = f"{registry.host}/w2o/path:v1", f"{registry.host}/ours/path:v1"
    w2o("push", "sub/addition.wasm", theirs)
    box.run("proppush", "push", "--keep-path", "sub/addition.wasm", ours)
    assert raw(box, theirs) == raw(box, ours)
