"""What notebook 11 says about corpora and token files: its own cells are run here, without the training."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from notebook_cells import Explored, NotebookCells

from helpers import batches, openwebtext, tales
from helpers.lesson import survey
from helpers.token_files import END_OF_TEXT, write_tokens
from helpers.tokenizer import CharTokenizer

NOTEBOOK = NotebookCells("11_openwebtext")
cell, run = NOTEBOOK.cell, NOTEBOOK.run


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("corpus")


@pytest.fixture(scope="module")
def names(place) -> dict:
    """The notebook's variables on a small archive, up to its token files."""
    names: dict = {"__name__": "__main__", "torch": torch}
    exec(cell("device = pick_device()").split("device = pick_device()")[0], names)
    text = tales.write_tales(30_000, seed=4)
    tokenizer = CharTokenizer.from_text(text)
    names |= {"place": place, "tokenizer": tokenizer, "ids": tokenizer.encode(text), "text": text}
    names |= {
        "show": lambda fig, caption: plt.close(fig),
        "explore": Explored(),
        "device": torch.device("cpu"),
    }
    names |= {"block_size": 64, "batch_size": 12}
    names["archive"] = openwebtext.write_sample(place, megabytes=0.6)
    for words in ("def pages_of(archive)", "def validation_share_of(document)"):
        run(words, names)
    names["out"] = place / "owt"
    openwebtext.extract(names["archive"], names["out"], validation=0.1, progress=False)
    names["TokenFile"] = batches.TokenFile
    return names


# --- the survey ---


def test_every_model_of_the_survey_has_a_title_a_year_and_an_identifier_that_agree():
    assert len(survey.SURVEY) >= 15
    titles: dict[str, str] = {}
    for model in survey.SURVEY:
        assert re.fullmatch(r"\d{4}\.\d{5}", model.arxiv) and model.title
        assert 2000 + int(model.arxiv[:2]) == model.year
        assert titles.setdefault(model.arxiv, model.title) == model.title
        assert 1e6 < model.parameters < 1e12 and 1e9 < model.tokens < 1e14
        assert model.compute == pytest.approx(6 * model.parameters * model.tokens)
    assert len({model.name for model in survey.SURVEY}) == len(survey.SURVEY)


def test_its_table_names_every_paper():
    page, words = survey.as_html(), survey.as_text()
    for model in survey.SURVEY:
        assert f"{model.url}" in page and model.name in page and model.name in words and model.arxiv in words
    assert len(words.splitlines()) == len(survey.SURVEY) + 1


@pytest.mark.parametrize(
    ("number", "words"),
    [(175e9, "175 B"), (1.4e12, "1.4 T"), (921_600, "922 k"), (999_900, "1 M"), (12, "12")],
)
def test_large_numbers_in_words(number, words):
    assert survey.short(number) == words


def test_the_models_until_2022_have_read_less_for_each_parameter(names):
    ratios = {
        old: [m.tokens / m.parameters for m in survey.SURVEY if (m.year <= 2022) == old]
        for old in (True, False)
    }
    assert np.median(ratios[True]) < 20 < np.median(ratios[False])


def test_the_corpus_has_the_numbers_of_its_description(names):
    run("DOCUMENTS = 8_013_769", names)
    assert names["DOCUMENTS"] == 8_013_769
    assert f"{names['TEXT_BYTES'] / 1e9:.1f} {names['ARCHIVE_BYTES'] / 1e9:.1f}" == "39.8 12.9"
    assert 8.9e9 < names["GPT2_TOKENS"] < 9.2e9


# --- batches ---


@pytest.fixture(scope="module")
def loading(names) -> dict:
    """The variables after the cells on memory maps."""
    names = dict(names)
    names["loaded"] = type("Loaded", (), {"name": "tales"})
    run('ids.astype("<u2").tofile(flat)', names)
    run('mapped = np.memmap(flat, dtype="<u2", mode="r")', names)
    run("def dice(seed=1)", names)
    return names


