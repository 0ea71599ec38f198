"""Claims about settings and taxonomy: every knob is explained, and what cannot be used is named."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from configs.limits import DECIDING
from configs.settings import ROOT, Settings, SettingsError, load_settings
from configs.tasks import load_tasks


def task(name: str, **more: object) -> dict[str, object]:
    return {name: {"description": "d", "examples": ["What is it?"], **more}}


def written(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "tasks.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_the_default_loads_without_any_environment() -> None:
    settings = load_settings({})
    assert settings.server.port == 8000
    assert settings.database_url.startswith("sqlite:////") and settings.database_url.endswith("/var/ratchet.db")
    assert settings.models.folder.is_absolute() and settings.tasks.is_file()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings({}).server.port = 9000  # type: ignore[misc]


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"RATCHET__SERVER__PRT": "1"}, "unknown setting server.prt"),
        ({"RATCHET__SEVER__PORT": "1"}, "unknown section sever in RATCHET__SEVER__PORT"),
        ({"RATCHET_PORT": "99999"}, "setting server.port is 99999"),
        ({"RATCHET_PORT": "http"}, "setting server.port is 'http'"),
        ({"RATCHET__MODELS__DTYPE": "int4"}, "setting models.dtype is 'int4'"),
        ({"RATCHET_CONFIG": "no/such.yaml"}, "the settings file .*no/such.yaml cannot be read"),
    ],
)
def test_what_cannot_be_used_is_named(environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        load_settings(environment)


@pytest.mark.parametrize(
    ("primary", "said"),
    [
        ("[]", "no metric would decide, expected some of source_attribution, answer_accuracy, "),
        (
            "[source_atribution]",
            '"source_atribution" is no metric that may decide, expected some of source_attribution',
        ),
        ("[answer_accuracy, verbatim_share]", '"verbatim_share" is no metric that may decide'),
        ("[perplexity]", '"perplexity" is no metric that may decide'),
        ("[loss]", '"loss" is no metric that may decide'),
        ("[responding]", '"responding" is no metric that may decide'),
        ("[groundedness, groundedness]", '"groundedness" is named twice, expected each once'),
    ],
)
def test_a_primary_that_may_not_decide_is_refused_with_those_that_may(primary: str, said: str) -> None:
    with pytest.raises(SettingsError, match=rf"^setting gate\.primary is \[.*\]: {re.escape(said)}.*\.$"):
        load_settings({"RATCHET__GATE__PRIMARY": primary})


def test_every_metric_that_may_decide_can_be_a_primary() -> None:
    for name in DECIDING:
        assert load_settings({"RATCHET__GATE__PRIMARY": f"[{name}]"}).gate.primary == [name]


SPANS = {
    "watch.hours": 876_000,
    "watch.complete_canary_hours": 876_000,
    "scheduler.approval_days": 36_500,
    "training.new_account_days": 36_500,
    "training.max_minutes": 525_600,
    "retrieval.parse_seconds": 86_400,
}


def setting(key: str, value: object) -> dict[str, str]:
    return {f"RATCHET__{key.upper().replace('.', '__')}": str(value)}


@pytest.mark.parametrize(("key", "most"), SPANS.items())
def test_a_span_of_time_ends_and_what_is_longer_or_no_number_is_refused(key: str, most: int) -> None:
    section, name = key.split(".")
    longest = getattr(getattr(load_settings(setting(key, most)), section), name)
    assert longest == most
    with pytest.raises(SettingsError, match=rf"^setting {key} is {most + 1}: .* less than or equal to {most}\.$"):
        load_settings(setting(key, most + 1))
    for value in (".inf", ".nan", "-.inf"):
        with pytest.raises(SettingsError, match=rf"^setting {key} is -?(inf|nan): .* a finite number"):
            load_settings(setting(key, value))


def test_every_number_of_the_settings_is_finite() -> None:
    floats = [
        f"{section}.{name}"
        for section, values in load_settings({}).model_dump().items()
        for name, value in (values.items() if isinstance(values, dict) else ())
        if isinstance(value, float)
    ]
    assert len(floats) > 15
    for key in floats:
        with pytest.raises(SettingsError, match=rf"^setting {key} is nan"):
            load_settings(setting(key, ".nan"))


def test_an_unknown_key_of_a_file_is_named_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("server: {prt: 9}\n")
    with pytest.raises(SettingsError, match=r"unknown setting server\.prt \(from mine\.yaml"):
        load_settings({"RATCHET_CONFIG": str(tmp_path / "mine.yaml")})


def test_a_file_need_only_name_what_differs_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("server: {port: 9000, host: 0.0.0.0}\n")
    settings = load_settings(
        {"RATCHET_CONFIG": str(tmp_path / "mine.yaml"), "RATCHET_PORT": "9001", "RATCHET__GATE__MARGIN": "0.1"}
    )
    assert (settings.server.port, settings.server.host, settings.gate.margin) == (9001, "0.0.0.0", 0.1)
    assert settings.server.max_upload_mb == load_settings({}).server.max_upload_mb


def test_files_that_begin_with_a_byte_order_mark_are_read_as_without(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("server: {port: 9000}\n", encoding="utf-8-sig")
    (tmp_path / "tasks.yaml").write_text(yaml.safe_dump({"tasks": task("legal")}), encoding="utf-8-sig")
    (tmp_path / "plain.yaml").write_text(yaml.safe_dump({"tasks": task("legal")}))
    assert load_settings({"RATCHET_CONFIG": str(tmp_path / "mine.yaml")}).server.port == 9000
    assert load_tasks(tmp_path / "tasks.yaml") == load_tasks(tmp_path / "plain.yaml")


def test_production_loads() -> None:
    assert load_settings({"RATCHET_CONFIG": "configs/production.yaml"}).server.open_chat is False


def test_every_key_of_the_default_has_a_comment() -> None:
    lines = (ROOT / "configs" / "default.yaml").read_text().splitlines()
    keys = [line for line in lines if re.match(r"\s*\w+:", line)]
    assert [line for line in keys if not re.search(r"\S\s+# \S", line)] == []
    values = yaml.safe_load("\n".join(lines))
    known = {key for section in values.values() if isinstance(section, dict) for key in section}
    assert {re.match(r"\s*(\w+):", line).group(1) for line in keys} == known | set(Settings.model_fields)  # type: ignore[union-attr]


def test_the_shipped_taxonomy_loads_with_its_phases() -> None:
    taxonomy = load_settings({}).taxonomy()
    assert set(taxonomy.phases) <= set(taxonomy.tasks)
    assert all(len(task.examples) >= 3 for task in taxonomy.tasks.values())


def test_only_description_and_examples_are_required(tmp_path: Path) -> None:
    taxonomy = load_tasks(written(tmp_path, {"tasks": task("legal")}))
    assert taxonomy.tasks["legal"].recipe.rank == 16 and len(taxonomy.digest) == 16


def test_a_task_named_twice_is_refused(tmp_path: Path) -> None:
    one = yaml.safe_dump(task("legal"))
    text = "tasks:\n" + "".join(f"  {line}\n" for line in (one + one).splitlines())
    with pytest.raises(ValueError, match=r'tasks\.yaml: "legal" is defined twice, in line 2 and in line 6'):
        load_tasks(written(tmp_path, text))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"tasks": {}}, "tasks: Dictionary should have at least 1 item"),
        ({"tasks": {"legal": {"examples": ["What?"]}}}, r"tasks\.legal\.description: Field required"),
        ({"tasks": task("legal", recipe={"rank": 0})}, r"tasks\.legal\.recipe\.rank"),
        ({"tasks": task("legal", colour="red")}, r"tasks\.legal\.colour: Extra inputs are not permitted"),
        ({"tasks": task("legal", recipe={"target_modules": []})}, r"tasks\.legal\.recipe\.target_modules"),
        (
            {"tasks": task("legal", metrics={"answer_accuracy": 90})},
            r"answer_accuracy: .*less than or equal to 1, found 90",
        ),
        ({"tasks": task("legal", data={"min_length": 9, "max_length": 5})}, "min_length 9 is more than max_length 5"),
        ({"tasks": {"legal": {"description": "d", "examples": [" "]}}}, r"tasks\.legal\.examples\.0"),
        ({"tasks": task("legal"), "combined": {"rank": 0}}, r"combined\.rank"),
        ({"tasks": task("legal"), "taks": {}}, "taks: Extra inputs"),
        (
            "tasks: {legal: {description: d, examples: [What now?, Why?]}}",
            r"line 1, column \d+: .*'\?'; .* needs quotes",
        ),
        ("tasks: {? [a, b] : {description: d}}", "line 1, .*unhashable key"),
        ({"tasks": task("unclassified")}, '"unclassified" is reserved'),
        ({"tasks": task("legal"), "phases": ["tax"]}, 'phase "tax" is not a task'),
        ("tasks: [", r"tasks\.yaml"),
        ("", "the file"),
    ],
)
def test_a_taxonomy_that_cannot_be_used_is_named(tmp_path: Path, content: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        load_tasks(written(tmp_path, content))


def test_a_missing_taxonomy_is_a_settings_error(tmp_path: Path) -> None:
    settings = load_settings({"RATCHET__TASKS": str(tmp_path / "none.yaml")})
    with pytest.raises(SettingsError, match=r"none\.yaml"):
        settings.taxonomy()


def test_the_digest_of_a_taxonomy_changes_with_its_text(tmp_path: Path) -> None:
    first = load_tasks(written(tmp_path, {"tasks": task("legal")})).digest
    assert load_tasks(written(tmp_path, {"tasks": task("law")})).digest != first


@pytest.mark.parametrize(
    ("written", "read"), [("auto", "auto"), ("on", "on"), ("false", "off"), ("true", "on"), ("off", "off")]
)
def test_four_bits_are_a_word_or_a_truth_value(written: str, read: str) -> None:
    assert load_settings({"RATCHET__TRAINING__QLORA": written}).training.qlora == read


def test_another_word_for_four_bits_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"setting training\.qlora is 'maybe'"):
        load_settings({"RATCHET__TRAINING__QLORA": "maybe"})
