"""What a node is told before it starts, by its environment and a person's file."""

from pathlib import Path

import pytest

from mcp_core.settings import CONFIG, DatabaseSource, Settings, read_databases, read_entrance
from mcp_interface.errors import CallerMistaken

GOOD = """
[databases.shop]
url = "sqlite:///srv/shop.db"

[databases.sales_2]
url = "postgresql://agent:${SALES_PASSWORD}@db.example.org/sales"
role = "readers"
"""


def load(folder: Path, text: str) -> dict[str, DatabaseSource]:
    (folder / CONFIG).write_text(text)
    return read_databases(folder)


def test_databases_come_from_the_file_with_their_references_as_they_are(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD) == {
        "shop": DatabaseSource(url="sqlite:///srv/shop.db"),
        "sales_2": DatabaseSource(
            url="postgresql://agent:${SALES_PASSWORD}@db.example.org/sales", role="readers"
        ),
    }


def test_without_a_file_there_are_none(tmp_path: Path) -> None:
    assert read_databases(tmp_path) == {}
    assert load(tmp_path, "") == {}


def test_the_environment_names_the_directory_and_a_broken_file_locks_no_client_out(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text("[databases")
    settings = Settings.load(None, {"UMBRELLA_DATA_DIR": str(tmp_path)})
    assert settings.data_dir == tmp_path and settings.databases is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[databases", "table declaration"),
        (f"databases = {'[' * 20_000}", "cannot be read"),
        ("databases = 1", "databases"),
        ("[database.shop]\nurl = 'sqlite:///x'", "`database`"),
        ("[databases.shop]", "url"),
        ("[databases.shop]\nurl = 1", "databases[...].url"),
        ("[databases.shop]\nurl = ''", "url"),
        ("[databases.shop]\nurl = 'hunter2.db'", "sqlite:///"),
        ("[databases.shop]\nurl = 'mysql://u:hunter2@h/d'", "postgres"),
        ("[databases.shop]\nurl = '${HUNTER2}'", "regex"),
        ("[databases.shop]\nurl = 'sqlite:///x'\npassword = 'hunter2'", "`password`"),
        ("[databases.shop]\nurl = 'sqlite:///x'\nrole = ''", "role"),
        ("[databases.'a/b']\nurl = 'sqlite:///x'", "key"),
        ("[databases.Shop]\nurl = 'sqlite:///x'", "key"),
        ("[databases.'*']\nurl = 'sqlite:///x'", "key"),
    ],
)
def test_a_bad_file_is_refused_by_name_key_and_rule_and_never_quoted(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(CallerMistaken) as caught:
        load(tmp_path, text)
    assert str(tmp_path / CONFIG) in caught.value.message
    assert told in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_bytes(b"\xff\xfe")
    with pytest.raises(CallerMistaken, match="cannot be read"):
        read_databases(tmp_path)
    (tmp_path / CONFIG).unlink()
    (tmp_path / CONFIG).mkdir()
    with pytest.raises(CallerMistaken, match="cannot be read"):
        read_databases(tmp_path)


def test_no_value_of_the_file_or_the_environment_is_shown(tmp_path: Path) -> None:
    databases = load(tmp_path, GOOD.replace("${SALES_PASSWORD}", "hunter2"))
    settings = Settings(data_dir=tmp_path, databases=databases, environ={"X": "hunter2"})
    assert "hunter2" not in f"{settings!r} {settings.databases!r} {settings.__rich_repr__()}"


def test_who_may_come_in_without_a_key_is_read_from_the_configuration(tmp_path: Path) -> None:
    mcp, oauth = read_entrance(tmp_path)
    assert mcp.anonymous_principal is None and oauth is None
    person = "user_" + "1" * 32
    (tmp_path / "config.toml").write_text(
        f'[mcp]\nanonymous_principal = "{person}"\n'
        '[oauth]\nissuer = "https://issuer.example.org"\naudience = "https://example.org/mcp"\n'
        f'jwks = "/etc/keys.json"\n[oauth.principals]\n"ann" = "{person}"\n'
    )
    mcp, oauth = read_entrance(tmp_path)
    assert mcp.anonymous_principal == person
    assert oauth is not None and oauth.principals == {"ann": person}


@pytest.mark.parametrize(
    "text",
    [
        '[mcp]\nanonymous_principal = "agent_1"',
        "[mcp]\nopen = true",
        '[oauth]\nissuer = "https://x"\naudience = "y"',
        '[oauth]\nissuer = "ftp://x"\naudience = "y"\njwks = "/k"',
        '[oauth]\nissuer = "https://x"\naudience = "y"\njwks = "keys.json"',
        '[oauth]\nissuer = "https://x"\naudience = "y"\njwks = "/k"\nprincipals = { ann = "everybody" }',
    ],
)
def test_an_entrance_that_breaks_a_rule_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(CallerMistaken, match=r"config\.toml"):
        read_entrance(tmp_path)
