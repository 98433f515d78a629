//! `/metrics`: figures without persons, for Prometheus and whatever reads its formats (PROTOCOL 3.3).

use std::{collections::BTreeMap, fmt, time::Instant};

use axum::{
    extract::{Extension, Request},
    http::{HeaderValue, header},
};
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet, text::encode,
    },
    metrics::MetricType,
    registry::{Registry, Unit},
};

use super::{
    accept::preferred,
    figures::Queries,
    http::{Answer, made},
    methods::Methods,
    process::Process,
    rest::only,
    source::Source,
    watch::{self, Lost},
};
use crate::{
    config::tokens::Scope,
    edge::{
        connections::{Counts, Reasons},
        histogram::Histogram,
    },
    session::{Census, CensusOf, EndReason, SessionScope, State},
};

/// What the figures are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// Version 0.0.4 of Prometheus's own.
    Text,
    OpenMetrics,
}

/// The first is for whoever does not say.
const FORMATS: [(&str, Format); 2] =
    [("text/plain", Format::Text), ("application/openmetrics-text", Format::OpenMetrics)];

impl Format {
    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        })
    }
}

/// All figures, in the format that is liked best.
pub(super) async fn metrics(Extension(methods): Extension<Methods>, request: Request) -> Answer {
    methods.caller.must_have(Scope::Metrics)?;
    methods.caller.must_be_of_no_project("/metrics is of all projects; getStats shows the figures of one")?;
    only(request.uri(), &[])?;
    let format = preferred(request.headers(), &FORMATS).unwrap_or(Format::Text);
    let mut response = made(&methods, Box::new(Scrape { methods: methods.clone(), format })).await?;
    response.headers_mut().insert(header::CONTENT_TYPE, format.content_type());
    Ok(response)
}

/// The figures, made when their turn comes.
struct Scrape {
    methods: Methods,
    format: Format,
}

impl Source for Scrape {
    fn looks(&self) -> usize {
        self.methods.registry.len()
    }

    fn write_part(&mut self, out: &mut Vec<u8>) -> bool {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Figures::now(&self.methods)));
        let mut text = String::new();
        encode(&mut text, &registry).expect("a String takes anything");
        match self.format {
            Format::Text => out.extend_from_slice(as_prometheus_text(&text).as_bytes()),
            Format::OpenMetrics => out.extend_from_slice(text.as_bytes()),
        }
        false
    }
}

/// Everything that is shown, of one moment each: the sessions, the connections, the questions, the process.
#[derive(Debug)]
struct Figures {
    census: Census,
    peak: u64,
    connections: Counts,
    queries: BTreeMap<String, Queries>,
    query_sockets: u64,
    watches: watch::Counts,
    process: Process,
    started_at_s: f64,
}

impl Figures {
    fn now(methods: &Methods) -> Self {
        let Methods { registry, clock, figures, .. } = methods;
        let census = registry.census(CensusOf::Everybody, clock.now_ms());
        // Whoever asks getStats next learns how fast it went since then.
        figures.rates(census.traffic(), Instant::now());
        Self {
            census,
            peak: registry.peak() as u64,
            connections: figures.connections(),
            queries: figures.queries(),
            query_sockets: figures.query_sockets() as u64,
            watches: figures.watches(),
            process: Process::now(),
            started_at_s: clock.unix_ms(0) as f64 / 1000.0,
        }
    }
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut to = Writer(encoder);
        to.info("headcount_build", "The version of the server", ("version", env!("CARGO_PKG_VERSION")))?;
        self.encode_connections(&mut to)?;
        self.encode_sessions(&mut to)?;
        self.encode_queries(&mut to)?;
        self.encode_watches(&mut to)?;
        self.encode_process(&mut to)
    }
}

