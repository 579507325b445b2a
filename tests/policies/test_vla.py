"""The compact vision-language-action policy: it does what it is told, and reads nothing else that says it."""

import numpy as np
import pytest
import torch
from toys import CAMERA, HORIZON, N_OBS, SIZES, WORDS, make_batch, make_noise, make_policy, make_schema, observe

from robolearn.errors import UserError
from robolearn.language import TOKENS, Tokenizer
from robolearn.networks.language import SentenceEncoder, without_padding, without_some
from robolearn.policies.graph import EncoderGraph
from robolearn.policies.lerobot_adapter.policy import LeRobotPolicy
from robolearn.policies.serving import TorchPolicy
from robolearn.policies.vla.modeling_vla import build
from robolearn.schema import Feature, Schema
from robolearn.train.feed import to_tensors
from robolearn.train.trainer import train

SIDES = ("left", "right")
SEEN = ("go to the {} mark", "move to the mark on the {}", "touch the {} one", "{} mark please")
HELD_OUT = ("reach for the {} mark", "the mark that is on the {}", "now go over to the {} spot")
MARKS = Schema(
    {
        "observation.state": Feature(
            "float32", (4,), ("left_x", "left_y", "right_x", "right_y"), ("m",) * 4, "observation"
        ),
        "action": Feature("float32", (2,), ("x", "y"), ("m",) * 2, "action", low=(-1.0,) * 2, high=(1.0,) * 2),
    },
    fps=10,
)


def draw(policy, seed, phrasings, n):
    """A batch of going to one of two marks, where they are [n, 2, 2], and which is meant [n]."""
    rng = np.random.default_rng(seed)
    marks = rng.uniform(-1, 1, (n, 2, 2)).astype(np.float32)
    side = rng.integers(2, size=n)
    told = [phrasings[k].format(SIDES[s]) for k, s in zip(rng.integers(len(phrasings), size=n), side, strict=True)]
    batch = {
        "observation.state": marks.reshape(n, 1, 4) / 0.58,
        "action": np.repeat(marks[np.arange(n), side][:, None], 4, axis=1),
        **policy.encode_task(told),
    }
    return batch, marks, side


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    sizes = {"hidden_dim": 64, "num_blocks": 2, "condition_dim": 32, "language_dim": 32, "language_blocks": 1}
    chunks = {"n_obs_steps": 1, "horizon": 4, "n_action_steps": 4, "num_inference_steps": 4}
    policy = build(MARKS, state_dim=64, **sizes, **chunks)
    settings = {"steps": 400, "warmup": 50, "learning_rate": 4e-3, "ema_decay": 0.98}
    train(policy, lambda step: draw(policy, step, SEEN, 128)[0], out=tmp_path_factory.mktemp("vla"), **settings)
    return policy


def obeyed(policy, phrasings, *, shuffle=False):
    """Of 400 chunks, the share that ends at the mark that is meant."""
    batch, marks, side = draw(policy, 10**6, phrasings, 400)
    if shuffle:
        batch[TOKENS] = batch[TOKENS][np.random.default_rng(0).permutation(400)]
    torch.manual_seed(0)
    ends = policy.predict_action_chunk(to_tensors(batch))[:, -1].numpy()
    return (np.linalg.norm(ends - marks[np.arange(400), side], axis=1) < 0.15).mean()


def test_it_learns_to_obey(taught):
    assert obeyed(taught, SEEN) > 0.95


def test_it_obeys_in_words_that_it_never_heard(taught):
    assert obeyed(taught, HELD_OUT) > 0.85


def test_with_shuffled_instructions_it_falls_to_chance(taught):
    assert 0.4 < obeyed(taught, SEEN, shuffle=True) < 0.6


def test_misspelt_words_are_understood(taught):
    assert obeyed(taught, ("go to the {} mrak", "move too the mark on teh {}")) > 0.85


# ---------------------------------------------------------------- what it reads


def say(batch, *instructions):
    n = len(batch["action"])
    ids = Tokenizer(buckets=WORDS["buckets"])([instructions[k % len(instructions)] for k in range(n)])
    return {**batch, TOKENS: torch.from_numpy(ids)}


