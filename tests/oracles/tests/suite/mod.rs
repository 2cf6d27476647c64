//! The suite's Turtle as typed cases.

use std::{collections::BTreeSet, fs, path::Path};

use odh::domain::{Purpose, Timestamp, Vocabulary, Window};
use oxrdf::{Graph, NamedNode, NamedNodeRef, NamedOrBlankNode, NamedOrBlankNodeRef, Term, TermRef, vocab::rdf};
use oxttl::TurtleParser;

const ODRL: &str = "http://www.w3.org/ns/odrl/2/";
const EX: &str = "http://example.org/";
const REPORT: &str = "https://w3id.org/force/compliance-report#";
const DCT: &str = "http://purl.org/dc/terms/";

/// One case: a policy of one rule, a request, the state of the world, and whether the rule is expected to be active.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) rule: OdrlRule,
    pub(crate) request: Request,
    pub(crate) now: Timestamp,
    pub(crate) active: bool,
    /// Who or what is part of which collection.
    memberships: Vec<(String, String)>,
}

impl Case {
    /// The members of a collection.
    pub(crate) fn members(&self, collection: &str) -> BTreeSet<String> {
        self.memberships.iter().filter(|(_, whole)| whole == collection).map(|(part, _)| local(part)).collect()
    }

    /// The collections that something is part of.
    pub(crate) fn collections(&self, part: &str) -> BTreeSet<String> {
        self.memberships.iter().filter(|(member, _)| member == part).map(|(_, whole)| local(whole)).collect()
    }
}

#[derive(Debug)]
pub(crate) struct OdrlRule {
    pub(crate) permission: bool,
    pub(crate) action: Option<String>,
    pub(crate) assignee: Option<String>,
    pub(crate) assignee_is_collection: bool,
    pub(crate) target: Option<String>,
    pub(crate) target_is_collection: bool,
    pub(crate) times: Times,
    pub(crate) duties: usize,
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) assignee: String,
    pub(crate) action: String,
    pub(crate) target: String,
}

/// When a constraint holds.
#[derive(Debug, Clone)]
pub(crate) enum Times {
    Always,
    In(Vec<Window>),
}

impl Times {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Always, times) | (times, Self::Always) => times,
            (Self::In(a), Self::In(b)) => {
                let cut = |x: &Window, y: &Window| Window {
                    from: x.from.max(y.from),
                    until: [x.until, y.until].into_iter().flatten().min(),
                };
                let both = a.iter().flat_map(|x| b.iter().map(move |y| cut(x, y)));
                Self::In(both.filter(|w| w.from.zip(w.until).is_none_or(|(from, until)| from < until)).collect())
            }
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Always, _) | (_, Self::Always) => Self::Always,
            (Self::In(a), Self::In(b)) => Self::In([a, b].concat()),
        }
    }
}

/// ODRL's actions of the suite as a vocabulary: each below the action that it is included in.
pub(crate) fn actions() -> Vocabulary {
    let action = |slug: &str, parent: Option<&str>| Purpose {
        slug: slug.parse().unwrap(),
        iri: format!("{ODRL}{slug}"),
        parents: parent.into_iter().map(|parent| parent.parse().unwrap()).collect(),
        label_fr: slug.to_owned(),
        label_en: slug.to_owned(),
    };
    let all =
        [("use", None), ("transfer", None), ("read", Some("use")), ("write", Some("use")), ("sell", Some("transfer"))];
    Vocabulary::new("odrl-2.2".to_owned(), all.map(|(slug, parent)| action(slug, parent)).to_vec()).unwrap()
}

/// What follows the last `/` or `#`.
pub(crate) fn local(iri: &str) -> String {
    let name = iri.rsplit(['/', '#']).next().unwrap_or(iri);
    // Names of the hub are in lower case.
    name.chars()
        .flat_map(|c| if c.is_ascii_uppercase() { vec!['_', c.to_ascii_lowercase()] } else { vec![c] })
        .collect()
}

/// Every case, by name.
pub(crate) fn read(data: &Path) -> Vec<Case> {
    let [policies, requests, worlds] = ["policies", "requests", "sotw"].map(|folder| graphs(&data.join(folder)));
    let mut cases: Vec<_> = graphs(&data.join("test_cases"))
        .into_iter()
        .map(|(name, graph)| {
            let case = graph.subject_for_predicate_object(rdf::TYPE, &node(EX, "TestCase")).unwrap();
            let pick = |files: &[(String, Graph)], term: &str| {
                let id = one(&graph, case, &node(EX, term)).unwrap();
                let subject = NamedNode::new(&id).unwrap();
                let found = files.iter().find(|(_, graph)| graph.triples_for_subject(&subject).next().is_some());
                (id, found.unwrap_or_else(|| panic!("{name}: {subject}")).1.clone())
            };
            let (policy, request, world) =
                (pick(&policies, "policy"), pick(&requests, "request"), pick(&worlds, "sotw"));
            let states: Vec<_> = graph.triples_for_predicate(&node(REPORT, "activationState")).collect();
            assert_eq!(states.len(), 1, "{name}: one rule");
            Case {
                rule: rule(&policy.1, &policy.0),
                request: asked(&request.1, &request.0),
                now: now(&world.1),
                active: states[0].object == TermRef::NamedNode(node(REPORT, "Active").as_ref()),
                memberships: world
                    .1
                    .triples_for_predicate(&node(ODRL, "partOf"))
                    .map(|t| (iri(t.subject.into()), iri(t.object)))
                    .collect(),
                name,
            }
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

fn graphs(folder: &Path) -> Vec<(String, Graph)> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let turtle = files.filter(|path| path.extension().is_some_and(|extension| extension == "ttl"));
    turtle
        .map(|path| {
            let mut graph = Graph::new();
            for triple in TurtleParser::new().for_slice(&fs::read(&path).unwrap()) {
                graph.insert(&triple.unwrap());
            }
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), graph)
        })
        .collect()
}

