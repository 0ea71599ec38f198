"""How a chat template ends a turn, so that training, scoring and serving agree on it (pure).

It takes a tokenizer as transformers has them and imports none: neither the trainer nor the engine needs the other's
libraries for it.
"""

from typing import Any

_SAID = "Ratchet"
"""What the assistant says in the turn that is looked at."""


def end_token(tokenizer: Any) -> int:
    """The id of the token that ends the assistant's turn: the first special one after what the assistant said.

    Gemma's is `<end_of_turn>` and Phi-3's `<|end|>`, where `eos_token` is another one. Where the template has none, or
    there is no template, it is `eos_token_id`.
    """
    eos: int = tokenizer.eos_token_id
    if not tokenizer.chat_template:
        return eos
    turns = [{"role": "user", "content": _SAID}, {"role": "assistant", "content": _SAID}]
    _, _, behind = tokenizer.apply_chat_template(turns, tokenize=False).rpartition(_SAID)
    special = {n for n, token in tokenizer.added_tokens_decoder.items() if token.special} | {*tokenizer.all_special_ids}
    return next((n for n in tokenizer(behind, add_special_tokens=False).input_ids if n in special), eos)
