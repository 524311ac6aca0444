# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dashboards of the role monitoring, by Grafana's own SDK.

python -m tests.dashboards roles/monitoring/files/dashboards     # or make dashboards
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Sequence, Union

from grafana_foundation_sdk.builders import bargauge, dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, StackingConfig, VizLegendOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueTextMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Panel = Union[bargauge.Panel, stat.Panel, statetimeline.Panel, table.Panel, timeseries.Panel]
Query = Union[str, "tuple[str, str]"]  # an expression, and what its series are called

#: the uid of the datasource that the role gives Grafana
DATASOURCE = "dgx-spark-prometheus"
TAG = "dgx-spark"
SPARK, SERVING = 'spark=~"$spark"', 'serving=~"$serving"'
#: of a width of 24
HALF, THIRD, QUARTER, WHOLE = 12, 8, 6, 24
TALL, FLAT = 8, 4
GOOD, BAD, WARN = "green", "red", "orange"
#: events of mlx5 that are congestion, and no loss
CONGESTION = "np_cnp_sent|rp_cnp_handled|np_ecn_marked_roce_packets"
EVENTS = "dgx_spark_rdma_events_total"


def source() -> DataSourceRef:
    """The role's Prometheus."""
    return DataSourceRef(type_val="prometheus", uid=DATASOURCE)


def targets(queries: Sequence[Query], *, instant: bool = False) -> list[prometheus.Dataquery]:
    """The queries of a panel, A, B, C ..."""
    made = []
    for ref, query in zip("ABCDEFGHIJ", queries):
        expr, legend = query if isinstance(query, tuple) else (query, "")
        one = prometheus.Dataquery().ref_id(ref).datasource(source()).expr(expr)
        one = one.legend_format(legend) if legend else one
        made.append(one.instant().format(PromQueryFormat.TABLE) if instant else one.range())
    return made


def graph(
    title: str,
    unit: str,
    *queries: Query,
    about: str = "",
    span: int = HALF,
    least: float | None = 0,
    most: float | None = None,
    stacked: bool = False,
) -> timeseries.Panel:
    """Lines over time. :param unit: as Grafana calls it."""
    panel = (
        timeseries.Panel()
        .title(title)
        .datasource(source())
        .unit(unit)
        .span(span)
        .height(TALL)
        .line_width(1)
        .fill_opacity(25 if stacked else 5)
        .legend(
            VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
        )
        .targets(list(targets(queries)))
    )
    panel = panel.description(about) if about else panel
    panel = panel if least is None else panel.min(least)
    panel = panel if most is None else panel.max(most)
    return panel.stacking(StackingConfig().mode(StackingMode.NORMAL)) if stacked else panel


def figure(
    title: str,
    unit: str,
    *queries: Query,
    steps: Sequence[tuple[float | None, str]] = (),
    about: str = "",
    span: int = QUARTER,
) -> stat.Panel:
    """The newest value of some series, in large digits. :param steps: from which value on which colour."""
    levels = [Threshold(value=value, color=color) for value, color in steps or [(None, GOOD)]]
    panel = (
        stat.Panel()
        .title(title)
        .datasource(source())
        .unit(unit)
        .span(span)
        .height(FLAT)
        .color_mode(BigValueColorMode.VALUE)
        .text_mode(BigValueTextMode.VALUE_AND_NAME)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(levels))
        .no_value("none")
        .targets(list(targets(queries)))
    )
    return panel.description(about) if about else panel


def yes_or_no(title: str, query: Query, yes: str, no: str, *, about: str = "", span: int = QUARTER) -> stat.Panel:
    """Whether something holds, as a word for each series."""
    panel = figure(title, "none", query, steps=[(None, BAD), (1, GOOD)], about=about, span=span)
    return panel.mappings([ValueMap(options={"0": ValueMappingResult(text=no), "1": ValueMappingResult(text=yes)})])


