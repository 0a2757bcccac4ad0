"""Figures: what they show is what was found, nothing overlaps, nothing is left behind."""

import itertools
import json
import sys
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import colors as mcolors
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import StepPatch

from sbi_kit import plots
from sbi_kit.checks import BadValue
from sbi_kit.data import Exchangeable, Matrix, Series, Vector, read
from sbi_kit.diagnostics.calibration import calibrate
from sbi_kit.diagnostics.histogram import rank_histogram
from sbi_kit.diagnostics.local import LocalCheck
from sbi_kit.diagnostics.predictive import compare
from sbi_kit.diagnostics.ranks import rank_ecdf
from sbi_kit.importance import Correction
from sbi_kit.prior import Normal, Prior
from tests.oracles.conjugate import Bank, Conjugate

NAMES = (
    "beta",
    "gamma",
    "a_rather_long_parameter_name",
    "transmission_rate_in_schools",
    "s",
    "initial_number_of_infectious_people",
    "cost_in_$_or_$",
    "another_parameter_whose_name_is_long",
)
SCALES = (1.0, 1e3, 1e-4, 3e6, 1.0, 20.0, 1.0, 1e-9)


def verdict_of(k, b=300, **wrong):
    names, scales = NAMES[:k], SCALES[:k]
    bank = Bank(b, names, scales=scales, sizes=(1, 9))
    return calibrate(Conjugate(names, scales=scales, **wrong), bank, draws=99, seed=1)


@pytest.fixture(scope="module")
def narrow():
    return verdict_of(8, ratio=0.7)


@pytest.fixture(scope="module")
def exact():
    return verdict_of(2)


def replicates(layout, size, k=40):
    rng = np.random.default_rng(3)
    columns = len(layout.columns)
    seen = read(rng.gamma(3, size=(1, size, columns)), layout) if size > 1 else None
    if size == 1:
        seen = read(rng.gamma(3, size=(1, columns)), layout)
    return seen, rng.gamma(3, size=(1, k, size, columns)), layout


def weighted(b, s=1_000):
    """Weights of which the first dataset's are equal and the others' ever less so."""
    weights = np.exp(-np.arange(b)[:, None] * np.linspace(0, 5, s))
    weights /= weights.sum(axis=1, keepdims=True)
    k_hat = np.where(np.arange(b) < 2, 0.1, 0.9)
    draws = np.zeros((b, s, 1))
    sums = np.zeros((b, 1))
    return Correction(draws, weights, k_hat, 1 / np.square(weights).sum(axis=1), sums, sums)


def locally(names, b):
    p_values = np.geomspace(0.4, 0.001, b)
    shift = np.linspace(0, 2, b * len(names)).reshape(b, -1)
    return LocalCheck(names, p_values, p_values, shift, shift + 0.8, np.full(b, 97.0))


LAYOUTS = {
    "set": (Exchangeable(("dose", "time"), n=50), 50),
    "series": (Series(("in_bed", "convalescent"), n=20), 20),
    "vector": (Vector(("mean", "variance", "skewness")), 1),
    "matrix": (Matrix(("g1", "g2", "g3"), n=8), 8),
}


def history(seed=0):
    losses = np.random.default_rng(seed).gamma(3, size=(30, 2)).tolist()
    table = [[10.0 * i, *pair] for i, pair in enumerate(losses)]
    return {"best_step": 250, "evaluations": table}


def every_figure(verdict, dark):
    for draw in plots.OF_VERDICT:
        yield draw.__name__, draw(verdict, dark=dark)
    rng = np.random.default_rng(1)
    d = len(verdict.names)
    prior, draws = (rng.normal(size=(300, d)) * SCALES[:d] * s for s in (1, 0.3))
    yield "pairs", plots.pairs(verdict.names, draws, prior, draws[0], dark=dark)
    for name, (layout, size) in LAYOUTS.items():
        data = replicates(layout, size)
        yield name, plots.predictive(*data, dark=dark)
        yield f"discrepancies {name}", plots.discrepancies(compare(*data), dark=dark)
    for b in (1, 8):
        yield f"weights {b}", plots.importance_weights(weighted(b), dark=dark)
        yield f"local {b}", plots.local_check(locally(verdict.names, b), dark=dark)
    yield "training", plots.training(history(), dark=dark)
    held_out = rng.gamma(20, 0.05, size=200)
    steps = {"x1": "", "x2": "", "v1": "x1 · x2", "v2": "a_long_name($x1$)", "y1": "v1"}
    links = [("x1", "v1"), ("x2", "v1"), ("x1", "v2"), ("v1", "y1")]
    yield "computation", plots.computation(steps, links, dark=dark)
    yield "familiarity", plots.familiarity([1.2, 30.0], held_out, [0.3, 1e-9], dark=dark)


