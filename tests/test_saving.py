"""What is stored of a run: clean outputs, the same on every machine, and never the book's words."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from helpers.lesson import saving
from helpers.lesson.saving import SavingError, prepare, source_hash


def printed(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def shown(**data):
    return new_output("display_data", data={kind.replace("__", "/"): value for kind, value in data.items()})


def notebook(*outputs, source="1", **metadata):
    return new_notebook(
        cells=[new_code_cell(source, outputs=list(outputs), execution_count=9, metadata=metadata)]
    )


def test_counts_start_at_one_and_a_kernelspec_and_a_hash_are_set():
    book = new_notebook(cells=[new_code_cell("a"), new_code_cell(" "), new_code_cell("b")])
    done = prepare(book)
    assert [cell.execution_count for cell in done.cells] == [1, None, 2]
    assert done.metadata.kernelspec.name == "python3"
    assert done.metadata.course.source_hash == source_hash(book)


def test_the_hash_ignores_line_ends_and_sees_a_moved_cell_border():
    one, other = (new_notebook(cells=[new_code_cell(s)]) for s in ("a\nb", "a\r\nb"))
    assert source_hash(one) == source_hash(other)
    assert source_hash(one) != source_hash(new_notebook(cells=[new_code_cell("a"), new_code_cell("b")]))


def test_the_books_words_are_not_stored_and_the_cell_keeps_its_count():
    done = prepare(notebook(printed("a sentence"), tags=["quotes-book"]))
    assert done.cells[0].outputs == [] and done.cells[0].execution_count == 1


def test_an_error_in_a_cell_whose_output_is_removed_is_still_an_error():
    with pytest.raises(SavingError, match="stopped with ValueError"):
        prepare(
            notebook(new_output("error", ename="ValueError", evalue="x", traceback=[]), tags=["quotes-book"])
        )


def test_a_widget_goes_and_the_picture_beside_it_stays():
    view = {"model_id": "1"}
    alone = new_output("display_data", data={saving.WIDGET: view, "text/plain": "Slider()"})
    still = new_output("display_data", data={saving.WIDGET: view, "image/png": "aGk="})
    done = prepare(notebook(alone, still))
    assert [list(output.data) for output in done.cells[0].outputs] == [["image/png"]]


def test_a_progress_bar_becomes_its_last_state_and_pieces_become_one_stream():
    done = prepare(notebook(printed("0%\r50%\r100%\n"), printed("done\n")))
    assert [output.text for output in done.cells[0].outputs] == ["100%\ndone\n"]


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ([printed("x.py:1: UserWarning: old\n", "stderr")], "warning or an error to stderr"),
        ([printed(f"{Path.home() / 'course'}\n")], "a path of this machine"),
        ([printed("<object at 0x7f0000001234>\n")], "the address of an object"),
        ([printed("x" * 100_001)], "allowed are 100,000"),
        ([shown(image__png="A" * 1_100_000)], "make figures smaller"),
    ],
)
def test_what_must_not_be_stored_is_refused(outputs, words):
    with pytest.raises(SavingError, match=words):
        prepare(notebook(*outputs))


def test_the_run_itself_is_not_changed():
    executed = notebook(printed("a\rb\n"))
    before = nbformat.writes(executed)
    prepare(executed)
    assert nbformat.writes(executed) == before


def test_a_file_that_was_edited_meanwhile_is_not_overwritten(tmp_path):
    path = tmp_path / "n.ipynb"
    path.write_bytes(b"edited")
    with pytest.raises(SavingError, match="your version stays"):
        saving.write(path, prepare(notebook()), over=b"as it was")
    assert path.read_bytes() == b"edited" and list(tmp_path.iterdir()) == [path]
