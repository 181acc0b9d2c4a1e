//! HTTP over the simulated network: server, client and pool, in health and under faults.

use bytes::Bytes;
use chaos::simnet::{
    HostConfig, HostCtx, NetConfig, Sim, SimBuilder, SimError, TcpListener,
    http::{Client, ClientConfig, HttpError, serve, serve_fn},
};
use http::Response;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Echoes method, path and body; `/slow` answers after 1 s.
async fn echo(ctx: HostCtx) {
    let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
    let clock = ctx.clock.clone();
    serve_fn(&ctx, listener, move |request| {
        let clock = clock.clone();
        async move {
            if request.uri().path() == "/slow" {
                clock.sleep(ms(1000)).await;
            }
            let text = format!(
                "{} {} {}",
                request.method(),
                request.uri().path(),
                request.body().len()
            );
            Response::new(Bytes::from(text))
        }
    })
    .await;
}

/// Runs `client` against an echo server; its value, and the handle for the script's part.
fn with_echo<T, C, F, S, G>(client: C, script: S) -> Result<T, SimError>
where
    T: Send + 'static,
    C: Fn(HostCtx, Client) -> F + 'static,
    F: Future<Output = T> + 'static,
    S: FnOnce(Sim) -> G + 'static,
    G: Future<Output = ()> + 'static,
{
    let result = Arc::new(Mutex::new(None));
    let slot = result.clone();
    let client = std::rc::Rc::new(client);
    SimBuilder::new(NetConfig::new(3))
        .host("server", HostConfig::default(), echo)
        .host("client", HostConfig::default(), move |ctx| {
            let (slot, client) = (slot.clone(), client.clone());
            async move {
                let http = Client::new(&ctx, ClientConfig::default());
                let value = client(ctx, http).await;
                *slot.lock().unwrap() = Some(value);
            }
        })
        .run(move |sim| async move {
            sim.spawn(script(sim.clone()));
            loop {
                if let Some(value) = result.lock().unwrap().take() {
                    return value;
                }
                sim.sleep_until(sim.now() + ms(1)).await;
            }
        })
}

async fn no_faults(_: Sim) {}

fn text(response: Result<Response<Bytes>, HttpError>) -> String {
    response.map_or_else(
        |e| format!("error: {e}"),
        |r| String::from_utf8_lossy(r.body()).into_owned(),
    )
}

#[test]
fn requests_are_answered_and_connections_are_kept() {
    let answers = with_echo(
        |ctx, client| async move {
            let mut answers = vec![];
            for path in ["/a", "/b", "/c"] {
                answers.push(text(client.get("server", 80, path).await));
            }
            answers.push(text(
                client.post("server", 80, "/p", "text/plain", "12345").await,
            ));
            answers.push(format!("{} packets", ctx.sim.stats().delivered < 25));
            answers
        },
        no_faults,
    );
    assert_eq!(
        answers.unwrap(),
        [
            "GET /a 0",
            "GET /b 0",
            "GET /c 0",
            "POST /p 5",
            "true packets"
        ]
    );
}

#[test]
fn a_tower_service_is_served() {
    let answer = SimBuilder::new(NetConfig::new(1))
        .host("server", HostConfig::default(), |ctx| async move {
            let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
            let app = axum::Router::new().route(
                "/hello/{name}",
                axum::routing::get(|path: axum::extract::Path<String>| async move {
                    format!("hello {}", path.0)
                }),
            );
            serve(&ctx, listener, app).await;
        })
        .host("client", HostConfig::default(), |ctx| async move {
            let client = Client::new(&ctx, ClientConfig::default());
            assert_eq!(
                text(client.get("server", 80, "/hello/ada").await),
                "hello ada"
            );
        })
        .run(|sim| async move {
            while sim.is_up("client") {
                sim.sleep_until(sim.now() + ms(1)).await;
            }
            sim.now()
        });
    assert!(answer.unwrap() < ms(40));
}

#[test]
fn a_keep_alive_connection_lost_with_its_server_is_replaced_without_an_error() {
    // The pooled connection is known to be closed, or found closed before a byte of the request was sent.
    for fault in [Sim::kill as fn(&Sim, &str), Sim::stop] {
        let answers = with_echo(
            |ctx, client| async move {
                let first = text(client.get("server", 80, "/1").await);
                ctx.sim.sleep_until(ms(2000)).await;
                (first, text(client.get("server", 80, "/2").await))
            },
            move |sim| async move {
                sim.sleep_until(ms(500)).await;
                fault(&sim, "server");
                sim.sleep_until(ms(1000)).await;
                sim.boot("server");
            },
        );
        assert_eq!(answers.unwrap(), ("GET /1 0".into(), "GET /2 0".into()));
    }
}

