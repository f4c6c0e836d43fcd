"""Token files: written whole or not at all, read without being loaded, refused when something is wrong with them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from helpers.batches import TokenFile, Windows, get_batch
from helpers.bpe import BPETokenizer, tokenizer_from_dict
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.token_files import about_path, checksum, id_type, read_about, write_tokens
from helpers.tokenizer import CharTokenizer
from helpers.training import estimate_loss, train

TEXT = "aé你😀b\nß漢🜁" * 40  # characters of one, two, three and four bytes in UTF-8
TOKENIZER = CharTokenizer.from_text(TEXT)
IDS = TOKENIZER.encode(TEXT)


@pytest.fixture
def path(tmp_path):
    """A token file of TEXT, written in uneven pieces."""
    write_tokens(
        tmp_path / "a" / "train.bin", np.split(IDS, [1, 8, 9, 200]), TOKENIZER, documents=40, note="ours"
    )
    return tmp_path / "a" / "train.bin"


def test_what_was_written_comes_back_with_its_facts(path):
    tokens = TokenFile(path)
    assert len(tokens) == len(IDS) and tokens.tokenizer.characters == TOKENIZER.characters
    assert tokens.tokenizer.decode(tokens[:]) == TEXT
    assert (tokens.about["documents"], tokens.about["note"], tokens.about["dtype"]) == (40, "ours", "uint16")
    assert path.stat().st_size == 2 * len(IDS) and tokens.about["sha256"] == checksum(path)
    assert sorted(p.name for p in path.parent.iterdir()) == ["train.bin", "train.json"]


def test_batches_are_those_of_the_same_ids_in_memory(path):
    tokens, ids = TokenFile(path), torch.from_numpy(IDS)
    for batch_size in (1, 5):
        ours = get_batch(tokens, 7, batch_size, torch.Generator().manual_seed(3))
        theirs = get_batch(ids, 7, batch_size, torch.Generator().manual_seed(3))
        for got, want in zip(ours, theirs, strict=True):
            assert torch.equal(got, want) and got.dtype == torch.int64 and got.shape == (batch_size, 7)


def test_every_window_is_one_of_whole_characters(path):
    """Case 21: an id is a character, so no start can cut one, whatever its length in UTF-8."""
    tokens = TokenFile(path)
    for start in range(len(tokens) - 5):
        assert TOKENIZER.decode(tokens[start : start + 5]) == TEXT[start : start + 5]


def test_every_start_is_equally_likely(path):
    tokens, size = TokenFile(path), len(IDS) - 10  # ten starts
    marks = IDS.copy()
    write_tokens(path, [np.arange(len(marks)) % 60000], CharTokenizer(map(chr, range(60000))))
    tokens = TokenFile(path)
    drawn = get_batch(tokens, size, 6000, torch.Generator().manual_seed(0))[0][:, 0]
    counts = torch.bincount(drawn)
    assert len(counts) == 10 and counts.sum() == 6000
    assert (
        (counts - 600) ** 2 / 600
    ).sum() < 27.9  # chi-squared, 9 degrees of freedom: passed once in a thousand


def test_a_file_of_exactly_one_window_works_and_a_shorter_one_is_refused_with_both_lengths(tmp_path):
    write_tokens(tmp_path / "t.bin", [IDS[:9]], TOKENIZER)
    tokens = TokenFile(tmp_path / "t.bin")
    x, y = get_batch(tokens, 8, 3)
    assert x[0].tolist() == IDS[:8].tolist() and y[2].tolist() == IDS[1:9].tolist()
    with pytest.raises(ValueError, match=r"9 characters, but block_size=9 needs at least 10"):
        get_batch(tokens, 9, 1)
    with pytest.raises(ValueError, match=r"9 ids and block_size=9"):
        Windows(tokens, 9)


def test_places_may_have_any_shape_and_never_lie_outside(path):
    tokens = TokenFile(path)
    places = torch.tensor([[0, 5, len(IDS) - 1], [2, 2, 2]])
    assert tokens[places].tolist() == IDS[places.numpy()].tolist() and tokens[3] == IDS[3]
    assert tokens[10:14].tolist() == IDS[10:14].tolist() and tokens[:0].shape == (0,)
    with pytest.raises(IndexError):
        tokens[torch.tensor([len(IDS)])]


def test_what_is_read_can_be_changed_without_changing_the_file(path):
    tokens = TokenFile(path)
    tokens[:5].zero_()
    assert tokens[:5].tolist() == IDS[:5].tolist()


def test_the_same_batches_come_through_pytorchs_dataset_and_loader(path):
    tokens, block_size = TokenFile(path), 6
    generator = torch.Generator().manual_seed(5)
    starts = torch.randint(len(tokens) - block_size, (4, 3), generator=generator)
    loader = DataLoader(
        Windows(tokens, block_size), batch_sampler=starts.tolist(), num_workers=0
    )  # three windows to a batch
    generator = torch.Generator().manual_seed(5)
    again = torch.randint(len(tokens) - block_size, (4, 3), generator=generator)
    for (x, y), row in zip(loader, again, strict=True):
        places = row[:, None] + torch.arange(block_size)
        assert torch.equal(x, tokens[places]) and torch.equal(y, tokens[places + 1])
        assert x.dtype == y.dtype == torch.int64
    generator = torch.Generator().manual_seed(5)
    one_by_one = [get_batch(tokens, block_size, 3, generator)[0] for _ in range(4)]
    assert torch.equal(torch.stack(one_by_one), torch.stack([x for x, _ in loader]))


def test_a_model_trains_on_a_token_file_as_on_a_tensor(path):
    losses = []
    for ids in (TokenFile(path), torch.from_numpy(IDS)):
        torch.manual_seed(0)
        model = GPTLanguageModel(GPTConfig(TOKENIZER.vocab_size, 8, 1, 1, 8))
        result = train(
            model, ids, ids, steps=6, batch_size=3, eval_interval=3, eval_batches=2, progress=False
        )
        losses.append([(e["train"], e["validation"]) for e in result.history])
        assert estimate_loss(model, {"a": ids}, batches=2)["a"] > 0
    assert losses[0] == losses[1]


def test_a_large_vocabulary_takes_four_bytes_and_any_id_of_it_comes_back(tmp_path):
    assert id_type(1 << 16).name == "uint16" and id_type((1 << 16) + 1).name == "uint32"
    tokenizer = CharTokenizer(map(chr, range(0xE000, 0xE000 + 70_000)))
    write_tokens(tmp_path / "t.bin", [np.array([0, 65_535, 65_536, 69_999])], tokenizer)
    tokens = TokenFile(tmp_path / "t.bin")
    assert tokens[:].tolist() == [0, 65_535, 65_536, 69_999] and tokens.about["dtype"] == "uint32"


def test_byte_pairs_keep_their_tokenizer_too(tmp_path):
    tokenizer = BPETokenizer.train("over the hills and over the dale", 270)
    ids = tokenizer.encode("over the dale 你")
    write_tokens(tmp_path / "t.bin", [ids], tokenizer)
    tokens = TokenFile(tmp_path / "t.bin")
    assert tokens.tokenizer.decode(tokens[:]) == "over the dale 你"
    assert isinstance(tokenizer_from_dict(TOKENIZER.to_dict()), CharTokenizer)
    with pytest.raises(ValueError):
        tokenizer_from_dict({"type": "words"})


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ([], "no ids to write"),
        ([np.zeros(0, dtype=np.int64)], "no ids to write"),
        ([IDS[:3], np.array([2, 99])], r"id 99 at position 4 is outside 0\.\.8"),
        ([np.array([-1])], "id -1 at position 0"),
        ([np.array([0.5])], "row of integers"),
        ([np.zeros((2, 2), dtype=np.int64)], r"shape \(2, 2\)"),
    ],
)
def test_what_cannot_be_ids_is_refused_and_the_old_file_stays(path, chunks, said):
    before = path.read_bytes()
    with pytest.raises(ValueError, match=said):
        write_tokens(path, chunks, TOKENIZER)
    assert path.read_bytes() == before and len(TokenFile(path)) == len(IDS)
    assert sorted(p.name for p in path.parent.iterdir()) == ["train.bin", "train.json"]


def test_facts_that_are_not_plain_are_refused_before_anything_is_replaced(path):
    with pytest.raises(TypeError):
        write_tokens(path, [IDS[:50]], TOKENIZER, seen=np.float32(1))
    assert len(TokenFile(path)) == len(IDS)


def test_a_writing_that_breaks_off_leaves_the_old_pair(path):
    def chunks():
        yield IDS
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_tokens(path, chunks(), TOKENIZER)
    assert len(TokenFile(path)) == len(IDS)
    assert sorted(p.name for p in path.parent.iterdir()) == ["train.bin", "train.json"]


def test_a_name_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.bin"):
        write_tokens(tmp_path / "train.txt", [IDS], TOKENIZER)
    with pytest.raises(FileNotFoundError, match=r"no token file .*helpers\.openwebtext extract"):
        TokenFile(tmp_path / "train.bin")
    with pytest.raises(FileNotFoundError, match=r"is a folder: name a file in it, such as .*train\.bin"):
        TokenFile(tmp_path)


def test_empty_short_foreign_and_damaged_files_are_refused_by_name(path):
    whole, page = path.read_bytes(), about_path(path).read_text(encoding="utf-8")

    def refused(said: str, data: bytes = whole, facts: str | None = page) -> None:
        path.write_bytes(data)
        if facts is None:
            about_path(path).unlink()
        else:
            about_path(path).write_text(facts, encoding="utf-8", newline="\n")
        with pytest.raises(ValueError, match=said) as caught:
            TokenFile(path)
        assert str(path.name) in str(caught.value) or about_path(path).name in str(caught.value)
        assert "openwebtext extract" in str(caught.value)

    refused(r"is empty \(0 bytes\)", b"")  # case 22
    refused(r"has 3 bytes, but 360 ids of type uint16 are 720", whole[:3])  # case 22
    refused("cut short", whole[:-2])
    refused("cut short", whole + b"\0\0")
    refused("is damaged", bytes([whole[0] ^ 1]) + whole[1:])
    refused("has no train.json beside it", whole, None)
    refused("does not describe a token file", whole, "{")
    refused("does not describe a token file", whole, "[1]")
    refused("'dtype' is missing", whole, json.dumps({"format": 1}))
    refused("its format is 7", whole, json.dumps(json.loads(page) | {"format": 7}))
    refused("float64", whole, json.dumps(json.loads(page) | {"dtype": "float64"}))
    refused("does not describe", whole, json.dumps(json.loads(page) | {"tokens": "many"}))


def test_without_verifying_the_length_is_still_compared(path):
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    assert len(TokenFile(path, verify=False)) == len(IDS)
    path.write_bytes(data[:-2])
    with pytest.raises(ValueError, match="cut short"):
        TokenFile(path, verify=False)


MEMORY = """
import sys
import numpy as np, psutil, torch
from helpers.batches import TokenFile, get_batch
tokens, generator = TokenFile(sys.argv[1], verify=False), torch.Generator().manual_seed(1)
resident = psutil.Process().memory_info
for _ in range(50):
    get_batch(tokens, 64, 12, generator)
