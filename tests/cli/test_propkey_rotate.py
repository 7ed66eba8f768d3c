"""propkey rotate and revoke: another KEK under a new name for images that were published, what a run that
is killed leaves, and what dies with a key."""
import concurrent.futures
import http.client
import os
import signal
import subprocess
import threading

import pytest

from conftest import Box, Kbs
from publishing import ADDITION, Proxy, Publisher, kept_keks, manifest, tag_digest



class Site(Publisher):
    """A published image, and rotations of its key."""

    path = "team/key/k1"

    def publish(self, *args):
        (self.box / "p.toml").write_text("version = 1\n")
        self.doc = self.json("--kid", self.path, "--policy-doc", "p.toml", "--allow", "tee=sample", "--replace-policy", *args)
        return self

    def rotate_argv(self, *args, path=None, policy=("--policy-doc", "p.toml")):
        return ["propkey", "rotate", path or self.path, "--kbs", self.url, "--admin-key", self.kbs.admin_key, *policy,
                "--json", *args]

    def rotate(self, *args, ok=True, env=None, **kw):
        r = self.box.run(*self.rotate_argv(*args, **kw), ok=ok, env=env)
        return r.json() if ok is True else r

    def retire(self, *args, **kw):
        return self.rotate("--retire", *args, policy=(), **kw)

    def revoke(self, *args, ok=True, path=None):
        r = self.box.run("propkey", "revoke", path or self.path, "--kbs", self.url, "--admin-key", self.kbs.admin_key, "--json",
                         *args, ok=ok)
        return r.json() if ok is True else r

    def opens(self, kek, image=None):
        out = self.box / "opened.wasm"
        out.unlink(missing_ok=True)
        r = self.box.run("propenc", "decrypt", image or self.dst, out, "--key", kek, ok=None)
        return r.returncode == 0 and out.read_bytes() == ADDITION

    def kids(self, image=None):
        doc = self.box.run("propenc", "inspect", image or self.dst, "--json").json()
        return {r.get("kid") for layer in doc["layers"] for s in layer.get("schemes", []) for r in s["recipients"]}


def new_site(box, kbs, dst, **kw):
    module = box / "addition.wasm"
    module.write_bytes(ADDITION)
    return Site(box, kbs, module, dst, **kw)


@pytest.fixture
def site(box, kbs, registry):
    return new_site(box, kbs, f"{registry.host}/team/addition:encrypted").publish()


@pytest.fixture
def local(box, kbs):
    """The same in an OCI layout, which needs no server."""
    return new_site(box, kbs, f"oci:{box / 'layout'}:app").publish()


def host_of(site):
    return site.dst.split("/")[0]


# --- what a rotation does ----------------------------------------------------------------------------

def test_both_keys_open_it_then_only_the_new_one(site, box):
    old_kek, before = site.doc["kek_file"], tag_digest(host_of(site))
    r = site.rotate("--tee", "sample")
    assert r["to"] == f"team/key/k1-{r['fingerprint']}" and r["kid"] == f"kbs:///{r['to']}"
    assert r["admin_token_form"] == "portable"
    assert r["policy"] == "copied" and r["resumed"] is False
    assert [s["step"] for s in r["steps"]] == ["kek", "policy", "key", "proof", "image"]
    after = tag_digest(host_of(site))
    assert after != before and r["images"] == [{"image": f"docker://{site.dst}", "digest": after, "changed": True}]
    # no layer byte moved
    assert [la["digest"] for la in manifest(host_of(site), after)["layers"]] == \
        [la["digest"] for la in manifest(host_of(site), before)["layers"]]
    assert site.kids() == {"kbs:///team/key/k1", r["kid"]}
    assert site.opens(old_kek) and site.opens(r["kek_file"])
    assert site.get(site.path) == open(old_kek, "rb").read()
    assert site.get(r["to"]) == open(r["kek_file"], "rb").read()
    text = (box / "p.toml").read_text()
    assert text.count("[[rule]]") == 2 and r["to"] in text

    done = site.retire()
    assert done["deleted"] is True and done["to"] == r["to"]
    assert site.kids() == {r["kid"]} and site.opens(r["kek_file"]) and not site.opens(old_kek)
    assert site.get(site.path) is None
    assert open(old_kek, "rb").read()  # the copy on this machine stays


def test_a_guest_runs_it_before_and_after(site, box):
    if not (box.env["PATH"] and any(os.access(os.path.join(d, "propcvm"), os.X_OK) for d in box.env["PATH"].split(":"))):
        pytest.skip("no propcvm in this build")
    run = ("propcvm", "run", site.dst, "--kbs", site.kbs.url, "--tee", "sample", "--invoke", "add", "--", "10", "20")
    assert box.run(*run).out.strip() == "30"
    site.rotate()
    assert box.run(*run).out.strip() == "30"
    site.retire()
    assert box.run(*run).out.strip() == "30"


