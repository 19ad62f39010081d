"""Every task of the reference schedule, run for real, and run again."""

import json
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

SCHEDULED = {
    "apps.accounting.tasks": ["run_monthly_depreciation"],
    "apps.backups.tasks": [
        "archive_wal",
        "backup_configuration",
        "backup_database",
        "backup_tenants",
        "check_storage_integrity",
    ],
    "apps.core.alert_tasks": [
        "check_service_health",
        "collect_system_metrics",
        "escalate_alerts",
        "resolve_alerts",
    ],
    "apps.core.webhook_tasks": ["clean_deliveries", "retry_failed_deliveries"],
    "apps.notifications.tasks": ["send_alert_digest", "send_campaigns"],
    "apps.pricing.tasks": ["clean_gold_rates", "fetch_gold_rates", "update_inventory_prices"],
    "apps.reporting.tasks": [
        "clean_executions",
        "clean_report_files",
        "collect_usage_statistics",
        "run_scheduled_reports",
        "update_next_runs",
    ],
}
NAMES = [f"{module}.{name}" for module, names in SCHEDULED.items() for name in names]


def run(app: Any, name: str, task_id: str | None = None) -> Any:
    """Run a task in this process as a worker would, and raise what it raises."""
    return app.tasks[name].apply(task_id=task_id, throw=True).get()


@pytest.fixture
def tenant(project: Any) -> Iterator[Any]:
    from apps.core.models import Tenant

    made = Tenant.objects.create(slug="test-shop", name="Test shop")
    yield made
    made.delete()


def test_the_project_has_these_tasks_and_no_others(project: Any) -> None:
    own = sorted(name for name in project.tasks if name.startswith("apps."))
    assert own == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_task_runs_twice_with_one_id(project: Any, name: str) -> None:
    """Late acknowledgement means that any task may be delivered again."""
    run(project, name, f"twice-{name}")
    run(project, name, f"twice-{name}")


def test_a_database_backup_holds_the_tables(project: Any) -> None:
    from apps.backups.models import Backup

    made = run(project, "apps.backups.tasks.backup_database", "backup-1")
    assert made == run(project, "apps.backups.tasks.backup_database", "backup-1")
    assert Backup.objects.filter(task_id="backup-1").count() == 1
    listing = subprocess.run(["pg_restore", "--list", made["path"]], capture_output=True, text=True, check=True)
    assert "TABLE DATA public pricing_item jewelry_app" in listing.stdout
    assert "TABLE DATA public django_celery_beat_periodictask jewelry_app" in listing.stdout


def test_only_the_newest_backups_are_kept(project: Any) -> None:
    from django.conf import settings

    from apps.backups.models import Backup

    for number in range(settings.BACKUP_KEEP + 2):
        run(project, "apps.backups.tasks.backup_configuration", f"surplus-{number}")
    paths = Backup.objects.filter(kind="configuration").values_list("path", flat=True)
    assert len(paths) == settings.BACKUP_KEEP
    assert sorted(paths) == sorted(map(str, settings.BACKUP_DIR.glob("configuration-*")))


def test_a_tenant_backup_holds_only_its_rows(project: Any, tenant: Any) -> None:
    from apps.notifications.models import Customer
    from apps.pricing.models import Item

    Item.objects.create(tenant=tenant, sku="ONLY-HERE", karat=18, weight_grams=1, margin_percent=0)
    Customer.objects.create(tenant=tenant, name="A", phone="+49 30 123")
    made = run(project, "apps.backups.tasks.backup_tenants")
    with tarfile.open(made["test-shop"]["path"]) as archive:
        members = {name: archive.extractfile(name).read().decode() for name in archive.getnames()}
    assert "ONLY-HERE" in members["pricing_item.csv"]
    assert "RING-1" not in members["pricing_item.csv"]
    assert "+49 30 123" not in members["notifications_customer.csv"]
    assert "pricing_pricechange.csv" in members
    with tarfile.open(made["reference-shop"]["path"]) as archive:
        assert b"ONLY-HERE" not in archive.extractfile("pricing_item.csv").read()


def test_a_damaged_backup_is_found(project: Any) -> None:
    from apps.core.models import Alert

    damaged = Path(run(project, "apps.backups.tasks.backup_database")["path"])
    lost = Path(run(project, "apps.backups.tasks.backup_database")["path"])
    damaged.write_bytes(damaged.read_bytes()[:-1])
    lost.unlink()
    found = run(project, "apps.backups.tasks.check_storage_integrity")
    assert found["bad"] == {str(damaged): "corrupt", str(lost): "missing"}
    assert Alert.objects.filter(key__startswith="backup:", resolved_at=None).count() == 2


