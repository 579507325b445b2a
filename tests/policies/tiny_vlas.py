"""LeRobot's vision-language-action policies at toy size, with random weights: nothing is downloaded.

SmolVLA builds itself from the configuration of a language model, so a small one will do. The widths of pi0 and pi05
are written into LeRobot's code: `shrink_pi` replaces its table of variants and cuts PaliGemma's vision tower and
vocabulary.
"""

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lerobot_runs
import numpy as np
import torch

PALIGEMMA, SMOLVLM = "google/paligemma-3b-pt-224", "HuggingFaceTB/SmolVLM2-500M-Video-Instruct"
HUB_NAMES = {"smolvla": SMOLVLM, "pi0": PALIGEMMA, "pi05": PALIGEMMA}
SENTENCE = "put place sort the red green blue cube cylinder block into in left right bin lift . , ; : Task State Action"
WORDS = SENTENCE.split()
SPECIAL = [
    "<pad>",
    "<unk>",
    "<s>",
    "</s>",
    "<image>",
    "<fake_token_around_image>",
    "<global-img>",
    "<end_of_utterance>",
]


def write_tokenizer(folder: Path) -> Path:
    """A tokeniser of whole words and numbers."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = [*SPECIAL, "\n", *WORDS, *map(str, range(256))]
    tokenizer = Tokenizer(models.WordLevel({word: k for k, word in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Punctuation()]
    )
    extra = {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    }
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens=extra,
    ).save_pretrained(folder)
    return folder


def write_smolvlm(folder: Path) -> Path:
    """What SmolVLA reads of its language model: configuration, tokeniser and the processors of pictures."""
    from transformers import SmolVLMConfig

    write_tokenizer(folder)
    size = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "intermediate_size": 32}
    text = {
        **size,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "vocab_size": 320,
        "model_type": "llama",
        "pad_token_id": 0,
    }
    vision = {**size, "num_hidden_layers": 1, "image_size": 32, "patch_size": 8}
    config = SmolVLMConfig(text_config=text, vision_config=vision, image_token_id=4, pad_token_id=0, scale_factor=2)
    config.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "SmolVLMImageProcessor"}))
    (folder / "video_preprocessor_config.json").write_text(
        json.dumps({"video_processor_type": "SmolVLMVideoProcessor"})
    )
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "SmolVLMProcessor"}))
    return folder


def shrink_pi(monkeypatch: Any) -> None:
    """Make pi0 and pi05 small: 2 layers of width 32, a vision tower of 1 layer, 320 words."""
    from lerobot.policies.pi0 import modeling_pi0
    from lerobot.policies.pi05 import modeling_pi05

    for module in (modeling_pi0, modeling_pi05):
        # their attention has 8 heads, whatever the table says
        small = module.GemmaConfig(width=32, depth=2, mlp_dim=32, num_heads=8, num_kv_heads=1, head_dim=8)
        monkeypatch.setattr(module, "get_gemma_config", lambda variant, small=small: small)
        monkeypatch.setattr(
            module,
            "PaliGemmaForConditionalGenerationWithPiGemma",
            lambda config, make=module.PaliGemmaForConditionalGenerationWithPiGemma: make(_small_paligemma(config)),
        )
        monkeypatch.setattr(
            module, "PiGemmaForCausalLM", lambda config, make=module.PiGemmaForCausalLM: make(_small_gemma(config))
        )


def _small_gemma(config: Any) -> Any:
    config.vocab_size = 320
    config.pad_token_id = 0
    return config


def _small_paligemma(config: Any) -> Any:
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    for name, value in {**vision, "projection_dim": 32, "patch_size": 14}.items():
        setattr(config.vision_config, name, value)
    _small_gemma(config.text_config)
    config._vocab_size = config.image_token_index = 320
    return config


def policy_config(kind: str, vlm: Path, **changes: Any) -> Any:
    from lerobot.policies.pi0.configuration_pi0 import PI0Config
    from lerobot.policies.pi05.configuration_pi05 import PI05Config
    from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig

    common: dict[str, Any] = {"device": "cpu", "push_to_hub": False, "chunk_size": 8, "n_action_steps": 4}
    common |= {"max_state_dim": 20, "max_action_dim": 8} | changes
    if kind == "smolvla":
        size = {"resize_imgs_with_padding": (32, 32), "num_vlm_layers": 2, "num_steps": 3}
        return SmolVLAConfig(**size, vlm_model_name=str(vlm), **common)
    return {"pi0": PI0Config, "pi05": PI05Config}[kind](image_resolution=(28, 28), num_inference_steps=3, **common)


def write_checkpoint(folder: Path, kind: str, **changes: Any) -> Path:
    """A `pretrained_model` folder as LeRobot's trainer leaves it, with our schema beside it; its VLM lies in `vlm`."""
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.policies import get_policy_class, make_pre_post_processors
    from lerobot.processor import TokenizerProcessorStep

    folder.mkdir(parents=True)
    vlm = write_smolvlm(folder / "vlm") if kind == "smolvla" else write_tokenizer(folder / "vlm")
    config = policy_config(kind, vlm, **changes)
    schema = lerobot_runs.lift_schema("external")
    schema = schema.select([key for key in schema.features if key != "observation.environment_state"])
    for key in schema.observation_keys:
        shape = schema[key].shape
        picture = len(shape) == 3
        config.input_features[key] = PolicyFeature(
            FeatureType.VISUAL if picture else FeatureType.STATE, (shape[2], *shape[:2]) if picture else shape
        )
    config.output_features["action"] = PolicyFeature(FeatureType.ACTION, schema.action.shape)
    torch.manual_seed(0)
    policy = get_policy_class(kind)(config)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    if kind == "smolvla":
        config.vlm_model_name = SMOLVLM
    with patch.object(TokenizerProcessorStep, "__post_init__", lambda step: None):  # it would download
        pipelines = make_pre_post_processors(config, dataset_stats=random_statistics(schema))
    for part in (policy, *pipelines):
        part.save_pretrained(folder)
    schema.save(folder / "schema.json")
    return folder


def random_statistics(schema: Any) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    statistics = {}
    for key in ("observation.state", "action"):
        middle, spread = rng.normal(size=schema[key].shape), rng.uniform(0.1, 1, schema[key].shape)
        ends = {"min": middle - 2 * spread, "max": middle + 2 * spread, "q01": middle - spread, "q99": middle + spread}
        statistics[key] = {"mean": middle, "std": spread, **ends}
    return statistics
