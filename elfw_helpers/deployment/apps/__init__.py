"""The two web apps, made with Gradio: attributes of a face, and its mask. `elfw app` starts them."""

import os

from elfw_helpers.utils.errors import require_deployment

# Before Gradio is imported anywhere: it would report each start to its makers.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
# It would sum up all requests so far after each one, ever slower.
os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "10"
os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(10**9)

require_deployment("gradio", "httpx")
