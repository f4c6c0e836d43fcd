"""What the course consists of: its notebooks, and the sections of the lecture that each covers. Standard library only.

This is the one place where these facts stand. `python -m helpers.lesson.course` writes the tables that
notebooks/README.md is made of; a test compares them.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from helpers.lesson.finding import NOTEBOOKS


@dataclass(frozen=True)
class Notebook:
    """One notebook of the course, written or still to come."""

    number: str  # "04"
    name: str  # "batches"
    title: str  # "Batches"
    shows: str  # what it is about, in a few words
    minutes: int  # of a learner's time, exercises included
    budget: int  # seconds of a run from top to bottom on two CPU cores
    learnt: tuple[str, ...] = ()  # what a learner knows at the end

    @property
    def stem(self) -> str:
        """The file's name without its ending."""
        return f"{self.number}_{self.name}"

    @property
    def path(self) -> Path:
        """Where its file is, or will be."""
        return NOTEBOOKS / f"{self.stem}.ipynb"

    @cached_property
    def sections(self) -> tuple[int, ...]:
        """Numbers of the lecture's sections that it covers."""
        return tuple(number for number, (_, notebook, _) in SECTIONS.items() if notebook == self.number)


SECTIONS: dict[int, tuple[str, str, str]] = {  # number in the lecture -> (title, notebook, what the course does there)
    1: ("Introduction", "00",
        "a promise, the route, and a model that writes before anything is explained"),
    2: ("Install the libraries", "00",
        "one command sets everything up on a bare Python; a doctor names what is wrong and its cure"),
    3: ("pylzma build tools (why they are not needed: Python's own lzma)", "00",
        "nothing is compiled: the standard library's `lzma`, tried on text and on noise"),
    4: ("Jupyter Notebook", "00",
        "kernel, cells and the order trap shown with errors made on purpose"),
    5: ("Download The Wizard of Oz", "00",
        "a script with clear errors fetches the book; without a network the course's own tales take its place"),
    6: ("Experimenting with a text file", "01",
        "characters, spaces and line ends counted and drawn, on any text"),
    7: ("Character-level tokenizer", "01",
        "a look-up table in place of a dictionary loop; unknown characters are named or replaced"),
    8: ("Types of tokenizers", "01",
        "words, characters, bytes and BPE built by hand, the merges held against the `tokenizers` library"),
    9: ("Tensors instead of arrays", "02",
        "where numbers lie in memory: views, copies, strides, shared memory with NumPy"),
    10: ("Linear algebra refresher", "02",
        "lengths, angles and likeness on letters of words"),
    11: ("Train and validation splits", "04",
        "two ways to split measured: shuffled windows leak, a cut does not; how sure a score is"),
    12: ("Premise of the bigram model", "05",
        "the counted table first, with its exact loss: the yardstick for the one that learns"),
    13: ("Inputs and targets", "04",
        "drawn as a window and its shift by one; an exercise before the answer"),
    14: ("Inputs and targets implemented", "04",
        "all windows at once by `unfold`, equal to the slices"),
    15: ("Batch size hyperparameter", "04",
        "what a step costs and how far gradients of small batches scatter, both measured"),
    16: ("Switching from CPU to CUDA", "03",
        "CUDA, MPS or CPU picked in sight in every notebook; what a device move does to tensors and to modules"),
    17: ("PyTorch overview", "02",
        "a tour on one running example, three error messages taken apart"),
    18: ("CPU vs GPU performance in PyTorch", "03",
        "warm-up, waiting, median and spread; results kept, compared, and drawn with their crossing point"),
    19: ("More PyTorch functions", "02",
        "a table of functions that runs, each with its shape"),
    20: ("Embedding vectors", "05",
        "a row of a table, shown equal to a one-hot product"),
    21: ("Embedding implementation", "05",
        "`nn.Embedding`, equal to indexing its table"),
    22: ("Dot product and matrix multiplication", "02",
        "the dot product as an angle; a matrix product drawn number by number"),
    23: ("Matmul implementation", "02",
        "three loops, then `@`, equal and timed"),
    24: ("Int vs float", "02",
        "what a type can and cannot write down, measured; which errors the wrong one brings"),
    25: ("Recap and get_batch", "04",
        "starts drawn once, one look-up for the batch; faults in it made on purpose"),
    26: ("nn.Module subclass", "05",
        "a module from nothing: parameters, `.to`, modes, hooks"),
    27: ("Gradient descent", "06",
        "on one parameter first, the slope by nudging, the bound on the learning rate derived and met"),
    28: ("Logits and reshaping", "05",
        "why flatten, and what the wrong `view` costs, measured"),
    29: ("Generate function and giving the model some context", "05",
        "sampling by hand, temperature with a slider, a context that is handed in"),
    30: ("Logits dimensionality", "05",
        "scores, softmax, and why the loss starts at ln V"),
    31: ("Training loop + optimizer + zero_grad explained", "05",
        "the loop line by line; gradients left uncleared on purpose"),
    32: ("Optimizers overview", "06",
        "five optimizers by hand, equal to `torch.optim` step by step, on a drawn valley"),
    33: ("Applications of optimizers", "06",
        "the same optimizers on the bigram and an MLP, learning rates swept, a schedule"),
    34: ("Loss reporting + train vs eval mode", "05",
        "an estimate with its spread, both modes, the exact loss over a whole text"),
    35: ("Normalization overview", "07",
        "LayerNorm, RMSNorm and BatchNorm by hand; what each mixes; 30 layers that learn"),
    36: ("ReLU / Sigmoid / Tanh activations", "07",
        "GELU beside them; slopes, saturation and dead units counted"),
    37: ("Transformer and self-attention", "08",
        "from an average of the past to weights, in three ways shown equal"),
    38: ("Transformer architecture", "09",
        "the drawing of 2017 as code: three attentions, one function"),
    39: ("Building a GPT: not a Transformer model", "09",
        "which half a GPT keeps, and what a change in a later token can reach"),
    40: ("Self-attention deep dive", "08",
        "a head set by hand before one learns; a map of its weights to move"),
    41: ("GPT architecture", "10",
        "drawn with its shapes; what a GPT leaves out of the Transformer"),
    42: ("Switching to a MacBook", "03",
        "the same notebooks on MPS, with a check of its arithmetic and a way back to the CPU"),
    43: ("Implementing positional encoding", "10",
        "learned positions against none and against reversed ones"),
    44: ("GPTLanguageModel initialization", "10",
        "the parts made from one set of settings, and counted"),
    45: ("GPTLanguageModel forward pass", "10",
        "shapes along the way, and a loss at the start that theory names"),
    46: ("Standard deviation for model parameters", "10",
        "0.02, the scaled residual projections, and other values, measured at depth"),
    47: ("Transformer blocks", "09",
        "pre-norm against post-norm at 2, 6 and 12 blocks"),
    48: ("FeedForward network", "09",
        "position by position, proven; what it adds to the loss"),
    49: ("Multi-head attention", "09",
        "the lecture's loop of heads, then one product, with equal weights and gradients"),
    50: ("Dot-product attention", "08",
        "by hand, then equal to PyTorch's fused function"),
    51: ("Why we scale by 1/sqrt(dk)", "08",
        "variance, entropy and gradient by head size; the wrong divisor's price"),
    52: ("Sequential vs ModuleList processing", "09",
        "what a plain list loses: parameters, moves, saved entries"),
    53: ("Overview of hyperparameters", "10",
        "each setting doubled: cost predicted, then measured"),
    54: ("Fixing errors and refining", "10",
        "a checklist before a long training, and a zoo of faults"),
    55: ("Begin training", "10",
        "a curve that grows, samples on the way, an interrupt that keeps the work"),
    56: ("OpenWebText download and a survey of LLMs", "11",
        "the survey as a figure with sources; what the corpus weighs in five forms"),
    57: ("How the data loader / batch getting has to change", "11",
        "a token file of two bytes an id, memory-mapped, with a checksum"),
    58: ("Extract the corpus (without WinRAR)", "11",
        "an archive in an archive by the standard library, page by page, without unpacking to disk"),
    59: ("Python data extractor", "11",
        "page by page in constant memory, damaged sources named; a command that can resume"),
    60: ("Adjusting for train and validation splits", "11",
        "a split by the hash of each document, so that copies stay on one side"),
    61: ("Adding the data loader", "11",
        "the file's loader equal to the one in memory; where a `DataLoader` helps and where not"),
    62: ("Training on OpenWebText", "11",
        "the same `train`; the bill for the whole corpus, from your machine's speed"),
    63: ("Training works well: model loading and saving", "12",
        "a checkpoint of weights, settings and vocabulary; exact resume to the last digit"),
    64: ("Pickling", "12",
        "what pickle can execute, shown; safetensors; GPT-2's weights in your own model"),
    65: ("Fixing errors + GPU memory in the task manager", "12",
        "memory predicted, then measured, on a processor too"),
    66: ("Command-line argument parsing", "13",
        "parsing from nothing, then `argparse`, with checks of values"),
    67: ("Porting the code to a script", "13",
        "the script proven equal to the cells; two processes train one model"),
    68: ("Prompt-completion feature + more errors", "14",
        "prompts that break it, top-k and top-p by hand, a chat in the terminal and in the notebook"),
    69: ("nn.Module inheritance + generation cropping", "14",
        "what a subclass may override; cropping, a key/value cache equal to none, a meter for copied text"),
    70: ("Pretraining vs fine-tuning", "15",
        "questions whose answers can be checked, masked loss, LoRA by hand, forgetting measured"),
    71: ("R&D pointers", "16",
        "today's parts one at a time with their gain, a scaling law of your own, pointers with year and number"),
    72: ("Outro", "16",
        "your own ladder, and projects to build next"),
}  # fmt: skip

