//! `AuditService`: entries, checkpoints, proofs and exports.

use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use tonic::{Request, Response, Status};

use super::{
    call::Call,
    convert,
    filter::{Field, Filter, Op, any},
    idempotency::Change,
    names,
    pb::{self, audit_service_server::AuditService, erase_request::Whom, export_entries_response::Part},
};
use crate::{
    audit::{Checkpoint, Hash, Opening, VerifierKey},
    domain::{AuditEvent, EntryKind, PageRequest},
    error::{Error, Result},
    service::{EntryFilter, ExportHead, Services},
};

/// Most bytes of leaves in one page or message; a page that reaches it ends there.
const PART: usize = 1 << 20;

/// What entries can be filtered by.
const ENTRY_FIELDS: [Field; 4] = [("type", is_type), ("actor", any), ("participant", any), ("dataset", any)];

/// A kind of entries, or the first part of several, such as `query`.
fn is_type(text: &str) -> bool {
    let begins = |kind: &str| kind.split_once('.').is_some_and(|(family, _)| family == text);
    EntryKind::ALL.iter().any(|kind| kind.as_str() == text || begins(kind.as_str()))
}

/// The service.
#[derive(Debug)]
pub(super) struct Api;

#[tonic::async_trait]
impl AuditService for Api {
    async fn get_checkpoint(
        &self,
        request: Request<pb::GetCheckpointRequest>,
    ) -> Result<Response<pb::GetCheckpointResponse>, Status> {
        let (call, _) = Call::split(request)?;
        let run = async {
            call.caller()?.require_active()?;
            let text = call.services().checkpoint().await?;
            let checkpoint = read_checkpoint(call.services(), &text)?;
            Ok(pb::GetCheckpointResponse {
                checkpoint: text,
                tree_size: checkpoint.size,
                root_hash: Bytes::copy_from_slice(&checkpoint.root),
            })
        };
        call.answer(run).await
    }

