//! The page to look at: one document without a request to anywhere but this node.
//!
//! The page, its style and its script are files of their own here and one answer to a
//! browser. Whatever the script shows comes from `/status`, `/status/cluster` and
//! `/status/history`, and gets into the page as text only.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;

const MARKUP: &str = include_str!("index.html");
const STYLE: &str = include_str!("page.css");
const SCRIPTS: [&str; 4] = [
    include_str!("show.js"),
    include_str!("trouble.js"),
    include_str!("plots.js"),
    include_str!("page.js"),
];

/// Stands in the markup where the nonce of the answer belongs.
const NONCE: &str = "{nonce}";

pub(super) async fn page() -> Response {
    let nonce = format!("{:032x}", fastrand::u128(..));
    let document = MARKUP
        .replace("{style}", STYLE)
        .replace("{script}", &SCRIPTS.concat())
        .replace(NONCE, &nonce);
    let mut response = Response::new(Body::from(document));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] as [(HeaderName, &str); 4]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let policy = HeaderValue::from_str(&policy(&nonce)).expect("a policy is plain text");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// What the browser lets this page do: run the style and the script of this very answer,
/// and ask the node it came from. `data:` is for the icon, which is empty.
fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn the_page_asks_nobody_but_its_node() {
        let answer = page().await;
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        let document = answer.into_body().collect().await.unwrap().to_bytes();
        let document = std::str::from_utf8(&document).unwrap();
        for elsewhere in ["http://", "https://", "src=", "@import", "url(", "<link rel=\"style"] {
            assert!(!document.contains(elsewhere), "{elsewhere}");
        }
        // Names that come from the cluster stay text.
        for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!document.contains(markup), "{markup}");
        }
        for left in ["{style}", "{script}", NONCE, "unsafe-inline"] {
            assert!(!document.contains(left) && !policy.contains(left), "{left}");
        }
    }

    #[tokio::test]
    async fn the_style_and_the_script_of_an_answer_carry_the_nonce_of_its_policy() {
        let [first, second] = [page().await, page().await];
        let policy = |answer: &Response| {
            answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned()
        };
        assert_ne!(policy(&first), policy(&second), "a nonce is used once");
        let policy = policy(&first);
        let (_, nonce) = policy.split_once("'nonce-").unwrap();
        let (nonce, _) = nonce.split_once('\'').unwrap();
        let document = first.into_body().collect().await.unwrap().to_bytes();
        let document = std::str::from_utf8(&document).unwrap();
        for element in ["style", "script"] {
            assert!(document.contains(&format!("<{element} nonce=\"{nonce}\">")), "{element}");
            assert_eq!(document.matches(&format!("<{element}")).count(), 1, "{element}");
        }
    }
}
