"""The floor plan: a file imports from its own floor or from those below, and never in a circle."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sbi_kit"

GROUND, DATA, PARTS, METHODS, JUDGES, SURFACE = range(6)
FLOORS = {
    GROUND: "contracts checks digits seeds files sealed differences",
    DATA: (
        "families prior context data shards manifest chunks workers store probe bank simulation "
        "simulator registry arviz_bridge kernels kernel_density discrepancies reduction "
        "acceptance"
    ),
    PARTS: (
        "summary summary.pass_kernels summary.gated summary.ragged summary.identity "
        "summary.deep_set summary.two_way summary.moments summary.soft summary.set_transformer "
        "summary.windows summary.cell_kernels summary.cells summary.recurrent summary.convolution "
        "summary.bends summary.twice "
        "summary.standardize summary.encoded "
        "device spline spline_kernels draw_kernels coupling flow sampler network mixture encoder "
        "batches familiarity rows adamw halves train checkpoint posterior_file certificate "
        "importance inference observing saving"
    ),
    METHODS: (
        "neural learning fitting online rejection loading "
        "mle mle.estimate mle.columns mle.gaussian mle.bernoulli mle.linear mle.logistic "
        "mle.likelihood mle.maximise "
        "autodiff autodiff.elementary autodiff.program autodiff.tracing autodiff.tables "
        "latent latent.table latent.spectrum latent.linear latent.pca latent.factors "
        "latent.ppca_em latent.ppca latent.order latent.classify latent.networks "
        "latent.autoencoder latent.vae "
        "supervised supervised.columns supervised.conditioning supervised.descent "
        "supervised.effects supervised.learned supervised.lesson supervised.losses "
        "supervised.model_file supervised.multitask supervised.network supervised.wide_deep "
        "supervised.classes supervised.parity supervised.peers supervised.proximal "
        "supervised.pruning supervised.scores supervised.selection"
    ),
    JUDGES: (
        "diagnostics diagnostics.bands diagnostics.ranks diagnostics.uniformity "
        "diagnostics.quantities diagnostics.regions diagnostics.strata diagnostics.recovery "
        "diagnostics.verdict diagnostics.calibration "
        "diagnostics.predictive diagnostics.distances diagnostics.local diagnostics.histogram "
        "testing "
        "testing.estimators testing.forms testing.generators testing.latents testing.priors "
        "testing.randomness testing.simulators testing.streams "
        "plots plots.canvas plots.verdict plots.posterior plots.data plots.graph "
        "plots.observed plots.supervised"
    ),
    SURFACE: (
        "__init__ chapters chapters.found chapters.words chapters.findings chapters.verdict "
        "chapters.inputs chapters.posterior chapters.fit chapters.calibration chapters.making "
        "cli comparison console classified classified_page exits facts labelled labelled_page "
        "labelled_rows options page reporting scaffold stages study_folder"
    ),
}
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names.split()}

SURFACES = {name for name, floor in FLOOR_OF.items() if floor == SURFACE}

# A method's makers may know it; otherwise methods are strangers to each other.
ACQUAINTED = {
    *((maker, "neural") for maker in ("learning", "fitting", "online")),
    *((maker, "learning") for maker in ("fitting", "online")),
    *(("loading", method) for method in ("neural", "rejection")),
}
# Third-party packages that exactly one file, or the files of some floors, may know.
OWNERS = {
    "nflows": {"flow"},
    "arviz": {"arviz_bridge"},
    "arviz_stats": {"arviz_bridge"},
    "xarray": {"arviz_bridge"},
    "loky": {"workers"},
    "matplotlib": {name for name in FLOOR_OF if name.startswith("plots.")},
    "sklearn": {
        "diagnostics.distances",
        "supervised.classes",
        "supervised.lesson",
        "supervised.multitask",
        "supervised.network",
        "supervised.parity",
        "supervised.peers",
        "supervised.scores",
        "supervised.selection",
        "supervised.wide_deep",
        "testing.estimators",
    },
    "dask": set(),
    "jinja2": {"page"},
    "click": SURFACES,
    "rich": SURFACES,
    "torch": {name for name, floor in FLOOR_OF.items() if floor in (PARTS, METHODS)},
}


def module_name(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(path):
    """Every module a file imports anywhere, as dotted names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner.removeprefix("sbi_kit.") in FILES else node.module


