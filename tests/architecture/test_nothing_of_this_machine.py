"""The repository works anywhere: nothing in it names the machine or the mirror it was written on."""

import re
from pathlib import Path

# Put together here, so that this file does not hold what it looks for.
FOREIGN = {
    "a folder of one machine": re.compile(r"(?<![\w.}*-])/(?:work|root)" + r"/(?!\.\.)"),
    "a package registry": re.compile(
        r"pypi\."
        + r"org/simple|files\.python"
        + r"hosted\.org|registry\.npm"
        + r"js\.org|registry\.yarn"
        + r"pkg"
    ),
    "a configured index": re.compile(r"(?:extra-)?index-" + r"url\s*=|\[\[tool\.uv\." + r"index\]\]"),
}
MAX_BYTES = 2 * 1024 * 1024


def test_no_file_names_this_machine_or_a_registry(root: Path, files: list[Path]) -> None:
    patterns = dict(FOREIGN)
    if len(root.parts) > 2:
        patterns["the folder of this checkout"] = re.compile(re.escape(str(root)) + r"\b")
    found = []
    for file in files:
        data = (root / file).read_bytes()
        if len(data) > MAX_BYTES or b"\0" in data:
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), start=1):
            found += [
                f"{file}:{number}: {what}" for what, pattern in patterns.items() if pattern.search(line)
            ]
    assert found == []
