"""How a command ends: what a person can act on is one sentence, and the exit status says whose turn it is."""

import sys
from collections.abc import Callable

from configs.reading import SettingsError


class WrongUsage(Exception):
    """The arguments do not fit together; the sentence says what is missing."""


def exit_status(run: Callable[[], object], *problems: type[Exception]) -> int:
    """Run a command: 0; 1 where settings, files or `problems` stand in its way; 2 for wrong usage; 130 for Ctrl-C."""
    known: tuple[type[Exception], ...] = (SettingsError, *problems)
    try:
        run()
    except WrongUsage as error:
        print(error, file=sys.stderr)
        return 2
    except known as error:
        print(f"{error} {getattr(error, 'hint', '')}".strip(), file=sys.stderr)
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        print(f"{error.filename}: {error.strerror or error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; whatever was done is kept.", file=sys.stderr)
        return 130
    return 0