def states(title: str, *queries: Query, about: str = "") -> statetimeline.Panel:
    """Which of some states held when: each series is 1 while it holds."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .datasource(source())
        .span(WHOLE)
        .height(TALL)
        .mappings(
            [
                ValueMap(
                    options={
                        "0": ValueMappingResult(text=" ", color="transparent"),
                        "1": ValueMappingResult(text="yes", color=GOOD),
                    }
                )
            ]
        )
        .targets(list(targets(queries)))
    )
    return panel.description(about) if about else panel


def progress(title: str, *queries: Query, about: str) -> bargauge.Panel:
    """How much of something is there, from 0 to 1."""
    return (
        bargauge.Panel()
        .title(title)
        .description(about)
        .datasource(source())
        .unit("percentunit")
        .min(0)
        .max(1)
        .span(HALF)
        .height(TALL)
        .no_value("nothing is on its way")
        .reduce_options(ReduceDataOptions().calcs(["last"]))
        .targets(list(targets(queries)))
    )


def listed(title: str, query: str, *, about: str) -> table.Panel:
    """A row for each series that there is now."""
    return (
        table.Panel()
        .title(title)
        .description(about)
        .datasource(source())
        .span(HALF)
        .height(TALL)
        .no_value("none")
        .targets(list(targets([query], instant=True)))
    )


def variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    """What a dashboard is narrowed to; all of it at first."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(source())
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def page(
    name: str, title: str, about: str, rows: dict[str, list[Panel]], *, serving: bool = False
) -> dashboard.Dashboard:
    """A dashboard, with links to the others."""
    made = (
        dashboard.Dashboard(f"DGX Spark: {title}")
        .uid(f"dgx-spark-{name}")
        .description(about)
        .tags([TAG])
        .readonly()
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("DGX Spark")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(False)
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(variable("spark", "Spark", 'label_values(up{job="spark"}, spark)'))
    )
    if serving:
        made = made.with_variable(variable("serving", "Serving", "label_values(dgx_spark_engine_phase, serving)"))
    for row, panels in rows.items():
        made = made.with_row(dashboard.Row(row))
        for panel in panels:
            made = made.with_panel(panel)
    return made


