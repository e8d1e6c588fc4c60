"""What the site shows."""

from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render

from .models import Page


def index(request: HttpRequest) -> HttpResponse:
    """All pages."""
    return render(request, "pages/index.html", {"pages": Page.objects.all()})


def page(request: HttpRequest, slug: str) -> HttpResponse:
    """One page."""
    return render(request, "pages/page.html", {"page": get_object_or_404(Page, slug=slug)})


def healthz(request: HttpRequest) -> JsonResponse:
    """Answers 200 while the process can serve and its database answers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    return JsonResponse({"status": "ok", "database": connection.vendor})
