//! `odh policy new`: a policy for a usual case, from a template and the answers to a few questions.
//!
//! What is asked follows from what the template says: whom, what for, until when, how many. Each question shows its
//! default; each answer is tried on the policy at once and asked for again if it does not fit. Flags answer in
//! advance, so that scripts need no terminal. Questions go to standard error, the manifest to standard output.

mod answer;

use std::io::{BufRead, IsTerminal as _};

use clap::{Args as ClapArgs, builder::PossibleValuesParser};

use self::answer::apply;

use crate::{
    cli::{Session, failure::Failure, names},
    domain::{
        Action, Clock as _, DatasetId, Duty, Effect, LegalBasis, Policy, PurposeSlug, Rule, SystemClock, Timestamp,
        Vocabulary,
    },
    policy::{assets::TEMPLATES, manifest, vocabulary},
};

/// How long a permission lasts unless something else is answered.
const USUAL: std::time::Duration = std::time::Duration::from_hours(2 * 365 * 24);

/// A policy from a template.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The dataset that it is for, OWNER.DATASET.
    dataset: String,
    /// What it is like.
    #[arg(long, value_parser = PossibleValuesParser::new(TEMPLATES.map(|template| template.name)))]
    template: String,
    /// Ask although standard input is no terminal.
    #[arg(long)]
    ask: bool,
    /// Ask nothing: what no flag answers is as in the template.
    #[arg(long, conflicts_with = "ask")]
    defaults: bool,
    #[command(flatten)]
    answers: Answers,
}

/// Answers given in advance.
#[derive(Debug, Default, ClapArgs)]
struct Answers {
    /// Participants that it is for, separated by commas.
    #[arg(long, value_name = "IDS")]
    partners: Option<String>,
    /// Kinds of participants, separated by commas, for example `company,public_body`.
    #[arg(long, value_name = "KINDS")]
    kinds: Option<String>,
    /// Countries, separated by commas: ISO 3166-1 alpha-2, or EU.
    #[arg(long, value_name = "CODES")]
    countries: Option<String>,
    /// Purposes, separated by commas; see `odh policy purposes`.
    #[arg(long, value_name = "SLUGS")]
    purposes: Option<String>,
    /// Why personal data may be processed, for example consent or contract.
    #[arg(long, value_name = "BASIS")]
    legal_basis: Option<String>,
    /// From when on, for example 2026-01-01.
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// Until when, for example 2028-01-01.
    #[arg(long, value_name = "DATE")]
    until: Option<String>,
    /// The smallest group of an aggregate.
    #[arg(long, value_name = "K")]
    smallest_group: Option<String>,
    /// The most rows of an answer.
    #[arg(long, value_name = "N")]
    max_rows: Option<String>,
    /// After how many days what was obtained is deleted.
    #[arg(long, value_name = "DAYS")]
    delete_after: Option<String>,
    /// The attribution to carry along.
    #[arg(long, value_name = "TEXT")]
    attribution: Option<String>,
}

/// Writes the policy.
pub(super) fn run(args: &Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let stdin = std::io::stdin();
    let asks = args.ask || !args.defaults && stdin.is_terminal();
    let mut input = stdin.lock();
    write(args, asks.then_some(&mut input as &mut dyn BufRead), session)
}

fn write(args: &Args, input: Option<&mut (dyn BufRead + '_)>, session: &mut Session<'_>) -> Result<(), Failure> {
    let dataset = names::dataset_id(&args.dataset)?;
    let template = TEMPLATES.iter().find(|known| known.name == args.template);
    let text = template.map(|template| template.text.replace("owner.dataset", &dataset.to_string()));
    let text = text.unwrap_or_default();
    if input.is_none() && args.answers.is_empty() {
        return session.out.line(text.trim_end());
    }
    let mut policy = manifest::parse(&text)?;
    let vocabulary = vocabulary::load()?;
    let asked = questions(&policy, &dataset, SystemClock.now());
    if let Some(flag) = args.answers.unasked(&asked) {
        return Err(Failure::usage(
            format!("the template `{}` has no use for --{flag}", args.template),
            format!("le modèle `{}` n'a que faire de --{flag}", args.template),
        ));
    }
    Interview { session, vocabulary: &vocabulary, input }.run(&asked, &args.answers, &mut policy)?;
    session
        .out
        .line(format_args!("# From the template `{}`: `odh policy check -f FILE`, then `apply`.", args.template))?;
    session.out.line(manifest::to_yaml(&policy)?.trim_end())
}

/// One question, with the answer that the template gives.
#[derive(Debug)]
struct Question {
    about: About,
    default: String,
}

/// What a question is about; the name is that of its flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Partners,
    Kinds,
    Countries,
    Purposes,
    LegalBasis,
    From,
    Until,
    SmallestGroup,
    MaxRows,
    DeleteAfter,
    Attribution,
}

