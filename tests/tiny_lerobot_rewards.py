"""LeRobot's reward models at toy size with random weights, in folders as LeRobot and transformers leave them."""

import contextlib
import json

import torch

CAMERA, STATE = "observation.images.front", "observation.state"
STATISTICS = {STATE: {"mean": [0.1, -0.2, 0.3], "std": [0.5, 1.0, 2.0]}}
STAGES = ("reach", "lift", "place")
DIM = 16  # of CLIP's features
CLIP_SPECIAL = ["<pad>", "<s>", "</s>"]
QWEN_SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
QWEN_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% else %}<|vision_start|><|{{ part['type'] }}_pad|><|vision_end|>{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
)


def write_sarm(folder, **changes):
    """A SARM of 3 stages that was trained in LeRobot's mode with annotations, and its CLIP."""
    from lerobot.rewards.sarm.configuration_sarm import SARMConfig
    from lerobot.rewards.sarm.modeling_sarm import SARMRewardModel

    size = {"image_dim": DIM, "text_dim": DIM, "hidden_dim": 32, "num_heads": 2, "num_layers": 1, "max_state_dim": 5}
    told = {"num_dense_stages": 3, "dense_subtask_names": list(STAGES), "dense_temporal_proportions": [0.5, 0.3, 0.2]}
    options = {"annotation_mode": "dense_only", "frame_gap": 2, "image_key": CAMERA, "device": "cpu"}
    torch.manual_seed(0)
    model = SARMRewardModel(SARMConfig(**size, **(told | options | changes)))
    _shake(model)
    model.save_pretrained(folder)
    write_clip(folder / "base")
    return folder


def write_robometer(folder, **changes):
    """A Robometer, and the processor of its vision-language model."""
    from lerobot.rewards.robometer.configuration_robometer import RobometerConfig
    from lerobot.rewards.robometer.modeling_robometer import RobometerRewardModel

    base = write_qwen(folder / "base")
    options = {"torch_dtype": "float32", "image_key": CAMERA, "max_frames": 4, "device": "cpu"}
    with _quiet():
        model = RobometerRewardModel(
            RobometerConfig(pretrained_path=None, base_model_id=str(base), **(options | changes))
        )
    _shake(model.progress_head)
    _shake(model.success_head)
    model.config.base_model_id = "Qwen/Qwen3-VL-4B-Instruct"  # as the published one says
    model.save_pretrained(folder)
    return folder


def write_topreward(folder, **changes):
    """A TOPReward: a configuration, and the vision-language model that it asks."""
    from lerobot.rewards.topreward.configuration_topreward import TOPRewardConfig

    write_qwen(folder / "base")
    options = {"torch_dtype": "float32", "image_key": CAMERA, "max_frames": 4, "device": "cpu"}
    TOPRewardConfig(**(options | changes))._save_pretrained(folder)
    return folder


def write_clip(folder):
    """A CLIP of one layer that looks at 16 x 16 pixels."""
    from transformers import CLIPConfig, CLIPModel

    tokenizer = _write_tokenizer(folder, CLIP_SPECIAL, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    text = {**size, **ids, "vocab_size": len(tokenizer), "max_position_embeddings": 77}
    vision = {**size, "image_size": 16, "patch_size": 8}
    torch.manual_seed(1)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=DIM))
    _shake(model)
    with _quiet():
        model.save_pretrained(folder)
    pictures = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 16},
        "crop_size": {"height": 16, "width": 16},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures))
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "CLIPProcessor"}))
    return folder


def write_qwen(folder):
    """A Qwen3-VL of two layers, with a processor that wants 64 x 64 pixels at least."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    tokenizer = _write_tokenizer(folder, QWEN_SPECIAL, pad_token="<|endoftext|>", eos_token="<|im_end|>")
    size = {"hidden_size": 32, "intermediate_size": 32}
    rope = {"rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True}
    text = {**size, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    text |= {"vocab_size": len(tokenizer), "rope_scaling": rope, "max_position_embeddings": 4096}
    vision = {**size, "depth": 1, "num_heads": 2, "patch_size": 16, "out_hidden_size": 32}
    vision |= {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    words = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    ids = dict(zip(names, tokenizer.convert_tokens_to_ids(words), strict=True))
    torch.manual_seed(2)
    model = Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision, **ids))
    _shake(model)
    with _quiet():
        model.save_pretrained(folder)
    pictures = {"patch_size": 16, "merge_size": 2, "size": {"shortest_edge": 4096, "longest_edge": 65536}}
    for name, kind in (
        ("preprocessor_config.json", {"image_processor_type": "Qwen2VLImageProcessor"}),
        ("video_preprocessor_config.json", {"video_processor_type": "Qwen3VLVideoProcessor"}),
    ):
        (folder / name).write_text(json.dumps(pictures | kind))
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "Qwen3VLProcessor"}))
    (folder / "chat_template.jinja").write_text(QWEN_CHAT)
    return folder


def _write_tokenizer(folder, special, **roles):
    """A tokeniser of bytes; where there is a token for it, sentences begin and end with one."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: k for k, token in enumerate([*special, *letters])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if "bos_token" in roles:
        ends = [(roles[name], special.index(roles[name])) for name in ("bos_token", "eos_token")]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{ends[0][0]} $A {ends[1][0]}", special_tokens=ends
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_input_names=["input_ids", "attention_mask"], model_max_length=77, **roles
    )
    fast.add_special_tokens({"additional_special_tokens": special})
    fast.save_pretrained(folder)
    return fast


def _shake(model):
    """Make a fresh model's answers differ from each other."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))


@contextlib.contextmanager
def _quiet():
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