def test_the_position_of_the_log_is_recorded_once_an_hour(project: Any) -> None:
    from apps.backups.models import WalMark

    WalMark.objects.all().delete()
    first = run(project, "apps.backups.tasks.archive_wal")
    again = run(project, "apps.backups.tasks.archive_wal")
    assert (first["new"], again["new"]) == (True, False)
    assert first["wal_file"] == again["wal_file"] == WalMark.objects.get().wal_file


def test_prices_follow_the_rate_and_are_announced(project: Any, tenant: Any) -> None:
    from apps.core.models import WebhookDelivery, WebhookEndpoint
    from apps.pricing.models import GoldRate, Item, PriceChange

    WebhookEndpoint.objects.create(tenant=tenant, url="http://127.0.0.1:1/", secret="s")  # noqa: S106
    item = Item.objects.create(tenant=tenant, sku="A", karat=18, weight_grams=2, margin_percent=50)
    run(project, "apps.pricing.tasks.fetch_gold_rates")
    run(project, "apps.pricing.tasks.update_inventory_prices")
    run(project, "apps.pricing.tasks.update_inventory_prices")
    item.refresh_from_db()
    rate = GoldRate.objects.filter(karat=18).latest("slot").per_gram
    assert item.price == (2 * rate * Decimal("1.5")).quantize(Decimal("0.01"))
    assert PriceChange.objects.get(item=item).new_price == item.price
    assert WebhookDelivery.objects.get(endpoint__tenant=tenant).payload == {"items": {"A": str(item.price)}}


def test_months_are_depreciated_once_and_end_at_the_salvage_value(project: Any, tenant: Any) -> None:
    from apps.accounting.models import Asset, Depreciation

    asset = Asset.objects.create(
        tenant=tenant, name="Oven", cost=1000, salvage=100, life_months=7, acquired_on=date(2020, 1, 31)
    )
    run(project, "apps.accounting.tasks.run_monthly_depreciation")
    run(project, "apps.accounting.tasks.run_monthly_depreciation")
    booked = Depreciation.objects.filter(asset=asset).order_by("month")
    assert [row.month for row in booked] == [date(2020, month, 1) for month in range(1, 8)]
    assert booked.last().book_value == 100
    assert sum(row.amount for row in booked) == 900


def test_a_due_report_is_written_once_and_dated_anew(project: Any, tenant: Any) -> None:
    from django.utils import timezone

    from apps.pricing.models import Item
    from apps.reporting.models import Execution, ScheduledReport

    Item.objects.create(tenant=tenant, sku="IN-REPORT", karat=18, weight_grams=1, margin_percent=0)
    report = ScheduledReport.objects.create(tenant=tenant, kind="inventory", every_minutes=60)
    assert run(project, "apps.reporting.tasks.update_next_runs")["dated"] == 1
    ScheduledReport.objects.filter(pk=report.pk).update(next_run_at=timezone.now() - timedelta(minutes=90))
    run(project, "apps.reporting.tasks.run_scheduled_reports")
    run(project, "apps.reporting.tasks.run_scheduled_reports")
    execution = Execution.objects.get(report=report)
    assert "IN-REPORT" in Path(execution.path).read_text()
    report.refresh_from_db()
    assert timedelta(0) < report.next_run_at - timezone.now() <= timedelta(minutes=30)

    Execution.objects.update(finished_at=timezone.now() - timedelta(days=91))
    assert run(project, "apps.reporting.tasks.clean_report_files")["deleted"] >= 1
    assert not Path(execution.path).exists()
    assert run(project, "apps.reporting.tasks.clean_executions")["deleted"] >= 1


def test_usage_is_counted_once_a_week(project: Any, tenant: Any) -> None:
    from apps.reporting.models import UsageStatistic

    run(project, "apps.reporting.tasks.collect_usage_statistics")
    run(project, "apps.reporting.tasks.collect_usage_statistics")
    assert UsageStatistic.objects.get(tenant=tenant).week.isoweekday() == 1


def test_metrics_are_recorded_once_a_slot(project: Any) -> None:
    from apps.core.models import SystemMetric

    run(project, "apps.core.alert_tasks.collect_system_metrics")
    figures = run(project, "apps.core.alert_tasks.collect_system_metrics")
    assert figures["database_bytes"] > 0
    assert {"queue_length:celery", "queue_length:webhooks"} <= figures.keys()
    names = list(SystemMetric.objects.order_by("-recorded_at").values_list("name", "recorded_at"))
    assert len(names) == len(set(names))


