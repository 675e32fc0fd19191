"""Skills that are folders: `<data directory>/skills/<name>/SKILL.md` and the files beside it, for agents to read.

    ---
    name: release-notes
    description: Writes release notes; use it before a release.
    ---
    Look at the log since the last tag ...

Reading only, and only below the folder: no link is followed, hidden files do not count. A folder that cannot be a skill
is passed over, and the log says why. They are the node's owner's; with `metadata: {visibility: public}` in the front
matter, everybody may read them.

Source: Agent Skills specification; Model Context Protocol extension `io.modelcontextprotocol/skills` (SEP-2640).
"""

import asyncio
import hashlib
import logging
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from mcp_core.catalog.front_matter import front_matter
from mcp_core.catalog.sources import contents, file_type
from mcp_interface.catalog import MAX_CONTENT
from mcp_interface.errors import CallerMistaken, NotFound, UmbrellaError
from mcp_interface.ids import PrincipalId
from mcp_interface.offers import (
    CATALOG,
    SKILL_DIGEST,
    SKILL_FRONT,
    SKILL_MANIFEST,
    SKILL_SCHEME,
    Contents,
    ResourceInfo,
)

log = logging.getLogger(__name__)

MAX_SKILLS: Final = 256
MAX_FILES: Final = 512
MAX_SIZE: Final = 16 * 1024 * 1024
"""Bytes of all files of one skill."""
MAX_DEPTH: Final = 16
"""Of folders in each other."""
_NAME: Final = re.compile(r"(?=.{1,64}\Z)[a-z0-9]+(?:-[a-z0-9]+)*")
_LONGEST: Final = 1_024
"""Characters of a description."""
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_Stamp = tuple[int, int, int]
"""Time of the last change in nanoseconds, size, and number on the disk."""


class SkillFile(msgspec.Struct, frozen=True):
    """One file of a skill."""

    path: str
    """Within the skill's folder, with slashes."""
    size: int
    sha256: str
    mime_type: str


class Skill(msgspec.Struct, frozen=True):
    """A skill, without what its files hold."""

    name: str
    front: dict[str, Any]
    files: list[SkillFile]

    @property
    def public(self) -> bool:
        """Whether everybody may read it."""
        metadata = self.front.get("metadata")
        return isinstance(metadata, dict) and metadata.get("visibility") == "public"


class Skills:
    """The skills of a folder, looked at anew each time; what has not changed is not read again.

    Args:
        folder: It need not be there.
        owner: Whose they are.
    """

    def __init__(self, folder: Path, owner: PrincipalId) -> None:
        self._folder = folder
        self._owner = owner
        self._known: dict[tuple[str, str], tuple[_Stamp, SkillFile]] = {}
        self._complained: dict[str, str] = {}
        self._looking = asyncio.Lock()

    async def listed(self, who: PrincipalId) -> list[ResourceInfo]:
        """Every file of the skills that somebody may read, each skill's manifest first."""
        async with self._looking:
            found = await asyncio.to_thread(self._look)
        return [
            _info(skill, file)
            for skill in found
            if who == self._owner or skill.public
            for file in sorted(skill.files, key=lambda file: (file.path != SKILL_MANIFEST, file.path))
        ]

    async def read(self, who: PrincipalId, uri: str) -> Contents:
        """What a file of a skill holds.

        Raises:
            NotFound: There is no such file, or none for them.
        """
        found = {info.uri: info for info in await self.listed(who)}
        if uri not in found:
            raise NotFound(f"no resource {uri[:200]!r}", "list them: umbrella resource list")
        async with self._looking:
            return await asyncio.to_thread(self._load, uri)

    def _look(self) -> list[Skill]:
        known, self._known = self._known, {}
        skills: list[Skill] = []
        names = self._folders()
        for name in names[:MAX_SKILLS]:
            try:
                skills.append(self._skill(name, known))
                self._complained.pop(name, None)
            except (OSError, UmbrellaError, UnicodeError) as error:
                self._complain(name, str(error))
        if len(names) > MAX_SKILLS:
            self._complain("", f"{len(names)} folders, only {MAX_SKILLS} are read")
        return skills

    def _folders(self) -> list[str]:
        try:
            with os.scandir(self._folder) as entries:
                return sorted(
                    entry.name
                    for entry in entries
                    if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
                )
        except FileNotFoundError:
            return []
        except OSError as error:
            self._complain("", str(error))
            return []

    def _complain(self, name: str, why: str) -> None:
        """Say once why a folder is passed over."""
        if self._complained.get(name) != why:
            self._complained[name] = why
            log.warning("%s is passed over as a skill: %s", self._folder / name, why)

    def _skill(self, name: str, known: dict[tuple[str, str], tuple[_Stamp, SkillFile]]) -> Skill:
        if _NAME.fullmatch(name) is None:
            raise CallerMistaken(
                "its name is not one of a skill", "use lower-case letters, digits and single '-'"
            )
        files: list[SkillFile] = []
        with self._opened(name) as folder:
            for path in _paths(folder):
                if len(files) >= MAX_FILES:
                    raise CallerMistaken(f"it has more than {MAX_FILES} files", "divide it")
                files.append(self._file(name, path, folder, known))
            if SKILL_MANIFEST not in {file.path for file in files}:
                raise CallerMistaken(f"it has no {SKILL_MANIFEST}", "write one")
            if sum(file.size for file in files) > MAX_SIZE:
                raise CallerMistaken(f"its files have more than {MAX_SIZE:,} bytes", "divide it")
            data, _ = _read(folder, SKILL_MANIFEST)
        return Skill(name, _checked(name, front_matter(data.decode())), files)

    def _file(
        self, name: str, path: str, folder: int, known: dict[tuple[str, str], tuple[_Stamp, SkillFile]]
    ) -> SkillFile:
        with _entered(folder, path) as (inside, last):
            stamp = _stamp(os.stat(last, dir_fd=inside, follow_symlinks=False))
        found = known.get((name, path))
        if found is None or found[0] != stamp:
            data, stamp = _read(folder, path)
            file = SkillFile(path, len(data), hashlib.sha256(data).hexdigest(), _type(path, data))
            found = (stamp, file)
        self._known[name, path] = found
        return found[1]

    def _load(self, uri: str) -> Contents:
        for (name, path), (_, file) in self._known.items():
            if _uri(name, path) == uri:
                try:
                    with self._opened(name) as folder:
                        data, _ = _read(folder, path)
                except OSError as error:
                    raise NotFound(f"no resource {uri[:200]!r}: it is gone", "list them again") from error
                return contents(uri, file.mime_type, data)
        raise NotFound(f"no resource {uri[:200]!r}", "list them again")

    @contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        folder = os.open(self._folder / name, _FOLDER)
        try:
            yield folder
        finally:
            os.close(folder)


