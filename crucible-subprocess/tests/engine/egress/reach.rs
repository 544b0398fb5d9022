//! What is on the list is reached.

use crucible_core::{Endpoint, Network};

use super::support::{Server, allowed, detail, engine_with, lines, outcome, program, runtime};

#[test]
fn programs_that_know_of_proxies_need_not_know_of_ours() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let engine = engine_with(&server);
        let source = "
import urllib.request
print(urllib.request.urlopen('http://allowed.test:8080/path?query', data=b'body').read().decode())";
        assert_eq!(lines(&engine, allowed(), source).await, ["served"]);
        let heard = String::from_utf8(server.heard().concat()).unwrap();
        assert!(
            heard.starts_with("POST /path?query HTTP/1.1\r\nHost: allowed.test:8080\r\n"),
            "{heard}"
        );
        assert!(heard.contains("\r\nConnection: close\r\n"), "{heard}");
    });
}

#[test]
fn a_tunnel_leads_to_what_is_on_the_list() {
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
        assert_eq!(server.heard(), [b"ping", b"ping"]);
        let wanted =
            "allow-list by proxy: 2 endpoints; 2 connected (8 bytes out, 88 in), 0 refused";
        assert_eq!(detail(&outcome), wanted);
    });
}

/// What comes along with the request, before its answer, is the other side's.
#[test]
fn nothing_is_lost_of_a_client_that_does_not_wait() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let engine = engine_with(&server);
        let source = r"
connection = socket.create_connection(PROXY, timeout=30)
connection.sendall(b'CONNECT allowed.test:443 HTTP/1.1\r\n\r\n' + hello('allowed.test'))
print(until(connection, b'served')[-6:].decode())";
        assert_eq!(lines(&engine, allowed(), source).await, ["served"]);
        assert_eq!(server.heard()[0][0], 22, "a TLS record");
    });
}

#[test]
fn tls_is_for_the_name_of_its_tunnel_and_not_changed() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let engine = engine_with(&server);
        let source = "
connection, code = tunnel('allowed.test:443')
said = hello('allowed.test')
for at in range(len(said)):
    connection.sendall(said[at:at + 1])
print(code, until(connection, b'served')[-6:].decode())
print(said.hex())";
        let lines = lines(&engine, allowed(), source).await;
        assert_eq!(lines[0], "200 served");
        let heard: String = server.heard()[0].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(heard, lines[1]);
    });
}

#[test]
fn other_ports_than_that_of_tls_are_not_looked_into() {
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
