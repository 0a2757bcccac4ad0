"""The door of the classifiers: two classes, of any names, as 0 and 1."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import assert_all_finite, column_or_1d

from sbi_kit.checks import BadValue
from sbi_kit.contracts import Array
from sbi_kit.supervised.lesson import expect_rows


def read_classes(y: Any, rows: int) -> tuple[NDArray[Any], Array]:
    """The two classes in order, shape (2,), and the class of each row as 0.0 or 1.0, (rows,).

    Raises:
        BadValue: There are other than two, or too few or many rows, or one has no class.
    """
    column = column_or_1d(y, warn=True)
    expect_rows("classes", column, rows)
    assert_all_finite(column, input_name="y")
    kind = type_of_target(column, input_name="y")
    if kind.startswith("continuous"):
        got = f"Unknown label type: {kind}"
        raise BadValue("two classes", got, "choose a column of classes")
    classes, codes = np.unique(column, return_inverse=True)
    if len(classes) > 2:
        got = f"Only binary classification is supported. The type of the target is {kind}"
        raise BadValue("two classes", got, "choose another target")
    if len(classes) < 2:
        got = f"one class, {classes[0]}, in all of {rows} rows"
        raise BadValue("two classes", got, "add rows of the other")
    return classes, codes.astype(np.float64)
