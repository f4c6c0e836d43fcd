"""The same GPT with today's parts: each can be switched on alone, so that its worth can be measured.

    model = ModernGPT(ModernConfig(vocab_size=tokenizer.vocab_size)).to(device)
    logits, loss = model(x, y)                      # x, y: (B, T)

Introduced by notebook 16. Rotary positions: Su et al. 2021, arXiv 2104.09864. RMSNorm: Zhang and Sennrich 2019, arXiv
1910.07467. Norm of queries and keys: Henry et al. 2020, arXiv 2010.04245. Squared ReLU and short convolutions: So et
al. 2021, arXiv 2109.08668. Gated feed-forward: Shazeer 2020, arXiv 2002.05202. Embeddings of hashed n-grams: Pagnoni et
al. 2024, arXiv 2412.09871.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from helpers.gpt import GPTConfig

MLPS = ("relu", "relu2", "swiglu")


@dataclass
class ModernConfig(GPTConfig):
    """GPTConfig with the parts of 2020 and later, all of them on but the tables of pairs and triples."""

    bias: bool = False  # no biases anywhere
    rope: bool = True  # rotary positions in the place of a table of them
    rms_norm: bool = True  # RMSNorm in the place of LayerNorm
    qk_norm: bool = True  # queries and keys brought to length sqrt(head_size)
    short_conv: bool = True  # keys and values take in those of the two positions before
    mlp: str = "relu2"  # "relu", "relu2" (squared) or "swiglu" (gated)
    zero_init: bool = True  # what a block adds is 0 at first
    ngram_rows: tuple[int, ...] = ()  # rows of the tables of pairs, triples, ... of tokens; none by default

    def __post_init__(self):
        super().__post_init__()
        if self.mlp not in MLPS:
            raise ValueError(f"mlp={self.mlp!r}, but it is one of {', '.join(MLPS)}")
        if self.rope and (self.n_embd // self.n_head) % 2:
            raise ValueError(
                f"heads of {self.n_embd // self.n_head} numbers (n_embd={self.n_embd}, n_head={self.n_head}), "
                "but rope turns pairs of them: choose an even size"
            )
        rows = self.ngram_rows
        self.ngram_rows = (
            tuple(rows) if isinstance(rows, list | tuple) else (rows,)
        )  # a checkpoint brings a list
        if not all(type(rows) is int and rows >= 1 for rows in self.ngram_rows):
            raise ValueError(
                f"ngram_rows={self.ngram_rows}, but it has a whole number of at least 1 for pairs, for triples and so on"
            )
        longest = len(self.ngram_rows) + 1
        if (self.vocab_size + 1) ** longest > 2**63:
            raise ValueError(
                f"{len(self.ngram_rows)} tables in ngram_rows, but the number of a row of {longest} tokens, each one of "
                f"{self.vocab_size}, does not fit into 64 bits: take fewer tables"
            )


def make_norm(config: ModernConfig) -> nn.Module:
    """RMSNorm, or LayerNorm where the config says so."""
    if config.rms_norm:
        return nn.RMSNorm(config.n_embd)
    return nn.LayerNorm(config.n_embd, bias=config.bias)


def rotation(
    positions: torch.Tensor, head_size: int, base: float = 10_000.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine of the angles by which each pair of a head is turned, (T, head_size / 2) each.

    positions: (T,). Pair i turns by position * base^(-2i / head_size): the first pairs quickly, the last slowly.
    """
    speeds = base ** (-torch.arange(0, head_size, 2, device=positions.device) / head_size)  # (head_size/2,)
    angles = positions[:, None] * speeds  # (T, head_size/2)
    return angles.cos(), angles.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn each pair (i, i + head_size/2) of the last axis. x: (B, n_head, T, head_size). Returns the same shape."""
    first, second = x.chunk(2, dim=-1)  # (B, n_head, T, head_size/2) each
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def look_back(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Add to each position what stood 1, 2, ... positions before it, each channel with a weight of its own.

    x: (B, T, C). weights: (lags, 1, C), that of lag 1 first. Returns (B, T, C). Nothing stands before the first position.
    """
    lags, T = len(weights), x.shape[1]
    padded = F.pad(x, (0, 0, lags, 0))  # (B, lags + T, C): zeros in front
    for lag, weight in enumerate(weights, start=1):
        x = x + weight * padded[:, lags - lag : lags - lag + T]  # (B, T, C)
    return x


class NGramEmbedding(nn.Embedding):
    """A token's vector, and on top of it one of its pair with the token before, one of the last three, and so on.

    There are more triples than a table has rows, so some share one: the tokens are read as the digits of a number, and its
    remainder by the number of rows says which (a prime number of rows mixes best).
    """

    def __init__(self, config: ModernConfig):
        super().__init__(config.vocab_size, config.n_embd)
        self.base = config.vocab_size + 1  # digit 0 stands for "before the window"
        self.tables = nn.ModuleList(nn.Embedding(rows, config.n_embd) for rows in config.ngram_rows)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """ids: (B, T). Returns (B, T, n_embd)."""
        x = super().forward(ids)  # (B, T, C)
        number = earlier = ids + 1  # (B, T)
        for table in self.tables:
            earlier = F.pad(earlier, (1, 0))[:, :-1]  # (B, T): one position further back
            number = number * self.base + earlier  # (B, T)
            x = x + table(number % table.num_embeddings)  # (B, T, C)
        return x


