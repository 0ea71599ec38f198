"""Training on one CPU thread against TRL's SFTTrainer: tokens/s, memory, time to the adapter on disk, held-out loss.

python -m bench.train                 all, taking turns, each in a process of its own
python -m bench.train --gpu           the same on a GPU, with a 1.5B-shaped model of random weights
python -m bench.train_gpu             share of a GPU's matrix rate, for a 1.5B- and an 8B-shaped model

Same examples, rank, targets, learning rate and real tokens per step. TRL computes in float32 as well, for processors
that only imitate bfloat16; `--peers` chooses. TRL: `pip install -e .[preference]`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.table import show

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ["q_proj", "k_proj", "v_proj"]
LORA: dict[str, Any] = {"rank": 20, "alpha": 40, "dropout": 0.1, "target_modules": TARGETS}
RATE, BATCH, SEED = 9e-4, 3, 17
GPU_BATCH = 16
SHAPED = "1.5B"
OURS = "finetune.train"
PEERS: dict[str, dict[str, Any]] = {
    "TRL, packed, sdpa, autocast": {"packing": True, "attention": "sdpa", "autocast": True},
    "TRL, padded, sdpa, bf16 weights": {"packing": False, "attention": "sdpa", "autocast": False},
    "TRL, padded, eager, bf16 weights": {"packing": False, "attention": "eager", "autocast": False},
    "TRL, padded, sdpa, float32": {"packing": False, "attention": "sdpa", "autocast": False, "dtype": "float32"},
    "TRL, packed, sdpa, float32": {"packing": True, "attention": "sdpa", "autocast": False, "dtype": "float32"},
}
GPU_PEERS = [name for name in PEERS if "eager" not in name and "float32" not in name]


def examples(count: int) -> list[dict[str, Any]]:
    """Questions of the handbook with three passages of about 440 characters, the first one answering."""
    from bot import prompt

    rows = [json.loads(line) for line in (ROOT / "examples" / "questions.jsonl").read_text().splitlines()]
    answered = [row for row in rows if row["passage"]]
    pages = {row["document"]: (ROOT / "docs/handbook" / row["document"]).read_text() for row in answered}
    found = []
    for i in range(count):
        some = [answered[(3 * i + n) % len(answered)] for n in range(3)]
        passages = [
            {"n": n, "title": row["document"], "text": around(pages[row["document"]], row["passage"])}
            for n, row in enumerate(some, start=1)
        ]
        found.append(
            {"messages": prompt.messages(some[0]["question"], passages, []), "target": some[0]["answer"] + " [1]"}
        )
    return found


def around(page: str, passage: str) -> str:
    """About 440 characters of a page around a passage: the mean passage of the handbook."""
    at = page.index(passage)
    return page[max(0, at - 100) : at + 340]


def ours(folder: str, rows: list[dict[str, Any]], out: Path, *, batch: int, threads: int = 1) -> float:
    """Train as a cycle does; returns the seconds of the training itself."""
    from finetune.train import train

    options = {
        "epochs": 1,
        "warmup_steps": 0,
        "batch_size": batch,
        "max_tokens": 1024,
        "seed": SEED,
        "threads": threads,
    }
    return train(rows, base_model=folder, out=out, learning_rate=RATE, **LORA, **options).seconds


def trl(
    folder: str,
    rows: list[dict[str, Any]],
    out: Path,
    *,
    packing: bool,
    attention: str,
    autocast: bool,
    length: int,
    batch: int,
    dtype: str = "bfloat16",
) -> float:
    """Train with SFTTrainer without gradient checkpointing, loss on the answers only."""
    import torch
    from datasets import Dataset, disable_progress_bars
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    pairs = [
        {"prompt": row["messages"], "completion": [{"role": "assistant", "content": row["target"]}]} for row in rows
    ]
    config = SFTConfig(
        output_dir=str(out / "trainer"),
        num_train_epochs=1,
        per_device_train_batch_size=1 if packing else batch,
        packing=packing,
        max_length=length,
        completion_only_loss=True,
        gradient_checkpointing=False,
        bf16=autocast,
        use_cpu=not torch.cuda.is_available(),
        learning_rate=RATE,
        lr_scheduler_type="cosine",
        adam_beta2=0.95,
        max_grad_norm=1.0,
        seed=SEED,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    lora = LoraConfig(r=20, lora_alpha=40, lora_dropout=0.1, target_modules=TARGETS, task_type="CAUSAL_LM")
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), attn_implementation=attention),
        args=config,
        train_dataset=Dataset.from_list(pairs),
        processing_class=AutoTokenizer.from_pretrained(folder),
        peft_config=lora,
    )
    seconds = float(trainer.train().metrics["train_runtime"])
    trainer.save_model(str(out))
    return seconds


def held_out_loss(folder: str, adapter: Path, rows: list[dict[str, Any]]) -> float:
    """Mean loss per answer token with the saved adapter, in plain PEFT."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from finetune.loading import tokenised
    from finetune.passes import AutogradPass
    from finetune.precision import compute_dtype

    base = AutoModelForCausalLM.from_pretrained(folder, dtype=compute_dtype(), attn_implementation="eager")
    base.to("cuda" if torch.cuda.is_available() else "cpu")
    some = [orders[0] for orders in tokenised(rows, folder)]
    step = AutogradPass(PeftModel.from_pretrained(base, str(adapter)))
    total = sum(len(one.ids) - one.answer for one in some)
    return sum(step.add_gradients([one], total, learn=False) for one in some)