    async fn list_entries(
        &self,
        request: Request<pb::ListEntriesRequest>,
    ) -> Result<Response<pb::ListEntriesResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let list = call.list(&asked)?;
            let filter = entry_filter(&asked.filter)?;
            let page = call.services().entries(call.caller()?, filter, &list.page).await?;
            let (mut entries, mut bytes, mut next, mut seen) = (Vec::new(), 0, page.next, None);
            for event in page.items {
                bytes += event.leaf.len();
                if bytes > PART && seen.is_some() {
                    next = seen;
                    break;
                }
                seen = Some(event.index.to_string());
                entries.push(entry_message(event));
            }
            Ok(pb::ListEntriesResponse { entries, next_page_token: call.next(&list, next)? })
        };
        call.answer(run).await
    }

    type ExportEntriesStream = Pin<Box<dyn Stream<Item = Result<pb::ExportEntriesResponse, Status>> + Send>>;

    async fn export_entries(
        &self,
        request: Request<pb::ExportEntriesRequest>,
    ) -> Result<Response<Self::ExportEntriesStream>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let (head, committed) = call.services().start_export(call.caller()?, asked.tree_size).await?;
            let header = pb::ExportHeader {
                checkpoint: head.checkpoint.clone(),
                tree_size: head.size,
                receipt: Some(convert::receipt_of(&committed)),
            };
            Ok((head, header))
        };
        let (head, header) = call.answer(run).await?.into_inner();
        let after = asked.first_index.checked_sub(1);
        let export = Export { call, head, header: Some(header), hashes: 0, after, openings: None, ended: false };
        let stream = futures::stream::unfold(export, |mut export| async move {
            let next = export.next().await?;
            Some((next, export))
        });
        Ok(Response::new(Box::pin(stream)))
    }

    type TailEntriesStream = Pin<Box<dyn Stream<Item = Result<pb::TailEntriesResponse, Status>> + Send>>;

    async fn tail_entries(
        &self,
        request: Request<pb::TailEntriesRequest>,
    ) -> Result<Response<Self::TailEntriesStream>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let filter = entry_filter(&asked.filter)?;
            let after = match asked.first_index {
                Some(first) => first.checked_sub(1),
                None => call.services().last_index().await?,
            };
            // Whoever may read nothing is refused at once and not at the first entry.
            let page = PageRequest { size: 1, after: None };
            call.services().entries(call.caller()?, filter.clone(), &page).await?;
            Ok((filter, after))
        };
        let (filter, after) = call.answer(run).await?.into_inner();
        Ok(Response::new(Box::pin(super::tail::stream(call, filter, after))))
    }

    async fn erase(&self, request: Request<pb::EraseRequest>) -> Result<Response<pb::EraseResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let (services, caller) = (call.services(), call.caller()?);
            let (erased, committed) = match &asked.whom {
                Some(Whom::Member(name)) => {
                    let (_, member) = names::member("member", name)?;
                    services.erase_member(caller, member).await?
                }
                Some(Whom::Subject(subject)) => {
                    let dataset = names::dataset("subject.dataset", &subject.dataset)?;
                    services.erase_subject(caller, &dataset, &subject.pseudonym).await?
                }
                None => return Err(Error::invalid("whom", "a member or a subject")),
            };
            let receipt = Some(convert::receipt_of(&committed));
            Ok(pb::EraseResponse { openings: erased.openings, purged: erased.purged, receipt })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<pb::GetInclusionProofRequest>,
    ) -> Result<Response<pb::GetInclusionProofResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let services = call.services();
            let proof = services.inclusion_proof(call.caller()?, asked.index, asked.tree_size).await?;
            Ok(pb::GetInclusionProofResponse {
                index: asked.index,
                tree_size: proof.size,
                leaf_hash: Bytes::copy_from_slice(&proof.leaf_hash),
                hashes: hash_messages(&proof.hashes),
                checkpoint: at_size(services, proof.checkpoint, proof.size)?,
            })
        };
        call.answer(run).await
    }

    async fn get_consistency_proof(
        &self,
        request: Request<pb::GetConsistencyProofRequest>,
    ) -> Result<Response<pb::GetConsistencyProofResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let (to_size, hashes, checkpoint) =
                call.services().consistency_proof(call.caller()?, asked.from_size, asked.to_size).await?;
            Ok(pb::GetConsistencyProofResponse {
                from_size: asked.from_size,
                to_size,
                hashes: hash_messages(&hashes),
                checkpoint: at_size(call.services(), checkpoint, to_size)?,
            })
        };
        call.answer(run).await
    }

    async fn list_shards(
        &self,
        request: Request<pb::ListShardsRequest>,
    ) -> Result<Response<pb::ListShardsResponse>, Status> {
        let (call, _) = Call::split(request)?;
        let run = async {
            let (ended, minimum_index) = call.services().shards(call.caller()?).await?;
            let shards = ended.into_iter().map(|shard| pb::Shard {
                name: shard.name.to_string(),
                first_index: shard.first,
                tree_size: shard.size,
                checkpoint: shard.checkpoint,
            });
            Ok(pb::ListShardsResponse { shards: shards.collect(), minimum_index })
        };
        call.answer(run).await
    }
}

/// How far an export has been sent: header, then leaf hashes, then lines.
struct Export {
    call: Call,
    head: ExportHead,
    header: Option<pb::ExportHeader>,
    /// Leaf hashes that have been sent.
    hashes: u64,
    /// Index of the last entry that has been sent or is left out.
    after: Option<u64>,
    /// What opens the lines that were sent last.
    openings: Option<pb::ExportOpenings>,
    ended: bool,
}

impl Export {
    async fn next(&mut self) -> Option<Result<pb::ExportEntriesResponse, Status>> {
        match self.part().await? {
            Ok(part) => Some(Ok(pb::ExportEntriesResponse { part: Some(part) })),
            Err(error) => {
                self.ended = true;
                Some(Err(self.call.refuse(error).await))
            }
        }
    }

