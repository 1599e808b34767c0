"""How unusual a silence is among those before it: the tail of a sample; which sample is the right one is not here.

Silences between trades are heavy-tailed and their rate changes by the minute, so no one distribution is assumed for
them. What is no longer than most of the sample is ranked in it; what is longer is judged by a generalized Pareto law
that is fitted to the longest tenth, the law that the excesses of nearly every distribution tend to (Pickands 1975,
Ann. Statist. 3, 119). The fit is by probability-weighted moments (Hosking and Wallis 1987, Technometrics 29, 339):
a closed form that holds up with some hundred values where likelihood does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST", "LEAST_CHANCE", "RECENT", "Tail", "chances"]

RECENT: Final = 2_000
"""Silences that make up a stream's recent law: a minute of a busy market. Of half as many, the chance of a heavy-tailed
silence is told too low by twice as much; of more, the law is less that of the moment."""

LEAST: Final = 200
"""Silences below which no law is told: a tenth of them must be a sample too."""

LEAST_CHANCE: Final = 1e-12
"""What is told of a silence that has hardly a chance: no sample of this size knows more."""

_SHARE: Final = 0.1

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """What is beyond a threshold, for each of ``m`` samples.

    Attributes
    ----------
    threshold, scale
        Seconds, ``float64[m]``; a scale of 0 means that the longest values were all the same, so nothing is known.
    shape
        ``float64[m]``, at least 0: no law that ends at some length is believed, for then a longer silence would
        have no chance at all, and the next one comes.
    share
        The chance to be beyond the threshold.
    sample, beyond
        Values in each sample, and how many of them are beyond the threshold.
    """

    threshold: _Floats
    scale: _Floats
    shape: _Floats
    share: float
    sample: int
    beyond: int

    @classmethod
    def fitted(cls, longest: _Floats, sample: int) -> Self:
        """Fit the law to the longest values of each sample.

        Parameters
        ----------
        longest
            ``float64[m, k + 1]``, rising along the second axis: the threshold and the ``k`` values beyond it.
        sample
            How many values each sample had.
        """
        threshold = longest[:, 0]
        excess = longest[:, 1:] - threshold[:, None]
        count = excess.shape[1]
        mean = excess.mean(axis=1)
        weighted = (excess * (np.arange(count - 1, -1, -1) / (count - 1))).mean(axis=1)
        # 0 only where all excesses are: weights fall while values rise, so twice the second is at most the first.
        rest = np.where(mean > 0, mean - 2 * weighted, 1)
        heavy = (mean > 0) & (rest > 0) & (2 - mean / np.where(rest > 0, rest, 1) > 0)
        shape = np.where(heavy, 2 - mean / np.where(heavy, rest, 1), 0.0)
        scale = np.where(heavy, 2 * mean * weighted / np.where(heavy, rest, 1), mean)
        return cls(
            threshold=threshold, scale=scale, shape=shape, share=(count + 1) / (sample + 1), sample=sample, beyond=count
        )

    def heavier(self, errors: float) -> Self:
        """Return the law whose shape is so many standard errors larger: with 1.645 a 95 % bound on far silences.

        The error is the asymptotic one of Hosking and Wallis (1987), which holds up to a shape of 1/2; of a
        heavier law the error at 0.45 is taken.
        """
        kappa = -np.minimum(self.shape, 0.45)
        spread = (1 + kappa) * (2 + kappa) ** 2 * (1 + kappa + 2 * kappa**2) / ((1 + 2 * kappa) * (3 + 2 * kappa))
        return replace(self, shape=self.shape + errors * np.sqrt(spread / self.beyond))

    def chance(self, seconds: _Floats) -> _Floats:
        """Return the chance of at least so many seconds, ``float64[m]`` beyond the threshold of each sample.

        Of a sample that says nothing it is the chance to be the longest of all, one in ``sample + 1``.
        """
        from scipy.special import inv_boxcox  # here, because every command that opens a capture imports this room

        known = self.scale > 0
        past = (seconds - self.threshold) / np.where(known, self.scale, 1)
        told = np.maximum(self.share / inv_boxcox(np.maximum(past, 0), self.shape), LEAST_CHANCE)
        return np.where(known, told, 1 / (self.sample + 1))


def chances(samples: _Floats, seconds: _Floats) -> _Floats:
    """Return for each value the chance that the next one of its sample is at least as large.

    Parameters
    ----------
    samples
        ``float64[m, n]``: of each value the ``n`` before it, in any order, at least `LEAST`.
    seconds
        ``float64[m]``.

    Returns
    -------
    ndarray of float64, shape (m,)
        At least `LEAST_CHANCE`, at most 1. Where the values of a stream are exchangeable, a share of ``p`` of them
        has a chance of ``p`` or less: exactly so down to a tenth, whatever their distribution; to within a fifth down
        to 1 in 100, by half down to 1 in 1,000; beyond that it is an order of magnitude.
    """
    size = samples.shape[1]
    beyond = round(size * _SHARE)
    longest = np.sort(np.partition(samples, size - beyond - 1, axis=1)[:, size - beyond - 1 :], axis=1)
    rank = (1 + (samples >= seconds[:, None]).sum(axis=1)) / (size + 1)
    tail = Tail.fitted(longest, size).chance(seconds)
    found: _Floats = np.where(seconds <= longest[:, 0], rank, np.minimum(tail, rank))
    return found
