# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a kubelet's serving certificate is one that the cluster's own authority signed.

kubeadm leaves each kubelet with a certificate that it signed itself. Who asks such a kubelet sends a token to whoever
answers at its address.
"""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path

__all__ = ["problem"]

AUTHORITY = Path("/etc/kubernetes/pki/ca.crt")
PORT = 10250
WITHIN = 3.0
RENEW_BEFORE = 60 * 86400


def problem(address: str, port: int = PORT, authority: Path = AUTHORITY) -> str:
    """Why the certificate must be signed anew; empty for a good one, and where there is no authority to sign it."""
    if not address or not authority.exists():
        return ""
    context = ssl.create_default_context(cafile=str(authority))
    try:
        with (
            socket.create_connection((address, port), WITHIN) as plain,
            context.wrap_socket(plain, server_hostname=address) as tls,
        ):
            shown = tls.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        return f"its serving certificate is not to be trusted: {error.verify_message}"
    except OSError as error:
        # A kubelet that has just begun: it has its key already.
        return f"nobody answers at port {port}: {error}"
    left = ssl.cert_time_to_seconds(str(shown["notAfter"])) - time.time()
    return f"its serving certificate ends on {shown['notAfter']}" if left < RENEW_BEFORE else ""
