"""Architectures of the ``transformers`` package, tiny and with random weights: nothing is downloaded.

Sizes differ from one another where an architecture allows it, so that no size is taken for another by chance.
"""

import sys
from typing import Any

import torch
from torch import Tensor, nn

try:
    import torchvision  # noqa: F401  # a torchvision built for another torch breaks transformers, its absence does not
except (ImportError, RuntimeError):
    sys.modules["torchvision"] = None  # type: ignore[assignment]

import transformers  # noqa: E402

Built = tuple[nn.Module, Any]

TEXT: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 72,
    "max_position_embeddings": 24,
}
DECODER = TEXT | {"num_key_value_heads": 2, "use_cache": False, "pad_token_id": 0}
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 72,
    "image_size": 16,
    "patch_size": 4,
    "num_labels": 5,
}


def ids(length: int = 9) -> Tensor:
    return torch.randint(1, 60, (2, length))


def image(size: int = 16) -> Tensor:
    return torch.randn(2, 3, size, size)


def of(name: str, config: str, inputs: Any, **settings: Any) -> Built:
    """Build a model of the package from its class, its configuration's class and settings."""
    settings = {"num_labels": 5} | settings if "Classification" in name else settings
    return getattr(transformers, name)(getattr(transformers, config)(**settings)), inputs


def bart() -> Built:
    settings = {
        "vocab_size": 60,
        "d_model": 32,
        "max_position_embeddings": 24,
        "use_cache": False,
        **{f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in BART_SIDE.items()},
    }
    inputs = {"input_ids": ids(), "decoder_input_ids": ids(5)}
    return of("BartForConditionalGeneration", "BartConfig", inputs, **settings)


BART_SIDE = {"layers": 2, "ffn_dim": 72, "attention_heads": 4}


def t5(gated: bool = False) -> Built:
    settings = {
        "vocab_size": 60,
        "d_model": 32,
        "d_kv": 6,
        "d_ff": 72,
        "num_layers": 2,
        "num_heads": 4,
        "use_cache": False,
        "feed_forward_proj": "gated-gelu" if gated else "relu",
    }
    inputs = {"input_ids": ids(), "decoder_input_ids": ids(5)}
    return of("T5ForConditionalGeneration", "T5Config", inputs, **settings)


def whisper() -> Built:
    settings = {
        "vocab_size": 60,
        "num_mel_bins": 10,
        "d_model": 32,
        "max_source_positions": 12,
        "max_target_positions": 16,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 1,
        "use_cache": False,
        **{f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in BART_SIDE.items()},
    }
    inputs = {"input_features": torch.randn(2, 10, 24), "decoder_input_ids": ids(5)}
    return of("WhisperForConditionalGeneration", "WhisperConfig", inputs, **settings)


def wav2vec2() -> Built:
    settings = {
        "vocab_size": 40,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 72,
        "conv_dim": (12, 20),
        "conv_kernel": (5, 3),
        "conv_stride": (3, 2),
        "num_feat_extract_layers": 2,
        "num_conv_pos_embeddings": 6,
        "num_conv_pos_embedding_groups": 4,
        "layerdrop": 0.0,
        "mask_time_prob": 0.0,
    }
    return of("Wav2Vec2ForCTC", "Wav2Vec2Config", torch.randn(2, 160), **settings)


def clip() -> Built:
    text = transformers.CLIPTextConfig(**TEXT, eos_token_id=59, bos_token_id=58, pad_token_id=57)
    vision = transformers.CLIPVisionConfig(
        hidden_size=24, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4, image_size=16, patch_size=4
    )
    config = transformers.CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=20)
    return transformers.CLIPModel(config), {"input_ids": ids(), "pixel_values": image()}


def detr() -> Built:
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1], out_features=["stage4"]
    )
    config = transformers.DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=backbone,
        num_labels=5,
        d_model=32,
        num_queries=6,
        encoder_layers=2,
        decoder_layers=2,
        encoder_ffn_dim=72,
        decoder_ffn_dim=72,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
    )
    return transformers.DetrForObjectDetection(config), image(64)


