//! Why a use is denied and what would unlock it: for the requester, for the owner, and for auditors.

use super::{
    Services,
    decide::{Governing, Judge, for_owner},
    policy::Question,
};
use crate::{
    domain::{
        Access, Action, Caller, Columns, Dataset, DatasetId, Decision, How, ParticipantId, PolicyVersion, PurposeSlug,
        Role, Text,
    },
    error::{Error, Reason, Result},
    policy::{
        Act, Attributes, CompiledPolicy, Domain, Family, Fault,
        explain::{self, Step, Unlock},
    },
    store::{participant, policy},
};

/// What is asked of a policy.
#[derive(Debug, Clone)]
pub struct UseQuestion {
    /// The dataset.
    pub dataset: DatasetId,
    /// What would be done.
    pub action: Action,
    /// What for; not needed for discovery.
    pub purpose: Option<PurposeSlug>,
    /// On which columns.
    pub columns: Columns,
    /// Who would do it, as a requester; none means the caller.
    pub participant: Option<ParticipantId>,
}

/// What the policy in force says about a use.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The policy.
    pub version: PolicyVersion,
    /// The decision.
    pub decision: Decision,
    /// About whom.
    pub participant: ParticipantId,
    /// Whether the caller is entitled to the whole trace: the owner and auditors are.
    pub whole: bool,
    /// What would unlock a denied use, as far as the participant may know.
    pub unlocks: Vec<Unlock>,
    /// If the participant is the dataset's owner, which takes no rule: what binds it, or why it may not.
    pub own: Option<Result<How>>,
}

impl Services {
    /// What the policy in force says about a use: of the caller's participant to every member, of any to the owner and
    /// to auditors.
    pub async fn explain_use(&self, caller: &Caller, question: &UseQuestion) -> Result<Explanation> {
        let permit = self.authorise(caller, &caller.participant, Family::Policy, Act::Read).await?;
        let id = &question.dataset;
        let whole = id.owner == caller.participant || self.audits_all(caller).await;
        let dataset = self.policed(caller, id).await?;
        if let Some(purpose) = &question.purpose {
            self.inner.vocabulary.require(purpose)?;
        } else if question.action != Action::Discover {
            return Err(Error::invalid("purpose", "it is required unless the action is `discover`"));
        }
        if let Columns::Only(names) = &question.columns
            && let Some(unknown) = names.iter().find(|name| !dataset.columns().iter().any(|c| c.name == **name))
        {
            return Err(Error::new(Reason::ColumnUnknown).with("dataset", id).with("column", unknown));
        }
        let who = match question.participant.as_ref().filter(|other| **other != caller.participant) {
            None => Attributes::from(caller),
            Some(_) if !whole => {
                return Err(Error::invalid("participant", "only the owner and auditors ask about others"));
            }
            Some(other) => {
                let found = participant::lookup(&mut self.read_as(&permit).await?, other).await?;
                let known = found.ok_or_else(|| Error::not_found(format_args!("participant `{other}`")))?;
                Attributes { roles: Some([Role::Requester].into()), ..Attributes::from(&known) }
            }
        };
        let no_policy = || Error::not_found(format_args!("the policy of `{id}`"));
        let version = policy::in_force(&mut self.read_as(&permit).await?, id).await?.ok_or_else(no_policy)?;
        if who.participant == id.owner {
            let own = match question.action {
                // Its entry the owner sees in any case.
                Action::Discover => Ok(How::default()),
                action => for_owner(&version.policy, action),
            };
            let decision = Decision { policy: version.digest, permit: None, trace: Vec::new() };
            let (participant, unlocks) = (who.participant, Vec::new());
            return Ok(Explanation { version, decision, participant, whole, unlocks, own: Some(own) });
        }
        let question = question.clone();
        self.aside(move |services| {
            let compiled = services.compiled(&version)?;
            let judge = services.judge(&compiled, &who, &dataset)?;
            let asked = Question {
                action: question.action,
                purpose: question.purpose.as_ref(),
                columns: &question.columns,
                rule: None,
            };
            let decision = judge.explained(&asked)?;
            let unlocks = if decision.permit.is_some() { Vec::new() } else { judge.unlocks(&asked) };
            let participant = who.participant.clone();
            Ok(Explanation { version, decision, participant, whole, unlocks, own: None })
        })
        .await
    }

    /// Whether the caller may read everything that the log says of anybody.
    pub(super) async fn audits_all(&self, caller: &Caller) -> bool {
        self.authorise_in(caller, Domain::Hub, Family::Audit, Act::ReadAll).await.is_ok()
    }

    /// The refusal of a use that a version denies, with what would unlock it.
    pub(super) fn refusal(
        &self,
        caller: &Caller,
        dataset: &Dataset,
        version: &PolicyVersion,
        question: &Question<'_>,
        decision: &Decision,
    ) -> Error {
        let refused = || {
            let (compiled, who) = (self.compiled(version)?, Attributes::from(caller));
            Ok(self.judge(&compiled, &who, dataset)?.refusal(question, decision))
        };
        refused().unwrap_or_else(|error: Error| error)
    }

