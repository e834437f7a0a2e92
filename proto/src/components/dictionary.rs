//! The `app_data_dictionary` extension (draft-ietf-mls-extensions, section 4.6).

use super::ComponentId;
use crate::Error;
use crate::tls::{self, Decode, Encode, Reader, Writer, tls_struct};

/// The state of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentData {
    /// The component.
    pub component_id: ComponentId,
    /// Its state, in its own encoding.
    pub data: Vec<u8>,
}

tls_struct!(ComponentData { component_id, data });

/// The state of all components, sorted by ID, each at most once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppDataDictionary {
    component_data: Vec<ComponentData>,
}

impl AppDataDictionary {
    /// An empty dictionary.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state of a component.
    pub fn get(&self, component_id: ComponentId) -> Option<&[u8]> {
        self.position(component_id)
            .ok()
            .map(|position| self.component_data[position].data.as_slice())
    }

    /// The decoded state of a component.
    ///
    /// # Errors
    /// If the state is not a `T` and nothing else.
    pub fn decode<T: Decode>(&self, component_id: ComponentId) -> Result<Option<T>, Error> {
        self.get(component_id).map(tls::decode_exact).transpose()
    }

    /// All components, by ascending ID.
    pub fn iter(&self) -> impl Iterator<Item = &ComponentData> {
        self.component_data.iter()
    }

    /// Sets the state of a component.
    pub fn set(&mut self, component_id: ComponentId, data: Vec<u8>) {
        match self.position(component_id) {
            Ok(position) => self.component_data[position].data = data,
            Err(position) => self
                .component_data
                .insert(position, ComponentData { component_id, data }),
        }
    }

    /// Removes the state of a component and returns it.
    pub fn remove(&mut self, component_id: ComponentId) -> Option<Vec<u8>> {
        let position = self.position(component_id).ok()?;
        Some(self.component_data.remove(position).data)
    }

    fn position(&self, component_id: ComponentId) -> Result<usize, usize> {
        self.component_data
            .binary_search_by_key(&component_id, |entry| entry.component_id)
    }
}

impl Encode for AppDataDictionary {
    fn encode(&self, out: &mut Writer) {
        self.component_data.encode(out);
    }
}

impl Decode for AppDataDictionary {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let component_data: Vec<ComponentData> = Vec::decode(reader)?;
        check_ascending("ComponentID", component_data.iter().map(|entry| entry.component_id))?;
        Ok(AppDataDictionary { component_data })
    }
}

/// Checks that component IDs are sorted and unique.
pub(super) fn check_ascending(what: &'static str, ids: impl Iterator<Item = ComponentId> + Clone) -> Result<(), Error> {
    for (previous, id) in ids.clone().zip(ids.skip(1)) {
        if previous == id {
            return Err(Error::Duplicate {
                what,
                value: format!("{id:#06x}"),
            });
        }
        if previous > id {
            return Err(Error::Unordered { what, value: id.into() });
        }
    }
    Ok(())
}

/// The data of `app_components` and `safe_aad`: a list of components (draft-ietf-mls-extensions, section 5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComponentsList {
    /// The components.
    pub component_ids: Vec<ComponentId>,
}

tls_struct!(ComponentsList { component_ids });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{decode_exact, encode};

    fn raw(ids: &[ComponentId]) -> Vec<u8> {
        encode(
            &ids.iter()
                .map(|id| ComponentData {
                    component_id: *id,
                    data: vec![1],
                })
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn extensions_4_6_entries_are_sorted_and_unique() {
        assert!(decode_exact::<AppDataDictionary>(&raw(&[1, 2, 0x22])).is_ok());
        let error = decode_exact::<AppDataDictionary>(&raw(&[2, 1]));
        assert_eq!(
            error,
            Err(Error::Unordered {
                what: "ComponentID",
                value: 1
            })
        );
        let error = decode_exact::<AppDataDictionary>(&raw(&[2, 2]));
        assert_eq!(
            error,
            Err(Error::Duplicate {
                what: "ComponentID",
                value: "0x0002".into()
            })
        );
    }

    #[test]
    fn extensions_4_7_a_new_entry_is_inserted_where_it_keeps_the_order() {
        let mut dictionary: AppDataDictionary = decode_exact(&raw(&[1, 3])).unwrap();
        dictionary.set(2, vec![9]);
        dictionary.set(3, vec![7]);
        assert_eq!(
            dictionary.iter().map(|entry| entry.component_id).collect::<Vec<_>>(),
            [1, 2, 3]
        );
        assert_eq!(
            (dictionary.get(2), dictionary.get(3), dictionary.get(4)),
            (Some(&[9][..]), Some(&[7][..]), None)
        );
        assert_eq!(dictionary.remove(1), Some(vec![1]));
        assert_eq!(dictionary.remove(1), None);
        assert_eq!(decode_exact(&encode(&dictionary)), Ok(dictionary));
    }
}
