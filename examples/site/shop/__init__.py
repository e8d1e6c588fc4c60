"""The example site's project package; importing it makes the Celery application known."""

from .celery import app as celery_app

__all__ = ("celery_app",)
