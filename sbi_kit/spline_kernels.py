"""The arithmetic of a rational-quadratic spline, compiled, from what a network says of it.

Points x (rows, repeats, m) share the parameters (rows, m, 3 K − 1) of their row: the logits of the
shares that the widths of its K bins have in the interval, those of the heights, and what softplus
makes the slopes at the knots between them. Formulas and names are those of `sbi_kit.spline`.

Points are taken LANES at a time. What belongs to them stands in `work`, a row of LANES numbers
for each quantity, rows end to end, so that every place in it is a constant beside the lane. With
loops over lanes free of branches and calls, the compiler turns them into vector instructions; for
the same reason exponential and logarithm are written out, to about one unit in the last place
(after Moshier's Cephes). All is float32 but the root of the inverse, which needs more.
"""

import math
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
_Places: TypeAlias = NDArray[np.int64]

BINS = 8
LANES = 128  # points at a time; with their parameters they fill half of a core's first cache

# Rows: widths and heights, logits of slopes with one at both ends, and what is made of them.
_SLOPES = 2 * BINS
_NUMBER, _LEFT, _WIDTH, _BOTTOM, _HEIGHT, _LOGIT_0, _LOGIT_1, _SLOPE_0, _SLOPE_1 = (
    row * LANES for row in range(3 * BINS + 1, 3 * BINS + 10)
)
_POINT, _PART, _LOG_SLOPE, _SHARE = (row * LANES for row in range(3 * BINS + 10, 3 * BINS + 14))
_OF_Y, _OF_LOG, _OF_X, _OF_WIDTH, _OF_HEIGHT, _OF_SLOPE_0, _OF_SLOPE_1 = (
    row * LANES for row in range(3 * BINS + 14, 3 * BINS + 21)
)
WORK = (3 * BINS + 21) * LANES  # numbers in all

_0, _1, _2 = np.float32(0), np.float32(1), np.float32(2)
_LOG2_E, _LN_2 = np.float32(1 / math.log(2)), np.float32(math.log(2))
_LN_2_HIGH, _LN_2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_ROUND = np.float32(1.5 * 2**23)  # added, it leaves the integer in the last bits
_LOWEST = np.float32(-80)  # exp of it is a normal number still,
_HIGHEST = np.float32(80)  # and of this one finite
_POWERS = tuple(  # of r**2 and on in exp(r)
    np.float32(value)
    for value in (
        0.500000012,
        0.166666655,
        4.16657959e-2,
        8.33345191e-3,
        1.39819995e-3,
        1.98756915e-4,
    )
)
_ODD = tuple(np.float32(1 / k) for k in (3, 5, 7, 9, 11, 13))
_STEEPEST = np.float32(1e6)  # logits beyond it would overflow where slopes are squared
_HALF_ROOT = np.int32(0x3F3504F3)  # the bits of sqrt(1/2)
_MANTISSA = np.int32(23)

compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


@compiled
def exp(x: Any) -> Any:
    """exp(x) for x <= 80, and as for −80 below it."""
    x = x if x > _LOWEST else _LOWEST
    shifted = x * _LOG2_E + _ROUND
    n = shifted - _ROUND
    r = x - n * _LN_2_HIGH - n * _LN_2_LOW
    series = ((_POWERS[5] * r + _POWERS[4]) * r + _POWERS[3]) * r + _POWERS[2]
    power = ((series * r + _POWERS[1]) * r + _POWERS[0]) * r * r + r + _1
    bits = np.int32(np.float32(shifted).view(np.int32) << _MANTISSA)
    return np.int32(np.float32(power).view(np.int32) + bits).view(np.float32)