def child(options: argparse.Namespace) -> None:
    """One training in this process; prints what it took as JSON."""
    import psutil
    import torch

    from bot.models import PACKAGED_CHAT, chat_model

    torch.set_num_threads(options.threads)
    models = Path(os.environ.get("RATCHET_MODELS") or ROOT / "var" / "models")
    folder = options.model or chat_model(PACKAGED_CHAT, models=models)
    batch = GPU_BATCH if torch.cuda.is_available() else BATCH
    rows = examples(options.examples + 12)
    learn, rest = rows[: options.examples], rows[options.examples :]
    from finetune.loading import tokenised

    lengths = [len(orders[0].ids) for orders in tokenised(learn, folder)]
    out, before = Path(options.out), time.process_time()
    if options.child == OURS:
        seconds = ours(folder, learn, out, batch=batch, threads=options.threads)
    else:
        per_row = round(batch * sum(lengths) / len(lengths) * 1.1)
        seconds = trl(folder, learn, out, length=max(per_row, *lengths), batch=batch, **PEERS[options.child])
    spent = time.process_time() - before
    whole = time.time() - psutil.Process().create_time()
    found = {"tokens": sum(lengths), "seconds": seconds, "spent": spent, "start to adapter s": whole}
    found["peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    if torch.cuda.is_available():
        found["peak MB"] = torch.cuda.max_memory_allocated() // 2**20
    print(json.dumps({**found, "held-out loss": held_out_loss(folder, out, rest)}))


def run(name: str, count: int, more: list[str]) -> dict[str, Any]:
    """A child's figures."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "bench.train", "--child", name, "--examples", str(count), "--out", out, *more]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} ended with code {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(count: int, rounds: int, peers: list[str], *, name: str, folder: str = "", **facts: Any) -> None:
    """Our trainer and TRL's in turns; each one's fastest round counts."""
    best: dict[str, dict[str, Any]] = {}
    for _ in range(rounds):
        for way in [OURS, *peers]:
            found = run(way, count, ["--model", folder] if folder else [])
            print(way, found, flush=True)
            if way not in best or found["seconds"] < best[way]["seconds"]:
                best[way] = found
    rows = [
        {
            "what": way,
            "tokens/s": found["tokens"] / found["seconds"],
            "tokens per CPU s": found["tokens"] / found["spent"],
            **{key: found[key] for key in ("peak MB", "start to adapter s", "held-out loss")},
        }
        for way, found in best.items()
    ]
    fastest = max(row["tokens/s"] for row in rows[1:])
    facts |= {"n": count, "tokens": best[OURS]["tokens"], "rounds": rounds, "rank": LORA["rank"]}
    show(name, rows, ratio=round(rows[0]["tokens/s"] / fastest, 2), **facts)


def compare_on_gpu(count: int, rounds: int, peers: list[str]) -> None:
    """The same with a model of random weights, whose tokenizer is the packaged model's."""
    import torch
    from transformers import AutoTokenizer

    from bench.train_gpu import SHAPES, model_of
    from bot.models import PACKAGED_CHAT, chat_model

    if not torch.cuda.is_available():
        print("skipped: torch sees no CUDA GPU on this machine.")
        return
    models = Path(os.environ.get("RATCHET_MODELS") or ROOT / "var" / "models")
    tokenizer = AutoTokenizer.from_pretrained(chat_model(PACKAGED_CHAT, models=models))
    with tempfile.TemporaryDirectory() as folder:
        base = model_of(SHAPES[SHAPED], [], "cuda", vocabulary=len(tokenizer))[0]
        base.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        del base
        torch.cuda.empty_cache()
        card = torch.cuda.get_device_name()
        facts = {"card": card, "shape": SHAPED, "batch": GPU_BATCH, "torch": torch.__version__}
        compare(count, rounds, [one for one in peers if one in GPU_PEERS], name="train_gpu_trl", folder=folder, **facts)


def main() -> None:
    """Measure against TRL."""
    parser = argparse.ArgumentParser(prog="python -m bench.train", description=__doc__)
    parser.add_argument("--gpu", action="store_true", help="on a CUDA GPU")
    parser.add_argument("--examples", type=int, default=36)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--name", default="train", help="of the file under bench/results")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
    elif find_spec("trl") is None:
        sys.exit("TRL is not installed, and there is no comparison without it: pip install -e .[preference]")
    elif options.gpu:
        compare_on_gpu(options.examples, options.rounds, options.peers)
    else:
        facts = {"threads": 1, "model": "SmolLM2-135M"}
        compare(options.examples, options.rounds, options.peers, name=options.name, **facts)


if __name__ == "__main__":
    main()
