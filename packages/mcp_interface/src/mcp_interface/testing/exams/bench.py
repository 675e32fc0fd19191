"""What the exams of a security kernel work with: a kernel, its clock, and some principals."""

from typing import Final

from mcp_interface.address import parse_resource
from mcp_interface.capability import Grant, SecurityKernel, Verdict
from mcp_interface.ids import PrincipalId
from mcp_interface.testing.samples import a_person, a_session
from mcp_interface.testing.time import ManualClock, SeededEntropy

READ: Final = parse_resource("mcp://fs/read/data/x")


class Bench:
    """One kernel under examination."""

    def __init__(self, kernel: SecurityKernel, clock: ManualClock) -> None:
        self.kernel = kernel
        self.clock = clock
        self.owner = a_person()
        # holders of root grants are people: a kernel may refuse to mint a root for an agent
        self.agents = [a_person(SeededEntropy(seed)) for seed in (11, 12, 13)]
        self.session_id = a_session()

    async def root(self, principal: PrincipalId, uri: str) -> Grant:
        """Grant something without limits."""
        return await self.kernel.request(principal, parse_resource(uri))


def check_verdict(verdict: Verdict, *, allowed: bool, reason: str | None = None) -> None:
    """Assert an outcome, its reason unless None, and what every verdict carries."""
    wanted = reason or ("allowed" if allowed else verdict.reason)
    assert verdict.allowed == allowed, f"should be {'allowed' if allowed else 'denied'}: {verdict}"
    assert verdict.reason == wanted, f"the reason should be {wanted}: {verdict}"
    assert (verdict.reason == "allowed") == allowed, f"reason and outcome differ: {verdict}"
    assert verdict.message.strip(), "a verdict says something to a person"
    if allowed:
        assert verdict.capability_id is not None, "an allow names its capability"
        assert verdict.covering is not None, "an allow names the pattern that covers it"
        assert verdict.needed is None, "an allow needs nothing more"
    else:
        assert verdict.needed is not None, f"a denial names the grant that would help: {verdict}"
        parse_resource(verdict.needed)
