//! JSON read strictly: bounded, and a key that is given twice is refused with its place instead of lost.

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value as Json};

use super::node::{escape, refuse};
use crate::error::Result;

/// Largest document, in bytes: four times that of a manifest, since a rule is written once for each of its actions.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// Most values in one document.
const MAX_NODES: usize = 200_000;

/// Reads one document. Depth is bounded by the parser (128 levels).
pub(super) fn parse(text: &str) -> Result<Json> {
    if text.len() > MAX_BYTES {
        return Err(refuse("", format!("{} bytes, at most {MAX_BYTES} are accepted", text.len())));
    }
    let place = RefCell::new(Place::default());
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Node(&place).deserialize(&mut reader).and_then(|json| reader.end().map(|()| json));
    read.map_err(|error| {
        let place = place.into_inner();
        match place.refusal {
            Some(detail) => refuse(place.pointer, detail),
            // The parser's own words may quote the text; line and column are enough to find it.
            None => refuse("", format!("not JSON (line {}, column {})", error.line(), error.column())),
        }
    })
}

/// Where the reader is, how much it has read, and what it refused there.
#[derive(Default)]
struct Place {
    pointer: String,
    nodes: usize,
    refusal: Option<String>,
}

#[derive(Clone, Copy)]
struct Node<'a>(&'a RefCell<Place>);

impl Node<'_> {
    /// Reads below `key`. The pointer stays where it is if that fails.
    fn below<T, E>(self, key: &str, read: impl FnOnce(Self) -> Result<T, E>) -> Result<T, E> {
        let length = self.0.borrow().pointer.len();
        self.0.borrow_mut().pointer.push_str(&escape(key));
        let value = read(self)?;
        self.0.borrow_mut().pointer.truncate(length);
        Ok(value)
    }

    fn refuse<E: serde::de::Error>(self, detail: &str) -> E {
        self.0.borrow_mut().refusal.get_or_insert_with(|| detail.to_owned());
        E::custom(detail)
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        self.0.borrow_mut().nodes += 1;
        if self.0.borrow().nodes > MAX_NODES {
            return Err(self.refuse(&format!("more than {MAX_NODES} values")));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = self.below(&items.len().to_string(), |node| sequence.next_element_seed(node))? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.below(&key, |node| {
                if fields.contains_key(&key) {
                    return Err(node.refuse("given twice"));
                }
                let value = map.next_value_seed(node)?;
                fields.insert(key.clone(), value);
                Ok(())
            })?;
        }
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (String, String) {
        let error = parse(text).unwrap_err();
        (error.params()["path"].clone(), error.params()["detail"].clone())
    }

    #[test]
    fn what_is_json_reads_as_the_usual_reader_reads_it() {
        for text in ["null", "[]", "{}", r#"{"a/b":[1,-2,0.5,"x",true,null,{"~":{}}],"c":18446744073709551615}"#] {
            assert_eq!(parse(text).unwrap(), serde_json::from_str::<Json>(text).unwrap());
        }
    }

    #[test]
    fn a_key_given_twice_is_refused_at_its_place() {
        assert_eq!(refused(r#"{"a":{"x/y":[0,{"k":1,"k":1}]}}"#), ("/a/x~1y/1/k".into(), "given twice".into()));
    }

    #[test]
    fn what_is_no_json_too_large_or_too_deep_is_refused() {
        for text in ["", "{", "{} x", "[1,]", "'a'", "NaN", "{\"a\":01}"] {
            assert!(refused(text).1.starts_with("not JSON (line "), "{text}");
        }
        assert!(refused(&"[".repeat(100_000)).1.starts_with("not JSON"));
        assert!(refused(&" ".repeat(MAX_BYTES + 1)).1.contains("at most"));
        assert!(refused(&format!("[{}0]", "0,".repeat(MAX_NODES))).1.contains("more than"));
    }
}
