"""Artifacts: their forms, several files and tags, annotations, subjects and who refers to them."""
import http.client
import json
import pathlib
import shutil
import subprocess
import sys
import urllib.parse

import pytest

from conftest import BIN, VECTORS, need
from images import Layout, named, opened

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "helpers"))
import fault_server as fs  # noqa: E402

FIX = VECTORS / "ocicrypt"
ADDITION = FIX / "wasm/addition.wasm"
ENCRYPTED = FIX / "41-wasm-jwe-rsa/layout"
GOLDEN = "sha256:dc3ef967b8fb17f99bee152d0a385addf3dcc978af37e0341a1aa77c30393039"
CREATED = "org.opencontainers.image.created"
TITLE = "org.opencontainers.image.title"
EPOCH = {"SOURCE_DATE_EPOCH": "1767225600"}  # 2026-01-01


def refused(box, *argv, code, id, **kw):
    r = box.run("proppush", *argv, "--json", ok=code, **kw)
    error = r.error()
    assert error["code"] == id, error
    assert r.stdout == b""
    return error


def push(box, *argv, **kw):
    return box.run("proppush", "push", *argv, "--json", **kw).json()


def recorded(case):
    """Digest and bytes of a fixture's manifest."""
    layout = opened(FIX / case / "layout")
    digest = layout.entries[0]["digest"]
    return digest, (layout.blobs / digest[7:]).read_bytes()


def files(box):
    (box / "sub").mkdir()
    (box / "note.txt").write_text("a note\n")
    (box / "sub/note.txt").write_text("another\n")
    (box / "addition.wasm").write_bytes(ADDITION.read_bytes())


# --- forms, against what the other tools made ---------------------------------------------------

def test_wasm_to_oci_form_is_golden(box):
    want, raw = recorded("01-plain-wasm-to-oci")
    for args in ([], ["--form", "wasm-to-oci"], ["--form", "propeller"]):
        assert push(box, ADDITION, "oci:a:v1", *args)["digest"] == want == GOLDEN
    assert (opened(box / "a").blobs / want[7:]).read_bytes() == raw


def test_oras_form_is_golden(box):
    want, raw = recorded("02-plain-oras")
    files(box)
    for i, args in enumerate((["addition.wasm:application/wasm"], ["--form", "oras", "addition.wasm"],
                              ["./addition.wasm", "--media-type", "application/wasm"])):
        r = push(box, *args, f"oci:a:v{i}", "--annotation", f"{CREATED}=2026-01-01T00:00:00Z")
        assert r["digest"] == want
        assert push(box, *args, f"oci:a:v{i}", env=EPOCH)["digest"] == want
    assert (opened(box / "a").blobs / want[7:]).read_bytes() == raw


def test_cncf_form_is_golden(box):
    want, _ = recorded("03-plain-cncf")
    r = push(box, "--form", "cncf", "--author", "fixture", "--title", "", ADDITION, "oci:a:v1", env=EPOCH)
    assert r["digest"] == want
    doc = named(box / "a")[2]
    assert doc["layers"][0]["mediaType"] == "application/wasm"
    # without the flags: no author, the usual title, a time that does not change
    r = push(box, "--form", "cncf", ADDITION, "oci:a:v2")
    layout, _, doc = named(box / "a", "v2")
    assert layout.read(doc["config"])["author"] is None and doc["layers"][0]["annotations"] == {TITLE: "addition.wasm"}
    assert push(box, "--form", "cncf", ADDITION, "oci:b:v2")["digest"] == r["digest"]
    assert box.run("proppush", "pull", "oci:a:v2", "-").stdout == ADDITION.read_bytes()


def test_tar_form(box):
    push(box, "--form", "tar", ADDITION, "oci:a:v1")
    layout, _, doc = named(box / "a")
    assert doc["layers"][0]["mediaType"] == "application/vnd.oci.image.layer.v1.tar"
    assert layout.read(doc["config"])["rootfs"]["diff_ids"] == [doc["layers"][0]["digest"]]
    box.run(need("skopeo"), "--insecure-policy", "copy", f"oci:{box.path}/a:v1", f"dir:{box.path}/d")


