"""The command line: MetalLB's flags and variables, and ours. A flag wins over its variable."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from controller.settings import METRICS_PORT, WEBHOOK_PORT, Settings, WebhookMode
from process import logs
from process.settings import WAYS_TO_KUBERNETES, SettingsError, default_namespace
from process.tls import read_terms, read_tls

EXIT_USAGE = 2

option = partial(click.option, show_envvar=True)
"""An option whose help and errors name its variable."""

_WITHOUT_EFFECT = ("--pprof-bind-address", "--tls-curve-preferences", "--webhook-http2")
"""Flags of MetalLB that its manifests may carry and that mean nothing here."""


def _accept_without_effect(command: Any) -> Any:
    for name in _WITHOUT_EFFECT:
        command = click.option(name, is_flag=False, flag_value="true", default=None, hidden=True)(
            command
        )
    return command


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@option("--source", type=click.Path(path_type=Path), help="Folder of manifests; unset: Kubernetes.")
@option("--state", type=click.Path(path_type=Path), help="Keeps the addresses of --source.")
@option("--namespace", envvar="METALLB_NAMESPACE", default="", help="Of pools and of our objects.")
@option("--pod-name", envvar="METALLB_POD_NAME", default="", help="Our name among the replicas.")
@option("--deployment", envvar="METALLB_DEPLOYMENT", default="", help="Owns the gossip Secret.")
@option(
    "--ml-secret-name",
    envvar="METALLB_ML_SECRET_NAME",
    default="",
    help="The speakers' gossip Secret: made when it is missing, never changed.",
)
@option("--log-level", type=click.Choice(list(logs.LEVELS)), default="info")
@option("--host", default="", help="Address to serve HTTP on.")
@option("--port", type=click.IntRange(0, 65535), default=METRICS_PORT, help="HTTP; 0 = off.")
@option("--health-probe-port", type=click.IntRange(0, 65535), default=0)
@option("--no-page", is_flag=True, help="No page for people beside /metrics.")
@option("--metrics-cert-dir", default="", help="Folder with tls.crt, tls.key: --port is HTTPS.")
@option("--tls-min-version", default="", help="VersionTLS10 to VersionTLS13, the default.")
@option("--tls-cipher-suites", default="", help="Go's names, for versions before 1.3.")
@option("--lb-class", default="", help="Our loadBalancerClass; unset by default.")
@option(
    "--webhook-mode",
    type=click.Choice([mode.value for mode in WebhookMode]),
    default=WebhookMode.ENABLED.value,
    help="onlywebhook: give no addresses.",
)
@option("--webhook-port", type=click.IntRange(1, 65535), default=WEBHOOK_PORT, hidden=True)
@option("--webhook-secret", default="metallb-webhook-cert", help="Keeps the webhooks' certificate.")
@option("--cert-service-name", default="metallb-webhook-service", help="What it is made for.")
@option(
    "--disable-cert-rotation",
    type=bool,
    is_flag=False,
    flag_value=True,
    default=False,
    help="Read the certificate from --cert-dir; make none.",
)
@option(
    "--cert-dir",
    type=click.Path(path_type=Path),
    default=Path("/tmp/k8s-webhook-server/serving-certs"),  # noqa: S108 - MetalLB's own default
)
@option("--bgp-type", envvar="METALLB_BGP_TYPE", default="", hidden=True)
@_accept_without_effect
@click.pass_context
def controller(ctx: click.Context, /, **flags: Any) -> None:
    """Give Kubernetes services of type LoadBalancer their addresses."""
    settings = read_settings(flags)
    logs.configure(settings.log_level)
    ignored = [name for name in _WITHOUT_EFFECT if flags[name[2:].replace("-", "_")]]
    if ignored:
        logs.logger().info("flags", without_effect=ignored)
    # Imported late: --help and a wrong flag need none of it, and a folder no Kubernetes.
    from controller.program import run

    if settings.source is not None:
        from controller.folder_daemon import make
    else:
        from controller.daemon import make

    ctx.exit(run(make, settings))


def read_settings(flags: dict[str, Any]) -> Settings:
    """Check the values of all flags together; raise SettingsError naming the one that is wrong."""
    source, state = flags["source"], flags["state"]
    if (source is None) is not (state is None):
        raise SettingsError("--source and --state: one needs the other")
    if source is None and not any(name in os.environ for name in WAYS_TO_KUBERNETES):
        ways = " or ".join(f"${name}" for name in WAYS_TO_KUBERNETES)
        raise SettingsError(f"--source: not set, and neither is {ways}: no cluster to read")
    rotates = not flags["disable_cert_rotation"]
    return Settings(
        namespace=flags["namespace"] or default_namespace(),
        log_level=flags["log_level"],
        host=flags["host"],
        port=flags["port"],
        health_port=flags["health_probe_port"],
        page=not flags["no_page"],
        lb_class=flags["lb_class"] or None,
        pod_name=flags["pod_name"] or os.uname().nodename,
        deployment=flags["deployment"],
        gossip_secret=flags["ml_secret_name"],
        webhook_mode=WebhookMode(flags["webhook_mode"]),
        webhook_port=flags["webhook_port"],
        webhook_secret=flags["webhook_secret"],
        webhook_service=flags["cert_service_name"],
        rotates=rotates,
        cert_dir=None if rotates else flags["cert_dir"],
        bgp_type=flags["bgp_type"],
        source=source,
        state=state,
        webhook_terms=read_terms(flags["tls_min_version"], flags["tls_cipher_suites"]),
        tls=read_tls(
            flags["metrics_cert_dir"], flags["tls_min_version"], flags["tls_cipher_suites"]
        ),
    )


def main() -> None:
    """Run the controller; whatever is wrong with the settings is one line and exit status 2."""
    try:
        status = controller.main(standalone_mode=False)
    except click.ClickException as error:
        status = _refuse(error.format_message())
    except SettingsError as error:
        status = _refuse(str(error))
    except click.Abort:
        status = 130
    logs.finish()
    sys.exit(status)


def _refuse(message: str) -> int:
    click.echo(f"controller: {' '.join(message.split())}", err=True)
    return EXIT_USAGE
