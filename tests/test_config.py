import dataclasses
from pathlib import Path

import pytest

import robolearn.configs
from robolearn.cli import EXAMPLES, VERB_FLAGS
from robolearn.compose import build, compose, group_options, options
from robolearn.config import VERBS, FlowConfig, QuickstartConfig, ResidualConfig
from robolearn.errors import UserError

FOLDER = Path(robolearn.configs.__file__).parent
# what a user must give, verb by verb
NEEDS = {
    "train": ["dataset=d"],
    "finetune": ["checkpoint=c", "dataset=d"],
    "eval": ["checkpoint=c"],
    "export": ["checkpoint=c"],
    "deploy": ["bundle=b"],
    "train-reward": ["dataset=d"],
    "annotate": ["dataset=d", "with=decompose"],
    "bench": ["name=sim"],
    "data info": ["dataset=d"],
    "data check": ["dataset=d"],
    "data view": ["dataset=d"],
    "data merge": ["datasets=[d]", "out=o"],
    "data split": ["dataset=d", "out=o"],
    "data import": ["source=s", "out=o"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_composes_to_its_dataclass(verb):
    assert type(build(verb, compose(verb, NEEDS.get(verb, [])))) is VERBS[verb]


@pytest.mark.parametrize("verb", [verb for verb in NEEDS])
def test_what_must_be_given_is_asked_for(verb):
    key = NEEDS[verb][0].partition("=")[0]
    with pytest.raises(UserError, match=f"'{verb}' needs {key}="):
        build(verb, compose(verb, []))


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_every_group_composes(verb):
    groups = group_options(verb)
    assert all(groups.values())
    budgets = groups.pop("budget", [])  # one is for the policy that the verb has by default
    # composing takes a fifth of a second: the n-th options of all groups at once
    rounds = [
        [f"{group}={names[n % len(names)]}" for group, names in groups.items()]
        for n in range(max(map(len, groups.values()), default=0))
    ]
    for words in rounds + [[f"budget={name}"] for name in budgets]:
        build(verb, compose(verb, [*NEEDS.get(verb, []), *words]))


def test_every_configuration_file_belongs_to_a_verb_or_a_group():
    groups = {group for verb in VERBS for group in group_options(verb)}
    for path in FOLDER.rglob("*.yaml"):
        place = path.relative_to(FOLDER)
        names = (place.stem, place.stem.replace("_", "-"), place.stem.replace("_", " "))
        assert place.parts[0] in groups or set(names) & set(VERBS), place


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_has_a_help_text(verb):
    assert all(option.help for option in options(compose(verb, [])))


@pytest.mark.parametrize(("verb", "example"), [(verb, line) for verb, lines in EXAMPLES.items() for line in lines])
def test_every_example_composes(verb, example):
    assert example.startswith(f"robolearn {verb}")
    words = example.removeprefix(f"robolearn {verb}").split()
    words = [f"name={w}" if verb == "bench" and "=" not in w else w for w in words if w not in VERB_FLAGS.get(verb, {})]
    compose(verb, words)


def test_groups_give_the_types_of_their_options():
    config = build("quickstart", compose("quickstart", ["policy.horizon=12", "seed=3"]))
    assert isinstance(config, QuickstartConfig)
    assert isinstance(config.policy, FlowConfig)
    assert isinstance(config.algo, ResidualConfig)
    assert (config.policy.horizon, config.seed, config.fast) == (12, 3, False)


def test_fast_cuts_the_budgets_and_an_override_still_wins():
    full = build("quickstart", compose("quickstart", []))
    fast = build("quickstart", compose("quickstart", ["budget=fast", "train.steps=7"]))
    assert fast.fast
    assert fast.algo.total_steps < full.algo.total_steps
    assert fast.num_demos < full.num_demos
    assert fast.train.steps == 7
    assert dataclasses.replace(fast.policy) == full.policy


@pytest.mark.parametrize(
    ("verb", "override", "sentence"),
    [
        ("quickstart", "polcy.horizon=8", "unknown option 'polcy.horizon'; did you mean 'policy.horizon'?"),
        ("quickstart", "horizon=8", "unknown option 'horizon'; did you mean 'policy.horizon'?"),
        ("quickstart", "policy.horizont=8", "unknown option 'policy.horizont'; did you mean 'policy.horizon'?"),
        ("collect", "tsk=lift", "unknown option 'tsk'; did you mean 'task'?"),
        ("collect", "task=lft", "unknown option 'task=lft'; did you mean 'task=lift'?"),
        ("collect", "task={nmae: lift}", "unknown option 'task={nmae: lift}'"),
        ("collect", "wobble=1", "unknown option 'wobble'; `robolearn collect --help` lists the options"),
        ("collect", "num_episodes=many", "num_episodes=many is of the wrong type: num_episodes is int"),
        ("collect", "num_episodes=1.5", "num_episodes=1.5 is of the wrong type: num_episodes is int"),
        ("collect", "task.name=null", "task.name=null is of the wrong type: task.name is str"),
        ("collect", "env=3", "unknown option 'env=3'; valid: env=default"),
        ("quickstart", "fresh=perhaps", "fresh=perhaps is of the wrong type: fresh is bool"),
        ("collect", "num_episodes=0", "num_episodes=0 is too small: give at least 1"),
        ("quickstart", "algo.gamma=1.5", "algo.gamma=1.5 is too large: give at most 1"),
        ("quickstart", "algo.gamma=nan", "algo.gamma=nan is too small"),
        ("deploy", "deploy.domain_id=300", "deploy.domain_id=300 is too large: give at most 232"),
        ("annotate", "with=[a]", "with=[a] is of the wrong type: with is str"),
        ("annotate", "wit=a", "unknown option 'wit'; did you mean 'with'?"),
        ("collect", "+wobble=1", "cannot take '+wobble=1'"),
        ("collect", "~task", "cannot take '~task'"),
        ("collect", "hydra.run.dir=x", "cannot take 'hydra.run.dir=x'"),
        ("collect", "seed", "cannot read 'seed': write key=value"),
        ("collect", "seed=[1", r"cannot read 'seed=[1': write key=value"),
        ("collect", "seed=1,2", "cannot take 'seed=1,2': give one value"),
        ("collect", "seed=${nowhere}", "Interpolation key 'nowhere' not found"),
    ],
)
def test_a_mistake_is_one_sentence(verb, override, sentence):
    with pytest.raises(UserError) as error:
        compose(verb, [override])
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_the_first_mistake_is_named_among_good_overrides():
    with pytest.raises(UserError, match=r"unknown option 'task.fsp'; did you mean 'task.fps'"):
        compose("collect", ["task=lift", "seed=1", "task.fsp=30", "num_episodes=5"])


def test_a_zero_may_be_a_value():
    assert build("collect", compose("collect", ["expert.noise=0", "seed=0"])).expert.noise == 0.0