COURSE = [
    Notebook(
        "00", "welcome_and_setup", "Welcome and set-up", "the machine, JupyterLab, the text, compression", 25, 15,
        (
            "A language model gives the next character a probability, and writing is asking it again and again.",
            "The kernel remembers the order in which cells ran; Restart and Run All brings back the page's order.",
            "What can be compressed can be foreseen, and what can be foreseen can be learnt.",
        ),
    ),
    Notebook(
        "01", "text_and_tokenizers", "Text and tokenizers", "characters to integers and back; words, bytes, BPE", 50, 25,
        (
            "A tokenizer turns text into ids and back, and the round trip must lose nothing.",
            "Characters: small vocabulary, long sequences. Words: the opposite. Bytes and BPE know no unknown, and BPE is shorter.",
            "A vocabulary belongs to its model: with another one, ids mean something else.",
        ),
    ),
    Notebook(
        "02", "tensors", "Tensors", "shapes, views, broadcasting, matrix products, number types", 60, 20,
        (
            "A tensor is numbers with a shape, a type and a device; most errors name one of the three.",
            "A matrix product is a dot product of every row with every column, and the inner sizes must agree.",
            "Broadcasting repeats sizes of 1 and adds missing ones in front, without copying and without asking.",
        ),
    ),
    Notebook(
        "03", "cpu_gpu_mps", "CPU, GPU, MPS", "devices, moving data and models, honest timing", 75, 45,
        (
            "A device is chosen once, and data and model move there; what meets must be on the same device.",
            "Honest timing compares equal results, warms up, waits for the device, and shows the transfer apart.",
            "Small work is quickest where it is; only large work pays for the way to a graphics card.",
        ),
    ),
    Notebook(
        "04", "batches", "Batches", "splits without leaks, inputs and targets, get_batch", 45, 15,
        (
            "Validation text is a part that training never sees; overlapping windows put into the two parts at random leak.",
            "Targets are the inputs shifted by one: a window of T inputs holds T examples.",
            "A batch is B windows drawn at random; more windows make a step dearer and its direction surer.",
        ),
    ),
    Notebook(
        "05", "bigram", "The bigram",
        "counting pairs; the same table as a module that learns; loss, training loop, sampling", 95, 40,
        (
            "A model is scored by the mean of -ln p of what came next; ln(vocabulary) is knowing nothing.",
            "The bigram is a table: counted in one pass, or learnt as an embedding of logits.",
            "The loop is always: batch, forward, zero_grad, backward, step; measure in eval mode, over both texts.",
        ),
    ),
    Notebook(
        "06", "optimizers", "Optimizers", "gradient descent, momentum, Adam, AdamW, schedules", 60, 45,
        (
            "A gradient says which way is up from here; the learning rate says how far to step, and too far diverges.",
            "Momentum adds up what gradients agree on; Adam divides by their usual size; AdamW decays past the gradient.",
            "Sweep the learning rate, warm up, end small; squared error is for amounts, cross-entropy for choices.",
        ),
    ),
    Notebook(
        "07", "normalization_and_activations", "Normalization and activations",
        "why deep nets stall; LayerNorm; ReLU, tanh, GELU; initial scale", 60, 30,
        (
            "Without a bend, many layers are one; where the bend is flat, no gradient gets through.",
            "Sizes multiply from layer to layer; LayerNorm resets them, so the initial scale matters far less.",
            "LayerNorm: each position over its channels, biased variance, eps inside the root; BatchNorm mixes sequences.",
        ),
    ),
    Notebook(
        "08", "self_attention", "Self-attention",
        "from averaging to weighting: queries, keys, values; the causal mask; why 1/sqrt(d_k); one head learns", 75, 30,
        (
            "Attention is a weighted average of the past: the query asks, the key answers, the value is handed over.",
            "Mask before softmax, then change a later character: no earlier output may move.",
            "Scores grow like the root of the head size; divide by that root, not by that of n_embd.",
        ),
    ),
    Notebook(
        "09", "transformer_block", "The transformer block",
        "several heads, feed-forward, residuals, pre- and post-norm; the 2017 Transformer and a GPT", 90, 30,
        (
            "Each head reads all channels and gives its part; more heads cost no extra parameters, and one product makes them all.",
            "Attention moves between positions, feed-forward works on each alone, and both add to x.",
            "With the norm in front, x has a path with nothing but additions, so deep stacks learn.",
        ),
    ),
    Notebook(
        "10", "gpt", "A GPT",
        "positions, the whole model, what it costs, a checklist, training for real, samples, a look inside", 120, 120,
        (
            "One causal layer takes the past for a bag of characters; the position table tells it the order.",
            "A GPT is two embeddings, blocks, a LayerNorm and a linear layer; a fresh one starts at ln(vocabulary).",
            "Before a long training: no look ahead, one batch by heart, gradients in every part, shuffled targets.",
            "A model is kept as weights, settings and vocabulary: the weights with the lowest validation loss.",
        ),
    ),
    Notebook(
        "11", "openwebtext", "OpenWebText",
        "archives, streaming, memory-mapped token files, a split by document, what a long run costs, whose text it is", 100, 60,
        (
            "A corpus is read page by page; magic bytes say what a file is, and a broken source is named, not fatal.",
            "Ids of two bytes in a file with facts and a checksum: a batch maps the file, takes its windows, makes int64.",
            "Split by a hash of the page, so that duplicates stay together; parameters x tokens x 6 is the bill beforehand.",
        ),
    ),
    Notebook(
        "12", "saving_and_loading", "Saving and loading",
        "pickle, a checkpoint by hand, atomic saves, exact resume, safetensors, GPT-2's weights, load errors, memory",
        110, 30,
        (
            "A checkpoint is weights, config and vocabulary as plain data; a pickle names classes and may run code when opened.",
            "Write beside the old file and rename; a resume needs optimizer, step, generators and best loss as well as weights.",
            "A training with AdamW takes 16 bytes per parameter plus activations; after loading, compare logits, not shapes.",
        ),
    ),
    Notebook(
        "13", "scripts", "Scripts",
        "argparse from nothing; from cells to a command; the same losses to the last digit; resume; two processes", 110, 60,
        (
            "A script is told everything by its file and its command: options that refuse nonsense, and main(argv=None).",
            "Same machine, seed and settings: cells, script and command agree to the last digit, also after a kill and a resume.",
            "The gradient of a batch is the mean over equal parts, so several processes can train one model; rank 0 alone writes.",
        ),
    ),
    Notebook(
        "14", "generation", "Generation",
        "prompts that break it, top-k and top-p by hand, a key/value cache, streaming, a meter for copied text, a chat", 110, 45,
        (
            "A prompt is made fit, the text is cropped at every step, and temperature, top-k and top-p stand before the draw.",
            "A causal model never changes its mind about the past: keys and values are kept, and the text stays the same.",
            "Past the context a cache must recompute or stride; and what is copied is measured against fresh text.",
        ),
    ),
    Notebook(
        "15", "finetuning", "Fine-tuning",
        "questions and answers, a mask for the loss, forgetting and a remedy, LoRA by hand, your own text", 100, 105,
        (
            "Fine-tuning is the same loop from finished weights; targets of -100 make the loss ask for the answers alone.",
            "Measure exact match on unseen examples and the loss on the old text; old data mixed in keeps most of what it could.",
            "LoRA trains two thin tables beside frozen weights, begins as the model it was, and can be merged into them.",
        ),
    ),
    Notebook(
        "16", "beyond", "Beyond",
        "today's parts one at a time (RoPE, QK norm, zero init, Muon), speed ladder, race, scaling laws in miniature, what next",
        120, 150,
        (
            "RoPE turns queries and keys by their position, so a score depends on the distance only; normalized ones have a lid.",
            "Muon gives every direction of a matrix's update about the same weight, by matrix products alone.",
            "A change counts when all its seeds lie below those before; a few small runs tell which size your hours are worth.",
        ),
    ),
]  # fmt: skip


