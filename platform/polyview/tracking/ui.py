"""MLflow's own server, with other first choices in its user interface.

A browser that opens MLflow for the first time meets the mode for agents, and an assistant beside every page. Both are
remembered choices, so they are made here before the page makes them; whoever chooses otherwise later keeps that.
"""

from __future__ import annotations

import json
from typing import Any

from mlflow.server import app as pages
from mlflow.server.fastapi_app import app

__all__ = ["app"]

CHOICES = {"mlflow.workflowType_v1": "machine_learning", "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": True}
SCRIPT = f"""<script>
for (const [key, value] of Object.entries({json.dumps(CHOICES)}))
  if (localStorage.getItem(key) === null) localStorage.setItem(key, JSON.stringify(value));
</script>"""


def choose(response: Any) -> Any:
    """Put the choices into the page that loads the user interface."""
    if response.mimetype == "text/html" and response.status_code == 200:
        response.direct_passthrough = False
        text = response.get_data(as_text=True)
        response.set_data(text.replace("<head>", f"<head>{SCRIPT}", 1))
        response.headers.pop("ETag", None)
        response.headers.pop("Last-Modified", None)
    return response


pages.after_request(choose)