@pytest.mark.parametrize("form", ["wasm-to-oci", "cncf", "tar", "oras"])
def test_forms_from_a_pipe_and_again(box, registry, form):
    """The same bytes from a pipe as from a file; pushed again, nothing is sent and nothing changes."""
    ref = f"{registry.host}/forms/{form}:v1"
    r = push(box, "--form", form, "--title", "addition.wasm", ADDITION, ref)
    piped = push(box, "--form", form, "--title", "addition.wasm", "-", ref, stdin=ADDITION.read_bytes())
    assert piped["digest"] == r["digest"]
    n = push(box, "-n", "--form", form, "--title", "addition.wasm", ADDITION, ref)
    assert n["dry_run"] and n["current"] == n["digest"] == r["digest"] and n["new_blobs"] == 0
    n = push(box, "-n", "--form", form, "--title", "addition.wasm", "-", f"{registry.host}/forms/new:v1", stdin=ADDITION.read_bytes())
    assert n["digest"] == r["digest"] and n["new_blobs"] == 2 and n["current"] is None
    assert not (registry.root / "docker/registry/v2/repositories/forms/new").exists()
    if form != "tar":
        assert box.run("proppush", "pull", ref, "-").stdout == ADDITION.read_bytes()


def test_what_is_there_is_not_sent_again(box):
    with fs.FaultServer() as s:
        for _ in range(2):
            push(box, "--form", "oras", ADDITION, f"{s.host}/a/b:v1")
        assert s.count("PUT", "/uploads/") == 2 and s.count("POST", ".") == 2  # layer and config, once


# --- files --------------------------------------------------------------------------------------

def test_several_files_out_and_back(box, registry):
    files(box)
    ref = f"{registry.host}/team/files:v1"
    r = push(box, "addition.wasm", "note.txt:text/plain", "--annotation", "a=b=c", "--artifact-type", "application/x-test", ref)
    assert r["files"] == ["addition.wasm", "note.txt"]
    doc = json.loads(box.run("proppush", "inspect", "--raw", ref).stdout)
    assert list(doc) == ["schemaVersion", "mediaType", "artifactType", "config", "layers", "annotations"]
    assert doc["artifactType"] == "application/x-test"
    assert doc["annotations"] == {"a": "b=c", CREATED: "1970-01-01T00:00:00Z"}
    assert [(d["mediaType"], d["annotations"][TITLE]) for d in doc["layers"]] == [
        ("application/wasm", "addition.wasm"), ("text/plain", "note.txt")]
    p = box.run("proppush", "pull", ref, "out/", "--json").json()
    assert [f["file"] for f in p["files"]] == ["out/addition.wasm", "out/note.txt"]
    assert (box / "out/note.txt").read_text() == "a note\n" and (box / "out/addition.wasm").read_bytes() == ADDITION.read_bytes()
    refused(box, "pull", ref, "out", code=7, id="file-exists")
    box.run("proppush", "pull", ref, "out", "--force")
    assert box.run("proppush", "pull", ref, "-").stdout == ADDITION.read_bytes()  # its one module
    assert "would write new/note.txt" in box.run("proppush", "pull", "-n", ref, "new/").out and not (box / "new").exists()


def test_paths_in_titles(box):
    files(box)
    e = refused(box, "push", "note.txt", "sub/note.txt", "oci:a:v1", code=2, id="same-title")
    assert "--keep-path" in e["hint"]
    push(box, "./note.txt", "sub/note.txt", "--keep-path", "oci:a:v1")
    box.run("proppush", "pull", "oci:a:v1", "out/")
    assert (box / "out/sub/note.txt").read_text() == "another\n" and (box / "out/note.txt").read_text() == "a note\n"


@pytest.mark.parametrize("title", ["../evil", "/tmp/evil", "a/../../evil", "", ".", "a//b", "a/", "a\nb", "a\\b", "\x1b[31m"])
def test_titles_that_leave_the_folder(box, title):
    layout = make_titled(box, [title])
    refused(box, "pull", layout, "out/", code=5, id="path-leaves")
    assert not (box / "out").exists() and not (box / "evil").exists()


def make_titled(box, titles, media_type="text/plain"):
    src = Layout(box / "titled")
    layers = []
    for i, title in enumerate(titles):
        d = src.put(media_type, f"content {i}".encode())
        layers.append({**d, "annotations": {TITLE: title}} if title is not None else d)
    doc = {"schemaVersion": 2, "config": src.put("application/x", b"{}"), "layers": layers}
    src.name(src.put("application/vnd.oci.image.manifest.v1+json", json.dumps(doc).encode()))
    return "oci:titled:v1"


