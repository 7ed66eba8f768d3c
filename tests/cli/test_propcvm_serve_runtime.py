"""propcvm serve with what only its own configuration can grant: another runtime, folders."""
import base64

from test_propcvm_sandbox import RUNTIME, SHOW, p1
from test_propcvm_serve import assemble, broker, farm, file  # noqa: F401 (fixtures)


def test_another_runtime(farm):  # noqa: F811
    """The module comes as a sealed memfd, encrypted or not; a stop kills it with what it started."""
    runtime = farm.box / "runtime"
    runtime.write_text(RUNTIME)
    runtime.chmod(0o755)
    p = farm.serve(env={"PROPLET_EXTERNAL_WASM_RUNTIME": str(runtime)})
    assert f"Using external Wasm runtime: {runtime}" in p.log()
    assert farm.run()["results"] == "30\n"
    r = farm.manager.run(name="add", file=file("add.wasm"), inputs=["3", "4"])
    assert r["results"] == "7\n" and r["error"] is None
    r = farm.run(env={"STATUS": "3"})
    assert r["error"].startswith("WASM execution failed with exit code: Some(3)")
    runtime.write_text("#!/bin/sh\nsleep 1000 & wait\n")
    task = farm.start()
    p.says(f"Executing task {task}")
    farm.manager.stop(task)
    assert farm.manager.result(task)["error"] == f"Task {task} was stopped before completion"


def test_folders(farm):  # noqa: F811
    (farm.box / "data").mkdir()
    (farm.box / "data/in.txt").write_text("inside\n")
    show = base64.b64encode(assemble(farm, p1(SHOW, "in.txt"))).decode()
    farm.serve("--dir", f"{farm.box / 'data'}::/data")
    assert farm.manager.run(name="_start", file=show)["results"] == "inside\n"
    # a task cannot ask for one
    assert "--dir" in farm.manager.run(name="_start", file=show, cli_args=["--dir", "/"])["error"]
