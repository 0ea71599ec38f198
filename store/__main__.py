"""The registry and the log from the command line.

python -m store adapters
python -m store approve v3 --comment "cites better"
python -m store approve v3 --comment "cites better" --share 0.1 --testers anna,ben
python -m store canary --share 1 --comment "nobody complained"
python -m store rollback --comment "people complain"
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from configs.command_line import exit_status
from configs.settings import Settings, load_settings
from store import adapters, deployments, exchanges, golden, judge_labels, labels, people, rollbacks, transfer
from store.database import Database, open_database, restore
from store.errors import Invalid, RatchetError
from store.lines import all_lines
from store.listing import list_adapters, list_cycles, list_exchanges, show
from store.models import Role
from store.signing import Signer

ACTOR = "command"


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    options = _parser().parse_args(arguments)

    def run() -> None:
        settings = load_settings()
        if options.run is _restore:
            _restore(options, settings)
        else:
            options.run(options, settings, open_database(settings.database_url))

    return exit_status(run, RatchetError)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m store", description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, example: str, run: Any, *names: str, into: Any = commands) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = into.add_parser(name, epilog=f"example: python -m store {example}")
        made.set_defaults(run=run)
        for argument in names:
            made.add_argument(argument)
        return made

    for name, run in (("adapters", list_adapters), ("cycles", list_cycles)):
        command(name, f"{name} --json", run).add_argument("--json", action="store_true")
    listing = command("exchanges", "exchanges --limit 20", list_exchanges)
    listing.add_argument("--json", action="store_true")
    listing.add_argument("--task", help="only this task")
    listing.add_argument("--limit", type=int, default=50)
    command("show", "show v3", show, "id")
    gold = command("golden", 'golden ex_1a2b --comment "asked weekly"', _golden)
    gold.add_argument("exchange", nargs="?", help="put it into the golden set; without one the set is listed")
    gold.add_argument("--comment", default="", help="why, for the audit record")
    _add_decisions(command)
    register = command("register", "register ./my-lora", _register, "folder")
    register.add_argument("--comment", default="")
    export = command("export", "export --format jsonl --out log.jsonl", _export)
    export.add_argument("--format", choices=sorted(transfer.FORMATS), default="jsonl")
    export.add_argument("--out", type=Path, required=True)
    load = command("import", "import log.jsonl --format ratchet", _import, "file")
    load.add_argument("--format", choices=["openai", "flywheel", "ratchet"], required=True)
    label = command("label", "label ex_1f… travel", _label, "exchange", "task")
    label.description = "Say which task an exchange is; that wins, and the next cycle learns from it."
    word = command("judge-label", "judge-label ex_1f… --metric support --value yes", _judge_label, "exchange")
    word.description = "Say whether an answer is supported, right or to the point: the judge is measured by it."
    word.add_argument("--metric", choices=judge_labels.METRICS, required=True)
    word.add_argument("--value", choices=["yes", "no"], required=True)
    word.add_argument("--comment", default="")
    user = command("user", "user add ann --role chat", _user_add).add_subparsers(required=True)
    add = command("add", "user add ann --role chat", _user_add, "name", into=user)
    add.add_argument("--role", choices=list(Role), default=Role.CHAT)
    key = command("key", "key add ann", _key_add).add_subparsers(required=True)
    made = command("add", "key add ann --days 90", _key_add, "name", into=key)
    made.add_argument("--days", type=float, help="how long the key works; without it, until it is revoked")
    command("erase", "erase ann", _erase, "user")
    command("backup", "backup ratchet.backup", _backup, "file")
    command("restore", "restore ratchet.backup", _restore, "file")
    command("migrate", "migrate", _migrate)
    return parser


def _add_decisions(command: Callable[..., argparse.ArgumentParser]) -> None:
    """The commands that decide what is deployed."""
    approve = command("approve", 'approve v3 --comment "…" --share 0.1 --testers anna,ben', _approve, "adapter")
    approve.add_argument("--share", type=float, default=deployments.EVERYBODY, help="of the conversations; 1 is all")
    approve.add_argument("--report-digest", help="only while its report is this one, of `python -m store show`")
    canary = command("canary", 'canary --share 0.5 --comment "…"', _canary)
    canary.add_argument("--share", type=float, help="of the conversations; 1 completes the canary")
    canary.add_argument("--of", help="only while this adapter is the canary")
    reject = command("reject", 'reject v3 --comment "…"', _reject, "adapter")
    for made in (approve, canary):
        made.add_argument("--testers", type=_names, help="people who get it whatever the share, by name: anna,ben")
    back = command("rollback", 'rollback --comment "…"', _rollback)
    for made in (approve, canary, reject, back):
        made.add_argument("--comment", required=True, help="why, for the audit record")
    back.add_argument("--to", help="an adapter that was live, or base")
    back.add_argument("--of", help="take this one back alone: what serves beside a canary, or the canary")


def _approve(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    testers = options.testers or []
    deployments.approve(
        database,
        options.adapter,
        actor=ACTOR,
        comment=options.comment,
        share=options.share,
        testers=testers,
        approvers=settings.gate.approvers,
        signer=Signer(settings.server.data),
        days=settings.scheduler.approval_days,
        data=settings.server.data,
        report_digest=options.report_digest,
    )
    print(f"approved {options.adapter}{_whom(options.share, testers)}: running bots load it now.")


def _golden(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    if options.exchange is None:
        with database.read() as session:
            lines = [f"{key}  asked by {count} evaluations" for key, count in golden.looks(session).items()]
        print("\n".join(lines) or "the golden set is empty.")
        return
    golden.add(database, options.exchange, actor=ACTOR, comment=options.comment)
    print(f"{options.exchange} is in the golden set: every candidate answers it, none is trained on it.")


def _canary(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    row, _ = deployments.change_canary(
        database,
        actor=ACTOR,
        comment=options.comment,
        share=options.share,
        testers=options.testers,
        of=options.of,
        approvers=settings.gate.approvers,
    )
    if row.canary is None:
        print(f"{row.adapter} serves new requests.")
    else:
        print(f"{row.canary} is the canary{_whom(row.share, row.testers)}.")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _whom(share: float, testers: Sequence[str]) -> str:
    named = f" and {len(testers)} tester{'s' if len(testers) > 1 else ''}" if testers else ""
    return f" for {share:.0%} of the conversations{named}" if share < deployments.EVERYBODY else ""


def _reject(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    adapters.reject(database, options.adapter, actor=ACTOR, comment=options.comment)
    print(f"rejected {options.adapter}.")


def _rollback(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    row = rollbacks.rollback(database, actor=ACTOR, comment=options.comment, to=options.to, of=options.of)
    print(f"rolled back: {row.adapter} serves new requests.")


def _register(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    from bot.models import base_digest, chat_model
    from finetune.registration import register

    folder = chat_model(settings.models.chat, models=settings.models.folder)
    row = register(
        database,
        Path(options.folder),
        data=settings.server.data.resolve(),
        base_model=settings.models.chat,
        base_folder=Path(folder),
        base_digest=base_digest(folder),
        comment=options.comment,
        actor=ACTOR,
    )
    print(row.id)


def _export(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    count = 0
    with database.read() as session, options.out.open("w") as out:
        for line in transfer.exported(exchanges.logged(session), options.format):
            out.write(f"{json.dumps(line)}\n")
            count += 1
    print(f"wrote {count} rows to {options.out}.")


def _import(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    count = transfer.imported(database, all_lines(Path(options.file)), options.format)
    print(f"imported {count} exchanges.")


def _label(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    known = settings.taxonomy().tasks
    row = labels.correct(database, options.exchange, options.task, known=known, actor=ACTOR)
    print(f"{row.exchange_id} is {row.task} now; the next cycle learns from it.")


def _judge_label(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    said = options.value == "yes"
    row = judge_labels.put(
        database, options.exchange, metric=options.metric, value=said, comment=options.comment, actor=ACTOR
    )
    print(f"{row.exchange_id}: {row.metric} is {'yes' if row.value else 'no'}.")


def _user_add(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    print(people.add(database, options.name, role=options.role, actor=ACTOR).id)


def _key_add(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    with database.read() as session:
        person = people.find(session, options.name)
        first = person.role == Role.ADMIN
    scopes = people.SCOPES if first else ()
    print(people.add_key(database, person, actor=ACTOR, scopes=scopes, days=options.days))


def _erase(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    counts = people.erase(database, options.user, actor=ACTOR)
    print(f"erased {counts['exchanges']} exchanges; {counts['adapters_flagged']} adapters rested on them.")


def _backup(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    target = Path(options.file)
    if target.exists():
        raise Invalid(f"{target} exists already.", "Name a new file.")
    database.backup(target)
    print(f"backed up to {target}.")


def _restore(options: argparse.Namespace, settings: Settings) -> None:
    restore(settings.database_url, Path(options.file))
    print(f"restored {options.file}; start the bot again.")


def _migrate(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    print("the database has the newest schema.")


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
