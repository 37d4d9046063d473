//! Words for enumerations, times, and text that came from elsewhere.

use om_api::v1::{Effect, EventType, Leadership, OperationState, Phase};

/// Text from elsewhere, fit for a terminal: a control character could do anything to it.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            // These mark colours until a table is laid out.
            '\u{2061}'..='\u{2064}' => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// The same in one line.
pub(crate) fn one_line(text: &str) -> String {
    clean(&text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; "))
}

/// Wall time as RFC 3339 in UTC, with milliseconds; empty for 0.
pub(crate) fn time(unix_ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(unix_ms) {
        Ok(time) if unix_ms != 0 => format!("{time:.3}"),
        _ => String::new(),
    }
}

/// Wall time for people: whole seconds, UTC.
pub(crate) fn short_time(unix_ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(unix_ms) {
        Ok(time) if unix_ms != 0 => time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        _ => "-".to_owned(),
    }
}

/// As pinned.
pub(crate) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Unspecified => "unknown",
        Phase::Pending => "pending",
        Phase::Ready => "ready",
        Phase::Degraded => "degraded",
        Phase::Failed => "failed",
        Phase::Destroying => "destroying",
    }
}

/// As pinned.
pub(crate) fn leadership(leadership: Leadership) -> &'static str {
    match leadership {
        Leadership::Leading => "leading",
        Leadership::Following => "following",
        Leadership::Unspecified | Leadership::Unknown => "unknown",
    }
}

/// As pinned.
pub(crate) fn event(kind: EventType) -> &'static str {
    match kind {
        EventType::Unspecified => "unknown",
        EventType::Committed => "committed",
        EventType::Freed => "freed",
        EventType::Destroyed => "destroyed",
        EventType::Status => "status",
        EventType::Leadership => "leadership",
    }
}

/// How an operation stands.
pub(crate) fn operation(state: OperationState) -> &'static str {
    match state {
        OperationState::Unspecified => "unknown",
        OperationState::Running => "running",
        OperationState::Succeeded => "succeeded",
        OperationState::Failed => "failed",
        OperationState::Interrupted => "interrupted",
    }
}

/// What an action does.
pub(crate) fn effect(effect: Effect) -> &'static str {
    if effect == Effect::Read { "read" } else { "change" }
}

/// `1 service`, `2 services`.
pub(crate) fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A host for people: of a machine id the beginning is enough to tell hosts apart.
pub(crate) fn host(host: &str) -> &str {
    let is_id = host.len() == 32 && host.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { &host[..12] } else { host }
}

/// Labels as `k=v,k=v`.
pub(crate) fn labels<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        assert_eq!(time(1_700_000_000_007), "2023-11-14T22:13:20.007Z");
        assert_eq!(time(1_700_000_000_000), "2023-11-14T22:13:20.000Z");
        assert_eq!(time(0), "");
        assert_eq!(short_time(1_700_000_000_007), "2023-11-14 22:13:20Z");
    }

    #[test]
    fn nothing_from_elsewhere_commands_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\tc\u{2061}"), "a\u{fffd}[2Jb c\u{fffd}");
        assert_eq!(one_line("a\n\n  b\n"), "a; b");
    }
}