def make_embedding(config: ModernConfig) -> nn.Embedding:
    """A table of tokens, with tables of pairs, triples, ... where the config asks for them."""
    if config.ngram_rows:
        return NGramEmbedding(config)
    return nn.Embedding(config.vocab_size, config.n_embd)


class Attention(nn.Module):
    """Batched heads; positions enter by turning queries and keys."""

    def __init__(self, config: ModernConfig):
        super().__init__()
        self.config = config
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        if config.short_conv:
            self.earlier = nn.Parameter(torch.zeros(2, 1, 2 * config.n_embd))  # of keys and values, two lags
        self.proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """x: (B, T, n_embd), cos and sin: (T, head_size / 2). Returns (B, T, n_embd)."""
        B, T, C = x.shape
        qkv = self.qkv(x)  # (B, T, 3C)
        if self.config.short_conv:
            qkv = torch.cat([qkv[..., :C], look_back(qkv[..., C:], self.earlier)], dim=-1)  # (B, T, 3C)
        qkv = qkv.view(B, T, 3, self.config.n_head, -1)  # (B, T, 3, n_head, head_size)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # (B, n_head, T, head_size) each
        if self.config.qk_norm:
            query, key = F.rms_norm(query, query.shape[-1:]), F.rms_norm(key, key.shape[-1:])
        if self.config.rope:
            query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        dropout = self.config.dropout if self.training else 0.0
        x = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        x = x.transpose(1, 2).reshape(B, T, C)  # (B, T, C)
        return self.dropout(self.proj(x))  # (B, T, C)


class FeedForward(nn.Module):
    """Up, a bend, down. "swiglu" has a gate, and two thirds of the width for the same number of parameters."""

    def __init__(self, config: ModernConfig):
        super().__init__()
        self.kind = config.mlp
        width = round(8 * config.n_embd / 3) if self.kind == "swiglu" else 4 * config.n_embd
        self.up = nn.Linear(config.n_embd, width * (2 if self.kind == "swiglu" else 1), bias=config.bias)
        self.proj = nn.Linear(width, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (B, T, n_embd). Returns (B, T, n_embd)."""
        x = self.up(x)  # (B, T, width), twice the width where there is a gate
        if self.kind == "swiglu":
            x, gate = x.chunk(2, dim=-1)  # (B, T, width) each
            x = x * F.silu(gate)
        else:
            x = F.relu(x)
            x = x.square() if self.kind == "relu2" else x
        return self.dropout(self.proj(x))  # (B, T, n_embd)


class ModernBlock(nn.Module):
    """Attention, then feed-forward; each reads a normalized copy and adds to what was there."""

    def __init__(self, config: ModernConfig):
        super().__init__()
        self.norm1, self.sa = make_norm(config), Attention(config)
        self.norm2, self.ffwd = make_norm(config), FeedForward(config)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """x: (B, T, n_embd). Returns (B, T, n_embd)."""
        x = x + self.sa(self.norm1(x), cos, sin)  # (B, T, C)
        return x + self.ffwd(self.norm2(x))  # (B, T, C)


class ModernGPT(nn.Module):
    """Embedding of the token, a stack of blocks, and logits at every position."""

    def __init__(self, config: ModernConfig):
        super().__init__()
        self.config = config
        self.token_embedding_table = make_embedding(config)
        if not config.rope:
            self.position_embedding_table = nn.Embedding(config.block_size, config.n_embd)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(ModernBlock(config) for _ in range(config.n_layer))
        self.norm_f = make_norm(config)
        self.lm_head = nn.Linear(
            config.n_embd, config.vocab_size, bias=config.bias and not config.tie_weights
        )
        for name, p in self.named_parameters():
            if p.ndim == 2:
                adds = name.endswith("proj.weight")  # what a block adds
                std = 0.02 * (2 * config.n_layer) ** -0.5 if adds else 0.02
                nn.init.normal_(p, std=0.0 if adds and config.zero_init else std)
            elif name.endswith("bias"):
                nn.init.zeros_(p)
        if config.tie_weights:
            self.lm_head.weight = self.token_embedding_table.weight

    def forward(self, ids: torch.Tensor, targets: torch.Tensor | None = None):
        """Logits of the next token at each position, and the loss where targets are given; as GPTLanguageModel."""
        B, T = ids.shape
        if self.config.block_size < T:
            raise ValueError(
                f"the sequence has {T} tokens, but block_size={self.config.block_size}: "
                "crop it to the last block_size tokens, ids[:, -block_size:]"
            )
        positions = torch.arange(T, device=ids.device)  # (T,)
        x = self.token_embedding_table(ids)  # (B, T, C)
        if not self.config.rope:
            x = x + self.position_embedding_table(positions)  # (B, T, C)
        x = self.dropout(x)
        cos, sin = rotation(positions, self.config.n_embd // self.config.n_head)  # (T, head_size/2) each
        for block in self.blocks:
            x = block(x, cos, sin)  # (B, T, C)
        logits = self.lm_head(self.norm_f(x))  # (B, T, V)
        if targets is None:
            return logits, None
        loss = F.cross_entropy(logits.view(B * T, -1), targets.reshape(B * T))
        return logits, loss
