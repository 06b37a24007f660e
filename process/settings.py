"""What every program needs to read its settings."""

from pathlib import Path

WAYS_TO_KUBERNETES = ("KUBERNETES_SERVICE_HOST", "KUBECONFIG")
"""Variables of which one names an API server: in a pod, or anywhere else."""
_SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class SettingsError(Exception):
    """A setting that cannot be used; the text names it."""


def default_namespace() -> str:
    """Return the namespace of the pod's service account, or MetalLB's usual one outside a pod."""
    try:
        return _SERVICE_ACCOUNT_NAMESPACE.read_text().strip()
    except OSError:
        return "metallb-system"
