"""The training command's options for token files, precision and logs, and what it says to bad ones."""

import csv
import json
import math
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from helpers import checkpoints, generate, tales, train
from helpers.batches import TokenFile
from helpers.bpe import BPETokenizer
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.precision import Autocast, autocast, usable_dtype
from helpers.sampling import complete
from helpers.token_files import END_OF_TEXT, write_tokens
from helpers.tokenizer import CharTokenizer
from helpers.train_data import PIECE, document_starts, load_corpus, load_folder
from helpers.train_options import VAL_TOKENS, make_parser
from helpers.training import TrainingResult, validation_loss
from helpers.training import train as run_training
from helpers.training_log import COLUMNS, CsvLog, TensorBoardLog, read_log

SHAPE = [
    "--n-embd",
    "16",
    "--n-head",
    "2",
    "--n-layer",
    "1",
    "--block-size",
    "8",
    "--batch-size",
    "4",
    "--device",
    "cpu",
]
RUN = [*SHAPE, "--steps", "8", "--eval-interval", "4"]
TALES = tales.write_tales(6000).removesuffix(tales.SEPARATOR).split(tales.SEPARATOR)


@pytest.fixture(autouse=True)
def _one_thread():
    """Two threads that wait for each other are slower than one where the models are so small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_folder(folder: Path, tokenizer, documents: list[str] = TALES) -> Path:
    """Token files of these documents, as helpers.openwebtext extracts them."""
    cut = len(documents) * 8 // 10
    for name, some in (("train", documents[:cut]), ("val", documents[cut:])):
        ids = (tokenizer.encode(document + END_OF_TEXT) for document in some)
        characters = sum(len(document) + 1 for document in some)
        write_tokens(folder / f"{name}.bin", ids, tokenizer, documents=len(some), characters=characters)
    return folder


def characters() -> CharTokenizer:
    return CharTokenizer.from_text("".join(TALES) + END_OF_TEXT)


def pairs(size: int = 300) -> BPETokenizer:
    return BPETokenizer.train_with_library(TALES, size)


@pytest.fixture
def of_characters(tmp_path) -> Path:
    return write_folder(tmp_path / "characters", characters())


@pytest.fixture
def of_pairs(tmp_path) -> Path:
    return write_folder(tmp_path / "pairs", pairs())


# --- --data ---


def test_a_folder_of_token_files_is_trained_on(of_characters, tmp_path, capsys):
    out = tmp_path / "m.pt"
    assert train.main([*RUN, "--data", str(of_characters), "--out", str(out), "--json"]) == 0
    said = capsys.readouterr().out.splitlines()
    facts, kept = json.loads(said[-1]), checkpoints.load(out)
    assert facts["training_characters"] == 8 * 4 * 8 and math.isfinite(facts["validation_loss"])
    val_ids = TokenFile(of_characters / "val.bin")
    assert validation_loss(kept.model, val_ids) == pytest.approx(facts["validation_loss"], abs=1e-5)
    assert f"over all {len(val_ids):,} tokens of val.bin" in said[-3] and "nats per character" in said[-3]
    assert kept.tokenizer.characters == characters().characters


def test_the_ids_of_a_token_file_give_the_losses_of_the_same_ids_in_memory(of_characters):
    files = [TokenFile(of_characters / f"{name}.bin") for name in ("train", "val")]
    in_memory = [each[0 : len(each)] for each in files]
    histories = []
    for train_ids, val_ids in (files, in_memory):
        torch.manual_seed(0)
        model = GPTLanguageModel(GPTConfig(files[0].about["vocab_size"], 8, 1, 2, 16))
        result = run_training(
            model, train_ids, val_ids, steps=6, batch_size=4, eval_batches=2, progress=False
        )
        histories.append(
            [entry["validation"] for entry in result.history] + [validation_loss(model, val_ids)]
        )
    assert histories[0] == histories[1]


def test_the_validation_loss_of_a_token_file_is_read_in_small_pieces(of_characters, monkeypatch):
    ids, seen, read = TokenFile(of_characters / "val.bin"), [], TokenFile.__getitem__

    def watched(self, places):
        seen.append(places)
        return read(self, places)

    monkeypatch.setattr(TokenFile, "__getitem__", watched)
    model = GPTLanguageModel(GPTConfig(ids.about["vocab_size"], 8, 1, 2, 16))
    validation_loss(model, ids, batch_size=4)
    assert max(part.stop - part.start for part in seen) == 4 * 8 + 1 and seen[-1].stop == len(ids)


def test_byte_pairs_have_their_loss_in_nats_per_token_and_per_character(of_pairs, tmp_path, capsys):
    out = tmp_path / "m.pt"
    assert train.main([*RUN, "--data", str(of_pairs), "--out", str(out), "--json"]) == 0
    said = capsys.readouterr().out
    facts, about = json.loads(said.splitlines()[-1]), TokenFile(of_pairs / "val.bin").about
    assert set(facts) == {"parameters", "training_tokens", "seconds", "tokens_per_second", "validation_loss",
                          "validation_loss_per_character"}  # fmt: skip
    assert about["characters"] > 1.2 * about["tokens"]
    expected = facts["validation_loss"] * about["tokens"] / about["characters"]
    assert facts["validation_loss_per_character"] == pytest.approx(expected, abs=2e-5)
    assert re.search(r"nats per token, which is \d\.\d{4} nats per character", said)
    assert generate.main(["--checkpoint", str(out), "--max-new", "3", "--seed", "1", "--device", "cpu"]) == 0


def test_byte_pairs_whose_characters_were_not_counted_have_their_loss_per_token_only(tmp_path, capsys):
    tokenizer, folder = pairs(), tmp_path / "pairs"
    for name in ("train", "val"):
        write_tokens(folder / f"{name}.bin", [tokenizer.encode("\n".join(TALES))], tokenizer)
    assert train.main([*RUN, "--data", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("nats per token")


def test_the_final_loss_is_measured_on_as_much_as_is_asked_for(of_characters, tmp_path, capsys):
    out, total = tmp_path / "m.pt", len(TokenFile(of_characters / "val.bin"))
    assert train.main([*RUN, "--data", str(of_characters), "--out", str(out), "--val-tokens", "101"]) == 0
    said, kept = capsys.readouterr().out, checkpoints.load(out)
    assert f"over the first 101 of the {total:,} tokens of val.bin" in said
    ids = TokenFile(of_characters / "val.bin")[:101]
    assert validation_loss(kept.model, ids) == pytest.approx(kept.info["validation_loss"], abs=1e-5)
    assert train.main([*RUN, "--text", "tales", "--tales-characters", "3000", "--val-tokens", "50"]) == 0
    assert re.search(
        r"the first 50 of the \d+ characters of the last tenth of the text", capsys.readouterr().out
    )


def test_of_a_large_token_file_a_part_is_enough(tmp_path):
    tokenizer = CharTokenizer("ab")
    for name, n in (("train", 100), ("val", VAL_TOKENS + 5)):
        write_tokens(tmp_path / f"{name}.bin", [torch.randint(2, (n,)).numpy()], tokenizer)
    ids, words = load_folder(tmp_path).final_part(None)
    assert len(ids) == VAL_TOKENS and words == "the first 200,000 of the 200,005 tokens of val.bin"
    assert len(load_folder(tmp_path).final_part(10**9)[0]) == VAL_TOKENS + 5


@pytest.mark.parametrize("kind", [characters, pairs])
def test_the_documents_of_a_token_file_begin_after_their_end_of_text(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("helpers.train_data.PIECE", 100)  # so that there are many pieces
    folder, tokenizer = write_folder(tmp_path / "d", kind()), kind()
    ids = TokenFile(folder / "train.bin")
    starts = document_starts(ids, tokenizer)
    assert len(starts) == ids.about["documents"] > 3 and len(ids) > 300 and PIECE > 10**6
    text = tokenizer.decode(ids[int(starts[0]) : int(starts[0]) + 9])
    assert text[0] == END_OF_TEXT and TALES[1].startswith(text[1:4])


def test_document_starts_are_refused_where_no_document_ends(tmp_path):
    tokenizer = CharTokenizer("ab\n")
    write_tokens(tmp_path / "train.bin", [tokenizer.encode("ab\n\nba")], tokenizer)
    with pytest.raises(ValueError, match="with the end-of-text token after each, and there is none"):
        document_starts(TokenFile(tmp_path / "train.bin"), tokenizer)


def test_training_from_document_starts_works_with_both_tokenizers(of_characters, of_pairs):
    for folder in (of_characters, of_pairs):
        assert train.main([*RUN, "--data", str(folder), "--from-starts", "0.5"]) == 0


def test_a_folder_without_token_files_a_file_and_no_folder_are_told_apart(tmp_path, of_characters, capsys):
    for what, message in (
        (tmp_path, "there is no token file"),
        (tmp_path / "nothing", "there is no such folder"),
        (of_characters / "train.bin", "name the folder that holds train.bin and val.bin"),
    ):
        assert train.main([*RUN, "--data", str(what)]) == 1
        error = capsys.readouterr().err
        assert message in error and str(what) in error


@pytest.mark.parametrize("name", ["train", "val"])
def test_damaged_token_files_are_refused_before_training(of_characters, capsys, name):
    path = of_characters / f"{name}.bin"
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    assert train.main([*RUN, "--data", str(of_characters)]) == 1
    assert f"{path} is damaged" in capsys.readouterr().err
    path.with_suffix(".json").unlink()
    assert train.main([*RUN, "--data", str(of_characters)]) == 1
    assert f"has no {name}.json beside it" in capsys.readouterr().err


def test_parts_made_with_different_tokenizers_are_refused(of_characters, of_pairs, capsys):
    for suffix in (".bin", ".json"):
        (of_pairs / f"val{suffix}").replace(of_characters / f"val{suffix}")
    assert train.main([*RUN, "--data", str(of_characters)]) == 1
    assert "made with different tokenizers" in capsys.readouterr().err


def test_a_resume_asks_for_the_same_tokens(tmp_path, of_pairs, capsys):
    out = ["--out", str(tmp_path / "m.pt")]
    assert train.main([*RUN, *out, "--data", str(of_pairs)]) == 0
    moved = of_pairs.rename(tmp_path / "moved")  # the same tokens in another place
    assert train.main([*RUN, *out, "--data", str(moved), "--resume", "--steps", "10"]) == 0
    other = write_folder(tmp_path / "other", pairs(310))
    assert train.main([*RUN, *out, "--data", str(other), "--resume", "--steps", "12"]) == 1
    assert "vocabulary differs" in capsys.readouterr().err
    fewer = write_folder(tmp_path / "fewer", pairs(), TALES[:-2])
    assert train.main([*RUN, *out, "--data", str(fewer), "--resume", "--steps", "12"]) == 1
    assert "was trained on another text" in capsys.readouterr().err


def test_the_checksum_is_compared_once_and_only_where_it_is_asked_for(of_characters, monkeypatch):
    import helpers.token_files

    compared = []
    monkeypatch.setattr(
        helpers.token_files, "checksum", lambda path: compared.append(path) or "no such checksum"
    )
    args = make_parser().parse_args(["--data", str(of_characters)])
    load_corpus(args, verify=False)
    assert compared == []
    with pytest.raises(ValueError, match="is damaged"):
        load_corpus(args)
    assert len(compared) == 1


def test_token_files_win_over_the_environments_text(of_characters, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_TEXT", "no_such_file.txt")
    assert train.main([*RUN, "--data", str(of_characters)]) == 0
    assert str(of_characters) in capsys.readouterr().out.splitlines()[0]


# --- sampling with both tokenizers ---


@pytest.mark.parametrize("tokenizer", [CharTokenizer("\nehT"), pairs()], ids=["characters", "byte pairs"])
def test_an_empty_prompt_starts_a_text_with_both_tokenizers(tokenizer):
    torch.manual_seed(0)
    model = GPTLanguageModel(GPTConfig(tokenizer.vocab_size, 8, 1, 2, 16))
    assert complete(model, tokenizer, "", 5, seed=1) == complete(model, tokenizer, "\n", 5, seed=1)[1:] != ""
    assert complete(model, tokenizer, "The", 4, seed=1).startswith("The")


# --- --dtype ---


def test_bfloat16_computes_in_it_and_keeps_weights_and_optimizer_in_float32(tmp_path, of_characters, capsys):
    out, losses = tmp_path / "m.pt", {}
    for dtype in ("float32", "bfloat16"):
        assert train.main([*RUN, "--data", str(of_characters), "--out", str(out), "--dtype", dtype]) == 0
        assert ("computing in bfloat16" in capsys.readouterr().out) == (dtype == "bfloat16")
        kept = checkpoints.load(train.last_name(out))
        state = kept.training["optimizers"][0]["state"]
        tensors = [*kept.model.state_dict().values(), *(v for each in state.values() for v in each.values())]
        assert len(tensors) > 20 and {tensor.dtype for tensor in tensors} == {torch.float32}
        losses[dtype] = [entry["validation"] for entry in checkpoints.load(out).info["history"]]
    apart = [abs(a - b) for a, b in zip(*losses.values(), strict=True)]
    assert 0 < max(apart) < 0.02 and apart[0] > 0  # evaluations are computed in it, too


def test_the_matrix_products_of_a_model_are_in_bfloat16_and_its_loss_is_float32():
    model, seen = GPTLanguageModel(GPTConfig(11, 8, 1, 2, 16)), []
    model.lm_head.register_forward_hook(lambda m, inputs, output: seen.append(output.dtype))
    x = torch.randint(11, (2, 8))
    loss = Autocast(model, "bfloat16")(x, x)[1]
    loss.backward()
    assert seen == [torch.bfloat16] and loss.dtype == torch.float32
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}
    with autocast("cpu", "float32"):
        assert model(x, x)[1].dtype == torch.float32 and seen[-1] == torch.float32


def test_a_device_without_bfloat16_goes_on_in_float32_with_a_note(
    monkeypatch, tmp_path, of_characters, capsys
):
    def fails(*arguments, **options):
        raise RuntimeError("User specified an unsupported autocast device_type")

    monkeypatch.setattr(torch, "autocast", fails)
    assert train.main([*RUN, "--data", str(of_characters), "--dtype", "bfloat16"]) == 0
    said = capsys.readouterr().out
    assert said.count("bfloat16 does not work on this device (cpu): going on in float32.") == 1
    assert "computing in bfloat16" not in said


def test_a_gpu_that_only_imitates_bfloat16_is_not_asked_to(monkeypatch):
    asked = []

    class Device:
        def __init__(self, device): ...
        def __enter__(self): ...
        def __exit__(self, *error): ...

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device", Device)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: asked.append(options))
    said = []
    assert usable_dtype("bfloat16", "cuda", said.append) == "float32" and len(said) == 1
    assert asked == [{"including_emulation": False}]
    assert usable_dtype("float32", "cuda", said.append) == "float32" and len(said) == 1
    with pytest.raises(ValueError, match="dtype='float16', but it is one of float32, bfloat16"):
        usable_dtype("float16", "cpu")


# --- --log ---


def log_of(tmp_path, *options: str) -> list[dict]:
    command = [
        *RUN,
        "--text",
        "tales",
        "--tales-characters",
        "3000",
        "--log",
        str(tmp_path / "run.csv"),
        *options,
    ]
    assert train.main(command) == 0
    return read_log(tmp_path / "run.csv")


def test_the_log_has_a_row_for_each_evaluation_with_every_digit(tmp_path):
    rows = log_of(tmp_path, "--out", str(tmp_path / "m.pt"))
    text = (tmp_path / "run.csv").read_bytes().decode("utf-8")
    assert text.splitlines()[0] == "step,train,validation,seconds,learning_rate,tokens" and "\r" not in text
    assert rows == checkpoints.load(tmp_path / "m.pt").info["history"]
    assert [row["step"] for row in rows] == [0, 4, 8] and [row["tokens"] for row in rows] == [0, 128, 256]
    assert rows[1]["learning_rate"] > rows[2]["learning_rate"] == pytest.approx(3e-4)


def test_a_row_is_in_the_file_as_soon_as_it_is_measured(tmp_path):
    log, entry = CsvLog(tmp_path / "run.csv", []), dict.fromkeys(COLUMNS, 1)
    for n in range(3):
        log.add(entry)
        with open(tmp_path / "run.csv", encoding="utf-8", newline="") as file:
            assert len(list(csv.reader(file))) == 2 + n


def test_a_resumed_run_cuts_the_rows_that_come_again(tmp_path):
    history = [
        dict.fromkeys(COLUMNS, 0) | {"step": step, "train": 3.5 - step / 100} for step in (0, 4, 8, 12)
    ]
    log = CsvLog(tmp_path / "run.csv", [])
    for entry in history:
        log.add(entry)
    with open(log.path, "a", encoding="utf-8") as file:
        file.write("16,3.1")  # a kill in the middle of a row
    again = CsvLog(log.path, history[:2])
    assert read_log(log.path) == history[:2]
    again.add(history[2])
    assert read_log(log.path) == history[:3]


def test_a_log_that_is_asked_for_on_the_resume_only_holds_the_whole_history(tmp_path):
    out = ["--out", str(tmp_path / "m.pt")]
    assert train.main([*RUN, "--text", "tales", "--tales-characters", "3000", *out]) == 0
    assert [row["step"] for row in log_of(tmp_path, *out, "--resume", "--steps", "12")] == [0, 4, 8, 12]


@pytest.mark.parametrize("content", ["name,price\npear,3\n", "my diary", "\x00\x01", "step,train\n1,2\n"])
def test_a_file_that_is_no_log_is_left_as_it_is(tmp_path, capsys, content):
    path = tmp_path / "mine.csv"
    path.write_text(content, encoding="utf-8", newline="")
    assert train.main([*RUN, "--text", "tales", "--tales-characters", "3000", "--log", str(path)]) == 1
    assert "no log of a training" in capsys.readouterr().err and path.read_text(encoding="utf-8") == content
    path.write_bytes(b"\xff\xfe\x00")
    assert train.main([*RUN, "--text", "tales", "--tales-characters", "3000", "--log", str(path)]) == 1
    assert path.read_bytes() == b"\xff\xfe\x00"


def test_the_log_of_another_run_is_not_continued(tmp_path):
    entry = dict.fromkeys(COLUMNS, 0) | {"train": 3.5}
    log = CsvLog(tmp_path / "run.csv", [])
    log.add(entry)
    before = log.path.read_bytes()
    with pytest.raises(ValueError, match="log of another run"):
        CsvLog(log.path, [entry | {"train": 3.6}])
    assert log.path.read_bytes() == before


def test_a_new_run_keeps_the_log_of_the_last_one(tmp_path, capsys):
    first = log_of(tmp_path)
    log_of(tmp_path, "--seed", "5")
    assert "is kept as run.csv.old" in capsys.readouterr().out and read_log(tmp_path / "run.csv.old") == first


def test_an_error_before_the_training_leaves_state_and_log_of_the_last_run_where_they_are(tmp_path, capsys):
    log_of(tmp_path, "--out", str(tmp_path / "m.pt"))
    files = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    common = [
        "--text",
        "tales",
        "--tales-characters",
        "3000",
        "--out",
        str(tmp_path / "m.pt"),
        "--steps",
        "20",
    ]
    for wrong in (
        ["--log", str(tmp_path / "no" / "run.csv")],
        ["--log", str(tmp_path / "run.csv"), "--block-size", "9999"],
        ["--log", str(tmp_path / "run.csv"), "--n-head", "3"],
    ):
        assert train.main([*SHAPE, *common, *wrong]) == 1
        assert capsys.readouterr().err.startswith("error: ")
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == files


# --- --tensorboard ---


def test_without_tensorboard_there_is_one_note_and_the_training_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    folder = tmp_path / "tb"
    log_of(tmp_path, "--tensorboard", str(folder))
    assert capsys.readouterr().out.count("going on without it") == 1 and not folder.exists()


def test_with_tensorboard_each_evaluation_is_a_point_of_its_curves(tmp_path, monkeypatch):
    points, made = [], []

    class SummaryWriter:
        def __init__(self, log_dir, purge_step):
            made.append((log_dir, purge_step))

        def add_scalar(self, name, value, step):
            points.append((name, value, step))

        def flush(self): ...

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    out = ["--out", str(tmp_path / "m.pt"), "--tensorboard", str(tmp_path / "tb")]
    rows = log_of(tmp_path, *out)
    assert [(p[1], p[2]) for p in points if p[0] == "loss/train"] == [
        (row["train"], row["step"]) for row in rows
    ]
    assert {p[0] for p in points} == {"loss/train", "loss/validation", "learning_rate"}
    log_of(tmp_path, *out, "--resume", "--steps", "12")
    # The state at step 8 was kept before its evaluation: that one is made again, and its first point is purged.
    assert made == [(str(tmp_path / "tb"), 0), (str(tmp_path / "tb"), 5)]
    assert TensorBoardLog(tmp_path / "tb", 0).writer is not None


# --- bad options ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dtype", "float16"], "invalid choice: 'float16'"),
        (["--save-interval", "0"], "'0' is not a whole number of at least 1"),
        (["--save-interval", "abc"], "'abc' is not a whole number of at least 1"),
        (["--val-tokens", "1"], "'1' is not a whole number of at least 2"),
        (["--val-tokens", "-1"], "'-1' is not a whole number of at least 2"),
        (["--data", "x", "--text", "tales"], "not allowed with argument"),
        (["--data", "x", "--preset", "shipped"], "not allowed with --preset shipped"),
        (["--ngram-rows", "1021"], "only the modern model has such tables; add --model modern"),
        (["--model", "modern", "--ngram-rows", "0"], "'0' is not a whole number of at least 1"),
    ],
)
def test_options_that_cannot_work_end_with_a_sentence_and_code_2(options, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        train.main(options)
    assert stopped.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--log", "no_such_folder/run.csv"], "there is no folder no_such_folder"),
        (["--log", "."], "this is a folder"),
        (["--resume"], "--resume needs --out"),
        (["--out", "model.bin"], "must end in .pt or .safetensors"),
        (["--device", "gpu"], "'gpu' is not a device"),
    ],
)
def test_paths_and_devices_that_cannot_work_end_with_a_sentence_and_code_1(
    options, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert train.main([*RUN, "--text", "tales", "--tales-characters", "3000", *options]) == 1
    assert message in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_training_itself_refuses_a_save_interval_that_is_no_number():
    model, ids = GPTLanguageModel(GPTConfig(11, 8, 1, 2, 16)), torch.randint(11, (50,))
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="save_interval="):
            run_training(model, ids, ids, steps=1, save_interval=wrong)


def test_a_history_that_nobody_asked_to_log_has_the_columns_of_a_log():
    model, ids = GPTLanguageModel(GPTConfig(11, 8, 1, 2, 16)), torch.randint(11, (50,))
    result = run_training(model, ids, ids, steps=2, batch_size=2, eval_batches=1, progress=False)
    assert isinstance(result, TrainingResult) and all(tuple(entry) == COLUMNS for entry in result.history)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems promise memory that they do not have")
def test_a_model_that_no_memory_holds_ends_with_the_way_out(capsys):
    sizes = ["--n-embd", "1000000", "--n-head", "1", "--block-size", "2"]
    assert train.main([*sizes, "--text", "tales", "--tales-characters", "3000", "--device", "cpu"]) == 1
    assert "--batch-size with twice --accumulation" in capsys.readouterr().err


def test_so_does_a_training_for_which_a_card_is_too_small(monkeypatch, capsys):
    def full(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(train, "train", full)
    assert train.main([*RUN, "--text", "tales", "--tales-characters", "3000"]) == 1
    said = capsys.readouterr().err
    assert (
        "20.00 GiB" in said and "--batch-size with twice --accumulation" in said and "Traceback" not in said
    )


def test_ctrl_c_before_or_after_the_training_is_no_traceback(monkeypatch, capsys):
    def pressed(*arguments, **options):
        raise KeyboardInterrupt

    for name in ("load_corpus", "validation_loss"):
        with monkeypatch.context() as patched:
            patched.setattr(train, name, pressed)
            assert train.main([*RUN, "--text", "tales", "--tales-characters", "3000"]) == 130
        assert capsys.readouterr().err == "Stopped.\n"


def test_an_answer_of_a_listener_does_not_matter():
    model, ids = GPTLanguageModel(GPTConfig(11, 8, 1, 2, 16)), torch.randint(11, (50,))
    listeners = {"on_evaluation": lambda result: torch.ones(2), "on_save": lambda result: torch.ones(2)}
    run_training(model, ids, ids, steps=1, batch_size=2, eval_batches=1, progress=False, **listeners)
