"""The documents say what is so: their links, commands, recipes and scripts are followed, parsed, validated and run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trimesh
import typer
import yaml
from omegaconf import OmegaConf
from PIL import Image
from tests.recipes import EXPERIMENTS, STUDIES, TABLES, load_tables

import polyview
from polyview import Experiment, Study, load_study
from polyview.cli import app, main
from polyview.recipe import build_corpus, is_zip, load_experiment, to_yaml
from polyview.storage.home import REPOSITORY
from polyview.trials.design import plan

MOST_WORDS = 1200
FOLDERS = ("ablations", "experiments", "platform", "tests")
README = REPOSITORY / "README.md"
DOCUMENTS = [README, *(path for folder in FOLDERS for path in sorted((REPOSITORY / folder).rglob("README.md")))]

COMMANDS: Any = typer.main.get_command(app)
VERBS = COMMANDS.commands

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")
TEST = re.compile(r"`(test_\w+)`")


def name(path: Path) -> str:
    """A document as a person calls it."""
    return str(path.relative_to(REPOSITORY))


def prose(document: Path) -> str:
    """A document without its blocks of code."""
    return BLOCK.sub("", document.read_text())


def blocks(*languages: str) -> Iterator[Any]:
    """Every block of code in one of these languages, as a test's parameter: the document and the text."""
    for document in DOCUMENTS:
        for number, (language, text) in enumerate(BLOCK.findall(document.read_text())):
            if language in languages:
                yield pytest.param(document, text, id=f"{name(document)}-{number}")


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Every command of polyview in a block of code: the document, and the words after `polyview`."""
    for block in blocks("", "sh", "bash", "console"):
        document, text = block.values
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words and words[0] in ("polyview", ".venv/bin/polyview"):
                yield name(document), words[1:]


KEPT_TABLES = [
    pytest.param(document, words, id=" ".join(words))
    for document, words in command_lines()
    if words[0] == "table" and is_zip(REPOSITORY / words[1])
]
BUNDLED = {words[words.index("-o") + 1] for _, words in command_lines() if words[0] == "bundle" and "-o" in words}


def anchors(document: Path) -> set[str]:
    """What a link may have after its `#`, made of the headings as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)) for heading in headings)
    return {heading.strip().lower().replace(" ", "-") for heading in plain}


def sets_of(parameters: dict[str, Any]) -> list[str]:
    return list(parameters.get("sets") or ())


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    lost = []
    for text, target in LINK.findall(prose(document)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        place = (document.parent / file).resolve() if file else document
        found = place.exists() and place.is_relative_to(REPOSITORY) and not target.startswith("/")
        if not found or (anchor and anchor not in anchors(place)):
            lost.append(f"[{text}]({target})")
    assert lost == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_test_that_is_named_is_in_the_file_that_is_linked(document: Path) -> None:
    text = prose(document)
    linked = {label.strip("`"): target for label, target in LINK.findall(text) if TEST.fullmatch(label)}
    assert set(TEST.findall(text)) == set(linked)
    absent = [test for test, target in linked.items() if f"def {test}(" not in (document.parent / target).read_text()]
    assert absent == []


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(README.read_text().split()) <= MOST_WORDS


def test_the_map_names_every_folder_of_the_package_in_the_order_in_which_they_import() -> None:
    (shown,) = (text for _, text in BLOCK.findall(README.read_text()) if "platform/polyview/" in text)
    rooms = re.findall(r"^    (\w+)/ ", shown, re.MULTILINE)
    package = REPOSITORY / "platform" / "polyview"
    assert set(rooms) == {path.parent.name for path in package.glob("*/__init__.py")}
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]
    floors = [re.split(r" [:|] ", layer) for contract in settings["contracts"] for layer in contract.get("layers", ())]
    level = {module.removeprefix("polyview."): number for number, floor in enumerate(floors) for module in floor}
    assert rooms == sorted(rooms, key=lambda room: level[room])


@pytest.mark.parametrize(("document", "words"), [pytest.param(*line, id=" ".join(line[1])) for line in command_lines()])
def test_a_command_that_is_shown_is_understood(document: str, words: list[str]) -> None:
    """Parsed as the command line parses it, and not run; its recipe and what it sets must be valid."""
    assert words[0] in VERBS, f"{document}: there is no such command"
    context = VERBS[words[0]].make_context(words[0], words[1:])
    parameters = context.params
    if Path(bundle := str(parameters.get("path") or parameters.get("study") or "")).suffix == ".zip":
        assert bundle in BUNDLED or (REPOSITORY / bundle).is_file(), f"{document}: no command makes {bundle}"
    elif parameters.get("study"):
        load_study(REPOSITORY / parameters["study"], *sets_of(parameters))
    elif words[0] == "table" and not any(is_zip(REPOSITORY / file) for file in parameters["files"]):
        assert load_tables([REPOSITORY / file for file in parameters["files"]], sets_of(parameters), {})
    elif "experiment" in parameters:
        load_experiment(REPOSITORY / parameters["experiment"], sets_of(parameters))
    elif "dataset" in parameters:
        build_corpus(parameters["dataset"], parameters["root"], sets_of(parameters))
    elif words[0] == "submit":
        test_a_command_that_is_shown_is_understood(document, parameters["words"])


