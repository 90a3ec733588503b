"""The one global configuration of the detector.

1. One set of numbers serves every series: scale, cadence and rhythm are learned, nobody tunes a
   series.
2. Every number has a unit and a reason; what can be learned from the data must not become a
   parameter.
3. A snapshot of a detector carries the parameters it ran with.
"""

import math
from dataclasses import astuple, dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Parameters:
    """Settings of the detector; the defaults are what Homeport ships and measures.

    "Samples" are counted at the series' own cadence; "sigma" is the learned scale of its noise.

    Attributes:
        limit_rearm_s: a value that stays outside its limits is reported again after so long.
        warm_samples: nothing but limits and resets is reported before so many samples.
        spikes_per_week: false spikes accepted per series and week; with the cadence it sets how
            many nats of surprise a finding needs. The same for
        shifts_per_week: level shifts,
        drifts_per_week: drifts,
        stuck_per_week: stuck sensors and
        variances_per_week: changes of variance.
        least_nats: no finding needs less surprise than this.
        half_life_s: after a finding its kind needs that much more surprise, halving every so often,
        half_life_samples: or every so many samples, whichever is longer.
        memory_half_life_s: the greatest evidence of the past, which must be exceeded, fades with
            this half-life;
        memory_margin: by this factor, for level shifts and changes of variance,
        drift_margin: by this one for drifts.
        spike_lean: shape by which the tail of spikes is taken to be lighter than it is estimated.
        variance_lean: the same for greater variances.
        reported_margin: a reported shift or variance is remembered as so much more than it was.
        spike_sigma: jumps of so many sigma and more must be exceeded by more, up to twice.
        young_s: a series younger than this
        young_factor: needs so many times the surprise; less only teaches.
        known_s: until a series is so old, what is found is a notice: what people do has the rhythm of weeks.
        far_size: a shift of so many standard deviations, of samples and of block means,
        far_s: is looked at again after so long,
        far_samples: or so many samples, whichever is longer, whether it is still there.
        lasting_size: a fault that lasts becomes a warning if it is off by so many standard deviations of
            block means, critical if by twice as many;
        lasting_ratio: of variances, by so many times the upper end of their band.
        pace_ratio: gaps longer or shorter than the cadence by this factor,
        pace_samples: so many in a row, are another cadence;
        settle_samples: for so many samples nothing is judged by its noise (at most 255).
        pause_samples: after a gap of so many cadences
        pause_settle: for so many samples nothing is judged by what was before it (at most 255).
        noise_memory: samples over which noise, spread and correlation are learned.
        outlier: sigma at which a single innovation stops counting for what is learned.
        level_days: time constant with which the level follows the series,
        level_samples: and at least so many samples.
        profile_rate: share of a day's deviation that the daily profile takes over.
        reference_days: time constant of the reference that drifts are measured against.
        shift_size: sigma of the level shift that its test is most sensitive to.
        shift_clip: sigma at which one sample stops adding evidence for a shift.
        shift_least: least and
        shift_most: greatest persistent mean of innovations (sigma) the shift test looks for.
        variance_ratio: ratio of variances that the variance test is most sensitive to.
        shift_hold_samples: while strong evidence for a shift is no older, correlation is not learned
            from what may be the shift itself.
        shift_extreme: a shift of so many sigma, and more than block means vary, that has lasted for
        shift_extreme_s: so long need only exceed what is remembered, not by `memory_margin`.
        shift_abrupt: a shift of so many sigma explains a drift that begins with it.
        drift_block_s: drifts are judged on means over blocks of so long,
        drift_block_samples: or so many samples, whichever is longer.
        drift_size: persistent mean (in standard errors of a block mean) the drift test looks for.
        drift_correlation: greatest correlation of block means that widens their standard error.
        stuck_samples: a run of equal values shorter than this is never called stuck,
        stuck_ratio: nor one shorter than so many times the longest run known,
        idle_ratio: the same where the longest run is longer than `stuck_samples`: it idles by nature;
        stuck_runs: nor any before so many runs have been seen,
        stuck_s: nor one that began before the series was so old: its first night may be its rest.
        tail_step: step of the running quantile that starts a tail (relative).
        tail_memory: exceedances over which the shape of a tail is learned.
        tail_cap: excess (relative to the quantile) beyond which a sample teaches no more.
        evidence_cap: the same for peaks of accumulated evidence.
        score_warm: samples after which the score has half its weight.
        score_half_life: samples in which the memory of past scores halves,
        score_ageing: and so many more for each sample that the series has seen.
        score_repeat: a score must exceed so many times the memory of past scores.
        score_innovation: weight in the score of the surprise of the innovation,
        score_shift: of the evidence for a level shift,
        score_louder: of the evidence for a greater variance,
        score_record: of a value beyond all before.
        record_gain: a record beyond the range by this fraction's inverse counts in full.
    """

    limit_rearm_s: float = 86_400.0
    warm_samples: float = 120.0
    spikes_per_week: float = 0.4
    shifts_per_week: float = 0.3
    drifts_per_week: float = 0.1
    stuck_per_week: float = 0.2
    variances_per_week: float = 0.08
    least_nats: float = 6.0
    half_life_s: float = 21_600.0
    half_life_samples: float = 60.0
    memory_half_life_s: float = 604_800.0
    memory_margin: float = 1.8
    drift_margin: float = 1.8
    spike_sigma: float = 5.0
    spike_lean: float = 0.08
    variance_lean: float = 0.05
    reported_margin: float = 2.0
    young_s: float = 172_800.0
    young_factor: float = 3.0
    known_s: float = 604_800.0
    far_size: float = 8.0
    far_s: float = 60.0
    far_samples: float = 20.0
    lasting_size: float = 2.0
    lasting_ratio: float = 4.0
    pace_ratio: float = 3.0
    pace_samples: float = 8.0
    settle_samples: float = 120.0
    pause_samples: float = 60.0
    pause_settle: float = 20.0
    noise_memory: float = 400.0
    outlier: float = 4.0
    level_days: float = 2.0
    level_samples: float = 100.0
    profile_rate: float = 0.2
    reference_days: float = 10.0
    shift_size: float = 3.0
    shift_clip: float = 3.5
    shift_least: float = 0.35
    shift_most: float = 1.5
    shift_hold_samples: float = 60.0
    shift_extreme: float = 2.3
    shift_extreme_s: float = 14_400.0
    shift_abrupt: float = 2.0
    variance_ratio: float = 3.0
    drift_block_s: float = 3_600.0
    drift_block_samples: float = 8.0
    drift_size: float = 1.3
    drift_correlation: float = 0.65
    stuck_samples: float = 15.0
    stuck_ratio: float = 2.5
    idle_ratio: float = 5.0
    stuck_runs: float = 30.0
    stuck_s: float = 86_400.0
    tail_step: float = 0.03
    tail_memory: float = 300.0
    tail_cap: float = 300.0
    evidence_cap: float = 4.0
    score_warm: float = 150.0
    score_half_life: float = 20.0
    score_ageing: float = 0.001
    score_repeat: float = 2.2
    score_innovation: float = 0.025
    score_shift: float = 0.35
    score_louder: float = 0.5
    score_record: float = 4.0
    record_gain: float = 30.0

    def record(self) -> npt.NDArray[np.void]:
        """Return the parameters as an array of one record, as the kernel reads them."""
        derived = 0.5 * math.log(self.variance_ratio)
        return np.array([(*astuple(self), derived)], dtype=PARAMETERS).view(np.recarray)


PARAMETERS: Final[np.dtype[Any]] = np.dtype(
    [*((field.name, np.float64) for field in fields(Parameters)), ("variance_nats", np.float64)]
)
"""The kernel's view: the fields of `Parameters` in order, then half the log of `variance_ratio`."""
