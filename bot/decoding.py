"""Continuous batching for one version of the model: prompts are read in chunks while other answers are being written.

Greedy or sampled, each answer's tokens are those it would have alone, whoever is beside it. It knows nothing of
adapters, text or threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from bot.forward import Forward, Span
from bot.lookahead import Lookahead

CHUNK_ALONE, CHUNK_BESIDE = 256, 112
"""Prompt tokens read in one pass: fewer while others write, so that their text does not halt."""
PASS_TOKENS = 16
"""Tokens in a pass that cost little more than one: reading the weights takes longer than using them."""
GREEDY_BELOW = 1e-4
"""A lower temperature is greedy: logits divided by it may leave the range of float32."""


@dataclass(eq=False)
class Request:
    """One answer to be written: prompt token ids in, token ids out."""

    prompt: list[int]
    max_tokens: int
    end_tokens: frozenset[int]
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    tokens: list[int] = field(default_factory=list)
    filled: int = 0
    slot: int = -1
    cancelled: bool = False
    error: str = ""
    """Why this answer alone cannot go on."""
    generator: torch.Generator | None = None
    lookahead: Lookahead | None = None

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken."""
        return self.temperature < GREEDY_BELOW

    @property
    def length(self) -> int:
        """Prompt and answer tokens so far."""
        return len(self.prompt) + len(self.tokens)


class Batch:
    """The answers under way on one version."""

    def __init__(self, forward: Forward, *, context: int) -> None:
        self.context = context
        self.rows: list[Request] = []
        self.forward = forward
        self._planned: list[tuple[Request, Span]] = []
        self._filling: Request | None = None

    @property
    def idle(self) -> bool:
        """Nothing is being read or written."""
        return not self.rows and self._filling is None

    @property
    def reading(self) -> bool:
        """A prompt is being read; the next one waits."""
        return self._filling is not None

    def admit(self, request: Request) -> bool:
        """Begin to read a prompt; it joins the rows when it is read. False when there is no slot for it now.

        Raises ValueError for a seed that torch does not take, and holds no slot then.
        """
        if self.reading:
            return False
        generator = None if request.greedy else _seeded(request.seed)
        taken = self.forward.take(request.prompt)
        if taken is None:
            return False
        request.slot, request.filled = taken
        request.generator = generator
        if self.forward.lookahead:
            request.lookahead = Lookahead(request.prompt)
        self._filling = request
        return True

    def advance(self, *, read: bool = True) -> list[Request]:
        """Write at least one token for every row and, if `read`, read a chunk of a waiting prompt.

        Returns the requests that ended.
        """
        return advance_all([self], reader=self if read else None)[0]

    def plan(self, *, read: bool) -> list[Span]:
        """What the next pass has to compute for this batch; none where nothing is to be done."""
        filling = self._filling if read else None
        self._planned = [(row, self._next(row)) for row in self.rows]
        if filling is not None:
            self._planned.append((filling, self._chunk(filling)))
        return [span for _, span in self._planned]

    def absorb(self, logits: torch.Tensor) -> None:
        """Take the logits (wanted tokens, vocabulary) of what was planned."""
        at = 0
        for row, span in self._planned:
            self._take(row, span, logits[at : at + span.wanted])
            at += span.wanted

    def abandon(self) -> None:
        """Give every slot back: nothing more is written."""
        for request in [*self.rows, *([self._filling] if self._filling else [])]:
            self.forward.release(request.slot)
        self.rows, self._filling = [], None

    def _next(self, row: Request) -> Span:
        """The last token, and a guess at those after it where checking is cheap."""
        room = min(
            (PASS_TOKENS - len(self.rows)) // len(self.rows),
            row.max_tokens - len(row.tokens) - 1,
            self.context - row.length - 1,
        )
        guess = row.lookahead.guess(room) if row.lookahead is not None and room > 0 else []
        tokens = [row.tokens[-1], *guess]
        return Span(row.slot, row.length - 1, tokens, wanted=len(tokens))

    def _chunk(self, request: Request) -> Span:
        size = CHUNK_BESIDE if self.rows else CHUNK_ALONE
        chunk = request.prompt[request.filled : request.filled + size]
        return Span(request.slot, request.filled, chunk, wanted=1)

    def _take(self, row: Request, span: Span, logits: torch.Tensor) -> None:
        if row is self._filling:
            row.filled = span.start + len(span.tokens)
            if row.filled < len(row.prompt):
                return
            self._filling = None
            self.rows.append(row)
            span = Span(span.slot, span.start, span.tokens[-1:])
        likeliest = logits.argmax(-1).tolist() if row.greedy else None
        here = logits.cpu() if likeliest is None else logits
        right = 0
        for i, guessed in enumerate([*span.tokens[1:], -1]):
            token = likeliest[i] if likeliest is not None else self._drawn(row, here[i])
            if token is None:
                return
            self._write(row, token)
            if token != guessed or self._over(row):
                break
            right += 1
        if row.lookahead is not None:
            row.lookahead.learn(len(span.tokens) - 1, right)

    def _drawn(self, row: Request, logits: torch.Tensor) -> int | None:
        """A token drawn at random; None where none can be, which ends this answer and no other."""
        try:
            return _sample(logits, row)
        except RuntimeError as error:  # torch's own: probabilities that are none
            row.error = f"no token could be drawn: {error}"
            return None

    def _write(self, row: Request, token: int) -> None:
        row.tokens.append(token)
        if row.lookahead is not None:
            row.lookahead.add(token)

    def _over(self, request: Request) -> bool:
        tokens = request.tokens
        return (
            request.cancelled
            or bool(request.error)
            or len(tokens) >= request.max_tokens
            or tokens[-1] in request.end_tokens
            or request.length >= self.context
        )

    def sweep(self) -> list[Request]:
        """Let go of the requests that have ended; returns them."""
        ended = [row for row in self.rows if self._over(row)]
        self.rows = [row for row in self.rows if not self._over(row)]
        if self._filling is not None and self._filling.cancelled:
            ended.append(self._filling)
            self._filling = None
        for row in ended:
            self.forward.release(row.slot)
        return ended


def advance_all(batches: Sequence[Batch], *, reader: Batch | None) -> list[list[Request]]:
    """Advance batches of one family in one pass, of which `reader` may read a chunk; the requests that ended, by batch.

    The reader comes last in the pass: chunks stand behind single tokens.
    """
    ended = [batch.sweep() for batch in batches]
    ordered = sorted(batches, key=lambda batch: batch is reader)
    planned = [(batch, batch.plan(read=batch is reader)) for batch in ordered]
    working = [(batch, spans) for batch, spans in planned if spans]
    if working:
        logits = working[0][0].forward.run_all([(batch.forward, spans) for batch, spans in working])
        for (batch, _), some in zip(working, logits, strict=True):
            batch.absorb(some)
    return [before + batch.sweep() for before, batch in zip(ended, batches, strict=True)]


def _seeded(seed: int | None) -> torch.Generator:
    generator = torch.Generator()
    generator.manual_seed(seed) if seed is not None else generator.seed()
    return generator


def _sample(logits: torch.Tensor, request: Request) -> int:
    probabilities = torch.softmax(logits / request.temperature, -1)
    if request.top_p < 1:
        ordered, index = probabilities.sort(descending=True)
        ordered[ordered.cumsum(-1) - ordered > request.top_p] = 0
        probabilities = torch.zeros_like(probabilities).scatter(0, index, ordered)
    return int(torch.multinomial(probabilities, 1, generator=request.generator))
