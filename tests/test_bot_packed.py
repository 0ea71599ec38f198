"""Claims about the packed decoder, its slots and its guesses: faster, and never another answer."""

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from bot import adapters, low_rank, packed, probe
from bot.forward import Span
from bot.lookahead import MOST, Lookahead
from bot.pool import Pool, common, pool_for


@pytest.fixture(scope="module")
def model(tiny_model: str) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()


def packed_of(model: PreTrainedModel, *, slots: int = 4, context: int = 512) -> packed.PackedForward:
    return packed.PackedForward(model, pool_for(model, slots=slots, context=context))


def tokens(count: int, seed: int = 0) -> list[int]:
    return [random.Random(seed + i).randrange(5, 49_000) for i in range(count)]


def reference(model: PreTrainedModel, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).logits[0].float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_weights_give_the_modules_numbers(tiny_model: str, dtype: torch.dtype) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=dtype).eval()
    if dtype == torch.bfloat16 and not probe.computes_bfloat16():
        assert not probe.fits(model)
        pytest.skip("this processor does not multiply bfloat16: such a model is left to transformers here")
    forward = packed_of(model)
    assert probe.fits(model) and probe.agrees(model, forward)
    ids = tokens(70)
    slot, _ = forward.take(ids)  # type: ignore[misc]
    read = forward.run([Span(slot, 0, ids[:40], wanted=40)])
    written = [forward.run([Span(slot, at, [ids[at]])]) for at in range(40, 70)]
    found = torch.cat([read, *written])
    limit = 1e-3 if dtype == torch.float32 else 0.25
    assert (found - reference(model, ids)).abs().mean() < limit


