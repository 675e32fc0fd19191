"""The protocol's own conformance suite against our host and its logins, in both eras; nothing is expected to fail."""

import sys
from pathlib import Path

import pytest

from conformance.kit import run_suite

CLIENT = Path(__file__).parent / "client.py"
UNSUPPORTED = {
    "auth/dpop": "sender-constrained tokens (DPoP) are an extension that the SDK does not speak",
    "auth/dpop-nonce": "likewise",
    "auth/wif-jwt-bearer": "workload identity federation is an extension that the SDK does not speak",
    "auth/enterprise-managed-authorization": "an extension that needs a company's own identity provider",
}
"""Extensions that are run beside and count for neither set; the suite itself does not score them."""


@pytest.mark.node_server
@pytest.mark.timeout(900)
@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_our_host_passes_every_required_client_scenario(revision: str, tmp_path: Path) -> None:
    command = f"{sys.executable} {CLIENT}"
    arguments = ["client", "--command", command, "--requirements", revision, "--timeout", "240000"]
    done, checks = run_suite(arguments, tmp_path, 880.0)
    failed = [check for check in checks if check.status == "FAILURE" and check.scenario not in UNSUPPORTED]
    assert not failed, "\n".join(f"{check.scenario}: {check.id}: {check.said}" for check in failed)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    assert len({check.scenario for check in checks}) >= {"2025-11-25": 18, "2026-07-28": 32}[revision]