def overview() -> dashboard.Dashboard:
    """Memory, GPU, temperatures, disks, and what is on its way."""
    used = f'1 - avg by (spark) (rate(node_cpu_seconds_total{{mode="idle",{SPARK}}}[1m]))'
    root = f'mountpoint="/",fstype!~"tmpfs|rootfs",{SPARK}'
    return page(
        "overview",
        "Sparks",
        "Whether the Sparks are well: memory, GPU, temperatures, disks, alerts, and what is downloaded or copied.",
        {
            "Now": [
                yes_or_no("Sparks", (f'up{{job="spark",{SPARK}}}', "{{spark}}"), "answers", "does not answer"),
                figure(
                    "Alerts that fire",
                    "none",
                    ('count(ALERTS{alertstate="firing"}) or vector(0)', "alerts"),
                    steps=[(None, GOOD), (1, BAD)],
                ),
                figure(
                    "Memory that is available",
                    "bytes",
                    (f"node_memory_MemAvailable_bytes{{{SPARK}}}", "{{spark}}"),
                    about="A Spark's GPU has no memory of its own: this is what both have left.",
                ),
                figure(
                    "GPU",
                    "celsius",
                    (f"max by (spark) (dgx_spark_gpu_temperature_celsius{{{SPARK}}})", "{{spark}}"),
                    steps=[(None, GOOD), (75, WARN), (85, BAD)],
                ),
            ],
            "Alerts and transfers": [
                listed(
                    "Alerts",
                    'ALERTS{alertstate=~"firing|pending"}',
                    about="Prometheus' page of alerts has the mend of each.",
                ),
                progress(
                    "Downloads and copies",
                    (
                        f"dgx_spark_transfer_there_bytes{{{SPARK}}} / (dgx_spark_transfer_bytes{{{SPARK}}} > 0)",
                        "{{spark}}: {{what}}",
                    ),
                    about="Models and images that are on their way to a Spark now.",
                ),
                graph(
                    "Speed of downloads and copies",
                    "Bps",
                    (f"clamp_min(deriv(dgx_spark_transfer_there_bytes{{{SPARK}}}[30s]), 0)", "{{spark}}: {{what}}"),
                ),
                figure(
                    "Time that they take yet",
                    "dtdurations",
                    (
                        f"(dgx_spark_transfer_bytes{{{SPARK}}} - dgx_spark_transfer_there_bytes{{{SPARK}}})"
                        f" / (deriv(dgx_spark_transfer_there_bytes{{{SPARK}}}[1m]) > 0)",
                        "{{spark}}: {{what}}",
                    ),
                    span=HALF,
                ),
            ],
            "Memory and processors": [
                graph(
                    "Memory",
                    "bytes",
                    (f"node_memory_MemAvailable_bytes{{{SPARK}}}", "{{spark}} available"),
                    (f"node_memory_MemTotal_bytes{{{SPARK}}}", "{{spark}} in all"),
                    (
                        f"max by (spark) (dgx_spark_engine_memory_floor_bytes{{{SPARK}}})",
                        "{{spark}}, below which a rank is ended",
                    ),
                ),
                graph("Processors", "percentunit", (used, "{{spark}}"), most=1),
                graph(
                    "Memory that was swapped out",
                    "bytes",
                    (f"node_memory_SwapTotal_bytes{{{SPARK}}} - node_memory_SwapFree_bytes{{{SPARK}}}", "{{spark}}"),
                ),
                graph("Load", "short", (f"node_load1{{{SPARK}}}", "{{spark}}")),
            ],
            "GPU": [
                graph("Use", "percentunit", (f"dgx_spark_gpu_used_ratio{{{SPARK}}}", "{{spark}}"), most=1),
                graph("Temperature", "celsius", (f"dgx_spark_gpu_temperature_celsius{{{SPARK}}}", "{{spark}}")),
                graph("Power", "watt", (f"dgx_spark_gpu_power_watts{{{SPARK}}}", "{{spark}}")),
                graph(
                    "Clock",
                    "hertz",
                    (f"dgx_spark_gpu_clock_hertz{{{SPARK}}}", "{{spark}}"),
                    (f"dgx_spark_gpu_clock_max_hertz{{{SPARK}}}", "{{spark}} at most"),
                ),
                states(
                    "Slowed for a fault or for heat",
                    (f"max by (spark, reason) (dgx_spark_gpu_slowed{{{SPARK}}})", "{{spark}} {{reason}}"),
                    about="A software cap of the power is none of these: it is on half of the time, without any load.",
                ),
                listed(
                    "Errors of the driver",
                    f"time() - dgx_spark_gpu_xid_timestamp_seconds{{{SPARK}}}",
                    about="Xid numbers since the boot, and the seconds since each was last reported.",
                ),
                graph(
                    "Energy, as DCGM tells",
                    "watt",
                    (f"rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{{SPARK}}}[5m]) / 1000", "{{spark}} on average"),
                    (f"DCGM_FI_DEV_POWER_USAGE{{{SPARK}}}", "{{spark}} now"),
                    about="Only with monitoring_dcgm.",
                ),
            ],
            "Disks, temperatures, clocks": [
                graph(
                    "Disk that is left",
                    "bytes",
                    (f"node_filesystem_avail_bytes{{{root}}}", "{{spark}} {{mountpoint}}"),
                ),
                graph(
                    "Disk that is read and written",
                    "Bps",
                    (f"sum by (spark) (rate(node_disk_read_bytes_total{{{SPARK}}}[1m]))", "{{spark}} read"),
                    (f"sum by (spark) (rate(node_disk_written_bytes_total{{{SPARK}}}[1m]))", "{{spark}} written"),
                ),
                graph(
                    "Hottest sensors",
                    "celsius",
                    (f"max by (spark, chip) (node_hwmon_temp_celsius{{{SPARK}}})", "{{spark}} {{chip}}"),
                ),
                graph(
                    "Clocks, from the leader's",
                    "s",
                    (f"node_time_seconds{{{SPARK}}} - timestamp(node_time_seconds{{{SPARK}}})", "{{spark}}"),
                    least=None,
                ),
            ],
        },
    )


