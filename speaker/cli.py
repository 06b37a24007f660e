"""The command line: MetalLB's flags and variables, and ours. A flag wins over its variable."""

import os
import sys
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click

from kube.durations import parse_duration
from ownership.announcing.pace import RATE
from ownership.election.quorum import QuorumMode
from plan.release import RELEASES, Release
from process import logs
from process.settings import WAYS_TO_KUBERNETES, SettingsError, default_namespace
from process.tls import read_tls
from speaker.settings import (
    GOSSIP_PORT,
    GossipTuning,
    Settings,
    delegate_version,
    exclude_pattern,
    failover_after,
    gossip_config,
    read_secret,
    split_seed,
)

EXIT_USAGE = 2
METALLB_FILES = Path("/etc/metallb")


class _Duration(click.ParamType[float]):
    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = _Duration()

option = partial(click.option, show_envvar=True)
"""An option whose help and errors name its variable."""

_WITHOUT_EFFECT = (
    "--bgp-debounce-timeout",
    "--cert-service-name",
    "--enable-pprof",
    "--frrk8s-namespace",
    "--frrk8s-secret-passthrough",
    "--pprof-bind-address",
    "--tls-curve-preferences",
)
"""Flags of MetalLB that its manifests may carry and that mean nothing here."""


_OF_TLS = ("--tls-cipher-suites", "--tls-curve-preferences", "--tls-min-version")
"""Flags that look like safety: where they are without effect, that is a warning."""

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def _flag(name: str, help_text: str) -> Decorator:
    # Go writes `--name` and `--name=false`.
    return option(name, type=bool, is_flag=False, flag_value=True, default=False, help=help_text)


