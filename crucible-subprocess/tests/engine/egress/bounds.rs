//! Tests that a program cannot make the host hold unbounded state.

use super::support::{Server, allowed, engine_with, lines, program, runtime};

/// A request that never ends holds its place for ten seconds.
#[test]
fn unfinished_request_loses_its_place() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let engine = engine_with(&server);
        let source = r"
import threading
places = [socket.create_connection(PROXY, timeout=60) for _ in range(32)]
for place in places:
    place.sendall(b'CONNECT allowed.test:8080 HTTP/1.1\r\nX: ')
done = threading.Event()
def trickle():
    while not done.wait(0.3):
        for place in places:
            try:
                place.sendall(b'y')
            except OSError:
                pass
threading.Thread(target=trickle).start()
connection, status = tunnel('allowed.test:8080')
connection.sendall(b'control')
print(status, until(connection, b'served')[-6:].decode())
done.set()
print(*{place.recv(12)[9:] for place in places})
# A ClientHello that never ends.
connection, status = tunnel('allowed.test:443')
connection.sendall(hello('allowed.test')[:20])
print(status, connection.recv(1))
# A request head without an end.
connection = socket.create_connection(PROXY, timeout=60)
connection.sendall(b'CONNECT allowed.test:8080 HTTP/1.1\r\nX: ' + b'y' * 9000)
print(connection.recv(12)[9:])";
        let lines = lines(&engine, allowed(), source).await;
        assert_eq!(lines, ["200 served", "b'408'", "200 b''", "b'431'"]);
        assert_eq!(server.received(), [b"control"]);
    });
}

/// Large transfers pass unchanged through bounded buffers.
#[test]
fn large_transfer_passes_unchanged() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let engine = engine_with(&server);
        let source = "
connection, status = tunnel('allowed.test:8080')
connection.sendall(b'x' * 50_000_000)
connection.shutdown(socket.SHUT_WR)
print(len(until(connection, b'nothing')))";
        let outcome = super::support::outcome(&engine, &program(allowed(), source)).await;
        let answer = super::support::ANSWER.len();
        assert_eq!(crate::runs::printed(&outcome), answer.to_string());
        let detail = super::support::detail(&outcome);
        assert!(detail.contains(&format!("(50000000 bytes out, {answer} in)")), "{detail}");
    });
}
