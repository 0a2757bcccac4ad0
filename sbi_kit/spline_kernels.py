"""The arithmetic of a rational-quadratic spline, compiled, from what a network says of it.

Points x (rows, repeats, m) share the parameters (rows, m, 3 K − 1) of their row: the logits of the
shares that the widths of its K bins have in the interval, those of the heights, and what softplus
makes the slopes at the knots between them. Formulas and names are those of `sbi_kit.spline`.

Points are taken _LANES at a time. What belongs to them stands in `work`, a row of _LANES numbers
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
_LANES = 128  # points at a time; with their parameters they fill half of a core's first cache

# Rows: widths and heights, logits of slopes with one at both ends, where bins begin on the axes of
# x and of y, and what is made of them.
_SLOPES, _KNOTS = 2 * BINS, 3 * BINS + 1
_POINT, _LOG_SLOPE, _LEFT, _WIDTH, _BOTTOM, _HEIGHT, _SLOPE_0, _SLOPE_1, _NUMBER = (
    row * _LANES for row in range(5 * BINS + 1, 5 * BINS + 10)
)
_OF_Y, _OF_LOG, _OF_X, _OF_WIDTH, _OF_HEIGHT, _OF_SLOPE_0, _OF_SLOPE_1 = (
    row * _LANES for row in range(5 * BINS + 10, 5 * BINS + 17)
)
_ROWS = 5 * BINS + 17

_0, _1, _2, _HALF = np.float32(0), np.float32(1), np.float32(2), np.float32(0.5)
_LOG2_E, _LN_2 = np.float32(1 / math.log(2)), np.float32(math.log(2))
_LN_2_HIGH, _LN_2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_ROUND = np.float32(1.5 * 2**23)  # added, it leaves the integer in the last bits
_LOWEST = np.float32(-80)  # exp of it is a normal number still
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

_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


@_compiled
def _exp(x: Any) -> Any:
    """exp(x) for x <= 0."""
    x = x if x > _LOWEST else _LOWEST
    shifted = x * _LOG2_E + _ROUND
    n = shifted - _ROUND
    r = x - n * _LN_2_HIGH - n * _LN_2_LOW
    series = ((_POWERS[5] * r + _POWERS[4]) * r + _POWERS[3]) * r + _POWERS[2]
    power = ((series * r + _POWERS[1]) * r + _POWERS[0]) * r * r + r + _1
    bits = np.int32(np.float32(shifted).view(np.int32) << _MANTISSA)
    return np.int32(np.float32(power).view(np.int32) + bits).view(np.float32)


@_compiled
def _twice_atanh(s: Any) -> Any:
    """log((1 + s) / (1 - s)) for |s| <= 1/3."""
    z = s * s
    series = ((((_ODD[5] * z + _ODD[4]) * z + _ODD[3]) * z + _ODD[2]) * z + _ODD[1]) * z + _ODD[0]
    return _2 * s + _2 * s * z * series


@_compiled
def _log(x: Any) -> Any:
    """Logarithm of a normal positive number."""
    bits = np.float32(x).view(np.int32)
    n = np.int32(np.int32(bits - _HALF_ROOT) >> _MANTISSA)
    mantissa = np.int32(bits - np.int32(n << _MANTISSA)).view(np.float32)
    return np.float32(n) * _LN_2 + _twice_atanh((mantissa - _1) / (mantissa + _1))


@_compiled
def _softplus(x: Any) -> Any:
    """log(1 + exp(x))."""
    small = _exp(-abs(x))
    return (x if x > _0 else _0) + _twice_atanh(small / (_2 + small))


@_compiled
def _sigmoid(x: Any) -> Any:
    small = _exp(-abs(x))
    return (_1 if x > _0 else small) / (_1 + small)


@_compiled
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
            work[k * _LANES + lane] = row[k]
        for k in range(BINS - 1):
            logit = row[2 * BINS + k]
            work[(_SLOPES + 1 + k) * _LANES + lane] = logit if logit < _STEEPEST else _STEEPEST
        work[_SLOPES * _LANES + lane] = _0
        work[(_SLOPES + BINS) * _LANES + lane] = _0


@_compiled
def _size(size: int, bound: Any, scale: Any, offset: Any, rows: Floats, knots: Floats) -> None:
    """Make widths or heights of the logits in the first BINS rows, and where these bins begin."""
    for lane in range(size):
        most = rows[lane]
        for k in range(1, BINS):
            logit = rows[k * _LANES + lane]
            most = logit if logit > most else most
        total = _0
        for k in range(BINS):
            power = _exp(rows[k * _LANES + lane] - most)
            rows[k * _LANES + lane] = power
            total += power
        share = scale / total
        for k in range(BINS):
            rows[k * _LANES + lane] = rows[k * _LANES + lane] * share + offset
    for lane in range(size):
        edge = -bound
        for k in range(BINS):
            knots[k * _LANES + lane] = edge
            edge += rows[k * _LANES + lane]


@_compiled
def _find(size: int, least: Any, one: Any, knots: Floats, work: Floats) -> None:
    """The bin of each point, among those that begin at these knots."""
    for lane in range(size):
        point, number = work[_POINT + lane], _0
        for k in range(1, BINS):
            number += _1 if point >= knots[k * _LANES + lane] else _0
        work[_NUMBER + lane] = number
    for lane in range(size):
        place = np.int64(work[_NUMBER + lane]) * _LANES + lane
        work[_WIDTH + lane] = work[place]
        work[_HEIGHT + lane] = work[BINS * _LANES + place]
        work[_SLOPE_0 + lane] = work[_SLOPES * _LANES + place]
        work[_SLOPE_1 + lane] = work[(_SLOPES + 1) * _LANES + place]
        work[_LEFT + lane] = work[_KNOTS * _LANES + place]
        work[_BOTTOM + lane] = work[(_KNOTS + BINS) * _LANES + place]
    for lane in range(size):
        work[_SLOPE_0 + lane] = _softplus(work[_SLOPE_0 + lane] + one) + least
        work[_SLOPE_1 + lane] = _softplus(work[_SLOPE_1 + lane] + one) + least


@_compiled
def _prepare(
    x: Floats,
    parameters: Floats,
    start: int,
    size: int,
    backwards: bool,
    bound: float,
    least: float,
    one: float,
    work: Floats,
    places: _Places,
) -> None:
    """Fill `work` for some points x, or backwards y."""
    end, scale = np.float32(bound), np.float32(2 * bound * (1 - BINS * least))
    offset = np.float32(2 * bound * least)
    widths, heights = work[:], work[BINS * _LANES :]
    of_x, of_y = work[_KNOTS * _LANES :], work[(_KNOTS + BINS) * _LANES :]
    _load(x, parameters, start, size, end, work, places)
    _size(size, end, scale, offset, widths, of_x)
    _size(size, end, scale, offset, heights, of_y)
    _find(size, np.float32(least), np.float32(one), of_y if backwards else of_x, work)


@_compiled
def _log_slope(t: Any, s: Any, slope_0: Any, slope_1: Any) -> Any:
    p = t * (_1 - t)
    share = s / (s + (slope_0 + slope_1 - _2 * s) * p)
    top = slope_1 * t * t + _2 * s * p + slope_0 * (_1 - t) * (_1 - t)
    return _log(top) + _2 * _log(share)


@_compiled
def _forwards(size: int, work: Floats) -> None:
    """Points x become y."""
    for lane in range(size):
        width, height = work[_WIDTH + lane], work[_HEIGHT + lane]
        d0, d1 = work[_SLOPE_0 + lane], work[_SLOPE_1 + lane]
        s = height / width
        t = (work[_POINT + lane] - work[_LEFT + lane]) / width
        p = t * (_1 - t)
        rise = (s * t * t + d0 * p) / (s + (d0 + d1 - _2 * s) * p)
        work[_POINT + lane] = work[_BOTTOM + lane] + height * rise
        work[_LOG_SLOPE + lane] = _log_slope(t, s, d0, d1)


@_compiled
def _backwards(size: int, work: Floats) -> None:
    """Points y become x."""
    for lane in range(size):
        width, height = work[_WIDTH + lane], work[_HEIGHT + lane]
        d0, d1 = work[_SLOPE_0 + lane], work[_SLOPE_1 + lane]
        s = height / width
        # In float64, because the discriminant is a small difference where the slope falls.
        tall, mean, steep = np.float64(height), np.float64(s), np.float64(d0)
        rise = np.float64(work[_POINT + lane]) - np.float64(work[_BOTTOM + lane])
        bend = rise * (steep + np.float64(d1) - 2.0 * mean)
        a, b, c = tall * (mean - steep) + bend, tall * steep - bend, mean * rise
        inner = b * b + 4.0 * a * c
        # The root in [0, 1], in the form that loses no digits; rounding can take it below zero.
        t = np.float32(2.0 * c / (b + math.sqrt(inner if inner > 0.0 else 0.0)))
        work[_POINT + lane] = work[_LEFT + lane] + t * width
        work[_LOG_SLOPE + lane] = -_log_slope(t, s, d0, d1)


@_compiled
def transform(
    x: Floats, parameters: Floats, backwards: bool, bound: float, least: float, one: float
) -> tuple[Floats, Floats]:
    """y and log dy/dx of points x (rows, repeats, m), or backwards x and log dx/dy of points y."""
    flat = x.reshape(-1)
    moved, log_slope = np.empty_like(flat), np.empty_like(flat)
    end = np.float32(bound)
    work, places = np.zeros(_ROWS * _LANES, dtype=np.float32), np.zeros(_LANES, dtype=np.int64)
    for start in range(0, flat.size, _LANES):
        size = min(_LANES, flat.size - start)
        _prepare(x, parameters, start, size, backwards, bound, least, one, work, places)
        if backwards:
            _backwards(size, work)
        else:
            _forwards(size, work)
        for lane in range(size):
            given = flat[start + lane]
            inside = abs(given) < end
            moved[start + lane] = work[_POINT + lane] if inside else given
            log_slope[start + lane] = work[_LOG_SLOPE + lane] if inside else _0
    return moved.reshape(x.shape), log_slope.reshape(x.shape)


@_compiled
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
    work, places = np.zeros(_ROWS * _LANES, dtype=np.float32), np.zeros(_LANES, dtype=np.int64)
    for start in range(0, flat.size, _LANES):
        size = min(_LANES, flat.size - start)
        _prepare(x, parameters, start, size, False, bound, least, one, work, places)
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


@_compiled
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


@_compiled
def _of_logits(size: int, bound: float, least: float, one: Any, work: Floats) -> None:
    """Put the gradients for the parameters in their places, through softmax and softplus."""
    scale, offset = np.float32(2 * bound * (1 - BINS * least)), np.float32(2 * bound * least)
    # A wider bin moves the left side of those after it, a taller one their bottom.
    for lane in range(size):
        work[_OF_X + lane] = -work[_OF_X + lane]
    _through_softmax(size, scale, offset, work[_OF_X:], work[_OF_WIDTH:], work, work)
    heights = work[BINS * _LANES :]
    _through_softmax(size, scale, offset, work[_OF_Y:], work[_OF_HEIGHT:], work, heights)
    for lane in range(size):
        place = (_SLOPES + np.int64(work[_NUMBER + lane])) * _LANES + lane
        work[_SLOPE_0 + lane], work[_SLOPE_1 + lane] = work[place], work[_LANES + place]
    for lane in range(size):
        work[_OF_SLOPE_0 + lane] *= _sigmoid(work[_SLOPE_0 + lane] + one)
        work[_OF_SLOPE_1 + lane] *= _sigmoid(work[_SLOPE_1 + lane] + one)


@_compiled
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
            mean += (rows[k * _LANES + lane] - offset) * grad
        mean /= scale
        for k in range(BINS):
            later = before if np.float32(k) < number else _0
            grad = own if np.float32(k) == number else later
            rows[k * _LANES + lane] = (rows[k * _LANES + lane] - offset) * (grad - mean)


@_compiled
def _add(size: int, work: Floats, places: _Places, table: Floats) -> None:
    """Add gradients for the parameters of each point to those of its place."""
    for lane in range(size):
        row = table[places[lane]]
        for k in range(2 * BINS):
            row[k] += work[k * _LANES + lane]
        number = np.int64(work[_NUMBER + lane])
        if number > 0:
            row[2 * BINS + number - 1] += work[_OF_SLOPE_0 + lane]
        if number < BINS - 1:
            row[2 * BINS + number] += work[_OF_SLOPE_1 + lane]
