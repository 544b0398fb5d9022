//! Images from a registry. The tests run a small one on the loopback, where a daemon requires no
//! encryption.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crucible_core::{Digest, EngineErrorKind, Secret};
use crucible_docker::{Credentials, PullPolicy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::support::{build_engine, builder, outcome, shell, with_daemon};

/// `me:hunter2`.
const AUTHORIZATION: &str = "Basic bWU6aHVudGVyMg==";

struct Registry {
    address: String,
    /// The number of requests for the manifest.
    requests: Arc<AtomicUsize>,
    _task: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RegistryMode {
    Open,
    WantsCredentials,
    TooManyRequests,
}

type Blobs = Arc<HashMap<String, (&'static str, Vec<u8>)>>;

/// Returns an image with a single file and the tag `1`, and the digest of its manifest.
fn image() -> (Blobs, String) {
    let mut header = tar::Header::new_ustar();
    header.set_size(5);
    header.set_mode(0o644);
    let mut layer = tar::Builder::new(Vec::new());
    layer.append_data(&mut header, "hello", &b"hello"[..]).unwrap();
    let layer = layer.into_inner().unwrap();
    let layer_digest = format!("sha256:{}", Digest::of(&layer));
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{layer_digest}"]}}}}"#
    )
    .into_bytes();
    let config_digest = format!("sha256:{}", Digest::of(&config));
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.docker.container.image.v1+json","size":{},"digest":"{config_digest}"}},"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar","size":{},"digest":"{layer_digest}"}}]}}"#,
        config.len(),
        layer.len()
    )
    .into_bytes();
    let manifest_digest = format!("sha256:{}", Digest::of(&manifest));
    let mut blobs = HashMap::new();
    blobs.insert("/v2/x/manifests/1".to_owned(), (MANIFEST, manifest.clone()));
    blobs.insert(format!("/v2/x/manifests/{manifest_digest}"), (MANIFEST, manifest));
    blobs.insert(format!("/v2/x/blobs/{config_digest}"), ("application/octet-stream", config));
    blobs.insert(format!("/v2/x/blobs/{layer_digest}"), ("application/octet-stream", layer));
    (Arc::new(blobs), manifest_digest)
}

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

impl Registry {
    async fn start(mode: RegistryMode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (blobs, _) = image();
        let requests = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (blobs, count) = (Arc::clone(&blobs), Arc::clone(&count));
                tokio::spawn(async move {
                    // The daemon may close the connection early.
                    let _served = serve(client, &blobs, &count, mode).await;
                });
            }
        });
        Self { address, requests, _task: task }
    }

    fn image(&self) -> String {
        format!("{}/x:1", self.address)
    }
}

async fn serve(
    mut client: TcpStream,
    blobs: &Blobs,
    requests: &AtomicUsize,
    mode: RegistryMode,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    let mut words = text.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_known = text
        .lines()
        .any(|line| line.split_once(": ").is_some_and(|(_, value)| value == AUTHORIZATION));
    requests.fetch_add(usize::from(path.contains("/manifests/")), Ordering::SeqCst);
    let (status, kind, body): (&str, &str, &[u8]) =
        if mode == RegistryMode::WantsCredentials && !is_known {
            (
                "401 X\r\nWWW-Authenticate: Basic realm=\"x\"",
                "application/json",
                br#"{"errors":[{"code":"UNAUTHORIZED"}]}"#,
            )
        } else if mode == RegistryMode::TooManyRequests && path != "/v2/" {
            (
                "429 Too Many Requests",
                "application/json",
                br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"wait"}]}"#,
            )
        } else if path == "/v2/" {
            ("200 OK", "application/json", b"{}")
        } else {
            match blobs.get(path) {
                Some((kind, body)) => ("200 OK", *kind, body.as_slice()),
                None => ("404 X", "application/json", b"{}"),
            }
        };
    let digest = format!("sha256:{}", Digest::of(body));
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nDocker-Content-Digest: {digest}\r\n\
         Docker-Distribution-Api-Version: registry/2.0\r\nConnection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await?;
    if method != "HEAD" {
        client.write_all(body).await?;
    }
    client.shutdown().await
}

