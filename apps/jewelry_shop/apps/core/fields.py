"""Text that is encrypted in the database and in every dump of it."""

from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.db import models


class EncryptedTextField(models.TextField):
    """Encrypts with FIELD_ENCRYPTION_KEY. Each write gives another ciphertext, so it cannot be searched."""

    def get_prep_value(self, value: Any) -> Any:
        if not value:
            return value
        return Fernet(settings.FIELD_ENCRYPTION_KEY).encrypt(str(value).encode()).decode()

    def from_db_value(self, value: str | None, *_: Any) -> str | None:
        return Fernet(settings.FIELD_ENCRYPTION_KEY).decrypt(value.encode()).decode() if value else value
