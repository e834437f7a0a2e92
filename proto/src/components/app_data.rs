//! The AppDataUpdate and AppEphemeral proposals (draft-ietf-mls-extensions, sections 4.7 and 4.8).

use super::ComponentId;
use crate::Error;
use crate::tls::{Decode, Encode, Reader, Writer, tls_struct};

/// A change of one component's state in the GroupContext.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppDataUpdate {
    /// The component.
    pub component_id: ComponentId,
    /// The change.
    pub op: AppDataUpdateOperation,
}

/// What happens to the state. `invalid(0)` cannot be built and is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppDataUpdateOperation {
    /// The component's logic applies this update.
    Update(Vec<u8>),
    /// The state is removed.
    Remove,
}

impl AppDataUpdate {
    /// Walks one without copying it.
    pub(crate) fn walk(reader: &mut Reader<'_>) -> Result<(), Error> {
        ComponentId::decode(reader)?;
        match u8::decode(reader)? {
            UPDATE => {
                reader.opaque()?;
                Ok(())
            }
            REMOVE => Ok(()),
            value => Err(Error::UnknownValue {
                what: "AppDataUpdateOperation",
                value: value.into(),
            }),
        }
    }
}

const UPDATE: u8 = 1;
const REMOVE: u8 = 2;

impl Encode for AppDataUpdate {
    fn encode(&self, out: &mut Writer) {
        self.component_id.encode(out);
        match &self.op {
            AppDataUpdateOperation::Update(update) => {
                UPDATE.encode(out);
                update.encode(out);
            }
            AppDataUpdateOperation::Remove => REMOVE.encode(out),
        }
    }
}

impl Decode for AppDataUpdate {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let component_id = ComponentId::decode(reader)?;
        let op = match u8::decode(reader)? {
            UPDATE => AppDataUpdateOperation::Update(Vec::decode(reader)?),
            REMOVE => AppDataUpdateOperation::Remove,
            value => {
                return Err(Error::UnknownValue {
                    what: "AppDataUpdateOperation",
                    value: value.into(),
                });
            }
        };
        Ok(AppDataUpdate { component_id, op })
    }
}

/// Data attached to a Commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppEphemeral {
    /// The component.
    pub component_id: ComponentId,
    /// The component's data.
    pub data: Vec<u8>,
}

tls_struct!(AppEphemeral { component_id, data });

impl AppEphemeral {
    /// Walks one without copying it.
    pub(crate) fn walk(reader: &mut Reader<'_>) -> Result<(), Error> {
        ComponentId::decode(reader)?;
        reader.opaque()?;
        Ok(())
    }
}
