use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use super::*;

const LIMIT: Duration = Duration::from_secs(5);

/// A server that answers the requests of one connection with these bytes, one after
/// the other, then hangs up and tells what it was sent.
fn server(answers: &[&'static str]) -> (Client, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::new(listener.local_addr().unwrap(), LIMIT);
    let answers = answers.to_vec();
    let heard = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut stream = BufReader::new(stream);
        let mut heard = Vec::new();
        for answer in answers {
            let mut request = String::new();
            let mut length = 0;
            while !request.ends_with("\r\n\r\n") {
                let line = read_line(&mut stream).unwrap();
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.parse().unwrap();
                }
                request += &line;
                request += "\r\n";
            }
            let mut body = Vec::new();
            read_exactly(&mut stream, length, &mut body).unwrap();
            heard.push(request + &String::from_utf8(body).unwrap());
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
        heard
    });
    (client, heard)
}

fn get(client: &mut Client) -> Result<(u16, String), Failure> {
    let response = client.request("GET", "/x", None)?;
    Ok((response.status, String::from_utf8(response.body).unwrap()))
}

#[test]
fn one_connection_serves_many_requests_however_answers_are_framed() {
    let (mut client, heard) = server(&[
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nto the end",
    ]);
    let put = client.request("POST", "/x", Some(b"{}")).unwrap();
    assert_eq!((put.status, put.body.as_slice()), (200, b"hello".as_slice()));
    assert_eq!(get(&mut client).unwrap(), (404, String::new()));
    assert_eq!(get(&mut client).unwrap(), (200, "abcde".to_owned()));
    assert_eq!(get(&mut client).unwrap(), (204, String::new()));
    assert_eq!(get(&mut client).unwrap(), (200, "to the end".to_owned()));
    assert_eq!(client.connections(), 1);
    let heard = heard.join().unwrap();
    assert!(heard[0].starts_with("POST /x HTTP/1.1\r\nhost: 127.0.0.1:"), "{heard:?}");
    assert!(heard[0].ends_with("content-length: 2\r\n\r\n{}"), "{heard:?}");
    assert!(heard[1].starts_with("GET /x HTTP/1.1\r\n") && heard[1].ends_with("\r\n\r\n"));
}

#[test]
fn nobody_there_means_that_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Client::new(listener.local_addr().unwrap(), LIMIT);
    drop(listener);
    assert!(matches!(get(&mut client), Err(Failure::NotSent(_))));
    assert_eq!(client.connections(), 0);
}

#[test]
fn an_answer_that_ends_early_is_no_answer() {
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
        "SSH-2.0\r\n",
    ] {
        let (mut client, heard) = server(&[answer]);
        let outcome = get(&mut client);
        assert!(matches!(outcome, Err(Failure::NoAnswer(_))), "{answer:?}: {outcome:?}");
        heard.join().unwrap();
    }
}

#[test]
fn a_server_that_hangs_up_is_connected_to_again() {
    let (mut client, heard) = server(&["HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"]);
    assert_eq!(get(&mut client).unwrap().0, 200);
    heard.join().unwrap();
    assert!(matches!(get(&mut client), Err(Failure::NotSent(_))), "the old one is not used");
}
