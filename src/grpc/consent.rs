//! `ConsentService`: imports, withdrawals and counts.

use tonic::{Request, Response, Status, Streaming};

use super::{
    call::Call,
    convert,
    idempotency::Change,
    names,
    pb::{self, consent_service_server::ConsentService},
    upload,
};
use crate::{
    domain::ConsentCounts,
    error::{Error, Reason, Result},
    query::ingest::Format,
};

/// Largest file that is taken in, in bytes: the service reads it as a whole.
const LARGEST_IMPORT: usize = 256 << 20;

/// The service.
#[derive(Debug)]
pub(super) struct Api;

#[tonic::async_trait]
impl ConsentService for Api {
    async fn import_consents(
        &self,
        request: Request<Streaming<pb::ImportConsentsRequest>>,
    ) -> Result<Response<pb::ImportConsentsResponse>, Status> {
        let (call, mut stream) = Call::split(request)?;
        let header = match upload::header(&mut stream).await {
            Ok(header) => header,
            Err(error) => return Err(call.refuse(error).await),
        };
        let run = async {
            let dataset = names::dataset("dataset", &header.dataset)?;
            if convert::format("format", header.format)? != Format::Csv {
                return Err(Error::invalid("format", "consents are CSV"));
            }
            // Whoever may not even count the consents is refused before the file is taken.
            call.services().consent_counts(call.caller()?, &dataset).await?;
            let mut file = Vec::new();
            while let Some(chunk) = upload::chunk(&mut stream).await? {
                if file.len() + chunk.len() > LARGEST_IMPORT {
                    return Err(
                        Error::new(Reason::UploadTooLarge).with("limit", format_args!("{LARGEST_IMPORT} bytes"))
                    );
                }
                file.extend_from_slice(&chunk);
            }
            let (counts, committed) = call.services().import_consents(call.caller()?, &dataset, file).await?;
            Ok(pb::ImportConsentsResponse {
                given: counts.given,
                withdrawn: counts.withdrawn,
                unknown_subjects: counts.unknown,
                receipt: Some(convert::receipt_of(&committed)),
            })
        };
        call.change(Change::under(&header.request_id), &header, run).await
    }

    async fn withdraw_consents(
        &self,
        request: Request<pb::WithdrawConsentsRequest>,
    ) -> Result<Response<pb::WithdrawConsentsResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let dataset = names::dataset("dataset", &asked.dataset)?;
            let purpose = match asked.purpose.as_str() {
                "" => None,
                slug => Some(convert::purpose("purpose", slug)?),
            };
            let subjects = asked.subjects.clone();
            let (counts, committed) =
                call.services().withdraw_consents(call.caller()?, &dataset, subjects, purpose).await?;
            Ok(pb::WithdrawConsentsResponse {
                withdrawn: counts.withdrawn,
                unknown_subjects: counts.unknown,
                receipt: Some(convert::receipt_of(&committed)),
            })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn get_consent_summary(
        &self,
        request: Request<pb::GetConsentSummaryRequest>,
    ) -> Result<Response<pb::GetConsentSummaryResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let dataset = names::dataset("dataset", &asked.dataset)?;
            let read_time = call.services().now();
            let counts = call.services().consent_counts(call.caller()?, &dataset).await?;
            let found = call.services().dataset(call.caller()?, &dataset).await?;
            Ok(pb::GetConsentSummaryResponse {
                counts: counts.iter().map(counts_message).collect(),
                subjects: found.snapshot.and_then(|snapshot| snapshot.subjects).unwrap_or(0),
                read_time: Some(convert::timestamp(read_time)),
            })
        };
        call.answer(run).await
    }
}

fn counts_message(counts: &ConsentCounts) -> pb::ConsentCounts {
    pb::ConsentCounts {
        purpose: counts.purpose.to_string(),
        recipient: counts.recipient.as_ref().map(names::participant_name).unwrap_or_default(),
        given: counts.given,
        withdrawn: counts.withdrawn,
    }
}
