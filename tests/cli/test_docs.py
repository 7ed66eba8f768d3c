"""The commands of docs/*.md, run as they stand there."""
import re
import shutil

import pytest

from conftest import ROOT, VECTORS, Registry

PREPARE = {
    "propkey.md": "echo 'correct horse battery staple' > pass\nchmod 600 pass\n",
    "propenc.md": "cp examples/modules/add.wasm .\n"
                  "propkey gen --type rsa alice.key && propkey convert alice.key -o alice.pem\n"
                  "propkey convert --public alice.key -o alice.pub.pem\n"
                  "openssl req -x509 -newkey rsa:2048 -nodes -keyout bob.pem -out bob.crt -subj /CN=bob 2>/dev/null\n"
                  "chmod 600 bob.pem\n"
                  "proppush push add.wasm oci:plain:v1\n",
    "proppush.md": "cp examples/modules/add.wasm .\necho '{}' > sbom.json\n",
    "evidence.md": "",
    "vm-measure.md": "cp $VECTORS/measure/fw-kernel-hashes.bin OVMF.amdsev.fd\n"
                     "cp $VECTORS/measure/fw-tdx.bin OVMF.tdx.fd\ncp $VECTORS/measure/kernel.bin vmlinuz\n"
                     "cp $VECTORS/measure/initrd.bin initrd.img\n"
                     "printf 'version = \"0.1.0\"\\nalgorithm = \"sha384\"\\n[data]\\n' > initdata.toml\n",
}
PREPARE_SAME = {"propenc.md": ("back.wasm", "bobs.wasm"), "proppush.md": ("pulled.wasm",)}


@pytest.mark.parametrize("page", sorted(PREPARE))
def test_every_shell_block_runs(box, kbs, page):
    text = (ROOT / "docs" / page).read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M)
    assert blocks
    shutil.copytree(ROOT / "examples", box / "examples")
    env = {"PROP_KBS_URL": kbs.url, "PROP_ADMIN_KEY": str(kbs.admin_key), "VECTORS": str(VECTORS)}
    script = "set -e -o pipefail\n" + PREPARE[page] + "\n".join(blocks)
    registry = Registry(box.path) if "$REGISTRY" in script else None
    try:
        box.run("bash", "-c", script, env={**env, "REGISTRY": registry.host if registry else ""})
    finally:
        if registry:
            registry.stop()
    for name in PREPARE_SAME.get(page, ()):
        assert (box / name).read_bytes() == (ROOT / "examples/modules/add.wasm").read_bytes()


def test_every_page_that_runs_is_listed():
    """A page with shell blocks that nobody runs would drift."""
    for page in (ROOT / "docs").glob("*.md"):
        if "```sh" in page.read_text():
            assert page.name in PREPARE, page.name
