//! The words of tables about policies in the user's language: titles, and values that the API names in English.

use crate::cli::{
    env::Lang,
    output::{Column, Format, Out},
};

/// A word of the API as a person reads it; for programs it stays what it is.
pub(super) fn word(out: &Out, name: &str) -> String {
    if out.format == Format::Table && out.lang == Lang::Fr { french(name) } else { name }.to_owned()
}

/// The same of an enum's value, for example `FINDING_SEVERITY_ERROR` without its prefix.
pub(super) fn value(out: &Out, name: &str, prefix: &str) -> String {
    word(out, &name.trim_start_matches(prefix).to_ascii_lowercase())
}

/// The columns with titles in the user's language.
pub(super) fn titles(out: &Out, en: &'static [Column], fr: &'static [Column]) -> &'static [Column] {
    if out.lang == Lang::Fr { fr } else { en }
}

/// A number with its noun.
pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn french(name: &str) -> &str {
    match name {
        "error" => "erreur",
        "warning" => "attention",
        "info" => "à savoir",
        "enforced" => "appliqué",
        "duty" => "obligation",
        "refused" => "refusé",
        "permits" => "permet",
        "denies" => "interdit",
        "misses" => "ne s'applique pas",
        "unknown" => "interdit faute de savoir",
        "gained" => "gagné",
        "lost" => "perdu",
        "tightened" => "resserré",
        "loosened" => "assoupli",
        "changed" => "modifié",
        "gains" => "gagnerait",
        "loses" => "perdrait",
        "changes" => "changerait",
        "draft" => "brouillon",
        "published" => "publiée",
        "retired" => "retirée",
        "revoked" => "révoquée",
        "kind" => "nature",
        "sector" => "secteur",
        "country" => "pays",
        "accreditation" => "accréditation",
        "role" => "rôle",
        "columns" => "colonnes",
        "purpose" => "finalité",
        "validity" => "période",
        other => other,
    }
}
