"""MCP servers that we did not write, as a person uses them: through `umbrella`, at a real `umbrella serve`."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commanding import umbrella
from node_programs import NodeProgram, npm_program
from serving import Running

from mcp_interface.commands import CallTool
from mcp_interface.execution import Execution, GetExecution, ListQuestions, StartExecution
from mcp_interface.reading import Complete, ListPrompts, ListTemplates
from mcp_interface.server import ServerSpec
from mcp_interface.tool import ToolResult
from scripted_model import scripted_model

OLDER, NEWER = "2025-11-25", "2026-07-28"
TEXT_7 = "demo://resource/dynamic/text/7"
MODEL_SAYS = "words of a model"
SECRET = "what nobody may read"

pytestmark = pytest.mark.node_server
needs_bubblewrap = pytest.mark.skipif(
    shutil.which("bwrap") is None and not os.environ.get("CI"), reason="bubblewrap is not installed"
)


class Person:
    """Somebody at a terminal, and the node that they use."""

    def __init__(self, running: Running) -> None:
        self.running = running

    def does(self, *words: str, code: int = 0) -> Any:
        """Give a command."""
        return umbrella(self.running.folder, *words, code=code)

    def calls(self, server: str, tool: str, code: int = 0, /, **arguments: Any) -> Any:
        """Call a tool at the terminal and wait for what it says."""
        return self.does("call", server, tool, "--json", json.dumps(arguments), code=code)

    def hears(self, server: str, tool: str, /, **arguments: Any) -> ToolResult:
        """What a tool says; the same command without the terminal, which takes its time."""
        return self.running.ask(CallTool(server=server, tool=tool, arguments=arguments)).result

    def begins(self, server: str, tool: str, /, **arguments: Any) -> str:
        """Begin a call and wait until it asks something; the call's id."""
        started = self.running.ask(StartExecution(server=server, tool=tool, arguments=arguments))
        begun = self.running.ask(GetExecution(execution_id=started.id, wait_s=30))
        assert begun.questions, begun
        return str(started.id)

    def is_asked(self, execution: str) -> Any:
        """The only question that a call has open."""
        asked: Any = self.running.ask(ListQuestions(execution_id=execution))
        (question,) = asked.items
        return question

    def answers(self, execution: str, *words: str, code: int = 0) -> Any:
        """Answer it."""
        return self.does("questions", "answer", self.is_asked(execution).id, *words, code=code)

    def gets(self, execution: str) -> str:
        """What a call said at its end."""
        ended: Execution = self.running.ask(GetExecution(execution_id=execution, wait_s=30))
        assert ended.status == "SUCCESS" and ended.result is not None, ended
        return ended.result.text


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """At a node that has a model, too."""
    running = Running(tmp_path_factory.mktemp("node"))
    script = {"steps": [], "then": {"text": MODEL_SAYS}}
    with scripted_model(script) as model, pytest.MonkeyPatch.context() as environment:
        for name, value in model.environ("openai").items():
            environment.setenv(name, value)
        running.start()
        try:
            yield Person(running)
        finally:
            running.stop()


