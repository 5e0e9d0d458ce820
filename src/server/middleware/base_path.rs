//! The base path, for a site that shares its host name with others: removed from requests and added to redirects. Apart
//! from this, only the links in pages know it.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::LOCATION;
use http::uri::PathAndQuery;
use http::{HeaderValue, StatusCode, Uri};
use std::sync::Arc;

/// A path such as `/holdfast`; empty if the site is at the root.
#[derive(Debug, Clone, Default)]
pub struct Base(Arc<str>);

impl From<String> for Base {
    fn from(path: String) -> Self {
        Self(path.into())
    }
}

impl Base {
    /// Whether the site is at the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

/// Middleware around the whole router, before anything is routed.
pub async fn enter(State(Base(base)): State<Base>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // Health checks work without the base path.
    if path == "/healthz" {
        return next.run(request).await;
    }
    let rest = path.strip_prefix(&*base);
    if path == "/" || rest == Some("") {
        let query = request.uri().query().map_or(String::new(), |query| format!("?{query}"));
        return Redirect::temporary(&format!("{base}/{query}")).into_response();
    }
    let Some(inner) = rest.filter(|rest| rest.starts_with('/')).and_then(|_| without(request.uri(), &base))
    else {
        let sentence = format!("There is nothing at this address. Holdfast is at {base}/ of this host.\n");
        return (StatusCode::NOT_FOUND, sentence).into_response();
    };
    *request.uri_mut() = inner;
    let mut answer = next.run(request).await;
    let led = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    if let Some(path) = led.filter(|path| path.starts_with('/') && !path.starts_with("//"))
        && let Ok(location) = HeaderValue::try_from(format!("{base}{path}"))
    {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

fn without(uri: &Uri, base: &str) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    let asked = parts.path_and_query?;
    parts.path_and_query = Some(PathAndQuery::try_from(asked.as_str().strip_prefix(base)?).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use crate::server::middleware::base_path::*;
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use http_body_util::BodyExt as _;
    use tower::{Layer as _, ServiceExt as _};

    /// Status, redirect, and the path that the site was asked for, in one line.
    async fn asked(address: &str) -> String {
        let site = Router::new().fallback(async |uri: Uri| match uri.path() {
            "/led" => Redirect::to("/there?a=/b").into_response(),
            "/out" => Redirect::to("//elsewhere.test/").into_response(),
            "/far" => Redirect::to("https://elsewhere.test/").into_response(),
            _ => uri.to_string().into_response(),
        });
        let base = Base::from("/holdfast".to_owned());
        let request = Request::get(address).body(Body::empty()).unwrap();
        let (parts, body) =
            from_fn_with_state(base, enter).layer(site).oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let led = parts.headers.get(LOCATION).map_or("", |location| location.to_str().unwrap());
        format!("{} {led}{}", parts.status.as_u16(), String::from_utf8_lossy(&body))
    }

    #[tokio::test]
    async fn the_base_is_taken_off_and_put_before() {
        for (address, answer) in [
            ("/holdfast/", "200 /"),
            ("/holdfast/a/b?c=/holdfast", "200 /a/b?c=/holdfast"),
            ("/holdfast/holdfast/", "200 /holdfast/"),
            ("/holdfast//x", "200 //x"),
            ("http://host.test/holdfast/a?b", "200 http://host.test/a?b"),
            ("/healthz", "200 /healthz"),
            ("/", "307 /holdfast/"),
            ("/holdfast", "307 /holdfast/"),
            ("/holdfast?page=2", "307 /holdfast/?page=2"),
            ("/holdfast/led", "303 /holdfast/there?a=/b"),
            ("/holdfast/out", "303 //elsewhere.test/"),
            ("/holdfast/far", "303 https://elsewhere.test/"),
        ] {
            assert_eq!(asked(address).await, answer, "{address}");
        }
        for outside in ["/holdfas", "/holdfastx", "/a/holdfast/", "/%68oldfast/", "/healthz/", "//holdfast/"]
        {
            assert!(asked(outside).await.starts_with("404 There is nothing at this address."), "{outside}");
        }
    }
}
