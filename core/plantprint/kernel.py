"""Rule R1 compiled for the processor, where the optional package `numba` is installed; `divide_arrays` decides when."""

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Ints = NDArray[np.int64]
Shares = Callable[[_Ints, _Ints], _Ints]


@lru_cache(maxsize=1)
def compiled_shares() -> Shares | None:
    """A function of amounts [...] and weights [..., n] → shares [..., n], or None without the package.

    As in `divide_arrays` a quotient is estimated in float64 and corrected by its exact remainder, so the same bounds
    must hold; then so do the same integers. Importing and loading it takes a second, once in a process.
    """
    try:
        numba: Any = import_module("numba")  # Optional, and slow to load.
    except ImportError:
        return None

    def compiled(*, cache: bool) -> Shares:
        signature = ["(int64, int64[:], int64[:])"]
        made: Shares = numba.guvectorize(signature, "(),(n)->(n)", cache=cache)(_shares)
        return made

    try:
        return compiled(cache=True)
    except RuntimeError:  # Neither this folder nor the user's can be written to: then it is compiled in every process.
        return compiled(cache=False)


def _shares(amount: int, weights: _Ints, out: _Ints) -> None:
    total = 0
    for weight in weights:
        total += weight
    equal = total == 0
    if equal:
        total = len(weights)
    scale = amount / total
    upto = before = 0
    for n in range(len(weights)):
        upto += 1 if equal else weights[n]
        quotient = int(scale * upto)
        rest = amount * upto - quotient * total
        if rest < 0 or rest >= total:
            more = rest // total
            quotient += more
            rest -= more * total
        if 2 * rest > total or (2 * rest == total and quotient & 1):
            quotient += 1
        out[n] = quotient - before
        before = quotient