def test_other_families_with_biases_agree_too() -> None:
    torch.manual_seed(5)
    config = Qwen2Config(
        vocab_size=500,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=False,
    )
    model = Qwen2ForCausalLM(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    assert probe.fits(model) and probe.agrees(model, packed_of(model, context=64))


def test_a_model_that_this_cannot_compute_is_left_to_transformers() -> None:
    small = {"vocab_size": 99, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    config = LlamaConfig(**small, num_attention_heads=2, hidden_act="gelu")
    assert not probe.fits(LlamaForCausalLM(config))
    assert not probe.fits(LlamaForCausalLM(LlamaConfig(**small, num_attention_heads=2)).half())


def test_a_probe_that_differs_is_noticed(model: PreTrainedModel) -> None:
    forward = packed_of(model)
    forward._epsilon = 10.0
    assert not probe.agrees(model, forward)


def test_several_tokens_of_several_answers_in_one_pass_are_those_alone(model: PreTrainedModel) -> None:
    forward = packed_of(model)
    asked = [tokens(20, 1), tokens(33, 2), tokens(64, 3)]
    slots = [forward.take(ids)[0] for ids in asked]  # type: ignore[index]
    for slot, ids in zip(slots[:2], asked[:2], strict=True):
        forward.run([Span(slot, 0, ids[:-4])])
    spans = [Span(s, len(ids) - 4, ids[-4:], wanted=4) for s, ids in zip(slots[:2], asked[:2], strict=True)]
    found = forward.run([*spans, Span(slots[2], 0, asked[2])])
    expected = [reference(model, ids)[-4:] for ids in asked[:2]] + [reference(model, asked[2])[-1:]]
    assert torch.allclose(found, torch.cat(expected), atol=1e-3)


def test_a_long_span_before_a_short_one_is_refused(model: PreTrainedModel) -> None:
    with pytest.raises(ValueError, match="long spans come last"):
        packed_of(model).run([Span(0, 0, tokens(40)), Span(1, 5, [3])])


def test_a_prompt_that_begins_like_an_earlier_one_is_read_from_there(model: PreTrainedModel) -> None:
    forward = packed_of(model)
    first, second = tokens(50), [*tokens(30), *tokens(25, 9)]
    slot, known = forward.take(first)  # type: ignore[misc]
    assert known == 0
    forward.run([Span(slot, 0, first)])
    other, known = forward.take(second)  # type: ignore[misc]
    assert known == 30 and other != slot
    found = forward.run([Span(other, known, second[known:])])
    assert torch.allclose(found[0], reference(model, second)[-1], atol=1e-3)
    forward.release(slot)
    again, known = forward.take(first)  # type: ignore[misc]
    assert (again, known) == (slot, 49)


def test_another_version_never_reads_what_this_one_kept(model: PreTrainedModel, tiny_adapter: Path) -> None:
    base = packed_of(model)
    changed = packed.PackedForward(adapters.merged(model, tiny_adapter), base.pool, beside=base)
    ids = tokens(40)
    slot, _ = base.take(ids)  # type: ignore[misc]
    base.run([Span(slot, 0, ids)])
    base.release(slot)
    warm, known = changed.take(ids)  # type: ignore[misc]
    assert known == 0
    cold = packed_of(adapters.merged(model, tiny_adapter))
    fresh, _ = cold.take(ids)  # type: ignore[misc]
    assert torch.equal(changed.run([Span(warm, 0, ids)]), cold.run([Span(fresh, 0, ids)]))


@pytest.mark.parametrize("merge", [True, False])
def test_versions_that_share_a_pass_each_give_their_own_numbers(
    model: PreTrainedModel, tiny_adapter: Path, merge: bool
) -> None:
    base = packed_of(model, slots=6)
    own = base.adapted(low_rank.factors(tiny_adapter) or {}, merge=merge, run=lambda job: job())
    assert own is not None and own.family is base.family
    first, second, third = tokens(40), tokens(33, 7), tokens(60, 9)
    spans = []
    for forward, ids in ((base, first), (own, second), (own, third)):
        slot, _ = forward.take(ids)  # type: ignore[misc]
        read = len(ids) - 1 if ids is not third else 0
        if read:
            forward.run([Span(slot, 0, ids[:read])])
        spans.append(Span(slot, read, ids[read:]))
    found = base.run_all([(base, spans[:1]), (own, spans[1:])])
    changed = adapters.merged(model, tiny_adapter)
    assert torch.allclose(found[0][0], reference(model, first)[-1], atol=1e-3)
    assert torch.allclose(found[1], torch.stack([reference(changed, ids)[-1] for ids in (second, third)]), atol=2e-2)


def test_versions_of_different_bases_never_share_a_pass(model: PreTrainedModel) -> None:
    one, other = packed_of(model), packed_of(model)
    with pytest.raises(ValueError, match="one base"):
        one.run_all([(one, [Span(0, 0, [3])]), (other, [Span(0, 0, [3])])])


def test_a_slot_knows_only_what_was_read_into_it() -> None:
    pool = Pool(slots=2, layers=1, heads=1, context=16, size=4, dtype=torch.float32)
    owner, other = Lookahead([]), Lookahead([])
    assert pool.take(owner, [1, 2, 3, 4, 5]) == (0, 0)
    assert pool.take(owner, [1, 2, 3, 4, 6]) == (1, 0)
    assert pool.take(owner, [1]) is None
    pool.filled(0, 0, [1, 2, 3, 4, 5])
    pool.filled(0, 2, [9])
    pool.release(0)
    pool.release(1)
    assert pool.take(owner, [1, 2, 3, 4, 7]) == (0, 2)
    assert pool.take(other, [1, 2, 3, 4, 7]) == (1, 0)


def test_the_last_token_of_a_prompt_is_always_read() -> None:
    assert common([1, 2, 3], [1, 2, 3], limit=2) == 2
    assert common([], [1], limit=0) == 0
    assert common([1, 5, 3], [1, 2, 3], limit=2) == 1


def test_factors_merged_or_beside_the_base_answer_as_peft_merges_them(
    model: PreTrainedModel, tiny_adapter: Path
) -> None:
    base = packed_of(model)
    factors = low_rank.factors(tiny_adapter)
    assert factors is not None
    ids = tokens(40)
    merged = reference(adapters.merged(model, tiny_adapter), ids)
    assert not torch.allclose(merged, reference(model, ids), atol=1.0)
    for merge in (True, False):
        own = base.adapted(factors, merge=merge, run=lambda job: job())
        assert own is not None
        slot, known = own.take(ids)  # type: ignore[misc]
        assert known == 0
        assert torch.allclose(own.run([Span(slot, 0, ids, wanted=40)]), merged, atol=2e-2)


def test_factors_that_do_not_fit_are_noticed(model: PreTrainedModel, tiny_adapter: Path, tmp_path: Path) -> None:
    base = packed_of(model)
    factors = low_rank.factors(tiny_adapter) or {}
    name, (a, b) = next(iter(factors.items()))
    assert base.adapted({**factors, name: (a[:, :3], b)}, merge=True, run=lambda job: job()) is None
    assert base.adapted({**factors, "model.layers.9.mlp.gate_proj": (a, b)}, merge=True, run=lambda job: job()) is None
    for file in (adapters.CONFIG, adapters.WEIGHTS):
        (tmp_path / file).write_bytes((tiny_adapter / file).read_bytes())
    config = json.loads((tmp_path / adapters.CONFIG).read_text())
    (tmp_path / adapters.CONFIG).write_text(json.dumps({**config, "use_dora": True}))
    assert low_rank.factors(tmp_path) is None
    (tmp_path / adapters.CONFIG).write_text(json.dumps(config))
    weights = load_file(tmp_path / adapters.WEIGHTS)
    save_file({**weights, "base_model.model.lm_head.other": torch.zeros(1)}, tmp_path / adapters.WEIGHTS)
    assert low_rank.factors(tmp_path) is None


def test_a_guess_is_what_followed_the_last_time() -> None:
    lookahead = Lookahead([1, 2, 3, 4, 5, 6, 7, 8, 2, 3, 9, 1, 2, 3])
    assert lookahead.guess(8) == [4, 5, 6]
    assert lookahead.guess(1) == [4]
    assert Lookahead([1, 2, 3]).guess(4) == []
    assert Lookahead([]).guess(4) == []


def test_guesses_grow_while_they_are_right_and_shrink_when_wrong() -> None:
    lookahead = Lookahead([*range(40), 3, 4, 5])
    for _ in range(4):
        lookahead.learn(len(lookahead.guess(99)), len(lookahead.guess(99)))
    assert len(lookahead.guess(99)) == MOST
    lookahead.learn(MOST, 0)
    assert len(lookahead.guess(99)) == 1


def test_passes_of_any_length_have_one_of_few_sizes() -> None:
    assert [packed.rounded(n) for n in (1, 3, 9, 17, 129, 256, 257, 700)] == [1, 4, 12, 32, 160, 256, 512, 768]
