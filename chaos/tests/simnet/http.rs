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
            let text = format!("{} {} {}", request.method(), request.uri().path(), request.body().len());
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
    response.map_or_else(|e| format!("error: {e}"), |r| String::from_utf8_lossy(r.body()).into_owned())
}

#[test]
fn requests_are_answered_and_connections_are_kept() {
    let answers = with_echo(
        |ctx, client| async move {
            let mut answers = vec![];
            for path in ["/a", "/b", "/c"] {
                answers.push(text(client.get("server", 80, path).await));
            }
            answers.push(text(client.post("server", 80, "/p", "text/plain", "12345").await));
            answers.push(format!("{} packets", ctx.sim.stats().delivered < 25));
            answers
        },
        no_faults,
    );
    assert_eq!(answers.unwrap(), ["GET /a 0", "GET /b 0", "GET /c 0", "POST /p 5", "true packets"]);
}

#[test]
fn a_tower_service_is_served() {
    let answer = SimBuilder::new(NetConfig::new(1))
        .host("server", HostConfig::default(), |ctx| async move {
            let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
            let app = axum::Router::new().route("/hello/{name}", axum::routing::get(|path: axum::extract::Path<String>| async move { format!("hello {}", path.0) }));
            serve(&ctx, listener, app).await;
        })
        .host("client", HostConfig::default(), |ctx| async move {
            let client = Client::new(&ctx, ClientConfig::default());
            assert_eq!(text(client.get("server", 80, "/hello/ada").await), "hello ada");
        })
        .run(|sim| async move {
            while sim.is_up("client") {
                sim.sleep_until(sim.now() + ms(1)).await;
            }
            sim.now()
        });
    assert!(answer.unwrap() < ms(40));
}
