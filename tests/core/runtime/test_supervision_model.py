"""Trees of supervisors against a model of what OTP's words mean: who runs, who was restarted, what became of the mail.

The clock moves by less than any pause, or by more than every pause and window: so the model needs no jitter.
"""

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mcp_core.runtime import Actor, ActorGone
from mcp_core.runtime.life import ASLEEP, DEAD
from mcp_core.runtime.roll import ROLL
from mcp_core.runtime.supervisor import ChildSpec, Supervisor
from mcp_interface.errors import LostRace, NodeUnavailable
from mcp_interface.testing import ManualClock, SeededEntropy

STRATEGIES = st.sampled_from(["one_for_one", "one_for_all", "rest_for_one", "dynamic"])
RESTARTS = st.sampled_from(["permanent", "permanent", "transient", "temporary"])
NIGHTLY = os.environ.get("UMBRELLA_PROFILE") == "nightly"
NAMES = ["top0", "low0", "low1", "deep0", "deep1", "deep2"]
LONG = 61.0
ENDED = "ended"


class Counter(Actor):
    """Counts; raises when it is told to crash."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    async def on_receive(self, message: str) -> int:
        if message == "crash":
            raise RuntimeError("boom")
        self.count += 1
        return self.count


class Leaf:
    """What is known of one child."""

    def __init__(self, owner: "Node", name: str, restart: str) -> None:
        self.owner, self.name, self.restart = owner, name, restart
        self.up = not owner.down
        self.asleep = self.marked = False
        self.restarts = self.ends = self.count = 0
        self.mail: list[Any] = []
        """Asks that wait for the next incarnation."""

    def begin(self, answers: "dict[Any, Any]") -> None:
        self.marked = False
        if self.up or self.asleep:
            return
        self.up, self.count = True, 0
        for future in self.mail:
            self.count += 1
            answers[future] = self.count
        self.mail.clear()

    def halt(self) -> None:
        if self.restart == "temporary" and (
            self.up or self.asleep
        ):  # one that waits for its first life has it yet
            self.owner.remove(self)
        self.up = False


class Node:
    """What is known of one supervisor."""

    def __init__(self, model: "Model", parent: "Node | None", name: str, strategy: str, most: int) -> None:
        self.model, self.parent, self.name, self.strategy, self.most = model, parent, name, strategy, most
        self.members: list[Leaf | Node] = []
        self.down = self.marked = self.pausing = self.over = False
        self.ends = self.shared = self.failures = 0
        if parent is not None:
            parent.members.append(self)

    @property
    def alone(self) -> bool:
        return self.strategy in ("one_for_one", "dynamic")

    def lost(self, member: "Leaf | Node") -> None:
        if self.over or self.down or member.marked:
            return
        if self.alone:
            member.ends += 1
            count = member.ends
        else:
            self.shared += 1
            count = self.shared
        if count > self.most:
            if self.strategy == "dynamic":
                self.members.remove(member)
                self.model.end(member, given_up=True)
            else:
                self.fail()
            return
        if isinstance(member, Leaf):
            member.restarts += 1
        if self.alone:
            if isinstance(member, Node):
                member.halt()
            if count == 1:
                member.begin(self.model.answers)
            return
        place = 0 if self.strategy == "one_for_all" else self.members.index(member)
        for each in self.members[place:]:
            each.marked = True
        if not self.pausing:
            self.mend(pause=count > 1)

    def mend(self, pause: bool) -> None:
        for each in [each for each in self.members if each.marked]:
            each.halt()
        self.pausing = pause
        if not pause:
            for each in list(self.members):
                if each.marked:
                    each.begin(self.model.answers)

    def fail(self) -> None:
        self.failures += 1
        self.down = True
        if self.parent is None:
            self.model.end(self, given_up=True)
        else:
            self.parent.lost(self)

    def halt(self) -> None:
        self.down, self.pausing = True, False
        for member in list(self.members):
            member.halt()

    def begin(self, answers: "dict[Any, Any]") -> None:
        self.down = self.marked = self.pausing = False
        self.shared = 0
        for member in self.members:
            member.ends = 0
            member.begin(answers)

    def remove(self, member: "Leaf | Node") -> None:
        self.members.remove(member)
        self.model.end(member, given_up=False)

    def walk(self) -> "Iterator[Leaf | Node]":
        yield self
        for member in self.members:
            if isinstance(member, Node):
                yield from member.walk()
            else:
                yield member

    def pass_time(self) -> None:
        """Every pause is over, and every window empty."""
        if self.pausing:
            self.mend(pause=False)
        for member in self.members:
            if isinstance(member, Node):
                member.pass_time()
            if self.alone and not self.down:
                member.begin(self.model.answers)
            member.ends = 0
        self.shared = 0


class Model:
    """The whole tree, and what each ask comes to."""

    def __init__(self) -> None:
        self.answers: dict[Any, Any] = {}
        self.given_up: list[str] = []

    def end(self, member: "Leaf | Node", given_up: bool) -> None:
        for each in list(member.walk()) if isinstance(member, Node) else [member]:
            if isinstance(each, Node):
                each.over, each.down = True, True
                continue
            if given_up:
                self.given_up.append(each.name)
            each.up = each.asleep = False
            self.answers.update(dict.fromkeys(each.mail, ENDED))
            each.mail.clear()
        if isinstance(member, Node):
            for each in list(member.walk()):
                if isinstance(each, Node):
                    each.members.clear()


@contextmanager
def quiet() -> Iterator[None]:
    """Without the log: writing out every crash would take most of the time."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


