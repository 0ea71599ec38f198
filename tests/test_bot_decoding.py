"""Claims about continuous batching: whoever shares the batch, each answer is the one the model gives alone."""

import copy
from collections.abc import Callable

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from bot import packed
from bot.decoding import CHUNK_ALONE, CHUNK_BESIDE, Batch, Request
from bot.forward import Forward, ModuleForward
from bot.pool import pool_for

LENGTHS = (3, 40, CHUNK_BESIDE, 7, CHUNK_ALONE + 1, 600, 1, 90)
Forwards = Callable[..., Forward]
NEVER: frozenset[int] = frozenset()


@pytest.fixture(scope="module")
def model(tiny_model: str) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()


def prompt(length: int, seed: int = 0) -> list[int]:
    return torch.randint(5, 49_000, (length,), generator=torch.Generator().manual_seed(seed + length)).tolist()


def alone(model: PreTrainedModel, ids: list[int], tokens: int) -> list[int]:
    """What `generate` of transformers answers, greedily, with nobody beside."""
    inputs = torch.tensor([ids])
    with torch.inference_mode():
        found = model.generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
            eos_token_id=None,
        )
    return found[0, len(ids) :].tolist()


@pytest.fixture(params=["module", "packed"])
def forwards(request: pytest.FixtureRequest, model: PreTrainedModel) -> Forwards:
    """What runs the model: transformers' module, or packed weights."""

    def made(*, slots: int, context: int) -> Forward:
        if request.param == "module":
            return ModuleForward(model, slots=slots, context=context)
        return packed.PackedForward(model, pool_for(model, slots=slots, context=context))

    return made


def finished(batch: Batch, waiting: list[Request]) -> list[Request]:
    """Advance until everything has ended, admitting as soon as there is room."""
    ended: list[Request] = []
    while waiting or not batch.idle:
        if waiting and batch.admit(waiting[0]):
            waiting.pop(0)
        ended += batch.advance()
    return ended


def test_eight_at_once_each_equal_generate_one_by_one(model: PreTrainedModel, forwards: Forwards) -> None:
    requests = [Request(prompt(length), 12 + 3 * i, NEVER) for i, length in enumerate(LENGTHS)]
    ended = finished(Batch(forwards(slots=8, context=1024), context=1024), list(requests))
    assert {id(request) for request in ended} == {id(request) for request in requests}
    for request in requests:
        assert request.tokens == alone(model, request.prompt, request.max_tokens)


def test_a_prompt_admitted_while_others_stream_changes_nobodys_answer(
    model: PreTrainedModel, forwards: Forwards
) -> None:
    batch = Batch(forwards(slots=3, context=1024), context=1024)
    first, short, late = Request(prompt(30), 20, NEVER), Request(prompt(20), 4, NEVER), Request(prompt(700), 9, NEVER)
    batch.admit(first)
    batch.advance()
    batch.admit(short)
    batch.advance()
    batch.admit(late)
    before = len(first.tokens)
    batch.advance()
    assert late.filled == CHUNK_BESIDE and len(first.tokens) > before
    finished(batch, [])
    for request in (first, short, late):
        assert request.tokens == alone(model, request.prompt, request.max_tokens)


def test_more_requests_than_slots_all_get_their_turn(model: PreTrainedModel, forwards: Forwards) -> None:
    requests = [Request(prompt(10, seed), 3 + seed % 4, NEVER) for seed in range(7)]
    finished(Batch(forwards(slots=2, context=128), context=128), list(requests))
    for request in requests:
        assert request.tokens == alone(model, request.prompt, request.max_tokens)


def test_a_cancelled_request_frees_its_row_and_disturbs_nobody(model: PreTrainedModel, forwards: Forwards) -> None:
    batch = Batch(forwards(slots=2, context=256), context=256)
    kept, dropped = Request(prompt(12), 15, NEVER), Request(prompt(9), 100, NEVER)
    for request in (dropped, kept):
        batch.admit(request)
        batch.advance()
    assert not batch.admit(Request(prompt(3), 1, NEVER))
    dropped.cancelled = True
    assert batch.advance() == [dropped]
    assert batch.rows == [kept]
    third = Request(prompt(5), 6, NEVER)
    finished(batch, [third])
    assert kept.tokens == alone(model, kept.prompt, 15)
    assert third.tokens == alone(model, third.prompt, 6)


