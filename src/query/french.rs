//! Why a query was rejected, in French.
//!
//! Rejections are written where they happen, in English. Here is what each says in French, once, by its pattern: `{}`
//! stands for a piece of the caller's text or a number and is carried over. A test reads the sources of this layer and
//! finds the rejection that has none; what is not found all the same stays in English.

/// Patterns in English and French; the number and order of `{}` is the same in both.
const PATTERNS: &[(&str, &str)] = &[
    (
        "a join without an equality would compare {} pairs of rows",
        "une jointure sans égalité comparerait {} paires de lignes",
    ),
    (
        "an expression is too large once its columns are put into it",
        "une expression est trop grande une fois ses colonnes remplacées par ce qu'elles désignent",
    ),
    ("its constants make rows of more than 16384 bytes", "ses constantes font des lignes de plus de 16384 octets"),
    (
        "a dataset of this query answers with differential privacy: {}",
        "un jeu de données de cette requête répond avec confidentialité différentielle : {}",
    ),
    (
        "it is not joined with another dataset that is for aggregates only",
        "il ne se joint pas à un autre jeu de données agrégé",
    ),
    (
        "it is read once in a query, and no other such dataset with it",
        "il se lit une fois par requête, et sans autre jeu de données de cette sorte",
    ),
    ("ROLLUP, CUBE and GROUPING SETS are not accepted", "ROLLUP, CUBE et GROUPING SETS ne sont pas acceptés"),
    (
        "only columns whose values the policy lists are grouped by: [{}]",
        "on ne groupe que par les colonnes dont la politique liste les valeurs : [{}]",
    ),
    ("count(DISTINCT ..) takes the subject key", "count(DISTINCT ..) prend la clé de personne"),
    ("only count, sum and avg are accepted", "seuls count, sum et avg sont acceptés"),
    (
        "sum and avg take a measure with declared bounds: [{}]",
        "sum et avg prennent une mesure dont les bornes sont déclarées : [{}]",
    ),
    (
        "the sum could overflow: its bounds times the rows of one subject are too large",
        "la somme pourrait déborder : ses bornes fois les lignes d'une personne sont trop grandes",
    ),
    ("it has more than {} listed groups", "il liste plus de {} groupes"),
    ("the template is not usable: {}", "le modèle n'est pas utilisable : {}"),
    ("texts are written in single quotes, without prefix", "les textes s'écrivent entre apostrophes, sans préfixe"),
    ("`{}` is not among its parameters", "`{}` n'est pas parmi ses paramètres"),
    ("it does not use its parameter `{}`", "il n'utilise pas son paramètre `{}`"),
    ("it has a place without a type", "il a une place sans type"),
    ("it cannot be read", "il n'est pas lisible"),
    (
        "a dataset of this query is for aggregates only: {}",
        "un jeu de données de cette requête ne donne que des agrégats : {}",
    ),
    (
        "its rows may leave in aggregates only: add count, sum or avg",
        "ses lignes ne sortent qu'agrégées : ajoutez count, sum ou avg",
    ),
    ("ORDER BY comes after the aggregate", "ORDER BY vient après l'agrégat"),
    ("LIMIT comes after the aggregate", "LIMIT vient après l'agrégat"),
    ("DISTINCT comes after the aggregate", "DISTINCT vient après l'agrégat"),
    ("UNION comes after the aggregate", "UNION vient après l'agrégat"),
    ("LIMIT and OFFSET take numbers", "LIMIT et OFFSET prennent des nombres"),
    ("there are more than {} set operations", "il y a plus de {} opérations d'ensembles"),
    ("window functions are not accepted", "les fonctions de fenêtrage ne sont pas acceptées"),
    ("WITH RECURSIVE is not accepted", "WITH RECURSIVE n'est pas accepté"),
    (
        "only datasets and subqueries are accepted as relations",
        "seuls jeux de données et sous-requêtes sont acceptés comme relations",
    ),
    ("only SELECT is accepted", "seul SELECT est accepté"),
    ("this form of SQL is not supported", "cette forme de SQL n'est pas prise en charge"),
    ("there are more than {} relations", "il y a plus de {} relations"),
    ("there is no column `{}` here", "il n'y a pas de colonne `{}` ici"),
    ("the subject key is joined on and counted only", "la clé de personne ne sert qu'à joindre et à compter"),
    ("LIKE takes a short literal pattern", "LIKE prend un motif court, écrit en toutes lettres"),
    ("a minus sign stands before a number or a column", "le signe moins précède un nombre ou une colonne"),
    ("parameters are not accepted: write the value", "les paramètres ne sont pas acceptés : écrivez la valeur"),
    ("texts are not concatenated below the aggregate", "on ne concatène pas de textes sous l'agrégat"),
    ("integers are divided by a positive number only", "un entier ne se divise que par un nombre positif"),
    ("the operator `{}` is not accepted", "l'opérateur `{}` n'est pas accepté"),
    ("a cast goes to a plain type only", "une conversion se fait vers un type simple"),
    ("`{}` is not one of the functions of this hub", "`{}` n'est pas une fonction de ce hub"),
    ("`{}` takes one of the usual fields, written out", "`{}` prend un des champs usuels, écrit en toutes lettres"),
    ("subqueries are not accepted in expressions", "les sous-requêtes ne sont pas acceptées dans les expressions"),
    ("the function `{}` is not accepted below the aggregate", "la fonction `{}` n'est pas acceptée sous l'agrégat"),
    ("`{}` takes a column and literals", "`{}` prend une colonne et des littéraux"),
    (
        "below an aggregate of such a dataset only int64 and float64 are computed with",
        "sous l'agrégat d'un tel jeu de données on ne calcule qu'avec int64 et float64",
    ),
    ("a literal is of a plain type", "un littéral est d'un type simple"),
    (
        "an aggregate-only dataset is joined by INNER or LEFT JOIN, ON equality of subject keys of one namespace or of \
         public keys, and nothing else",
        "un jeu de données agrégé se joint par INNER ou LEFT JOIN, ON l'égalité de clés de personne d'un même espace ou \
         de clés publiques, et rien d'autre",
    ),
    (
        "an expression takes columns of such datasets or of one other table, not of both",
        "une expression prend des colonnes de tels jeux de données ou d'une autre table, pas des deux",
    ),
    (
        "an aggregate-only dataset stands on the left of a LEFT JOIN",
        "un jeu de données réservé aux agrégats se place à gauche d'un LEFT JOIN",
    ),
    (
        "a table joins aggregate-only data by subject keys or by public keys, not by both",
        "une table se joint à des données réservées aux agrégats par clés de personne ou par clés publiques, pas par les \
         deux",
    ),
    ("its groups are not joined below another aggregate", "ses groupes ne se joignent pas sous un autre agrégat"),
    (
        "subject keys of different namespaces are not comparable",
        "des clés de personne d'espaces différents ne se comparent pas",
    ),
    (
        "the sides of a join have columns of the same name: give them aliases",
        "les deux côtés d'une jointure ont des colonnes de même nom : donnez des alias",
    ),
    ("its groups are not aggregated again", "ses groupes ne s'agrègent pas de nouveau"),
    ("ROLLUP, CUBE and GROUPING SETS are not accepted", "ROLLUP, CUBE et GROUPING SETS ne sont pas acceptés"),
    ("this form of aggregate is not supported", "cette forme d'agrégat n'est pas prise en charge"),
    ("`{}` takes plain arguments only", "`{}` ne prend que des arguments simples"),
    ("FILTER is not accepted in an aggregate: use WHERE", "FILTER n'est pas accepté dans un agrégat : utilisez WHERE"),
    (
        "only dimensions and keys may be grouped by, not measures",
        "on ne groupe que par dimensions et clés, pas par mesures",
    ),
    ("an aggregate takes one plain column", "un agrégat prend une seule colonne simple"),
    ("an aggregate takes a plain column, not an expression", "un agrégat prend une colonne simple, pas une expression"),
    ("count takes `*` or a column of such a dataset", "count prend `*` ou une colonne d'un tel jeu de données"),
    (
        "an aggregate-only dataset is not joined with itself",
        "un jeu de données réservé aux agrégats ne se joint pas à lui-même",
    ),
    (
        "two aggregate-only datasets are joined on their subject keys",
        "deux jeux de données réservés aux agrégats se joignent par leurs clés de personne",
    ),
    (
        "the owner of a column that this joins on lets no query join on it",
        "le propriétaire d'une colonne de cette jointure ne permet à aucune requête de joindre par elle",
    ),
    (
        "a table that is joined with an aggregate-only dataset of others repeats a key, which would weigh people: give \
         it one row for each key, as a subquery with GROUP BY does",
        "une table jointe à un jeu de données d'autrui réservé aux agrégats répète une clé, ce qui pondérerait des \
         personnes : donnez-lui une ligne par clé, comme le fait une sous-requête avec GROUP BY",
    ),
    (
        "sum and avg take a measure of such a dataset, without DISTINCT",
        "sum et avg prennent une mesure d'un tel jeu de données, sans DISTINCT",
    ),
    ("only count, sum and avg are accepted", "seuls count, sum et avg sont acceptés"),
    ("a table is written as `owner.dataset`", "une table s'écrit `propriétaire.jeu`"),
    ("the text exceeds {} bytes", "le texte dépasse {} octets"),
    ("the text exceeds {} tokens", "le texte dépasse {} mots"),
    ("this is not valid SQL{}", "ce n'est pas du SQL valide{}"),
    ("write exactly one statement", "écrivez exactement une instruction"),
    (
        "`{}` does not exist, or you may not see it; a table is `owner.dataset`",
        "`{}` n'existe pas, ou vous ne pouvez pas la voir ; une table est `propriétaire.jeu`",
    ),
    ("`{}` does not exist, or you may not see it", "`{}` n'existe pas, ou vous ne pouvez pas la voir"),
    ("expressions and queries nest deeper than {}", "expressions et requêtes s'imbriquent sur plus de {} niveaux"),
    ("VALUES is not accepted as a relation", "VALUES n'est pas accepté comme relation"),
    ("write SELECT instead of TABLE", "écrivez SELECT au lieu de TABLE"),
    ("there are too many concatenations", "il y a trop de concaténations"),
    ("there are more than {} grouping sets", "il y a plus de {} ensembles de groupement"),
    (
        "FETCH, FOR, SETTINGS, FORMAT and pipes are not accepted",
        "FETCH, FOR, SETTINGS, FORMAT et les tubes ne sont pas acceptés",
    ),
    ("SELECT INTO is not accepted", "SELECT INTO n'est pas accepté"),
    ("DISTINCT ON is not accepted", "DISTINCT ON n'est pas accepté"),
    ("this clause is not accepted", "cette clause n'est pas acceptée"),
    ("LATERAL is not accepted", "LATERAL n'est pas accepté"),
    ("a list of IN has more than {} values", "une liste de IN a plus de {} valeurs"),
    ("a number is too long", "un nombre est trop long"),
    ("a literal is longer than {} bytes", "un littéral dépasse {} octets"),
    ("`{}` could be several columns", "`{}` pourrait être plusieurs colonnes"),
    ("the name `{}` is used twice", "le nom `{}` est utilisé deux fois"),
    ("a literal cannot be read as the type it is used as", "un littéral ne se lit pas dans le type où il est employé"),
    (
        "an expression does not fit the types of its columns, or misses in GROUP BY",
        "une expression ne convient pas aux types de ses colonnes, ou manque dans GROUP BY",
    ),
    (
        "planning this query takes too long; make it simpler",
        "planifier cette requête prend trop de temps ; simplifiez-la",
    ),
    ("parameters are `?` or `$1` to `${}`", "les paramètres sont `?` ou `$1` à `${}`"),
    ("`?` and `$1` do not go together", "`?` et `$1` ne vont pas ensemble"),
    ("there are more than {} parameters", "il y a plus de {} paramètres"),
    ("the numbers of the parameters have a gap", "les numéros des paramètres ont un trou"),
];

