#!/bin/sh
# Brings the database up to date, then serves.
set -eu
python manage.py migrate --noinput
exec gunicorn shop.wsgi:application --bind "0.0.0.0:${PORT:-8000}" --workers "${WEB_WORKERS:-2}" --worker-tmp-dir /dev/shm
