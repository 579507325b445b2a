"""Stages where only progress and success are known."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from reward_toys import make_model

SHARES = [0.1, 0.3, 0.2, 0.4]
MODEL = make_model("value", stage_names=list("abcd"), shares=SHARES)


@given(st.floats(0, 1), st.floats(0, 1))
def test_they_are_a_distribution_of_which_success_has_its_part(progress, done):
    stages = MODEL.by_progress(torch.tensor(progress), torch.tensor(done))
    assert stages.shape == (5,)
    assert (stages >= 0).all()
    torch.testing.assert_close(stages.sum(), torch.tensor(1.0))
    torch.testing.assert_close(stages[-1], torch.tensor(done, dtype=torch.float32))


@given(st.integers(0, 3), st.floats(0.2, 0.8))
def test_the_likeliest_stage_is_the_one_whose_share_of_progress_it_is(stage, within):
    before = np.cumsum([0, *SHARES])
    progress = before[stage] + within * SHARES[stage]
    stages = MODEL.by_progress(torch.tensor([progress]), torch.tensor([0.1]))
    assert int(stages.argmax()) == stage


def test_a_task_of_one_stage():
    model = make_model("preference", stage_names=["all"], shares=[1.0])
    stages = model.by_progress(torch.tensor([0.0, 0.9]), torch.tensor([0.25, 0.75]))
    torch.testing.assert_close(stages, torch.tensor([[0.75, 0.25], [0.25, 0.75]]))
