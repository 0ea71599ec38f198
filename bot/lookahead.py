"""Guesses an answer's next tokens from what was read and written before (prompt lookup): answers quote their passages.

A guess costs little to check and changes nothing: only tokens that the model itself chooses are kept. Pure; it knows
token ids only. Source: prompt lookup decoding, an n-gram form of speculative decoding (arXiv 2211.17192).
"""

FIRST, MOST = 3, 7


class Lookahead:
    """The n-grams of one answer's prompt and text, and how far it pays to guess."""

    def __init__(self, prompt: list[int]) -> None:
        self.tokens: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        self._depth = FIRST
        for token in prompt:
            self.add(token)

    def add(self, token: int) -> None:
        """One more token was read or written."""
        tokens = self.tokens
        for size in (2, 3):
            if len(tokens) >= size:
                self._after[tuple(tokens[-size:])] = len(tokens)
        tokens.append(token)

    def guess(self, limit: int) -> list[int]:
        """Up to `limit` tokens that followed when the last three (or two) tokens stood together before."""
        for size in (3, 2):
            at = self._after.get(tuple(self.tokens[-size:]))
            if at is not None:
                return self.tokens[at : at + min(limit, self._depth)]
        return []

    def learn(self, guessed: int, right: int) -> None:
        """Guess further while guesses are right, less far when they are not."""
        if guessed:
            self._depth = min(MOST, self._depth + 2) if right == guessed else max(1, right)
