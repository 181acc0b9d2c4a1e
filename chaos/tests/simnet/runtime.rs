//! The event loop itself: what it refuses, what it reports, and what it never does.

use crate::arms::ms;
use chaos::simnet::{
    Cpu, HostClock, HostConfig, HostCtx, LinkConfig, NetConfig, Sim, SimBuilder, SimError,
    StopSignal, TcpListener, TcpStream,
    http::{Client, ClientConfig},
};
use std::{cell::RefCell, rc::Rc, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const fn host() -> HostConfig {
    HostConfig { cores: 1 }
}

fn sends<T: Send + Sync + Clone>() {}
fn send<T: Send>(_: T) {}

#[test]
fn handles_can_be_kept_by_services_that_must_be_send() {
    sends::<Sim>();
    sends::<HostCtx>();
    sends::<HostClock>();
    sends::<Cpu>();
    sends::<StopSignal>();
    sends::<Client>();
    let uses_everything = |ctx: HostCtx| {
        send(async move {
            let client = Client::new(&ctx, ClientConfig::default());
            let _ = client.get("a", 80, "/").await;
            ctx.cpu.work(ms(1)).await;
            ctx.clock.sleep(ms(1)).await;
            ctx.stop.wait().await;
            let mut stream = TcpStream::connect("a:80").await?;
            stream.write_u8(1).await?;
            stream.read_u8().await
        });
    };
    let _ = uses_everything;
}

/// Runs one host for 10 virtual ms.
fn run_host<F: Future<Output = ()> + 'static>(
    factory: impl Fn(HostCtx) -> F + 'static,
) -> Result<(), SimError> {
    SimBuilder::new(NetConfig::new(1))
        .host("quiet", host(), |_| async {})
        .host("h", host(), factory)
        .run(|sim| async move {
            sim.sleep_until(ms(10)).await;
        })
}

#[test]
fn a_panic_anywhere_fails_the_run_and_names_the_host() {
    let of = |result: Result<(), SimError>| match result {
        Err(SimError::Panic { host, message, .. }) => (
            host,
            message.split(" (").next().unwrap_or_default().to_owned(),
        ),
        other => panic!("{other:?}"),
    };
    let h = Some("h".to_owned());
    assert_eq!(
        of(run_host(|_| async { panic!("main task") })),
        (h.clone(), "main task".into())
    );
    assert_eq!(
        of(run_host(|ctx| async move {
            drop(ctx.spawn(async { panic!("spawned") }))
        })),
        (h.clone(), "spawned".into())
    );
    let bare = |_| async { drop(tokio::task::spawn_local(async { panic!("bare") })) };
    assert_eq!(of(run_host(bare)), (h.clone(), "bare".into()));
    let unknown = |ctx: HostCtx| async move { ctx.sim.crash("nobody") };
    assert!(of(run_host(unknown)).1.starts_with("no host \"nobody\""));
    let script = SimBuilder::new(NetConfig::new(1)).run(|_| async { panic!("script") });
    assert_eq!(of(script), (None, "script".into()));
    assert!(
        run_host(|_| async {}).is_ok(),
        "a later run on the same thread is not affected"
    );
}

#[test]
#[expect(clippy::disallowed_methods, reason = "that it fails is what is tested")]
fn tokio_spawn_inside_the_simulation_fails_the_run() {
    let result = run_host(|_| async { drop(tokio::spawn(async {})) });
    assert!(
        matches!(&result, Err(SimError::StraySpawn { host: Some(name) }) if name == "h"),
        "{result:?}"
    );
    let result = SimBuilder::new(NetConfig::new(1)).run(|_| async { drop(tokio::spawn(async {})) });
    assert!(
        matches!(result, Err(SimError::StraySpawn { host: None })),
        "{result:?}"
    );
}

#[test]
fn a_script_that_can_never_end_is_stopped_at_the_time_limit() {
    let config = NetConfig {
        time_limit: Duration::from_secs(86_400),
        ..NetConfig::new(1)
    };
    let result = SimBuilder::new(config)
        .host("h", host(), |_| async { std::future::pending().await })
        .run(|_| std::future::pending::<()>());
    assert!(
        matches!(result, Err(SimError::TimeLimit(limit)) if limit.as_secs() == 86_400),
        "{result:?}"
    );
}

