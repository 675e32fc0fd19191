"""What stands in a mailbox beside the messages that actors send: asks, the first message, and pykka's own."""

from collections.abc import Callable
from typing import Any, Final

from pykka._introspection import get_attr_directly
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop

from mcp_core.runtime.exits import Down
from mcp_core.runtime.future import Future


class Ask:
    """A message with somebody who waits for the reply."""

    __slots__ = ("message", "reply")

    def __init__(self, message: Any, reply: Future) -> None:
        self.message = message
        self.reply = reply


class Begin:
    """The first message of an incarnation that has something to do before all others."""

    __slots__ = ()


BEGIN: Final = Begin()


def is_system(item: Any) -> bool:
    """Whether a message has a place in a full mailbox too: else a full actor could not even be stopped."""
    message = item.message if type(item) is Ask else item
    return type(message) in (_ActorStop, Begin, Down)


def _stop(actor: Any, message: _ActorStop) -> Any:
    return actor._actor_ref._begin_stop()


def _call(actor: Any, message: ProxyCall) -> Any:
    return get_attr_directly(actor, message.attr_path)(*message.args, **message.kwargs)


def _get(actor: Any, message: ProxyGetAttr) -> Any:
    return get_attr_directly(actor, message.attr_path)


def _set(actor: Any, message: ProxySetAttr) -> None:
    setattr(get_attr_directly(actor, message.attr_path[:-1]), message.attr_path[-1], message.value)


def _begin(actor: Any, message: Begin) -> Any:
    return actor.on_start()


SPECIAL: Final[dict[type, Callable[[Any, Any], Any]]] = {
    _ActorStop: _stop,
    ProxyCall: _call,
    ProxyGetAttr: _get,
    ProxySetAttr: _set,
    Begin: _begin,
}
"""What the runtime handles itself, by type of message."""
