"""The picture of the README, made from the real program; UMBRELLA_MEDIA=1 writes it to `.github/media`."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scripted_model import scripted_model

MEDIA = Path(__file__).parents[3] / ".github" / "media"


@pytest.fixture
def orchard() -> Iterator[Path]:
    """A small project at a place that looks the same on every machine."""
    place = Path(tempfile.gettempdir()).resolve() / "orchard"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    (place / "harvest.py").write_text("def total(baskets):\n    return sum(b.kilos for b in baskets)\n")
    (place / "README.md").write_text("# Orchard\n\nCounts apples.\n")
    (place / "baskets.csv").write_text("tree,kilos\n1,12\n2,9\n")
    yield place
    shutil.rmtree(place, ignore_errors=True)


def picture(name: str, svg: str, fallback: Path) -> Path:
    """Write a picture for the README when it is asked for, else beside the test's own files."""
    folder = MEDIA if os.environ.get("UMBRELLA_MEDIA") == "1" else fallback
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.svg"
    path.write_text(svg, "utf-8")
    return path


def script(place: Path) -> list[dict[str, Any]]:
    test = (
        "from harvest import total\n\n\n"
        "def test_an_empty_orchard_has_no_harvest():\n    assert total([]) == 0\n"
    )
    return [
        {
            "text": "Let me look at the project first.",
            "tool_call": {"name_contains": "list_directory", "arguments": {"path": str(place)}},
        },
        {"tool_call": {"name_contains": "read_file", "arguments": {"path": str(place / "harvest.py")}}},
        {
            "text": "`total` has **no test yet**. An empty orchard is the case most easily missed:\n\n"
            "| case | today |\n|---|---|\n| no baskets | untested |\n| two baskets | untested |\n\n"
            "I will begin with the first one.",
            "tool_call": {
                "name_contains": "write_file",
                "arguments": {"path": str(place / "test_harvest.py"), "content": test},
            },
        },
    ]


def test_the_picture_shows_a_conversation_with_a_question(
    open_screen: Callable[..., Any], tmp_path: Path, orchard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(orchard)

    async def scenario(environ: dict[str, str]) -> str:
        async with open_screen(tmp_path, environ, size=(104, 42)) as screen:
            await screen.sends("/clear")
            await screen.sends("What in this project is untested? Please begin to mend it.")
            await screen.sees("harvest.py", "I will begin with the first one.", "needs your answer")
            await screen.until(lambda: screen.app.card.has_focus)
            await screen.pilot.pause(0.2)
            return str(screen.app.export_screenshot(title="umbrella"))

    with scripted_model(script(orchard)) as model:
        svg = asyncio.run(scenario(model.environ()))
    path = picture("repl", svg, tmp_path)
    assert "test_harvest.py" in path.read_text("utf-8")
    assert str(tmp_path) not in svg
