"""Losses that are known for the book: the counted bigram, and where a fresh model starts."""

import math

import torch

from helpers.batches import split
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.tokenizer import CharTokenizer
from helpers.training import validation_loss


def test_the_counted_bigram_has_its_known_losses_on_the_book(oz):
    tokenizer = CharTokenizer.from_text(oz)
    train_ids, val_ids = split(torch.from_numpy(tokenizer.encode(oz)))
    counts = torch.zeros(tokenizer.vocab_size, tokenizer.vocab_size)
    counts.index_put_((train_ids[:-1], train_ids[1:]), torch.ones(len(train_ids) - 1), accumulate=True)
    for smoothing, ids, expected in ((0.0, train_ids, 2.333), (0.1, val_ids, 2.362)):
        table = (counts + smoothing) / (counts + smoothing).sum(dim=1, keepdim=True)
        assert abs(-table[ids[:-1], ids[1:]].log().mean().item() - expected) < 0.0006


def test_a_fresh_gpt_starts_at_the_logarithm_of_the_vocabulary_on_the_book(oz):
    tokenizer = CharTokenizer.from_text(oz)
    ids = torch.from_numpy(tokenizer.encode(oz[-5000:]))
    model = GPTLanguageModel(GPTConfig(vocab_size=tokenizer.vocab_size))
    assert abs(validation_loss(model, ids) - math.log(tokenizer.vocab_size)) < 0.2
