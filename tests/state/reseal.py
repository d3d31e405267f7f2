"""State files that were changed and sealed again, so that no checksum gives the change away."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

_FIXED = struct.Struct("<8sIIQQ")


def parts(data: bytes) -> tuple[dict[str, Any], bytes, bytes]:
    """Return (description, tokens, payload) of a state file."""
    _magic, n_description, n_tokens, begin, _stored = _FIXED.unpack_from(data)
    end = 64 + n_description
    return json.loads(data[64:end]), data[end : end + n_tokens], data[begin:]


def seal(description: dict[str, Any], tokens: bytes, payload: bytes) -> bytes:
    """Put the parts together with right digests and lengths."""
    text = json.dumps(description).encode()
    begin = -(-(64 + len(text) + len(tokens)) // 4096) * 4096
    fixed = _FIXED.pack(b"LFFISTA\n", len(text), len(tokens), begin, len(payload))
    digest = hashlib.sha256(fixed + text + tokens).digest()
    return (fixed + digest + text + tokens).ljust(begin, b"\0") + payload


def with_header(data: bytes, **changes: Any) -> bytes:
    """Return the file with another description, rightly sealed."""
    description, tokens, payload = parts(data)
    return seal(description | changes, tokens, payload)


def with_payload(data: bytes, payload: bytes) -> bytes:
    """Return the file with another payload, rightly sealed."""
    description, tokens, _ = parts(data)
    description |= {"length": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}
    return seal(description, tokens, payload)
