//! A store that is far away: a TCP relay before a server, which lets each request wait and each connection carry only so
//! many bytes a second.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until};

/// How far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distance {
    /// From a request to the first byte of its answer, beside what the server takes.
    pub latency: Duration,
    /// Bytes a second that a connection carries from the server.
    pub bandwidth: f64,
}

/// Stands before `server`, that far away. Returns its address; it stops with the runtime.
///
/// # Errors
/// No port is free.
pub async fn stand_before(server: SocketAddr, distance: Distance) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            // A connection that ends early is the client's affair.
            tokio::spawn(async move { carry(client, server, distance).await });
        }
    });
    Ok(address)
}

async fn carry(client: TcpStream, server: SocketAddr, distance: Distance) -> std::io::Result<()> {
    let upstream = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = upstream.into_split();
    let up = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = from_client.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            // A request is one piece, and the next one comes after its answer.
            sleep(distance.latency).await;
            to_server.write_all(buffer.get(..count).unwrap_or_default()).await?;
        }
    };
    let down = async {
        let mut buffer = vec![0; 256 << 10];
        let mut free = Instant::now();
        loop {
            let count = from_server.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            // When the bytes before these have passed; a pause is not made up for.
            free = free.max(Instant::now()) + Duration::from_secs_f64(count as f64 / distance.bandwidth);
            sleep_until(free).await;
            to_client.write_all(buffer.get(..count).unwrap_or_default()).await?;
        }
    };
    tokio::select! {
        done = up => done,
        done = down => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_takes_the_way_and_the_width() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = server.accept().await.unwrap();
            let mut request = [0; 4];
            while socket.read_exact(&mut request).await.is_ok() {
                socket.write_all(&[7; 1_000_000]).await.unwrap();
            }
        });
        let distance = Distance { latency: Duration::from_millis(50), bandwidth: 10e6 };
        let mut near = TcpStream::connect(stand_before(address, distance).await.unwrap()).await.unwrap();
        let begun = Instant::now();
        for _ in 0..2 {
            near.write_all(b"more").await.unwrap();
            let mut answer = vec![0; 1_000_000];
            near.read_exact(&mut answer).await.unwrap();
        }
        // Twice 50 ms and a tenth of a second.
        let took = begun.elapsed().as_secs_f64();
        assert!((0.29..2.0).contains(&took), "{took}");
    }
}