def test_in_a_layout_from_another_folder(local, box):
    elsewhere = box / "elsewhere"
    elsewhere.mkdir()
    r = box.run(*local.rotate_argv(policy=("--policy-doc", str(box / "p.toml"))), cwd=elsewhere).json()
    assert r["images"][0]["image"] == f"oci:{(box / 'layout').resolve()}:app"
    assert local.opens(r["kek_file"], local.dst) and local.opens(local.doc["kek_file"], local.dst)
    assert local.retire()["deleted"] is True
    assert not local.opens(local.doc["kek_file"], local.dst)


def test_an_image_published_under_a_relative_name(box, kbs):
    (box / "p.toml").write_text("version = 1\n")
    s = new_site(box, kbs, "oci:layout:app").publish()
    elsewhere = box / "elsewhere"
    elsewhere.mkdir()
    r = box.run(*s.rotate_argv(policy=("--policy-doc", str(box / "p.toml"))), cwd=elsewhere).json()
    assert len(r["images"]) == 1 and r["skipped"] == []


def test_in_a_plain_folder(box, kbs):
    """The folder is not there yet when its name is noted."""
    s = new_site(box, kbs, "dir:folder").publish()
    r = s.rotate()
    assert [i["image"] for i in r["images"]] == [f"dir:{(box / 'folder').resolve()}"]
    assert s.opens(r["kek_file"]) and s.opens(s.doc["kek_file"])
    assert s.retire()["deleted"] is True and s.kids() == {r["kid"]}


def test_an_image_named_twice_is_one(local, box):
    r = local.rotate("--image", local.dst, "--image", f"oci:{box.path}/./layout:app")
    assert len(r["images"]) == 1


def test_a_second_run_finds_it_done(local):
    first = local.rotate()
    second = local.rotate()
    assert second["resumed"] is True and second["to"] == first["to"] and second["fingerprint"] == first["fingerprint"]
    assert [i["changed"] for i in second["images"]] == [False]
    assert len(kept_keks(local.box)) == 2  # the old one and one new one
    local.retire()
    e = local.retire(ok=8).error()
    assert e["code"] == "no-rotation"


def test_the_successor_of_a_successor_has_a_short_name(local):
    first = local.rotate()["to"]
    local.retire()
    r = local.rotate(path=first)
    assert r["to"] == f"team/key/k1-{r['fingerprint']}" and r["to"] != first


def test_a_name_and_images_of_ones_own(local, box):
    box.run("proppush", "copy", local.dst, f"oci:{box / 'layout'}:second")
    r = local.rotate("--to", "team/key/next", "--image", f"oci:{box / 'layout'}:second")
    assert r["to"] == "team/key/next" and [i["image"].rsplit(":", 1)[1] for i in r["images"]] == ["second"]
    assert "kbs:///team/key/next" in local.kids(f"oci:{box / 'layout'}:second")
    assert local.kids() == {"kbs:///team/key/k1"}
    # the first one would die: it is not given up
    e = local.retire(ok=4).error()
    assert e["code"] == "not-rotated" and "--image" in e["hint"]
    assert local.get(local.path) is not None and local.kids() == {"kbs:///team/key/k1"}
    local.rotate()
    local.retire()
    assert local.kids() == {"kbs:///team/key/next"}
    assert local.rotate("--to", "other/key/1", path="team/key/next", policy=("--policy-as-is",))["to"] == "other/key/1"


def test_naming_one_image_does_not_give_up_the_others(local, box):
    second = f"oci:{box / 'layout'}:second"
    box.run("proppush", "copy", local.dst, second)
    local.rotate("--image", second)
    e = local.retire("--image", second, ok=4).error()
    assert e["code"] == "not-rotated" and ":app" in e["message"]
    assert local.get(local.path) is not None and "kbs:///team/key/k1" in local.kids(second)


def test_an_image_that_was_named_is_not_forgotten(box, kbs):
    proxy = Proxy(kbs.url.split("://")[1])
    s = new_site(box, kbs, f"oci:{box / 'layout'}:app", kbs_url=f"http://{proxy.address}").publish()
    second = f"oci:{box / 'layout'}:second"
    box.run("proppush", "copy", s.dst, second)
    proxy.fault = lambda n, method, path: 503 if method == "POST" and "/resource/" in path else None
    s.rotate("--image", second, ok=6)
    proxy.fault = lambda n, method, path: None
    assert s.retire(ok=4).error()["code"] == "not-rotated"
    listed = s.revoke("--dry-run")["dies"]
    assert [i.rsplit(":", 1)[1] for i in sorted(listed)] == ["app", "second"]
    proxy.stop()


