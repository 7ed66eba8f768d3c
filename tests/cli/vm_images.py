"""Kernels and guests for the VM tests: made once, by name skipped where none can be had."""
import atexit
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from conftest import BIN, BUILD, ROOT

SANITIZED = BUILD.name.endswith("-asan")
END = "propcvm-init: end: "


@functools.lru_cache(None)
def _kernel():
    try:  # once for all workers: it takes a lock, and what it got stays in the user's cache
        p = subprocess.run([ROOT / "packaging/fetch-kernel"], capture_output=True, text=True,
                           stdin=subprocess.DEVNULL, timeout=300)
    except subprocess.TimeoutExpired:
        return "", "Debian's linux-image-cloud-amd64 cannot be had here in time"
    return (p.stdout.strip(), p.stderr.strip())


def kernel():
    """The cloud kernel's package file, or a named skip."""
    path, why = _kernel()
    if not path:
        pytest.skip(why or "no kernel can be had here")
    return pathlib.Path(path)


@functools.lru_cache(None)
def _unpacked(package):
    folder = tempfile.mkdtemp(prefix="prop-kernel-")
    atexit.register(shutil.rmtree, folder, True)
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True, stdin=subprocess.DEVNULL)
    root = pathlib.Path(folder)
    return next((root / "boot").glob("vmlinuz-*")), next((root / "lib/modules").iterdir())


def unpacked():
    """Options that name the same kernel as files: much faster to read than a package."""
    file = kernel()
    if file.suffix != ".deb" or shutil.which("dpkg-deb") is None:
        return "--kernel", file
    image, modules = _unpacked(file)
    return "--kernel", image, "--modules", modules


def bootable():
    """Booting takes QEMU, and a propcvm that is not ten times its size under a sanitizer."""
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("peer not installed: qemu-system-x86_64")
    if SANITIZED:
        pytest.skip("a sanitized propcvm does not fit a small guest")
    return unpacked()


def build(box, out, *args, ok=True, argv=("run", "x"), env=None):
    """propcvm vm build; args stand before the guest's own command."""
    return box.run("propcvm", "vm", "build", "-o", out, "--json", *args, "--", *argv, ok=ok, env=env)


def entries(initrd):
    """{name: (mode, uid, gid, mtime, nlink, content)} of a cpio newc archive, in its order."""
    data, at, found = pathlib.Path(initrd).read_bytes(), 0, {}
    while True:
        head = data[at:at + 110]
        assert head[:6] == b"070701", (at, head[:6])
        f = [int(head[6 + 8 * i:14 + 8 * i], 16) for i in range(13)]
        name = data[at + 110:at + 110 + f[11] - 1].decode()
        start = (at + 110 + f[11] + 3) & ~3
        if name == "TRAILER!!!":
            return found
        found[name] = (f[1], f[2], f[3], f[5], f[4], data[start:start + f[6]])
        at = (start + f[6] + 3) & ~3


class Boot:
    """One boot under TCG, by hand: what `vm run` does more of is tested elsewhere."""

    def __init__(self, box, guest, *extra, append="", memory=512, timeout=300, net="user,id=n0"):
        vm = json.loads((guest / "vm.json").read_text())
        argv = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-m",
                str(memory), "-smp", "2", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
                "-kernel", guest / vm["kernel"], "-initrd", guest / vm["initrd"],
                "-append", f"{vm['append']} {append}".strip(), "-device", "virtio-rng-pci"]
        if net:
            argv += ["-netdev", net, "-device", "virtio-net-pci,netdev=n0,romfile="]
        p = subprocess.run([str(a) for a in (*argv, *extra)], stdin=subprocess.DEVNULL, capture_output=True,
                           env=box.env, cwd=box.path, timeout=timeout)
        assert p.returncode == 0, p.stderr.decode()
        self.console = p.stdout.decode("utf-8", "replace").replace("\r", "")
        ends = re.findall("^" + re.escape(END) + r"(\{.*\})$", self.console, re.M)
        assert len(ends) == 1, self.console[-3000:]
        self.end = json.loads(ends[0])

    def lines(self):
        return self.console.splitlines()
