//! Checks of the limits on what all queries together may learn: counts, rates, differential privacy, approved queries.

use super::{Checker, how::literal_fits};
use crate::{
    domain::{Bounds, Column, ColumnRole, ColumnType, Delta, How, Privacy, Rule, Value},
    policy::path::key,
};

/// The largest probability of exceeding a loss that still means something.
const LARGE_DELTA: u64 = 10_000;

impl Checker<'_> {
    /// What stands in one set of limits.
    pub(super) fn limits(&mut self, path: &str, how: &How) {
        if how.max_queries == Some(0) {
            self.error(
                format!("{path}.max_queries"),
                "no query could ever be asked",
                "aucune requête ne pourrait être posée",
            );
        }
        for (interval, queries) in &how.rate {
            if *queries == 0 {
                self.error(
                    format!("{path}.rate.{}", interval.as_str()),
                    "no query could ever be asked",
                    "aucune requête ne pourrait être posée",
                );
            }
        }
        if how.templates.as_ref().is_some_and(std::collections::BTreeMap::is_empty) {
            self.warning(
                format!("{path}.templates"),
                "no query is approved: nobody can ask anything",
                "aucune requête n'est approuvée : nul ne peut rien demander",
            );
        }
        for (name, template) in how.templates.iter().flatten() {
            self.localized(&format!("{path}.templates.{name}.text"), &template.text);
        }
        if let Some(privacy) = &how.privacy {
            self.privacy(&format!("{path}.privacy"), privacy, how);
        }
    }

    /// What a rule and the floor say together.
    pub(super) fn limits_together(&mut self, path: &str, rule: &Rule) {
        let how = rule.how.join(&self.policy.floor);
        if how.difference_check && how.privacy.is_some() {
            self.error(
                format!("{path}.how.difference_check"),
                "answers with noise are not compared: leave one of `difference_check` and `privacy` out",
                "des réponses bruitées ne se comparent pas : retirez `difference_check` ou `privacy`",
            );
        } else if how.difference_check && how.aggregate_only.is_none() {
            self.error(
                format!("{path}.how.difference_check"),
                "the check of differences needs `aggregate_only`",
                "la vérification des différences suppose `aggregate_only`",
            );
        }
    }

    fn privacy(&mut self, path: &str, privacy: &Privacy, how: &How) {
        let Privacy { epsilon, budget, total, delta, max_groups, max_rows, bounds, groups } = privacy;
        if epsilon.get() == 0 || epsilon > budget || budget > total {
            self.error(
                format!("{path}.epsilon"),
                "0 < epsilon <= budget <= total does not hold",
                "0 < epsilon <= budget <= total n'est pas respecté",
            );
        }
        if let Some(delta) = delta {
            self.delta(&format!("{path}.delta"), *delta);
        }
        for (field, value) in [("max_groups", max_groups), ("max_rows", max_rows)] {
            if *value == 0 {
                self.error(format!("{path}.{field}"), "at least 1", "au moins 1");
            }
        }
        if delta.is_none() && groups.is_empty() {
            self.warning(
                path,
                "neither `groups` nor `delta`: only queries without GROUP BY can be answered",
                "ni `groups` ni `delta` : seules les requêtes sans GROUP BY ont une réponse",
            );
        }
        for (name, bounds) in bounds {
            let path = format!("{path}.bounds{}", key(name));
            if let Some(column) = self.column(&path, name) {
                self.bounds(&path, &column, *bounds);
            }
        }
        for (name, values) in groups {
            let path = format!("{path}.groups{}", key(name));
            if let Some(column) = self.column(&path, name) {
                self.groups(&path, &column, values, how);
            }
        }
    }

    fn delta(&mut self, path: &str, delta: Delta) {
        if delta.get() == 0 || delta.get() >= 1_000_000_000 {
            self.error(path, "above 0 and below 1", "au-dessus de 0 et en dessous de 1");
        } else if delta.get() > LARGE_DELTA {
            self.warning(
                path,
                "large: below one over the number of individuals is usual, 0.000001 for example",
                "grand : moins d'un sur le nombre de personnes est d'usage, 0.000001 par exemple",
            );
        }
    }

    fn bounds(&mut self, path: &str, column: &Column, bounds: Bounds) {
        let numeric = matches!(column.data_type, ColumnType::Int64 | ColumnType::Float64 | ColumnType::Decimal { .. });
        if column.role != ColumnRole::Measure || !numeric {
            self.error(path, "only a measure that is a number has bounds", "seule une mesure numérique a des bornes");
        }
        if bounds.lower > bounds.upper {
            self.error(path, "`lower` is above `upper`", "`lower` dépasse `upper`");
        }
    }

    fn groups(&mut self, path: &str, column: &Column, values: &[Value], how: &How) {
        if !matches!(column.role, ColumnRole::Dimension | ColumnRole::Key) {
            self.error(
                path,
                "only the values of a dimension or a key are listed",
                "seules les valeurs d'une dimension ou d'une clé se listent",
            );
        }
        if how.masks.contains_key(&column.name) || self.policy.floor.masks.contains_key(&column.name) {
            self.error(
                path,
                "the values of a masked column cannot be listed",
                "les valeurs d'une colonne masquée ne peuvent être listées",
            );
        }
        if values.is_empty() {
            self.error(path, "no value", "aucune valeur");
        }
        for (at, value) in values.iter().enumerate() {
            if !literal_fits(value, column.data_type) {
                let data_type = column.data_type;
                self.error(
                    path,
                    format!("a value does not read as {data_type}"),
                    format!("une valeur ne se lit pas comme {data_type}"),
                );
            }
            if values.iter().take(at).any(|earlier| earlier == value) {
                self.error(path, "a value is listed twice", "une valeur est listée deux fois");
            }
        }
    }
}
