"""The model of a trial as MLflow keeps it: beside its run, and registered by the study's name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from polyview.tracking.entities import TRIAL_TAG, legal, milliseconds
from polyview.tracking.runs import TrialRun

MODEL_TYPE = "face expression classifier"
"""Models of another type are replaced: those of "expression classifier" had a scrambled probe."""


def lacks_model(client: Any, experiment: str, run_id: str, trial: TrialRun) -> bool:
    """Whether a trial's run has no model; those half written, of a run that is gone or of another type are deleted."""
    kept = set[str]()
    for model in client.search_logged_models([experiment], f"tags.`{TRIAL_TAG}` = '{trial.id}'"):
        source = client.get_run(model.source_run_id).info
        if model.status == "READY" and source.lifecycle_stage == "active" and model.model_type == MODEL_TYPE:
            kept.add(source.run_id)
        else:
            _delete(client, model)
    return run_id not in kept


def _delete(client: Any, model: Any) -> None:
    """Delete a logged model, and what is registered of it."""
    for version in client.search_model_versions(f"run_id = '{model.source_run_id}'"):
        if version.model_id == model.model_id:
            client.delete_model_version(version.name, version.version)
    client.delete_logged_model(model.model_id)


def log_model(client: Any, experiment: str, run_id: str, trial: TrialRun, folder: Path) -> Any:
    """Keep the MLflow model in a folder, with the trial's scores; returns what MLflow knows it as."""
    from mlflow.entities import LoggedModelOutput, Metric

    model = client.create_logged_model(
        experiment,
        re.sub(r"[/:.%\"']", "_", trial.name),
        source_run_id=run_id,
        tags={TRIAL_TAG: trial.id},
        model_type=MODEL_TYPE,
    )
    client.log_model_artifacts(model.model_id, str(folder))
    step, when = len(trial.epochs), milliseconds(trial.ended)
    scores = [Metric(legal(key), value, when, step, model.model_id) for key, value in trial.scores.items()]
    client.log_batch(run_id, scores)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step)])
    client.finalize_logged_model(model.model_id, "READY")
    return model


def register(client: Any, study: str, model: Any, trial: str) -> None:
    """Make a model the next version of the registered model that has the study's name; `trial` names its trial."""
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    name = re.sub(r"[/:]", "_", study)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    version = client.create_model_version(
        name, model.artifact_location, run_id=model.source_run_id, model_id=model.model_id, description=trial
    )
    # The user interface reads here that a model is registered.
    told = json.dumps([{"name": name, "version": version.version}])
    client.set_logged_model_tags(model.model_id, {MLFLOW_MODEL_VERSIONS: told})
