"""The small steps of a decoder layer on a CPU, compiled at first use and kept on disk: norms, gates, attention.

Each is one pass over few rows, where torch would spend its time on dispatch. bfloat16 arrays come as their bits,
uint16; all arithmetic is float32, as in the models themselves. It knows no layers and no weights.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import overload

Array = npt.NDArray[Any]
_LN2, _LOG2E, _HALF = np.float32(0.6931471805599453), np.float32(1.4426950408889634), np.float32(0.5)
_C6, _C5, _C4, _C3 = (np.float32(1 / n) for n in (720, 120, 24, 6))
_ZERO, _ONE, _LOWEST, _BITS = np.float32(0), np.float32(1), np.float32(-126), np.uint32(16)


def _compiled(function: Callable[..., None], *, parallel: bool = False) -> Callable[..., None]:
    compiled = numba.njit(fastmath=True, nogil=True, error_model="numpy", cache=True, parallel=parallel)
    made: Callable[..., None] = compiled(function)
    return made


def threads(count: int) -> None:
    """How many threads `attend` uses when the calling thread calls it."""
    numba.set_num_threads(min(count, int(vars(numba.config)["NUMBA_NUM_THREADS"])))


def _wide(value: Any) -> Any:
    """A number of an array as float32; uint16 is a bfloat16's bits."""
    raise NotImplementedError("compiled code only")


@overload(_wide, inline="always")
def _wide_of(value: Any) -> Any:
    def half(value: Any) -> Any:
        return np.uint32(np.uint32(value) << _BITS).view(np.float32)

    def whole(value: Any) -> Any:
        return value

    return half if value == types.uint16 else whole


def _narrow(value: Any, like: Any) -> Any:
    """A float32 as a number of the array that `like` is of, rounded to the nearest."""
    raise NotImplementedError("compiled code only")


@overload(_narrow, inline="always")
def _narrow_of(value: Any, like: Any) -> Any:
    def half(value: Any, like: Any) -> Any:
        bits = np.float32(value).view(np.uint32)
        return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> _BITS) & np.uint32(1))) >> _BITS)

    def whole(value: Any, like: Any) -> Any:
        return np.float32(value)

    return half if like == types.uint16 else whole


@numba.njit(inline="always", fastmath=True)
def _exp(x: Any) -> Any:
    # e**x by a polynomial that vectorises; relative error below 1e-6
    z = max(x * _LOG2E, _LOWEST)
    n = np.floor(z + _HALF)
    f = (z - n) * _LN2
    p = (((((_C6 * f + _C5) * f + _C4) * f + _C3) * f + _HALF) * f + _ONE) * f + _ONE
    return p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@_compiled
def add_norm(residual: Array, delta: Array, weight: Array, epsilon: float, out: Array) -> None:
    """Add `delta` to `residual` in place and write its RMS norm to `out`; all (tokens, width), weight (width)."""
    width = residual.shape[1]
    wide = np.empty(width, np.float32)
    for m in range(residual.shape[0]):
        total = _ZERO
        for i in range(width):
            value = _wide(_narrow(_wide(residual[m, i]) + _wide(delta[m, i]), residual[m, i]))
            residual[m, i] = _narrow(value, residual[m, i])
            wide[i] = value
            total += value * value
        scale = _ONE / np.sqrt(total / np.float32(width) + np.float32(epsilon))
        for i in range(width):
            normed = _wide(_narrow(wide[i] * scale, out[m, i]))
            out[m, i] = _narrow(normed * _wide(weight[i]), out[m, i])


@_compiled
def gate(pair: Array, out: Array) -> None:
    """SiLU of the first half of each row times the second half; pair (tokens, 2 width), out (tokens, width)."""
    width = out.shape[1]
    for m in range(out.shape[0]):
        for i in range(width):
            x = _wide(pair[m, i])
            active = _wide(_narrow(x / (_ONE + _exp(min(-x, np.float32(88)))), out[m, i]))
            out[m, i] = _narrow(active * _wide(pair[m, width + i]), out[m, i])


