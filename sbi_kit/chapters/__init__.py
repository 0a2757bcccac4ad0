"""What a report says, section by section, from what was found.

Every section takes all findings and returns prose, tables and figures, each with a sentence on how
to read it. Nothing is computed here but summaries of data and how to write numbers.
"""

from sbi_kit.chapters.calibration import calibration
from sbi_kit.chapters.fit import familiarity, predictive
from sbi_kit.chapters.found import Chapter
from sbi_kit.chapters.inputs import data, model
from sbi_kit.chapters.making import settings, training
from sbi_kit.chapters.posterior import posterior
from sbi_kit.chapters.verdict import certificate, verdict

CHAPTERS: tuple[Chapter, ...] = (
    verdict,
    posterior,
    model,
    data,
    predictive,
    familiarity,
    calibration,
    training,
    settings,
    certificate,
)
