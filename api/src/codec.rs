//! Protobuf as `tonic-prost` has it, with smaller buffers.
//!
//! A call has a buffer for each way from its beginning to its end; tonic's are of 8 KiB. Most of our messages have less
//! than one, and there are streams by the ten thousand that say something now and then.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// Bytes that a buffer begins with, and grows by. With what the allocator adds, this is as much as glibc hands out without
/// a search.
const BUFFER: usize = 1000;

/// From so many bytes on, the messages of a stream that are ready are sent before more are encoded: as in tonic.
const ENOUGH: usize = 32 * 1024;

/// What the generated clients and servers encode and decode with.
#[derive(Clone, Debug)]
pub(crate) struct Small<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Small<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Small<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::new(BUFFER, ENOUGH))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::new(BUFFER, ENOUGH))
    }
}