def test_what_is_asked_for_comes_from_the_instruction_alone():
    features = dict(make_schema().features)
    goals = Feature("float32", (3,), ("cube_x", "goal_0", "goal_1"), ("m", "1", "1"), "observation")
    features["observation.environment_state"] = goals
    torch.manual_seed(0)
    policy = build(Schema(features, 20), **SIZES, **WORDS)
    assert policy.config.unread == {"observation.environment_state": [1, 2]}
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    policy.eval()
    batch, noise = make_batch(), make_noise()

    def chunk(*environment, said="lift the cube"):
        state = torch.tensor(environment).expand(5, N_OBS, 3)
        return policy.predict_action_chunk(say({**batch, "observation.environment_state": state}, said), noise)

    same = chunk(0.5, 0.0, 1.0)
    torch.testing.assert_close(chunk(0.5, 1.0, 0.0), same)
    assert (chunk(0.6, 0.0, 1.0) - same).abs().max() > 1e-4
    assert (chunk(0.5, 0.0, 1.0, said="put it down") - same).abs().max() > 1e-4


@pytest.mark.parametrize("vision", ["cnn", "vit", "resnet18"])
def test_the_instruction_changes_what_is_seen_in_a_picture(vision):
    policy = make_picture_policy(vision)
    encoder = policy.encoder.pictures["observation_images_top"]
    pictures = torch.randint(0, 256, (1, N_OBS, 72, 72, 3), dtype=torch.uint8).expand(2, -1, -1, -1, -1)
    told = policy.encoder.sentence(say({"action": torch.zeros(2)}, "the red cube", "the blue block")[TOKENS])
    with torch.no_grad():
        one, other = encoder(pictures, told)
    assert (one - other).abs().max() > 1e-4


def make_picture_policy(vision):
    features = dict(make_schema().features)
    features[CAMERA] = Feature("image", (72, 72, 3), ("height", "width", "channels"), ("1",) * 3, "observation")
    torch.manual_seed(0)
    policy = build(Schema(features, 20), **SIZES, **WORDS, vision=vision)
    for name, parameter in policy.named_parameters():
        if "linear" in name:  # FiLM begins as the identity
            torch.nn.init.normal_(parameter, std=0.3)
    return policy.eval()


def test_untrained_it_sees_the_same_whatever_it_is_told():
    torch.manual_seed(0)
    policy = build(make_schema(camera=True), **SIZES, **WORDS).eval()
    pictures = make_batch(2, camera=True)[CAMERA][:1].expand(2, -1, -1, -1, -1)
    told = torch.randn(2, WORDS["language_dim"])
    one, other = policy.encoder.pictures["observation_images_top"](pictures, told)
    torch.testing.assert_close(one, other)


def test_pictures_alone_are_refused():
    features = {key: f for key, f in make_schema(camera=True).features.items() if key in (CAMERA, "action")}
    with pytest.raises(UserError, match="needs a channel of numbers"):
        build(Schema(features, 20), **SIZES, **WORDS)


# ---------------------------------------------------------------- sentences


def sentences(*texts):
    torch.manual_seed(0)
    encoder = SentenceEncoder(buckets=2048, max_words=24, dim=16, num_blocks=2, num_heads=2)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder(torch.from_numpy(Tokenizer()(texts))).detach()


def test_the_order_of_words_matters():
    one, other = sentences("the left bin not the right bin", "the right bin not the left bin")
    assert (one - other).abs().max() > 1e-2


def test_a_sentence_does_not_depend_on_its_neighbours_or_on_padding():
    alone = sentences("lift it")[0]
    torch.testing.assert_close(sentences("lift it", "put the red cube into the left bin")[0], alone)
    encoder = SentenceEncoder(buckets=64, max_words=24, dim=16, num_blocks=1, num_heads=2)
    ids = torch.from_numpy(Tokenizer(buckets=64)(["lift it", "put it down"]))
    assert without_padding(ids).shape == (2, 3, 5)
    torch.testing.assert_close(encoder(without_padding(ids)), encoder(ids))


def test_saying_nothing_is_defined():
    assert sentences("", "!").isfinite().all()
    assert without_padding(torch.zeros(2, 24, 12, dtype=torch.int64)).shape == (2, 1, 1)


def test_the_exported_encoder_sees_what_the_policy_sees():
    policy, batch = make_policy("vla-mlp"), make_batch()
    graph = EncoderGraph(policy)(*(batch[key] for key in policy.config.observation_keys), batch[TOKENS])
    torch.testing.assert_close(graph, policy.observe(batch))


# ---------------------------------------------------------------- training and errors