def rooms(name):
    """The package's own modules that one of them imports."""
    own = {m.removeprefix("sbi_kit.") for m in imports(FILES[name]) if m.startswith("sbi_kit.")}
    return own - {name}


def same_room(one, other):
    return one.split(".")[0] == other.split(".")[0]


def test_every_file_has_a_floor():
    assert set(FILES) == set(FLOOR_OF)


@pytest.mark.parametrize("name", FILES)
def test_imports_go_down(name):
    above = {room for room in rooms(name) if FLOOR_OF[room] > FLOOR_OF[name]}
    assert not above, f"{name} imports from above: {above}"


@pytest.mark.parametrize("name", FILES)
def test_methods_are_strangers_and_judges_see_contracts_only(name):
    if FLOOR_OF[name] == METHODS:
        siblings = {(name, room) for room in rooms(name) if FLOOR_OF[room] == METHODS}
        assert {(one, other) for one, other in siblings if not same_room(one, other)} <= ACQUAINTED
    if FLOOR_OF[name] == JUDGES:
        assert not {room for room in rooms(name) if FLOOR_OF[room] in (PARTS, METHODS)}


def test_no_circle():
    done = set()

    def visit(name, path):
        assert name not in path, f"circle: {' > '.join([*path, name])}"
        if name not in done and name != "__init__":
            for room in rooms(name):
                visit(room, [*path, name])
            done.add(name)

    for name in FILES:
        visit(name, [])


@pytest.mark.parametrize("name", FILES)
def test_third_parties_stay_in_their_rooms(name):
    known = {module.split(".")[0] for module in imports(FILES[name])}
    strangers = {party for party in known & set(OWNERS) if name not in OWNERS[party]}
    assert not strangers, f"{name} imports {strangers}"


@pytest.mark.parametrize("name", FILES)
def test_the_package_does_not_know_its_simulators(name):
    assert "simulators" not in {module.split(".")[0] for module in imports(FILES[name])}


@pytest.mark.parametrize("path", sorted((ROOT / "simulators").glob("*.py")), ids=lambda p: p.name)
def test_simulators_stand_on_the_lowest_floors(path):
    own = {m.removeprefix("sbi_kit.") for m in imports(path) if m.startswith("sbi_kit.")}
    assert all(FLOOR_OF[room] <= DATA for room in own)


def functions(tree):
    return (n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)))


@pytest.mark.parametrize("name", FILES)
def test_no_public_keyword_tunnel(name):
    tunnels = {
        function.name
        for function in functions(ast.parse(FILES[name].read_text()))
        if function.args.kwarg
        and (not function.name.startswith("_") or function.name == "__init__")
    }
    # A prior's keywords are the names of its parameters.
    assert tunnels == ({"__init__"} if name == "prior" else set())


def test_no_drawer_for_odds_and_ends():
    assert not {"utils", "util", "helpers", "helper", "common", "misc"} & {
        part for name in FILES for part in name.split(".")
    }


def test_top_level_is_the_agreed_one():
    agreed = {"sbi_kit", "simulators", "tests", "notebooks", ".ci", ".git"}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    made = {name for name in folders if name.startswith(".") or name.endswith(".egg-info")}
    # Whatever .gitignore lists is not part of the product.
    assert folders - made - {"build", "dist", "runs", "banks"} <= agreed


def test_public_names_exist():
    import sbi_kit

    for name in sbi_kit.__all__:
        assert getattr(sbi_kit, name).__module__.startswith("sbi_kit")
    assert "sbi_kit" in sys.modules
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        sbi_kit.simulat  # noqa: B018
