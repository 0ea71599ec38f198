"""Claims about other orders of passages: the same question and texts, citations that go with them, one order each."""

from dataclasses import replace

from bot.prompt import messages, question_block
from finetune.examples import Example
from finetune.reordered import other_orders
from tests.test_finetune_withheld import BREAD, PORT, RIVER, example

THREE = (RIVER, BREAD, PORT)


def others(one: Example, most: int = 10, *, seed: int = 1) -> list[dict[str, object]]:
    return other_orders(one, most, block=question_block, seed=seed)


def test_three_passages_stand_in_each_of_their_other_orders_once() -> None:
    one = example(passages=THREE)
    made = others(one)
    prompts = {str(other["messages"]) for other in made} | {str(one.messages)}
    assert len(made) == 5 and len(prompts) == 6


def test_citations_name_the_same_passage_wherever_it_stands() -> None:
    one = example(passages=THREE)
    assert one.target.endswith("[1].")
    for other in others(one):
        order = sorted(THREE, key=str(other["messages"]).index)
        assert other["target"] == one.target.replace("[1]", f"[{order.index(RIVER) + 1}]")
        shown = [{"n": n, "title": "Aare", "text": text} for n, text in enumerate(order, start=1)]
        assert other["messages"] == messages(one.question, shown, [])


def test_no_more_than_wanted_and_the_same_ones_each_time() -> None:
    one = example(passages=THREE)
    assert others(one, 2) == others(one, 2) and len(others(one, 2)) == 2
    assert others(one, 0) == []


def test_a_decline_stays_a_decline() -> None:
    one = replace(example(passages=THREE), target="I could not find this in the documents.", gold=None)
    assert {other["target"] for other in others(one)} == {one.target}


def test_one_passage_or_another_prompt_has_no_other_order() -> None:
    one = example(passages=(RIVER,))
    assert others(one) == []
    other = example(passages=THREE)
    system, _ = other.messages
    assert others(replace(other, messages=[system, {"role": "user", "content": "Something else"}])) == []
    assert others(replace(other, messages=[])) == []
