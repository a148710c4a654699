"""This checkout, and the cache: the folder for what is downloaded and made."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("PYIOCP_CACHE") or HERE / ".cache").absolute()