def _accept_without_effect(command: Any) -> Any:
    for name in _WITHOUT_EFFECT:
        command = click.option(name, is_flag=False, flag_value="true", default=None, hidden=True)(
            command
        )
    return command


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@option("--source", type=click.Path(path_type=Path), help="Folder of manifests; unset: Kubernetes.")
@option(
    "--state",
    envvar="CLARION_STATE",
    type=click.Path(path_type=Path),
    help="File in which `controller --source` keeps addresses.",
)
@option("--join", default="", help="Gossip seeds: HOST[,HOST].")
@option(
    "--metallb-release",
    type=click.Choice(list(RELEASES)),
    default=Release.V0_16.value,
    help="Decide as this MetalLB release; the same on all nodes. v0.14 means its last patch,"
    " v0.14.9, which alone heeds cordons; a ring of v0.14.5 to v0.14.8 needs its own number.",
)
@option("--pod-name", envvar="METALLB_POD_NAME", default="", help="Owns what we write.")
@option("--node-name", envvar="METALLB_NODE_NAME", required=True, help="This node's name.")
@option("--namespace", envvar="METALLB_NAMESPACE", default="", help="Of our own objects.")
@option("--log-level", type=click.Choice(list(logs.LEVELS)), default="info")
@option("--host", envvar="METALLB_HOST", default="", help="Address to serve HTTP on.")
@option("--port", type=click.IntRange(0, 65535), default=7472, help="HTTP; 0 = off.")
@option("--health-probe-port", type=click.IntRange(0, 65535), default=0)
@option("--metrics-cert-dir", default="", help="Folder with tls.crt, tls.key: --port is HTTPS.")
@option("--tls-min-version", default="", help="VersionTLS10 to VersionTLS13, the default.")
@option("--tls-cipher-suites", default="", help="Go's names, for versions before 1.3.")
@option("--lb-class", default="", help="Our loadBalancerClass; unset by default.")
@_flag("--ignore-exclude-lb", "Announce from nodes excluded from load balancers too.")
@option(
    "--announce-rate",
    type=click.FloatRange(0, 1_000_000),
    default=RATE,
    help="Announcement frames a second and interface, after the first 256; 0 = no limit.",
)
@option(
    "--announce-refresh",
    type=DURATION,
    default="0s",
    help="Announce again in this interval for ever; 0s = only after a change, as MetalLB.",
)
@option(
    "--failover-after",
    default="350ms",
    metavar="DURATION",
    help="A dead node's IPs move after so long, on average; off = when memberlist says so.",
)
@option(
    "--quorum",
    type=click.Choice([mode.value for mode in QuorumMode]),
    default=QuorumMode.OFF.value,
    help="majority = announce only with most of the Nodes in reach; the same on all nodes.",
)
@option(
    "--bgp-engine",
    envvar="CLARION_BGP_ENGINE",
    type=click.Path(path_type=Path),
    help="Folder shared with an FRR engine: BGP is spoken; unset: layer 2 alone.",
)
@option(
    "--bgp-fast-failover",
    type=click.Choice(["auto", "off"]),
    default="auto",
    help="auto = routers leave a dead node by the others' MED; the same on all nodes.",
)
@_flag("--no-page", "No page for people beside /metrics.")
@_flag("--drain-on-cordon", "A cordoned node announces nothing; the same on all nodes.")
@option("--ml-bindaddr", envvar="METALLB_ML_BIND_ADDR", default="", help="'' = no gossip.")
@option(
    "--ml-bindport",
    envvar="METALLB_ML_BIND_PORT",
    type=click.IntRange(1, 65535),
    default=GOSSIP_PORT,
)
@option("--ml-labels", envvar="METALLB_ML_LABELS", default="", help="Of speaker pods.")
@option(
    "--ml-secret-key-path",
    envvar="METALLB_ML_SECRET_KEY_PATH",
    default="",
    help="File with the gossip secret, or folder with `secretkey` in it.",
)
@option("--ml-secret-key", envvar="METALLB_ML_SECRET_KEY", default="", hidden=True)
@_flag("--ml-wan-config", "memberlist's WAN numbers.")
@option("--ml-tcp-timeout", envvar="MEMBERLIST_TCP_TIMEOUT", type=DURATION, hidden=True)
@option(
    "--ml-push-pull-interval", envvar="MEMBERLIST_PUSH_PULL_INTERVAL", type=DURATION, hidden=True
)
@option("--ml-gossip-interval", envvar="MEMBERLIST_GOSSIP_INTERVAL", type=DURATION, hidden=True)
@option(
    "--ml-suspicion-mult",
    envvar="MEMBERLIST_SUSPICION_MULT",
    type=click.IntRange(1, 100),
    hidden=True,
)
@option("--ml-delegate-version", envvar="CLARION_ML_DELEGATE_VERSION", default="0,0,0", hidden=True)
@_flag("--memberlist-debug", "Print the running speaker's members and exit.")
@option("--metallb-files", type=click.Path(path_type=Path), default=METALLB_FILES, hidden=True)
@_accept_without_effect
@click.pass_context
def speaker(ctx: click.Context, /, **flags: Any) -> None:
    """Announce Kubernetes service IPs: on the local network, and by BGP through FRR."""
    if flags["memberlist_debug"]:
        from speaker.ring.member_debug import show

        ctx.exit(show(flags["node_name"]))
    settings = read_settings(flags)
    logs.configure(settings.log_level)
    _say_what_is_ignored(flags)
    # Imported late: --help and a wrong flag need none of it.
    from speaker.daemon import run

    ctx.exit(run(settings))


def _say_what_is_ignored(flags: dict[str, Any]) -> None:
    def is_set(name: str) -> bool:
        return bool(flags[name[2:].replace("-", "_")])

    log = logs.logger()
    ignored = [name for name in _WITHOUT_EFFECT if is_set(name) and name not in _OF_TLS]
    if ignored:
        log.info("flags", without_effect=ignored)
    plain = not flags["metrics_cert_dir"]
    unsafe = [name for name in _OF_TLS if is_set(name) and (plain or name in _WITHOUT_EFFECT)]
    if unsafe:
        why = "no --metrics-cert-dir: /metrics is plain HTTP" if plain else "OpenSSL chooses curves"
        log.warning("flags", without_effect=unsafe, message=why)


