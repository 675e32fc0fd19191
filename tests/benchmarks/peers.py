"""The same decision, as other libraries make it: may this agent read this path, now?

Each entry is ready to run, proves that it allows the right path and denies another one, and takes no argument.
Install them with `uv sync --all-packages --group bench`.
"""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import biscuit_auth
import casbin
import cedarpy
import jwt
import pymacaroons

AGENT = "agent_1"
PREFIX = "/home/me/"
INSIDE = "/home/me/project/src/main.py"
OUTSIDE = "/home/you/secret"

Decision = Callable[[], bool]


def all_peers() -> dict[str, Decision]:
    """Every peer by name."""
    return {
        "PyJWT HS256": proved(_jwt),
        "pymacaroons, 3 caveats": proved(_macaroon),
        "pycasbin, 1 rule": proved(_casbin),
        "cedarpy, 1 policy": proved(_cedar),
        "biscuit, 1 block": proved(_biscuit),
    }


def proved(make: Callable[[], Callable[[str], bool]]) -> Decision:
    """Check that a peer decides rightly before it is measured."""
    decide = make()
    assert decide(INSIDE) and not decide(OUTSIDE)
    return lambda: decide(INSIDE)


def _jwt() -> Callable[[str], bool]:
    key = "k" * 32
    token = jwt.encode({"sub": AGENT, "exp": int(time.time()) + 3600, "read": PREFIX}, key, "HS256")

    def decide(path: str) -> bool:
        claims = jwt.decode(token, key, algorithms=["HS256"])
        return bool(claims["sub"] == AGENT and path.startswith(claims["read"]))

    return decide


def _macaroon() -> Callable[[str], bool]:
    key = "k" * 32
    token = pymacaroons.Macaroon(location="bench", identifier="1", key=key)
    ends = int(time.time()) + 3600
    for caveat in (f"agent = {AGENT}", f"read = {PREFIX}", f"before = {ends}"):
        token.add_first_party_caveat(caveat)
    text = token.serialize()

    def decide(path: str) -> bool:
        verifier = pymacaroons.Verifier()
        verifier.satisfy_exact(f"agent = {AGENT}")
        verifier.satisfy_general(lambda each: each.startswith("read = ") and path.startswith(each[7:]))
        verifier.satisfy_general(lambda each: each.startswith("before = ") and time.time() < int(each[9:]))
        try:
            return bool(verifier.verify(pymacaroons.Macaroon.deserialize(text), key))
        except pymacaroons.exceptions.MacaroonInvalidSignatureException:
            return False

    return decide


def _casbin() -> Callable[[str], bool]:
    model = casbin.Model()
    for section, name, text in (
        ("r", "r", "sub, obj, act"),
        ("p", "p", "sub, obj, act"),
        ("e", "e", "some(where (p.eft == allow))"),
        ("m", "m", "r.sub == p.sub && r.act == p.act && keyMatch(r.obj, p.obj)"),
    ):
        model.add_def(section, name, text)
    enforcer = casbin.Enforcer(model)
    enforcer.add_policy(AGENT, f"{PREFIX}*", "read")
    return lambda path: bool(enforcer.enforce(AGENT, path, "read"))


def _cedar() -> Callable[[str], bool]:
    policies = cedarpy.PolicySet.from_str(
        f'permit(principal == Agent::"{AGENT}", action == Action::"read", resource) '
        f'when {{ context.path like "{PREFIX}*" }};'
    )

    def decide(path: str) -> bool:
        request = {
            "principal": f'Agent::"{AGENT}"',
            "action": 'Action::"read"',
            "resource": 'File::"f"',
            "context": {"path": path},
        }
        return bool(cedarpy.is_authorized(request, policies, []).allowed)

    return decide


def _biscuit() -> Callable[[str], bool]:
    pair = biscuit_auth.KeyPair()
    ends = datetime.now(UTC) + timedelta(hours=1)
    token = biscuit_auth.BiscuitBuilder(
        "agent({agent}); check if path($p), $p.starts_with({prefix}); check if time($t), $t < {ends}",
        {"agent": AGENT, "prefix": PREFIX, "ends": ends},
    ).build(pair.private_key)
    text = token.to_base64()

    def decide(path: str) -> bool:
        given = biscuit_auth.Biscuit.from_base64(text, pair.public_key)
        authorizer = biscuit_auth.AuthorizerBuilder(
            "path({path}); time({now}); allow if agent({agent})",
            {"path": path, "now": datetime.now(UTC), "agent": AGENT},
        ).build(given)
        try:
            authorizer.authorize()
        except biscuit_auth.AuthorizationError:
            return False
        return True

    return decide


if __name__ == "__main__":
    for name, decide in all_peers().items():
        count = 2_000
        began = time.perf_counter()
        for _ in range(count):
            decide()
        print(json.dumps({"name": name, "us": round((time.perf_counter() - began) / count * 1e6, 1)}))
