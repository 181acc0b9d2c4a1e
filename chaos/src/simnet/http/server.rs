//! Serves a tower service (an axum `Router`) or a plain function on a listener of the host.

use super::super::{HostCtx, TcpListener, TcpStream};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::{HttpService, service_fn},
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use std::{error::Error, pin::pin, rc::Rc};
use tokio::task::JoinSet;

/// Serves a tower service until the host is asked to stop; then the listener is closed, idle connections too, running
/// requests are answered, and it returns.
pub async fn serve<S, B>(ctx: &HostCtx, listener: TcpListener, service: S)
where
    S: Clone + 'static,
    TowerToHyperService<S>: HttpService<Incoming, ResBody = B> + 'static,
    <TowerToHyperService<S> as HttpService<Incoming>>::Error: Into<Box<dyn Error + Send + Sync>>,
    <TowerToHyperService<S> as HttpService<Incoming>>::Future: 'static,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    accept(ctx, listener, || TowerToHyperService::new(service.clone())).await;
}

/// Serves a function from whole requests to whole responses; otherwise as [`serve`].
pub async fn serve_fn<F, Fut>(ctx: &HostCtx, listener: TcpListener, handler: F)
where
    F: Fn(Request<Bytes>) -> Fut + 'static,
    Fut: Future<Output = Response<Bytes>> + 'static,
{
    let handler = Rc::new(handler);
    accept(ctx, listener, || {
        let handler = handler.clone();
        service_fn(move |request: Request<Incoming>| {
            let handler = handler.clone();
            async move {
                let (head, body) = request.into_parts();
                // An error here means that the client is gone: hyper closes the connection, nobody reads an answer.
                let body = body.collect().await?.to_bytes();
                Ok::<_, hyper::Error>(
                    handler(Request::from_parts(head, body))
                        .await
                        .map(Full::<Bytes>::from),
                )
            }
        })
    })
    .await;
}

/// Accepts until the stop signal, then waits for the connections that are left.
async fn accept<S, B>(ctx: &HostCtx, listener: TcpListener, service: impl Fn() -> S)
where
    S: HttpService<Incoming, ResBody = B> + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: 'static,
    B: Body<Data: 'static> + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut connections: JoinSet<()> = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = ctx.stop.wait() => break,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                drop(connections.spawn_local(connection(ctx.clone(), stream, service())))
            }
            Err(_) => break, // only after the end of the simulation
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection<S, B>(ctx: HostCtx, stream: TcpStream, service: S)
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let connection = http1::Builder::new()
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // How a connection ends is the client's to observe: resets and half requests are everyday life under faults.
    let finished = tokio::select! {
        biased;
        () = ctx.stop.wait() => false,
        _ = connection.as_mut() => true,
    };
    if !finished {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}
