//! How the items of a stream stand in the answer to a pull.
//!
//! Each is a tag and the item; the tags of an end stand alone. An answer that ends without one goes on
//! with the next pull.

use std::any::Any;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{ErrorKind, RemoteError, Result},
    marshal::{ArgumentDecoder, ArgumentEncoder},
};

/// How a stream has ended.
#[derive(Debug)]
pub(super) enum End {
    /// It brings no more.
    Over,
    Failed(RemoteError),
}

const ITEM: u8 = 0;
const OVER: u8 = 1;
const FAILED: u8 = 2;

/// Appends an item. Bytes move as one copy at most; after many of them nothing must follow.
pub(super) fn encode<T: Serialize + 'static>(out: &mut ArgumentEncoder, item: T) {
    out.value(&ITEM);
    let mut item = Some(item);
    let any: &mut dyn Any = &mut item;
    if let Some(bytes) = any.downcast_mut::<Option<Bytes>>() {
        bytes.take().iter().for_each(|bytes| out.shared_bytes(bytes));
    } else if let Some(bytes) = any.downcast_mut::<Option<Vec<u8>>>() {
        bytes.take().into_iter().for_each(|bytes| out.owned_bytes(bytes));
    } else {
        item.iter().for_each(|item| out.value(item));
    }
}

/// Appends the end.
pub(super) fn encode_end(out: &mut ArgumentEncoder, failed: Option<&RemoteError>) {
    match failed {
        None => out.value(&OVER),
        Some(error) => out.value(&(FAILED, error)),
    }
}

/// Takes what an answer holds: items, at most as many as were asked for, and the end if it came.
///
/// # Errors
///
/// Where the answer holds something else.
pub(super) fn decode<T: DeserializeOwned + 'static>(
    from: &mut ArgumentDecoder<'_>,
    items_max: usize,
) -> Result<(Vec<T>, Option<End>)> {
    let mut items = Vec::new();
    while !from.is_at_end() {
        match from.value::<u8>()? {
            ITEM if items.len() < items_max => items.push(decode_item(from)?),
            ITEM => {
                return Err(RemoteError::new(ErrorKind::Protocol, "the stream sent more items than were asked for"));
            }
            OVER => return Ok((items, Some(End::Over))),
            FAILED => return Ok((items, Some(End::Failed(from.value()?)))),
            tag => {
                return Err(RemoteError::new(ErrorKind::Unmarshal, format!("no item of a stream has the tag {tag}")));
            }
        }
    }
    Ok((items, None))
}

fn decode_item<T: DeserializeOwned + 'static>(from: &mut ArgumentDecoder<'_>) -> Result<T> {
    let mut item = None::<T>;
    let any: &mut dyn Any = &mut item;
    if let Some(place) = any.downcast_mut::<Option<Bytes>>() {
        *place = Some(from.shared_bytes()?);
    } else if let Some(place) = any.downcast_mut::<Option<Vec<u8>>>() {
        *place = Some(from.owned_bytes()?);
    }
    item.map_or_else(|| from.value(), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{limits::Limits, wire::Payload};

    fn encoded(encode: impl FnOnce(&mut ArgumentEncoder)) -> Payload {
        let mut out = ArgumentEncoder::new();
        encode(&mut out);
        out.finish().0.take()
    }

    fn decoded<T: DeserializeOwned + 'static>(payload: &mut Payload, max: usize) -> Result<(Vec<T>, Option<End>)> {
        decode(&mut ArgumentDecoder::new(payload, Vec::new(), &Limits::default()), max)
    }

    #[test]
    fn items_and_ends_come_out_as_they_went_in() {
        let mut payload = encoded(|out| [1, 2, 300_u32].into_iter().for_each(|item| encode(out, item)));
        assert!(matches!(decoded::<u32>(&mut payload, 3), Ok((items, None)) if items == [1, 2, 300]));
        let mut payload = encoded(|out| {
            encode(out, "last".to_owned());
            encode_end(out, None);
        });
        assert!(matches!(decoded::<String>(&mut payload, 1), Ok((items, Some(End::Over))) if items == ["last"]));
        let failed = RemoteError::new(ErrorKind::Other, "the disk is full");
        let mut payload = encoded(|out| encode_end(out, Some(&failed)));
        let Ok((items, Some(End::Failed(error)))) = decoded::<u8>(&mut payload, 0) else { panic!("it failed") };
        assert_eq!((items.len(), error.message()), (0, "the disk is full"));
    }

    #[test]
    fn many_bytes_are_moved() {
        let sent = Bytes::from(vec![7; 1 << 20]);
        let mut payload = encoded(|out| {
            encode(out, Bytes::from_static(b"few"));
            encode(out, sent.clone());
        });
        let (items, end) = decoded::<Bytes>(&mut payload, 2).unwrap();
        assert!(end.is_none());
        assert_eq!(items, [Bytes::from_static(b"few"), sent.clone()]);
        assert_eq!(items[1].as_ptr(), sent.as_ptr());
        let mut payload = encoded(|out| encode(out, vec![8_u8; 100]));
        assert_eq!(decoded::<Vec<u8>>(&mut payload, 1).unwrap().0, [vec![8; 100]]);
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        let mut payload = encoded(|out| [1_u8, 2].into_iter().for_each(|item| encode(out, item)));
        assert_eq!(decoded::<u8>(&mut payload, 1).unwrap_err().kind(), ErrorKind::Protocol);
        let mut payload = encoded(|out| out.value(&9_u8));
        assert_eq!(decoded::<u8>(&mut payload, 1).unwrap_err().kind(), ErrorKind::Unmarshal);
    }
}
