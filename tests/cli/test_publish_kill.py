"""proppush publish killed (SIGKILL) before each request and after each journal entry, in turn. Then
--resume finishes it, or --abort leaves everything as it was: never a tag without a key, a key of this
run without a tag, or a policy wider than planned."""
import concurrent.futures
import signal
import subprocess
import threading

import pytest

from helpers import kill_at
from publishing import World, kept_keks

ARGS = ("--policy-doc", "p.toml", "--allow", "tee=sample", "--kid", "team/key/k1")
SAMPLE = {"PROP_TEE": "sample"}


def settle(w, before, how):
    """The killed run is finished or taken back, and what must hold then does."""
    assert w.tag() in (w.old, None) or w.get(w.name) is not None
    runs = w.open_runs()
    if not runs:
        # killed before anything was begun, or after everything was done
        if w.tag() == w.old:
            assert w.snapshot() == before
        else:
            published(w, before)
        return "nothing to do"
    assert len(runs) == 1 and runs[0]["running"] is False
    e = w.fails(2, "unfinished-run", *ARGS, env=SAMPLE)
    assert f"--resume {runs[0]['run']}" in e["hint"] and "--abort" in e["hint"]
    if how == "abort":
        r = w.run_verb("--abort", ok=None)
        if r.returncode == 0:
            assert w.snapshot() == before, (r.out, r.err)
            assert w.open_runs() == []
            return "aborted"
        # The tag was moved: that is published, and only to be ended.
        assert r.returncode == 2 and r.error()["code"] == "run-complete", r.err
        assert w.tag() != w.old
    doc = w.run_verb("--resume", env=SAMPLE).json()
    assert doc["resumed"] is True and w.tag() == doc["digest"]
    assert w.open_runs() == []
    published(w, before)
    if w.layout:
        w.decrypts(doc)
    return "resumed"


def published(w, before):
    """All of it, and no more: one key, one rule, one KEK."""
    after = w.snapshot()
    assert w.tag() != w.old
    assert w.get(w.name) is not None
    assert len(after["kbs"]) == len(before["kbs"]) + 1
    text = after["document"]
    assert text.count("[[rule]]") == 1 and text.startswith(before["document"])
    assert len(kept_keks(w.box)) == 1
    assert w.get("team/key/other") is None and w.refusal == "policy-deny"


def killed_at_request(w, proxy, i):
    child, ready = [], threading.Event()

    def kill():
        ready.wait(20)
        child[0].kill()
        child[0].wait()
        return "drop"

    proxy.fault = lambda n, method, path: kill if n == i else None
    child.append(subprocess.Popen([str(a) for a in w.argv(*ARGS)], env={**w.box.env, **SAMPLE},
                                  cwd=w.box.path, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL))
    ready.set()
    child[0].wait(60)
    proxy.fault = lambda n, method, path: None
    assert child[0].returncode == -signal.SIGKILL, i


def in_turn(tmp_path, registry, layout, count, kill):
    """kill(world, i) for each i, once to resume and once to abort, side by side."""
    def one(job):
        i, how = job
        w = World(tmp_path / f"{how}{i}", registry, f"team/{how}{i}", layout)
        try:
            before = w.snapshot()
            kill(w, i)
            return settle(w, before, how)
        except AssertionError as e:
            raise AssertionError(f"{how} after kill {i}: {e}") from e
        finally:
            w.stop()

    jobs = [(i, how) for i in range(count) for how in ("resume", "abort")]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        done = list(pool.map(one, jobs))
    assert "resumed" in done and "aborted" in done


@pytest.mark.parametrize("which", ["kbs", "registry", "layout"])
def test_before_each_request(tmp_path, registry, which):
    first = World(tmp_path / "count", registry, "team/count", which == "layout")
    first.run(*ARGS, env=SAMPLE)
    count = len((first.reg_proxy if which == "registry" else first.kbs_proxy).log)
    first.stop()
    assert count > 4
    in_turn(tmp_path, registry, which == "layout", count,
            lambda w, i: killed_at_request(w, w.reg_proxy if which == "registry" else w.kbs_proxy, i))


@pytest.mark.parametrize("layout", [False, True], ids=["registry", "layout"])
def test_after_each_journal_entry(tmp_path, registry, layout):
    """Killed when the n-th sync to disk has returned: the journal's entries, the KEK, the document."""
    first = World(tmp_path / "count", registry, "team/count", layout)
    env = {**first.box.env, **SAMPLE, "ASAN_OPTIONS": "detect_leaks=0:handle_segv=0"}
    seen = kill_at.run(first.argv(*ARGS), env, first.box.path, 10 ** 9)
    first.stop()
    if seen is None:
        pytest.skip("this machine does not let programs be traced")
    assert seen[0] == 0 and seen[1] >= 8, seen

    def kill(w, i):
        status, _ = kill_at.run(w.argv(*ARGS), {**w.box.env, **SAMPLE}, w.box.path, i + 1)
        assert status == -signal.SIGKILL

    in_turn(tmp_path, registry, layout, seen[1], kill)
