"""The README's quick start prints what the README says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_quick_start_prints_what_it_says(tmp_path: Path) -> None:
    text = README.read_text()
    found = re.search(r"```python\n(.*?)```\n\nThis prints `(.*?)`", text, re.S)
    assert found
    code, said = found.groups()
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == said
