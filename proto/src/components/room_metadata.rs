//! The `room_metadata` component (draft-ietf-mimi-protocol, section 7.6).

use crate::Error;
use crate::tls::{Decode, Encode, Reader, Writer};
use crate::uri::IdentifierUri;

/// One description of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RichDescription {
    /// The media type; empty for `text/plain;charset=utf-8`.
    pub media_type: String,
    /// The language of the description; may be empty.
    pub language_tag: String,
    /// The description, in the media type.
    pub description_content: Vec<u8>,
}

impl Encode for RichDescription {
    fn encode(&self, out: &mut Writer) {
        self.media_type.encode(out);
        self.language_tag.encode(out);
        self.description_content.encode(out);
    }
}

impl Decode for RichDescription {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let description = RichDescription {
            media_type: text(reader, "media_type")?,
            language_tag: text(reader, "language_tag")?,
            description_content: Vec::decode(reader)?,
        };
        if description.media_type.is_empty() && std::str::from_utf8(&description.description_content).is_err() {
            return Err(Error::Utf8 {
                what: "description_content",
            });
        }
        Ok(description)
    }
}

/// What people see of a room; also the update, which replaces it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomMetaData {
    /// The room.
    pub room_uri: IdentifierUri,
    /// Its name.
    pub room_name: String,
    /// Its descriptions, by language and media type.
    pub room_descriptions: Vec<RichDescription>,
    /// The URL of an image; may be empty.
    pub room_avatar: IdentifierUri,
    /// What it is about.
    pub room_subject: String,
    /// Its mood.
    pub room_mood: String,
}

impl Encode for RoomMetaData {
    fn encode(&self, out: &mut Writer) {
        self.room_uri.encode(out);
        self.room_name.encode(out);
        self.room_descriptions.encode(out);
        self.room_avatar.encode(out);
        self.room_subject.encode(out);
        self.room_mood.encode(out);
    }
}

impl Decode for RoomMetaData {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let metadata = RoomMetaData {
            room_uri: IdentifierUri::decode(reader)?,
            room_name: text(reader, "room_name")?,
            room_descriptions: Vec::decode(reader)?,
            room_avatar: IdentifierUri::decode(reader)?,
            room_subject: text(reader, "room_subject")?,
            room_mood: text(reader, "room_mood")?,
        };
        if !metadata.room_avatar.is_empty() && !metadata.room_avatar.as_str().starts_with("https://") {
            return Err(Error::Invalid {
                what: "room_avatar",
                why: "its scheme is not https",
            });
        }
        Ok(metadata)
    }
}

/// UTF8String: "a sequence of valid UTF8 without nulls".
fn text(reader: &mut Reader<'_>, what: &'static str) -> Result<String, Error> {
    match String::decode(reader) {
        Ok(text) if !text.contains('\0') => Ok(text),
        Ok(_) | Err(Error::Utf8 { .. }) => Err(Error::Utf8 { what }),
        Err(other) => Err(other),
    }
}

/// The fields of [`RoomMetaData`], each of which has a capability of its own (draft-ietf-mimi-room-policy,
/// section 8.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataField {
    /// `room_avatar`.
    Avatar,
    /// `room_descriptions`.
    Description,
    /// `room_mood`.
    Mood,
    /// `room_name`.
    Name,
    /// `room_subject`.
    Subject,
    /// `room_uri`, which nobody may change.
    Uri,
}

impl RoomMetaData {
    /// The fields in which `new` differs.
    pub fn changed_fields(&self, new: &RoomMetaData) -> Vec<MetadataField> {
        let mut changed = Vec::new();
        let mut note = |differs: bool, field| {
            if differs {
                changed.push(field);
            }
        };
        note(self.room_uri != new.room_uri, MetadataField::Uri);
        note(self.room_name != new.room_name, MetadataField::Name);
        note(
            self.room_descriptions != new.room_descriptions,
            MetadataField::Description,
        );
        note(self.room_avatar != new.room_avatar, MetadataField::Avatar);
        note(self.room_subject != new.room_subject, MetadataField::Subject);
        note(self.room_mood != new.room_mood, MetadataField::Mood);
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{decode_exact, encode};

    fn metadata() -> RoomMetaData {
        RoomMetaData {
            room_uri: "mimi://a.example/r/clubhouse".parse().unwrap(),
            room_name: "Clubhouse".into(),
            room_descriptions: vec![RichDescription {
                description_content: b"Hi".to_vec(),
                ..Default::default()
            }],
            room_avatar: "https://a.example/avatar.png".parse().unwrap(),
            room_subject: "Golf".into(),
            room_mood: "sunny".into(),
        }
    }

    #[test]
    fn protocol_7_6_text_is_utf8_without_nulls() {
        let with_null = RoomMetaData {
            room_name: "a\0b".into(),
            ..metadata()
        };
        assert_eq!(
            decode_exact::<RoomMetaData>(&encode(&with_null)),
            Err(Error::Utf8 { what: "room_name" })
        );
        let mut octets = encode(&metadata());
        let last = octets.len() - 1;
        octets[last] = 0xff;
        assert_eq!(
            decode_exact::<RoomMetaData>(&octets),
            Err(Error::Utf8 { what: "room_mood" })
        );
    }

    #[test]
    fn protocol_7_6_an_empty_media_type_implies_text() {
        let mut description = RichDescription {
            description_content: vec![0xff],
            ..Default::default()
        };
        let error = decode_exact::<RichDescription>(&encode(&description));
        assert_eq!(
            error,
            Err(Error::Utf8 {
                what: "description_content"
            })
        );
        description.media_type = "image/png".into();
        assert_eq!(decode_exact(&encode(&description)), Ok(description));
    }

    #[test]
    fn protocol_7_6_avatar_is_an_https_uri() {
        let http = RoomMetaData {
            room_avatar: "http://a.example/x".parse().unwrap(),
            ..metadata()
        };
        assert!(matches!(
            decode_exact::<RoomMetaData>(&encode(&http)),
            Err(Error::Invalid { .. })
        ));
        let none = RoomMetaData {
            room_avatar: IdentifierUri::default(),
            ..metadata()
        };
        assert_eq!(decode_exact(&encode(&none)), Ok(none));
    }

    #[test]
    fn every_changed_field_is_named() {
        assert_eq!(metadata().changed_fields(&metadata()), []);
        let renamed = RoomMetaData {
            room_name: "Other".into(),
            room_mood: String::new(),
            ..metadata()
        };
        assert_eq!(
            metadata().changed_fields(&renamed),
            [MetadataField::Name, MetadataField::Mood]
        );
        let all = [
            MetadataField::Uri,
            MetadataField::Name,
            MetadataField::Description,
            MetadataField::Avatar,
            MetadataField::Subject,
            MetadataField::Mood,
        ];
        assert_eq!(metadata().changed_fields(&RoomMetaData::default()), all);
    }
}
