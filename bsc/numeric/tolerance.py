"""What limits that hold all that was observed say of what was not: distribution-free tolerance limits.

[wilks41] Wilks, Annals of Mathematical Statistics 12, 1941, 91-96.
"""

import math

from bsc.numeric.paired_bound import CONFIDENCE


def share_beyond(observations: int, *, ends: int, confidence: float = CONFIDENCE) -> float:
    """A share that with `confidence` no more of further observations exceed, whatever their distribution.

    The limits are the largest of n independent observations, or the smallest and the largest. What lies beyond them
    is then less than p with a probability of 1 - (1 - p)**n, or of 1 - (1 - p)**n - n p (1 - p)**(n - 1); exactly for
    continuous distributions, at least for others [wilks41]. For many observations p is 3.0 / n, or 4.7 / n.

    Args:
        observations: n, 1 or more.
        ends: 1 if one limit comes from the observations, 2 if both do.
        confidence: above 0 and below 1.
    """
    assert observations >= 1, observations
    assert ends in {1, 2}, ends
    if ends == 1:
        return -math.expm1(math.log(1 - confidence) / observations)
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        missed = (1 - middle) ** (observations - 1) * (1 - middle + observations * middle)
        low, high = (low, middle) if missed <= 1 - confidence else (middle, high)
    return high