def engine() -> dashboard.Dashboard:
    """What is served: phase, speed, latencies, KV cache, queue, canary."""
    of = f"{{{SERVING}}}"

    def any_of(*names: str) -> str:
        return f"sum by (serving) ({' or '.join(f'{name}{of}' for name in names)})"

    return page(
        "engine",
        "engine",
        "What the engines do, and what their supervisors found. Three engines' figures have one name each.",
        {
            "Now": [
                states(
                    "Phase",
                    (
                        f"max by (serving, phase) (dgx_spark_engine_phase{of}) == 1",
                        "{{serving}} {{phase}}",
                    ),
                    about="As the supervisor of the leader has noted it.",
                ),
                figure("Tokens a second now", "none", (f"spark:engine_tokens:rate1m{of}", "{{serving}}")),
                figure(
                    "Since the last token",
                    "dtdurations",
                    (f"time() - dgx_spark_engine_last_token_timestamp_seconds{of}", "{{serving}}"),
                    about="The supervisor asks for one when no other came.",
                ),
                figure(
                    "Starts since the last good run",
                    "none",
                    (f"dgx_spark_engine_starts{of}", "{{serving}}"),
                    steps=[(None, GOOD), (2, WARN), (3, BAD)],
                ),
                figure(
                    "Tokens that fit into the KV cache", "short", (f"dgx_spark_engine_kv_tokens{of}", "{{serving}}")
                ),
            ],
            "Speed": [
                graph("Tokens a second", "short", (f"spark:engine_tokens:rate1m{of}", "{{serving}}")),
                graph("Requests that end, a second", "reqps", (f"spark:engine_requests:rate1m{of}", "{{serving}}")),
                graph(
                    "Time to the first token",
                    "s",
                    (f"spark:engine_ttft_seconds:p50{of}", "{{serving}} half"),
                    (f"spark:engine_ttft_seconds:p95{of}", "{{serving}} 95 of 100"),
                ),
                graph(
                    "Time between tokens",
                    "s",
                    (f"spark:engine_itl_seconds:p50{of}", "{{serving}} half"),
                    (f"spark:engine_itl_seconds:p95{of}", "{{serving}} 95 of 100"),
                ),
            ],
            "Load": [
                graph(
                    "Requests that run",
                    "short",
                    (
                        any_of("trtllm_num_requests_running", "vllm:num_requests_running", "sglang:num_running_reqs"),
                        "{{serving}}",
                    ),
                ),
                graph(
                    "Requests that wait",
                    "short",
                    (
                        any_of("trtllm_num_requests_waiting", "vllm:num_requests_waiting", "sglang:num_queue_reqs"),
                        "{{serving}}",
                    ),
                ),
                graph(
                    "KV cache that is used",
                    "percentunit",
                    (
                        any_of("trtllm_kv_cache_utilization", "vllm:kv_cache_usage_perc", "sglang:token_usage"),
                        "{{serving}}",
                    ),
                    most=1,
                ),
                graph(
                    "Canary",
                    "s",
                    (f"dgx_spark_engine_canary_seconds{of}", "{{serving}} took"),
                    (f"dgx_spark_engine_canary_timeout_seconds{of}", "{{serving}} may take"),
                    about="How long a single token took that the supervisor asked for.",
                ),
            ],
            "Start and ranks": [
                graph("From the start to the first token", "s", (f"dgx_spark_engine_load_seconds{of}", "{{serving}}")),
                yes_or_no(
                    "Ranks",
                    (f"dgx_spark_engine_rank_rdma{of}", "{{serving}} {{rank}} {{transport}}"),
                    "RDMA",
                    "no RDMA",
                    span=HALF,
                ),
                listed(
                    "Images",
                    f"dgx_spark_engine_image_info{of}",
                    about="All Sparks are to run a serving from the same one.",
                ),
                listed("Models", f"dgx_spark_engine_info{of}", about="Which engine serves which model."),
            ],
        },
        serving=True,
    )


def fabric() -> dashboard.Dashboard:
    """What goes between the Sparks, and whether packets are lost."""
    port = "{{spark}} {{device}}"
    return page(
        "fabric",
        "fabric",
        "What the Sparks send one another by RDMA. The byte counters of the netdevs stand still for that.",
        {
            "RDMA": [
                graph(
                    "Bytes by Spark",
                    "Bps",
                    (f"spark:rdma_bytes:rate1m{{{SPARK}}}", "{{spark}} {{direction}}"),
                    span=WHOLE,
                ),
                graph(
                    "Bytes that a device sends",
                    "Bps",
                    (f'rate(dgx_spark_rdma_bytes_total{{direction="sent",{SPARK}}}[1m])', port),
                    about="Both halves of a port carry about the same where an engine uses both.",
                ),
                graph(
                    "Bytes that a device receives",
                    "Bps",
                    (f'rate(dgx_spark_rdma_bytes_total{{direction="received",{SPARK}}}[1m])', port),
                ),
                graph(
                    "Packets that are sent again, or waited for",
                    "short",
                    (
                        f'sum by (spark, device, event) (rate({EVENTS}{{event!~"{CONGESTION}",{SPARK}}}[1m]))',
                        "{{spark}} {{device}} {{event}}",
                    ),
                    about="A second. On a fabric that is well there are none.",
                ),
                graph(
                    "Congestion",
                    "short",
                    (
                        f'sum by (spark, event) (rate({EVENTS}{{event=~"{CONGESTION}",{SPARK}}}[1m]))',
                        "{{spark}} {{event}}",
                    ),
                    about="Notifications of congestion a second: they slow a sender, and lose nothing.",
                ),
            ],
            "Devices and ranks": [
                yes_or_no(
                    "Transport of the ranks",
                    ("dgx_spark_engine_rank_rdma", "{{serving}} {{rank}} {{transport}}"),
                    "RDMA",
                    "no RDMA",
                    span=HALF,
                ),
                yes_or_no(
                    "Devices that ranks use",
                    (f"dgx_spark_rdma_device_present{{{SPARK}}}", "{{spark}} {{device}}"),
                    "there",
                    "gone",
                    span=HALF,
                ),
            ],
            "Networks": [
                graph(
                    "Bytes that netdevs receive",
                    "Bps",
                    (f'rate(node_network_receive_bytes_total{{device!="lo",{SPARK}}}[1m])', port),
                ),
                graph(
                    "Bytes that netdevs send",
                    "Bps",
                    (f'rate(node_network_transmit_bytes_total{{device!="lo",{SPARK}}}[1m])', port),
                ),
                graph(
                    "Errors and drops",
                    "short",
                    (f"rate(node_network_receive_errs_total{{{SPARK}}}[1m]) > 0", "{{spark}} {{device}} errors"),
                    (f"rate(node_network_receive_drop_total{{{SPARK}}}[1m]) > 0", "{{spark}} {{device}} drops"),
                ),
                graph(
                    "Changes of the carrier within 10 minutes",
                    "short",
                    (f"increase(node_network_carrier_changes_total{{{SPARK}}}[10m]) > 0", port),
                ),
            ],
        },
    )


