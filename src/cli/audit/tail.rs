//! `odh audit tail`: entries as they come.

use clap::Args as ClapArgs;

use crate::{
    audit::leaf_hash,
    cli::{Session, failure::Failure},
    grpc::pb,
};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Begin with this entry; without it only new ones are shown.
    #[arg(long, value_name = "INDEX")]
    from: Option<u64>,
    /// Only what this filter lets through, for example 'type = "query"'.
    #[arg(long, default_value = "", hide_default_value = true)]
    filter: String,
    /// End after so many entries.
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
}

/// Runs `odh audit tail`.
pub(super) async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let client = session.client().await?;
    let request = pb::TailEntriesRequest { first_index: args.from, filter: args.filter };
    let mut stream = client.audit().tail_entries(request).await?.into_inner();
    let mut shown = 0;
    while let Some(message) = stream.message().await? {
        for entry in message.entries {
            if leaf_hash(&entry.leaf) != *entry.leaf_hash {
                return Err(Failure::protocol("a leaf is not that of its hash"));
            }
            // One line is one leaf, byte for byte, as in an export.
            session.out.bytes(&[&entry.leaf[..], b"\n"].concat())?;
            shown += 1;
            if args.count.is_some_and(|count| shown >= count) {
                return Ok(());
            }
        }
    }
    Ok(())
}
