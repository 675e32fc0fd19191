"""A person with a browser: one tab that is watched, and the same person's REST API to set the stage."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

AXE = Path(__file__).parents[1] / "packages" / "mcp_web" / "ui" / "node_modules" / "axe-core" / "axe.min.js"
WAIT_MS = 20_000


class Visit:
    """One tab that is watched: errors, foreign requests, accessibility."""

    def __init__(self, browser: "Browser", home: str, scheme: Any = "light") -> None:
        self.home = home
        self.context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
        self.context.set_default_timeout(WAIT_MS)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))

    def _console(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def go(self, place: str) -> None:
        self.page.get_by_role("navigation").get_by_role("link", name=place).click()

    def accessible(self, where: str) -> None:
        """No violation of WCAG A or AA, or of the best practices that axe knows."""
        if not AXE.is_file():
            reason = "axe-core is not installed (npm ci in packages/mcp_web/ui)"
            if os.environ.get("CI") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
        # Through the debugger, because the page's own policy lets no foreign script in.
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("async () => (await axe.run()).violations")
        told = [f"{item['id']}: {[node['target'] for node in item['nodes']][:3]}" for item in found]
        assert told == [], where

    def close(self) -> None:
        self.context.close()
        assert self.complaints == []
        assert self.hosts == {urlsplit(self.home).netloc}


class Api:
    """The same person without the pages, to set the stage."""

    def __init__(self, visit: Visit) -> None:
        self._http = visit.context.request
        self._home = visit.home

    def post(self, path: str, body: Any) -> Any:
        answer = self._http.post(f"{self._home}api/{path}", data=body, headers={"x-umbrella": "1"})
        assert answer.ok, answer.text()
        return answer.json()

    def readd(self, notes: Any, description: str) -> None:
        """The server comes back, and its tool says something else of itself."""
        notes.say(description)
        self._http.delete(f"{self._home}api/servers/notes", headers={"x-umbrella": "1"})
        assert self.post("servers", notes.entry)["state"] == "ready"