/// The detail of a rejection in French; as it is if nothing is known of it.
pub(super) fn french(detail: &str) -> String {
    PATTERNS.iter().find_map(|(en, fr)| translate(detail, en, fr)).unwrap_or_else(|| detail.to_owned())
}

/// Fills the pieces that `detail` has for the `{}` of `en` into `fr`; the last piece may be of this list, too.
fn translate(detail: &str, en: &str, fr: &str) -> Option<String> {
    let mut parts = en.split("{}");
    let mut rest = detail.strip_prefix(parts.next()?)?;
    let mut pieces = Vec::new();
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        let end = if part.is_empty() && parts.peek().is_none() { rest.len() } else { rest.find(part)? };
        pieces.push(&rest[..end]);
        rest = &rest[end + part.len()..];
    }
    if !rest.is_empty() {
        return None;
    }
    let mut filled = String::new();
    let mut pieces = pieces.into_iter();
    for (at, part) in fr.split("{}").enumerate() {
        if at > 0 {
            let piece = pieces.next()?;
            let whole = en.ends_with(": {}");
            filled.push_str(&if whole { french(piece) } else { piece.to_owned() });
        }
        filled.push_str(part);
    }
    Some(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_the_callers_text_are_carried_over() {
        assert_eq!(french("there is no column `a}b` here"), "il n'y a pas de colonne `a}b` ici");
        assert_eq!(french("this is not valid SQL at line 1"), "ce n'est pas du SQL valide at line 1");
        assert_eq!(french("this is not valid SQL"), "ce n'est pas du SQL valide");
        assert_eq!(
            french("a dataset of this query is for aggregates only: only count, sum and avg are accepted"),
            "un jeu de données de cette requête ne donne que des agrégats : seuls count, sum et avg sont acceptés"
        );
        assert_eq!(french("something new"), "something new");
    }

    #[test]
    fn both_languages_carry_the_same_pieces() {
        for (en, fr) in PATTERNS {
            assert_eq!(en.matches("{}").count(), fr.matches("{}").count(), "{en}");
        }
    }

    /// Every literal that is handed to one of the functions that reject, read from the sources.
    #[test]
    fn every_rejection_of_this_layer_is_known_in_french() {
        fn sources(folder: &std::path::Path, found: &mut String) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && path.file_name().is_none_or(|name| name != "tests") {
                    sources(&path, found);
                } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("french.rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    found.push_str(text.split("#[cfg(test)]").next().unwrap());
                }
            }
        }
        let mut text = String::new();
        sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/query"), &mut text);
        // A literal that goes on in the next line goes on after its white space.
        let text: Vec<&str> =
            text.split("\\\n").enumerate().map(|(at, part)| if at == 0 { part } else { part.trim_start() }).collect();
        let text = text.concat();
        let mut unknown = Vec::new();
        for call in
            ["reject(", "refuse(", "aggregates_only(", "too_complex(", "placeholder(", "not_private(", "unusable("]
        {
            for (at, _) in text.match_indices(call) {
                let rest: String = text[at + call.len()..].chars().take(400).collect();
                let rest = rest.split(";\n").next().unwrap_or_default();
                let mut literals = rest.split('"').skip(1).step_by(2);
                let detail = if matches!(call, "reject(" | "refuse(") { literals.nth(1) } else { literals.next() };
                let Some(detail) = detail.filter(|detail| detail.contains(' ')) else { continue };
                // A named piece is a piece.
                let mut plain = String::new();
                let mut inside = false;
                for c in detail.chars() {
                    inside = (inside || c == '{') && c != '}';
                    if !inside {
                        plain.push_str(&if c == '}' { "{}".to_owned() } else { c.to_string() });
                    }
                }
                if !PATTERNS.iter().any(|(en, _)| *en == plain) {
                    unknown.push(plain);
                }
            }
        }
        assert!(unknown.is_empty(), "say it in French, too: {unknown:#?}");
    }
}
