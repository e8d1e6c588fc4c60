"""Work that is done outside a request."""

import shutil
import subprocess

from celery import shared_task

from .models import Page


@shared_task
def count_words(page_id: int) -> int:
    """Counts the words of one page and stores the number."""
    page = Page.objects.get(pk=page_id)
    page.words = len(page.body.split())
    page.save(update_fields=["words"])
    return page.words


@shared_task
def count_all_words() -> int:
    """Counts the words of every page; returns how many pages there are."""
    pages = list(Page.objects.values_list("pk", flat=True))
    for page_id in pages:
        count_words(page_id)
    return len(pages)


@shared_task
def render_pdf(url: str, target: str) -> str:
    """Prints the page at `url` to a PDF file with Chromium, where the image has it."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise RuntimeError("this image was built without Chromium")
    subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--print-to-pdf={target}", url],
        check=True,
        timeout=60,
    )
    return target