#[test]
fn wrong_configurations_are_refused() {
    let builder = || SimBuilder::new(NetConfig::new(1)).host("a", host(), |_| async {});
    let wide = LinkConfig::latency(ms(5), ms(1));
    let cases = [
        ("taken name", builder().host("a", host(), |_| async {})),
        (
            "address as name",
            builder().host("10.0.0.1", host(), |_| async {}),
        ),
        (
            "no cores",
            builder().host("b", HostConfig { cores: 0 }, |_| async {}),
        ),
        (
            "latency",
            SimBuilder::new(NetConfig {
                link: wide,
                ..NetConfig::new(1)
            }),
        ),
        (
            "loss",
            SimBuilder::new(NetConfig {
                link: LinkConfig::default().with_loss_ppm(1_000_001),
                ..NetConfig::new(1)
            }),
        ),
        (
            "mtu",
            SimBuilder::new(NetConfig {
                mtu: 100,
                ..NetConfig::new(1)
            }),
        ),
        (
            "backlog",
            SimBuilder::new(NetConfig {
                backlog: 0,
                ..NetConfig::new(1)
            }),
        ),
    ];
    for (what, builder) in cases {
        assert!(
            matches!(builder.run(|_| async {}), Err(SimError::Config(_))),
            "{what}"
        );
    }
}

#[test]
fn a_simulation_inside_another_runtime_or_simulation_is_refused() {
    let nested = || SimBuilder::new(NetConfig::new(1)).run(|_| async {});
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    assert!(matches!(
        runtime.block_on(async { nested() }),
        Err(SimError::Config(_))
    ));
    let inner = SimBuilder::new(NetConfig::new(1)).run(move |_| async move { nested().is_err() });
    assert!(inner.unwrap());
}

#[test]
fn no_host_is_polled_unless_it_was_woken() {
    let build = |idle: usize| {
        let mut builder = SimBuilder::new(NetConfig::new(1));
        for i in 0..idle {
            builder = builder.host(&format!("idle{i}"), host(), |_| async {
                std::future::pending().await
            });
        }
        let busy = |ctx: HostCtx| async move {
            for _ in 0..1000 {
                ctx.clock.sleep(ms(1)).await;
            }
        };
        builder.host("busy", host(), busy).run(|sim| async move {
            sim.sleep_until(ms(2000)).await;
            sim.stats()
        })
    };
    let (few, many) = (build(1).unwrap(), build(50).unwrap());
    assert_eq!(
        many.polls - few.polls,
        49,
        "each idle host is polled once, at boot"
    );
    assert_eq!(few.sweeps, 0, "timers alone do not sweep the sockets");
    assert_eq!(few.rounds, many.rounds);
}

#[test]
fn sockets_belong_to_hosts_and_end_with_the_run() {
    let outside = SimBuilder::new(NetConfig::new(1))
        .host("a", host(), |_| async {})
        .run(|_| async {
            (
                TcpListener::bind("0.0.0.0:1")
                    .await
                    .unwrap_err()
                    .to_string(),
                TcpStream::connect("a:1").await.unwrap_err().to_string(),
            )
        });
    let (bind, connect) = outside.unwrap();
    assert!(
        bind.contains("not in the script") && bind == connect,
        "{bind}"
    );

    // A socket kept outside survives its process as an object, and is closed on its own host when dropped elsewhere.
    let kept: Rc<RefCell<Option<TcpListener>>> = Rc::default();
    let (keep, take) = (kept.clone(), kept.clone());
    SimBuilder::new(NetConfig::new(1))
        .host("a", host(), move |_| {
            let keep = keep.clone();
            async move {
                *keep.borrow_mut() = Some(TcpListener::bind("0.0.0.0:1").await.unwrap());
                tokio::time::sleep(ms(10)).await;
                TcpListener::bind("0.0.0.0:1")
                    .await
                    .expect("the other host's drop freed the port");
            }
        })
        .host("b", host(), move |_| {
            let take = take.clone();
            async move {
                let mine = TcpListener::bind("0.0.0.0:1").await.unwrap(); // same number in b's kernel as the socket in a's
                tokio::time::sleep(ms(5)).await;
                drop(take.borrow_mut().take());
                assert!(
                    TcpListener::bind("0.0.0.0:1").await.is_err(),
                    "b's own socket is still open"
                );
                drop(mine);
                *take.borrow_mut() = Some(TcpListener::bind("0.0.0.0:2").await.unwrap());
            }
        })
        .run(|sim| async move { sim.sleep_until(ms(50)).await })
        .unwrap();
    let survivor = kept.take().unwrap();
    assert_eq!(
        survivor.local_addr().unwrap_err().kind(),
        std::io::ErrorKind::NotConnected
    );
    drop(survivor);
}

#[test]
fn a_context_of_another_host_cannot_spawn_here() {
    let stolen: Rc<RefCell<Option<HostCtx>>> = Rc::default();
    let (put, take) = (stolen.clone(), stolen);
    let result = SimBuilder::new(NetConfig::new(1))
        .host("a", host(), move |ctx| {
            *put.borrow_mut() = Some(ctx);
            async {}
        })
        .host("b", host(), move |_| {
            let ctx = take.borrow_mut().take();
            async move { drop(ctx.unwrap().spawn(async {})) }
        })
        .run(|sim| async move { sim.sleep_until(ms(5)).await });
    assert!(
        matches!(&result, Err(SimError::Panic { host: Some(b), .. }) if b == "b"),
        "{result:?}"
    );
}