class Trees(RuleBasedStateMachine):
    """Three supervisors below each other."""

    @initialize(
        shape=st.lists(st.tuples(STRATEGIES, st.integers(0, 3)), min_size=3, max_size=3),
        first=st.lists(RESTARTS, min_size=len(NAMES), max_size=len(NAMES)),
    )
    def begin(self, shape: list[tuple[Any, int]], first: list[Any]) -> None:
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.model = Model()
        self.given_up: list[str] = []
        self.before = len(ROLL)
        self.refs: dict[str, Any] = {}
        self.nodes: dict[str, Node] = {}
        self.supervisors: dict[str, Supervisor] = {}
        self.asks: list[Any] = []

        async def build() -> None:
            above: str | None = None
            for name, (strategy, most) in zip(("top", "low", "deep"), shape, strict=True):
                supervisor = Supervisor(
                    self.clock, SeededEntropy(), name=name, strategy=strategy, max_restarts=most
                )
                self.supervisors[name] = supervisor
                self.nodes[name] = Node(self.model, self.nodes.get(above or ""), name, strategy, most)
                if above is not None:
                    self.supervisors[above].branch(supervisor)
                above = name

        self.run(build())
        for name, restart in zip(NAMES, first, strict=True):
            self.start(name, restart)

    def run(self, work: Any) -> Any:
        async def settled() -> Any:
            async with asyncio.timeout(20):
                result = await work
                for _ in range(60):  # the deepest chain of halts takes some turns of the loop
                    await asyncio.sleep(0)
                return result

        with quiet():
            return self.runner.run(settled())

    def leaf(self, name: str) -> Leaf | None:
        for member in self.nodes[name[:-1]].members:
            if member.name == name and isinstance(member, Leaf):
                return member
        return None

    # -- what may happen -------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), restart=RESTARTS)
    def start(self, name: str, restart: Any) -> None:
        node, supervisor = self.nodes[name[:-1]], self.supervisors[name[:-1]]
        spec = ChildSpec(
            name=name, make=Counter, restart=restart, on_give_up=lambda _: self.given_up.append(name)
        )

        async def begin() -> Any:
            return supervisor.start(spec)

        if node.over or self.leaf(name) is not None:
            with pytest.raises(NodeUnavailable if node.over else LostRace):
                self.run(begin())
            return
        node.members.append(Leaf(node, name, restart))
        self.refs[name] = self.run(begin())

    @rule(
        name=st.sampled_from(NAMES),
        hows=st.lists(st.sampled_from(["kill", "crash", "stop itself"]), min_size=1, max_size=4),
    )
    def end_again_and_again(self, name: str, hows: list[str]) -> None:
        for how in hows:
            self.end(name, how)
            self.the_tree_is_as_it_should_be()

    def end(self, name: str, how: str) -> None:
        leaf = self.leaf(name)
        if leaf is None or (how != "kill" and not leaf.up):
            return

        async def end() -> None:
            match how:
                case "kill":
                    self.refs[name].kill()
                case "crash":
                    self.refs[name].tell("crash")
                case _:
                    self.refs[name].stop(block=False)

        self.run(end())
        if leaf.up or leaf.asleep:
            node, held = leaf.owner, leaf.marked or leaf.owner.down
            leaf.up = leaf.asleep = False
            if leaf.restart == "temporary" or (
                how == "stop itself" and leaf.restart == "transient" and not held
            ):
                node.remove(leaf)
            else:
                node.lost(leaf)

    @rule(name=st.sampled_from(NAMES))
    def stop(self, name: str) -> None:
        leaf = self.leaf(name)
        self.run(self.supervisors[name[:-1]].stop(name))
        if leaf is not None:
            leaf.owner.remove(leaf)

    @rule(name=st.sampled_from(NAMES), count=st.integers(1, 4))
    def ask(self, name: str, count: int) -> None:
        if name not in self.refs:
            return

        async def ask() -> list[Any]:
            return [self.refs[name].ask("count", block=False) for _ in range(count)]

        futures = self.run(ask())
        self.asks += futures
        leaf = self.leaf(name)
        if leaf is None:
            self.model.answers.update(dict.fromkeys(futures, ENDED))
            return
        leaf.mail += futures
        if leaf.up or (leaf.asleep and not (leaf.marked or leaf.owner.down)):
            known, leaf.up = leaf.count, False
            asleep, leaf.asleep, marked = leaf.asleep, False, leaf.marked
            leaf.begin(self.model.answers)
            leaf.marked = marked
            if not asleep:
                leaf.count += known
                self.model.answers.update({f: self.model.answers[f] + known for f in futures})
        else:
            leaf.asleep = False  # its mail has called it: it begins with its siblings

    @rule(name=st.sampled_from(NAMES))
    def rest(self, name: str) -> None:
        leaf = self.leaf(name)
        if leaf is None:
            return

        async def rest() -> bool:
            child = self.supervisors[name[:-1]].child(name)
            return child is not None and child.rest()

        may = leaf.up and not leaf.marked and not leaf.owner.down
        assert self.run(rest()) == may
        if may:
            leaf.up, leaf.asleep, leaf.count = False, True, 0

    @rule()
    def wait_a_moment(self) -> None:
        self.advance(0.001)

    @precondition(lambda self: not self.nodes["top"].over)
    @rule()
    def wait_long(self) -> None:
        for _ in range(4):  # a pause may begin when another one is over
            self.advance(LONG)
        self.nodes["top"].pass_time()

    def advance(self, seconds: float) -> None:
        async def move() -> None:
            self.clock.advance(seconds)

        self.run(move())

    # -- what always holds -----------------------------------------------------------------------------------

    @invariant()
    def the_tree_is_as_it_should_be(self) -> None:
        for name, node in self.nodes.items():
            supervisor = self.supervisors[name]
            assert supervisor.failures == node.failures, name
            assert supervisor.closed == node.over, name
            leaves = [member for member in node.members if isinstance(member, Leaf)]
            children = supervisor.children()
            assert [child.name for child in children] == [leaf.name for leaf in leaves]
            for child, leaf in zip(children, leaves, strict=True):
                assert child.ref is self.refs[leaf.name], "another ref"
                assert child.restarts == leaf.restarts, leaf.name
                assert (child.ref._actor is not None and not child.down) == leaf.up, leaf.name
                assert (child.ref._state == ASLEEP) == leaf.asleep, leaf.name
                assert child.ref.waiting == len(leaf.mail), leaf.name
        assert sorted(self.given_up) == sorted(self.model.given_up)
        alive = {name for name, ref in self.refs.items() if ref._state != DEAD}
        assert alive == {name for name in NAMES if self.leaf(name) is not None}

    @invariant()
    def every_ask_comes_to_what_it_should(self) -> None:
        for future in self.asks:
            expected = self.model.answers.get(future)
            assert future.done() == (expected is not None)
            if expected is ENDED:
                with pytest.raises(ActorGone):
                    future.get()
            elif expected is not None:
                assert future.get() == expected

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        self.run(self.supervisors["top"].close(1))
        assert all(future.done() for future in self.asks)
        assert len(ROLL) == self.before, "an actor was left behind"

        async def others() -> int:
            return len(asyncio.all_tasks()) - 1 - len([t for t in asyncio.all_tasks() if _is_spare(t)])

        assert self.run(others()) <= 0, "a task was left behind"
        self.runner.close()


def _is_spare(task: Any) -> bool:
    """Whether it is one of the tasks that wait for a handler to take over."""
    return "_carry_on" in repr(task.get_coro())


TestTrees = pytest.mark.timeout(1200 if NIGHTLY else 120)(Trees.TestCase)
TestTrees.settings = settings(max_examples=4000 if NIGHTLY else 60, stateful_step_count=30, deadline=None)
