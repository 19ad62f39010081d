"""A small shop, so that a fresh platform's tasks have rows to work on."""

import datetime

from django.db import migrations

SLUG = "reference-shop"
ITEMS = (("RING-1", 18, "4.200", "35"), ("CHAIN-1", 22, "12.500", "28"), ("COIN-1", 24, "8.000", "6"))


def create(apps, schema_editor):
    using = schema_editor.connection.alias
    tenant, _made = (
        apps.get_model("core", "Tenant")
        .objects.using(using)
        .get_or_create(slug=SLUG, defaults={"name": "Reference shop"})
    )
    for sku, karat, weight, margin in ITEMS:
        apps.get_model("pricing", "Item").objects.using(using).get_or_create(
            tenant_id=tenant.pk,
            sku=sku,
            defaults={"karat": karat, "weight_grams": weight, "margin_percent": margin},
        )
    for kind in ("inventory", "price_changes"):
        apps.get_model("reporting", "ScheduledReport").objects.using(using).get_or_create(
            tenant_id=tenant.pk,
            kind=kind,
            defaults={"every_minutes": 60, "next_run_at": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)},
        )
    apps.get_model("accounting", "Asset").objects.using(using).get_or_create(
        tenant_id=tenant.pk,
        name="Workbench",
        defaults={
            "cost": "3600",
            "salvage": "600",
            "life_months": 60,
            "acquired_on": datetime.date(2026, 1, 15),
        },
    )


def remove(apps, schema_editor):
    tenants = apps.get_model("core", "Tenant").objects.using(schema_editor.connection.alias)
    tenants.filter(slug=SLUG).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("core", "0001_initial"),
        ("pricing", "0001_initial"),
        ("reporting", "0001_initial"),
        ("accounting", "0001_initial"),
    ]
    operations = [migrations.RunPython(create, remove)]
