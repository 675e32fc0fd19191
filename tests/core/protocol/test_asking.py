"""What servers want to know in the middle of a call, in both eras."""

import asyncio
import json

import pytest

from hosting import Behind, run
from mcp_interface.errors import Interrupted, NotPermitted, WorldBroken
from mcp_interface.question import Inquiry, Response
from mcp_interface.server import ServerSpec
from mcp_interface.tool import Resumption

ACCEPT = {
    "form": Response(action="accept", content={"day": "Monday"}),
    "url": Response(action="accept"),
    "sampling": Response(
        action="accept",
        content={"role": "assistant", "content": {"type": "text", "text": "words"}, "model": "m"},
    ),
    "roots": Response(action="accept", content={"roots": [{"uri": "file:///said"}]}),
}


def accept(inquiry: Inquiry) -> Response:
    return ACCEPT[inquiry.kind]


# -- the newer era: the call is answered with what is asked, and sent again ----------------------------------


def test_a_form_of_the_newer_era_is_asked_with_a_handle_and_its_defaults_are_filled_in(
    open_host, asking
) -> None:
    behind = Behind(accept)

    async def work() -> None:
        async with open_host(ask=asking) as host:
            result = await host.call("ask", "book", {"city": "Ulm"}, context=behind.context())
            assert result.text == "Ulm one accept [('day', 'Monday'), ('seats', 2)]"

    run(work)
    (asked,) = behind.asked
    assert (asked.key, asked.kind, asked.message) == ("when", "form", "When to Ulm?")
    assert asked.schema["properties"]["day"] == {"type": "string"}
    assert json.loads(behind.handles[0])["state"]


def test_link_words_and_folders_are_asked_together(open_host, asking) -> None:
    behind = Behind(accept)

    async def work() -> None:
        async with open_host(ask=asking) as host:
            result = await host.call("ask", "interview", {}, context=behind.context())
            assert result.text == "accept words ['file:///said']"

    run(work)
    asked = {one.kind: one for one in behind.asked}
    assert len(behind.handles) == 1
    assert asked["url"].url == "https://example.org/page"
    assert asked["sampling"].params["maxTokens"] == 10


def test_another_process_goes_on_with_the_call_by_its_handle(open_host, asking_stdio) -> None:
    sealed = ServerSpec(command=asking_stdio.command, args=[*asking_stdio.args, "sealed"])
    first = Behind(accept)

    async def work() -> None:
        async with open_host(ask=sealed) as host:
            await host.call("ask", "book", {"city": "Ulm"}, context=first.context())
        known = Resumption(
            handle=first.handles[0],
            responses={"when": Response(action="accept", content={"day": "Friday"})},
        )
        second = Behind(accept, resumption=known)
        async with open_host(ask=sealed) as host:  # a server that has never heard of the call
            result = await host.call("ask", "book", {"city": "Ulm"}, context=second.context())
            assert result.text == "Ulm one accept [('day', 'Friday'), ('seats', 2)]"
        assert second.asked == []

    run(work)


def test_what_nobody_had_to_be_asked_for_is_not_lost_on_the_way_to_another_process(open_host, asking) -> None:
    spec = ServerSpec(url=asking.url, roots=["/srv"])
    first = Behind(accept)

    async def work() -> None:
        async with open_host(ask=spec) as host:
            await host.call("ask", "interview", {}, context=first.context())
            answers = {one.key: ACCEPT[one.kind] for one in first.asked}
            assert sorted(answers) == ["page", "words"]
            known = Resumption(handle=first.handles[0], responses=answers)
            second = Behind(accept, resumption=known)
            result = await host.call("ask", "interview", {}, context=second.context())
            assert result.text == "accept words ['file:///srv']"

    run(work)


def test_a_server_that_forgot_what_it_had_asked_interrupts_the_call(open_host, asking_stdio) -> None:
    first = Behind(accept)

    async def work() -> None:
        async with open_host(ask=asking_stdio) as host:
            await host.call("ask", "book", {"city": "Ulm"}, context=first.context())
        known = Resumption(handle=first.handles[0], responses={"when": ACCEPT["form"]})
        async with open_host(ask=asking_stdio) as host:  # its key was its process's own
            with pytest.raises(Interrupted, match="no longer knows"):
                await host.call(
                    "ask", "book", {"city": "Ulm"}, context=Behind(accept, resumption=known).context()
                )

    run(work)


def test_nobody_behind_a_call_means_that_the_server_is_told_so(open_host, asking) -> None:
    async def work() -> None:
        async with open_host(ask=asking) as host:
            assert (await host.call("ask", "claims", {})).structured == {"result": ["roots"]}
            some = Behind(accept, answers=frozenset({"form"})).context()
            told = (await host.call("ask", "claims", {}, context=some)).structured["result"]
            assert told == ["elicitation", "form", "roots"]
            everything = (await host.call("ask", "claims", {}, context=Behind(accept).context())).structured
            assert everything["result"] == ["elicitation", "form", "roots", "sampling", "url"]

    run(work)


def test_what_nobody_can_answer_is_declined_or_ends_the_call(open_host, asking) -> None:
    async def work() -> None:
        async with open_host(ask=asking) as host:
            assert (await host.call("ask", "book", {"city": "Ulm"})).text == "Ulm one decline []"
            with pytest.raises(WorldBroken, match="a model's words"):
                await host.call("ask", "interview", {})

    run(work)


def test_refused_words_of_a_model_end_the_call_with_a_typed_error(open_host, asking) -> None:
    def refuse(inquiry: Inquiry) -> Response:
        return Response(action="decline") if inquiry.kind == "sampling" else ACCEPT[inquiry.kind]

    async def work() -> None:
        async with open_host(ask=asking) as host:
            with pytest.raises(NotPermitted) as caught:
                await host.call("ask", "interview", {}, context=Behind(refuse).context())
            assert caught.value.details["reason"] == "question_declined"

    run(work)