def test_odd_titles(box):
    refused(box, "pull", make_titled(box, [None]), "out/", code=3, id="no-titles")
    shutil.rmtree(box / "titled")
    refused(box, "pull", make_titled(box, ["a", "a"]), "out/", code=3, id="same-title")
    shutil.rmtree(box / "titled")
    # a link in the folder does not lead out of it
    (box / "out").mkdir()
    (box / "elsewhere").mkdir()
    (box / "out/sub").symlink_to(box / "elsewhere")
    refused(box, "pull", make_titled(box, ["sub/x"]), "out", code=5, id="path-leaves")
    assert not list((box / "elsewhere").iterdir())


def test_encrypted_layers_are_named_so(box):
    src = f"oci:{ENCRYPTED}"
    for dst in ("out.wasm", "out/"):
        e = refused(box, "pull", src, dst, code=9, id="encrypted-layer")
        assert "propenc decrypt" in e["hint"] and "propcvm run" in e["hint"]
    r = box.run("proppush", "pull", "--encrypted", src, "out.bin", "--json").json()
    assert r["encrypted"] and (box / "out.bin").stat().st_size == r["size"]
    box.run("proppush", "pull", "--encrypted", src, "out/")
    assert [p.name for p in (box / "out").iterdir()] == ["addition.wasm.encrypted"]
    refused(box, "pull", "--encrypted", src, "oci:x:v1", code=2, id="usage")


def test_pull_into_every_place(box):
    push(box, ADDITION, "oci:a:v1")
    for dst in ("oci:layout/", "dir:flat/", "oci-archive:it.tar:v1", "oci:sub/l:v1"):
        assert box.run("proppush", "pull", "oci:a:v1", dst, "--json").json()["digest"] == GOLDEN
    assert box.run("proppush", "inspect", "oci:layout", "--json").json()["digest"] == GOLDEN
    assert (box / "flat/manifest.json").exists() and not list(box.path.glob("oci:*"))


# --- options that do not fit --------------------------------------------------------------------

def test_what_does_not_fit(box):
    files(box)
    refused(box, "push", "--form", "cncf", "note.txt", "oci:a:v1", code=3, id="not-wasm")
    refused(box, "push", "--form", "zip", ADDITION, "oci:a:v1", code=2, id="bad-form")
    refused(box, "push", "--form", "cncf", "addition.wasm", "note.txt", "oci:a:v1", code=2, id="bad-form")
    refused(box, "push", "--form", "wasm-to-oci", "addition.wasm:x/y", "oci:a:v1", code=2, id="bad-form")
    refused(box, "push", "--author", "x", "addition.wasm", "oci:a:v1", code=2, id="bad-form")
    refused(box, "push", "note.txt:text/plain", "absent.txt:text/plain", "oci:a:v1", code=8, id="no-such-source")
    refused(box, "push", "--annotation", "novalue", ADDITION, "oci:a:v1", code=2, id="bad-annotation")
    refused(box, "push", "--annotation", "=v", ADDITION, "oci:a:v1", code=2, id="bad-annotation")
    refused(box, "push", "--annotation", "a=1", "--annotation", "a=2", ADDITION, "oci:a:v1", code=2, id="bad-annotation")
    refused(box, "push", "--title", "x", "addition.wasm", "note.txt", "oci:a:v1", code=2, id="usage")
    refused(box, "push", "--title", "x", "--keep-path", "addition.wasm", "oci:a:v1", code=2, id="usage")
    refused(box, "push", "--sign", ADDITION, "oci:a:v1", code=9, id="notary")
    for option in (["--annotation", "a=b"], ["--form", "cncf"], ["--artifact-type", "x/y"]):
        e = refused(box, "push", f"oci:{ENCRYPTED}", "oci:a:v1", *option, code=2, id="usage")
        assert option[0] in e["message"]
    # the other tools' order of arguments
    e = refused(box, "push", "127.0.0.1:1/a:v1", "note.txt", "addition.wasm", code=2, id="usage")
    assert "comes last" in e["hint"]
    assert not (box / "a").exists()


def test_config_of_ones_own(box):
    files(box)
    (box / "c.json").write_text('{"x":1}')
    push(box, "--config", "c.json:application/x-config+json", "note.txt:text/plain", "oci:a:v1")
    layout, _, doc = named(box / "a")
    assert doc["config"]["mediaType"] == "application/x-config+json" and layout.read(doc["config"]) == {"x": 1}
    assert "artifactType" not in doc and "data" not in doc["config"]


