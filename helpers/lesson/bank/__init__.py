"""The exercises of each notebook: nb04.py holds those of notebook 04, as EXERCISES, a list of Exercise.

ex = exercises_of("04")
ex.windows.check(windows)
"""

import importlib

from helpers.lesson.exercises import Bank


def exercises_of(number: str | int) -> Bank:
    """Return the exercises of a notebook: "04" or 4. A notebook without a module here has none, and an empty Bank."""
    number = f"{number:02d}" if isinstance(number, int) else number
    name = f"{__name__}.nb{number}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # it is there, and something that it imports is not
            raise
        return Bank(number, ())
    return Bank(number, module.EXERCISES)
