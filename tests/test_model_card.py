"""Model cards: their metadata, their text, and the cards that Trainer writes."""

import math
import re
import sys
from pathlib import Path

import pytest
from builders import tiny_model
from huggingface_hub import ModelCard, metadata_load
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from wave_hf.model_card import Evaluation, ModelCardTrainer, compare_cards, create_model_card, find_cards, main
from wave_hf.recipes import recipe_names

CARDS = Path(__file__).parents[1] / "model_cards"
EVALUATION = Evaluation("Three Topics", 40, {"accuracy": 0.75}, dataset_type="somebody/topics", dataset_config="small")


def trainer_of(model, output_dir, trainer_class=ModelCardTrainer, **arguments) -> Trainer:
    rows = [{"input_ids": [1, 2, 3], "labels": 0}, {"input_ids": [4, 5, 6], "labels": 1}]
    return trainer_class(
        model,
        TrainingArguments(output_dir, report_to="none", use_cpu=True, disable_tqdm=True, **arguments),
        train_dataset=rows,
        eval_dataset=rows,
        compute_metrics=lambda pair: {"accuracy": float((pair.predictions.argmax(-1) == pair.label_ids).mean())},
    )


class TestMetadata:
    @pytest.fixture
    def metadata(self, tmp_path):
        model = tiny_model()
        create_model_card(model, "somebody/tiny", EVALUATION, license="mit", datasets=["somebody/topics"]).save(
            tmp_path / "README.md"
        )
        return metadata_load(tmp_path / "README.md")

    def test_results_are_those_of_the_evaluation(self, metadata):
        (index,) = metadata["model-index"]
        assert index["name"] == "somebody/tiny"
        assert index["results"] == [
            {
                "task": {"type": "text-classification", "name": "Text Classification"},
                "dataset": {"name": "Three Topics", "type": "somebody/topics", "config": "small"},
                "metrics": [{"type": "accuracy", "value": 0.75}],
            }
        ]

    def test_describes_the_model_to_the_hub(self, metadata):
        assert metadata["library_name"] == "transformers"
        assert metadata["pipeline_tag"] == "text-classification"
        assert metadata["license"] == "mit"
        assert metadata["datasets"] == ["somebody/topics"]
        assert "wave-network" in metadata["tags"]

    def test_counts_parameters_inside_and_outside_the_token_table(self, metadata):
        model = tiny_model()
        assert metadata["parameters"] == sum(parameter.numel() for parameter in model.parameters())
        outside = sum(p.numel() for name, p in model.named_parameters() if "embed_tokens" not in name)
        assert metadata["parameters_outside_token_table"] == outside

    def test_latency_is_measured(self, metadata):
        assert 0 < metadata["latency_ms"] < math.inf


class TestText:
    def test_names_labels_results_command_and_both_papers(self):
        model = tiny_model(id2label={0: "sports", 1: "food", 2: "weather"})
        text = create_model_card(model, "tiny", EVALUATION, {"seed": 5}, "python train.py --seed 5").text
        for part in ("sports, food, weather", "| accuracy | 0.75 |", "40 texts", "python train.py --seed 5"):
            assert part in text
        for part in ("- seed: 5", "2411.02674", "2411.06989", 'pipeline("text-classification", "tiny")'):
            assert part in text
        assert not re.search(r"[{}%]{2}|None", text)

    def test_without_an_evaluation_it_says_so(self):
        card = create_model_card(tiny_model(), "tiny")
        assert "Not evaluated." in card.text
        assert card.data.eval_results is None

    @pytest.mark.parametrize(
        ("fields", "said", "not_said"),
        [
            ({}, "does not see the order of words", "text_pair"),
            ({"local_kernel_size": 5}, "within 5 tokens a layer", "does not see the order"),
            ({"local_kernel_size": 5, "variant_kernel_size": 3}, "within 7 tokens a layer", "does not see the order"),
            ({"max_position_embeddings": 16}, "combined by modulation,", "order of words"),
            ({"wave_operation": "interference"}, "combined by interference,", "modulation"),
            ({"pair_encoding": "separate"}, "gives pairs of texts one of the labels: LABEL_0", "gives texts"),
            ({"num_labels": 1, "problem_type": "regression"}, "gives texts a number.", "LABEL_0"),
            (
                {"problem_type": "multi_label_classification"},
                "gives texts a score for each label: LABEL_0",
                "one of the labels",
            ),
        ],
    )
    def test_says_what_is_true_of_the_config(self, fields, said, not_said):
        text = create_model_card(tiny_model(**fields), "tiny").text
        assert said in text
        assert not_said not in text


