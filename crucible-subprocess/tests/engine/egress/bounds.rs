//! A program cannot make the host hold more than a little for it.

use super::support::{Server, allowed, engine_with, lines, program, runtime};

/// Requests that never end hold their places for ten seconds and not for ever.
#[test]
fn whoever_does_not_finish_a_request_loses_his_place() {
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
# As slow in what must be a ClientHello.
connection, status = tunnel('allowed.test:443')
connection.sendall(hello('allowed.test')[:20])
print(status, connection.recv(1))
# And as long: no end of a head.
connection = socket.create_connection(PROXY, timeout=60)
connection.sendall(b'CONNECT allowed.test:8080 HTTP/1.1\r\nX: ' + b'y' * 9000)
print(connection.recv(12)[9:])";
        let lines = lines(&engine, allowed(), source).await;
        assert_eq!(lines, ["200 served", "b'408'", "200 b''", "b'431'"]);
        assert_eq!(server.heard(), [b"control"]);
    });
}

/// A server that says more than anybody reads waits, and the host holds no more than its buffers.
#[test]
fn much_goes_through_unchanged() {
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