def notebook(number: int | str) -> Notebook:
    """The notebook of this number. Raises ValueError where the course has none."""
    wanted = f"{number:02d}" if isinstance(number, int) and not isinstance(number, bool) else str(number)
    found = next((each for each in COURSE if each.number == wanted), None)
    if found is None:
        raise ValueError(f"the course has no notebook {number!r}: there are 0 to {len(COURSE) - 1}")
    return found


def following(number: str) -> Notebook | None:
    """The next notebook that is in the folder, or None after the last."""
    return next((each for each in COURSE if each.number > number and each.path.is_file()), None)


def still_to_come(number: str, next_number: str) -> str:
    """The notebooks between two that are not in the folder: "06 is", "06 and 07 are", "06 to 09 are", or "" for none."""
    between = [each.number for each in COURSE if number < each.number < next_number]
    if len(between) > 1:
        return f"{between[0]} {'and' if len(between) == 2 else 'to'} {between[-1]} are"
    return f"{between[0]} is" if between else ""


def section_table() -> str:
    """The lecture's sections and where the course has them, as a Markdown table; links where the notebook is there."""
    lines = [
        "| section | title in the lecture | notebook | what the course does there |",
        "|---|---|---|---|",
    ]
    for number, (title, where, here) in SECTIONS.items():
        each = notebook(where)
        link = f"[{where}]({each.path.name})" if each.path.is_file() else f"{where} (to come)"
        lines.append(f"| {number} | {title} | {link} | {here} |")
    return "\n".join(lines)


def contents_table() -> str:
    """The notebooks that are there, as a Markdown table."""
    lines = ["| no. | name | what it shows | minutes |", "|---|---|---|---|"]
    lines += [
        f"| {each.number} | [{each.title}]({each.path.name}) | {each.shows} | {each.minutes} |"
        for each in COURSE
        if each.path.is_file()
    ]
    return "\n".join(lines)


def with_tables(readme: str) -> str:
    """Return the text of notebooks/README.md with its tables made anew, between their marks."""
    for name, table in (("contents", contents_table()), ("sections", section_table())):
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not pattern.search(readme):
            raise ValueError(
                f"notebooks/README.md has no place for its table: <!-- {name} --> ... <!-- end -->"
            )
        readme = pattern.sub(lambda found, table=table: f"{found[1]}\n{table}\n\n{found[2]}", readme)
    return readme


if __name__ == "__main__":
    path = NOTEBOOKS / "README.md"
    path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
