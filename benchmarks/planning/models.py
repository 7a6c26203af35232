"""Models to plan for, with random weights: latency does not depend on them."""

import torch
from torch import Tensor, nn

from benchmarks import torchvision_operators
from reprune.config.target import Target
from reprune.data.model_io import Inputs

ONE = Target(threads=1, batch_size=1)


class Block(nn.Module):
    """Two convolutions with batch normalization."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before in (inputs, outputs):
            layers += [nn.Conv2d(before, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, inputs, H, W]`` to ``[N, outputs, H, W]``."""
        return self.layers(x)


class UNet(nn.Module):
    """A U-Net of four levels, 32 channels at the top (arXiv:1505.04597)."""

    def __init__(self, width: int = 32, levels: int = 4, classes: int = 4) -> None:
        super().__init__()
        widths = [width * 2**k for k in range(levels)]
        self.down = nn.ModuleList(Block(a, b) for a, b in zip([3, *widths[:-1]], widths, strict=True))
        self.pool = nn.MaxPool2d(2)
        self.rise = nn.ModuleList(nn.Conv2d(2 * w, w, 1) for w in reversed(widths[:-1]))
        self.up = nn.ModuleList(Block(2 * w, w) for w in reversed(widths[:-1]))
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map ``[N, 3, H, W]`` to ``[N, classes, H, W]``."""
        x, skipped = image, []
        for k, block in enumerate(self.down):
            x = block(self.pool(x) if k else x)
            skipped.append(x)
        for rise, block, skip in zip(self.rise, self.up, reversed(skipped[:-1]), strict=True):
            x = block(torch.cat([skip, rise(self.upsample(x))], dim=1))
        return self.head(x)


class Bert(nn.Module):
    """BERT-mini of transformers with its classifier (arXiv:1908.08962)."""

    def __init__(self) -> None:
        from transformers import BertConfig, BertForSequenceClassification

        super().__init__()
        config = BertConfig(
            hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024, num_labels=2
        )
        self.bert = BertForSequenceClassification(config)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Map tokens ``[N, T]`` to logits ``[N, 2]``."""
        return self.bert(input_ids=input_ids).logits


def _digits() -> tuple[nn.Module, Inputs, Target]:
    from reprune.workloads.digits.model import build

    return build(), torch.randn(2, 1, 8, 8), Target(threads=1, batch_size=32)


def _stdlib_text() -> tuple[nn.Module, Inputs, Target]:
    from reprune.workloads.stdlib_text.model import CONTEXT, build

    return build(), torch.randint(0, 256, (2, CONTEXT)), Target(threads=1, batch_size=8)


def _resnet50() -> tuple[nn.Module, Inputs, Target]:
    from torchvision.models import resnet50

    return resnet50(weights=None), torch.randn(2, 3, 224, 224), ONE


def _mobilenet_v2() -> tuple[nn.Module, Inputs, Target]:
    from torchvision.models import mobilenet_v2

    return mobilenet_v2(weights=None), torch.randn(2, 3, 224, 224), ONE


def _unet() -> tuple[nn.Module, Inputs, Target]:
    return UNet(), torch.randn(2, 3, 128, 128), ONE


def _vit_s() -> tuple[nn.Module, Inputs, Target]:
    from timm import create_model

    return create_model("vit_small_patch16_224", pretrained=False), torch.randn(2, 3, 224, 224), ONE


def _bert_mini() -> tuple[nn.Module, Inputs, Target]:
    return Bert(), torch.randint(0, 30522, (2, 128)), ONE


MODELS = {
    "ResNet-20 (digits)": _digits,
    "stdlib text": _stdlib_text,
    "U-Net": _unet,
    "BERT-mini": _bert_mini,
    "MobileNetV2": _mobilenet_v2,
    "ViT-S": _vit_s,
    "ResNet-50": _resnet50,
}


def build(name: str) -> tuple[nn.Module, Inputs, Target]:
    """Return a model in eval mode, two example inputs, and its target."""
    torchvision_operators.declare()
    torch.manual_seed(0)
    model, inputs, target = MODELS[name]()
    return model.eval(), inputs, target
