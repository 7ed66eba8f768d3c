"""propcvm run: from image to result, and everything that must be refused on the way."""
import base64
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from conftest import BIN, ROOT, VECTORS, free_port

MODULES = ROOT / "examples" / "modules"
PATH = "default/key/addition"
KID = f"kbs:///{PATH}"
ALLOW = 'package policy\nimport rego.v1\ndefault allow := false\nallow if data["resource-path"][2] != "secret"\n'


def agent(key, kid=KID):
    return f"provider:attestation-agent:keypath={key}::keyid={kid}::algorithm=A256GCM"


class Site:
    """A working folder with a KEK, encrypted layouts, and (when asked for) a key broker that knows it."""

    def __init__(self, box):
        self.box = box
        self.kek = box / "kek"
        self.kek.write_bytes(os.urandom(32))
        self.kek.chmod(0o600)
        self.tmp = box / "tmp"
        self.tmp.mkdir()
        box.env["TMPDIR"] = str(self.tmp)
        self.kbs = None

    def encrypt(self, module, name="img", kid=KID, key=None):
        source = module if os.sep in str(module) else MODULES / module
        self.box.run("propenc", "encrypt", source, f"oci:{name}:v1", "-r", agent(key or self.kek, kid))
        return f"oci:{name}:v1"

    def use(self, kbs, path=PATH, kek=None):
        self.kbs = kbs
        admin = ("--kbs", kbs.url, "--admin-key", kbs.admin_key)
        (self.box / "allow.rego").write_text(ALLOW)
        self.box.run("propkey", "set", path, kek or self.kek, *admin)
        self.box.run("propkey", "policy", "set", "allow.rego", "--allow-wider", *admin)

    def run(self, what, *args, ok=True, local=False, **kw):
        """With the key broker (sample evidence) when there is one, else with the KEK file."""
        keys = ["--kbs", self.kbs.url, "--tee", "sample"] if self.kbs and not local else ["--key", self.kek]
        return self.box.run("propcvm", "run", what, *keys, *args, ok=ok, **kw)

    def refused(self, code, status, what, *args, **kw):
        """One clear line, its own code, the class's status, nothing on stdout, nothing left behind."""
        before = sorted(self.box.path.rglob("*"))
        r = self.run(what, "--json", *args, ok=status, **kw)
        e = r.error()
        assert e["code"] == code, e
        assert e["message"] and "\n" not in e["message"]
        assert r.out == ""
        assert sorted(self.box.path.rglob("*")) == before
        return e


@pytest.fixture
def site(box):
    return Site(box)


@pytest.fixture
def attested(site, kbs):
    site.use(kbs)
    return site


def blobs(site, name="img"):
    folder = site.box / name
    index = json.loads((folder / "index.json").read_text())
    manifest = folder / "blobs/sha256" / index["manifests"][0]["digest"][7:]
    layer = folder / "blobs/sha256" / json.loads(manifest.read_text())["layers"][0]["digest"][7:]
    return folder, manifest, layer


def rewrite(site, change, name="img"):
    """Let change(manifest, layer bytes) alter an image, and make all its digests fit again."""
    folder, path, layer = blobs(site, name)
    manifest = json.loads(path.read_text())
    data = bytearray(layer.read_bytes())
    change(manifest, data)

    def put(content):
        digest = hashlib.sha256(content).hexdigest()
        (folder / "blobs/sha256" / digest).write_bytes(content)
        return f"sha256:{digest}", len(content)

    manifest["layers"][0]["digest"], manifest["layers"][0]["size"] = put(bytes(data))
    index = json.loads((folder / "index.json").read_text())
    digest, size = put(json.dumps(manifest, separators=(",", ":")).encode())
    index["manifests"][0].update(digest=digest, size=size)
    (folder / "index.json").write_text(json.dumps(index))


def task(site, **members):
    doc = {"name": "add", "image_url": "oci:img:v1", "kbs_resource_path": PATH, "encrypted": True,
           "cli_args": ["--invoke", "add"], "inputs": [10, 20]}
    doc.update(members)
    doc = {k: v for k, v in doc.items() if v is not ...}
    (site.box / "task.json").write_text(json.dumps(doc))
    return "task.json"


# --- it runs ------------------------------------------------------------------------------------------

