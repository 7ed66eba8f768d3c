"""examples/ci: every script line of the workflow files, and the shell pipeline, against docker-registry
with a password and a key broker whose token for the pipeline may not touch the policy."""
import json
import os
import pathlib
import re
import shlex
import shutil
import stat
import warnings

import pytest

from conftest import ROOT, Registry, need

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import crypt  # Debian's only bcrypt for Python; gone from 3.13 on
except ImportError:
    crypt = None

CI = ROOT / "examples/ci"
PASSWORD = "tr0ub4dor-Xz"


class World:
    """A checked-out project, the servers, and what a CI system would know."""

    def __init__(self, box, kbs, host):
        self.box, self.kbs, self.host = box, kbs, host
        self.project = box / "project"
        shutil.copytree(CI, self.project / "ci")
        shutil.copy(ROOT / "examples/modules/add.wat", self.project)
        # the policy of the README, which the administrator sets once
        policy = re.search(r"\n((?:    .*\n|\n)*    version = 1\n(?:    .*\n|\n)*)", (CI / "README.md").read_text()).group(1)
        (self.project / "policy.toml").write_text("\n".join(line[4:] for line in policy.splitlines()) + "\n")
        box.run("propkey", "policy", "set", "--allow-wider", self.project / "policy.toml", "--kbs", kbs.url, "--admin-key",
                kbs.admin_key)
        self.token = box.run("propkey", "admin-token", "--admin-key", kbs.admin_key, "--role", "publisher").out.strip()
        self.known = {"PROP_KBS_URL": kbs.url, "REGISTRY_USER": "ci", "REGISTRY_PASSWORD": PASSWORD,
                      "IMAGE": f"{host}/team/add", "KBS_ADMIN_TOKEN": self.token}

    def sh(self, script, env, shell=("sh", "-e", "-c"), ok=True):
        r = self.box.run(*shell, script, env=env, cwd=self.project, ok=ok)
        for secret in (PASSWORD, self.token):
            assert secret not in r.out + r.err
        return r

    def check(self, pinned, run, tag):
        """What came out: an encrypted image under the tag, whose run command works once a guest may."""
        auth = self.box / "reader.json"
        self.box.run("proppush", "login", "--authfile", auth, "--username", "ci", "--password-stdin", self.host, stdin=PASSWORD)
        r = self.box.run("proppush", "inspect", f"{self.host}/team/add:{tag}", "--authfile", auth, "--json").json()
        assert pinned == f"{self.host}/team/add@{r['digest']}"
        assert r["layers"][0]["encrypted"] and run.startswith(f"propcvm run {pinned} ")
        assert json.loads((self.project / "published.json").read_text())["pinned"] == pinned
        self.box.run("propkey", "policy", "preset", "allow-all", "--kbs", self.kbs.url, "--admin-key", self.kbs.admin_key)
        r = self.box.run(*shlex.split(run), "--authfile", auth, "--tee", "sample", "--invoke", "add", "--", "10", "20", ok=None)
        if "no-engine" not in r.err:
            assert (r.returncode, r.out.strip()) == (0, "30"), r.err
        # no secret stayed behind
        for f in [p for p in self.box.path.rglob("*") if p.is_file() and p != auth and "reg" not in p.parts[:-1]]:
            assert self.token.encode() not in f.read_bytes() and PASSWORD.encode() not in f.read_bytes(), f
        assert not list(pathlib.Path(self.box.env["TMPDIR"]).iterdir())


@pytest.fixture
def world(box, kbs_factory, tmp_path):
    need("wat2wasm")
    if crypt is None:
        pytest.skip("python has no crypt module to write an htpasswd file with")
    htpasswd = tmp_path / "htpasswd"
    htpasswd.write_text("ci:" + crypt.crypt(PASSWORD, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)) + "\n")
    (box / "tmp").mkdir()
    box.env["TMPDIR"] = str(box / "tmp")
    registry = Registry(tmp_path / "reg", auth=htpasswd)
    kbs = kbs_factory("--acl", "admin=^/kbs/.+$", "--acl", "publisher=^/kbs/v0/resource/default/key/.+$")
    yield World(box, kbs, registry.host)
    registry.stop()


def load(name):
    yaml = pytest.importorskip("yaml", reason="python module not installed: yaml")
    return yaml.safe_load((CI / name).read_text())


def expand(text, known, steps):
    """${{ vars.X }}, ${{ secrets.X }} and ${{ steps.S.outputs.X }}; anything else fails the test."""
    def value(m):
        kind, _, name = m.group(1).partition(".")
        if kind in ("vars", "secrets"):
            return known[name]
        step, outputs, name = name.split(".")
        assert (kind, outputs) == ("steps", "outputs"), m.group(0)
        return steps[step][name]
    return re.sub(r"\$\{\{\s*([A-Za-z_.0-9]+)\s*\}\}", value, text)


