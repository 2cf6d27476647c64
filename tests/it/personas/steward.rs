//! The steward: datasets, policies, consents and decisions on access, each in one call of a test.

use std::ops::Deref;

use odh::grpc::pb;
use tonic::Status;

use super::{Persona, Sign as _, personas, requester::dataset_name};

personas! {
    /// A steward of a participant.
    Steward;
}

/// One day, as requests for access state it.
pub(crate) const fn access_day() -> prost_types::Duration {
    prost_types::Duration { seconds: 24 * 3600, nanos: 0 }
}

impl Steward {
    /// The name of one of its datasets.
    pub(crate) fn dataset(&self, id: &str) -> String {
        format!("{}/datasets/{id}", self.parent())
    }

    /// Registers a dataset. A subject key is `(column, namespace)`.
    pub(crate) async fn create_dataset(
        &self,
        id: &str,
        level: pb::AccessLevel,
        subject_key: Option<(&str, &str)>,
    ) -> Result<pb::CreateDatasetResponse, Status> {
        self.client
            .catalog()
            .create_dataset(self.new_dataset(id, level, subject_key))
            .await
            .map(tonic::Response::into_inner)
    }

    /// Registers a restricted dataset about subjects (`pid`), with what its columns are for.
    pub(crate) async fn create_noted(&self, id: &str, notes: &[(&str, pb::ColumnRole)]) {
        let mut request = self.new_dataset(id, pb::AccessLevel::Restricted, Some(("pid", "regional")));
        request.dataset.as_mut().unwrap().column_notes = notes
            .iter()
            .map(|(name, role)| pb::ColumnNote { name: (*name).to_owned(), role: (*role).into(), ..Default::default() })
            .collect();
        self.client.catalog().create_dataset(request).await.unwrap();
    }

    /// The request of [`Self::create_dataset`].
    pub(crate) fn new_dataset(
        &self,
        id: &str,
        level: pb::AccessLevel,
        subject_key: Option<(&str, &str)>,
    ) -> pb::CreateDatasetRequest {
        let dataset = pb::Dataset {
            title: format!("Dataset {id} of the suite"),
            description: "Synthetic: no row is about a real person.".to_owned(),
            synthetic: true,
            access_level: level.into(),
            subject_key: subject_key.map(|(column, namespace)| pb::SubjectKey {
                column: column.to_owned(),
                pseudonym_namespace: namespace.to_owned(),
            }),
            ..Default::default()
        };
        pb::CreateDatasetRequest {
            parent: self.parent(),
            dataset_id: id.to_owned(),
            dataset: Some(dataset),
            request_id: String::new(),
        }
    }

    /// Uploads a CSV file.
    pub(crate) async fn upload(&self, id: &str, csv: impl Into<Vec<u8>>) -> Result<pb::Snapshot, Status> {
        let header = pb::UploadSnapshotHeader {
            dataset: self.dataset(id),
            format: pb::FileFormat::Csv.into(),
            ..Default::default()
        };
        self.upload_as(header, csv).await
    }

    /// Uploads a file under this header.
    pub(crate) async fn upload_as(
        &self,
        header: pb::UploadSnapshotHeader,
        file: impl Into<Vec<u8>>,
    ) -> Result<pb::Snapshot, Status> {
        use pb::upload_snapshot_request::Part;
        let file: Vec<u8> = file.into();
        let chunks = file.chunks(256 * 1024).map(|chunk| Part::Chunk(chunk.to_vec().into()));
        let parts: Vec<_> = std::iter::once(Part::Header(header))
            .chain(chunks)
            .map(|part| pb::UploadSnapshotRequest { part: Some(part) })
            .collect();
        let answer = self.client.uploads().upload_snapshot(futures::stream::iter(parts)).await?.into_inner();
        Ok(answer.snapshot.unwrap())
    }

    /// Stores a policy as a draft.
    pub(crate) async fn draft(&self, policy: pb::Policy) -> Result<pb::PolicyVersion, Status> {
        let request = pb::CreatePolicyRequest { policy: Some(policy), request_id: String::new() };
        Ok(self.client.policies().create_policy(request).await?.into_inner().policy_version.unwrap())
    }

