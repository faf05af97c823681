//! References in a message: the payload holds indices into a table of these, so that a node can
//! handle the references of a call whose types it does not know.

use bytes::{BufMut, BytesMut};

use super::{
    error::WireError,
    field::{self, Reader},
    message::{InterfacesNumber, Slot},
    varint,
};
use crate::{
    endpoint::Endpoint,
    id::{NodeId, ObjectId},
    limits::Limits,
};

/// Most nodes that a reference may pass through.
pub const ROUTE_LEN_MAX: usize = 8;

/// One entry of a message's reference table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Descriptor {
    /// An object that the receiver exported to the sender.
    Yours(Slot),
    /// An object of the sender, exported to the receiver in this slot, whose count goes up by one.
    Mine {
        /// Where the sender exports it.
        slot: Slot,
        /// Its id.
        object: ObjectId,
        /// What it implements.
        interfaces: InterfacesNumber,
    },
    /// An object of a third node, held through the sender in this slot, whose count goes up by one.
    Third {
        /// Where the sender holds it for the receiver.
        slot: Slot,
        /// Its id.
        object: ObjectId,
        /// What it implements.
        interfaces: InterfacesNumber,
        /// The node that exports it.
        owner: NodeId,
        /// Where that node listens.
        endpoints: Vec<Endpoint>,
        /// The nodes that relay to it, from the sender on; empty where none does.
        route: Vec<NodeId>,
    },
}

const YOURS: u8 = 0;
const MINE: u8 = 1;
const THIRD: u8 = 2;

impl Descriptor {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Yours(slot) => {
                out.put_u8(YOURS);
                field::put_slot(out, *slot);
            }
            Self::Mine { slot, object, interfaces } => {
                out.put_u8(MINE);
                put_object(out, *slot, *object, *interfaces);
            }
            Self::Third { slot, object, interfaces, owner, endpoints, route } => {
                out.put_u8(THIRD);
                put_object(out, *slot, *object, *interfaces);
                out.put_slice(&owner.to_bytes());
                field::put_endpoints(out, endpoints);
                varint::put(out, route.len() as u64);
                for node in route {
                    out.put_slice(&node.to_bytes());
                }
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        match reader.byte("a reference")? {
            YOURS => Ok(Self::Yours(reader.slot()?)),
            MINE => {
                let (slot, object, interfaces) = take_object(reader)?;
                Ok(Self::Mine { slot, object, interfaces })
            }
            THIRD => {
                let (slot, object, interfaces) = take_object(reader)?;
                let owner = reader.node()?;
                let endpoints = reader.endpoints()?;
                let mut route = Vec::new();
                for _ in 0..reader.bounded("nodes of a route", ROUTE_LEN_MAX as u64)? {
                    route.push(reader.node()?);
                }
                Ok(Self::Third { slot, object, interfaces, owner, endpoints, route })
            }
            tag => Err(WireError::UnknownTag { what: "kind of reference", tag: tag.into() }),
        }
    }
}

fn put_object(out: &mut BytesMut, slot: Slot, object: ObjectId, interfaces: InterfacesNumber) {
    field::put_slot(out, slot);
    out.put_slice(&object.to_bytes());
    varint::put(out, interfaces.0.into());
}

fn take_object(reader: &mut Reader<'_>) -> Result<(Slot, ObjectId, InterfacesNumber), WireError> {
    let slot = reader.slot()?;
    let object = ObjectId::from_bytes(reader.fixed("an object id")?);
    let interfaces = InterfacesNumber(reader.varint_u32("the number of an interface list")?);
    Ok((slot, object, interfaces))
}

/// Appends a reference table.
pub(crate) fn put_table(out: &mut BytesMut, references: &[Descriptor]) {
    varint::put(out, references.len() as u64);
    for reference in references {
        reference.encode(out);
    }
}

/// Reads a reference table.
pub(crate) fn take_table(reader: &mut Reader<'_>, limits: &Limits) -> Result<Vec<Descriptor>, WireError> {
    let mut references = Vec::new();
    for _ in 0..reader.bounded("references in a message", limits.references.into())? {
        references.push(Descriptor::decode(reader)?);
    }
    Ok(references)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_route_to_an_owner_is_bounded() {
        let decoded = |nodes: usize| {
            let third = Descriptor::Third {
                slot: Slot { index: 0, generation: 0 },
                object: ObjectId::random(),
                interfaces: InterfacesNumber(0),
                owner: NodeId::random(),
                endpoints: Vec::new(),
                route: vec![NodeId::random(); nodes],
            };
            let mut out = BytesMut::new();
            third.encode(&mut out);
            Descriptor::decode(&mut Reader::new(&out.freeze())).map_err(|error| error.to_string())
        };
        decoded(8).unwrap();
        assert_eq!(decoded(9), Err("nodes of a route: 9 exceeds the limit of 8".to_owned()));
    }
}