def test_alerts_open_escalate_and_resolve(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.utils import timezone

    from apps.core import alert_tasks
    from apps.core.models import Alert

    monkeypatch.setitem(alert_tasks.CHECKS, "broker", lambda: "a slave answers, not the master")
    run(project, "apps.core.alert_tasks.check_service_health")
    run(project, "apps.core.alert_tasks.check_service_health")
    alert = Alert.objects.get(key="service:broker", resolved_at=None)
    Alert.objects.filter(pk=alert.pk).update(opened_at=timezone.now() - timedelta(minutes=16))
    run(project, "apps.core.alert_tasks.escalate_alerts")
    run(project, "apps.core.alert_tasks.escalate_alerts")
    alert.refresh_from_db()
    assert alert.level == 2
    assert run(project, "apps.core.alert_tasks.resolve_alerts") == {"resolved": 0}
    monkeypatch.undo()
    assert set(run(project, "apps.core.alert_tasks.check_service_health").values()) == {"healthy"}
    assert run(project, "apps.core.alert_tasks.resolve_alerts") == {"resolved": 1}


@pytest.fixture
def receiver() -> Iterator[HTTPServer]:
    """A tenant's own system: answers 500 first, then 200, and keeps what it got."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.received.append((self.headers["Idempotency-Key"], json.loads(body)))
            self.send_response(500 if len(self.server.received) == 1 else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.received = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_webhook_is_tried_until_it_is_delivered(project: Any, tenant: Any, receiver: HTTPServer) -> None:
    from django.utils import timezone

    from apps.core.models import WebhookDelivery, WebhookEndpoint
    from apps.core.webhooks import announce

    url = f"http://127.0.0.1:{receiver.server_port}/"
    WebhookEndpoint.objects.create(tenant=tenant, url=url, secret="s")  # noqa: S106
    announce(tenant, "prices.updated", {"items": {}})
    mine = WebhookDelivery.objects.filter(endpoint__tenant=tenant)
    run(project, "apps.core.webhook_tasks.retry_failed_deliveries")
    row = mine.get()
    assert (row.state, row.attempts) == ("pending", 1)
    assert "500" in row.last_error
    assert run(project, "apps.core.webhook_tasks.retry_failed_deliveries")["tried"] == 0, "not due yet"
    mine.update(next_attempt_at=timezone.now())
    run(project, "apps.core.webhook_tasks.retry_failed_deliveries")
    assert (mine.get().state, mine.get().attempts) == ("done", 2)
    assert [key for key, _ in receiver.received] == [str(row.id)] * 2

    mine.update(finished_at=timezone.now() - timedelta(days=31))
    assert run(project, "apps.core.webhook_tasks.clean_deliveries") == {"deleted": 1}


def test_a_webhook_is_given_up_after_the_last_attempt(project: Any, tenant: Any) -> None:
    from apps.core.attempts import MAX_ATTEMPTS
    from apps.core.models import WebhookDelivery, WebhookEndpoint

    endpoint = WebhookEndpoint.objects.create(tenant=tenant, url="ftp://host/", secret="s")  # noqa: S106
    last = WebhookDelivery(endpoint=endpoint, event="e", payload={}, attempts=MAX_ATTEMPTS - 1)
    last.save()
    run(project, "apps.core.webhook_tasks.retry_failed_deliveries")
    last.refresh_from_db()
    assert (last.state, last.last_error) == ("failed", "the endpoint's URL is neither http nor https")


def test_a_campaign_reaches_each_customer_once(project: Any, tenant: Any) -> None:
    from django.conf import settings

    from apps.notifications.models import Campaign, Customer, Message

    Customer.objects.create(tenant=tenant, name="A", email="a@example.com", phone="+49 30 123")
    Customer.objects.create(tenant=tenant, name="B", email="b@example.com")
    mail = Campaign.objects.create(tenant=tenant, channel="email", subject="Rings", body="text")
    sms = Campaign.objects.create(tenant=tenant, channel="sms", subject="", body="text")
    run(project, "apps.notifications.tasks.send_campaigns")
    run(project, "apps.notifications.tasks.send_campaigns")
    sent = "".join(path.read_text() for path in settings.EMAIL_FILE_PATH.iterdir())
    assert (sent.count("To: a@example.com"), sent.count("To: b@example.com")) == (1, 1)
    assert [m.state for m in Message.objects.filter(campaign=mail)] == ["done", "done"]
    texted = Message.objects.get(campaign=sms, state="done")
    assert json.loads((settings.OUTBOX_DIR / "sms" / f"{texted.pk}.json").read_text())["to"] == "+49 30 123"
    assert "no telephone number" in Message.objects.get(campaign=sms, state="pending").last_error


def test_the_digest_of_a_day_is_sent_once(project: Any) -> None:
    from django.conf import settings

    from apps.notifications.models import Digest

    Digest.objects.all().delete()
    day = run(project, "apps.notifications.tasks.send_alert_digest")["day"]
    run(project, "apps.notifications.tasks.send_alert_digest")
    sent = "".join(path.read_text() for path in settings.EMAIL_FILE_PATH.iterdir())
    assert Digest.objects.get().sent_at
    assert f"Subject: Alerts of {day}" in sent