    async fn part(&mut self) -> Option<Result<Part>> {
        if self.ended {
            return None;
        }
        if let Some(header) = self.header.take() {
            return Some(Ok(Part::Header(header)));
        }
        if self.hashes < self.head.size {
            return Some(self.next_hashes().await);
        }
        if let Some(openings) = self.openings.take() {
            return Some(Ok(Part::Openings(openings)));
        }
        match self.lines().await {
            Ok(lines) if lines.indexes.is_empty() => None,
            Ok(lines) => Some(Ok(Part::Lines(lines))),
            Err(error) => Some(Err(error)),
        }
    }

    /// The next leaf hashes, tile by tile, as many as one message takes.
    async fn next_hashes(&mut self) -> Result<Part> {
        let mut bytes = Vec::new();
        while bytes.len() < PART && self.hashes < self.head.size {
            let hashes = self.call.services().export_hashes(&self.head, self.hashes).await?;
            if hashes.is_empty() {
                return Err(Error::internal("the log lacks leaf hashes"));
            }
            self.hashes += hashes.len() as u64;
            bytes.extend(hashes.concat());
        }
        Ok(Part::LeafHashes(bytes.into()))
    }

    async fn lines(&mut self) -> Result<pb::ExportLines> {
        let (mut jsonl, mut indexes) = (Vec::new(), Vec::new());
        for event in self.call.services().export_page(&self.head, self.after).await? {
            if jsonl.len() + event.leaf.len() + 1 > PART {
                break;
            }
            jsonl.extend_from_slice(&event.leaf);
            jsonl.push(b'\n');
            indexes.push(event.index);
        }
        self.after = indexes.last().copied().or(self.after);
        if let (Some(first), Some(last)) = (indexes.first(), indexes.last()) {
            let found = self.call.services().export_openings(&self.head, *first, *last).await?;
            let openings: Vec<_> = found.into_iter().map(opening_message).collect();
            self.openings = (!openings.is_empty()).then_some(pb::ExportOpenings { openings });
        }
        Ok(pb::ExportLines { jsonl: jsonl.into(), indexes })
    }
}

/// The checkpoint that the hub itself has signed, read.
fn read_checkpoint(services: &Services, text: &str) -> Result<Checkpoint> {
    Checkpoint::verify(text, &VerifierKey::of(services.keys().log_signer().as_ref())?)
}

/// The latest checkpoint, if it is one of this size.
fn at_size(services: &Services, checkpoint: String, size: u64) -> Result<String> {
    if size > 0 && read_checkpoint(services, &checkpoint)?.size == size { Ok(checkpoint) } else { Ok(String::new()) }
}

fn entry_filter(text: &str) -> Result<EntryFilter> {
    let mut filter = EntryFilter::default();
    for term in Filter::parse(text, &ENTRY_FIELDS, &["time"])?.terms {
        match (term.field, term.op) {
            ("type", _) => filter.kind = Some(term.value),
            ("actor", _) => filter.actor = Some(names::participant("filter", &term.value)?),
            ("participant", _) => filter.participant = Some(names::participant("filter", &term.value)?),
            ("dataset", _) => filter.dataset = Some(names::dataset("filter", &term.value)?),
            ("time", Op::NotBefore) => filter.since = Some(term.value.parse()?),
            _ => filter.until = Some(term.value.parse()?),
        }
    }
    Ok(filter)
}

fn opening_message((index, opening): (u64, Opening)) -> pb::ExportOpening {
    pb::ExportOpening {
        index,
        field: opening.field,
        party: opening.party.map(|party| party.to_string()).unwrap_or_default(),
        salt: Bytes::copy_from_slice(&opening.salt),
        value: opening.value,
    }
}

pub(super) fn entry_message(event: AuditEvent) -> pb::AuditEntry {
    pb::AuditEntry { index: event.index, leaf: event.leaf.into(), leaf_hash: Bytes::copy_from_slice(&event.leaf_hash) }
}

fn hash_messages(hashes: &[Hash]) -> Vec<Bytes> {
    hashes.iter().map(|hash| Bytes::copy_from_slice(hash)).collect()
}