def test_words_are_left_out_in_training_only():
    policy, batch = make_policy("vla-mlp", word_dropout=0.5), make_batch()
    assert torch.equal(policy.observe(batch), policy.observe(batch))
    policy.train()
    assert not torch.equal(policy.observe(batch), policy.observe(batch))


def test_the_shares_that_are_left_out():
    torch.manual_seed(0)
    ids = torch.ones(200, 20, 10, dtype=torch.int64)
    assert torch.equal(without_some(ids, words=0.0, pieces=0.0), ids)
    left = without_some(ids, words=0.3, pieces=0.0)
    assert set(left.sum(2).unique().tolist()) == {0, 10}
    assert left.float().mean() == pytest.approx(0.7, abs=0.03)
    assert without_some(ids, words=0.0, pieces=0.2).float().mean() == pytest.approx(0.8, abs=0.02)


def test_a_batch_without_words_is_refused():
    batch = make_batch()
    del batch[TOKENS]
    with pytest.raises(UserError, match="encode_task"):
        make_policy("vla-mlp").predict_action_chunk(batch)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"language_heads": 3}, "language_dim is 8: it must be a multiple of language_heads"),
        ({"word_dropout": 1.0}, "word_dropout is 1.0"),
        ({"buckets": 0}, "buckets is 0"),
        ({"state_dim": 0}, "state_dim is 0"),
    ],
)
def test_values_that_make_no_sense_are_refused(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        build(make_schema(), **(SIZES | WORDS | settings))


def test_lerobots_pipeline_tokenises():
    from lerobot.policies.factory import make_pre_post_processors

    policy = make_policy("vla-mlp")
    statistics = {
        "observation.state": {"mean": torch.zeros(3), "std": torch.ones(3)},
        "observation.environment_state": {"mean": torch.zeros(2), "std": torch.ones(2)},
        "action": {"min": torch.zeros(2), "max": torch.ones(2)},
    }
    before, _ = make_pre_post_processors(policy.config, dataset_stats=statistics)
    seen = {"observation.state": torch.zeros(1, 3), "observation.environment_state": torch.zeros(1, 2)}
    ids = before({**seen, "task": "lift the cube"})[TOKENS]
    assert torch.equal(ids, torch.from_numpy(policy.encode_task(["lift the cube"])[TOKENS]))
    with pytest.raises(UserError, match="give the task in words"):
        before(seen)


def test_what_lerobot_trained_is_told_and_exported_too():
    from lerobot.policies.factory import make_pre_post_processors

    policy = make_policy("vla-mlp")
    statistics = {
        "observation.state": {"mean": torch.zeros(3), "std": torch.ones(3)},
        "observation.environment_state": {"mean": torch.zeros(2), "std": torch.ones(2)},
        "action": {"min": torch.full((2,), -0.5), "max": torch.full((2,), 1.5)},
    }
    pipelines = make_pre_post_processors(policy.config, dataset_stats=statistics)
    served = LeRobotPolicy(policy, make_schema(), pipelines)
    assert served.reads_task
    assert served.describe()["language"]["buckets"] == WORDS["buckets"]
    seen, noise = observe(4), make_noise(4).numpy()
    plain = {key: {name: value.numpy() for name, value in s.items()} for key, s in statistics.items()}
    expected = TorchPolicy(policy, make_schema(), plain).predict_chunk(seen, noise)
    np.testing.assert_allclose(served.predict_chunk(seen, noise).values, expected.values, atol=1e-5)
    encoder, _ = served.graphs()
    channels = [torch.from_numpy(seen[key]) for key in served.schema.observation_keys]
    ids = torch.from_numpy(policy.encode_task(seen["task"])[TOKENS])
    torch.testing.assert_close(encoder(*channels, ids), policy.observe(served.prepare(seen)))


def test_select_action_goes_on_being_told():
    policy, batch = make_policy("vla-mlp"), make_batch()
    newest = {key: batch[key][:, -1] for key in policy.config.observation_keys} | {TOKENS: batch[TOKENS]}
    policy.reset()
    noise = make_noise()
    first = policy.select_action(newest, noise=noise)
    repeated = {key: newest[key][:, None].expand(-1, N_OBS, -1) for key in policy.config.observation_keys}
    chunk = policy.predict_action_chunk({**repeated, TOKENS: batch[TOKENS]}, noise=noise)
    torch.testing.assert_close(first, chunk[:, 0])
    assert chunk.shape[1] == HORIZON