def gateway() -> dashboard.Dashboard:
    """Who asks, and what is answered."""
    name = "{{gateway}}"
    return page(
        "gateway",
        "gateway",
        "Who asks the API gateway, and what it answers. Without a gateway all of this is empty.",
        {
            "Now": [
                yes_or_no("Gateway", (f"dgx_spark_gateway_up{{{SPARK}}}", name), "answers", "does not answer"),
                yes_or_no("Engine", (f"dgx_spark_gateway_engine_up{{{SPARK}}}", name), "answers", "does not answer"),
                figure("Requests that run", "none", (f"dgx_spark_gateway_requests{{{SPARK}}}", name)),
                figure(
                    "Until the certificate ends",
                    "dtdurations",
                    (f"dgx_spark_certificate_end_timestamp_seconds{{{SPARK}}} - time()", name),
                    steps=[(None, BAD), (21 * 86400, WARN), (30 * 86400, GOOD)],
                ),
            ],
            "Clients": [
                graph(
                    "Requests of each client, a minute",
                    "short",
                    (
                        f"60 * sum by (client) (rate(dgx_spark_gateway_client_requests_total{{{SPARK}}}[1m]))",
                        "{{client}}",
                    ),
                    about="Those that the gateway let through. A client that asks nothing for two hours is forgotten.",
                    stacked=True,
                ),
                graph(
                    "Streams of each client",
                    "short",
                    (f"sum by (client) (dgx_spark_gateway_client_streams{{{SPARK}}})", "{{client}}"),
                    about="Requests that run.",
                    stacked=True,
                ),
            ],
            "Answers": [
                graph(
                    "Answers by status, a second",
                    "reqps",
                    (
                        f"sum by (gateway, code) (rate(dgx_spark_gateway_answers_total{{{SPARK}}}[1m]))",
                        "{{gateway}} {{code}}",
                    ),
                    stacked=True,
                ),
                graph(
                    "Share of answers that are an error",
                    "percentunit",
                    (
                        f'sum by (gateway) (rate(dgx_spark_gateway_answers_total{{code=~"4xx|5xx",{SPARK}}}[5m]))'
                        f" / (sum by (gateway) (rate(dgx_spark_gateway_answers_total{{{SPARK}}}[5m])) > 0)",
                        name,
                    ),
                    most=1,
                ),
                graph("Connections of clients", "short", (f"dgx_spark_gateway_connections{{{SPARK}}}", name)),
                graph(
                    "Time to the first token, of the engine",
                    "s",
                    ("spark:engine_ttft_seconds:p95", "{{serving}} 95 of 100"),
                ),
            ],
        },
    )


PAGES = {"overview": overview, "engine": engine, "fabric": fabric, "gateway": gateway}


def texts() -> dict[str, str]:
    """The texts of all dashboards, by the names of their files."""
    encoder = JSONEncoder(sort_keys=True, indent=1)
    return {f"dgx-spark-{name}.json": encoder.encode(made().build()) + "\n" for name, made in PAGES.items()}


if __name__ == "__main__":
    for name, text in texts().items():
        Path(sys.argv[1], name).write_text(text, encoding="utf-8")
