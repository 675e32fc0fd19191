"""The scripted model itself, as its page promises it."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import scripted_model as scripted
from scripted_model import ScriptedModel, scripted_model


def ask(model: ScriptedModel, said: str, **more: Any) -> str:
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": said}], **more}
    request = urllib.request.Request(f"{model.url}/v1/chat/completions", data=json.dumps(body).encode())
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as response:
        events = [
            json.loads(line[6:])
            for line in response.read().decode().splitlines()
            if line.startswith("data: {")
        ]
    return "".join(choice["delta"].get("content", "") for event in events for choice in event["choices"])


def test_each_request_uses_up_one_step_and_then_the_script_is_over() -> None:
    with scripted_model([{"text": "one"}, {"text": ["t", "wo ", "{user}"]}]) as model:
        assert [ask(model, "a"), ask(model, "b"), ask(model, "c")] == ["one", "two b", "The script is over."]
        assert [(entry["step"], entry["user"], entry["ended"]) for entry in model.requests()] == [
            (0, "a", "answered"),
            (1, "b", "answered"),
            (None, "c", "answered"),
        ]


def test_a_step_can_wait_for_its_own_request() -> None:
    with scripted_model([{"text": "for the poet", "when": "poem"}, {"text": "for anybody"}]) as model:
        assert ask(model, "hello") == "for anybody"
        assert ask(model, "a poem please") == "for the poet"


def test_steps_can_be_added_while_it_runs() -> None:
    with scripted_model({"steps": [], "then": {"text": "bye"}}) as model:
        model.add({"text": "added"})
        assert [ask(model, "x"), ask(model, "x")] == ["added", "bye"]


def test_a_step_that_does_not_fit_the_request_says_so() -> None:
    with scripted_model([{"tool_call": {"name_contains": "read"}}]) as model:
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(model, "x", tools=[{"function": {"name": "write"}}])
        with caught.value as response:
            assert "offered: ['write']" in json.loads(response.read())["error"]["message"]


def test_as_a_process_it_prints_its_port(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps([{"text": "hello"}]))
    command = [sys.executable, scripted.__file__, "--port", "0", "--script", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert ask(ScriptedModel(int(process.stdout.readline())), "x") == "hello"
        finally:
            process.terminate()
