"""The commands of README.md, run as they stand there (the port apart)."""
import re
import shutil

from conftest import ROOT, free_port


def test_every_shell_block_of_the_readme_runs(box):
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M)
    assert len(blocks) == 2
    script = "\n".join(blocks).replace("8080", str(free_port()))
    shutil.copy(ROOT / "examples/modules/add.wasm", box / "add.wasm")
    # The server must listen before the next line runs; a person would look, the test waits.
    script = script.replace(
        "# a key broker for this laptop\n",
        "# a key broker\nfor i in $(seq 200); do [ -s kbs/admin.key ] && curl -fs \"$u\"/healthz && break; sleep 0.05; done\n")
    port = re.search(r"127\.0\.0\.1:(\d+)", script).group(1)
    script = f"set -e\ntrap 'kill $!' EXIT\nu=http://127.0.0.1:{port}\n{script}"
    r = box.run("bash", "-c", script)
    assert "30" in r.out.splitlines()
    assert (box / "back.wasm").read_bytes() == (box / "add.wasm").read_bytes()
