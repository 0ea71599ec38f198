"""What several test files share: a tiny chat model, a tiny adapter, the real embedder, a fresh database."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from bot.models import PACKAGED_CHAT, PACKAGED_EMBEDDING, chat_model, embedding_model
from retrieval.embedding import Embedder
from store.database import Database, open_database

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a two-layer Llama of random float32 weights and the tokenizer of the packaged chat model."""
    folder = str(tmp_path_factory.mktemp("models") / "tiny")
    models = Path(os.environ.get("RATCHET_MODELS") or ROOT / "var" / "models")
    tokenizer = AutoTokenizer.from_pretrained(chat_model(PACKAGED_CHAT, models=models))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.2,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_adapter(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEFT LoRA folder for the tiny model, with weights large enough to change what it says."""
    folder = tmp_path_factory.mktemp("adapters") / "trained-elsewhere"
    torch.manual_seed(4)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    adapted.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    """The real embedding model."""
    return Embedder(embedding_model(PACKAGED_EMBEDDING), name=PACKAGED_EMBEDDING)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite file with the newest schema, to copy."""
    path = tmp_path_factory.mktemp("databases") / "empty.db"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def database(migrated: Path, tmp_path: Path) -> Iterator[Database]:
    """A fresh SQLite database with the newest schema."""
    shutil.copyfile(migrated, tmp_path / "fresh.db")
    database = open_database(f"sqlite:///{tmp_path}/fresh.db")
    yield database
    database.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, one for a test file."""
    from playwright.sync_api import expect, sync_playwright

    from tests.browsing import ARGUMENTS, CHROMIUM

    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[tuple[Any, str]]:
    """A bot for the browser tests of a file, and its address."""
    from tests.browsing import fresh_bot
    from tests.queued import serve

    with fresh_bot(tmp_path_factory.mktemp("bot"), migrated) as bot, serve(bot.app) as address:
        yield bot, address


@pytest.fixture
def bot(served: tuple[Any, str]) -> Any:
    """That bot, which has forgotten the test before."""
    from tests.browsing import begin_anew

    begin_anew(served[0])
    return served[0]


@pytest.fixture
def address(served: tuple[Any, str]) -> str:
    """That bot's address."""
    return served[1]
