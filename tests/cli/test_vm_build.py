"""propcvm vm build: what is in a guest image, that it comes out the same, and what is refused."""
import gzip
import io
import json
import lzma
import os
import shutil
import stat
import subprocess
import tarfile

import pytest

from conftest import BIN, ROOT
from vm_images import build, entries, kernel, unpacked

ADD = ROOT / "examples/modules/add.wasm"
PLAIN = ("run", "/etc/propcvm/files/add.wasm", "--allow-plain", "--invoke", "add", "--", "10", "20")


def certificate(box):
    box.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", "key.pem", "-out", "ca.pem", "-subj", "/CN=test", "-days", "9")
    return box / "ca.pem"


@pytest.fixture(scope="module")
def guest(tmp_path_factory):
    """One guest for the tests that only look at it."""
    from conftest import Box
    box = Box(tmp_path_factory.mktemp("guest"))
    report = build(box, "g", *unpacked(), "--tee", "sample", "--file", f"add.wasm={ADD}", argv=PLAIN)
    return box, report.json()


def test_nothing_but_what_is_needed(guest):
    box, report = guest
    files = entries(box / "g/initrd.img")
    names = set(files)
    assert files["init"][5][:4] == b"\x7fELF"
    for name in names:
        top = name.split("/")[0]
        assert top in {"init", "dev", "proc", "sys", "run", "tmp", "etc", "lib", "lib64", "usr"}, name
        assert not name.endswith(("/sh", "/bash", "/busybox", "/sshd", "/apt", "/dpkg")), name
    assert {n for n in names if n.startswith("etc/")} <= {
        "etc/group", "etc/hosts", "etc/nsswitch.conf", "etc/passwd", "etc/propcvm", "etc/propcvm/files",
        "etc/propcvm/files/add.wasm", "etc/propcvm/image.json", "etc/propcvm/initdata.toml",
        "etc/resolv.conf", "etc/ssl", "etc/ssl/certs", "etc/ssl/certs/ca-certificates.crt"}
    assert stat.S_ISLNK(files["etc/resolv.conf"][0])
    assert files["etc/propcvm/initdata.toml"][5] == (box / "g/initdata.toml").read_bytes()
    assert {"virtio_pci", "virtio_net"} <= set(report["modules"])
    assert report["drivers"]["virtio_net"]
    assert sum(1 for n in names if n.endswith(".ko")) == len(report["modules"])


def test_modules_come_after_what_they_need(guest):
    box, report = guest
    image = json.loads(entries(box / "g/initrd.img")["etc/propcvm/image.json"][5])
    order = [m["file"].split("/")[-1][:-3] for m in image["modules"]]
    assert order == report["modules"]
    files = entries(box / "g/initrd.img")
    for i, name in enumerate(order):
        data = files[f"lib/modules/{name}.ko"][5]
        needs = data.split(b"depends=", 1)[1].split(b"\0", 1)[0].decode()
        for need in filter(None, needs.split(",")):
            if need.replace("-", "_") in order:
                assert order.index(need.replace("-", "_")) < i, (name, need)


def test_libraries_are_what_the_loader_would_take(guest):
    box, _ = guest
    ldd = box.run("ldd", BIN / "propcvm").out
    wanted = {line.split()[0].split("/")[-1] for line in ldd.splitlines() if "linux-vdso" not in line}
    have = {n.split("/")[-1] for n in entries(box / "g/initrd.img") if ".so" in n}
    assert have == wanted


def test_owner_times_and_modes_are_fixed(guest):
    box, _ = guest
    files = entries(box / "g/initrd.img")
    assert list(files) == sorted(files, key=str.encode)
    for name, (mode, uid, gid, mtime, nlink, _) in files.items():
        assert (uid, gid, mtime) == (0, 0, 0), name
        want = {"init": 0o755}.get(name)
        assert want is None or mode & 0o7777 == want
        assert mode & 0o022 == 0 or name in ("tmp", "etc/resolv.conf"), (name, oct(mode))


def test_symbols_are_left_out(guest):
    box, _ = guest
    whole = (BIN / "propcvm").read_bytes()
    inside = entries(box / "g/initrd.img")["init"][5]
    assert len(inside) < len(whole)
    (box / "init").write_bytes(inside)
    (box / "init").chmod(0o755)
    assert box.run(box / "init", "--version").out == box.run(BIN / "propcvm", "--version").out


