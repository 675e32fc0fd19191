"""Paths that try to get out of a directory, paths that are quite ordinary, and a world to try them in."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

CANARY = "canary: nobody may read this"
"""Content of every file outside the granted directory."""

BY_HAND = (
    "../secret", "../../secret", "a/../../secret", "a/b/../../../secret", "a/../a/../../secret", "./../secret",
    "..", "../", "../.", "a/..", "a/../..", ".../secret", "....//secret", "..././secret", "....\\\\secret",
    "..\\secret", "..\\..\\secret", "a\\..\\..\\secret", "%2e%2e/secret", "%2e%2e%2fsecret", "..%2fsecret",
    "%252e%252e/secret", "..%c0%afsecret", "%c0%ae%c0%ae/secret", "\u2025/secret", "\uff0e\uff0e/secret",
    "..\u2215secret", "..\u2044secret", "..\uff0fsecret", "\u2024\u2024/secret", "a//../../secret", "//etc/passwd",
    "/etc/passwd", "a/b/f/../../../../secret", "a/b/f/", "a/b/f/.", "a/b/f/..", "a/b/f\x00", "a/b/f\x00.txt",
    "a/b\x00/../../../secret", "a/b/f\n", "\n../secret", "a/\r/../../../secret", "a/b/\x1b[2K/f", "a/b/\x7f",
    "~/secret", "~root/.ssh/id_rsa", "$HOME/secret", "${PWD}/../secret", "`pwd`/../secret", "file:///etc/passwd",
    "a/b/f:stream", "a/b/f::$DATA", "CON", "C:\\Windows", "\\\\server\\share", "rel", "abs", "out/secret", "out/f",
    "out/../secret", "up", "up/secret", "up/root_evil/f", "chain", "chain/secret", "magic", "magicdir/secret",
    "loop", "deep/secret", "self/../../secret", "to_evil/f", "../root_evil/f", "../root/a/b/f", "../root/../secret",
    "dangling", "dangling/new", "proc/self/root/etc/passwd", "a/b/f/x", "*", "**", "a/*", "?", "[a]", "{a,b}", "-rf",
    "--", "-", " ", "  ../secret", ".. /secret", ".. ", "a/ ..", "..\t/secret", "\ud800", "a/\udc80", "\u202e../secret",
    "\ufeff../secret", "\u200b../secret", "a" * 256, "a/" * 2100 + "f", "../" * 400 + "etc/passwd", ".umbrella-1-0",
    "a/.umbrella-x/../../secret", "_evil/f", "secret",
)  # fmt: skip
"""Each is put behind the granted directory and a slash."""

_SEGMENTS = (
    "a", "b", "f", "..", "..", "..", ".", "", "...", "....", "rel", "abs", "out", "up", "chain", "magic", "magicdir",
    "loop", "deep", "self", "to_evil", "in", "in_file", "secret", "root", "root_evil", "etc", "passwd", "proc", "%2e%2e",
    "%2e", "..%2f", "\u2025", "\uff0e\uff0e", "..\\", "\\..", "\x00", "a\x00", "\n", " ", ".. ", " ..", "~", "*", "**",
    "new", "cafe\u0301", "caf\u00e9", "A", "F", "\ud800", ".umbrella-1-0",
)  # fmt: skip
_GOOD = ("a/b/f", "a/f", "f", "b", "in/f", "in_file", "self/a/b/f", "self/in/f", "self/self/f")
_HEADS = (
    "{root}/",
    "{root}/",
    "{root}/",
    "{root}/",
    "{root}",
    "/",
    "",
    "{root}_evil/",
    "{above}/",
    "//",
    "{root}//",
)

_NAMES = (
    "README.md", "main.py", "package.json", "notes.txt", "Makefile", ".gitignore", ".env.example", "index.html", "a",
    "report 2026.pdf", "año.txt", "übersicht.md", "日本語.txt", "café", "cafe\u0301", "Ω.tex", "emoji 🎉.md", "a..b",
    "...", "v1.2.3", "~backup", "#tmp#", "it's.txt", 'quo"te', "100%", "a+b=c", "x@y", "back\\slash", "[id].tsx",
    "{slug}.ts", "(group)", "page?.txt", "-dash", "--help", "semi;colon", "pipe|d", "and&", "$var", "`tick`", "tab-less",
    "имя.txt", "שם.txt", "اسم.txt", "नाम.txt", "family 👩\u200d👧.png", "non\u00a0breaking", "x" * 200, "..hidden", "end.",
    ".config", "a.b.c.d",
)  # fmt: skip
_FOLDERS = (
    "",
    "src/",
    "docs/guide/",
    ".github/workflows/",
    "deep/1/2/3/4/5/",
    "with space/",
    "naïve/",
    "..a/b../",
    "app/(x)/[y]/",
    "z/.z/",
)

ORDINARY = tuple(folder + name for folder in _FOLDERS for name in _NAMES)
"""At least 500 relative paths that any project may have."""


def generated(root: Path, seed: int, count: int) -> Iterator[str]:
    """Make up absolute and not so absolute paths out of everything that was ever a trick."""
    chance = random.Random(seed)
    for _ in range(count):
        head = chance.choice(_HEADS).replace("{root}", str(root)).replace("{above}", str(root.parent))
        segments = chance.choices(_SEGMENTS, k=chance.randint(1, 7))
        if chance.random() < 0.4:  # a good path with at most one trick in it gets further
            segments = chance.choice(_GOOD).split("/")
            at = chance.randint(0, len(segments))
            segments[at:at] = chance.sample(_SEGMENTS, chance.randint(0, 1))
        path = head + "/".join(segments)
        yield path + "/" if chance.random() < 0.05 else path


class World:
    """A granted directory full of links that lead out of it, and secrets all around.

    Args:
        folder: An empty directory.
    """

    def __init__(self, folder: Path) -> None:
        above = folder.resolve()
        self.root = above / "root"
        self._above = above
        (self.root / "a" / "b").mkdir(parents=True)
        for name in ("a/b/f", "f", "a/f", "b"):
            (self.root / name).write_text(f"inside {name}")
        for name in ("secret", "root_evil/f", "root_evil/secret", "root_evil/a/b/f"):
            (above / name).parent.mkdir(parents=True, exist_ok=True)
            (above / name).write_text(CANARY)
        self._link("rel", "../secret", "abs", str(above / "secret"), "out", "..", "up", "a/../..")
        self._link("chain", "chain2", "chain2", "a/c", "a/c", "../../secret", "to_evil", "../root_evil")
        self._link(
            "magic", "/proc/self/root/etc/passwd", "magicdir", f"/proc/self/root{above}", "loop", "loop"
        )
        self._link("deep", "in/../../..", "self", ".", "in", "a/b", "in_file", "a/b/f", "dangling", "../new")
        self._before = self._outside()

    def _link(self, *names_and_targets: str) -> None:
        for name, target in zip(names_and_targets[::2], names_and_targets[1::2], strict=True):
            (self.root / name).symlink_to(target)

    def inodes(self) -> set[tuple[int, int]]:
        """What lies in the granted directory, found without following a link."""
        found = {_inode(self.root.lstat())}
        for above, folders, files in os.walk(self.root):
            found |= {_inode(os.lstat(os.path.join(above, name))) for name in [*folders, *files]}
        return found

    def is_untouched_outside(self) -> bool:
        """Whether every name, inode and content outside the granted directory is what it was."""
        return self._outside() == self._before

    def _outside(self) -> dict[str, tuple[int, int, str]]:
        found = {}
        for above, folders, files in os.walk(self._above):
            if above == str(self._above):
                folders.remove("root")
            for name in [*folders, *files]:
                path = Path(above, name)
                inode = _inode(path.lstat())
                found[str(path)] = (*inode, path.read_text() if path.is_file() else "")
        return found


def _inode(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
