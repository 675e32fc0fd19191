"""A key that is used up at most once, together with what follows from it.

The idempotency key of a decision is unique in the store for good. Whoever uses a key up, in whatever way, does
it under an idempotency key that is made from that key: so of two ways, such as firing and cancelling a timer,
one wins for good, and nobody has to look first.
"""

from hashlib import sha256

import msgspec

from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.store import Decision, Record, Store


async def use_up(store: Store, key: str, decision: Decision, epoch: int) -> list[Record] | None:
    """Remove a key and make a decision, both or neither.

    Repeating it is harmless: nothing is written a second time.

    Args:
        store: Where both belong.
        key: What is used up.
        decision: What follows from it, without an idempotency key of its own.
        epoch: As `Store.commit`.

    Returns:
        The records; None when the key was used up before for something else, and nothing was written.

    Raises:
        CallerMistaken, VersionConflict, StaleEpoch, TooMuch, StorageUnavailable: As `Store.commit`.
    """
    if decision.key is not None:
        raise CallerMistaken(
            f"the decision has the idempotency key {decision.key!r}",
            "leave it out: the key that is used up is one",
        )
    whole = msgspec.structs.replace(
        decision, deletes=[*decision.deletes, key], key=f"used:{sha256(key.encode()).hexdigest()}"
    )
    try:
        return await store.commit(whole, epoch=epoch)
    except CallerMistaken:
        try:
            await store.get(key)
        except NotFound:
            return None
        raise