    /// Says, with the lack of a fitting grant, whether the policy in force would permit one and what else would help.
    pub(super) fn advise(
        &self,
        error: Error,
        caller: &Caller,
        dataset: &Dataset,
        in_force: Option<&PolicyVersion>,
        purpose: &PurposeSlug,
    ) -> Error {
        if !matches!(error.reason(), Reason::GrantRequired | Reason::PurposeNotPermitted) {
            return error;
        }
        let said = || {
            let Some(version) = in_force else {
                return Ok(Text {
                    en: "the dataset takes no new grants now".to_owned(),
                    fr: "le jeu de données ne reçoit pas de nouvel accord pour l'instant".to_owned(),
                });
            };
            let (compiled, who) = (self.compiled(version)?, Attributes::from(caller));
            self.judge(&compiled, &who, dataset)?.advice(purpose)
        };
        match said() {
            Ok(Text { en, fr }) => error.with_words("unlock", en, fr),
            Err(fault) => fault,
        }
    }

    /// A version's rules, ready to be asked.
    pub(super) fn compiled(&self, version: &PolicyVersion) -> Result<std::sync::Arc<CompiledPolicy>> {
        let compiled = match self.inner.policies.get(&version.digest) {
            Some(compiled) => compiled,
            None => self.counted(self.inner.policies.compile(version.policy.clone()))?,
        };
        if compiled.digest() != version.digest {
            let detail = format_args!("the policy kept as {} is {}", version.digest, compiled.digest());
            return self.counted(Err(Fault::ModelMismatch.raise(detail)));
        }
        Ok(compiled)
    }

    /// Asks about somebody, now.
    pub(super) fn judge<'a>(
        &'a self,
        compiled: &'a CompiledPolicy,
        who: &'a Attributes,
        dataset: &'a Dataset,
    ) -> Result<Judge<'a>> {
        Ok(Judge { compiled, who, at: self.time_to_decide()?, dataset, services: self })
    }
}

impl Judge<'_> {
    /// The decision that this question would meet: as an access request, or as a query of an open dataset. As there, every
    /// column stands for those of the rule.
    fn explained(&self, question: &Question<'_>) -> Result<Decision> {
        let Some(purpose) = question.purpose.filter(|_| question.action != Action::Discover) else {
            return self.decide(question);
        };
        if self.dataset.access == Access::Open && question.columns.is_all() {
            return match self.open(&[question.action], purpose)? {
                Governing::Rule(_, _, decision) | Governing::Nothing(Some(decision)) => Ok(*decision),
                Governing::Nothing(None) => self.decide(question),
            };
        }
        let mut decisions = self.ask(question.action, purpose, question.columns, None)?;
        Ok(decisions.swap_remove(0))
    }

    /// What would unlock a denied use.
    fn unlocks(&self, question: &Question<'_>) -> Vec<Unlock> {
        let columns = self.columns(question.columns);
        explain::unlocks(self.compiled, &self.question(question, &columns), self.vocabulary())
    }

    /// The same for an ask: every column then stands for those of the rule, so that none has to be left out.
    fn unlocks_of_ask(&self, question: &Question<'_>) -> Vec<Unlock> {
        let mut unlocks = self.unlocks(question);
        if question.columns.is_all() {
            for unlock in &mut unlocks {
                unlock.steps.retain(|step| !matches!(step, Step::Columns(_)));
            }
            unlocks.retain(|unlock| !unlock.steps.is_empty());
        }
        unlocks
    }

    fn refusal(&self, question: &Question<'_>, decision: &Decision) -> Error {
        let unlocks = self.unlocks_of_ask(question);
        explain::refusal(decision, self.compiled.policy(), &self.who.participant, &unlocks)
    }

    /// Whether a grant for this purpose could be had, and what would help if not.
    fn advice(&self, purpose: &PurposeSlug) -> Result<Text> {
        let mut names = Vec::new();
        for action in [Action::Read, Action::Aggregate] {
            let decisions = self.ask(action, purpose, &Columns::All, None)?;
            if decisions.iter().any(|decision| decision.permit.is_some()) {
                names.push(format!("`{}`", action.as_str()));
            }
        }
        if !names.is_empty() {
            return Ok(Text {
                en: format!("ask for access first, the policy permits you {}", names.join(" or ")),
                fr: format!("demandez d'abord l'accès, la politique vous permet {}", names.join(" ou ")),
            });
        }
        let question =
            Question { action: Action::Aggregate, purpose: Some(purpose), columns: &Columns::All, rule: None };
        Ok(match self.unlocks_of_ask(&question).first() {
            Some(unlock) => unlock.text(),
            None => Text {
                en: "no rule of the policy in force would permit it to you".to_owned(),
                fr: "aucune règle de la politique en vigueur ne vous le permettrait".to_owned(),
            },
        })
    }
}
