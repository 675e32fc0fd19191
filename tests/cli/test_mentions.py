"""@-mentions: what is one, what is none, and what is included of it; values of prompts."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_cli.completing import Known, complete_mention, mentioned, wish, with_values
from mcp_cli.including import MOST_EACH, files_like, included, is_file
from mcp_cli.mentions import Mention, escaped, read
from mcp_cli.prompting import bound, message, missing
from mcp_interface.errors import CallerMistaken, TooMuch
from mcp_interface.offers import (
    Contents,
    PromptArgument,
    PromptInfo,
    PromptMessage,
    PromptResult,
    ResourceTemplate,
    Suggestions,
)

SERVERS = {"notes", "catalog"}
GREET = PromptInfo(
    server="notes",
    name="greet",
    arguments=[PromptArgument(name="name", required=True), PromptArgument(name="tone")],
)
FACTS = ResourceTemplate(server="notes", uri_template="city://{name}/facts", name="facts")
KNOWN = Known(prompts={"notes:greet": GREET}, resources={"notes:note://today": "Today"}, families=[FACTS])


def names(text: str, files: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    return [mention.word for mention in read(text, SERVERS, files.__contains__)[1]]


def test_only_what_exists_is_a_mention() -> None:
    assert names("see @notes:note://today, please") == ["@notes:note://today"]
    assert names("@anna and @dataclass and a@b.org and @other:x") == []
    assert names('@plan.md. and @"my plan.md"', {"plan.md", "my plan.md"}) == ["@plan.md", "@my plan.md"]
    assert names("@@notes:note://today is how it is written") == []
    assert read("@@x and @@", SERVERS, bool)[0] == "@x and @"


@given(st.text(alphabet=st.sampled_from('@@@ab:/ ".,\n')) | st.text())
def test_text_that_was_escaped_mentions_nothing_and_is_read_as_it_was(text: str) -> None:
    assert read(escaped(text), {"a", "b", *SERVERS}, lambda name: True) == (text, [])


class Shelf:
    """Answers `ReadResource` from a table."""

    def __init__(self, held: dict[str, Contents]) -> None:
        self.held = held

    async def request(self, command: Any, timeout: float | None = 60.0) -> Any:
        return [self.held[command.uri]]


def put(mentions: list[Mention], held: dict[str, Contents], folder: Path) -> str:
    return asyncio.run(included("look", mentions, Shelf(held), folder))


def test_text_is_included_under_its_source_in_a_fence_that_it_cannot_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("from a file")
    (tmp_path / "b.bin").write_bytes(b"\xff\x00")
    held = {
        "n:1": Contents(uri="n:1", mime_type="text/plain", text="```\nFrom @b:\n````"),
        "n:2": Contents(uri="n:2", mime_type="image/png", blob=b"123"),
    }
    mentions = [Mention(server="notes", name="n:1"), Mention(server="notes", name="n:2")]
    mentions += [Mention(name="a.txt"), Mention(name="b.bin")]
    text = put(mentions, held, tmp_path)
    assert "From @notes:n:1 (text/plain, 17 bytes):\n`````\n```\nFrom @b:\n````\n`````" in text
    assert "(@notes:n:2 is not text and not included: image/png, 3 bytes)" in text
    assert "From @a.txt (11 bytes):\n```\nfrom a file\n```" in text
    assert "(@b.bin is not text and not included: 2 bytes)" in text


def test_what_is_too_large_is_refused_and_nothing_is_sent(tmp_path: Path) -> None:
    held = {"n:1": Contents(uri="n:1", text="x" * (MOST_EACH + 1))}
    with pytest.raises(TooMuch, match="@notes:n:1 has"):
        put([Mention(server="notes", name="n:1")], held, tmp_path)
    (tmp_path / "big").write_bytes(b"x" * (MOST_EACH + 1))
    with pytest.raises(TooMuch, match="@big has"):
        put([Mention(name="big")], {}, tmp_path)
    with pytest.raises(TooMuch, match="mentions 21"):
        put([Mention(name=str(number)) for number in range(21)], {}, tmp_path)


def test_files_are_completed_and_hidden_ones_only_when_asked_for(tmp_path: Path) -> None:
    for name in ("plan.md", "place/", ".secret"):
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).write_text("")
    assert files_like("pl", tmp_path) == {"place/": "folder", "plan.md": "file"}
    assert files_like(".", tmp_path) == {".secret": "file"}
    assert files_like("nowhere/x", tmp_path) == {} and files_like("notes:x", tmp_path) == {}
    assert is_file("plan.md", tmp_path) and not is_file("place", tmp_path) and not is_file("a\0b", tmp_path)


def test_a_mention_is_completed_over_resources_templates_and_files() -> None:
    def lines(text: str) -> list[str]:
        return [one.line for one in complete_mention(text, KNOWN, {"a b.md": "file", "src/": "folder"})]

    assert lines("see @notes:no")[0] == "see @notes:note://today "
    assert "see @notes:city://" in lines("see @notes:ci")
    assert 'see @"a b.md" ' in lines("see @a") and "see @src/" in lines("see @sr")
    assert lines("mail a@b") == [] and mentioned("a @b c") is None


def test_values_are_asked_of_the_server_while_they_are_typed() -> None:
    asked = wish("/notes:greet tone=warm name=An", KNOWN)
    assert asked is not None
    assert (asked.kind, asked.name, asked.argument, asked.value) == ("prompt", "greet", "name", "An")
    assert asked.context == {"tone": "warm"}
    [first, second] = with_values("/notes:greet name=An", asked, Suggestions(values=["Anna", "Ann O'Neil"]))
    assert first.line == "/notes:greet name=Anna "
    assert second.line == "/notes:greet name='Ann O'\"'\"'Neil' "
    asked = wish("go to @notes:city://Be", KNOWN)
    assert asked is not None and (asked.kind, asked.argument, asked.value) == ("template", "name", "Be")
    [found] = with_values("go to @notes:city://Be", asked, Suggestions(values=["Bergen"]))
    assert found.line == "go to @notes:city://Bergen/facts "
    assert wish("hello", KNOWN) is None and wish("/call fs x=1", KNOWN) is None


def test_words_are_bound_to_arguments_by_name_and_in_order() -> None:
    assert bound(GREET, ["Ann", "Lee"]) == {"name": "Ann", "tone": "Lee"}
    assert bound(GREET, ["tone=dry", "Ann", "Lee"]) == {"name": "Ann Lee", "tone": "dry"}
    assert bound(GREET, ["https://x?a=b"]) == {"name": "https://x?a=b"}
    with pytest.raises(CallerMistaken, match="no argument 'nmae'"):
        bound(GREET, ["nmae=Ann"])
    with pytest.raises(CallerMistaken, match="does not take 'more'"):
        bound(GREET, ["name=a", "tone=b", "more"])
    lacking = missing(GREET, {})
    assert lacking is not None and lacking.schema["required"] == ["name"]
    assert missing(GREET, {"name": "Ann"}) is None


def test_a_prompt_becomes_one_message_that_says_who_said_what() -> None:
    def said(role: Any, **content: Any) -> PromptMessage:
        return PromptMessage(role=role, content=content)

    mine = PromptResult(
        messages=[said("user", type="text", text="a\x1b[2J"), said("user", type="image", data="…")]
    )
    assert message(mine) == "a\n\n(image, not included)"
    both = PromptResult(
        messages=[said("user", type="text", text="a"), said("assistant", type="text", text="b")]
    )
    assert message(both) == "user: a\n\nassistant: b"
    held = {"uri": "n:1", "mimeType": "text/plain", "text": "x"}
    assert message(PromptResult(messages=[said("user", type="resource", resource=held)])).startswith(
        "From n:1 (text"
    )
