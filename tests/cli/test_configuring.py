"""Which setting counts, and where it comes from."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_cli.configuring import DEFAULT, default_model, load, project_file
from mcp_interface.errors import CallerMistaken

PROJECT = ".umbrella/config.toml"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".config" / "umbrella").mkdir(parents=True)
    (tmp_path / "work" / ".umbrella").mkdir(parents=True)
    (tmp_path / "work" / "deep").mkdir()
    return tmp_path


def write(home: Path, mine: str = "", project: str = "") -> Mapping[str, str]:
    (home / ".config" / "umbrella" / "config.toml").write_text(mine)
    (home / "work" / PROJECT).write_text(project)
    return {"HOME": str(home)}


def test_without_any_file_defaults_count(tmp_path: Path) -> None:
    config = load({}, tmp_path)
    assert {setting.origin for setting in config.settings} == {DEFAULT}
    assert (config.ask.output, config.ask.timeout, config.ui.mouse) == ("text", "10m", True)


def test_the_environment_comes_before_the_project_and_the_project_before_the_person(home: Path) -> None:
    environ = write(
        home,
        mine='[ui]\ntheme = "mine"\nmouse = false\nnotifications = false\n[models]\ndefault = "mine"',
        project='[ui]\ntheme = "project"\nmouse = true',
    )
    folder = home / "work" / "deep"
    config = load({**environ, "UMBRELLA_THEME": "environment"}, folder)
    assert (config.ui.theme, config.ui.mouse, config.ui.notifications) == ("environment", True, False)
    origins = {setting.key: setting.origin for setting in config.settings}
    assert origins["ui.theme"] == "$UMBRELLA_THEME"
    assert origins["ui.mouse"] == str(home / "work" / PROJECT)
    assert origins["ui.notifications"].startswith(str(home / ".config"))
    assert (origins["ask.output"], load(environ, folder).ui.theme) == (DEFAULT, "project")
    assert default_model(config, {}) == "mine"
    assert default_model(config, {"OPENAI_MODEL": "x"}) == ""  # the node is lent it


BOUNDS = st.none() | st.integers(0, 1000)


@settings(max_examples=25)
@given(BOUNDS, BOUNDS)
def test_a_project_never_raises_what_a_turn_may_cost(mine: int | None, project: int | None) -> None:
    with TemporaryDirectory() as name:
        home = Path(name)
        (home / ".config" / "umbrella").mkdir(parents=True)
        (home / "work" / ".umbrella").mkdir(parents=True)
        texts = ["" if bound is None else f"[ask]\nmax_tokens = {bound}" for bound in (mine, project)]
        found = load(write(home, *texts), home / "work").ask.max_tokens
    assert found == min((bound for bound in (mine, project) if bound is not None), default=None)


def test_a_broken_file_is_named(home: Path) -> None:
    with pytest.raises(CallerMistaken, match=r"work/.umbrella/config.toml, line 1.*`models`"):
        load(write(home, project="[models]"), home / "work")
    with pytest.raises(CallerMistaken, match="did you mean `theme`"):
        load(write(home, mine="[ui]\nthem = 'x'"), home)


def test_a_file_of_somebody_else_above_a_folder_is_not_read(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = write(home, project='[ui]\ntheme = "theirs"')
    file = home / "work" / PROJECT
    real = Path.lstat
    assert project_file(home / "work") == file
    for strange in (file, file.parent):

        def owned(path: Path, strange: Path = strange) -> os.stat_result:
            told = list(real(path))
            if path == strange:
                told[stat.ST_UID] = 4711
            return os.stat_result(told)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "lstat", owned)
            assert project_file(home / "work") is None
            assert load(environ, home / "work").ui.theme == ""


def test_a_projects_file_that_is_a_link_or_lies_in_one_or_is_a_pipe_is_not_read(home: Path) -> None:
    environ = write(home, project="")
    file = home / "work" / PROJECT
    (home / "other").mkdir()
    (home / "other" / "config.toml").write_text('[ui]\ntheme = "theirs"')
    for target in ("/dev/zero", str(home / "other" / "config.toml")):
        file.unlink()
        file.symlink_to(target)
        assert project_file(home / "work" / "deep") is None
        assert load(environ, home / "work").ui.theme == ""
    file.unlink()
    os.mkfifo(file)
    assert project_file(home / "work") is None
    file.unlink()
    file.parent.rmdir()
    file.parent.symlink_to(home / "other")
    assert project_file(home / "work") is None
