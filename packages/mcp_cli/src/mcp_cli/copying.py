"""The text of a block as it is put into the clipboard: what was said, without marks and bars."""

from mcp_cli.exporting import plain_block
from mcp_cli.passages import Answered, Block, Said, ToolCard, result_text
from mcp_cli.transcript import Transcript
from mcp_cli.untrusted import printable, readable_arguments
from mcp_interface.errors import NotFound


def last_answer(transcript: Transcript) -> str:
    """Return the assistant's latest finished words, as Markdown.

    Raises:
        NotFound: It has said nothing yet.
    """
    for found in reversed(transcript.blocks):
        if isinstance(found, Answered) and not found.open and found.text.strip():
            return printable(found.text)
    raise NotFound("the assistant has not answered yet", "ask it something; /copy 1 copies the latest block")


def block(transcript: Transcript, number: int) -> str:
    """Return the text of a block; 1 is the latest one.

    Raises:
        NotFound: There are not so many.
    """
    if not 1 <= number <= len(transcript.blocks):
        there = f"there are {len(transcript.blocks)}" if transcript.blocks else "nothing was said yet"
        raise NotFound(f"no block has the number {number}: {there}", "1 is the latest: /copy 1")
    return block_text(transcript.blocks[-number])


def block_text(found: Block) -> str:
    """Return what a block says."""
    match found:
        case Said() | Answered():
            return printable(found.text)
        case ToolCard(result=result) if result is not None:
            return printable(result_text(result))
        case ToolCard(error=error) if error is not None:
            return printable(error.message)
        case ToolCard():
            return readable_arguments(found.arguments)
        case _:
            return "\n".join(plain_block(found))