/// Removes a pulled image when dropped.
struct RemoveImageOnDrop(String);

impl Drop for RemoveImageOnDrop {
    fn drop(&mut self) {
        // The image may not have been pulled.
        let _removed =
            std::process::Command::new("docker").args(["rmi", "--force", &self.0]).output();
    }
}

#[test]
fn missing_image_is_pulled_with_progress() {
    with_daemon(async {
        let registry = Registry::start(RegistryMode::Open).await;
        let pulled = RemoveImageOnDrop(registry.image());
        let statuses = Arc::<Mutex<Vec<String>>>::default();
        let sink = Arc::clone(&statuses);
        let watched = builder()
            .image(registry.image())
            .pull(PullPolicy::Missing)
            .on_pull(move |progress| sink.lock().unwrap().push(progress.status.clone()));
        let engine = build_engine(watched).await.unwrap();
        // Not "Pull complete": another test's image can have the same layer at the same time.
        assert!(
            statuses.lock().unwrap().iter().any(|status| status.contains("Downloaded newer image")),
            "{statuses:?}"
        );
        let requests = registry.requests.load(Ordering::SeqCst);
        assert!(requests > 0);
        // The image contains no program.
        let read = outcome(
            &engine,
            &crucible_core::Evaluation::command(["/hello"]).with_limits(super::support::limits()),
        )
        .await;
        assert!(
            matches!(read.verdict(), crucible_core::Verdict::NotStarted { .. }),
            "{}",
            read.verdict()
        );
        engine.close().await;
        // An existing image is requested again only with `PullPolicy::Always`.
        build_engine(builder().image(registry.image()).pull(PullPolicy::Missing))
            .await
            .unwrap()
            .close()
            .await;
        assert_eq!(registry.requests.load(Ordering::SeqCst), requests);
        build_engine(builder().image(registry.image()).pull(PullPolicy::Always))
            .await
            .unwrap()
            .close()
            .await;
        assert!(registry.requests.load(Ordering::SeqCst) > requests);
        drop(pulled);
    });
}

#[test]
fn image_of_an_evaluation_takes_precedence() {
    with_daemon(async {
        let registry = Registry::start(RegistryMode::Open).await;
        let pulled = RemoveImageOnDrop(registry.image());
        let engine = build_engine(builder().pull(PullPolicy::Missing)).await.unwrap();
        let own =
            crucible_core::Evaluation::command(["/hello"]).with_limits(super::support::limits());
        let own = outcome(&engine, &own.with_image(registry.image())).await;
        assert!(
            matches!(own.verdict(), crucible_core::Verdict::NotStarted { .. }),
            "{}",
            own.verdict()
        );
        assert!(outcome(&engine, &shell("true")).await.is_success());
        engine.close().await;
        drop(pulled);
    });
}

#[test]
fn credentials_are_sent_only_to_their_registry() {
    with_daemon(async {
        let registry = Registry::start(RegistryMode::WantsCredentials).await;
        let pulled = RemoveImageOnDrop(registry.image());
        let builder = || builder().image(registry.image()).pull(PullPolicy::Missing);
        let error = builder().build().await.unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::Setup, "{}", crucible_core::error_chain(&error));
        let credentials = Credentials::new("me", Secret::new("hunter2"));
        let elsewhere = builder().credentials("registry.example", credentials.clone());
        assert!(elsewhere.build().await.is_err());
        build_engine(builder().credentials(registry.address.clone(), credentials))
            .await
            .unwrap()
            .close()
            .await;
        drop(pulled);
    });
}

#[test]
fn busy_registry_is_unavailable_and_retryable() {
    with_daemon(async {
        let registry = Registry::start(RegistryMode::TooManyRequests).await;
        let error =
            builder().image(registry.image()).pull(PullPolicy::Missing).build().await.unwrap_err();
        assert_eq!(
            error.kind(),
            EngineErrorKind::Unavailable,
            "{}",
            crucible_core::error_chain(&error)
        );
        assert!(error.is_retryable());
        assert!(error.to_string().contains(&registry.address), "{error}");
    });
}