@pytest.mark.parametrize(("document", "words"), KEPT_TABLES)
def test_a_table_that_is_shown_is_what_its_command_prints(
    document: str, words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the project's own results, which lie beside the studies as bundles."""
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(rows) > 2
    assert "\n".join(rows) in (REPOSITORY / document).read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_a_command_or_option_that_is_named_in_a_sentence_exists(document: Path) -> None:
    """`polyview VERB …` with placeholders is not parsed: the verb and the options in it must be there."""
    known = {option for command in VERBS.values() for parameter in command.params for option in parameter.opts}
    known |= {"--debug", "--help"}
    strange = []
    for span in SPAN.findall(prose(document)):
        words = span.replace("\\|", "|").split()
        if words[0] == "polyview" and len(words) > 1:
            if words[1] not in VERBS:
                strange.append(span)
                continue
            own = {option for parameter in VERBS[words[1]].params for option in parameter.opts} | {"--"}
            strange += [span for word in words[2:] if word.startswith("-") and word not in own]
        elif words[0].startswith("--") and len(words) <= 2 and words[0] not in known:
            strange.append(span)
    assert strange == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_a_make_target_that_is_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make (\w+)", document.read_text(), re.MULTILINE)) <= targets


@pytest.mark.parametrize(("document", "text"), blocks("yaml"))
def test_a_piece_of_a_recipe_or_a_study_is_valid(document: Path, text: str, tmp_path: Path) -> None:
    """A whole study or a table is loaded as it stands; a piece takes its place in the quickstart first."""
    (tmp_path / "experiments").symlink_to(REPOSITORY / "experiments")
    (tmp_path / "ablations").mkdir()
    file = tmp_path / "ablations" / "study.yaml"
    written, quickstart = yaml.safe_load(text), REPOSITORY / "ablations" / "quickstart.yaml"
    if "studies" in written:
        shutil.copy(quickstart, file.parent)
        file.write_text(text)
        assert load_tables([file], [], {}), name(document)
        return
    if "experiment" not in written:
        own = {key: value for key, value in written.items() if key in Study.model_fields}
        rest = {key: value for key, value in written.items() if key not in own}
        recipe = yaml.safe_load((REPOSITORY / "experiments" / "quickstart.yaml").read_text())
        study = {**yaml.safe_load(quickstart.read_text()), **own, "experiment": recipe}
        written = OmegaConf.to_container(OmegaConf.merge(study, {"experiment": rest}))
    file.write_text(yaml.safe_dump(written))
    assert plan(load_study(file)), name(document)


def test_the_citation_is_of_this_version_and_of_both_papers() -> None:
    cited = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert (cited["version"], cited["license"]) == (polyview.__version__, settings["license"])
    assert [paper["url"].rpartition("/")[2] for paper in cited["references"]] == ["2506.01203", "2505.09336"]
    assert all(paper["url"] in README.read_text() for paper in cited["references"])
    assert (REPOSITORY / "LICENSE").read_text().startswith(f"{settings['license']} License")


@pytest.mark.parametrize("file", EXPERIMENTS, ids=name)
def test_every_recipe_of_the_project_loads(file: Path) -> None:
    assert isinstance(load_experiment(file), Experiment)


@pytest.mark.parametrize("file", STUDIES, ids=name)
def test_every_study_of_the_project_loads_and_can_be_planned(file: Path) -> None:
    assert plan(load_study(file))


@pytest.mark.parametrize("file", TABLES, ids=name)
def test_every_table_of_the_project_loads(file: Path) -> None:
    (table,) = load_tables([file], [], {})
    assert len(table.studies) > 1


@pytest.mark.parametrize("folder", ["experiments", "ablations"])
def test_every_recipe_is_in_the_list_beside_it(folder: str) -> None:
    text = (REPOSITORY / folder / "README.md").read_text()
    files = {path.relative_to(REPOSITORY / folder).as_posix() for path in (REPOSITORY / folder).rglob("*.yaml")}
    assert {target for _, target in LINK.findall(text) if target.endswith(".yaml") and ".." not in target} == files


@pytest.fixture(scope="module")
def folder(tiny: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the study of the quickstart's path is a tiny one, which has run, and where a scan and a photo lie."""
    folder = tmp_path_factory.mktemp("scripts")
    once = tiny.model_copy(update={"training": tiny.training.model_copy(update={"epochs": 1})})
    (folder / "ablations").mkdir()
    (folder / "ablations" / "tiny.yaml").write_text(to_yaml(once))
    (folder / "ablations" / "quickstart.yaml").write_text(
        "name: quickstart\nexperiment: tiny.yaml\nseeds: [0, 1]\nreferences: false\n"
        "remove: {no alignment: objective.alignment}\n"
    )
    trimesh.creation.icosphere().export(folder / "scan.ply")
    Image.new("RGB", (64, 64), "gray").save(folder / "photo.png")
    _run(folder, "-m", "polyview", "ablate", "ablations/quickstart.yaml")
    return folder


def _run(folder: Path, *words: str) -> str:
    """What Python prints in a folder, with the package under test and no setting of the tests' own."""
    strange = ("POLYVIEW_HOME", "MLFLOW_TRACKING_URI", "RAY_ADDRESS")
    environment = {key: value for key, value in os.environ.items() if key not in strange}
    # The folder of a script comes first among those that are imported from; the package is the one under test.
    environment["PYTHONPATH"] = str(Path(polyview.__file__).parents[1])
    said = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert said.returncode == 0, said.stderr
    return said.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("document", "text"), blocks("python"))
def test_a_script_that_is_shown_runs(document: Path, text: str, folder: Path) -> None:
    (folder / "script.py").write_text(text)
    said = _run(folder, "script.py")
    if "run_study" in text:
        assert "no alignment" in said, name(document)
        page = Path(said.splitlines()[-1])
        assert page.is_relative_to(folder)
        assert page.is_file()
    if "pyfunc" in text:
        assert re.match(r"\s*expression .*\n0 .*\n1 ", said), name(document)