impl Figures {
    fn encode_connections(&self, to: &mut Writer<'_>) -> fmt::Result {
        let Counts { accepted, arriving, refused, dropped, upgraded, open, peak, closed, handshakes } =
            &self.connections;
        let reasons = |reasons: &Reasons| {
            reasons.iter().map(|(reason, count)| ([("reason", reason)], count)).collect::<Vec<_>>()
        };
        to.counter("headcount_connections_accepted", "Clients' connections that were accepted", *accepted)?;
        to.gauge(
            "headcount_connections_arriving",
            "Those of which it is not decided yet what they become",
            *arriving,
        )?;
        let help = "Those whose last request was refused, by the code of the refusal";
        to.counters("headcount_connections_refused", help, reasons(refused))?;
        let help = "Those that ended before a request was decided on, by how; health asked for that alone";
        to.counters("headcount_connections_dropped", help, reasons(dropped))?;
        to.counter("headcount_connections_upgraded", "Those that became WebSockets", *upgraded)?;
        to.gauge("headcount_connections_open", "WebSockets of clients that are open", *open)?;
        to.gauge("headcount_connections_peak", "The most that were open at a time", *peak)?;
        let help = "WebSockets of clients that ended, by why; slow-consumer are those that did not read";
        to.counters("headcount_connections_closed", help, reasons(closed))?;
        let help = "From a connection being accepted to its upgrade being granted";
        to.histogram("headcount_handshake", help, handshakes)
    }

    fn encode_sessions(&self, to: &mut Writer<'_>) -> fmt::Result {
        let census = &self.census;
        let live = SessionScope::ALL.into_iter().flat_map(|scope| {
            State::ALL.map(|state| {
                ([("scope", scope.as_str()), ("state", state.as_str())], census.live_in(scope, state))
            })
        });
        to.gauges("headcount_sessions", "Live sessions; those without a connection linger", live)?;
        let help = "Live sessions whose user name is verified";
        to.gauge("headcount_sessions_authorized", help, census.authorized())?;
        to.gauge("headcount_sessions_peak", "The most sessions that were live at a time", self.peak)?;
        to.counter("headcount_sessions_begun", "Sessions that have begun", census.begun())?;
        let ended = EndReason::ALL.map(|reason| ([("reason", reason.as_str())], census.ended_by(reason)));
        to.counters("headcount_sessions_ended", "Sessions that have ended, by why", ended)?;
        let traffic = census.traffic();
        let ways = |received, sent| [([("direction", "in")], received), ([("direction", "out")], sent)];
        let help = "Whole messages of all sessions, in from clients and out to them";
        to.counters("headcount_messages", help, ways(traffic.messages_sent, traffic.messages_received))?;
        let help = "The payload of these messages";
        let bytes = ways(traffic.bytes_sent, traffic.bytes_received);
        to.counters("headcount_payload_bytes", help, bytes)
    }

    fn encode_queries(&self, to: &mut Writer<'_>) -> fmt::Result {
        let label = |way: &'_ str| [("method", way.to_owned())];
        let help = "From a question to the first part of its answer, by method of JSON-RPC or route of HTTP";
        let took = self.queries.iter().map(|(way, queries)| (label(way), &queries.took));
        to.histograms("headcount_query", help, took)?;
        let failed = self.queries.iter().map(|(way, queries)| (label(way), queries.failed));
        to.counters("headcount_query_errors", "Those among them whose answer was an error", failed)?;
        let help = "Query sockets and event streams that are open";
        to.gauge("headcount_query_sockets", help, self.query_sockets)
    }

    fn encode_watches(&self, to: &mut Writer<'_>) -> fmt::Result {
        let watches = &self.watches;
        to.gauge("headcount_watches", "Watches, over query sockets and as event streams", watches.live())?;
        to.counter("headcount_watches_begun", "Watches that have begun", watches.begun)?;
        to.counter("headcount_watches_ended", "Watches that have ended", watches.ended)?;
        let help = "Those who watch the same at the same interval are one";
        to.gauge("headcount_watch_groups", help, watches.groups)?;
        let help = "How long such a group took to find out what has changed";
        to.histogram("headcount_watch_evaluation", help, &watches.evaluations)?;
        let kinds = [("change", watches.lag.count()), ("resync", watches.resyncs_told)];
        let told = kinds.map(|(kind, count)| ([("kind", kind)], count));
        let help = "What watchers were told: a batch of changes, or a fresh snapshot";
        to.counters("headcount_watch_notifications", help, told)?;
        let lost = Lost::ALL.map(|why| ([("reason", why.as_str())], watches.resyncs(why)));
        let help = "How often what a watcher knew was given up, by why; slow are those that did not read";
        to.counters("headcount_watch_resyncs", help, lost)?;
        let help = "From a batch being made to its last part being handed to a watcher's connection";
        to.histogram("headcount_watch_lag", help, &watches.lag)
    }

