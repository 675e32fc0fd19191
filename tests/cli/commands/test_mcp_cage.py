"""A server in a cage, from the command line to the kernel's refusal and back."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mcp_cli.caging import cage_of
from mcp_interface.errors import CallerMistaken
from mcp_interface.server import Cage

PYTHON = "/usr/bin/python3"
SERVER = """
import json, sys
TOOL = {"name": "read", "description": "Read a file.", "annotations": {"readOnlyHint": True},
        "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}}
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    answer = {"jsonrpc": "2.0", "id": asked["id"]}
    if asked["method"] == "initialize":
        answer["result"] = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                            "serverInfo": {"name": "boxed", "version": "1"}}
    elif asked["method"] == "tools/list":
        answer["result"] = {"tools": [TOOL]}
    elif asked["method"] == "tools/call":
        try:
            text, failed = open(asked["params"]["arguments"]["path"]).read(), False
        except OSError as error:
            text, failed = f"{type(error).__name__}: {error.strerror}", True
        answer["result"] = {"content": [{"type": "text", "text": text}], "isError": failed}
    else:
        answer["error"] = {"code": -32601, "message": "no such method"}
    print(json.dumps(answer), flush=True)
"""
needs_bubblewrap = pytest.mark.skipif(
    shutil.which("bwrap") is None and not os.environ.get("CI"), reason="bubblewrap is not installed"
)


@pytest.fixture
def place(tmp_path: Path, umbrella: Callable[..., Any]) -> Iterator[Path]:
    home = Path(os.path.realpath(tmp_path))
    for folder in ("lent", "kept"):
        (home / folder).mkdir()
        (home / folder / "file").write_text(f"content of {folder}")
    (home / "lent" / "server.py").write_text(SERVER)
    yield home
    umbrella("mcp", "remove", "boxed")


@needs_bubblewrap
def test_a_caged_server_works_and_the_kernel_refuses_what_it_may_not(
    umbrella: Callable[..., Any],
    umbrella_json: Callable[..., Any],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    limits = ("--memory", "200", "--processes", "8", "--no-network")
    words = ("--", PYTHON, "lent/server.py")
    added = umbrella_json("mcp", "add", "boxed", "--allow-path", "lent", *limits, *words)
    assert added["state"] == "ready", added
    assert added["caged"].startswith(f"reads {place}/lent; no network; 8 processes; 200 MB of memory")

    def read(path: Path) -> Any:
        return umbrella(
            "--format", "json", "call", "boxed", "read", "--json", json.dumps({"path": str(path)})
        )

    lent, kept = read(place / "lent" / "file"), read(place / "kept" / "file")
    assert lent.exit_code == 0 and "content of lent" in lent.output
    assert "content of kept" not in kept.output and "FileNotFoundError" in kept.output
    assert "FileNotFoundError" in read(Path("/etc/shadow")).output
    assert f"reads {place}"[:20] in umbrella("mcp", "list").output
    steps = umbrella_json("mcp", "doctor", "boxed")
    assert {step["step"] for step in steps} >= {"cage", "process", "answer", "lists"}
    assert all(step["ok"] for step in steps), steps

    # the control: without the cage the same server reads the same file
    free = umbrella_json("mcp", "add", "boxed", *words)
    assert free["caged"] == ""
    assert "content of kept" in read(place / "kept" / "file").output


@needs_bubblewrap
def test_the_nodes_own_folder_is_never_lent(
    umbrella: Callable[..., Any], umbrella_json: Callable[..., Any], place: Path, node_dir: Path
) -> None:
    for path in (node_dir, node_dir.parent):
        added = umbrella(
            "mcp", "add", "boxed", "--allow-path", f"{os.path.realpath(path)}:ro", "--", "/bin/cat"
        )
        assert added.exit_code == 1 and "the node's own" in added.output, added.output
    steps = umbrella_json("mcp", "doctor", "boxed", code=1)
    assert steps[-1]["step"] == "cage" and not steps[-1]["ok"]


def test_the_other_options_of_a_server(
    umbrella: Callable[..., Any], umbrella_json: Callable[..., Any], place: Path
) -> None:
    options = ("--lazy", "--timeout", "5m", "--root", str(place), "--type", "stdio")
    added = umbrella_json("mcp", "add", "boxed", *options, "--", PYTHON, str(place / "lent" / "server.py"))
    assert added["state"] == "resting"
    spec = added["spec"]
    assert (spec["lazy"], spec["timeout"], spec["roots"], spec["type"]) == (
        True,
        300_000,
        [str(place)],
        "stdio",
    )
    assert "resting" in umbrella("mcp", "list").output


# -- reading the options -------------------------------------------------------------------------------------


def ordered(*paths: str, **options: Any) -> Cage | None:
    given: dict[str, Any] = dict.fromkeys(("network", "memory", "processes", "cpu_time", "file_size"))
    return cage_of(paths, **{**given, "wanted": False, **options})


@pytest.mark.parametrize(
    ("paths", "options", "cage"),
    [
        ((), {}, None),
        ((), {"wanted": True}, Cage()),
        ((), {"network": False}, Cage()),
        ((), {"network": True}, Cage(network=True)),
        ((), {"memory": 5, "processes": 6, "cpu_time": 7, "file_size": 8},
         Cage(memory_mb=5, processes=6, cpu_s=7, file_mb=8)),
        (("/a", "/b:ro", "/c:rw", "/d:x", "/e/../f:rw"), {}, Cage(read=["/a", "/b", "/d:x"], write=["/c", "/f"])),
    ],
)  # fmt: skip
def test_any_option_of_a_sandbox_orders_one(
    paths: tuple[str, ...], options: dict[str, Any], cage: Cage | None
) -> None:
    assert ordered(*paths, **options) == cage


def test_an_empty_path_is_refused() -> None:
    with pytest.raises(CallerMistaken):
        ordered(":rw")
