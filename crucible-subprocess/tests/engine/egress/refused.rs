//! Tests that endpoints outside of the list are unreachable: by name, by address, and past the
//! proxy.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::Ordering;

use crucible_core::{Endpoint, Network};

use super::support::{
    FixedResolver, Server, allowed, builder, detail, engine_with, lines, outcome, program, runtime,
};

/// The control: the allowed name works in the same sandbox after the refusals.
const CONTROL: &str = "
connection, status = tunnel('allowed.test:8080')
connection.sendall(b'control')
print(status, until(connection, b'served')[-6:].decode())";

#[test]
fn other_names_ports_and_addresses_are_refused() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        server.assert_reachable(server.address).await;
        let accepted = server.accepted.load(Ordering::SeqCst);
        let engine = engine_with(&server);
        let port = server.address.port();
        let names = [
            "other.test:8080".to_owned(),
            "sub.allowed.test:8080".to_owned(),
            "allowed.test.evil.test:8080".to_owned(),
            "xallowed.test:8080".to_owned(),
            "allowed.test..:8080".to_owned(),
            "user@allowed.test:8080".to_owned(),
            "localhost:8080".to_owned(),
            // Other ports.
            "allowed.test:80".to_owned(),
            "allowed.test:8081".to_owned(),
            format!("allowed.test:{port}"),
            format!("localhost:{port}"),
            // The server's address in every notation.
            format!("127.0.0.1:{port}"),
            format!("127.1:{port}"),
            format!("2130706433:{port}"),
            format!("0x7f000001:{port}"),
            format!("0x7f.1:{port}"),
            format!("0177.0.0.1:{port}"),
            format!("[::1]:{port}"),
            format!("[::ffff:127.0.0.1]:{port}"),
            format!("[::ffff:7f00:1]:{port}"),
            format!("::1:{port}"),
            "169.254.169.254:80".to_owned(),
            "8.8.8.8:443".to_owned(),
        ];
        let source = format!("print(*[code(name) for name in {names:?}])\n{CONTROL}");
        let outcome = outcome(&engine, &program(allowed(), &source)).await;
        let printed = crate::runs::printed(&outcome);
        let (codes, control) = printed.split_once('\n').unwrap();
        assert_eq!(codes, vec!["403"; names.len()].join(" "), "{names:?}");
        assert_eq!(control, "200 served");
        assert_eq!(server.received(), [b"control"]);
        assert_eq!(server.accepted.load(Ordering::SeqCst), accepted + 1);
        assert!(
            detail(&outcome).ends_with(&format!(", {} refused", names.len())),
            "{}",
            detail(&outcome)
        );
    });
}

#[test]
fn request_with_two_hosts_is_refused() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let engine = engine_with(&server);
        let source = format!(
            r"
print(code('allowed.test:8080', host='other.test:8080'))
print(code('allowed.test:8080', host='allowed.test:8080\r\nHost: other.test'))
print(ask('GET http://allowed.test:8080/ HTTP/1.1\r\nHost: other.test\r\n\r\n')[1])
print(ask('GET http://other.test:8080/ HTTP/1.1\r\nHost: allowed.test:8080\r\n\r\n')[1])
print(ask('GET http://other.test:8080/ HTTP/1.1\r\nHost: other.test:8080\r\n\r\n')[1])
print(ask('GET / HTTP/1.1\r\nHost: allowed.test:8080\r\n\r\n')[1])
print(ask('\x05\x01\x00\r\n\r\n')[1]){CONTROL}"
        );
        let codes = lines(&engine, allowed(), &source).await;
        assert_eq!(codes, ["400", "400", "400", "400", "403", "501", "400", "200 served"]);
        assert_eq!(server.received(), [b"control"]);
    });
}

#[test]
fn tunnel_on_tls_port_carries_only_matching_tls() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let engine = engine_with(&server);
        let source = r"
def through(data):
    connection, code = tunnel('allowed.test:443')
    try:
        connection.sendall(data)
        return code, len(until(connection, b'served'))
    except ConnectionError:
        return code, 0
print(*through(hello('other.test')))
print(*through(hello('allowed.test.evil.test')))
print(*through(hello(None)))
print(*through(b'GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n'))
print(*through(b'SSH-2.0-x\r\n'))
# The allowed name in a second record, after a message for another name.
forged = hello('other.test')
print(*through(forged + hello('allowed.test')))
print(*through(hello('ALLOWED.test')))";
        let codes = lines(&engine, allowed(), source).await;
        let answer = super::support::ANSWER.len();
        let refused = vec!["200 0".to_owned(); 6];
        assert_eq!(codes, [refused, vec![format!("200 {answer}")]].concat());
        assert_eq!(server.received().len(), 1, "only the control arrived");
    });
}

/// A name with any address that is not public is refused: rebinding, internal CNAMEs, mapped
/// addresses.
#[test]
fn name_with_private_address_is_refused() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        server.assert_reachable(server.address).await;
        let accepted = server.accepted.load(Ordering::SeqCst);
        let port = server.address.port();
        let list = || {
            Network::Allow(vec![
                Endpoint::new("rebound.test", port),
                Endpoint::new("allowed.test", 8080),
            ])
        };
        for addresses in [
            &["127.0.0.1"][..],
            &["::ffff:127.0.0.1"],
            &["::1"],
            &["::127.0.0.1"],
            &["64:ff9b::7f00:1"],
            &["2002:7f00:1::"],
            &["0.0.0.0"],
            &["10.0.0.1"],
            &["169.254.169.254"],
            &["fe80::1"],
            // The public address is not connected to either.
            &["8.8.8.8", "127.0.0.1"],
            &["127.0.0.1", "8.8.8.8"],
        ] {
            let resolver = FixedResolver::new(addresses);
            let pinned = builder().resolve(Endpoint::new("allowed.test", 8080), server.address);
            let engine = pinned.resolver(resolver.clone()).build().unwrap();
            let source = format!(
                "print(code('rebound.test:{port}'), code('REBOUND.test.:{port}')){CONTROL}"
            );
            assert_eq!(
                lines(&engine, list(), &source).await,
                ["403 403", "200 served"],
                "{addresses:?}"
            );
            // One query per connection: the proxy connects to the address that it checked.
            assert_eq!(*resolver.queries.lock().unwrap(), ["rebound.test", "rebound.test"]);
        }
        assert_eq!(server.received(), vec![b"control"; 12]);
        assert_eq!(server.accepted.load(Ordering::SeqCst), accepted + 12);
    });
}

