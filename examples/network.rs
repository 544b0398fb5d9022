//! Shows the network of a program: none by default, or an allow-list of endpoints.
//!
//! Run it with `cargo run --example network`. It needs no network of its own. It prints:
//!
//! ```text
//! default: Address family not supported by protocol
//! allow-list: proxy http://127.0.0.1:3128
//! allow-list, another host: Tunnel connection failed: 403 Forbidden
//! ```

use crucible::blocking::Crucible;
use crucible::model::Endpoint;
use crucible::{Evaluation, Network};

const CONNECT: &str = r#"
import socket
try:
    socket.create_connection(("192.0.2.1", 443), timeout=5)
except OSError as error:
    print(error.strerror)
"#;

const PRINT_PROXY: &str = "import os; print('proxy', os.environ['https_proxy'])";

const CONNECT_THROUGH_PROXY: &str = r#"
import http.client
proxy = http.client.HTTPConnection("127.0.0.1", 3128, timeout=5)
proxy.set_tunnel("other.test", 443)
try:
    proxy.request("GET", "/")
except OSError as error:
    print(error)
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let crucible = Crucible::new()?;
    // The proxy checks the name and the port of each connection against this list.
    let allowed = Network::Allow(vec![Endpoint::new("pypi.org", 443)]);
    for (name, source, network) in [
        ("default", CONNECT, Network::None),
        ("allow-list", PRINT_PROXY, allowed.clone()),
        ("allow-list, another host", CONNECT_THROUGH_PROXY, allowed),
    ] {
        let outcome = crucible.evaluate(Evaluation::python(source).with_network(network))?;
        println!("{name}: {}", outcome.stdout.to_text().trim_end().escape_debug());
    }
    Ok(())
}