def texts(figure):
    """Every text that is drawn, with its box in pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    shown = [t for t in figure.findobj(mpl.text.Text) if t.get_visible() and t.get_text().strip()]
    lost = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for ticks in (axis.get_major_ticks(), axis.get_minor_ticks())
        for tick in ticks
        for label in (tick.label1, tick.label2)
        if not in_view(axis, tick) or not label.get_visible()
    }
    return [(t, t.get_window_extent(renderer)) for t in shown if t not in lost]


def in_view(axis, tick):
    low, high = sorted(axis.get_view_interval())
    room = 1e-9 * (high - low)
    return low - room <= tick.get_loc() <= high + room


def overlap(one, other):
    """Whether two texts, each with its box, lie on each other."""
    (text, a), (text_2, b) = one, other
    angle = text.get_rotation()
    if angle % 90 and angle == text_2.get_rotation():
        # Boxes of slanted texts overlap where these do not: how far apart are their lines?
        ends = [t.get_transform().transform(t.get_position()) for t in (text, text_2)]
        normal = -np.sin(np.radians(angle)), np.cos(np.radians(angle))
        return abs(np.dot(ends[1] - ends[0], normal)) < text.get_fontsize() / 72 * 100
    wide = min(a.x1, b.x1) - max(a.x0, b.x0)
    high = min(a.y1, b.y1) - max(a.y0, b.y0)
    return wide > 1 and high > 1


def test_no_text_overlaps_or_leaves_the_figure(narrow):
    for name, figure in every_figure(narrow, dark=False):
        found = texts(figure)
        for text, box in found:
            inside = box.x0 >= -1 and box.y0 >= -1
            inside &= box.x1 <= figure.bbox.width + 1 and box.y1 <= figure.bbox.height + 1
            assert inside, f"{name}: {text.get_text()!r} leaves the figure"
        for one, other in itertools.combinations(found, 2):
            both = f"{one[0].get_text()!r} on {other[0].get_text()!r}"
            assert not overlap(one, other), f"{name}: {both}"


def luminance(colour):
    linear = [c / 12.92 if c <= 0.04 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize(("dark", "page"), [(False, "#ffffff"), (True, "#16181c")])
def test_text_is_readable_on_its_page_and_the_page_shows_through(exact, dark, page):
    for name, figure in every_figure(exact, dark):
        assert figure.get_facecolor()[3] == 0
        assert all(axes.get_facecolor()[3] == 0 for axes in figure.axes)
        for text, _ in texts(figure):
            lights = luminance(mcolors.to_rgb(text.get_color())), luminance(mcolors.to_rgb(page))
            contrast = (max(lights) + 0.05) / (min(lights) + 0.05)
            assert contrast > 3.5, f"{name}: {text.get_text()!r}"
            assert text.get_fontsize() >= 8


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


@pytest.mark.parametrize("k", [1, 2, 5, 8])
def test_every_column_has_a_panel_that_says_what_was_found(k):
    verdict = verdict_of(k, b=120, shift=1.0)
    for draw in (plots.rank_ecdf, plots.coverage, plots.rank_histogram):
        heads = titles(draw(verdict))
        assert len(heads) == k
        assert [head.splitlines()[0] for head in heads[:2]] == ["beta", "gamma"][:k]
        assert all(head.endswith(": too high") for head in heads)
    for draw in (plots.recovery, plots.contraction, plots.averaged):
        assert len(draw(verdict).axes) == k
    assert len(plots.joint_coverage(verdict).axes) == 2
    heads = titles(plots.rank_ecdf(verdict_of(k, b=120)))
    assert all("inside, p = " in head and "too" not in head for head in heads)


def band_of(axes):
    """Lower and upper edge of the only filled band at its points."""
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    points = np.unique(corners[:, 0])
    edges = [[f(corners[corners[:, 0] == x, 1]) for x in points] for f in (np.min, np.max)]
    return points, *map(np.array, edges)


def curve_of(axes):
    return axes.lines[-1].get_data()


def test_curves_and_bands_are_those_of_the_verdict(narrow):
    band, found, heights = narrow.band, narrow.coverage, rank_ecdf(narrow.ranks, narrow.draws)
    drawn = [
        (plots.rank_ecdf, band.points, heights, band),
        (plots.coverage, found.levels, found.values, found.band),
        (
            plots.joint_coverage,
            narrow.tarp.levels,
            np.stack([check.values for check in narrow.joint], axis=-1),
            narrow.tarp.band,
        ),
    ]
    for draw, at, values, limits in drawn:
        for i, axes in enumerate(draw(narrow).axes):
            points, lower, upper = band_of(axes)
            np.testing.assert_allclose(points, at)
            np.testing.assert_allclose(lower, limits.lower - at)
            np.testing.assert_allclose(upper, limits.upper - at)
            x, y = curve_of(axes)
            np.testing.assert_allclose(x, at)
            np.testing.assert_allclose(y, values[:, i] - at)


def test_bars_are_those_of_the_ranks(narrow):
    bars = rank_histogram(narrow.ranks, narrow.draws, level=narrow.band.level)
    for i, axes in enumerate(plots.rank_histogram(narrow).axes):
        band, found = (patch for patch in axes.patches if isinstance(patch, StepPatch))
        np.testing.assert_array_equal(band.get_data().values, bars.upper)
        np.testing.assert_array_equal(band.get_data().baseline, bars.lower)
        np.testing.assert_array_equal(found.get_data().values, bars.heights[:, i])
        assert axes.get_ylim()[1] >= bars.heights.max()


def test_bars_count_ranks_and_an_exact_posterior_stays_between_them():
    bars = rank_histogram(np.array([[0], [1], [1], [6]]), 6)
    np.testing.assert_allclose(bars.edges, np.arange(8) / 7)
    np.testing.assert_allclose(bars.heights[:, 0], np.array([1, 2, 0, 0, 0, 0, 1]) * 7 / 4)
    uneven = rank_histogram(np.arange(50)[:, None], 49)  # bars of two and of three ranks
    np.testing.assert_allclose(uneven.heights, 1.0)
    rng = np.random.default_rng(0)
    ranks = rng.integers(0, 100, size=(400, 1000))
    bars = rank_histogram(ranks, 99, level=0.9)
    inside = (bars.heights >= bars.lower[:, None]) & (bars.heights <= bars.upper[:, None])
    # Binomial intervals are wider than asked: 0.9 to 0.97, with three standard errors of 0.0095.
    assert 0.87 < inside.all(axis=0).mean() < 0.98
    with pytest.raises(BadValue, match=r"Expected level .*; got 2; change level"):
        rank_histogram(ranks, 99, level=2.0)


def test_points_are_the_datasets(narrow):
    recovered, informed = plots.recovery(narrow).axes, plots.contraction(narrow).axes
    for i in range(8):
        bars, points = recovered[i].collections
        np.testing.assert_allclose(points.get_offsets().T, [narrow.truth[:, i], narrow.mean[:, i]])
        ends = np.array(bars.get_segments())[:, :, 1]
        np.testing.assert_allclose(ends.mean(axis=1), narrow.mean[:, i])
        np.testing.assert_allclose(np.ptp(ends, axis=1), 4 * narrow.sd[:, i])
        each, z = informed[i].collections[0].get_offsets().T
        np.testing.assert_allclose(each.mean(), narrow.contraction[i])
        np.testing.assert_allclose(z, narrow.z_scores[:, i])
    for i, axes in enumerate(plots.averaged(narrow).axes):
        prior, away = curve_of(axes)
        np.testing.assert_allclose(prior, narrow.averaged.prior[:, i])
        np.testing.assert_allclose(prior + away, narrow.averaged.posterior[:, i])


def test_strata_show_every_p_value_and_fill_what_fails():
    verdict = verdict_of(2, shift=0.6)
    (axes,) = plots.strata(verdict).axes
    cells = [text.get_text() for text in axes.texts]
    assert len(cells) == 2 * len(verdict.strata)
    failed = sum(len(part.failed) for part in verdict.strata)
    assert 0 < failed == sum("too high" in cell for cell in cells) == len(axes.collections)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [f"{part.label} ({len(part.rows)})" for part in verdict.strata]
    whole = plots.strata(replace(verdict, strata=()))
    assert "as a whole" in whole.texts[0].get_text()


def test_pairs_hold_all_the_draws_and_the_truth():
    rng = np.random.default_rng(0)
    prior = rng.uniform(0, 10, size=(500, 2))
    draws = rng.normal(5, 0.1, size=(400, 2))
    figure = plots.pairs(("a", "b"), draws, prior, [5.0, 9.0])
    first, joint, second = figure.axes
    for axes, i in ((first, 0), (second, 1)):
        behind, found = (patch.get_data() for patch in axes.patches)
        np.testing.assert_allclose((found.values * np.diff(found.edges)).sum(), 1)
        low, high = axes.get_xlim()
        within = ((prior[:, i] >= low) & (prior[:, i] <= high)).mean()
        np.testing.assert_allclose((behind.values * np.diff(behind.edges)).sum(), within)
    assert joint.images[0].get_array().sum() == 400
    # Columns of the image go with the horizontal axis.
    along_a = joint.images[0].get_array().sum(axis=0)
    edges = np.linspace(*joint.get_xlim(), len(along_a) + 1)
    np.testing.assert_array_equal(along_a, np.histogram(draws[:, 0], edges)[0])
    assert [line.get_xdata()[0] for line in joint.lines] == [0, 5.0]
    assert first.get_xlim()[1] < 6.0  # near the posterior, not all of the prior
    assert second.get_xlim()[1] > 9.0  # the truth is never cut off
    assert (joint.get_xlabel(), joint.get_ylabel()) == ("a", "b")
    with pytest.raises(BadValue, match=r"Expected draws of shape \(s, 2\); got \(400, 1\); pass"):
        plots.pairs(("a", "b"), draws[:, :1], prior)


def test_densities_end_where_the_support_of_the_prior_does():
    rng = np.random.default_rng(0)
    prior = np.abs(rng.normal(size=(2_000, 2)))
    draws = prior[:400] * [0.02, 1.0]
    for figure in (
        plots.pairs(("a", "b"), draws, prior),
        plots.pairs(("a", "b"), draws * 0, prior),
    ):
        first, joint, second = figure.axes
        for axes in (first, second):
            assert all(patch.get_data().edges[0] >= 0 for patch in axes.patches)
            assert axes.get_xlim()[0] < 0  # the end is seen to be one
        assert min(joint.images[0].get_extent()) >= 0
        np.testing.assert_array_equal(joint.get_xlim(), first.get_xlim())
        np.testing.assert_array_equal(joint.get_ylim(), second.get_xlim())
    truth = plots.pairs(("a", "b"), draws, prior, [-1.0, 0.5])
    assert truth.axes[0].get_xlim()[0] < -1
    assert truth.axes[0].patches[1].get_data().edges[0] >= 0
    still = plots.pairs(("a",), np.ones((9, 1)), np.ones((9, 1))).axes[0]
    assert still.patches[1].get_data().values.max() > 0


def test_long_names_stand_whole_beside_the_diagonal(narrow):
    figure = dict(every_figure(narrow, dark=False))["pairs"]
    heads = {text.get_text().replace("\\", "") for axes in figure.axes for text in axes.texts}
    assert heads == set(NAMES)
    draws = np.random.default_rng(0).normal(size=(50, 2))
    for _, box in texts(plots.pairs(("a" * 300, "b" * 300), draws, draws)):
        assert box.x0 >= 0
        assert box.x1 <= 100 * 7.5


def test_losses_of_all_members_are_drawn():
    (axes,) = plots.training({"members": [history(0), history(1)]}).axes
    assert len(axes.lines) == 6
    table = np.array(history(0)["evaluations"])
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), table[:, [0, 1]])
    np.testing.assert_array_equal(axes.lines[1].get_xydata(), table[:, [0, 2]])
    assert axes.lines[2].get_xydata().tolist() == table[table[:, 0] == 250][:, [0, 2]].tolist()
    holes = history() | {"evaluations": [[1, None, 2.0], [250, 1.0, None]]}
    assert len(plots.training(json.loads(json.dumps(holes))).axes) == 1
    assert "No losses" in plots.training({}).texts[0].get_text()


def test_replicates_of_a_series_run_between_their_quantiles():
    seen, made, layout = replicates(*LAYOUTS["series"])
    for j, axes in enumerate(plots.predictive(seen, made, layout).axes):
        far = axes.collections[0].get_paths()[0].vertices
        np.testing.assert_allclose(far[:, 1].max(), np.quantile(made[0, :, :, j], 0.975, 0).max())
        assert axes.lines[-1].get_ydata().tolist() == seen.values[0, :, j].tolist()
    assert titles(plots.predictive(seen, made, layout)) == list(layout.columns)


def test_data_are_taken_in_any_form_and_time_has_its_unit():
    seen, made, layout = replicates(*LAYOUTS["series"])
    rows = seen.values[0]
    known = replace(layout, context=Prior(dose=Normal(0, 1)))
    forms = (seen, rows, [rows], dict(zip(layout.columns, rows.T, strict=True)), pd.DataFrame(rows))
    forms[-1].columns = layout.columns[::-1]
    for form, scale in zip(forms, (seen, rows, rows, rows, rows[:, ::-1]), strict=True):
        values = getattr(scale, "values", scale).reshape(rows.shape)
        figure = plots.predictive(form, made, known, units={"time": "day"})
        shown = np.stack([axes.lines[-1].get_ydata() for axes in figure.axes], axis=1)
        np.testing.assert_array_equal(shown, values)
        assert figure.get_supxlabel().startswith("time [day]; bands hold")
    assert plots.predictive(rows, made, layout).get_supxlabel().startswith("time point; bands")
    with pytest.raises(BadValue, match="columns"):
        plots.predictive(rows[:, :1], made, layout)


def test_weights_that_a_few_draws_hold_are_named_so():
    found = weighted(3)
    figure = plots.importance_weights(found)
    for i, axes in enumerate(figure.axes):
        level, held = (line.get_ydata() for line in axes.lines)
        np.testing.assert_allclose(level, np.arange(1, 1_001) / 1_000)
        np.testing.assert_allclose(held, np.cumsum(np.sort(found.weights[i])[::-1]))
    np.testing.assert_allclose(*(line.get_ydata() for line in figure.axes[0].lines))
    words = ["k-hat 0.10: reliable\nworth 1000 draws", "k-hat 0.90: NOT reliable\nworth"]
    for i, word in ((0, words[0]), (2, words[1])):
        assert titles(figure)[i].startswith(f"dataset {i}\n{word}")
    assert titles(plots.importance_weights(weighted(1)))[0].startswith("observed data\n")
    assert len(plots.importance_weights(weighted(8)).axes) == 6


def test_a_local_check_shows_where_true_values_lie():
    found = locally(("beta", "gamma"), 3)
    figure = plots.local_check(found)
    for i, axes in enumerate(figure.axes):
        for row in range(2):
            bar, line, dot = axes.lines[3 * row : 3 * row + 3]
            mean, width = found.shift[i, row], found.width[i, row]
            assert bar.get_xdata().tolist() == [-1, 1]
            assert dot.get_xdata()[0] == mean
            ends = np.array(line.get_xdata())
            np.testing.assert_allclose(ends.mean(), mean)
            np.testing.assert_allclose((ends - mean)[1] ** 2 + mean**2, width**2)
            assert {*bar.get_ydata(), *line.get_ydata(), *dot.get_ydata()} == {row}
    assert titles(figure)[2] == "dataset 2\np = 0.001, 97 like it"
    shades = [axes._left_title.get_color() for axes in figure.axes]
    assert shades[0] != shades[2]


def test_shares_of_a_set_add_up_and_outliers_are_in_the_last_bar():
    layout = Exchangeable(("dose",), n=(1, 60))
    rng = np.random.default_rng(0)
    made = rng.normal(size=(2, 30, 60, 1))
    seen = read([np.full(20, 9.0), np.append(rng.normal(size=59), 1e3)], layout)
    (axes,) = plots.predictive(seen, made, layout).axes
    found = axes.patches[-1].get_data()
    assert found.values[-1] == 1.0
    (axes,) = plots.predictive(seen, made, layout, dataset=1).axes
    found = axes.patches[-1].get_data()
    assert found.values.sum() == pytest.approx(1.0)
    assert found.edges[-1] < 1e3
    assert found.values[-1] == pytest.approx(1 / 60)
    with pytest.raises(BadValue, match=r"Expected dataset as an integer in \[0, 1\]; got 2"):
        plots.predictive(seen, made, layout, dataset=2)


def test_what_cannot_be_used_or_is_missing_is_left_out():
    layout = Series(("in_bed",), n=5, missing=True)
    made = np.ones((1, 3, 5, 1))
    made[0, 0, 2], made[0, 1, :] = np.inf, np.nan
    seen = read(np.array([1.0, np.nan, 2.0, 3.0, 4.0]), layout)
    (axes,) = plots.predictive(seen, made, layout).axes
    assert axes.lines[0].get_ydata().tolist() == [1.0] * 5
    with pytest.raises(BadValue, match=r"Expected replicates of finite values; got none; look"):
        plots.predictive(seen, np.full((1, 3, 5, 1), np.inf), layout)


def test_exchangeable_columns_of_a_matrix_are_compared_in_order_of_their_means():
    layout = Matrix(("g1", "g2", "g3"), n=2)
    seen = read(np.array([[[3.0, 1.0, 2.0], [5.0, 1.0, 2.0]]]), layout)
    made = np.repeat(seen.values[:, None, :, ::-1], 4, axis=1)
    (axes,) = plots.predictive(seen, made, layout).axes
    assert axes.lines[-1].get_ydata().tolist() == [1.0, 2.0, 4.0]
    ordered = replace(layout, columns_exchangeable=False)
    (axes,) = plots.predictive(seen, made, ordered).axes
    assert axes.lines[-1].get_ydata().tolist() == [4.0, 1.0, 2.0]


def test_discrepancies_are_placed_among_their_replicates():
    layout = Vector(("near", "far", "same"))
    made = np.tile(np.arange(-100.0, 101)[None, :, None, None], (1, 1, 1, 3))
    made[..., 2] = 0
    check = compare(read([95.0, -900.0, 0.0], layout), made, layout)
    (axes,) = plots.discrepancies(check).axes
    dots = axes.lines[1::2]
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx([1, -4, 0])
    assert [dot.get_marker() for dot in dots] == ["o", "<", "o"]
    words = [text.get_text() for text in axes.texts]
    assert words[1].endswith(", unlike")
    assert not words[0].endswith("unlike")
    assert [label.get_text() for label in axes.get_yticklabels()] == list(check.names)


def test_unfamiliar_data_are_in_the_picture():
    held_out = np.random.default_rng(0).gamma(20, 0.05, size=200)
    (axes,) = plots.familiarity([1e4], held_out, [1e-9]).axes
    assert axes.get_xlim()[1] > 1e4
    assert axes.patches[0].get_data().values.sum() == 200
    assert [line.get_xdata()[0] for line in axes.lines] == [np.quantile(held_out, 0.95), 1e4]
    assert axes.get_legend().get_texts()[-1].get_text() == "observed, p = 1e-9"


def test_files_are_the_same_every_time(exact):
    for draw in (plots.rank_ecdf, plots.recovery):
        one, two = draw(exact), draw(exact)
        assert plots.to_svg(one) == plots.to_svg(two) == plots.to_svg(one)
        assert plots.to_png(one) == plots.to_png(two)
        assert "<dc:date>" not in plots.to_svg(one)
        assert plots.to_svg(draw(exact, dark=True)) != plots.to_svg(one)


def test_nothing_global_changes_and_no_figure_stays_open(exact):
    before = {k: v for k, v in mpl.rcParams.items() if k != "backend"}
    loaded = "matplotlib.pyplot" in sys.modules
    for _, figure in every_figure(exact, dark=True):
        plots.to_svg(figure)
    assert {k: v for k, v in mpl.rcParams.items() if k != "backend"} == before
    assert ("matplotlib.pyplot" in sys.modules) == loaded
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


# Supervised models


def supervised_figures(dark):
    rng = np.random.default_rng(0)
    lams = np.geomspace(0.5, 5e-4, 15)
    weights = np.cumsum(rng.standard_normal((2, 15, 40)) * (rng.random(40) < 0.7), axis=1)
    names = [*NAMES, *(f"feature_{j}=a_level_of_it" for j in range(32))]
    yield (
        "path",
        plots.weights_along_path(lams, *weights, names, chosen=0.01, dark=dark),
    )
    yield "importances", plots.importances(names, *rng.gamma(1, 1, (3, 40)), dark=dark)
    yield "few", plots.importances(names[:2], *rng.gamma(1, 1, (3, 2)), dark=dark)
    said = np.linspace(0.01, 0.9, 10)
    seen = said + np.r_[0.3, np.zeros(9)]
    rates, losses = np.array([1e-3, 3e-3, 1e-2, 2e-2]), np.array([0.3, 0.25, 0.19, 0.2])
    yield (
        "rates",
        plots.learning_rates(rates, losses, 1 - losses, errors=losses / 50, best=0.96, dark=dark),
    )
    sizes, best = np.array([9.0, 12, 15, 18, 24]), np.linspace(0.95, 0.97, 5)
    methods = ("wide & deep", "fully connected", "parity solver", "boosted trees", "logistic")
    reached = {name: best[:, None] - k / 10 - np.eye(5, 3) / 50 for k, name in enumerate(methods)}
    yield "sizes", plots.accuracy_by_size(sizes, best, reached, dark=dark)
    yield "class calibration", plots.class_calibration(said, seen, np.full(10, 0.02), dark=dark)


@pytest.mark.parametrize("dark", [False, True])
def test_figures_of_supervised_models_have_no_texts_on_each_other(dark):
    again = dict(supervised_figures(dark))
    for name, figure in supervised_figures(dark):
        assert plots.to_png(figure, dpi=50) == plots.to_png(again[name], dpi=50)
        shown = texts(figure)
        touching = [
            (a[0].get_text(), b[0].get_text())
            for a, b in itertools.combinations(shown, 2)
            if overlap(a, b)
        ]
        assert not touching, name


def test_supervised_figures_show_what_they_are_given():
    figures = dict(supervised_figures(False))
    first, second = figures["path"].axes
    assert "40 weights are not zero" in first.get_title(loc="left")
    assert first.get_xlim()[0] > first.get_xlim()[1]  # the penalty falls
    assert len(second.texts) == 5
    bars = [patch.get_width() for patch in figures["importances"].axes[2].patches]
    assert len(bars) == 20
    assert bars == sorted(bars, reverse=True)
    for axes in figures["rates"].axes:
        (chosen,) = [line for line in axes.lines if line.get_label() == "chosen"]
        assert chosen.get_xdata().tolist() == [1e-2]
    (axes,) = figures["sizes"].axes
    found = {line.get_label(): line.get_ydata() for line in axes.lines}
    assert found["best possible"] == pytest.approx(np.linspace(0.95, 0.97, 5))
    assert found["fully connected"][0] == pytest.approx(0.85 - 1 / 150)
    assert len(axes.collections) == 5  # a range for each
    (axes,) = figures["class calibration"].axes
    marked = [line for line in axes.lines if line.get_label() == "outside"]
    assert marked[0].get_xdata().tolist() == [0.01]
