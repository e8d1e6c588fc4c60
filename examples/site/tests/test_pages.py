"""The site against a real database and a real broker."""

import os
import unittest

import redis
from django.conf import settings
from django.db import connection
from django.test import TestCase, TransactionTestCase
from django.urls import reverse

from pages.models import Page
from pages.tasks import count_all_words, count_words
from shop.celery import app

REAL_SERVICES = bool(os.environ.get("POSTGRES_HOST"))


class Views(TestCase):
    def setUp(self):
        self.page = Page.objects.create(slug="about", title="About", body="three short words")

    def test_index_lists_pages(self):
        response = self.client.get(reverse("index"))
        self.assertContains(response, "About")

    def test_page_shows_its_body(self):
        response = self.client.get(reverse("page", args=["about"]))
        self.assertContains(response, "three short words")

    def test_missing_page_is_not_found(self):
        self.assertEqual(self.client.get("/pages/none/").status_code, 404)

    def test_health_names_the_database(self):
        response = self.client.get("/healthz")
        self.assertEqual(response.json(), {"status": "ok", "database": connection.vendor})


class Tasks(TestCase):
    def test_words_are_counted_and_stored(self):
        page = Page.objects.create(slug="a", title="A", body="one two")
        self.assertEqual(count_words(page.pk), 2)
        page.refresh_from_db()
        self.assertEqual(page.words, 2)

    def test_all_pages_are_counted(self):
        Page.objects.create(slug="a", title="A", body="one")
        Page.objects.create(slug="b", title="B", body="one two")
        self.assertEqual(count_all_words(), 2)
        self.assertEqual(list(Page.objects.values_list("words", flat=True)), [1, 2])


@unittest.skipUnless(REAL_SERVICES, "needs postgres and redis")
class Services(TransactionTestCase):
    def test_the_database_is_postgres_and_tuned(self):
        self.assertEqual(connection.vendor, "postgresql")
        with connection.cursor() as cursor:
            cursor.execute("SHOW fsync")
            self.assertEqual(cursor.fetchone()[0], "off")

    def test_redis_answers(self):
        self.assertTrue(redis.Redis.from_url(settings.REDIS_URL).ping())

    def test_a_task_travels_through_the_broker(self):
        with app.connection_for_write() as broker:
            broker.ensure_connection(max_retries=3)
        result = count_all_words.apply_async(queue="unattended")
        client = redis.Redis.from_url(settings.REDIS_URL)
        self.assertEqual(client.llen("unattended"), 1)
        result.forget()
        client.delete("unattended")
