"""Steps in parts, in short types and compiled: the same training as a plain one, up to rounding."""

import pytest
import torch
from toy_training import Chunks, make_policy, run, weights

from robolearn.errors import UserError
from robolearn.train.gradient import Compute


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    policy = make_policy()
    result = run(policy, tmp_path_factory.mktemp("plain"))
    return weights(policy), result


@pytest.mark.parametrize("accumulate", [2, 7, 30])
def test_parts_train_like_the_whole_batch(plain, tmp_path, accumulate):
    policy = make_policy()
    result = run(policy, tmp_path, compute=Compute(accumulate=accumulate))
    torch.testing.assert_close(weights(policy), plain[0], rtol=0, atol=2e-6)
    assert result["loss"] == pytest.approx(plain[1]["loss"], rel=1e-5)


@pytest.mark.parametrize(
    "compute", [Compute(accumulate=3), Compute(precision="fp16"), Compute(precision="bf16", accumulate=2)]
)
def test_a_killed_run_ends_with_the_same_weights(tmp_path, compute):
    whole = make_policy()
    expected = run(whole, tmp_path / "whole", compute=compute)

    def die(step, _loss, _rate):
        if step == 27:
            raise Killed

    with pytest.raises(Killed):
        run(make_policy(), tmp_path / "cut", compute=compute, on_step=die)
    resumed = Chunks()
    assert run(resumed, tmp_path / "cut", compute=compute)["curve"] == expected["curve"]
    assert torch.equal(weights(resumed), weights(whole))


def test_a_run_may_go_on_in_other_parts(plain, tmp_path):
    def die(step, _loss, _rate):
        if step == 20:
            raise Killed

    with pytest.raises(Killed):
        run(make_policy(), tmp_path, compute=Compute(accumulate=2), on_step=die)
    policy = Chunks()
    run(policy, tmp_path, compute=Compute(accumulate=5))
    torch.testing.assert_close(weights(policy), plain[0], rtol=0, atol=2e-6)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_short_types_are_used_for_products_and_not_for_weights(plain, tmp_path, precision):
    policy = make_policy()
    run(policy, tmp_path, compute=Compute(precision=precision))
    assert set(policy.seen) == {torch.bfloat16 if precision == "bf16" else torch.float16}
    assert {p.dtype for p in policy.parameters()} == {torch.float32}
    difference = (weights(policy) - plain[0]).abs().max()
    assert 0 < difference < 0.05


def test_a_parameter_that_is_not_used_is_left_alone(tmp_path):
    for compute in (Compute(), Compute(accumulate=2)):
        policy = make_policy()
        before = policy.spare.weight.detach().clone()
        run(policy, tmp_path / str(compute.accumulate), compute=compute, weight_decay=0.5)
        assert torch.equal(policy.spare.weight, before)


def test_a_batch_with_fewer_rows_than_parts_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"a batch of 30 cannot be cut into 31 parts: raise train\.batch_size"):
        run(make_policy(), tmp_path, compute=Compute(accumulate=31))


def test_an_unknown_precision_is_refused():
    with pytest.raises(UserError, match=r"unknown train\.precision 'bf61'; did you mean 'bf16'"):
        Compute(precision="bf61")


@pytest.mark.slow
def test_a_compiled_policy_trains_like_a_plain_one(plain, tmp_path):
    policy = make_policy()
    run(policy, tmp_path, compute=Compute(compile=True))
    torch.testing.assert_close(weights(policy), plain[0], rtol=0, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_trains_in_parts_and_resumes(tmp_path, precision):
    def compute(accumulate):
        return Compute(torch.device("cuda", 0), precision, accumulate)

    def die(step, _loss, _rate):
        if step == 27:
            raise Killed

    whole, parts, cut = make_policy(), make_policy(), make_policy()
    run(whole, tmp_path / "whole", compute=compute(1))
    run(parts, tmp_path / "parts", compute=compute(3))
    torch.testing.assert_close(weights(parts), weights(whole), rtol=0, atol=1e-5 if precision == "fp32" else 0.05)
    with pytest.raises(Killed):
        run(make_policy(), tmp_path / "cut", compute=compute(1), on_step=die)
    run(cut, tmp_path / "cut", compute=compute(1))
    assert torch.equal(weights(cut), weights(whole))