impl About {
    const fn flag(self) -> &'static str {
        match self {
            Self::Partners => "partners",
            Self::Kinds => "kinds",
            Self::Countries => "countries",
            Self::Purposes => "purposes",
            Self::LegalBasis => "legal-basis",
            Self::From => "from",
            Self::Until => "until",
            Self::SmallestGroup => "smallest-group",
            Self::MaxRows => "max-rows",
            Self::DeleteAfter => "delete-after",
            Self::Attribution => "attribution",
        }
    }

    /// In English and French.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Partners => (
                "For which participants (ids, separated by commas)?",
                "Pour quels participants (identifiants, séparés par des virgules) ?",
            ),
            Self::Kinds => {
                ("For which kinds: company, lab, public_body?", "Pour quels types : company, lab, public_body ?")
            }
            Self::Countries => ("From which countries (ISO codes, or EU)?", "De quels pays (codes ISO, ou EU) ?"),
            Self::Purposes => {
                ("For which purposes (`odh policy purposes`)?", "Pour quelles finalités (`odh policy purposes`) ?")
            }
            Self::LegalBasis => ("On which legal basis (GDPR art. 6)?", "Sur quelle base légale (RGPD art. 6) ?"),
            Self::From => ("From which day on?", "À partir de quel jour ?"),
            Self::Until => ("Until which day?", "Jusqu'à quel jour ?"),
            Self::SmallestGroup => {
                ("Smallest group of an aggregate (5 or more)?", "Plus petit groupe d'un agrégat (5 ou plus) ?")
            }
            Self::MaxRows => ("Most rows of an answer?", "Nombre maximal de lignes par réponse ?"),
            Self::DeleteAfter => {
                ("Delete what was obtained after how many days?", "Effacer ce qui fut obtenu après combien de jours ?")
            }
            Self::Attribution => ("Which attribution must be carried along?", "Quelle mention faut-il porter ?"),
        }
    }
}

/// What the template leaves to be said.
fn questions(policy: &Policy, dataset: &DatasetId, now: Timestamp) -> Vec<Question> {
    let mut asked = Vec::new();
    let Some(rule) = policy.rules.iter().find(|rule| is_use(rule)) else { return asked };
    let mut ask = |about, default: String| asked.push(Question { about, default });
    let day = |at: Timestamp| at.to_string().chars().take(10).collect::<String>();
    if !rule.who.organisations.is_empty() {
        ask(About::Partners, String::new());
    }
    if !rule.who.kinds.is_empty() {
        ask(About::Kinds, list(rule.who.kinds.iter().map(|kind| kind.as_str())));
    }
    if !rule.who.countries.is_empty() {
        ask(About::Countries, list(&rule.who.countries));
    }
    if !rule.purposes.is_empty() {
        ask(About::Purposes, list(rule.purposes.iter().map(PurposeSlug::as_str)));
    }
    if let Some(basis) = rule.legal_basis.filter(|basis| *basis != LegalBasis::NotPersonal) {
        ask(About::LegalBasis, basis.as_str().to_owned());
    }
    if !rule.when.is_empty() {
        ask(About::From, day(now));
        ask(About::Until, day(now.plus(USUAL)));
    }
    if let Some(k) = rule.how.aggregate_only {
        ask(About::SmallestGroup, k.to_string());
    }
    if let Some(rows) = rule.how.max_rows {
        ask(About::MaxRows, rows.to_string());
    }
    for duty in &rule.duties {
        match duty {
            Duty::DeleteAfterDays(days) => ask(About::DeleteAfter, days.to_string()),
            Duty::Attribute(text) => ask(About::Attribution, text.replace("owner", dataset.owner.as_str())),
            Duty::NoReidentification | Duty::Notify(_) | Duty::ShareAlike => {}
        }
    }
    asked
}

