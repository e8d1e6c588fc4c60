"""Adds the number of words, which a task counts."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("pages", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="page",
            name="words",
            field=models.PositiveIntegerField(default=0),
        ),
    ]
