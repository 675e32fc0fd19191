"""A disk that refuses: real errors from the kernel and from an interposed fdatasync."""

import asyncio
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("appending_child.py")
SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>

/* Sync number FAIL_SYNC fails once with EIO; as with a real kernel, the next one would succeed. */
static int refuse(void)
{
    static long calls;
    const char *at = getenv("FAIL_SYNC");
    return at != NULL && __sync_add_and_fetch(&calls, 1) == atol(at);
}

int fdatasync(int file)
{
    if (refuse()) { errno = EIO; return -1; }
    return ((int (*)(int)) dlsym(RTLD_NEXT, "fdatasync"))(file);
}

int fsync(int file)
{
    if (refuse()) { errno = EIO; return -1; }
    return ((int (*)(int)) dlsym(RTLD_NEXT, "fsync"))(file);
}
"""


def run(path, **options):
    """Run the child on a bad disk; gives what was acknowledged and what it said besides."""
    child = subprocess.run(
        [sys.executable, CHILD, path], capture_output=True, timeout=60, text=True, **options
    )
    lines = [line.split() for line in child.stdout.splitlines()]
    acknowledged = {stream: int(version) for stream, version in lines[1:] if stream.startswith("session:")}
    said = [" ".join(line) for line in lines if not line[0].startswith("session:")]
    assert child.returncode == 0, child.stderr
    return acknowledged, said


async def check_kept(opened, acknowledged):
    async with opened() as store:
        total = await store.verify()
        for stream, version in acknowledged.items():
            assert (await store.stream_info(stream)).version >= version
        assert total >= sum(acknowledged.values()) > 0
        epoch = await store.claim()
        assert epoch > 1, "the store works again after opening"


def small_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))


def test_a_write_that_the_kernel_refuses_poisons_the_store_and_loses_nothing(path, opened):
    acknowledged, said = run(path, preexec_fn=small_files)
    assert said == ["ready", "failed storage_unavailable", "refused storage_unavailable"]
    asyncio.run(check_kept(opened, acknowledged))


@pytest.mark.parametrize("sync", [30, 41])
def test_a_failed_sync_is_never_retried_and_nothing_acknowledged_is_lost(path, opened, tmp_path, sync):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to make a failing fdatasync with")
    source, shim = tmp_path / "shim.c", tmp_path / "shim.so"
    source.write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True, timeout=60)
    environment = os.environ | {"LD_PRELOAD": str(shim), "FAIL_SYNC": str(sync)}
    acknowledged, said = run(path, env=environment)
    assert said == ["ready", "failed storage_unavailable", "refused storage_unavailable"]
    asyncio.run(check_kept(opened, acknowledged))
