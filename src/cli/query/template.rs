//! Approved queries: listing those of a dataset, and naming one with its values.

use std::collections::BTreeMap;

use super::Question;
use crate::{
    cli::{
        Session,
        failure::Failure,
        names,
        output::{Column, to_json},
    },
    grpc::pb,
};

const COLUMNS: &[Column] = &[
    Column::new("TEMPLATE", "/name"),
    Column::new("GRANT", "/grant"),
    Column::new("RULE", "/rule"),
    Column::new("PARAMETERS", "/parameters"),
    Column::new("SQL", "/template/sql"),
];

/// Lists the approved queries of a dataset.
pub(super) async fn list(dataset: &str, session: &mut Session<'_>) -> Result<(), Failure> {
    let client = session.client().await?;
    let request = pb::ListTemplatesRequest { dataset: names::dataset(dataset)? };
    let found = client.privacy().list_templates(request).await?.into_inner().templates;
    let mut rows = Vec::with_capacity(found.len());
    for approved in &found {
        let mut row = to_json(approved)?;
        row["parameters"] = parameters(approved).into();
        rows.push(row);
    }
    session.out.rows(&rows, COLUMNS)
}

/// `age int64, day date`.
fn parameters(approved: &pb::ApprovedQuery) -> String {
    let types = approved.template.iter().flat_map(|template| &template.parameters);
    let one = |(name, data_type): (&String, &pb::ColumnType)| {
        let kind = data_type.logical_type().as_str_name().trim_start_matches("LOGICAL_TYPE_").to_lowercase();
        format!("{name} {kind}")
    };
    types.map(one).collect::<Vec<_>>().join(", ")
}

/// The approved query `OWNER.DATASET/NAME` with values `NAME=VALUE`.
pub(super) fn question(name: &str, values: &[String]) -> Result<Question, Failure> {
    let (dataset, template) = name.split_once('/').ok_or_else(|| {
        Failure::usage(
            format!("`{name}` is not an approved query: write OWNER.DATASET/NAME (see `odh query --templates DATASET`)"),
            format!(
                "`{name}` n'est pas une requête approuvée : écrivez PROPRIÉTAIRE.JEU/NOM (voir `odh query --templates JEU`)"
            ),
        )
    })?;
    let mut parameters = BTreeMap::new();
    for pair in values {
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            Failure::usage(format!("`{pair}` is not NAME=VALUE"), format!("`{pair}` n'est pas NOM=VALEUR"))
        })?;
        if parameters.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Failure::usage(format!("`{name}` is given twice"), format!("`{name}` est donné deux fois")));
        }
    }
    let template = format!("{}/templates/{template}", names::dataset(dataset)?);
    Ok(Question { sql: String::new(), template, parameters })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approved_query_is_named_with_its_dataset_and_its_values() {
        let values = ["age=7".to_owned(), "text=a=b".to_owned()];
        let asked = question("chu.stays/by_age", &values).unwrap();
        assert_eq!(asked.template, "participants/chu/datasets/stays/templates/by_age");
        assert_eq!(asked.parameters, [("age".into(), "7".into()), ("text".into(), "a=b".into())].into());
        assert!(question("by_age", &[]).is_err());
        assert!(question("chu.stays/by_age", &["age".to_owned()]).is_err());
        assert!(question("chu.stays/by_age", &["age=1".to_owned(), "age=2".to_owned()]).is_err());
    }
}