def read_settings(flags: dict[str, Any]) -> Settings:
    """Check the values of all flags together; raise SettingsError naming the one that is wrong."""
    source = flags["source"]
    if source is None and not any(name in os.environ for name in WAYS_TO_KUBERNETES):
        ways = " or ".join(f"${name}" for name in WAYS_TO_KUBERNETES)
        raise SettingsError(f"--source: not set, and neither is {ways}: no cluster to read")
    if source is None and flags["state"] is not None:
        raise SettingsError("--state: needs --source: a cluster keeps the addresses itself")
    files = flags["metallb_files"]
    join = tuple(part.strip() for part in flags["join"].split(",") if part.strip())
    _check_addresses(flags["ml_bindaddr"], join)
    tuning = GossipTuning(
        tcp_timeout=flags["ml_tcp_timeout"],
        push_pull_interval=flags["ml_push_pull_interval"],
        gossip_interval=flags["ml_gossip_interval"],
        suspicion_mult=flags["ml_suspicion_mult"],
        vsn=delegate_version(flags["ml_delegate_version"]),
    )
    settings = Settings(
        node_name=flags["node_name"],
        source=source,
        namespace=flags["namespace"] or default_namespace(),
        log_level=flags["log_level"],
        host=flags["host"],
        port=flags["port"],
        health_port=flags["health_probe_port"],
        lb_class=flags["lb_class"] or None,
        ignore_exclude_lb=flags["ignore_exclude_lb"],
        bind_address=flags["ml_bindaddr"],
        bind_port=flags["ml_bindport"],
        labels=flags["ml_labels"],
        join=join,
        secret=read_secret(flags["ml_secret_key_path"], flags["ml_secret_key"]),
        secret_path=flags["ml_secret_key_path"],
        gossip=gossip_config(flags["ml_wan_config"], tuning, files / "memberlist" / "config.json"),
        exclude=exclude_pattern(files / "excludel2.yaml"),
        release=RELEASES[flags["metallb_release"]],
        pod_name=flags["pod_name"],
        announce_rate=flags["announce_rate"],
        announce_refresh=flags["announce_refresh"],
        failover_after=failover_after(flags["failover_after"]),
        quorum=QuorumMode(flags["quorum"]),
        state=flags["state"],
        bgp_engine=flags["bgp_engine"],
        drain_on_cordon=flags["drain_on_cordon"],
        page=not flags["no_page"],
        bgp_fast_failover=flags["bgp_fast_failover"] == "auto",
        tls=read_tls(
            flags["metrics_cert_dir"], flags["tls_min_version"], flags["tls_cipher_suites"]
        ),
    )
    if settings.quorum is not QuorumMode.OFF and not settings.gossips:
        needed = "--ml-bindaddr" if source is not None else "--ml-bindaddr and --ml-labels"
        raise SettingsError(f"--quorum: majority needs gossip: {needed}")
    return settings


def _check_addresses(bind_address: str, join: tuple[str, ...]) -> None:
    try:
        if bind_address and ip_address(bind_address).is_unspecified:
            raise SettingsError("--ml-bindaddr: must be the address that peers reach us by")
    except ValueError as error:
        raise SettingsError(f"--ml-bindaddr: {error}") from None
    for seed in join:
        try:
            split_seed(seed, GOSSIP_PORT)
        except ValueError as error:
            raise SettingsError(f"--join: {seed}: {error}") from None


def main() -> None:
    """Run the speaker; whatever is wrong with the settings is one line and exit status 2."""
    try:
        status = speaker.main(standalone_mode=False)
    except click.ClickException as error:
        status = _refuse(error.format_message())
    except SettingsError as error:
        status = _refuse(str(error))
    except click.Abort:
        status = 130
    logs.finish()
    sys.exit(status)


def _refuse(message: str) -> int:
    click.echo(f"speaker: {' '.join(message.split())}", err=True)
    return EXIT_USAGE