def test_same_inputs_same_bytes(guest):
    box, _ = guest
    (box / "elsewhere").mkdir()
    shutil.copy(ADD, box / "elsewhere/copy.wasm")
    os.utime(box / "elsewhere/copy.wasm", (1, 1))
    code = ("import os, subprocess, sys\nos.umask(0o027)\n"
            "sys.exit(subprocess.run(sys.argv[1:]).returncode)")
    box.run("python3", "-c", code, "propcvm", "vm", "build", "-o", "b/../again", *unpacked(), "--tee",
            "sample", "--file", "add.wasm=copy.wasm", "--", *PLAIN, cwd=box / "elsewhere",
            env={"TZ": "Pacific/Auckland", "LANG": "C", "HOME": str(box / "elsewhere")}, ok=None)
    (box / "elsewhere/b").mkdir()
    box.run("python3", "-c", code, "propcvm", "vm", "build", "-o", "b/../again", *unpacked(), "--tee",
            "sample", "--file", "add.wasm=copy.wasm", "--", *PLAIN, cwd=box / "elsewhere",
            env={"TZ": "Pacific/Auckland", "LANG": "C", "HOME": str(box / "elsewhere")})
    for name in ("vm.json", "initrd.img", "vmlinuz", "initdata.toml"):
        assert (box / "g" / name).read_bytes() == (box / "elsewhere/again" / name).read_bytes(), name


def test_vm_json_says_what_was_built(guest):
    box, report = guest
    vm = json.loads((box / "g/vm.json").read_text())
    assert vm["version"] == 1 and vm["name"] == "propcvm" and vm["tee"] == "sample"
    for name, member in (("vmlinuz", "kernel"), ("initrd.img", "initrd")):
        out = box.run("sha256sum", box / "g" / name).out.split()[0]
        assert vm["digests"][member] == f"sha256:{out}"
    out = box.run("sha384sum", box / "g/initdata.toml").out.split()[0]
    assert vm["digests"]["init_data"]["sha384"] == out == report["init_data_sha384"]
    assert report["kernel_bytes"] + report["initrd_bytes"] <= 64 << 20


@pytest.mark.parametrize("word,magic", [("gzip", b"\x1f\x8b"), ("zstd", b"\x28\xb5\x2f\xfd")])
def test_compressed(box, word, magic):
    args = (*unpacked(), "--tee", "sample", "--compress", word)
    report = build(box, "a", *args).json()
    build(box, "b", *args)
    data = (box / "a/initrd.img").read_bytes()
    assert data.startswith(magic) and len(data) == report["initrd_bytes"] < 32 << 20
    assert data == (box / "b/initrd.img").read_bytes()
    if word == "gzip":
        assert gzip.decompress(data).startswith(b"070701")


def test_configuration_is_in_the_init_data(box):
    ca = certificate(box)
    (box / "task.json").write_text('{"name":"add","image_url":"r.example.com/a:b","encrypted":true}')
    build(box, "g", *unpacked(), "--tee", "sample", "--kbs", "https://kbs.example.com:8443", "--ca-cert",
          ca, "--address", "10.0.2.15/24", "--gateway", "10.0.2.2", "--dns", "10.0.2.3", argv=("run", "task.json"))
    import tomllib
    doc = tomllib.loads((box / "g/initdata.toml").read_text())
    assert doc["version"] == "0.1.0" and doc["algorithm"] == "sha384"
    aa = tomllib.loads(doc["data"]["aa.toml"])
    assert aa["token_configs"]["kbs"] == {"url": "https://kbs.example.com:8443", "cert": ca.read_text()}
    cdh = tomllib.loads(doc["data"]["cdh.toml"])
    assert cdh["kbc"]["kbs_cert"] == ca.read_text()
    mine = json.loads(doc["data"]["propcvm.json"])
    assert mine["argv"] == ["run", "/run/propcvm/task.json"]
    assert mine["network"]["address"] == "10.0.2.15/24"
    assert json.loads(doc["data"]["task.json"])["name"] == "add"


