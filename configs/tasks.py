"""The task taxonomy: what people ask for, and how to train for it; read from a YAML file, nothing is built in."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

UNCLASSIFIED = "unclassified"

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Target = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Recipe(_Part):
    """How a LoRA adapter is trained; `learning_rate` is meant for a model 4,096 wide."""

    rank: int = Field(default=16, ge=1, le=512)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    target_modules: tuple[Text, ...] = Field(default=("q_proj", "v_proj", "k_proj"), min_length=1)
    learning_rate: float = Field(default=2e-4, gt=0, lt=1)
    epochs: int = Field(default=3, ge=1, le=100)
    warmup_steps: int = Field(default=100, ge=0)
    batch_size: int = Field(default=3, ge=1)


class DataRules(_Part):
    """What an example's answer must be like; lengths in characters. Answers that people wrote are exempt."""

    min_length: int = Field(default=1, ge=0)
    max_length: int = Field(default=1000, ge=1)
    preserve_context: bool = False
    preserve_structure: bool = False
    preserve_technical_terms: bool = False
    filter_quality: str = Field(default="medium", pattern="^(low|medium|high)$")

    @model_validator(mode="after")
    def _some_length_is_left(self) -> Self:
        if self.min_length > self.max_length:
            raise ValueError(f"min_length {self.min_length} is more than max_length {self.max_length}: no answer fits")
        return self


class Task(_Part):
    """One kind of question."""

    description: Text
    examples: tuple[Text, ...] = Field(min_length=1)
    recipe: Recipe = Recipe()
    data: DataRules = DataRules()
    metrics: dict[str, Target] = Field(default_factory=dict)
    passages_score: float = Field(default=0.0, ge=0, le=1)


class Combined(_Part):
    """What multi-task training uses in place of the tasks' own recipes."""

    rank: int = Field(default=32, ge=1, le=512)
    learning_rate: float = Field(default=1.5e-4, gt=0, lt=1)
    epochs: int = Field(default=4, ge=1, le=100)


class Taxonomy(_Part):
    """All tasks, in the file's order."""

    tasks: dict[str, Task] = Field(min_length=1)
    combined: Combined = Combined()
    phases: tuple[str, ...] = ()
    digest: str = ""


class _UniqueKeys(yaml.SafeLoader):
    """A YAML loader that refuses the same key twice, where YAML silently keeps the last."""


def _mapping(loader: _UniqueKeys, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    for place, key in enumerate(keys):
        if key in keys[:place]:
            first, again = (node.value[number][0].start_mark.line + 1 for number in (keys.index(key), place))
            raise ValueError(f'"{key}" is defined twice, in line {first} and in line {again}: rename or remove one.')
    return dict(loader.construct_mapping(node, deep=True))


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load_tasks(path: Path, adopted: Path | None = None) -> Taxonomy:
    """The taxonomy in a file; raises ValueError with a sentence naming the file, the key and what was expected.

    Where there is a file of `adopted` tasks, those that the taxonomy does not have are added to it, and the digest is
    over both files.
    """
    taxonomy, text = _read(path)
    if adopted is not None and adopted.exists():
        more, added = _read(adopted)
        new = {name: task for name, task in more.tasks.items() if name not in taxonomy.tasks}
        taxonomy, text = taxonomy.model_copy(update={"tasks": {**taxonomy.tasks, **new}}), text + added
    unknown = set(taxonomy.phases) - set(taxonomy.tasks)
    if unknown:
        raise ValueError(f'{path}: phase "{unknown.pop()}" is not a task.')
    return taxonomy.model_copy(update={"digest": hashlib.sha256(text.encode()).hexdigest()[:16]})


def _read(path: Path) -> tuple[Taxonomy, str]:
    """The taxonomy in one file, and its text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        taxonomy = Taxonomy.model_validate(yaml.load(text, Loader=_UniqueKeys))  # noqa: S506, a SafeLoader
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{path}: {key or 'the file'}: {first['msg']}, found {first['input']!r:.80}.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        said = f"{error.problem or error.context}; a text with any of ? : , # [ {{ in it needs quotes."
        raise ValueError(f"{path}: {where}{said}") from error
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    reserved = {UNCLASSIFIED, "all"} & set(taxonomy.tasks)
    if reserved:
        raise ValueError(f'{path}: "{reserved.pop()}" is reserved.')
    return taxonomy, text