# --- tags ---------------------------------------------------------------------------------------

def test_several_tags(box, registry):
    name = f"{registry.host}/team/tags"
    r = push(box, ADDITION, f"{name}:v1,v1.0,latest")
    assert r["digest"] == GOLDEN and r["tags"] == ["v1", "v1.0", "latest"] and r["reference"] == f"{name}:v1"
    assert sorted(box.run("proppush", "list-tags", name).out.split()) == ["latest", "v1", "v1.0"]
    r = box.run("proppush", "copy", f"oci:{ENCRYPTED}", f"docker://{name}:v2,latest", "--json").json()
    assert box.run("proppush", "inspect", f"{name}:latest", "--json").json()["digest"] == r["digest"]
    assert push(box, "--form", "oras", ADDITION, f"{name}:a,b")["tags"] == ["a", "b"]
    for bad in (":v9,", ":v9,,v8", ":v9,not a tag", ":,v9"):
        refused(box, "push", ADDITION, name + bad, code=3, id="bad-reference")
    assert "v9" not in box.run("proppush", "list-tags", name).out.split()
    # names in a layout may hold a comma, as skopeo lets them
    push(box, ADDITION, "oci:l:a,b")
    assert box.run("proppush", "list-tags", "oci:l", "--json").json()["tags"] == ["a,b"]


def test_tags_of_which_one_fails(box):
    with fs.FaultServer() as s:
        s.fault("PUT", "/manifests/v2$", fs.status(403, b'{"errors":[{"code":"DENIED"}]}'), times=9)
        e = refused(box, "push", ADDITION, f"{s.host}/a/b:v1,v2,v3", code=5, id="denied")
        assert "1 of 3 tags were given" in e["message"]
        assert ("a/b", "v1") in s.manifests and ("a/b", "v3") not in s.manifests


def test_list_tags_pages_and_nulls(box):
    with fs.FaultServer() as s:
        pages = iter([(b'{"name":"a","tags":["x","y"]}', {"Link": '</v2/a/b/tags/list?n=2&last=y>; rel="next"'}),
                      (b'{"name":"a","tags":null}', {"Link": f'<http://{s.host}/v2/a/b/tags/list?last=z>; rel="next"'}),
                      (b'{"name":"a","tags":["z"]}', {})])

        def act(h):
            body, headers = next(pages)
            h.read_body()
            h.answer(200, body, headers)
            return True
        s.fault("GET", "/tags/list", act, times=3)
        assert box.run("proppush", "list-tags", f"{s.host}/a/b").out.split() == ["x", "y", "z"]
        s.fault("GET", "/tags/list", fs.status(200, b'{"name":"a","tags":null}'))
        assert box.run("proppush", "list-tags", f"{s.host}/a/b", "--json").json()["tags"] == []
        s.fault("GET", "/tags/list", fs.status(200, b'{"tags":[]}', {"Link": '<http://127.0.0.9:1/v2/x>; rel="next"'}))
        refused(box, "list-tags", f"{s.host}/a/b", code=6, id="foreign-location")


# --- subjects and referrers ---------------------------------------------------------------------

def attach(box, ref, subject, name, *more):
    (box / f"{name}.json").write_text(json.dumps({"name": name}))
    return push(box, f"{name}.json:application/json", "--artifact-type", f"application/x-{name}", "--subject", subject, ref, *more)


