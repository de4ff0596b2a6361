"""The fusion network, whole: stems, one intra-modal layer, cross-modal layers, heads.

Tokens of each modality first attend to their own kind only, then to everything that is present. A missing
modality's tokens are replaced by a learned one before any attention, so its content cannot reach the logits;
of these the first stays visible to the others and tells them what is missing, the rest are masked out. The answer
is read from the first register: the last layer computes nothing for the other tokens.
"""

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's own name for it)
from torch import Tensor, nn

from pipeline.model.config import NetworkConfig, StemConfig
from pipeline.model.features import Features, InputFeatures, frames
from pipeline.model.layer import Layer
from pipeline.model.specs import InputSpecs


class Output(NamedTuple):
    """What the network says of a batch, FP32.

    Attributes:
        logits: [batch, classes], before temperature.
        auxiliary: [batch, 3, classes], each modality alone; of a missing one it means nothing.
    """

    logits: Tensor
    auxiliary: Tensor


class Stem(nn.Module):
    """Convolution, batch norm and GELU per stride, then a linear map: one modality's features to tokens."""

    def __init__(self, channels: int, config: StemConfig, d_model: int, *, flat: bool) -> None:
        super().__init__()
        convolution, norm, kernel = (nn.Conv2d, nn.BatchNorm2d, 3) if flat else (nn.Conv1d, nn.BatchNorm1d, 5)
        layers: list[nn.Module] = []
        for width, stride in zip((*config.widths, d_model), config.strides, strict=True):
            layers.append(convolution(channels, width, kernel, stride, kernel // 2))
            layers += [norm(width), nn.GELU(approximate="tanh")]
            channels = width
        self.convolutions = nn.Sequential(*layers)
        self.projection = nn.Linear(d_model, d_model)

    def forward(self, features: Tensor) -> Tensor:
        """Takes [batch, channels, ...] and returns tokens [batch, tokens, d_model]."""
        tokens: Tensor = self.projection(self.convolutions(features).flatten(2).transpose(1, 2))
        return tokens


class FusionTransformer(nn.Module):
    """Stems, transformer and heads: features in, logits out, in the precision of its parameters."""

    modality: Tensor
    first: Tensor

    def __init__(self, config: NetworkConfig, specs: InputSpecs) -> None:
        super().__init__()
        width, self.slots = config.d_model, token_counts(config, specs)
        self.registers = config.registers
        self.stems = nn.ModuleList(
            (
                Stem(config.mels, config.speech, width, flat=False),
                Stem(1, config.image, width, flat=True),
                Stem(3 * len(specs.sensor.channels), config.sensor, width, flat=False),
            )
        )
        self.register_tokens = _small_normal(1, config.registers, width)
        self.missing = _small_normal(3, width)
        self.modality_embedding = _small_normal(3, width)
        self.position_embedding = _small_normal(sum(self.slots), width)
        self.layers = nn.ModuleList(Layer(width, config.heads, config.d_feedforward) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.classes)
        self.auxiliary_heads = nn.ModuleList(nn.Linear(width, config.classes) for _ in range(3))
        modality = torch.repeat_interleave(torch.arange(3), torch.tensor(self.slots))
        first = torch.diff(modality, prepend=torch.tensor([-1])) > 0
        self.register_buffer("modality", modality, persistent=False)
        self.register_buffer("first", first, persistent=False)

    def forward(self, features: Features, present: Tensor | None) -> Output:
        """Classifies normalised inputs.

        Args:
            features: The batch's features; what stands in a missing slot is never looked at.
            present: bool [batch, 3], which of speech, image and sensor are there. None: all of all samples, which
                needs no attention mask and so lets the fastest kernel run; the answer is the same.
        """
        tokens = self.embed(features, present)
        tokens = self.layers[0](tokens, groups=(self.registers, *self.slots))
        auxiliary = self.classify_alone(tokens)
        bias = None if present is None else self.attention_bias(present)
        for layer in self.layers[1:-1]:
            tokens = layer(tokens, bias=bias)
        answer = cast("Layer", self.layers[-1]).first(tokens, bias)
        logits = self.head(self.norm(answer[:, 0]))
        return Output(logits.float(), auxiliary.float())

    def attention_bias(self, present: Tensor) -> Tensor:
        """Returns minus infinity for what must not be seen, else 0, [batch, 1, 1, registers + tokens].

        In the precision of the network and with all strides but the last multiples of 16 elements, so that the fused
        kernels take it as it is and no layer has to convert or copy it.
        """
        visible = F.pad(present[:, self.modality] | self.first, (self.registers, 0), value=True)
        tokens = visible.shape[1]
        padded = -(-tokens // 16) * 16
        # Four dimensions from the start: one added to the cut view would have its odd length as its stride.
        bias = torch.zeros(len(visible), 1, 1, padded, dtype=self.missing.dtype, device=visible.device)
        return bias[..., :tokens].masked_fill_(~visible[:, None, None], -torch.inf)

    def embed(self, features: Features, present: Tensor | None) -> Tensor:
        """Returns the first layer's input, [batch, registers + tokens, d_model]."""
        dtype = self.missing.dtype
        views = features.log_mel.transpose(1, 2), features.image, features.sensor.transpose(1, 2)
        content = torch.cat([stem(view.to(dtype)) for stem, view in zip(self.stems, views, strict=True)], dim=1)
        if present is not None:
            content = torch.where(present[:, self.modality, None], content, self.missing[self.modality])
        content = content + self.position_embedding + self.modality_embedding[self.modality]
        return torch.cat((self.register_tokens.expand(len(content), -1, -1), content), dim=1)

    def classify_alone(self, tokens: Tensor) -> Tensor:
        """Returns each modality's own logits, [batch, 3, classes], from the intra-modal layer's output."""
        slots = torch.split(tokens[:, self.registers :], list(self.slots), dim=1)
        means = [F.layer_norm(slot.mean(dim=1), slot.shape[-1:]) for slot in slots]
        answers = [head(mean) for head, mean in zip(self.auxiliary_heads, means, strict=True)]
        return torch.stack(answers, dim=1)


class FusionNetwork(nn.Module):
    """The whole network from raw inputs to logits.

    Training may call `features` and `transformer` one after the other, to mask features in between.
    """

    def __init__(self, config: NetworkConfig, specs: InputSpecs) -> None:
        super().__init__()
        self.config, self.specs = config, specs
        self.features = InputFeatures(specs, config.mels)
        self.transformer = FusionTransformer(config, specs)

    def half_precision(self) -> "FusionNetwork":
        """Turns stems, transformer and heads to FP16 in place; the features stay FP32."""
        self.transformer.half()
        return self

    def forward(self, speech: Tensor, image: Tensor, sensor: Tensor, present: Tensor | None) -> Output:
        """Classifies a batch of raw inputs, shaped as the input specs say.

        Args:
            speech: int16 [batch, samples].
            image: uint8 [batch, height, width].
            sensor: float32 [batch, frames, channels].
            present: bool [batch, 3], which of speech, image and sensor are there; None is all.
        """
        output: Output = self.transformer(self.features(speech, image, sensor), present)
        return output


def token_counts(config: NetworkConfig, specs: InputSpecs) -> tuple[int, int, int]:
    """Returns how many tokens speech, image and sensor become.

    Raises:
        ValueError: An input's size is not a multiple of its stem's stride.
    """
    sizes = {
        "speech frames": (frames(specs.speech), config.speech.stride),
        "image height": (specs.image.height, config.image.stride),
        "image width": (specs.image.width, config.image.stride),
        "sensor frames": (specs.sensor.frames, config.sensor.stride),
    }
    for name, (size, stride) in sizes.items():
        if size == 0 or size % stride:
            raise ValueError(f"{name}: {size} is not a positive multiple of the stem's stride {stride}")
    speech, height, width, sensor = (size // stride for size, stride in sizes.values())
    return speech, height * width, sensor


def _small_normal(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * 0.02)
