"""Start another Python that finds the modules which this one finds, and none in the current folder.

``python -c`` looks into the current folder before anywhere else: a ``json.py`` that somebody put beside his
model would be run.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ..errors import UnsupportedError

_PACKAGES = str(Path(__file__).resolve().parent.parent.parent)


def command(code: str, purpose: str) -> list[str]:
    """Return the command that runs ``code`` in another Python, with this one's ``sys.path``.

    Arguments:
        code: statements; the package can be imported.
        purpose: what needs the second Python, for the errors.

    Raises:
        UnsupportedError: no other Python can be started.
    """
    if not sys.executable:
        raise UnsupportedError(f"{purpose} starts a second Python, and sys.executable is empty here")
    if getattr(sys, "frozen", False):
        raise UnsupportedError(
            f"{purpose} starts a second Python; in this frozen program that would be the program itself "
            f"({sys.executable})"
        )
    # What is empty stands for the current folder.
    places = [place for place in sys.path if isinstance(place, str) and place]
    if _PACKAGES not in places:
        places.insert(0, _PACKAGES)
    return [sys.executable, "-c", f"import sys; sys.path[:] = sys.argv[1:]; {code}", *places]
