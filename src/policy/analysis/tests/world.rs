//! The small world: its dataset, everybody in it, and everything that they can do.

use super::*;

pub(super) fn dataset(access: Access) -> Dataset {
    let column = |name: &str| Column {
        name: name.to_owned(),
        data_type: ColumnType::Int64,
        nullable: true,
        role: ColumnRole::Dimension,
        description: String::new(),
    };
    let id: crate::domain::DatasetId = "chu.stays".parse().unwrap();
    let now = Timestamp::from_micros(0);
    let snapshot = Snapshot {
        id: SnapshotId::generate(now),
        dataset: id.clone(),
        columns: vec![column("a"), column("b")],
        rows: 1,
        bytes: 1,
        subjects: None,
        digest: Digest([0; 32]),
        source_digest: Digest([0; 32]),
        created_at: now,
    };
    Dataset {
        id,
        title: String::new(),
        description: String::new(),
        licence: String::new(),
        attribution: String::new(),
        keywords: Vec::new(),
        synthetic: true,
        access,
        subject_key: None,
        column_notes: Vec::new(),
        state: DatasetState::Draft,
        snapshot: Some(snapshot),
        created_at: now,
        revision: 1,
    }
}

/// One use of the small world.
#[derive(Debug, Clone)]
pub(super) struct Use {
    pub(super) who: Attributes,
    pub(super) action: Action,
    pub(super) purpose: PurposeSlug,
    pub(super) columns: BTreeSet<String>,
    pub(super) at: Timestamp,
}

impl Use {
    pub(super) fn trace(&self, policy: &Policy) -> Vec<RuleTrace> {
        let question = Question {
            who: &self.who,
            purpose: Some(&self.purpose),
            action: self.action,
            columns: &self.columns,
            at: self.at,
            rule: None,
        };
        reference::evaluate(policy, &question, &VOCABULARY).1
    }
}

pub(super) fn somebody() -> Attributes {
    Attributes {
        participant: "irit".parse().unwrap(),
        kind: Some(Kind::Lab),
        sector: None,
        country: Some("FR".to_owned()),
        accreditations: Some(BTreeSet::new()),
        roles: Some([Role::Requester].into()),
    }
}

/// Everybody of the small world, doing one thing.
pub(super) fn parties() -> Vec<Use> {
    let mut all = Vec::new();
    let optional =
        |list: &[&str]| list.iter().map(|text| Some((*text).to_owned())).chain([None]).collect::<Vec<Option<String>>>();
    for participant in ["irit", "acme", "laas"] {
        for kind in Kind::ALL {
            for sector in optional(&["health", "energy", "culture"]) {
                for country in optional(&["FR", "DE", "US", "BR"]) {
                    for accreditations in [texts(&[]), texts(&["hds"]), texts(&["iso"]), texts(&["hds", "iso"])] {
                        for roles in [
                            vec![],
                            vec![Role::Requester],
                            vec![Role::Steward],
                            vec![Role::Auditor],
                            vec![Role::Operator],
                            vec![Role::Requester, Role::Steward],
                        ] {
                            let who = Attributes {
                                participant: participant.parse().unwrap(),
                                kind: Some(kind),
                                sector: sector.clone(),
                                country: country.clone(),
                                accreditations: Some(accreditations.clone()),
                                roles: Some(roles.into_iter().collect()),
                            };
                            all.push(one_use(who));
                        }
                    }
                }
            }
        }
    }
    all
}

pub(super) fn one_use(who: Attributes) -> Use {
    let purpose = "marketing".parse().unwrap();
    Use { who, action: Action::Aggregate, purpose, columns: texts(&["a"]), at: at(0) }
}

/// Somebody, doing everything that the small world has.
pub(super) fn uses() -> Vec<Use> {
    let mut all = Vec::new();
    for action in Action::ALL {
        for purpose in VOCABULARY.purposes() {
            for columns in [texts(&["a"]), texts(&["b"]), texts(&["a", "b"])] {
                for micros in [0, 10, 20, 30, 40] {
                    let purpose = purpose.slug.clone();
                    all.push(Use { who: somebody(), action, purpose, columns: columns.clone(), at: at(micros) });
                }
            }
        }
    }
    all
}
