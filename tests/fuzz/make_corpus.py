#!/usr/bin/env python3
"""Writes the corpora, tests/fuzz/corpus/TARGET/*, from tests/vectors and examples. usage: make_corpus.py

Run it again when vectors are added; inputs that a crash left behind are kept (they are not named
like the ones made here).
"""
import base64
import hashlib
import io
import json
import pathlib
import struct
import tarfile

here = pathlib.Path(__file__).resolve().parent
vectors = here.parent / "vectors"
cases = vectors / "ocicrypt"
ENC = "org.opencontainers.image.enc."


def put(target, name, data):
    data = data if isinstance(data, bytes) else data.encode()
    assert len(data) <= 64 << 10, name
    folder = here / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    seen = {p.read_bytes() for p in folder.glob("v-*") if p.name != f"v-{name}"}
    if data not in seen:
        (folder / f"v-{name}").write_bytes(data)


def manifests():
    """(name, index bytes, manifest bytes) of every layout among the fixtures."""
    for index in sorted(cases.rglob("index.json")):
        layout = index.parent
        name = "-".join(layout.relative_to(cases).parts).replace("-layout", "")
        entry = json.loads(index.read_bytes())["manifests"][0]
        yield name, index.read_bytes(), (layout / "blobs/sha256" / entry["digest"][7:]).read_bytes()


def layers():
    for name, index, manifest in manifests():
        put("index", name, index)
        put("manifest", name, manifest)
        for i, layer in enumerate(json.loads(manifest)["layers"]):
            put("annotations", f"{name}-{i}", json.dumps(layer, separators=(",", ":")))
            for key, value in layer.get("annotations", {}).items():
                if not key.startswith(ENC):
                    continue
                for k, block in enumerate(value.split(",")):
                    raw = base64.b64decode(block)
                    target = {"jwe": "jwe", "pkcs7": "pkcs7"}.get(key.rsplit(".", 1)[1])
                    if key.endswith("attestation-agent"):
                        target = "packet"
                    if target:
                        put(target, f"{name}-{i}-{k}", raw)


def options():
    """Public and private options as ocicrypt.md's vector has them, and what readers tolerate."""
    public = ('{"cipher":"AES_256_CTR_HMAC_SHA256","hmac":"hIY4SNTfelTaE7TzluwNRbqou8YVw9Z/je0JnhrJ8ns=",'
              '"cipheroptions":{}}')
    private = ('{"symkey":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","digest":"sha256:'
               'f61fd62f57c41269c3c23f360eeaf1090b1db9c38651106674d48bc65dba88ba",'
               '"cipheroptions":{"nonce":"8PHy8/T19vf4+fr7/P3+/w=="}}')
    nonce = '"cipheroptions":{"nonce":"8PHy8/T19vf4+fr7/P3+/w=="}'
    put("options", "vector", public + "\n" + private)
    put("options", "public-nonce", public.replace('"cipheroptions":{}', nonce) + "\n"
        + private.replace("," + nonce, ""))
    put("options", "both-nonces", public.replace('"cipheroptions":{}', nonce) + "\n" + private)
    put("options", "null", public.replace("{}", "null") + "\n" + private)


def jose():
    for path in sorted((vectors / "jose").glob("rfc75*.json")):
        doc = json.loads(path.read_bytes())
        for member in ("compact", "flattened", "general"):
            if member in doc:
                text = doc[member] if isinstance(doc[member], str) else json.dumps(doc[member])
                put("jwe", f"{path.stem}-{member}", text)
    for i, case in enumerate(json.loads((vectors / "jose/ocicrypt.json").read_bytes())["cases"]):
        put("jwe", f"ocicrypt-{i}", case["jwe"] if isinstance(case["jwe"], str) else json.dumps(case["jwe"]))
    for path in sorted((vectors / "kbs").glob("kbs-vector-jwe-*.json")):
        put("jwe", path.stem, json.loads(path.read_bytes())["resource_response_raw"])


def references():
    digest = "sha256:" + hashlib.sha256(b"").hexdigest()
    texts = ["alpine", "library/alpine:3", "127.0.0.1:5000/team/app:v1", "docker://localhost/a/b@" + digest,
             "registry.example.com/team/app:v1@" + digest, "[::1]:5000/a/b:c", "oci:images:v1", "oci:/tmp/x",
             "oci-archive:image.tar:v1", "dir:folder", "sink:", "-", "./add.wasm", "kbs:///default/key/x",
             "kbs://kbs.example.com:8080/default/key/x", "default/key/x", "/default/key/x", "host/a/b/c", digest,
             "sha512:" + hashlib.sha512(b"").hexdigest(), "kbs+resource:///a/b/c", "oci:a:b:c", "docker://"]
    for i, text in enumerate(texts):
        put("reference", f"{i:02d}", text)


def folders():
    root = cases / "50-dir/layout"
    if not (root / "manifest.json").exists():
        root = next(p.parent for p in (cases / "50-dir").rglob("manifest.json"))
    blob = next(p.read_bytes() for p in sorted(root.iterdir()) if p.name not in ("manifest.json", "version"))
    put("folder", "dir", b"\0".join([(root / "manifest.json").read_bytes(), (root / "version").read_bytes(), blob]))
    for name, index, manifest in list(manifests())[:6]:
        put("folder", name, b"\0".join([index, b'{"imageLayoutVersion":"1.0.0"}', manifest]))