def test_a_batch_from_the_map_is_that_from_memory(loading):
    printed = run("def dice(seed=1)", loading)
    assert printed.rstrip().endswith("True") and not np.array_equal(loading["x"], loading["y"])


def test_the_notebooks_token_file_and_the_loader_give_the_batches_of_a_tensor(loading):
    printed = run("class TokenFile:", loading)
    assert printed.count("True") == 1 and "False" not in printed
    for size in (1, 12):  # a batch of one window, too
        one, other = (
            batches.get_batch(loading[name], 64, size, loading["dice"]()) for name in ("in_file", "in_memory")
        )
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
    assert loading["TokenFile"] is not batches.TokenFile
    assert "equal to get_batch: True" in run("class Windows(Dataset)", loading)


def test_a_map_that_stays_open_gives_the_same_batches(loading):
    run("class TokenFile:", loading)
    run("class Windows(Dataset)", loading)
    assert run("class OpenMap", loading).count(" ms for each batch") == 4
    one, other = (
        batches.get_batch(loading[name], 64, 12, loading["dice"]()) for name in ("in_file", "open_map")
    )
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


# --- archives ---


def test_the_generator_gives_what_the_command_reads(names):
    ours = [text for _, text in names["pages_of"](names["archive"])]
    theirs = [text for _, text in openwebtext.documents(names["archive"])]
    assert ours == theirs and len(ours) > 50 and not any("\0" in text for text in ours)


def test_a_tar_read_as_text_brings_nul_into_the_vocabulary(names):
    run("def look(name, data):", names)
    assert [kind for _, _, kind, _ in names["layers"]] == ["xz", "tar", "xz", "tar", "text"]
    run("as_text_file = inner.decode", names)
    run("zeros = as_text_file.count", names)
    assert "\0" in names["new"] and names["zeros"] > 1000 and "\0" not in names["true_text"]


def test_what_is_broken_is_named_and_what_came_before_the_break_is_kept(names):
    lines = run('sources = {"half.tar.xz"', names).splitlines()
    pages = {line.split()[0]: int(line.split()[1]) for line in lines}
    assert 0 < pages["half.tar.xz"] < pages["good.tar.xz"]
    assert pages["page.tar.xz"] == pages["empty.tar.xz"] == 0
    assert (
        "EOFError" in lines[0]
        and "LZMAError" in lines[1]
        and "EOFError" in lines[2]
        and "its end" in lines[3]
    )


def test_careless_decoding_loses_characters_and_the_incremental_decoder_none(names):
    lost = [re.findall(r"[\d,]+", line) for line in run("for size in (1, 4, 64, 1024):", names).splitlines()]
    assert all(int(each[1].replace(",", "")) > 0 and each[-1] == "0" for each in lost) and len(lost) == 4


# --- the split ---


def test_only_the_hash_keeps_doubles_together(names):
    run('print("split         validation pages', names)
    doubles = {}
    for name, chosen in names["splits"].items():
        pairs = list(zip(names["planted"], chosen, strict=True))
        doubles[name] = len(
            {text for text, there in pairs if there} & {text for text, there in pairs if not there}
        )
    assert doubles.pop("by its hash") == 0 and min(doubles.values()) > 0


def test_the_number_of_a_document_is_the_same_in_another_python(names):
    code = "import hashlib; d = hashlib.sha256('seven crows'.encode()).digest(); print(int.from_bytes(d[:8], 'big') / 2**64)"
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    ).stdout
    assert names["validation_share_of"]("seven crows") == float(there)


def test_the_two_files_share_no_document_and_lose_none(names):
    names["documents"] = [text for _, text in names["pages_of"](names["archive"])]
    printed = run("in both:", names)
    assert "in both: 0 " in printed and printed.rstrip().endswith("True")


