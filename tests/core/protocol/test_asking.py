"""What servers want to know in the middle of a call, in both eras."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitRequestURLParams,
    InputRequiredResult,
    TextContent,
)

from hosting import Behind, run
from mcp_core.protocol.deadline import Deadline
from mcp_core.protocol.errand import Errand
from mcp_core.protocol.rounds import rounds
from mcp_interface.clock import SystemClock
from mcp_interface.errors import Interrupted, NotPermitted, StorageUnavailable, WorldBroken
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


class Keeping(Behind):
    """Keeps handles too, unless the journal is gone."""

    def __init__(self, *given: Any, broken: bool = False, **fields: Any) -> None:
        super().__init__(*given, keep=self._keep, **fields)
        self.kept: list[dict[str, Any]] = []
        self.broken = broken

    async def _keep(self, handle: str) -> None:
        if self.broken:
            raise StorageUnavailable("the journal is gone", "bring it back")
        self.kept.append(json.loads(handle))


@pytest.mark.parametrize("broken", [False, True])
def test_that_answers_are_sent_is_durable_before_they_are(
    open_host, asking, tmp_path: Path, broken: bool
) -> None:
    ledger, behind = tmp_path / "ledger", Keeping(accept, broken=broken)
    order = {"ledger": str(ledger), "order": "1", "seconds": 0}

    async def work() -> None:
        async with open_host(ask=asking) as host:
            if broken:
                with pytest.raises(StorageUnavailable):
                    await host.call("ask", "pay", order, context=behind.context())
            else:
                assert (await host.call("ask", "pay", order, context=behind.context())).text == "paid"

    run(work)
    assert ledger.exists() is not broken
    if not broken:
        assert behind.kept == [{**json.loads(behind.handles[0]), "sent": True}]


@pytest.mark.parametrize("why", ["rights", "definition"])
def test_the_last_look_is_taken_again_behind_a_question(open_host, asking, tmp_path: Path, why: str) -> None:
    ledger, looks = tmp_path / "ledger", 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks > 1 and why == "rights":
            raise NotPermitted("no more", "ask", {"reason": "capability_revoked"})

    async def work() -> None:
        async with open_host(ask=asking) as host:
            judged = await host.find("ask", "pay", 10.0)

            def answer(inquiry: Inquiry) -> Response:
                if why == "definition":  # told by the server while its person thinks
                    tools = host._connection("ask")._link.tools
                    tools["pay"] = msgspec.structs.replace(judged, description="Harmless.")
                return accept(inquiry)

            with pytest.raises(NotPermitted) as caught:
                await host.call(
                    "ask",
                    "pay",
                    {"ledger": str(ledger), "order": "1", "seconds": 0},
                    context=Behind(answer).context(),
                    expected=judged,
                    last_look=look,
                )
            assert (
                caught.value.details["reason"]
                == {
                    "rights": "capability_revoked",
                    "definition": "tool_changed",
                }[why]
            )

    run(work)
    assert not ledger.exists()


def test_a_page_in_between_and_an_answered_round_lose_nothing_for_another_process() -> None:
    """Each handle, taken up by another process, sends the same answers as this one did behind it."""
    sent: list[Any] = []
    form = ElicitRequest(
        params=ElicitRequestFormParams(
            message="?", requested_schema={"type": "object", "properties": {"day": {"type": "string"}}}
        )
    )
    page = ElicitRequestURLParams(message="open", url="https://x.example/login", elicitation_id="1")
    data = {"elicitations": [page.model_dump(by_alias=True)]}

    async def send(answers: Any, state: str | None) -> Any:
        sent.append((None if answers is None else sorted(answers), state))
        match len(sent):
            case 1:
                return InputRequiredResult(input_requests={"when": form}, request_state="one")
            case 2:
                raise MCPError(code=-32042, message="open", data=data)
            case _:
                return CallToolResult(content=[TextContent(text="done")])

    def errand(behind: Behind) -> Errand:
        return Errand("s", "tool", "t", Deadline(10.0, SystemClock()), behind.context())

    behind = Keeping(accept)

    async def work() -> None:
        await rounds(errand(behind), send)
        assert sent == [(None, None), (["when"], "one"), (["when"], "one")]
        assert [handle.get("sent", False) for handle in behind.kept] == [True, True]
        first, between = behind.handles
        assert "sent" not in json.loads(between), (
            "the server has refused it, so that it is harmless to send again"
        )
        for handle, responses in ((first, {"when": ACCEPT["form"]}), (between, {"0": ACCEPT["url"]})):
            del sent[2:]
            known = Resumption(handle=handle, responses=responses)
            await rounds(errand(Behind(accept, resumption=known)), send)
            assert sent[2:] == [(["when"], "one")]

    run(work)


def test_a_task_that_a_resumed_call_becomes_is_kept() -> None:
    """What was kept before has been used by then."""
    known = Resumption(
        handle='{"state": "one", "kinds": {"when": "form"}}', responses={"when": ACCEPT["form"]}
    )
    errand = Errand(
        "s", "tool", "t", Deadline(10.0, SystemClock()), Keeping(accept, resumption=known).context()
    )

    async def send(answers: Any, state: str | None) -> Any:
        assert errand.context is not None and errand.context.resumption is None
        return CallToolResult(content=[])

    run(lambda: rounds(errand, send))


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


def test_a_call_of_the_older_era_ends_if_it_may_not_go_on_behind_a_question(open_host, old) -> None:
    def revoked(inquiry: Inquiry) -> Response:
        raise NotPermitted("its right has ended", "grant it", {"reason": "capability_revoked"})

    async def work() -> None:
        async with open_host(old=old) as host:
            with pytest.raises(NotPermitted, match="its right has ended"):
                await host.call("old", "ask", {"kind": "form"}, context=Behind(revoked).context())
            again = await host.call("old", "ask", {"kind": "url"}, context=Behind(accept).context())
            assert json.loads(again.text) == {"action": "accept"}, "others go on"

    run(work)


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