def test_a_key_is_not_retired_when_no_image_is_known(local, box):
    """As after a run that was killed before it noted what it was told to open."""
    to = local.rotate()["to"]
    (box.home / "state").rename(box.home / "elsewhere")
    e = local.retire("--to", to, "--kek", box.home / f"data/prop/keys/kek-{to.rsplit('-', 1)[1]}.bin", ok=2).error()
    assert e["code"] == "no-image" and "revoke" in e["hint"] and local.get(local.path) is not None
    local.retire("--to", to, "--kek", box.home / f"data/prop/keys/kek-{to.rsplit('-', 1)[1]}.bin", "--image", local.dst)
    assert local.get(local.path) is None and local.kids() == {f"kbs:///{to}"}


def test_another_name_midway_is_refused(local):
    local.rotate()
    assert local.rotate("--to", "team/key/other", ok=2).error()["code"] == "rotation-begun"


# --- the policy --------------------------------------------------------------------------------------

def test_the_policy_that_is_known_from_the_last_upload(local, box):
    r = local.rotate(policy=())
    assert r["policy"] == "copied"
    assert local.get(r["to"]) is not None


def test_a_pattern_covers_the_new_name(box, kbs):
    (box / "p.toml").write_text('version = 1\n[[rule]]\nresource = "team/key/*"\ntee = "sample"\n')
    s = new_site(box, kbs, f"oci:{box / 'layout'}:app")
    s.doc = s.json("--kid", s.path, "--policy-doc", "p.toml", "--allow", "tee=sample", "--replace-policy")
    before = (box / "p.toml").read_text()
    r = s.rotate()
    assert r["policy"] == "covers" and (box / "p.toml").read_text() == before and s.get(r["to"]) is not None
    s.retire()
    assert s.rotate(path=r["to"], policy=())["policy"] == "covers"


def test_rules_of_others_stay(local, box):
    text = (box / "p.toml").read_text() + '\n[[rule]]\nresource = "other/key/x"   # theirs\ntee = "snp"\ntier = "affirming"\n'
    (box / "p.toml").write_text(text)
    r = local.rotate()
    after = (box / "p.toml").read_text()
    assert after.startswith(text) and after.count("[[rule]]") == 3 and r["to"] in after[len(text):]


def test_an_unknown_policy_is_not_guessed(local, box):
    state = {"XDG_STATE_HOME": str(box / "other-state")}
    argv = ("--image", local.dst, "--kek", local.doc["kek_file"])
    before = local.kids()
    e = local.rotate(*argv, policy=(), env=state, ok=2).error()
    assert e["code"] == "policy-unknown" and "--policy-as-is" in e["hint"]
    assert local.kids() == before and len(kept_keks(box)) == 1
    r = local.rotate(*argv, policy=("--policy-as-is",), env=state)
    assert r["policy"] == "as-is" and local.get(r["to"]) is None  # as told: nobody was let in
    assert local.refusal == "policy-deny"


def test_a_preset_speaks_of_no_names(box, kbs):
    s = new_site(box, kbs, f"oci:{box / 'layout'}:app")
    box.run("propkey", "policy", "preset", "allow-all", "--kbs", kbs.url, "--admin-key", kbs.admin_key)
    s.doc = s.json("--kid", s.path)
    r = s.rotate(policy=())
    assert r["policy"] == "covers" and s.get(r["to"]) is not None


def test_a_document_that_lost_a_rule_is_refused(local, box):
    (box / "p.toml").write_text("version = 1\n")
    e = local.rotate(ok=2).error()
    assert e["code"] == "policy-loses-rule" and (box / "p.toml").read_text() == "version = 1\n"
    assert local.kids() == {"kbs:///team/key/k1"}


# --- refusals ----------------------------------------------------------------------------------------

