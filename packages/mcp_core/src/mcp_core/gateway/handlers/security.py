"""Commands about the audit trail and logins."""

from typing import Protocol

from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.handlers.owning import require_owner
from mcp_core.gateway.logins import Logins
from mcp_interface.capability import AuditEntry
from mcp_interface.commands import (
    AuditReport,
    CheckLogin,
    CreateLogin,
    EndLogin,
    Login,
    LoginCode,
    LoginKey,
    Page,
    ReadAudit,
    RedeemLogin,
    VerifyAudit,
)
from mcp_interface.ids import PrincipalId


class AuditTrail(Protocol):
    """What the gateway needs of the audit (`mcp_security.AuditLog`)."""

    async def query(self, query: ReadAudit) -> Page[AuditEntry]:
        """Entries, newest first."""
        ...

    async def verify(self) -> AuditReport:
        """Check the whole chain."""
        ...


class SecurityCommands:
    """Handlers over the audit trail and the logins of a node."""

    def __init__(self, audit: AuditTrail, logins: Logins) -> None:
        self._audit = audit
        self._logins = logins

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {
            ReadAudit: self.read,
            VerifyAudit: self.verify,
            CreateLogin: self.create_login,
            RedeemLogin: self.redeem_login,
            CheckLogin: self.check_login,
            EndLogin: self.end_login,
        }

    async def read(self, who: PrincipalId, command: ReadAudit) -> Page[AuditEntry]:
        """Audit entries, of everybody."""
        require_owner(who, self._logins.owner, "read its audit")
        return await self._audit.query(command)

    async def verify(self, who: PrincipalId, command: VerifyAudit) -> AuditReport:
        """Check the chain."""
        require_owner(who, self._logins.owner, "check its audit")
        return await self._audit.verify()

    async def create_login(self, who: PrincipalId, command: CreateLogin) -> LoginCode:
        """A code for the caller; others than the owner have their keys, which a login would outlive."""
        require_owner(who, self._logins.owner, "make logins")
        return await self._logins.create(who)

    async def redeem_login(self, who: PrincipalId, command: RedeemLogin) -> LoginKey:
        """A key for a code."""
        return await self._logins.redeem(command.code)

    async def check_login(self, who: PrincipalId, command: CheckLogin) -> Login:
        """The person behind a key."""
        return await self._logins.check(command.key)

    async def end_login(self, who: PrincipalId, command: EndLogin) -> None:
        """Forget a key."""
        await self._logins.end(command.key)
