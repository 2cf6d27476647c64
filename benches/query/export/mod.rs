//! A whole table over Flight SQL and mutual TLS, beside a bare Flight server over the same TLS.
//!
//! The bare server has no identity, policy, log or limits: it reads the same object with DataFusion and encodes what
//! it reads. Bytes are those of Flight's messages as the client gets them; it decodes nothing.

mod bare;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arrow_flight::{
    FlightDescriptor, Ticket,
    flight_service_client::FlightServiceClient,
    sql::{CommandStatementQuery, ProstMessageExt as _},
};
use odh::{
    grpc::pb,
    trust::tls::{Connector, client_config},
};
use prost::Message as _;
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};

use self::bare::Bare;
use crate::{
    harness::{Hub, PURPOSE, policy},
    support::Table,
    timing::Times,
    tpch::upload,
};

const ROUNDS: usize = 6;
const STREAMS: [usize; 2] = [1, 4];
const TABLE: &str = "SELECT * FROM tpch.lineitem";
/// So many times the table are more than ten gigabytes.
const TIMES: usize = 11;
const HUB: usize = 0;
const BARE: usize = 1;

/// Measures with the largest table of TPC-H.
pub(crate) async fn measure(table: &mut Table, data: &Path) {
    let hub = Hub::start(data, "tpch").await;
    let object = upload(&hub, "lineitem", &data.join("tpch").join("lineitem.parquet")).await;
    let rule = policy(&hub.steward, "lineitem", pb::Action::Read, pb::How::default(), pb::LegalBasis::NotPersonal);
    hub.share("lineitem", rule, pb::Action::Read).await;
    let bare = Bare::start(&hub, &object).await;
    let addresses = [hub.site.grpc.clone(), bare.address.clone()];
    for streams in STREAMS {
        let mut times = Times::new(2);
        let mut bytes = [0; 2];
        for round in 0..=ROUNDS {
            for way in times.order(round) {
                let started = Instant::now();
                bytes[way] = fetch_all(&hub, &addresses[way], way == HUB, streams).await;
                if round > 0 {
                    times.add(way, started.elapsed());
                }
            }
        }
        let speed = |way: usize| gigabytes(bytes[way]) / (times.median(way) / 1_000.0);
        let note = format!("{:.2} GB/s beside {:.2}, {:.2} GB", speed(HUB), speed(BARE), gigabytes(bytes[HUB]));
        let path = format!("Flight SQL export over mutual TLS / bare Flight server, {streams} stream(s)");
        table.at_least(&path, speed(HUB) / speed(BARE), 0.9, &note);
    }
    memory(table, &hub).await;
    bare.stop().await;
    hub.stop().await;
}

async fn fetch_all(hub: &Hub, address: &str, governed: bool, streams: usize) -> u64 {
    let fetches = (0..streams).map(|_| async {
        let mut client = connect(hub, address).await;
        let ticket = if governed { ticket(&mut client, TABLE).await } else { Ticket::default() };
        fetch(&mut client, ticket, |_| {}).await
    });
    futures::future::join_all(fetches).await.into_iter().sum()
}

async fn connect(hub: &Hub, address: &str) -> FlightServiceClient<Channel> {
    let config = client_config(&hub.site.ca_pem, Some(hub.requester.identity())).unwrap();
    let endpoint = Endpoint::from_shared(address.to_owned()).unwrap();
    let channel = endpoint.connect_with_connector(Connector::new(Arc::new(config))).await.unwrap();
    FlightServiceClient::new(channel).max_decoding_message_size(64 << 20)
}

async fn ticket(client: &mut FlightServiceClient<Channel>, sql: &str) -> Ticket {
    let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let info = client.get_flight_info(for_purpose(descriptor)).await.unwrap().into_inner();
    info.endpoint[0].ticket.clone().unwrap()
}

async fn fetch(client: &mut FlightServiceClient<Channel>, ticket: Ticket, mut seen: impl FnMut(u64)) -> u64 {
    let mut messages = client.do_get(for_purpose(ticket)).await.unwrap().into_inner();
    let mut bytes = 0;
    while let Some(message) = messages.message().await.unwrap() {
        bytes += (message.data_header.len() + message.data_body.len()) as u64;
        seen(bytes);
    }
    bytes
}

fn for_purpose<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-odh-purpose", PURPOSE.parse().unwrap());
    request
}

#[expect(clippy::cast_precision_loss, reason = "a figure of three digits")]
fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

/// One answer of more than ten gigabytes: the memory of the process after each of them, over that after the first.
async fn memory(table: &mut Table, hub: &Hub) {
    let mut client = connect(hub, &hub.site.grpc).await;
    let ticket = ticket(&mut client, &[TABLE; TIMES].join(" UNION ALL ")).await;
    let first = AtomicBool::new(true);
    let (mut base, mut most, mut next) = (0, 0, 1_000_000_000);
    let bytes = fetch(&mut client, ticket, |bytes| {
        if bytes >= next {
            next += 250_000_000;
            let now = resident();
            if first.swap(false, Ordering::Relaxed) {
                base = now;
            }
            most = most.max(now);
        }
    })
    .await;
    let note = format!("{:.1} GB in one answer, {base} MB after the first", gigabytes(bytes));
    let grown = f64::from(u32::try_from(most).unwrap()) / f64::from(u32::try_from(base).unwrap());
    table.number("resident memory at most / after the first gigabyte", grown, 1.1, &note);
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Megabytes of this process in memory: server and client.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}