    /// By the names that all programs have for these.
    fn encode_process(&self, to: &mut Writer<'_>) -> fmt::Result {
        let Process { resident_bytes, open_descriptors, max_descriptors, processor_time } = self.process;
        let help = "Processor time of the process";
        to.0.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), MetricType::Counter)?
            .encode_counter::<NoLabelSet, f64, u64>(&processor_time.as_secs_f64(), None)?;
        let help = "When the server started, since 1970";
        to.gauge("process_start_time_seconds", help, self.started_at_s)?;
        if let Some(bytes) = resident_bytes {
            to.gauge("process_resident_memory_bytes", "Memory that is taken", bytes)?;
        }
        if let Some(count) = open_descriptors {
            to.gauge("process_open_fds", "Descriptors that are open", count)?;
        }
        if let Some(count) = max_descriptors {
            to.gauge("process_max_fds", "Descriptors that may be open", count)?;
        }
        Ok(())
    }
}

/// Writes families of metrics, each with its type and its help.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn info(&mut self, name: &str, help: &str, label: (&str, &str)) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(&[label])
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue + Copy) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauges<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = ([(&'l str, &'l str); N], u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        values.into_iter().try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut counter = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        counter.encode_counter::<NoLabelSet, u64, u64>(&value, None)
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        values.into_iter().try_for_each(|(labels, value)| {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&value, None)
        })
    }

    /// In seconds.
    fn histograms<'h, L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, &'h Histogram)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        values
            .into_iter()
            .try_for_each(|(labels, took)| encode_histogram(family.encode_family(&labels)?, took))
    }

    fn histogram(&mut self, name: &str, help: &str, took: &Histogram) -> fmt::Result {
        encode_histogram(
            self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?,
            took,
        )
    }
}

fn encode_histogram(mut to: MetricEncoder<'_>, took: &Histogram) -> fmt::Result {
    let buckets: Vec<_> = took.buckets().collect();
    to.encode_histogram::<NoLabelSet>(took.sum().as_secs_f64(), took.count(), &buckets, None)
}

/// The same in version 0.0.4 of Prometheus's text: there a counter is described by the whole name of its sample, an info
/// is a gauge, units stand in names alone, and nothing marks the end.
fn as_prometheus_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = None;
    let mut put = |parts: [&str; 5]| {
        parts.iter().for_each(|part| text.push_str(part));
        text.push('\n');
    };
    for line in open_metrics.lines() {
        if let Some(of) = line.strip_prefix("# HELP ") {
            help = of.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|of| of.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            if let Some((_, help)) = help.take() {
                put(["# HELP ", name, suffix, " ", help]);
            }
            put(["# TYPE ", name, suffix, " ", kind]);
        } else if !line.starts_with('#') {
            put([line, "", "", "", ""]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_text_names_counters_whole_and_knows_no_end() {
        let open_metrics = "# HELP a_bytes x y.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total{k=\"v\"} 1\n\
            # HELP b z.\n# TYPE b info\nb_info{v=\"1\"} 1\n# HELP c z.\n# TYPE c gauge\nc 1\n# EOF\n";
        let text = "# HELP a_bytes_total x y.\n# TYPE a_bytes_total counter\na_bytes_total{k=\"v\"} 1\n\
            # HELP b_info z.\n# TYPE b_info gauge\nb_info{v=\"1\"} 1\n# HELP c z.\n# TYPE c gauge\nc 1\n";
        assert_eq!(as_prometheus_text(open_metrics), text);
    }
}