def test_a_request_cancelled_while_its_prompt_is_read_ends_without_a_token(
    model: PreTrainedModel, forwards: Forwards
) -> None:
    batch = Batch(forwards(slots=1, context=1024), context=1024)
    request = Request(prompt(600), 5, NEVER)
    batch.admit(request)
    batch.advance()
    request.cancelled = True
    assert batch.advance() == [request]
    assert request.tokens == [] and batch.idle


def test_an_answer_ends_where_the_context_ends(model: PreTrainedModel, forwards: Forwards) -> None:
    request, other = Request(prompt(60), 100, NEVER), Request(prompt(20), 30, NEVER)
    finished(Batch(forwards(slots=2, context=64), context=64), [request, other])
    assert request.length == 64
    assert request.tokens == alone(model, request.prompt, 4)
    assert other.tokens == alone(model, other.prompt, 30)


def test_an_answer_ends_at_an_end_token(model: PreTrainedModel, forwards: Forwards) -> None:
    expected = alone(model, prompt(15), 10)
    request = Request(prompt(15), 10, frozenset({expected[4]}))
    finished(Batch(forwards(slots=1, context=64), context=64), [request])
    assert request.tokens == expected[: expected.index(expected[4]) + 1]


def test_the_same_seed_gives_the_same_sample_whoever_is_beside(model: PreTrainedModel, forwards: Forwards) -> None:
    def sampled(seed: int, *, beside: int) -> list[int]:
        others = [Request(prompt(8, i), 10, NEVER) for i in range(beside)]
        request = Request(prompt(25), 10, NEVER, temperature=1.0, top_p=0.9, seed=seed)
        finished(Batch(forwards(slots=4, context=64), context=64), [*others, request])
        return request.tokens

    assert sampled(1, beside=0) == sampled(1, beside=3) != sampled(2, beside=0)


def test_a_tiny_top_p_is_greedy(model: PreTrainedModel, forwards: Forwards) -> None:
    request = Request(prompt(25), 8, NEVER, temperature=1.0, top_p=1e-6)
    finished(Batch(forwards(slots=1, context=64), context=64), [request])
    assert request.tokens == alone(model, request.prompt, 8)


def test_a_temperature_next_to_nothing_is_greedy(model: PreTrainedModel, forwards: Forwards) -> None:
    request = Request(prompt(25), 8, NEVER, temperature=1e-40)
    finished(Batch(forwards(slots=1, context=64), context=64), [request])
    assert request.tokens == alone(model, request.prompt, 8)


def test_an_answer_of_which_no_token_can_be_drawn_ends_alone(model: PreTrainedModel) -> None:
    torn = copy.deepcopy(model)
    torn.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone(), requires_grad=False)
    torn.model.embed_tokens.weight.requires_grad_(False)[7] = torch.nan
    hopeless, other = Request([*prompt(9), 7], 20, NEVER, temperature=1.0), Request(prompt(12), 20, NEVER)
    batch = Batch(ModuleForward(torn, slots=2, context=64), context=64)
    assert set(finished(batch, [other, hopeless])) == {hopeless, other}
    assert hopeless.tokens == [] and hopeless.error.startswith("no token could be drawn: probability tensor contains")
    assert (other.error, other.tokens) == ("", alone(model, other.prompt, 20))


def test_a_seed_that_no_generator_takes_holds_no_slot(forwards: Forwards) -> None:
    batch = Batch(forwards(slots=1, context=64), context=64)
    with pytest.raises(ValueError, match="Overflow"):
        batch.admit(Request(prompt(3), 1, NEVER, temperature=1.0, seed=2**64))
    assert batch.idle and batch.admit(Request(prompt(3), 1, NEVER))