@_compiled
def rotate(fused: Array, cos: Array, sin: Array, positions: Array, heads: int) -> None:
    """Turn the first `heads` heads of each token by its position, in place.

    fused (tokens, all heads, head size); cos and sin (context, head size) float32; positions (tokens).
    """
    half = fused.shape[2] // 2
    for m in range(fused.shape[0]):
        c, s = cos[positions[m]], sin[positions[m]]
        for h in range(heads):
            head = fused[m, h]
            for i in range(half):
                low, high = _wide(head[i]), _wide(head[half + i])
                head[i] = _narrow(low * c[i] - high * s[i], head[i])
                head[half + i] = _narrow(high * c[half + i] + low * s[half + i], head[i])


@_compiled
def _softmax(scores: Array) -> None:
    for g in range(scores.shape[0]):
        row = scores[g]
        highest = row[0]
        for t in range(row.shape[0]):
            highest = max(highest, row[t])
        total = _ZERO
        for t in range(row.shape[0]):
            row[t] = _exp(row[t] - highest)
            total += row[t]
        scale = _ONE / total
        for t in range(row.shape[0]):
            row[t] *= scale


@_compiled
def _scores(query: Array, keys: Array, scale: Any, scores: Array) -> None:
    for t in range(keys.shape[0]):
        key = keys[t]
        for g in range(query.shape[0]):
            row = query[g]
            total = _ZERO
            for d in range(key.shape[0]):
                total += row[d] * _wide(key[d])
            scores[g, t] = total * scale


@_compiled
def _weighted(scores: Array, values: Array, out: Array) -> None:
    size, whole = values.shape[1], values.shape[0] - values.shape[0] % 4
    for g in range(scores.shape[0]):
        row, total = scores[g], out[g]
        total[:] = _ZERO
        for t in range(0, whole, 4):
            v0, v1, v2, v3 = values[t], values[t + 1], values[t + 2], values[t + 3]
            p0, p1, p2, p3 = row[t], row[t + 1], row[t + 2], row[t + 3]
            for d in range(size):
                total[d] += p0 * _wide(v0[d]) + p1 * _wide(v1[d]) + p2 * _wide(v2[d]) + p3 * _wide(v3[d])
        for t in range(whole, values.shape[0]):
            last = values[t]
            for d in range(size):
                total[d] += row[t] * _wide(last[d])


@_compiled
def _store(fused: Array, keys: Array, values: Array, slots: Array, positions: Array, heads: int) -> None:
    kinds = keys.shape[1]
    for m in range(fused.shape[0]):
        for h in range(kinds):
            for d in range(fused.shape[2]):
                keys[slots[m], h, positions[m], d] = fused[m, heads + h, d]
                values[slots[m], h, positions[m], d] = fused[m, heads + kinds + h, d]


@_compiled
def _attend_one(token: Array, keys: Array, values: Array, out: Array) -> None:
    # the query heads (group, size) that share one key head; keys and values (length, size)
    wide, total = np.empty(token.shape, np.float32), np.empty(token.shape, np.float32)
    scores = np.empty((token.shape[0], keys.shape[0]), np.float32)
    for g in range(token.shape[0]):
        for d in range(token.shape[1]):
            wide[g, d] = _wide(token[g, d])
    _scores(wide, keys, np.float32(1 / np.sqrt(token.shape[1])), scores)
    _softmax(scores)
    _weighted(scores, values, total)
    for g in range(token.shape[0]):
        for d in range(token.shape[1]):
            out[g, d] = _narrow(total[g, d], out[g, d])


def _attend(fused: Array, keys: Array, values: Array, slots: Array, positions: Array, out: Array) -> None:
    """Store keys and values of new tokens, then let each token attend to its slot up to its own position.

    fused (tokens, query + key + value heads, head size), turned already; keys and values (slots, key heads, context,
    head size); slots and positions (tokens); out (tokens, query heads, head size).
    """
    heads, kinds = out.shape[1], keys.shape[1]
    group = heads // kinds
    _store(fused, keys, values, slots, positions, heads)
    for j in numba.prange(out.shape[0] * kinds):
        m, h = j // kinds, j % kinds
        slot, length, first = slots[m], positions[m] + 1, h * group
        _attend_one(
            fused[m, first : first + group],
            keys[slot, h, :length],
            values[slot, h, :length],
            out[m, first : first + group],
        )


attend = _compiled(_attend, parallel=True)
