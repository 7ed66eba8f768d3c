#!/usr/bin/env python3
"""A guest from power-on to its first result under TCG, phase by phase: medians of several boots.

usage: bench/vm.py BIN-DIR [--rounds N] [--cpus N] [--out NAME]

Writes bench/results/NAME.json and NAME.svg (default NAME: vm). The phases are the guest's own clock
(CLOCK_BOOTTIME, as init reports it in its end line) and the result's timing; what QEMU and the firmware
take before the kernel's clock starts is the wall time that is left. Run it on an idle machine.
"""
import argparse
import json
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

root = pathlib.Path(__file__).resolve().parent.parent
TARGETS = {"boot_to_result_s": 15.0, "build_s": 5.0, "image_mib": 64.0}
INIT_DATA = "opt/org.propeller.propcvm/initdata.toml"
RESULT = "org.propeller.propcvm.result"


class Bench:
    def __init__(self, work, bin_dir):
        self.work, self.bin = work, bin_dir
        (work / "home").mkdir()
        self.env = {"PATH": f"{bin_dir}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(work / "home"), "LANG": "C.UTF-8"}

    def run(self, *argv):
        p = subprocess.run([str(a) for a in argv], cwd=self.work, env=self.env, capture_output=True, text=True,
                           stdin=subprocess.DEVNULL)
        if p.returncode:
            sys.exit(f"bench: {' '.join(map(str, argv))}: exit {p.returncode}\n{p.stderr}")
        return p.stdout

    def servers(self):
        self.kbs = subprocess.Popen(["propkbs", "serve", "--listen", "127.0.0.1:0", "--tls", "--state", "kbs"],
                                    cwd=self.work, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                    text=True)
        self.url = self.kbs.stdout.readline().split()[-1]
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        (self.work / "registry.yml").write_text(
            f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {self.work}/blobs}}}}\n"
            f"http: {{addr: \"127.0.0.1:{self.port}\"}}\n")
        self.registry = subprocess.Popen(["docker-registry", "serve", "registry.yml"], cwd=self.work, env=self.env,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(300):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            time.sleep(0.02)

    def stop(self):
        for p in (self.kbs, self.registry):
            p.terminate()
            p.wait()

    def publish(self):
        self.run("proppush", "publish", root / "examples/modules/add.wasm",
                 f"docker://127.0.0.1:{self.port}/demo/add:encrypted", "--kbs", self.url, "--ca-cert", "kbs/ca.pem",
                 "--admin-key", "kbs/admin.key", "--kid", "kbs:///default/key/add", "--allow", "tee=sample",
                 "--replace-policy", "--tee", "sample")

    def build(self, kernel):
        """Seconds of one build, and its report."""
        shutil.rmtree(self.work / "guest", ignore_errors=True)
        start = time.perf_counter()
        out = self.run("propcvm", "vm", "build", "-o", "guest", "--json", "--kernel", kernel, "--tee", "sample",
                       "--kbs", f"https://10.0.2.2:{self.url.rsplit(':', 1)[1]}", "--ca-cert", "kbs/ca.pem", "--",
                       "run", f"docker://10.0.2.2:{self.port}/demo/add:encrypted", "--insecure-registry",
                       f"10.0.2.2:{self.port}", "--invoke", "add", "--", "10", "20")
        return time.perf_counter() - start, json.loads(out)

    def boot(self, cpus):
        """{phase: seconds} of one boot, in order."""
        vm = json.loads((self.work / "guest/vm.json").read_text())
        start = time.perf_counter()
        console = self.run(
            "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "512",
            "-smp", cpus, "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio", "-kernel",
            "guest/vmlinuz", "-initrd", "guest/initrd.img", "-append", vm["append"], "-netdev", "user,id=n0",
            "-device", "virtio-net-pci,netdev=n0,romfile=", "-device", "virtio-rng-pci", "-device",
            "virtio-serial-pci", "-chardev", "file,id=r,path=result", "-device",
            f"virtserialport,chardev=r,name={RESULT}", "-fw_cfg", f"name={INIT_DATA},file=guest/initdata.toml")
        wall = time.perf_counter() - start
        end = json.loads(re.search(r"init: end: (\{.*\})", console).group(1))
        result = json.loads((self.work / "result").read_text().splitlines()[0])
        if end["status"] or result["results"] != "30\n":
            sys.exit(f"bench: the guest failed: {end}")
        at = {k: v / 1000 for k, v in end["phases"].items()}
        timing = {k: v / 1000 for k, v in result["timing"].items()}
        inner = {"pull": timing.get("pull_ms", 0), "attestation": timing.get("attest_ms", 0),
                 "decrypt": timing.get("decrypt_ms", 0),
                 "compile and run": timing.get("compile_ms", 0) + timing.get("run_ms", 0)}
        return {
            "power-on, firmware": wall - end["uptime_ms"] / 1000,
            "kernel": at["init_ms"],
            "modules": at["modules_ms"] - at["init_ms"],
            "configuration": at["configuration_ms"] - at["modules_ms"],
            "network": at["network_ms"] - at["configuration_ms"],
            "start of the runner": at["workload_ms"] - at["network_ms"] - sum(inner.values()),
            **inner,
            "power-off": end["uptime_ms"] / 1000 - at["workload_ms"],
        }


def plot(phases, total):
    colours = ["#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#ff9da7", "#9c755f",
               "#bab0ac", "#86bcb6"]
    width, x, out = 860, 20.0, []
    for i, (name, seconds) in enumerate(phases.items()):
        w = max(0.0, seconds) / total * (width - 40)
        out.append(f'<rect x="{x:.1f}" y="40" width="{w:.1f}" height="36" fill="{colours[i % len(colours)]}"/>')
        y = 104 + 20 * i
        out.append(f'<rect x="20" y="{y - 11}" width="12" height="12" fill="{colours[i % len(colours)]}"/>'
                   f'<text x="40" y="{y}">{name}: {seconds:.2f} s</text>')
        x += w
    height = 104 + 20 * len(phases)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
            f'font-size="13"><rect width="100%" height="100%" fill="white"/><text x="20" y="26">from power-on to the '
            f'first result under TCG: {total:.1f} s (target 15 s)</text>{"".join(out)}</svg>\n')


