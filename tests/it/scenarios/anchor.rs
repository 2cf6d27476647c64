//! Checkpoints under the clock of a timestamping authority: `openssl ts` plays it, and verifies what we made.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use odh::cli::failure::Exit;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::harness::{Engine, Hub, cli::odh, raw};

const CONFIG: &str = "\
[tsa]\ndefault_tsa = one\n[one]\nserial = serial\nsigner_cert = tsa.pem\ncerts = ca.pem\nsigner_key = tsa.key\n\
signer_digest = sha256\ndefault_policy = 1.2.3.4.1\ndigests = sha256\nordering = yes\ntsa_name = yes\n\
ess_cert_id_chain = no\ness_cert_id_alg = sha256\n";

/// Runs `openssl` in a folder.
fn openssl(dir: &Path, args: &str) -> bool {
    let output = Command::new("openssl").args(args.split(' ')).current_dir(dir).output().expect("openssl is installed");
    println!("openssl {args}: {}", String::from_utf8_lossy(&output.stderr));
    output.status.success()
}

/// An authority with its own CA; `usage` is what its certificate is for.
fn authority(dir: &Path, usage: &str) -> PathBuf {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("tsa.cnf"), CONFIG).unwrap();
    fs::write(dir.join("serial"), "01\n").unwrap();
    fs::write(dir.join("ext"), format!("extendedKeyUsage = {usage}\nkeyUsage = critical,digitalSignature\n")).unwrap();
    for args in [
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=Authority -days 30",
        "req -newkey rsa:2048 -nodes -keyout tsa.key -out tsa.csr -subj /CN=Clock",
        "x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out tsa.pem -days 30 -extfile ext",
    ] {
        assert!(openssl(dir, args), "{args}");
    }
    dir.join("ca.pem")
}

/// Answers timestamp queries over HTTP, one after the other.
async fn serve(dir: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            answer(stream, &dir).await;
        }
    });
    format!("http://{address}/tsa")
}

async fn answer(mut stream: TcpStream, dir: &Path) {
    let mut request = Vec::new();
    let body = loop {
        let mut part = [0; 4_096];
        let read = stream.read(&mut part).await.unwrap();
        request.extend(&part[..read]);
        let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        assert!(head.contains("content-type: application/timestamp-query"), "{head}");
        let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse::<usize>().unwrap();
        if request.len() >= end + 4 + length {
            break request[end + 4..].to_vec();
        }
    };
    fs::write(dir.join("query"), body).unwrap();
    openssl(dir, "ts -reply -config tsa.cnf -queryfile query -out reply");
    let reply = fs::read(dir.join("reply")).unwrap_or_default();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", reply.len());
    stream.write_all(&[head.as_bytes(), &reply].concat()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_is_timestamped_and_the_timestamp_is_verified_by_us_and_by_openssl() {
    let hub = Hub::start(Engine::Sqlite, "anchor").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let ca = authority(&dir.join("good"), "critical,timeStamping");
    let url = serve(dir.join("good")).await;
    let key = raw::get_public(&hub.site(), "/log.vkey").await.unwrap().1.trim().to_owned();
    let note = raw::get_public(&hub.site(), "/checkpoint").await.unwrap().1;
    let file = dir.join("checkpoint").to_str().unwrap().to_owned();
    fs::write(&file, &note).unwrap();
    let ca = ca.to_str().unwrap();
    let anchor: &[&str] = &["audit", "anchor", &file, "--key", &key, "--tsa-ca", ca, "--tsa", &url];
    let (exit, said) = odh(anchor).await;
    assert_eq!(exit, Exit::Ok, "{said}");
    assert!(said.contains("CN=Clock"), "{said}");
    let verify: &[&str] = &anchor[..7];
    assert_eq!(odh(verify).await.0, Exit::Ok, "what is kept verifies, too");

    let body = note.split("\n\n").next().unwrap().to_owned() + "\n";
    fs::write(dir.join("body"), body).unwrap();
    assert!(openssl(dir, &format!("ts -verify -in checkpoint.tsr -data body -CAfile {ca}")));

    let kept = fs::read(dir.join("checkpoint.tsr")).unwrap();
    for at in (0..kept.len()).step_by(7) {
        let mut changed = kept.clone();
        changed[at] ^= 1;
        fs::write(dir.join("checkpoint.tsr"), &changed).unwrap();
        let (exit, _) = odh(verify).await;
        // Fields that nobody signs (a status text, a second certificate) may change; what is shown may not.
        if exit == Exit::Ok {
            assert!(odh(verify).await.1.contains("CN=Clock"), "byte {at}");
        }
    }
    fs::write(dir.join("checkpoint.tsr"), &kept).unwrap();

    let other = authority(&dir.join("other"), "critical,timeStamping");
    let mut stranger = verify.to_vec();
    stranger[6] = other.to_str().unwrap();
    let (exit, said) = odh(&stranger).await;
    assert_eq!((exit, said.contains("an authority that you trust")), (Exit::Unverified, true), "{said}");

    let web = authority(&dir.join("web"), "serverAuth");
    let url = serve(dir.join("web")).await;
    let (exit, said) =
        odh(&["audit", "anchor", &file, "--key", &key, "--tsa-ca", web.to_str().unwrap(), "--tsa", &url]).await;
    assert_ne!(exit, Exit::Ok, "{said}");
    hub.stop().await;
}
