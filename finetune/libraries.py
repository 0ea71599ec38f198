"""The boundary to libraries whose errors nobody can list: providers of chat models, readers of model files."""

from collections.abc import Iterator
from contextlib import contextmanager

from store.errors import Invalid


@contextmanager
def library(failed: str, setting: str) -> Iterator[None]:
    """Whatever a library raises becomes Invalid, which begins with `failed`; `setting` is what to check."""
    try:
        yield
    except Exception as error:  # each has errors of its own, and a file that is cut off may raise any
        raise Invalid(f"{failed}: {error}", f"Check {setting}.") from error
