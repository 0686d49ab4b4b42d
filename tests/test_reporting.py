"""The page needs no network, escapes all texts, and depends on its inputs alone."""

import json
import re
import shutil
import subprocess
import time
from collections import Counter
from html.parser import HTMLParser
from xml.etree import ElementTree

import matplotlib as mpl
import pandas as pd
import pytest
from conftest import ROOT
from safetensors.torch import load_file
from test_evaluation import DAMAGES, as_results, change_json, files_in, many_texts

from sentiformer.baselines.logistic_regression import KINDS
from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json, sha256
from sentiformer.core.params import read_yaml
from sentiformer.evaluation.defaults import DEFAULTS
from sentiformer.evaluation.examples import examples
from sentiformer.evaluation.figures import PAGE_COLORS, draw_all, in_page
from sentiformer.evaluation.groups import length_table
from sentiformer.evaluation.limits import class_limits, language_limit, length_limit
from sentiformer.evaluation.metrics import compute_metrics
from sentiformer.evaluation.report import (
    EXAMPLES,
    TABLES,
    count_weights,
    parameters,
    read_table,
    write_report,
)
from sentiformer.evaluation.sentences import comparison_rows, verdict
from sentiformer.evaluation.tables import make_tables, predictions_table

VOID = "meta br hr img input link".split()
LOADING = "src srcset href xlink:href action data poster formaction background".split()
FORBIDDEN = {"script", "link", "iframe", "object", "embed", "base", "form"}
CSVS = [name for name, _ in TABLES.values()]
INPUTS = [
    "model/config.json",
    "evaluation/lineage.json",
    "evaluation/metrics.json",
    "evaluation/predictions.parquet",
    *(f"evaluation/baselines/{name}.json" for name in KINDS),
    "evaluation/models/ensemble.json",
    *CSVS,
]


