//! When a rule applies: `dateTime` from (`gteq`) and before (`lt`), several windows as an `or` of `and`s.

use serde_json::{Value as Json, json};

use super::{
    constraints::{Atom, atom},
    literal::{read_typed, typed},
    node::Node,
    terms::Left,
};
use crate::{domain::Window, error::Result};

/// One bounded window stands among the other constraints; anything else is a list, so that every shape has one form.
pub(super) fn write(when: &[Window]) -> Vec<Json> {
    match when {
        [] => Vec::new(),
        [window] if *window != Window { from: None, until: None } => bounds(window),
        windows => vec![json!({ "or": windows.iter().map(|w| json!({ "and": bounds(w) })).collect::<Json>() })],
    }
}

fn bounds(window: &Window) -> Vec<Json> {
    let bound = |operator, at| atom(Left::DateTime, operator, typed("dateTime", at));
    let from = window.from.map(|from| bound("gteq", from));
    from.into_iter().chain(window.until.map(|until| bound("lt", until))).collect()
}

/// Adds one bound to a window that has it not yet.
pub(super) fn read_bound(bound: &Atom<'_>, window: &mut Window) -> Result<()> {
    let side = match bound.operator.text()? {
        "gteq" => &mut window.from,
        "lt" => &mut window.until,
        _ => return Err(bound.operator.refuse("a time is bounded by `gteq` and `lt` alone")),
    };
    if side.replace(read_typed(&bound.right, "dateTime")?).is_some() {
        return Err(bound.operator.refuse("a second bound on this side"));
    }
    Ok(())
}

/// Reads the members of the `or`.
pub(super) fn read_list(or: &Node<'_>) -> Result<Vec<Window>> {
    let windows = or.items()?;
    if windows.is_empty() {
        return Err(or.refuse("no window: the rule would never apply"));
    }
    windows
        .iter()
        .map(|node| {
            let mut fields = node.fields()?;
            let and = fields.need("and")?;
            fields.finish()?;
            let mut window = Window { from: None, until: None };
            for bound in and.items()? {
                let bound = Atom::read(&bound)?;
                if bound.left != Left::DateTime {
                    return Err(bound.name.refuse("only windows of time stand in an `or`"));
                }
                read_bound(&bound, &mut window)?;
            }
            Ok(window)
        })
        .collect()
}
