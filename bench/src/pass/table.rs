//! What was measured, in Markdown and as a picture, and how it compares.

use super::{Load, Sample};
use crate::plot::{Panel, Plot, What};
use crate::report::{Peer, environment};

const PEERS: [Peer; 2] = [
    Peer { program: "/usr/sbin/nginx", ask: "-v", before: ("nginx version: nginx/", "nginx ") },
    Peer { program: "/usr/sbin/haproxy", ask: "-v", before: ("HAProxy version ", "HAProxy ") },
];

/// One load, by all ways.
pub(super) struct Block<'a> {
    pub(super) load: &'a Load,
    pub(super) ways: Vec<(&'static str, Sample)>,
}

/// Of each figure the one in the middle.
pub(super) fn median(samples: &[Sample]) -> Sample {
    let of = |field: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(field).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Sample { p50: of(|s| s.p50), rate: of(|s| s.rate), cpu: of(|s| s.cpu) }
}

pub(super) fn table(blocks: &[Block<'_>], rounds: usize) -> String {
    let mut text = environment(&PEERS) + &format!(" **Rounds:** {rounds}, interleaved.\n");
    for Block { load, ways } in blocks {
        let unit = if load.latency { "p50 us" } else { "messages/s" };
        text += &format!("\n| {} | {unit} | ", load.what);
        text += if load.latency { "added us | " } else { "of nginx's | " };
        text += "CPU us a message in the proxy | of nginx's |\n| --- | --- | --- | --- | --- |\n";
        let named = |wanted: &str| ways.iter().find(|(name, _)| *name == wanted).map(|(_, sample)| *sample);
        for (name, sample) in ways {
            let is_proxy = *name != "direct";
            let ratio = |of: fn(&Sample) -> f64| named("nginx").map(|nginx| of(sample) / of(&nginx));
            let figure = if load.latency { sample.p50 } else { sample.rate };
            let beside = match named("direct") {
                Some(direct) if load.latency && is_proxy => format!("{:+.1}", sample.p50 - direct.p50),
                _ if load.latency => String::new(),
                _ => ratio(|s| s.rate).map_or(String::new(), |ratio| format!("{ratio:.2}")),
            };
            let cpu = if is_proxy { format!("{:.2}", sample.cpu) } else { String::new() };
            let cpu_ratio = ratio(|s| s.cpu).filter(|_| is_proxy);
            let cpu_ratio = cpu_ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
            let digits = usize::from(load.latency);
            text += &format!("| {name} | {figure:.digits$} | {beside} | {cpu} | {cpu_ratio} |\n");
        }
    }
    text
}

/// Of each load what counts most.
pub(super) fn plot(blocks: &[Block<'_>]) -> Plot {
    let panel = |Block { load, ways }: &Block<'_>| {
        let (unit, of): (_, fn(&Sample) -> f64) = match load.latency {
            true => ("p50, microseconds", |sample| sample.p50),
            false => ("messages a second", |sample| sample.rate),
        };
        let bars = ways.iter().map(|(name, sample)| ((*name).to_owned(), of(sample))).collect();
        Panel { title: format!("{}: {unit}", load.what), what: What::Bars(bars) }
    };
    Plot(blocks.iter().map(panel).collect())
}