def test_open_init_data_is_not_part_of_the_image(box):
    args = (*unpacked(), "--tee", "sample", "--open-init-data")
    r = build(box, "a", *args, argv=("run", "one"))
    build(box, "b", *args, argv=("run", "two"))
    assert "pins it" in r.err
    assert (box / "a/initrd.img").read_bytes() == (box / "b/initrd.img").read_bytes()
    assert (box / "a/initdata.toml").read_bytes() != (box / "b/initdata.toml").read_bytes()


def test_exported_settings_reach_a_proplet_and_its_key_does_not(box):
    env = {"PROPLET_TENANT_ID": "tenant-1", "PROPLET_API_KEY": "very-secret-key"}
    r = build(box, "g", *unpacked(), "--tee", "sample", "--secret-from-host", "api-key",
              argv=("serve",), env=env)
    text = (box / "g/initdata.toml").read_text()
    assert "tenant-1" in text and "the host hands over the secret" in r.err
    for f in (box / "g").iterdir():
        assert b"very-secret-key" not in f.read_bytes(), f
    assert "very-secret-key" not in r.out + r.err
    assert json.loads((box / "g/vm.json").read_text())["secrets_from_host"] == ["api-key"]


# ---- refusals -------------------------------------------------------------------------------------

def refused(box, code, status, *args, argv=("run", "x")):
    r = build(box, "g", *args, ok=status, argv=argv)
    assert r.error()["code"] == code, r.err
    left = [p.name for p in box.path.iterdir() if p.name == "g" or p.name.startswith(".g.")]
    assert not left, left
    return r.error()


@pytest.mark.parametrize("tee", ["auto", "snp", "tdx"])
def test_a_kernel_without_the_drivers_is_refused(box, tee):
    e = refused(box, "kernel-tee", 9, *unpacked(), "--tee", tee)
    assert "bookworm-backports" in e["hint"]


def test_for_is_another_word(box):
    refused(box, "kernel-tee", 9, *unpacked(), "--for", "tdx")


