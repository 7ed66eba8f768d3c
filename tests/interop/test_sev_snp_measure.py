"""The same SEV, SEV-ES and SNP digests as sev-snp-measure's, for inputs that no vector has."""
import random

import pytest

from conftest import VECTORS, need

TYPES = ["EPYC", "EPYC-v4", "EPYC-IBPB", "EPYC-Rome", "EPYC-Rome-v2", "EPYC-Milan", "EPYC-Milan-v2", "EPYC-Genoa"]


@pytest.mark.parametrize("seed", range(12))
def test_same_digest(box, seed):
    peer = need("sev-snp-measure")
    r = random.Random(seed)
    firmware = r.randbytes(4096 * r.choice([0, 3, 508])) + (VECTORS / "measure/fw-kernel-hashes.bin").read_bytes()
    for name, data in (("fw", firmware), ("kernel", r.randbytes(r.choice([0, 1, 100000]))),
                       ("initrd", r.randbytes(r.choice([0, 70000])))):
        (box / name).write_bytes(data)
    mode = r.choice(["snp", "snp", "snp", "sev", "seves"])
    common = ["--vcpus", str(r.choice([1, 2, 5, 16])), "--vcpu-type", r.choice(TYPES)]
    if seed % 4:
        common += ["--kernel", box / "kernel", "--append", r.choice(["", "quiet", "console=ttyS0 a=\"b c\""])]
        common += ["--initrd", box / "initrd"] if seed % 3 else []
    theirs, ours = [], []
    if mode == "snp":
        vmm, features = r.choice(["qemu", "ec2", "gce"]), r.choice(["0x1", "0x21"])
        theirs = ["--vmm-type", vmm.upper() if vmm == "qemu" else vmm, "--guest-features", features]
        ours = ["--vmm", vmm, "--guest-features", features]
    want = box.run(peer, "--mode", mode, "--ovmf", box / "fw", *common, *theirs).out.strip()
    doc = box.run("propcvm", "vm", "measure", "--mode", mode.replace("seves", "sev-es"), "--firmware", box / "fw",
                  *common, *ours, "--json").json()
    assert doc["launch_digest"] == want
