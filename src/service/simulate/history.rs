//! What was asked of a dataset in a period, from the records that the hub keeps: requests, grants, and the log.

use std::collections::{BTreeMap, BTreeSet};

use super::{Evidence, Replayed};
use crate::{
    audit::LeafView,
    domain::{
        Access, AccessRequest, Action, Columns, Dataset, DatasetId, Grant, GrantId, PageRequest, ParticipantId,
        PurposeSlug, Role, Text, Timestamp,
    },
    error::{Error, Result},
    policy::Attributes,
    service::Services,
    store::{Tx, access, audit as log, member},
};

/// Most records of a kind that are replayed at a time.
const MOST: u32 = 10_000;

/// The uses of a period.
#[derive(Default)]
pub(super) struct History {
    pub(super) uses: Vec<Past>,
    pub(super) replayed: Replayed,
    /// Participants that are suspended or gone; what they did is not replayed.
    gone: BTreeSet<ParticipantId>,
    /// Whether a denied query was seen, of which the log does not hold the action.
    denials: bool,
    /// How many of the queries the owner ran on its own data.
    own: usize,
}

/// One use, however often it was seen.
pub(super) struct Past {
    pub(super) who: Attributes,
    pub(super) action: Action,
    /// None for discovery.
    pub(super) purpose: Option<PurposeSlug>,
    pub(super) columns: Columns,
    /// The grant in force that it rests on.
    pub(super) grant: Option<Grant>,
    pub(super) evidence: Evidence,
}

impl Services {
    /// Everything that others asked of the dataset from `since` to `until`, and the grants that are in force now.
    pub(super) async fn history(&self, dataset: &Dataset, since: Timestamp, until: Timestamp) -> Result<History> {
        let known = self.participants_as_asked().await?;
        let known = known.into_iter().map(|one| (one.participant.clone(), one)).collect();
        let mut gathered = Gathered {
            known,
            uses: BTreeMap::new(),
            history: History::default(),
            owner: dataset.id.owner.clone(),
            open: dataset.access == Access::Open,
        };
        let mut tx = self.read().await?;
        let grants = access::grants_about(&mut tx, &dataset.id, MOST).await?;
        gathered.history.replayed.truncated |= grants.len() >= MOST as usize;
        let requests = access::requests_about(&mut tx, &dataset.id, since, until, MOST).await?;
        gathered.history.replayed.truncated |= requests.len() >= MOST as usize;
        for request in &requests {
            let roles = member::lookup(&mut tx, request.member).await?.map(|member| member.roles);
            gathered.request(request, roles, &grants);
        }
        let now = self.now();
        for grant in grants.iter().filter(|grant| grant.require_in_force(now).is_ok()) {
            gathered.grant(grant);
        }
        gathered.decisions(&mut tx, &dataset.id, &grants, now, since, until).await?;
        drop(tx);
        Ok(gathered.finish())
    }
}

impl History {
    /// What the records do not say and was taken instead.
    pub(super) fn assumptions(&self, at: Timestamp) -> Vec<Text> {
        let mut said = vec![Text {
            en: format!("everything is asked again as of {at}"),
            fr: format!("tout est redemandé à la date du {at}"),
        }];
        if !self.uses.is_empty() {
            said.push(Text {
                en: "kind, sector, country, accreditations and roles are today's: the records do not hold them"
                    .to_owned(),
                fr: "type, secteur, pays, accréditations et rôles sont ceux d'aujourd'hui : les traces ne les ont pas"
                    .to_owned(),
            });
        }
        if self.replayed.queries > self.own {
            said.push(Text {
                en: "who queried is taken to be a requester, with the columns of the grant or rule: the log names \
                     neither the member nor the columns"
                    .to_owned(),
                fr: "l'auteur d'une requête est supposé requester, avec les colonnes de l'accord ou de la règle : le \
                     journal ne nomme ni le membre ni les colonnes"
                    .to_owned(),
            });
        }
        if self.own > 0 {
            said.push(Text {
                en: "what the owner queried of its own data takes no rule: the floor alone is tried, without its row \
                     filter and masks; whether rows or aggregates were asked for the log does not hold"
                    .to_owned(),
                fr: "les requêtes du propriétaire sur ses propres données ne dépendent d'aucune règle : seul le plancher \
                     est essayé, sans son filtre de lignes ni ses masques ; le journal ne dit pas si elles demandaient \
                     des lignes ou des agrégats"
                    .to_owned(),
            });
        }
        if self.denials {
            said.push(Text {
                en: "for queries that were denied rows and aggregates are tried: the log does not hold the action"
                    .to_owned(),
                fr: "pour les requêtes refusées, lignes et agrégats sont essayés : le journal n'a pas l'action"
                    .to_owned(),
            });
        }
        if !self.gone.is_empty() {
            let names: Vec<String> = self.gone.iter().map(|id| format!("`{id}`")).collect();
            let names = names.join(", ");
            said.push(Text {
                en: format!("suspended or gone, and not replayed: {names}"),
                fr: format!("suspendus ou partis, non rejoués : {names}"),
            });
        }
        said
    }
}

struct Gathered {
    known: BTreeMap<ParticipantId, Attributes>,
    /// By what makes two uses the same.
    uses: BTreeMap<String, Past>,
    history: History,
    owner: ParticipantId,
    open: bool,
}

impl Gathered {
    fn request(&mut self, request: &AccessRequest, roles: Option<BTreeSet<Role>>, grants: &[Grant]) {
        self.history.replayed.requests += 1;
        let ask = &request.ask;
        // What was granted is the use that goes on.
        let granted = grants.iter().find(|grant| grant.access_request == request.id).map(|grant| &grant.columns);
        let columns = granted.unwrap_or(&ask.columns);
        let roles = roles.unwrap_or_else(requester);
        let at = request.created_at;
        if let Some(past) = self.past(&request.requester, roles, ask.action, Some(&ask.purpose), columns) {
            past.evidence.requests.push(request.id);
            past.seen(at);
        }
    }

