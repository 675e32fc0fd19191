"""One reading of a URL: hand-made tricky ones, laws, and ordinary ones that must pass."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_interface.address import parse_resource
from mcp_interface.errors import CallerMistaken
from mcp_security.validators.targets import MAX_URL, Target
from security.corpora.urls import PATHS, TRICKY, ordinary


def ids(text: str) -> str:
    return ascii(text)[:60]


@pytest.mark.parametrize(("url", "host"), TRICKY.items(), ids=lambda value: ids(str(value)))
def test_a_tricky_url_is_refused_or_leads_to_the_host_that_is_judged(url, host) -> None:
    if host is None:
        with pytest.raises(CallerMistaken):
            Target.parse(url, "GET")
        return
    target = Target.parse(url, "GET")
    assert target.host == host
    named = f"[{host}]" if ":" in host else host
    assert target.resource.segments[1].removesuffix(":8080") == named
    assert target.url.startswith(f"http://{named}")


@pytest.mark.parametrize(("path", "canonical"), PATHS.items(), ids=lambda value: ids(str(value)))
def test_a_path_has_one_spelling_or_is_refused(path, canonical) -> None:
    url = f"https://example.com{path}"
    if canonical is None:
        with pytest.raises(CallerMistaken):
            Target.parse(url, "GET")
        return
    assert Target.parse(
        url, "GET"
    ).resource.uri == f"mcp://api/get/https/example.com/{canonical}".removesuffix("/")


@pytest.mark.parametrize(
    ("url", "uri"),
    [
        ("https://example.com", "mcp://api/get/https/example.com"),
        ("https://example.com:8443/a", "mcp://api/get/https/example.com:8443/a"),
        ("https://example.com:443/a", "mcp://api/get/https/example.com/a"),
        ("http://example.com:443/a", "mcp://api/get/http/example.com:443/a"),
        ("http://[::1]:80/a?q=1#f", "mcp://api/get/http/[::1]/a"),
        ("http://[::1]:8080/a", "mcp://api/get/http/[::1]:8080/a"),
    ],
)
def test_the_resource_names_scheme_host_port_and_path(url, uri) -> None:
    assert Target.parse(url, "get").resource == parse_resource(uri)


def test_a_dot_at_the_end_of_a_host_is_named() -> None:
    with pytest.raises(CallerMistaken, match="ends with a dot"):
        Target.parse("https://a.example./", "get")


def test_the_query_is_sent_and_the_fragment_is_not() -> None:
    target = Target.parse("https://example.com/a?x=\u00e9 1&y#z", "get")
    assert target.request == "/a?x=%C3%A9%201&y"
    assert target.url == "https://example.com/a?x=%C3%A9%201&y"


@pytest.mark.parametrize("method", ["GET", "Post", "delete", "PATCH", "put", "HEAD", "options"])
def test_a_method_is_an_operation(method) -> None:
    assert Target.parse("https://a.example/", method).resource.operation == method.lower()


@pytest.mark.parametrize(
    "method", ["CONNECT", "TRACE", "", "GET ", "G\u0415T", "GET\r\nX: y", "PROPFIND", "\u0130"]
)
def test_another_method_is_refused(method) -> None:
    with pytest.raises(CallerMistaken, match="method"):
        Target.parse("https://a.example/", method)


@pytest.mark.parametrize("url", ["https://a.example/" + "a" * MAX_URL, "https://a.example/" + "\u00e9" * 2000,
                                 "https://a.example/?" + "\u00e9" * 4000])  # fmt: skip
def test_a_long_url_is_refused_also_when_it_grows_by_encoding(url) -> None:
    with pytest.raises(CallerMistaken, match="longer"):
        Target.parse(url, "GET")


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b?c", "https://a.example/b?c"),
        ("b", "https://a.example/x/b"),
        ("../b", "https://a.example/b"),
        ("?q", "https://a.example/x/y?q"),
        ("//b.example/z", "https://b.example/z"),
        ("http://b.example", "http://b.example/"),
        ("", "https://a.example/x/y"),
    ],
)
def test_a_redirect_is_relative_to_where_it_came_from(location, url) -> None:
    assert Target.parse(location, "GET", "https://a.example/x/y").url == url


@pytest.mark.parametrize("location", ["//u@b.example/", "///b.example@c.example/", "\\\\b.example", "/\\b.example", "//a.example\t.b.example",
                                      "javascript:alert(1)", "file:///etc/passwd", "//[::1", "\x01//b.example"])  # fmt: skip
def test_a_tricky_redirect_is_refused(location) -> None:
    with pytest.raises(CallerMistaken):
        Target.parse(location, "GET", "https://a.example/x/y")


@given(st.text(max_size=40), st.sampled_from(["https://a.example/", "http://", "https://a.example/v1/", ""]))
def test_what_is_read_is_read_the_same_again(text, start) -> None:
    try:
        first = Target.parse(start + text, "GET")
    except CallerMistaken:
        return
    again = Target.parse(first.url, "GET")
    assert again == first
    assert parse_resource(first.resource.uri) == first.resource
    assert not first.resource.is_pattern
    assert first.request.isascii() and first.host.isascii()


@given(
    st.text(alphabet="ab.~-_", min_size=1, max_size=6).filter(lambda text: text not in {".", ".."}), st.data()
)
def test_encoding_a_character_without_need_makes_no_other_resource(segment, data) -> None:
    at = data.draw(st.integers(0, len(segment) - 1))
    encoded = f"{segment[:at]}%{ord(segment[at]):02x}{segment[at + 1 :]}"
    plain = Target.parse(f"https://a.example/x/{segment}/y", "GET")
    assert Target.parse(f"https://a.example/x/{encoded}/y", "GET").resource == plain.resource


def test_ordinary_urls_are_read() -> None:
    urls = ordinary()
    assert len(urls) >= 500
    refused = []
    for url in urls:
        try:
            Target.parse(url, "GET")
        except CallerMistaken as error:
            refused.append(error.message)
    assert len(refused) <= len(urls) // 100, refused


def test_without_the_extra_the_package_loads_and_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['ada_url'] = None; sys.modules['httpcore2'] = None\n"
        "from mcp_security.validators.api import ApiGate\n"
        "try: ApiGate().resource_of('GET', 'https://a.example/')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("WorldBroken"), done.stderr
    assert "mcp-umbrella-security[api]" in done.stdout
