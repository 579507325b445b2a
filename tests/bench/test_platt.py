"""Platt's scaling keeps the order of scores and is as sure as the data allow."""

import numpy as np
import pytest

from robolearn.bench._platt import platt
from robolearn.rewards.metrics import auroc


def test_scores_become_probabilities_in_the_same_order():
    rng = np.random.default_rng(0)
    truth = rng.random(4000) < 0.3
    score = 1 / (1 + np.exp(-np.where(truth, 0.5, -0.5) - rng.normal(size=4000)))  # not as sure as it could be
    slope, offset = platt(score, truth)
    probability = 1 / (1 + np.exp(-slope * np.log(score / (1 - score)) - offset))
    assert auroc(probability, truth) == pytest.approx(auroc(score, truth))
    for low in (0.1, 0.3, 0.5):
        here = (probability >= low) & (probability < low + 0.1)
        assert truth[here].mean() == pytest.approx(low + 0.05, abs=0.05)


def test_scores_that_are_never_wrong_are_not_infinitely_sure():
    slope, offset = platt(np.array([0.1] * 50 + [0.9] * 50), np.arange(100) >= 50)
    assert 1 / (1 + np.exp(-slope * np.log(9) - offset)) == pytest.approx(51 / 52, abs=1e-3)