    fn grant(&mut self, grant: &Grant) {
        self.history.replayed.grants += 1;
        let past = self.past(&grant.grantee, requester(), grant.action, Some(&grant.purpose), &grant.columns);
        if let Some(past) = past {
            past.evidence.grants.push(grant.id);
            past.seen(grant.valid_from);
            past.rest_on(grant);
        }
    }

    /// The decisions on queries, from the log.
    async fn decisions(
        &mut self,
        tx: &mut Tx,
        dataset: &DatasetId,
        grants: &[Grant],
        now: Timestamp,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<()> {
        let filter = log::Filter {
            party: Some(dataset.owner.clone()),
            kind: Some("query.decision".to_owned()),
            since: Some(since),
            until: Some(until),
            ..log::Filter::default()
        };
        let mut page = PageRequest::first(PageRequest::MAX_SIZE);
        let mut seen = 0;
        loop {
            let found = log::list(tx, &filter, &page).await?;
            for event in &found.items {
                let view = LeafView::parse(&event.leaf).map_err(|e| Error::internal(format_args!("log: {e}")))?;
                self.decision(&view, dataset, grants, now);
            }
            seen += found.items.len();
            match found.next {
                Some(next) if seen < MOST as usize => page.after = Some(next),
                Some(_) => {
                    self.history.replayed.truncated = true;
                    return Ok(());
                }
                None => return Ok(()),
            }
        }
    }

    fn decision(&mut self, entry: &LeafView, dataset: &DatasetId, grants: &[Grant], now: Timestamp) {
        let (Some(actor), Some(purpose)) = (&entry.actor, &entry.purpose) else { return };
        let name = dataset.to_string();
        let used = entry.facts.get("datasets").and_then(serde_json::Value::as_array);
        let used = used.and_then(|all| all.iter().find(|one| one["dataset"] == name.as_str()));
        let permitted = used.is_some();
        if !permitted && entry.dataset.as_ref() != Some(dataset) {
            return;
        }
        let own = *actor == self.owner;
        self.history.replayed.queries += 1;
        self.history.own += usize::from(own);
        let cited: Option<GrantId> = used.and_then(|one| one["grant"].as_str()).and_then(|id| id.parse().ok());
        let grant = cited.and_then(|id| grants.iter().find(|grant| grant.id == id));
        let whole = entry.facts.get("download").and_then(serde_json::Value::as_bool) == Some(true);
        let asked = match grant {
            Some(grant) => vec![(grant.action, grant.columns.clone())],
            // One's own data takes no rule, and what governs an open dataset is chosen by the purpose alone.
            None if whole => vec![(Action::Download, Columns::All)],
            None if own || self.open => vec![(Action::Read, Columns::All)],
            None => vec![(Action::Aggregate, Columns::All), (Action::Read, Columns::All)],
        };
        self.history.denials |= !permitted && asked.len() > 1;
        for (action, columns) in asked {
            let Some(past) = self.past(actor, requester(), action, Some(purpose), &columns) else { continue };
            if permitted {
                past.evidence.permitted += 1;
            } else {
                past.evidence.denied += 1;
            }
            past.seen(entry.at);
            if let Some(grant) = grant.filter(|grant| grant.require_in_force(now).is_ok()) {
                past.rest_on(grant);
            }
        }
    }

    /// The use of this kind, new if it was not seen before; none if nobody of the participant can do it any more.
    fn past(
        &mut self,
        participant: &ParticipantId,
        roles: BTreeSet<Role>,
        action: Action,
        purpose: Option<&PurposeSlug>,
        columns: &Columns,
    ) -> Option<&mut Past> {
        let Some(known) = self.known.get(participant) else {
            self.history.gone.insert(participant.clone());
            return None;
        };
        let key = format!("{participant} {action:?} {purpose:?} {columns:?} {roles:?}");
        Some(self.uses.entry(key).or_insert_with(|| Past {
            who: Attributes { roles: Some(roles), ..known.clone() },
            action,
            purpose: purpose.cloned(),
            columns: columns.clone(),
            grant: None,
            evidence: Evidence::default(),
        }))
    }

    /// Whoever asked for something also saw the catalog entry.
    fn finish(mut self) -> History {
        let mut evidence: BTreeMap<ParticipantId, Evidence> = BTreeMap::new();
        for past in self.uses.values() {
            let all = evidence.entry(past.who.participant.clone()).or_default();
            all.requests.extend(&past.evidence.requests);
            all.permitted += past.evidence.permitted;
            all.denied += past.evidence.denied;
            all.last = all.last.max(past.evidence.last);
        }
        // Its owner sees it in any case.
        evidence.remove(&self.owner);
        for (participant, evidence) in evidence {
            if let Some(past) = self.past(&participant, requester(), Action::Discover, None, &Columns::All) {
                past.evidence = evidence;
            }
        }
        self.history.uses = self.uses.into_values().collect();
        self.history
    }
}

impl Past {
    fn seen(&mut self, at: Timestamp) {
        self.evidence.last = self.evidence.last.max(Some(at));
    }

    /// Of several grants the one that lasts longest.
    fn rest_on(&mut self, grant: &Grant) {
        if self.grant.as_ref().is_none_or(|known| known.valid_until < grant.valid_until) {
            self.grant = Some(grant.clone());
        }
    }
}

fn requester() -> BTreeSet<Role> {
    BTreeSet::from([Role::Requester])
}
