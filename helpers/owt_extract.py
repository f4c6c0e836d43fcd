"""An extraction: archives, folders and text files in, token files out.

    extract(["openwebtext.tar.xz"], "data/owt", validation=0.005)["train_tokens"]

The tokenizer comes from the first texts. Then the sources are read once, and cut into jobs (helpers/owt_jobs.py) that
run here or in several processes (helpers/owt_workers.py). What they make (helpers/owt_parts.py) is kept in OUT/.parts
(helpers/owt_folder.py) until all is done and is put together. Introduced by notebook 11 (sections 57 to 61 of the
lecture). Imports no torch.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from helpers.archives import Report
from helpers.documents import files_of
from helpers.encoders import encoder_for
from helpers.owt_folder import Kept, Lock, difference, finished, withdraw
from helpers.owt_jobs import Job, jobs
from helpers.owt_parts import PARTS, Made, Recipe, run_job
from helpers.owt_progress import Progress
from helpers.owt_tokenizer import corpus_tokenizer, read_tokenizer
from helpers.owt_workers import Workers
from helpers.token_files import write_tokens
from helpers.tokenizer import Tokenizer

VOCAB_SIZE = {"characters": 256, "bpe": 50_257}  # the latter is GPT-2's
LEAST = {"characters": 4, "bpe": 256}


def extract(
    sources: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    validation: float = 0.005,
    fraction: float = 1.0,
    seed: int = 1,
    workers: int = 1,
    tokens: str = "characters",
    vocab_size: int | None = None,
    tokenizer: str | Path | None = None,
    shard: tuple[int, int] = (1, 1),
    sample_megabytes: float | None = None,
    part_megabytes: float = 4.0,
    restart: bool = False,
    progress: bool = True,
) -> dict:
    """Make OUT/train.bin and OUT/val.bin from archives, folders and text files; returns the facts.

    validation: share of the documents, by the hash of each, that goes to val.bin. fraction: share that is used at all,
    drawn by hash and `seed`. tokens: "characters" or "bpe"; vocab_size: the largest vocabulary (256, 50,257).
    tokenizer: a file of Tokenizer.save instead of one made here. sample_megabytes: millions of characters, the first ones,
    that it is made from (2; for bpe 32, or fewer where more would need much memory). shard: (i, n), part i of n of the
    corpus. part_megabytes: of the sources, packed, that are worked on and kept together.
    restart: give up what an earlier run kept or finished with other settings.
    Facts: documents, characters, left_out, ends_removed, unknown, vocab_size, skipped (reason -> count), named (name,
    what is wrong), and train_ and val_ documents, characters and tokens; made: whether it was made just now.
    Raises ValueError for settings and sources that cannot be used, WorkerError and OSError. What is done is kept then.
    """
    out = Path(out)
    _check(validation, fraction, workers, tokens, vocab_size, shard)
    if (sample_megabytes is not None and not sample_megabytes > 0) or not part_megabytes > 0:
        raise ValueError(f"{sample_megabytes=} and {part_megabytes=}, but both are above 0")
    files = files_of(sources, leave_out=out)
    settings = {
        "sources": _about_sources(files),
        "val": validation,
        "fraction": fraction,
        "seed": seed,
        "tokens": tokens,
        "vocab_size": vocab_size or VOCAB_SIZE[tokens],
        "tokenizer": None,
        "shard": "{}/{}".format(*shard),
        "sample_megabytes": sample_megabytes,
        "part_megabytes": part_megabytes,
    }
    given = None
    if tokenizer is not None:
        given = read_tokenizer(tokenizer)
        page = json.dumps(given.to_dict()).encode("utf-8")
        settings |= {
            "tokenizer": hashlib.sha256(page).hexdigest(),
            "tokens": None,
            "vocab_size": None,
            "sample_megabytes": None,
        }
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: name a folder for train.bin and val.bin")
    out.mkdir(parents=True, exist_ok=True)
    with Lock(out):
        kept = Kept(out, settings)
        done = finished(out)
        if done and not restart and not kept.folder.exists():
            there = done["train"].get("settings", {})
            if there != settings:
                how = f"with other settings ({difference(there, settings)})" if there else "in another way"
                raise ValueError(
                    f"{out} holds token files that were made {how}: name another --out, or give --restart to replace them"
                )
            return _facts(done, made=False)
        if restart:
            kept.remove()
        elif (other := kept.other_settings()) is not None:
            raise ValueError(
                f"{out} holds the beginning of an extraction with other settings ({difference(other, settings)}): give "
                "the same settings to go on with it, or another --out, or --restart to give it up"
            )
        kept.start()
        with Progress(sum(path.stat().st_size for path, _ in files), progress) as shown:
            recipe = Recipe(validation, fraction, seed)
            tok = corpus_tokenizer(kept, files, given, shown)
            numbers = _read_all(kept, files, tok, recipe, workers, shard, shown)
            facts = _write(out, kept, numbers, tok, shown)
        kept.remove()
        return _facts(facts, made=True)


def _check(
    validation: float,
    fraction: float,
    workers: int,
    tokens: str,
    vocab_size: int | None,
    shard: tuple[int, int],
) -> None:
    if not 0 < validation < 1:
        raise ValueError(f"validation={validation}, but it is a share between 0 and 1, such as 0.005")
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction={fraction}, but it is a share above 0 and at most 1, such as 0.01")
    if workers < 1:
        raise ValueError(f"workers={workers}, but at least 1 process does the work")
    if tokens not in VOCAB_SIZE:
        raise ValueError(f'tokens={tokens!r}, but it is "characters" or "bpe"')
    if vocab_size is not None and vocab_size < LEAST[tokens]:
        raise ValueError(f"vocab_size={vocab_size}, but {tokens} need at least {LEAST[tokens]}")
    if not 1 <= shard[0] <= shard[1]:
        raise ValueError(f"shard={shard}, but it is (1, n) to (n, n)")


def _about_sources(files: list[tuple[Path, str]]) -> dict:
    """What tells the sources from others: their names and sizes, in few words."""
    pages = [(name, path.stat().st_size) for path, name in files]
    digest = hashlib.blake2b(json.dumps(pages).encode("utf-8"), digest_size=16).hexdigest()
    return {
        "files": len(pages),
        "bytes": sum(size for _, size in pages),
        "first": pages[0][0],
        "digest": digest,
    }


def _read_all(
    kept: Kept,
    files: list[tuple[Path, str]],
    tokenizer: Tokenizer,
    recipe: Recipe,
    workers: int,
    shard: tuple[int, int],
    shown: Progress,
) -> list[int]:
    """Run every job that is not done; returns the numbers of all jobs of this shard, in order."""
    whole = kept.read("whole")
    if whole is not None:
        return whole["numbers"]
    report, numbers, encoder = Report(), [], encoder_for(tokenizer)
    limit = max(1, round(kept.settings["part_megabytes"] * (1 << 20)))

    def is_mine(job: int) -> bool:
        return job % shard[1] == shard[0] - 1

    def wanted(job: int) -> bool:
        return is_mine(job) and kept.job(job) is None

    def all_jobs() -> Iterator[Job]:
        for job in jobs(files, report, limit, wanted, shown.count):
            if is_mine(job.number):
                numbers.append(job.number)
                if job.entries:
                    yield job

    shown.begin(kept.done())
    if workers == 1:
        for job in all_jobs():
            run_job(job, encoder, recipe, kept.folder)
    else:
        with Workers(workers, tokenizer, recipe, kept.folder) as processes:
            for job in all_jobs():
                if job.is_stream:  # its archive is open here
                    run_job(job, encoder, recipe, kept.folder)
                else:
                    processes.give(job)
            processes.wait()
    kept.write("whole", {"numbers": numbers, "report": report.to_dict()})
    return numbers


def _write(
    out: Path, kept: Kept, numbers: list[int], tokenizer: Tokenizer, shown: Progress
) -> dict[str, dict]:
    """Put the parts together as token files."""
    made = Made()
    for job in numbers:
        made.merge(kept.job(job) or kept.forget(job))
    made.report.merge(Report.from_dict(kept.read("whole")["report"]))
    _check_made(made, numbers, kept)
    shown.say("Writing train.bin and val.bin ...")
    withdraw(out)
    facts, dtype = {}, encoder_for(tokenizer).dtype
    for part in PARTS:
        facts[part] = write_tokens(
            out / f"{part}.bin",
            kept.ids(numbers, part, dtype),
            tokenizer,
            split=part,
            documents=made.documents[part],
            characters=made.characters[part],
            unknown=made.unknown[part],
            corpus={
                "documents": made.report.documents,
                "left_out": made.left_out,
                "ends_removed": made.ends_removed,
                "skipped": dict(sorted(made.report.counts.items())),
                "named": made.report.named,
            },
            settings=kept.settings,
        )
    return facts


def _check_made(made: Made, numbers: list[int], kept: Kept) -> None:
    """Raise ValueError where there is nothing to write; the parts are of no use then."""
    train, val = (made.documents[part] for part in PARTS)
    if train and val:
        return
    kept.remove()
    read = made.report.documents
    if not numbers:
        problem = f"the corpus is too small for shard {kept.settings['shard']}: it has no part for it. Use fewer shards"
    elif not read:
        problem = "no document could be read in the sources: name archives or folders of UTF-8 texts"
    elif not train + val:
        problem = f"none of the {read:,} documents is in the fraction {kept.settings['fraction']}: a larger --fraction has some"
    else:
        larger = "larger" if not val else "smaller"
        problem = (
            f"of {train + val:,} documents {train:,} are for training and {val:,} for validation, and both need some: give a "
            f"{larger} --val than {kept.settings['val']}, or more text"
        )
    raise ValueError("\n".join([problem, *made.report.lines()]))


def _facts(abouts: dict[str, dict], made: bool) -> dict:
    """The facts of both token files in one dictionary."""
    train = abouts["train"]
    facts = {"made": made, "vocab_size": train["vocab_size"], **train["corpus"]}
    for name in ("documents", "characters", "tokens", "unknown"):
        facts |= {f"{part}_{name}": abouts[part][name] for part in PARTS}
    facts["characters"] = sum(facts[f"{part}_characters"] for part in PARTS)
    facts["unknown"] = sum(facts[f"{part}_unknown"] for part in PARTS)
    return facts