class TestTrainer:
    def test_card_describes_the_run(self, tmp_path):
        trainer = trainer_of(tiny_model(), tmp_path, max_steps=1, learning_rate=0.125, seed=7)
        trainer.train()
        accuracy = trainer.evaluate()["eval_accuracy"]
        trainer.create_model_card(command="python train.py", dataset="Two Texts", license="mit")
        card = ModelCard.load(tmp_path / "README.md")
        assert [(result.metric_type, result.metric_value) for result in card.data.eval_results] == [
            ("accuracy", accuracy)
        ]
        assert card.data.eval_results[0].dataset_name == "Two Texts"
        assert card.data.license == "mit"
        for part in ("python train.py", "- learning_rate: 0.125", "- seed: 7", "- training_texts: 2"):
            assert part in card.text
        assert str(tmp_path.parent) not in card.content

    def test_card_reports_the_last_evaluation(self, tmp_path):
        trainer = trainer_of(tiny_model(), tmp_path)
        trainer.compute_metrics = lambda pair: {"f1": 0.25}
        trainer.evaluate()
        trainer.compute_metrics = lambda pair: {"f1": 0.5}
        trainer.evaluate()
        trainer.create_model_card()
        (result,) = ModelCard.load(tmp_path / "README.md").data.eval_results
        assert (result.metric_type, result.metric_value) == ("f1", 0.5)

    def test_card_of_another_network_is_trainers_own(self, tmp_path):
        config = BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
        trainer = trainer_of(BertForSequenceClassification(config), tmp_path, trainer_class=ModelCardTrainer)
        trainer.create_model_card(command="python train.py")
        assert "Wave Network" not in (tmp_path / "README.md").read_text()


class TestComparison:
    def test_a_row_for_each_card(self, tmp_path):
        for name in ("first", "second"):
            create_model_card(tiny_model(), name, EVALUATION).save(tmp_path / f"{name}.md")
        (tmp_path / "README.md").write_text("not a card")
        (tmp_path / "LOG.md").write_text("not a card either")
        rows = [line for line in compare_cards(tmp_path).splitlines() if line.startswith("| [")]
        assert [row.split("]")[0] for row in rows] == ["| [first", "| [second"]
        assert all("| Three Topics | accuracy 0.75 |" in row for row in rows)

    def test_a_folder_without_cards_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match=re.escape(str(tmp_path))):
            compare_cards(tmp_path)

    def test_a_card_without_results_is_named(self, tmp_path):
        create_model_card(tiny_model(), "tiny").save(tmp_path / "tiny.md")
        with pytest.raises(ValueError, match=r"tiny\.md has no results, but should be the card of an evaluated model"):
            compare_cards(tmp_path)

    def test_command_line_ends_with_one_line(self, tmp_path, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["model_card", "--folder", str(tmp_path)])
        with pytest.raises(SystemExit, match=f"^Model cards: folder is '{tmp_path}', but should hold model cards"):
            main()
        assert not any(tmp_path.iterdir())

    def test_committed_table_is_that_of_the_committed_cards(self):
        assert (CARDS / "README.md").read_text(encoding="utf-8") == compare_cards(CARDS)

    def test_committed_cards_are_of_the_recipes(self):
        assert {file.stem for file in find_cards(CARDS)} <= set(recipe_names())
