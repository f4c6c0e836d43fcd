"""python -m helpers COMMAND: sets the course up, starts it, tests it, checks it.

This file must parse on old Pythons too (it tells them what is needed), and it works with nothing installed.
"""

import sys

OLDEST = (3, 11)

COMMANDS = {
    "lab": "set everything up (the first time takes some minutes), then open JupyterLab on the notebooks",
    "test": "the same set-up plus what the tests need, then run the tests",
    "doctor": "look at Python, packages, device, text and disk, and say how to mend what is wrong",
    "run": "run notebooks from top to bottom without a window, on copies: run 01 05, or run for all",
    "progress": "show what you have done of the course, and the minutes left (--csv for a class)",
    "reset": "put a fresh copy of a notebook in place and set yours aside: reset 05",
}

PASSED_ON = {
    "lab": "JupyterLab (for example --no-browser --port 8890)",
    "test": "pytest (for example -k gpt)",
}


def too_old(version, executable):
    """Return the sentence for a Python older than OLDEST, or an empty string."""
    if tuple(version[:2]) >= OLDEST:
        return ""
    needed, found = ".".join(map(str, OLDEST)), ".".join(map(str, version[:3]))
    return (
        f"The course needs Python {needed} or newer, and this is Python {found} ({executable}): "
        "install a newer one from https://www.python.org/downloads/ and start the command with that one."
    )


def overview(python="python"):
    """Return the list of commands, one a line."""
    lines = [f"  {python} -m helpers {name:<8} {text}" for name, text in COMMANDS.items()]
    return "\n".join(["The course's commands (call them in the course's folder):", "", *lines])


def main(argv=None):
    """Run one command and return its exit code: 0 done, 1 a problem, explained, 2 an unknown command."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    sentence = too_old(sys.version_info, sys.executable)
    if sentence:
        print(sentence, file=sys.stderr)
        return 1
    from helpers import bootstrap

    python = bootstrap.typed_python()
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview(python))
        return 0
    command, rest = arguments[0], arguments[1:]
    if command not in COMMANDS:
        print(f"unknown command: {command}\n\n{overview(python)}", file=sys.stderr)
        return 2
    if rest in (["-h"], ["--help"]) and command in ("lab", "test", "doctor"):
        print(f"{python} -m helpers {command}: {COMMANDS[command]}.")
        if command in PASSED_ON:
            print(f"Other arguments go to {PASSED_ON[command]}.")
        return 0
    return bootstrap.guarded(command, rest)


if __name__ == "__main__":
    sys.exit(main())
