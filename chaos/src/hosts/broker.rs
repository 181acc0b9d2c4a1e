//! The broker host: stores messages in the order in which it accepts them and acknowledges once stored.
//!
//! What it accepted survives a crash (it is recorded at once). A fault may make it refuse every publication.

use std::sync::Arc;

use ledger::ports::{BoxFuture, Broker, BrokerError, Message};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::{World, wire::Wire};
use crate::{
    recording::Event,
    simnet::{HostCtx, TcpListener},
};

/// Where it listens.
pub const ADDRESS: &str = "broker:5672";

#[derive(Serialize, Deserialize)]
enum Reply {
    Stored,
    Refused(String),
}

/// The host: serves until it is stopped.
pub async fn run(ctx: HostCtx, world: Arc<World>) {
    let Ok(listener) = TcpListener::bind("0.0.0.0:5672").await else {
        return;
    };
    loop {
        let stream = tokio::select! {
            biased;
            () = ctx.stop.wait() => return,
            accepted = listener.accept() => match accepted { Ok((stream, _)) => stream, Err(_) => continue },
        };
        let world = world.clone();
        ctx.spawn(async move {
            let mut wire = Wire::new(stream);
            while let Ok(messages) = wire.receive::<Vec<Message>>().await {
                let reply = if world.switches().broker_refuses {
                    Reply::Refused("publication refused".into())
                } else {
                    messages
                        .into_iter()
                        .for_each(|message| store(&world, message));
                    Reply::Stored
                };
                if wire.send(&reply).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn store(world: &World, message: Message) {
    world.record(Event::Published {
        id: message.id,
        tenant: message.tenant,
        subject: message.subject.into(),
        key: message.ordering_key,
        payload_sha256: Sha256::digest(message.payload.as_bytes()).into(),
    });
}

/// A ledger's connection to the broker host.
#[derive(Default)]
pub struct SimBroker {
    wire: Mutex<Option<Wire>>,
}

impl Broker for SimBroker {
    fn publish<'a>(&'a self, messages: &'a [Message]) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let mut slot = self.wire.lock().await;
            let mut wire = match slot.take() {
                Some(wire) => wire,
                None => Wire::connect(ADDRESS)
                    .await
                    .map_err(|error| BrokerError(error.to_string()))?,
            };
            wire.send(&messages)
                .await
                .map_err(|error| BrokerError(error.to_string()))?;
            let reply = wire
                .receive()
                .await
                .map_err(|error| BrokerError(error.to_string()))?;
            *slot = Some(wire);
            match reply {
                Reply::Stored => Ok(()),
                Reply::Refused(reason) => Err(BrokerError(reason)),
            }
        })
    }
}
