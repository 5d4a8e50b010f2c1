//! A small HTTP/1.1 client that tells a request that was never sent from one whose
//! answer never came.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer larger than this is taken for nonsense.
const LARGEST_BODY: usize = 64 << 20;

/// Keeps one connection to one address and opens another where that one ended.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    timeout: Duration,
    stream: Option<BufReader<TcpStream>>,
    connections: u32,
}

/// What the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status, such as 200.
    pub status: u16,
    /// The body without its framing.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No connection: the request was not sent and nothing happened.
    #[error("no connection")]
    NotSent(#[source] io::Error),
    /// The request was sent, at least in part; what became of it is unknown.
    #[error("no answer")]
    NoAnswer(#[source] io::Error),
}

impl Client {
    /// A client that waits up to `timeout` for a connection and for each part of an
    /// answer. It connects when first used.
    #[must_use]
    pub const fn new(address: SocketAddr, timeout: Duration) -> Self {
        Self { address, timeout, stream: None, connections: 0 }
    }

    /// How many connections were opened so far.
    #[must_use]
    pub const fn connections(&self) -> u32 {
        self.connections
    }

    /// Sends one request, a body as JSON, and waits for the answer.
    ///
    /// # Errors
    /// [`Failure`]; the connection is then given up, lest a late answer be taken for
    /// the next one.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        body: Option<&[u8]>,
    ) -> Result<Response, Failure> {
        let mut request = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\n", self.address);
        if let Some(body) = body {
            request += "content-type: application/json\r\n";
            request += &format!("content-length: {}\r\n", body.len());
        }
        request += "\r\n";
        let mut request = request.into_bytes();
        request.extend_from_slice(body.unwrap_or_default());
        self.send(&request)
    }

    /// Sends these very bytes as a request and waits for the answer.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn send(&mut self, request: &[u8]) -> Result<Response, Failure> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect().map_err(Failure::NotSent)?,
        };
        // A server may answer and hang up before it has read all of a large request:
        // what it said counts for more than the failure to send the rest.
        let sent = stream.get_mut().write_all(request);
        match (read_response(&mut stream), sent) {
            (Ok((response, closes)), _) => {
                self.stream = (!closes).then_some(stream);
                Ok(response)
            }
            (Err(_), Err(error)) | (Err(error), Ok(())) => Err(Failure::NoAnswer(error)),
        }
    }

    fn connect(&mut self) -> io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect_timeout(&self.address, self.timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        self.connections += 1;
        Ok(BufReader::new(stream))
    }
}

impl Response {
    /// The body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Reads an answer; whether the connection ends with it.
fn read_response(stream: &mut impl BufRead) -> io::Result<(Response, bool)> {
    loop {
        let line = read_line(stream)?;
        let mut words = line.splitn(3, ' ');
        let status = match (words.next(), words.next().map(str::parse)) {
            (Some("HTTP/1.1" | "HTTP/1.0"), Some(Ok(status))) => status,
            _ => return Err(bad(format!("{line:?} is no status line"))),
        };
        let headers = Headers::read(stream, line.starts_with("HTTP/1.0"))?;
        if (100..200).contains(&status) {
            continue; // Only an announcement of the answer.
        }
        let (body, ended) = headers.read_body(stream, status)?;
        return Ok((Response { status, body }, headers.close || ended));
    }
}

/// The headers that matter for the framing.
#[derive(Debug)]
struct Headers {
    length: Option<usize>,
    chunked: bool,
    close: bool,
}

impl Headers {
    fn read(stream: &mut impl BufRead, old: bool) -> io::Result<Self> {
        let mut headers = Self { length: None, chunked: false, close: old };
        loop {
            let line = read_line(stream)?;
            if line.is_empty() {
                return Ok(headers);
            }
            let Some((name, value)) = line.split_once(':') else {
                return Err(bad(format!("{line:?} is no header")));
            };
            let value = value.trim().to_ascii_lowercase();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    let length = value.parse().map_err(|_| bad(format!("length {value:?}")))?;
                    headers.length = Some(length);
                }
                "transfer-encoding" => headers.chunked = value.ends_with("chunked"),
                "connection" => headers.close = value == "close",
                _ => {}
            }
        }
    }

    /// The body, and whether it was ended by the end of the connection.
    fn read_body(&self, stream: &mut impl BufRead, status: u16) -> io::Result<(Vec<u8>, bool)> {
        let mut body = Vec::new();
        if self.chunked {
            loop {
                let line = read_line(stream)?;
                let digits = line.split(';').next().unwrap_or_default().trim();
                let length = usize::from_str_radix(digits, 16)
                    .map_err(|_| bad(format!("{line:?} is no length of a chunk")))?;
                read_exactly(stream, length, &mut body)?;
                if length > 0 {
                    read_line(stream)?;
                } else {
                    while !read_line(stream)?.is_empty() {}
                    return Ok((body, false));
                }
            }
        }
        match self.length {
            Some(length) => read_exactly(stream, length, &mut body)?,
            None if status == 204 || status == 304 => {}
            None => {
                stream.take(LARGEST_BODY as u64).read_to_end(&mut body)?;
                return Ok((body, true));
            }
        }
        Ok((body, false))
    }
}

fn read_exactly(stream: &mut impl BufRead, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
    let from = body.len();
    if length > LARGEST_BODY - from.min(LARGEST_BODY) {
        return Err(bad(format!("a body of {length} bytes")));
    }
    body.resize(from + length, 0);
    stream.read_exact(&mut body[from..])
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    stream.take(64 << 10).read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer ends in a line")),
    }
}

fn bad(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
