"""The diffusion policy against diffusers."""

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from toys import make_batch, make_noise, make_policy

SETTINGS = [
    {},
    {"prediction_type": "sample"},
    {"clip_sample": False},
    {"beta_schedule": "linear", "num_train_timesteps": 50, "num_inference_steps": 7},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_chunks_are_those_of_diffusers_scheduler(settings):
    policy, batch = make_policy("diffusion-unet", **settings), make_batch()
    config = policy.config
    scheduler = DDIMScheduler(
        num_train_timesteps=config.num_train_timesteps,
        beta_schedule=config.beta_schedule,
        prediction_type=config.prediction_type,
        clip_sample=config.clip_sample,
    )
    scheduler.set_timesteps(config.num_inference_steps)
    x = noise = make_noise()
    with torch.no_grad():
        observed = policy.observe(batch)
        for step in scheduler.timesteps:
            time = torch.full((5,), step / config.num_train_timesteps)
            x = scheduler.step(policy.network(x, time, observed), step, x).prev_sample
    torch.testing.assert_close(policy.predict_action_chunk(batch, noise), x, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
def test_the_loss_is_the_equation(prediction):
    policy, batch = make_policy("diffusion-unet", prediction_type=prediction), make_batch()
    del batch["action_is_pad"]
    noise, index = make_noise(), torch.tensor([0, 10, 50, 98, 99])
    alpha = policy.schedule.alphas_cumprod[index][:, None, None]
    noisy = alpha.sqrt() * batch["action"] + (1 - alpha).sqrt() * noise
    predicted = policy.network(noisy, index / 100, policy.observe(batch))
    target = noise if prediction == "epsilon" else batch["action"]
    loss, _ = policy(batch, noise=noise, time=index / 100)
    torch.testing.assert_close(loss, (predicted - target).square().mean())


def test_times_cover_the_schedule_evenly():
    policy = make_policy("diffusion-unet")
    made = policy.example(torch.zeros(20_000, 1, 1), torch.empty(0), noise=torch.zeros(20_000, 1, 1), time=None)
    counts = (made.time * 100).round().long().bincount(minlength=100)
    assert len(counts) == 100
    assert counts.min() > 120