def archives():
    put("archive", "51", (cases / "51-oci-archive/archive.tar").read_bytes())
    for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=kind) as tar:
            name, index, manifest = next(manifests())
            files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index}
            files["blobs/sha256/" + hashlib.sha256(manifest).hexdigest()] = manifest
            files["long/" + "a" * 90 + "/" + "b" * 90] = b"long name"
            for path, data in files.items():
                info = tarfile.TarInfo(path)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            link = tarfile.TarInfo("link")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
        put("archive", f"made-{kind}", out.getvalue())


def messages():
    for name in ("requests", "replies-array", "replies-base64"):
        lines = (cases / f"20-keyprovider-cmd/{name}.jsonl").read_text().splitlines()
        for i, line in enumerate(lines[:4]):
            put("keyprovider", f"{name}-{i}", line)
    options64 = base64.b64encode(b'{"symkey":"AA=="}').decode()
    params = {"Parameters": {"attestation-agent": [base64.b64encode(b"keyid=kbs:///a/b/c").decode()]}}
    put("keyprovider", "wrap", json.dumps({
        "op": "keywrap", "keywrapparams": {"ec": {**params, "DecryptConfig": {"Parameters": {}}},
                                           "optsdata": options64},
        "keyunwrapparams": {"dc": None, "annotation": None}}))
    put("keyprovider", "unwrap", json.dumps({
        "op": "keyunwrap", "keywrapparams": {"ec": None, "optsdata": None},
        "keyunwrapparams": {"dc": params, "annotation": options64}}))


def policies():
    for path in sorted((here.parent.parent / "examples/policies").glob("*.json")):
        if "cases" not in path.name:
            put("policy", path.stem, path.read_bytes())
    put("policy", "empty", '{"version":1}')
    put("policy", "one", '{"version":1,"rule":[{"resource":"default/key/*","tee":"sample"}]}\n')
    put("policy", "snp", json.dumps({"version": 1, "rule": [
        {"resource": "default/key/addition", "tee": "snp", "tier": "affirming",
         "measurement": ["sha384:" + "0" * 96]}]}, indent=2))


def measured():
    for path in sorted((vectors / "measure").glob("*.bin")):
        if path.name.startswith(("fw-", "kernel")):
            put("measure", path.stem, path.read_bytes())
    head = 'version = "0.1.0"\nalgorithm = "sha384"\n\n[data]\n'
    put("initdata", "empty", head)
    put("initdata", "two", head + '"aa.toml" = \'\'\'\n[token_configs.kbs]\nurl = "https://kbs.example"\n\'\'\'\n'
        'text = """\n\\\n  a \\u00e9 \\"""" # end\n')


def evidence():
    """Made up: what real machines gave stays outside of the tree."""
    report = bytearray(1184)
    report[0], report[0x34], report[0x0a], report[0x188], report[0x189] = 3, 1, 3, 0x19, 0x11
    report[0x50:0x90] = bytes(range(64))
    put("evidence", "report-v3", bytes(report))
    put("evidence", "report-v2", b"\2" + bytes(report[1:0x188]) + bytes(1184 - 0x188))
    report[0], report[0x188] = 5, 0x1a
    put("evidence", "report-v5", bytes(report))
    quote = bytearray(48 + 584)
    quote[0], quote[2], quote[4] = 4, 2, 0x81
    put("evidence", "quote-v4", bytes(quote))
    put("evidence", "quote-v5", b"\5" + bytes(quote[1:48]) + struct.pack("<HI", 2, 584) + bytes(584))
    header = struct.pack("<II20xI", 0, 3, 37) + bytes(24) + struct.pack("<IHHHHB", 2, 12, 48, 18, 32, 0)
    text = b"domain operation content"
    entry = struct.pack("<IIIH", 4, 6, 1, 12) + bytes(48) + struct.pack("<I4sI", len(text) + 8, b"LEAA", len(text)) + text
    put("evidence", "log", header + entry + entry + b"\xff" * 8)
    b64 = [base64.b64encode(x).decode() for x in (quote, header + entry + b"\xff" * 8)]
    put("evidence", "tdx", json.dumps({"tee-evidence": {"primary_evidence": {"quote": b64[0], "cc_eventlog": b64[1]}}}))
    put("evidence", "sample", json.dumps({"evidence": {"svn": "1", "report_data": "AA=="}}))
    guid = bytes.fromhex("63da758de6644564adc5f4b93be8accd")
    put("evidence", "table", guid + struct.pack("<II", 48, 16) + bytes(24) + b"0123456789abcdef")
    tcb = {"fmc": None, "bootloader": 1, "tee": 0, "snp": 2, "microcode": 3}
    fw = {"major": 1, "minor": 2, "build": 3}
    sizes = {"family_id": 16, "image_id": 16, "report_data": 64, "measurement": 48, "host_data": 32, "id_key_digest": 48,
             "author_key_digest": 48, "report_id": 32, "report_id_ma": 32, "chip_id": 64}
    put("evidence", "snp", json.dumps({"attestation_report": {
        "version": 3, "guest_svn": 0, "policy": 196608, "vmpl": 0, "sig_algo": 1, "plat_info": 1, "key_info": 0,
        "cpuid_fam_id": 25, "cpuid_mod_id": 17, "cpuid_step": 1, "launch_mit_vector": None, "current_mit_vector": None,
        "current": fw, "committed": fw, **{n: tcb for n in ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb")},
        **{n: [0] * k for n, k in sizes.items()}, "signature": {"r": [0] * 72, "s": [0] * 72}}, "cert_chain": None},
        separators=(",", ":")))


for make in (layers, options, jose, references, folders, archives, messages, policies, measured, evidence):
    make()
for folder in sorted((here / "corpus").iterdir()):
    print(f"{folder.name}: {len(list(folder.iterdir()))} inputs")
