//! Safe additional authenticated data (draft-ietf-mls-extensions, section 4.9).

use super::ComponentId;
use super::dictionary::check_ascending;
use crate::Error;
use crate::tls::{self, Decode, Encode, Reader, Writer, tls_struct};

/// One component's data in a message's `authenticated_data`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafeAadItem {
    /// The component.
    pub component_id: ComponentId,
    /// Its data, in its own encoding.
    pub aad_item_data: Vec<u8>,
}

tls_struct!(SafeAadItem {
    component_id,
    aad_item_data
});

/// All of a message's `authenticated_data`, sorted by component ID, each at most once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SafeAad {
    aad_items: Vec<SafeAadItem>,
}

impl SafeAad {
    /// Checks the order.
    ///
    /// # Errors
    /// [`Error::Unordered`] or [`Error::Duplicate`].
    pub fn new(aad_items: Vec<SafeAadItem>) -> Result<Self, Error> {
        check_ascending("SafeAADItem", aad_items.iter().map(|item| item.component_id))?;
        Ok(SafeAad { aad_items })
    }

    /// The decoded data of a component.
    ///
    /// # Errors
    /// If the data is not a `T` and nothing else.
    pub fn decode<T: Decode>(&self, component_id: ComponentId) -> Result<Option<T>, Error> {
        let item = self.aad_items.iter().find(|item| item.component_id == component_id);
        item.map(|item| tls::decode_exact(&item.aad_item_data)).transpose()
    }

    /// The items.
    pub fn items(&self) -> &[SafeAadItem] {
        &self.aad_items
    }
}

impl Encode for SafeAad {
    fn encode(&self, out: &mut Writer) {
        self.aad_items.encode(out);
    }
}

impl Decode for SafeAad {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        SafeAad::new(Vec::decode(reader)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FrankAad;
    use crate::components::FRANK_AAD;
    use crate::tls::encode;

    #[test]
    fn extensions_4_9_items_are_sorted_and_unique() {
        let item = |component_id| SafeAadItem {
            component_id,
            aad_item_data: vec![],
        };
        assert!(SafeAad::new(vec![item(1), item(2)]).is_ok());
        assert!(matches!(
            SafeAad::new(vec![item(2), item(1)]),
            Err(Error::Unordered { .. })
        ));
        assert!(matches!(
            SafeAad::new(vec![item(2), item(2)]),
            Err(Error::Duplicate { .. })
        ));
    }

    #[test]
    fn protocol_5_4_1_the_franking_tag_is_found_in_the_aad() {
        let tag = FrankAad { franking_tag: [7; 32] };
        let aad = SafeAad::new(vec![SafeAadItem {
            component_id: FRANK_AAD,
            aad_item_data: encode(&tag),
        }])
        .unwrap();
        assert_eq!(aad.decode(FRANK_AAD), Ok(Some(tag)));
        assert_eq!(SafeAad::default().decode::<FrankAad>(FRANK_AAD), Ok(None));
        let short = vec![SafeAadItem {
            component_id: FRANK_AAD,
            aad_item_data: vec![7; 31],
        }];
        assert!(SafeAad::new(short).unwrap().decode::<FrankAad>(FRANK_AAD).is_err());
    }
}