@compiled
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(−x)), and as for −80 below it."""
    return _1 / (_1 + exp(-x if -x < _HIGHEST else _HIGHEST))


@compiled
def _twice_atanh(s: Any) -> Any:
    """log((1 + s) / (1 - s)) for |s| <= 1/3."""
    z = s * s
    series = ((((_ODD[5] * z + _ODD[4]) * z + _ODD[3]) * z + _ODD[2]) * z + _ODD[1]) * z + _ODD[0]
    return _2 * s + _2 * s * z * series


@compiled
def _log(x: Any) -> Any:
    """Logarithm of a normal positive number."""
    bits = np.float32(x).view(np.int32)
    n = np.int32(np.int32(bits - _HALF_ROOT) >> _MANTISSA)
    mantissa = np.int32(bits - np.int32(n << _MANTISSA)).view(np.float32)
    return np.float32(n) * _LN_2 + _twice_atanh((mantissa - _1) / (mantissa + _1))


@compiled
def _softplus(x: Any) -> Any:
    """log(1 + exp(x))."""
    small = exp(-abs(x))
    return (x if x > _0 else _0) + _twice_atanh(small / (_2 + small))


@compiled
def _load(
    x: Floats, parameters: Floats, start: int, size: int, bound: Any, work: Floats, places: _Places
) -> None:
    """Points from `start` on, brought to the interval, and the parameters of their places."""
    _, repeats, m = x.shape
    flat, table = x.reshape(-1), parameters.reshape(-1, 3 * BINS - 1)
    for lane in range(size):
        work[_POINT + lane] = min(max(flat[start + lane], -bound), bound)
        places[lane] = start + lane
    if repeats > 1:  # or each point has its own, and divisions are dear
        for lane in range(size):
            places[lane] = (start + lane) // (repeats * m) * m + (start + lane) % m
    for lane in range(size):
        row = table[places[lane]]
        for k in range(2 * BINS):
            work[k * LANES + lane] = row[k]
        for k in range(BINS - 1):
            work[(_SLOPES + 1 + k) * LANES + lane] = row[2 * BINS + k]


@compiled
def _size(size: int, scale: Any, offset: Any, rows: Floats, shares: Floats) -> None:
    """Make widths or heights of the logits in the first BINS rows."""
    for lane in range(size):
        most = rows[lane]
        for k in range(1, BINS):
            logit = rows[k * LANES + lane]
            most = logit if logit > most else most
        total = _0
        for k in range(BINS):
            power = exp(rows[k * LANES + lane] - most)
            rows[k * LANES + lane] = power
            total += power
        shares[lane] = scale / total
    for lane in range(size):
        for k in range(BINS):
            rows[k * LANES + lane] = rows[k * LANES + lane] * shares[lane] + offset


@compiled
def _find(size: int, backwards: bool, bound: Any, work: Floats) -> None:
    """The bin of each point, on the axis of x or backwards of y: its place, size and slopes."""
    for lane in range(size):
        point = work[_POINT + lane]
        x, y, number = -bound, -bound, _0
        left, bottom, width, height = x, y, work[lane], work[BINS * LANES + lane]
        logit_0, logit_1 = work[_SLOPES * LANES + lane], work[(_SLOPES + 1) * LANES + lane]
        for k in range(1, BINS):  # choosing beats reading from a computed place
            x += work[(k - 1) * LANES + lane]
            y += work[(BINS + k - 1) * LANES + lane]
            later = point >= (y if backwards else x)
            number += _1 if later else _0
            left, bottom = x if later else left, y if later else bottom
            width = work[k * LANES + lane] if later else width
            height = work[(BINS + k) * LANES + lane] if later else height
            logit_0 = work[(_SLOPES + k) * LANES + lane] if later else logit_0
            logit_1 = work[(_SLOPES + k + 1) * LANES + lane] if later else logit_1
        work[_NUMBER + lane] = number
        work[_LEFT + lane], work[_BOTTOM + lane] = left, bottom
        work[_WIDTH + lane], work[_HEIGHT + lane] = width, height
        work[_LOGIT_0 + lane], work[_LOGIT_1 + lane] = logit_0, logit_1


@compiled
def _prepare(
    size: int, backwards: bool, bound: float, least: float, one: float, work: Floats
) -> None:
    """From points x, or backwards y, and their parameters find all that belongs to them."""
    scale, offset = np.float32(2 * bound * (1 - BINS * least)), np.float32(2 * bound * least)
    flattest, shift = np.float32(least), np.float32(one)
    for lane in range(size):
        work[_SLOPES * LANES + lane] = work[(_SLOPES + BINS) * LANES + lane] = _0
    _size(size, scale, offset, work[:], work[_SHARE:])
    _size(size, scale, offset, work[BINS * LANES :], work[_SHARE:])
    _find(size, backwards, np.float32(bound), work)
    for lane in range(size):
        logit_0, logit_1 = work[_LOGIT_0 + lane], work[_LOGIT_1 + lane]
        logit_0 = logit_0 if logit_0 < _STEEPEST else _STEEPEST
        logit_1 = logit_1 if logit_1 < _STEEPEST else _STEEPEST
        work[_SLOPE_0 + lane] = _softplus(logit_0 + shift) + flattest
        work[_SLOPE_1 + lane] = _softplus(logit_1 + shift) + flattest


@compiled
def _forwards(size: int, work: Floats) -> None:
    """Points x become y."""
    for lane in range(size):
        width, height = work[_WIDTH + lane], work[_HEIGHT + lane]
        d0, d1 = work[_SLOPE_0 + lane], work[_SLOPE_1 + lane]
        s = height / width
        t = (work[_POINT + lane] - work[_LEFT + lane]) / width
        p = t * (_1 - t)
        rise = (s * t * t + d0 * p) / (s + (d0 + d1 - _2 * s) * p)
        work[_POINT + lane], work[_PART + lane] = work[_BOTTOM + lane] + height * rise, t


@compiled
def _backwards(size: int, work: Floats) -> None:
    """Points y become x."""
    for lane in range(size):
        width, height = work[_WIDTH + lane], work[_HEIGHT + lane]
        # In float64, because the discriminant is a small difference where the slope falls.
        tall, mean = np.float64(height), np.float64(height / width)
        d0, d1 = np.float64(work[_SLOPE_0 + lane]), np.float64(work[_SLOPE_1 + lane])
        rise = np.float64(work[_POINT + lane]) - np.float64(work[_BOTTOM + lane])
        bend = rise * (d0 + d1 - 2.0 * mean)
        a, b, c = tall * (mean - d0) + bend, tall * d0 - bend, mean * rise
        inner = b * b + 4.0 * a * c
        # The root in [0, 1], in the form that loses no digits; rounding can take it below zero.
        t = np.float32(2.0 * c / (b + math.sqrt(inner if inner > 0.0 else 0.0)))
        work[_POINT + lane], work[_PART + lane] = work[_LEFT + lane] + t * width, t


@compiled
def _log_slopes(size: int, work: Floats) -> None:
    """log dy/dx at points that were moved either way."""
    for lane in range(size):
        d0, d1, t = work[_SLOPE_0 + lane], work[_SLOPE_1 + lane], work[_PART + lane]
        s, p = work[_HEIGHT + lane] / work[_WIDTH + lane], t * (_1 - t)
        share = s / (s + (d0 + d1 - _2 * s) * p)
        top = d1 * t * t + _2 * s * p + d0 * (_1 - t) * (_1 - t)
        work[_LOG_SLOPE + lane] = _log(top) + _2 * _log(share)


@compiled
def invert(points: Floats, bound: float, least: float, one: float, work: Floats) -> None:
    """LANES points y become x, given in `work` rows of widths, heights, a gap, and slopes."""
    end = np.float32(bound)
    for lane in range(LANES):
        work[_POINT + lane] = min(max(points[lane], -end), end)
    _prepare(LANES, True, bound, least, one, work)
    _backwards(LANES, work)
    for lane in range(LANES):
        points[lane] = work[_POINT + lane] if abs(points[lane]) < end else points[lane]


@compiled
def transform(
    x: Floats, parameters: Floats, backwards: bool, bound: float, least: float, one: float
) -> tuple[Floats, Floats]:
    """y and log dy/dx of points x (rows, repeats, m), or backwards x and log dx/dy of points y."""
    flat = x.reshape(-1)
    moved, log_slope = np.empty_like(flat), np.empty_like(flat)
    end = np.float32(bound)
    work, places = np.zeros(WORK, dtype=np.float32), np.zeros(LANES, dtype=np.int64)
    for start in range(0, flat.size, LANES):
        size = min(LANES, flat.size - start)
        _load(x, parameters, start, size, end, work, places)
        _prepare(size, backwards, bound, least, one, work)
        if backwards:
            _backwards(size, work)
        else:
            _forwards(size, work)
        _log_slopes(size, work)
        for lane in range(size):
            given = flat[start + lane]
            inside = abs(given) < end
            moved[start + lane] = work[_POINT + lane] if inside else given
            slope = -work[_LOG_SLOPE + lane] if backwards else work[_LOG_SLOPE + lane]
            log_slope[start + lane] = slope if inside else _0
    return moved.reshape(x.shape), log_slope.reshape(x.shape)


@compiled
def gradients(
    x: Floats,
    parameters: Floats,
    grad_y: Floats,
    grad_log: Floats,
    bound: float,
    least: float,
    one: float,
) -> tuple[Floats, Floats]:
    """Gradients of a loss with respect to x and parameters, given those for y and log dy/dx."""
    flat, of_y, of_log = x.reshape(-1), grad_y.reshape(-1), grad_log.reshape(-1)
    grad_x, grad_parameters = np.empty_like(flat), np.zeros_like(parameters)
    table = grad_parameters.reshape(-1, 3 * BINS - 1)
    end = np.float32(bound)
    work, places = np.zeros(WORK, dtype=np.float32), np.zeros(LANES, dtype=np.int64)
    for start in range(0, flat.size, LANES):
        size = min(LANES, flat.size - start)
        _load(x, parameters, start, size, end, work, places)
        _prepare(size, False, bound, least, one, work)
        for lane in range(size):
            inside = abs(flat[start + lane]) < end
            work[_OF_Y + lane] = of_y[start + lane] if inside else _0
            work[_OF_LOG + lane] = of_log[start + lane] if inside else _0
        _differentiate(size, work)
        for lane in range(size):
            inside = abs(flat[start + lane]) < end
            grad_x[start + lane] = work[_OF_X + lane] if inside else of_y[start + lane]
        _of_logits(size, bound, least, np.float32(one), work)
        _add(size, work, places, table)
    return grad_x.reshape(x.shape), grad_parameters


@compiled
def _differentiate(size: int, work: Floats) -> None:
    """From the gradients for y and log dy/dx those for x, and for the bin's size and slopes."""
    for lane in range(size):
        width, height = work[_WIDTH + lane], work[_HEIGHT + lane]
        d0, d1 = work[_SLOPE_0 + lane], work[_SLOPE_1 + lane]
        gy, gl = work[_OF_Y + lane], work[_OF_LOG + lane]
        s = height / width
        t = (work[_POINT + lane] - work[_LEFT + lane]) / width
        u = _1 - t
        p = t * u
        bend = d0 + d1 - _2 * s
        den = s + bend * p
        top = d1 * t * t + _2 * s * p + d0 * u * u
        rise = (s * t * t + d0 * p) / den
        gh, gn, gd = gy * height / den, gl / top, -_2 * gl / den
        of_t = gh * s * top / den + _2 * gn * (d1 * t + s * (u - t) - d0 * u)
        of_t += gd * bend * (u - t)
        of_s = gh * (t * t - rise * (_1 - _2 * p)) + _2 * gl / s + _2 * gn * p
        of_s += gd * (_1 - _2 * p)
        of_x, shared = of_t / width, p * (gd - gh * rise)
        work[_OF_X + lane] = of_x
        work[_OF_WIDTH + lane] = -(of_s * s / width + of_x * t)
        work[_OF_HEIGHT + lane] = gy * rise + of_s / width
        work[_OF_SLOPE_0 + lane] = shared + gh * p + gn * u * u
        work[_OF_SLOPE_1 + lane] = shared + gn * t * t


