"""What the sanitizers find in llama.cpp itself, at the pinned commit, and what we make of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.sanitizers.reports import Finding


@dataclass(frozen=True)
class Known:
    """Findings that are no news."""

    kind: str
    """a pattern for the finding's kind"""
    place: str
    """a pattern for file:function"""
    reason: str
    """why it is harmless, or what stands before it"""

    def covers(self, finding: Finding) -> bool:
        return bool(re.search(self.kind, finding.kind) and re.search(self.place, finding.place))


KNOWN = [
    Known(
        "not a valid value for type '(llama_pooling_type|llama_ftype)'",
        r"llama\.cpp/src/|guard/calls\.cpp:operator",
        "a number from the metadata or from the caller that no enumerator has; it is compared, and switched "
        "on with a default. GCC takes the whole range of the type for possible (no -fstrict-enums)",
    ),
    Known(
        "not a valid value for type 'g(guf|gml)_type'",
        r"gguf\.cpp:gguf_init_from_reader",
        "the same, before gguf refuses it; our own reader does before that. Tests that compare both readers "
        "come there, and campaigns without the check",
    ),
    Known(
        "null pointer passed as argument",
        r"gguf\.cpp:gguf_writer_file::write",
        "fwrite of an empty array, whose data() may be NULL: nothing is read",
    ),
    Known(
        "division by zero",
        r"llama-kv-cells\.h:llama_kv_cells::pos_div",
        "seq_div by 0, refused by Memory.seq_div; tests/lifetime/killers.py switches that check off",
    ),
    Known(
        "member access within null pointer",
        r"llama-sampler\.cpp:llama_sampler_name",
        "a grammar that doesn't parse is NULL; Sampler refuses it, and tests/lifetime/killers.py goes by it",
    ),
    Known(
        "division by zero",
        r"rwkv6\.cpp:llama_model_rwkv6::load_arch_tensors",
        "wkv.head_size of 0, refused by model_checks before C sees it; tests of isolate= send it to die",
    ),
    Known(
        "reference binding to misaligned address",
        r"ggml-rpc\.cpp:rpc_server::graph_compute",
        "an RPC worker hashes a graph's tensors where they stand in the message, 4 bytes out of line, "
        "whatever the graph; x86-64 and arm64 read such numbers",
    ),
]


def known(finding: Finding) -> Known | None:
    """Return the row that covers a finding."""
    return next((each for each in KNOWN if each.covers(finding)), None)
