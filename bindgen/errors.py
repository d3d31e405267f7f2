"""The one exception that bindgen shows to its user."""

from __future__ import annotations

from .ir import Location


class BindgenError(Exception):
    """Something in the input that stops generation; the message begins with file:line."""

    def __init__(self, message: str, location: Location | None = None) -> None:
        self.location = location
        super().__init__(f"{location}: {message}" if location else message)