def _info(skill: Skill, file: SkillFile) -> ResourceInfo:
    begins = file.path == SKILL_MANIFEST
    meta: dict[str, Any] = {SKILL_DIGEST: f"sha256:{file.sha256}"}
    return ResourceInfo(
        server=CATALOG,
        uri=_uri(skill.name, file.path),
        name=skill.name if begins else file.path.rpartition("/")[2],
        description=str(skill.front["description"]) if begins else "",
        mime_type=file.mime_type,
        size=file.size,
        meta={**meta, SKILL_FRONT: skill.front} if begins else meta,
    )


def _uri(name: str, path: str) -> str:
    return f"{SKILL_SCHEME}{name}/{quote(path, safe='/')}"


def _type(path: str, data: bytes) -> str:
    return "text/markdown" if path.endswith(".md") else file_type(path, data)


def _checked(name: str, front: dict[str, Any]) -> dict[str, Any]:
    """A front matter that may be a skill's.

    Raises:
        CallerMistaken: Its name is not the folder's, or it does not say what it is for.
    """
    if front.get("name") != name:
        raise CallerMistaken(f"its front matter names it {front.get('name')!r}", f"write name: {name}")
    description = front.get("description")
    if not isinstance(description, str) or not description.strip() or len(description) > _LONGEST:
        raise CallerMistaken(f"it has no description of at most {_LONGEST} characters", "say when to use it")
    return front


# -- below one folder, and nowhere else ------------------------------------------------------------------


def _paths(folder: int, within: str = "", depth: int = 0) -> Iterator[str]:
    """The plain files below an open folder, by path; links, special and hidden ones are none of the skill's."""
    if depth > MAX_DEPTH:
        raise CallerMistaken(f"its folders are more than {MAX_DEPTH} deep", "make them flatter")
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        entry.name.encode()  # a name that is no text could not be asked for
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            inner = os.open(entry.name, _FOLDER, dir_fd=folder)
            try:
                yield from _paths(inner, f"{within}{entry.name}/", depth + 1)
            finally:
                os.close(inner)
        elif entry.is_file(follow_symlinks=False):
            yield f"{within}{entry.name}"


@contextmanager
def _entered(folder: int, path: str) -> Iterator[tuple[int, str]]:
    """The open folder that holds a file, and the file's own name; every step refuses links."""
    *folders, last = path.split("/")
    inside = os.dup(folder)
    try:
        for name in folders:
            inner = os.open(name, _FOLDER, dir_fd=inside)
            os.close(inside)
            inside = inner
        yield inside, last
    finally:
        os.close(inside)


def _read(folder: int, path: str) -> tuple[bytes, _Stamp]:
    """What a plain file holds, and its stamp from before that.

    Raises:
        CallerMistaken: It is no plain file, or too large.
        OSError: It cannot be read, or is a link.
    """
    with _entered(folder, path) as (inside, last):
        descriptor = os.open(last, _FILE, dir_fd=inside)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CallerMistaken(f"{path[:200]} is no plain file", "take it away")
        data = file.read(MAX_CONTENT + 1)
    if len(data) > MAX_CONTENT:
        raise CallerMistaken(f"{path[:200]} has more than {MAX_CONTENT:,} bytes", "make it smaller")
    return data, _stamp(status)


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ino
