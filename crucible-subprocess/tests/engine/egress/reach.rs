//! Tests that endpoints on the list are reachable.

use crucible_core::{Endpoint, Network};

use super::support::{Server, allowed, detail, engine_with, lines, outcome, program, runtime};

#[test]
fn proxy_variables_work_for_ordinary_clients() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let engine = engine_with(&server);
        let source = "
import urllib.request
print(urllib.request.urlopen('http://allowed.test:8080/path?query', data=b'body').read().decode())";
        assert_eq!(lines(&engine, allowed(), source).await, ["served"]);
        let received = String::from_utf8(server.received().concat()).unwrap();
        assert!(
            received.starts_with("POST /path?query HTTP/1.1\r\nHost: allowed.test:8080\r\n"),
            "{received}"
        );
        assert!(received.contains("\r\nConnection: close\r\n"), "{received}");
    });
}

#[test]
fn tunnel_reaches_listed_endpoint() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let engine = engine_with(&server);
        let source = "
for name in ['allowed.test:8080', 'ALLOWED.Test.:8080']:
    connection, code = tunnel(name)
    connection.sendall(b'ping')
    print(code, until(connection, b'served')[-6:].decode())";
        let outcome = outcome(&engine, &program(allowed(), source)).await;
        assert_eq!(crate::runs::printed(&outcome), "200 served\n200 served");
        assert_eq!(server.received(), [b"ping", b"ping"]);
        let wanted =
            "allow-list by proxy: 2 endpoints; 2 connected (8 bytes out, 88 in), 0 refused";
        assert_eq!(detail(&outcome), wanted);
    });
}

/// Data that a client sends with its request, before the answer, reaches the server.
#[test]
fn early_client_data_is_not_lost() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let engine = engine_with(&server);
        let source = r"
connection = socket.create_connection(PROXY, timeout=30)
connection.sendall(b'CONNECT allowed.test:443 HTTP/1.1\r\n\r\n' + hello('allowed.test'))
print(until(connection, b'served')[-6:].decode())";
        assert_eq!(lines(&engine, allowed(), source).await, ["served"]);
        assert_eq!(server.received()[0][0], 22, "a TLS record");
    });
}

#[test]
fn tls_for_tunnel_name_passes_unchanged() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let engine = engine_with(&server);
        let source = "
connection, code = tunnel('allowed.test:443')
data = hello('allowed.test')
for at in range(len(data)):
    connection.sendall(data[at:at + 1])
print(code, until(connection, b'served')[-6:].decode())
print(data.hex())";
        let lines = lines(&engine, allowed(), source).await;
        assert_eq!(lines[0], "200 served");
        let received: String =
            server.received()[0].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(received, lines[1]);
    });
}

#[test]
fn other_ports_are_not_inspected() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let engine = engine_with(&server);
        let list = Network::Allow(vec![Endpoint::new("Allowed.TEST", 8080)]);
        let source = "
connection, code = tunnel('allowed.test:8080')
connection.sendall(hello('another.test'))
print(code, until(connection, b'served')[-6:].decode())";
        assert_eq!(lines(&engine, list, source).await, ["200 served"]);
    });
}
