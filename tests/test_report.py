"""The report: a page that holds all it needs, says what was found, and has the right numbers."""

import io
import json
import re
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from importlib.metadata import version

import numpy as np
import pytest
from PIL import Image

import sbi_kit as sk
from sbi_kit import plots
from sbi_kit.arviz_bridge import summary_table
from sbi_kit.certificate import certify
from sbi_kit.checks import BadType, BadValue
from sbi_kit.page import Facts, Notes, Page, Prose, Section, Table

SECTIONS = [
    "verdict",
    "posterior",
    "model",
    "data",
    "predictive",
    "familiarity",
    "calibration",
    "training",
    "settings",
    "certificate",
]
LIMIT = 3_000_000
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Reader(HTMLParser):
    """What a browser would make of a page, as far as tests ask."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.stack = [], [], []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img", "source"):
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if "style" not in self.stack:
            self.texts.append((tuple(self.stack), data))

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def inside(self, tag):
        return [
            " ".join(data.split()) for stack, data in self.texts if tag in stack and data.strip()
        ]

    @property
    def text(self):
        return " ".join(" ".join(data for _, data in self.texts).split())


def tables(text):
    """Cells of all tables by their captions."""
    found = {}
    for table in re.findall(r"<table>.*?</table>", text, flags=re.DOTALL):
        read = Reader(table)
        rows = re.findall(r"<tr>.*?</tr>", table, flags=re.DOTALL)
        cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
        found[read.inside("caption")[0]] = cells
    return found


@dataclass(frozen=True)
class Lab:
    """A simulator of any layout.

    Parameters: `rate` [1/day], `spread` without unit.

    Args:
        data: The layout.
    """

    data: object
    name: str = "lab"
    prior: sk.Prior = field(
        default_factory=lambda: sk.Prior(rate=sk.Normal(0, 1), spread=sk.LogNormal(0, 0.3))
    )

    def simulate(self, theta, rng, n=1, context=None):
        shape = (len(theta), n, len(self.data.columns))
        x = theta[:, :1, None] + theta[:, 1:, None] * rng.standard_normal(shape)
        if context is not None:
            x = x * context[:, :, None]
        for name in self.data.missing:
            x[rng.random(shape[:2]) < 0.2, self.data.columns.index(name)] = np.nan
        return x[:, 0] if isinstance(self.data, sk.Vector) else x


class Stimulus(Lab):
    """Without paragraphs."""

    def simulate(self, theta, rng, context):
        return super().simulate(theta, rng, context=context)


def trained(model):
    return sk.fit(sk.simulate(model, 1_000, seed=1), seed=2, width=8, hidden=8, steps=5, members=1)


def written(posterior, x, path, **settings):
    sk.report(posterior, x, path, **{"verdict": None, "draws": 200, "seed": 3, **settings})
    return path.read_text()


SERIES = Lab(sk.Series(columns=("count", "size"), n=8))
X = np.arange(16).reshape(8, 2) / 10
CELLS = np.random.default_rng(0).normal(1, 1, size=(4, 70))


@pytest.fixture(scope="module")
def series():
    return trained(SERIES)


@pytest.fixture(scope="module")
def verdict(series):
    bank = sk.simulate(SERIES, 200, seed=4)
    quantities = {"ratio": lambda theta: theta[:, 0] / theta[:, 1]}
    return sk.calibrate(series, bank, draws=40, seed=5, quantities=quantities)


@pytest.fixture(scope="module")
def page(series, verdict, tmp_path_factory):
    return written(series, X, tmp_path_factory.mktemp("page") / "r.html", verdict=verdict)


@pytest.fixture
def blank(monkeypatch):
    """Figures that cost nothing, for tests of words and numbers."""
    monkeypatch.setattr("sbi_kit.plots.to_webp", lambda figure, dpi: b"")


# What it is made of


def expect_whole(text):
    """The laws of every page."""
    read = Reader(text)
    assert len(text.encode()) < LIMIT
    assert [a["id"] for a in read.of("section")] == SECTIONS
    headings = [tag for tag, _ in read.tags if re.fullmatch(r"h\d", tag)]
    assert headings == ["h1", *["h2"] * len(SECTIONS)]
    assert [a["href"] for a in read.of("a")] == [f"#{name}" for name in SECTIONS]
    names = [a["id"] for _, a in read.tags if "id" in a]
    assert len(set(names)) == len(names)
    for attributes in read.of("section"):
        assert attributes["aria-labelledby"] in names
    assert len(read.of("img")) == len(read.of("figcaption")) == len(read.of("source"))
    for light, dark in zip(read.of("img"), read.of("source"), strict=True):
        assert light["alt"]
        assert dark["media"] == "(prefers-color-scheme: dark)"
    for _, attributes in read.tags:
        for name in ("src", "srcset", "href", "data", "poster"):
            if name in attributes:
                assert re.match(r"data:|#", attributes[name])
    assert not re.search(r"@import|url\(|https?:|<script|<iframe|<object", text)
    assert len(read.of("caption")) == len(read.of("table")) > 0
    assert {a["scope"] for a in read.of("th")} == {"col", "row"}
    assert dict(read.tags)["html"] == {"lang": "en"}
    assert {"charset": "utf-8"} in read.of("meta")
    return read


def test_a_page_holds_all_it_needs(page):
    read = expect_whole(page)
    assert len(read.of("img")) == 13
    for light, dark in zip(read.of("img"), read.of("source"), strict=True):
        start = "data:image/webp;base64,UklGR"
        assert light["src"].startswith(start)
        assert dark["srcset"].startswith(start)
        assert light["src"] != dark["srcset"]
    sources = [a["src"] for a in read.of("img")]
    assert len(set(sources)) == len(sources)
    for caption in read.inside("figcaption"):
        assert 1 <= len(re.findall(r"[.;](?: |$)", caption)) <= 3
        assert len(caption) > 50


def test_the_verdict_comes_first(page, verdict):
    read = Reader(page)
    words = read.text[read.text.index("Verdict", read.text.index("Certificate")) :]
    lead = words[: words.index("Posterior mean")]
    assert verdict.sentence in lead
    assert "misspecification score" in lead
    assert verdict.passed is False
    assert "Do not trust this posterior before reading on: a fault was found in calib" in lead


def test_the_same_page_every_time(series, tmp_path, blank):
    pages = [written(series, X, tmp_path / name) for name in ("a", "b")]
    assert pages[0] == pages[1]
    assert written(series, X, tmp_path / "c", seed=4) != pages[0]


def test_images_are_the_same_every_time_and_lose_nothing(series):
    webps = [plots.to_webp(plots.training(series.history), dpi=40) for _ in range(2)]
    assert webps[0] == webps[1]
    images = [webps[0], plots.to_png(plots.training(series.history), dpi=40)]
    webp, png = (np.asarray(Image.open(io.BytesIO(image)).convert("RGBA")) for image in images)
    seen = png[..., 3] > 0
    np.testing.assert_array_equal(webp[..., 3], png[..., 3])
    np.testing.assert_array_equal(webp[seen], png[seen])


# Numbers


def test_numbers_are_those_of_the_inference(page, series, verdict):
    found = tables(page)
    idata = series.infer(X, draws=200, seed=3, predictive=0)
    table = summary_table(idata, series.prior.names)
    shown = found["Posterior mean, standard deviation and ends of the 95 % interval"]
    assert shown[0] == ["parameter", "mean", "sd", "2.5%", "97.5%"]
    for row, (name, values) in zip(shown[1:], table.iterrows(), strict=True):
        assert row[0] == name
        np.testing.assert_allclose(
            [float(cell) for cell in row[1:]], values, atol=values["sd"] / 50
        )
    score = idata["sample_stats"]["misspecification"].item()
    assert found["Misspecification score, most unlike first"][1][1] == f"{score:.3g}"
    check = sk.predictive_check(series, X, model=SERIES, draws=200, seed=3)
    (shown,) = [rows for title, rows in found.items() if title == "The data and 200 replicates"]
    assert [row[0].replace("\N{NO-BREAK SPACE}", " ") for row in shown[1:]] == list(check.names)
    np.testing.assert_allclose([float(r[1]) for r in shown[1:]], check.observed[0], rtol=1e-3)
    np.testing.assert_allclose([float(r[5]) for r in shown[1:]], check.p_values[0], rtol=0.05)
    assert [row[6] == "yes" for row in shown[1:]] == check.unlike[0].tolist()
    (shown,) = [rows for title, rows in found.items() if title.startswith("How often")]
    assert [row[0] for row in shown[1:4]] == ["rate", "spread", "ratio"]
    np.testing.assert_allclose(
        [float(r[3]) for r in shown[1:4]], verdict.coverage.at(0.5), atol=6e-4
    )
    np.testing.assert_allclose([float(r[6]) for r in shown[1:4]], verdict.r2, atol=6e-4)
    marks = [row[1] == "yes" for row in shown[1:]]
    assert marks == [*verdict.passed_by_parameter.values(), *(c.passed for c in verdict.joint)]
    (shown,) = [rows for title, rows in found.items() if title.startswith("Parts")]
    assert [row[0] for row in shown[1:]] == [part.label for part in verdict.strata]


def test_wild_numbers_stay_short(series, verdict, tmp_path, blank):
    wild = replace(verdict.recovery, mean=1e150 * verdict.mean)
    judged = replace(verdict, recovery=wild)
    cells = [
        row
        for rows in tables(written(series, X, tmp_path / "r", verdict=judged)).values()
        for row in rows
    ]
    assert max(len(cell) for row in cells for cell in row[1:]) < 40


def test_model_data_and_settings_are_told(page, series, verdict):
    text = Reader(page).text
    assert "A simulator of any layout. Parameters: rate [1/day], spread without unit." in text
    assert "The layout." not in text
    found = tables(page)
    prior = found["Prior of each parameter, with quantiles of its draws"]
    assert [row[:2] for row in prior[1:]] == [
        ["rate", "Normal(0, 1)"],
        ["spread", "LogNormal(0, 0.3)"],
    ]
    column = X[:, 1]
    numbers = column.mean(), column.std(ddof=1), column.min(), np.median(column), column.max()
    row = ["size", "8", "0", *(f"{number:.5g}" for number in numbers)]
    assert found["Columns of the data"][2] == row
    assert f"seed of the calibration check {verdict.seed}" in text
    assert f"validation loss {series.history['validation_loss']:.6g}" in text
    assert f"torch {version('torch')}" in text


# All kinds of data


@pytest.mark.parametrize(
    ("model", "x", "context", "words"),
    [
        (
            Stimulus(
                sk.Vector(("a", "b"), context=sk.Prior(dose=sk.Uniform(0.5, 2)), missing=("b",))
            ),
            [1.0, np.nan],
            {"dose": 1.25},
            ["dose 1.25", "b missing", "vector: a, b", "known besides (dose=Uniform(0.5, 2))"],
        ),
        (
            Lab(sk.Exchangeable(("a", "b"), n=(3, 9), missing=True)),
            np.array([[1, 2], [np.nan, 3], [0, np.nan], [1, 1.0]]),
            None,
            ["set of 3 to 9 observations: a, b", "a 3 1 0.66667 0.57735 0 1 1"],
        ),
        (
            Lab(sk.Matrix(tuple(f"g{i}" for i in range(70)), n=4)),
            CELLS,
            None,
            [
                "matrix of 4 rows and 70 columns",
                f"cells 280 0 {CELLS.mean():.5g} {CELLS.std(ddof=1):.5g} ",
            ],
        ),
    ],
)
def test_every_layout_has_its_page(model, x, context, words, tmp_path):
    settings = {"verdict": None, "draws": 50, "seed": 3, "context": context}
    sk.report(trained(model), x, tmp_path / "r.html", **settings)
    read = expect_whole((tmp_path / "r.html").read_text())
    assert len(read.of("img")) == 5
    for word in words:
        assert word in read.text


def test_of_several_datasets_figures_show_the_first(series, tmp_path, blank):
    text = written(series, np.stack([X, X + 0.1, X]), tmp_path / "r.html")
    read, found = expect_whole(text), tables(text)
    assert read.inside("h1") == ["Posterior of lab given 3 observed datasets"]
    (shown,) = [rows for title, rows in found.items() if title.startswith("Posterior mean")]
    names = [row[0] for row in shown[1:]]
    assert names == [f"{name}[{i}]" for name in ("rate", "spread") for i in range(3)]
    assert [row[0] for row in found["The observed datasets"][1:]] == ["0", "1", "2"]
    assert "figures about the first, number 0" in read.text
    assert sum("Shown for dataset 0." in caption for caption in read.inside("figcaption")) == 3


def test_units_stand_beside_names(tmp_path, blank):
    layout = sk.Series(columns=("count", "size"), n=8)
    units = {"rate": "1/day", "count": "boys"}
    prior, simulate = SERIES.prior, SERIES.simulate
    model = sk.Simulator(name="u", prior=prior, data=layout, simulate=simulate, units=units)
    posterior = trained(model)
    verdict = sk.calibrate(posterior, sk.simulate(model, 100, seed=4), draws=20, seed=5)
    assert verdict.units == units
    posterior.save(tmp_path / "run")
    kept = sk.load(tmp_path / "run")
    found = tables(written(kept, np.stack([X, X]), tmp_path / "r.html", model=model))
    (shown,) = [rows for title, rows in found.items() if title.startswith("Posterior mean")]
    names = ["rate[0] [1/day]", "rate[1] [1/day]", "spread[0]", "spread[1]"]
    assert [row[0] for row in shown[1:]] == names
    (shown,) = [rows for title, rows in found.items() if title.startswith("Prior of each")]
    assert [row[0] for row in shown[1:]] == ["rate [1/day]", "spread"]
    assert [row[0] for row in found["Columns of dataset 0"][1:]] == ["count [boys]", "size"]
    idata = kept.infer(X, draws=20, seed=1, model=model)
    for group in ("posterior", "prior"):
        assert idata[group]["rate"].attrs["units"] == "1/day"
        assert "units" not in idata[group]["spread"].attrs
    for group in ("observed_data", "posterior_predictive", "prior_predictive"):
        assert idata[group]["count"].attrs["units"] == "boys"


def test_where_the_likelihood_is_known_draws_are_weighted(tmp_path, blank):
    class Known(Lab):
        def log_likelihood(self, theta, x):
            z = (x.values[0] - theta[:, :1, None]) / theta[:, 1:, None]
            return -(z**2 / 2).sum((1, 2)) - z[0].size * np.log(theta[:, 1])

    model = Known(sk.Series(columns=("count", "size"), n=8))
    posterior = trained(model)
    text = written(posterior, np.stack([X, X + 0.1]), tmp_path / "r.html")
    shown = tables(text)["Posterior as drawn, and weighted by the likelihood"]
    x = np.stack([X, X + 0.1])
    idata = posterior.infer(x, draws=200, seed=3, model=model, predictive=0)
    stats, rate = idata["sample_stats"], idata["posterior"]["rate"]
    assert [row[0] for row in shown[1:]] == ["rate[0]", "spread[0]", "rate[1]", "spread[1]"]
    weighted = (stats["weight"] * rate).sum(("chain", "draw")).values
    np.testing.assert_allclose([float(shown[i][3]) for i in (1, 3)], weighted, atol=0.02)
    assert [row[5] for row in shown[1::2]] == [f"{k:.2f}" for k in stats["k_hat"].values]
    limit = 1 - 1 / np.log10(200)
    assert [row[6] == "yes" for row in shown[1::2]] == (stats["k_hat"].values < limit).tolist()
    assert "Agreement with the likelihood" in text
    value = stats["misspecification_mmd"].item()
    words = Reader(text).text
    assert f"simulations from the prior are (MMD² {value:.3g}, p = " in words
    assert "weighted by the likelihood" not in written(trained(SERIES), X, tmp_path / "s.html")


def test_without_the_simulator_the_certificate_speaks(series, tmp_path, blank):
    away = replace(series, model=None)
    text = Reader(written(away, X, tmp_path / "a.html")).text
    assert text.count("The simulator 'lab' is not installed here, or differs") == 3
    assert "none of 3" not in text
    assert "only 1 of 3 checks came to a finding" in text
    assert "Never checked: run sbi-kit check DIR, or sk.calibrate and sk.certify." in text
    away.save(tmp_path / "run")
    bank = sk.simulate(SERIES, 120, seed=4)
    made = certify(tmp_path / "run", sk.calibrate(series, bank, draws=30, seed=5))
    text = written(sk.load(tmp_path / "run"), X, tmp_path / "b.html")
    assert Reader(text).text.count(str(made)) == 3
    text = written(away, X, tmp_path / "c.html", model=SERIES)
    assert "not installed" not in text


def test_a_simulator_that_fails_costs_the_check_alone(series, tmp_path, blank):
    class Broken(Lab):
        def simulate(self, theta, rng, n):
            raise ZeroDivisionError("no rate")

    text = written(series, X, tmp_path / "r.html", model=Broken(SERIES.data))
    assert "The simulator failed for draws of the posterior (no rate)." in text
    expect_whole(text)


def test_warnings_are_given_and_kept(series, tmp_path, blank):
    with pytest.warns(UserWarning, match="Dataset 0 is unlike everything simulated") as caught:
        text = written(series, 1e3 * X, tmp_path / "r.html")
    assert caught[0].filename == __file__
    assert "a fault was found in familiarity of the data." in text
    assert str(caught[0].message) in text.replace("\N{NO-BREAK SPACE}", " ")


def test_names_are_text_and_never_markup(tmp_path, blank):
    evil = '<img src=x onerror=f()>&amp;"'
    prior = sk.Prior(**{evil: sk.Normal(0, 1), "spread": sk.LogNormal(0, 0.3)})
    text = written(
        trained(Lab(sk.Series((evil, "b"), n=8), name=evil, prior=prior)), X, tmp_path / "r.html"
    )
    read = Reader(text)
    assert all(a["src"].startswith("data:") for a in read.of("img"))
    assert read.inside("h1") == [f"Posterior of {evil} given one observed dataset"]
    assert "<b>" not in Page("a", "b", [Section("c", "d", PARTS)]).render().partition("<h2")[2]


PARTS = (
    Prose("<b>"),
    Notes(["<b>"]),
    Facts({"<b>": "<b>"}),
    Table("<b>", ["<b>"], [["<b>"]]),
)


# Refusals


def test_bad_input_is_refused_before_any_work(series, verdict, tmp_path, monkeypatch):
    monkeypatch.setattr("sbi_kit.reporting.compare", None)
    taken = tmp_path / "taken.html"
    taken.write_text("mine")
    other = replace(verdict, names=("a", "b", "c"))
    for changes, error, message in [
        ({"posterior": 3}, BadType, "Expected a posterior of sbi_kit; got int; pass what fit or"),
        ({"verdict": "good"}, BadType, "Expected a verdict, or None; got str; pass what calibr"),
        ({"verdict": other}, BadValue, "Expected a verdict on rate, spread; got one on a, b, c;"),
        ({"path": taken}, BadValue, r"got .*taken\.html, which exists; choose another, or pass ov"),
        ({"path": tmp_path / "no" / "r"}, BadValue, "a directory for r; got no directory .*no; cr"),
        ({"x": X[:, :1]}, BadValue, r"data of shape \(b, n, 2\)"),
        ({"context": {"dose": 1}}, BadValue, "no context"),
        ({"draws": 0}, BadValue, "draws as an integer >= 1; got 0"),
        ({"model": 3}, BadType, "model"),
        (
            {"model": Stimulus(sk.Vector(("a", "b")))},
            BadValue,
            "Expected a model with parameters rate, spread and Series data of count, size; got "
            "rate, spread and Vector data of a, b; pass the sim",
        ),
    ]:
        given = {"posterior": series, "x": X, "path": tmp_path / "r.html", "verdict": None}
        with pytest.raises(error, match=message):
            sk.report(**{**given, "draws": 20, "seed": 1, **changes})
    assert [path.name for path in tmp_path.iterdir()] == ["taken.html"]
    assert taken.read_text() == "mine"


def test_a_file_is_replaced_if_asked_for(series, tmp_path, blank):
    (tmp_path / "r.html").write_text("old")
    told = []
    report = lambda done, total: told.append((done, total))  # noqa: E731
    text = written(series, X, tmp_path / "r.html", overwrite=True, progress=report)
    assert text.startswith("<!doctype html>")
    assert told == [(done, len(SECTIONS)) for done in range(1, len(SECTIONS) + 1)]


# In a browser

PROBE = """<script>addEventListener("load", () => {
const images = [...document.images];
const asked = performance.getEntriesByType("resource").map(entry => entry.name);
parent.postMessage(JSON.stringify({
  images: images.length,
  broken: images.filter(image => !image.complete || image.naturalWidth < 500).length,
  fetched: asked.filter(name => !name.startsWith("data:")),
  dark: images.filter(
    image => image.currentSrc === image.parentNode.querySelector("source").srcset).length,
  width: document.documentElement.scrollWidth, screen: innerWidth,
}), "*"); });</script>"""
# No window is as narrow as a phone, but a frame is.
FRAME = """<!doctype html><title>none</title>
<script>onmessage = event => { document.title = event.data; }</script>
<iframe src="r.html" width="WIDTH" height="900" style="border: 0"></iframe>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_a_browser_misses_nothing_and_fetches_nothing(page, scheme, width, tmp_path):
    (tmp_path / "r.html").write_text(page.replace("</body>", f"{PROBE}</body>"))
    (tmp_path / "frame.html").write_text(FRAME.replace("WIDTH", str(width)))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [
        f"--user-data-dir={tmp_path}",
        f"--blink-settings=preferredColorScheme={int(scheme == 'light')}",
        "--window-size=1400,1000",
        "--virtual-time-budget=10000",
        "--dump-dom",
        f"file://{tmp_path}/frame.html",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(re.search(r"<title>(.*?)</title>", done.stdout).group(1)) == {
        "images": 13,
        "broken": 0,
        "fetched": [],
        "dark": 13 if scheme == "dark" else 0,
        "width": width,
        "screen": width,
    }
