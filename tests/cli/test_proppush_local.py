"""proppush on files, layouts, archives and folders: no server."""
import hashlib
import json
import os
import shutil
import subprocess
import tarfile

import pytest

from conftest import BIN, VECTORS, need

FIX = VECTORS / "ocicrypt"
ADDITION = FIX / "wasm/addition.wasm"
GOLDEN = "sha256:dc3ef967b8fb17f99bee152d0a385addf3dcc978af37e0341a1aa77c30393039"
LAYER = "sha256:f61fd62f57c41269c3c23f360eeaf1090b1db9c38651106674d48bc65dba88ba"
ENCRYPTED = FIX / "41-wasm-jwe-rsa/layout"


def names_of(layout):
    index = json.loads((layout / "index.json").read_bytes())
    return [m.get("annotations", {}).get("org.opencontainers.image.ref.name") for m in index["manifests"]]


def blob_of(layout, digest):
    return (layout / "blobs" / digest.replace(":", "/")).read_bytes()


def refused(box, *argv, code, id):
    r = box.run("proppush", *argv, "--json", ok=code)
    error = r.error()
    assert error["code"] == id, error
    assert r.stdout == b""
    assert len([line for line in r.err.splitlines() if line]) == 1
    return error


def test_golden_manifest(box):
    r = box.run("proppush", "push", ADDITION, "oci:layout:v1", "--json").json()
    assert r["digest"] == GOLDEN
    got = blob_of(box / "layout", GOLDEN)
    assert got == blob_of(FIX / "01-plain-wasm-to-oci/layout", GOLDEN)
    assert blob_of(box / "layout", LAYER) == ADDITION.read_bytes()
    assert (box / "layout/oci-layout").read_bytes() == b'{"imageLayoutVersion":"1.0.0"}'
    assert names_of(box / "layout") == ["v1"]
    # the same again changes nothing
    before = (box / "layout/index.json").read_bytes()
    assert box.run("proppush", "push", ADDITION, "oci:layout:v1", "--json").json()["digest"] == GOLDEN
    assert (box / "layout/index.json").read_bytes() == before


def test_stdin_and_title(box):
    r = box.run("proppush", "push", "-", "oci:a:v1", "--json", stdin=ADDITION.read_bytes()).json()
    manifest = json.loads(blob_of(box / "a", r["digest"]))
    assert manifest["layers"][0]["annotations"] == {"org.opencontainers.image.title": "module.wasm"}
    r = box.run("proppush", "push", "-", "oci:a:v2", "--title", "addition.wasm", "--json",
                stdin=ADDITION.read_bytes()).json()
    assert r["digest"] == GOLDEN
    r = box.run("proppush", "push", ADDITION, "oci:a:v3", "--title", "", "--json").json()
    assert "annotations" not in json.loads(blob_of(box / "a", r["digest"]))["layers"][0]
    r = box.run("proppush", "push", ADDITION, "oci:a:v4", "--title", "a<b>&c.wasm", "--json").json()
    assert b"a\\u003cb\\u003e\\u0026c.wasm" in blob_of(box / "a", r["digest"])


@pytest.mark.parametrize("case", sorted(p.name for p in FIX.iterdir() if p.name[0].isdigit()))
def test_every_fixture_copies_byte_exact(box, case):
    """Through each local kind of place and back."""
    if case.startswith("60-"):
        sources = [f"oci:{p}" for p in sorted((FIX / case).iterdir()) if (p / "oci-layout").exists()]
    elif case.startswith("50-"):
        sources = [f"dir:{FIX / case}/layout"]
    elif case.startswith("51-"):
        sources = [f"oci-archive:{FIX / case}/archive.tar"]
    else:
        sources = [f"oci:{FIX / case}/layout"]
    assert sources
    for i, source in enumerate(sources):
        raw = box.run("proppush", "inspect", "--raw", source).stdout
        want = "sha256:" + hashlib.sha256(raw).hexdigest()
        chain = [source, f"oci-archive:{i}.tar:x", f"dir:d{i}", f"oci:l{i}:x/y:z"]
        for src, dst in zip(chain, chain[1:]):
            assert box.run("proppush", "copy", src, dst, "--json").json()["digest"] == want
        assert blob_of(box / f"l{i}", want) == raw
        assert names_of(box / f"l{i}") == ["x/y:z"]
        for d in json.loads(raw)["layers"]:
            assert "sha256:" + hashlib.sha256(blob_of(box / f"l{i}", d["digest"])).hexdigest() == d["digest"]
    assert not list(box.path.glob("*.new-*"))


