//! Comparison with the crate `mls-spec`, which was written from the same drafts by others. It serialises with its own
//! traits.

use mimi_hub_proto::components::{AppDataUpdateOperation, ComponentsList};
use mimi_hub_proto::tls::{decode_exact, encode};
use mls_spec::drafts::mls_extensions::safe_application as theirs;
use mls_spec::messages::MlsMessage;
use mls_spec::{Parsable, Serializable};
use proptest::prelude::*;

use crate::arbitrary::{app_data_update, app_ephemeral, dictionary, safe_aad};
use crate::samples::samples;

/// `T` reads our octets and writes the same.
fn agrees<T: Parsable + Serializable>(octets: &[u8]) -> Result<T, TestCaseError> {
    let value = T::from_tls_bytes(octets).map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
    prop_assert_eq!(value.to_tls_bytes().unwrap(), octets);
    Ok(value)
}

proptest! {
    #[test]
    fn app_data_updates_agree(ours in app_data_update()) {
        let read: theirs::AppDataUpdate = agrees(&encode(&ours))?;
        prop_assert_eq!(read.component_id, ours.component_id);
        match (read.op, ours.op) {
            (theirs::ApplicationDataUpdateOperation::Update { update }, AppDataUpdateOperation::Update(ours)) => {
                prop_assert_eq!(update, ours);
            }
            (theirs::ApplicationDataUpdateOperation::Remove, AppDataUpdateOperation::Remove) => {}
            (theirs, ours) => prop_assert!(false, "{ours:?} was read as {theirs:?}"),
        }
    }

    #[test]
    fn app_ephemerals_agree(ours in app_ephemeral()) {
        let read: theirs::AppEphemeral = agrees(&encode(&ours))?;
        prop_assert_eq!((read.component_id, read.data), (ours.component_id, ours.data));
    }

    #[test]
    fn dictionaries_agree(ours in dictionary()) {
        let read: theirs::ApplicationDataDictionary = agrees(&encode(&ours))?;
        let entries: Vec<_> = ours.iter().map(|entry| (entry.component_id, entry.data.clone())).collect();
        let theirs: Vec<_> = read.iter_components().map(|entry| (*entry.component_id, entry.data.to_vec())).collect();
        prop_assert_eq!(entries, theirs);
    }

    #[test]
    fn safe_aads_agree(ours in safe_aad()) {
        let read: theirs::SafeAad = agrees(&encode(&ours))?;
        let items: Vec<_> = ours.items().iter().map(|item| (item.component_id, item.aad_item_data.clone())).collect();
        let theirs: Vec<_> =
            read.iter_components().map(|item| (*item.component_id(), item.aad_item_data().to_vec())).collect();
        prop_assert_eq!(items, theirs);
    }

    #[test]
    fn components_lists_agree(component_ids in prop::collection::vec(any::<u16>(), 0..9)) {
        let ours = ComponentsList { component_ids };
        let read: theirs::ComponentsList = agrees(&encode(&ours))?;
        prop_assert_eq!(read.component_ids, ours.component_ids);
    }
}

#[test]
fn mls_messages_agree() {
    let samples = samples();
    let messages: Vec<_> = samples
        .iter()
        .filter(|sample| sample.name.starts_with("mls_message.") || sample.name.starts_with("proposal."))
        .collect();
    assert!(messages.len() > 20);
    for sample in messages {
        let theirs = MlsMessage::from_tls_bytes(&sample.octets);
        let theirs = theirs
            .unwrap_or_else(|error| panic!("{}: {error:?}", sample.name))
            .to_tls_bytes()
            .unwrap();
        assert_eq!(theirs, sample.octets, "{}", sample.name);
        assert!(decode_exact::<mimi_hub_proto::mls::MlsMessage>(&theirs).is_ok());
    }
}
