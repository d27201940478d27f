"""The pre-norm transformer block of ViT, also the decoder block of Segmenter.

Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, arXiv 2010.11929, section 3.1, equations 2
and 3: z' = MSA(LN(z)) + z; z = MLP(LN(z')) + z'. Key names as mmsegmentation publishes them.
"""

from __future__ import annotations

from torch import Tensor, nn

from segstudio_zoo.layers.attention import MultiHeadAttention
from segstudio_zoo.layers.drop_path import DropPath


class FeedForward(nn.Module):
    """Linear, GELU, linear; keys `layers.0.0` and `layers.1`."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Sequential(nn.Linear(dim, hidden), nn.GELU()), nn.Linear(hidden, dim))
        for layer in (self.layers[0][0], self.layers[1]):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class SelfAttention(nn.Module):
    """Holds the attention one name deeper (`attn.attn`), as the published keys do."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attn = MultiHeadAttention(dim, heads)

    def forward(self, x: Tensor) -> Tensor:
        return self.attn(x)


class TransformerBlock(nn.Module):
    """Equations 2 and 3 over tokens (N, L, D)."""

    def __init__(
        self, dim: int, heads: int, hidden: int, *, eps: float = 1e-6, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(dim, eps)
        self.attn = SelfAttention(dim, heads)
        self.ln2 = nn.LayerNorm(dim, eps)
        self.ffn = FeedForward(dim, hidden)
        self.drop_path = DropPath(drop_path)

    @property
    def attention(self) -> MultiHeadAttention:
        return self.attn.attn

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """`size`, the grid of the tokens, is not needed here: positions came in with the tokens."""
        x = x + self.drop_path(self.attn(self.ln1(x)))
        return x + self.drop_path(self.ffn(self.ln2(x)))
