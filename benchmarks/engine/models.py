"""Small architectures of torchvision, timm and transformers, with random weights.

An architecture that no package has is one of the small models of the engine's tests. Each entry builds
``(model, example_inputs)``; ``benchmarks.engine.models:NAME`` is an entry point that builds the model alone.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import torchvision_operators
from tests.reprune.pruning.zoo import ZOO

Built = tuple[nn.Module, Any]


def image(size: int = 64) -> Tensor:
    """Return two random images, shape ``[2, 3, size, size]``."""
    return torch.randn(2, 3, size, size)


def ids(length: int = 12) -> Tensor:
    """Return two random sequences of tokens, shape ``[2, length]``."""
    return torch.randint(1, 100, (2, length))


def vision(name: str, inputs: Callable[[], Any] = image, **settings: Any) -> Callable[[], Built]:
    """Return a builder of a torchvision model."""

    def build() -> Built:
        import torchvision

        return torchvision.models.get_model(name, weights=None, **settings), inputs()

    return build


def timm(name: str, size: int = 64, **settings: Any) -> Callable[[], Built]:
    """Return a builder of a timm model."""

    def build() -> Built:
        import timm

        return timm.create_model(name, **settings), image(size)

    return build


def hub(name: str, inputs: Callable[[], Any], **settings: Any) -> Callable[[], Built]:
    """Return a builder of a transformers model of class ``name``."""

    def build() -> Built:
        import transformers

        kind = getattr(transformers, name)
        return kind(kind.config_class(**settings)), inputs()

    return build


def local(build: Callable[[], nn.Module], inputs: Callable[[], Any]) -> Callable[[], Built]:
    """Return a builder of a model and its inputs."""
    return lambda: (build(), inputs())


def stock_vit() -> nn.Module:
    """Return a small torchvision vision transformer with torch's attention."""
    from torchvision.models import VisionTransformer

    return VisionTransformer(image_size=32, patch_size=8, num_layers=2, num_heads=4, hidden_dim=64, mlp_dim=160)


