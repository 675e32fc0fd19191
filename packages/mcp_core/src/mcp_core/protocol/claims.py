"""What we claim to be able to answer, said with each request of the newer era. Touches the SDK; imported late.

The SDK says the same with every request. But who can be asked differs from call to call: a server must not be led to
ask what nobody behind this one can answer.
"""

from typing import Any

from mcp.client.session import ClientSession
from mcp_types import CLIENT_CAPABILITIES_META_KEY

from mcp_core.protocol.errand import CURRENT, Errand


def narrow_capabilities(session: ClientSession) -> None:
    """From now on say of each request what can be answered behind it; requests of ours that nobody made say all."""
    if session.discover_result is None:  # in the older era it is said once, at the beginning
        return
    stamp = session._stamp  # the one place where the SDK writes it; it offers no other way

    def narrowed(data: dict[str, Any], options: Any) -> None:
        stamp(data, options)
        errand = CURRENT.get()
        if errand is not None:
            meta = data["params"]["_meta"]
            meta[CLIENT_CAPABILITIES_META_KEY] = claimed(meta[CLIENT_CAPABILITIES_META_KEY], errand)

    session._stamp = narrowed


def claimed(everything: dict[str, Any], errand: Errand) -> dict[str, Any]:
    """Client capabilities without what nobody behind a request can answer."""
    elicitation: dict[str, Any] = {mode: {} for mode in ("form", "url") if mode in errand.answers}
    claims = {key: value for key, value in everything.items() if key not in {"elicitation", "sampling"}}
    if elicitation:
        claims["elicitation"] = elicitation
    if "sampling" in errand.answers and "sampling" in everything:
        claims["sampling"] = everything["sampling"]
    return claims