MODELS = {
    "bert": lambda: of("BertForSequenceClassification", "BertConfig", ids(), **TEXT),
    "distilbert": lambda: of(
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        ids(),
        vocab_size=60,
        dim=32,
        hidden_dim=72,
        n_layers=2,
        n_heads=4,
        max_position_embeddings=24,
    ),
    "roberta": lambda: of("RobertaForMaskedLM", "RobertaConfig", ids(), **TEXT),
    "electra": lambda: of("ElectraForSequenceClassification", "ElectraConfig", ids(), **TEXT, embedding_size=20),
    "albert": lambda: of("AlbertForSequenceClassification", "AlbertConfig", ids(), **TEXT, embedding_size=20),
    "deberta_v2": lambda: of(
        "DebertaV2ForSequenceClassification",
        "DebertaV2Config",
        ids(),
        **TEXT,
        relative_attention=True,
        position_buckets=8,
        pos_att_type=["p2c", "c2p"],
        share_att_key=True,
        norm_rel_ebd="layer_norm",
    ),
    "gpt2": lambda: of(
        "GPT2LMHeadModel",
        "GPT2Config",
        ids(),
        vocab_size=60,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=24,
        use_cache=False,
    ),
    "llama": lambda: of("LlamaForCausalLM", "LlamaConfig", ids(), **DECODER),
    "mistral": lambda: of("MistralForCausalLM", "MistralConfig", ids(), **DECODER, head_dim=12),
    "qwen2": lambda: of("Qwen2ForCausalLM", "Qwen2Config", ids(), **DECODER),
    "qwen3": lambda: of("Qwen3ForCausalLM", "Qwen3Config", ids(), **DECODER, head_dim=12, tie_word_embeddings=True),
    "mixtral": lambda: of(
        "MixtralForCausalLM", "MixtralConfig", ids(), **DECODER, num_local_experts=3, num_experts_per_tok=2
    ),
    "qwen2_moe": lambda: of(
        "Qwen2MoeForCausalLM",
        "Qwen2MoeConfig",
        ids(),
        **DECODER,
        num_experts=3,
        num_experts_per_tok=2,
        moe_intermediate_size=40,
        shared_expert_intermediate_size=28,
    ),
    "gemma": lambda: of("GemmaForCausalLM", "GemmaConfig", ids(), **DECODER, head_dim=12),
    "gemma2": lambda: of("Gemma2ForCausalLM", "Gemma2Config", ids(), **DECODER, head_dim=12),
    "phi": lambda: of("PhiForCausalLM", "PhiConfig", ids(), **DECODER),
    "phi3": lambda: of("Phi3ForCausalLM", "Phi3Config", ids(), **DECODER),
    "opt": lambda: of(
        "OPTForCausalLM",
        "OPTConfig",
        ids(),
        vocab_size=60,
        hidden_size=32,
        word_embed_proj_dim=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=72,
        max_position_embeddings=24,
        use_cache=False,
    ),
    "gpt_neox": lambda: of("GPTNeoXForCausalLM", "GPTNeoXConfig", ids(), **TEXT, use_cache=False),
    "falcon": lambda: of(
        "FalconForCausalLM",
        "FalconConfig",
        ids(),
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        use_cache=False,
    ),
    "bloom": lambda: of(
        "BloomForCausalLM", "BloomConfig", ids(), vocab_size=60, hidden_size=32, n_layer=2, n_head=4, use_cache=False
    ),
    "t5": t5,
    "t5_gated": lambda: t5(gated=True),
    "bart": bart,
    "whisper": whisper,
    "wav2vec2": wav2vec2,
    "vit": lambda: of("ViTForImageClassification", "ViTConfig", image(), **VISION),
    "deit": lambda: of("DeiTForImageClassification", "DeiTConfig", image(), **VISION),
    "swin": lambda: of(
        "SwinForImageClassification",
        "SwinConfig",
        image(32),
        image_size=32,
        patch_size=2,
        embed_dim=16,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=4,
    ),
    "segformer": lambda: of(
        "SegformerForSemanticSegmentation",
        "SegformerConfig",
        image(32),
        num_labels=5,
        depths=[1, 1],
        num_encoder_blocks=2,
        hidden_sizes=[16, 24],
        num_attention_heads=[2, 4],
        sr_ratios=[2, 1],
        patch_sizes=[3, 3],
        strides=[2, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=20,
    ),
    "convnext": lambda: of(
        "ConvNextForImageClassification",
        "ConvNextConfig",
        image(32),
        image_size=32,
        hidden_sizes=[8, 12, 16, 20],
        depths=[1, 1, 1, 1],
        patch_size=4,
    ),
    "mobilevit": lambda: of(
        "MobileViTForImageClassification",
        "MobileViTConfig",
        image(64),
        image_size=64,
        hidden_sizes=[24, 32, 40],
        neck_hidden_sizes=[8, 12, 16, 20, 24, 28, 64],
        num_attention_heads=4,
    ),
    "clip": clip,
    "detr": detr,
}
