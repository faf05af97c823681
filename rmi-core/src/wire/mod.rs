//! The bytes of the protocol: frames, messages, references and values.
//!
//! Everything here is a function of its input: no I/O, no clock. `PROTOCOL.md` describes the same
//! bytes for readers.

pub mod call;
pub mod chunk;
pub mod codec;
pub mod error;
pub mod extras;
mod field;
pub mod frame;
pub mod hello;
pub mod message;
pub mod payload;
pub mod reference;
pub mod reply;
pub mod resume;
mod varint;

#[cfg(test)]
mod golden;

pub use call::{Call, CallHead, Codec, PROMISED_MAX, TIME_LEFT_MAX, Target};
pub use chunk::{Chunk, ChunkHead, Part};
pub use codec::{DecodeError, Decoder, EncodeError, Encoder};
pub use error::WireError;
pub use extras::{Extras, Trace};
pub use field::{ENDPOINTS_MAX, NAME_LEN_MAX};
pub use frame::{
    CHUNK_LEN_MAX, FEATURES, FRAME_LEN_MAX, Frame, FrameStart, Kind, begin_frame, finish_frame, split_frame,
    take_back_frame,
};
pub use hello::{Agreed, Hello, HelloRefused, TOKEN_LEN_MAX};
pub use message::{
    Ack, Acquire, CallId, Cancel, Closing, Credit, Definition, Goodbye, InterfacesNumber, Merge, Message, MethodNumber,
    PromiseId, Refusal, Release, Slot,
};
pub use payload::{Encoded, Payload};
pub use reference::{Descriptor, ROUTE_LEN_MAX};
pub use reply::{Outcome, Reply, ReplyHead};
pub use resume::{LinkId, Resume, ResumeRefused, Secret, Ticket};