def test_the_attested_machine_gets_the_result(attested):
    image = attested.encrypt("add.wasm")
    assert attested.run(image, "--invoke", "add", "--", "10", "20").out == "30\n"
    assert attested.run(image, "--invoke", "add", "--kid", PATH, "--", "-7", "2").out == "-5\n"
    assert attested.run(image, "--invoke", "divmod", "--kid", KID, "--", "7", "2").out == "3\n1\n"


def test_the_result_document(attested):
    image = attested.encrypt("add.wasm")
    doc = attested.run(image, "--invoke", "mean", "--json", "--", "1", "2").json()
    timing = doc.pop("timing")
    manifest = json.loads((attested.box / "img/index.json").read_text())["manifests"][0]["digest"]
    assert doc == {"version": 1, "name": "img", "image": image, "results": "1.5\n", "stderr": "",
                   "exit_status": 0, "digest": manifest, "encrypted": True, "kid": PATH}
    assert set(timing) == {"pull_ms", "attest_ms", "decrypt_ms", "compile_ms", "run_ms"}
    assert all(isinstance(v, float) and v >= 0 for v in timing.values()) and timing["attest_ms"] > 0


def test_a_key_file_needs_no_broker(site):
    image = site.encrypt("add.wasm")
    assert site.run(image, "--invoke", "add", "--", "1", "2").out == "3\n"
    # a KEK as base64 text is the same key; a named broker is not asked
    site.kek.write_text(base64.b64encode(site.kek.read_bytes()).decode() + "\n")
    assert site.run(image, "--invoke", "add", "--kbs", "http://127.0.0.1:1", "--", "1", "2").out == "3\n"


@pytest.mark.parametrize("form", ["raw", "base64"])
def test_both_forms_of_the_key_at_the_broker(site, kbs, form):
    image = site.encrypt("add.wasm")
    stored = site.box / "stored"
    raw = site.kek.read_bytes()
    stored.write_bytes(raw if form == "raw" else base64.b64encode(raw))
    stored.chmod(0o600)
    admin = ("--kbs", kbs.url, "--admin-key", kbs.admin_key)
    site.box.run("propkey", "set", PATH, stored, *(["--raw"] if "--raw" in site.box.run("propkey", "set", "--help").out else []), *admin)
    site.box.run("propkey", "policy", "preset", "allow-all", *admin)
    site.kbs = kbs
    assert site.run(image, "--invoke", "add", "--", "10", "20").out == "30\n"


@pytest.mark.parametrize("kind", ["docker", "dir"])
def test_other_sources(attested, kind, request):
    attested.encrypt("add.wasm")
    if kind == "docker":
        target = f"docker://{request.getfixturevalue('registry').host}/team/addition:encrypted"
    else:
        target = "dir:copy"
    attested.box.run("propenc", "encrypt", MODULES / "add.wasm", target, "-r", agent(attested.kek))
    doc = attested.run(target, "--json", "--invoke", "add", "--", "10", "20").json()
    assert doc["results"] == "30\n"
    assert doc["name"] == ("addition" if kind == "docker" else "copy")
    if kind == "docker":
        bare = target[len("docker://"):]
        assert attested.run(bare, "--invoke", "add", "--", "1", "1").out == "2\n"
        pinned = bare.replace(":encrypted", "@" + doc["digest"])
        assert attested.run(pinned, "--invoke", "add", "--", "1", "1").out == "2\n"
        attested.refused("image-not-found", 108, bare.replace("addition", "other"), "--invoke", "add")


def test_a_pin_holds(site):
    image = site.encrypt("add.wasm")
    digest = json.loads((site.box / "img/index.json").read_text())["manifests"][0]["digest"]
    assert site.run(image, "--digest", digest, "--invoke", "add", "--", "1", "2").out == "3\n"
    site.refused("digest-mismatch", 104, image, "--digest", "sha256:" + "0" * 64, "--invoke", "add", "--", "1", "2")
    r = site.run(image, "--digest", "sha256:short", "--invoke", "add", ok=103)
    assert "sha256:short" in r.err