def test_referrers_with_the_fallback_tag(box, registry):
    """Debian's docker-registry has no referrers API."""
    name = f"{registry.host}/team/app"
    push(box, ADDITION, f"{name}:v1")
    assert box.run("proppush", "referrers", f"{name}:v1", "--json").json()["referrers"] == []
    tag = "sha256-" + GOLDEN[7:]
    r = attach(box, f"{name}:sbom", f"{name}:v1", "sbom", "--annotation", "k=v")
    assert r["subject"] == GOLDEN and r["referrers_tag"] == tag
    sig = attach(box, f"{name}:sig", GOLDEN, "sig")
    found = box.run("proppush", "referrers", f"{name}:v1", "--json").json()
    assert found["subject"] == GOLDEN and found["told_by"] == "tag"
    assert [(d["digest"], d["artifactType"]) for d in found["referrers"]] == [
        (r["digest"], "application/x-sbom"), (sig["digest"], "application/x-sig")]
    assert found["referrers"][0]["annotations"]["k"] == "v"
    only = box.run("proppush", "referrers", f"{name}@{GOLDEN}", "--artifact-type", "application/x-sig", "--json").json()
    assert [d["digest"] for d in only["referrers"]] == [sig["digest"]]
    # the same again is not listed twice
    before = box.run("proppush", "inspect", "--raw", f"{name}:{tag}").stdout
    attach(box, f"{name}:sig", GOLDEN, "sig")
    assert box.run("proppush", "inspect", "--raw", f"{name}:{tag}").stdout == before
    assert json.loads(before)["mediaType"] == "application/vnd.oci.image.index.v1+json"
    text = box.run("proppush", "inspect", "--referrers", f"{name}:v1").out
    assert text.count("referrer ") == 2 and "application/x-sbom" in text
    assert "application/x-sig" in box.run("proppush", "referrers", f"{name}:v1").out
    # what is copied is found in its new place, too
    box.run("proppush", "copy", f"{name}:v1", f"{registry.host}/else/where:v1")
    box.run("proppush", "copy", f"{name}:sbom", f"{registry.host}/else/where:sbom")
    found = box.run("proppush", "referrers", f"{registry.host}/else/where:v1", "--json").json()
    assert [d["digest"] for d in found["referrers"]] == [r["digest"]]
    # nobody's subject need exist
    assert box.run("proppush", "referrers", f"{name}@sha256:{'0' * 64}", "--json").json()["referrers"] == []


def test_copy_with_referrers(box, registry):
    """And what refers to those; from a registry and from a layout."""
    for name in (f"{registry.host}/team/app", "oci:here"):
        box.run("proppush", "push", ADDITION, f"{name}:v1")
        sbom = attach(box, f"{name}:sbom", f"{name}:v1", "sbom")
        sig = attach(box, f"{name}:sig", sbom["digest"], "sig")
        attach(box, f"{name}:other", f"{name}:sig", "other")
        to = f"{registry.host}/copy/{'oci' if name[0] == 'o' else 'reg'}"
        plan = box.run("proppush", "copy", "-n", "--referrers", f"{name}:v1", f"{to}:v1", "--json").json()
        assert len(plan["referrers"]) == 3
        assert box.run("proppush", "list-tags", to, ok=None).returncode == 8
        r = box.run("proppush", "copy", "--referrers", f"{name}:v1", f"{to}:v1,v2", "--json").json()
        assert [d["artifactType"][14:] for d in r["referrers"]] == ["sbom", "sig", "other"]
        found = box.run("proppush", "referrers", f"{to}:v2", "--json").json()["referrers"]
        assert [d["digest"] for d in found] == [sbom["digest"]]
        found = box.run("proppush", "referrers", f"{to}@{sbom['digest']}", "--json").json()["referrers"]
        assert [d["digest"] for d in found] == [sig["digest"]]
    refused(box, "copy", "--referrers", "oci:here:v1", "dir:x", code=2, id="no-referrers")
    assert not (box / "x").exists()


def test_deleted_referrers_are_no_hindrance(box, registry):
    """docker-registry takes no index that names what was deleted."""
    name = f"{registry.host}/team/app"
    push(box, ADDITION, f"{name}:v1")
    one, two = (attach(box, f"{name}:{n}", GOLDEN, n) for n in ("one", "two"))
    c = http.client.HTTPConnection(registry.host, timeout=20)
    c.request("DELETE", f"/v2/team/app/manifests/{one['digest']}")
    assert c.getresponse().status == 202
    three = attach(box, f"{name}:three", GOLDEN, "three")
    found = box.run("proppush", "referrers", f"{name}:v1", "--json").json()["referrers"]
    assert [d["digest"] for d in found] == [two["digest"], three["digest"]]


def test_referrers_in_a_layout(box):
    push(box, ADDITION, "oci:a:v1")
    r = attach(box, "oci:a:sbom", "oci:a:v1", "sbom")
    assert "referrers_tag" not in r
    found = box.run("proppush", "referrers", "oci:a:v1", "--json").json()
    assert found["told_by"] == "layout" and [d["digest"] for d in found["referrers"]] == [r["digest"]]
    assert box.run("proppush", "referrers", "oci:a:v1", "--artifact-type", "x/y", "--json").json()["referrers"] == []
    assert box.run("proppush", "inspect", "oci:a:sbom", "--json").json()["subject"]["digest"] == GOLDEN
    assert named(box / "a", "sbom")[2]["subject"]["size"] == 400


