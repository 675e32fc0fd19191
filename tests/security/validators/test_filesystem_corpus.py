"""Every trick with paths that we know, and as many made up, judged by what was really opened or changed."""

import os
import random
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from mcp_interface.errors import UmbrellaError
from mcp_security import FilesystemGate
from security.corpora.paths import BY_HAND, CANARY, ORDINARY, World, generated

NIGHTLY = os.environ.get("UMBRELLA_PROFILE") == "nightly"
GENERATED = 120_000 if NIGHTLY else 4_000
CHANGED = 40_000 if NIGHTLY else 1_500
GATE = FilesystemGate()

pytestmark = pytest.mark.timeout(3_600 if NIGHTLY else 120)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def coverings(operation: str, root: Path) -> list[str]:
    return [
        f"mcp://fs/{operation}{root}{tail}"
        for tail in ("/**", "/", "/a/**", "/a/b/f", "/*", "/*/b/**", "/in/**")
    ]


def by_hand(world: World) -> list[str]:
    return (
        [f"{world.root}/{path}" for path in BY_HAND]
        + [f"{world.root}{path}" for path in BY_HAND]
        + [*BY_HAND]
    )


def opened(world: World, path: str, inside: set[tuple[int, int]]) -> int:
    """Open under every covering; return how often it was allowed, and insist that it stayed inside."""
    allowed = 0
    for covering in coverings("read", world.root):
        try:
            file = GATE.open_file(covering, path)
        except UmbrellaError:
            continue
        try:
            found = os.fstat(file)
            assert (found.st_dev, found.st_ino) in inside, f"{covering} opened {path!r}"
            assert CANARY not in os.read(file, 1000).decode(), f"{covering} read {path!r}"
        finally:
            os.close(file)
        allowed += 1
    return allowed


def test_nothing_by_hand_gets_out(world: World) -> None:
    inside = world.inodes()
    assert len(set(BY_HAND)) >= 100
    for path in by_hand(world):
        opened(world, path, inside)


def test_nothing_made_up_gets_out(world: World) -> None:
    inside = world.inodes()
    allowed = sum(opened(world, path, inside) > 0 for path in generated(world.root, 1, GENERATED))
    assert allowed > GENERATED // 100, "hardly any of them was good, which proves nothing"


def change(world: World, path: str, chance: random.Random) -> Callable[[], object]:
    write = chance.choice(coverings("write", world.root))
    delete = chance.choice(coverings("delete", world.root))
    whole = f"mcp://fs/write{world.root}/**", f"mcp://fs/delete{world.root}/**"
    target = f"{world.root}/target"
    return chance.choice([
        lambda: os.close(GATE.create_file(write, path)),
        lambda: GATE.replace_file(write, path, b"changed"),
        lambda: GATE.make_directory(write, path),
        lambda: GATE.unlink(delete, path),
        lambda: GATE.remove_directory(delete, path),
        lambda: GATE.rename(delete, whole[0], path, target, replace=True),
        lambda: GATE.rename(whole[1], write, target, path, replace=chance.random() < 0.5),
    ])  # fmt: skip


def test_nothing_outside_is_changed(world: World) -> None:
    chance, done = random.Random(2), 0
    paths = [*by_hand(world), *generated(world.root, 3, CHANGED)]
    chance.shuffle(paths)
    for number, path in enumerate(paths):
        with suppress(UmbrellaError):
            change(world, path, chance)()
            done += 1
        if number % 500 == 0:
            assert world.is_untouched_outside(), f"before {path!r}"
    assert world.is_untouched_outside()
    assert done > len(paths) // 200, "hardly any change went through, which proves nothing"


def test_nothing_outside_is_listed(world: World) -> None:
    listing = [f"mcp://fs/list{world.root}{tail}" for tail in ("/**", "/", "/a/**", "/*")]
    names = {name for _, folders, files in os.walk(world.root) for name in [*folders, *files]}
    for path in [*by_hand(world), *generated(world.root, 4, CHANGED)]:
        for covering in listing:
            with suppress(UmbrellaError):
                assert {entry.name for entry in GATE.list_directory(covering, path, 99)} <= names, path
            with suppress(UmbrellaError):
                walked = {part for one in GATE.walk(covering, path, 99) for part in one.name.split("/")}
                assert walked <= names, path


def test_ordinary_paths_are_not_refused(tmp_path: Path) -> None:
    assert len(set(ORDINARY)) >= 500
    root, refused = tmp_path.resolve(), []
    for name in ORDINARY:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = str(zlib.crc32(name.encode())).encode()
        try:
            GATE.replace_file(f"mcp://fs/write{root}/**", str(path), content)
            file = GATE.open_file(f"mcp://fs/read{root}/**", str(path))
        except UmbrellaError as error:
            refused.append((name, error))
            continue
        with os.fdopen(file, "rb") as reader:
            assert reader.read() == content == path.read_bytes(), name
    assert len(refused) <= len(ORDINARY) // 100, refused
