//! The engine suite with the daemon's default runtime, through the proxy, and with gVisor.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crucible_conformance::engine_conformance;
use crucible_docker::DockerEngine;

use super::support::{build_engine, builder, gvisor, is_required, wait_until};
use super::test_proxy::daemon_socket;

engine_conformance!(docker, || build_engine(builder()), or skip);

engine_conformance!(in_gvisor, || build_engine(gvisor()), or skip);

engine_conformance!(through_the_proxy, through_the_proxy_engine, or skip);

async fn through_the_proxy_engine() -> Result<DockerEngine, String> {
    // Without a daemon, that is the reason to report, not the missing proxy.
    build_engine(builder()).await?.close().await;
    let socket = match start_proxy() {
        Ok(socket) => socket,
        Err(reason) => {
            assert!(!is_required(), "{reason}");
            return Err(reason);
        }
    };
    wait_until("the proxy listens", Duration::from_secs(10), || socket.exists()).await;
    build_engine(builder().endpoint(format!("unix://{}", socket.display()))).await
}

/// Starts the proxy. It ends with this process.
fn start_proxy() -> Result<PathBuf, String> {
    let directory = tempfile::tempdir().unwrap().keep();
    let socket = directory.join("proxy.sock");
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/docker-proxy/run");
    let has_haproxy = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy", "/usr/bin/haproxy"];
    if !has_haproxy.iter().any(|path| Path::new(path).exists()) {
        return Err("install this first: haproxy".to_owned());
    }
    // The shell outlives this process until it has ended the proxy and removed the directory.
    let script = r#"trap : TERM; "$1" & wait; kill $!; wait; rm -r "$2""#;
    Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "sh", "-c", script, "sh"])
        .args([&run, &directory])
        .env("UPSTREAM", daemon_socket())
        .env("LISTEN", &socket)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("setpriv or sh: {error}"))?;
    Ok(socket)
}
