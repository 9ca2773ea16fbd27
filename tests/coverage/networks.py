"""Small networks of the kinds that users bring, in PyTorch."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

CLASSES = 5


class Residual(nn.Module):
    """Two convolutions around a shortcut."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, filters, 3, stride, 1, bias=False),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
            nn.Conv2d(filters, filters, 3, 1, 1, bias=False),
            nn.BatchNorm2d(filters),
        )
        self.shortcut = nn.Conv2d(channels, filters, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        return F.relu(self.body(x) + self.shortcut(x))


def resnet() -> nn.Module:
    """Three residual blocks and a classifier."""
    blocks = [Residual(3, 8, 1), Residual(8, 16, 2), Residual(16, 16, 1)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, CLASSES))


def mobilenet() -> nn.Module:
    """Inverted bottlenecks with depthwise convolutions."""
    layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, 2, 1), nn.Hardswish()]
    for channels, stride in ((8, 1), (8, 2)):
        wide = 4 * channels
        layers += [nn.Conv2d(channels, wide, 1), nn.BatchNorm2d(wide), nn.ReLU6()]
        layers += [nn.Conv2d(wide, wide, 3, stride, 1, groups=wide), nn.BatchNorm2d(wide), nn.ReLU6()]
        layers += [nn.Conv2d(wide, channels, 1), nn.BatchNorm2d(channels)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES))


class UNet(nn.Module):
    """Down once, up once by a transposed convolution, and across."""

    def __init__(self) -> None:
        super().__init__()
        self.inwards = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU())
        self.down = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, 1, 1), nn.ReLU())
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.out = nn.Conv2d(16, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        """A class for every pixel."""
        wide = self.inwards(x)
        out: Tensor = self.out(torch.cat([wide, self.up(self.down(wide))], dim=1))
        return out


class ViT(nn.Module):
    """Patches, one transformer block, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 4, 4)
        self.block = nn.TransformerEncoderLayer(32, 4, 64, activation="gelu", batch_first=True, norm_first=True)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        out: Tensor = self.head(self.block(tokens).mean(dim=1))
        return out


class GPT2(nn.Module):
    """Embedding, one causal block, and scores by the embedding's own weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 32)
        self.norms = nn.ModuleList([nn.LayerNorm(32), nn.LayerNorm(32), nn.LayerNorm(32)])
        self.attend, self.project = nn.Linear(32, 96), nn.Linear(32, 32)
        self.wide, self.narrow = nn.Linear(32, 128), nn.Linear(128, 32)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores of every next token."""
        x = self.embedding(tokens)
        q, k, v = (
            part.unflatten(-1, (4, 8)).transpose(1, 2) for part in self.attend(self.norms[0](x)).chunk(3, dim=-1)
        )
        mask = torch.tril(torch.ones(8, 8, dtype=torch.bool))
        weights = (q @ k.transpose(-2, -1) / 8**0.5).masked_fill(~mask, -1e9).softmax(dim=-1)
        x = x + self.project((weights @ v).transpose(1, 2).flatten(2))
        x = x + self.narrow(F.gelu(self.wide(self.norms[1](x)), approximate="tanh"))
        out: Tensor = self.norms[2](x) @ self.embedding.weight.T
        return out


class Tagger(nn.Module):
    """A label for every token, from both directions."""

    def __init__(self, kind: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 12)
        self.recurrent = kind(12, 16, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        """Class scores of every token."""
        out: Tensor = self.head(self.recurrent(self.embedding(tokens))[0])
        return out


IMAGE = torch.zeros(1, 3, 16, 16)
TOKENS = torch.zeros(1, 8, dtype=torch.int64)

NETWORKS: Mapping[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "resnet": (resnet, IMAGE),
    "mobilenet": (mobilenet, IMAGE),
    "u-net": (UNet, IMAGE),
    "vit": (ViT, IMAGE),
    "gpt-2": (GPT2, TOKENS),
    "lstm tagger": (lambda: Tagger(nn.LSTM), TOKENS),
    "gru tagger": (lambda: Tagger(nn.GRU), TOKENS),
}


def network(name: str) -> nn.Module:
    """The network of that name, ready to be exported; always with the same weights."""
    torch.manual_seed(0)
    return NETWORKS[name][0]().eval()