/// A permit of more than seeing the entry.
fn is_use(rule: &Rule) -> bool {
    rule.effect == Effect::Permit && rule.actions.iter().any(|action| *action != Action::Discover)
}

fn list<T: AsRef<str>>(members: impl IntoIterator<Item = T>) -> String {
    members.into_iter().map(|member| member.as_ref().to_owned()).collect::<Vec<_>>().join(", ")
}

impl Answers {
    fn to(&self, about: About) -> Option<&str> {
        let answer = match about {
            About::Partners => &self.partners,
            About::Kinds => &self.kinds,
            About::Countries => &self.countries,
            About::Purposes => &self.purposes,
            About::LegalBasis => &self.legal_basis,
            About::From => &self.from,
            About::Until => &self.until,
            About::SmallestGroup => &self.smallest_group,
            About::MaxRows => &self.max_rows,
            About::DeleteAfter => &self.delete_after,
            About::Attribution => &self.attribution,
        };
        answer.as_deref()
    }

    const ALL: [About; 11] = [
        About::Partners,
        About::Kinds,
        About::Countries,
        About::Purposes,
        About::LegalBasis,
        About::From,
        About::Until,
        About::SmallestGroup,
        About::MaxRows,
        About::DeleteAfter,
        About::Attribution,
    ];

    fn is_empty(&self) -> bool {
        Self::ALL.into_iter().all(|about| self.to(about).is_none())
    }

    /// A flag that answers what is not asked.
    fn unasked(&self, asked: &[Question]) -> Option<&'static str> {
        let given = Self::ALL.into_iter().filter(|about| self.to(*about).is_some());
        given.into_iter().find(|about| !asked.iter().any(|one| one.about == *about)).map(About::flag)
    }
}

struct Interview<'a, 's, 'i> {
    session: &'a mut Session<'s>,
    vocabulary: &'a Vocabulary,
    input: Option<&'a mut (dyn BufRead + 'i)>,
}

impl Interview<'_, '_, '_> {
    fn run(&mut self, asked: &[Question], answers: &Answers, policy: &mut Policy) -> Result<(), Failure> {
        for question in asked {
            if let Some(given) = answers.to(question.about) {
                apply(question.about, given, policy, self.vocabulary).map_err(|wrong| {
                    let flag = question.about.flag();
                    Failure::usage(format!("--{flag}: {}", wrong.0), format!("--{flag} : {}", wrong.1))
                })?;
            } else {
                self.ask(question, policy)?;
            }
        }
        Ok(())
    }

    /// Asks until an answer fits; an empty one is the default.
    fn ask(&mut self, question: &Question, policy: &mut Policy) -> Result<(), Failure> {
        let lang = self.session.out.lang;
        let (en, fr) = question.about.words();
        loop {
            let answer = match self.input.as_mut() {
                None => String::new(),
                Some(input) => {
                    let shown =
                        if question.default.is_empty() { String::new() } else { format!(" [{}]", question.default) };
                    self.session.out.say(format!("{en}{shown}"), format!("{fr}{shown}"));
                    let mut line = String::new();
                    if input.read_line(&mut line).map_err(|e| Failure::file("-".as_ref(), &e))? == 0 {
                        return Err(Failure::usage(
                            "the answers end before the questions do",
                            "il manque des réponses aux questions",
                        ));
                    }
                    line
                }
            };
            let answer = if answer.trim().is_empty() { &question.default } else { answer.trim() };
            match apply(question.about, answer, policy, self.vocabulary) {
                Ok(()) => return Ok(()),
                Err(wrong) if self.input.is_some() => self.session.out.say(&wrong.0, &wrong.1),
                Err(wrong) => {
                    let flag = question.about.flag();
                    return Err(Failure::usage(
                        format!("{} (--{flag}): {}", lang.pick(en, fr), wrong.0),
                        format!("{} (--{flag}) : {}", lang.pick(en, fr), wrong.1),
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
