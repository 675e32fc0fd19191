"""Resources, templates, prompts, completions of servers in both eras."""

import asyncio
import os
import signal

import pytest

from hosting import Pids, of, run, until
from mcp_interface.client import OffersChanged, ResourceChanged
from mcp_interface.errors import CallerMistaken, NotFound


def test_everything_that_a_newer_server_offers_is_listed_with_nothing_lost(open_host, asking) -> None:
    async def work() -> None:
        async with open_host(ask=asking) as host:
            status = of(host, "ask")
            assert (status.resources, status.prompts) == (2, 2)
            assert status.instructions == "Ask me anything."
            one = next(each for each in host.resources("ask") if each.name == "one")
            assert (one.uri, one.title, one.description) == ("note://one", "One", "First")
            assert (one.mime_type, one.meta) == ("text/plain", {"k": 1})
            assert one.icons == [
                {"src": "https://example.org/icon.png", "mimeType": "image/png", "sizes": ["48x48"]}
            ]
            (template,) = host.templates("ask")
            assert (template.uri_template, template.mime_type) == ("note://by/{name}", "text/plain")
            prompt = next(each for each in host.prompts("ask") if each.name == "greet")
            assert (prompt.name, prompt.title, prompt.icons) == ("greet", "Greet", one.icons)
            assert [(each.name, each.required) for each in prompt.arguments] == [
                ("name", True),
                ("tone", False),
            ]
            rich = await host.call("ask", "rich", {})
            assert rich.meta == {"b": 2}
            assert rich.content[0]["_meta"] == {"a": 1}

    run(work)


def test_text_bytes_and_templates_are_read(open_host, asking) -> None:
    async def work() -> None:
        async with open_host(ask=asking) as host:
            assert [part.text for part in await host.read("ask", "note://one")] == ["the first note"]
            assert [part.blob for part in await host.read("ask", "note://bytes")] == [b"\x00\xff"]
            assert [part.text for part in await host.read("ask", "note://by/me")] == ["a note by me"]
            with pytest.raises(NotFound):
                await host.read("ask", "note://two")

    run(work)


def test_prompts_are_filled_in_and_values_completed(open_host, asking) -> None:
    async def work() -> None:
        async with open_host(ask=asking) as host:
            result = await host.get_prompt("ask", "greet", {"name": "Ada"})
            (message,) = result.messages
            assert (message.role, message.content["text"]) == ("user", "Greet Ada, kind")
            found = await host.complete("ask", "prompt", "greet", argument="name", value="A")
            assert (found.values, found.total) == (["Ada", "Alan"], 3)
            with pytest.raises(NotFound):
                await host.get_prompt("ask", "grete", {})

    run(work)


def test_pages_are_followed_and_methods_that_are_missing_are_tolerated(open_host, old) -> None:
    async def work() -> None:
        async with open_host(old=old) as host:
            status = of(host, "old")
            assert (status.state, status.error) == ("ready", "")
            assert (status.tools, status.resources, status.prompts) == (6, 3, 0)
            assert [one.uri for one in host.resources("old")] == ["old://0", "old://1", "old://2"]
            assert host.resources("old")[2].size == 2
            assert host.resources("old")[2].annotations == {"priority": 0.5}
            assert host.templates("old") == host.prompts("old") == []
            with pytest.raises(NotFound):
                await host.read("old", "old://nowhere")
            assert (await host.complete("old", "prompt", "x", argument="y")).values == []

    run(work)


