"""Strategies that several tests share live in `tests/strategies.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