fn node(namespace: &str, term: &str) -> NamedNode {
    NamedNode::new(format!("{namespace}{term}")).unwrap()
}

/// The class of a subject; itself if it has none here.
fn typed(graph: &Graph, id: &NamedNode) -> NamedNode {
    match graph.object_for_subject_predicate(id, rdf::TYPE) {
        Some(TermRef::NamedNode(class)) => class.into_owned(),
        _ => id.clone(),
    }
}

fn iri(term: TermRef<'_>) -> String {
    match term {
        TermRef::NamedNode(name) => name.as_str().to_owned(),
        other => panic!("an IRI and not {other}"),
    }
}

fn one<'a>(graph: &Graph, subject: impl Into<NamedOrBlankNodeRef<'a>>, predicate: &'a NamedNode) -> Option<String> {
    graph.object_for_subject_predicate(subject, predicate).map(iri)
}

fn rule(graph: &Graph, policy: &str) -> OdrlRule {
    let policy = NamedNode::new(policy).unwrap();
    let rules =
        |term: &str| graph.objects_for_subject_predicate(&policy, &node(ODRL, term)).map(iri).collect::<Vec<_>>();
    let (permissions, prohibitions) = (rules("permission"), rules("prohibition"));
    assert_eq!(permissions.len() + prohibitions.len(), 1, "{policy}: one rule");
    let permission = !permissions.is_empty();
    let id = NamedNode::new(permissions.into_iter().chain(prohibitions).next().unwrap()).unwrap();
    let get = |term: &str| one(graph, &id, &node(ODRL, term));
    let is_a = |iri: &Option<String>, class: &str| {
        let iri = iri.as_ref().map(|iri| NamedNode::new(iri).unwrap());
        iri.is_some_and(|iri| typed(graph, &iri) == node(ODRL, class))
    };
    let (assignee, target) = (get("assignee"), get("target"));
    OdrlRule {
        permission,
        action: get("action"),
        assignee_is_collection: is_a(&assignee, "PartyCollection"),
        target_is_collection: is_a(&target, "AssetCollection"),
        assignee,
        target,
        times: graph
            .objects_for_subject_predicate(&id, &node(ODRL, "constraint"))
            .map(|constraint| times(graph, subject(constraint).as_ref()))
            .fold(Times::Always, Times::and),
        duties: graph.objects_for_subject_predicate(&id, &node(ODRL, "duty")).count(),
    }
}

fn subject(term: TermRef<'_>) -> NamedOrBlankNode {
    match term.into_owned() {
        Term::NamedNode(name) => name.into(),
        Term::BlankNode(blank) => blank.into(),
        other => panic!("{other}"),
    }
}

/// When a constraint holds: exact, since the hub's time has a smallest step.
fn times(graph: &Graph, id: NamedOrBlankNodeRef<'_>) -> Times {
    let inside = |term: &str| {
        let predicate = node(ODRL, term);
        graph.objects_for_subject_predicate(id, &predicate).map(subject).collect::<Vec<_>>()
    };
    let (and, or) = (inside("and"), inside("or"));
    if !and.is_empty() {
        return and.iter().map(|part| times(graph, part.as_ref())).fold(Times::Always, Times::and);
    }
    if !or.is_empty() {
        return or.iter().map(|part| times(graph, part.as_ref())).fold(Times::In(Vec::new()), Times::or);
    }
    let get = |term: &str| graph.object_for_subject_predicate(id, &node(ODRL, term)).unwrap().into_owned();
    assert_eq!(get("leftOperand"), Term::from(node(ODRL, "dateTime")));
    let Term::Literal(literal) = get("rightOperand") else { panic!("{id}: a literal") };
    let at: Timestamp = literal.value().parse().unwrap();
    let after = Timestamp::from_micros(at.micros() + 1);
    let window = |from: Option<Timestamp>, until: Option<Timestamp>| Window { from, until };
    Times::In(match local(&iri(TermRef::from(&get("operator")))).as_str() {
        "lt" => vec![window(None, Some(at))],
        "lteq" => vec![window(None, Some(after))],
        "gt" => vec![window(Some(after), None)],
        "gteq" => vec![window(Some(at), None)],
        "eq" => vec![window(Some(at), Some(after))],
        "neq" => vec![window(None, Some(at)), window(Some(after), None)],
        other => panic!("{id}: {other}"),
    })
}

fn asked(graph: &Graph, request: &str) -> Request {
    let rule = rule(graph, request);
    Request { assignee: rule.assignee.unwrap(), action: rule.action.unwrap(), target: rule.target.unwrap() }
}

fn now(graph: &Graph) -> Timestamp {
    let current = NamedNodeRef::new("http://example.com/request/currentTime").unwrap();
    match graph.object_for_subject_predicate(current, &node(DCT, "issued")) {
        Some(TermRef::Literal(literal)) => literal.value().parse().unwrap(),
        other => panic!("{other:?}"),
    }
}