def test_kernels_that_are_none(box):
    refused(box, "no-kernel", 8, "--kernel", "nothing.deb", "--tee", "sample")
    (box / "x").write_bytes(b"\0" * 5000)
    refused(box, "bad-kernel", 3, "--kernel", "x", "--tee", "sample")
    (box / "x.deb").write_bytes(b"!<arch>\n" + b"x" * 100)
    refused(box, "bad-package", 3, "--kernel", "x.deb", "--tee", "sample")
    whole = kernel().read_bytes()
    if whole.startswith(b"!<arch>"):
        (box / "cut.deb").write_bytes(whole[:len(whole) // 3])
        refused(box, "bad-package", 3, "--kernel", "cut.deb", "--tee", "sample")


def ar(*members):
    out = b"!<arch>\n"
    for name, data in members:
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return out


def tar_of(files):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as t:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return raw.getvalue()


def test_packages_without_a_kernel_or_its_drivers(box):
    (box / "meta.deb").write_bytes(ar(("debian-binary", b"2.0\n"), ("data.tar", tar_of({"./usr/share/doc/x": b"x"}))))
    e = refused(box, "no-kernel", 8, "--kernel", "meta.deb", "--tee", "sample")
    assert "depends on" in e["hint"]
    image = bytearray(4096)
    image[0x1fe:0x200], image[0x202:0x206], image[0x20f] = b"\x55\xaa", b"HdrS", 8
    image[0xa00:0xa08] = b"6.1.0 x "
    data = tar_of({"./boot/vmlinuz-6.1.0": bytes(image),
                   "./lib/modules/6.1.0/modules.builtin": b"kernel/drivers/virtio/virtio_pci.ko\n"})
    (box / "bare.deb").write_bytes(ar(("debian-binary", b"2.0\n"), ("data.tar.xz", lzma.compress(data))))
    e = refused(box, "kernel-drivers", 9, "--kernel", "bare.deb", "--tee", "sample")
    assert "virtio_net" in e["message"]


def test_modules_that_do_not_fit(box):
    (box / "deb").mkdir()
    box.run("dpkg-deb", "-x", kernel(), "deb")
    image = next((box / "deb/boot").glob("vmlinuz-*"))
    modules = next((box / "deb/lib/modules").iterdir())
    refused(box, "no-modules", 8, "--kernel", image, "--modules", "nowhere", "--tee", "sample")
    refused(box, "no-modules", 8, "--kernel", image, "--modules", box / "deb", "--tee", "sample")
    build(box, "folder", "--kernel", image, "--modules", modules, "--tee", "sample")
    build(box, "package", "--kernel", kernel(), "--tee", "sample")
    assert (box / "folder/initrd.img").read_bytes() == (box / "package/initrd.img").read_bytes()
    net = next(modules.rglob("virtio_net.ko*"))
    net.write_bytes(net.read_bytes().replace(b"vermagic=6.", b"vermagic=5."))
    refused(box, "bad-module", 3, "--kernel", image, "--modules", modules, "--tee", "sample")
    net.write_bytes(b"\x7fELF rubbish")
    refused(box, "bad-elf", 3, "--kernel", image, "--modules", modules, "--tee", "sample")
    net.unlink()
    refused(box, "kernel-drivers", 9, "--kernel", image, "--modules", modules, "--tee", "sample")


def test_command_lines(box):
    k = (*unpacked(), "--tee", "sample")
    refused(box, "guest-command", 2, *k, argv=("sh",))
    refused(box, "guest-command", 2, *k, argv=("run", "x", "--tee", "sample"))
    refused(box, "kbs-loopback", 2, *k, "--kbs", "https://127.0.0.1:8080")
    refused(box, "no-kbs", 2, *k, "--secret", "api-key=kbs:///a/b/c")
    refused(box, "guest-secret", 2, *k, "--secret-from-host", "root-password")
    refused(box, "guest-secret", 2, *k, "--env", "PROPLET_API_KEY=x")
    refused(box, "guest-variable", 2, *k, "--env", "LD_PRELOAD=x")
    refused(box, "bad-name", 2, *k, "--name", "a b")
    assert build(box, "g", *k, "--compress", "lzma", ok=2)
    assert build(box, "g", *k, "--gateway", "10.0.2.2", ok=2)


def test_without_arguments_it_is_the_hal_scripts_guest(box):
    image, *modules = unpacked()[1:]
    r = box.run("propcvm", "vm", "build", "--json", *modules, env={"PROP_VM_KERNEL": str(image), "PROP_TEE": "sample"})
    vm = json.loads((box / "propeller-cvm/vm.json").read_text())
    assert vm["serves"] is True
    assert {"button", "evdev"} < set(r.json()["modules"])
    assert "button" not in build(box, "once", *unpacked(), "--tee", "sample").json()["modules"]


def test_a_private_key_is_no_certificate(box):
    certificate(box)
    both = (box / "ca.pem").read_text() + (box / "key.pem").read_text()
    (box / "both.pem").write_text(both)
    refused(box, "guest-secret", 3, *unpacked(), "--tee", "sample", "--kbs", "https://k", "--ca-cert",
            "both.pem")


def test_a_library_that_is_not_here(box):
    refused(box, "no-library", 8, *unpacked(), "--tee", "sample", "--library", "libnot-there.so.9")


def test_what_stands_there_is_kept(box):
    k = (*unpacked(), "--tee", "sample")
    build(box, "g", *k)
    before = (box / "g/initrd.img").stat().st_ino
    r = build(box, "g", *k, ok=7)
    assert r.error()["code"] == "output-exists" and "--force" in r.error()["hint"]
    assert (box / "g/initrd.img").stat().st_ino == before
    build(box, "g", *k, "--force", argv=("run", "other"))
    assert "other" in (box / "g/initdata.toml").read_text()
    assert not [p for p in box.path.iterdir() if p.name.startswith(".g.")]
    (box / "mine").mkdir()
    (box / "mine/file").write_text("x")
    assert build(box, "mine", *k, "--force", ok=7).error()["code"] == "output-exists"
    assert (box / "mine/file").read_text() == "x"


def test_disk_full_leaves_nothing(box):
    """A file size limit stands for the full disk: writing fails in the middle all the same."""
    code = ("import resource, signal, subprocess, sys\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (20 << 20, 20 << 20))\n"
            "sys.exit(subprocess.run(sys.argv[1:], restore_signals=False).returncode)")
    r = box.run("python3", "-c", code, "propcvm", "vm", "build", "-o", "g", "--json", *unpacked(), "--tee",
                "sample", "--", "run", "x", ok=7)
    assert "File too large" in r.err
    assert not [p.name for p in box.path.iterdir() if "g" == p.name or p.name.startswith(".g.")]