def test_folders_of_the_entry_are_told_without_asking(open_host, asking) -> None:
    entry = ServerSpec(url=asking.url, roots=["/srv/a b"])
    behind = Behind(accept)

    async def work() -> None:
        async with open_host(ask=entry) as host:
            result = await host.call("ask", "interview", {}, context=behind.context())
            assert result.text == "accept words ['file:///srv/a%20b']"

    run(work)
    assert "roots" not in {one.kind for one in behind.asked}


def test_the_time_in_which_a_person_is_asked_does_not_count(open_host, asking) -> None:
    class Slow(Behind):
        async def _ask(self, inquiries, handle):
            await asyncio.sleep(0.8)
            return await super()._ask(inquiries, handle)

    async def work() -> None:
        async with open_host(ask=asking) as host:
            result = await host.call(
                "ask", "book", {"city": "Ulm"}, timeout=0.6, context=Slow(accept).context()
            )
            assert "Monday" in result.text

    run(work)


# -- the older era: the server sends a request of its own ----------------------------------------------------


@pytest.mark.parametrize("kind", ["form", "url", "sampling", "roots"])
def test_a_request_of_the_older_era_is_asked_and_answered(open_host, old, kind) -> None:
    behind = Behind(lambda inquiry: Response(action="accept") if inquiry.kind == "form" else accept(inquiry))

    async def work() -> None:
        async with open_host(old=old) as host:
            told = json.loads((await host.call("old", "ask", {"kind": kind}, context=behind.context())).text)
            if kind in {"form", "url"}:
                assert told["action"] == "accept"
            else:
                assert told == ACCEPT[kind].content

    run(work)
    assert [one.kind for one in behind.asked] == [kind]
    assert behind.handles == [""]


def test_nobody_behind_a_call_of_the_older_era_is_a_refusal(open_host, old) -> None:
    async def work() -> None:
        async with open_host(old=old) as host:
            told = [
                json.loads((await host.call("old", "ask", {"kind": kind})).text)
                for kind in ("form", "sampling", "roots")
            ]
            assert told[0] == {"action": "decline"}
            assert "nobody" in told[1]["message"]
            assert told[2] == {"roots": []}

    run(work)


def test_a_question_over_stdio_is_put_to_nobody_while_two_sessions_are_served(open_host, old) -> None:
    mine, yours = Behind(accept, session="sess_1"), Behind(accept, session="sess_2")

    async def work() -> None:
        async with open_host(old=old) as host:
            held = asyncio.create_task(host.call("old", "hold", {}, context=yours.context()))
            await asyncio.sleep(0.1)
            told = json.loads((await host.call("old", "ask", {"kind": "form"}, context=mine.context())).text)
            assert told == {"action": "decline"}
            assert (await held).text == "held"
            held = asyncio.create_task(host.call("old", "hold", {}, context=mine.context()))
            await asyncio.sleep(0.1)
            told = json.loads((await host.call("old", "ask", {"kind": "url"}, context=mine.context())).text)
            assert told == {"action": "accept"}
            await held

    run(work)
    assert yours.asked == []
    assert [one.kind for one in mine.asked] == ["url"]


def test_a_question_over_http_is_put_to_whoever_made_the_call(open_host, everything_http) -> None:
    mine = Behind(lambda inquiry: Response(action="decline"), session="sess_1")
    yours = Behind(accept, session="sess_2")

    async def work() -> None:
        async with open_host(every=everything_http) as host:
            long = host.call(
                "every",
                "trigger-long-running-operation",
                {"duration": 2, "steps": 4},
                context=yours.context(),
            )
            held = asyncio.create_task(long)
            await yours.told.wait()
            result = await host.call("every", "trigger-elicitation-request", {}, context=mine.context())
            assert "decline" in result.text
            await held

    run(work)
    # folders it asks for at any time, for nobody in particular
    assert [one.kind for one in yours.asked if one.kind != "roots"] == []
    assert [one.kind for one in mine.asked if one.kind != "roots"] == ["form"]


def test_a_call_that_needs_a_page_to_be_opened_is_sent_again_once_it_was(open_host, old) -> None:
    behind = Behind(accept)

    async def work() -> None:
        async with open_host(old=old) as host:
            assert (await host.call("old", "locked", {}, context=behind.context())).text == "opened"

    run(work)
    assert [one.url for one in behind.asked] == ["https://x.example/login"]


def test_a_call_that_needs_a_page_is_refused_where_nobody_can_open_it(open_host, old) -> None:
    async def work() -> None:
        async with open_host(old=old) as host:
            with pytest.raises(WorldBroken, match="-32042"):
                await host.call("old", "locked", {})

    run(work)


def test_servers_of_the_older_era_hear_at_the_beginning_what_we_can_answer(open_host, old) -> None:
    async def work() -> None:
        async with open_host(old=old) as host:
            told = json.loads((await host.call("old", "say", {})).text)
            assert told == ["elicitation", "roots", "sampling"]

    run(work)


@pytest.mark.parametrize("era", ["old", "asking"])
def test_what_a_server_says_is_told_to_whoever_looks_on(open_host, old, asking, era) -> None:
    behind = Behind()

    async def work() -> None:
        async with open_host(x={"old": old, "asking": asking}[era]) as host:
            await host.call("x", {"old": "say", "asking": "talk"}[era], {}, context=behind.context())

    run(work)
    (line,) = behind.lines
    told = {"old": ("warning", "careful", "old"), "asking": ("info", "half way", "talker")}
    assert (line.level, line.data, line.logger) == told[era]
