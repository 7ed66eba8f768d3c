"""Images made by hand for the tests: layouts with tar layers, indexes, Docker manifests, components."""
import gzip
import hashlib
import io
import json
import tarfile

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
REF = "org.opencontainers.image.ref.name"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def compact(doc):
    return json.dumps(doc, separators=(",", ":")).encode()


def tar(name, data):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        t.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Layout:
    """An OCI layout folder that is filled blob by blob."""

    def __init__(self, path):
        self.path = path
        self.blobs = path / "blobs/sha256"
        self.blobs.mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self.entries = []

    def put(self, media_type, content, **more):
        (self.blobs / sha256(content)).write_bytes(content)
        return {"mediaType": media_type, "digest": "sha256:" + sha256(content), "size": len(content), **more}

    def image(self, layers, config=None, kind=OCI + "manifest.v1+json", config_type=OCI + "config.v1+json"):
        """A manifest's descriptor. Layers are (media type, bytes, plain bytes)."""
        if config is None:
            config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {
                "type": "layers", "diff_ids": ["sha256:" + sha256(plain) for _, _, plain in layers]}}
        doc = {"schemaVersion": 2, "mediaType": kind, "config": self.put(config_type, compact(config)),
               "layers": [self.put(t, data) for t, data, _ in layers]}
        return self.put(kind, compact(doc))

    def index(self, entries, kind=OCI + "index.v1+json", **more):
        """Of (descriptor, platform or None)."""
        doc = {"schemaVersion": 2, "mediaType": kind,
               "manifests": [{**d, **({"platform": p} if p else {})} for d, p in entries], **more}
        return self.put(kind, compact(doc))

    def name(self, descriptor, name="v1"):
        self.entries.append({**descriptor, "annotations": {REF: name}})
        (self.path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": self.entries}))

    def read(self, descriptor):
        return json.loads((self.blobs / descriptor["digest"][7:]).read_bytes())


def opened(path):
    """An existing layout."""
    layout = object.__new__(Layout)
    layout.path, layout.blobs = path, path / "blobs/sha256"
    layout.entries = json.loads((path / "index.json").read_text())["manifests"]
    return layout


def named(path, name="v1"):
    """(layout, descriptor, document) of what a name stands for."""
    layout = opened(path)
    for e in layout.entries:
        if e.get("annotations", {}).get(REF) == name:
            return layout, e, layout.read(e)
    raise AssertionError(f"no {name} in {layout.entries}")


def layer(text, kind="gzip"):
    plain = tar("hello.txt", text.encode())
    types = {"gzip": (OCI + "layer.v1.tar+gzip", gzip.compress(plain, mtime=0)), "tar": (OCI + "layer.v1.tar", plain),
             "docker": (DOCKER + "image.rootfs.diff.tar.gzip", gzip.compress(plain, mtime=0))}
    return (*types[kind], plain)


# --- components, by the component-model's Binary.md --------------------------------------------

def leb(n):
    out = b""
    while True:
        n, low = n >> 7, n & 0x7f
        out += bytes([low | (0x80 if n else 0)])
        if not n:
            return out


def section(number, body):
    return bytes([number]) + leb(len(body)) + body


def text(s):
    return leb(len(s.encode())) + s.encode()


PREAMBLE = b"\0asm\x0d\0\1\0"


def component(imports=(), exports=(), before=b"", after=b""):
    """Imports and exports of instances; `before` and `after` are raw sections."""
    body = PREAMBLE + before
    if imports:
        body += section(10, leb(len(imports)) + b"".join(b"\0" + text(n) + b"\5\0" for n in imports))
    if exports:
        body += section(11, leb(len(exports)) + b"".join(b"\0" + text(n) + b"\5\0\0" for n in exports))
    return body + after