def test_what_is_refused_before_anything_is_done(local, box, kbs):
    before, keks = local.kids(), kept_keks(box)

    def fails(code, error_id, *args, **kw):
        assert local.rotate(*args, ok=code, **kw).error()["code"] == error_id
        assert local.kids() == before and kept_keks(box) == keks

    fails(3, "bad-resource-path", path="nonsense")
    fails(8, "kek-not-kept", path="team/key/unknown")
    fails(2, "same-name", "--to", local.path)
    fails(2, "two-policies", "--policy-as-is")
    fails(8, "image-not-found", "--image", f"oci:{box / 'layout'}:nosuch")
    box.run("propkey", "gen", "other.kek", "--no-keep")
    box.run("propkey", "set", "team/key/taken", "other.kek", "--kbs", kbs.url, "--admin-key", kbs.admin_key)
    fails(7, "kid-in-use", "--to", "team/key/taken")
    fails(2, "no-image", "--kek", "other.kek", path="team/key/taken")
    fails(4, "kek-wrong", "--kek", "other.kek")
    fails(2, "unknown-option", "--nonsense")
    bad = box / "bad.key"
    box.run("propkey", "admin-keygen", "-o", bad)
    argv = [a if a != kbs.admin_key else bad for a in local.rotate_argv()]
    assert box.run(*argv, ok=5).error()["code"].startswith("admin-auth")
    assert local.kids() == before and kept_keks(box) == keks


def test_a_dry_run_changes_nothing(local, box):
    before, text, keks = local.kids(), (box / "p.toml").read_text(), kept_keks(box)
    r = local.rotate("--dry-run")
    assert r["dry_run"] is True and r["policy"] == "copied" and len(r["images"]) == 1 and "fingerprint" not in r
    assert (local.kids(), (box / "p.toml").read_text(), kept_keks(box)) == (before, text, keks)
    to = local.rotate()["to"]
    r = local.retire("--dry-run")
    assert r["dry_run"] is True and r["deleted"] is False and r["to"] == to
    assert local.get(local.path) is not None and len(local.kids()) == 2


def test_an_image_that_is_gone_is_left_out(site, box, registry):
    host = host_of(site)
    box.run("proppush", "tag", site.dst, "second")
    first = site.rotate("--image", site.dst, "--image", f"{host}/team/addition:second")
    assert len(first["images"]) == 2
    c = http.client.HTTPConnection(host)
    c.request("DELETE", f"/v2/team/addition/manifests/{tag_digest(host, tag='second')}")
    assert c.getresponse().status == 202
    c.close()
    r = site.rotate()
    assert r["skipped"] == [f"docker://{host}/team/addition:second"] and len(r["images"]) == 1
    r = site.retire()
    assert r["deleted"] is True and len(r["skipped"]) == 1


def test_a_server_that_cannot_delete(box, kbs, tmp_path):
    proxy = Proxy(kbs.url.split("://")[1])
    try:
        s = new_site(box, kbs, f"oci:{box / 'layout'}:app", kbs_url=f"http://{proxy.address}").publish()
        s.rotate()
        proxy.fault = lambda n, method, path: 405 if method == "DELETE" else None
        e = s.revoke("--yes", ok=None)
        r = s.retire(ok=None)
        if r.returncode == 0:
            assert r.json()["deleted"] is False and "cannot delete" in r.err
        assert e.returncode == 9 and "policy" in e.error()["hint"]
    finally:
        proxy.stop()


# --- interrupted -------------------------------------------------------------------------------------

def worlds(tmp_path, registry, which, action):
    """action(site, proxy, i) for each request i that a rotation sends to `which`, side by side."""
    def make(name):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        box = Box(folder)
        kbs = Kbs(box)
        kbs_proxy, reg_proxy = Proxy(kbs.url.split("://")[1]), Proxy(registry.host)
        s = new_site(box, kbs, f"{reg_proxy.address}/team/{name}:encrypted", kbs_url=f"http://{kbs_proxy.address}")
        s.publish()
        s.kbs_proxy, s.reg_proxy = kbs_proxy, reg_proxy
        kbs_proxy.log.clear()
        reg_proxy.log.clear()
        return s

    def end(s):
        s.kbs_proxy.stop()
        s.reg_proxy.stop()
        s.kbs.stop()

    first = make("count")
    first.rotate()
    count = len((first.kbs_proxy if which == "kbs" else first.reg_proxy).log)
    end(first)
    assert count > 2

    def one(i):
        s = make(f"world{i}")
        try:
            action(s, s.kbs_proxy if which == "kbs" else s.reg_proxy, i)
        finally:
            end(s)

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(one, range(count)))


def finish(s):
    """After whatever happened: the old key works, a second run completes, one new KEK was made."""
    assert s.opens(s.doc["kek_file"]) and s.get(s.path) is not None
    rule = s.kbs_proxy.done("POST", "/resource-policy$")
    key = s.kbs_proxy.done("POST", "/resource/team/key/k1-")
    tag = s.reg_proxy.done("PUT", "/manifests/encrypted$")
    assert not key or rule and rule[0][3] < key[0][3]
    assert not tag or key and key[0][3] < tag[0][3]
    r = s.rotate()
    assert s.opens(r["kek_file"]) and s.get(r["to"]) == open(r["kek_file"], "rb").read()
    assert len(kept_keks(s.box)) == 2, kept_keks(s.box)
    assert (s.box / "p.toml").read_text().count("[[rule]]") == 2
    s.retire()
    assert s.kids() == {r["kid"]} and s.opens(r["kek_file"])


