"""Resources and prompts as a person or a script handles them, against a real node."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Json = Callable[..., Any]
Umbrella = Callable[..., Any]


def test_a_text_is_added_listed_searched_changed_and_deleted(umbrella: Umbrella, umbrella_json: Json) -> None:
    made = umbrella_json(
        "resource", "add", "Shopping list", "--text", "milk, bread", "--tag", "home", "--tag", "today"
    )
    uri = made["uri"]
    assert uri == f"text:///{made['owner_id']}/Shopping%20list"
    assert (made["tags"], made["visibility"], made["size"]) == (["home", "today"], "private", 11)
    assert umbrella("resource", "show", uri).stdout.strip() == "milk, bread"
    shown = umbrella("resource", "show", uri, "--facts").stdout
    assert "Shopping list" in shown and "its owner" in shown and "11 B" in shown
    listed = umbrella("resource", "list", "--mine", "--tag", "home")
    assert "Shopping list" in listed.stdout and "text" in listed.stdout
    assert [each["uri"] for each in umbrella_json("resource", "search", "BREAD", "milk")["items"]] == [uri]
    assert umbrella_json("resource", "search", "bread", "honey")["items"] == []
    assert umbrella("resource", "count", "bread", "--kind", "text").stdout.strip() == "1"
    changed = umbrella_json("resource", "edit", uri, "--text", "honey", "--tag", "", "--public")
    assert (changed["tags"], changed["visibility"], changed["name"]) == ([], "public", "Shopping list")
    assert umbrella_json("resource", "show", uri)[0]["text"] == "honey"
    again = umbrella("resource", "add", "Shopping list", "--text", "x")
    assert again.exit_code == 1 and "already" in again.stderr, again.stderr
    assert "is deleted" in umbrella("resource", "delete", uri).stdout
    for words in (["show", uri], ["show", uri, "--facts"], ["delete", uri], ["edit", uri, "--name", "x"]):
        gone = umbrella("resource", *words)
        assert gone.exit_code == 4 and "umbrella resource list" in gone.stderr, gone.output


def test_files_are_kept_or_read_where_they_are(
    umbrella: Umbrella, umbrella_json: Json, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\0")
    kept = umbrella_json("resource", "add", "a.png", "--upload", "a.png", "--uri", "pic:a")
    assert (kept["kind"], kept["mime_type"]) == ("upload", "image/png")
    assert "5 B of image/png; save with --output" in umbrella("resource", "show", "pic:a").stdout
    assert umbrella_json("resource", "show", "pic:a", "--output", "b.png") == {"file": "b.png", "size": 5}
    assert (tmp_path / "b.png").read_bytes() == b"\x89PNG\0"
    assert umbrella("resource", "show", "pic:a", "--output", "b.png").exit_code == 2, "nothing is overwritten"
    (tmp_path / "note.md").write_text("one")
    filed = umbrella_json("resource", "add", "Note", "--file", "note.md")
    assert filed["source"] == str(tmp_path / "note.md")
    (tmp_path / "note.md").write_text("two\x1b[31m")
    assert umbrella("resource", "show", filed["uri"]).stdout.strip() == "two", (
        "and nothing steers the terminal"
    )
    assert (
        umbrella("resource", "add", "Log", "--text", "-", "--uri", "note:log", stdin="from a pipe").exit_code
        == 0
    )
    assert umbrella("resource", "show", "note:log").stdout.strip() == "from a pipe"
    for uri in ("pic:a", "note:log", filed["uri"]):
        assert umbrella("resource", "delete", uri).exit_code == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["resource", "add", "n"], 2),
        (["resource", "add", "n", "--text", "a", "--url", "https://example.org/"], 2),
        (["resource", "add", "n", "--upload", "no such file"], 2),
        (["resource", "add", "n", "--url", "ftp://example.org/"], 2),
        (["resource", "add", "n", "--text", "a", "--uri", "no uri"], 2),
        (["resource", "edit", "note:none"], 4),
        (["resource", "show", "note:a", "--server", "nobody"], 4),
        (["resource", "show", "note:a", "--server", "nobody", "--facts"], 2),
        (["resource", "list", "--server", "nobody"], 4),
        (["prompt", "add", "n"], 2),
        (["prompt", "add", "a b", "--template", "x"], 2),
        (["prompt", "add", "n", "--template", "x", "--file", "y"], 2),
        (["prompt", "edit", "none"], 2),
        (["prompt", "edit", "none", "--title", "x"], 4),
        (["prompt", "show", "none"], 4),
        (["prompt", "show", "a b"], 2),
        (["resource", "show", "no uri", "--facts"], 2),
        (["resource", "delete", "no uri"], 2),
        (["prompt", "render", "none", "odd"], 2),
        (["prompt", "render", "none", "--server", "x", "--version", "1"], 2),
        (["prompt", "revert", "none", "1"], 4),
        (["prompt", "list", "--server", "nobody"], 4),
    ],
)
def test_a_mistake_is_told_with_its_remedy(umbrella: Umbrella, words: list[str], code: int) -> None:
    result = umbrella(*words)
    assert result.exit_code == code, result.output
    assert "remedy: " in result.stderr


def test_a_prompt_is_added_rendered_changed_and_taken_back(
    umbrella: Umbrella, umbrella_json: Json, tmp_path: Path
) -> None:
    (tmp_path / "t.md").write_text("Say {{what}} to {{who}}, {{how}}.")
    options = ["--argument", "who", "--optional", "what=hello", "--tag", "social"]
    added = umbrella("prompt", "add", "greet", "--file", str(tmp_path / "t.md"), *options)
    assert added.exit_code == 0 and "{{how}} is not declared" in added.stdout, added.output
    shown = umbrella("prompt", "show", "greet").stdout
    assert "required" in shown and 'else "hello"' in shown and "Say {{what}} to {{who}}" in shown
    rendered = umbrella("prompt", "render", "greet", "who={{what}}", "more=x")
    assert rendered.stdout.strip() == "Say hello to {{what}}, {{how}}."
    missing = umbrella("prompt", "render", "greet")
    assert missing.exit_code == 2 and "who" in missing.stderr
    changed = umbrella_json(
        "prompt", "edit", "greet", "--template", "Greet {{who}}", "--title", "G", "--expect", "1"
    )
    assert (changed["version"], changed["title"], len(changed["arguments"])) == (2, "G", 2)
    assert umbrella("prompt", "edit", "greet", "--title", "H", "--expect", "1").exit_code == 1
    listed = umbrella_json("prompt", "versions", "greet")["items"]
    assert [each["version"] for each in listed] == [2, 1]
    assert umbrella("prompt", "render", "greet", "who=x", "--version", "1").stdout.startswith("Say hello")
    assert umbrella_json("prompt", "revert", "greet", "1")["version"] == 3
    assert umbrella_json("prompt", "show", "greet")["template"].startswith("Say {{what}}")
    assert "greet" in umbrella("prompt", "list", "--tag", "social").stdout
    assert [each["name"] for each in umbrella_json("prompt", "search", "SOCIAL")["items"]] == ["greet"]
    assert umbrella_json("prompt", "count", "social") == {"count": 1}
    assert "is deleted" in umbrella("prompt", "delete", "greet").stdout
    assert umbrella("prompt", "render", "greet", "who=x").exit_code == 4


def test_prompts_that_are_files_are_found_and_changed_there(
    umbrella: Umbrella, umbrella_json: Json, node_dir: Path
) -> None:
    (node_dir / "prompts").mkdir(exist_ok=True)
    file = node_dir / "prompts" / "filed.md"
    file.write_text("---\ntitle: Filed\narguments: [{name: a, required: true}]\n---\nUse {{a}}")
    try:
        assert umbrella("prompt", "render", "filed", "a=b").stdout.strip() == "Use b"
        assert str(file) in umbrella_json("prompt", "show", "filed")["source"]
        refused = umbrella("prompt", "delete", "filed")
        assert refused.exit_code == 1 and "change it there" in " ".join(refused.stderr.split())
    finally:
        file.unlink()


def test_the_catalog_and_connected_servers_are_read_in_the_same_way(
    umbrella: Umbrella, umbrella_json: Json
) -> None:
    umbrella_json("resource", "add", "n", "--text", "held", "--uri", "note:same")
    umbrella_json("prompt", "add", "same", "--template", "Hi {{a}}", "--argument", "a")
    offered = umbrella_json("resource", "list", "--server", "catalog")["items"]
    assert "note:same" in [each["uri"] for each in offered]
    assert "note:same" in umbrella("resource", "list", "--server", "catalog").stdout
    assert umbrella("resource", "show", "note:same", "--server", "catalog").stdout.strip() == "held"
    assert "same" in umbrella("prompt", "list", "--server", "catalog").stdout
    said = umbrella("prompt", "render", "same", "a=b", "--server", "catalog")
    assert said.stdout.strip() == "Hi b"
    assert umbrella("resource", "delete", "note:same").exit_code == 0
    assert umbrella("prompt", "delete", "same").exit_code == 0
