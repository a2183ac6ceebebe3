"""The page of the link says what its description says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_page_is_that_of_the_description() -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / "tools/link-reference")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (ROOT / "docs/link.md").read_text() == made.stdout, "run tools/link-reference"
