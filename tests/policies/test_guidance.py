"""Real-time chunking: a new chunk goes on where the old one is being executed."""

import pytest
import torch
from lerobot.configs import RTCAttentionSchedule
from lerobot.policies.rtc.configuration_rtc import RTCConfig
from toys import KINDS, make_batch, make_noise, make_policy

EVERY = pytest.mark.parametrize("kind", KINDS)


def rest(steps, n=5):
    return torch.rand(n, steps, 2, generator=torch.Generator().manual_seed(2)) - 0.5


@EVERY
def test_the_frozen_prefix_is_honoured(kind):
    policy, previous = make_policy(kind), rest(6)
    chunk = policy.predict_action_chunk(
        make_batch(), make_noise(), inference_delay=2, prev_chunk_left_over=previous, execution_horizon=6
    )
    assert chunk.shape == (5, 8, 2)
    assert torch.equal(chunk[:, :2], previous[:, :2])
    plain = policy.predict_action_chunk(make_batch(), make_noise())
    assert (plain[:, :2] - previous[:, :2]).abs().mean() > 0.1


# a random guess of the clean chunk, unlike a trained one, does not follow the sample that is drawn: see the next test
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "diffusion-sample"])
def test_the_chunk_is_drawn_towards_what_is_left_of_the_old_one(kind):
    steps = {} if "shortcut" in kind else {"num_inference_steps": 10}
    schedule = RTCConfig(prefix_attention_schedule=RTCAttentionSchedule.ONES, execution_horizon=5)
    policy, previous = make_policy(kind, rtc_config=schedule, **steps), rest(6)
    plain = policy.predict_action_chunk(make_batch(), make_noise())
    # nothing is frozen here: what follows is the guidance's work alone
    chunk = policy.predict_action_chunk(make_batch(), make_noise(), inference_delay=0, prev_chunk_left_over=previous)
    before, after = ((x[:, :5] - previous[:, :5]).abs().mean() for x in (plain, chunk))
    assert after < 0.35 * before


class NormalData(torch.nn.Module):
    """The best estimate of a clean chunk where all chunks are as likely as noise."""

    def __init__(self, schedule):
        super().__init__()
        self.schedule = schedule

    def forward(self, sample, time, observed):
        return self.schedule.alphas_cumprod[(100 * time).round().long()].sqrt()[:, None, None] * sample


def test_a_sampler_of_clean_chunks_is_drawn_too():
    schedule = RTCConfig(prefix_attention_schedule=RTCAttentionSchedule.ONES, execution_horizon=5)
    policy = make_policy("diffusion-sample", rtc_config=schedule, num_inference_steps=10, clip_sample_range=3.0)
    policy.observe, policy.network = lambda batch: torch.zeros(5, 1), NormalData(policy.schedule)
    plain = policy.predict_action_chunk(make_batch(), make_noise())
    chunk = policy.predict_action_chunk(make_batch(), make_noise(), prev_chunk_left_over=rest(6))
    before, after = ((x[:, :5] - rest(6)[:, :5]).abs().mean() for x in (plain, chunk))
    assert after < 0.1 * before
    torch.testing.assert_close(chunk[:, 5:], plain[:, 5:])


def test_one_rest_serves_all_samples():
    policy, previous = make_policy("flow-mlp"), rest(6, n=1)[0]
    chunks = policy.predict_action_chunk(make_batch(), num_samples=3, inference_delay=2, prev_chunk_left_over=previous)
    assert chunks.shape == (5, 3, 8, 2)
    assert torch.equal(chunks[:, :, :2], previous[:2].expand(5, 3, 2, 2))


def test_a_rest_longer_than_the_chunk_is_cut():
    policy, previous = make_policy("flow-mlp"), rest(12)
    chunk = policy.predict_action_chunk(make_batch(), inference_delay=20, prev_chunk_left_over=previous)
    assert torch.equal(chunk, previous[:, :8])


def test_guidance_can_be_turned_off():
    policy = make_policy("flow-mlp", rtc_config=RTCConfig(enabled=False))
    noise = make_noise()
    chunk = policy.predict_action_chunk(make_batch(), noise, inference_delay=2, prev_chunk_left_over=rest(6))
    assert torch.equal(chunk, policy.predict_action_chunk(make_batch(), noise))


def test_lerobots_rollout_accepts_the_policy():
    from lerobot.rollout.inference.rtc import supports_rtc_inference

    policy = make_policy("diffusion-unet")
    assert supports_rtc_inference(policy)
    policy.config.rtc_config = RTCConfig(max_guidance_weight=3.0)
    policy.init_rtc_processor()
    assert policy.rtc_processor.rtc_config.max_guidance_weight == 3.0
