"""The report as lines to print (pure): the analysis of the log, its last weeks, and drift since the last cycle."""

from scheduler.report import RANKS, STRUCTURED_SHARE, TaskLine, TaskReport
from scheduler.tasks import UNCLASSIFIED
from scheduler.trends import Week

SHOWN_WEEKS = 8
_WIDEST = 26


def as_text(report: TaskReport) -> str:
    """The analysis as lines to print."""
    if not report.exchanges:
        return "The log holds no exchanges yet: chat with the bot, then look again."
    lines = [
        f"Task Distribution: {report.exchanges} exchanges",
        *_distribution(report),
        "",
        "Recommended Tasks: " + (", ".join(report.recommended) or "none, no task stands out"),
        "",
        *_ranked(report),
        "",
        "Data Characteristics:",
        f"  Response Length: {report.average_length} characters average ({report.length_class} responses)",
        f"  User Patterns: {report.how_to_share:.0%} how-to questions,"
        f" {report.definition_share:.0%} definition questions, {report.other_share:.0%} other",
        f"  Content Focus: {_focus(report)}",
        f"  With passages: {report.passages_share:.0%} of the exchanges",
        "",
        "Satisfaction and usable data:",
        *(_feedback(line) for line in report.tasks if line.count or line.usable),
        "",
        *_weeks(report),
        "",
        *_drift(report),
    ]
    return "\n".join(lines)


def _distribution(report: TaskReport) -> list[str]:
    counts = [(line.name, line.count) for line in report.tasks if line.count]
    counts += [(UNCLASSIFIED, report.unclassified)] if report.unclassified else []
    return [f"  {name}: {count / report.exchanges:.1%} (score: {count})" for name, count in counts]


def _ranked(report: TaskReport) -> list[str]:
    shares = {line.name: line.share for line in report.tasks}
    return [
        f"{rank.capitalize()} Task: {name} ({shares[name]:.1%})"
        for rank, name in zip(RANKS, report.recommended, strict=False)
    ]


def _focus(report: TaskReport) -> str:
    about = ", ".join(report.terms) or "no terms stand out"
    form = "structured" if report.structured_share >= STRUCTURED_SHARE else "plain"
    return (
        f"{about}; {form} responses (lists or code in {report.structured_share:.0%}, code in {report.code_share:.0%})"
    )


def _feedback(line: TaskLine) -> str:
    liked = "not rated"
    if line.satisfaction is not None:
        liked = f"{line.ups} up, {line.downs} down ({line.satisfaction:.0%} satisfied)"
    return f"  {line.name}: {liked}; {line.usable} usable examples, {line.held_out} held out"


def _weeks(report: TaskReport) -> list[str]:
    """A table of the last weeks: exchanges, satisfaction, and each task's share with its own satisfaction."""
    shown = report.weeks[-SHOWN_WEEKS:]
    names = [line.name for line in report.tasks] + [UNCLASSIFIED]
    names = [name for name in names if any(name in week.tasks for week in shown)]
    if not shown:
        return ["By week: no exchange has a date."]
    table = [["week from", *(week.start[5:] for week in shown)], ["exchanges", *(str(w.exchanges) for w in shown)]]
    table += [["satisfied", *(_percent(week.satisfaction) for week in shown)]]
    table += [[name[:_WIDEST], *(_cell(week, name) for week in shown)] for name in names]
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    title = f"By week, the last {len(shown)} of {len(report.weeks)}: share of the exchanges / satisfied of those rated:"
    return [title, *(_table_line(row, widths) for row in table)]


def _table_line(row: list[str], widths: list[int]) -> str:
    cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
    return "  " + "  ".join(cells).rstrip()


def _cell(week: Week, name: str) -> str:
    if name not in week.tasks:
        return "-"
    task = week.tasks[name]
    return f"{task.share:.0%}" + (f"/{task.satisfaction:.0%}" if task.satisfaction is not None else "")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _drift(report: TaskReport) -> list[str]:
    found = report.drift
    if found is None:
        return ["Drift: nothing to compare with, until a cycle has ended and people have asked before and after it."]
    said = f"{found.reading} (population stability index {found.psi:.2f}; chance stays under {found.chance:.2f})"
    lines = [f"Drift since the last cycle ({found.since[:10]}, {found.before} exchanges before, {found.after} since):"]
    lines += [f"  Tasks: {said}"]
    for verb, moved in (("Grew", found.grew), ("Shrank", found.shrank)):
        if moved:
            lines.append(f"  {verb}: " + ", ".join(f"{name} {change:+.1%}" for name, change in moved.items()))
    return lines