class Page(HTMLParser):
    """Parses a page, and fails if its tags are not nested correctly."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.ids, self.texts = [], set(), [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        self.texts.append(data)


def report(data, folder):
    """Write the report on `data`; returns its HTML."""
    folder.mkdir(exist_ok=True)
    write_report(data, folder)
    return (folder / "report.html").read_text(encoding="utf-8")


def change_predictions(data, change):
    path = data / "evaluation" / "predictions.parquet"
    table = pd.read_parquet(path)
    change(table)
    table.to_parquet(path, index=False)


def texts_of(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.text]


@pytest.fixture(scope="module")
def html(data):
    """The report of the tiny project."""
    return (data / "report" / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tables(data):
    return {name: read_table(data, *place) for name, place in TABLES.items()}


@pytest.fixture
def copy(data, tmp_path):
    return shutil.copytree(data, tmp_path / "data")


@pytest.fixture(params=[["1", "2", "3"], ["good", "NA", "$5-$10 <b>"]], ids=["numbers", "odd"])
def three_labels(copy, request):
    """The evaluation of a model of three classes with unusual names."""
    labels = request.param
    probabilities, actual = many_texts(3, texts=120)
    results = as_results(probabilities, actual)
    metrics = compute_metrics(probabilities, actual)
    tables = make_tables(results, labels)
    predictions = predictions_table(["a text"] * 120, results, labels, {})
    folder = copy / "evaluation"
    predictions.to_parquet(folder / "predictions.parquet", index=False)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)

    def relabel(about):
        about["labels"] = labels
        for split in about["data"]["splits"].values():
            split["label_counts"] = dict.fromkeys(labels, 40)

    change_json(copy / "model" / "config.json", relabel)
    return copy, labels, predictions


def test_page_loads_nothing(html):
    page = Page(html)
    assert not page.tags & FORBIDDEN
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    loaded = [value for name, value in page.attributes if name in LOADING]
    assert loaded, "the figures refer to their own parts"
    assert all(value.startswith("#") for value in loaded)
    assert "@import" not in html
    assert {address[:1] for address in re.findall(r"url\(\s*['\"]?([^)]*)", html)} == {"#"}


def test_ids_are_unique_and_all_references_exist(html):
    page = Page(html)
    assert len(page.ids) > 100, "the figures have ids"
    assert len(set(page.ids)) == len(page.ids)
    referred = re.findall(r"(?:href=\"#|url\(#)([^\")]+)", html)
    assert set(referred) <= set(page.ids)


def test_page_has_results_data_parameters_and_how_to_reproduce_it(html, data):
    text = Page(html).text
    about = read_json(data / "model" / "config.json", made_by="train")
    metrics = read_json(data / "evaluation" / "metrics.json", made_by="evaluate")
    weights = sha256(data / "model" / "model.safetensors")
    assert f"{100 * metrics['accuracy']:.2f} %" in text
    assert f"{metrics['log_loss']:.4f} log loss" in text
    assert f"of {metrics['texts']} test texts get the right class" in text
    for split in about["data"]["splits"].values():
        assert split["fingerprint"][:16] in text
    for section, keys in about["params"].items():
        for key, value in keys.items():
            assert f"{section}.{key} {'null' if value is None else value}" in text
    for value in about["environment"].values():
        assert str(value) in text
    commands = "SENTIFORMER_THREADS=1 make sha256sum data/model/model.safetensors"
    assert f"{commands} # {weights}" in text


def test_figures_are_in_the_page_and_in_files(data, html):
    files = sorted((data / "report" / "figures").glob("*.svg"))
    drawn = "accuracy by_length calibration confusion coverage loss precision_recall".split()
    drawn += ["pretraining", "pushes", "roc"]
    assert [path.stem for path in files] == drawn
    for path in files:
        svg = path.read_text(encoding="utf-8")
        assert in_page(svg).strip() in html
        assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"


def test_figures_have_the_same_bytes_with_another_matplotlibrc(tables):
    first = draw_all(tables, ["negative", "positive"], 1)
    with mpl.rc_context({"lines.linewidth": 9, "font.family": "serif", "axes.grid": True}):
        assert draw_all(tables, ["negative", "positive"], 1) == first


def test_figures_contain_the_numbers_of_their_tables(tables):
    history = tables["history"]
    epoch = int(history["epoch"].iloc[-1])
    figures = draw_all(tables, ["negative", "positive"], epoch)
    counts = tables["confusion"].value_counts(["actual", "predicted"])
    for count in counts:
        assert str(count) in texts_of(figures["confusion"])
    reached = history["valid_accuracy"].iloc[-1]
    assert f"model {reached:.2%}" in texts_of(figures["accuracy"])
    for row in tables["by_length"].itertuples():
        assert {row.tokens, f"{row.accuracy:.1%}"} <= set(texts_of(figures["by_length"]))


def test_figures_of_the_page_have_the_colors_of_its_style(data, html):
    style = html[: html.index("</style>")]
    variables = {name for color in PAGE_COLORS.values() for name in re.findall(r"--\w+", color)}
    for scheme in (style.split("@media")[0], style.split("@media (prefers-color-scheme: dark)")[1]):
        assert all(f"{name}: #" in scheme for name in variables)
    shown = html[html.index("</style>") :]
    assert not [color for color in PAGE_COLORS if color in shown]
    files = list((data / "report" / "figures").glob("*.svg"))
    assert not any("var(" in path.read_text(encoding="utf-8") for path in files)


def test_epoch_of_the_model_is_marked(tables):
    drawn = [draw_all(tables, ["negative", "positive"], epoch)["accuracy"] for epoch in (1, 2)]
    assert drawn[0] != drawn[1]


def test_text_with_markup_is_shown_as_text(copy, tmp_path):
    text = "<script>alert(1)</script> & <img src=x onerror='alert(2)'> {{ 7 * 7 }}"

    def spoil(table):
        table.loc[0, ["text", "actual", "predicted"]] = [text, "negative", "positive"]
        table.loc[0, "probability_positive"] = 1.0

    change_predictions(copy, spoil)
    page = Page(report(copy, tmp_path / "report"))
    assert text in page.text
    assert not page.tags & {"script", "img"}


def test_facts_with_markup_are_shown_as_text(copy, tmp_path):
    text = "<script>alert(1)</script> & \"' onload=alert(2) <img src=x>"

    def spoil(about):
        for facts in (about["data"]["origin"], about["environment"], *about["params"].values()):
            facts |= {name: text for name, value in facts.items() if isinstance(value, str)}
        about["params"]["download"][text] = text
        about["environment"][text] = text
        about["made_from"] = {text: text}
        about["training_key"] = about["data"]["segmenter"] = text
        about["data"]["splits"]["train"]["fingerprint"] = text
        about["data"]["splits"]["train"]["languages"] = {text: 1}
        about["data"]["left_out"] = {text: {text: 1}}
        about["params"]["tokenize"]["language"] = "en"

    change_json(copy / "model" / "config.json", spoil)
    page = Page(report(copy, tmp_path / "report"))
    shown = " ".join(text.split())
    assert page.text.count(shown) > 15
    assert not page.tags & FORBIDDEN | page.tags & {"img"}
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_unusual_labels_are_drawn_and_escaped(three_labels, tmp_path):
    copy, labels, predictions = three_labels
    page = Page(report(copy, tmp_path / "report"))
    assert labels[2] in page.text
    confusion = (tmp_path / "report" / "figures" / "confusion.svg").read_text(encoding="utf-8")
    shown = texts_of(confusion)
    assert set(labels) <= set(shown)
    for count in predictions.value_counts(["actual", "predicted"]):
        assert str(count) in shown
    roc = (tmp_path / "report" / "figures" / "roc.svg").read_text(encoding="utf-8")
    assert set(labels) <= set(texts_of(roc))


def drawn(labels, texts=600):
    """The figures of an evaluation, and its texts by actual and predicted class."""
    probabilities, actual = many_texts(len(labels), texts=texts)
    results = as_results(probabilities, actual)
    tables = make_tables(results, labels) | {"by_length": length_table(results)}
    history = pd.DataFrame({"epoch": [1], "step": [9], "valid_loss": [1], "valid_accuracy": [0.5]})
    steps = pd.DataFrame({"step": [1, 9], "loss": [2, 1]})
    coverage = pd.DataFrame(columns=["model", "split", "source", "coverage", "errors"])
    tables |= {"steps": steps, "history": history, "coverage": coverage}
    tables["pushes"] = pd.DataFrame(
        {"class": labels, "words": "a\x01word", "n": 1, "texts": 3, "mean": 0.1, "total": 0.3}
    )
    figures = draw_all(tables, labels, 1)
    return figures, tables["confusion"].value_counts(["actual", "predicted"])


def width_of(svg):
    return float(ElementTree.fromstring(svg).get("width").removesuffix("pt"))


@pytest.mark.parametrize("classes", [5, 20, 60])
def test_confusion_matrix_of_many_classes_is_larger_and_omits_zeros(classes):
    labels = [f"class {number}" for number in range(classes)]
    figures, counts = drawn(labels)
    shown = texts_of(figures["confusion"])
    assert Counter(text for text in shown if text.isdecimal()) == Counter(map(str, counts))
    assert sorted(text for text in shown if text.startswith("class")) == sorted(labels * 2)
    assert width_of(figures["confusion"]) > 20 * classes, "a cell has room for its number"
    assert width_of(figures["confusion"]) > width_of(figures["calibration"])


def test_labels_that_begin_with_an_underscore_are_in_the_legend(recwarn):
    labels = ["__label__a", "_b", "c"]
    figures, _ = drawn(labels)
    for name in ("roc", "precision_recall"):
        assert set(labels) <= set(texts_of(figures[name]))
    assert not recwarn.list


@pytest.mark.parametrize(("classes", "names"), [(3, True), (8, True), (9, False), (20, False)])
def test_curves_have_names_if_their_colors_differ(classes, names):
    labels = [f"class {number}" for number in range(classes)]
    figures, _ = drawn(labels)
    for name in ("roc", "precision_recall"):
        assert set(labels).issubset(texts_of(figures[name])) is names
        assert (f"{classes} classes, one curve each" in texts_of(figures[name])) is not names
        colors = re.findall(r'fill: none; stroke: (#\w+);[^"]*stroke-width: 1.5', figures[name])
        assert len(set(colors)) == (classes if names else 1)


def test_long_label_is_shortened_in_figures_only(three_labels, tmp_path):
    copy, labels, _ = three_labels
    long = "a label of very many words that no axis has room for"
    for name in ("confusion", "by_class", "roc", "precision_recall"):
        path = copy / "evaluation" / f"{name}.csv"
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table.replace(labels[0], long).to_csv(path, index=False)

    def rename(about):
        about["labels"][0] = long
        for split in about["data"]["splits"].values():
            split["label_counts"] = dict.fromkeys(about["labels"], 40)

    change_json(copy / "model" / "config.json", rename)
    page = Page(report(copy, tmp_path / "report"))
    shown = texts_of((tmp_path / "report/figures/confusion.svg").read_text(encoding="utf-8"))
    assert shown.count("a label of v…as room for") == 2
    assert page.text.count(long) >= 2, "scores, and texts of each split"


def test_characters_without_a_font_cause_no_warning(recwarn):
    labels = ["体育", "财经", "科技"]
    figures, _ = drawn(labels)
    for name in ("confusion", "roc", "precision_recall"):
        assert set(labels) <= set(texts_of(figures[name]))
    assert not recwarn.list


def test_page_names_the_tokenizer(copy, html, tmp_path):
    assert "Tokens: spaCy's rules, language en, lower-cased." in Page(html).text

    def to_chinese(about):
        about["data"]["segmenter"], about["params"]["tokenize"]["language"] = "characters", "zh"

    change_json(copy / "model" / "config.json", to_chinese)
    text = Page(report(copy, tmp_path / "report")).text
    assert "Tokens: spaCy's characters, language zh, lower-cased." in text


def test_page_counts_the_removed_texts_by_reason(copy, tmp_path):
    removed = {"duplicates": 1234, "contradictions": 22, "leaked": 333}
    path = copy / "model" / "config.json"
    change_json(path, lambda about: about["data"]["removed"].update(removed))
    text = " ".join(Page(report(copy, tmp_path / "report")).text.split())
    assert "duplicates 1,234; equal texts with different labels 22;" in text
    assert "texts that are also in validation or test 333." in text


@pytest.mark.parametrize(
    ("pairs", "triples", "expected"),
    [
        (40, 30, "vectors of 60 words, 40 pairs and 30 triples of words. Its Transformer"),
        (40, 0, "vectors of 60 words, 40 pairs of words. Its Transformer"),
        (0, 0, "vectors of 60 words. Its Transformer"),
    ],
)
def test_page_counts_the_ngrams_of_the_vocabulary(copy, tmp_path, pairs, triples, expected):
    change_json(
        copy / "model" / "config.json", lambda about: about.update(pairs=pairs, triples=triples)
    )
    assert expected in Page(report(copy, tmp_path)).text


def test_page_of_a_model_without_mistakes_says_so(copy, tmp_path):
    def correct(table):
        table["predicted"] = table["actual"]

    change_predictions(copy, correct)
    assert "The model makes no mistake on test." in Page(report(copy, tmp_path / "report")).text


def probabilities_of(table):
    return table[["probability_negative", "probability_positive"]].max(axis=1)


def test_examples_are_confident_mistakes_and_unsure_answers(data):
    table = pd.read_parquet(data / "evaluation" / "predictions.parquet")
    is_wrong = table["actual"] != table["predicted"]
    confidence = probabilities_of(table)
    mistakes = examples(table, {}, 3, right=False)
    expected = sorted(confidence[is_wrong], reverse=True)[:3]
    assert [example["probability"] for example in mistakes] == expected
    assert all(example["actual"] != example["predicted"] for example in mistakes)
    unsure = examples(table, {}, 3, right=True)
    assert [example["probability"] for example in unsure] == sorted(confidence[~is_wrong])[:3]
    assert all(example["actual"] == example["predicted"] for example in unsure)
    assert len(examples(table, {}, 1000, right=False)) == is_wrong.sum()


def test_long_examples_are_shortened(data):
    table = pd.read_parquet(data / "evaluation" / "predictions.parquet")
    for example in examples(table.assign(text="word<br />" * 300), {}, 3, right=False):
        ((text, mark),) = example["words"]
        assert not mark
        for shown, longest in ((text, 702), (example["start"], 92)):
            assert shown.startswith("word word ")
            assert shown.endswith("word …")
            assert longest - 10 < len(shown) <= longest


def test_text_without_spaces_is_cut_within_a_word(data):
    table = pd.read_parquet(data / "evaluation" / "predictions.parquet")
    (example,) = examples(table.assign(text="标题 " + "影" * 1000), {}, 1, right=False)
    assert example["words"] == [("标题 " + "影" * 697 + " …", 0)]
    assert example["start"] == "标题 " + "影" * 87 + " …"


def test_page_shows_its_examples_folded(html, data):
    table = pd.read_parquet(data / "evaluation" / "predictions.parquet")
    shown = [
        example for right in (False, True) for example in examples(table, {}, EXAMPLES, right=right)
    ]
    doubtful = pd.read_csv(data / "evaluation" / "label_issues.csv").head(EXAMPLES)
    assert html.count('<details class="example">') == len(shown) + len(doubtful) > EXAMPLES
    text = "".join(Page(html).text.split())  # marks divide words
    for example in shown:
        ((words, _),) = example["words"]
        assert "".join(words.split()) in text


def test_evaluation_of_another_model_is_refused(copy, tmp_path):
    change_json(
        copy / "evaluation" / "lineage.json", lambda lineage: lineage.update(model_sha256="0" * 64)
    )
    with pytest.raises(UserError, match=r"evaluation is not of the model in .*; run `dvc repro`"):
        report(copy, tmp_path / "report")


@pytest.mark.parametrize(
    ("name", "damage"),
    [(n, d) for n in INPUTS for d in DAMAGES if (n in CSVS, d) != (True, "truncated")],
)
def test_missing_or_corrupt_input_is_one_line_that_names_it(copy, tmp_path, name, damage):
    DAMAGES[damage](copy / name)
    word = "missing" if damage == "missing" else "corrupt"
    with pytest.raises(UserError, match=rf"{name} is {word}.*dvc repro") as error:
        report(copy, tmp_path / "report")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [name for name in INPUTS if name.endswith(".json")])
@pytest.mark.parametrize("content", ["{}", "[]", "null"])
def test_json_input_without_content_is_one_line(copy, tmp_path, name, content):
    (copy / name).write_text(content)
    with pytest.raises(UserError, match=rf"{name} is corrupt.*dvc repro"):
        report(copy, tmp_path / "report")


@pytest.mark.parametrize("name", CSVS)
def test_table_without_its_columns_is_corrupt(copy, tmp_path, name):
    _, *rows = (copy / name).read_text().splitlines(keepends=True)
    (copy / name).write_text("".join(rows))
    with pytest.raises(UserError, match=rf"{name} is corrupt .*dvc repro"):
        report(copy, tmp_path / "report")


def test_page_compares_the_transformer_with_each_baseline(html, data):
    text = Page(html).text
    for name, kind in KINDS.items():
        found = read_json(data / "evaluation" / "baselines" / f"{name}.json", made_by="evaluate")
        assert verdict(found, f"the {kind.title}") in text
        for shown in (f"{found['ngrams']:,}", f"{found['log_loss']:.4f}", f"{found['c']:g}"):
            assert shown in text


def test_table_of_the_models_has_a_cell_for_each(data):
    metrics = read_json(data / "evaluation" / "metrics.json", made_by="evaluate")
    best = read_json(data / "model" / "config.json", made_by="train")["best"]
    assert metrics["validation_accuracy"] == best["valid_accuracy"]
    baseline = {
        "accuracy": 0.9,
        "accuracy_low": 0.8,
        "accuracy_high": 0.95,
        "roc_auc": 0.91,
        "log_loss": 0.2,
        "calibration_error": 0.03,
        "validation_accuracy": 0.89,
        "c": 10.0,
        "ngrams": 12345,
        "difference": -0.0123,
        "difference_low": -0.03,
        "difference_high": 0.004,
        "transformer_alone": 7,
        "other_alone": 11,
        "p_value": 0.48,
    }
    rows = comparison_rows([metrics, baseline, baseline])
    assert {len(cells) for _, cells in rows} == {3}
    shown = "90.00|80.00 to 95.00|−1.23|−3.00 to +0.40|7|11|p = 0.48|0.9100|0.2000|0.0300|89.00"
    assert [cells[1] for _, cells in rows] == [*shown.split("|"), "10", "12,345"]
    transformer = [cells[0] for _, cells in rows]
    assert transformer[0] == f"{100 * metrics['accuracy']:.2f}"
    assert f"{100 * best['valid_accuracy']:.2f}" in transformer


def test_page_depends_on_its_inputs_alone(data, tmp_path, monkeypatch):
    """Another clone, without git and on another day, writes the same bytes."""
    report(data, tmp_path / "first")
    clone = shutil.copytree(data, tmp_path / "clone" / "data")
    monkeypatch.chdir(tmp_path / "clone")
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("it calls a program"))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    html = report(clone, tmp_path / "second")
    assert files_in(tmp_path / "first") == files_in(tmp_path / "second")
    for changing in (str(data), str(tmp_path), time.strftime("%Y-%m-%d"), "1970-01"):
        assert changing not in html


def test_page_describes_the_language_model_if_there_is_one(data, tmp_path, html):
    best = json.loads((data / "pretrained" / "metrics.json").read_text())
    assert f"Pretraining: perplexity {best['perplexity']:.1f}" in html
    copy = shutil.copytree(data, tmp_path / "data")
    path = copy / "model" / "config.json"
    about = json.loads(path.read_text())
    about["params"]["pretrain"]["epochs"] = 0
    path.write_text(json.dumps(about))
    shutil.rmtree(copy / "pretrained")
    assert "perplexity" not in report(copy, tmp_path / "report")
    assert not (tmp_path / "report" / "figures" / "pretraining.svg").exists()


def test_page_names_the_model_that_made_the_pseudo_labels(copy, tmp_path, html):
    assert "labelled." not in Page(html).text

    def use_pseudo_labels(about):
        about["params"]["teach"]["by"] = "nb_trigrams"

    change_json(copy / "model" / "config.json", use_pseudo_labels)
    assert (
        "parts of texts that nb_trigrams labelled." in Page(report(copy, tmp_path / "report")).text
    )


def give_sources(data, by_source):
    """Let the evaluation have these rows of by_source.csv."""
    path = data / "evaluation" / "by_source.csv"
    row = pd.read_csv(path).iloc[[0]]
    table = pd.concat([row.assign(**values) for values in by_source])
    table.to_csv(path, index=False)


def test_page_shows_the_metrics_of_each_source_if_there_are_several(copy, tmp_path, html):
    assert "By source" not in Page(html).text
    give_sources(
        copy,
        [
            {"source": "reviews", "texts": 2490, "accuracy": 0.9165},
            {"source": "sentences", "texts": 853, "accuracy": 0.798},
            {"source": "all", "texts": 3343, "accuracy": 0.8862},
        ],
    )
    text = Page(report(copy, tmp_path / "report")).text
    assert "reviews get the right class" in text
    assert "Of 853 test sentences, 79.80 % get the right class." in text
    assert "reviews sentences all texts 2,490 853 3,343 accuracy , % 91.65 79.80 88.62" in text


def test_page_warns_of_few_texts(copy, tmp_path, html):
    few = "Test has fewer than 200 texts, so all values on this page are uncertain."
    assert few in Page(html).text
    for name in ("by_length", "by_source"):
        path = copy / "evaluation" / f"{name}.csv"
        pd.read_csv(path).assign(texts=1000).to_csv(path, index=False)
    change_json(copy / "evaluation" / "metrics.json", lambda metrics: metrics.update(texts=1000))
    text = Page(report(copy, tmp_path / "report")).text
    assert few not in text
    assert "Fewer than 200 texts" not in text


def test_page_of_an_evaluation_on_one_class_says_what_is_undefined(copy, tmp_path):
    folder = copy / "evaluation"
    for path in (folder / "metrics.json", *folder.glob("*s/*.json")):
        change_json(path, lambda values: values.update(roc_auc=None))
    for name in ("roc", "precision_recall"):
        path = folder / f"{name}.csv"
        pd.read_csv(path).iloc[:0].to_csv(path, index=False)
    text = Page(report(copy, tmp_path / "report")).text
    assert "undefined ROC AUC" in text
    assert text.count("undefined: test has one class only") == 2


def test_class_without_a_test_text_has_no_scores(copy, tmp_path):
    path = copy / "evaluation" / "by_class.csv"
    table = pd.read_csv(path)
    table.loc[1, ["precision", "recall", "f1", "texts"]] = 0
    table.to_csv(path, index=False)
    text = Page(report(copy, tmp_path / "report")).text
    assert "positive – – – 0" in text
    assert "No test text, so that nothing is known about the class: positive." in text


def test_page_recommends_a_baseline_that_is_better(copy, tmp_path, html):
    def beat(found):
        found.update(accuracy=1.0, difference=-0.2, p_value=0.0001)

    path = copy / "evaluation" / "baselines" / "tfidf.json"
    change_json(path, beat)
    text = Page(report(copy, tmp_path / "report")).text
    assert "Advice: prefer the baseline tfidf: its accuracy is 20.0 points higher" in text


def test_page_counts_the_weights_of_each_part(copy, tmp_path, html):
    counts = count_weights(copy / "model" / "model.safetensors")
    weights = load_file(copy / "model" / "model.safetensors")
    total = sum(x.numel() for x in weights.values() if x.is_floating_point())
    assert sum(counts.values()) == total
    assert counts["classifier"] == 2 * 16 + 2
    assert counts["vectors"] == 16 * (60 + 41 + 31)
    text = Page(html).text
    assert f"{counts['vectors']:,} of them are the vectors of 60 words, 40 pairs and 30" in text
    assert f"Its Transformer has {counts['encoder']:,} in 1 encoder layer." in text


def test_defaults_are_those_of_params_yaml():
    """If params.yaml has other defaults now, change evaluation/defaults.py with it."""
    assert read_yaml(ROOT / "params.yaml") == DEFAULTS


def test_parameters_that_differ_from_the_default_are_shown_first():
    found = parameters({"train": {"seed": 7, "batch_size": 32}, "pretrain": {"epochs": 0}})
    assert found == {
        "changed": {"train.seed": 7},
        "unchanged": {"train.batch_size": 32, "pretrain.epochs": 0},
    }


def test_limits_name_languages_lengths_and_rare_classes():
    languages = {"en": 960, "de": 200, "fr": 40, "unknown": 100}
    words = language_limit(languages)
    assert words.startswith(
        "Language: the training texts seem to be in English (en) 80.0 %, German (de) 16.7 %."
    )
    for unknown in ({"unknown": 3}, {"unknown": 3, "en": 2}):
        assert "no language that was recognized" in language_limit(unknown)
    words = length_limit(pd.Series([2] * 50 + [700] * 50), 512)
    assert "90 % of the test texts have 2 to 700 tokens" in words
    assert words.endswith("512 tokens in all; 50 test texts have more.")
    train, test = {"a": 900, "b": 3, "c": 40}, {"a": 80.0, "b": 0.0, "c": 2.0}
    rows = [{"class": label, "texts": texts} for label, texts in test.items()]
    assert class_limits(train, rows) == [
        "Few training texts, so that the model hardly knows the class: b (3).",
        "No test text, so that nothing is known about the class: b.",
        "Few test texts, so that the values of the class are uncertain: c (2).",
    ]
    assert class_limits({"a": 900}, rows[:1]) == []
    (many,) = class_limits({str(number): 1 for number in range(25)}, rows[:1])
    assert many.endswith(", 18 (1), 19 (1) and 5 others.")


def test_page_describes_the_quality_of_the_data(copy, tmp_path):
    def describe(about):
        about["data"]["rows_read"] = {"train": 5000, "test": 77}
        about["data"]["left_out"] = {"train": {"no text": 12, "no label": 3}, "test": {}}
        about["data"]["kept"]["test"] = {"duplicates": 4, "contradictions": 1}
        about["data"]["splits"]["train"]["languages"] = {"en": 315, "de": 4, "unknown": 1}
        about["data"]["splits"]["train"]["characters"].update({"5%": 21, "50%": 88, "95%": 144})

    change_json(copy / "model" / "config.json", describe)
    text = Page(report(copy, tmp_path / "report")).text
    assert "Rows read: train 5,000, test 77." in text
    assert "Left out: of train, no text 12, no label 3." in text
    assert "this split: test, with duplicates 4; equal texts with different labels 1." in text
    assert (
        "Languages, guessed: train, English (en) 315, German (de) 4, unknown 1; validation" in text
    )
    assert "21 to 144" in text


def test_page_of_clean_data_says_that_no_row_is_left_out(html):
    text = Page(html).text
    assert "Left out: no row." in text
    assert "Left unchanged" not in text
