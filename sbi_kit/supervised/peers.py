"""Classifiers of scikit-learn's to stand beside a network: what they do not find is hard to find.

Trees that are boosted split one feature at a time, logistic regression is linear in the features,
and the third is linear in how near a row is to some rows of the training, by a Gaussian kernel
(Williams & Seeger 2001, Adv. Neural Inf. Process. Syst. 13).
"""

from functools import partial
from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sbi_kit.supervised.columns import Columns, matrix

LANDMARKS = 500  # rows that others are compared with by the kernel


def peers(columns: Columns, *, seed: int) -> dict[str, Any]:
    """Classifiers by name, none fitted, that see frames as these columns make them.

    Args:
        columns: How frames become matrices, such as `learn_columns` finds.
        seed: Seed of what is random in them.
    """
    read = FunctionTransformer(partial(matrix, columns))
    kernel = Nystroem(gamma=0.5 / len(columns.names), n_components=LANDMARKS, random_state=seed)
    return {
        "boosted trees": make_pipeline(read, HistGradientBoostingClassifier(random_state=seed)),
        "kernel": make_pipeline(read, kernel, LogisticRegression(max_iter=1_000)),
        "logistic regression": make_pipeline(read, LogisticRegression(max_iter=1_000)),
    }
