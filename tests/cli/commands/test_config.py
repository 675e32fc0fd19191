"""Settings are shown with their origin, checked, and opened in an editor."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mcp_cli.main import cli


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "cfg"))
    monkeypatch.chdir(tmp_path)
    for name in ("UMBRELLA_THEME", "UMBRELLA_MODEL", "VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    place = tmp_path / "cfg" / "umbrella" / "config.toml"
    place.parent.mkdir(parents=True)
    return place


def config(*words: str) -> Result:
    return CliRunner().invoke(cli, ["--data-dir", "data", *words], catch_exceptions=False)


def test_each_setting_is_shown_with_its_origin(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no file of settings yet" in config("config", "show").stdout
    file.write_text("[ui]\nmouse = false\n[ask]\nmax_cost = 0.5\n")
    monkeypatch.setenv("UMBRELLA_THEME", "light")
    told = json.loads(config("--format", "json", "config", "show", "--origin").stdout)
    found = {each["key"]: (each["value"], each["origin"]) for each in told}
    assert found["ui.mouse"] == (False, str(file)) and found["ask.max_cost"] == (0.5, str(file))
    assert found["ui.theme"] == ("light", "$UMBRELLA_THEME") and found["ask.output"] == ("text", "default")
    shown = config("config", "show", "--origin").stdout
    assert "$UMBRELLA_THEME" in shown and str(file) in shown
    assert json.loads(config("--format", "json", "config", "show").stdout)["ui.mouse"] is False


def test_every_file_is_checked_and_a_broken_one_is_told_with_line_and_suggestion(file: Path) -> None:
    assert config("config", "validate").exit_code == 0
    file.write_text("[ui]\nmuose = true\n")
    data = file.parents[2] / "data"
    data.mkdir()
    (data / "config.toml").write_text("[telemetry]\nmetrics = 3\n")
    project = file.parents[2] / ".umbrella"
    project.mkdir()
    (project / "config.toml").write_text('[models]\ndefault = "x"\n')
    result = config("--format", "json", "config", "validate")
    assert result.exit_code == 2
    mine, theirs, node = json.loads(result.stdout)
    assert {each["state"] for each in (mine, theirs, node)} == {"broken"}
    assert mine["problem"].startswith("line 2") and "did you mean `mouse`" in mine["problem"]
    assert "`models`" in theirs["problem"] and "metrics" in node["problem"]
    assert config("config", "show").exit_code == 2
    assert config("config", "validate", str(file)).exit_code == 2
    assert config("config", "validate", "absent.toml").exit_code == 2


def test_the_editor_begins_with_every_setting_as_a_comment_and_the_result_is_checked(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITOR", "true")
    assert config("config", "edit").exit_code == 0
    assert file.stat().st_mode & 0o077 == 0
    text = file.read_text()
    # each of the comments is a setting that is allowed
    lines = [line.removeprefix("# ") for line in text.splitlines()[3:]]
    file.write_text("\n".join(lines))
    checked = config("config", "validate")
    assert checked.exit_code == 0, checked.stdout
    monkeypatch.setenv("VISUAL", "sh -c 'echo \"[ui]\nthem = 1\" > $0'")
    broken = config("config", "edit")
    assert broken.exit_code == 2 and "did you mean `theme`" in broken.stderr
    for editor in ("false", "no-such-editor-at-all", "'"):
        monkeypatch.setenv("VISUAL", editor)
        failed = config("config", "edit")
        assert failed.exit_code == 2 and "editor" in failed.stderr


def test_the_doctor_finds_broken_settings(file: Path) -> None:
    def settings() -> dict[str, str]:
        told = json.loads(config("--format", "json", "doctor").stdout)
        return next(check for check in told["checks"] if check["name"] == "settings")

    assert (settings()["status"], settings()["detail"]) == ("ok", "none but the defaults")
    file.write_text("[ui]\nmuose = true\n")
    assert settings()["status"] == "error" and "did you mean `mouse`" in settings()["detail"]
