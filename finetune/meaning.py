"""How alike texts are in meaning, by unit vectors of an embedding model that is handed in: cosines, each text once.

It loads no model: `encode` comes from whoever wires the program (`retrieval/embedding.py` has one).
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Encode = Callable[[list[str]], NDArray[Any]]
KEPT = 20_000
"""As many vectors are kept, the latest used."""
LONGEST = 1_500
"""Characters of a text that are read; the embedded model reads fewer."""


class Meaning:
    """Cosines between texts; safe to share between threads."""

    def __init__(self, encode: Encode) -> None:
        """`encode` gives unit vectors, shape (texts, dimensions)."""
        self._encode = encode
        self._vectors: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()

    def alike(self, text: str, others: Sequence[str]) -> float:
        """The largest cosine of a text with any of the others, not below 0; 0 when there is none."""
        cut = [one[:LONGEST] for one in (text, *others)]
        if len(cut) < 2:
            return 0.0
        with self._lock:
            fresh = [one for one in dict.fromkeys(cut) if one not in self._vectors]
            made = np.asarray(self._encode(fresh), np.float32) if fresh else ()
            self._vectors.update(zip(fresh, made, strict=True))
            found = np.stack([self._vectors[one] for one in cut])
            for one in cut:
                self._vectors.move_to_end(one)
            while len(self._vectors) > KEPT:
                self._vectors.popitem(last=False)
        return max(0.0, float((found[1:] @ found[0]).max()))
