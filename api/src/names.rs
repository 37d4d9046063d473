//! Which names services, replicas and plugins may have.

/// Checks a service's name: `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, at most 63 bytes (a DNS label).
///
/// # Errors
/// What is wrong, for people.
pub fn check_service(name: &str) -> Result<(), String> {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let why = if name.is_empty() {
        "is empty".to_owned()
    } else if name.len() > 63 {
        format!("has {} characters, more than 63", name.len())
    } else if let Some(bad) = name.chars().find(|c| !u8::try_from(*c).is_ok_and(inner)) {
        format!("has a {bad:?}")
    } else if name.starts_with('-') || name.ends_with('-') {
        "begins or ends with a dash".to_owned()
    } else {
        return Ok(());
    };
    Err(format!("the name {name:?} {why}; a name is lower-case letters, digits and inner dashes, at most 63"))
}

/// Checks the name of a replica or plugin, which is its socket's file name too.
///
/// # Errors
/// What is wrong, for people.
pub fn check_socket(name: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 63 || name.starts_with('.') || !name.chars().all(fine) {
        return Err(format!(
            "the name {name:?} cannot be a socket's: letters, digits, '-', '_' and inner '.', at most 63"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_name_is_a_dns_label() {
        for good in ["a", "web", "web-1", "0", &"a".repeat(63)] {
            assert_eq!(check_service(good), Ok(()), "{good}");
        }
        for bad in ["", "Web", "-a", "a-", "a.b", "a_b", "ä", &"a".repeat(64)] {
            assert!(check_service(bad).is_err(), "{bad}");
        }
    }
}