def test_bad_subjects(box, registry):
    name = f"{registry.host}/team/app"
    push(box, ADDITION, f"{name}:v1")
    (box / "n.txt").write_text("n")
    args = ["push", "n.txt:text/plain", f"{name}:n"]
    refused(box, *args, "--subject", f"{registry.host}/other/app:v1", code=2, id="subject-elsewhere")
    refused(box, *args, "--subject", f"{name}:absent", code=8, id="image-not-found")
    refused(box, *args, "--subject", f"sha256:{'0' * 64}", code=8, id="image-not-found")
    refused(box, *args, "--subject", "sha256:00", code=3, id="bad-digest")
    refused(box, "referrers", "dir:x", code=2, id="usage")
    assert "n" not in box.run("proppush", "list-tags", name).out.split()


def api(s, entries, filtered=True, page=1):
    """A referrers list as a registry with the API serves it."""
    def act(h):
        query = urllib.parse.parse_qs(h.path.partition("?")[2])
        want, first = query.get("artifactType"), int(query.get("from", ["0"])[0])
        found = [e for e in entries if not (want and filtered) or e["artifactType"] == want[0]]
        headers = {"Content-Type": "application/vnd.oci.image.index.v1+json"}
        if want and filtered:
            headers["OCI-Filters-Applied"] = "artifactType"
        if first + page < len(found):
            again = f"&artifactType={urllib.parse.quote(want[0], safe='')}" if want else ""
            headers["Link"] = f'<{h.path.partition("?")[0]}?from={first + page}{again}>; rel="next"'
        h.answer(200, json.dumps({"schemaVersion": 2, "mediaType": headers["Content-Type"],
                                  "manifests": found[first:first + page]}).encode(), headers)
        return True
    s.fault("GET", "/referrers/", act, times=10**6)


def test_referrers_api_pages_and_filters(box):
    entries = [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:" + c * 64, "size": 10,
                "artifactType": t} for c, t in zip("abcd", ["x/a+b", "x/c", "x/a+b", "x/c"])]
    for filtered in (True, False):
        with fs.FaultServer() as s:
            api(s, entries, filtered)
            r = box.run("proppush", "referrers", f"{s.host}/a/b@{GOLDEN}", "--json").json()
            assert r["told_by"] == "api" and r["referrers"] == entries and s.count("GET", "/referrers/") == 4
            r = box.run("proppush", "referrers", f"{s.host}/a/b@{GOLDEN}", "--artifact-type", "x/a+b", "--json").json()
            assert r["referrers"] == [entries[0], entries[2]]
            assert "artifactType=x%2Fa%2Bb" in [q.path for q in s.requests if "referrers" in q.path][4]


def test_oci_subject_header_means_no_tag(box):
    with fs.FaultServer() as s:
        def honour(h):
            if b'"subject"' in h.read_body():
                h.extra = {"OCI-Subject": GOLDEN}
            return False
        s.fault("PUT", "/manifests/", honour, times=10**6)
        push(box, ADDITION, f"{s.host}/a/b:v1")
        r = attach(box, f"{s.host}/a/b:sbom", GOLDEN, "sbom")
        assert "referrers_tag" not in r
        assert [t for _, t in s.manifests if t.startswith("sha256-")] == []


def test_a_race_on_the_fallback_tag(box):
    """Another writer's list replaces ours twice: it is written again, and theirs stays."""
    with fs.FaultServer() as s:
        push(box, ADDITION, f"{s.host}/a/b:v1")
        theirs = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:" + "e" * 64, "size": 1}

        def overwrite(h):
            body = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                               "manifests": [theirs]}).encode()
            digest = fs.digest_of(h.read_body())
            s.manifests["a/b", "sha256-" + GOLDEN[7:]] = body, "application/vnd.oci.image.index.v1+json"
            h.answer(201, b"", {"Docker-Content-Digest": digest})
            return True
        s.fault("PUT", "/manifests/sha256-", overwrite, times=2)
        r = attach(box, f"{s.host}/a/b:sbom", GOLDEN, "sbom")
        found = box.run("proppush", "referrers", f"{s.host}/a/b:v1", "--json").json()["referrers"]
        assert [d["digest"] for d in found] == [theirs["digest"], r["digest"]]
        s.fault("PUT", "/manifests/sha256-", overwrite, times=10**6)
        (box / "x.txt").write_text("x")
        e = refused(box, "push", "x.txt:text/plain", "--subject", GOLDEN, f"{s.host}/a/b:x", code=6, id="referrers-race")
        assert "again" in e["hint"] and ("a/b", "x") not in s.manifests


