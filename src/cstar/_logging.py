"""The logger `cstar`: DEBUG for attempts, INFO for delays, WARNING for problems that raise no error."""

from __future__ import annotations

import logging
import os

logger = logging.getLogger("cstar")

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO}


def configure_from_environment() -> None:
    """Enable logging if the environment variable CSTAR_LOG is `debug` or `info`."""
    level = os.environ.get("CSTAR_LOG", "").strip().lower()
    if not level:
        return
    if level not in _LEVELS:
        logger.warning("CSTAR_LOG must be one of 'debug', 'info', not %r: logging is unchanged", level)
        return
    logger.setLevel(_LEVELS[level])
    # httpx logs each URL at INFO, and URLs contain search terms.
    httpx_logger = logging.getLogger("httpx")
    if httpx_logger.level == logging.NOTSET:
        httpx_logger.setLevel(logging.WARNING)
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