#[test]
fn a_request_that_may_have_arrived_is_never_sent_twice() {
    let outcome = with_echo(
        |_, client| async move {
            let first = text(client.get("server", 80, "/1").await);
            let error = client.get("server", 80, "/slow").await.unwrap_err();
            (
                first,
                error.may_have_been_sent(),
                format!("{error}").starts_with("connection to server:80 broke"),
            )
        },
        |sim| async move {
            sim.sleep_until(ms(500)).await;
            sim.kill("server");
            sim.boot("server");
        },
    );
    assert_eq!(outcome.unwrap(), ("GET /1 0".into(), true, true));
}

#[test]
fn deadlines_tell_whether_the_request_was_sent() {
    let outcome = with_echo(
        |ctx, client| async move {
            let mut seen = vec![];
            let request = || http::Request::get("/slow").body(Bytes::new()).unwrap();
            let error = client
                .request("server", 80, request(), ms(300))
                .await
                .unwrap_err();
            seen.push((
                error.is_timeout(),
                error.may_have_been_sent(),
                ctx.sim.now().as_millis(),
            ));
            ctx.sim.crash("server");
            ctx.sim.sleep_until(ms(1000)).await;
            let error = client
                .request("server", 80, request(), ms(300))
                .await
                .unwrap_err();
            seen.push((
                error.is_timeout(),
                error.may_have_been_sent(),
                ctx.sim.now().as_millis(),
            ));
            seen
        },
        no_faults,
    );
    assert_eq!(outcome.unwrap(), [(true, true, 300), (true, false, 1300)]);
}

#[test]
fn a_refused_connection_is_an_error_of_connecting() {
    let outcome = with_echo(
        |_, client| async move {
            let error = client.get("server", 81, "/").await.unwrap_err();
            (
                matches!(&error, HttpError::Connect { to, .. } if to == "server:81"),
                error.may_have_been_sent(),
            )
        },
        no_faults,
    );
    assert_eq!(outcome.unwrap(), (true, false));
}

#[test]
fn idle_connections_are_bounded_in_number_and_age() {
    let connections = |burst: usize, idle_max: usize, pause: u64| {
        let opened = with_echo(
            move |ctx, _| async move {
                let client = Client::new(
                    &ctx,
                    ClientConfig {
                        idle_max,
                        idle_age: ms(5000),
                        timeout: ms(5000),
                    },
                );
                let mut tasks = vec![];
                for round in 0..2 {
                    for _ in 0..burst {
                        let client = client.clone();
                        tasks.push(
                            ctx.spawn(async move { client.get("server", 80, "/").await.map(drop) }),
                        );
                    }
                    for task in tasks.drain(..) {
                        task.await.unwrap().unwrap();
                    }
                    ctx.sim.sleep_until(ms(1000 + pause * (round + 1))).await;
                }
                ctx.sim.stats().delivered
            },
            no_faults,
        );
        opened.unwrap()
    };
    // The second burst of 4 costs as many handshakes (3 packets each) and closings as connections could not be kept.
    let kept = connections(4, 4, 0);
    assert!(
        connections(4, 1, 0) >= kept + 9,
        "three connections were closed"
    );
    assert!(connections(4, 4, 10_000) >= kept + 12, "all were too old");
}

#[test]
fn a_graceful_stop_answers_running_requests_and_refuses_new_ones() {
    let outcome = with_echo(
        |ctx, client| async move {
            let slow = ctx.spawn({
                let client = client.clone();
                async move { text(client.get("server", 80, "/slow").await) }
            });
            ctx.sim.sleep_until(ms(600)).await;
            let refused = matches!(
                client.get("server", 80, "/").await,
                Err(HttpError::Connect { .. })
            );
            (slow.await.unwrap(), refused, ctx.sim.is_up("server"))
        },
        |sim| async move {
            sim.sleep_until(ms(500)).await;
            sim.stop("server");
        },
    );
    assert_eq!(outcome.unwrap(), ("GET /slow 0".into(), true, false));
}

#[test]
fn a_request_put_on_a_connection_that_was_just_closed_is_sent_once_on_a_new_one() {
    // The client is frozen when its timer and then the server's FIN arrive: it takes the connection for alive.
    let answers = with_echo(
        |ctx, client| async move {
            let first = text(client.get("server", 80, "/1").await);
            ctx.sim.sleep_until(ms(1000)).await;
            (first, text(client.get("server", 80, "/2").await))
        },
        |sim| async move {
            sim.sleep_until(ms(500)).await;
            sim.freeze("client");
            sim.sleep_until(ms(1500)).await;
            sim.kill("server");
            sim.boot("server");
            sim.sleep_until(ms(2000)).await;
            sim.thaw("client");
        },
    );
    assert_eq!(answers.unwrap(), ("GET /1 0".into(), "GET /2 0".into()));
}