before = most = resident().rss
for step in range(2000):
    get_batch(tokens, 64, 12, generator)
    if step % 20 == 0:
        most = max(most, resident().rss)
kept = np.memmap(sys.argv[1], "<u2", "r")
start = resident().rss
for place in range(0, len(kept), 2048):
    kept[place]
print(most - before, resident().rss - start)
"""


def test_the_resident_set_stays_flat_over_2000_batches_of_a_file_of_500_mb(tmp_path):
    """Case 20; and the measurement can see a leak: one map that stays open and touches every page fills memory."""
    path, block = tmp_path / "t.bin", np.arange(1 << 20, dtype=np.int64) % 5
    write_tokens(path, (block for _ in range(239)), CharTokenizer("abcde"))
    assert path.stat().st_size > 500_000_000
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path)], cwd=Path(__file__).parent.parent, env=env,
        capture_output=True, text=True, encoding="utf-8", check=True,
    )  # fmt: skip
    grown, kept_open = map(int, done.stdout.split())
    assert grown < 30 << 20
    assert kept_open > 300 << 20


def test_reading_the_facts_imports_no_torch():
    code = "import sys, helpers.token_files; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, check=True)


def test_the_facts_name_the_tokenizer(path):
    assert tokenizer_from_dict(read_about(path)["tokenizer"]).decode(IDS[:4]) == TEXT[:4]
