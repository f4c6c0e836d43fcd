"""What `python -m helpers.train` trains on: a text that is split, or a folder of token files.

    corpus = load_corpus(args)
    corpus.train_ids, corpus.val_ids, corpus.tokenizer

Introduced by notebooks 11 and 13 (sections 61 and 67 of the lecture).
"""

import argparse
import hashlib
import string
from dataclasses import dataclass
from pathlib import Path

import torch

from helpers import tales
from helpers.batches import TokenFile, split
from helpers.books import load_text
from helpers.bpe import BPETokenizer
from helpers.gpt import GPTLanguageModel
from helpers.losses import document_loss
from helpers.token_files import END_OF_TEXT
from helpers.tokenizer import CharTokenizer, Tokenizer
from helpers.train_options import VAL_TOKENS

FRESH_TALES_SEED = 2  # another seed than that of the tales to train on, 1

# Characters of the shipped model: all of ASCII that prints, and the typographic signs of the Oz books, so that it can
# be fine-tuned on the book and asked questions in any plain English.
SHIPPED_ALPHABET = (
    "\n" + "".join(sorted(string.ascii_letters + string.digits + string.punctuation + " ")) + "—‘’“”é•æ"
)
PIECE = 1 << 22  # ids of a token file that are looked at together


@dataclass
class Corpus:
    """What to train and to validate on.

    source: a line for people. checksum: equal for equal ids. characters_per_token: of the validation text; None where
    each token is a character, or where it is not known.
    """

    tokenizer: Tokenizer
    train_ids: torch.Tensor | TokenFile
    val_ids: torch.Tensor | TokenFile
    source: str
    checksum: str
    characters_per_token: float | None = None

    @property
    def token(self) -> str:
        """What a token is called."""
        return "token" if isinstance(self.tokenizer, BPETokenizer) else "character"

    def final_part(self, limit: int | None) -> tuple[torch.Tensor | TokenFile, str]:
        """The ids that the final loss is measured on, and words for them. limit: how many at most."""
        ids, total = self.val_ids, len(self.val_ids)
        if isinstance(ids, TokenFile):
            where, limit = f"tokens of {ids.path.name}", limit or VAL_TOKENS
        else:
            where = "characters of the last tenth of the text"
        if limit is not None and limit < total:
            return ids[:limit], f"the first {limit:,} of the {total:,} {where}"
        return ids, f"all {total:,} {where}" if isinstance(
            ids, TokenFile
        ) else "the whole last tenth of the text"


def load_corpus(args: argparse.Namespace, verify: bool = True) -> Corpus:
    """What the options --data, or --text and those about it, ask for.

    verify: compare token files with their checksums. Raises ValueError and OSError that say what is wrong.
    """
    if args.data is not None:
        return load_folder(args.data, verify)
    tokenizer, ids, source = load_ids(args)
    train_ids, val_ids = split(ids)
    return Corpus(tokenizer, train_ids, val_ids, source, hashlib.sha256(ids.numpy()).hexdigest())


def load_folder(folder: Path, verify: bool = True) -> Corpus:
    """The token files train.bin and val.bin of a folder, as `python -m helpers.openwebtext extract` makes them."""
    if folder.suffix == ".bin" and not folder.is_dir():
        raise ValueError(f"--data {folder} names a file: name the folder that holds train.bin and val.bin")
    if not folder.is_dir():
        raise FileNotFoundError(f"--data {folder}: there is no such folder")
    train_ids, val_ids = (TokenFile(folder / name, verify) for name in ("train.bin", "val.bin"))
    tokenizer, about = train_ids.tokenizer, val_ids.about
    if tokenizer.to_dict() != val_ids.tokenizer.to_dict():
        raise ValueError(
            f"train.bin and val.bin in {folder} were made with different tokenizers: make both in one call of "
            "python -m helpers.openwebtext extract"
        )
    kind = "byte pairs" if isinstance(tokenizer, BPETokenizer) else "characters"
    source = (
        f"{folder}: {len(train_ids):,} tokens to train on, {len(val_ids):,} to validate on, "
        f"{tokenizer.vocab_size:,} different {kind}"
    )
    per_token = None
    if isinstance(tokenizer, BPETokenizer) and about.get("characters"):
        per_token = about["characters"] / about["tokens"]
        source += f" ({per_token:.2f} characters each)"
    both = train_ids.about["sha256"] + val_ids.about["sha256"]
    return Corpus(tokenizer, train_ids, val_ids, source, hashlib.sha256(both.encode()).hexdigest(), per_token)


def load_ids(args: argparse.Namespace) -> tuple[CharTokenizer, torch.Tensor, str]:
    """Tokenizer, ids of the whole text and a line that says which text it is."""
    if args.text == "tales":
        text = tales.write_tales(args.tales_characters)
        source = f"the built-in tales, {len(text):,} characters"
    else:
        loaded = load_text(args.text)
        text, source = loaded.text, str(loaded)
    tokenizer = CharTokenizer(SHIPPED_ALPHABET) if args.preset == "shipped" else CharTokenizer.from_text(text)
    return tokenizer, torch.from_numpy(tokenizer.encode(text)), source


def document_starts(ids: torch.Tensor | TokenFile, tokenizer: Tokenizer) -> torch.Tensor:
    """Positions where a window sees the end of a document, and then the next one from its beginning.

    ids: (N,). In a text documents have an empty line between them, and a position is that of the second newline; in a
    token file they end with END_OF_TEXT, and it is that one's. Returns (M,) int64. Raises ValueError without any.
    """
    characters = getattr(tokenizer, "characters", None)
    if isinstance(ids, TokenFile):
        known = characters is None or END_OF_TEXT in characters
        end = int(tokenizer.encode(END_OF_TEXT)[0]) if known else -1
        places = range(0, len(ids), PIECE)
        starts = torch.cat([(ids[at : at + PIECE] == end).nonzero().flatten() + at for at in places])  # (M,)
        between = "with the end-of-text token after each"
    else:
        newline = tokenizer.encode("\n" if characters is None or "\n" in characters else "")
        ends = ids == int(newline[0]) if len(newline) else torch.zeros_like(ids, dtype=torch.bool)
        starts = (ends[:-1] & ends[1:]).nonzero().flatten()  # (M,)
        between = "with an empty line between them"
    if len(starts) == 0:
        raise ValueError(f"--from-starts needs documents {between}, and there is none")
    return starts


def about_tales(model: GPTLanguageModel, tokenizer: CharTokenizer) -> dict:
    """The exact floor of the tales, and the loss on fresh tales where the context holds a whole one."""
    about = {"floor": tales.entropy_per_character()}
    if model.config.block_size > tales.LONGEST_TALE:
        fresh = tales.write_tales(150_000, seed=FRESH_TALES_SEED)
        about["loss_from_starts"] = tales_loss(model, tokenizer, fresh)
    return about


def tales_loss(model: GPTLanguageModel, tokenizer: CharTokenizer, text: str) -> float:
    """Loss in nats per character on tales (a text of write_tales), each read from its beginning as the floor demands.

    The model sees the separator before a tale, and predicts the tale and the separator after it.
    """
    told = text.removesuffix(tales.SEPARATOR).split(tales.SEPARATOR)
    ids = [torch.from_numpy(tokenizer.encode(tales.SEPARATOR + tale + tales.SEPARATOR)) for tale in told]
    return document_loss(model, ids, given=len(tales.SEPARATOR))
