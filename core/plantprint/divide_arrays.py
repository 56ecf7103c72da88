"""Rule R1 over whole arrays: the same shares as `quantities.divide`, digit for digit, for many amounts at once.

A quotient amount x part / total is estimated in float64; its exact remainder then comes from wrapping 64-bit products,
because a remainder of a few totals fits in 64 bits even where the products do not, and it corrects the estimate. Where
the estimate's error bound would not keep the remainder below 2^62, Python's own integers take over.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantprint.kernel import compiled_shares
from plantprint.quantities import round_half_even

Ints = NDArray[np.int64]
_BOUND = 2.0**62
# So many shares at once are worth the compiled kernel, which must be loaded first. Live hours stay below.
_MANY = 2**16

# Any integer array: int64, or Python's integers where a number may not fit.
_AnyInts = NDArray[Any]


def divide_arrays(amounts: Ints, weights: Ints) -> Ints:
    """Shares of `amounts` [...] over the last axis of `weights` [..., n]; both broadcast; the result is [..., n].

    Weights are not negative; where all of them are zero the shares are equal. Shares add up exactly to the amount.
    """
    total_bound = float(weights.max(initial=0)) * weights.shape[-1]
    if total_bound >= _BOUND:
        return _divide_objects(amounts, weights)
    size = max(amounts.size * weights.shape[-1], weights.size)
    if size >= _MANY and _is_estimable(amounts, max(total_bound, 1.0)) and (compiled := compiled_shares()) is not None:
        return compiled(amounts, weights)
    upto: Ints = np.cumsum(weights, axis=-1)
    total = upto[..., -1:]
    if not total.all():
        upto = np.where(total == 0, np.arange(1, weights.shape[-1] + 1), upto)
        total = upto[..., -1:]
    shares: Ints = _steps(rounded_quotient(amounts[..., None], upto, total))
    return shares


def rounded_quotient(amounts: Ints, parts: Ints, totals: Ints) -> Ints:
    """Amounts x parts / totals, half to even; at least one axis, broadcasting; 0 ≤ part ≤ total, total > 0."""
    if not _is_estimable(amounts, float(totals.max(initial=1))):
        return _to_int64(_quotient_objects(amounts, parts, totals))
    quotient = (amounts.astype(np.float64) * parts / totals).astype(np.int64)
    rest = amounts * parts - quotient * totals
    more = rest // totals
    quotient += more
    rest -= more * totals
    rest += rest
    quotient += (rest > totals) | ((rest == totals) & (quotient & 1 == 1))
    return quotient


def _is_estimable(amounts: Ints, total_bound: float) -> bool:
    """Whether an estimate in float64 is so good that its remainder fits in 64 bits."""
    amount_bound = max(float(amounts.max(initial=0)), -float(amounts.min(initial=0)))
    # The estimate is off by less than 2^-50 of the amount (five roundings) and one unit of cutting off.
    return max(amount_bound, (amount_bound * 2.0**-50 + 2) * total_bound) < _BOUND


def _steps(upto: Any) -> Any:
    """Cumulative values along the last axis → their steps."""
    shares = upto.copy()
    shares[..., 1:] -= upto[..., :-1]
    return shares


def _divide_objects(amounts: Ints, weights: Ints) -> Ints:
    upto = np.cumsum(weights.astype(object), axis=-1)
    empty = upto[..., -1:] == 0
    upto = np.where(empty, np.arange(1, weights.shape[-1] + 1, dtype=object), upto)
    return _to_int64(_steps(_quotient_objects(amounts[..., None], upto, upto[..., -1:])))


def _quotient_objects(amounts: _AnyInts, parts: _AnyInts, totals: _AnyInts) -> _AnyInts:
    products, divisors = np.broadcast_arrays(amounts.astype(object) * parts.astype(object), totals.astype(object))
    flat = map(round_half_even, products.ravel().tolist(), divisors.ravel().tolist())
    return np.array([*flat, None], dtype=object)[:-1].reshape(products.shape)


def _to_int64(values: _AnyInts) -> Ints:
    """Python's integers as int64; one that does not fit raises `OverflowError`, since amounts never wrap."""
    return np.array(values.tolist(), dtype=np.int64).reshape(values.shape)
