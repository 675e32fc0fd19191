"""Between the SDK's types and ours: resources, templates, prompts, completions. Imports the SDK's types; imported late.

Nothing is lost that whoever stands behind us may want: icons, annotations and `_meta` keep their form on the wire.
"""

import base64
import binascii
from typing import Any, Final

from mcp_types import (
    BlobResourceContents,
    CompleteResult,
    GetPromptResult,
    Prompt,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from mcp_core.protocol.wire import MAX_DESCRIPTION, meta_of, wire
from mcp_interface import offers
from mcp_interface.errors import TooMuch, WorldBroken

MAX_CONTENTS: Final = 8 * 1024 * 1024
"""Bytes of what is read at once; the frames that carry it hold 16 MiB, in which bytes take a third more."""
MAX_SUGGESTIONS: Final = 100


def resource_info(server: str, resource: Resource) -> offers.ResourceInfo:
    """Describe a listed resource."""
    return offers.ResourceInfo(
        server=server,
        uri=resource.uri,
        name=resource.name,
        title=resource.title or "",
        description=(resource.description or "")[:MAX_DESCRIPTION],
        mime_type=resource.mime_type or "",
        size=resource.size,
        annotations={} if resource.annotations is None else wire(resource.annotations),
        icons=[wire(icon) for icon in resource.icons or ()],
        meta=resource.meta or {},
    )


def resource_template(server: str, template: ResourceTemplate) -> offers.ResourceTemplate:
    """Describe a listed template."""
    return offers.ResourceTemplate(
        server=server,
        uri_template=template.uri_template,
        name=template.name,
        title=template.title or "",
        description=(template.description or "")[:MAX_DESCRIPTION],
        mime_type=template.mime_type or "",
        annotations={} if template.annotations is None else wire(template.annotations),
        icons=[wire(icon) for icon in template.icons or ()],
        meta=template.meta or {},
    )


def prompt_info(server: str, prompt: Prompt) -> offers.PromptInfo:
    """Describe a listed prompt."""
    return offers.PromptInfo(
        server=server,
        name=prompt.name,
        title=prompt.title or "",
        description=(prompt.description or "")[:MAX_DESCRIPTION],
        arguments=[
            offers.PromptArgument(
                name=argument.name,
                title=argument.title or "",
                description=argument.description or "",
                required=bool(argument.required),
            )
            for argument in prompt.arguments or ()
        ],
        icons=[wire(icon) for icon in prompt.icons or ()],
        meta=prompt.meta or {},
    )


def contents(server: str, result: ReadResourceResult) -> list[offers.Contents]:
    """Translate what a resource holds.

    Raises:
        TooMuch: It is more than can be handed on.
        WorldBroken: Bytes that are not base64.
    """
    found = [_part(server, part) for part in result.contents]
    size = sum(len(part.blob or b"") + len((part.text or "").encode()) for part in found)
    if size > MAX_CONTENTS:
        raise TooMuch(
            f"the resource has {size} bytes, more than the {MAX_CONTENTS} that can be handed on",
            "read a part of it, if the server offers parts",
            {"server": server, "size": size},
        )
    return found


def prompt_result(result: GetPromptResult) -> offers.PromptResult:
    """Translate a prompt with its values in place."""
    return offers.PromptResult(
        description=result.description or "",
        messages=[
            offers.PromptMessage(role=message.role, content=wire(message.content))
            for message in result.messages
        ],
        meta=meta_of(result.meta),
    )


def suggestions(result: CompleteResult) -> offers.Suggestions:
    """Translate completions; no more than a hundred, as the protocol rules."""
    found = result.completion
    return offers.Suggestions(
        values=found.values[:MAX_SUGGESTIONS],
        total=found.total,
        has_more=bool(found.has_more) or len(found.values) > MAX_SUGGESTIONS,
    )


def _part(server: str, part: TextResourceContents | BlobResourceContents) -> offers.Contents:
    told: dict[str, Any] = {"uri": part.uri, "mime_type": part.mime_type or "", "meta": part.meta or {}}
    if isinstance(part, TextResourceContents):
        return offers.Contents(**told, text=part.text)
    try:
        return offers.Contents(**told, blob=base64.b64decode(part.blob, validate=True))
    except (binascii.Error, ValueError) as error:
        raise WorldBroken(
            f"server {server!r} gave bytes of {part.uri[:200]!r} that are not base64",
            "report it to the server's authors",
            {"server": server},
        ) from error
