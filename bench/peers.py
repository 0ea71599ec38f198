"""The peers of the serving benchmarks: transformers' `generate`, and a real vLLM server on the same machine.

A vLLM of its own virtual environment is found by RATCHET_VLLM (default var/vllm); without one its rows say so.
"""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import torch

ROOT = Path(__file__).resolve().parent.parent
Messages = list[dict[str, str]]


def generated(model: Any, tokenizer: Any, asked: Sequence[Messages], *, batch: int, tokens: int) -> tuple[int, float]:
    """Tokens written and seconds taken by transformers' `generate` over padded batches, greedily."""
    tokenizer.padding_side = "left"
    begun, written = time.perf_counter(), 0
    for i in range(0, len(asked), batch):
        inputs = tokenizer.apply_chat_template(
            list(asked[i : i + batch]),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            padding=True,
        ).to(model.device)
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
        answers = output[:, inputs["input_ids"].shape[1] :]
        written += int((answers != tokenizer.pad_token_id).sum())
    return written, time.perf_counter() - begun


def vllm_command() -> Path | None:
    """The vLLM program, or None when there is none."""
    path = Path(os.environ.get("RATCHET_VLLM", ROOT / "var" / "vllm")) / "bin" / "vllm"
    return path if path.exists() else None


@contextmanager
def vllm(model: str, *, slots: int, context: int) -> Iterator[str]:
    """A running vLLM server for a model folder; gives its address."""
    program = vllm_command()
    if program is None:
        raise RuntimeError("no vLLM")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(program), "serve", model, "--host", "127.0.0.1", "--port", str(port), "--dtype", "bfloat16"]
    command += ["--max-model-len", str(context), "--max-num-seqs", str(slots), "--enforce-eager"]
    command += ["--served-model-name", "peer"]
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    server = subprocess.Popen(command, env=environment | settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address, server)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=60)


def _wait(address: str, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        if server.poll() is not None:
            raise RuntimeError(f"the vLLM server ended with status {server.returncode}.")
        try:
            if httpx.get(f"{address}/health").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise RuntimeError("the vLLM server was not ready within five minutes.")


def asked_of(address: str, messages: Messages, *, tokens: int) -> Iterator[int]:
    """An answer of a vLLM server, streamed: yields as text comes, at last the number of tokens written."""
    body = {
        "model": "peer",
        "messages": messages,
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    with httpx.stream("POST", f"{address}/v1/chat/completions", json=body, timeout=600) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line[6:])
            if event.get("usage"):
                yield event["usage"]["completion_tokens"]
            elif event["choices"] and event["choices"][0]["delta"].get("content"):
                yield 0
