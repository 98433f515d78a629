//! JSON Schemas of what goes over the wire, taken from the types that read and write it.

use schemars::{
    JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, transform::transform_subschemas,
};
use serde_json::{Map, Value, json};

/// The schemas of one document. Those with a name are components of it, and referred to.
#[derive(Debug)]
pub(crate) struct Schemas {
    /// Of what others write and we read.
    read: SchemaGenerator,
    /// Of what we write.
    written: SchemaGenerator,
}

impl Schemas {
    /// For an `OpenAPI` 3.1 document, whose schemas are those of JSON Schema 2020-12.
    pub(crate) fn openapi() -> Self {
        Self::new(&SchemaSettings::draft2020_12())
    }

    /// For an `AsyncAPI` 3.0 document, whose schemas are a superset of JSON Schema draft 7.
    pub(crate) fn asyncapi() -> Self {
        Self::new(&SchemaSettings::draft07())
    }

    fn new(draft: &SchemaSettings) -> Self {
        let settings = draft.clone().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.transforms.push(Box::new(address));
        });
        Self {
            read: settings.clone().for_deserialize().into_generator(),
            written: settings.for_serialize().into_generator(),
        }
    }

    /// What we understand as a `T`.
    pub(crate) fn read<T: JsonSchema + ?Sized>(&mut self) -> Value {
        self.read.subschema_for::<T>().to_value()
    }

    /// What we write as a `T`.
    pub(crate) fn written<T: JsonSchema + ?Sized>(&mut self) -> Value {
        self.written.subschema_for::<T>().to_value()
    }

    /// What we understand, or write, as the variants of a `T` that is told apart by the member `tag`: each by its name.
    pub(crate) fn variants<T: JsonSchema + ?Sized>(
        &mut self,
        from: Sender,
        tag: &str,
    ) -> Vec<(String, Value)> {
        let generator = match from {
            Sender::Client => &mut self.read,
            Sender::Server => &mut self.written,
        };
        let schema = T::json_schema(generator).to_value();
        let variants = schema["oneOf"].as_array().cloned().unwrap_or_default();
        let named = |variant: Value| {
            let name = variant["properties"][tag]["const"].as_str().unwrap_or_default().to_owned();
            (name, variant)
        };
        variants.into_iter().map(named).collect()
    }

    /// Makes a component of a schema that is of no type, and answers the reference to it.
    pub(crate) fn name(&mut self, name: &str, schema: Value) -> Value {
        self.written.definitions_mut().insert(name.to_owned(), schema);
        Self::reference(name)
    }

    /// The reference to a component.
    pub(crate) fn reference(name: &str) -> Value {
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// Everything that is referred to.
    pub(crate) fn into_components(mut self) -> Map<String, Value> {
        let mut components = self.read.take_definitions(true);
        for (name, schema) in self.written.take_definitions(true) {
            let known = components.insert(name.clone(), schema);
            debug_assert!(
                known.is_none_or(|known| known == components[&name]),
                "{name} is read otherwise than it is written"
            );
        }
        components
    }
}

/// A WebSocket's address, and what is said there.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) address: &'static str,
    pub(crate) says: String,
    /// What the address is made of, by name.
    pub(crate) parameters: Value,
    /// The schema of the query.
    pub(crate) query: Value,
    pub(crate) messages: Vec<Message>,
}

/// One kind of message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) from: Sender,
    pub(crate) says: String,
    pub(crate) content_type: &'static str,
    pub(crate) payload: Value,
    pub(crate) example: Value,
}

/// Who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Client,
    Server,
}

/// An address of either family: there is no common format for that.
fn address(schema: &mut Schema) {
    if schema.get("format") == Some(&json!("ip")) {
        schema.remove("format");
        schema.insert("anyOf".to_owned(), json!([{"format": "ipv4"}, {"format": "ipv6"}]));
    }
    transform_subschemas(&mut address, schema);
}
