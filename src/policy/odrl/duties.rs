//! What the user must do besides: each [`Duty`] as a duty of the permission, in the policy's order.
//!
//! Not to re-identify anyone is a duty too, and no prohibition: it is a condition of this one permission, and a
//! prohibition without constraints is ignored by EDC.

use std::{fmt, str::FromStr};

use serde_json::{Value as Json, json};

use super::{
    literal::{read_typed, typed},
    node::{Node, shown},
};
use crate::{domain::Duty, error::Result};

const ATTRIBUTE: &str = "attribute";
const DELETE: &str = "delete";
const INFORM: &str = "inform";
const NO_REIDENTIFICATION: &str = "odh:noReidentification";
const SHARE_ALIKE: &str = "cc:ShareAlike";

/// The duty.
pub(super) fn write(duty: &Duty) -> Json {
    let asking = |action: &str, left: &str, right: Json| json!({ "action": action, "constraint": [{ "leftOperand": left, "operator": "eq", "rightOperand": right }] });
    match duty {
        Duty::Attribute(text) => asking(ATTRIBUTE, "odh:attribution", text.as_str().into()),
        Duty::DeleteAfterDays(days) => asking(DELETE, "delayPeriod", typed("duration", Days(*days))),
        Duty::NoReidentification => json!({ "action": NO_REIDENTIFICATION }),
        Duty::Notify(event) => asking(INFORM, "event", event.as_str().into()),
        Duty::ShareAlike => json!({ "action": SHARE_ALIKE }),
    }
}

/// Reads what [`write()`] writes.
pub(super) fn read(node: &Node<'_>) -> Result<Duty> {
    let mut fields = node.fields()?;
    let action = fields.need("action")?;
    let name = action.text()?;
    let duty = match name {
        NO_REIDENTIFICATION => Duty::NoReidentification,
        SHARE_ALIKE => Duty::ShareAlike,
        ATTRIBUTE => Duty::Attribute(text(&right(&fields.need("constraint")?, "odh:attribution")?)?),
        INFORM => Duty::Notify(text(&right(&fields.need("constraint")?, "event")?)?),
        DELETE => {
            let Days(days) = read_typed(&right(&fields.need("constraint")?, "delayPeriod")?, "duration")?;
            Duty::DeleteAfterDays(days)
        }
        _ => return Err(action.refuse(format_args!("`{}` is no duty of the profile", shown(name)))),
    };
    fields.finish()?;
    Ok(duty)
}

fn text(node: &Node<'_>) -> Result<String> {
    node.text().map(str::to_owned)
}

/// The right operand of the one constraint, which is about `left`.
fn right<'a>(list: &Node<'a>, left: &str) -> Result<Node<'a>> {
    let nodes = list.items()?;
    let [node] = &nodes[..] else { return Err(list.refuse("exactly one constraint is expected")) };
    let mut fields = node.fields()?;
    fields.need("leftOperand")?.must_be(left)?;
    fields.need("operator")?.must_be("eq")?;
    let right = fields.need("rightOperand")?;
    fields.finish()?;
    Ok(right)
}

/// A number of days as an `xsd:duration`.
struct Days(u32);

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "P{}D", self.0)
    }
}

impl FromStr for Days {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let days = text.strip_prefix('P').and_then(|rest| rest.strip_suffix('D')).ok_or(())?;
        days.parse().map(Self).map_err(|_| ())
    }
}