def test_a_command_with_stdin_arguments_and_status(site):
    image = site.encrypt("wc.wasm")
    (site.box / "in.txt").write_text("two words\nand more\n")
    assert site.run(image).out == "0 0 0\n"  # stdin is empty unless it is given
    assert site.run(image, "--stdin", "in.txt").out == "2 4 19\n"
    assert site.run(image, "--stdin", "-", stdin=b"a b\n").out == "1 2 4\n"
    r = site.run(image, "--stdin", "in.txt", "--", "--at-most", "5", ok=3)
    assert r.out == "2 4 19\n" and r.err == "img: more than 5 bytes\n"
    r = site.run(image, "--stdin", "in.txt", "--json", "--", "--at-most", "5", ok=3)
    assert r.json()["exit_status"] == 3 and r.json()["stderr"] == "img: more than 5 bytes\n"
    site.refused("not-found", 108, image, "--stdin", "missing.txt")


def test_a_component(site):
    image = site.encrypt("greet.wasm")
    assert site.run(image, "--invoke", "greet", "--", "Ann").out == '"Hello, Ann!"\n'
    assert site.run(image, "--invoke", "scale", "--", "{x: 1, y: -2}", "3").out == "{x: 3, y: -6}\n"
    e = site.refused("no-export", 108, image, "--invoke", "wave")
    assert "greet" in e["hint"] and "scale" in e["hint"]