/// The host's resolver returns a loopback address for `localhost`, which is refused.
#[test]
fn private_address_from_host_resolver_is_refused() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let port = server.address.port();
        let engine = builder().build().unwrap();
        let list = Network::Allow(vec![
            Endpoint::new("localhost", port),
            Endpoint::new("no-such-name.invalid", 443),
        ]);
        let source = format!("print(code('localhost:{port}'), code('no-such-name.invalid:443'))");
        let lines = lines(&engine, list, &source).await;
        // A host without a resolver cannot resolve `localhost`.
        assert!(["403 502", "502 502"].contains(&lines[0].as_str()), "{lines:?}");
        assert_eq!(server.accepted.load(Ordering::SeqCst), 0);
    });
}

/// Returns an address of this host outside of the loopback, if it has one.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // The call sends nothing. The kernel only selects a route.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().unwrap().ip())
}

/// Attack H3: a program that bypasses the proxy has no network.
#[test]
fn program_bypassing_proxy_has_no_network() {
    runtime().block_on(async {
        let server = Server::start("0.0.0.0").await;
        let port = server.address.port();
        let loopback = SocketAddr::new("127.0.0.1".parse().unwrap(), port);
        server.assert_reachable(loopback).await;
        let mut addresses = ["127.0.0.1", "127.0.0.2", "0.0.0.0"].map(String::from).to_vec();
        if let Some(own) = own_address() {
            server.assert_reachable(SocketAddr::new(own, port)).await;
            addresses.push(own.to_string());
        }
        let others = ["169.254.169.254", "1.1.1.1", "::1", "::ffff:127.0.0.1", "fe80::1%lo"];
        addresses.extend(others.map(String::from));
        let accepted = server.accepted.load(Ordering::SeqCst);
        let engine = builder()
            .resolver(FixedResolver::new(&[]))
            .resolve(Endpoint::new("allowed.test", 8080), loopback)
            .build()
            .unwrap();
        let source = format!(
            "
for address in {addresses:?}:
    print('tcp', address, error(lambda: socket.create_connection((address, {port}), timeout=5)))
for family in [socket.AF_INET, socket.AF_INET6]:
    print('udp', error(lambda: socket.socket(family, socket.SOCK_DGRAM)))
    print('raw', error(lambda: socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_ICMP)))
    print('ping', error(lambda: socket.socket(family, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)))
    print('sctp', error(lambda: socket.socket(family, socket.SOCK_STREAM, 132)))
    print('mptcp', error(lambda: socket.socket(family, socket.SOCK_STREAM, 262)))
print('packet', error(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)))
print('dns', error(lambda: socket.getaddrinfo('allowed.test', 8080)))
# TCP fast open bypasses a rule on connect(2), and reaches nothing either.
print('fastopen', error(lambda: socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', {port}))))
for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'):
    del os.environ[name]
import urllib.request
print('urllib', error(lambda: urllib.request.urlopen('http://allowed.test:8080/', timeout=5)))
{CONTROL}"
        );
        let lines = lines(&engine, allowed(), &source).await;
        let (control, tried) = lines.split_last().unwrap();
        assert_eq!(control, "200 served", "{lines:?}");
        assert!(tried.len() > 20, "{lines:?}");
        for line in tried {
            let ends = ["none", "timed out", "TimeoutError"];
            assert!(!ends.iter().any(|end| line.ends_with(end)), "{line}");
        }
        assert_eq!(server.received(), [b"control"]);
        assert_eq!(server.accepted.load(Ordering::SeqCst), accepted + 1);
    });
}

/// The proxy of a sandbox listens only in the namespace of that sandbox.
#[test]
fn sandbox_cannot_use_another_proxy() {
    use crucible_core::{Command, Engine as _, ExecOptions, SandboxSpec};
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let engine = engine_with(&server);
        let first = engine.open(SandboxSpec::new().with_network(allowed())).await.unwrap();
        let look = "import socket; s = socket.create_connection(('127.0.0.1', 3128), timeout=30); \
                    s.sendall(b'CONNECT allowed.test:8080 HTTP/1.1\\r\\n\\r\\n'); \
                    print(s.recv(99)[9:12])";
        let works = || async {
            let command = Command::new(["python3", "-c", look]);
            let exit = first.exec(&command, ExecOptions::new()).await.unwrap();
            assert_eq!(exit.stdout.to_text(), "b'200'\n", "{}", exit.stderr.to_text());
        };
        works().await;
        let source = "print(error(lambda: socket.create_connection(PROXY)))";
        let nothing = lines(&engine, Network::None, source);
        assert_eq!(nothing.await, ["Address family not supported by protocol"]);
        let other = Network::Allow(vec![Endpoint::new("other.test", 8080)]);
        assert_eq!(lines(&engine, other, "print(code('allowed.test:8080'))").await, ["403"]);
        works().await;
        first.close().await.unwrap();
    });
}
