"""A login to a server through a real browser: the way back comes from another site, without our strict cookie."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from core.protocol.authorizing import running

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
ASK = """async ([method, path, body]) => {
    const answer = await fetch(path, {
        method, headers: {"x-umbrella": "1", "content-type": "application/json"},
        body: body === null ? undefined : JSON.stringify(body),
    });
    return await answer.json();
}"""


def test_a_person_logs_in_to_a_server_from_the_dashboard(
    browser: "Browser", served: Callable[..., Any]
) -> None:
    node = served()
    with running() as server, browser.new_context() as context:
        page = context.new_page()
        page.goto(node.link)
        added = page.evaluate(
            ASK, ["POST", "/api/servers", {"name": "docs", "spec": {"url": server.spec.url}}]
        )
        assert added["state"] == "login", added
        login = page.evaluate(ASK, ["POST", "/api/servers/docs/login", None])["url"]
        # another host is another site for the browser, as an authorization server out there is
        page.goto(login.replace("http://127.0.0.1", "http://localhost", 1))
        page.wait_for_url(f"{node.url.rstrip('/')}/")
        listed = page.evaluate(ASK, ["GET", "/api/servers", None])["items"]
        assert [one["state"] for one in listed if one["name"] == "docs"] == ["ready"]
        assert not [secret for secret in server.authority.given if secret in json.dumps(listed)]
