"""Addresses of the site."""

from django.urls import path

from pages import views

urlpatterns = [
    path("", views.index, name="index"),
    path("pages/<slug:slug>/", views.page, name="page"),
    path("healthz", views.healthz, name="healthz"),
]
