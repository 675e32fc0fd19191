import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_cli.completing import NOBODY, Known, complete
from mcp_cli.grammar import Fill, Message, Mistake, Nothing, Order, Shell, parse
from mcp_cli.local import LOCAL
from mcp_cli.slashes import BY_NAME, SLASHES

KNOWN = Known(
    servers={"fs": "ready", "git": "ready"},
    tools={"fs": {"read_file": "Read", "write_file": "Write"}},
    templates={"fs read_file": '{"path":""}'},
    sessions={"session_12345678": "About fish"},
    agents={"scout": "worker"},
)
NAMES = st.sampled_from(sorted(BY_NAME))
LINES = st.one_of(
    st.text(st.characters(codec=None)),
    st.builds(lambda name, rest: f"/{name} {rest}", NAMES, st.text(st.characters(codec=None))),
    st.builds(
        lambda name, words: f"/{name} {' '.join(words)}",
        NAMES,
        st.lists(st.sampled_from(["{", "}", '"', "'", "--as", "list", "fs", "{}"])),
    ),
)


@given(LINES)
def test_any_line_can_be_read(line: str) -> None:
    assert isinstance(parse(line), Message | Order | Fill | Shell | Mistake | Nothing)


@given(LINES)
def test_every_completion_goes_on_with_the_line(line: str) -> None:
    for choice in complete(line, KNOWN):
        assert choice.line.startswith("/")
        head = line[: line.rfind(" ") + 1]
        assert choice.line.startswith(head)


def order(line: str) -> Order:
    parsed = parse(line)
    assert isinstance(parsed, Order), parsed
    return parsed


def test_a_line_without_a_slash_is_a_message() -> None:
    assert parse("  hello /help  ") == Message("hello /help")
    assert parse("//etc/hosts is a file") == Message("/etc/hosts is a file")
    assert parse(" \n ") == Nothing()


def test_a_typo_is_answered_with_what_was_meant() -> None:
    parsed = parse("/tols")
    assert isinstance(parsed, Mistake)
    assert "did you mean /tools?" in parsed.remedy
    parsed = parse("/mcp lst")
    assert isinstance(parsed, Mistake)
    assert parsed.remedy == "did you mean /mcp list?"


def test_a_command_without_a_word_means_its_default() -> None:
    assert order("/mcp").words == ("list",)
    assert order("/audit --denied").words == ("show", "--denied")


def test_a_server_may_follow_tools_directly() -> None:
    assert order("/tools").words == ("list",)
    assert order("/tools git").words == ("list", "git")
    assert order("/tools changed git/log").words == ("changed", "git/log")
    assert order("/tools accept git/log --fingerprint ab").words == (
        "accept",
        "git/log",
        "--fingerprint",
        "ab",
    )


def test_the_arguments_of_a_call_keep_their_own_quotes() -> None:
    words = order("""/call fs write_file {"path": "/a b", "text": "it's {here}"} --as scout""").words
    assert words == (
        "fs",
        "write_file",
        "--json",
        """{"path": "/a b", "text": "it's {here}"}""",
        "--as",
        "scout",
    )
    assert order("/call fs list").words == ("fs", "list")


def test_arguments_that_are_not_json_are_pointed_at() -> None:
    parsed = parse('/call fs read_file {"path": }')
    assert isinstance(parsed, Mistake)
    assert "not JSON" in parsed.message


def test_quotes_hold_words_together_and_must_be_closed() -> None:
    assert order("/approvals deny ask_1 --reason 'not now'").words == ("deny", "ask_1", "--reason", "not now")
    assert isinstance(parse("/grant 'a"), Mistake)


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("/he", "/help "),
        ("/st", "/status"),
        ("/mcp r", "/mcp remove "),
        ("/mcp tools g", "/mcp tools git"),
        ("/tools g", "/tools git "),
        ("/tools ch", "/tools changed "),
        ("/agent spawn x --from s", "/agent spawn x --from scout "),
        ("/call f", "/call fs "),
        ("/call fs re", "/call fs read_file "),
        ("/call fs read_file ", '/call fs read_file {"path":""}'),
        ("/call fs read_file {} --as s", "/call fs read_file {} --as scout "),
        ("/resume fish", "/resume session_12345678"),
        ("/profile l", "/profile locked"),
        ("/help pro", "/help profile"),
    ],
)
def test_completion_offers_what_fits_first(line: str, first: str) -> None:
    assert complete(line, KNOWN)[0].line == first


def test_letters_in_order_are_enough() -> None:
    assert [choice.label for choice in complete("/aprv", NOBODY)] == ["/approvals"]


def test_messages_are_not_completed() -> None:
    assert complete("hello") == []
    assert complete("//x") == []
    assert complete("/unknown x") == []


def test_every_command_is_told_in_words_and_has_a_name_of_its_own() -> None:
    assert len(BY_NAME) == sum(1 + len(slash.aliases) for slash in SLASHES)
    assert all(slash.summary for slash in SLASHES)
    required = "help quit new sessions resume history export model profile mcp tools call agent grant caps approvals audit status clear cancel"
    assert set(required.split()) <= set(BY_NAME)


def test_a_mark_of_the_shell_is_read_as_one() -> None:
    assert parse(" !ls -l | wc ") == Shell("ls -l | wc")
    assert parse("!!not a command") == Message("!not a command")
    nothing = parse("! ")
    assert isinstance(nothing, Mistake)
    assert "!ls" in nothing.remedy


def test_a_text_is_one_word_however_it_is_written() -> None:
    assert order("""/system don't say "no"\nnever""").words == ("""don't say "no"\nnever""",)
    assert order("/system").words == ()
    assert order("/rename  it's mine ").words == ("it's mine",)


def test_every_command_is_done_by_the_shell_or_by_the_repl() -> None:
    elsewhere = {"observe"}
    for slash in SLASHES:
        done = bool(slash.route) != (slash.name in LOCAL)
        assert done or slash.name in elsewhere, slash.name
    assert set(LOCAL) <= {slash.name for slash in SLASHES}


def test_models_strategies_and_switches_are_completed() -> None:
    known = Known(models={"ollama:small": "8k"}, themes={"nord": ""})
    assert [one.line for one in complete("/model oll", known)] == ["/model ollama:small"]
    assert [one.line for one in complete("/strategy sl", known)] == ["/strategy sliding"]
    assert [one.line for one in complete("/mouse of", known)] == ["/mouse off"]
    assert [one.line for one in complete("/theme n", known)] == ["/theme nord"]


def test_every_route_leads_to_a_command_of_the_shell() -> None:
    import click

    from mcp_cli.main import cli

    for slash in SLASHES:
        routes = [(*slash.route, sub.name) for sub in slash.subs] or [slash.route]
        for route in routes:
            if route in {("mcp", "resources"), ("mcp", "prompts")}:
                continue  # a REPL does these itself
            found: click.Command | None = cli
            for word in route:
                if word.startswith("-") or not isinstance(found, click.Group):
                    break
                found = found.get_command(click.Context(found), word)
                assert found is not None, f"/{slash.name} wants umbrella {' '.join(route)}"
