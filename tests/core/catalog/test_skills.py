"""Skills that are folders: what is listed, what is passed over, and that nothing outside a folder is ever read."""

import asyncio
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.catalog.front_matter import front_matter
from mcp_core.catalog.skills import MAX_FILES, Skills
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.ids import PrincipalId
from mcp_interface.offers import SKILL_DIGEST, SKILL_FRONT, ResourceInfo

OWNER, STRANGER = PrincipalId("user_owner"), PrincipalId("user_stranger")
FRONT = "---\nname: {name}\ndescription: Counts things.\n---\nCount.\n"


def skill(folder: Path, name: str = "counting", text: str | None = None) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "SKILL.md").write_text(FRONT.format(name=name) if text is None else text)
    return folder / name


def listed(skills: Skills, who: PrincipalId = OWNER) -> dict[str, ResourceInfo]:
    return {info.uri: info for info in asyncio.run(skills.listed(who))}


def test_a_skill_is_listed_with_the_digest_size_and_front_matter_of_its_files(tmp_path: Path) -> None:
    place = skill(tmp_path)
    (place / "data").mkdir()
    (place / "data" / "a b.bin").write_bytes(b"\0\1\2")
    found = listed(Skills(tmp_path, OWNER))
    assert list(found) == ["skill://counting/SKILL.md", "skill://counting/data/a%20b.bin"]
    manifest, data = found.values()
    assert (manifest.name, manifest.description, manifest.mime_type) == (
        "counting",
        "Counts things.",
        "text/markdown",
    )
    assert manifest.meta[SKILL_FRONT] == {"name": "counting", "description": "Counts things."}
    assert data.size == 3
    assert data.meta == {SKILL_DIGEST: f"sha256:{hashlib.sha256(bytes([0, 1, 2])).hexdigest()}"}


def test_what_is_read_is_what_the_digest_was_made_of(tmp_path: Path) -> None:
    place = skill(tmp_path, text="\ufeff---\r\nname: counting\r\ndescription: ü\r\n---\r\n")
    (place / "raw").write_bytes(b"\xff\xfe")
    skills = Skills(tmp_path, OWNER)
    for uri, info in listed(skills).items():
        read = asyncio.run(skills.read(OWNER, uri))
        data = read.blob if read.text is None else read.text.encode()
        assert data is not None
        assert info.size == len(data)
        assert info.meta[SKILL_DIGEST] == f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_a_changed_file_has_another_digest_at_once(tmp_path: Path) -> None:
    place = skill(tmp_path)
    skills = Skills(tmp_path, OWNER)
    before = listed(skills)["skill://counting/SKILL.md"]
    (place / "SKILL.md").write_text(FRONT.format(name="counting") + "More.\n")
    after = listed(skills)["skill://counting/SKILL.md"]
    assert after.meta[SKILL_DIGEST] != before.meta[SKILL_DIGEST]


def test_links_special_and_hidden_files_are_no_part_of_a_skill(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    folder = tmp_path / "skills"
    place = skill(folder)
    (place / "link").symlink_to(secret)
    (place / "up").symlink_to(tmp_path)
    (place / ".hidden").write_text("x")
    os.mkfifo(place / "pipe")
    (folder / "elsewhere").symlink_to(place)
    skills = Skills(folder, OWNER)
    assert list(listed(skills)) == ["skill://counting/SKILL.md"]
    for path in ("link", "up/secret", "../secret", "../../secret", "pipe", ".hidden", "%2e%2e/secret"):
        with pytest.raises(NotFound):
            asyncio.run(skills.read(OWNER, f"skill://counting/{path}"))


def test_a_file_that_became_a_link_after_it_was_listed_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    place = skill(tmp_path / "skills")
    (place / "notes.md").write_text("notes")
    skills = Skills(tmp_path / "skills", OWNER)
    listed(skills)
    (place / "notes.md").unlink()
    (place / "notes.md").symlink_to(secret)
    with pytest.raises(NotFound):
        skills._load("skill://counting/notes.md")


def test_a_skill_is_its_owners_unless_it_says_that_it_is_public(tmp_path: Path) -> None:
    skill(tmp_path)
    skill(
        tmp_path,
        "open",
        "---\nname: open\ndescription: For all.\nmetadata:\n  visibility: public\n---\n",
    )
    skills = Skills(tmp_path, OWNER)
    assert list(listed(skills)) == ["skill://counting/SKILL.md", "skill://open/SKILL.md"]
    assert list(listed(skills, STRANGER)) == ["skill://open/SKILL.md"]
    with pytest.raises(NotFound) as theirs:
        asyncio.run(skills.read(STRANGER, "skill://counting/SKILL.md"))
    with pytest.raises(NotFound) as nobodys:
        asyncio.run(skills.read(STRANGER, "skill://absent/SKILL.md"))
    assert str(theirs.value) == str(nobodys.value).replace("absent", "counting")


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("other", FRONT.format(name="another"), "names it 'another'"),
        ("Upper", FRONT.format(name="Upper"), "its name is not one"),
        ("a--b", FRONT.format(name="a--b"), "its name is not one"),
        ("bare", "# Only text\n", "no front matter"),
        ("silent", "---\nname: silent\n---\n", "no description"),
        ("list", "---\n- a\n---\n", "names no fields"),
        ("broken", "---\nname: [\n---\n", "cannot be read"),
        ("loop", "---\nname: loop\ndescription: x\na: &a [*a]\n---\n", "more than"),
    ],
)
def test_what_cannot_be_a_skill_is_passed_over_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, text: str, why: str
) -> None:
    skill(tmp_path, name, text)
    skill(tmp_path)
    skills = Skills(tmp_path, OWNER)
    assert list(listed(skills)) == ["skill://counting/SKILL.md"]
    assert why in caplog.text
    caplog.clear()
    listed(skills)
    assert not caplog.text


def test_a_skill_of_too_many_files_is_passed_over(tmp_path: Path) -> None:
    place = skill(tmp_path)
    for number in range(MAX_FILES):
        (place / f"{number}").touch()
    assert not listed(Skills(tmp_path, OWNER))


def test_without_a_folder_there_are_no_skills(tmp_path: Path) -> None:
    assert not listed(Skills(tmp_path / "absent", OWNER))


def test_only_what_yaml_1_2_takes_for_more_than_text_is_more() -> None:
    text = (
        "---\nyes: yes\nday: 2026-11-22\ntime: 12:30:00\noctal: 0o17\nzero: 017\nnone: ~\n"
        "on: true\nshare: .5\nbig: 1e3\nwords: 1_000\nmerge: {'<<': {a: 1}}\n---\n"
    )
    assert front_matter(text) == {
        "yes": "yes",
        "day": "2026-11-22",
        "time": "12:30:00",
        "octal": 15,
        "zero": 17,
        "none": None,
        "on": True,
        "share": 0.5,
        "big": 1000.0,
        "words": "1_000",
        "merge": {"<<": {"a": 1}},
    }


def test_a_small_file_that_grows_without_end_is_refused() -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 12)]
    with pytest.raises(CallerMistaken, match="more than"):
        front_matter("---\n" + "\n".join(lines) + "\n---\n")


@given(st.text(max_size=300))
def test_any_text_is_fields_or_a_typed_error(text: str) -> None:
    try:
        fields = front_matter(f"---\n{text}\n---\n")
    except CallerMistaken:
        return
    assert isinstance(fields, dict)
