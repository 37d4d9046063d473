//! The port through which a manager says where a call goes.
//!
//! A [`Router`] is asked once per call, with what can be told without decoding a message: path, headers, and the first
//! message's bytes where the call is about one service. It answers from what it knows; it must not wait.

use http::HeaderMap;
use tokio_util::sync::CancellationToken;

use crate::Upstream;

/// Decides where calls go.
pub trait Router: Send + Sync + 'static {
    /// Where this call goes. Must be quick: it stands before every call.
    fn route(&self, call: &Call<'_>) -> Route;
}

/// What is known of a call before anything is decided.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// `/package.Service/Method`.
    pub path: &'a str,
    /// The call's headers; its metadata among them.
    pub headers: &'a HeaderMap,
    /// The first message, encoded; a well-formed protobuf message as far as its outermost fields go. Only for calls of
    /// `om.v1` that are about one service: for those of foreign services the headers say what is needed.
    pub first: Option<&'a [u8]>,
}

impl<'a> Call<'a> {
    /// The service's name: field 1 of every message that is about one service.
    #[must_use]
    pub fn service(&self) -> Option<&'a str> {
        text_field(self.first?, 1).ok()?
    }

    /// The action's name: field 2 of a Run.
    #[must_use]
    pub fn action(&self) -> Option<&'a str> {
        text_field(self.first?, 2).ok()?
    }

    /// The kind that a call of a foreign service names in its metadata.
    #[must_use]
    pub fn kind(&self) -> Option<&'a str> {
        self.headers.get(om_api::metadata::KIND)?.to_str().ok()
    }
}

/// Where a call goes.
#[derive(Clone, Debug)]
pub enum Route {
    /// To the services of this program itself.
    Own,
    /// To a plugin, as bytes.
    Local(Passage),
    /// Nowhere: somebody else leads.
    Elsewhere(Leader),
    /// Nowhere: nobody leads, for all that is known.
    Nobody {
        /// Why, for people.
        why: String,
    },
    /// Nowhere, for another reason.
    Refuse(om_api::Error),
}

/// The way to a plugin, under one term.
#[derive(Clone, Debug)]
pub struct Passage {
    /// The plugin.
    pub upstream: Upstream,
    /// The caller's term, which the plugin checks.
    pub term: u64,
    /// The identity of the store that the term belongs to.
    pub cluster: String,
    /// Cancelled when the term ends: calls under way are cut then.
    pub until: CancellationToken,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The replica's name.
    pub name: String,
    /// Where it serves; empty if not known.
    pub endpoint: String,
    /// Its term; 0 if not known.
    pub term: u64,
}

/// The bytes are not a protobuf message, or the field is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Whether the outermost fields can be told apart, and the given ones are text.
pub(crate) fn check(message: &[u8], text_fields: &[u32]) -> Result<(), Malformed> {
    for &number in text_fields {
        text_field(message, number)?;
    }
    Ok(())
}

/// The last field of this number, as protobuf has it: what a plugin's decoder takes is what was routed by.
/// An absent field and an empty one are the same.
fn text_field(mut message: &[u8], number: u32) -> Result<Option<&str>, Malformed> {
    let mut found = None;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let field = u32::try_from(key >> 3).map_err(|_| Malformed)?;
        let value = match key & 7 {
            0 => {
                varint(&mut message)?;
                None
            }
            1 => take(&mut message, 8).map(|_| None)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).map_err(|_| Malformed)?;
                Some(take(&mut message, length)?)
            }
            5 => take(&mut message, 4).map(|_| None)?,
            // Groups, long out of use: the decoder may judge.
            _ => return Err(Malformed),
        };
        if field == number {
            found = Some(std::str::from_utf8(value.ok_or(Malformed)?).map_err(|_| Malformed)?);
        } else if field == 0 {
            return Err(Malformed);
        }
    }
    Ok(found.filter(|text| !text.is_empty()))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (value, rest) = bytes.split_at_checked(length).ok_or(Malformed)?;
    *bytes = rest;
    Ok(value)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

#[cfg(test)]
mod tests {
    use om_api::v1::RunRequest;
    use prost::Message as _;

    use super::*;

    fn run() -> RunRequest {
        let args = [("lines".to_owned(), "10".to_owned())].into();
        let name = "web".to_owned();
        RunRequest {
            name,
            action: "logs".to_owned(),
            args,
            request_id: "r".to_owned(),
            ..RunRequest::default()
        }
    }

    #[test]
    fn service_and_action_are_read_from_the_bytes() {
        let bytes = run().encode_to_vec();
        let headers = HeaderMap::new();
        let call = Call { path: "/om.v1.ServicePlugin/Run", headers: &headers, first: Some(&bytes) };
        assert_eq!((call.service(), call.action()), (Some("web"), Some("logs")));
        assert_eq!(Call { first: None, ..call }.service(), None);
        assert_eq!(Call { first: Some(&[]), ..call }.service(), None);
    }

    #[test]
    fn of_several_names_the_one_counts_that_a_decoder_takes() {
        let mut bytes = run().encode_to_vec();
        bytes.extend(RunRequest { name: "db".to_owned(), ..RunRequest::default() }.encode_to_vec());
        let decoded = RunRequest::decode(bytes.as_slice()).unwrap();
        assert_eq!(text_field(&bytes, 1), Ok(Some(decoded.name.as_str())));
        assert_eq!(text_field(&bytes, 2), Ok(Some(decoded.action.as_str())));
    }

    #[test]
    fn unknown_fields_of_every_kind_are_stepped_over() {
        // 20: varint, 21: eight bytes, 22: four bytes, 23: a message.
        let unknown =
            [0xa0, 1, 0x96, 1, 0xa9, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0xb5, 1, 1, 2, 3, 4, 0xba, 1, 2, 8, 1];
        let bytes = [&unknown[..], &run().encode_to_vec(), &unknown].concat();
        assert_eq!(text_field(&bytes, 1), Ok(Some("web")));
        assert_eq!(check(&bytes, &[1, 2]), Ok(()));
    }

    #[test]
    fn what_is_cut_off_or_no_text_is_malformed() {
        let bytes = run().encode_to_vec();
        let whole: Vec<usize> =
            (0..=bytes.len()).filter(|cut| text_field(&bytes[..*cut], 1).is_ok()).collect();
        assert_eq!(whole, [0, 5, 11, 24, 27], "only between fields: {bytes:?}");
        for bad in [&[0x0a, 2, 0xff, 0xff][..], &[0x08, 1], &[0x0b], &[0x02, 0], &[0xff; 12]] {
            assert_eq!(text_field(bad, 1), Err(Malformed), "{bad:?}");
        }
    }
}
