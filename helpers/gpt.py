"""A GPT: characters in, logits of the next character out.

    model = GPTLanguageModel(GPTConfig(vocab_size=tokenizer.vocab_size)).to(device)
    logits, loss = model(x, y)                       # x, y: (B, T)

Introduced by notebooks 08 to 10 (sections 37 to 52 of the lecture). The blocks are pre-norm as in GPT-2
(Radford et al. 2019); attention is that of Vaswani et al. 2017, arXiv 1706.03762, with a causal mask.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "gelu_tanh": lambda: nn.GELU(approximate="tanh")}


@dataclass
class GPTConfig:
    """The numbers that fix the shape of a GPT. Raises ValueError for values that fit no model."""

    vocab_size: int
    block_size: int = 64  # longest context, in tokens
    n_layer: int = 4  # blocks
    n_head: int = 4  # heads in each block
    n_embd: int = 128  # numbers per token
    dropout: float = 0.0  # share of values set to zero while training
    bias: bool = True  # biases in linear layers and LayerNorms
    activation: str = "relu"  # "relu", "gelu" or "gelu_tanh"
    tie_weights: bool = False  # the last layer reuses the token embedding
    looped_heads: bool = False  # heads one after the other, as notebook 09 first builds them

    def __post_init__(self):
        for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}={value!r}, but it is a whole number of at least 1")
        if self.n_embd % self.n_head:
            raise ValueError(
                f"n_embd={self.n_embd} is not divisible by n_head={self.n_head}: "
                "each head takes an equal share of the embedding"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout}, but it is a share from 0 up to (not including) 1")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation={self.activation!r}, but it is one of {', '.join(ACTIVATIONS)}")


class Head(nn.Module):
    """One head of causal self-attention, written out."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        head_size = config.n_embd // config.n_head
        self.key = nn.Linear(config.n_embd, head_size, bias=config.bias)
        self.query = nn.Linear(config.n_embd, head_size, bias=config.bias)
        self.value = nn.Linear(config.n_embd, head_size, bias=config.bias)
        mask = torch.tril(torch.ones(config.block_size, config.block_size, dtype=torch.bool))
        self.register_buffer("mask", mask, persistent=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (B, T, n_embd). Returns (B, T, head_size)."""
        B, T, C = x.shape
        key, query, value = self.key(x), self.query(x), self.value(x)  # (B, T, head_size) each
        scores = query @ key.transpose(-2, -1) * key.shape[-1] ** -0.5  # (B, T, T)
        scores = scores.masked_fill(~self.mask[:T, :T], float("-inf"))  # (B, T, T)
        weights = self.dropout(F.softmax(scores, dim=-1))  # (B, T, T)
        return weights @ value  # (B, T, head_size)


class LoopedMultiHeadAttention(nn.Module):
    """Several heads one after the other, side by side in the result, then mixed."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.heads = nn.ModuleList([Head(config) for _ in range(config.n_head)])
        self.proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (B, T, n_embd). Returns (B, T, n_embd)."""
        x = torch.cat([head(x) for head in self.heads], dim=-1)  # (B, T, C)
        return self.dropout(self.proj(x))  # (B, T, C)


class MultiHeadAttention(nn.Module):
    """The same heads in one matrix product, with PyTorch's fused attention."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.n_head = config.n_head
        self.attention_dropout = config.dropout
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (B, T, n_embd). Returns (B, T, n_embd)."""
        B, T, C = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.n_head, C // self.n_head)  # (B, T, 3, n_head, head_size)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # (B, n_head, T, head_size) each
        dropout = self.attention_dropout if self.training else 0.0
        x = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        x = x.transpose(1, 2).reshape(B, T, C)  # (B, T, C): the heads side by side again
        return self.dropout(self.proj(x))  # (B, T, C)


class FeedForward(nn.Module):
    """Two linear layers with a bend between them, at each position by itself."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias),
            ACTIVATIONS[config.activation](),
            nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias),
            nn.Dropout(config.dropout),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (B, T, n_embd). Returns (B, T, n_embd)."""
        return self.net(x)


class Block(nn.Module):
    """Attention, then feed-forward; each reads a normalized copy and adds to what was there."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.ln1 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.sa = LoopedMultiHeadAttention(config) if config.looped_heads else MultiHeadAttention(config)
        self.ln2 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.ffwd = FeedForward(config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (B, T, n_embd). Returns (B, T, n_embd)."""
        x = x + self.sa(self.ln1(x))  # (B, T, C)
        x = x + self.ffwd(self.ln2(x))  # (B, T, C)
        return x


class GPTLanguageModel(nn.Module):
    """Embeddings of character and position, a stack of blocks, and logits at every position."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.token_embedding_table = nn.Embedding(config.vocab_size, config.n_embd)
        self.position_embedding_table = nn.Embedding(config.block_size, config.n_embd)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.Sequential(*[Block(config) for _ in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.lm_head = nn.Linear(
            config.n_embd, config.vocab_size, bias=config.bias and not config.tie_weights
        )
        self.apply(self._init_weights)
        for name, parameter in self.named_parameters():
            if name.endswith(
                ("proj.weight", "net.2.weight")
            ):  # what a block adds: smaller, the deeper the model
                nn.init.normal_(parameter, mean=0.0, std=0.02 * (2 * config.n_layer) ** -0.5)
        if config.tie_weights:
            self.lm_head.weight = self.token_embedding_table.weight

    def _init_weights(self, module: nn.Module) -> None:
        """Weights with standard deviation 0.02 as in GPT-2, biases zero."""
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, mean=0.0, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, ids: torch.Tensor, targets: torch.Tensor | None = None):
        """Logits of the next token at each position, and the loss where targets are given.

        ids, targets: (B, T) int64 with T <= block_size. Returns logits (B, T, vocab_size) and the mean
        cross-entropy in nats per token, or None. Raises ValueError for a sequence longer than block_size.
        """
        B, T = ids.shape
        if self.config.block_size < T:
            raise ValueError(
                f"the sequence has {T} tokens, but block_size={self.config.block_size}: "
                "crop it to the last block_size tokens, ids[:, -block_size:]"
            )
        positions = torch.arange(T, device=ids.device)  # (T,)
        x = self.token_embedding_table(ids) + self.position_embedding_table(positions)  # (B, T, C)
        x = self.blocks(self.dropout(x))  # (B, T, C)
        logits = self.lm_head(self.ln_f(x))  # (B, T, V)
        if targets is None:
            return logits, None
        loss = F.cross_entropy(logits.view(B * T, -1), targets.reshape(B * T))
        return logits, loss