def test_proxies_of_the_environment_are_not_asked_for_keys(attested):
    image = attested.encrypt("add.wasm")
    proxy = {n: "http://127.0.0.1:1" for n in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY")}
    r = attested.run(image, "--invoke", "add", "--", "1", "2", env={**proxy, "no_proxy": ""})
    assert r.out == "3\n"


def test_output_that_is_not_text_and_the_output_cap(site):
    wat = site.box / "bytes.wat"
    wat.write_text('''(module (import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32))) (memory (export "memory") 1)
        (data (i32.const 8) "a\\ff\\c3\\a9\\00\\n") (data (i32.const 32) "\\08\\00\\00\\00\\06\\00\\00\\00")
        (func (export "_start")
          (drop (call $write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 48)))))''')
    r = site.run(wat, "--allow-plain")
    assert r.stdout == b"a\xff\xc3\xa9\x00\n"
    assert site.run(wat, "--allow-plain", "--json").json()["results"] == "a\ufffd\u00e9\x00\n"
    site.refused("output", 109, wat, "--allow-plain", "--max-output", "5")


@pytest.mark.parametrize("fixture", ["40-wasm-coco-a256gcm", "41-wasm-jwe-rsa", "42-wasm-jwe-multi",
                                     "43-wasm-jwe-rust", "44-wasm-jwe-comma", "45-cncf-jwe"])
def test_images_that_other_tools_encrypted(box, fixture):
    folder = VECTORS / "ocicrypt"
    keys = []
    for name in ("kek32.bin", "rsa.pem", "ec.pem"):
        shutil.copy(folder / "keys" / name, box / name)
        (box / name).chmod(0o600)
        keys += ["--key", box / name]
    image = f"oci:{folder / fixture / 'layout'}:v1"
    assert box.run("propcvm", "run", image, *keys, "--invoke", "add", "--", "10", "20").out == "30\n"


# --- task manifests -----------------------------------------------------------------------------------

@pytest.mark.parametrize("inputs", [[10, 20], ["10", "20"], [10, "20"]])
def test_the_task_of_the_guide(attested, inputs):
    attested.encrypt("add.wasm")
    doc = attested.run(task(attested, inputs=inputs), "--json").json()
    assert doc["results"] == "30\n" and doc["name"] == "add" and doc["kid"] == PATH


def test_tasks_take_null_and_unknown_members(attested):
    attested.encrypt("wc.wasm")
    t = task(attested, name="count", cli_args=None, inputs=None, file=None, env=None, id="4ff9c164", state=0,
             daemon=False, broadcast=False, monitoring_profile=None, proplet_id="P", env_other={"x": 1})
    assert attested.run(t).out == "0 0 0\n"


def test_inputs_without_invoke_are_arguments(attested):
    attested.encrypt("wc.wasm")
    r = attested.run(task(attested, name="count", cli_args=[], inputs=["--at-most", 5]))
    assert r.out == "0 0 0\n"


@pytest.mark.parametrize("changes,message", [
    (dict(name=""), "name is required"),
    (dict(name=...), "name is required"),
    (dict(image_url=...), "image_url is required for encrypted workloads"),
    (dict(file="AGFzbQ=="), "encrypted workloads should only use image_url, not file"),
    (dict(encrypted=False, image_url=...), "either file or image_url must be provided"),
    (dict(inputs=[[1]]), "inputs"), (dict(inputs=[True]), "inputs"), (dict(inputs="10"), "inputs"),
    (dict(encrypted="yes"), "encrypted"), (dict(cli_args=[1]), "cli_args"), (dict(env={"A": 1}), "env"),
    (dict(cli_args=["--invoke"]), "--invoke"),
])
def test_malformed_tasks(attested, changes, message):
    attested.encrypt("add.wasm")
    r = attested.run(task(attested, **changes), ok=103)
    assert message in r.err and r.out == "" and len(r.err.splitlines()) <= 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name":"a","name":"b"}', '"x"'])
def test_tasks_that_are_not_json_objects(attested, text):
    (attested.box / "task.json").write_text(text)
    assert attested.run("task.json", ok=103).out == ""


@pytest.mark.parametrize("args", [
    ["--dir", "/tmp"], ["--dir=/"], ["--env", "A=B"], ["-S", "http"], ["-Sinherit-env"], ["-W", "fuel=5,dir=/"],
    ["-D", "coredump=x"], ["--invoke", "add", "--tcplisten", "127.0.0.1:80"], ["-"], ["-W", "fuel"], ["--invokex", "y"],
])
def test_a_task_cannot_open_the_machine(attested, args):
    attested.encrypt("add.wasm")
    attested.refused("cli-arg-refused", 105, task(attested, cli_args=args))


@pytest.mark.parametrize("args", [["--fuel", "1000"], ["-W", "fuel=1000"], ["-Wfuel=1000,timeout=5m"], ["--wasm=fuel=1000"]])
def test_a_task_may_tighten_its_limits(attested, args):
    attested.encrypt("loop.wasm")
    attested.refused("fuel", 109, task(attested, name="loop", cli_args=args, inputs=[]))


def test_a_task_cannot_loosen_limits(attested):
    attested.encrypt("loop.wasm")
    t = task(attested, name="loop", cli_args=["--timeout", "10m", "--fuel", "99999999999999"], inputs=[])
    attested.refused("deadline", 124, t, "--timeout", "50ms")
    attested.refused("fuel", 109, t, "--fuel", "1000")


def test_arguments_and_a_task_do_not_mix(attested):
    attested.encrypt("add.wasm")
    attested.refused("args-and-task", 2, task(attested), "--", "1")


# --- bad input: each its own error, nothing runs ------------------------------------------------------

def test_wrong_key_file(site):
    image = site.encrypt("add.wasm")
    site.kek.write_bytes(os.urandom(32))
    site.refused("kek-wrong", 104, image, "--invoke", "add", "--", "1", "2")


def test_a_wrong_key_file_is_not_helped_out_by_the_broker(attested):
    image = attested.encrypt("add.wasm")
    (attested.box / "other").write_bytes(os.urandom(32))
    (attested.box / "other").chmod(0o600)
    attested.refused("kek-wrong", 104, image, "--key", "other", "--invoke", "add", "--", "1", "2")


@pytest.mark.parametrize("where", [">&-", ">/dev/full"])
@pytest.mark.parametrize("args", ["wc.wasm --stdin add.wasm", "add.wasm --invoke add -- 1 2"])
def test_results_that_cannot_be_written_are_a_failure(site, args, where):
    """wc.c does not look at what printf returns: the loss is told all the same."""
    for name in ("wc.wasm", "add.wasm"):
        (site.box / name).write_bytes((MODULES / name).read_bytes())
    r = site.box.run("sh", "-c", f"exec propcvm run --allow-plain {args} {where}", ok=107)
    assert "prints" in r.err and r.err.count("\n") == 1


def test_a_task_that_names_another_broker_is_refused(attested):
    """Where the layer's kid names no host, the task's does; it is never asked."""
    image = attested.encrypt("add.wasm")
    foreign = f"kbs://127.0.0.1:1/{PATH}"
    attested.refused("foreign-kbs", 105, task(attested, kbs_resource_path=foreign))
    attested.refused("foreign-kbs", 105, image, "--kid", foreign, "--invoke", "add", "--", "1", "2")
    own = f"kbs://127.0.0.1:{attested.kbs.port}/{PATH}"
    assert attested.run(task(attested, kbs_resource_path=own)).out == "30\n"


def test_nobody_reads_the_output(site):
    """A guest that looks at no error ends when its reader is gone, not at its deadline."""
    (site.box / "spam.wat").write_text(
        '(module (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))'
        '(memory (export "memory") 1) (data (i32.const 0) "\\10\\00\\00\\00\\00\\40\\00\\00")'
        '(func (export "_start") (loop (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br 0))))')
    p = subprocess.Popen([BIN / "propcvm", "run", "--allow-plain", "spam.wat"], env=site.box.env, cwd=site.box.path,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert len(p.stdout.read(10)) == 10
    p.stdout.close()
    assert b"Broken pipe" in p.stderr.read() and p.wait(60) == 107
    p.stderr.close()


def test_wrong_key_at_the_broker(attested):
    image = attested.encrypt("add.wasm")
    (attested.box / "other").write_bytes(os.urandom(32))
    (attested.box / "other").chmod(0o600)
    attested.box.run("propkey", "set", PATH, "other", "--kbs", attested.kbs.url, "--admin-key", attested.kbs.admin_key,
                     *(["--replace-key"] if "--replace-key" in attested.box.run("propkey", "set", "--help").out else []),
                     *(["--force"] if "--force" in attested.box.run("propkey", "set", "--help").out else []))
    attested.refused("kek-wrong", 104, image, "--invoke", "add", "--", "1", "2")


def test_a_key_of_the_wrong_length_at_the_broker(attested):
    image = attested.encrypt("add.wasm", kid="kbs:///default/key/short")
    (attested.box / "short").write_bytes(b"short")
    (attested.box / "short").chmod(0o600)
    attested.box.run("propkey", "set", "default/key/short", "short", "--kbs", attested.kbs.url, "--admin-key",
                     attested.kbs.admin_key)
    attested.refused("kek-length", 103, image, "--invoke", "add", "--", "1", "2")


def test_a_changed_layer(site):
    image = site.encrypt("add.wasm")
    _, _, layer = blobs(site)
    good = layer.read_bytes()
    for at in range(0, len(good), 7):
        data = bytearray(good)
        data[at] ^= 1
        layer.write_bytes(data)
        site.refused("digest-mismatch", 104, image, "--invoke", "add", "--", "1", "2")


def test_a_changed_layer_whose_digests_were_made_to_fit(site):
    image = site.encrypt("add.wasm")
    rewrite(site, lambda manifest, data: data.__setitem__(60, data[60] ^ 1))
    site.refused("hmac-mismatch", 104, image, "--invoke", "add", "--", "1", "2")


def test_a_cut_layer_whose_digests_were_made_to_fit(site):
    image = site.encrypt("add.wasm")
    rewrite(site, lambda manifest, data: data.__delitem__(slice(-3, None)))
    site.refused("hmac-mismatch", 104, image, "--invoke", "add", "--", "1", "2")


def test_a_changed_manifest(site):
    image = site.encrypt("add.wasm")
    _, manifest, _ = blobs(site)
    text = manifest.read_text()
    manifest.write_text(text.replace('"add.wasm"', '"bad.wasm"'))
    site.refused("digest-mismatch", 104, image, "--invoke", "add", "--", "1", "2")


KEYS = "org.opencontainers.image.enc.keys.provider.attestation-agent"
PUBOPTS = "org.opencontainers.image.enc.pubopts"


def test_changed_annotations(attested):
    """Damage to the wrapped key or to the public options is refused before anything runs."""
    def flip(name, at):
        def change(manifest, data):
            a = manifest["layers"][0]["annotations"]
            inner = bytearray(base64.b64decode(a[name]))
            inner[at] ^= 1
            a[name] = base64.b64encode(bytes(inner)).decode()
        return change

    attested.encrypt("add.wasm", name="good")
    _, manifest, _ = blobs(attested, "good")
    annotations = json.loads(manifest.read_text())["layers"][0]["annotations"]
    seen = set()
    for name in (KEYS, PUBOPTS):
        value = base64.b64decode(annotations[name])
        # the public options end in an empty object that nothing is read from
        for at in range(0, (value + b'"cipheroptions"').index(b'"cipheroptions"'), 11):
            shutil.rmtree(attested.box / "img", ignore_errors=True)
            shutil.copytree(attested.box / "good", attested.box / "img")
            rewrite(attested, flip(name, at))
            r = attested.run("oci:img:v1", "--json", "--invoke", "add", "--kid", PATH, "--", "1", "2", ok=None)
            assert r.returncode in (103, 104, 105, 109), (name, at, r.err)
            assert r.out == ""
            seen.add(r.error()["code"])
    assert {"kek-wrong", "hmac-mismatch"} <= seen, seen


def test_a_policy_that_denies(attested):
    image = attested.encrypt("add.wasm", kid="kbs:///default/key/secret")
    e = attested.refused("policy-deny", 105, image, "--invoke", "add", "--", "1", "2")
    assert "default/key/secret" in e["message"]


def test_a_broker_that_is_down(site):
    image = site.encrypt("add.wasm")

    class Down:
        url = f"http://127.0.0.1:{free_port()}"
    site.kbs = Down
    r = site.run(image, "--json", "--invoke", "add", "--", "1", "2", ok=106)
    assert r.out == "" and Down.url in r.error()["message"]


def test_a_key_that_is_not_there(attested):
    image = attested.encrypt("add.wasm", kid="kbs:///default/key/absent")
    e = attested.refused("plugin-internal-error", 108, image, "--invoke", "add", "--", "1", "2")
    assert "default/key/absent" in e["message"]


def test_a_truncated_blob(site):
    image = site.encrypt("add.wasm")
    _, _, layer = blobs(site)
    layer.write_bytes(layer.read_bytes()[:-1])
    r = site.run(image, "--json", "--invoke", "add", "--", "1", "2", ok=None)
    assert r.returncode in (104, 106) and r.error()["code"] in ("blob-truncated", "digest-mismatch") and r.out == ""
    layer.unlink()
    site.refused("blob-not-found", 108, image, "--invoke", "add", "--", "1", "2")


def test_a_plain_image_where_an_encrypted_one_was_promised(attested):
    attested.encrypt("add.wasm")
    attested.box.run("propenc", "decrypt", "oci:img:v1", "oci:plain:v1", "--key", attested.kek)
    attested.refused("not-encrypted", 105, "oci:plain:v1", "--invoke", "add", "--", "1", "2")
    assert attested.run("oci:plain:v1", "--allow-plain", "--invoke", "add", "--", "1", "2").out == "3\n"
    # encrypted: true is the task's word, and no flag takes it back
    t = task(attested, image_url="oci:plain:v1")
    attested.refused("not-encrypted", 105, t)
    attested.refused("not-encrypted", 105, t, "--allow-plain")
    # a missing "encrypted" is no leave to run in the clear
    attested.refused("not-encrypted", 105, task(attested, image_url="oci:plain:v1", encrypted=...))
    attested.refused("not-encrypted", 105, MODULES / "add.wasm", "--invoke", "add", "--", "1", "2")


def test_a_kid_of_another_path(attested):
    image = attested.encrypt("add.wasm", kid="kbs:///default/key/other")
    e = attested.refused("kid-mismatch", 105, task(attested))
    assert "default/key/other" in e["message"] and PATH in e["message"]
    attested.refused("kid-mismatch", 105, image, "--kid", PATH, "--invoke", "add", "--", "1", "2")
    attested.refused("kid-mismatch", 105, task(attested), "--kid", "default/key/third")


def name_host(host):
    def change(manifest, data):
        a = manifest["layers"][0]["annotations"]
        packet = json.loads(base64.b64decode(a[KEYS]))
        packet["kid"] = f"kbs://{host}/{PATH}"
        a[KEYS] = base64.b64encode(json.dumps(packet).encode()).decode()
    return change


def test_a_kid_of_another_host_is_never_contacted(attested):
    calls = []
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        s.settimeout(0.2)
        foreign = f"127.0.0.1:{s.getsockname()[1]}"

        def watch():
            try:
                calls.append(s.accept())
            except OSError:
                pass

        t = threading.Thread(target=watch)
        t.start()
        image = attested.encrypt("add.wasm")
        rewrite(attested, name_host(foreign))
        e = attested.refused("foreign-kbs", 105, image, "--invoke", "add", "--", "1", "2")
        t.join()
    assert foreign in e["message"] and not calls
    # the configured one may be named
    own = attested.encrypt("add.wasm", name="own")
    rewrite(attested, name_host(f"127.0.0.1:{attested.kbs.port}"), "own")
    assert attested.run(own, "--invoke", "add", "--kid", PATH, "--", "1", "2").out == "3\n"


def test_plaintext_that_is_no_module(attested):
    (attested.box / "text.wasm").write_text("no module at all\n")
    image = attested.encrypt(attested.box / "text.wasm")
    attested.refused("not-wasm", 103, image)
    (attested.box / "text.wasm").write_text("(module)")  # WAT is for files in the clear only
    attested.refused("not-wasm", 103, attested.encrypt(attested.box / "text.wasm", name="wat"))
    (attested.box / "text.wasm").write_bytes(b"\0asm\1\0\0\0\xff")
    attested.refused("wasm-invalid", 103, attested.encrypt(attested.box / "text.wasm", name="broken"))


def test_an_endless_module(site):
    e = site.refused("deadline", 124, site.encrypt("loop.wasm"), "--timeout", "100ms")
    assert "--timeout" in e["hint"]


def test_fuel_memory_and_traps(site):
    site.refused("fuel", 109, site.encrypt("loop.wasm"), "--fuel", "10000")
    trap = site.encrypt("trap.wasm", name="trap")
    e = site.refused("trap", 134, trap, "--invoke", "divide", "--", "1", "0")
    assert e["message"].endswith("trapped: integer divide by zero")
    site.refused("trap", 134, trap)
    grow = site.encrypt("grow.wasm", name="grow")
    assert site.run(grow, "--max-memory", "1M", "--invoke", "grow", "--", "15").out == "1\n"
    site.refused("memory", 109, grow, "--max-memory", "1M", "--invoke", "grow", "--", "16")


def test_bad_values_and_names(site):
    image = site.encrypt("add.wasm")
    site.refused("bad-argument", 103, image, "--invoke", "add", "--", "1", "x")
    site.refused("bad-argument", 103, image, "--invoke", "add", "--", "1")
    e = site.refused("no-export", 108, image, "--invoke", "sub", "--", "1", "2")
    assert "add" in e["hint"]
    e = site.refused("no-export", 108, image)
    assert "--invoke" in e["message"]
    site.refused("bad-env", 2, site.encrypt("wc.wasm", name="wc"), "--env", "NOVALUE")


def test_no_broker_named(site):
    image = site.encrypt("add.wasm")
    r = site.box.run("propcvm", "run", image, "--json", "--invoke", "add", "--", "1", "2", ok=2)
    assert r.error()["code"] == "no-kbs" and "--kbs" in r.error()["hint"]


def test_sample_evidence_is_never_a_fallback(attested):
    if attested.box.run("propcvm", "detect", ok=None).returncode == 0:
        pytest.skip("this machine is a confidential VM")
    image = attested.encrypt("add.wasm")
    r = attested.box.run("propcvm", "run", image, "--kbs", attested.kbs.url, "--json", "--invoke", "add", "--",
                         "1", "2", ok=109)
    assert r.error()["code"] == "no-tee" and "--tee sample" in r.error()["hint"]


def test_an_interrupt_ends_the_guest(site):
    image = site.encrypt("loop.wasm")
    p = subprocess.Popen([BIN / "propcvm", "run", image, "--key", str(site.kek)], env=site.box.env,
                         cwd=site.box.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(0.5)
    assert p.poll() is None
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=20)
    assert p.returncode == 130 and out == b"" and b"interrupted" in err


def test_nothing_decrypted_touches_a_disk(attested):
    """The module's text is nowhere under the working, home or temporary folder, nor is the KEK printed."""
    marker = b"needle-in-the-haystack"
    module = attested.box / "m.wasm"
    custom = b"\x01n" + marker  # a custom section named "n", behind a module that is whole without it
    module.write_bytes((MODULES / "loop.wasm").read_bytes() + b"\0" + bytes([len(custom)]) + custom)
    image = attested.encrypt(module)
    module.unlink()
    r = attested.run(image, "-v", "--timeout", "100ms", ok=124)
    secret = attested.kek.read_bytes()
    for text in (r.stdout, r.stderr):
        for form in (secret, secret.hex().encode(), base64.b64encode(secret)):
            assert form not in text
    for path in attested.box.path.rglob("*"):
        if path.is_file():
            assert marker not in path.read_bytes(), path
    assert list(attested.tmp.iterdir()) == []