def test_what_another_writer_lost_is_put_back(box):
    """A slow writer's list lacks what was added since he read it: ours, and what we saw of others."""
    with fs.FaultServer() as s:
        push(box, ADDITION, f"{s.host}/a/b:v1")
        first = attach(box, f"{s.host}/a/b:one", GOLDEN, "one")
        tag, calls = ("a/b", "sha256-" + GOLDEN[7:]), []
        old = s.manifests[tag]

        def forget_all(h):
            calls.append(h.path)
            if len(calls) == 2:  # after ours was written, when it is looked at again
                late = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:" + "e" * 64, "size": 1}
                body = json.dumps({"schemaVersion": 2, "mediaType": old[1], "manifests": [late]}).encode()
                s.manifests[tag] = body, old[1]
            return False
        s.fault("GET", "/manifests/sha256-", forget_all, times=10**6)
        second = attach(box, f"{s.host}/a/b:two", GOLDEN, "two")
        found = json.loads(s.manifests[tag][0])["manifests"]
        assert {d["digest"] for d in found} == {first["digest"], second["digest"], "sha256:" + "e" * 64}
        # what was deleted meanwhile stays away
        calls.clear()
        s.rules.clear()

        def deleted(h):
            calls.append(h.path)
            if len(calls) == 2:
                s.manifests.pop(("a/b", first["digest"]))
                s.manifests[tag] = old[0].replace(b"sha256:" + first["digest"][7:].encode(), b"sha256:" + b"d" * 64), old[1]
            return False
        s.fault("GET", "/manifests/sha256-", deleted, times=10**6)
        third = attach(box, f"{s.host}/a/b:three", GOLDEN, "three")
        found = {d["digest"] for d in json.loads(s.manifests[tag][0])["manifests"]}
        assert third["digest"] in found and second["digest"] in found and first["digest"] not in found


def test_ten_writers_at_once(box, registry):
    """Every one of ten pushes that refer to one image is listed, whoever overwrites whom."""
    name = f"{registry.host}/team/app"
    push(box, ADDITION, f"{name}:v1")
    for turn in range(2):
        runs = []
        for i in range(10):
            (box / f"{turn}-{i}.txt").write_text(f"{turn} {i}")
            runs.append(subprocess.Popen([BIN / "proppush", "push", f"{turn}-{i}.txt:text/plain", "--subject", GOLDEN,
                                          f"{name}:a{turn}-{i}", "--json"], env=box.env, cwd=box.path,
                                         stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        told = []
        for p in runs:
            out, err = p.communicate(timeout=120)
            assert p.returncode == 0, err
            told.append(json.loads(out)["digest"])
        found = [d["digest"] for d in box.run("proppush", "referrers", f"{name}:v1", "--json").json()["referrers"]]
        assert set(told) <= set(found) and len(found) == len(set(found)) == 10 * (turn + 1)


def test_bad_lists_of_referrers(box):
    ref = "a/b@" + GOLDEN
    with fs.FaultServer() as s:
        for body in (b"[]", b'{"manifests":{}}', b'{"manifests":[{"digest":"x"}]}', b"<html>", b'{"manifests":[1]}'):
            s.fault("GET", "/referrers/", fs.status(200, body))
            r = box.run("proppush", "referrers", f"{s.host}/{ref}", "--json", ok=None)
            assert r.returncode in (3, 6) and r.stdout == b"", (body, r.err)
        s.fault("GET", "/referrers/", fs.status(200, b'{"manifests":[]}', {"Link": '<http://127.0.0.9:1/x>; rel="next"'}))
        refused(box, "referrers", f"{s.host}/{ref}", code=6, id="foreign-location")
        s.fault("GET", "/referrers/", fs.status(403))
        refused(box, "referrers", f"{s.host}/{ref}", code=5, id="denied")
        s.manifests["a/b", "sha256-" + GOLDEN[7:]] = b'{"schemaVersion":2,"config":{},"layers":[]}', "application/vnd.oci.image.manifest.v1+json"
        refused(box, "referrers", f"{s.host}/{ref}", code=3, id="bad-referrers")