@compiled
def _of_logits(size: int, bound: float, least: float, one: Any, work: Floats) -> None:
    """Put the gradients for the parameters in their places, through softmax and softplus."""
    scale, offset = np.float32(2 * bound * (1 - BINS * least)), np.float32(2 * bound * least)
    # A wider bin moves the left side of those after it, a taller one their bottom.
    for lane in range(size):
        work[_OF_X + lane] = -work[_OF_X + lane]
    _through_softmax(size, scale, offset, work[_OF_X:], work[_OF_WIDTH:], work, work)
    heights = work[BINS * LANES :]
    _through_softmax(size, scale, offset, work[_OF_Y:], work[_OF_HEIGHT:], work, heights)
    for lane in range(size):
        work[_OF_SLOPE_0 + lane] *= sigmoid(work[_LOGIT_0 + lane] + one)
        work[_OF_SLOPE_1 + lane] *= sigmoid(work[_LOGIT_1 + lane] + one)


@compiled
def _through_softmax(
    size: int,
    scale: Any,
    offset: Any,
    of_before: Floats,
    of_own: Floats,
    work: Floats,
    rows: Floats,
) -> None:
    """Sizes of bins become gradients for their logits, given those for the bin and those before."""
    for lane in range(size):
        number, before, own = work[_NUMBER + lane], of_before[lane], of_own[lane]
        mean = _0
        for k in range(BINS):
            later = before if np.float32(k) < number else _0
            grad = own if np.float32(k) == number else later
            mean += (rows[k * LANES + lane] - offset) * grad
        mean /= scale
        for k in range(BINS):
            later = before if np.float32(k) < number else _0
            grad = own if np.float32(k) == number else later
            rows[k * LANES + lane] = (rows[k * LANES + lane] - offset) * (grad - mean)


@compiled
def _add(size: int, work: Floats, places: _Places, table: Floats) -> None:
    """Add gradients for the parameters of each point to those of its place."""
    for lane in range(size):
        row = table[places[lane]]
        for k in range(2 * BINS):
            row[k] += work[k * LANES + lane]
        number = np.int64(work[_NUMBER + lane])
        if number > 0:
            row[2 * BINS + number - 1] += work[_OF_SLOPE_0 + lane]
        if number < BINS - 1:
            row[2 * BINS + number] += work[_OF_SLOPE_1 + lane]
