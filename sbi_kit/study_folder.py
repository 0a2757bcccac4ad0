"""The directory of a study of labelled data: models, tables, figures, and the page about them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sbi_kit import console
from sbi_kit.checks import BadValue
from sbi_kit.files import write_whole
from sbi_kit.supervised.model_file import DOCUMENT, save_model

PAGE, MODEL, NETWORK = "report.md", "model", "network"
CALIBRATION = (  # caption of that figure, for the name of a model
    "Test rows in ten groups by {}'s probability of class 1, against the share of class 1 in each. "
    "Outside the band probabilities are off, but for the one group in twenty that chance takes "
    "there."
)


def expect_free(folder: Path, *, overwrite: bool) -> None:
    """Refuse a directory that holds a model, or other files and no model.

    Raises:
        BadValue: It does, or it is a file.
    """
    if folder.is_file():
        raise BadValue("a directory for the model", f"the file {folder}", "choose another")
    own = PAGE, f"{MODEL}/{DOCUMENT}", f"{NETWORK}/{DOCUMENT}"
    there = any((folder / name).exists() for name in own)
    if there and not overwrite:
        got = f"{folder}, which holds one"
        raise BadValue("a directory without a model", got, "choose another, or pass --overwrite")
    if not there and folder.exists() and any(folder.iterdir()):
        names = ", ".join(sorted(entry.name for entry in folder.iterdir())[:3])
        got = f"{folder} with {names} in it"
        raise BadValue("an empty or new directory for the model", got, "choose another")


def show(tables: Mapping[str, pd.DataFrame]) -> None:
    """Tables of text by title, on the terminal."""
    for title, table in tables.items():
        console.say(f"\n{title}\n", "bold")
        rows = [[str(name), *cells] for name, *cells in table.itertuples()]
        console.show_table(["", *table.columns], rows, numbers=True)


def page(
    title: str,
    tables: Mapping[str, pd.DataFrame],
    *,
    notes: Sequence[str],
    limits: Sequence[str],
    figures: Mapping[str, str],
) -> str:
    """Tables, notes on them, what limits the task, and figures, as Markdown.

    Args:
        title: Title of the page.
        tables: Tables of text by title.
        notes: Paragraphs below the tables.
        limits: Paragraphs on what limits the task.
        figures: What each figure beside the page shows, by its name.
    """
    parts = [f"# {title}"]
    for name, table in tables.items():
        parts += [f"## {name}", _markdown(table)]
    parts += [*notes, "## What limits it", *limits, "## Figures"]
    parts += [f"![{name}]({name}.png)\n\n{words}" for name, words in figures.items()]
    return "\n\n".join(parts) + "\n"


def left_out(columns: Sequence[str]) -> tuple[str, ...]:
    """The note on columns that number the rows, if there are any."""
    return (f"Left out, as they only number the rows: {', '.join(columns)}.",) if columns else ()


def write(
    folder: Path,
    *,
    models: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, Any],
    text: str,
) -> None:
    """Write models, tables, figures and the page into a directory, over what has their names.

    Args:
        folder: The directory.
        models: Fitted estimators by the names of their directories.
        tables: Tables by name; an index that has a name is written, too.
        figures: Figures of matplotlib by name.
        text: The page.
    """
    from sbi_kit import plots

    for name, model in models.items():
        save_model(model, folder / name, overwrite=True)
    for name, table in tables.items():
        content = table.to_csv(index=table.index.name is not None, lineterminator="\n")
        write_whole(folder / f"{name}.csv", content.encode())
    for name, figure in figures.items():
        figure.set_facecolor("white")
        write_whole(folder / f"{name}.png", plots.to_png(figure))
    write_whole(folder / PAGE, text.encode())


def _markdown(table: pd.DataFrame) -> str:
    lines = [
        [str(table.index.name or ""), *map(str, table.columns)],
        ["---", *["---:"] * len(table.columns)],
    ]
    lines += [[str(name), *cells] for name, *cells in table.itertuples()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
