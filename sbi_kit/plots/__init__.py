"""Figures of verdicts, posteriors, checks and supervised models; only this folder knows matplotlib.

Every function takes results and returns a `matplotlib.figure.Figure` that pyplot does not know of;
it computes nothing but where to draw. Titles say what one should see. The background is transparent
and `dark=True` has the colours for a dark page, so that a page can hold each figure twice. What
fails, the truth and the observed data have one colour, and what fails is named in words too.
`to_svg`, `to_png` and `to_webp` give the same bytes every time.
"""

from sbi_kit.plots.canvas import to_png as to_png
from sbi_kit.plots.canvas import to_svg as to_svg
from sbi_kit.plots.canvas import to_webp as to_webp
from sbi_kit.plots.data import discrepancies as discrepancies
from sbi_kit.plots.data import familiarity as familiarity
from sbi_kit.plots.data import predictive as predictive
from sbi_kit.plots.graph import computation as computation
from sbi_kit.plots.observed import importance_weights as importance_weights
from sbi_kit.plots.observed import local_check as local_check
from sbi_kit.plots.posterior import pairs as pairs
from sbi_kit.plots.posterior import training as training
from sbi_kit.plots.supervised import accuracy_by_size as accuracy_by_size
from sbi_kit.plots.supervised import class_calibration as class_calibration
from sbi_kit.plots.supervised import importances as importances
from sbi_kit.plots.supervised import learning_rates as learning_rates
from sbi_kit.plots.supervised import weights_along_path as weights_along_path
from sbi_kit.plots.verdict import averaged as averaged
from sbi_kit.plots.verdict import contraction as contraction
from sbi_kit.plots.verdict import coverage as coverage
from sbi_kit.plots.verdict import joint_coverage as joint_coverage
from sbi_kit.plots.verdict import rank_ecdf as rank_ecdf
from sbi_kit.plots.verdict import rank_histogram as rank_histogram
from sbi_kit.plots.verdict import recovery as recovery
from sbi_kit.plots.verdict import strata as strata

# Those that show a verdict and take nothing else, in the order in which a reader wants them.
OF_VERDICT = (
    rank_ecdf,
    rank_histogram,
    coverage,
    joint_coverage,
    strata,
    recovery,
    contraction,
    averaged,
)