def main():
    p = argparse.ArgumentParser()
    p.add_argument("bin", type=pathlib.Path)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--cpus", type=int, default=2)
    p.add_argument("--out", default="vm")
    a = p.parse_args()
    kernel = subprocess.run([root / "packaging/fetch-kernel"], capture_output=True, text=True)
    if kernel.returncode:
        sys.exit(f"bench: {kernel.stderr.strip()}")
    with tempfile.TemporaryDirectory(prefix="prop-bench-vm-") as work:
        b = Bench(pathlib.Path(work), a.bin.resolve())
        b.servers()
        try:
            b.publish()
            builds = [b.build(kernel.stdout.strip()) for _ in range(a.rounds)]
            boots = [b.boot(a.cpus) for _ in range(a.rounds)]
        finally:
            b.stop()
    report = builds[-1][1]
    phases = {k: statistics.median(x[k] for x in boots) for k in boots[0]}
    total = sum(v for k, v in phases.items() if k != "power-off")
    doc = {"version": 1, "kernel": report["kernel_release"], "cpus": a.cpus, "rounds": a.rounds,
           "build_s": round(statistics.median(s for s, _ in builds), 3),
           "kernel_bytes": report["kernel_bytes"], "initrd_bytes": report["initrd_bytes"],
           "image_mib": round((report["kernel_bytes"] + report["initrd_bytes"]) / (1 << 20), 1),
           "boot_to_result_s": round(total, 2), "phases_s": {k: round(v, 3) for k, v in phases.items()},
           "targets": TARGETS}
    out = root / "bench/results"  # an absolute NAME leads elsewhere
    out.mkdir(exist_ok=True)
    (out / f"{a.out}.json").write_text(json.dumps(doc, indent=1) + "\n")
    (out / f"{a.out}.svg").write_text(plot(phases, sum(phases.values())))
    for name, seconds in phases.items():
        print(f"{name:24} {seconds:8.2f} s")
    for name, target in TARGETS.items():
        print(f"{name:24} {doc[name]:8.2f}     target {target:g}")


main()
