"""One layer of the transformer."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's own name for it)
from torch import Tensor, nn


class QueryKeyValue(nn.Linear):
    """The map to queries, keys and values, in this order; all three, or what one token needs of the others."""

    def __init__(self, width: int) -> None:
        super().__init__(width, 3 * width)

    def query(self, tokens: Tensor) -> Tensor:
        """Returns the queries alone, as wide as the tokens."""
        return F.linear(tokens, self.weight[: self.in_features], self.bias[: self.in_features])

    def key_value(self, tokens: Tensor) -> Tensor:
        """Returns keys and values, twice as wide as the tokens."""
        return F.linear(tokens, self.weight[self.in_features :], self.bias[self.in_features :])


class Layer(nn.Module):
    """One pre-norm transformer layer (Xiong et al. 2020)."""

    def __init__(self, width: int, heads: int, d_feedforward: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = QueryKeyValue(width)
        self.attention_out = nn.Linear(width, width)
        self.feedforward_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, d_feedforward)
        self.activation = nn.GELU(approximate="tanh")
        self.contract = nn.Linear(d_feedforward, width)

    def forward(self, tokens: Tensor, groups: Sequence[int] = (), bias: Tensor | None = None) -> Tensor:
        """Mixes tokens.

        Args:
            tokens: [batch, tokens, d_model].
            groups: Sizes of neighbouring groups of tokens that attend only to their own; () is one group of all.
            bias: Added to the attention scores, broadcasts to [batch, heads, to, from]; None adds nothing.
        """
        heads = self.query_key_value(self.attention_norm(tokens)).unflatten(2, (3, self.heads, -1))
        parts = heads.permute(2, 0, 3, 1, 4).split(list(groups or (tokens.shape[1],)), dim=3)
        # Groups are attended to one by one, not masked out: that is less work, and flash attention takes no mask.
        attended = [F.scaled_dot_product_attention(part[0], part[1], part[2], attn_mask=bias) for part in parts]
        return self._after_attention(tokens, attended[0] if len(attended) == 1 else torch.cat(attended, dim=2))

    def first(self, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        """Returns the first token of what `forward` returns, [batch, 1, d_model], without the work for the others."""
        batch, count, _ = tokens.shape
        normed = self.attention_norm(tokens)
        query = self.query_key_value.query(normed[:, 0]).reshape(batch, self.heads, 1, -1)
        key_value = self.query_key_value.key_value(normed).reshape(batch, count, 2, self.heads, -1)
        key, value = key_value.permute(2, 0, 3, 1, 4)
        return self._after_attention(tokens[:, :1], F.scaled_dot_product_attention(query, key, value, attn_mask=bias))

    def _after_attention(self, tokens: Tensor, seen: Tensor) -> Tensor:
        tokens = tokens + self.attention_out(seen.transpose(1, 2).flatten(2))
        contracted: Tensor = self.contract(self.activation(self.expand(self.feedforward_norm(tokens))))
        return tokens + contracted
