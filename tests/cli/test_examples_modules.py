"""The modules of examples/modules: what is committed is what the sources give."""
import subprocess

import pytest

from conftest import ROOT, need

MODULES = ROOT / "examples" / "modules"


@pytest.mark.parametrize("name", ["add", "loop", "trap", "grow"])
def test_wat_sources_give_the_committed_modules(box, name):
    box.run(need("wat2wasm"), MODULES / f"{name}.wat", "-o", f"{name}.wasm")
    assert (box / f"{name}.wasm").read_bytes() == (MODULES / f"{name}.wasm").read_bytes()


def test_the_c_source_behaves_as_the_committed_module(box):
    """Compilers differ in bytes, so behaviour is compared."""
    need("wasm-ld")
    p = subprocess.run([need("clang"), "--target=wasm32-wasi", "-Os", "-s", str(MODULES / "wc.c"), "-o", str(box / "wc.wasm")],
                       capture_output=True, text=True)
    if p.returncode:
        pytest.skip("peer not installed: wasi-libc and libclang-rt-dev-wasm32")
    for module in (MODULES / "wc.wasm", box / "wc.wasm"):
        run = ("propcvm", "run", module, "--allow-plain", "--stdin", "-")
        assert box.run(*run, stdin=b"one two\nthree").out == "1 3 13\n"
        r = box.run(*run, "--", "--at-most", "4", stdin=b"12345", ok=3)
        assert r.out == "0 1 5\n" and r.err == "wc.wasm: more than 4 bytes\n"
        assert box.run(*run, "--", "--nonsense", ok=2).out == ""


def test_the_readme_names_every_source():
    text = (MODULES / "README.md").read_text()
    for source in MODULES.iterdir():
        if source.suffix in (".wat", ".c"):
            assert f"`{source.name}`" in text, source.name
            assert source.with_suffix(".wasm").exists(), source.name
