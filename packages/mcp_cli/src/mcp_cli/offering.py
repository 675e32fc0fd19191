"""What the resources and prompts of servers look like in a list. Pure."""

from mcp_cli.completing import needed
from mcp_cli.grammar import prompt_word
from mcp_cli.presenters import more, size
from mcp_cli.sheet import Cell, Sheet, row
from mcp_cli.untrusted import one_line
from mcp_interface.commands import Page
from mcp_interface.offers import PromptInfo, ResourceInfo, ResourceTemplate


def resources(page: Page[ResourceInfo], families: Page[ResourceTemplate]) -> Sheet:
    """List resources as they are mentioned, templates behind them."""
    rows = [
        row(
            Cell(one_line(f"@{each.server}:{each.uri}", 100), "accent"),
            Cell(one_line(each.title or each.name, 40), "strong"),
            Cell(one_line(each.mime_type, 30), "dim"),
            "" if each.size is None else size(each.size),
            one_line(each.description, 60),
        )
        for each in page.items
    ]
    rows += [
        row(
            Cell(one_line(f"@{each.server}:{each.uri_template}", 100), "accent"),
            Cell(one_line(each.title or each.name, 40), "strong"),
            Cell(one_line(each.mime_type, 30), "dim"),
            Cell("template", "dim"),
            one_line(each.description, 60),
        )
        for each in families.items
    ]
    return Sheet(
        columns=("resource", "name", "type", "#size", "what it is"),
        rows=rows,
        empty="no resources that you may read",
        note=more(page) or ("include one in a message: write it as it stands here" if rows else ""),
    )


def prompts(page: Page[PromptInfo]) -> Sheet:
    """List prompts as they are called."""
    rows = [
        row(
            Cell(one_line(f"/{prompt_word(each.server, each.name)}", 60), "accent"),
            Cell(_arguments(each), "dim"),
            Cell(one_line(each.title, 40), "strong"),
            one_line(each.description, 70),
        )
        for each in page.items
    ]
    return Sheet(
        columns=("prompt", "arguments", "title", "what it is for"),
        rows=rows,
        empty="no prompts that you may read",
        note=more(page),
    )


def _arguments(info: PromptInfo) -> str:
    must = set(needed(info))
    return one_line(
        " ".join(each.name if each.name in must else f"[{each.name}]" for each in info.arguments), 60
    )
