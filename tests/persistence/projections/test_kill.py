"""kill -9 in the middle of following: what the file holds is always the journal up to some event, exactly."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from persistence.engines import ENGINES
from persistence.projections.rows import at_rest, everything, fold, following, open_store, run

ROUNDS = 60 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 3
TESTS = Path(__file__).parents[2]


def kill_after(kind, folder, lines):
    search = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
    child = subprocess.Popen(
        [sys.executable, "-B", "-m", "persistence.projections.following_child", kind, str(folder)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": search},
    )
    try:
        heard = [int(child.stdout.readline()) for _ in range(lines)]
    finally:
        child.kill()
        child.wait(20)
        child.stdout.close()
    return max(heard)


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.timeout(60 + 5 * ROUNDS)
def test_after_kill_9_a_projection_is_the_fold_of_the_journal_up_to_its_position(kind, tmp_path):
    chance = random.Random(7)

    async def look():
        position, rows = at_rest(tmp_path / "rows.db")
        store = await open_store(kind, tmp_path)
        records = await everything(store)
        assert rows == fold([record for record in records if record.position <= position])
        async with following(store, tmp_path) as projector:
            assert not projector.found.startswith("made anew")
            await projector.wait_for(await store.head())
        assert at_rest(projector.path)[1] == fold(records)
        await store.close()
        return position

    for _ in range(ROUNDS):
        acknowledged = kill_after(kind, tmp_path, chance.randrange(20, 400))
        assert run(look) > 0
        assert run(head, kind, tmp_path) >= acknowledged


async def head(kind, folder):
    store = await open_store(kind, folder)
    try:
        return await store.head()
    finally:
        await store.close()