@pytest.mark.parametrize("which", ["kbs", "registry"])
def test_killed_at_each_request(tmp_path, registry, which):
    def action(s, proxy, i):
        child, ready = [], threading.Event()

        def kill():
            ready.wait(20)
            child[0].kill()
            child[0].wait()
            return "drop"

        proxy.fault = lambda n, method, path: kill if n == i else None
        child.append(subprocess.Popen([str(a) for a in s.rotate_argv()], env=s.box.env, cwd=s.box.path,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        ready.set()
        child[0].wait(60)
        assert child[0].returncode == -signal.SIGKILL, i
        proxy.fault = lambda n, method, path: None
        finish(s)

    worlds(tmp_path, registry, which, action)


@pytest.mark.parametrize("fault", [500, "lost"])
@pytest.mark.parametrize("which", ["kbs", "registry"])
def test_each_request_fails_once(tmp_path, registry, which, fault):
    def action(s, proxy, i):
        proxy.fault = lambda n, method, path: fault if n == i else None
        r = s.rotate(ok=None)
        proxy.fault = lambda n, method, path: None
        assert r.returncode in (0, 4, 5, 6, 7, 8), (i, r.err)
        finish(s)

    worlds(tmp_path, registry, which, action)


# --- revoke ------------------------------------------------------------------------------------------

def test_revoke_names_what_dies(local, box):
    r = local.revoke(ok=2)
    assert r.error()["code"] == "images-die" and "cannot be run any more" in r.err and ":app" in r.err
    assert local.get(local.path) is not None
    r = local.revoke("--dry-run")
    assert [i.rsplit(":", 1)[1] for i in r["dies"]] == ["app"] and local.get(local.path) is not None
    r = local.revoke("--yes")
    assert r["deleted"] is True and len(r["dies"]) == 1 and r["kek_file"] == local.doc["kek_file"]
    assert r["admin_token_form"] == "portable"
    assert local.get(local.path) is None and len(kept_keks(box)) == 1
    r = local.revoke()  # nothing is known to die any more, and it is gone
    assert r["deleted"] is False and r["dies"] == []


def test_delete_says_what_it_killed(local):
    r = local.box.run("propkey", "delete", local.path, "--kbs", local.url, "--admin-key", local.kbs.admin_key, "--json")
    assert r.json()["deleted"] is True and ":app' was encrypted with it" in r.err


def test_revoke_during_a_rotation(local):
    local.rotate()
    r = local.revoke("--forget-kek")
    assert r["dies"] == [] and len(r["survives"]) == 1 and "kek_file" not in r
    assert len(kept_keks(local.box)) == 1


def test_a_revoked_successor_is_not_brought_back(local):
    to = local.rotate()["to"]
    assert local.revoke(path=to)["deleted"] is True
    again = local.rotate()
    assert again["to"] != to and again["resumed"] is False
    assert local.get(to) is None and local.get(again["to"]) is not None


def test_revoke_keeps_a_kek_that_another_name_has(local, box):
    box.run("propkey", "set", "team/key/twin", local.doc["kek_file"], "--kbs", local.url, "--admin-key", local.kbs.admin_key)
    r = box.run("propkey", "revoke", "team/key/twin", "--kbs", local.url, "--admin-key", local.kbs.admin_key, "--forget-kek",
                "--json")
    assert local.path in r.err and r.json()["kek_file"] == local.doc["kek_file"] and len(kept_keks(box)) == 1
    assert local.revoke("--yes", "--forget-kek")["deleted"] is True and kept_keks(box) == []


def test_revoke_without_a_ledger_must_be_meant(local, box):
    state = box.home / "state"
    state.rename(box.home / "elsewhere")
    state.write_text("a file where the folder should be")
    assert local.revoke(ok=2).error()["code"] == "images-unknown" and local.get(local.path) is not None
    assert local.revoke("--yes")["deleted"] is True and local.get(local.path) is None


def test_revoke_needs_the_right_to(local, box):
    box.run("propkey", "admin-keygen", "-o", "bad.key")
    r = box.run("propkey", "revoke", local.path, "--kbs", local.url, "--admin-key", "bad.key", "--yes", "--json", ok=5)
    assert r.error()["code"].startswith("admin-auth") and local.get(local.path) is not None
    assert len(local.revoke("--dry-run")["dies"]) == 1  # the ledger still knows
