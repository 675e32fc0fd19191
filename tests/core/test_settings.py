"""What a node is told before it starts, by its environment and a person's file."""

import os
from pathlib import Path

import pytest

from mcp_core.settings import (
    CONFIG,
    MAX_CONFIG,
    DatabaseSource,
    ModelCard,
    ModelSettings,
    ProjectConfig,
    Settings,
    UserConfig,
    read_config,
    read_databases,
    read_entrance,
    read_models,
    user_file,
)
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


def user_config(home: Path, text: str) -> dict[str, str]:
    """Write a person's file; returns the environment that leads to it."""
    file = home / ".config" / "umbrella" / "config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return {"HOME": str(home)}


def test_a_persons_file_is_where_the_standard_says() -> None:
    assert user_file({"XDG_CONFIG_HOME": "/srv/cfg", "HOME": "/home/x"}) == Path(
        "/srv/cfg/umbrella/config.toml"
    )
    assert user_file({"XDG_CONFIG_HOME": "cfg", "HOME": "/home/x"}) == Path(
        "/home/x/.config/umbrella/config.toml"
    )
    assert user_file({}) is None


def test_what_the_node_says_of_models_comes_over_what_the_person_says(tmp_path: Path) -> None:
    environ = user_config(
        tmp_path,
        '[models]\ndefault = "mine"\nfallback = ["other"]\n[models.cards.mine]\ninput_price = 1\n'
        '[models.cards.other]\ninput_price = 2\n[ui]\ntheme = "light"\n',
    )
    (tmp_path / CONFIG).write_text('[models]\ndefault = "its"\n[models.cards.mine]\noutput_price = 3\n')
    assert read_models(tmp_path, environ) == ModelSettings(
        default="its",
        fallback=["other"],
        cards={"mine": ModelCard(output_price=3), "other": ModelCard(input_price=2)},
    )
    assert read_models(tmp_path, {}).fallback == []
    assert read_models(tmp_path / "none", {}) == ModelSettings()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[models]\ndefualt = 'x'", "line 2: .*`defualt`.*did you mean `default`"),
        ("\n[modles]\ndefault = 'x'", "line 2: .*`modles`.*did you mean `models`"),
        ("[models.cards.'a.b']\n\ninput_prize = 1", "line 3: .*did you mean `input_price`"),
        ("[models]\n[models.cards.x]\ninput_price = -1", r"line 3: .*models.cards\[...\].input_price"),
        ("[models]\ncards.x.input_price = 'hunter2'", r"line 2: .*Expected `float"),
        ("[ask]\noutput = 'yaml'", "line 2: .*ask.output"),
        ("[budget]\nmax_tokens = 1.5", "line 2: .*budget.max_tokens"),
        ("[ui]\nzzz = 1", r"line 2: .*`zzz` - at `..ui` \("),
        ("[databases.x]\nurl = 'sqlite:///x'", "line 1: .*`databases`"),
        ("ui = 1", "line 1: .*ui"),
        ("[ui]\ntheme = \nmouse = true", "cannot be read.*line 2"),
    ],
)
def test_a_mistake_in_a_persons_file_is_told_with_its_line_and_what_was_meant(
    tmp_path: Path, text: str, told: str
) -> None:
    environ = user_config(tmp_path, text)
    with pytest.raises(CallerMistaken, match=told) as caught:
        read_models(tmp_path / "data", environ)
    assert "umbrella/config.toml" in caught.value.message and "hunter2" not in str(caught.value)


def test_a_projects_file_may_choose_nothing_that_costs_sends_or_allows(tmp_path: Path) -> None:
    for section in ("models", "budget", "databases", "mcp", "oauth", "telemetry"):
        (tmp_path / CONFIG).write_text(f"[{section}]\n")
        with pytest.raises(CallerMistaken, match=rf"`{section}`") as caught:
            read_config(tmp_path / CONFIG, ProjectConfig)
        assert caught.value.remedy.endswith("[ask] [ui]")
    (tmp_path / CONFIG).write_text("[ask]\nmodel = 'x'")
    with pytest.raises(CallerMistaken, match="`model`"):
        read_config(tmp_path / CONFIG, ProjectConfig)


def test_what_is_no_plain_file_or_too_long_is_refused_at_once(tmp_path: Path) -> None:
    pipe, folder, huge, device = (tmp_path / name for name in ("pipe", "folder", "huge", "device"))
    os.mkfifo(pipe)
    folder.mkdir()
    huge.write_text("#" * (MAX_CONFIG + 1))
    device.symlink_to("/dev/zero")
    before = len(os.listdir("/dev/fd"))
    for kind in (UserConfig, ProjectConfig):
        for file, told in (
            (pipe, "regular"),
            (folder, "regular"),
            (huge, str(MAX_CONFIG)),
            (device, "device"),
        ):
            with pytest.raises(CallerMistaken, match=told) as caught:
                read_config(file, kind)
            assert caught.value.remedy
    assert len(os.listdir("/dev/fd")) == before
    huge.write_text("#" * MAX_CONFIG)
    assert read_config(huge, ProjectConfig) == {}


def test_a_link_is_followed_to_a_persons_file_and_never_to_a_projects(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("[ui]\ntheme = 'x'")
    (tmp_path / CONFIG).symlink_to(tmp_path / "real")
    assert read_config(tmp_path / CONFIG, UserConfig) == {"ui": {"theme": "x"}}
    with pytest.raises(CallerMistaken, match="cannot be read"):
        read_config(tmp_path / CONFIG, ProjectConfig)
