"""The one logger, `cstar`: DEBUG for an attempt, INFO for a wait, WARNING for a walk that cannot keep its promise."""

from __future__ import annotations

import logging
import os

logger = logging.getLogger("cstar")

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO}


def configure_from_environment() -> None:
    """Turn logging on for a script that sets `CSTAR_LOG=debug` or `CSTAR_LOG=info`; otherwise leave it alone."""
    asked = os.environ.get("CSTAR_LOG", "").strip().lower()
    if not asked:
        return
    if asked not in _LEVELS:
        logger.warning("CSTAR_LOG must be one of 'debug', 'info', not %r: logging stays as it is", asked)
        return
    logger.setLevel(_LEVELS[asked])
    # httpx logs each URL at INFO, and a URL contains what is searched for.
    of_httpx = logging.getLogger("httpx")
    if of_httpx.level == logging.NOTSET:
        of_httpx.setLevel(logging.WARNING)
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
