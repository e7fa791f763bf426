"""Arrays in, numbers out: intervals, paired tests, corrections and power, for tables of accuracies."""

from reports.statistics.corrections import benjamini_hochberg as benjamini_hochberg
from reports.statistics.corrections import holm as holm
from reports.statistics.estimates import Answers as Answers
from reports.statistics.estimates import Interval as Interval
from reports.statistics.estimates import PairedDifference as PairedDifference
from reports.statistics.estimates import SeedVariance as SeedVariance
from reports.statistics.estimates import arrange as arrange
from reports.statistics.estimates import compare as compare
from reports.statistics.estimates import detectable_difference as detectable_difference
from reports.statistics.estimates import interval as interval
from reports.statistics.estimates import interval_of as interval_of
from reports.statistics.estimates import paired_difference as paired_difference
from reports.statistics.estimates import pooled as pooled
from reports.statistics.estimates import seed_variance as seed_variance
from reports.statistics.permutation import MaxT as MaxT
from reports.statistics.permutation import Section as Section
from reports.statistics.permutation import deals as deals
from reports.statistics.permutation import max_t as max_t
from reports.statistics.power import mcnemar_detectable_effect as mcnemar_detectable_effect
from reports.statistics.power import minimum_detectable_effect as minimum_detectable_effect
from reports.statistics.power import without_bias as without_bias