def test_the_vocabulary_of_its_archive_has_the_end_of_a_document_and_the_stand_in_besides(names, tmp_path):
    archive = openwebtext.write_sample(
        tmp_path, megabytes=2.0
    )  # as in the notebook: too long to be read whole first
    openwebtext.extract(archive, tmp_path / "owt", validation=0.1, progress=False)
    tokens = batches.TokenFile(tmp_path / "owt" / "val.bin")
    documents = [text for _, text in names["pages_of"](archive)]
    space = names | {"out": tmp_path / "owt", "tokens": tokens, "documents": documents}
    assert "characters, with its whole vocabulary" in run("on_no_page = ", space)
    assert space["on_no_page"] == [END_OF_TEXT, "\ufffd"]


# --- token files ---


def test_every_damage_is_refused_and_the_sound_copy_is_not(names):
    lines = run("def refused(change, verify):", names).splitlines()
    said = {line[:10].strip(): line[10:].strip() for line in lines if line[:10].strip()}
    by_length = [line.split("checksum: ")[1] for line in lines if "without the checksum: " in line]
    assert by_length == ["accepted", "accepted", "refused", "refused", "refused"]
    assert said["nothing"] == "accepted"
    assert all("Error" in said[name] for name in ("one bit", "cut short", "empty", "no facts"))
    assert "checksum" in said["one bit"] and str(names["place"]) not in "".join(lines)


@pytest.fixture(scope="module")
def faults(names) -> dict:
    names = dict(names)
    names |= {"train_file": batches.TokenFile(names["out"] / "train.bin"), "torch": torch}
    names["tokenizer"] = names["train_file"].tokenizer
    names["config"] = type("Config", (), {"vocab_size": names["tokenizer"].vocab_size})
    names["GPT2_TOKENS"] = 9_000_000_000
    run("def somebodys_reader(path):", names)
    return names


def test_the_first_fault_halves_the_ids_and_raises(faults):
    printed = run("faulty = somebodys_reader", faults)
    assert len(faults["faulty"]) == len(faults["train_file"]) // 2 and "IndexError" in printed


def test_the_second_fault_raises_nothing_and_gives_other_text(faults):
    good, bad = (line.split(":", 1)[1] for line in run("somebodys_tokenizer().decode", faults).splitlines())
    assert (
        good.strip() != bad.strip()
        and faults["somebodys_tokenizer"]().vocab_size == faults["tokenizer"].vocab_size + 1
    )


def test_the_third_fault_shows_now_and_then(faults):
    torch.manual_seed(3)
    run("tiny, failed = TokenFile", faults)
    assert 0 < faults["failed"] < 400


# --- the bill ---


def test_eight_cards_take_an_eighth_of_the_time_and_the_slider_starts_at_a_choice_it_has(names):
    space = names | {
        "parameters": 1000,
        "GPT2_SMALL": 124e6,
        "GPT2_TOKENS": 9.0e9,
        "speed": 3e10,
        "train_file": [0] * 500,
    }
    space["COLOURS"] = names["COLOURS"]
    run("def seconds_for(parameters, tokens, machine)", space)
    run("def draw_cost(parameters, tokens, machine)", space)
    explored = space["explore"]
    assert all(explored.start[name] in options for name, options in explored.controls.items())
    assert space["MACHINES"]["8 cards"] == 8 * space["MACHINES"]["one card"]
    fig, said = explored.draw(**explored.start)
    plt.close(fig)
    assert "day" in said or "hour" in said


def test_the_end_of_a_document_is_one_id():
    tokenizer = CharTokenizer.from_text("seven crows" + END_OF_TEXT)
    assert len(tokenizer.encode(END_OF_TEXT)) == 1


def test_the_checksum_is_that_of_the_file(tmp_path):
    tokenizer = CharTokenizer.from_text("abc")
    about = write_tokens(tmp_path / "x.bin", [tokenizer.encode("abcba")], tokenizer)
    assert about["sha256"] == hashlib.sha256((tmp_path / "x.bin").read_bytes()).hexdigest()