    /// Stores a policy and puts it in force.
    pub(crate) async fn publish(&self, policy: pb::Policy) -> Result<pb::PolicyVersion, Status> {
        let draft = self.draft(policy).await?;
        let request = pb::PublishPolicyRequest {
            signature: self.sign("policy.publish", &draft.digest),
            name: draft.name,
            etag: draft.etag,
            request_id: String::new(),
        };
        Ok(self.client.policies().publish_policy(request).await?.into_inner().policy_version.unwrap())
    }

    /// Ends a policy with its grants.
    pub(crate) async fn revoke_policy(&self, name: &str) -> Result<pb::PolicyVersion, Status> {
        let request = pb::RevokePolicyRequest {
            name: name.to_owned(),
            reason: "it was wrong".to_owned(),
            signature: self.sign("policy.revoke", name),
            ..Default::default()
        };
        Ok(self.client.policies().revoke_policy(request).await?.into_inner().policy_version.unwrap())
    }

    /// Imports consents, a CSV file.
    pub(crate) async fn import_consents(
        &self,
        id: &str,
        csv: impl Into<Vec<u8>>,
    ) -> Result<pb::ImportConsentsResponse, Status> {
        use pb::import_consents_request::Part;
        let header = pb::ImportConsentsHeader {
            dataset: self.dataset(id),
            format: pb::FileFormat::Csv.into(),
            request_id: String::new(),
        };
        let file: Vec<u8> = csv.into();
        let parts: Vec<_> = [Part::Header(header), Part::Chunk(file.into())]
            .into_iter()
            .map(|part| pb::ImportConsentsRequest { part: Some(part) })
            .collect();
        self.client.consents().import_consents(futures::stream::iter(parts)).await.map(tonic::Response::into_inner)
    }

    /// Withdraws consents of these subjects for every purpose.
    pub(crate) async fn withdraw(&self, id: &str, subjects: &[String]) -> pb::WithdrawConsentsResponse {
        let request = pb::WithdrawConsentsRequest {
            dataset: self.dataset(id),
            subjects: subjects.to_vec(),
            ..Default::default()
        };
        self.client.consents().withdraw_consents(request).await.unwrap().into_inner()
    }

    /// Agrees to a request.
    pub(crate) async fn approve(&self, request: &pb::AccessRequest) -> Result<pb::Grant, Status> {
        let request = pb::ApproveAccessRequestRequest {
            name: request.name.clone(),
            signature: self.sign("access.approve", &request.name),
            etag: request.etag.clone(),
            ..Default::default()
        };
        Ok(self.client.access().approve_access_request(request).await?.into_inner().grant.unwrap())
    }

    /// Refuses a request.
    pub(crate) async fn refuse(&self, request: &pb::AccessRequest, reason: &str) -> Result<pb::AccessRequest, Status> {
        let request = pb::RefuseAccessRequestRequest {
            name: request.name.clone(),
            reason: reason.to_owned(),
            signature: self.sign("access.refuse", &request.name),
            etag: request.etag.clone(),
            request_id: String::new(),
        };
        Ok(self.client.access().refuse_access_request(request).await?.into_inner().access_request.unwrap())
    }

    /// Ends a grant.
    pub(crate) async fn revoke_grant(&self, name: &str) -> Result<pb::Grant, Status> {
        let request = pb::RevokeGrantRequest {
            name: name.to_owned(),
            reason: "no longer needed".to_owned(),
            signature: self.sign("grant.revoke", name),
            ..Default::default()
        };
        Ok(self.client.access().revoke_grant(request).await?.into_inner().grant.unwrap())
    }

    /// One of its datasets, `owner.name` or its id alone.
    pub(crate) async fn get_dataset(&self, id: &str) -> Result<pb::Dataset, Status> {
        let name = if id.contains('.') { dataset_name(id) } else { self.dataset(id) };
        let answer = self.client.catalog().get_dataset(pb::GetDatasetRequest { name }).await?;
        Ok(answer.into_inner().dataset.unwrap())
    }
}
