"""The bigram model: the next character from the present one alone.

Introduced by notebook 05 (sections 12, 20, 21, 26 and 28 to 31 of the lecture).
"""

import torch
import torch.nn.functional as F
from torch import nn


class BigramLanguageModel(nn.Module):
    """One row of logits per character: a table that is learnt."""

    def __init__(self, vocab_size: int):
        super().__init__()
        self.token_embedding_table = nn.Embedding(vocab_size, vocab_size)

    def forward(self, ids: torch.Tensor, targets: torch.Tensor | None = None):
        """Logits of the next character at each position, and the loss where targets are given.

        ids, targets: (B, T) int64. Returns logits (B, T, vocab_size) and the mean cross-entropy in nats, or None.
        """
        logits = self.token_embedding_table(ids)  # (B, T, V)
        if targets is None:
            return logits, None
        B, T, V = logits.shape
        loss = F.cross_entropy(logits.view(B * T, V), targets.reshape(B * T))
        return logits, loss
