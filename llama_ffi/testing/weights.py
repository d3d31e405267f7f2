"""Random weights: the same for the same seed and tensor name, everywhere and for ever.

They keep activations at the size of one whatever the network, so that no output drowns in rounding errors.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from zlib import crc32

from .._core import check
from .._core import text as text_
from ..errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_MOST = 2**31 - 1


def random_weights(name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Return the values of one tensor.

    Arguments:
        name: its name, "blk.0.attn_q.weight" for example.
        shape: its shape, the rows' length last: 1 to 4 extents, 1 to 2³¹ - 1 elements in all.
        seed: 0 to 2³² - 1.

    Returns:
        float32 of that shape, a new array.

    Raises:
        InvalidArgumentError: a seed or a shape out of its range.

    Threads: any.
    """
    import numpy as np

    check.instance("name", name, str)
    seed = check.integer("seed", seed, 0, 2**32 - 1)
    extents = [
        check.integer("an extent of shape", each, 1, _MOST)
        for each in check.listed("shape", shape, "extents")
    ]
    if not 1 <= len(extents) <= 4 or math.prod(extents) > _MOST:
        raise InvalidArgumentError(
            f"shape is {tuple(extents)}; tensors have 1 to 4 extents, and {_MOST} elements are possible"
        )
    # RandomState's numbers are fixed for ever, those of numpy's newer generators are not
    random = np.random.RandomState([seed, crc32(text_.encode(name, "name"))])
    values: NDArray[np.float32] = random.standard_normal(tuple(extents)).astype(np.float32)
    shaped: NDArray[np.float32] = _shaped(name, values, np)
    return shaped


def _shaped(name: str, values: Any, np: Any) -> Any:
    """Return standard normal numbers as what this tensor needs."""
    if "rope_f" in name:  # frequency factors divide: they must stay away from 0
        return 1 + np.float32(0.1) * np.abs(values)
    if "ssm_a" in name:  # a decay
        return -np.exp(values)
    if "scale" in name or ("norm" in name and not name.endswith("bias")):
        return 1 + np.float32(0.1) * values
    if values.ndim == 1:
        return np.float32(0.1) * values
    if name.startswith("token_embd"):
        return values
    return values / np.float32(np.sqrt(values.shape[-1]))
