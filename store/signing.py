"""Digests signed with the installation's own key (Ed25519), so that a changed row of the database is noticed.

The key lies in the data folder, readable by its owner alone, and is made when it is first needed. Whoever can read
that folder can sign; this protects against edits of the database, not against the owner of the machine.
"""

import json
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from store.errors import Unavailable
from store.models import Adapter

KEY = "signing.key"
SIGNATURE = "signature"
"""Where a verdict keeps the signature."""
_BYTES = 32


class Signer:
    """Signs and checks texts with the key of one data folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / KEY

    def sign(self, text: str) -> str:
        """The signature of a text, in hex (128 digits)."""
        return self._key().sign(text.encode()).hex()

    def verifies(self, text: str, signature: str) -> bool:
        """Whether this key made that signature of that text."""
        try:
            self._key().public_key().verify(bytes.fromhex(signature), text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True

    def _key(self) -> Ed25519PrivateKey:
        """The key; raises Unavailable where the file is not one."""
        if not self._file.exists():
            self._make()
        raw = self._file.read_bytes()
        if len(raw) != _BYTES:
            raise Unavailable(
                f"{self._file} has {len(raw)} bytes, expected a key of {_BYTES}.",
                "Restore it from a backup; without it, waiting adapters must be evaluated again.",
            )
        return Ed25519PrivateKey.from_private_bytes(raw)

    def _make(self) -> None:
        """Put a new key in place whole; of two processes the first one wins."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        part = self._file.with_suffix(f".{os.getpid()}")
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(Ed25519PrivateKey.generate().private_bytes_raw())
            os.fsync(file.fileno())
        try:
            os.link(part, self._file)
        except FileExistsError:
            pass
        finally:
            part.unlink()


def signed_text(row: Adapter) -> str:
    """What is signed of an adapter, as canonical JSON.

    Its id, the digests of its folder, dataset and report, its recipe, what it was compared with, and the whole verdict.
    """
    digests = {"digest": row.digest, "dataset": row.dataset_digest, "report": row.report_digest}
    verdict = {name: value for name, value in row.verdict.items() if name != SIGNATURE}
    said = {"adapter": row.id, "recipe": row.recipe, "compared_with": row.compared_with, "verdict": verdict}
    return json.dumps({**digests, **said}, sort_keys=True)
