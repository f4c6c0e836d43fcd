"""Results that were measured once, at length, and are drawn in notebooks beside their own short runs.

    study = load_measured("finetuning")         # helpers/lesson/measured/finetuning.json, as a dict
    study["command"], study["machine"], study["date"]

Each file is written by a command of the course and kept with it, so that anyone can make it again.
"""

import json
from pathlib import Path

MEASURED = Path(__file__).resolve().parent / "measured"
MADE_BY = {  # name -> the command that writes the file
    "finetuning": "python -m helpers.finetuning --study",
    "ladder": "python -m helpers.bench --only ladder --out",
    "race": "python -m helpers.bench --only time_to_loss --out",
    "scaling": "python -m helpers.bench --only scaling --out",
}
FACTS = ("command", "machine", "date")


def load_measured(name: str, folder: Path = MEASURED) -> dict:
    """What the file NAME.json of the folder holds.

    Raises FileNotFoundError where there is no such file, and ValueError where it is damaged or does not say with what
    command, on what machine and when it was measured. Both say how it is made.
    """
    path = Path(folder) / f"{name}.json"
    shown = "/".join(path.parts[-4:])
    way_out = (
        f"Get it again with the course's files, or make it: {MADE_BY[name]} {shown}"
        if name in MADE_BY
        else ""
    )
    if not path.is_file():
        there = ", ".join(sorted(each.stem for each in path.parent.glob("*.json"))) or "none"
        raise FileNotFoundError(
            f"no measured results called {name!r} (there are: {there}). {way_out}".strip()
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{shown} is damaged: {error}. {way_out}".strip()) from error
    missing = [fact for fact in FACTS if not (isinstance(content, dict) and content.get(fact))]
    if missing:
        raise ValueError(f"{shown} does not say its {' and '.join(missing)}. {way_out}".strip())
    return content
