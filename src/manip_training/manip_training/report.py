"""All measured figures in one document, from the run folders that hold them; never by hand."""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from manip_training import plots
from manip_training.eval_report import format_value
from manip_training.report_sources import Figure, Source, name_of, read_source

OUT_MD, OUT_JSON = Path("docs/results.md"), Path("docs/results.json")
# Where benchmarks leave their figures, and where trainings leave themselves.
MEASURED, RUNS = Path("docs/measured"), Path("runs")


def write_report(
    run_folders: Iterable[str | Path],
    out_md: str | Path = OUT_MD,
    out_json: str | Path = OUT_JSON,
) -> list[str]:
    """Write the figures of runs as a document, as a flat JSON object, and as learning curves.

    The same folders make the same bytes. Ids in a figures.json stay as they are, unless two sources
    use the same: then the source's name is put before them. Those of an evaluation are
    ``run/evaluation/id``.

    Args:
        run_folders: Folders with config.yaml, run.json, metrics.jsonl, and where there are any,
            ``eval/NAME/metrics.json`` and figures.json; or a figures.json on its own, or a folder
            that holds nothing else of these.
        out_md: The document; the curves go to ``images`` beside it.
        out_json: ``{id: value}``.

    Returns:
        What was left out and why, one line each.

    Raises:
        ValueError: No folders were given, or two of the same name.
    """
    paths = [Path(path) for path in run_folders]
    if not paths:
        raise ValueError("nothing to report: no run folder and no figures.json was given")
    if twice := [name for name, count in Counter(map(name_of, paths)).items() if count > 1]:
        raise ValueError(f"run folders must have names of their own, got two of {twice}")
    problems: list[str] = []
    sources = []
    for path in paths:
        try:
            sources.append(read_source(path, problems))
        except ValueError as error:
            problems.append(f"{name_of(path)}: {error}")
    sources = _with_own_ids(sources)
    out_md, out_json = Path(out_md), Path(out_json)
    for out in (out_md, out_json):
        out.parent.mkdir(parents=True, exist_ok=True)
    images = {source.name: _draw(source, out_md.parent / "images") for source in sources}
    out_md.write_text(_document(sources, images, problems))
    values = {f.id: f.value for s in sources for t in s.tables for f in t.figures}
    out_json.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n")
    return problems


def main(argv: list[str] | None = None) -> None:
    """``manip report [FOLDER …]``: docs/results.md and docs/results.json from run folders."""
    parser = argparse.ArgumentParser(prog="manip report", description=main.__doc__)
    parser.add_argument(
        "folders",
        nargs="*",
        type=Path,
        help=f"run folders or figures.json; by default {MEASURED}/* and {RUNS}/*",
    )
    parser.add_argument("--md", type=Path, default=OUT_MD, help="where the document goes")
    parser.add_argument("--json", type=Path, default=OUT_JSON, help="where the values go")
    options = parser.parse_args(argv)
    folders = options.folders or sorted(
        path for place in (MEASURED, RUNS) for path in place.glob("*") if path.is_dir()
    )
    for problem in write_report(folders, options.md, options.json):
        print(f"left out: {problem}")
    print(f"written to {options.md} and {options.json}")


def _draw(source: Source, folder: Path) -> Path | None:
    if not source.curves:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w.-]+", "_", source.name)
    figure = plots.learning_curves(source.curves, source.name)
    return plots.save(figure, folder / f"learning_{name}.png")


def _with_own_ids(sources: list[Source]) -> list[Source]:
    """The sources, with their names before ids that several of them use."""
    users = Counter(f.id for s in sources for t in s.tables for f in t.figures)
    for source in sources:
        for table in source.tables:
            table.figures = [
                replace(f, id=f"{source.name}/{f.id}") if users[f.id] > 1 else f
                for f in table.figures
            ]
    return sources


def _document(sources: list[Source], images: dict[str, Path | None], problems: list[str]) -> str:
    figures = [f for source in sources for table in source.tables for f in table.figures]
    missed = [figure for figure in figures if figure.met is False]
    met = sum(figure.met is True for figure in figures)
    parts = [
        "# Results",
        "Written by `manip report` from run folders; do not edit. The id of each figure, in "
        "brackets, is its key in the JSON file beside this one. An evaluation that does not tell "
        "its own revision and device is shown with those of its training.",
        f"{len(figures)} figures; of {met + len(missed)} with a bound, {met} keep it"
        + (f" and these do not: {', '.join(f'`{f.id}`' for f in missed)}." if missed else "."),
    ]
    if problems:
        parts += ["**Left out:**", "\n".join(f"- {problem}" for problem in problems)]
    for source in sources:
        parts += [f"## {source.name}", *source.lines]
        if image := images[source.name]:
            parts.append(f"![Learning curves of {source.name}](images/{image.name})")
        for table in source.tables:
            parts += [f"### {table.heading}"] if table.heading else []
            parts += [*table.lines, _markdown(table.figures)]
    return "\n\n".join(parts) + "\n"


def _markdown(figures: list[Figure]) -> str:
    """A table; commands are numbered below it, as many figures share one."""
    commands = list(dict.fromkeys(figure.command for figure in figures))
    rows = [
        (
            f"{f.label} (`{f.id}`)".strip(),
            f"{format_value(f.value)} {f.unit}".strip(),
            f.reach + {True: ", met", False: ", **missed**", None: ""}[f.met],
            str(commands.index(f.command) + 1),
            f.git,
            f.device,
        )
        for f in figures
    ]
    heads = ("figure", "value", "to reach", "command", "git", "device")
    lines = [heads, ("---", "--:", "---", "---", "---", "---"), *rows]
    text = "\n".join(
        f"| {' | '.join(c.replace('|', chr(92) + '|') for c in row)} |" for row in lines
    )
    return text + "\n\n" + "\n".join(f"{i}. `{command}`" for i, command in enumerate(commands, 1))
