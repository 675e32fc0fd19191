"""Resources and prompts over HTTP: routes, forms, downloads, against a node that answers as told."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from mcp_interface.catalog import Item, Prompt
from mcp_interface.cataloging import (
    ChangeItem,
    ChangePrompt,
    CountItems,
    CountPrompts,
    CreateItem,
    CreatePrompt,
    DeleteItem,
    DeletePrompt,
    GetItem,
    GetStoredPrompt,
    ListItems,
    ListPromptVersions,
    ListStoredPrompts,
    RenderPrompt,
    RevertPrompt,
)
from mcp_interface.commands import Page
from mcp_interface.errors import LostRace, NotFound, WrongState
from mcp_interface.ids import PrincipalId
from mcp_interface.offers import Contents, PromptMessage, PromptResult
from mcp_interface.reading import ReadResource
from mcp_interface.testing import START

PERSON = PrincipalId("user_" + "a" * 32)


def item(uri: str = "note:a", **more: Any) -> Item:
    fields = {"kind": "text", "name": "n", "mime_type": "text/plain", **more}
    return Item(uri=uri, owner_id=PERSON, created_at=START, updated_at=START, **fields)


PROMPT = Prompt(name="p", owner_id=PERSON, version=3, template="t", created_at=START, updated_at=START)
URIS = [
    "note:a",
    "file:///user_x/a%20b/ü.txt",
    "https://example.org//a///b/?q=1&r=%2F#part",
    "search:x/y",
    "stats:count",
    "a:upload",
    "urn:x:%25",
    "note:" + "x/" * 500,
]


def answering(door: Any) -> None:
    door.answers = {
        CreateItem: lambda command: item(command.uri or "made:up", kind=command.kind),
        ChangeItem: lambda command: item(command.uri),
        GetItem: lambda command: item(command.uri),
        DeleteItem: None,
        ListItems: Page(items=[item()], cursor="1.a"),
        CountItems: 7,
        CreatePrompt: PROMPT,
        ChangePrompt: PROMPT,
        GetStoredPrompt: PROMPT,
        RevertPrompt: PROMPT,
        DeletePrompt: None,
        ListStoredPrompts: Page(items=[PROMPT]),
        ListPromptVersions: Page(items=[PROMPT]),
        CountPrompts: 3,
        RenderPrompt: PromptResult(
            messages=[PromptMessage(role="user", content={"type": "text", "text": "Hi"})]
        ),
        ReadResource: lambda command: [Contents(uri=command.uri, mime_type="text/plain", text="held")],
    }


def over(
    browse: Callable[..., Any], door: Any, work: Callable[[Any], Any], key: str | None = "key-1"
) -> None:
    async def scenario() -> None:
        answering(door)
        async with browse(key) as http:
            await work(http)

    asyncio.run(scenario())


@pytest.mark.parametrize("uri", URIS)
@pytest.mark.parametrize("encode", [lambda uri: quote(uri, safe=""), lambda uri: quote(uri, safe=":/")])
def test_any_uri_is_found_at_the_end_of_a_path_as_it_is(browse, door, uri, encode) -> None:
    async def work(http: Any) -> None:
        path = f"/api/resources/{encode(uri)}"
        assert (await http.get(path)).json()["uri"] == uri
        changed = await http.put(path, json={"text": "x"})
        assert (changed.status_code, changed.json()["uri"]) == (200, uri)
        assert (await http.delete(path)).status_code == 204
        held = await http.get(f"/api/resources/download/{encode(uri)}")
        assert (held.status_code, held.text) == (200, "held")
        wanted = [GetItem, ChangeItem, DeleteItem, GetItem, ReadResource]
        assert [(type(each), each.uri) for each in door.commands()] == [(kind, uri) for kind in wanted]

    over(browse, door, work)


def test_the_words_of_routes_are_no_uris(browse, door) -> None:
    async def work(http: Any) -> None:
        found = await http.get("/api/resources/search/two%20words?limit=2")
        assert found.json()["cursor"] == "1.a"
        slashed = await http.get("/api/resources/search/a%2Fb")
        assert (await http.get("/api/resources/stats/count?mine=true&tags=a,%20b&kind=url")).json() == {
            "count": 7
        }
        assert (await http.get("/api/prompts/search/x")).status_code == 200
        assert (await http.get("/api/prompts/stats/count?q=a")).json() == {"count": 3}
        asked = door.commands()
        assert asked[0] == ListItems(query="two words", limit=2)
        assert CountItems(tags=["a", "b"], kind="url", mine=True) in asked
        assert CountPrompts(query="a") in asked and ListStoredPrompts(query="x") in asked
        assert not any(isinstance(each, GetItem) for each in asked), slashed.text
        for path in ("search", "stats/count/more", "upload", "no-uri", "download/no-uri", "stats", ""):
            answer = await http.put(f"/api/resources/{path}", json={})
            assert answer.status_code in (400, 404, 405), f"{path}: {answer.text}"
        assert not any(isinstance(each, ChangeItem) for each in door.commands())

    over(browse, door, work)


def test_nobody_gets_anything_without_a_login(browse, door) -> None:
    paths = ["resources", "resources/note:a", "resources/search/x", "resources/stats/count"]
    paths += [
        "resources/download/note:a",
        "prompts",
        "prompts/p",
        "prompts/p/versions",
        "prompts/stats/count",
    ]

    async def work(http: Any) -> None:
        for path in paths:
            assert (await http.get(f"/api/{path}")).status_code == 401, path
        for path in ("resources", "resources/upload", "prompts", "prompts/p/render", "prompts/p/revert"):
            assert (await http.post(f"/api/{path}", json={})).status_code == 401, path
        for path in ("resources/note:a", "prompts/p"):
            assert (await http.put(f"/api/{path}", json={})).status_code == 401, path
            assert (await http.delete(f"/api/{path}")).status_code == 401, path
        assert door.commands() == []

    over(browse, door, work, key=None)


def test_creating_says_201_and_the_body_can_name_no_owner(browse, door) -> None:
    async def work(http: Any) -> None:
        body = {"kind": "text", "name": "n", "text": "x", "tags": ["a"], "visibility": "public"}
        made = await http.post("/api/resources", json=body)
        assert (made.status_code, made.json()["uri"]) == (201, "made:up")
        for more in (
            {"owner_id": "user_b"},
            {"kind": "odd"},
            {"uri": "no uri"},
            {"tags": [""]},
            {"name": ""},
        ):
            wrong = await http.post("/api/resources", json={**body, **more})
            assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_input"), wrong.text
        assert door.commands() == [
            CreateItem(kind="text", name="n", text="x", tags=["a"], visibility="public")
        ]
        door.answers[CreateItem] = LostRace("you have one")
        assert (await http.post("/api/resources", json=body)).status_code == 409
        door.answers[GetItem] = NotFound("no resource")
        assert (await http.get("/api/resources/note:a")).status_code == 404

    over(browse, door, work)


def test_a_large_text_is_taken_and_a_larger_one_is_not(browse, door) -> None:
    async def work(http: Any) -> None:
        body = {"kind": "text", "name": "n", "text": "\n" * (5 * 1024 * 1024)}
        assert (await http.post("/api/resources", json=body)).status_code == 201
        body["text"] = "x" * (16 * 1024 * 1024)
        assert (await http.post("/api/resources", json=body)).status_code == 413

    over(browse, door, work)


def test_a_file_is_uploaded_with_its_type_and_without_its_folder(browse, door) -> None:
    async def work(http: Any) -> None:
        form = {"description": "d", "tags": "a, b", "visibility": "public"}
        file = {"file": ("C:\\my\\ü b.png", b"\x89PNG\0", "image/png")}
        made = await http.post("/api/resources/upload", data=form, files=file)
        assert made.status_code == 201, made.text
        [command] = door.commands()
        assert (command.kind, command.mime_type, command.blob) == ("upload", "image/png", b"\x89PNG\0")
        assert command.name == "ü b.png" and command.uri is None
        assert (command.description, command.tags, command.visibility) == ("d", ["a", "b"], "public")
        named = {**form, "name": "other", "uri": "file:///x/y"}
        await http.post("/api/resources/upload", data=named, files=file)
        assert (door.commands()[1].name, door.commands()[1].uri) == ("other", "file:///x/y")
        for wrong in ({"visibility": "all"}, {"uri": "no uri"}, {"name": "x" * 201}):
            answer = await http.post("/api/resources/upload", data=wrong, files=file)
            assert answer.status_code == 400, answer.text
        assert (await http.post("/api/resources/upload", data=form)).status_code == 400
        big = {"file": ("a", b"x" * (6 * 1024 * 1024), "text/plain")}
        assert (await http.post("/api/resources/upload", files=big)).status_code == 413
        assert len(door.commands()) == 2

    over(browse, door, work)


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("text/plain", True),
        ("text/plain; charset=utf-8", True),
        ("image/png", True),
        ("application/pdf", True),
        ("text/html", False),
        ("image/svg+xml", False),
        ("text/javascript", False),
        ("application/xhtml+xml", False),
        ("text/css", False),
        ("application/x-own", False),
        ("", False),
    ],
)
def test_what_could_act_in_a_browser_comes_as_a_mere_file(browse, door, kind: str, shown: bool) -> None:
    async def work(http: Any) -> None:
        door.answers[GetItem] = item(name='ü"; x="\r\n.html')
        door.answers[ReadResource] = [Contents(uri="note:a", mime_type=kind, blob=b"<script>")]
        answer = await http.get("/api/resources/download/note:a")
        assert answer.content == b"<script>"
        head = answer.headers
        name = "%C3%BC%22%3B%20x%3D%22%0D%0A.html"
        how = "inline" if shown else "attachment"
        assert head["content-disposition"] == f"{how}; filename*=UTF-8''{name}"
        assert head["cache-control"] == "private"
        assert head["x-content-type-options"] == "nosniff"
        given = head["content-type"].partition(";")[0]
        assert given == (kind.partition(";")[0] if shown else "application/octet-stream")

    over(browse, door, work)


def test_prompts_over_http(browse, door) -> None:
    async def work(http: Any) -> None:
        body = {"name": "p", "template": "Hi {{a}}", "arguments": [{"name": "a", "required": True}]}
        assert (await http.post("/api/prompts", json=body)).status_code == 201
        assert (await http.get("/api/prompts?q=x&tags=a&mine=true&limit=5")).status_code == 200
        assert (await http.get("/api/prompts/p?version=2")).json()["template"] == "t"
        change = {"template": "n", "expected_version": 3}
        assert (await http.put("/api/prompts/p", json=change)).json()["version"] == 3
        rendered = await http.post("/api/prompts/p/render", json={"arguments": {"a": "b"}})
        assert (rendered.status_code, rendered.json()) == (
            200,
            {"prompt_name": "p", "rendered": "Hi", "arguments": {"a": "b"}},
        )
        assert (await http.get("/api/prompts/p/versions?limit=2")).status_code == 200
        assert (await http.post("/api/prompts/p/revert", json={"version": 1})).status_code == 201
        assert (await http.delete("/api/prompts/p")).status_code == 204
        assert [type(each) for each in door.commands()] == [
            CreatePrompt, ListStoredPrompts, GetStoredPrompt, ChangePrompt, RenderPrompt, ListPromptVersions, RevertPrompt,
            DeletePrompt,
        ]  # fmt: skip
        assert ChangePrompt(name="p", template="n", expected_version=3) in door.commands()
        for wrong in ({"name": "a b", "template": "x"}, {"name": "a", "template": ""}, {"name": "a"}):
            assert (await http.post("/api/prompts", json=wrong)).status_code == 400
        door.answers[ChangePrompt] = LostRace("at 4")
        assert (await http.put("/api/prompts/p", json=change)).status_code == 409
        door.answers[DeletePrompt] = WrongState("is a file")
        assert (await http.delete("/api/prompts/p")).status_code == 409

    over(browse, door, work)
