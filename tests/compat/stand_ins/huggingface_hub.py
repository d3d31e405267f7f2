"""In the place of the real package: hands out files that the test made, and nothing from a network."""

from __future__ import annotations

import json
import os


def hf_hub_download(repo_id: str, filename: str) -> str:
    """Return the stand-in for a model; one that has none is an error."""
    models: dict[str, str] = json.loads(os.environ["COMPAT_STAND_INS"])
    return models[repo_id]