def test_names_move_and_tags(box):
    box.run("proppush", "push", ADDITION, "oci:a:v1")
    box.run("proppush", "copy", f"oci:{ENCRYPTED}", "oci:a:v1")
    assert names_of(box / "a") == [None, "v1"]
    box.run("proppush", "tag", "oci:a:v1", "stable")
    assert box.run("proppush", "list-tags", "oci:a").out.split() == ["stable", "v1"]
    assert box.run("proppush", "list-tags", "oci:a", "--json").json()["tags"] == ["stable", "v1"]
    # by digest, named or not
    r = box.run("proppush", "inspect", f"oci:a:@{GOLDEN}", "--json").json()
    assert r["digest"] == GOLDEN and not r["layers"][0]["encrypted"]
    e = refused(box, "inspect", "oci:a", code=2, id="which-image")
    assert "stable, v1" in e["hint"]
    e = refused(box, "inspect", "oci:a:v2", code=8, id="image-not-found")
    assert "stable, v1" in e["hint"]


def test_inspect(box):
    r = box.run("proppush", "inspect", f"oci:{ENCRYPTED}", "--json").json()
    assert r["layers"][0]["encrypted"] and r["layers"][0]["mediaType"].endswith("+encrypted")
    assert r["version"] == 1 and r["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    text = box.run("proppush", "inspect", f"oci:{ENCRYPTED}").out
    assert r["digest"] in text and "addition.wasm" in text
    assert box.run("proppush", "inspect", "--config", f"oci:{ENCRYPTED}").stdout == b"{}"
    index = box / "idx"
    box.run("proppush", "push", ADDITION, "oci:idx:v1")
    inner = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                        "manifests": json.loads((index / "index.json").read_bytes())["manifests"]}).encode()
    digest = hashlib.sha256(inner).hexdigest()
    (index / "blobs/sha256" / digest).write_bytes(inner)
    (index / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": f"sha256:{digest}", "size": len(inner)}]}))
    r = box.run("proppush", "inspect", "oci:idx", "--json").json()
    assert [m["digest"] for m in r["manifests"]] == [GOLDEN]
    assert r["manifests"][0]["layers"][0]["digest"] == LAYER and not r["manifests"][0]["encrypted"]


def test_pull_to_file(box):
    box.run("proppush", "push", ADDITION, "oci:a:v1")
    r = box.run("proppush", "pull", "oci:a:v1", "out.wasm", "--json").json()
    assert (box / "out.wasm").read_bytes() == ADDITION.read_bytes()
    assert r["layer"] == LAYER and r["digest"] == GOLDEN
    refused(box, "pull", "oci:a:v1", "out.wasm", code=7, id="file-exists")
    box.run("proppush", "pull", "oci:a:v1", "out.wasm", "--force")
    assert box.run("proppush", "pull", "oci:a:v1", "-").stdout == ADDITION.read_bytes()
    e = refused(box, "pull", f"oci:{ENCRYPTED}", "enc.wasm", code=9, id="encrypted-layer")
    assert "propenc decrypt" in e["hint"]
    e = refused(box, "pull", f"oci:{FIX}/05-plain-image-tar/layout", "tar.wasm", code=3, id="no-wasm-layer")
    assert not (box / "enc.wasm").exists() and not (box / "tar.wasm").exists()
    refused(box, "pull", "oci:a:v1", "pinned.wasm", "--digest", LAYER, code=4, id="digest-mismatch")
    assert not (box / "pinned.wasm").exists()
    box.run("proppush", "pull", "oci:a:v1", "pinned", "--digest", GOLDEN)
    assert (box / "pinned").read_bytes() == ADDITION.read_bytes()


def test_bad_sources(box):
    refused(box, "push", "absent.wasm", "oci:out:v1", code=8, id="no-such-source")
    refused(box, "push", "oci:absent:v1", "oci:out:v1", code=8, id="no-such-source")
    refused(box, "push", "dir:absent", "oci:out:v1", code=8, id="no-such-source")
    refused(box, "push", "oci-archive:absent.tar", "oci:out:v1", code=8, id="no-such-source")
    (box / "text.wasm").write_text("not a module at all")
    refused(box, "push", "text.wasm", "oci:out:v1", code=3, id="not-wasm")
    (box / "short.wasm").write_bytes(b"\0as")
    refused(box, "push", "short.wasm", "oci:out:v1", code=3, id="not-wasm")
    (box / "empty.wasm").write_bytes(b"")
    refused(box, "push", "empty.wasm", "oci:out:v1", code=3, id="not-wasm")
    (box / "folder.wasm").mkdir()
    refused(box, "push", "folder.wasm", "oci:out:v1", code=3, id="not-a-file")
    refused(box, "push", "oci:folder.wasm", "oci:out:v1", code=3, id="not-a-layout")
    refused(box, "push", "addition", "oci:out:v1", code=8, id="no-such-source")
    refused(box, "push", "docker-archive:x.tar", "oci:out:v1", code=9, id="transport")
    refused(box, "push", "sink:", "oci:out:v1", code=2, id="bad-location")
    refused(box, "push", ADDITION, "out.wasm", code=2, id="bad-location")
    refused(box, "push", f"oci:{ENCRYPTED}", "oci:out:v1", "--title", "x", code=2, id="usage")
    refused(box, "push", "docker://h.x/Team/app", "oci:out:v1", code=3, id="bad-reference")
    assert not (box / "out").exists()


@pytest.mark.parametrize("kind", ["oci", "dir", "oci-archive"])
def test_damage_leaves_nothing(box, kind):
    """Each blob damaged in turn: a flipped byte, a byte less, a byte more, gone."""
    box.run("proppush", "copy", f"oci:{ENCRYPTED}", "oci:good:v1")
    digest = box.run("proppush", "inspect", "oci:good:v1", "--json").json()["digest"]
    for name in os.listdir(box / "good/blobs/sha256"):
        for damage, codes in [("flip", (4,)), ("cut", (4,)), ("grow", (4,)), ("gone", (8,))]:
            shutil.rmtree(box / "bad", ignore_errors=True)
            shutil.copytree(box / "good", box / "bad")
            f = box / "bad/blobs/sha256" / name
            data = f.read_bytes()
            if damage == "flip":
                f.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
            elif damage == "cut":
                f.write_bytes(data[:-1])
            elif damage == "grow":
                f.write_bytes(data + b"x")
            else:
                f.unlink()
            dst = {"oci": "oci:out:v1", "dir": "dir:out", "oci-archive": "oci-archive:out:v1"}[kind]
            r = box.run("proppush", "copy", "oci:bad:v1", dst, "--json", ok=None)
            assert r.returncode in codes, (damage, name, r.err)
            assert r.error()["code"] in ("digest-mismatch", "blob-truncated", "size-mismatch", "blob-not-found"), r.err
            assert not (box / "out").exists(), (damage, name)
    assert not list(box.path.glob("*.new-*"))
    assert digest.startswith("sha256:")


def test_bad_layouts(box):
    box.run("proppush", "push", ADDITION, "oci:good:v1")

    def broken(name, text):
        shutil.rmtree(box / "bad", ignore_errors=True)
        shutil.copytree(box / "good", box / "bad")
        if text is None:
            (box / "bad" / name).unlink()
        else:
            (box / "bad" / name).write_text(text)
        return "oci:bad:v1"

    refused(box, "copy", broken("oci-layout", None), "oci:out", code=3, id="not-a-layout")
    refused(box, "copy", broken("oci-layout", '{"imageLayoutVersion":"2.0.0"}'), "oci:out", code=9, id="layout-version")
    refused(box, "copy", broken("index.json", None), "oci:out", code=3, id="not-a-layout")
    for text in ("", "[]", '{"schemaVersion":1,"manifests":[]}', '{"schemaVersion":2}',
                 '{"schemaVersion":2,"schemaVersion":2,"manifests":[]}'):
        r = box.run("proppush", "copy", broken("index.json", text), "oci:out", "--json", ok=3)
        assert r.error()["message"]
    refused(box, "copy", broken("index.json", '{"schemaVersion":2,"manifests":[]}'), "oci:out", code=8,
            id="image-not-found")
    assert not (box / "out").exists()


def test_destinations_that_hold_something_else(box):
    for kind in ("oci", "dir"):
        folder = box / f"mine-{kind}"
        folder.mkdir()
        (folder / "precious").write_text("x")
        r = box.run("proppush", "push", ADDITION, f"{kind}:{folder}", "--json", ok=7)
        assert os.listdir(folder) == ["precious"], r.err
        empty = box / f"empty-{kind}"
        empty.mkdir()
        box.run("proppush", "push", ADDITION, f"{kind}:{empty}")
        box.run("proppush", "push", ADDITION, f"{kind}:{empty}")
    (box / "a.tar").write_text("no archive")
    refused(box, "push", ADDITION, "oci-archive:a.tar", code=7, id="not-an-archive")
    assert (box / "a.tar").read_text() == "no archive"
    # an image folder changes to the new image as a whole
    box.run("proppush", "copy", f"oci:{ENCRYPTED}", "dir:empty-dir")
    assert not (box / "empty-dir" / LAYER.split(":")[1]).exists()
    assert (box / "empty-dir/version").read_bytes() == b"Directory Transport Version: 1.1\n"
    (box / "empty-dir/version").write_text("Directory Transport Version: 9.9\n")
    refused(box, "inspect", "dir:empty-dir", code=9, id="layout-version")


def test_archive_attacks(box):
    good = box / "good.tar"
    box.run("proppush", "push", ADDITION, "oci-archive:good.tar:v1")
    with tarfile.open(good) as t:
        members = [(m, t.extractfile(m).read() if m.isfile() else None) for m in t.getmembers()]
    assert [m.name for m, _ in members][:2] == ["blobs", "blobs/sha256"]
    assert [m.name for m, _ in members][-2:] == ["index.json", "oci-layout"]

    def write(change):
        import io
        with tarfile.open(box / "bad.tar", "w") as t:
            for m, data in change(members):
                t.addfile(m, io.BytesIO(data) if data is not None else None)
        return "oci-archive:bad.tar:v1"

    def entry(name, **kw):
        m = tarfile.TarInfo(name)
        for k, v in kw.items():
            setattr(m, k, v)
        return m

    for extra in (entry("../evil"), entry("/abs"), entry("a/../../b"),
                  entry("link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
                  entry("hard", type=tarfile.LNKTYPE, linkname="index.json"),
                  entry("dev", type=tarfile.CHRTYPE), entry("index.json")):
        refused(box, "copy", write(lambda ms: ms + [(extra, None)]), "oci:out", code=3, id="bad-archive")
    # any order, ./ prefixes and compression are fine
    def dotted(ms):
        for m, data in reversed(ms):
            m2 = entry("./" + m.name, type=m.type, size=m.size)
            yield m2, data
    assert box.run("proppush", "inspect", write(dotted), "--json").json()["digest"] == GOLDEN
    subprocess.run([need("gzip"), "-f", box / "bad.tar"], check=True)
    assert box.run("proppush", "inspect", "oci-archive:bad.tar.gz:v1", "--json").json()["digest"] == GOLDEN
    (box / "cut.tar").write_bytes(good.read_bytes()[:3000])
    r = box.run("proppush", "copy", "oci-archive:cut.tar:v1", "oci:out", "--json", ok=3)
    assert r.error()["code"] in ("bad-archive", "not-a-layout")
    assert not (box / "out").exists()


def test_modes_follow_the_users_umask(box):
    for umask, file_mode, dir_mode in ((0o022, 0o644, 0o755), (0o077, 0o600, 0o700)):
        where = box / f"u{umask:o}"
        subprocess.run([BIN / "proppush", "push", ADDITION, f"oci:{where}:v1"], env=box.env, check=True,
                       preexec_fn=lambda: os.umask(umask), stdout=subprocess.DEVNULL)
        assert where.stat().st_mode & 0o777 == dir_mode
        for f in where.rglob("*"):
            assert f.stat().st_mode & 0o777 == (dir_mode if f.is_dir() else file_mode), f


def test_writers_share_a_layout(box):
    """Many at once into one new folder: every name is there, each image whole."""
    procs = []
    for i in range(12):
        (box / f"m{i}.wasm").write_bytes(ADDITION.read_bytes() + bytes([0, 3, 1, 0x61, i]))
        procs.append(subprocess.Popen([BIN / "proppush", "push", box / f"m{i}.wasm", f"oci:{box.path}/all:t{i}"],
                                      env=box.env, stdout=subprocess.DEVNULL))
    assert [p.wait(60) for p in procs] == [0] * len(procs)
    assert sorted(names_of(box / "all")) == sorted(f"t{i}" for i in range(12))
    for i in range(12):
        box.run("proppush", "pull", f"oci:all:t{i}", f"out{i}.wasm")
        assert (box / f"out{i}.wasm").read_bytes() == (box / f"m{i}.wasm").read_bytes()


def test_disk_full(box):
    """A file-size limit stands in for a full disk."""
    big = box / "big.wasm"
    big.write_bytes(b"\0asm\1\0\0\0" + bytes(3 << 20))
    for dst, left in (("oci:out:v1", "out"), ("dir:out", "out"), ("oci-archive:out:v1", "out")):
        r = box.run("sh", "-c", f"trap '' XFSZ; ulimit -f 1024; exec proppush push big.wasm {dst} --json", ok=7)
        assert r.error()["code"]
        assert not (box / left).exists()
    assert not list(box.path.glob("*.new-*"))
