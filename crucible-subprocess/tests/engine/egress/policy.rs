//! Tests of the policy: refused allow-lists, proxy variables, the loopback, and the compile step.

use crucible_core::{
    Command, Compile, Endpoint, Engine as _, EngineError, Evaluation, Language, Languages, Layer,
    Network, RunContext, SandboxPath, SandboxSpec,
};

use super::support::{Server, allowed, builder, engine_with, lines, outcome, runtime};

#[test]
fn engine_without_required_layer_refuses_allow_list() {
    for layer in [Layer::NetworkNamespace, Layer::Seccomp] {
        let engine = builder().waive(layer).build().unwrap();
        assert!(!engine.info().allow_lists);
        let evaluation = Evaluation::shell("true").with_network(allowed());
        let error = runtime().block_on(engine.run(&evaluation, &RunContext::new())).unwrap_err();
        let EngineError::Unsupported { what, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*what, format!("a network allow-list (the host waived `{layer}`)"));
    }
    // The rules on ports are a second barrier. Without them the first one holds.
    let engine = builder().waive(Layer::Landlock).build().unwrap();
    assert!(engine.info().allow_lists);
    let source =
        "print(code('a.test:1'), error(lambda: socket.create_connection(('127.0.0.1', 1))))";
    let lines = runtime().block_on(lines(&engine, allowed(), source));
    assert_eq!(lines, ["403 Connection refused"]);
}

#[test]
fn allow_list_with_addresses_is_refused() {
    let engine = builder().build().unwrap();
    for endpoint in
        [Endpoint::new("127.0.0.1", 80), Endpoint::new("0x7f000001", 80), Endpoint::new("a", 0)]
    {
        let spec = SandboxSpec::new().with_network(Network::Allow(vec![endpoint]));
        let error = runtime().block_on(engine.open(spec)).unwrap_err();
        assert!(matches!(error, EngineError::Invalid(_)), "{error:?}");
    }
    let error =
        runtime().block_on(engine.open(SandboxSpec::new().with_network(Network::Allow(vec![]))));
    assert!(matches!(error, Err(EngineError::Invalid(_))));
}

#[test]
fn variables_of_evaluation_override_proxy_variables() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let engine = engine_with(&server);
        let evaluation =
            Evaluation::shell("echo $http_proxy,$HTTP_PROXY,$https_proxy,$HTTPS_PROXY,$all_proxy")
                .with_env("HTTPS_PROXY", "mine")
                .with_network(allowed());
        let printed = crate::runs::printed(&outcome(&engine, &evaluation).await);
        let ours = "http://127.0.0.1:3128";
        assert_eq!(printed, format!("{ours},{ours},,mine,{ours}"));
    });
}

/// A program cannot listen on the loopback or change the network.
#[test]
fn loopback_is_reserved_for_proxy() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let engine = engine_with(&server);
        let abi = engine
            .info()
            .enforcement
            .reports()
            .iter()
            .find(|r| r.layer == Layer::Landlock)
            .unwrap()
            .detail
            .clone();
        let abi: u8 = abi.strip_prefix("ABI ").unwrap().parse().unwrap();
        let source = "
import fcntl, struct
print(error(lambda: socket.socket().bind(('127.0.0.1', 3129))))
print(error(lambda: socket.socket().bind(('127.0.0.1', 3128))))
print(error(lambda: fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sH22x', b'lo', 0))))
print(code('allowed.test:8080'))";
        let lines = lines(&engine, allowed(), source).await;
        // Without Landlock's port rules a program can listen for its own connections.
        let bind = if abi >= 4 { "Permission denied" } else { "none" };
        let taken = if abi >= 4 { "Permission denied" } else { "Address already in use" };
        assert_eq!(lines, [bind, taken, "Operation not permitted", "200"]);
    });
}

/// The compile step has no network, whatever the policy of the program.
#[test]
fn compiler_has_no_network() {
    runtime().block_on(async {
        let server = Server::start("127.0.0.1").await;
        let engine = engine_with(&server);
        let shell = |script: &str| Command::new(["sh", "-c", script]);
        let look = "env | grep -ic _proxy; grep -c '^ *0: 0100007F:' /proc/net/tcp";
        let compile = Compile::new(shell(&format!("({look}) > found; true")), ["found"]);
        let run = shell(&format!("cat found; {look}; true"));
        let language = Language::new("checked", SandboxPath::new("source").unwrap(), run)
            .with_compile(compile);
        let mut languages = Languages::none();
        languages.register(language);
        let context = RunContext::new().with_languages(languages.into());
        let evaluation = Evaluation::source("checked", "").with_network(allowed());
        let outcome = engine.run(&evaluation, &context).await.unwrap();
        // The compiler sees no variable and no listener; the program sees six and one.
        assert_eq!(crate::runs::printed(&outcome), "0\n0\n6\n1");
    });
}