@pytest.fixture(scope="module", params=["stdio", "http"])
def everything(
    person: Person, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The name under which server-everything was added, by each of its transports."""
    spec: ServerSpec = request.getfixturevalue(f"everything_{request.param}")
    how = ["--url", spec.url or ""] if spec.command is None else ["--", spec.command, *spec.args]
    name = f"everything-{request.param}"
    added = person.does("mcp", "add", name, "--root", str(tmp_path_factory.mktemp("root")), *how)
    assert added["state"] == "ready" and added["protocol"] == OLDER, added
    assert added["instructions"].startswith("# Everything Server")
    return name


def blocks(outcome: Any) -> list[Any]:
    return list(outcome["result"]["content"])


def test_every_kind_of_content_arrives_whole(person: Person, everything: str) -> None:
    assert person.hears(everything, "echo", message="grüezi").content == [
        {"type": "text", "text": "Echo: grüezi"}
    ]
    weather = person.hears(everything, "get-structured-content", location="Chicago")
    assert weather.structured is not None
    assert weather.structured.keys() == {"temperature", "conditions", "humidity"}
    assert json.loads(weather.text) == weather.structured
    noted = person.hears(everything, "get-annotated-message", messageType="error", includeImage=True).content
    assert noted[0]["annotations"] == {"audience": ["user", "assistant"], "priority": 1.0}
    assert noted[1]["mimeType"] == "image/png" and base64.b64decode(noted[1]["data"]).startswith(b"\x89PNG")
    links = person.hears(everything, "get-resource-links", count=2).content[1:]
    assert [each["type"] for each in links] == ["resource_link"] * 2
    embedded = person.hears(everything, "get-resource-reference", resourceType="Blob", resourceId=2).content[
        1
    ]
    assert base64.b64decode(embedded["resource"]["blob"]).startswith(b"Resource 2")


def test_a_wrong_argument_is_refused_before_the_server_hears_of_it(person: Person, everything: str) -> None:
    refused = person.calls(everything, "get-sum", 2, a=1)
    assert refused["error"]["code"] == "invalid_input" and refused["error"]["details"]["argument"] == "b"
    assert "3.5" in person.hears(everything, "get-sum", a=1, b=2.5).text


def test_it_is_told_the_folders_that_it_was_added_with(person: Person, everything: str) -> None:
    assert "/root" in person.hears(everything, "get-roots-list").text


def test_resources_are_listed_read_and_made_from_templates(person: Person, everything: str) -> None:
    listed = person.does("resource", "list", "--server", everything)["items"]
    document = next(each for each in listed if each["uri"].endswith("architecture.md"))
    assert document["mime_type"] == "text/markdown"
    (read,) = person.does("resource", "show", document["uri"], "--server", everything)
    assert read["text"].startswith("# Everything Server")
    templates = {each.uri_template for each in person.running.ask(ListTemplates(server=everything)).items}
    assert templates == {f"demo://resource/dynamic/{kind}/{{resourceId}}" for kind in ("text", "blob")}
    (made,) = person.does("resource", "show", TEXT_7, "--server", everything)
    assert made["text"].startswith("Resource 7")
    absent = person.does("resource", "show", f"{TEXT_7}x", "--server", everything, code=5)
    assert "Unknown resource" in absent["error"]["message"], "what the server says is passed on"


def test_prompts_are_listed_completed_and_rendered(person: Person, everything: str) -> None:
    prompts = {each.name: each for each in person.running.ask(ListPrompts(server=everything)).items}
    assert [(each.name, each.required) for each in prompts["args-prompt"].arguments] == [
        ("city", True),
        ("state", False),
    ]

    def completed(name: str, argument: str, value: str, **known: str) -> list[str]:
        kind: Any = "template" if "{" in name else "prompt"
        command = Complete(
            server=everything, kind=kind, name=name, argument=argument, value=value, context=known
        )
        return person.running.ask(command).values

    assert completed("completable-prompt", "department", "S") == ["Sales", "Support"]
    assert completed("completable-prompt", "name", "", department="Sales") == ["David", "Eve", "Frank"]
    assert completed("demo://resource/dynamic/text/{resourceId}", "resourceId", "12") == ["12"]
    rendered = person.does(
        "prompt", "render", "--server", everything, "completable-prompt", "department=Sales", "name=Eve"
    )
    assert rendered["messages"][0]["content"]["text"] == "Please promote Eve to the head of the Sales team."
    embedded = person.does(
        "prompt", "render", "--server", everything, "resource-prompt", "resourceType=Text", "resourceId=3"
    )
    assert embedded["messages"][1]["content"]["resource"]["text"].startswith("Resource 3")


def test_a_form_is_filled_in_at_the_terminal(person: Person, everything: str) -> None:
    call = person.begins(everything, "trigger-elicitation-request")
    refused = person.answers(call, "--set", "name=Ann", "--set", "integer=101", code=2)
    assert refused["error"]["details"] == {"field": "integer", "rule": "maximum"}
    person.answers(
        call, "--set", "name=Ann", "--set", "check=yes", "--set", "titledMultipleSelectEnum=Tuna,Trout"
    )
    heard = json.loads(person.gets(call).partition("Raw result:")[2])
    assert heard["action"] == "accept"
    assert heard["content"]["name"] == "Ann" and heard["content"]["check"] is True
    assert heard["content"]["titledMultipleSelectEnum"] == ["fish-1", "fish-3"]
    assert heard["content"]["integer"] == 42, "what was left out has its default"


def test_a_page_is_declined_or_opened_by_either_way_of_asking(person: Person, everything: str) -> None:
    page = f"https://example.org/{everything}"
    call = person.begins(everything, "trigger-url-elicitation", url=page)
    assert person.is_asked(call).inquiry.url == page
    person.answers(call, "--decline")
    assert "declined" in person.gets(call)
    call = person.begins(everything, "trigger-url-elicitation", url=page, errorPath=True)
    assert person.is_asked(call).inquiry.url == "https://modelcontextprotocol.io"
    person.answers(call, "--accept")
    again = person.running.ask(GetExecution(execution_id=call, wait_s=30))
    assert again.questions, again
    assert person.is_asked(call).inquiry.url == page
    person.answers(call, "--accept")
    assert "completed" in person.gets(call)


def test_a_model_speaks_for_it_after_a_yes_only(person: Person, everything: str) -> None:
    call = person.begins(everything, "trigger-sampling-request", prompt="hello", maxTokens=20)
    assert person.is_asked(call).inquiry.kind == "sampling"
    person.answers(call, "--accept")
    assert MODEL_SAYS in person.gets(call)
    call = person.begins(everything, "trigger-sampling-request", prompt="hello", maxTokens=20)
    person.answers(call, "--decline")
    refused = person.running.ask(GetExecution(execution_id=call, wait_s=30))
    assert refused.status == "FAILED" and refused.result is not None
    assert MODEL_SAYS not in refused.result.text


# -- in a cage -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filesystem() -> NodeProgram:
    return npm_program("@modelcontextprotocol/server-filesystem", "^2026.8.0", "dist/index.js")


@needs_bubblewrap
def test_the_kernel_holds_what_the_servers_own_rules_would_allow(
    person: Person, filesystem: NodeProgram, tmp_path: Path
) -> None:
    home = Path(os.path.realpath(tmp_path))
    lent, ours, kept = (home / name for name in ("lent", "ours", "kept"))
    for folder in (lent, ours, kept):
        folder.mkdir()
        (folder / "note.txt").write_text(SECRET if folder is kept else "to be read")
    (lent / "way-out").symlink_to(kept)
    needed = ["--allow-path", str(filesystem.node), "--allow-path", str(filesystem.folder)]
    allowed = ["--allow-path", f"{lent}:ro", "--allow-path", f"{ours}:rw", "--no-network"]
    for name, options in (("caged", [*allowed, *needed]), ("free", [])):
        added = person.does("mcp", "add", name, *options, "--", *filesystem.command("/"))
        assert added["state"] == "ready", added
        listed = person.calls(name, "list_allowed_directories")
        assert listed["result"]["structured"] == {"content": "Allowed directories:\n/"}

    def read(server: str, path: Path, code: int = 0) -> Any:
        return blocks(person.calls(server, "read_text_file", code, path=str(path)))[0]["text"]

    def write(server: str, path: Path, code: int = 0) -> Any:
        return blocks(person.calls(server, "write_file", code, path=str(path), content="new"))[0]["text"]

    assert read("free", kept / "note.txt") == SECRET, "nothing but the cage is in its way"
    write("free", lent / "free.txt")
    assert (lent / "free.txt").read_text() == "new"

    assert read("caged", lent / "note.txt") == "to be read"
    assert write("caged", lent / "new.txt", 1).startswith("EROFS") and not (lent / "new.txt").exists()
    assert write("caged", lent / "note.txt", 1).startswith("EROFS")
    assert (lent / "note.txt").read_text() == "to be read"
    write("caged", ours / "new.txt")
    assert (ours / "new.txt").read_text() == "new"
    for hidden in (kept / "note.txt", Path("/etc/shadow")):
        assert "ENOENT" in read("caged", hidden, 1)
    assert SECRET not in read("caged", lent / "way-out" / "note.txt", 1)
    write("caged", kept / "new.txt", 1)
    assert not (kept / "new.txt").exists()


# -- the newer era ---------------------------------------------------------------------------------------


def test_the_git_server_changes_a_repository(person: Person, git_server: ServerSpec, tmp_path: Path) -> None:
    place = str(tmp_path / "history")
    subprocess.run(["git", "init", "-q", place], check=True)
    for name, value in (("user.name", "t"), ("user.email", "t@example.org")):
        subprocess.run(["git", "-C", place, "config", name, value], check=True)
    assert git_server.command is not None
    added = person.does("mcp", "add", "git", "--", git_server.command)
    assert added["state"] == "ready" and added["protocol"] == NEWER, added
    (tmp_path / "history" / "a file").write_text("hello")
    person.calls("git", "git_add", repo_path=place, files=["a file"])
    person.calls("git", "git_commit", repo_path=place, message="one")
    told = subprocess.run(["git", "-C", place, "log", "--format=%H %s"], capture_output=True, text=True)
    head, _, subject = told.stdout.strip().partition(" ")
    assert subject == "one"
    assert head in person.calls("git", "git_log", repo_path=place)["result"]["content"][0]["text"]
    refused = person.calls("git", "git_log", 1, repo_path=str(tmp_path / "absent"))
    assert refused["result"]["is_error"] is True


def test_the_time_server_tells_the_time(person: Person, time_server: ServerSpec) -> None:
    assert time_server.command is not None
    added = person.does("mcp", "add", "time", "--", time_server.command)
    assert added["state"] == "ready" and added["protocol"] == NEWER, added
    asked = {"source_timezone": "Asia/Tokyo", "time": "12:00", "target_timezone": "Asia/Kolkata"}
    told = person.calls("time", "convert_time", **asked)["result"]["structured"]
    assert told["target"]["datetime"].endswith("08:30:00+05:30")
    assert person.calls("time", "get_current_time", 1, timezone="No/Where")["result"]["is_error"] is True