class Detector(nn.Module):
    """A backbone, a feature pyramid, and class and box heads on each level."""

    def __init__(self) -> None:
        import torchvision
        from torchvision.models.feature_extraction import create_feature_extractor
        from torchvision.ops import FeaturePyramidNetwork

        super().__init__()
        nodes = {"layer2": "a", "layer3": "b", "layer4": "c"}
        self.body = create_feature_extractor(torchvision.models.resnet18(weights=None), nodes)
        self.pyramid = FeaturePyramidNetwork([128, 256, 512], 64)
        self.tower = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.GroupNorm(8, 64), nn.ReLU())
        self.classes, self.boxes = nn.Conv2d(64, 20, 3, padding=1), nn.Conv2d(64, 4, 3, padding=1)

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return classes and boxes for each level, finest first."""
        towers = [self.tower(level) for level in self.pyramid(self.body(x)).values()]
        return [(self.classes(tower), self.boxes(tower).exp()) for tower in towers]


TEXT: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "intermediate_size": 160,
    "max_position_embeddings": 40,
}
DECODER = TEXT | {"num_key_value_heads": 4, "use_cache": False, "pad_token_id": 0}
PAIR = {"d_model": 64, "vocab_size": 100, "use_cache": False}
WHISPER = {
    **{f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in {"layers": 2, "ffn_dim": 160}.items()},
    **{f"{side}_attention_heads": 8 for side in ("encoder", "decoder")},
    **{"num_mel_bins": 16, "max_source_positions": 20, "pad_token_id": 0, "eos_token_id": 2, "bos_token_id": 1},
    "decoder_start_token_id": 1,
}
WAV2VEC2 = TEXT | {
    "conv_dim": (32, 32, 32),
    "conv_kernel": (10, 3, 2),
    "conv_stride": (5, 2, 2),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "mask_time_prob": 0.0,
}
VIT = {"img_size": 64, "patch_size": 16, "embed_dim": 96, "depth": 3, "num_heads": 6}

MODELS: dict[str, Callable[[], Built]] = {
    "vgg": ZOO["vgg"],
    "resnet18": vision("resnet18"),
    "resnet50": vision("resnet50"),
    "resnext50": vision("resnext50_32x4d"),
    "densenet121": vision("densenet121"),
    "googlenet": vision("googlenet", init_weights=False),
    "inception_v3": vision("inception_v3", lambda: image(299), init_weights=False),
    "squeezenet": vision("squeezenet1_1"),
    "mobilenet_v2": vision("mobilenet_v2"),
    "mobilenet_v3": vision("mobilenet_v3_small"),
    "efficientnet": vision("efficientnet_b0"),
    "shufflenet_v2": vision("shufflenet_v2_x0_5"),
    "regnet_y": vision("regnet_y_400mf"),
    "convnext": timm("convnext_atto"),
    "poolformer": timm("poolformer_s12"),
    "unet": ZOO["unet"],
    "deeplab_v3": vision("deeplabv3_mobilenet_v3_large", weights_backbone=None, num_classes=5),
    "detector_fpn": local(Detector, image),
    "multi_task": ZOO["multi_task"],
    "super_resolution": ZOO["super_resolution"],
    "group_norm": ZOO["group_norm"],
    "conv1d": ZOO["signal"],
    "resnet3d": vision("r3d_18", lambda: torch.randn(2, 3, 4, 32, 32)),
    "lstm": ZOO["lstm"],
    "gru": ZOO["gru_two_layers"],
    "mlp_mixer": timm("mixer_s32_224", 224),
    "multihead_attention": local(stock_vit, lambda: image(32)),
    "transformer_encoder": ZOO["transformer_encoder"],
    "vit": timm("vit_tiny_patch16_224", **VIT),
    "vit_width_read": ZOO["vit_width"],
    "deit_distilled": timm("deit_tiny_distilled_patch16_224", **VIT),
    "swin_torchvision": vision("swin_t"),
    "swin_timm": timm("swin_tiny_patch4_window7_224", img_size=64, window_size=4, embed_dim=48, depths=(2, 2, 2, 2)),
    "levit": timm("levit_128s", 224),
    "bert": hub("BertForSequenceClassification", ids, **TEXT),
    "distilbert": hub(
        "DistilBertForSequenceClassification", ids, vocab_size=100, dim=64, n_layers=3, n_heads=8, hidden_dim=160
    ),
    "roberta": hub("RobertaForSequenceClassification", ids, **TEXT, pad_token_id=0),
    "gpt2": hub("GPT2LMHeadModel", ids, vocab_size=100, n_embd=64, n_layer=3, n_head=8, use_cache=False),
    "llama": hub("LlamaForCausalLM", ids, **DECODER),
    "llama_tied": hub("LlamaForCausalLM", ids, **DECODER, tie_word_embeddings=True),
    "mistral": hub("MistralForCausalLM", ids, **DECODER),
    "qwen2": hub("Qwen2ForCausalLM", ids, **DECODER),
    "mixtral": hub("MixtralForCausalLM", ids, **DECODER, num_local_experts=4),
    "mixture_of_experts": ZOO["mixtral"],
    "t5": hub(
        "T5ForConditionalGeneration",
        lambda: {"input_ids": ids(), "decoder_input_ids": ids(6)},
        **PAIR,
        d_kv=8,
        d_ff=160,
        num_layers=2,
        num_heads=8,
    ),
    "whisper": hub(
        "WhisperForConditionalGeneration",
        lambda: {"input_features": torch.randn(2, 16, 40), "decoder_input_ids": ids(6)},
        **PAIR,
        **WHISPER,
    ),
    "wav2vec2": hub("Wav2Vec2ForSequenceClassification", lambda: torch.randn(2, 2000), **WAV2VEC2),
    "segformer": hub(
        "SegformerForSemanticSegmentation",
        image,
        hidden_sizes=[16, 32, 40, 64],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 2, 4, 8],
        decoder_hidden_size=48,
        num_labels=5,
    ),
    "swin_transformers": hub(
        "SwinForImageClassification",
        image,
        image_size=64,
        embed_dim=48,
        depths=[2, 2],
        num_heads=[3, 6],
        window_size=4,
        num_labels=5,
    ),
    "tied_embeddings": ZOO["llama_tied"],
    "shared_modules": ZOO["shared"],
    "bare_parameters": ZOO["bare_parameters"],
    "channel_shuffle": ZOO["channel_shuffle"],
    "channel_flip": ZOO["flip"],
    "channel_roll": ZOO["roll"],
    "einsum_attention": ZOO["encoder_decoder"],
}


def built(name: str) -> Built:
    """Build an architecture in eval mode, with random values in constant tensors.

    Ones and zeros would hide mistakes.
    """
    torchvision_operators.declare()
    torch.manual_seed(0)
    model, inputs = MODELS[name]()
    with torch.no_grad():
        for key, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.is_floating_point() and tensor.numel() > 1 and (tensor == tensor.flatten()[0]).all():
                noise = torch.rand(tensor.shape)
                tensor.copy_(0.5 + noise if "mean" not in key else noise - 0.5)
    return model.eval(), inputs


def __getattr__(name: str) -> Callable[[], nn.Module]:
    """Make ``benchmarks.engine.models:NAME`` an entry point of a dense model."""
    if name not in MODELS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return lambda: built(name)[0]