@pytest.mark.parametrize("transport", ["everything_stdio", "everything_http"])
def test_a_server_that_we_did_not_write_offers_all_of_it(open_host, request, transport) -> None:
    spec = request.getfixturevalue(transport)

    async def work() -> None:
        async with open_host(every=spec) as host:
            status = of(host, "every")
            assert status.resources and status.prompts and status.instructions
            first = host.resources("every")[0]
            (part,) = await host.read("every", first.uri)
            assert part.uri == first.uri and part.text
            assert (await host.get_prompt("every", "simple-prompt", {})).messages
            assert host.templates("every")
            found = await host.complete(
                "every", "prompt", "completable-prompt", argument="department", value="E"
            )
            assert "Engineering" in found.values

    run(work)


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_lists_that_a_server_announces_are_made_anew_and_told(
    open_host, asking_stdio, http_server, asking_script, offer_news, transport
) -> None:
    server = http_server(asking_script)
    if transport == "http":
        server.start()

    async def work() -> None:
        async with open_host(ask=asking_stdio if transport == "stdio" else server.spec) as host:
            offer_news.clear()
            await asyncio.sleep(0.3)  # for the stream of changes to be open
            await host.call("ask", "extend", {})
            await until(lambda: len(host.resources("ask")) == 3 and len(host.prompts("ask")) == 3)
            kinds = {news.kind for news in offer_news if isinstance(news, OffersChanged)}
            assert kinds == {"resources", "prompts"}
            assert (of(host, "ask").resources, of(host, "ask").prompts) == (3, 3)

    run(work)


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_a_watched_resource_of_the_newer_era_is_told_also_after_a_reconnection(
    open_host, asking_stdio, http_server, asking_script, offer_news, transport, child_pids: Pids
) -> None:
    server = http_server(asking_script)
    if transport == "http":
        server.start()
    before = child_pids()
    told = ResourceChanged(server="ask", uri="note://one")

    async def work() -> None:
        async with open_host(ask=asking_stdio if transport == "stdio" else server.spec) as host:
            await host.watch("ask", "note://one", "user_1")
            await host.watch("ask", "note://one", "user_2")
            offer_news.clear()
            await host.call("ask", "touch", {"uri": "note://one"})
            await host.call("ask", "touch", {"uri": "note://bytes"})
            await until(lambda: told in offer_news)
            if transport == "stdio":
                (pid,) = child_pids() - before
                os.kill(pid, signal.SIGKILL)
            else:
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            offer_news.clear()
            await until(lambda: of(host, "ask").restarts == 1 and told in offer_news)  # it may have changed
            await until(lambda: len(host._connections["ask"]._link.listening._armed) == 0)
            offer_news.clear()
            await host.call("ask", "touch", {"uri": "note://one"})
            await until(lambda: told in offer_news)
            assert ResourceChanged(server="ask", uri="note://bytes") not in offer_news
            await host.unwatch("ask", "note://one", "user_1")
            await host.unwatch("ask", "note://one", "user_1")
            offer_news.clear()
            await host.call("ask", "touch", {"uri": "note://one"})
            await until(lambda: told in offer_news)
            await host.unwatch("ask", "note://one", "user_2")
            offer_news.clear()
            await host.call("ask", "touch", {"uri": "note://one"})
            await asyncio.sleep(0.2)
            assert told not in offer_news

    run(work)


def test_a_watched_resource_of_the_older_era_is_told_until_it_is_not_watched(
    open_host, old, offer_news, child_pids: Pids
) -> None:
    before = child_pids()
    told = ResourceChanged(server="old", uri="old://1")

    async def work() -> None:
        async with open_host(old=old) as host:
            await host.watch("old", "old://1", "user_1")
            offer_news.clear()
            await host.call("old", "say", {})
            await until(lambda: told in offer_news)
            (pid,) = child_pids() - before
            os.kill(pid, signal.SIGKILL)
            offer_news.clear()
            await until(lambda: of(host, "old").restarts == 1 and told in offer_news)
            offer_news.clear()
            await host.call("old", "say", {})
            await until(lambda: told in offer_news)
            await host.unwatch("old", "old://1", "user_1")
            offer_news.clear()
            await host.call("old", "say", {})
            await asyncio.sleep(0.1)
            assert told not in offer_news

    run(work)


def test_a_server_that_tells_nothing_of_its_resources_says_so(open_host, raw) -> None:
    async def work() -> None:
        async with open_host(x=raw("plain")) as host:
            with pytest.raises(CallerMistaken, match="does not tell of changes"):
                await host.watch("x", "some://thing", "user_1")

    run(work)