def read_outputs(path):
    """A GITHUB_OUTPUT file: name=value and name<<MARK lines."""
    out, lines = {}, iter(path.read_text().splitlines())
    for line in lines:
        m = re.match(r"([A-Za-z_]+)<<(.+)$", line)
        if m:
            got = []
            for more in lines:
                if more == m.group(2):
                    break
                got.append(more)
            out[m.group(1)] = "\n".join(got)
        elif "=" in line:
            name, _, out_value = line.partition("=")
            out[name] = out_value
    return out


def test_github_actions(world):
    doc = load("github-actions.yml")
    assert doc["permissions"] == {"contents": "read"}
    (job,) = doc["jobs"].values()
    steps, ran = {}, []
    for i, step in enumerate(job["steps"]):
        if "run" not in step:
            assert step["uses"].startswith("actions/")
            continue
        assert "${{" not in step["run"], "an expression in a script is an injection"
        files = {n: world.box / f"{n}-{i}" for n in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for f in files.values():
            f.touch()
        env = {k: expand(str(v), world.known, steps) for k, v in {**job["env"], **step.get("env", {})}.items()}
        env |= {"GITHUB_ACTIONS": "true", "GITHUB_REF_NAME": "v1.2.0", **{k: str(v) for k, v in files.items()}}
        world.sh(step["run"], env, shell=("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c"))
        steps[step.get("id", f"_{i}")] = read_outputs(files["GITHUB_OUTPUT"])
        ran.append(step["name"])
    assert ran == ["Build", "Publish", "Verify"]
    outputs = {k: expand(v, world.known, steps) for k, v in job["outputs"].items()}
    world.check(outputs["pinned"], outputs["run"], "v1.2.0")


def test_gitlab_ci(world):
    doc = load("gitlab-ci.yml")
    env = {**world.known, "CI_COMMIT_TAG": "v1.3.0"}
    seen = ""
    for stage in doc["stages"]:
        for name, job in [(n, j) for n, j in doc.items() if isinstance(j, dict) and j.get("stage") == stage]:
            seen = world.sh("\n".join(job["script"]), env).out
            for path in job.get("artifacts", {}).get("paths", []):
                assert (world.project / path).exists(), (name, path)
            dotenv = job.get("artifacts", {}).get("reports", {}).get("dotenv")
            if dotenv:
                env |= dict(line.split("=", 1) for line in (world.project / dotenv).read_text().splitlines())
    assert seen.strip() == env["RUN"]
    world.check(env["PINNED"], env["RUN"], "v1.3.0")


def test_shell_pipeline(world):
    r = world.sh('ci/pipeline.sh "$IMAGE:v1"', world.known)
    run = r.out.splitlines()[-1]
    world.check(run.split()[2], run, "v1")


def test_scripts_can_be_run_and_say_what_they_need(world):
    for name in ("publish.sh", "verify.sh", "pipeline.sh"):
        assert os.stat(CI / name).st_mode & stat.S_IXUSR
        assert "usage:" in world.sh(f"ci/{name}", world.known, ok=2).err
    known = dict(world.known)
    known.pop("KBS_ADMIN_TOKEN")
    r = world.sh(f'ci/publish.sh add.wat "{world.host}/team/add:v1"', known, ok=None)
    assert r.returncode != 0 and "KBS_ADMIN_TOKEN" in r.err


def test_a_wrong_password_or_token_publishes_nothing(world):
    shutil.copy(ROOT / "examples/modules/add.wasm", world.project)
    script = f'ci/publish.sh add.wasm "{world.host}/team/add:v1"'
    assert world.box.run("sh", "-c", script, env={**world.known, "REGISTRY_PASSWORD": "no"}, cwd=world.project, ok=None).returncode != 0
    assert world.box.run("sh", "-c", script, env={**world.known, "KBS_ADMIN_TOKEN": "no"}, cwd=world.project, ok=None).returncode != 0
    # the pipeline's token may not set the policy
    r = world.box.run("sh", "-c", script + " --allow tee=snp --allow-any-guest --replace-policy", env=world.known,
                      cwd=world.project, ok=None)
    assert r.returncode == 5, r.err
    assert not (world.project / "published.json").exists()
    assert not list(pathlib.Path(world.box.env["TMPDIR"]).iterdir())


def test_the_gate_closes(world):
    """An image that is not encrypted is not fit for release."""
    auth = world.box / "a.json"
    world.box.run("proppush", "login", "--authfile", auth, "--username", "ci", "--password-stdin", world.host, stdin=PASSWORD)
    r = world.box.run("proppush", "push", ROOT / "examples/modules/add.wasm", f"{world.host}/team/add:plain", "--authfile", auth,
                      "--json").json()
    world.sh(f'ci/verify.sh "{r["pinned"]}" --policy policy.toml', world.known, ok=1)
